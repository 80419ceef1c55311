"""The levels table: hints that the stream of the cards keeps within seconds, and that every night is held to the cards.

A level may be wrong by what the stream lost or brought twice, until the next recount; no card is sold by it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from pynamodb.attributes import JSONAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.indexes import GlobalSecondaryIndex, KeysOnlyProjection

from shared.insights import levels as pure
from shared.insights.levels import ALL, Key, Sums
from shared.insights.levels import Level as Level
from shared.kernel import clock, records, settings
from shared.kernel.errors import Busy

CHUNK = records.LIMIT - 1  # levels written in one transaction, beside the mark that they are
MARK_LIVES = timedelta(days=2)  # twice as long as a stream can bring a batch again
TRIES = 5  # against the batches of other shards: each waits a little longer for the same row
SKU = "sku"
NEAR = "near"


class Listed(GlobalSecondaryIndex["StoredLevel"]):
    """Sparse: the levels of whole SKUs. Its keys never change, so it is written once for each SKU."""

    class Meta(records.Options):
        index_name = "listed"
        projection = KeysOnlyProjection()

    listed = UnicodeAttribute(hash_key=True)
    of = UnicodeAttribute(range_key=True)


class StoredLevel(records.Record):
    class Meta(records.Options):
        table_name = settings.table("levels")

    of = UnicodeAttribute(hash_key=True)
    part = UnicodeAttribute(range_key=True, default=ALL)
    available = NumberAttribute(default=0)
    held = NumberAttribute(default=0)
    sold = NumberAttribute(default=0)
    frozen = NumberAttribute(default=0)
    expired = NumberAttribute(default=0)
    void = NumberAttribute(default=0)
    moves = NumberAttribute(default=0)
    listed = UnicodeAttribute(null=True)
    told_at = UnicodeAttribute(null=True)  # when somebody was told that it is low; gone once it is not
    set_right_at = UnicodeAttribute(null=True)  # when a recount had to
    by_kind = Listed()

    @property
    def key(self) -> Key:
        return Key(str(self.of), str(self.part))

    @property
    def level(self) -> Level:
        return Level(*(int(getattr(self, name)) for name in (*pure.STATES, "moves")))


class Mark(records.Record):
    """Says that this part of a batch is counted: the stream brings a batch again when its reader died."""

    class Meta(records.Options):
        table_name = settings.table("levels")

    of = UnicodeAttribute(hash_key=True)
    part = UnicodeAttribute(range_key=True)
    ttl = NumberAttribute()


class Near(records.Record):
    """How many cards of a SKU expire on which of the next days, as the last stocktake saw them."""

    class Meta(records.Options):
        table_name = settings.table("levels")

    of = UnicodeAttribute(hash_key=True, default=NEAR)
    part = UnicodeAttribute(range_key=True)  # the SKU
    days: JSONAttribute = JSONAttribute()
    seen_at = UnicodeAttribute()


class Recount(records.Record):
    """What the last recount found."""

    class Meta(records.Options):
        table_name = settings.table("levels")

    of = UnicodeAttribute(hash_key=True, default="recount")
    part = UnicodeAttribute(range_key=True, default="last")
    ended_at = UnicodeAttribute()
    cards = NumberAttribute()
    drifted = NumberAttribute()  # levels that were wrong
    left = NumberAttribute()  # levels that moved too much to be sure of


def levels(skus: Iterable[str]) -> dict[str, Level]:
    """The levels of these SKUs in one call, a moment old; a SKU that never had a card is left out."""
    keys = {tuple(pure.of_sku(sku)) for sku in skus}
    found = StoredLevel.batch_get(sorted(keys)) if keys else ()
    return {str(one.of).removeprefix("sku#"): one.level.shown for one in found}


def latest(skus: Iterable[str]) -> dict[str, tuple[Level, bool]]:
    """The levels of these SKUs at this moment, and whether somebody was told that they are low."""
    keys = sorted({tuple(pure.of_sku(sku)) for sku in skus})
    found = StoredLevel.batch_get(keys, consistent_read=True) if keys else ()
    return {str(one.of).removeprefix("sku#"): (one.level, bool(one.told_at)) for one in found}


def set_told(sku: str, at: datetime | None) -> None:
    """Remember that somebody was told that the SKU is low, or that it no longer is."""
    told = StoredLevel.told_at.set(clock.iso(at)) if at else StoredLevel.told_at.remove()
    StoredLevel(*pure.of_sku(sku)).update([told])


def parts(sku: str) -> dict[Key, Level]:
    """The levels of a SKU: the whole and each channel's; empty if it never had a card."""
    return {one.key: one.level.shown for one in StoredLevel.query(pure.of_sku(sku).of)}


def listed(after: str, limit: int) -> list[str]:
    """The next SKUs that have or had cards, in the order of their names."""
    more = Listed.of > pure.of_sku(after).of
    found = StoredLevel.by_kind.query(SKU, more, limit=limit, page_size=limit)
    return [str(one.of).removeprefix("sku#") for one in found]


def everything() -> Iterator[tuple[Key, Level]]:
    """Every level there is. It reads the whole table: for recounts."""
    for one in StoredLevel.scan(StoredLevel.moves.exists(), consistent_read=True):
        if one.key.counts:
            yield one.key, one.level


def set_right(key: Key, counted: Sequence[int], moves: int, now: datetime) -> None:
    """Give a level the numbers that were counted, or raise Lost if it has counted a move since `moves`."""
    unmoved = StoredLevel.moves == moves
    records.update(
        StoredLevel(*key),
        [
            *(getattr(StoredLevel, state).set(number) for state, number in zip(pure.STATES, counted, strict=True)),
            StoredLevel.moves.set(moves),
            StoredLevel.set_right_at.set(clock.iso(now)),
            *([StoredLevel.listed.set(SKU)] if key.sku else []),
        ],
        unmoved if moves else unmoved | StoredLevel.moves.does_not_exist(),
        "level",
    )


def save_near(sku: str, days: Mapping[str, int], now: datetime) -> None:
    """Replace what is known of the SKU's cards that expire soon."""
    if days:
        Near(NEAR, sku, days=dict(days), seen_at=clock.iso(now)).save()
    else:
        Near(NEAR, sku).delete()


def near(after: str, limit: int) -> list[Near]:
    """The next SKUs with cards that expire soon, in the order of their names."""
    return list(Near.query(NEAR, Near.part > after if after else None, limit=limit, page_size=limit))


def all_near() -> Iterator[Near]:
    """The whole list: for stocktakes."""
    return iter(Near.query(NEAR, consistent_read=True))


def near_of(sku: str) -> dict[str, int]:
    """Day → how many cards of the SKU expire on it, of the days that are near."""
    try:
        return dict(Near.get(NEAR, sku).days)
    except Near.DoesNotExist:
        return {}


def last_recount() -> Recount | None:
    try:
        return Recount.get("recount", "last")
    except Recount.DoesNotExist:
        return None


def save_recount(cards: int, drifted: int, left: int, now: datetime) -> None:
    Recount(ended_at=clock.iso(now), cards=cards, drifted=drifted, left=left).save()


def of_lot(lot_id: str) -> Level:
    """The level of a lot, a moment old; empty before its first card is counted."""
    with suppress(StoredLevel.DoesNotExist):
        return StoredLevel.get(*pure.of_lot(lot_id)).level.shown
    return Level()


def add(sums: Mapping[Key, Sums], batch: str, now: datetime) -> None:
    """Add to the levels, once for each batch whatever is retried; Busy if others kept the same rows."""
    mark = hashlib.sha256(batch.encode()).hexdigest()[:32]
    rest = sorted(sums.items())  # always in the same order: the parts of a batch that comes again are the same parts
    for number, start in enumerate(range(0, len(rest), CHUNK)):
        _add(rest[start : start + CHUNK], Mark(f"batch#{mark}", str(number), ttl=int((now + MARK_LIVES).timestamp())))


def _add(sums: Sequence[tuple[Key, Sums]], mark: Mark) -> None:
    for attempt in range(TRIES):
        try:
            with records.Transaction() as tx:
                tx.insert("mark", mark)
                for key, more in sums:
                    tx.update("level", StoredLevel(*key), _additions(key, more))
        except records.Lost as lost:
            if "mark" in lost.refused:
                return
            time.sleep(0.02 * (attempt + 1))  # seconds: the other transaction takes less than ten milliseconds
        else:
            return
    raise Busy


def _additions(key: Key, more: Sums) -> list[Any]:
    actions = [getattr(StoredLevel, state).add(count) for state, count in more.numbers.items() if count]
    actions += [StoredLevel.listed.set(SKU)] if key.sku else []
    return [*actions, StoredLevel.moves.add(more.moves)]
