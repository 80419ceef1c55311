"""The check of a card file: read once, compared with everything ever imported or sold, sealed; its upload deleted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import islice
from typing import Any

from shared.catalog import records as catalog
from shared.catalog.kinds import Fulfilment
from shared.catalog.sku import Sku
from shared.inventory import card_files, codes, spreadsheets
from shared.inventory import lots as lot_records
from shared.inventory import records as inventory
from shared.inventory.card_files import Cells
from shared.inventory.lots import LotState
from shared.inventory.refusals import RefusedRow
from shared.inventory.states import CardState
from shared.jobs import parts, reasons
from shared.jobs import records as jobs
from shared.jobs.reasons import Failed
from shared.jobs.records import Job
from shared.jobs.states import JobState
from shared.kernel import clock, ids, passing, sealed, vault
from shared.kernel.disk_set import DiskSet
from shared.kernel.telemetry import logger
from shared.steps import import_files
from shared.steps.import_files import Plan, PlannedLot, Row

CHUNK = 480  # rows of one sealed object: ten transactions, and 70 kB
WAITING = 10 * CHUNK  # rows in memory that wait for others of their lot
PREVIEW = 20  # rows shown to the person who decides
BEAT = timedelta(seconds=2)  # how often progress is said
KEPT = timedelta(hours=1)  # what was refused, after the check or the run that refused it
READ = "read"  # the cursor of a check that has all it needs: the upload may go

_FREE = "free"


def check(job: Job, now: datetime) -> None:
    """Read the upload, or fail the job by a reason with a name. A check that died begins anew, with the same result."""
    jobs.take_up(job, now)
    ticking = clock.since(now)
    if job.cursor != READ:
        try:
            _Check(job, ticking).read()
        except Failed as failed:
            # First: a late worker misses what another has read and deleted, and has no say. Whoever dies after this
            # is followed by one that forgets, because what is kept is due at once.
            jobs.move(job, JobState.FAILED, ticking(), reason=failed.reason, kept_until=clock.iso(now))
            import_files.drop_refused(job)
            import_files.drop_rows(job)
            jobs.forgotten(job)
            return
    passing.delete([import_files.upload_name(str(job.job_id))])
    done = ticking()
    jobs.move(job, JobState.CHECKED, done, kept_until=clock.iso(done + KEPT))
    logger.info("card file checked", job_id=str(job.job_id), **job.counts)


class Counted:
    """A stream that knows how much of it was read."""

    def __init__(self, stream: Any, size: int) -> None:
        self.stream, self.size, self.done = stream, size, 0

    def read(self, size: int, /) -> bytes:
        block = bytes(self.stream.read(size))
        self.done += len(block)
        if self.done > reasons.UPLOAD_MAX:
            raise Failed("upload_too_large")
        return block


class _Headed:
    """A stream whose beginning was looked at. A block is as long as asked for: the first one decides for the file."""

    def __init__(self, head: bytes, stream: Counted) -> None:
        self.head, self.stream = head, stream

    def read(self, size: int, /) -> bytes:
        head, self.head = self.head[:size], self.head[size:]
        return head + self.stream.read(size - len(head)) if len(head) < size else head


@dataclass
class _Found:
    lines: int = 0
    new: int = 0
    duplicates: int = 0
    skipped: int = 0
    cost_e6: int = 0
    by_sku: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    preview: list[dict[str, Any]] = field(default_factory=list)


class _Check:
    """One reading of one file."""

    def __init__(self, job: Job, ticking: clock.Ticking) -> None:
        self.job, self.ticking = job, ticking
        self.job_id, self.attempt = str(job.job_id), int(job.attempt)
        self.options: dict[str, Any] = job.spec["options"]
        self.as_of = clock.shanghai_day(clock.parse(str(job.started_at)))
        self.skus = _stocked(job.spec["sku"])
        self.key, self.refused_key = sealed.new_key(self.job_id), sealed.new_key(self.job_id)
        self.found = _Found()
        self.waiting: dict[str, list[Row]] = {}
        self.held = 0
        self.lots: dict[str, PlannedLot] = {}
        self.chunks: list[tuple[int, int]] = []
        self.refused: list[RefusedRow] = []
        self.refused_chunks = 0
        self.said_at = ticking()

    def read(self) -> None:
        opened = passing.opened(import_files.upload_name(self.job_id))
        if opened is None:
            raise Failed("upload_missing")
        stream, size = opened
        with closing(stream), DiskSet() as seen:
            if size > reasons.UPLOAD_MAX:
                raise Failed("upload_too_large")
            counted = Counted(stream, size)
            rows = card_files.read(
                _lines_of(counted),
                file_name=_as_text(str(self.job.spec["file_name"])),
                sku=self.job.spec["sku"],
                as_of=self.as_of,
                sku_days=self._days(),
                shape=self.options.get("shape"),
                seen=seen,
            )
            try:
                while block := list(islice(rows, CHUNK)):
                    self._take(block)
                    self._say(counted)
            except spreadsheets.Unreadable:
                raise Failed("unreadable_spreadsheet") from None
        self._end(counted)

    def _days(self) -> dict[str, int | None]:
        """For how many days a card lasts whose row does not say."""
        given = self.options.get("expires_on")
        if given is None:
            return {name: sku.validity_days for name, sku in self.skus.items()}
        days = (date.fromisoformat(given) - self.as_of).days
        if days < 0:
            raise Failed("expired")
        return dict.fromkeys(self.skus, days)

    def _take(self, block: Sequence[card_files.Row]) -> None:
        if block[-1].line > reasons.LINES_MAX:
            raise Failed("too_many_rows")
        cards = [row for row in block if isinstance(row, card_files.Card)]
        known = _known(cards)
        self.found.lines += len(block)
        for row in block:
            if isinstance(row, card_files.Skipped):
                self.found.skipped += 1
            elif isinstance(row, card_files.Refused):
                self._refuse(self._given_back(row))
            elif (verdict := known.get(row.line)) is None or verdict[0] == _FREE:
                self._let_in(row, verdict[1] if verdict else ())
            else:
                self._refuse(RefusedRow(row.line, verdict[0], None, f"{row.sku} {codes.mask(row.number or row.code)}"))

    def _let_in(self, row: card_files.Card, instead_of: Sequence[str]) -> None:
        label = row.lot or self.options.get("lot") or ""
        if label not in self.lots:
            if len(self.lots) == reasons.LOTS_MAX:
                raise Failed("too_many_lots")
            lot_id = ids.new("lot", self.ticking())
            self.lots[label] = PlannedLot(lot_id, label, vault.new_lot_key(lot_id))
        cost_e6 = self._cost_e6(row)
        expires_on = row.expires_on.isoformat() if row.expires_on else None
        waiting = self.waiting.setdefault(label, [])
        waiting.append(
            Row(
                row.line,
                row.sku,
                row.code,
                row.number,
                row.identity,
                row.whole,
                expires_on,
                cost_e6,
                ids.new("crd", self.said_at),
                instead_of,
            )
        )
        self.held += 1
        found = self.found
        found.new += 1
        found.cost_e6 += cost_e6
        found.by_sku[row.sku] += 1
        if len(found.preview) < PREVIEW:
            found.preview.append(
                {
                    "line": row.line,
                    "sku": row.sku,
                    "number": None if row.number is None else codes.mask(row.number),
                    "code": codes.mask(row.code),
                    "expires_on": expires_on,
                    "cost_e6": cost_e6,
                    "lot": label or None,
                }
            )
        if len(waiting) == CHUNK:
            self._put(label)
        elif self.held == WAITING:
            self._put(max(self.waiting, key=lambda one: len(self.waiting[one])))

    def _cost_e6(self, row: card_files.Card) -> int:
        if row.cost_e6 is not None:
            return row.cost_e6
        return int(self.options.get("cost_e6", self.skus[row.sku].cost_e6))

    def _put(self, label: str) -> None:
        rows = self.waiting.pop(label)
        self.held -= len(rows)
        import_files.put(self.key, import_files.rows_name(self.job_id, self.attempt, len(self.chunks)), rows)
        self.chunks.append((list(self.lots).index(label), len(rows)))

    def _given_back(self, row: card_files.Refused) -> RefusedRow:
        cells = row.cells
        if row.reason != "duplicate_in_file":
            return RefusedRow(row.line, row.reason, self._completed(cells))
        sku = codes.shown(cells.sku) or self.job.spec["sku"]
        return RefusedRow(row.line, row.reason, None, f"{sku} {codes.mask(codes.shown(cells.number or cells.code))}")

    def _completed(self, cells: Cells) -> Cells:
        """With what the import would have given the row, so that the mended file needs no options of its own."""
        cost_e6 = self.options.get("cost_e6")
        return cells._replace(
            sku=cells.sku or self.job.spec["sku"] or "",
            expires_on=cells.expires_on or self.options.get("expires_on", ""),
            cost=cells.cost or ("" if cost_e6 is None else f"{cost_e6 // 1_000_000}.{cost_e6 % 1_000_000:06}"),
            lot=cells.lot or self.options.get("lot", ""),
        )

    def _refuse(self, row: RefusedRow) -> None:
        self.found.refused[row.reason] += 1
        self.found.duplicates += row.cells is None or row.reason == "duplicate_in_file"
        self.refused.append(row)
        if len(self.refused) == CHUNK:
            self._put_refused()

    def _put_refused(self) -> None:
        import_files.put_refused(self.refused_key, self.job, self.attempt, self.refused_chunks, self.refused)
        self.refused_chunks += 1
        self.refused = []

    def _say(self, counted: Counted) -> None:
        if self.ticking() - self.said_at >= BEAT:
            self.said_at = self.ticking()
            jobs.advance_alone(self.job, self.said_at, counts=self._counts(counted))

    def _counts(self, counted: Counted) -> dict[str, int]:
        found = self.found
        return {
            "lines": found.lines,
            "new": found.new,
            "duplicates": found.duplicates,
            "refused": found.refused.total(),
            "skipped": found.skipped,
            "read_bytes": counted.done,
            "bytes": counted.size,
        }

    def _end(self, counted: Counted) -> None:
        for label in list(self.waiting):
            self._put(label)
        if self.refused:
            self._put_refused()
        if self.refused_chunks:
            part = import_files.refused_part(self.attempt)
            parts.keep(self.job_id, part, {"chunks": self.refused_chunks}, self.refused_key.wrapped)
        import_files.put_plan(self.key, self.job, self.attempt, Plan(list(self.lots.values()), self.chunks))
        found = self.found
        jobs.advance_alone(
            self.job,
            self.ticking(),
            cursor=READ,
            counts=self._counts(counted),
            wrapped_key=self.key.wrapped,
            found={
                "attempt": self.attempt,
                "chunks": len(self.chunks),
                "by_sku": dict(sorted(found.by_sku.items())),
                "refused": dict(found.refused),
                "preview": found.preview,
                "total_cost_e6": found.cost_e6,
            },
        )


def _stocked(sku: str | None) -> dict[str, Sku]:
    known = {one.sku: one for one in catalog.everything()} if sku is None else catalog.skus([sku])
    return {name: one for name, one in known.items() if one.fulfilment is Fulfilment.STOCK}


def _as_text(file_name: str) -> str:
    return f"{file_name}.csv" if file_name.lower().endswith(".xlsx") else file_name


def _lines_of(counted: Counted) -> card_files.Stream:
    head = counted.read(8)
    try:
        if not spreadsheets.is_spreadsheet(head):
            return _Headed(head, counted)
    except spreadsheets.Unreadable:
        raise Failed("unreadable_spreadsheet") from None
    if counted.size > reasons.SPREADSHEET_MAX:
        raise Failed("upload_too_large")
    return spreadsheets.Lines(head + counted.read(reasons.SPREADSHEET_MAX))


def _known(cards: Sequence[card_files.Card]) -> dict[int, tuple[str, Sequence[str]]]:
    """By line, of those that the stock knows: why they are refused, or that they are free again and of which cards."""
    fingerprints = {card.line: vault.fingerprints(card.identity, codes.NORMAL_FORM) for card in cards}
    stored = inventory.stored([one for several in fingerprints.values() for one in several])
    if not stored:
        return {}
    taken_back = _taken_back(known.card_id for known in stored.values())
    verdicts: dict[int, tuple[str, Sequence[str]]] = {}
    for card in cards:
        found = [stored[one] for one in fingerprints[card.line] if one in stored]
        if not found:
            continue
        if all(one.card_id in taken_back for one in found):
            verdicts[card.line] = _FREE, sorted({one.card_id for one in found})
        else:
            same = {one.whole for one in found}.intersection(vault.fingerprints(card.whole, codes.NORMAL_FORM))
            verdicts[card.line] = "duplicate_in_stock" if same else "number_conflict", ()
    return verdicts


def _taken_back(card_ids: Iterable[str]) -> set[str]:
    """Those of the cards that an undone import has left behind: their codes may come in again."""
    void = [card for card in inventory.known(sorted(set(card_ids))) if card.state == CardState.VOID]
    if not void:
        return set()
    lots = lot_records.lots(str(card.lot_id) for card in void)
    return {str(card.card_id) for card in void if lots[str(card.lot_id)].state == LotState.UNDONE}
