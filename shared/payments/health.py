"""Whether a provider answers: who does not is taken out of the choices, and put back to try again. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

SILENT_MAX = 5
"""Calls without an answer in a row: one is chance, five are an outage."""

OUT_FIRST = timedelta(minutes=1)
OUT_LONGEST = timedelta(minutes=15)

WINDOW = timedelta(minutes=5)


def out_for(silent: int) -> timedelta | None:
    """How long a provider is not offered that was silent so many times in a row: after that one buyer tries it."""
    if silent < SILENT_MAX:
        return None
    return min(OUT_FIRST * (1 << min(silent - SILENT_MAX, 8)), OUT_LONGEST)


def window_of(now: datetime) -> datetime:
    """The start of the five minutes that `now` falls into."""
    return now - timedelta(seconds=now.timestamp() % WINDOW.total_seconds())
