"""Whether a supplier is asked for a SKU: he is left alone while it fails, and tried again by single orders. Pure.

Five failures in a row, or 30 % of at least ten within five minutes, shut it. Then one order in 30 seconds goes through,
and the first that is delivered opens it again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

IN_A_ROW = 5
SHARE = 0.30
OF_AT_LEAST = 10
WINDOW = timedelta(minutes=5)
PROBE_EVERY = timedelta(seconds=30)


class Gate(StrEnum):
    OPEN = "open"  # orders pass
    PROBE = "probe"  # one may pass now
    SHUT = "shut"


@dataclass(frozen=True)
class Pulse:
    """How the orders for one SKU at one supplier have gone. since: the begin of the five minutes that are counted."""

    row: int = 0
    good: int = 0
    bad: int = 0
    since: datetime | None = None
    shut_at: datetime | None = None
    probed_at: datetime | None = None


def gate(pulse: Pulse, now: datetime) -> Gate:
    if pulse.shut_at is None:
        return Gate.OPEN
    last = max(pulse.shut_at, pulse.probed_at or pulse.shut_at)
    return Gate.PROBE if now - last >= PROBE_EVERY else Gate.SHUT


def probing(pulse: Pulse, now: datetime) -> Pulse:
    """An order goes through to see."""
    return replace(pulse, probed_at=now)


def after(pulse: Pulse, good: bool, now: datetime) -> Pulse:
    """The pulse after one more order has ended well, or has not."""
    if good and pulse.shut_at is not None:
        return Pulse(good=1, since=now)
    fresh = pulse.since is not None and now - pulse.since < WINDOW
    counted = replace(
        pulse,
        row=0 if good else pulse.row + 1,
        good=(pulse.good if fresh else 0) + good,
        bad=(pulse.bad if fresh else 0) + (not good),
        since=pulse.since if fresh else now,
    )
    whole = counted.good + counted.bad
    failing = counted.row >= IN_A_ROW or (whole >= OF_AT_LEAST and counted.bad >= SHARE * whole)
    if not good and failing:
        return replace(counted, shut_at=counted.shut_at or now)
    return counted
