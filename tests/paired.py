"""An adapter of ours against a supplier's stand-in, each written without reading the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import count
from typing import Any

from infra.local.suppliers.common import Supplier as StandIn
from shared.suppliers.registry import made
from shared.suppliers.supplier import Account, Answer, Keys, Outcome, Purchase, Reason, Supplier
from tests.supplied import eventually

_numbers: Iterator[int] = count(1)


def now() -> datetime:
    return datetime.now(UTC)


def ours(stand_in: StandIn, currency: str = "CNY", keys: Keys | None = None, **terms: str) -> Supplier:
    """Our adapter, with the terms that the stand-in's owner gives us and more of our own, and his keys or others."""
    account = Account("them", stand_in.kind, {**stand_in.terms, **terms}, currency)
    return made(account, [keys or stand_in.keys])


def wanted(
    product: str, quantity: int = 1, account: Mapping[str, str] | None = None, most_e6: int = 10**12
) -> Purchase:
    number = f"01jdabcdefghjkmnpqrstvwx{next(_numbers):06d}"
    return Purchase(number, product, quantity, most_e6, "https://shop.example/callbacks/them", account or {})


def outcome(answer: Answer) -> tuple[Outcome, Reason]:
    return answer.outcome, answer.reason


def lost_nothing(stand_in: StandIn, supplier: Supplier, purchase: Purchase, told: Answer) -> Answer:
    """That what we were told of an order is true of what was bought; the last that is told of it, asked if need be."""
    if told.outcome in (Outcome.FAILED, Outcome.RETRY, Outcome.REFUSED):
        assert bought(stand_in, purchase) == []
        return told
    last = supplier.ask(purchase.number, told.upstream_no, now())
    if last.outcome is Outcome.ABSENT:
        assert bought(stand_in, purchase) == []
    if last.outcome is Outcome.DELIVERED:
        (order,) = bought(stand_in, purchase)
        theirs = sorted(card["password"] for card in order["cards"])
        assert sorted(card.code.code for card in last.goods) == theirs or order["kind"] == "topup"
    assert len(bought(stand_in, purchase)) <= 1
    return last


def ended(supplier: Supplier, purchase: Purchase, told: Answer) -> Answer:
    """What is told of an order once it has ended."""
    last: list[Answer] = []

    def has() -> bool:
        last[:] = [supplier.ask(purchase.number, told.upstream_no, now())]
        return last[0].outcome in (Outcome.DELIVERED, Outcome.FAILED)

    eventually(has)
    return last[0]


def bought(stand_in: StandIn, purchase: Purchase) -> list[dict[str, Any]]:
    return type(stand_in).bought(stand_in.url, purchase.number)
