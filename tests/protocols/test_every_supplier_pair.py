"""What holds of each adapter that can ask after a lost answer, with every fault that its stand-in knows.

A supplier's own ways are in his own `test_*_supplier_pair.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from infra.local.suppliers.common import Product as Goods
from infra.local.suppliers.common import Supplier as StandIn
from infra.local.suppliers.dujiao import Dujiao
from infra.local.suppliers.fulu import Fulu
from infra.local.suppliers.kashangwl import Kashangwl
from infra.local.suppliers.kasushou import Kasushou
from shared.suppliers.errors import SupplierRefused, SupplierSilent
from shared.suppliers.supplier import Answer, Outcome, Purchase, Supplier
from tests.paired import bought, ended, now, ours, wanted

READS: Mapping[str, Callable[[Supplier, str], object]] = {
    "balance": lambda supplier, _: supplier.balance(now()),
    "products": lambda supplier, _: supplier.products("", now()),
    "product": lambda supplier, card: supplier.product(card, now()),
}


@dataclass(frozen=True)
class Pair:
    """card: how the adapter names the stand-in's goods. sells, tells, reads: the stand-in's names of its routes."""

    stand_in: type[StandIn]
    goods: Goods
    card: str
    terms: Mapping[str, str] = field(default_factory=dict)
    behaves: Mapping[str, str] = field(default_factory=dict)
    sells: str = "buy"
    tells: str = "order"
    reads: Mapping[str, str] = field(default_factory=lambda: dict(zip(READS, READS, strict=True)))


PAIRS = {
    "dujiao": Pair(
        Dujiao,
        Goods("1", "样板卡", 9_900_000, stock=100, more={"product_id": 70}),
        "70-1",
        reads={"balance": "ping", "products": "products", "product": "product"},
    ),
    "fulu": Pair(
        Fulu,
        Goods("10000001", "样板卡/100 点", 9_512_500, stock=100, more={"face": "10.00"}),
        "10000001",
        tells="query",
        reads={"balance": "balance", "products": "goods", "product": "goods"},
    ),
    "kashangwl": Pair(
        Kashangwl,
        Goods("1", "样板卡", 9_900_000, stock=100),
        "1",
        terms={"trait.asks_by_ours": "true"},
        behaves={"asks_by_ours": "yes"},
    ),
    "kasushou": Pair(Kasushou, Goods("1", "样板卡", 9_900_000, stock=100), "1"),
}
SELLING = [(name, fault) for name, pair in PAIRS.items() for fault in pair.stand_in.fault_kinds[pair.sells]]
TELLING = [(name, fault) for name, pair in PAIRS.items() for fault in pair.stand_in.fault_kinds[pair.tells]]
READING = [
    (name, read, fault)
    for name, pair in PAIRS.items()
    for read, route in pair.reads.items()
    for fault in pair.stand_in.fault_kinds[route]
]
LONG = ("slow", "before_slow", "late_asks")  # seconds, or asks, that are more than we wait for

pytestmark = pytest.mark.usefixtures("impatient")


@contextmanager
def facing(pair: Pair, folder: Path) -> Iterator[tuple[Supplier, StandIn]]:
    """The adapter, and whom it speaks to."""
    with pair.stand_in(folder / "theirs.sqlite", retry_after=(0.05, 0.1), balance_e6=1_000_000_000) as them:
        pair.stand_in.put_products(them.url, [pair.goods])
        pair.stand_in.behave(them.url, **pair.behaves)
        yield ours(them, **pair.terms), them


def last_of(supplier: Supplier, purchase: Purchase, told: Answer) -> Answer:
    """What is told of an order once it has ended, or that there is none; placed again where it cannot be asked."""
    if not (told.upstream_no or supplier.traits.asks_by_ours):
        told = supplier.place(purchase, now())
    if told.outcome is Outcome.FAILED:
        return told
    asked = supplier.ask(purchase.number, told.upstream_no, now())
    return asked if asked.outcome is Outcome.ABSENT else ended(supplier, purchase, told)


@pytest.mark.parametrize(("name", "fault"), SELLING)
def test_no_fault_makes_us_believe_what_is_not_so(name: str, fault: str, tmp_path: Path) -> None:
    pair, purchase = PAIRS[name], wanted(PAIRS[name].card, 2)
    with facing(pair, tmp_path) as (supplier, them):
        pair.stand_in.misbehave(them.url, pair.sells, fault, seconds=2 if fault in LONG else 0.2)

        told = supplier.place(purchase, now())
        if told.outcome in (Outcome.FAILED, Outcome.RETRY, Outcome.REFUSED):
            assert bought(them, purchase) == []
            return
        last = last_of(supplier, purchase, told)

        assert len(bought(them, purchase)) == (last.outcome is Outcome.DELIVERED)
        assert last.outcome is not Outcome.UNKNOWN
        assert last.delivered == (0 if last.outcome is not Outcome.DELIVERED else 1 if fault == "half" else 2)


@pytest.mark.parametrize(("name", "fault"), TELLING)
def test_no_fault_of_a_question_ends_an_order_that_is_there(name: str, fault: str, tmp_path: Path) -> None:
    pair, purchase = PAIRS[name], wanted(PAIRS[name].card)
    # Told twice that there is none, we believe it; that he says so once is a lie of his that we cannot see through.
    unsure = (Outcome.ABSENT,) if fault == "absent" else (Outcome.UNKNOWN, Outcome.REFUSED)
    with facing(pair, tmp_path) as (supplier, them):
        told = supplier.place(purchase, now())
        pair.stand_in.misbehave(them.url, pair.tells, fault, seconds=2)

        assert supplier.ask(purchase.number, told.upstream_no, now()).outcome in unsure
        assert ended(supplier, purchase, told).delivered == 1


@pytest.mark.parametrize(("name", "read", "fault"), READING)
def test_what_reads_says_that_it_could_not(name: str, read: str, fault: str, tmp_path: Path) -> None:
    pair = PAIRS[name]
    with facing(pair, tmp_path) as (supplier, them):
        pair.stand_in.misbehave(them.url, pair.reads[read], fault, seconds=2)
        with pytest.raises((SupplierSilent, SupplierRefused)):
            READS[read](supplier, pair.card)
