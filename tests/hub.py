"""Suppliers that sell to the shop, as real HTTP servers, let in and read into its offers without a console."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.local.supplier_shop import KINDS as STAND_INS
from infra.local.suppliers.common import Product, Supplier
from shared.catalog import records as catalog
from shared.kernel import clock
from shared.ledger import records as ledger
from shared.ledger.posting import Leg
from shared.suppliers import accounts, pulses, registry, supplier_keys
from shared.suppliers.accounts import Head
from shared.suppliers.admission import Standing, same
from shared.suppliers.offers import Offer
from shared.suppliers.scoring import Tier
from shared.suppliers.supplier import Delivers
from tests.shop import Placed, Shop

FOR_EVER = "9999-12-31"


@dataclass(frozen=True)
class Selling:
    """One supplier: his stand-in, and our account with him."""

    code: str
    stand_in: Supplier

    @property
    def url(self) -> str:
        return self.stand_in.url

    def bought(self, number: str = "") -> list[dict[str, Any]]:
        return Supplier.orders(self.url, number)

    def misbehave(self, route: str, fault: str, times: int = 1, **more: float) -> None:
        Supplier.misbehave(self.url, route, fault, times, **more)

    def rested(self) -> None:
        """He bears a question at once, however often he was asked just now."""
        for slot in range(registry.supplier(self.code).traits.slots):
            pulses.give_back(self.code, slot, clock.now())

    @property
    def head(self) -> Head:
        return accounts.head_of(self.code)


@contextmanager
def selling(
    folder: Path,
    code: str,
    kind: str,
    products: Mapping[str, Product],
    tier: Tier = Tier.A,
    *,
    seed: int = 1,
    currency: str = "CNY",
    rate_e6: int = 1_000_000,
    **terms: str,
) -> Iterator[Selling]:
    """A supplier who sells these products, by the SKU of ours that each is; with the rights to every brand.

    seed: what his codes and keys are made from; of two with the same one, each has the other's codes.
    """
    stand_in = STAND_INS[kind]()(folder / f"{code}.sqlite", seed=seed)
    with stand_in:
        Supplier.put_products(stand_in.url, list(products.values()))
        brands = {same(sku.brand): FOR_EVER for sku in catalog.skus(products).values()}
        now = clock.iso(datetime.now(UTC))
        Head(
            code,
            name=code,
            kind=kind,
            terms={**stand_in.terms, **terms},
            standing=Standing.APPROVED,
            tier=tier,
            currency=currency,
            rate_e6=rate_e6,
            brands=brands,
            synced_at=now,
        ).save()
        supplier_keys.add(code, stand_in.keys)
        registry.forget()
        supplier = registry.supplier(code)
        listed = supplier.products("", datetime.now(UTC)).products
        for sku, product in products.items():
            one = next(one for one in listed if f"{one.title} ".startswith(f"{product.name} "))  # some add what it is
            if one.delivers is Delivers.TOPUP:  # not every list says what a top-up must be told
                one = supplier.product(one.product, datetime.now(UTC)) or one
            Offer(
                code,
                one.product,
                title=one.title,
                delivers=one.delivers,
                cost_e6=one.cost_e6,
                stock=one.stock,
                least=one.least,
                most=one.most,
                fields=[wish._asdict() for wish in one.fields],
                fills={wish.name: fields for wish, fields in zip(one.fields, _fields(sku), strict=False)},
                changed_at=now,
                sku=sku,
            ).save()
        yield Selling(code, stand_in)


def _fields(sku: str) -> list[str]:
    return [field.name for field in catalog.skus([sku])[sku].account_fields]


def entries(kind: str) -> list[dict[str, int]]:
    """What each entry of a kind moved today, in minor units by account, in the order in which they were written."""
    found = sorted(ledger.entries_of(clock.shanghai_day(clock.now())), key=lambda one: str(one.entry_id))
    return [_moved(one.legs) for one in found if one.kind == kind]


def _moved(legs: Iterable[Leg]) -> dict[str, int]:
    sums = Counter[str]()
    for leg in legs:
        sums[leg.account] += leg.amount_minor
    return {account: minor for account, minor in sums.items() if minor}


def pump_until(shop: Shop, order: Placed, status: str, within: float = 30) -> None:
    """Play everything, also the messages that are delayed, until the order has a status; AssertionError after that."""
    deadline = time.monotonic() + within
    while True:
        shop.pump()
        found = shop.status(order)
        if found == status:
            return
        assert time.monotonic() < deadline, f"the order is {found}"
        time.sleep(0.1)  # a delayed message becomes visible by itself
