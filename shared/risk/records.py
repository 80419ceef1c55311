"""Velocity counters, deny and allow lists, and reviews that wait for a person."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from random import SystemRandom
from typing import Any, NamedTuple

from pynamodb.attributes import JSONAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.operand import Path
from pynamodb.indexes import GlobalSecondaryIndex, KeysOnlyProjection

from shared.kernel import clock, ids, records, settings
from shared.kernel.errors import Busy, NotFound

OPEN = "open#review"
COUNTED_DAYS = 3  # a counter serves one day; two more leave time to look at it
ATTEMPTS = 10  # meetings with other orders of the same contact or address, before the message comes again

_chance = SystemRandom()


class ReviewState(StrEnum):
    OPEN = "open"
    APPROVED = "approved"
    REFUSED = "refused"
    OVERDUE = "overdue"


class Counter(records.Record):
    """One entity on one Shanghai day.

    Beside what is named here: ``held#{sku}``, cards held unpaid by this day's orders, and for each of these orders
    ``order#{end of its id}``, so that what it held is given back exactly once.
    """

    class Meta(records.Options):
        table_name = settings.table("counters")

    counter = UnicodeAttribute(hash_key=True)
    orders = NumberAttribute(default=0)
    amount_minor = NumberAttribute(default=0)
    lapsed = NumberAttribute(default=0)  # orders that ran out unpaid, less those that were paid
    last_event = UnicodeAttribute(null=True)
    ttl = NumberAttribute(null=True)


class ListEntry(records.Record):
    class Meta(records.Options):
        table_name = settings.table("risk")

    id = UnicodeAttribute(hash_key=True)  # list#{contact|address}#{keyed hash}
    verdict = UnicodeAttribute()  # deny | allow
    reason = UnicodeAttribute()
    added_by = UnicodeAttribute()
    added_at = UnicodeAttribute()
    expires_at = UnicodeAttribute()


class OpenReviews(GlobalSecondaryIndex["Review"]):
    class Meta(records.Options):
        index_name = "open"
        projection = KeysOnlyProjection()

    open = UnicodeAttribute(hash_key=True)
    due_at = UnicodeAttribute(range_key=True)


class Review(records.Record):
    class Meta(records.Options):
        table_name = settings.table("risk")

    id = UnicodeAttribute(hash_key=True)
    order_id = UnicodeAttribute()
    reasons = JSONAttribute()
    state = UnicodeAttribute()
    opened_at = UnicodeAttribute()
    due_at = UnicodeAttribute()
    open = UnicodeAttribute(null=True)
    decided_by = UnicodeAttribute(null=True)
    decided_at = UnicodeAttribute(null=True)
    note = UnicodeAttribute(null=True)
    by_open = OpenReviews()


@dataclass(frozen=True)
class Count:
    orders: int
    amount_minor: int


class Hold(NamedTuple):
    """What an unpaid order holds: SKU → cards. It counts on the day of its placing, for as long as it holds."""

    order_id: str
    placed_at: datetime
    cards: Mapping[str, int]

    @property
    def mark(self) -> Path:
        return Path([f"order#{self.order_id[-16:]}"])  # 80 bits of chance


def hold(
    tx: records.Transaction,
    what: str,
    hashed: str,
    taken: Hold,
    caps: Mapping[str, int | None],
    lapsed_max: int,
) -> None:
    """Count what an order takes, where its entity stays within the caps (SKU → cards, None for no limit).

    The part that loses is named ``hold {what}``. No cap may be less than what is taken.
    """
    conditions: list[Condition] = [Counter.lapsed.does_not_exist() | (Counter.lapsed < lapsed_max)]
    for sku, quantity in taken.cards.items():
        if (cap := caps[sku]) is not None:
            conditions.append(_held(sku).does_not_exist() | (_held(sku) <= cap - quantity))
    condition = conditions[0]
    for other in conditions[1:]:
        condition &= other
    tx.update(
        f"hold {what}",
        _counter(what, hashed, taken.placed_at),
        [
            taken.mark.set(sum(taken.cards.values())),
            *(_held(sku).add(quantity) for sku, quantity in taken.cards.items()),
            _ttl(taken.placed_at),
        ],
        condition,
    )


def give_back(tx: records.Transaction, what: str, hashed: str, taken: Hold, *, lapsed: bool) -> None:
    """An unpaid order ends: it holds nothing any more; refused as ``hold {what}`` if that has been said before."""
    ended = [*_given_back(taken), *([Counter.lapsed.add(1)] if lapsed else [])]
    tx.update(f"hold {what}", _counter(what, hashed, taken.placed_at), ended, taken.mark.exists())


def count(what: str, hashed: str, event: str, amount_minor: int, now: datetime, taken: Hold | None = None) -> Count:
    """Add an event to an entity's counter of today and return the sums; the same event right after adds nothing.

    taken: what the order held until it was paid, which is given back; its payment makes up for an order that lapsed.
    """
    counter = _counter(what, hashed, now)
    paid = [
        Counter.orders.add(1),
        Counter.amount_minor.add(amount_minor),
        Counter.last_event.set(event),
        _ttl(now),
    ]
    if taken:
        ended = [*_given_back(taken), Counter.lapsed.add(-1)]
        held_on = _counter(what, hashed, taken.placed_at)
        if held_on.counter != counter.counter:  # placed before midnight, paid after it
            _update(held_on, ended, taken.mark.exists())
        elif _update(counter, [*paid, *ended], taken.mark.exists()):
            return Count(int(counter.orders), int(counter.amount_minor))
    if not _update(counter, paid, Counter.last_event.does_not_exist() | (Counter.last_event != event)):
        counter.refresh(consistent_read=True)
    return Count(int(counter.orders), int(counter.amount_minor))


def tries(what: str, hashed: str, now: datetime) -> int:
    """Count one more failed try of an entity in this quarter of an hour and return how many there were."""
    quarter = int(now.timestamp()) // 900
    counter = Counter(f"try#{what}#{hashed}#{quarter}")
    counter.update([Counter.orders.add(1), Counter.ttl.set((quarter + 2) * 900)])
    return int(counter.orders)


def listed(keys: Sequence[tuple[str, str]], now: datetime) -> dict[str, str]:
    """The verdicts that hold now: what → deny | allow, for (what, keyed hash) pairs."""
    found = ListEntry.batch_get([_list_key(what, hashed) for what, hashed in keys])
    moment = clock.iso(now)
    return {str(entry.id).split("#")[1]: str(entry.verdict) for entry in found if str(entry.expires_at) > moment}


def put_on_list(what: str, hashed: str, verdict: str, reason: str, by: str, now: datetime, days: int) -> None:
    ListEntry(
        _list_key(what, hashed),
        verdict=verdict,
        reason=reason,
        added_by=by,
        added_at=clock.iso(now),
        expires_at=clock.iso(now + timedelta(days=days)),
    ).save()


def open_review(
    tx: records.Transaction, review_id: str, order_id: str, reasons: Sequence[str], due_at: datetime, now: datetime
) -> None:
    tx.insert(
        "review",
        Review(
            review_id,
            order_id=order_id,
            reasons=list(reasons),
            state=ReviewState.OPEN,
            opened_at=clock.iso(now),
            due_at=clock.iso(due_at),
            open=OPEN,
        ),
    )


def review(review_id: str) -> Review:
    """The review, or NotFound; the lists lie in the same table, and an entry of theirs is none."""
    try:
        if ids.is_id("rev", review_id):
            return Review.get(review_id, consistent_read=True)
    except Review.DoesNotExist:
        pass
    raise NotFound


def close_review(
    tx: records.Transaction, review_id: str, state: ReviewState, by: str, note: str, now: datetime
) -> None:
    """Decide an open review; the part that loses is named ``review``."""
    tx.update(
        "review",
        Review(review_id),
        [
            Review.state.set(state),
            Review.decided_by.set(by),
            Review.decided_at.set(clock.iso(now)),
            Review.note.set(note),
            Review.open.remove(),
        ],
        Review.state == ReviewState.OPEN,
    )


def open_reviews(limit: int) -> list[Review]:
    """The open reviews, the most urgent first."""
    found = [str(item.id) for item in Review.by_open.query(OPEN, limit=limit, page_size=limit)]
    by_id = {str(item.id): item for item in Review.batch_get(found)} if found else {}
    return [by_id[review_id] for review_id in found if review_id in by_id]


def _counter(what: str, hashed: str, day: datetime) -> Counter:
    return Counter(f"vel#{what}#{hashed}#{clock.shanghai_day(day):%Y%m%d}")


def _held(sku: str) -> Path:
    return Path([f"held#{sku}"])  # a list of one name: in a text, a dot would be the way into a map


def _given_back(taken: Hold) -> list[Any]:
    return [taken.mark.remove(), *(_held(sku).add(-quantity) for sku, quantity in taken.cards.items())]


def _ttl(day: datetime) -> Any:
    return Counter.ttl.set(int((day + timedelta(days=COUNTED_DAYS)).timestamp()))


def _update(counter: Counter, actions: Sequence[Any], condition: Condition) -> bool:
    """Whether the condition held; meeting the transaction of another order is no answer, so it is tried again."""
    for attempt in range(ATTEMPTS):
        try:
            records.update(counter, actions, condition)
            return True
        except records.Lost as lost:
            if lost.refused:
                return False
            time.sleep(_chance.uniform(0, 0.02 * (attempt + 1)))  # seconds: spreads those who met
    raise Busy


def _list_key(what: str, hashed: str) -> str:
    return f"list#{what}#{hashed}"
