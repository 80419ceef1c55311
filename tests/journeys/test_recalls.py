"""A bad lot: frozen, traced to its buyers, made good, and claimed from its supplier."""

from __future__ import annotations

from tests.journeys import books, stockroom
from tests.journeys.stack import Stack, at_once, wait_for

COST = 4_000  # minor units, of each card


def test_a_bad_lot_is_frozen_its_buyers_get_other_cards_and_its_supplier_owes_us(stack: Stack) -> None:
    bad, bad_codes = stockroom.lot(stack, "C056", 8, supplier="bad-cards", cost_minor=COST)
    buyers = [stack.buyer() for _ in range(3)]
    orders = at_once(lambda buyer: buyer.buy("C056"), buyers, 3)
    seen = [buyer.reveal(order) for buyer, order in zip(buyers, orders, strict=True)]
    waiting = stack.buyer()
    unpaid = waiting.place("C056", 1)
    forgotten = stack.buyer().place("C056", 1)
    paying = stack.buyer()
    to_be_paid = paying.place("C056")
    _, good_codes = stockroom.lot(stack, "C056", 5, supplier="good-cards", cost_minor=COST)
    owed = books.balances(stack)["payable:bad-cards"]
    assert owed == -8 * COST

    view = stockroom.recall(stack, lot_id=bad)
    assert (view["frozen"], view["held"], view["sold"]) == (2, 3, 3), view
    assert (view["replaced"], view["refunded"], view["open"]) == (3, 0, 0), view
    assert view["claimed"] == {"amount_minor": 8 * COST, "currency": "CNY"}
    assert books.balances(stack)["payable:bad-cards"] == 0

    for buyer, order, before in zip(buyers, orders, seen, strict=True):
        told = buyer.call("GET", f"/orders/{order.order_id}", bearer=order.token).body["notice"]
        assert told["code"] == "replaced"
        (now,) = buyer.reveal(order)
        assert now in good_codes
        assert now not in before
    paying.pay(to_be_paid)
    stack.until(to_be_paid.order_id, "delivered")
    assert set(paying.reveal(to_be_paid)) < set(good_codes)
    waiting.cancel(unpaid)
    stack.deadlines(16)
    assert stack.status(forgotten.order_id) == "expired"
    of_bad = [card["state"] for card in stockroom.cards(stack, lot_id=bad)]
    assert sorted(of_bad) == ["frozen"] * 5 + ["sold"] * 3

    again = stockroom.recall(stack, lot_id=bad)
    unchanged = ("recall_id", "frozen", "held", "sold", "replaced", "refunded", "claimed")
    assert {name: again[name] for name in unchanged} == {name: view[name] for name in unchanged}
    assert books.balances(stack)["payable:bad-cards"] == 0
    made_good = stack.console("GET", f"/recalls/{view['recall_id']}/cards", role="auditor").body["cards"]
    assert {one["state"] for one in made_good} == {"replaced"}
    assert set(bad_codes).isdisjoint(str(made_good))
    listed = stack.console("GET", "/recalls", role="auditor").body["recalls"]
    assert view["recall_id"] in {one["recall_id"] for one in listed}


def test_where_nothing_can_take_its_place_the_money_goes_back_and_a_late_buyer_gets_no_bad_card(stack: Stack) -> None:
    bad, _ = stockroom.lot(stack, "C054", 3, supplier="worse-cards", purchase_id="PO-7", cost_minor=COST)
    limited = stack.console("POST", "/skus/C054/terms", {"quotas": {"shop": 9}}, role="operator")
    assert limited.status == 200, limited.body
    sold_to, paying = stack.buyer(), stack.buyer()
    sold = sold_to.buy("C054")
    unpaid = paying.place("C054")
    view = stockroom.recall(stack, purchase_id="PO-7")
    assert (view["frozen"], view["held"], view["sold"], view["refunded"]) == (1, 1, 1, 1), view
    stack.until(sold.order_id, "refunded")
    told = sold_to.call("GET", f"/orders/{sold.order_id}", bearer=sold.token).body["notice"]
    assert told["code"] == "refunded_recall"
    assert sold_to.try_to_reveal(sold).status == 409

    paying.pay(unpaid)
    assert stack.until(unpaid.order_id, "refunded", "delivered") == "refunded"
    assert {card["state"] for card in stockroom.cards(stack, lot_id=bad)} == {"frozen", "sold"}


def test_a_recalled_card_that_a_refused_order_holds_goes_into_the_ice(stack: Stack) -> None:
    bad, _ = stockroom.lot(stack, "C054", 1, supplier="no-cards", cost_minor=COST)
    crook = stack.buyer()
    denied = {"kind": "phone", "value": crook.contact["phone"], "verdict": "deny", "reason": "fraud", "days": 1}
    assert stack.console("POST", "/lists", denied, role="operator").status == 201
    order = crook.place("C054")
    assert stockroom.recall(stack, lot_id=bad)["held"] == 1

    crook.pay(order)
    stack.until(order.order_id, "refunded")
    assert [card["state"] for card in stockroom.cards(stack, lot_id=bad)] == ["frozen"]


def test_a_card_is_traced_from_its_supplier_to_its_buyer_and_back(stack: Stack) -> None:
    lot_id, (code,) = stockroom.lot(stack, "A065", 1, supplier="traced", purchase_id="PO-8")
    buyer = stack.buyer()
    order = buyer.buy("A065")
    assert buyer.reveal(order) == [code]

    (found,) = stack.console("GET", "/lots?supplier=traced", role="auditor").body["lots"]
    assert (found["lot_id"], found["purchase_id"]) == (lot_id, "PO-8")
    wait_for(
        lambda: stack.console("GET", f"/lots/{lot_id}", role="auditor").body["cards"]["sold"], "the level of the lot"
    )
    (card,) = stack.console("GET", f"/lots/{lot_id}/cards", role="auditor").body["cards"]
    assert (card["order_id"], card["supplier"], card["state"]) == (order.order_id, "traced", "sold")
    of_buyer = stack.console("POST", "/buyers/search", dict(buyer.contact), role="support").body["orders"]
    assert [one["order_id"] for one in of_buyer] == [order.order_id]
    assert [one["card_id"] for one in of_buyer[0]["cards"]] == [card["card_id"]]
    (of_order,) = stack.console("GET", f"/orders/{order.order_id}/cards", role="support").body["cards"]
    assert of_order["lot_id"] == lot_id
    page = stack.console("GET", f"/cards/{card['card_id']}", role="support").body
    assert (page["lot"]["supplier"], page["order"]["order_id"]) == ("traced", order.order_id)
    assert [look["viewer"] for look in page["views"]] == ["buyer"]
