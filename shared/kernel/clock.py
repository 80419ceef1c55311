"""The only reader of the wall clock, and the two forms in which time is written down."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone

SHANGHAI = timezone(timedelta(hours=8), "Asia/Shanghai")  # no daylight saving since 1991, so no zone data is needed


def now() -> datetime:
    return datetime.now(UTC)


def iso(moment: datetime) -> str:
    """UTC to the millisecond, fixed width, so that text order is time order."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def parse(text: str) -> datetime:
    """The moment of an ISO 8601 text; any other text, also one without a zone, raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a moment needs a time zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("beyond the calendar") from None


def shanghai_day(moment: datetime) -> date:
    """The business day: the calendar date in Shanghai."""
    return moment.astimezone(SHANGHAI).date()


Ticking = Callable[[], datetime]


def since(start: datetime) -> Ticking:
    """A clock that stands at `start` now and goes on from there: for work that takes longer than a moment."""
    began = time.monotonic()
    return lambda: start + timedelta(seconds=time.monotonic() - began)
