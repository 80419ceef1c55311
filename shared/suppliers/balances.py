"""How fast our money with a supplier goes, so that somebody is told before it is gone; a part of table `suppliers`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from pynamodb.attributes import BooleanAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from shared.kernel import clock, records, settings
from shared.kernel.money import MILLION, Money
from shared.suppliers.accounts import HEAD, Head
from shared.suppliers.errors import SupplierRefused
from shared.suppliers.supplier import Supplier

PACE = "pace"
OTHER_CURRENCY: Final = "other_currency"  # why a supplier is refused whose account was set up in the wrong one
ENOUGH_FOR: Final = timedelta(days=1)  # a transfer, and a person who makes it, need a working day
REMEMBERS: Final = timedelta(days=1)  # so that a day's rhythm counts as a whole, and one large purchase does not alarm


class Pace(records.Record):
    """hourly_e6: what is spent in an hour, in millionths of a minor unit. told: somebody was, and it is still low."""

    class Meta(records.Options):
        table_name = settings.table("suppliers")

    code = UnicodeAttribute(hash_key=True)
    part = UnicodeAttribute(range_key=True, default=PACE)
    minor = NumberAttribute()
    at = UnicodeAttribute()
    hourly_e6 = NumberAttribute(default=0)
    told = BooleanAttribute(default=False)


def pace_of(code: str) -> Pace | None:
    """How fast it went when somebody last looked."""
    try:
        return Pace.get(code, PACE, consistent_read=True)
    except Pace.DoesNotExist:
        return None


def hourly_e6(before: Pace | None, minor: int, now: datetime) -> int:
    """What is spent in an hour, as a mean that forgets; a balance that grew was filled up, which says nothing of it."""
    if before is None:
        return 0
    hours = (now - clock.parse(str(before.at))) / timedelta(hours=1)
    spent = int(before.minor) - minor
    if hours <= 0 or spent < 0:
        return int(before.hourly_e6)
    weight: float = 0.5 ** (hours / (REMEMBERS / timedelta(hours=1)))
    return round(int(before.hourly_e6) * weight + spent * MILLION / hours * (1 - weight))


def is_low(minor: int, low_minor: int | None, hourly: int) -> bool:
    """Whether somebody must fill it up: it is below what he has set, or gone within a day as it goes now."""
    if low_minor is not None and minor < low_minor:
        return True
    return hourly > 0 and minor * MILLION <= hourly * (ENOUGH_FOR / timedelta(hours=1))


def keep(code: str, before: Pace | None, minor: int, hourly: int, told: bool, now: datetime) -> None:
    """Write it down, or raise Lost if another run has."""
    unchanged = Pace.at.does_not_exist() if before is None else Pace.at == before.at
    actions = [
        Pace.minor.set(minor),
        Pace.at.set(clock.iso(now)),
        Pace.hourly_e6.set(hourly),
        Pace.told.set(told),
    ]
    records.update(Pace(code, PACE), actions, unchanged)


def of(supplier: Supplier, head: Head, now: datetime) -> Money:
    """What we have left with him, by his own word; SupplierSilent, SupplierRefused.

    In another currency than that of his account it is refused: his prices are in it, too, and none of them would be
    what it seems.
    """
    balance = supplier.balance(now)
    if balance.currency != head.currency:
        raise SupplierRefused(supplier=supplier.code, reason=OTHER_CURRENCY)
    return balance


def show(code: str, minor: int, now: datetime) -> None:
    """Put the balance where it is read with the supplier; one that was read later stays."""
    at = clock.iso(now)
    actions = [Head.balance_minor.set(minor), Head.balance_at.set(at)]
    _later(code, actions, Head.balance_at.does_not_exist() | (Head.balance_at < at))


def synced(code: str, now: datetime) -> None:
    """His whole list was read at this moment; a later one stays."""
    at = clock.iso(now)
    _later(code, [Head.synced_at.set(at)], Head.synced_at.does_not_exist() | (Head.synced_at < at))


def tried(code: str, now: datetime) -> None:
    """He had his turn at this moment, whatever came of it."""
    _later(code, [Head.tried_at.set(clock.iso(now))], Head.tried_at.does_not_exist() | (Head.tried_at < clock.iso(now)))


def _later(code: str, actions: Sequence[Action], condition: Condition) -> None:
    with suppress(records.Lost):
        records.update(Head(code, HEAD), actions, Head.code.exists() & condition)
