"""A catalogue file becomes SKUs, and SKUs become the snapshot that shoppers search."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

from shared.catalog import importing, records, snapshots
from shared.catalog.errors import UnreadableFile, WrongColumns
from shared.jobs import records as jobs
from shared.jobs.reasons import SPREADSHEET_MAX, Failed
from shared.jobs.records import Job
from shared.jobs.states import JobState
from shared.kernel import clock, passing, sealed
from shared.kernel.errors import Busy
from shared.kernel.telemetry import logger
from shared.steps import import_files
from shared.steps.stock_check import READ

SHOWN = 500  # refused lines in the report: a page or two, far below the 6 MB that Lambda answers with
TRIES = 4  # against other imports that publish at the same time
KEPT = timedelta(hours=1)  # of what was checked and not run: a catalogue holds no secret, and is quickly uploaded again


def work(job: Job, now: datetime) -> None:
    """What the state of the job asks for; in a state without work, forget what is due to be forgotten."""
    if job.state == JobState.CHECKING:
        _check(job, now)
    elif job.state == JobState.RUNNING:
        _run(job, now)
    elif job.kept_until and str(job.kept_until) <= clock.iso(now):
        _forget(job, now)


def _check(job: Job, now: datetime) -> None:
    """Read the file and say what it would change, or fail the job by a reason with a name."""
    jobs.take_up(job, now)
    ticking, upload = clock.since(now), import_files.upload_name(str(job.job_id))
    if job.cursor != READ:
        try:
            _read(job, upload, ticking)
        except Failed as failed:
            jobs.move(job, JobState.FAILED, ticking(), reason=failed.reason, kept_until=clock.iso(now))
            _forget(job, now)
            return
    passing.delete([upload])
    jobs.move(job, JobState.CHECKED, ticking(), kept_until=clock.iso(ticking() + KEPT))


def _read(job: Job, upload: str, ticking: clock.Ticking) -> None:
    job_id, attempt = str(job.job_id), int(job.attempt)
    opened = passing.opened(upload)
    if opened is None:
        raise Failed("upload_missing")
    if opened[1] > SPREADSHEET_MAX:
        raise Failed("upload_too_large")
    file = bytes(opened[0].read())
    reading = _reading(file)
    changes = records.compare(reading.skus)
    key, name = sealed.new_key(job_id), import_files.rows_name(job_id, attempt, 0)
    passing.put(name, key.seal(name, file))
    jobs.advance_alone(
        job,
        ticking(),
        cursor=READ,
        wrapped_key=key.wrapped,
        counts={
            "lines": len(reading.skus) + len(reading.refused),
            "new": changes.created,
            "changed": changes.changed,
            "unchanged": changes.unchanged,
            "refused": len(reading.refused),
            "read_bytes": len(file),
            "bytes": len(file),
        },
        found={
            "attempt": attempt,
            "refused": dict(Counter(one.reason for one in reading.refused)),
            "refused_lines": [[one.line, one.reason] for one in reading.refused[:SHOWN]],
        },
    )


def _run(job: Job, now: datetime) -> None:
    """Save what the file says, a hundred SKUs at a time, and publish it."""
    jobs.take_up(job, now)
    ticking = clock.since(now)
    name = import_files.rows_name(str(job.job_id), int((job.found or {})["attempt"]), 0)
    file = passing.get(name)
    if file is None or job.wrapped_key is None:
        jobs.move(job, JobState.FAILED, ticking(), reason="rows_gone")
        return
    skus = _reading(sealed.open_key(str(job.job_id), bytes(job.wrapped_key)).unseal(name, file)).skus
    for start in range(int(job.cursor or 0), len(skus), records.CHUNK):
        some = skus[start : start + records.CHUNK]
        records.save(some, ticking())
        done = start + len(some)
        jobs.advance_alone(job, ticking(), cursor=str(done), counts={**job.counts, "done": done, "worked": done})
    found = {**(job.found or {}), "snapshot": publish()}
    jobs.move(job, JobState.DONE, ticking(), found=found, kept_until=clock.iso(ticking() + KEPT))
    logger.info("catalogue imported", job_id=str(job.job_id), **job.counts)
    import_files.drop_rows(job)
    jobs.forgotten(job)


def _forget(job: Job, now: datetime) -> None:
    if job.state == JobState.CHECKED:
        jobs.move(job, JobState.CANCELLED, now, reason="rows_gone")
    import_files.drop_rows(job)
    jobs.forgotten(job)


def _reading(file: bytes) -> importing.Reading:
    try:
        return importing.read(file)
    except UnreadableFile:
        raise Failed("unreadable_file") from None
    except WrongColumns:
        raise Failed("wrong_columns") from None


def publish() -> str:
    """Make the snapshot of all SKUs the one that is searched, if it is not so already; returns its version."""
    from shared.catalog import indexing  # here, because its dictionaries take as long to load as all the console

    for _ in range(TRIES):
        # What lies there is looked at before the table: whoever puts after us has then read what we wrote.
        etag, published = snapshots.stored()
        version, lines = indexing.snapshot(records.everything())
        if version == published:
            return version
        try:
            snapshots.put(version, lines, etag)
        except snapshots.Overtaken:
            continue
        return version
    raise Busy
