"""Work that opens many codes: exports, new keys, new fingerprints, the end of a lot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from shared.inventory.errors import CodeUnreadable, LotDestroyed
from shared.jobs import records as jobs
from shared.jobs.reasons import Failed
from shared.jobs.records import Job
from shared.jobs.states import WORKED_ON, JobKind, JobState
from shared.kernel import clock
from shared.kernel.records import Lost
from shared.kernel.telemetry import logger
from shared.steps import export_files, key_jobs

WORKERS: Mapping[str, Callable[[Job, datetime], None]] = {
    JobKind.EXPORT: export_files.run,
    JobKind.LOT_KEY: key_jobs.lot_key,
    JobKind.WRAPPING: key_jobs.wrapping,
    JobKind.PEPPER: key_jobs.pepper,
    JobKind.DESTRUCTION: key_jobs.destruction,
}


def work(message: Mapping[str, str], now: datetime) -> None:
    """Take the job up where it was left. What does not open ends it, with an alarm: nothing is guessed or replaced."""
    job_id = message["job_id"]
    job = jobs.job_of(job_id, job_id.partition("_")[0])
    try:
        if job.state in WORKED_ON:
            jobs.take_up(job, now)
            _work(job, now)
        elif job.kept_until and str(job.kept_until) <= clock.iso(now):
            export_files.forget(job)
    except Lost as lost:
        if "job" not in lost.failed:
            raise
        logger.info("a job went on without this worker", job_id=job_id)


def _work(job: Job, now: datetime) -> None:
    try:
        WORKERS[str(job.kind)](job, now)
    except key_jobs.Later as later:
        jobs.look_again(job, later.until, 0)
        logger.info("a job waits", job_id=str(job.job_id), kind=str(job.kind), until=clock.iso(later.until))
    except (Failed, CodeUnreadable, LotDestroyed) as failed:
        reason = failed.reason if isinstance(failed, Failed) else failed.code
        logger.warning("a job failed", job_id=str(job.job_id), kind=str(job.kind), reason=reason)
        jobs.move(job, JobState.FAILED, clock.now(), reason=reason)
