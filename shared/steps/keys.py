"""Keys and peppers as owners see them: exchanged, retired, and forgotten with all that they lock."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any

from shared.inventory import lots as lot_records
from shared.inventory.contract import DestroyLot, KeyJobView, Rotate, WhyFailed
from shared.inventory.errors import LotDestroyed
from shared.inventory.lots import LotState
from shared.jobs import parts
from shared.jobs import records as jobs
from shared.jobs.errors import WrongJobState
from shared.jobs.reasons import REASONS
from shared.jobs.records import Job
from shared.jobs.states import JobKind, JobState
from shared.kernel import ids
from shared.kernel.errors import Busy, InvalidRequest, NotFound
from shared.kernel.http import Caller
from shared.kernel.records import Lost
from shared.steps import two_people

ROTATIONS = {"lot": JobKind.LOT_KEY, "wrapping": JobKind.WRAPPING, "pepper": JobKind.PEPPER}
KINDS = (*ROTATIONS.values(), JobKind.DESTRUCTION)


def rotate(wanted: Rotate, key: str, caller: Caller, now: datetime) -> KeyJobView:
    """Begin to exchange a key, or finish what was left unfinished; the same Idempotency-Key gives the same job."""
    if (wanted.what == "lot") != (wanted.lot_id is not None):
        raise InvalidRequest(fields=[{"field": "lot_id", "reason": "lot_id_belongs_to_lot"}])
    if wanted.lot_id:
        _living(wanted.lot_id)
    job = _asked(ROTATIONS[wanted.what], {"lot_id": wanted.lot_id, "reason": None}, key, caller, now)
    return _moved(job, JobState.RUNNING, now) if job.state == JobState.CREATED else _view(job)


def retire(job_id: str, now: datetime) -> KeyJobView:
    """After new fingerprints are there, forget those under older peppers, and these; again changes nothing."""
    job = _key_job(job_id)
    if job.kind != JobKind.PEPPER or job.state not in {JobState.DONE, JobState.RUNNING}:
        raise WrongJobState(state=job.state)
    if job.spec.get("retire"):
        return _view(job)
    if job.state != JobState.DONE:
        raise WrongJobState(state=job.state)
    return _moved(job, JobState.RUNNING, now, spec={**job.spec, "retire": True})


def ask_destruction(lot_id: str, wanted: DestroyLot, key: str, caller: Caller, now: datetime) -> KeyJobView:
    """Ask that nobody can read a card of this lot again; another owner has to approve."""
    _living(lot_id)
    return _view(_asked(JobKind.DESTRUCTION, {"lot_id": lot_id, "reason": wanted.reason}, key, caller, now))


def approve_destruction(job_id: str, caller: Caller, now: datetime) -> KeyJobView:
    """Let it be done; OwnRequest for the asker."""
    job = _destruction(job_id)
    two_people.approve(job, caller.name, now)
    return _view(job)


def refuse_destruction(job_id: str, caller: Caller, now: datetime) -> KeyJobView:
    job = _destruction(job_id)
    two_people.refuse(job, caller.name, now)
    return _view(job)


def show(job_id: str) -> KeyJobView:
    return _view(_key_job(job_id))


def _living(lot_id: str) -> None:
    if lot_records.lot_of(lot_id).state in {LotState.DESTROYING, LotState.DESTROYED}:
        raise LotDestroyed(lot_id=lot_id)


def _asked(kind: JobKind, spec: dict[str, Any], key: str, caller: Caller, now: datetime) -> Job:
    digest = hashlib.sha256(json.dumps([kind, spec], sort_keys=True).encode()).hexdigest()
    return jobs.job_of(parts.ask_once(ids.new("job", now), kind, spec, caller.name, key, digest, now))


def _moved(job: Job, state: JobState, now: datetime, **values: Any) -> KeyJobView:
    try:
        jobs.move(job, state, now, **values)
    except Lost:
        raise Busy from None
    return _view(job)


def _key_job(job_id: str) -> Job:
    job = jobs.job_of(job_id)
    if job.kind not in KINDS:
        raise NotFound
    return job


def _destruction(job_id: str) -> Job:
    job = _key_job(job_id)
    if job.kind != JobKind.DESTRUCTION:
        raise NotFound
    return job


def _view(job: Job) -> KeyJobView:
    sentences = REASONS[str(job.reason)] if job.reason else None
    return KeyJobView(
        job_id=str(job.job_id),
        what=str(job.kind),
        state=str(job.state),
        lot_id=job.spec.get("lot_id"),
        reason=job.spec.get("reason"),
        asked_by=str(job.asked_by),
        asked_at=str(job.asked_at),
        approved_by=job.approved_by,
        started_at=job.started_at,
        ended_at=job.ended_at,
        counts=dict(job.counts),
        failed=WhyFailed(code=str(job.reason), zh=sentences.zh, en=sentences.en) if sentences else None,
    )
