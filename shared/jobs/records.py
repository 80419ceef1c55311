"""The jobs table: one head for each job, and beside it the parts that a kind of job wants to remember."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from pynamodb.attributes import BinaryAttribute, JSONAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.indexes import GlobalSecondaryIndex, KeysOnlyProjection

from shared.jobs.states import MOVES, WORKED_ON, JobKind, JobState
from shared.kernel import clock, ids, records, settings
from shared.kernel.errors import NotFound
from shared.kernel.states import check_move

HEAD = "head"
DUE = "due#job#0"
BEAT_WITHIN = timedelta(minutes=2)
"""A worker says within this time how far it is; later than this it is dead or its message lost: it is sent again."""


class Due(GlobalSecondaryIndex["Job"]):
    """Sparse: only jobs that a worker should be at."""

    class Meta(records.Options):
        index_name = "due"
        projection = KeysOnlyProjection()

    due = UnicodeAttribute(hash_key=True)
    due_at = UnicodeAttribute(range_key=True)


class ByKind(GlobalSecondaryIndex["Job"]):
    class Meta(records.Options):
        index_name = "kind"
        projection = KeysOnlyProjection()

    kind = UnicodeAttribute(hash_key=True)
    job_id = UnicodeAttribute(range_key=True)


class Job(records.Record):
    class Meta(records.Options):
        table_name = settings.table("jobs")

    job_id = UnicodeAttribute(hash_key=True)
    part = UnicodeAttribute(range_key=True, default=HEAD)
    kind = UnicodeAttribute()
    state = UnicodeAttribute()
    spec = JSONAttribute()  # what was asked for
    counts = JSONAttribute()  # how far it is: name → number
    cursor = UnicodeAttribute(default="")  # where the next worker takes up; its meaning is the kind's own
    attempt = NumberAttribute(default=0)  # of the worker that may write; an older one has lost its say
    tries = NumberAttribute(default=0)  # how often it had to be sent again without getting on
    asked_by = UnicodeAttribute()
    asked_at = UnicodeAttribute()
    approved_by = UnicodeAttribute(null=True)
    started_at = UnicodeAttribute(null=True)
    ended_at = UnicodeAttribute(null=True)
    reason = UnicodeAttribute(null=True)  # why it failed or was ended
    found: JSONAttribute = JSONAttribute(null=True)  # what a person should see of its result
    wrapped_key = BinaryAttribute(legacy_encoding=False, null=True)  # of what it keeps in the passing bucket
    kept_until = UnicodeAttribute(null=True)  # when what it keeps is forgotten, once nobody works at it
    due = UnicodeAttribute(null=True)
    due_at = UnicodeAttribute(null=True)
    by_due = Due()
    by_kind = ByKind()


def insert(
    job_id: str,
    kind: JobKind,
    spec: Mapping[str, Any],
    by: str,
    now: datetime,
    *,
    state: JobState = JobState.CREATED,
    counts: Mapping[str, int] | None = None,
    **more: Any,
) -> Job:
    """A new job, or Lost if its id is taken. counts: what was done of it before it was asked for."""
    job = Job(
        job_id,
        HEAD,
        kind=kind,
        state=state,
        spec=dict(spec),
        counts=dict(counts or {}),
        asked_by=by,
        asked_at=clock.iso(now),
        **more,
    )
    if state in WORKED_ON:
        job.due, job.due_at, job.started_at = DUE, clock.iso(now + BEAT_WITHIN), clock.iso(now)
    records.insert(job)
    return job


def job_of(job_id: str, prefix: str = "job") -> Job:
    """The head as it is now, or NotFound."""
    if ids.is_id(prefix, job_id):
        with suppress(Job.DoesNotExist):
            return Job.get(job_id, HEAD, consistent_read=True)
    raise NotFound


def move(job: Job, state: JobState, now: datetime, **values: Any) -> None:
    """Take the job to another state, or raise Lost if somebody moved it first; `job` then holds the new values."""
    actions, condition = _move(job, state, now, values)
    records.update(job, actions, condition, "job")


def move_in(tx: records.Transaction, job: Job, state: JobState, now: datetime, **values: Any) -> None:
    """The same move together with others; the part that loses is named ``job``."""
    actions, condition = _move(job, state, now, values)
    tx.update("job", Job(job.job_id, HEAD), actions, condition)


def take_up(job: Job, now: datetime) -> None:
    """Become the job's worker: whoever was it before loses its say. Lost if the job has moved."""
    records.update(
        job,
        [Job.attempt.add(1), Job.due.set(DUE), Job.due_at.set(clock.iso(now + BEAT_WITHIN))],
        (Job.state == job.state) & (Job.attempt == job.attempt),
        "job",
    )


def advance(
    tx: records.Transaction,
    job: Job,
    now: datetime,
    *,
    cursor: str | None = None,
    counts: Mapping[str, int] | None = None,
) -> None:
    """Say how far the work is, in the transaction that did it; ``job`` loses once it was stopped or taken over."""
    actions, condition = _advance(job, now, cursor, counts)
    tx.update("job", Job(job.job_id, HEAD), actions, condition)


def advance_alone(
    job: Job, now: datetime, *, cursor: str | None = None, counts: Mapping[str, int] | None = None, **values: Any
) -> None:
    """The same where nothing else is written; raises Lost."""
    actions, condition = _advance(job, now, cursor, counts)
    records.update(job, actions + [getattr(Job, name).set(value) for name, value in values.items()], condition, "job")


def forget_key(job: Job) -> None:
    """Nobody can read any more what the job keeps, whatever is left of it."""
    # The attempt too: the record is fresh after it, and a late worker must not come by another's say in this way.
    records.update(job, [Job.wrapped_key.remove()], (Job.state == job.state) & (Job.attempt == job.attempt), "job")


def forgotten(job: Job, until: datetime | None = None) -> None:
    """What it kept is gone, and its key; with `until` only what was due has gone, and it keeps the rest that long."""
    actions: list[Any] = [Job.kept_until.remove(), Job.wrapped_key.remove(), Job.due.remove(), Job.due_at.remove()]
    if until:
        actions = [Job.kept_until.set(clock.iso(until)), Job.due_at.set(clock.iso(until))]
    records.update(job, actions, (Job.state == job.state) & (Job.attempt == job.attempt), "job")


def give_out(job: Job, until: datetime, found: Mapping[str, Any]) -> None:
    """What only its key opens is shown once: the key goes from the record, and what it keeps until then. Lost after."""
    records.update(
        job,
        [
            Job.wrapped_key.remove(),
            Job.found.set(dict(found)),
            Job.kept_until.set(clock.iso(until)),
            Job.due.set(DUE),
            Job.due_at.set(clock.iso(until)),
        ],
        (Job.state == job.state) & (Job.attempt == job.attempt) & Job.wrapped_key.exists(),
        "job",
    )


def look_again(job: Job, due_at: datetime, tries: int) -> None:
    """Its message is sent again: expect a sign of life by `due_at`."""
    records.update(job, [Job.due_at.set(clock.iso(due_at)), Job.tries.set(tries)], Job.due_at == job.due_at, "job")


def overdue(now: datetime, limit: int) -> list[str]:
    passed = Due.due_at <= clock.iso(now)
    return [str(item.job_id) for item in Job.by_due.query(DUE, passed, limit=limit, page_size=limit)]


def latest(kind: JobKind, limit: int) -> list[Job]:
    """The jobs of a kind, the latest first."""
    found = [
        (str(item.job_id), HEAD)
        for item in Job.by_kind.query(kind, scan_index_forward=False, limit=limit, page_size=limit)
    ]
    by_id = {str(job.job_id): job for job in Job.batch_get(found)} if found else {}
    return [by_id[job_id] for job_id, _ in found if job_id in by_id]


def _move(job: Job, state: JobState, now: datetime, values: Mapping[str, Any]) -> tuple[list[Any], Any]:
    check_move(MOVES, JobState(job.state), state)
    actions = [Job.state.set(state), *(getattr(Job, name).set(value) for name, value in values.items())]
    if state in WORKED_ON:
        actions += [Job.due.set(DUE), Job.due_at.set(clock.iso(now + BEAT_WITHIN)), Job.tries.set(0)]
        actions += [Job.cursor.set("")] if "cursor" not in values else []
        actions += [Job.started_at.set(clock.iso(now)), Job.ended_at.remove()]
    else:
        kept = values.get("kept_until")  # `deadlines` sends the job once more then: its worker forgets
        actions += [Job.due.set(DUE), Job.due_at.set(kept)] if kept else [Job.due.remove(), Job.due_at.remove()]
        actions += [Job.ended_at.set(clock.iso(now))]
    return actions, (Job.state == job.state) & (Job.attempt == job.attempt)


def _advance(job: Job, now: datetime, cursor: str | None, counts: Mapping[str, int] | None) -> tuple[list[Any], Any]:
    actions = [Job.due_at.set(clock.iso(now + BEAT_WITHIN)), Job.tries.set(0)]
    if cursor is not None:
        actions.append(Job.cursor.set(cursor))
    if counts is not None:
        actions.append(Job.counts.set(dict(counts)))
    return actions, (Job.state == job.state) & (Job.attempt == job.attempt)
