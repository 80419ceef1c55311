"""What an order asks of AWS is counted, not timed, so it is exact: a unit more is a decision, never a drift."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bench.meter import size
from tests.bench.orders import CALLS_AIM, READ_AIM, WRITE_AIM
from tests.bench.report import Part

ROOT = Path(__file__).parents[2]
ENOUGH = 120  # cards: more than a look at the shelf shows


@pytest.fixture(scope="module")
def order(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One delivered order of one card, counted from the answers of a local cloud of its own."""
    folder = tmp_path_factory.mktemp("units")
    given, found = folder / "given.json", folder / "found.json"
    given.write_text(json.dumps({"sizes": [ENOUGH], "timed": 0}))
    # In a process of its own: the clients of this one may belong to moto.
    command = [sys.executable, "-m", "tests.bench", "orders", "--given", given, "--found", found]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return Part.load(found.read_text()).facts


def test_every_step_of_an_order_takes_these_calls_and_units_and_no_more(order: dict[str, Any]) -> None:
    assert order["figures"] == {  # calls, write units, read units
        "place": [4, 17, 2],
        "notification": [4, 7, 2],
        "relay": [2, 0, 0],
        "risk": [5, 3, 2],
        "dispatch": [3, 7, 2],
        "status": [1, 0, 1],
        "reveal": [4, 1, 3],
    }


def test_a_delivered_order_stays_within_the_units_we_aim_at(order: dict[str, Any]) -> None:
    assert order["write"] == 35
    assert order["write"] <= WRITE_AIM
    assert order["read"] == 12
    assert order["read"] <= READ_AIM


def test_a_buyer_waits_for_four_calls_to_aws(order: dict[str, Any]) -> None:
    assert order["calls"]["place"] == {
        "dynamodb.BatchGetItem": 2,
        "dynamodb.Query": 1,
        "dynamodb.TransactWriteItems": 1,
    }
    assert sum(order["calls"]["place"].values()) <= CALLS_AIM


def test_what_is_billed_for_an_item_follows_its_size() -> None:
    assert size({"id": {"S": "卡"}}) == 2 + 3
    assert size({"n": {"N": "-1234.5"}}) == 1 + 4
    assert size({"list": {"L": [{"S": "ab"}]}, "b": {"B": b"123"}}) == (4 + 3 + 1 + 2) + (1 + 3)
