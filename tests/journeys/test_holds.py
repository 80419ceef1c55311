"""Unpaid holds: nobody can keep a shelf from others, and a large order has all its cards or none."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable

import pytest

from tests.journeys import stockroom
from tests.journeys.stack import Buyer, Order, Stack, at_once, order_in, persistently, wait_for

SHELF = 100
THREE = ("V013", "G029", "C059")
EACH = 100  # of three SKUs: more than one transaction moves of each


def hoarded(stack: Stack, buyers: Iterable[Buyer], sku: str, rounds: int) -> list[tuple[Buyer, Order]]:
    """Whatever a script gets that goes on placing orders of five and of one, and never pays."""
    got = []
    for buyer in buyers:
        for quantity in [5] * rounds + [1] * rounds:
            reply = buyer.try_to_place(sku, quantity)
            if reply.status == 201:
                got.append((buyer, order_in(reply)))
            else:
                assert (reply.status, reply.code) in {(429, "hold_limit"), (409, "out_of_stock")}, reply.body
    return got


def held(stack: Stack, sku: str) -> int:
    return sum(card["state"] == "held" for card in stockroom.cards(stack, sku=sku))


def test_a_script_cannot_hold_more_than_its_share_and_a_buyer_still_buys(stack: Stack) -> None:
    stockroom.lot(stack, "G028", SHELF)
    stockroom.until_levels(stack, "G028", available=SHELF)
    alone = stack.buyer()
    first = hoarded(stack, [alone], "G028", 7)
    assert held(stack, "G028") <= SHELF // 4

    address = "1.2.3.77"  # one that says something: documentation addresses are nobody's
    many = [Buyer(stack, {"phone": stack.canaries.phone()}, address) for _ in range(50)]
    second = hoarded(stack, many, "G028", 1)
    assert first
    assert second
    assert held(stack, "G028") <= SHELF * 3 // 4

    honest = stack.buyer()
    order = honest.buy("G028")
    assert len(honest.reveal(order)) == 1

    at_once(lambda one: one[0].cancel(one[1]), [*first, *second], 8)
    assert held(stack, "G028") == 0
    again = alone.try_to_place("G028", 5)
    assert again.status == 201, again.body
    alone.cancel(order_in(again))


@pytest.fixture(scope="module")
def three_shelves(stack: Stack) -> Counter[str]:
    for sku in THREE:
        stack.wholesale(sku)
        stockroom.lot(stack, sku, EACH)
    return Counter(dict.fromkeys(THREE, EACH))


def available(stack: Stack) -> Counter[str]:
    return Counter(card["sku"] for card in stockroom.cards(stack, state="available") if card["sku"] in THREE)


def lines(*quantities: int) -> list[dict[str, object]]:
    return [{"sku": sku, "quantity": quantity} for sku, quantity in zip(THREE, quantities, strict=True)]


def test_an_order_that_lacks_one_card_of_three_hundred_holds_nothing(stack: Stack, three_shelves: Counter[str]) -> None:
    reply = stack.buyer().try_to_place("", lines=lines(EACH, EACH + 1, EACH))
    assert (reply.status, reply.code) == (409, "out_of_stock"), reply.body
    assert available(stack) == three_shelves


def test_an_order_of_three_hundred_cards_that_nobody_pays_frees_them_all(
    stack: Stack, three_shelves: Counter[str]
) -> None:
    regretful = stack.buyer()
    cancelled = regretful.place("", lines=lines(EACH, EACH, EACH))
    assert available(stack) == {}
    assert regretful.cancel(cancelled).body["status"] == "cancelled"
    wait_for(lambda: available(stack) == three_shelves, "every card to be free")
    order = stack.buyer().place("", lines=lines(EACH, EACH, EACH))
    assert available(stack) == {}
    stack.deadlines(16)
    wait_for(lambda: stack.status(order.order_id) == "expired", "the order to expire")

    def freed() -> bool:
        stack.deadlines(18)
        return available(stack) == three_shelves

    wait_for(freed, "every card to be free")


def test_an_order_of_three_hundred_cards_is_paid_delivered_and_shown_whole(
    stack: Stack, three_shelves: Counter[str]
) -> None:
    buyer, reference = stack.buyer(), uuid.uuid4().hex
    with stack.weather.death("order-intake", 4, reference) as fault:
        reply = persistently(
            lambda: buyer.try_to_place("", lines=lines(EACH, EACH, EACH), client_ref=reference),
        )
    assert fault.struck, "the process died between two chunks"
    assert reply.status == 201, reply.body
    order = order_in(reply)
    buyer.pay(order)
    if stack.until(order.order_id, "review", "delivered") == "review":
        review = stack.head(order.order_id)["review_id"]
        assert stack.console("POST", f"/reviews/{review}/approve", {}, role="operator").status == 200
    stack.until(order.order_id, "delivered")
    assert len(set(buyer.reveal(order))) == 3 * EACH
    assert available(stack) == {}
    assert stack.entries(order.order_id) == {"payment": 1, "delivery": 1}


def test_a_large_order_of_codes_that_we_make_is_delivered_whole(stack: Stack) -> None:
    buyer = stack.buyer()
    order = buyer.place("C060", 100)
    buyer.pay(order)
    if stack.until(order.order_id, "review", "delivered") == "review":
        review = stack.head(order.order_id)["review_id"]
        assert stack.console("POST", f"/reviews/{review}/approve", {}, role="operator").status == 200
    stack.until(order.order_id, "delivered")
    assert len(set(buyer.reveal(order))) == 100


def test_a_large_order_that_is_refunded_half_way_gets_all_its_money_back(stack: Stack) -> None:
    buyer = stack.buyer()
    order = buyer.place("C060", 95)
    with stack.weather.death("card-dispatch", 3, order.order_id) as fault:
        buyer.pay(order)
        if stack.until(order.order_id, "review", "cleared") == "review":
            review = stack.head(order.order_id)["review_id"]
            assert stack.console("POST", f"/reviews/{review}/approve", {}, role="operator").status == 200
        wait_for(lambda: fault.struck, "the process to die between two chunks")
    reply = stack.console("POST", f"/orders/{order.order_id}/refunds", {"reason": "too slow"}, role="operator")
    assert reply.status == 201, reply.body
    stack.until(order.order_id, "refunded")
    assert buyer.try_to_reveal(order).status == 409
