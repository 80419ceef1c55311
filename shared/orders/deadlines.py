"""When an order is looked at again if nothing moves it."""

from __future__ import annotations

from datetime import datetime, timedelta

ASK_AFTER = (timedelta(minutes=2), timedelta(minutes=5))
"""An unpaid order's provider is asked for lost notifications this long after placing."""

LAST_LOOK = timedelta(minutes=10)
"""A closed order's provider is asked once more, this long after the time to pay: money may come late and unnoticed."""

STEP_WITHIN = timedelta(minutes=2)
"""A paid or cleared order moves on within seconds; later than this its message is lost and sent again."""

TRIES_MAX = 5
"""After so many re-sent steps a person looks at it; the step is then sent again once a day."""


def next_look(placed_at: datetime, expires_at: datetime, now: datetime) -> datetime:
    """When an unpaid order is looked at next: the first asking time after `now`, at the latest when it expires."""
    return min([placed_at + after for after in ASK_AFTER if placed_at + after > now] + [expires_at])


def last_look(expires_at: datetime, now: datetime) -> datetime:
    """When an order that is closed now is looked at once more; its pay page serves until `expires_at`."""
    return max(expires_at, now) + LAST_LOOK


def step_due(due_at: datetime, now: datetime) -> datetime | None:
    """When an order that moves on is looked at, or None where it will be soon enough: a new time costs index writes."""
    return None if now + STEP_WITHIN / 2 < due_at <= now + STEP_WITHIN else now + STEP_WITHIN
