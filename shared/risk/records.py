"""Velocity counters, deny and allow lists, and reviews that wait for a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from pynamodb.attributes import JSONAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.indexes import GlobalSecondaryIndex, KeysOnlyProjection

from shared.kernel import clock, ids, records, settings
from shared.kernel.errors import NotFound

OPEN = "open#review"
COUNTED_DAYS = 3  # a counter serves one day; two more leave time to look at it


class ReviewState(StrEnum):
    OPEN = "open"
    APPROVED = "approved"
    REFUSED = "refused"
    OVERDUE = "overdue"


class Counter(records.Record):
    """One entity on one Shanghai day."""

    class Meta(records.Options):
        table_name = settings.table("counters")

    counter = UnicodeAttribute(hash_key=True)
    orders = NumberAttribute(default=0)
    amount_minor = NumberAttribute(default=0)
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


def count(what: str, hashed: str, event: str, amount_minor: int, now: datetime) -> Count:
    """Add an event to an entity's counter of today and return the sums; the same event right after adds nothing."""
    counter = Counter(f"vel#{what}#{hashed}#{clock.shanghai_day(now):%Y%m%d}")
    try:
        records.update(
            counter,
            [
                Counter.orders.add(1),
                Counter.amount_minor.add(amount_minor),
                Counter.last_event.set(event),
                Counter.ttl.set(int((now + timedelta(days=COUNTED_DAYS)).timestamp())),
            ],
            Counter.last_event.does_not_exist() | (Counter.last_event != event),
        )
    except records.Lost:
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


def _list_key(what: str, hashed: str) -> str:
    return f"list#{what}#{hashed}"
