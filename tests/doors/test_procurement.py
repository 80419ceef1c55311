"""What to buy for stock: from what was sold and how long it could be, to orders whose cards come by an import."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from shared.catalog import records as catalog
from shared.insights import history
from shared.insights.history import Day
from shared.kernel import clock
from shared.kernel.errors import Unfinished
from shared.kernel.money import Money
from shared.kernel.records import Transaction
from shared.ledger import posting
from shared.ledger import records as ledger
from shared.steps import procurement, sales_history, settlement
from shared.suppliers import scores, stock_orders
from shared.suppliers.accounts import Head
from shared.suppliers.admission import Standing, same
from shared.suppliers.offers import Offer
from tests import imported
from tests.counted import counted
from tests.deaths import Died, dying_after
from tests.shop import CONTEXT, Answer, Shop, handler

SKU, OTHER, TOPUP = "G020", "V001", "V005"
TODAY = clock.shanghai_day(clock.now())
YESTERDAY = TODAY - timedelta(days=1)


def at(hour: float, day: date = TODAY) -> datetime:
    """A moment of a day in Shanghai."""
    return datetime(day.year, day.month, day.day, tzinfo=clock.SHANGHAI).astimezone(UTC) + timedelta(hours=hour)


def supplier(code: str, sku: str = SKU, share: float = 0.9, trust: dict[str, Any] | None = None, **offer: Any) -> str:
    """Somebody who may sell the SKU, for a share of what we sell it for."""
    found = catalog.skus([sku])[sku]
    synced = clock.iso(clock.now())
    brands = {same(found.brand): "9999-12-31"}
    Head(
        code,
        name=code,
        kind="dujiao",
        terms={},
        standing=Standing.APPROVED,
        brands=brands,
        synced_at=synced,
        trust=trust,
    ).save()
    cost_e6 = round(found.price_minor * 10_000 * share)
    values = {"stock": 500, "delivers": "cards", "changed_at": synced, **offer}
    Offer(code, f"{sku}-1", title=found.title, cost_e6=cost_e6, sku=sku, **values).save()
    return code


def stocked(shop: Shop, count: int, sku: str = SKU) -> None:
    for _ in range(count):
        shop.stock(sku)
    shop.pump()


def sold(pieces: int, day: date, sku: str = SKU) -> None:
    """The books of a day in which so many were delivered."""
    now, amount = at(12, day), Money(1000 * pieces)
    with Transaction() as tx:
        paid = posting.payment_received("sandbox", amount, 0, [(sku, amount.minor)])
        ledger.post(tx, "payment", paid, now, channel="shop", provider="sandbox")
        line = posting.Line(sku, pieces, amount, [8_000_000] * pieces)
        ledger.post(tx, "delivered", posting.delivered([line]), now, channel="shop", provider="sandbox")


def past(
    a_day: Sequence[int], sku: str = SKU, hours: int | None = 24, last: date = YESTERDAY - timedelta(days=1)
) -> None:
    """What was sold on so many days up to `last`."""
    days = {last - timedelta(days=back): Day(pieces, hours) for back, pieces in enumerate(reversed(a_day))}
    history.keep({sku: days}, last)
    history.rank([], last, clock.now())


def close(day: date = YESTERDAY) -> None:
    settlement.close(day, at(0.5, day + timedelta(days=1)))


def hourly(now: datetime) -> None:
    handler("supplier_scores")({"time": clock.iso(now)}, CONTEXT)


def advice(shop: Shop, query: str = "") -> list[dict[str, Any]]:
    answer = shop.call("GET", f"/console/procurement{query}", groups="auditor")
    assert answer.status == 200, answer.body
    return list(answer.body["advice"])


def order(shop: Shop, key: str = "a key", groups: str = "operator", **wanted: Any) -> Answer:
    return shop.call(
        "POST", "/console/procurement/orders", {"sku": SKU, **wanted}, groups=groups, **{"Idempotency-Key": key}
    )


def on_their_way(shop: Shop) -> list[dict[str, Any]]:
    return list(shop.call("GET", "/console/procurement", groups="auditor").body["on_their_way"])


def test_a_day_becomes_what_was_sold_and_how_long_it_could_be(shop: Shop) -> None:
    stocked(shop, 2)
    hourly(at(9, YESTERDAY))
    hourly(at(9.5, YESTERDAY))  # the same hour again is no second look
    hourly(at(10, YESTERDAY))
    shop.pay(shop.placed(quantity=2))
    shop.pump()
    hourly(at(11, YESTERDAY))
    hourly(at(12, YESTERDAY))
    sold(2, YESTERDAY)
    hourly(at(0.2))
    assert history.of([SKU]) == {}  # the day is not closed yet

    close()
    hourly(at(1.2))
    hourly(at(2.2))
    assert history.of([SKU])[SKU].days[YESTERDAY] == Day(sold=2, hours=12)


def test_what_suppliers_would_sell_for_an_order_counts_as_there(shop: Shop) -> None:
    stocked(shop, 1)
    shop.pay(shop.placed())
    shop.pump()
    sales_history.look(at(9, YESTERDAY))
    supplier("acme")
    sales_history.look(at(10, YESTERDAY))

    assert history.hours_of(YESTERDAY)[SKU] == 12


def test_days_that_were_closed_before_anybody_looked_are_read_once_and_taken_for_days_in_stock(shop: Shop) -> None:
    for back in (3, 1):
        sold(back, TODAY - timedelta(days=back))
        close(TODAY - timedelta(days=back))
    assert sales_history.fold(None, at(1)) == YESTERDAY

    days = history.of([SKU])[SKU].days
    assert [days[TODAY - timedelta(days=back)] for back in (3, 2, 1)] == [Day(3, None), Day(0, None), Day(1, None)]
    assert min(days) == TODAY - timedelta(days=3)
    assert history.of([OTHER]) == {}


def test_a_year_of_days_is_kept_and_no_more(shop: Shop) -> None:
    past([1] * 400)

    kept = history.of([SKU])[SKU]
    assert (len(kept.days), str(kept.last)) == (history.DAYS_MAX, (YESTERDAY - timedelta(days=1)).isoformat())


def test_what_is_worth_most_comes_first_with_reasons_and_the_cheapest_healthy_supplier(shop: Shop) -> None:
    stocked(shop, 2)
    stocked(shop, 1, OTHER)
    past([1] * 60, OTHER)
    past([20] * 60)
    for code, share in (("dear", 0.9), ("cheap", 0.85)):
        supplier(code, share=share)
    family = catalog.skus([SKU])[SKU].category
    supplier("doubt", share=0.84, trust={family: ["C", 0.9, 5.0]})  # his cards would rest for a day
    supplier("stopped", share=0.84)
    Head("stopped").update([Head.stopped.set("bad_signature")])
    close()
    hourly(at(1.2))

    first, second = advice(shop)
    assert (first["sku"], second["sku"]) == (SKU, OTHER)
    assert [offer["supplier"] for offer in first["offers"]] == ["cheap", "dear", "doubt"]
    assert (first["on_hand"], first["on_order"]) == (2, 0)
    assert 17_000 < first["wanted_e3"] < 22_000
    assert 20 < first["quantity"] <= 500
    assert len(first["reasons"]) >= 3
    assert all(reason["zh"] and reason["en"] for reason in first["reasons"])
    assert second["offers"] == []  # nobody sells it: it is in the list all the same
    page = shop.call("GET", "/console/procurement?limit=1", groups="auditor").body
    assert [one["sku"] for one in page["advice"]] == [SKU]
    assert [one["sku"] for one in advice(shop, f"?limit=1&cursor={page['next_cursor']}")] == [OTHER]


def test_an_order_for_stock_is_on_its_way_until_its_cards_have_come_by_an_import(shop: Shop) -> None:
    stocked(shop, 1)
    past([20] * 60)
    supplier("cheap", share=0.85)
    supplier("dear", share=0.9)
    close()
    hourly(at(1.2))
    [wanted] = advice(shop)

    made = order(shop, quantity=wanted["quantity"])
    assert (made.status, made.body["supplier"], made.body["state"]) == (201, "cheap", "open")
    assert advice(shop) == []
    assert [one["order"] for one in on_their_way(shop)] == [made.body["order"]]

    codes = [f"CAME-{number}" for number in range(wanted["quantity"])]
    for part in (codes[:5], codes[5:]):
        name = f"{part[0]}.txt"
        seen = imported.take_in(
            "\n".join(part).encode(), name, clock.now(), SKU, supplier="cheap", purchase_id=made.body["order"]
        )
        shop.done.add(seen.job_id)
        shop.pump()
        hourly(clock.now())
        if part == codes[:5]:
            assert [one["received"] for one in on_their_way(shop)] == [5]
    assert on_their_way(shop) == []
    assert stock_orders.order_of(made.body["order"]).state == "received"


def test_what_to_buy_is_said_also_where_a_supplier_cannot_be_scored(shop: Shop) -> None:
    stocked(shop, 1)
    past([20] * 60)
    supplier("broken")
    scores.Kept("broken", "score#x", record={}, score={}, began={}, until=clock.iso(at(0))).save()
    close()

    with pytest.raises(Unfinished):
        hourly(at(1.2))
    assert [one["sku"] for one in advice(shop)] == [SKU]


def test_a_run_that_dies_anywhere_is_made_good_by_the_next(shop: Shop) -> None:
    stocked(shop, 1)
    past([20] * 60)
    hourly(at(9, YESTERDAY))
    sold(3, YESTERDAY)
    close()

    deaths = 0
    while True:
        with dying_after(deaths + 1):
            try:
                hourly(at(1.2))
            except Died:
                deaths += 1
                continue
        break
    assert deaths >= 3  # looks, histories, the list
    assert history.of([SKU])[SKU].days[YESTERDAY] == Day(3, 24)
    assert len(history.of([SKU])[SKU].days) == 61
    assert [one["sku"] for one in advice(shop)] == [SKU]


def test_how_long_a_supplier_takes_is_learnt_from_what_came_of_him() -> None:
    start = at(8)
    came = [
        stock_orders.StockOrder(
            sold_by="slow",
            state="received",
            ordered_at=clock.iso(start),
            over_at=clock.iso(start + timedelta(days=days)),
        )
        for days in (5, 6, 7, 6, 6, 6)
    ]
    closed = stock_orders.StockOrder(
        sold_by="gone", state="closed", ordered_at=clock.iso(start), over_at=clock.iso(start + timedelta(days=30))
    )

    leads = procurement._leads([*came, closed])
    assert set(leads) == {"slow"}
    assert 4 < leads["slow"][0] < 6
    assert leads["slow"][1] > 0.5


def test_the_same_key_makes_one_order_and_another_request_with_it_is_refused(shop: Shop) -> None:
    supplier("acme")
    first, again = order(shop, "key-1", quantity=40), order(shop, "key-1", quantity=40)

    assert first.body == again.body
    assert len(on_their_way(shop)) == 1
    other = order(shop, "key-1", quantity=41)
    assert (other.status, other.body["code"]) == (422, "idempotency_key_reused")
    assert order(shop, "", quantity=40).body["fields"] == [{"field": "Idempotency-Key", "reason": "required"}]


def test_no_more_is_ordered_than_is_looked_for(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stock_orders, "OPEN_MAX", 2)
    supplier("acme")
    first, _ = order(shop, "1", quantity=40), order(shop, "2", quantity=40)
    refused = order(shop, "3", quantity=40)
    assert (refused.status, refused.body["code"], refused.body["limit"]) == (409, "too_much_on_its_way", 2)

    assert order(shop, "1", quantity=40).body == first.body
    shop.call("POST", f"/console/procurement/orders/{first.body['order']}/close", groups="operator")
    assert order(shop, "3", quantity=40).status == 201


@pytest.mark.parametrize(
    ("wanted", "status", "code"),
    [
        ({"quantity": 9}, 409, "nobody_sells"),  # he sells ten at least
        ({"quantity": 501}, 409, "nobody_sells"),  # more than he has
        ({"quantity": 40, "supplier": "nobody"}, 409, "nobody_sells"),
        ({"quantity": 40, "supplier": "doubt"}, 409, "nobody_sells"),
        ({"quantity": 40, "sku": "no such"}, 404, "unknown_sku"),
        ({"quantity": 1, "sku": TOPUP}, 409, "nobody_sells"),  # there is no stock of top-ups
    ],
)
def test_what_nobody_sells_is_not_ordered(shop: Shop, wanted: dict[str, Any], status: int, code: str) -> None:
    supplier("acme", least=10)
    supplier("filler", TOPUP, delivers="topup")
    supplier("doubt", trust={catalog.skus([SKU])[SKU].category: ["D", 0.9, 5.0]})
    refused = order(shop, **wanted)

    assert (refused.status, refused.body["code"]) == (status, code)
    assert on_their_way(shop) == []


def test_who_buys_by_hand_may_take_more_than_one_call_would_and_pays_for_it_then(shop: Shop) -> None:
    supplier("bulk", least=100)
    Head("bulk").update([Head.balance_minor.set(0)])

    assert order(shop, quantity=100).status == 201


def test_the_rest_of_an_order_that_does_not_come_is_closed_by_a_person(shop: Shop) -> None:
    supplier("acme")
    made = order(shop, quantity=40).body["order"]
    for _ in range(2):
        closed = shop.call("POST", f"/console/procurement/orders/{made}/close", groups="operator", operator="bob").body
        assert (closed["state"], closed["closed_by"]) == ("closed", "bob")

    assert on_their_way(shop) == []
    assert shop.call("POST", "/console/procurement/orders/po_no/close", groups="operator").status == 404


def test_a_page_of_advice_scans_nothing_and_asks_for_each_sku_three_times(shop: Shop) -> None:
    for sku in (SKU, OTHER):
        stocked(shop, 1, sku)
        past([5] * 60, sku)
        supplier(f"of-{sku.lower()}", sku)
    close()
    hourly(at(1.2))

    with counted() as calls:
        assert len(advice(shop)) == 2
    assert calls == {"GetItem": 1, "Query": 2 + 2, "BatchGetItem": 3 + 2 * 2}
    with counted() as calls:
        hourly(at(2.2))
    assert "Scan" not in calls
