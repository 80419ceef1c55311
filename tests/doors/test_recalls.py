"""Trace and recall through the doors: what staff see and ask for, and what the buyer notices."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from shared.inventory import lots
from shared.inventory import records as inventory
from shared.kernel import clock
from shared.steps import bulk_jobs, settlement
from tests import recalled
from tests.shop import Answer, Placed, Shop

PHONE = "13800138000"


def bought(shop: Shop, quantity: int = 1, **more: Any) -> Placed:
    order = shop.placed("G020", quantity, **more)
    shop.pay(order)
    shop.pump()
    assert shop.status(order) == "delivered"
    return order


def stocked(shop: Shop, *codes: str) -> str:
    """A lot of its own; returns its id."""
    report = shop.stock("G020", list(codes)).body
    assert report["accepted"] == len(codes)
    return str(report["lots"][0])


def asked(shop: Shop, path: str, body: Any = None, groups: str = "operator") -> Answer:
    return shop.call("POST" if body is not None else "GET", path, body, groups=groups)


def codes_of(shop: Shop, order: Placed) -> list[str]:
    return [card["code"] for card in shop.reveal(order).body["cards"]]


def test_one_command_freezes_a_lot_and_its_buyer_sees_another_code(shop: Shop) -> None:
    bad = stocked(shop, "BAD-CODE-0001", "BAD-CODE-0002")
    order = bought(shop)
    [old] = codes_of(shop, order)
    sound = stocked(shop, "GOOD-CODE-0003")

    answer = asked(shop, "/console/recalls", {"lot_id": bad, "reason": "the supplier says so"})
    assert (answer.status, answer.body["state"]) == (201, "running")
    shop.pump()

    recall = asked(shop, f"/console/recalls/{answer.body['recall_id']}").body
    figures = ("state", "frozen", "sold", "replaced", "refunded", "for_a_person", "open")
    assert {name: recall[name] for name in figures} == {
        "state": "done",
        "frozen": 1,
        "sold": 1,
        "replaced": 1,
        "refunded": 0,
        "for_a_person": 0,
        "open": 0,
    }
    assert old.startswith("BAD")
    assert codes_of(shop, order) == ["GOOD-CODE-0003"]
    seen = shop.call("GET", f"/orders/{order.order_id}", token=order.token).body
    assert (seen["status"], seen["notice"]["code"]) == ("delivered", "replaced")
    [listed] = asked(shop, f"/console/recalls/{recall['recall_id']}/cards").body["cards"]
    assert (listed["order_id"], listed["state"]) == (order.order_id, "replaced")
    [card] = asked(shop, f"/console/orders/{order.order_id}/cards").body["cards"]
    assert (card["card_id"], card["lot_id"]) == (listed["replaced_by"], sound)
    assert asked(shop, "/console/recalls").body["recalls"] == [recall]
    assert [task["kind"] for task in asked(shop, "/console/tasks").body["tasks"]] == ["recall_done"]


def test_what_cannot_be_replaced_is_paid_back_through_the_provider(shop: Shop) -> None:
    bad = stocked(shop, "BAD-CODE-0001")
    order = bought(shop)
    asked(shop, "/console/recalls", {"lot_id": bad, "reason": "bad"})
    shop.pump()

    assert shop.status(order) == "refunded"
    seen = shop.call("GET", f"/orders/{order.order_id}", token=order.token).body
    assert (seen["notice"]["code"], bool(seen["notice"]["zh"]), seen["notice"]["en"].isascii()) == (
        "refunded_recall",
        True,
        True,
    )
    assert shop.reveal(order).status == 409
    assert settlement.running(clock.now()).trial_balance == {"CNY": 0}


def test_a_card_that_is_held_when_its_lot_is_recalled_is_not_delivered(shop: Shop) -> None:
    bad = stocked(shop, "BAD-CODE-0001")
    order = shop.placed()
    stocked(shop, "GOOD-CODE-0002")
    asked(shop, "/console/recalls", {"lot_id": bad, "reason": "bad"})
    shop.pump()
    shop.pay(order)
    shop.pump()

    assert shop.status(order) == "delivered"
    assert codes_of(shop, order) == ["GOOD-CODE-0002"]
    states = {str(card.lot_id) == bad: str(card.state) for card in inventory.Card.scan()}
    assert states == {True: "frozen", False: "sold"}


def test_what_is_recalled_while_its_import_is_taken_back_is_given_back_once(shop: Shop) -> None:
    lot = stocked(shop, "BAD-CODE-0001", "BAD-CODE-0002", "BAD-CODE-0003")
    imported = f"/console/imports/{asked(shop, f'/console/lots/{lot}').body['job_id']}"
    assert asked(shop, f"{imported}/undo", {}).body["state"] == "undoing"
    lots.undo(lot)  # so its worker begins
    done = recalled.run(asked(shop, "/console/recalls", {"lot_id": lot, "reason": "bad"}).body["recall_id"])
    assert (done.state, done.frozen) == ("done", 3)
    bulk_jobs.work({"job_id": imported.rpartition("/")[2]}, clock.now())

    assert asked(shop, imported).body["state"] == "undone"
    assert recalled.states() == {"void": 3}
    assert recalled.balance("inventory") == recalled.balance("payable:acme") + recalled.balance("rounding") == 0
    assert recalled.books().trial_balance == {"CNY": 0}


def test_a_trace_leads_from_the_supplier_to_the_buyer_and_back(shop: Shop) -> None:
    lot = stocked(shop, "SOME-CODE-0001", "SOME-CODE-0002", "SOME-CODE-0003")
    order = bought(shop, 2, phone=PHONE)

    [listed] = asked(shop, "/console/lots?supplier=acme", groups="auditor").body["lots"]
    assert (listed["lot_id"], listed["state"], listed["supplier"]) == (lot, "open", "acme")
    assert asked(shop, f"/console/lots?supplier=acme&from={clock.shanghai_day(clock.now())}").body["lots"] == [listed]
    assert asked(shop, "/console/lots?supplier=acme&to=2020-01-01").body["lots"] == []
    shown = asked(shop, f"/console/lots/{lot}").body
    assert shown["cards"] == {"available": 1, "held": 0, "sold": 2, "frozen": 0, "expired": 0, "void": 0}
    of_lot = asked(shop, f"/console/lots/{lot}/cards").body["cards"]
    assert sorted(card["state"] for card in of_lot) == ["available", "sold", "sold"]
    assert {card["order_id"] for card in of_lot} == {None, order.order_id}

    found = asked(shop, "/console/buyers/search", {"phone": "138 0013 8000"}, groups="support").body
    [his] = found["orders"]
    assert (found["contact"], his["order_id"]) == ("138****8000", order.order_id)
    assert {(card["supplier"], card["lot_id"]) for card in his["cards"]} == {("acme", lot)}
    assert not [card for card in (*of_lot, *his["cards"]) if "CODE" in str(card)]


def test_a_long_lot_is_shown_page_by_page_without_a_gap(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.steps.trace.CARDS", 7)
    lot = stocked(shop, *(f"MANY-CODE-{n:04}" for n in range(40)))
    seen, path = [], f"/console/lots/{lot}/cards"
    cursor: str | None = ""
    while cursor is not None:
        page = asked(shop, f"{path}?cursor={cursor}" if cursor else path).body
        assert len(page["cards"]) <= 7
        seen += [card["card_id"] for card in page["cards"]]
        cursor = page["next_cursor"]
    assert len(seen) == len(set(seen)) == 40


def test_a_suppliers_lots_are_shown_page_by_page_the_latest_first(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.steps.trace.LOTS", 2)
    now = clock.now()
    lots = [recalled.lot_of(1, received_at=now - timedelta(minutes=n // 2))[0] for n in range(5)]  # two at a time
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        page = asked(shop, "/console/lots?supplier=acme" + (f"&cursor={cursor}" if cursor else "")).body
        seen += [lot["lot_id"] for lot in page["lots"]]
        cursor = page["next_cursor"]
    assert sorted(seen) == sorted(lots)
    assert set(seen[:2]) == set(lots[:2])

    foreign = f"1999-01-01T00:00:00.000Z|{lots[0]}"
    path = f"/console/lots?supplier=acme&from={clock.shanghai_day(now)}&cursor={foreign}"
    assert asked(shop, path).body["fields"] == [{"field": "cursor", "reason": "bad_cursor"}]


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/console/recalls", {"lot_id": "lot_unknown", "reason": "x"}, 404, "not_found"),
        ("/console/recalls", {"reason": "x"}, 422, "invalid_request"),
        ("/console/recalls", {"supplier": "acme", "from": "2026-02-30", "to": "2026-03-01", "reason": "x"}, 422, None),
        ("/console/recalls/rcl_unknown", None, 404, "not_found"),
        ("/console/recalls/rcl_unknown/cards", None, 404, "not_found"),
        ("/console/lots", None, 422, "invalid_request"),
        ("/console/lots?supplier=acme&purchase_id=1", None, 422, "invalid_request"),
        ("/console/lots/lot_unknown", None, 404, "not_found"),
        ("/console/lots/quota", None, 404, "not_found"),
        ("/console/lots?supplier=acme&from=0001-01-01&to=9999-12-31", None, 200, None),
        ("/console/orders/ord_unknown/cards", None, 404, "not_found"),
        ("/console/buyers/search", {"phone": "nobody"}, 422, "no_contact"),
        ("/console/buyers/search", {"phone": PHONE, "email": "a@b.cn"}, 422, "no_contact"),
    ],
)
def test_what_does_not_exist_is_said_to(shop: Shop, path: str, body: Any, status: int, code: str | None) -> None:
    answer = asked(shop, path, body)
    assert (answer.status, answer.body.get("code") if code else None) == (status, code)


def test_only_the_shops_own_people_may_recall(shop: Shop) -> None:
    lot = stocked(shop, "SOME-CODE-0001")
    for groups, status in (("support", 403), ("auditor", 403), ("finance", 403), ("owner", 201)):
        assert asked(shop, "/console/recalls", {"lot_id": lot, "reason": "x"}, groups).status == status
