"""What lies beside the head of a job in its table: what a kind of job wants to remember, and how it was asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from pynamodb.attributes import BinaryAttribute, JSONAttribute, UnicodeAttribute

from shared.jobs.errors import KeyReused
from shared.jobs.records import HEAD, Job
from shared.jobs.states import JobKind, JobState
from shared.kernel import clock, records, settings


class Part(records.Record):
    class Meta(records.Options):
        table_name = settings.table("jobs")

    job_id = UnicodeAttribute(hash_key=True)
    part = UnicodeAttribute(range_key=True)
    data = JSONAttribute()
    wrapped_key = BinaryAttribute(legacy_encoding=False, null=True)


class Reference(records.Record):
    """An Idempotency-Key and the job that it has made; kept for ever."""

    class Meta(records.Options):
        table_name = settings.table("jobs")

    job_id = UnicodeAttribute(hash_key=True)
    part = UnicodeAttribute(range_key=True, default="ref")
    names = UnicodeAttribute()
    asked = UnicodeAttribute()  # a digest of the request


def keep(job_id: str, part: str, data: Any, wrapped_key: bytes | None = None) -> None:
    """Write a part, whatever stood there."""
    Part(job_id, part, data=data, wrapped_key=wrapped_key).save()


def part_of(job_id: str, part: str) -> Part | None:
    with suppress(Part.DoesNotExist):
        return Part.get(job_id, part, consistent_read=True)
    return None


def parts_of(job_id: str, prefix: str) -> list[Part]:
    """The parts whose names begin so, in order."""
    return list(Part.query(job_id, Part.part.startswith(prefix), consistent_read=True))


def forget(job_id: str, part: str) -> None:
    Part(job_id, part).delete()


def ask_once(job_id: str, kind: JobKind, spec: Mapping[str, Any], by: str, key: str, digest: str, now: datetime) -> str:
    """A new job that waits for its file, or the one that this person's key has made before; returns the job's id.

    KeyReused if the key was used for another request.
    """
    job = Job(
        job_id,
        HEAD,
        kind=kind,
        state=JobState.CREATED,
        spec=dict(spec),
        counts={},
        asked_by=by,
        asked_at=clock.iso(now),
    )
    reference = "ref#" + hashlib.sha256(f"{by}\n{key}".encode()).hexdigest()
    try:
        with records.Transaction() as tx:
            tx.insert("job", job)
            if key:
                tx.insert("reference", Reference(reference, names=job_id, asked=digest))
    except records.Lost:
        made = Reference.get(reference, "ref", consistent_read=True)
        if made.asked != digest:
            raise KeyReused from None
        return str(made.names)
    return job_id
