"""A supplier's file of 100,000 cards, imported by the job's own steps: how fast, with how much memory.

The floor is what cannot be saved: a plain client that puts the same cards and fingerprints under the same conditions,
as many of them in a transaction, and nothing else.
"""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench.report import Facts, Part, Row

ROOT = Path(__file__).parents[2]
FEW, MANY = 10_000, 100_000  # rows
PER_TRANSACTION = 48  # cards, with a fingerprint each
DOUBLED = 9_600  # rows of the file of which somebody brings one in 48 between its check and its run
MEMORY_AIM = 300  # MB


def measure(_: Facts) -> Part:
    from tests.bench import world

    with world.shop():
        few = _imported(FEW)
        doubled = _imported(DOUBLED, brought_between=PER_TRANSACTION)
        floor = _bare(MANY // 2)
        many = _imported(MANY)
        floor += _bare(MANY // 2)
    bare = MANY / floor
    text = "floor: the same cards and fingerprints put by a plain client"
    at_first = f"floor: with {FEW:,} rows"
    clean = f"floor: of {FEW:,} rows, none of them doubled"
    chunks = DOUBLED / PER_TRANSACTION
    return Part(
        [
            Row("imports.run", MANY / many["run"], "rows/s", bare, "ratio ≥ 0.7", text),
            Row("imports.check_and_run", MANY / (many["check"] + many["run"]), "rows/s", bare, "", text),
            Row("imports.memory", many["peak_mb"], "MB", few["peak_mb"], f"≤ {MEMORY_AIM}, ratio ≤ 1.1", at_first),
            Row("imports.doubled.run", DOUBLED / doubled["run"], "rows/s", FEW / few["run"], "", clean),
            Row("imports.doubled.transactions", doubled["transactions"] / chunks, "per 48 rows",
                few["transactions"] / (FEW / PER_TRANSACTION), "",
                "one of the 48 came in by another file after the check; floor: none of them"),
        ]
    )  # fmt: skip


def _imported(rows: int, brought_between: int = 0) -> dict[str, float]:
    """What an import took: seconds of its check and of its run, transactions of its run, the most memory of a worker.

    brought_between: one row in so many comes in by another file between the two.
    """
    codes = [f"BENCH-{uuid.uuid4().hex[:14].upper()}" for _ in range(rows)]
    job_id, check = _checked(codes)
    if brought_between:
        other, _ = _checked(codes[::brought_between])
        _run(other)
    run = _run(job_id)
    return {
        "check": check["seconds"],
        "run": run["seconds"],
        "transactions": run["transactions"],
        "peak_mb": max(check["peak_mb"], run["peak_mb"]),
    }


def _checked(codes: Sequence[str]) -> tuple[str, dict[str, float]]:
    from shared.jobs.contract import CreateImport, ImportOptions
    from shared.kernel import clock, passing
    from shared.steps import import_files, imports

    wanted = CreateImport(kind="cards", sku="G020", file_name="bench.txt", options=ImportOptions(supplier="bench"))
    job_id = imports.create(wanted, "", _operator(), clock.now()).job_id
    passing.put(import_files.upload_name(job_id), "\n".join(codes).encode())
    imports.check(job_id, _operator(), clock.now())
    return job_id, _worked_at(job_id)


def _run(job_id: str) -> dict[str, float]:
    from shared.jobs import records as jobs
    from shared.kernel import clock
    from shared.steps import imports

    imports.run(job_id, _operator(), clock.now())
    took = _worked_at(job_id)
    job = jobs.job_of(job_id)
    assert job.state == "done", (job.state, job.reason)
    return took


def _operator() -> Any:
    from shared.kernel.http import Caller

    return Caller("", name="ann", groups=frozenset({"operator"}))


def _worked_at(job_id: str) -> dict[str, float]:
    """What a worker in a process of its own took, as the last line of what it says tells."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.card_imports", job_id],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _bare(cards: int) -> float:
    """Seconds to put as many cards like those that are there, with a fingerprint each."""
    from tests.bench import world

    client = world.plain("dynamodb")
    card, fingerprint = (
        client.scan(TableName=f"kaquan-test-{table}", Limit=1)["Items"][0] for table in ("cards", "fingerprints")
    )
    seconds = 0.0
    for start in range(0, cards, PER_TRANSACTION):
        puts = [put for _ in range(min(PER_TRANSACTION, cards - start)) for put in _alike(card, fingerprint)]
        began = time.perf_counter()
        client.transact_write_items(TransactItems=puts)
        seconds += time.perf_counter() - began
    return seconds


def _alike(card: dict[str, Any], fingerprint: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The two puts of a card of the same size that nobody has seen."""
    fresh = uuid.uuid4().hex
    card, fingerprint = copy.deepcopy(card), copy.deepcopy(fingerprint)
    card_id = card["card_id"]["S"][:-20] + fresh[:20]
    card["shelf_order"]["S"] = card["shelf_order"]["S"].replace(card["card_id"]["S"], card_id)
    card["card_id"]["S"] = card_id
    fingerprint["card_id"]["S"] = card_id
    fingerprint["fingerprint"]["S"] = fingerprint["fingerprint"]["S"][:-32] + fresh
    for table, key, item in (("fingerprints", "fingerprint", fingerprint), ("cards", "card_id", card)):
        yield {
            "Put": {
                "TableName": f"kaquan-test-{table}",
                "Item": item,
                "ConditionExpression": f"attribute_not_exists({key})",
            }
        }


# --- in a process of its own ---


def _work(job_id: str) -> dict[str, float]:
    import botocore.handlers

    from shared.kernel import clock
    from shared.steps import bulk_jobs

    calls: list[str] = []
    botocore.handlers.BUILTIN_HANDLERS += [("after-call", partial(_called, calls))]
    began = time.perf_counter()
    bulk_jobs.work({"job_id": job_id}, clock.now())
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "peak_mb": _peak() / 1024, "transactions": calls.count("TransactWriteItems")}


def _called(calls: list[str], model: Any, **_: Any) -> None:
    calls.append(str(model.name))


def _peak() -> int:
    """The most KiB of memory that this process ever held; getrusage would count those of its parent before `exec`."""
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmHWM")).split()[1])


if __name__ == "__main__":
    print(json.dumps(_work(sys.argv[1])))
