"""What an import keeps in the passing bucket between its check and its end: always sealed, under keys of its own.

The rows that may come in lie under the job's key, the refused ones under another that is forgotten within an hour.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from shared.inventory.card_files import Cells
from shared.inventory.refusals import RefusedRow
from shared.jobs import parts
from shared.jobs import records as jobs
from shared.jobs.reasons import Failed
from shared.jobs.records import Job
from shared.kernel import passing, sealed
from shared.kernel.sealed import JobKey
from shared.kernel.vault import LotKey


class Row(NamedTuple):
    """A row that may become a card, with the id it will have: so that doing it twice cannot make two."""

    line: int
    sku: str
    code: str
    number: str | None
    identity: str
    whole: str
    expires_on: str | None
    cost_e6: int
    card_id: str
    instead_of: Sequence[str] = ()


class PlannedLot(NamedTuple):
    lot_id: str
    label: str
    key: LotKey


@dataclass(frozen=True)
class Plan:
    """chunks: (which of the lots, how many rows) in the order in which they come in."""

    lots: Sequence[PlannedLot]
    chunks: Sequence[tuple[int, int]]


def upload_name(job_id: str) -> str:
    return f"uploads/{job_id}"


def rows_name(job_id: str, attempt: int, chunk: int) -> str:
    return f"jobs/{job_id}/{attempt}/{chunk:05}"


def plan_name(job_id: str, attempt: int) -> str:
    return f"jobs/{job_id}/{attempt}/plan"


def refused_name(job_id: str, attempt: int, chunk: int) -> str:
    return f"refused/{job_id}/{attempt}/{chunk:05}"


def refused_part(attempt: int) -> str:
    return f"refused#{attempt:04}"


def put(key: JobKey, name: str, content: Any) -> None:
    clear = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    passing.put(name, key.seal(name, clear))


def take(key: JobKey, name: str) -> Any:
    """The content, or Failed once it is no longer kept."""
    found = passing.get(name)
    if found is None:
        raise Failed("rows_gone")
    return json.loads(key.unseal(name, found))


def put_plan(key: JobKey, job: Job, attempt: int, plan: Plan) -> None:
    lots = [[lot.lot_id, lot.label, _text(lot.key.plain), _text(lot.key.wrapped)] for lot in plan.lots]
    put(key, plan_name(str(job.job_id), attempt), {"lots": lots, "chunks": list(plan.chunks)})


def take_plan(key: JobKey, job: Job, attempt: int) -> Plan:
    content = take(key, plan_name(str(job.job_id), attempt))
    return Plan(
        [PlannedLot(lot_id, label, LotKey(_bytes(p), _bytes(w))) for lot_id, label, p, w in content["lots"]],
        [(lot, rows) for lot, rows in content["chunks"]],
    )


def take_rows(key: JobKey, job: Job, attempt: int, chunk: int) -> list[Row]:
    return [Row(*members) for members in take(key, rows_name(str(job.job_id), attempt, chunk))]


def put_refused(key: JobKey, job: Job, attempt: int, chunk: int, rows: Iterable[RefusedRow]) -> None:
    put(key, refused_name(str(job.job_id), attempt, chunk), list(rows))


def refused_rows(job: Job, attempt: int) -> Iterable[RefusedRow] | None:
    """What the check has refused, one chunk in memory at a time; None once it is forgotten."""
    part = parts.part_of(str(job.job_id), refused_part(attempt))
    if part is None or part.wrapped_key is None:
        return None
    key = sealed.open_key(str(job.job_id), bytes(part.wrapped_key))
    names = [refused_name(str(job.job_id), attempt, chunk) for chunk in range(int(part.data["chunks"]))]
    return (_refused(members) for name in names for members in take(key, name))


def drop_rows(job: Job) -> None:
    """Forget the rows that could come in, and their key."""
    passing.delete([upload_name(str(job.job_id))])
    passing.delete_all(f"jobs/{job.job_id}/")
    jobs.forget_key(job)


def drop_refused(job: Job) -> None:
    """Forget the refused rows, and their key."""
    passing.delete_all(f"refused/{job.job_id}/")
    for part in parts.parts_of(str(job.job_id), "refused#"):
        parts.forget(str(job.job_id), str(part.part))


def _refused(members: Sequence[Any]) -> RefusedRow:
    line, reason, cells, mask = members
    return RefusedRow(line, reason, None if cells is None else Cells(*cells), mask)


def _text(secret: bytes) -> str:
    return base64.b64encode(secret).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)
