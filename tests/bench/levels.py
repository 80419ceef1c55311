"""What the levels cost: units and seconds of 1,000 moves as the stream brings them, and of a night's recount."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import botocore.handlers

from tests.bench import world
from tests.bench.report import Facts, Part, Row

# isort: split
# Only now: the world names the tables, and records take their names when they are imported.

from shared.inventory import lots
from shared.inventory import records as inventory
from shared.kernel import clock, ids
from shared.steps import insights, stocktake

MOVES = 1_000
LITTLE, MUCH = 5_000, 30_000  # cards that are counted; memory must not tell them apart


def measure(_: Facts) -> Part:
    botocore.handlers.BUILTIN_HANDLERS += [("before-parameter-build", _asked), ("after-call", _answered)]
    rows, times = [], []
    with world.cloud() as environment:
        environment.setenv("SETTLE_SECONDS", "0")
        for size in (100, 1):
            units: list[float] = []
            with _counted(units):
                began = time.perf_counter()
                for start in range(0, MOVES, size):
                    insights.count_moves(_sales(start, size), clock.now())
                seconds = time.perf_counter() - began
            per = f"in batches of {size}" if size > 1 else "one by one, the dearest there is"
            rows += [
                Row(f"levels.units.{size}", sum(units), "units", MOVES, "", f"{per}; floor: one for each move"),
                Row(f"levels.seconds.{size}", seconds, "s", None, "", per),
            ]
            times.append(f"{MOVES:,} moves, {per}: {seconds:.1f} s")
        peaks = []
        stored = 0
        for wanted in (LITTLE, MUCH):
            _store(wanted - stored)
            stored = wanted
            floor = _timed(lambda: _walked(wanted))  # noqa: B023  # called at once
            took = _timed(lambda: stocktake.run(clock.now()))
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
            text = "floor: the same cards by bare Scans"
            rows.append(Row(f"levels.recount.{wanted}", took, "s", floor, "", text))
    rows.append(Row("levels.recount.memory", peaks[1], "MB", peaks[0], "1.00", f"floor: with {LITTLE:,} cards"))
    return Part(rows, "Levels. " + "; ".join(times) + ".")


def _sales(start: int, count: int) -> list[dict[str, Any]]:
    """Cards of one SKU and one lot that are held in a channel."""
    image = {"sku": {"S": "A"}, "lot_id": {"S": "lot_1"}}
    return [
        {
            "eventID": f"{count}-{number}",
            "eventName": "MODIFY",
            "dynamodb": {
                "OldImage": {**image, "state": {"S": "available"}},
                "NewImage": {**image, "state": {"S": "held"}, "channel": {"S": "shop"}},
            },
        }
        for number in range(start, start + count)
    ]


def _store(count: int) -> None:
    now = clock.now()
    lot = lots.new_lot(ids.new("lot", now), "", "acme", "file.txt", b"-", 1, now)
    made: Iterator[inventory.Card] = (
        inventory.new_card(ids.new("crd", now), f"S{n % 50}", lot, b"x" * 120, "••••0000", 1, None, 1)
        for n in range(count)
    )
    while some := list(islice(made, 500)):
        with inventory.Card.batch_write() as batch:
            for card in some:
                batch.save(card)


def _walked(count: int) -> None:
    """What a recount cannot do without."""
    client, seen, more = world.plain("dynamodb"), 0, {}
    while more is not None:
        page = client.scan(TableName="kaquan-test-cards", ConsistentRead=True, **more)
        seen += page["Count"]
        more = {"ExclusiveStartKey": page["LastEvaluatedKey"]} if "LastEvaluatedKey" in page else None
    assert seen == count


def _timed(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


_counting: list[list[float]] = []


@contextmanager
def _counted(units: list[float]) -> Iterator[None]:
    """Collect the write units that DynamoDB states."""
    _counting.append(units)
    yield
    _counting.pop()


def _asked(params: dict[str, Any], model: Any, **_: Any) -> None:
    if _counting and model.service_model.service_name == "dynamodb":
        params["ReturnConsumedCapacity"] = "TOTAL"


def _answered(parsed: dict[str, Any], model: Any, **_: Any) -> None:
    if _counting and model.name in {"PutItem", "UpdateItem", "TransactWriteItems"}:
        stated: Sequence[Any] | Any = parsed.get("ConsumedCapacity", [])
        _counting[-1] += [one["CapacityUnits"] for one in (stated if isinstance(stated, list) else [stated])]
