"""Parts of the table `suppliers`: what an issuer, or the supplier himself, says to be void of what he delivered."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from enum import StrEnum

from pynamodb.attributes import NumberAttribute, UnicodeAttribute

from shared.kernel import clock, records, settings

_PART = "void#"


class Source(StrEnum):
    ISSUER = "issuer"  # who made the codes: nothing is more certain
    SUPPLIER = "supplier"


class Void(records.Record):
    """One notice. purchase: the one that it was told of; cards: how many it brought. day: it is of all of that day."""

    class Meta(records.Options):
        table_name = settings.table("suppliers")

    code = UnicodeAttribute(hash_key=True)
    part = UnicodeAttribute(range_key=True)
    source = UnicodeAttribute()
    sku = UnicodeAttribute()
    purchase = UnicodeAttribute()
    cards = NumberAttribute()
    day = UnicodeAttribute(null=True)
    recall_id = UnicodeAttribute()
    note = UnicodeAttribute()
    said_by = UnicodeAttribute()
    at = UnicodeAttribute()


def note(
    code: str,
    notice_id: str,
    source: Source,
    sku: str,
    purchase: str,
    cards: int,
    day: str | None,
    recall_id: str,
    text: str,
    by: str,
    now: datetime,
) -> None:
    """Remember a notice; the first word of it stays."""
    told = Void(
        code,
        _PART + notice_id,
        source=source,
        sku=sku,
        purchase=purchase,
        cards=cards,
        day=day,
        recall_id=recall_id,
        note=text,
        said_by=by,
        at=clock.iso(now),
    )
    with suppress(records.Lost):
        records.insert(told, "void")


def is_known(code: str, notice_id: str) -> bool:
    """Whether such a notice was remembered before."""
    try:
        Void.get(code, _PART + notice_id, consistent_read=True)
    except Void.DoesNotExist:
        return False
    return True


def of(code: str) -> list[Void]:
    """All notices about what a supplier delivered."""
    return list(Void.query(code, Void.part.startswith(_PART), consistent_read=True))
