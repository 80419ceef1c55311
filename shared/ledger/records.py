"""The table `ledger`: one item is one balanced entry. It is written once; there is no way to change or delete it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from typing import Any, TypedDict, Unpack
from zlib import crc32

from pynamodb.attributes import Attribute, UnicodeAttribute
from pynamodb.constants import STRING
from pynamodb.exceptions import DoesNotExist

from shared.kernel import clock, ids, records, settings
from shared.ledger import posting
from shared.ledger.posting import Leg

BOOKS = 16  # per day: 16 × 1,000 writes a second, far above what one merchant sells; the close reads all of them


class Dims(TypedDict, total=False):
    """What an entry is about."""

    order_id: str | None
    channel: str | None
    provider: str | None
    payment_id: str | None
    refund_id: str | None
    lot_id: str | None
    reverses: str | None
    by: str | None


class Legs(Attribute[tuple[Leg, ...]]):
    """A compact JSON text: trailing defaults are left out, so that the entry of a small order stays below 1 kB."""

    attr_type = STRING

    def serialize(self, value: tuple[Leg, ...]) -> str:
        return json.dumps([_short(leg) for leg in value], ensure_ascii=False, separators=(",", ":"))

    def deserialize(self, value: str) -> tuple[Leg, ...]:
        return tuple(_long(*members) for members in json.loads(value))


class Entry(records.Record):
    class Meta(records.Options):
        table_name = settings.table("ledger")

    book = UnicodeAttribute(hash_key=True)
    entry_id = UnicodeAttribute(range_key=True)
    kind = UnicodeAttribute()
    legs = Legs()
    occurred_at = UnicodeAttribute(null=True)  # only where it is not the moment of writing, which the id holds
    order_id = UnicodeAttribute(null=True)
    channel = UnicodeAttribute(null=True)
    provider = UnicodeAttribute(null=True)
    payment_id = UnicodeAttribute(null=True)
    refund_id = UnicodeAttribute(null=True)
    lot_id = UnicodeAttribute(null=True)
    reverses = UnicodeAttribute(null=True)
    by = UnicodeAttribute(null=True)

    @property
    def posted_on(self) -> date:
        return date.fromisoformat(self.book.partition("#")[0])

    @property
    def dims(self) -> Dims:
        return {name: getattr(self, name) for name in Dims.__annotations__}  # type: ignore[return-value]


class Reversal(records.Record):
    """Says that an entry has been reversed: whoever inserts it first is the only one."""

    class Meta(records.Options):
        table_name = settings.table("ledger")

    book = UnicodeAttribute(hash_key=True)
    entry_id = UnicodeAttribute(range_key=True, default="-")
    reversed_by = UnicodeAttribute()


def post(
    tx: records.Transaction,
    kind: str,
    legs: Iterable[Leg],
    now: datetime,
    occurred_at: datetime | None = None,
    **dims: Unpack[Dims],
) -> Entry:
    """Add an entry to the caller's transaction, in the books of the Shanghai day of `now`.

    occurred_at: when the money moved, if that is known apart from when we write it down.
    """
    entry_id = ids.new("ent", now)
    entry = Entry(
        _book(clock.shanghai_day(now), _shard(entry_id)),
        entry_id,
        kind=kind,
        legs=posting.balanced(legs),
        occurred_at=clock.iso(occurred_at) if occurred_at else None,
        **dims,
    )
    tx.insert("entry", entry)
    return entry


def reverse(tx: records.Transaction, entry: Entry, now: datetime, by: str | None = None) -> Entry:
    """Add to the transaction an entry of today that undoes this one; part ``reversal`` loses if it is undone before."""
    about: Dims = {**entry.dims, "reverses": entry.entry_id, "by": by}
    undoing = post(tx, f"{entry.kind}_reversed", posting.reversal(entry.legs), now, **about)
    tx.insert("reversal", Reversal(f"reversal#{entry.entry_id}", reversed_by=undoing.entry_id))
    return undoing


def entry(day: date, entry_id: str) -> Entry | None:
    try:
        return Entry.get(_book(day, _shard(entry_id)), entry_id, consistent_read=True)
    except DoesNotExist:
        return None


def entries_of(day: date) -> Iterator[Entry]:
    """Every entry posted on this day that was written before the call, page by page; in no particular order."""
    for shard in range(BOOKS):
        yield from Entry.query(_book(day, shard), consistent_read=True)


def _book(day: date, shard: int) -> str:
    return f"{day.isoformat()}#{shard}"


def _shard(entry_id: str) -> int:
    """From the id itself, whose end is chance: no book is hotter than the others, and each entry is found by its id."""
    return crc32(entry_id.encode()) % BOOKS


def _short(leg: Leg) -> list[Any]:
    members = [leg.account, leg.amount_minor, leg.sku, leg.quantity, None if leg.currency == "CNY" else leg.currency]
    while members[-1] is None:
        members.pop()
    return members


def _long(
    account: str, amount_minor: int, sku: str | None = None, quantity: int | None = None, currency: str | None = None
) -> Leg:
    return Leg(account, amount_minor, currency or "CNY", sku, quantity)
