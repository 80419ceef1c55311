"""Recall: what is bad is frozen first, then listed and claimed from its supplier, then made good to its buyers.

Every phase decides by what the records say and writes down in the same transaction that it did so: a worker that dies
anywhere is followed by one that goes on, and a recall that is asked for again takes in only what has come since.

Buyers read of it with their orders, staff in one task for each recall and one for each order that needs a person.
Nothing is sent to anybody: there is no messenger yet. Expired cards of a bad lot stay what they are, unclaimed.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property
from random import Random
from typing import NamedTuple

from shared.inventory import lots as lot_records
from shared.inventory import records as inventory
from shared.inventory import shelf
from shared.inventory.lots import Lot, LotState
from shared.inventory.records import Card, Need
from shared.inventory.states import CardState
from shared.jobs import making_good
from shared.jobs import records as jobs
from shared.jobs.making_good import GoodState
from shared.jobs.records import Job
from shared.jobs.states import JobState
from shared.kernel import clock
from shared.kernel.errors import Busy, NotFound
from shared.kernel.records import LIMIT, Lost, Transaction
from shared.kernel.telemetry import count, logger
from shared.ledger import posting
from shared.ledger import records as ledger
from shared.orders import records as orders
from shared.orders import telling
from shared.orders.errors import NotOpen
from shared.orders.notices import Notice
from shared.orders.records import Line, Order
from shared.orders.status import OVER, READABLE
from shared.payments import records as payments
from shared.staff import records as staff
from shared.steps import after_sales
from shared.steps.recalls import PREFIX, chosen, elapsed_ms, lots_of, mark, unsettled

SEEN = (
    "card_id",
    "state",
    "sku",
    "lot_id",
    "cost_e6",
    "order_id",
    "recall_id",
    "purchase_id",
)  # of a card: there may be 100,000
ENOUGH = timedelta(minutes=12)  # of a worker's quarter of an hour; then the next one goes on
READ_AT_ONCE = 8  # index pages or batches: below the ten connections that a process keeps
CARDS = LIMIT - 4  # in a transaction, beside the job, its entry in the books and what opens a task
PLACES = 24  # cards replaced in a transaction: three actions each, and up to one for the line of each
ATTEMPTS = 20  # lost races over the same cards; somebody sells them all the time, and each round settles most
LISTED = 100  # owed cards of one read
SEEN_AT_ONCE = 50  # cards looked out for replacement at a time
LOOKS = 2  # at an empty shelf before it is called sold out, the index being eventually consistent
AGAIN = 0.05  # seconds: an index page is rarely staler than this
FREEZE, SETTLE, MAKE_GOOD = "1", "2", "3"
"""The phases, as the cursor names them. It reads ``{phase} {the last lot or card that is done}``."""

_chance = Random()  # noqa: S311  # it spreads buyers over a shelf, it guards nothing


def work(job: Job, now: datetime) -> None:
    """Go on with a recall where the last worker stopped; it returns quietly where the job is taken from it."""
    if job.state != JobState.RUNNING:
        return
    try:
        jobs.take_up(job, now)
        _Worker(job, {name: int(value) for name, value in job.counts.items()}, clock.since(now), now + ENOUGH).run()
    except Lost:
        latest = jobs.job_of(str(job.job_id), PREFIX)
        if (latest.state, latest.attempt) == (job.state, job.attempt):
            raise  # a conflict that went on for too long: the message comes again
        logger.info("taken over", job_id=str(job.job_id))


_Owing = tuple[str, Order | None, list[str]]
"""The id of an order, the order unless it is gone, and its cards that are still to be made good."""


class _Kept(NamedTuple):
    """A card that may stand in for another."""

    card_id: str
    sku: str
    cost_e6: int


class _Exchange(NamedTuple):
    """An order, and which cards take the place of which of its own."""

    order: Order
    by: dict[str, _Kept]

    @property
    def actions(self) -> int:
        """Of a transaction: three for each card, the parts of the order that name them, its head, and the books."""
        parts = [part for part in self.order.chunks or self.order.lines if self.by.keys() & set(part.card_ids)]
        return 3 * len(self.by) + len(parts) + 2


@dataclass
class _Worker:
    job: Job
    counts: dict[str, int]
    ticking: clock.Ticking
    until: datetime
    shelves: dict[tuple[str, date], list[_Kept]] = field(default_factory=dict)
    sold_out: set[tuple[str, date]] = field(default_factory=set)
    taken: deque[str] = field(default_factory=lambda: deque(maxlen=2 * SEEN_AT_ONCE))  # the index may still show them
    waiting: bool = False

    @property
    def recall_id(self) -> str:
        return str(self.job.job_id)

    @cached_property
    def only(self) -> Mapping[str, str]:
        return chosen(self.job.spec["target"])

    def run(self) -> None:
        found = sorted(lots_of(self.job.spec["target"]))
        for lot_id in () if self.only else found:  # from here on nothing adds to them, no replacement is of them
            lot_records.recall(lot_id, self.recall_id)
        lots = lot_records.known(found) if found else {}
        for phase, act in ((FREEZE, self._freeze), (SETTLE, self._settle)):
            for lot_id in found:
                if f"{phase} {lot_id}" > self.job.cursor:
                    act(lots[lot_id])
                    self._say(f"{phase} {lot_id}", lots=len(found))
        if not self._make_good():
            return
        if self.waiting:
            # Their orders are on their way to their buyers. `deadlines` sends the job again in two minutes.
            self._say(f"{MAKE_GOOD} ")
            return
        self._finish()

    # --- the unsold first ---

    def _freeze(self, lot: Lot) -> None:
        """Take every available card from the shelf, many in a transaction; whatever else there is comes later."""
        waiting: list[Card] = []
        for chunk in _cards_of(str(lot.lot_id)):
            waiting += [card for card in chunk if card.state == CardState.AVAILABLE and self._is_meant(card)]
            while len(waiting) >= CARDS:
                self._mark(lot, waiting[:CARDS], again=False)
                del waiting[:CARDS]
        self._mark(lot, waiting, again=False)

    # --- then everything that is known of each card ---

    def _settle(self, lot: Lot) -> None:
        """No card of the lot is left that could still be sold, and each sold one is on the list."""
        waiting: list[Card] = []
        for chunk in _cards_of(str(lot.lot_id)):
            waiting += [card for card in chunk if unsettled(card) and self._is_meant(card)]
            while len(waiting) >= CARDS // 2:  # a sold card is two actions
                self._mark(lot, waiting[: CARDS // 2], again=True)
                del waiting[: CARDS // 2]
        self._mark(lot, waiting, again=True)

    def _is_meant(self, card: Card) -> bool:
        return all(getattr(card, name) == value for name, value in self.only.items())

    def _mark(self, lot: Lot, found: Sequence[Card], *, again: bool) -> None:
        """Freeze, mark and claim; a card that moved meanwhile is read again, or left to a later phase."""
        left = list(found)
        for _ in range(ATTEMPTS):
            if not left:
                return
            try:
                self._commit(lot, left)
                return
            except Lost as lost:
                if "job" in lost.refused:
                    raise
                moved = {name.removeprefix("owed ") for name in lost.refused}
                left = [card for card in left if card.card_id not in moved]
                if again and moved:
                    left += [card for card in inventory.known(moved, SEEN) if unsettled(card)]
                if not moved:
                    time.sleep(AGAIN * _chance.random())  # a buyer's transaction was in the way
        if left:
            raise Busy

    def _commit(self, lot: Lot, found: Sequence[Card]) -> None:
        counts = dict(self.counts)
        stocked: dict[str, list[int]] = defaultdict(list)
        sold: dict[str, list[int]] = defaultdict(list)
        now = self.ticking()
        with Transaction() as tx:
            for card in found:
                state = mark(tx, self.recall_id, card)
                if state is CardState.AVAILABLE:
                    counts["freeze_ms"] = elapsed_ms(self.job, now)
                (sold if state is CardState.SOLD else stocked)[str(card.sku)].append(int(card.cost_e6))
                name = {CardState.AVAILABLE: "frozen", CardState.HELD: "held", CardState.SOLD: "sold"}[state]
                counts[name] = counts.get(name, 0) + 1
            legs = posting.supplier_claim(str(lot.supplier), stocked.items(), sold.items())
            if legs:
                by = str(self.job.asked_by)
                ledger.post(tx, "supplier_claim", legs, now, lot_id=str(lot.lot_id), by=by)
                counts["claimed_minor"] = counts.get("claimed_minor", 0) + legs[0].amount_minor
            jobs.advance(tx, self.job, now, counts=counts)
        self.counts = counts

    # --- then the buyers ---

    def _make_good(self) -> bool:
        """False where this worker's time was over first: `deadlines` sends the job to the next one."""
        phase, _, after = str(self.job.cursor).partition(" ")
        after = after if phase == MAKE_GOOD else ""
        done: set[str] = set()
        while page := making_good.page(self.recall_id, after, LISTED):
            owed = defaultdict[str, list[str]](list)
            for good in page:
                if good.state == GoodState.OPEN and good.order_id not in done:
                    owed[str(good.order_id)].append(good.card_id)
            self._orders(owed)
            done.update(owed)
            after = page[-1].card_id
            if not self.waiting:
                self._say(f"{MAKE_GOOD} {after}")
            if self.ticking() > self.until:
                return False
        return True

    def _orders(self, listed: Mapping[str, Sequence[str]]) -> None:
        """Orders that can be replaced as a whole go many in a transaction, the others one by one."""
        together: list[_Exchange] = []
        for order_id, order, owed in self._read(listed):
            whole = order and _readable(order) and not order.head.refunded and 0 < len(owed) <= PLACES
            by = self._stand_ins(order, owed) if order and whole else {}
            if order and by and len(by) == len(owed):
                exchange = _Exchange(order, by)
                if sum(one.actions for one in [*together, exchange]) >= LIMIT:
                    self._replace_all(together)
                    together = []
                together.append(exchange)
            else:
                self._put_back(by, set())
                self._order(order_id, listed[order_id], (order_id, order, owed))
        self._replace_all(together)

    def _read(self, listed: Mapping[str, Sequence[str]]) -> Iterator[_Owing]:
        """Each order with its cards that this recall still has to make good, those that are listed among them."""
        with ThreadPoolExecutor(READ_AT_ONCE) as pool:
            found = dict(zip(listed, pool.map(_order_or_none, listed), strict=True))
        wanted = {card_id for card_ids in listed.values() for card_id in card_ids}
        wanted.update(card_id for order in found.values() if order for card_id in order.card_ids)
        owed: dict[str, list[str]] = defaultdict(list)
        for good in making_good.of_cards(self.recall_id, wanted):
            if good.state == GoodState.OPEN:
                owed[str(good.order_id)].append(good.card_id)
        for order_id, order in found.items():
            yield order_id, order, sorted(owed[order_id])

    def _replace_all(self, together: Sequence[_Exchange]) -> None:
        if not together:
            return
        try:
            self._replace(together)
        except Lost as lost:
            if "job" in lost.refused:
                raise
            for one in together:
                self._put_back(one.by, set(lost.refused))
            for one in together:
                self._order(one.order.order_id, list(one.by))

    def _order(self, order_id: str, listed: Sequence[str], seen: _Owing | None = None) -> None:
        """Replace what can be replaced; the money back where the whole order is bad, else a person's task."""
        losses = 0
        while losses < ATTEMPTS:
            _, order, owed = seen or next(self._read({order_id: listed}))
            seen = None
            by: dict[str, _Kept] = {}
            gone = _paid_back(order) if order else set()
            try:
                if order is None:
                    self._write_off(order_id, owed, "skipped", GoodState.SKIPPED, reason="no_order")
                elif order.head.refund_id or order.status in OVER:
                    self._refunded_before(order, owed)
                elif order.status not in READABLE:
                    self.waiting = True
                elif for_nothing := [card_id for card_id in owed if card_id in gone]:
                    self._write_off(order_id, for_nothing, "skipped", GoodState.SKIPPED, reason="line_refunded")
                    continue  # the rest, of the order as it is now
                elif by := self._stand_ins(order, owed[:PLACES]):
                    self._replace([_Exchange(order, by)])
                    if len(by) < len(owed):
                        continue  # the rest, of the order as it is now
                elif owed and set(order.card_ids) - gone <= set(owed):
                    self._refund(order, owed)
                else:
                    self._write_off(order_id, owed, "person", GoodState.PERSON, reason="out_of_stock")
            except Lost as lost:
                if "job" in lost.refused:
                    raise
                self._put_back(by, set(lost.refused))
                losses += 1
            except Busy:  # the refund met somebody else's transaction
                losses += 1
            else:
                return
        raise Busy

    def _stand_ins(self, order: Order, owed: Sequence[str]) -> dict[str, _Kept]:
        """Recalled card → the one that takes its place, as far as the shelves go."""
        line_of = {str(card_id): line for line in order.lines for card_id in line.card_ids}
        taken: dict[str, _Kept] = {}
        for card_id in owed:
            if card_id in line_of and (kept := self._next(line_of[card_id])):
                taken[card_id] = kept
        return taken

    def _next(self, line: Line) -> _Kept | None:
        good_on = clock.shanghai_day(self.ticking()) + timedelta(days=int(line.min_days or 0))
        shelved = self.shelves.setdefault((str(line.sku), good_on), [])
        if not shelved and (str(line.sku), good_on) not in self.sold_out:
            shelved += self._look(Need(str(line.sku), SEEN_AT_ONCE, int(line.shards), good_on, shelf.SAFETY))
            if not shelved:
                self.sold_out.add((str(line.sku), good_on))
        if not shelved:
            return None
        self.taken.append(shelved[0].card_id)
        return shelved.pop(0)

    def _look(self, need: Need) -> list[_Kept]:
        """Cards of the shelf, the first to expire first, none of them from a lot that is itself bad."""
        passed_over, empty = set(self.taken), 0
        for _ in range(ATTEMPTS):
            ids = inventory.most(need, _chance, frozenset(passed_over))
            if not ids:
                empty += 1
                if empty == LOOKS:
                    return []
                time.sleep(AGAIN)
                continue
            seen = {str(card.card_id): card for card in inventory.known(ids, SEEN)}
            lots = lot_records.known(str(card.lot_id) for card in seen.values())
            sound = [
                _Kept(card_id, need.sku, int(seen[card_id].cost_e6))
                for card_id in ids
                if seen[card_id].state == CardState.AVAILABLE and lots[str(seen[card_id].lot_id)].state == LotState.OPEN
            ]
            if sound:
                return sound
            passed_over.update(ids)
        return []

    def _replace(self, together: Sequence[_Exchange]) -> None:
        now = self.ticking()
        counts = self._plus("replaced", sum(len(one.by) for one in together))
        with Transaction() as tx:
            for order, by in together:
                channel, costs = str(order.head.channel), defaultdict[str, list[int]](list)
                for card_id, kept in by.items():
                    inventory.sell(tx, kept.card_id, kept.sku, order.order_id, channel)
                    inventory.replace(tx, card_id, self.recall_id, kept.card_id)
                    making_good.settle(tx, self.recall_id, card_id, GoodState.REPLACED, replaced_by=kept.card_id)
                    costs[kept.sku].append(kept.cost_e6)
                orders.exchange(tx, order, {card_id: kept.card_id for card_id, kept in by.items()})
                telling.tell(tx, order.head, Notice.REPLACED)
                ledger.post(
                    tx,
                    "replacement",
                    [leg for sku, many in costs.items() for leg in posting.replaced(sku, many)],
                    now,
                    order_id=order.order_id,
                    channel=channel,
                    provider=str(order.head.provider),
                )
            jobs.advance(tx, self.job, now, counts=counts)
        self.counts = counts

    def _refund(self, order: Order, owed: Sequence[str]) -> None:
        try:
            refund_id = after_sales.request(order, after_sales.RECALLED, str(self.job.asked_by), self.ticking())
        except NotOpen as refused:
            reason = str(refused.facts["order_status"])
            self._write_off(order.order_id, owed, "skipped", GoodState.SKIPPED, reason=reason)
            return
        self._write_off(order.order_id, owed, "refunded", GoodState.REFUNDED, refund_id=refund_id)

    def _refunded_before(self, order: Order, owed: Sequence[str]) -> None:
        """The money has gone back: by this recall, whose worker died before it could say so, or for another reason."""
        refund_id = str(order.head.refund_id) if order.head.refund_id else None
        if refund_id and payments.refund(refund_id).reason == after_sales.RECALLED:
            self._write_off(order.order_id, owed, "refunded", GoodState.REFUNDED, refund_id=refund_id)
        else:
            self._write_off(order.order_id, owed, "skipped", GoodState.SKIPPED, reason=str(order.status))

    def _write_off(self, order_id: str, owed: Sequence[str], counted: str, state: GoodState, **why: str) -> None:
        for start in range(0, len(owed), CARDS):
            self._write_some_off(order_id, owed[start : start + CARDS], counted, state, **why)

    def _write_some_off(self, order_id: str, owed: Sequence[str], counted: str, state: GoodState, **why: str) -> None:
        now, counts = self.ticking(), self._plus(counted, len(owed))

        def write(tx: Transaction) -> None:
            for card_id in owed:
                making_good.settle(tx, self.recall_id, card_id, state, **why)
            jobs.advance(tx, self.job, now, counts=counts)

        _with_task(write, ("make_good", order_id, order_id) if state is GoodState.PERSON else None, now)
        self.counts = counts

    # --- and the end ---

    def _finish(self) -> None:
        now = self.ticking()

        def write(tx: Transaction) -> None:
            jobs.move_in(tx, self.job, JobState.DONE, now)

        _with_task(write, ("recall_done", self.recall_id, "-"), now)
        count("RecallDone")
        logger.info("recall done", job_id=self.recall_id, counts=self.counts)

    def _say(self, cursor: str, **counts: int) -> None:
        self.counts.update(counts)
        jobs.advance_alone(self.job, self.ticking(), cursor=cursor, counts=self.counts)

    def _plus(self, name: str, number: int) -> dict[str, int]:
        return {**self.counts, name: self.counts.get(name, 0) + number}

    def _put_back(self, by: Mapping[str, _Kept], gone: set[str]) -> None:
        """Look at the shelves anew: what was meant for an order that has moved is still there, some cards are gone."""
        for kept in by.values():
            if kept.card_id not in gone and kept.card_id in self.taken:
                self.taken.remove(kept.card_id)
        if by:
            self.shelves.clear()
            self.sold_out.clear()


def _with_task(write: Callable[[Transaction], None], task: tuple[str, str, str] | None, now: datetime) -> None:
    """Write, and open a person's task with it, unless that is open already."""
    if task:
        try:
            with Transaction() as tx:
                write(tx)
                staff.open_task(tx, *task, now)
            count("TaskOpened")
            return
        except Lost as lost:
            if set(lost.failed) != {"task"}:
                raise
    with Transaction() as tx:
        write(tx)


def _cards_of(lot_id: str) -> Iterator[list[Card]]:
    """All cards of a lot as they are now, a hundred at a time, several such reads at once."""
    with ThreadPoolExecutor(READ_AT_ONCE) as pool:
        shards = pool.map(lambda shard: inventory.cards_of_lot(lot_id, shard), range(inventory.LOT_SHARDS))
        ids = [card_id for shard in shards for card_id in shard]
        chunks = [ids[start : start + LIMIT] for start in range(0, len(ids), LIMIT)]
        for start in range(0, len(chunks), READ_AT_ONCE):
            yield from pool.map(lambda chunk: inventory.known(chunk, SEEN), chunks[start : start + READ_AT_ONCE])


def _order_or_none(order_id: str) -> Order | None:
    try:
        return orders.order_of(order_id)
    except NotFound:
        return None


def _readable(order: Order) -> bool:
    return order.status in READABLE and not order.head.refund_id


def _paid_back(order: Order) -> set[str]:
    """The cards of lines whose money has gone back in full while the order stood: nothing is owed for them."""
    gone = order.given_back
    return {str(card_id) for line in order.lines if line.number in gone for card_id in line.card_ids}
