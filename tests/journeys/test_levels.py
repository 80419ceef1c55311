"""Levels: right within seconds of what happens to cards, and held to the cards each night."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from shared.kernel import clock
from tests.journeys import stockroom
from tests.journeys.stack import Stack, wait_for

SKU = "G030"


def night_after(day: date) -> str:
    """When the stocktake runs that ends this day in Shanghai."""
    return datetime.combine(day + timedelta(days=1), time(0, 5), clock.SHANGHAI).astimezone(UTC).isoformat()


def today() -> date:
    return clock.shanghai_day(datetime.now(UTC))


def test_levels_follow_the_cards_within_seconds(stack: Stack) -> None:
    low = stack.console("POST", f"/skus/{SKU}/terms", {"low": 3}, role="operator")
    assert low.status == 200, low.body
    stockroom.lot(stack, SKU, 5, supplier="quicksilver")
    stockroom.until_levels(stack, SKU, available=5, held=0, sold=0)
    buyer = stack.buyer()
    order = buyer.place(SKU, 2)
    stockroom.until_levels(stack, SKU, available=3, held=2)
    buyer.pay(order)
    stack.until(order.order_id, "delivered")
    other = stack.buyer()
    unpaid = other.place(SKU)
    view = stockroom.until_levels(stack, SKU, available=2, held=1, sold=2)
    assert (view["low"], view["channels"]["shop"]) == (True, {"held": 1, "sold": 2})
    wait_for(lambda: [task for task in tasks(stack) if task["about"] == SKU], "a person to be told that it is low")

    listed = stack.console("GET", "/stock?low=true", role="auditor").body["skus"]
    assert SKU in {one["sku"] for one in listed}
    other.cancel(unpaid)
    stockroom.until_levels(stack, SKU, available=3, held=0)
    day = today().isoformat()
    stockroom.recall(stack, supplier="quicksilver", **{"from": day, "to": day})
    stockroom.until_levels(stack, SKU, available=0, frozen=3, sold=2)


def test_the_night_takes_expired_cards_away_and_sets_levels_right(stack: Stack) -> None:
    soon, later = today() + timedelta(days=3), today() + timedelta(days=300)
    stockroom.lot(stack, "G031", 4, expires_on=soon.isoformat(), cost_minor=500)
    stockroom.lot(stack, "G031", 2, expires_on=later.isoformat())
    stockroom.until_levels(stack, "G031", available=6)
    stack.client("dynamodb").update_item(
        TableName=f"kaquan-{stack.stage}-levels",
        Key={"of": {"S": "sku#G031"}, "part": {"S": next(iter(parts(stack, "sku#G031")))}},
        UpdateExpression="ADD available :wrong",
        ExpressionAttributeValues={":wrong": {"N": "7"}},
    )
    assert stockroom.levels(stack, "G031")["levels"]["available"] == 13

    stack.invoke("stocktake", {"time": datetime.now(UTC).isoformat()})
    stockroom.until_levels(stack, "G031", available=6)
    near = stock_near(stack)
    assert near["G031"] == [{"day": soon.isoformat(), "cards": 4}]
    assert [task for task in tasks(stack) if task["kind"] == "near_expiry"]

    for _ in range(2):
        stack.invoke("stocktake", {"time": night_after(soon)})
    stockroom.until_levels(stack, "G031", available=2, expired=4)
    of_ours = [entry for entry in stack.table("ledger") if entry.get("kind") == "expired" and "G031" in entry["legs"]]
    assert len(of_ours) == 1
    buyer = stack.buyer()
    assert len(buyer.reveal(buyer.buy("G031", 2))) == 2
    assert "G031" not in stock_near(stack)


def tasks(stack: Stack) -> list[dict[str, str]]:
    return list(stack.console("GET", "/tasks", role="auditor").body["tasks"])


def parts(stack: Stack, of: str) -> list[str]:
    return [item["part"] for item in stack.table("levels") if item["of"] == of and "available" in item]


def stock_near(stack: Stack) -> dict[str, list[dict[str, object]]]:
    reply = stack.console("GET", "/stock/near-expiry", role="auditor")
    assert reply.status == 200, reply.body
    return {one["sku"]: one["days"] for one in reply.body["skus"]}
