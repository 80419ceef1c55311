"""Money that comes early, late, twice, wrong, or many times at once: none is lost, and none is kept wrongly."""

from __future__ import annotations

import pytest

from tests.journeys import books
from tests.journeys.stack import Buyer, Order, Stack, at_once, persistently, wait_for


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
    assert (reply.status, reply.code) == (400, "bad_notification")
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
    assert stack.entries(order.order_id) == {"wrong_amount": 1, "refund_sent": 1, "payment": 1, "delivery": 1}


def test_a_silent_payment_is_found_by_asking(stack: Stack) -> None:
    stack.stock("V006", 1)
    buyer = stack.buyer()
    order = buyer.place("V006")
    buyer.pay(order, "silent")
    stack.deadlines(2.1)
    stack.until(order.order_id, "delivered")


def large_order(stack: Stack) -> tuple[Buyer, Order, str]:
    """Paid, and of more than a thousand yuan: a person must look at it. The buyer, the order, the review."""
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
