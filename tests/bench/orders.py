"""What one delivered order of one card asks of AWS, step by step and item by item; with few and with many cards."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

from tests import shop as shops
from tests.bench import meter, world
from tests.bench.meter import Meter
from tests.bench.report import Facts, Part, Row, columns
from tests.shop import Shop

SIZES = (1_000, 100_000)  # cards on the shelf
TIMED = 20  # orders whose time is taken, without counting: counting takes time
WRITE_AIM, READ_AIM, CALLS_AIM = 36, 12, 4

STEPS = {
    "POST /orders": "place",
    "POST /webhooks/payments/{provider}": "notification",
    "relay": "relay",
    "risk_checks": "risk",
    "card_dispatch": "dispatch",
    "GET /orders/{order_id}": "status",
    "POST /orders/{order_id}/reveal": "reveal",
}
"""The doors an order goes through, and what each is called here; a quote comes before and is not counted."""

_LEGEND = """\
Every capacity unit of one delivered order of one card, quote excluded, as DynamoDB's answers state them.
A write unit is 1 kB, twice in a transaction; an index entry counts once, and twice where it moves.
A read unit is 4 kB, half of one where the read need not be consistent."""

FUNCTION = {
    "place": "OrderIntakeFunction",
    "notification": "PaymentWebhooksFunction",
    "relay": "RelayFunction",
    "risk": "RiskChecksFunction",
    "dispatch": "CardDispatchFunction",
    "status": "OrderIntakeFunction",
    "reveal": "CardRevealFunction",
}


@dataclass
class Walk:
    """One order's way, by step."""

    meters: dict[str, Meter] = field(default_factory=lambda: {step: Meter() for step in STEPS.values()})
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STEPS.values(), 0.0))
    cpu_seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STEPS.values(), 0.0))

    @property
    def figures(self) -> dict[str, tuple[int, float, float]]:
        """Step → calls, write units, read units."""
        return {step: (len(one.calls), one.write, one.read) for step, one in self.meters.items()}

    @property
    def write(self) -> float:
        return sum(one.write for one in self.meters.values())

    @property
    def read(self) -> float:
        return sum(one.read for one in self.meters.values())


def walk(shop: Shop, buyer: int, *, counting: bool) -> Walk:
    """Sell one card to a buyer with a telephone and an address of their own, who asks for the status once."""
    way = Walk()
    real = shops.handler

    def watched(door: str) -> Callable[[dict[str, Any], Any], Any]:
        def handle(event: dict[str, Any], context: Any) -> Any:
            if door == "insights":  # it adds up the moves of a hundred cards before it writes: no order's own work
                return real(door)(event, context)
            step = STEPS[f"{event['httpMethod']} {event['resource']}" if "resource" in event else door]
            if "requestContext" in event:
                event["requestContext"]["identity"]["sourceIp"] = f"1.{buyer >> 16}.{buyer >> 8 & 255}.{buyer & 255}"
            with meter.metered(way.meters[step]) if counting else nullcontext():
                began, cpu_began = time.perf_counter(), time.thread_time()
                answer = real(door)(event, context)
                way.seconds[step] += time.perf_counter() - began
                way.cpu_seconds[step] += time.thread_time() - cpu_began
            return answer

        return handle

    shops.handler = watched
    try:
        order = shop.placed(world.SKU, phone=f"139{buyer:08d}")
        shop.pay(order)
        shop.pump()
        assert shop.status(order) == "delivered"
        assert shop.reveal(order).status == 200
    finally:
        shops.handler = real
    return way


def counted(shop: Shop, size: int, stocked: int) -> Walk:
    """One order's way, warm, with that many cards on the shelf; the order before it must have cost the same."""
    world.stock(size - stocked)
    _, before, found = (walk(shop, size + number, counting=True) for number in range(3))
    assert before.figures == found.figures, (before.figures, found.figures)
    return found


def idle_deadlines(shop: Shop) -> dict[str, float]:
    """What the owner of time takes when nothing is overdue."""
    nothing = datetime.now(UTC) - timedelta(hours=1)
    shop.deadlines(nothing)
    with meter.metered(Meter()) as counting:
        shop.deadlines(nothing)
    logged, began, cpu_began = _log_size(), time.perf_counter(), time.thread_time()
    shop.deadlines(nothing)
    seconds, cpu_seconds = time.perf_counter() - began, time.thread_time() - cpu_began
    return {"read": counting.read, "seconds": seconds, "cpu_seconds": cpu_seconds, "log_bytes": _log_size() - logged}


def measure(facts: Facts) -> Part:
    """facts may say `sizes` and `timed` in place of ours."""
    sizes, timed = facts.get("sizes", SIZES), facts.get("timed", TIMED)
    meter.install()
    with world.shop() as shop:
        found: dict[int, Walk] = {}
        stocked = 0
        for size in sizes:
            found[size] = counted(shop, size, stocked)
            stocked = size - 3
            if size == sizes[0]:  # the local cloud looks at every card there is, which AWS does not
                deadlines = idle_deadlines(shop)
                logged = _log_size()
                times = [walk(shop, 1_000_000 + number, counting=False) for number in range(timed)]
                logged = (_log_size() - logged) // timed if timed else 0
                stocked -= timed
    few, many = found[sizes[0]], found[sizes[-1]]
    learnt = {
        "write": few.write,
        "read": few.read,
        "calls": {step: meter.counts(one.calls) for step, one in few.meters.items()},
        "figures": few.figures,
        "seconds": {step: median(one.seconds[step] for one in times) for step in STEPS.values()} if times else {},
        "cpu_seconds": {step: median(one.cpu_seconds[step] for one in times) for step in STEPS.values()}
        if times
        else {},
        "log_bytes": logged,
        "deadlines": deadlines,
    }
    return Part(_rows(few, many, sizes), _items(few), learnt)


def _rows(few: Walk, many: Walk, sizes: Sequence[int]) -> list[Row]:
    uses = [use for one in few.meters.values() for use in one.uses]
    least_write, least_read = sum(use.least for use in uses if use.write), sum(use.least for use in uses if use.read)
    at_first = f"with {sizes[0]:,} cards"
    calls = len(few.meters["place"].calls)
    rows = [
        Row("order.write_units", few.write, "units", least_write, f"≤ {WRITE_AIM}", "floor: each item in one unit"),
        Row("order.read_units", few.read, "units", least_read, f"≤ {READ_AIM}", "floor: each read in one unit"),
        Row(
            "order.place.calls",
            calls,
            "calls",
            4,
            f"≤ {CALLS_AIM}",
            "floor: read SKUs and levels, look at the shelf, write",
        ),
    ]
    if many is not few:
        name, text = f"order.{sizes[-1]}_cards", f"floor: the same {at_first}"
        rows += [
            Row(f"{name}.write_units", many.write, "units", few.write, "ratio ≤ 1.05", text),
            Row(f"{name}.read_units", many.read, "units", few.read, "ratio ≤ 1.05", text),
            Row(f"{name}.place.calls", len(many.meters["place"].calls), "calls", calls, "ratio ≤ 1.05", text),
        ]  # fmt: skip
    for step, (asked, write, read) in few.figures.items():
        rows += [
            Row(f"order.{step}.write_units", write, "units"),
            Row(f"order.{step}.read_units", read, "units"),
        ]
        if step != "place":
            rows.append(Row(f"order.{step}.calls", asked, "calls"))
    return rows


def _items(way: Walk) -> str:
    """Every unit of an order: which step, which call, which table or index, which items."""
    lines = [("step", "call", "table or index", "items", "write", "read")]
    for step, one in way.meters.items():
        lines += [
            (
                step,
                use.call,
                use.where,
                use.what,
                f"{use.write:g}" if use.write else "",
                f"{use.read:g}" if use.read else "",
            )
            for use in one.uses
        ]
        others = [call for call in one.calls if not call.startswith("dynamodb.")]
        lines += [(step, call.partition(".")[2], call.partition(".")[0], "", "", "") for call in others]
        lines.append(("", "", "", f"{step}: {len(one.calls)} calls", f"{one.write:g}", f"{one.read:g}"))
    lines.append(("", "", "", "the whole order", f"{way.write:g}", f"{way.read:g}"))
    return f"{_LEGEND}\n\n{columns(lines, right=(4, 5))}"


def _log_size() -> int:
    """Bytes that the doors have logged so far; `python -m tests.bench` gives each part a file to log to."""
    sys.stdout.flush()
    return os.fstat(1).st_size
