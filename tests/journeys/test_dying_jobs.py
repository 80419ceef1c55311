"""Long work that dies before its first write or after any other is taken up where it was, by message or by time.

One process after the other dies one write later than the one before, until the work is done and nobody has died of the
last fault: a write that is added is covered by itself.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from shared.kernel import clock
from tests.journeys import stockroom
from tests.journeys.stack import Stack, at_once, wait_for
from tests.journeys.test_levels import night_after
from tests.journeys.weather import Fault

JOBS = 3  # at once
COUNTING = ("kaquan-local-insights", "dynamodb:PutItem", "kaquan-local-levels")


@pytest.fixture(autouse=True)
def impatient(stack: Stack) -> Iterator[None]:
    with stack.impatient(2, ("bulk-jobs", "vault-keeping")):
        yield


@contextmanager
def deaths(stack: Stack, function: str, least: int, most: int, about: str = "") -> Iterator[list[Fault]]:
    """Processes of `function` die at their first, second, … write; at least so many do, and fewer than `most`."""
    with ExitStack() as armed:
        faults = [armed.enter_context(stack.weather.death(function, after, about)) for after in range(most)]
        yield faults
        died = sum(fault.struck for fault in faults)
        assert died >= least, f"{function} died {died} times"
        assert not faults[-1].struck, f"{function} still dies after {most} writes"


def all_come_to(stack: Stack, state: str, jobs: list[str], seconds: float = 150) -> None:
    """Wait for these jobs; what came too often to be sent again by its queue is sent again by the owner of time."""

    def there() -> bool:
        found = {job_id: stockroom.job_state(stack, job_id) for job_id in jobs}
        assert "failed" not in found.values(), found
        if set(found.values()) == {state}:
            return True
        stack.deadlines(3)
        return False

    wait_for(there, f"{jobs} to be {state}", seconds)


def test_an_import_may_die_at_any_write_of_its_check_its_run_and_its_undo(stack: Stack) -> None:
    codes = [stockroom.codes(stack, 5) for _ in range(JOBS)]
    jobs = [
        stockroom.ask(stack, "\n".join(["SKU,卡密", *(f"S048,{code}" for code in some), "NOPE,X-1"]).encode(), "c.csv")
        for some in codes
    ]

    def phase(verb: str, state: str, least: int) -> None:
        with deaths(stack, "bulk-jobs", least, 16):
            for job_id in jobs:
                stack.move_import(job_id, verb)
            all_come_to(stack, state, jobs)

    phase("check", "checked", 4)
    views = [stack.shown_import(job_id) for job_id in jobs]
    assert {(view["counts"]["new"], view["counts"]["refused"]) for view in views} == {(5, 1)}
    phase("run", "done", 4)
    for job_id in jobs:
        view = stockroom.came(stack, stack.shown_import(job_id))
        assert (view["counts"]["done"], view["counts"]["duplicates"]) == (5, 0), view
    assert len(stockroom.cards(stack, sku="S048", state="available")) == 5 * JOBS
    phase("undo", "undone", 3)
    assert len(stockroom.cards(stack, sku="S048", state="void")) == 5 * JOBS


def test_a_recall_may_die_at_any_write(stack: Stack) -> None:
    soon = (clock.shanghai_day(datetime.now(UTC)) + timedelta(days=60)).isoformat()
    bad = [stockroom.lot(stack, "S047", 2, expires_on=soon, cost_minor=900)[0] for _ in range(JOBS)]
    stack.wholesale("S047")
    buyers = [stack.buyer() for _ in range(JOBS)]
    orders = at_once(lambda buyer: buyer.place("S047"), buyers, 2)
    for buyer, order in zip(buyers, orders, strict=True):
        buyer.pay(order)
    stack.all_settled([order.order_id for order in orders])
    stockroom.lot(stack, "S047", JOBS, cost_minor=900)
    waiting = stack.buyer()
    unpaid = waiting.place("S047")

    with deaths(stack, "bulk-jobs", 4, 16):
        asked = [
            stack.console("POST", "/recalls", {"lot_id": lot, "reason": "bad batch"}, "operator").body["recall_id"]
            for lot in bad
        ]
        all_come_to(stack, "done", asked)
    waiting.cancel(unpaid)
    views = [stack.console("GET", f"/recalls/{recall_id}", role="auditor").body for recall_id in asked]
    assert sum(view["sold"] for view in views) == sum(view["replaced"] for view in views) == JOBS
    of_bad = [card["state"] for card in stockroom.cards(stack, sku="S047") if card["lot_id"] in bad]
    assert sorted(of_bad) == ["frozen"] * JOBS + ["sold"] * JOBS
    shown = at_once(lambda one: one[0].reveal(one[1]), zip(buyers, orders, strict=True), 4)
    assert len({code for codes in shown for code in codes}) == JOBS


def test_changes_of_keys_exports_and_destructions_may_die_at_any_write(stack: Stack) -> None:
    lots = [stockroom.lot(stack, "S046", 4)[0] for _ in range(3)]
    codes = {card["card_id"]: bytes(card["sealed"]) for card in stockroom.cards(stack, sku="S046")}
    export = stack.console("POST", "/exports", {"lot_id": lots[0], "reason": "back to supplier"}, "operator").body
    destruction = stack.console("POST", f"/lots/{lots[2]}/destroy", {"reason": "supplier is gone"}).body

    with deaths(stack, "vault-keeping", 6, 24):
        jobs = [
            str(stack.console("POST", "/keys/rotate", wanted).body["job_id"])
            for wanted in ({"what": "lot", "lot_id": lots[0]}, {"what": "lot", "lot_id": lots[1]}, {"what": "wrapping"})
        ]
        assert stack.console("POST", f"/exports/{export['export_id']}/approve").status == 200
        path = f"/console/destructions/{destruction['job_id']}/approve"
        assert stack.call("POST", path, bearer=stack.second_owner()).status == 200
        all_come_to(stack, "done", [*jobs, export["export_id"], destruction["job_id"]], seconds=150)

    cards = stockroom.cards(stack, sku="S046")
    living = [card for card in cards if card["lot_id"] in lots[:2]]
    assert {int(card["key_version"]) for card in living} == {2}
    assert not [card for card in living if bytes(card["sealed"]) == codes[card["card_id"]]]
    assert {card["state"] for card in cards if card["lot_id"] == lots[2]} == {"void"}
    for card in living[:2]:
        path = f"/cards/{card['card_id']}/reveal"
        assert stack.console("POST", path, {"reason": "after the change"}, role="operator").status == 200
    looks = [view for view in stack.table("views") if view.get("export_id") == export["export_id"]]
    assert {view["card_id"] for view in looks} == {card["card_id"] for card in cards if card["lot_id"] == lots[0]}


def test_the_levels_count_each_move_once_wherever_their_reader_dies(stack: Stack) -> None:
    """One move at a time: where more is under way, this cloud hands a batch in again with more in it, unlike AWS."""
    before = Counter(stockroom.levels(stack, "V006")["levels"])

    @contextmanager
    def counted(**more: int) -> Iterator[None]:
        """Its reader dies before it counts a move and after it has; the third one finds that all is done."""
        tries = stack.weather.times(*COUNTING)
        with deaths(stack, "insights", 2, 4, '"V006"'):
            yield
            wait_for(lambda: stack.weather.times(*COUNTING) >= tries + 3, "the reader of the stream to get through")
        stockroom.until_levels(stack, "V006", **{state: before[state] + count for state, count in more.items()})

    with counted(available=4):
        stockroom.lot(stack, "V006", 4)
    buyer = stack.buyer()
    with counted(available=2, held=2):
        order = buyer.place("V006", 2)
    with counted(available=2, held=0, sold=2):
        buyer.pay(order)


def test_a_stocktake_may_die_at_any_write(stack: Stack) -> None:
    soon = clock.shanghai_day(datetime.now(UTC)) + timedelta(days=2)
    lot_id, _ = stockroom.lot(stack, "V001", 3, expires_on=soon.isoformat(), cost_minor=100)
    moment = night_after(soon)

    def taken() -> bool:
        return "error" not in (stack.invoke("stocktake", {"time": moment}) or {})

    with deaths(stack, "stocktake", 2, 12, moment):
        wait_for(taken, "a stocktake to get through", seconds=120)
    assert {card["state"] for card in stockroom.cards(stack, lot_id=lot_id)} == {"expired"}
    of_ours = [entry for entry in stack.table("ledger") if entry.get("kind") == "expired" and "V001" in entry["legs"]]
    gone = [leg for entry in of_ours for leg in json.loads(entry["legs"]) if leg[0] == "inventory" and leg[2] == "V001"]
    assert sum(leg[3] for leg in gone) == -3
