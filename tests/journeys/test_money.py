"""Money that comes early, late, twice, wrong, or many times at once: none is lost, and none is kept wrongly."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.journeys import books
from tests.journeys.stack import Buyer, Order, Stack, at_once, persistently, wait_for

LIMITED = "B073"  # a thousand codes of it are made, and no more


def given_back(stack: Stack, order: Order) -> list[int]:
    """What the provider gave back of each charge of an order."""
    return [back for _, _, back in books.charges(stack)[order.payment_id]]


def test_the_same_notification_fifty_times_at_once_is_one_delivery_and_one_posting(stack: Stack) -> None:
    stack.stock("V006", 2)
    buyer = stack.buyer()
    order = buyer.place("V006")
    (provider_no,) = buyer.pay(order, "silent")["charges"]
    raw, headers = stack.notification(order, provider_no)
    url = f"{stack.api}/webhooks/payments/sandbox"

    replies = at_once(lambda _: persistently(lambda: stack.http.call("POST", url, raw, headers)), range(50), 16)
    stack.until(order.order_id, "delivered")

    assert {(reply.status, reply.body) for reply in replies} == {(200, b"success")}
    assert stack.entries(order.order_id) == {"payment": 1, "delivery": 1}
    assert len(buyer.reveal(order)) == 1


def test_a_forged_notification_changes_nothing(stack: Stack) -> None:
    stack.stock("V006", 1)
    buyer = stack.buyer()
    order = buyer.place("V006")
    raw, headers = stack.notification(order, "sbx-forged")
    forged = {**headers, "Sandbox-Signature": "0" * 64}

    reply = stack.http.call("POST", f"{stack.api}/webhooks/payments/sandbox", raw, forged)
    assert (reply.status, reply.body) == (400, b"fail")
    assert buyer.status(order) == "placed"
    assert buyer.cancel(order).body["status"] == "cancelled"


def test_late_money_takes_another_card_while_there_is_one(stack: Stack) -> None:
    stack.stock("V002", 1)
    buyer = stack.buyer()
    order = buyer.place("V002")
    assert buyer.cancel(order).body["status"] == "cancelled"
    buyer.pay(order)
    stack.until(order.order_id, "delivered")

    assert len(buyer.reveal(order)) == 1
    assert stack.entries(order.order_id) == {"payment": 1, "delivery": 1}


def test_late_money_goes_back_when_the_cards_are_gone(stack: Stack) -> None:
    stack.stock("V007", 1)
    late, quick = stack.buyer(), stack.buyer()
    order = late.place("V007")
    stack.deadlines(16)
    stack.until(order.order_id, "expired")
    other = quick.buy("V007")
    late.pay(order)
    stack.until(order.order_id, "refunded")

    assert given_back(stack, order) == [order.total]
    assert stack.entries(order.order_id) == {"late_money": 1, "refund_sent": 1}
    assert len(quick.reveal(other)) == 1


def test_paying_twice_delivers_once_and_gives_the_second_money_back(stack: Stack) -> None:
    stack.stock("V008", 1)
    buyer = stack.buyer()
    order = buyer.place("V008")
    buyer.pay(order, "twice")
    stack.until(order.order_id, "delivered")

    wait_for(lambda: sorted(given_back(stack, order)) == [0, order.total], "the second money to go back")
    wait_for(
        lambda: stack.entries(order.order_id) == {"payment": 1, "delivery": 1, "paid_twice": 1, "refund_sent": 1},
        "one posting of each kind",
    )


def test_a_wrong_amount_goes_back_and_the_order_can_still_be_paid(stack: Stack) -> None:
    stack.stock("V013", 1)
    buyer = stack.buyer()
    order = buyer.place("V013")
    buyer.pay(order, "wrong_amount")
    wait_for(lambda: given_back(stack, order) == [order.total - 1], "the wrong money to go back")
    assert buyer.status(order) == "placed"

    again = buyer.call(
        "POST",
        f"/orders/{order.order_id}/payments",
        {"payment_method": "sandbox"},
        order.token,
        Idempotency_Key="again",
    )
    assert again.status == 201, again.body
    order.url = again.body["redirect_url"]
    buyer.pay(order)
    stack.until(order.order_id, "delivered")
    assert stack.entries(order.order_id) == {"too_little": 1, "refund_sent": 1, "payment": 1, "delivery": 1}


def test_a_silent_payment_is_found_by_asking(stack: Stack) -> None:
    stack.stock("V006", 1)
    buyer = stack.buyer()
    order = buyer.place("V006")
    buyer.pay(order, "silent")
    stack.deadlines(2.1)
    stack.until(order.order_id, "delivered")


def test_money_found_while_its_order_is_cancelled_takes_another_card(stack: Stack) -> None:
    stack.stock("V006", 1)
    buyer = stack.buyer()
    order = buyer.place("V006")
    buyer.pay(order, "silent")
    stack.provider.misbehave(stack.provider.url, "payments", "slow", seconds=2)
    looked = ("kaquan-local-deadlines", "dynamodb:GetItem", "kaquan-local-payments")
    before = stack.weather.times(*looked)
    with ThreadPoolExecutor(1) as aside:
        asking = aside.submit(stack.deadlines, 2.1)
        wait_for(lambda: stack.weather.times(*looked) > before, "the owner of time to ask the provider")
        assert buyer.cancel(order).body["status"] == "cancelled"
        asking.result()
    stack.until(order.order_id, "delivered")
    assert stack.entries(order.order_id) == {"payment": 1, "delivery": 1}


@pytest.mark.parametrize("sku", ["V006", LIMITED])
def test_an_order_that_is_refunded_before_it_is_delivered_gives_back_what_it_held(stack: Stack, sku: str) -> None:
    if sku != LIMITED:
        stack.stock(sku, 1)
    buyer, before = stack.buyer(), quota(stack)
    order = buyer.place(sku)
    with stack.paused("card-dispatch"):
        buyer.pay(order)
        stack.until(order.order_id, "cleared")
        reply = stack.console("POST", f"/orders/{order.order_id}/refunds", {"reason": "waits too long"}, role="finance")
        assert reply.status == 201, reply.body
        stack.until(order.order_id, "refunded")
    assert given_back(stack, order) == [order.total]
    assert quota(stack) == before
    assert not [card for card in stack.table("cards") if card.get("order_id") == order.order_id]


def test_a_limited_issue_counts_what_is_placed_and_nothing_that_ended_without_a_code(stack: Stack) -> None:
    before = quota(stack)
    cancelled, expired, refused = (stack.buyer() for _ in range(3))
    orders = [buyer.place(LIMITED) for buyer in (cancelled, expired, refused)]
    assert quota(stack) == before + 3
    assert cancelled.cancel(orders[0]).status == 200
    stack.deadlines(16)
    assert quota(stack) == before

    denied = {"kind": "phone", "value": refused.contact["phone"], "verdict": "deny", "reason": "known", "days": 1}
    assert stack.console("POST", "/lists", denied, role="operator").status == 201
    expired.pay(orders[1])
    refused.pay(orders[2])
    assert stack.until(orders[1].order_id, "delivered", "refunded") == "delivered"
    stack.until(orders[2].order_id, "refunded")
    assert quota(stack) == before + 1
    assert len(expired.reveal(orders[1])) == 1


def quota(stack: Stack) -> int:
    """How many codes of the limited issue are promised or made."""
    return sum(int(item["used"]) for item in stack.table("lots") if item["lot_id"] == f"quota#{LIMITED}")


def large_order(stack: Stack) -> tuple[Buyer, Order, str]:
    """Paid, and of more than a thousand yuan: a person must look at it. The buyer, the order, the review."""
    stack.wholesale("V003")
    stack.stock("V003", 6)
    buyer = stack.buyer(email=stack.canaries.email())
    order = buyer.place("V003", 6)
    buyer.pay(order)
    stack.until(order.order_id, "review")
    assert buyer.try_to_reveal(order).code == "not_delivered"
    open_now = stack.console("GET", "/reviews", role="auditor").body["reviews"]
    (review,) = [one for one in open_now if one["order_id"] == order.order_id]
    assert [reason["reason"] for reason in review["reasons"]] == ["large_amount"]
    return buyer, order, str(review["review_id"])


@pytest.mark.parametrize(("verb", "status"), [("approve", "delivered"), ("refuse", "refunded")])
def test_a_large_order_goes_on_as_a_person_decides(stack: Stack, verb: str, status: str) -> None:
    buyer, order, review = large_order(stack)
    assert stack.console("POST", f"/reviews/{review}/{verb}", {}, role="auditor").status == 403
    assert buyer.status(order) == "review"

    decided = stack.console("POST", f"/reviews/{review}/{verb}", {"note": "seen"}, role="operator")
    assert decided.status == 200, decided.body
    stack.until(order.order_id, status)
    if status == "delivered":
        assert len(buyer.reveal(order)) == 6
    else:
        assert given_back(stack, order) == [order.total]


def test_a_review_nobody_decides_gives_the_money_back_by_itself(stack: Stack) -> None:
    _, order, _ = large_order(stack)
    stack.deadlines(29)
    assert stack.status(order.order_id) == "review"
    stack.deadlines(31)
    stack.until(order.order_id, "refunded")
    assert given_back(stack, order) == [order.total]
