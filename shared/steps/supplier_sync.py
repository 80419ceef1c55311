"""Reads what suppliers sell, at what price, and what we have left with them; writes what has changed, and only that.

Whatever it does may be left half done: the next run finishes it. A supplier who is silent leaves things as they are,
until his offers are too old to be sold.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, TypeVar

from shared.kernel import clock
from shared.kernel.errors import InvalidRequest, Unfinished
from shared.kernel.records import Lost
from shared.kernel.telemetry import count, logger
from shared.steps import supplier_tasks
from shared.steps.supplier_tasks import BALANCE_LOW, NOT_SYNCED, RENAMED
from shared.suppliers import accounts, balances, listing, offers, price_files, prices, registry, snapshots
from shared.suppliers.accounts import Head
from shared.suppliers.errors import ListTooLong, SupplierRefused, SupplierSilent, UnknownSupplier
from shared.suppliers.listing import UNSURE, Listing
from shared.suppliers.offers import Offer
from shared.suppliers.prices import BY_FILE
from shared.suppliers.snapshots import Overtaken
from shared.suppliers.supplier import Product, Reason, Supplier

BUDGET: Final = timedelta(minutes=8)  # after which no other supplier is begun: four fifths of the time between two runs
BUDGET_EACH: Final = timedelta(minutes=3)  # in which a supplier must have given all his pages
PAGES_MAX: Final = 2_000  # a cursor that leads in a circle ends here
SHARE: Final = 2  # of a supplier's calls a second, one of so many is ours: the others are for buying
SIDE_BY_SIDE: Final = 8  # writes; one takes some milliseconds, of which nearly all is waiting
ROUND: Final = timedelta(minutes=10)  # between two runs
# No call will get through, or none can be believed, until a person acts.
FOR_US: Final[frozenset[str]] = frozenset({Reason.BAD_SIGNATURE, Reason.NOT_ALLOWED, balances.OTHER_CURRENCY})

Item = TypeVar("Item")


@dataclass(frozen=True)
class Synced:
    """products: that he sells. The others say what was written. unfit: products that cannot be stored."""

    products: int
    new: int = 0
    changed: int = 0
    gone: int = 0
    unfit: int = 0


def work(now: datetime) -> None:
    """Read the lists of all whom we buy from, first of him who has waited longest for his turn.

    What fails for one does not stop the others, neither in this run nor in the next; Unfinished is raised when all had
    their turn. A person is called before the offers of one who gives no list do not sell any more.
    """
    ticking, wrong, missed = clock.since(now), list[str](), list[Head]()
    bought_from = [one for one in accounts.every() if one.syncs]
    for head in sorted(bought_from, key=lambda one: str(one.tried_at or "")):
        code = str(head.code)
        if head.kind == BY_FILE:
            missed += [head] if head.synced_at else []  # nobody but a person can bring another list
            continue
        if ticking() - now > BUDGET:
            logger.warning("a supplier is left to the next run", supplier=code)
            missed.append(head)
            continue
        try:
            balances.tried(code, ticking())
            sync(code, ticking())
        except (SupplierSilent, SupplierRefused, ListTooLong) as none:
            count("SupplierNotSynced")
            logger.warning("a supplier gives no list", supplier=code, why=none.code)
            if none.facts.get("reason") not in FOR_US:  # for those a person has just been called
                missed.append(head)
        except UnknownSupplier:
            logger.info("a supplier without keys", supplier=code)
        except Exception as error:  # noqa: BLE001  # logged and raised below; its text may quote him
            logger.error("a sync failed", supplier=code, error=type(error).__name__)
            wrong.append(code)
            missed.append(head)
    for head in missed:
        _warn(head, ticking())
    if wrong:
        raise Unfinished(*wrong)


def sync(code: str, now: datetime, within: timedelta = BUDGET_EACH) -> Synced:
    """Read what one supplier sells and what we have left with him, and store it.

    UnknownSupplier also without keys, SupplierSilent, SupplierRefused; ListTooLong if he does not give his whole list
    within that time; InvalidRequest if his offers come by file. Overtaken by another run it leaves the rest to that.
    """
    head = accounts.head_of(code)
    if head.kind == BY_FILE:
        raise InvalidRequest(fields=[{"field": "supplier", "reason": "listed_by_file"}])
    supplier, ticking = registry.supplier(code), clock.since(now)
    try:
        _look_at_balance(supplier, head, ticking())
        began = ticking()
        products = _whole_list(supplier, ticking, within)
    except SupplierRefused as refused:
        if refused.facts.get("reason") in FOR_US:
            supplier_tasks.stop(code, str(refused.facts["reason"]), now)
        raise
    return _store(code, products, began)


def read_again(code: str, now: datetime) -> None:
    """Read the list of one who is said to have changed it; where he gives none now, the schedule will ask him again."""
    try:
        sync(code, now)
    except (SupplierSilent, SupplierRefused, ListTooLong, UnknownSupplier) as none:
        logger.warning("a supplier gives no list", supplier=code, why=none.code)


def take_list(code: str, content: bytes, now: datetime) -> tuple[Synced, list[price_files.Refused]]:
    """Take in a list that a supplier has sent as a file: it is the whole of what he sells; the rows that are refused.

    InvalidRequest for a supplier who is asked by calls, and for a file of which no row can be read.
    """
    head = accounts.head_of(code)
    if head.kind != BY_FILE:
        raise InvalidRequest(fields=[{"field": "supplier", "reason": "not_listed_by_file"}])
    read = price_files.read(content, str(head.currency))
    if not read.products:
        reasons = sorted({one.reason for one in read.refused}) or ["empty"]
        raise InvalidRequest(fields=[{"field": "file", "reason": reason} for reason in reasons])
    return _store(code, read.products, now, by_file=True), read.refused


def _whole_list(supplier: Supplier, ticking: clock.Ticking, within: timedelta) -> list[Product]:
    """All his pages; ListTooLong if they do not end in time, since a part of a list would take the rest off sale."""
    found: list[Product] = []
    cursor, began = "", ticking()
    for _ in range(PAGES_MAX):
        asked = time.monotonic()
        page = supplier.products(cursor, ticking())
        found += page.products
        cursor = page.cursor
        if not cursor:
            return found
        if ticking() - began > within:
            break
        time.sleep(max(0.0, SHARE / supplier.traits.rate - (time.monotonic() - asked)))
    logger.warning("a list that does not end", supplier=supplier.code, products=len(found))
    raise ListTooLong


def _store(code: str, said: Sequence[Product], now: datetime, *, by_file: bool = False) -> Synced:
    """Write what is new in a list that was read at `now`. by_file: it does not say how each thing is delivered."""
    products = [one for one in said if listing.fit(one)]
    if unfit := len(said) - len(products):
        logger.warning("products that cannot be stored", supplier=code, count=unfit)
    try:
        synced = _write(code, products, now, by_file)
    except Overtaken:
        logger.info("another run was begun after this one", supplier=code)
        return Synced(len(products), unfit=unfit)
    # Last: a list that is only half in the table is none that was read.
    balances.synced(code, now)
    supplier_tasks.over(NOT_SYNCED, code, "system", "his list was read", now)
    logger.info("a supplier's list", supplier=code, products=len(products), new=synced.new, changed=synced.changed)
    return replace(synced, unfit=unfit)


def _write(code: str, products: Sequence[Product], now: datetime, by_file: bool) -> Synced:
    before, etag = snapshots.read(code)
    read_at = int(now.timestamp() * 1000)
    if before.read_at > read_at:
        raise Overtaken
    changes, lines = listing.compare(before, products)
    synced = Synced(len(lines), len(changes.new), len(changes.priced) + len(changes.other), len(changes.gone))
    if not changes.count and etag:
        return synced
    # First it is written down which offers are unsure from now on: after a death they are all written again, and who
    # came before us finds the listing changed, and his number too low to write an offer once more.
    # The moment makes it higher than every number before also where the listing was lost, and with it the last one.
    number = max(before.number + 1, read_at)
    unsure = {**before.lines, **dict.fromkeys(changes.touched(), UNSURE)}
    etag = snapshots.put(code, Listing(number, unsure, read_at), etag)
    inserted: list[str] = []
    renamed: list[str] = []

    def other(product: Product, stored: Offer | None = None) -> None:
        if offers.renamed(offers.change(code, product, number, now, stored, guessed=by_file)):
            renamed.append(product.product)

    def new(product: Product) -> None:
        try:
            offers.insert(code, product, number, now)
            inserted.append(product.product)
        except Lost:  # it was there once, or its listing is lost
            other(product, offers.offer(code, product.product))

    def priced(product: Product) -> None:
        if product.product in stored:
            other(product, stored[product.product])
        else:
            new(product)

    def gone(product: str) -> None:
        with suppress(Lost):  # it was never stored; if a newer run has it, the listing says so in the end
            offers.take_off(code, product, number, now)

    try:
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            _each(pool, new, changes.new)
            for start in range(0, len(changes.priced), offers.READ_AT_ONCE):
                some = changes.priced[start : start + offers.READ_AT_ONCE]
                stored = offers.some(code, [one.product for one in some])
                _each(pool, priced, some)
            _each(pool, other, changes.other)
            _each(pool, gone, changes.gone)
        if renamed:  # before the listing, which says that there is no more to be done
            logger.warning("offers are called otherwise than when they were mapped", supplier=code, count=len(renamed))
            supplier_tasks.call_somebody(RENAMED, code, now)
        snapshots.put(code, Listing(number, lines, read_at), etag)
    except (Lost, Overtaken):
        # What he offers no more, the other run could not take off before we had put it there.
        for product in set(inserted) - snapshots.read(code)[0].lines.keys():
            gone(product)
        raise Overtaken from None
    return synced


def _each(pool: ThreadPoolExecutor, write: Callable[[Item], None], items: Sequence[Item]) -> None:
    for _ in pool.map(write, items):
        pass


def _look_at_balance(supplier: Supplier, head: Head, now: datetime) -> None:
    """Show what we have left with him, and tell somebody once when it is little; a silent supplier changes nothing."""
    try:
        balance = balances.of(supplier, head, now)
    except (SupplierSilent, SupplierRefused) as none:
        if none.facts.get("reason") in FOR_US:
            raise
        logger.warning("a supplier does not say what we have left with him", supplier=supplier.code, why=none.code)
        return
    balances.show(supplier.code, balance.minor, now)
    before = balances.pace_of(supplier.code)
    hourly = balances.hourly_e6(before, balance.minor, now)
    low = balances.is_low(balance.minor, None if head.low_minor is None else int(head.low_minor), hourly)
    told = before is not None and bool(before.told)
    # The task first: were it said to be told and nobody was, nobody ever would be.
    if low and not told:
        supplier_tasks.call_somebody(BALANCE_LOW, supplier.code, now)
    if not low:  # also where it was called low by whoever could not buy
        supplier_tasks.over(BALANCE_LOW, supplier.code, "system", "filled up", now)
    with suppress(Lost):
        balances.keep(supplier.code, before, balance.minor, hourly, low, now)


def _warn(head: Head, now: datetime) -> None:
    """Call somebody where nothing of him will sell in the next round, if not even now."""
    synced_at = clock.parse(str(head.synced_at)) if head.synced_at else None
    if prices.stale(str(head.kind), synced_at, now + ROUND):
        supplier_tasks.call_somebody(NOT_SYNCED, str(head.code), now)
