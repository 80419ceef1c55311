"""Keys and peppers are exchanged while sales go on; a lot is destroyed by forgetting its keys."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple, TypeVar

from shared.inventory import codes, opening
from shared.inventory import lots as lot_records
from shared.inventory import records as inventory
from shared.inventory.errors import LotDestroyed
from shared.inventory.lots import Lot, LotState
from shared.inventory.records import Card
from shared.inventory.states import CardState
from shared.jobs import records as jobs
from shared.jobs.reasons import Failed
from shared.jobs.records import Job
from shared.jobs.states import JobState
from shared.kernel import clock, keyring, vault
from shared.kernel.errors import Busy
from shared.kernel.records import Lost, Transaction
from shared.kernel.telemetry import logger
from shared.kernel.vault import Secret, Tampered
from shared.ledger import posting
from shared.ledger import records as ledger

PAGE = 100  # cards between two signs of life: the limit of one BatchGetItem
ATTEMPTS = 6  # against sales that move the same card
PAUSE = 0.05  # seconds between them: a sale's transaction takes a tenth of that
AT_ONCE = 40  # cards in a transaction: two actions each, one for the job, one for the books
SHIFT = timedelta(minutes=10)  # then a worker goes before Lambda ends it, and `deadlines` sends the next one
HELD = timedelta(minutes=2)  # between two looks at whether orders have let go of the last cards

PEPPER = "PEPPER_SECRET"

Thing = TypeVar("Thing")


class Later(Exception):
    """There is nothing to do before this moment, or the shift is over: the job is sent again."""

    def __init__(self, until: datetime) -> None:
        super().__init__(until)
        self.until = until


# A lot gets another data key


@dataclass(frozen=True)
class _Walk:
    """Where a worker is among a lot's cards. `settled`: from when on every index shows what was written before.

    began: when this round began; done: cards it has dealt with; left: those that have to wait. A round that began after
    `settled` and had nothing to do is the last one.
    """

    settled: str
    began: str = ""
    shard: int = 0
    after: str = ""
    done: int = 0
    left: int = 0

    @classmethod
    def read(cls, job: Job) -> _Walk:
        return cls(**json.loads(str(job.cursor)))

    @property
    def cursor(self) -> str:
        return json.dumps(asdict(self))

    @property
    def last(self) -> bool:
        return not self.done and not self.left and self.began >= self.settled


class _Did(NamedTuple):
    done: int
    left: int = 0


def lot_key(job: Job, now: datetime) -> None:
    """New cards get the new key at once; the others are sealed anew one by one; then the old key is dropped."""
    lot_id = str(job.spec["lot_id"])
    if not job.cursor:
        _exchange(job, lot_id, now)
    lot = lot_records.lot_of(lot_id)
    old, new = (_opened_key(lot, int(lot.key_version) - back) for back in (1, 0))

    def reseal(cards: Sequence[Card]) -> _Did:
        behind = [card for card in cards if int(card.key_version) == old.version]
        for card in behind:
            _reseal(lot, card, old, new)
        return _Did(len(behind))

    _rounds(job, lot_id, reseal, "cards", now)

    def drop(tx: Transaction) -> None:
        lot_records.drop_older_key(tx, lot_id, new.version)
        jobs.move_in(tx, job, JobState.DONE, clock.now())

    _persistently(drop)
    logger.info("lot has another key", lot_id=lot_id, version=new.version)


def _exchange(job: Job, lot_id: str, now: datetime) -> None:
    """Give the lot its new key, or take up an exchange that was left unfinished."""
    walk = _Walk(clock.iso(_everywhere(now)))
    for _ in range(ATTEMPTS):
        lot = lot_records.lot_of(lot_id)
        if lot.state in {LotState.DESTROYING, LotState.DESTROYED}:
            raise Failed("lot_destroyed")
        _opened_key(lot, int(lot.key_version))  # with a key that does not open nothing could be sealed anew
        try:
            with Transaction() as tx:
                if not lot.older_key:
                    lot_records.exchange_key(tx, lot, vault.new_lot_key(lot_id, int(lot.key_version) + 1))
                jobs.advance(tx, job, now, cursor=walk.cursor, counts={"cards": 0})
        except Lost as lost:
            if "job" in lost.refused:
                raise
            time.sleep(PAUSE)  # its key is being wrapped anew, or a card is just coming in
        else:
            job.cursor, job.counts = walk.cursor, {"cards": 0}
            return
    raise Busy


def _reseal(lot: Lot, card: Card, old: vault.LotKey, new: vault.LotKey) -> None:
    card_id, lot_id = str(card.card_id), str(lot.lot_id)
    for _ in range(ATTEMPTS):
        try:
            secret = vault.unseal(old.plain, lot_id, card_id, old.version, bytes(card.sealed))
        except Tampered:
            raise opening.unreadable(lot_id, card_id) from None
        try:
            inventory.reseal(card, vault.seal(new, lot_id, card_id, secret), new.version)
            return
        except Lost:  # a sale's transaction was in the way, or an older worker has been quicker
            time.sleep(PAUSE)
            [card] = inventory.cards([card_id])
            if int(card.key_version) == new.version:
                return
    raise Busy


def _rounds(job: Job, lot_id: str, work: Callable[[Sequence[Card]], _Did], counted: str, now: datetime) -> None:
    """Go through a lot's cards until a whole round had nothing to do, after every index had time to settle."""
    walk = _Walk.read(job)
    while True:
        if not walk.began:
            walk = replace(walk, began=clock.iso(clock.now()))
        for shard in range(walk.shard, inventory.LOT_SHARDS):
            walk = replace(walk, shard=shard, after=walk.after if shard == walk.shard else "")
            while card_ids := inventory.cards_of_lot(lot_id, shard, walk.after, PAGE):
                did = work(inventory.cards(card_ids))
                walk = replace(walk, after=card_ids[-1], done=walk.done + did.done, left=walk.left + did.left)
                _say(job, now, walk.cursor, counted, did.done)
        if walk.last:
            return
        ended, walk = walk, _Walk(walk.settled)
        _say(job, now, walk.cursor, counted, 0)
        if not ended.done:
            raise Later(clock.now() + HELD if ended.left else clock.parse(ended.settled))


# All data keys are wrapped anew


def wrapping(job: Job, now: datetime) -> None:
    """Every lot's keys go through the vault's key once more, which wraps them by its newest material."""
    done = 0
    for lot in lot_records.keyed(str(job.cursor)):
        _rewrap(lot)
        done += 1
        if done == lot_records.PAGE:
            _say(job, now, str(lot.lot_id), "lots", done)
            done = 0
    jobs.move(job, JobState.DONE, clock.now(), counts=_plus(job, "lots", done))
    logger.info("all lot keys are wrapped anew", lots=job.counts.get("lots"))


def _rewrap(lot: Lot) -> None:
    lot_id = str(lot.lot_id)
    for _ in range(ATTEMPTS):
        if not lot.wrapped_key:
            return  # destroyed meanwhile
        try:
            plain = [vault.unwrap(lot_id, bytes(key)) if key else None for key in (lot.wrapped_key, lot.older_key)]
        except Tampered:
            raise opening.unreadable(lot_id) from None
        wrapped, older = (vault.wrap(lot_id, key) if key else None for key in plain)
        try:
            lot_records.rewrap(lot, wrapped or b"", older)
            return
        except Lost:
            time.sleep(PAUSE)
            lot = lot_records.lot_of(lot_id)
    raise Busy


# All cards get fingerprints under a new pepper


@dataclass(frozen=True)
class _Peppers:
    """From which pepper to which; `known` is when every process knows the new one; `after` is the last card done."""

    old: str
    new: str
    known: str
    after: str = ""

    @property
    def cursor(self) -> str:
        return json.dumps(asdict(self))


def pepper(job: Job, now: datetime) -> None:
    """Add a pepper; when all know it, write each card's fingerprint under it, too; then make it the current one."""
    if job.spec.get("retire"):
        _retire(job, now)
        return
    if not job.cursor:
        _add_pepper(job, now)
    walk = _Peppers(**json.loads(str(job.cursor)))
    if clock.iso(clock.now()) < walk.known:
        raise Later(clock.parse(walk.known))
    keyring.fresh(PEPPER)
    for page in inventory.pages(walk.after, PAGE):
        written, unreadable = _fingerprint(page, walk)
        walk = replace(walk, after=str(page[-1].card_id))
        job.counts = _plus(job, "unreadable", unreadable)
        _say(job, now, walk.cursor, "cards", written)
    peppers = keyring.fresh(PEPPER)
    if int(peppers.current) < int(walk.new):
        keyring.change(PEPPER, replace(peppers, current=walk.new))
    jobs.move(job, JobState.DONE, clock.now(), found={"pepper": walk.new})
    logger.info("new pepper", number=walk.new, cards=job.counts.get("cards"))


def _add_pepper(job: Job, now: datetime) -> None:
    """Take the newest number if it is not the current one: a worker that died, or a person, has put it there."""
    peppers = keyring.fresh(PEPPER)
    newest = max(peppers.numbers, key=int)
    if newest == peppers.current:
        keyring.change(PEPPER, peppers.added())
        newest = max(keyring.fresh(PEPPER).numbers, key=int)
    known = _everywhere(now)
    job_cursor = _Peppers(peppers.current, newest, clock.iso(known)).cursor
    jobs.advance_alone(job, now, cursor=job_cursor, counts={"cards": 0, "unreadable": 0})


def _fingerprint(cards: Sequence[Card], walk: _Peppers) -> tuple[int, int]:
    """Write the new fingerprints of these cards; how many were written, and of how many cards nobody knows the code."""
    lots = lot_records.lots({str(card.lot_id) for card in cards})
    readable = [card for card in cards if lots[str(card.lot_id)].state != LotState.DESTROYED]
    try:
        opened = opening.opened(readable)
    except LotDestroyed:  # just now: the next worker passes it over
        raise Later(clock.now()) from None
    marks = {str(card.card_id): _marks(secret, walk) for card, secret in zip(readable, opened, strict=True)}
    stored = inventory.stored([mark for several in marks.values() for mark in several[:2]])
    missing = {
        card_id: (old, new, whole)
        for card_id, (old, new, whole) in marks.items()
        if old in stored and stored[old].card_id == card_id and new not in stored
    }
    for chunk in _chunks(list(missing), AT_ONCE):
        _write_marks([(card_id, *missing[card_id]) for card_id in chunk])
    return len(missing), len(cards) - len(readable)


def _marks(secret: Secret, walk: _Peppers) -> tuple[str, str, str]:
    """A card's fingerprints under the old and the new pepper, and that of all of it under the new one."""
    normal = codes.normal(secret.code), codes.normal(secret.number) if secret.number else None
    identity, whole = codes.identity(*normal), codes.whole(*normal)
    old, new = (vault.fingerprint_under(number, identity, codes.NORMAL_FORM) for number in (walk.old, walk.new))
    return old, new, vault.fingerprint_under(walk.new, whole, codes.NORMAL_FORM)


def _write_marks(marks: Sequence[tuple[str, str, str, str]]) -> None:
    left = list(marks)
    for _ in range(ATTEMPTS):
        if not left:
            return
        try:
            with Transaction() as tx:
                for mark in left:
                    inventory.fingerprint_anew(tx, *mark)
            return
        except Lost as lost:  # written by a worker before, or taken back with its import meanwhile
            done = {part.removeprefix("old ") for part in lost.refused}
            left = [mark for mark in left if mark[0] not in done]
            time.sleep(0 if done else PAUSE)
    if left:
        raise Busy


def _retire(job: Job, now: datetime) -> None:
    """Forget older peppers and the fingerprints under them, but those of destroyed lots: nobody can write others."""
    current = keyring.fresh(PEPPER)
    new = str(job.found["pepper"])
    left = 0
    gone = [number for number in current.numbers if int(number) < int(new)]
    for number in gone:
        for page in inventory.fingerprints_under(number):
            unreadable = _unreadable([str(mark.card_id) for mark in page])
            inventory.forget_fingerprints(mark for mark in page if mark.card_id not in unreadable)
            left += sum(1 for mark in page if mark.card_id in unreadable)
            _say(job, now, "retiring", "forgotten", len(page))
    if gone and not left:
        keyring.change(PEPPER, replace(current, secrets=tuple(one for one in current.secrets if one[0] not in gone)))
    jobs.move(job, JobState.DONE, clock.now(), counts=_plus(job, "kept", left), found={"pepper": new, "kept": left})


def _unreadable(card_ids: Sequence[str]) -> set[str]:
    cards = inventory.known(set(card_ids))
    lots = lot_records.lots({str(card.lot_id) for card in cards}) if cards else {}
    return {str(card.card_id) for card in cards if lots[str(card.lot_id)].state == LotState.DESTROYED}


# A lot's keys are forgotten


def destruction(job: Job, now: datetime) -> None:
    """Write off what is unsold; wait for what orders hold; then forget the keys. Fingerprints refuse duplicates on."""
    lot_id = str(job.spec["lot_id"])
    if not job.cursor:
        walk = _Walk(clock.iso(_everywhere(now)))

        def give_up(tx: Transaction) -> None:
            lot_records.give_up(tx, lot_id)
            jobs.advance(tx, job, now, cursor=walk.cursor, counts={"void": 0})

        try:
            _persistently(give_up)
        except Lost as lost:
            if "lot" in lost.refused and "job" not in lost.refused:
                raise Failed("lot_destroyed") from None
            raise
        job.cursor, job.counts = walk.cursor, {"void": 0}
    _rounds(job, lot_id, lambda cards: _void(cards, job, lot_id), "void", now)

    def destroy(tx: Transaction) -> None:
        lot_records.destroy(tx, lot_id)
        jobs.move_in(tx, job, JobState.DONE, clock.now())

    _persistently(destroy)
    logger.info("lot destroyed", lot_id=lot_id, asked_by=str(job.asked_by), approved_by=str(job.approved_by))


def _void(cards: Sequence[Card], job: Job, lot_id: str) -> _Did:
    """Write off those that nobody has. A card that is held has to wait for its order's move."""
    unsold = [card for card in cards if card.state not in {CardState.SOLD, CardState.VOID, CardState.HELD}]
    for chunk in _chunks(unsold, AT_ONCE):
        try:
            _write_off(chunk, job, lot_id)
        except Lost as lost:
            if "job" in lost.refused:
                raise
            for card in chunk:  # somebody has just bought one of them
                _write_off_alone(card, job, lot_id)
    return _Did(len(unsold), sum(1 for card in cards if card.state == CardState.HELD))


def _write_off_alone(card: Card, job: Job, lot_id: str) -> None:
    try:
        _write_off([card], job, lot_id)
    except Lost as lost:
        if "job" in lost.refused:
            raise
        logger.info("the card moved meanwhile", card_id=str(card.card_id))  # the next round sees where


def _write_off(cards: Sequence[Card], job: Job, lot_id: str) -> None:
    """Those that are recalled or expired have left the books before."""
    booked: dict[str, list[int]] = {}
    now = clock.now()
    for card in cards:
        if card.state == CardState.AVAILABLE:
            booked.setdefault(str(card.sku), []).append(int(card.cost_e6))
    legs = [leg for sku, costs in booked.items() for leg in posting.written_off(sku, costs)]
    with Transaction() as tx:
        for card in cards:
            inventory.void(tx, str(card.card_id), CardState(card.state))
        if legs:
            ledger.post(tx, "lot_destroyed", legs, now, lot_id=lot_id, by=str(job.approved_by))
        jobs.advance(tx, job, now)


# What they share


def _everywhere(now: datetime) -> datetime:
    """When every process knows what is written now, and has finished what it began without knowing it."""
    return now + 1.2 * timedelta(seconds=keyring.max_age())


def _persistently(write: Callable[[Transaction], None]) -> None:
    """Again and again while it only meets others, such as cards that are just coming into the lot."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with Transaction() as tx:
                write(tx)
            return
        except Lost as lost:
            if lost.refused or attempt == ATTEMPTS:
                raise
            time.sleep(PAUSE * attempt)


def _say(job: Job, began: datetime, cursor: str, counted: str, done: int) -> None:
    """How far it is, and that somebody is at it; Later when the shift is over."""
    now = clock.now()
    jobs.advance_alone(job, now, cursor=cursor, counts=_plus(job, counted, done))
    if now - began >= SHIFT:
        raise Later(now)


def _plus(job: Job, name: str, number: int) -> dict[str, int]:
    return {**job.counts, name: int(job.counts.get(name, 0)) + number}


def _chunks(many: Sequence[Thing], size: int) -> Iterator[Sequence[Thing]]:
    return (many[start : start + size] for start in range(0, len(many), size))


def _opened_key(lot: Lot, version: int) -> vault.LotKey:
    try:
        return opening.lot_key(lot, version)
    except Tampered:
        raise opening.unreadable(str(lot.lot_id)) from None
