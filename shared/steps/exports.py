"""Codes leave the house: asked for by one person, approved by another, opened by the first, once."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import datetime, timedelta

from shared.inventory import lots as lot_records
from shared.inventory import opening
from shared.inventory.contract import ExportList, ExportSecret, ExportView, RequestExport, WhyFailed
from shared.inventory.errors import ExportOpened, LotDestroyed, NotYours
from shared.inventory.lots import LotState
from shared.jobs import parts
from shared.jobs import records as jobs
from shared.jobs.errors import WrongJobState
from shared.jobs.reasons import REASONS
from shared.jobs.records import Job
from shared.jobs.states import JobKind, JobState
from shared.kernel import clock, ids, passing, people, sealed
from shared.kernel.errors import InvalidRequest
from shared.kernel.http import Caller
from shared.kernel.records import Lost
from shared.kernel.vault import Tampered
from shared.steps import two_people

LINK = timedelta(minutes=10)  # a person clicks at once
LISTED = 50  # exports in the list


def ask(wanted: RequestExport, key: str, caller: Caller, now: datetime) -> ExportView:
    """An export that waits for a second person; the same Idempotency-Key gives the same one."""
    if (wanted.lot_id is None) == (wanted.sku is None) or (wanted.sku is None) != (wanted.state is None):
        raise InvalidRequest(fields=[{"field": "", "reason": "lot_or_sku_and_state"}])
    if wanted.lot_id and lot_records.lot_of(wanted.lot_id).state == LotState.DESTROYED:
        raise LotDestroyed(lot_id=wanted.lot_id)
    spec = wanted.model_dump()
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()
    spec["address"] = people.hashed("address", caller.address)
    return show(parts.ask_once(ids.new("exp", now), JobKind.EXPORT, spec, caller.name, key, digest, now))


def show(export_id: str) -> ExportView:
    return _view(_export(export_id))


def latest() -> ExportList:
    """The latest exports: what waits for a decision is among them."""
    return ExportList(exports=[_view(job) for job in jobs.latest(JobKind.EXPORT, LISTED)])


def approve(export_id: str, caller: Caller, now: datetime) -> ExportView:
    """Let the file be made; OwnRequest for the asker."""
    job = _export(export_id)
    two_people.approve(job, caller.name, now)
    return _view(job)


def refuse(export_id: str, caller: Caller, now: datetime) -> ExportView:
    """Let the file not be made."""
    job = _export(export_id)
    two_people.refuse(job, caller.name, now)
    return _view(job)


def open_file(export_id: str, caller: Caller, now: datetime) -> ExportSecret:
    """The password, once and to the asker alone, and a link to the file; both are worth little without the other."""
    job = _export(export_id)
    if job.asked_by != caller.name:
        raise NotYours
    if job.state != JobState.DONE:
        raise WrongJobState(state=job.state)
    if not job.wrapped_key or not job.kept_until or str(job.kept_until) <= clock.iso(now):
        raise ExportOpened
    until = min(now + LINK, clock.parse(str(job.kept_until)))
    found = dict(job.found)
    locked, file = base64.b64decode(found.pop("password")), str(found["file"])
    try:
        password = sealed.open_key(export_id, bytes(job.wrapped_key)).unseal(file, locked).decode()
    except Tampered:
        raise opening.unreadable("-") from None
    try:
        jobs.give_out(job, until, {**found, "opened": True})
    except Lost:
        raise ExportOpened from None
    url = passing.download_link(file, f"{export_id}.zip", int((until - now).total_seconds()))
    return ExportSecret(export_id=export_id, password=password, url=url, url_until=clock.iso(until))


def _export(export_id: str) -> Job:
    return jobs.job_of(export_id, "exp")


def _view(job: Job) -> ExportView:
    sentences = REASONS[str(job.reason)] if job.reason else None
    return ExportView(
        export_id=str(job.job_id),
        state=str(job.state),
        lot_id=job.spec["lot_id"],
        sku=job.spec["sku"],
        card_state=job.spec["state"],
        reason=str(job.spec["reason"]),
        asked_by=str(job.asked_by),
        asked_at=str(job.asked_at),
        decided_by=job.approved_by,
        ended_at=job.ended_at,
        cards=job.counts.get("cards"),
        opened=bool((job.found or {}).get("opened")),
        file_until=job.kept_until,
        failed=WhyFailed(code=str(job.reason), zh=sentences.zh, en=sentences.en) if sentences else None,
    )
