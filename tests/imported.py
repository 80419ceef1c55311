"""An import in one process, as an operator would do it, without streams and queues in between."""

from __future__ import annotations

import urllib.request
from datetime import datetime
from pathlib import Path
from typing import Any

from shared.catalog import snapshots
from shared.jobs import parts
from shared.jobs import records as jobs
from shared.jobs.contract import CreateImport, ImportOptions, ImportView
from shared.kernel import aws, passing, settings
from shared.kernel.http import Caller
from shared.steps import bulk_jobs, import_files, imports

SAMPLE = Path(__file__).parents[1] / "infra/local/sample/catalogue.csv"
OPERATOR = Caller("198.51.100.7", name="ann", groups=frozenset({"operator"}), base_url="https://shop.example/api")

_left: dict[str, Any] = {}  # by the first import of the sample catalogue


def asked(file: bytes, name: str, now: datetime, sku: str | None = None, kind: str = "cards", **options: Any) -> str:
    """An import whose file has arrived, by its job's id."""
    wanted = CreateImport(kind=kind, sku=sku, file_name=name, options=ImportOptions(**options))  # type: ignore[arg-type]
    if kind == "catalogue":
        wanted = CreateImport(kind="catalogue", file_name=name)
    job_id = imports.create(wanted, "", OPERATOR, now).job_id
    passing.put(import_files.upload_name(job_id), file)
    return job_id


def worked(job_id: str, now: datetime) -> ImportView:
    bulk_jobs.work({"job_id": job_id}, now)
    return imports.show(job_id, OPERATOR, now)


def checked(job_id: str, now: datetime) -> ImportView:
    imports.check(job_id, OPERATOR, now)
    return worked(job_id, now)


def run(job_id: str, now: datetime) -> ImportView:
    imports.run(job_id, OPERATOR, now)
    return worked(job_id, now)


def undone(job_id: str, now: datetime) -> ImportView:
    imports.undo(job_id, OPERATOR, now)
    return worked(job_id, now)


def take_in(
    file: bytes, name: str, now: datetime, sku: str | None = None, kind: str = "cards", **options: Any
) -> ImportView:
    """The whole of an import, or of as much of it as the file allows."""
    job_id = asked(file, name, now, sku, kind, **options)
    seen = checked(job_id, now)
    return run(job_id, now) if seen.state == "checked" else seen


def put(url: str, file: bytes) -> int:
    """PUT a file to a signed link."""
    request = urllib.request.Request(url, data=file, method="PUT")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return int(answer.status)


def report(seen: ImportView) -> dict[str, Any]:
    """What became of a file, as tests ask for it in one look."""
    job = jobs.job_of(seen.job_id)
    rows = list(import_files.refused_rows(job, int((job.found or {}).get("attempt", 0))) or ())
    refused = [{"line": row.line, "reason": row.reason} for row in rows]
    for part in parts.parts_of(seen.job_id, "late#"):
        refused += [{"line": line, "reason": reason} for line, reason, _ in part.data]
    return {
        "job_id": seen.job_id,
        "state": seen.state,
        "accepted": seen.counts.done,
        "refused_count": seen.counts.refused,
        "refused": refused,
        "lots": [lot.lot_id for lot in seen.lots],
    }


def sample_catalogue(now: datetime) -> set[str]:
    """The sample catalogue as its import leaves it: a process imports it once, and puts back later what was left.

    Returns the ids of jobs that are done, should anybody be sent to work at them.
    """
    dynamodb, s3, table = aws.client("dynamodb"), aws.client("s3"), settings.table("products")
    at = {"Bucket": settings.get("BUCKET"), "Key": snapshots.KEY}
    if not _left:
        seen = catalogue(SAMPLE.read_bytes(), now)
        _left["items"] = dynamodb.scan(TableName=table)["Items"]
        found = s3.get_object(**at)
        _left["snapshot"] = {"Body": found["Body"].read(), "Metadata": found["Metadata"]}
        return {seen.job_id}
    items = [{"PutRequest": {"Item": item}} for item in _left["items"]]
    for start in range(0, len(items), 25):
        dynamodb.batch_write_item(RequestItems={table: items[start : start + 25]})
    s3.put_object(**at, **_left["snapshot"], ContentType="application/gzip")
    return set()


def catalogue(file: bytes, now: datetime) -> ImportView:
    """A whole catalogue, saved and published."""
    seen = take_in(file, "catalogue.csv", now, kind="catalogue")
    assert seen.state == "done", seen
    return seen
