"""What is bought for stock on the deployed stack: named once a day is closed, ordered, and counted in as it comes."""

from __future__ import annotations

import base64
import json
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest

from infra.local import supply
from infra.local.client import Shop as Desk
from shared.kernel import clock
from tests.journeys import stockroom
from tests.journeys.stack import CATALOGUE, Reply, Stack, in_minutes, wait_for

SKU, BRAND = "X911", "乙牌"  # which no other journey sells
ROW = f"{SKU},视频会员,{BRAND},乙牌会员,月卡,card,30.00,25.00,19.80,,365,,"
COSTS = {"nearby": 1_500, "faraway": 1_600}  # minor units, of each of those who sell it
THEIRS = 24  # pieces that each of them has: all that can be ordered at once
SHELF, A_DAY, DAYS = 5, 3, 56  # cards that we have; how many were sold on each of so many days


@pytest.fixture(scope="module")
def shop(stack: Stack) -> Stack:
    """With two suppliers of whom a person buys: all that is known of them is their price lists."""
    head = CATALOGUE.read_text(encoding="utf-8-sig").partition("\n")[0]
    view = stack.import_catalogue(f"{head}\n{ROW}\n".encode())
    assert (view["state"], view["counts"]["refused"]) == ("done", 0), view
    owner, operator = (Desk(stack.api, stack.token(role)) for role in ("owner", "operator"))
    for code, cost in COSTS.items():
        path, company = f"/console/suppliers/{code}", f"{code}（本机模拟）有限公司"
        known = owner.call("PUT", path, {"kind": "pricelist", "name": code, "company": company})
        supply.show_papers(company, {BRAND}, path, known, owner, operator)
        operator.call("POST", f"{path}/review")
        owner.call("POST", f"{path}/approve")
        table = f"商品编号,商品名称,供货价,库存\nB1,乙牌会员 月卡,{cost / 100:.2f},{THEIRS}\n"
        taken = owner.call("POST", f"{path}/pricelist", {"content": base64.b64encode(table.encode()).decode()})
        assert taken["new"] == 1, taken
        owner.call("POST", f"/console/offers/{code}/map", {"product": "B1", "sku": SKU})
    return stack


def at(day: date, hour: int, minute: int) -> dict[str, str]:
    """What a schedule is woken with at this time of a day in Shanghai."""
    return {"time": datetime.combine(day, time(hour, minute), clock.SHANGHAI).isoformat()}


def sold_before(stack: Stack, last: date) -> None:
    """What the nights of eight weeks leave behind of a SKU that sold evenly and never ran out."""
    days = {"last": last.isoformat(), "sold": json.dumps([A_DAY] * DAYS), "hours": json.dumps([24] * DAYS)}
    stack.client("dynamodb").put_item(
        TableName=f"kaquan-{stack.stage}-levels",
        Item={name: {"S": value} for name, value in {"of": f"history#{SKU}", "part": "days", **days}.items()},
    )


def not_yet_ranked(stack: Stack) -> None:
    """Forget the list that the hourly run has made by itself, if another journey had closed the day before it."""
    stack.client("dynamodb").delete_item(
        TableName=f"kaquan-{stack.stage}-levels", Key={"of": {"S": "procurement"}, "part": {"S": "latest"}}
    )


def procurement(stack: Stack) -> Any:
    shown = stack.console("GET", "/procurement", role="auditor")
    assert shown.status == 200, shown.body
    return shown.body


def named(stack: Stack) -> dict[str, Any] | None:
    """What is said of the SKU, if it should be bought."""
    return next((one for one in procurement(stack)["advice"] if one["sku"] == SKU), None)


def received(stack: Stack) -> dict[str, int]:
    """By order that is on its way, how many of its cards have come."""
    return {one["order"]: one["received"] for one in procurement(stack)["on_their_way"]}


def order(stack: Stack, quantity: int, key: str) -> Reply:
    wanted = {"sku": SKU, "quantity": quantity}
    return stack.console("POST", "/procurement/orders", wanted, "operator", Idempotency_Key=key)


def bring(stack: Stack, number: str, count: int) -> None:
    """Import so many cards of an order, and let the hour pass."""
    lot_id, _ = stockroom.lot(stack, SKU, count, supplier="nearby", purchase_id=number, cost_minor=COSTS["nearby"])
    path = f"/lots/{lot_id}"
    wait_for(
        lambda: stack.console("GET", path, role="auditor").body["cards"]["available"] == count, "the level of the lot"
    )
    assert stack.invoke("supplier-scores", {"time": in_minutes(0)}) is None


def test_what_runs_out_is_named_once_the_day_is_closed_and_is_on_its_way_until_imports_have_brought_it(
    shop: Stack,
) -> None:
    today = clock.shanghai_day(datetime.now(UTC))
    yesterday = today - timedelta(days=1)
    stockroom.lot(shop, SKU, SHELF)
    stockroom.until_levels(shop, SKU, available=SHELF)
    assert named(shop) is None
    sold_before(shop, yesterday - timedelta(days=1))
    assert shop.invoke("supplier-scores", at(yesterday, 18, 10)) is None

    not_yet_ranked(shop)
    for function, hour, minute in (("settlement", 0, 25), ("supplier-scores", 1, 10)):
        assert shop.invoke(function, at(today, hour, minute)) is None
    assert procurement(shop)["day"] == yesterday.isoformat()
    wanted = named(shop)
    assert wanted is not None
    assert (wanted["on_hand"], wanted["on_order"]) == (SHELF, 0)
    assert 0 < wanted["hours_left"] < 72
    assert [offer["supplier"] for offer in wanted["offers"]] == ["nearby", "faraway"]
    assert [bool(reason["zh"] and reason["en"]) for reason in wanted["reasons"]] == [True] * len(wanted["reasons"])

    quantity = wanted["quantity"]
    ordered = order(shop, quantity, "what-runs-out")
    assert (ordered.status, ordered.body["supplier"]) == (201, "nearby"), ordered.body
    assert ordered.body["cost"]["amount_minor"] == quantity * COSTS["nearby"]
    number = ordered.body["order"]
    assert (named(shop), received(shop)[number]) == (None, 0)
    bring(shop, number, quantity // 2)
    assert received(shop)[number] == quantity // 2
    bring(shop, number, quantity - quantity // 2)
    assert number not in received(shop)
    assert named(shop) is None
    stockroom.until_levels(shop, SKU, available=SHELF + quantity)


def test_who_orders_twice_by_mistake_has_one_order_and_closes_what_does_not_come_of_it(shop: Stack) -> None:
    first, again = (order(shop, 20, "pressed-twice") for _ in range(2))
    assert (first.status, again.status) == (201, 201), first.body
    assert first.body == again.body
    other = order(shop, 21, "pressed-twice")
    assert (other.status, other.code) == (422, "idempotency_key_reused")

    number = first.body["order"]
    assert [one for one in received(shop) if one == number] == [number]
    for _ in range(2):
        closed = shop.console("POST", f"/procurement/orders/{number}/close", role="operator")
        assert (closed.status, closed.body["state"]) == (200, "closed"), closed.body
    assert number not in received(shop)
