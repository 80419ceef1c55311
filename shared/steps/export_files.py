"""The file of an approved export: a ZIP that only its password opens, gone within the hour."""

from __future__ import annotations

import base64
import csv
import io
import secrets
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pyzipper

from shared.inventory import opening, views
from shared.inventory import records as inventory
from shared.inventory.records import Card
from shared.jobs import records as jobs
from shared.jobs.reasons import EXPORT_MAX, Failed
from shared.jobs.records import Job
from shared.jobs.states import JobState
from shared.kernel import clock, passing, sealed, settings
from shared.kernel.records import Lost, Transaction
from shared.kernel.telemetry import logger
from shared.kernel.vault import Secret
from shared.staff import limits

EXPORTED_A_DAY = 20_000
"""Cards asked for by one person: two full exports."""

KEPT = timedelta(minutes=50)  # `deadlines` looks each minute: the file is gone within the hour
CHUNK = 100  # cards opened between two signs of life: the limit of one BatchGetItem
LETTERS = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz"  # no look-alikes: people copy these
LENGTH = 24  # characters: 139 bits, whatever the archive makes of them
COLUMNS = ("card_id", "sku", "number", "code", "expires_on", "state", "lot_id")


def run(job: Job, now: datetime) -> None:
    """Make the file of an approved export. Taken up again, it exports the same cards, and writes the same looks."""
    export_id = str(job.job_id)
    if not job.cursor:
        _count(job, now)
    wanted = _listed(export_id)
    looked_at = clock.parse(str(job.started_at))
    rows: list[tuple[Card, Secret]] = []
    for start in range(0, len(wanted), CHUNK):
        chunk = wanted[start : start + CHUNK]
        views.record(
            chunk,
            str(job.asked_by),
            str(job.spec["address"]),
            str(job.spec["reason"]),
            looked_at,
            export_id=export_id,
            staff=True,
        )
        cards = inventory.cards(chunk)
        rows += zip(cards, opening.opened(cards), strict=True)
        jobs.advance_alone(job, clock.now(), counts={**job.counts, "done": len(rows)})
    _deliver(job, rows)
    logger.info("cards exported", export_id=export_id, cards=len(rows), asked_by=str(job.asked_by))


def forget(job: Job) -> None:
    """The hour is over, or the link: the file goes, and with it what its password was sealed with."""
    passing.delete([str(job.found["file"])])
    jobs.forgotten(job)


def _count(job: Job, now: datetime) -> None:
    """Write down which cards they are, and count them against the asker's day in the step that begins the work."""
    wanted = sorted(_matching(job.spec))
    if not wanted:
        raise Failed("no_cards")
    if len(wanted) > EXPORT_MAX:
        raise Failed("too_many_cards")
    passing.put(_list_name(str(job.job_id)), "\n".join(wanted).encode())
    limit = settings.whole("EXPORTED_A_DAY", EXPORTED_A_DAY)
    counts = {"cards": len(wanted), "done": 0}
    try:
        with Transaction() as tx:
            limits.use(tx, "export", str(job.asked_by), len(wanted), limit, now)
            jobs.advance(tx, job, now, cursor="counted", counts=counts)
    except Lost as lost:
        if "limit" in lost.refused:
            raise Failed("export_limit") from None
        raise
    job.counts = counts


def _matching(spec: dict[str, Any]) -> Iterator[str]:
    """Ids of at most one card more than an export may have."""
    if spec["lot_id"]:
        found = inventory.of_lot(str(spec["lot_id"]))
    else:
        found = inventory.in_state(str(spec["sku"]), str(spec["state"]))
    for _, card_id in zip(range(EXPORT_MAX + 1), found, strict=False):
        yield card_id


def _listed(export_id: str) -> list[str]:
    listed = passing.get(_list_name(export_id))
    if listed is None:
        raise Failed("rows_gone")
    return listed.decode().split("\n")


def _deliver(job: Job, rows: list[tuple[Card, Secret]]) -> None:
    """Lock the file, and hand its password to the record, sealed; the file of a worker that lost its say has another
    name, and its password is nowhere."""
    export_id = str(job.job_id)
    password = "".join(secrets.choice(LETTERS) for _ in range(LENGTH))
    file = f"exports/{export_id}/{job.attempt}.zip"
    key = sealed.new_key(export_id)
    passing.put(file, _archive(f"{export_id}.csv", _table(rows), password))
    now = clock.now()
    jobs.move(
        job,
        JobState.DONE,
        now,
        wrapped_key=key.wrapped,
        kept_until=clock.iso(now + KEPT),
        found={"file": file, "password": base64.b64encode(key.seal(file, password.encode())).decode()},
    )
    passing.delete([_list_name(export_id)])


def _table(rows: list[tuple[Card, Secret]]) -> bytes:
    table = io.StringIO()
    lines = csv.writer(table)
    lines.writerow(COLUMNS)
    for card, secret in rows:
        lines.writerow(
            (card.card_id, card.sku, secret.number or "", secret.code, card.expires_on or "", card.state, card.lot_id)
        )
    return table.getvalue().encode("utf-8-sig")  # with the mark that spreadsheets want


def _archive(name: str, content: bytes, password: str) -> bytes:
    packed = io.BytesIO()
    with pyzipper.AESZipFile(packed, "w", compression=pyzipper.ZIP_DEFLATED, encryption=pyzipper.WZ_AES) as archive:
        archive.setpassword(password.encode())
        archive.setencryption(pyzipper.WZ_AES, nbits=256)
        archive.writestr(name, content)
    return packed.getvalue()


def _list_name(export_id: str) -> str:
    return f"exports/{export_id}/cards"
