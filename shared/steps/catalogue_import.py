"""A catalogue file becomes SKUs, and SKUs become the snapshot that shoppers search."""

from __future__ import annotations

from datetime import datetime

from shared.catalog import importing, records, snapshots
from shared.catalog.contract import ImportReport, RefusedLine
from shared.kernel.errors import Busy
from shared.kernel.telemetry import logger

SHOWN = 500  # refused lines in the report: a page or two, far below the 6 MB that Lambda answers with
TRIES = 4  # against other imports that publish at the same time


def import_catalogue(file: bytes, now: datetime) -> ImportReport:
    """Store what the file says and publish it; the same file again changes nothing, and mends a stale snapshot."""
    reading = importing.read(file)
    changes = records.save(reading.skus, now)
    version = publish()
    logger.info("catalogue imported", added=changes.created, changed=changes.changed, refused=len(reading.refused))
    return ImportReport(
        created=changes.created,
        changed=changes.changed,
        unchanged=changes.unchanged,
        refused_count=len(reading.refused),
        refused=[
            RefusedLine(line=refused.line, reason=refused.reason, **importing.REASONS[refused.reason]._asdict())
            for refused in reading.refused[:SHOWN]
        ],
        snapshot=version,
    )


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
