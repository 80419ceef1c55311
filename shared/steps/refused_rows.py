"""The refused rows of an import, opened for whoever holds a link of ours: to be mended and imported again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from shared.inventory import refusals
from shared.inventory.refusals import RefusedRow
from shared.jobs import parts
from shared.jobs import records as jobs
from shared.jobs.contract import RefusedQuery
from shared.jobs.errors import LinkOver
from shared.jobs.reasons import Failed
from shared.jobs.records import Job
from shared.kernel.errors import NotFound
from shared.kernel.telemetry import logger
from shared.steps import import_files, imports

BYTES_MAX = 4_000_000  # of the answer: Lambda gives at most 6 MB, and JSON around it takes its share

_GONE = (
    "检查时拒绝的行已不再保存，请重新上传文件",
    "the rows that the check refused are not kept any longer; upload the file again",
)
_CUT = ("其余的行未列出：请先改正这些行", "the other rows are left out; mend these first")


def download(job_id: str, link: RefusedQuery, now: datetime) -> str:
    """The rows as CSV, or LinkOver; what the stock knows is masked."""
    imports.check_link(job_id, link.expires, link.signature, now)
    try:
        job = jobs.job_of(job_id)
    except NotFound:
        raise LinkOver from None
    until = imports.refused_until(job)
    if until is None or until <= now:
        raise LinkOver
    logger.info("refused rows read", job_id=job_id)
    text, size = [], 0
    for line in _lines(job):
        text.append(line)
        size += len(line.encode())
        if size > BYTES_MAX:
            text.append(refusals.note(*_CUT))
            break
    return "".join(text)


def _lines(job: Job) -> Iterator[str]:
    found = import_files.refused_rows(job, int((job.found or {}).get("attempt", 0)))
    if found is None and (job.found or {}).get("refused"):
        yield refusals.note(*_GONE)
    try:
        yield from refusals.text_of(found or ())
    except Failed:
        yield refusals.note(*_GONE)
    for part in parts.parts_of(str(job.job_id), "late#"):
        known = (RefusedRow(int(line), reason, None, mask) for line, reason, mask in part.data)
        yield from refusals.lines_of(known)
