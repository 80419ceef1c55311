"""Whether a rate is what it was: bounds, windows and change detectors whose whole state is a few numbers. Pure.

An *order* is whatever is counted, a *bad* one what should not happen: an order that failed, a card that was void.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from math import log, sqrt
from typing import Any, NamedTuple, Self

Z = 1.96  # 95 % of a normal distribution lies within
USUAL, BROKEN = 0.002, 0.02
"""The rates of void cards between which the sum is tuned: a healthy supplier's, and one who has gone bad."""

TOLERATED = 0.005  # a rate that is surely above this is not chance
CASE_AT, CONFIRM_AT = 5.0, 6.0
LONG, SHORT = 1_000, 300  # orders in a window
MEMORY = 10_000  # orders after which what was seen counts for a third

_BUCKET = 20  # the step in which windows move: 50 small numbers stand for 1,000 orders
_RISE = log(BROKEN / USUAL)
_SINK = log((1 - USUAL) / (1 - BROKEN))


class Counted(NamedTuple):
    """How many orders, and how many of them were bad; fractions where the past fades or a prior is mixed in."""

    orders: float = 0.0
    bad: float = 0.0

    @property
    def rate(self) -> float:
        return self.bad / self.orders if self.orders else 0.0

    def faded(self, orders: int, bad: int, memory: int = MEMORY) -> Counted:
        """With newer ones, before which each older one counts a little less."""
        keep = (1 - 1 / memory) ** orders
        return Counted(self.orders * keep + (1 - keep) * memory, self.bad * keep + bad)


class Bounds(NamedTuple):
    low: float
    high: float


def wilson(counted: Counted, z: float = Z) -> Bounds:
    """Between which a rate lies (Wilson 1927), also where orders are few or none is bad; 0 to 1 before the first."""
    n = max(counted.orders, counted.bad)
    if n <= 0:
        return Bounds(0.0, 1.0)
    p, zz = counted.bad / n, z * z
    middle, reach = p + zz / (2 * n), z * sqrt(p * (1 - p) / n + zz / (4 * n * n))
    return Bounds(max(0.0, (middle - reach) / (1 + zz / n)), min(1.0, (middle + reach) / (1 + zz / n)))


class Prior(NamedTuple):
    """What is believed before anything was seen: a Beta distribution, told as a rate and the orders it is worth."""

    rate: float
    strength: float = 50.0

    def and_then(self, seen: Counted) -> Counted:
        return Counted(seen.orders + self.strength, seen.bad + self.rate * self.strength)


@dataclass(frozen=True)
class Ring:
    """The last 1,000 orders as counts of the bad ones in steps of 20, the newest first.

    filled: orders in the newest step. A window is therefore up to 19 orders shorter than its name.
    """

    filled: int = 0
    bad: tuple[int, ...] = (0,)

    def after(self, orders: int, bad: int = 0) -> Ring:
        """With newer orders, the bad ones at their end; a bad one without an order had been counted as good."""
        filled, steps = self.filled + orders, self.bad
        if filled > _BUCKET:
            more, filled = divmod(filled - 1, _BUCKET)
            filled += 1
            steps = ((0,) * min(more, LONG // _BUCKET) + steps)[: LONG // _BUCKET]
        return Ring(filled, (steps[0] + bad, *steps[1:]))

    def over(self, orders: int = LONG) -> Counted:
        """What the last so many orders came to."""
        steps = self.bad[: orders // _BUCKET]
        return Counted(self.filled + _BUCKET * (len(steps) - 1), sum(steps))


@dataclass(frozen=True)
class Ewma:
    """An average in which the newest value weighs `weight`, and each older one less (Roberts 1959)."""

    value: float
    weight: float

    def after(self, value: float, times: int = 1) -> Ewma:
        keep = (1 - self.weight) ** times
        return replace(self, value=self.value * keep + value * (1 - keep))

    def limit(self, usual: float, sigmas: float = 4.0) -> float:
        """Above this, an average of zeros and ones whose usual rate is known has left it."""
        return usual + sigmas * sqrt(self.weight / (2 - self.weight) * usual * (1 - usual))


@dataclass(frozen=True)
class Cusum:
    """How much more a broken supplier explains the orders than a healthy one, since that was last not so at all.

    Page's test (1954) on zeros and ones: the sum of log-likelihood ratios, never below 0.
    """

    sum: float = 0.0

    def after(self, orders: int, bad: int = 0) -> Cusum:
        return Cusum(max(0.0, self.sum - (orders - bad) * _SINK) + bad * _RISE)


class Alarm(IntEnum):
    """How sure it is that the rate has changed for the worse."""

    NONE = 0
    CASE = 1  # a person looks, and less is bought meanwhile
    CONFIRMED = 2  # nothing more is bought


@dataclass(frozen=True)
class Watch:
    """All that is remembered of the void cards of one supplier in one family.

    lasting: with a long memory, for the score. alarm: stays until a person has looked, since a supplier from whom
    little is bought gives no evidence that he is well again.
    """

    ring: Ring = field(default_factory=Ring)
    cusum: Cusum = field(default_factory=Cusum)
    lasting: Counted = field(default_factory=Counted)
    alarm: Alarm = Alarm.NONE

    def after(self, delivered: int, void: int = 0) -> Watch:
        """With newer deliveries. A card is counted as good when it comes; `void` without one tells that it was not."""
        ring, cusum = self.ring.after(delivered, void), self.cusum.after(delivered, void)
        raised = Alarm.NONE
        if cusum.sum >= CASE_AT:
            sure = cusum.sum >= CONFIRM_AT and wilson(ring.over(SHORT)).low > TOLERATED
            raised = Alarm.CONFIRMED if sure else Alarm.CASE
        return Watch(ring, cusum, self.lasting.faded(delivered, void), max(self.alarm, raised))

    def cleared(self) -> Watch:
        """A person has looked: what was seen stays in the score, and the detectors begin again."""
        return Watch(lasting=self.lasting)

    def json(self) -> dict[str, Any]:
        """Plain numbers and lists, less than 300 bytes."""
        return {
            "ring": [self.ring.filled, *self.ring.bad],
            "cusum": self.cusum.sum,
            "lasting": list(self.lasting),
            "alarm": int(self.alarm),
        }

    @classmethod
    def parse(cls, stored: dict[str, Any]) -> Self:
        """What `json` gave, also after a table has made other number types of it."""
        return cls(
            ring_of(stored["ring"]),
            Cusum(float(stored["cusum"])),
            Counted(*(float(number) for number in stored["lasting"])),
            Alarm(int(stored["alarm"])),
        )


def ring_of(stored: Sequence[Any]) -> Ring:
    filled, *bad = (int(number) for number in stored)
    return Ring(filled, tuple(bad))
