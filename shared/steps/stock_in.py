"""What a check has found new comes into stock, and goes out again when the import is undone: in parts, each exact."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import NamedTuple

from shared.catalog import records as catalog
from shared.catalog.terms import Terms
from shared.inventory import codes
from shared.inventory import lots as lot_records
from shared.inventory import records as inventory
from shared.inventory.lots import Lot
from shared.inventory.records import LOT_SHARDS
from shared.inventory.states import UNSOLD, CardState
from shared.jobs import parts
from shared.jobs import records as jobs
from shared.jobs.reasons import Failed
from shared.jobs.records import Job
from shared.jobs.states import JobState
from shared.kernel import clock, passing, sealed, vault
from shared.kernel.errors import Busy
from shared.kernel.records import LIMIT, Lost, Transaction
from shared.kernel.telemetry import logger
from shared.kernel.vault import LotKey, Secret
from shared.ledger import posting
from shared.ledger import records as ledger
from shared.steps import import_files, stock_check
from shared.steps.import_files import Plan, Row
from shared.steps.stock_terms import keep_aside

BESIDE = 4  # actions: the entry in the books, the job's progress, the lot's state, the rows that lost
ATTEMPTS = 6  # of one transaction against other imports
PAGE = LIMIT - 2  # cards taken back in one transaction, with its entry and the job's progress
PASSES = 3  # over an undone lot: its index may be a moment behind
ENOUGH = timedelta(minutes=12)  # of the fifteen that a worker has: then `deadlines` sends the job to another
KEPT = stock_check.KEPT
DECIDE_WITHIN = timedelta(days=6)  # from the check to the run; the bucket keeps the rows for seven


def work(job: Job, now: datetime) -> None:
    """What the state of the job asks for; in a state without work, forget what is due to be forgotten."""
    if job.state == JobState.CHECKING:
        stock_check.check(job, now)
    elif job.state == JobState.RUNNING:
        _Run(job, now).run()
    elif job.state == JobState.UNDOING:
        _Undo(job, now).undo()
    elif job.kept_until and str(job.kept_until) <= clock.iso(now):
        forget(job, now)
    elif job.wrapped_key and job.state != JobState.CHECKED:
        _clear(job)


def _clear(job: Job) -> None:
    """The rows of a job that is over go at once; what was refused stays as long as it may."""
    import_files.drop_rows(job)
    if not job.counts.get("refused"):
        jobs.forgotten(job)


def forget(job: Job, now: datetime) -> None:
    """Delete what was refused and, where nobody can want them any more, the rows and their key."""
    import_files.drop_refused(job)
    # Its link may have been used once more after the job was over.
    passing.delete([import_files.upload_name(str(job.job_id))])
    if job.state == JobState.CHECKED:
        decide_until = clock.parse(str(job.ended_at)) + DECIDE_WITHIN
        if now < decide_until:
            jobs.forgotten(job, decide_until)
            return
        jobs.move(job, JobState.CANCELLED, now, reason="rows_gone")
    import_files.drop_rows(job)
    jobs.forgotten(job)


class _Place(NamedTuple):
    """Where a run is: the chunk, and the row in it."""

    chunk: int
    row: int

    @classmethod
    def of(cls, cursor: str) -> _Place:
        chunk, _, row = (cursor or "0:0").partition(":")
        return cls(int(chunk), int(row))

    def __str__(self) -> str:
        return f"{self.chunk}:{self.row}"


@dataclass(frozen=True)
class _Part:
    """Rows that go into one transaction, and where the run is after them."""

    rows: Sequence[Row]
    cards: dict[str, tuple[inventory.Card, Sequence[str], Sequence[str]]]  # with its fingerprints, by the card's id
    lot: Lot
    after: _Place
    ready: Transaction  # that stores all of them


class _Run:
    def __init__(self, job: Job, now: datetime) -> None:
        self.job, self.ticking = job, clock.since(now)
        self.until = now + ENOUGH
        self.options = job.spec["options"]
        self.waiting = threading.Event()  # for an answer: then there is time to prepare what comes next

    def run(self) -> None:
        jobs.take_up(self.job, self.ticking())
        self.counts = {name: int(value) for name, value in self.job.counts.items()}
        try:
            finished = self._rows()
        except Failed as failed:
            self._end(JobState.FAILED, failed.reason)
            return
        if finished:
            self._keep_aside()
            self._end(JobState.DONE)

    def _rows(self) -> bool:
        """Take in what is left; False if another worker should go on."""
        found = self.job.found or {}
        if self.job.wrapped_key is None:
            raise Failed("rows_gone")
        self.attempt = int(found["attempt"])
        self.key = sealed.open_key(str(self.job.job_id), bytes(self.job.wrapped_key))
        self.plan: Plan = import_files.take_plan(self.key, self.job, self.attempt)
        self.lots = self._open_lots()
        self.shards = {sku.sku: sku.shards for sku in catalog.skus(found["by_sku"]).values()}
        self.chunk: tuple[int, list[Row]] = (-1, [])
        place = _Place.of(str(self.job.cursor))
        with ThreadPoolExecutor(1) as beside:
            self.waiting.set()
            ready: Future[_Part | None] = beside.submit(self._prepared, place)
            while part := ready.result():
                self.waiting.clear()
                ready = beside.submit(self._prepared, part.after)
                try:
                    self._store(part)
                finally:
                    self.waiting.set()
                if self.ticking() > self.until:
                    return False
        return True

    def _keep_aside(self) -> None:
        """Before the import says that it is done, what is kept back for channels is filled from it."""
        for sku in catalog.skus((self.job.found or {})["by_sku"]).values():
            if sku.terms != Terms():
                keep_aside(sku, sku.terms, self.ticking())

    def _open_lots(self) -> list[tuple[Lot, LotKey]]:
        """The lots of this import, made if they are not there yet."""
        opened = []
        for planned in self.plan.lots:
            try:
                lot = lot_records.new_lot(
                    planned.lot_id,
                    planned.label,
                    str(self.options["supplier"]),
                    str(self.job.spec["file_name"]),
                    planned.key.wrapped,
                    planned.key.version,
                    clock.parse(str(self.job.started_at)),
                    purchase_id=self.options.get("purchase_id"),
                    job_id=str(self.job.job_id),
                    documents=self.options.get("documents"),
                )
            except Lost:
                lot = lot_records.lot_of(planned.lot_id)
            opened.append((lot, planned.key))
        cards = [0] * len(opened)
        for which, rows in self.plan.chunks:
            cards[which] += rows
        made = [[lot.lot_id, lot.label, many] for (lot, _), many in zip(opened, cards, strict=True)]
        parts.keep(str(self.job.job_id), "lots", made)
        return opened

    def _prepared(self, place: _Place) -> _Part | None:
        """The next rows, sealed and fingerprinted, while those before them are on the wire; None at the end.

        Two threads take turns on one processor: what is prepared before the wire is busy only delays the sending.
        """
        self.waiting.wait()
        if place.chunk == len(self.plan.chunks):
            return None
        which, rows = self.plan.chunks[place.chunk]
        if self.chunk[0] != place.chunk:
            self.chunk = (place.chunk, import_files.take_rows(self.key, self.job, self.attempt, place.chunk))
        size = (LIMIT - BESIDE) // (1 + vault.peppers())
        some = self.chunk[1][place.row : place.row + size]
        end = place.row + len(some)
        lot, key = self.lots[which]
        cards = {row.card_id: self._card(row, lot, key) for row in some}
        ready = Transaction(ready=True, sent=self.waiting.set)
        for row in some:
            inventory.stock(ready, *cards[row.card_id], row.instead_of)
        return _Part(some, cards, lot, _Place(place.chunk, end) if end < rows else _Place(place.chunk + 1, 0), ready)

    def _card(self, row: Row, lot: Lot, key: LotKey) -> tuple[inventory.Card, Sequence[str], Sequence[str]]:
        card = inventory.new_card(
            row.card_id,
            row.sku,
            lot,
            vault.seal(key, str(lot.lot_id), row.card_id, Secret(row.code, row.number)),
            codes.mask(row.code),
            row.cost_e6,
            date.fromisoformat(row.expires_on) if row.expires_on else None,
            self.shards[row.sku],
            self.options.get("purchase_id"),
        )
        card.key_version = key.version
        identities = vault.fingerprints(row.identity, codes.NORMAL_FORM)
        same = row.whole == row.identity
        return card, identities, identities if same else vault.fingerprints(row.whole, codes.NORMAL_FORM)

    def _store(self, part: _Part) -> None:
        """Store the rows in one transaction with its entry in the books; those that are known by now are refused."""
        rest = list(part.rows)
        late: list[tuple[int, str, str]] = []
        for attempt in range(ATTEMPTS):
            counts = self._counted(rest, len(part.rows), len(late))
            try:
                self._commit(part, rest, late, counts, Transaction() if attempt else part.ready)
            except Lost as lost:
                if f"lot {part.lot.lot_id}" in lost.refused:
                    raise Failed("lot_changed") from lost
                if "job" in lost.refused:
                    raise
                if attempt:
                    time.sleep(0.02 * 2**attempt)  # seconds: another transaction is done in a few milliseconds
                late += self._known(part, rest)
                known = {line for line, _, _ in late}
                rest = [row for row in rest if row.line not in known]
            else:
                self.counts = counts
                return
        raise Busy

    def _counted(self, rest: Sequence[Row], worked: int, late: int) -> dict[str, int]:
        before = self.counts
        return {
            **before,
            "worked": before.get("worked", 0) + worked,
            "done": before.get("done", 0) + len(rest),
            "duplicates": before["duplicates"] + late,
            "refused": before["refused"] + late,
            "cost_e6": before.get("cost_e6", 0) + sum(row.cost_e6 for row in rest),
        }

    def _commit(
        self,
        part: _Part,
        rest: Sequence[Row],
        late: Sequence[tuple[int, str, str]],
        counts: dict[str, int],
        transaction: Transaction,
    ) -> None:
        now, job_id = self.ticking(), str(self.job.job_id)
        with transaction as tx:
            for row in rest if transaction is not part.ready else ():
                inventory.stock(tx, *part.cards[row.card_id], row.instead_of)
            if rest:
                legs = _bought(str(self.options["supplier"]), rest, self.counts.get("cost_e6", 0))
                ledger.post(tx, "stock_in", legs, now, lot_id=str(part.lot.lot_id))
            if late:
                name = f"late#{part.after.chunk:05}:{part.after.row:05}"
                tx.insert("late", parts.Part(job_id, name, data=[list(one) for one in late]))
            jobs.advance(tx, self.job, now, cursor=str(part.after), counts=counts)

    def _known(self, part: _Part, rest: Sequence[Row]) -> list[tuple[int, str, str]]:
        """Line, reason and mask of the rows that somebody else has brought meanwhile."""
        stored = inventory.stored([one for row in rest for one in part.cards[row.card_id][1]])
        late = []
        for row in rest:
            _, fingerprints, wholes = part.cards[row.card_id]
            found = [stored[one] for one in fingerprints if one in stored]
            if any(one.card_id == row.card_id for one in found):
                raise Lost("job")  # these very rows are in, and the answer was lost: what the table says goes
            if any(one.card_id not in row.instead_of for one in found):
                reason = "number_conflict" if {one.whole for one in found}.isdisjoint(wholes) else "duplicate_in_stock"
                late.append((row.line, reason, f"{row.sku} {codes.mask(row.number or row.code)}"))
        return late

    def _end(self, state: JobState, reason: str | None = None) -> None:
        now = self.ticking()
        values = {"reason": reason} if reason else {}
        jobs.move(self.job, state, now, kept_until=clock.iso(now + KEPT), **values)
        _clear(self.job)
        logger.info("card file imported", job_id=str(self.job.job_id), state=state, **self.job.counts)


class _Undo:
    def __init__(self, job: Job, now: datetime) -> None:
        self.job, self.ticking = job, clock.since(now)
        self.until = now + ENOUGH

    def undo(self) -> None:
        jobs.take_up(self.job, self.ticking())
        self.counts = {name: int(value) for name, value in self.job.counts.items()}
        if not self.job.cursor:
            self.counts["left"] = 0
        made = parts.part_of(str(self.job.job_id), "lots")
        lots = [str(lot_id) for lot_id, _, _ in made.data] if made else []
        which, shard, after = self._place()
        for number in range(which, len(lots) * PASSES):
            lot_id = lots[number % len(lots)]
            if number >= len(lots) and self._all_seen():
                break
            taken_back = lot_records.undo(lot_id)
            for one in range(shard, LOT_SHARDS if taken_back else 0):
                while card_ids := inventory.cards_of_lot(lot_id, one, after, PAGE):
                    after = card_ids[-1]
                    self._take_back(lot_id, card_ids, f"{number}:{one}:{after}")
                    if self.ticking() > self.until:
                        return
                after = ""
            shard = 0
        self.counts["left"] = self.counts.get("done", 0) - self.counts.get("undone", 0)
        jobs.advance_alone(self.job, self.ticking(), counts=self.counts)
        kept = {"kept_until": str(self.job.kept_until)} if self.job.kept_until else {}
        jobs.move(self.job, JobState.UNDONE, self.ticking(), **kept)
        logger.info("import undone", job_id=str(self.job.job_id), **self.job.counts)

    def _place(self) -> tuple[int, int, str]:
        which, _, rest = (str(self.job.cursor) or "0:0:").partition(":")
        shard, _, after = rest.partition(":")
        return int(which), int(shard), after

    def _all_seen(self) -> bool:
        return self.counts.get("done", 0) == self.counts.get("undone", 0) + self.counts.get("left", 0)

    def _take_back(self, lot_id: str, card_ids: Sequence[str], cursor: str) -> None:
        for attempt in range(ATTEMPTS):
            seen = inventory.known(card_ids)
            unsold = [card for card in seen if card.state in UNSOLD]
            # A recalled card is in its supplier's account already: it is written off, and not given back once more.
            booked = [card for card in unsold if not card.recall_id]
            cost_e6 = sum(int(card.cost_e6) for card in booked)
            before_e6 = self.counts.get("undone_e6", 0)
            counts = {
                **self.counts,
                "undone": self.counts.get("undone", 0) + len(unsold),
                "undone_e6": before_e6 + cost_e6,
                "left": self.counts.get("left", 0)
                + sum(card.state in (CardState.HELD, CardState.SOLD) for card in seen),
            }
            try:
                with Transaction() as tx:
                    for card in unsold:
                        inventory.void(tx, str(card.card_id), CardState(card.state))
                    if booked:
                        supplier = str(self.job.spec["options"]["supplier"])
                        legs = [*posting.reversal(_bought(supplier, booked, before_e6)), *_put_back(booked)]
                        ledger.post(tx, "stock_in_undone", legs, self.ticking(), lot_id=lot_id)
                    jobs.advance(tx, self.job, self.ticking(), cursor=cursor, counts=counts)
            except Lost as lost:
                if "job" in lost.refused:
                    raise
                time.sleep(0.02 * 2**attempt)  # seconds: a buyer has taken one of them; see again which are left
            else:
                self.counts = counts
                return
        raise Busy


def _put_back(unsold: Iterable[inventory.Card]) -> list[posting.Leg]:
    """Those that had expired are not in the books as stock any more: they come back there before they leave."""
    costs: dict[str, list[int]] = {}
    for card in unsold:
        if card.state == CardState.EXPIRED:
            costs.setdefault(str(card.sku), []).append(int(card.cost_e6))
    return [leg for sku, many in costs.items() for leg in posting.reversal(posting.written_off(sku, many))]


def _bought(supplier: str, cards: Iterable[Row | inventory.Card], before_e6: int) -> list[posting.Leg]:
    costs: dict[str, list[int]] = {}
    for card in cards:
        costs.setdefault(str(card.sku), []).append(int(card.cost_e6))
    legs: list[posting.Leg] = []
    for sku, many in costs.items():
        legs += posting.lot_bought(supplier, sku, many, before_e6=before_e6)
        before_e6 += sum(many)
    return legs
