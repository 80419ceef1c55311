"""What one person asks for and another one decides: exports, and lots that nobody shall read again."""

from __future__ import annotations

from datetime import datetime

from shared.inventory.errors import OwnRequest
from shared.jobs import records as jobs
from shared.jobs.errors import WrongJobState
from shared.jobs.records import Job
from shared.jobs.states import JobState
from shared.kernel.errors import Busy
from shared.kernel.records import Lost


def approve(job: Job, by: str, now: datetime) -> None:
    """Let it be done; OwnRequest for the asker. Saying so again changes nothing."""
    if job.asked_by == by:
        raise OwnRequest
    if job.state != JobState.CREATED:
        if job.approved_by == by:
            return
        raise WrongJobState(state=job.state)
    _decide(job, JobState.RUNNING, now, approved_by=by)


def refuse(job: Job, by: str, now: datetime) -> None:
    """Let it not be done; also the asker may think better of it. Saying so again changes nothing."""
    if job.state == JobState.CANCELLED:
        return
    if job.state != JobState.CREATED:
        raise WrongJobState(state=job.state)
    _decide(job, JobState.CANCELLED, now, approved_by=by, reason="refused")


def _decide(job: Job, state: JobState, now: datetime, **values: str) -> None:
    try:
        jobs.move(job, state, now, **values)
    except Lost:
        raise Busy from None
