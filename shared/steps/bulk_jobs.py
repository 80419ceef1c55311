"""A job that somebody waits for goes on: the worker of its kind takes it up where it was left."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from shared.jobs import records as jobs
from shared.jobs.records import Job
from shared.jobs.states import JobKind
from shared.kernel.records import Lost
from shared.kernel.telemetry import logger
from shared.steps import catalogue_import, recall_work, stock_in

WORKERS: Mapping[str, Callable[[Job, datetime], None]] = {
    JobKind.CARDS: stock_in.work,
    JobKind.CATALOGUE: catalogue_import.work,
    JobKind.RECALL: recall_work.work,
}


def work(message: Mapping[str, str], now: datetime) -> None:
    """Do what the job's state asks for; a job that was stopped or taken over meanwhile is left to whoever did it."""
    job_id = message["job_id"]
    job = jobs.job_of(job_id, job_id.partition("_")[0])
    try:
        WORKERS[str(job.kind)](job, now)
    except Lost as lost:
        if "job" not in lost.failed:
            raise
        logger.info("a job went on without this worker", job_id=job_id)
