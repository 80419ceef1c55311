"""When an order is looked at again if nothing moves it."""

from __future__ import annotations

from datetime import datetime, timedelta

ASK_EVERY = timedelta(minutes=1)
"""An unpaid order's provider is asked so often for lost notifications: with the minute that passes between two runs, a
payment that nobody told us of is known within two."""

LAST_LOOK = timedelta(minutes=10)
"""A closed order's provider is asked once more, this long after the time to pay: money may come late and unnoticed."""

STEP_WITHIN = timedelta(minutes=2)
"""A paid or cleared order moves on within seconds; later than this its message is lost and sent again."""

STEP_AT_LEAST = timedelta(seconds=20)
"""A step that is looked at sooner than this would often be sent again while it is under way."""

TRIES_MAX = 5
"""After so many re-sent steps a person looks at it; the step is then sent again once a day."""


def next_look(placed_at: datetime, expires_at: datetime, now: datetime) -> datetime:
    """When an unpaid order is looked at next: the first asking time after `now`, at the latest when it expires."""
    return min(placed_at + ASK_EVERY * ((now - placed_at) // ASK_EVERY + 1), expires_at)


def step_due(due_at: datetime, now: datetime) -> datetime | None:
    """When an order that moves on is looked at, or None where it will be soon enough: a new time costs index writes."""
    return None if now + STEP_AT_LEAST < due_at <= now + STEP_WITHIN else now + STEP_WITHIN
