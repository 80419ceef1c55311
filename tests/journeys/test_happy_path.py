"""A card's way from a supplier's file to a buyer's hands to the books, over HTTP, on the deployed stack."""

from __future__ import annotations

from datetime import UTC, datetime

from shared.kernel import clock
from tests.journeys.stack import Stack


def test_a_card_goes_from_file_to_buyer_to_books(stack: Stack) -> None:
    (code,) = stack.stock("G020", 1)
    buyer = stack.buyer()
    lines = [{"sku": "G020", "quantity": 1}]
    quote = buyer.call("POST", "/quotes", {"lines": lines}).body
    assert (quote["total"]["amount_minor"], quote["lines"][0]["available"]) == (9700, True)

    order = buyer.place("G020", quote_hash=quote["quote_hash"])
    assert buyer.status(order) == "placed"
    assert buyer.try_to_reveal(order).code == "not_delivered"

    buyer.pay(order)
    stack.until(order.order_id, "delivered")
    assert buyer.reveal(order) == [code]
    assert stack.entries(order.order_id) == {"payment": 1, "delivery": 1}

    today = clock.shanghai_day(datetime.now(UTC)).isoformat()
    statement = stack.console("GET", f"/settlement/{today}", role="auditor").body
    assert [balance["amount_minor"] for balance in statement["trial_balance"]] == [0]
    (row,) = [row for row in statement["rows"] if row["sku"] == "G020" and row["channel"] == "shop"]
    assert row["sales"]["amount_minor"] >= 9700


def test_an_order_of_several_lines_and_lots_is_delivered_whole(stack: Stack) -> None:
    codes = {*stack.stock("G019", 1), *stack.stock("G019", 1), *stack.stock("E068", 1)}  # each import is a lot
    buyer = stack.buyer(email=stack.canaries.email())
    lines = [{"sku": "G019", "quantity": 2}, {"sku": "E068", "quantity": 1}, {"sku": "C061", "quantity": 1}]
    order = buyer.place("", lines=lines)
    buyer.pay(order)
    stack.until(order.order_id, "delivered")

    shown = buyer.reveal(order)
    assert len(shown) == 4
    assert codes < set(shown)
    assert stack.entries(order.order_id) == {"payment": 1, "delivery": 1}
