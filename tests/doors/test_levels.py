"""The levels follow the cards through the stream; each night they are held to them, and what has expired goes."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient

from shared.catalog import records as catalog
from shared.catalog.terms import Terms
from shared.insights import records as insights
from shared.insights.levels import STATES, Key, Level, Seen, of_channel, of_lot, of_sku
from shared.inventory import lots, shelf
from shared.inventory import records as inventory
from shared.inventory.states import CardState
from shared.kernel import clock, ids
from shared.kernel.records import Transaction
from shared.ledger import posting
from shared.ledger import records as ledger
from shared.staff import records as staff
from shared.steps import settlement
from tests.deaths import Died, dying_after
from tests.doors.conftest import new_shop
from tests.shop import CONTEXT, Shop, handler

SKU = "G020"
SCALE = int(os.environ.get("SCALE", "1"))
POSSIBLE = {"available": ["hold", "hold", "freeze"], "held": ["release", "claim"], "frozen": ["void"]}
COST_E6 = 15_005_000  # rounded, each card by itself, to 15.00


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """In process the stream has told everything once it is pumped."""
    monkeypatch.setenv("SETTLE_SECONDS", "0")


@pytest.fixture
def atomic_shop(atomic_cloud: None, tmp_path: Path) -> Iterator[Shop]:
    """The same as `shop`, where many rows are quick."""
    with new_shop(tmp_path) as shop:
        yield shop


def stocked(count: int, expires_on: date | None = None, sku: str = SKU, aside: str | None = None) -> list[str]:
    """Cards of a new lot, with their purchase in the books."""
    now = clock.now()
    lot = lots.new_lot(ids.new("lot", now), "", "acme", "file.txt", b"-", 1, now)
    with Transaction() as tx:
        ledger.post(tx, "stock_in", posting.lot_bought("acme", sku, [COST_E6] * count), now, lot_id=str(lot.lot_id))
    made = [
        inventory.new_card(ids.new("crd", now), sku, lot, b"-", "••••0000", COST_E6, expires_on, 1)
        for _ in range(count)
    ]
    for card in made:
        if aside:
            card.home = card.shelf = shelf.aside(sku, aside)
        card.save()
    return [str(card.card_id) for card in made]


def move(how: str, card_id: str, chance: Random) -> None:
    """One legal move of a card."""
    with Transaction() as tx:
        if how == "hold":
            inventory.hold(tx, card_id, SKU, "ord_1", chance.choice(["shop", "taobao"]))
        elif how == "release":
            inventory.release(tx, card_id, "ord_1")
        elif how == "claim":
            inventory.claim(tx, card_id, "ord_1")
        elif how == "freeze":
            inventory.freeze(tx, card_id, "job_1")
        elif how == "void":
            inventory.void(tx, card_id, CardState.FROZEN)


def truth() -> dict[Key, tuple[int, ...]]:
    """The levels as the cards say."""
    numbers: dict[Key, Counter[str]] = {}
    for card in inventory.Card.scan():
        for key in Seen(card.sku, card.lot_id, card.state, card.channel).keys:
            numbers.setdefault(key, Counter())[card.state] += 1
    return {key: tuple(count[state] for state in STATES) for key, count in numbers.items()}


def told() -> dict[Key, tuple[int, ...]]:
    """The levels as they are stored, without those that are nothing but zeros."""
    return {key: level.numbers for key, level in insights.everything() if any(level.numbers)}


def counted(capsys: pytest.CaptureFixture[str]) -> Counter[str]:
    """What was counted since the last look."""
    found: Counter[str] = Counter()
    for line in capsys.readouterr().out.splitlines():
        if line.startswith('{"_aws"'):
            said = json.loads(line)
            for metric in said["_aws"]["CloudWatchMetrics"][0]["Metrics"]:
                value = said[metric["Name"]]
                found[metric["Name"]] += int(sum(value) if isinstance(value, list) else value)
    return found


def night(now: datetime | None = None) -> None:
    handler("stocktake")({"time": clock.iso(now or clock.now())}, CONTEXT)


def stream(shop: Shop) -> list[dict[str, Any]]:
    return [record for table, record in shop._changes() if table == "cards"]


def deliver(records: Sequence[dict[str, Any]]) -> None:
    handler("insights")({"Records": list(records)}, CONTEXT)


def books() -> tuple[int, int]:
    """What the books say of stock: minor units, cards."""
    legs = [
        leg
        for entry in ledger.entries_of(clock.shanghai_day(clock.now()))
        for leg in entry.legs
        if leg.account == "inventory"
    ]
    return sum(leg.amount_minor for leg in legs), sum(leg.quantity or 0 for leg in legs)


def tasks() -> list[str]:
    return sorted(str(task.id) for task in staff.open_tasks(100))


# --- within seconds ---


def test_levels_follow_a_sale_a_release_an_expiry_a_freeze_and_a_void(shop: Shop) -> None:
    tomorrow = clock.shanghai_day(clock.now()) + timedelta(days=1)
    lot = str(inventory.cards(stocked(5, tomorrow))[0].lot_id)
    shop.pump()
    assert insights.levels([SKU]) == {SKU: Level(available=5, moves=5)}

    sold, released = shop.placed(quantity=2), shop.placed(quantity=1, phone="13900139000")
    shop.pump()
    assert told() == {
        of_sku(SKU): Level(available=2, held=3).numbers,
        of_lot(lot): Level(available=2, held=3).numbers,
        of_channel(SKU, "shop"): Level(held=3).numbers,
    }

    shop.pay(sold)
    shop.call("POST", f"/orders/{released.order_id}/cancel", token=released.token)
    shop.pump()
    assert told() == {
        of_sku(SKU): Level(available=3, sold=2).numbers,
        of_lot(lot): Level(available=3, sold=2).numbers,
        of_channel(SKU, "shop"): Level(sold=2).numbers,
    }

    frozen = next(str(card.card_id) for card in inventory.Card.scan() if card.state == "available")
    move("freeze", frozen, Random(1))
    shop.pump()
    assert insights.levels([SKU])[SKU].numbers == Level(available=2, sold=2, frozen=1).numbers

    move("void", frozen, Random(1))
    shop.pump()
    night(clock.now() + timedelta(days=2))
    shop.pump()
    assert insights.levels([SKU])[SKU].numbers == Level(sold=2, expired=2, void=1).numbers
    assert told() == truth()


def test_a_batch_that_comes_twice_and_a_record_that_is_in_it_twice_count_once(shop: Shop) -> None:
    stocked(3)
    records = stream(shop)

    for _ in range(2):
        deliver([*records, records[0]])

    assert told() == truth()


def test_a_record_that_cannot_be_read_goes_aside_and_the_others_count(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    stocked(3)
    unreadable: list[dict[str, Any]] = [
        {"eventID": "1"},
        {"eventID": "2", "eventName": "INSERT", "dynamodb": {"Keys": {"card_id": {"S": "crd_1"}}, "NewImage": {}}},
        {
            "eventID": "3",
            "eventName": "INSERT",
            "dynamodb": {"NewImage": {"sku": {"S": "A"}, "lot_id": {"S": "l"}, "state": {"S": "lost"}}},
        },
        {"eventID": "4", "eventName": "MODIFY", "dynamodb": {"NewImage": {"state": {"S": "sold"}}, "OldImage": None}},
    ]
    deliver([*unreadable[:2], *stream(shop), *unreadable[2:]])

    assert told() == truth()
    assert counted(capsys)["InsightsUnreadable"] == 4
    url = os.environ["RELAY_FAILURES_QUEUE"]
    aside = boto3.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert {"event_id": "2", "keys": "card_id=crd_1"} in [json.loads(message["Body"]) for message in aside]


def test_counting_survives_a_death_after_every_write(shop: Shop) -> None:
    catalog.set_terms(SKU, Terms(low=1_000), clock.now())
    nth, died = 0, True
    while died:
        nth += 1
        stocked(2)
        records = stream(shop)
        try:
            with dying_after(nth) as seen:
                deliver(records)
        except Died:
            deliver(records)
        died = len(seen) >= nth
        assert told() == truth(), f"after write {nth}, a {seen[nth - 1]}"
        assert tasks() == [f"low_stock.{SKU}"]
    assert nth > 1


@pytest.mark.usefixtures("cloud")
@pytest.mark.parametrize("nth", [1, 2])
def test_a_batch_that_needs_two_transactions_counts_once_when_its_reader_dies_between_them(nth: int) -> None:
    cards = [{"sku": {"S": SKU}, "lot_id": {"S": f"lot_{n}"}, "state": {"S": "available"}} for n in range(120)]
    records = [
        {"eventID": str(n), "eventName": "INSERT", "dynamodb": {"NewImage": card}} for n, card in enumerate(cards)
    ]
    with pytest.raises(Died), dying_after(nth):
        deliver(records)
    deliver(records)

    assert told() == {
        of_sku(SKU): Level(available=120).numbers,
        **{of_lot(f"lot_{n}"): Level(available=1).numbers for n in range(120)},
    }


def test_a_sku_that_falls_below_its_threshold_is_told_once_until_it_has_been_above_it(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog.set_terms(SKU, Terms(low=3), clock.now())
    cards = stocked(4)
    shop.pump()
    assert (tasks(), counted(capsys)["LowStock"]) == ([], 0)

    for card_id in cards[:2]:
        move("freeze", card_id, Random(1))
    shop.pump()
    assert (tasks(), counted(capsys)["LowStock"]) == ([f"low_stock.{SKU}"], 1)

    staff.close_task(f"low_stock.{SKU}", "ann", "ordered", clock.now())
    move("freeze", cards[2], Random(1))
    shop.pump()
    assert (tasks(), counted(capsys)["LowStock"]) == ([], 0)

    more = stocked(5)
    shop.pump()
    for card_id in more[:4]:
        move("freeze", card_id, Random(1))
    shop.pump()
    assert (tasks(), counted(capsys)["LowStock"]) == ([f"low_stock.{SKU}"], 1)


# --- each night ---


@pytest.mark.parametrize("seed", range(SCALE))
def test_after_any_weather_the_stocktake_makes_the_levels_what_the_cards_are_and_says_so(
    atomic_shop: Shop, capsys: pytest.CaptureFixture[str], seed: int
) -> None:
    chance = Random(seed)
    moving = [card_id for _ in range(5) for card_id in stocked(18)]
    moves = 0
    while moves < 200:
        card = inventory.cards([chance.choice(moving)])[0]
        if how := POSSIBLE.get(str(card.state)):
            move(chance.choice(how), str(card.card_id), chance)
            moves += 1
        else:
            moving.remove(str(card.card_id))  # sold or void: it moves no more
    for batch in weathered(stream(atomic_shop), chance):
        deliver(batch)
    assert told() != truth()
    counted(capsys)

    night()

    assert told() == truth()
    assert counted(capsys)["LevelDrift"] > 0
    night()
    assert counted(capsys)["LevelDrift"] == 0


def weathered(records: Sequence[dict[str, Any]], chance: Random) -> Iterator[list[dict[str, Any]]]:
    """Of the records 5 % are lost and 5 % come again in a later batch; of the batches 5 % are lost, 5 % come again."""
    late: list[dict[str, Any]] = []
    for start in range(0, len(records), 7):
        batch = [one for one in records[start : start + 7] if chance.random() > 0.05] + late
        late = [one for one in batch if chance.random() < 0.05]
        for _ in range(chance.choices([0, 1, 2], [5, 90, 5])[0]):
            yield batch


def test_what_moved_while_the_cards_were_counted_is_no_drift(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    cards = stocked(4)
    shop.pump()

    def sales() -> None:
        for card_id in cards[:2]:
            move("hold", card_id, Random(1))
        shop.pump()

    with once_after("Scan", "kaquan-test-cards", sales) as walks:
        night()

    assert len(walks) == 2
    assert told() == truth()
    assert counted(capsys)["LevelDrift"] == 0


@contextmanager
def once_after(operation: str, table: str, act: Callable[[], None]) -> Iterator[list[str]]:
    """Let something happen right after the first such call; yields the calls seen."""
    original, seen = BaseClient._make_api_call, []

    def watched(client: BaseClient, name: str, parameters: dict[str, Any]) -> Any:
        answer = original(client, name, parameters)
        if (name, parameters.get("TableName")) == (operation, table):
            seen.append(name)
            if len(seen) == 1:
                act()
        return answer

    BaseClient._make_api_call = watched
    try:
        yield seen
    finally:
        BaseClient._make_api_call = original


def test_expired_cards_leave_every_shelf_and_the_books_say_what_was_lost(
    atomic_shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    today = clock.shanghai_day(clock.now())
    stocked(110, today - timedelta(days=1))  # more than one transaction
    stocked(1, today - timedelta(days=3), aside=shelf.SAFETY)
    stocked(1, today - timedelta(days=3), aside="a-channel-that-is-gone")
    stocked(2, today)
    stocked(1)
    atomic_shop.pump()
    counted(capsys)

    night()
    atomic_shop.pump()

    assert insights.levels([SKU])[SKU].numbers == Level(available=3, expired=112).numbers
    assert books() == (3 * 1500, 3)
    running = settlement.running(clock.now())
    assert running.trial_balance == {"CNY": 0}
    assert [row.write_offs for row in running.rows if row.sku == SKU and row.write_offs] == [112 * 1500]
    assert counted(capsys)["CardsExpired"] == 112
    night()
    assert books() == (3 * 1500, 3)


def test_what_soon_expires_is_listed_by_sku_and_day_and_a_person_is_told_once_a_day(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    today = clock.shanghai_day(clock.now())
    in_days = [today + timedelta(days=days) for days in range(40)]
    for days in (0, 14, 14, 15, 30):
        stocked(1, in_days[days])
    stocked(2, in_days[20], sku="V001")
    catalog.set_terms("V001", Terms(min_days=25), clock.now())
    shop.pump()

    night()
    night()

    assert insights.near_of(SKU) == {in_days[0].isoformat(): 1, in_days[14].isoformat(): 2}
    assert insights.near_of("V001") == {in_days[20].isoformat(): 2}  # by its own terms nobody can be sold these
    assert tasks() == [f"near_expiry.{today.isoformat()}"]
    assert counted(capsys)["NearExpiry"] == 10

    night(clock.now() + timedelta(days=50))
    assert [near.part for near in insights.all_near()] == []


def test_one_failing_sku_does_not_stop_the_others(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    yesterday = clock.shanghai_day(clock.now()) - timedelta(days=1)
    broken = inventory.cards(stocked(2, yesterday, sku="V001"))[0]
    broken.update([inventory.Card.cost_e6.set(-1), inventory.Card.lot_id.set("lot_x")])
    inventory.Card.get(broken.card_id).update([inventory.Card.cost_e6.remove()])
    good = stocked(2, yesterday, sku="V002")
    stocked(2, yesterday)

    night()

    assert {str(card.state) for card in inventory.cards(good)} == {"expired"}
    assert counted(capsys)["StocktakeFailed"] == 1
    assert insights.last_recount() is not None


def test_a_stocktake_survives_a_death_after_every_write(atomic_shop: Shop) -> None:
    today = clock.shanghai_day(clock.now())
    catalog.set_terms(SKU, Terms(low=1_000), clock.now())
    nth, died, expired = 0, True, 0
    while died:
        nth += 1
        stocked(2, today - timedelta(days=1))
        stocked(1, today - timedelta(days=1), aside=shelf.SAFETY)
        stocked(1, today + timedelta(days=3), sku="V001")
        records = stream(atomic_shop)
        deliver(records[1:])  # the first move is lost
        expired += 3
        try:
            with dying_after(nth) as seen:
                night()
        except Died:
            atomic_shop.pump()  # Lambda waits a minute before it tries again
            night()
        died = len(seen) >= nth
        atomic_shop.pump()
        assert told() == truth(), f"after write {nth}, a {seen[nth - 1]}"
        assert books() == (nth * 1500, nth), f"after write {nth}"
        assert insights.levels([SKU])[SKU].numbers == Level(expired=expired).numbers
        assert insights.near_of("V001") == {(today + timedelta(days=3)).isoformat(): nth}
    assert nth > 6  # two levels, two shelves, the list, two tasks at the least
    assert tasks() == [f"low_stock.{SKU}", f"near_expiry.{today.isoformat()}"]
    assert settlement.running(clock.now()).trial_balance == {"CNY": 0}


# --- what the console shows ---


def look(shop: Shop, path: str, groups: str = "auditor") -> Any:
    answer = shop.call("GET", path, groups=groups)
    return answer.body if answer.status == 200 else answer.status


def test_the_console_shows_the_stock_of_a_sku_by_state_and_channel_with_its_terms_and_what_expires(shop: Shop) -> None:
    day = clock.shanghai_day(clock.now()) + timedelta(days=3)
    catalog.set_terms(SKU, Terms(low=5, safety=1, floors={"taobao": 2}, hold_percent=30), clock.now())
    stocked(4, day)
    shop.placed()
    shop.pump()
    night()

    shown = look(shop, f"/console/skus/{SKU}/stock")

    assert shown.pop("recounted_at")
    assert shown == {
        "sku": SKU,
        "levels": {"available": 3, "held": 1, "sold": 0, "frozen": 0, "expired": 0, "void": 0},
        "channels": {"shop": {"held": 1, "sold": 0}},
        "low_below": 5,
        "low": True,
        "terms": {
            "safety": 1,
            "low": 5,
            "min_days": 0,
            "hold_percent": 30,
            "margin_percent": 0,
            "floors": {"taobao": 2},
            "quotas": {},
            "hidden": [],
        },
        "near_expiry": [{"day": day.isoformat(), "cards": 3}],
    }


def test_a_sku_without_cards_has_none_of_anything_and_an_unknown_one_is_not_found(shop: Shop) -> None:
    shown = look(shop, "/console/skus/V001/stock")

    assert set(shown["levels"].values()) == {0}
    assert (shown["channels"], shown["low"], shown["near_expiry"]) == ({}, False, [])
    assert look(shop, "/console/skus/NO-SUCH/stock") == 404
    assert look(shop, "/console/skus/V001/stock", groups="nobody") == 403


def test_the_stock_of_all_skus_is_listed_page_by_page_and_what_is_low_alone_on_demand(shop: Shop) -> None:
    today = clock.shanghai_day(clock.now())
    names = ["V001", "V002", "V003", "V006", "V007"]
    for number, sku in enumerate(names):
        stocked(number + 1, today + timedelta(days=number), sku=sku)
        catalog.set_terms(sku, Terms(low=3), clock.now())
    shop.pump()
    night()

    def pages(path: str) -> list[list[str]]:
        found, cursor = [], ""
        while cursor is not None:
            body = look(shop, path + (f"&cursor={cursor}" if cursor else ""))
            found.append([line["sku"] for line in body["skus"]])
            cursor = body["next_cursor"]
        return found

    assert pages("/console/stock?limit=2") == [["V001", "V002"], ["V003", "V006"], ["V007"]]
    assert pages("/console/stock?low=true&limit=1")[:2] == [["V001"], ["V002"]]
    assert [sku for page in pages("/console/stock?low=true&limit=2") for sku in page] == ["V001", "V002"]
    assert [sku for page in pages("/console/stock/near-expiry?limit=2") for sku in page] == names
    near = look(shop, "/console/stock/near-expiry")["skus"][1]
    assert (near["cards"], near["days"]) == (2, [{"day": (today + timedelta(days=1)).isoformat(), "cards": 2}])
    assert look(shop, "/console/stock?limit=0") == 422
