"""Parts of the table `levels`: what each SKU sold on each of the last days, and how long there was something to sell.

A day is looked at hour by hour: these looks are kept for a few days. Once it is over, it is folded into one record of
each SKU.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import NamedTuple

from pynamodb.attributes import JSONAttribute, NumberAttribute, UnicodeAttribute

from shared.kernel import clock, records, settings

DAYS_MAX = 366  # that are kept of a SKU: so that a season can be compared with the one before
LOOKS_LIVE = timedelta(days=10)  # days that were not closed for a week are folded, too
HOURS = 24
PAGE = 1_000  # SKUs in one record of looks: some 30 kB of the 400 that an item may have
_HISTORY = "history#"


class Day(NamedTuple):
    """hours: of 24, in which there was something to sell; None where nobody has looked."""

    sold: int
    hours: int | None

    @property
    def in_stock(self) -> float:
        """The share of the day; what nobody has seen is taken for the whole of it."""
        return 1.0 if self.hours is None else self.hours / HOURS


class Looks(records.Record):
    """What was seen of a page of SKUs in the hours of one day, in Shanghai: bit n stands for the hour n."""

    class Meta(records.Options):
        table_name = settings.table("levels")

    of = UnicodeAttribute(hash_key=True)  # looks#{day}
    part = UnicodeAttribute(range_key=True)
    seen = NumberAttribute(default=0)
    stocked: JSONAttribute = JSONAttribute(default=dict)  # SKU → hours in which there was something to sell
    ttl = NumberAttribute()


class History(records.Record):
    """The days of a SKU up to `last`, the oldest first."""

    class Meta(records.Options):
        table_name = settings.table("levels")

    of = UnicodeAttribute(hash_key=True)
    part = UnicodeAttribute(range_key=True, default="days")
    last = UnicodeAttribute()
    sold: JSONAttribute = JSONAttribute()
    hours: JSONAttribute = JSONAttribute()

    @property
    def sku(self) -> str:
        return str(self.of).removeprefix(_HISTORY)

    @property
    def days(self) -> dict[date, Day]:
        last = date.fromisoformat(str(self.last))
        first = last - timedelta(days=len(self.sold) - 1)
        return {
            first + timedelta(days=at): Day(int(sold), None if hours is None else int(hours))
            for at, (sold, hours) in enumerate(zip(self.sold, self.hours, strict=True))
        }


class Ranked(records.Record):
    """The SKUs that should be bought, the best first, as of the last closed day."""

    class Meta(records.Options):
        table_name = settings.table("levels")

    of = UnicodeAttribute(hash_key=True, default="procurement")
    part = UnicodeAttribute(range_key=True, default="latest")
    day = UnicodeAttribute()
    skus: JSONAttribute = JSONAttribute()
    made_at = UnicodeAttribute()


def look(page: int, stocked: Mapping[str, bool], now: datetime) -> None:
    """Note of the SKUs of a page whether there is something to sell in this hour; once in an hour is enough."""
    bit = 1 << now.astimezone(clock.SHANGHAI).hour
    of, part = f"looks#{clock.shanghai_day(now)}", f"{page:03d}"
    try:
        found = Looks.get(of, part, consistent_read=True)
    except Looks.DoesNotExist:
        found = Looks(of, part, stocked={}, ttl=int((now + LOOKS_LIVE).timestamp()))
    found.seen = int(found.seen) | bit
    before = found.stocked
    found.stocked = before | {sku: int(before.get(sku, 0)) | (bit if there else 0) for sku, there in stocked.items()}
    found.save()


def hours_of(day: date) -> dict[str, int]:
    """SKU → how many of the day's 24 hours there was something to sell, by those in which somebody has looked."""
    seen: dict[str, int] = {}
    stocked: dict[str, int] = {}
    for page in Looks.query(f"looks#{day}", consistent_read=True):
        for sku, hours in page.stocked.items():
            seen[sku] = seen.get(sku, 0) | int(page.seen)
            stocked[sku] = stocked.get(sku, 0) | int(hours)
    return {sku: round(HOURS * hours.bit_count() / seen[sku].bit_count()) for sku, hours in stocked.items()}


def of(skus: Iterable[str]) -> dict[str, History]:
    """The histories of these SKUs; one that was neither seen nor sold has none."""
    keys = [(f"{_HISTORY}{sku}", "days") for sku in sorted(set(skus))]
    return {one.sku: one for one in History.batch_get(keys)} if keys else {}


def keep(new: Mapping[str, Mapping[date, Day]], last: date) -> None:
    """Add days to the histories of these SKUs, up to and with `last`; the same days again change nothing.

    A day of a SKU that nobody speaks of sold nothing, and nobody has looked.
    """
    before = of(new)
    first = last - timedelta(days=DAYS_MAX - 1)
    with History.batch_write() as batch:
        for sku, days in new.items():
            known = {**(before[sku].days if sku in before else {}), **days}
            begin = max(first, min(known))
            whole = [begin + timedelta(days=at) for at in range((last - begin).days + 1)]
            told = [known.get(day, Day(0, None)) for day in whole]
            sold, hours = [one.sold for one in told], [one.hours for one in told]
            batch.save(History(f"{_HISTORY}{sku}", last=last.isoformat(), sold=sold, hours=hours))


def rank(skus: Iterable[str], day: date, now: datetime) -> None:
    """Replace the list of what should be bought."""
    Ranked(day=day.isoformat(), skus=list(skus), made_at=clock.iso(now)).save()


def ranked() -> Ranked | None:
    """The list of what should be bought; None before the first day is closed."""
    try:
        return Ranked.get("procurement", "latest", consistent_read=True)
    except Ranked.DoesNotExist:
        return None
