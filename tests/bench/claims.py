"""Many buyers of one SKU at once: how many cards are sold in a second, and how often a buyer loses a race on the way.

The same sales are made from one counter of the stock, too, the way most shops do it: a hold takes one from the counter
where ours takes a card. Both run under the same weather. The local cloud lets transactions wait for each other; AWS
refuses a transaction that meets another one on the same item, and an answer takes some milliseconds, in which they
meet. So it is done here, for both.

And what one sale asks of DynamoDB, however many cards there are.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from random import Random

import pytest
from pynamodb.connection import Connection

from tests.bench import meter, world
from tests.bench.meter import Meter
from tests.bench.report import Facts, Part, Row
from tests.conflicts import conflicts

# isort: split
# Only now: the world names the tables, and records take their names when they are imported.

from shared.inventory import records as inventory
from shared.inventory.records import Need, Quota
from shared.kernel import clock, ids, records
from shared.kernel.records import Lost, Transaction
from shared.orders.records import Ref

SIZES = (1_000, 100_000)  # cards on the shelf; a soak looks at LARGE ones, too
LARGE = 1_000_000  # minutes and some GB of the local cloud
BUYERS = {1: 150, 8: 600, 32: 1200}  # how many at once: the sales they make together
SHARDS = 4  # of a shelf for a rush
ATTEMPTS = 200  # lost races of one sale: nobody gives up, so that the work is the same on both sides
ROUND_TRIP = 0.005  # seconds until a call is answered, as in one region of AWS at its best

# Cards on the shelf at any time: the local cloud reads a whole shelf, however little of it is asked for, which AWS does
# not. So every sale puts a fresh card on it, and on the counter's side writes an item, too.
DEPTH = 100

HELD, SOLD = "held", "sold"
STOCK = "bench"  # the name of the counter


@dataclass
class Rush:
    """What buyers who come at once have come to."""

    sold: int = 0
    lost: int = 0
    seconds: float = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def rate(self) -> float:
        return self.sold / self.seconds

    @property
    def races(self) -> float:
        return self.lost / self.sold


@dataclass
class Shelf:
    """Sales as Kaquan makes them: look at the shelf, hold the very card, bind it."""

    shards: int
    fresh: list[inventory.Card] = field(default_factory=list)

    def open(self, sales: int) -> None:
        self.fresh = list(world.cards(sales + DEPTH, self.shards))
        for _ in range(DEPTH):
            self.restock()

    def restock(self) -> None:
        records.insert(self.fresh.pop())

    def sell(self, order_id: str, chance: Random) -> int:
        """Sell a card to an order; returns the races lost on the way."""
        need, card_id, passed_over = Need(world.SKU, 1, self.shards, clock.shanghai_day(clock.now())), "", set[str]()

        def hold(tx: Transaction) -> None:
            nonlocal card_id
            [[card_id]] = inventory.pick_all([need], chance, frozenset(passed_over))
            passed_over.add(card_id)
            tx.insert("order", _order(order_id))
            inventory.hold(tx, card_id, world.SKU, order_id, "shop")

        def claim(tx: Transaction) -> None:
            _deliver(tx, order_id)
            inventory.claim(tx, card_id, order_id)

        return _persistently(hold, chance) + _persistently(claim, chance)


class Counter:
    """Sales from one number: it says how many there are, and every sale takes one."""

    def open(self, sales: int) -> None:
        records.insert(Quota(STOCK, used=sales))

    def restock(self) -> None:
        records.insert(_order(ids.new("crd", clock.now())))

    def sell(self, order_id: str, chance: Random) -> int:
        def hold(tx: Transaction) -> None:
            tx.insert("order", _order(order_id))
            tx.update("stock", Quota(STOCK), [Quota.used.add(-1)], Quota.used >= 1)

        def claim(tx: Transaction) -> None:
            _deliver(tx, order_id)
            tx.insert("sale", _order(f"{order_id} sale"))  # where ours binds the card: an item of its own, too

        return _persistently(hold, chance) + _persistently(claim, chance)


def _persistently(write: Callable[[Transaction], None], chance: Random) -> int:
    """Try until it is done; returns the races lost on the way."""
    for attempt in range(ATTEMPTS):
        try:
            with Transaction() as tx:
                write(tx)
        except Lost:
            time.sleep(chance.uniform(0, 0.02 * min(attempt + 1, 10)))  # seconds: as a buyer waits who places an order
        else:
            return attempt
    raise AssertionError(f"a sale lost {ATTEMPTS} races")


def measure(_: Facts) -> Part:
    meter.install()
    rows: list[Row] = []
    for buyers, sales in BUYERS.items():
        counter = _rush(buyers, sales, Counter())
        ours = _rush(buyers, sales, Shelf(1))
        rows += [
            Row(f"claims.{buyers}.rate", ours.rate, "claims/s", counter.rate, "", "floor: from one shared counter"),
            Row(f"claims.{buyers}.lost", ours.races, "races/claim", counter.races, "", "floor: for the shared counter"),
        ]
    most = max(BUYERS)
    spread = _rush(most, BUYERS[most], Shelf(SHARDS))
    at_first = f"floor: with one shelf, not {SHARDS}"
    rows += [
        Row(f"claims.{most}.{SHARDS}_shards.rate", spread.rate, "claims/s", ours.rate, "", at_first),
        Row(f"claims.{most}.{SHARDS}_shards.lost", spread.races, "races/claim", ours.races, "", at_first),
    ]
    return Part(rows + _units())


def _rush(buyers: int, sales: int, shop: Shelf | Counter) -> Rush:
    """So many buyers at once, each making one sale after the other, until all sales are made."""
    rush = Rush()
    with _many_connections(buyers), world.cloud():
        shop.open(sales)

        def buy(number: int) -> None:
            chance = Random(number)
            for one in range(number, sales, buyers):
                lost = shop.sell(f"ord_{one:06}", chance)
                shop.restock()
                with rush.lock:
                    rush.sold, rush.lost = rush.sold + 1, rush.lost + lost

        with conflicts(ROUND_TRIP), ThreadPoolExecutor(buyers) as crowd:
            began = time.perf_counter()
            list(crowd.map(buy, range(buyers)))
            rush.seconds = time.perf_counter() - began
        _check(shop, sales)
    return rush


def _check(shop: Shelf | Counter, sales: int) -> None:
    """A figure of work that was not done is worth nothing."""
    if isinstance(shop, Counter):
        assert Quota.get(STOCK).used == 0
    else:
        owners = [str(card.order_id) for card in inventory.Card.scan() if card.state == SOLD]
        assert len(owners) == len(set(owners)) == sales


@contextmanager
def _many_connections(count: int) -> Iterator[None]:
    """Each buyer would be a process of its own on AWS, with a connection of its own."""
    options = records.Options

    @cache
    def connection() -> Connection:
        return Connection(read_timeout_seconds=options.read_timeout_seconds, max_pool_connections=count)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "_connection", connection)
        yield


def _units() -> list[Row]:
    """What one sale takes with few cards on the shelf, and with many."""
    sizes = (*SIZES, LARGE) if int(os.environ.get("SCALE", "1")) > 1 else SIZES
    found: list[Meter] = []
    with world.cloud():
        stocked = 0
        for size in sizes:
            world.stock(size - stocked)
            shop, chance = Shelf(1), Random(size)
            shop.sell(f"ord_{size}_first", chance)
            with meter.metered(Meter()) as one:
                assert shop.sell(f"ord_{size}", chance) == 0
            found.append(one)
            stocked = size - 2
    few = found[0]
    least = sum(use.least for use in few.uses)
    rows = [
        Row("claims.units", few.write + few.read, "units", least, "", "write and read; floor: each item in one unit")
    ]
    for size, many in list(zip(sizes, found, strict=True))[1:]:
        text = f"floor: the same with {sizes[0]:,} cards"
        rows += [
            Row(f"claims.{size}_cards.write_units", many.write, "units", few.write, "ratio ≤ 1.05", text),
            Row(f"claims.{size}_cards.read_units", many.read, "units", few.read, "ratio ≤ 1.05", text),
        ]
    return rows


def _order(order_id: str) -> Ref:
    """What a hold is written down with: the least of an order."""
    return Ref(order_id, refers_to=HELD, body_hash="")


def _deliver(tx: Transaction, order_id: str) -> None:
    tx.update("order", Ref(order_id, "ref"), [Ref.refers_to.set(SOLD)], Ref.refers_to == HELD)
