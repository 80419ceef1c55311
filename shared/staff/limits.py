"""How much a member of staff may do on one day, counted where it is used."""

from __future__ import annotations

from datetime import datetime, timedelta

from pynamodb.attributes import NumberAttribute, UnicodeAttribute

from shared.kernel import clock, records, settings

KEPT_DAYS = 3  # a count serves one Shanghai day; two more leave time to look at it


class Used(records.Record):
    """Lies beside the other counters of a day."""

    class Meta(records.Options):
        table_name = settings.table("counters")

    counter = UnicodeAttribute(hash_key=True)
    used = NumberAttribute(default=0)
    ttl = NumberAttribute(null=True)


def use(tx: records.Transaction, what: str, who: str, count: int, limit: int, now: datetime) -> None:
    """Count what a person does today; the part ``limit`` is refused where it would be more than the limit."""
    fits = Used.used <= limit - count
    tx.update(
        "limit",
        Used(f"used#{what}#{who}#{clock.shanghai_day(now):%Y%m%d}"),
        [Used.used.add(count), Used.ttl.set(int((now + timedelta(days=KEPT_DAYS)).timestamp()))],
        fits | Used.used.does_not_exist() if count <= limit else fits,
    )
