"""A lot of 10,000 cards is recalled when 6,000 of them are sold: how soon nothing of it can be sold, and all the work.

For half of the sold cards there are others to take their place; the buyers of the rest get their money back.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import botocore.handlers

from tests.bench import world
from tests.bench.report import Facts, Part, Row

# isort: split
# Only now: the world names the tables, and records take their names when they are imported.

from shared.jobs import records as jobs
from shared.jobs.contract import AskRecall
from shared.kernel import clock
from shared.kernel.records import LIMIT
from shared.steps import recall_work, recalls
from tests import recalled

CARDS, SOLD, STAND_INS = 10_000, 6_000, 3_000
OF_ORDER = 3  # cards


def measure(_: Facts) -> Part:
    units: list[float] = []
    botocore.handlers.BUILTIN_HANDLERS += [("before-parameter-build", _asked), ("after-call", _answered)]
    with world.cloud():
        _, others = recalled.lot_of(CARDS)
        lot_id, card_ids = recalled.lot_of(CARDS)
        recalled.lot_of(STAND_INS)
        recalled.sold_in([OF_ORDER] * (SOLD // OF_ORDER), card_ids)

        frozen_floor = _timed(lambda: _frozen(others[: CARDS - SOLD]))
        floor = frozen_floor + _timed(lambda: _frozen(others[CARDS - SOLD :]))

        with _counted(units):
            began = time.perf_counter()
            view = recalls.ask(AskRecall(lot_id=lot_id, reason="bench"), "ann", clock.now())
            recall_work.work(jobs.job_of(view.recall_id, recalls.PREFIX), clock.now())
            seconds = time.perf_counter() - began
        view = recalls.show(view.recall_id)
    assert (view.state, view.frozen, view.sold, view.open) == ("done", CARDS - SOLD, SOLD, 0), view
    assert view.replaced + view.refunded == SOLD, view
    bare = "floor: a bare conditional update of each, 100 in a transaction"
    return Part(
        [
            Row("recall.frozen", view.frozen_after_ms / 1000, "s", frozen_floor, "", f"the unsold; {bare}"),
            Row("recall.total", seconds, "s", floor, "", f"all cards, half of the sold ones replaced; {bare}"),
            Row("recall.write_units", sum(units), "units", 2 * CARDS, "", "floor: one small item for each card"),
        ]
    )


def _frozen(card_ids: Sequence[str]) -> None:
    """What freezing cannot do without."""
    client = world.plain("dynamodb")
    for start in range(0, len(card_ids), LIMIT):
        client.transact_write_items(TransactItems=[_freeze(card_id) for card_id in card_ids[start : start + LIMIT]])


def _freeze(card_id: str) -> dict[str, Any]:
    return {
        "Update": {
            "TableName": "kaquan-test-cards",
            "Key": {"card_id": {"S": card_id}},
            "UpdateExpression": "SET #s = :f, recall_id = :r REMOVE shelf",
            "ConditionExpression": "#s = :a",
            "ExpressionAttributeNames": {"#s": "state"},
            "ExpressionAttributeValues": {":f": {"S": "frozen"}, ":r": {"S": "rcl_bench"}, ":a": {"S": "available"}},
        }
    }


def _timed(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


_counting: list[list[float]] = []


@contextmanager
def _counted(units: list[float]) -> Iterator[None]:
    """Collect the write units that DynamoDB states; bench.meter would read every item again to share them out."""
    _counting.append(units)
    yield
    _counting.pop()


def _asked(params: dict[str, Any], model: Any, **_: Any) -> None:
    if _counting and model.service_model.service_name == "dynamodb":
        params["ReturnConsumedCapacity"] = "TOTAL"


def _answered(parsed: dict[str, Any], model: Any, **_: Any) -> None:
    if _counting and model.name in {"PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems", "BatchWriteItem"}:
        stated = parsed.get("ConsumedCapacity", [])
        _counting[-1] += [one["CapacityUnits"] for one in (stated if isinstance(stated, list) else [stated])]
