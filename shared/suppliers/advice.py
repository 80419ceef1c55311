"""What to buy before it runs out: demand from the history of sales, when to order again, and how much. Pure.

Formulas: demand is a Poisson regression with the time in stock as exposure (McCullagh and Nelder, Generalized Linear
Models, ch. 6), its overdispersion Pearson's. The reorder point and the order quantity are those of Silver, Pyke and
Thomas, Inventory and Production Management in Supply Chains: mean and spread of demand over an uncertain lead time,
Harris's economic order quantity (1913), and the newsvendor's quantile for what expires.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from math import ceil, exp, floor, lgamma, log, sqrt
from statistics import NormalDist
from typing import NamedTuple

from shared.kernel.money import MILLION

WEEK = 7
HISTORY = timedelta(weeks=12)  # what was sold before says little of what will be
STEEPEST = 0.03  # a day: what grows faster than this does not go on to do so
_TREND_USUAL = 0.01  # how much demand is believed to grow or shrink in a day before anything was seen
_WEEKDAYS_USUAL = 0.25  # how much weekdays are believed to differ before anything was seen
_GLIMPSE = 0.01  # of a day in stock: less says nothing
_LARGE = 200.0  # pieces above which a count is as good as a normal distribution


class Sold(NamedTuple):
    """What one day sold. in_stock: the share of the day in which there was something to sell, 0 to 1."""

    day: date
    sold: int
    in_stock: float = 1.0


@dataclass(frozen=True)
class Demand:
    """What a SKU would sell if it never ran out.

    level: pieces of an average day at `on`. trend: growth a day, 0.01 is 1 %. weekdays: Monday first, 1 on average.
    uneven: how much more days differ than chance alone makes them (variance over mean, at least 1). seen: pieces sold,
    that is how much the level may be trusted.
    """

    on: date
    level: float
    trend: float
    weekdays: tuple[float, ...]
    uneven: float
    seen: int

    def day(self, day: date) -> float:
        """Pieces that this day will probably want. A trend is followed for two weeks and stays there."""
        ahead = max(-2 * WEEK, min(2 * WEEK, (day - self.on).days))
        return self.level * exp(self.trend * ahead) * self.weekdays[day.weekday()]

    def over(self, days: float) -> float:
        """Pieces wanted in the days after `on`; the last one may be a part of a day."""
        whole = floor(days)
        total = sum(self.day(self.on + timedelta(days=1 + ahead)) for ahead in range(whole))
        return total + (days - whole) * self.day(self.on + timedelta(days=1 + whole))

    def variance(self, pieces: float) -> float:
        """How uncertain so many wanted pieces are: by chance, and since the level itself was only estimated."""
        return self.uneven * pieces * (1 + pieces / max(1, self.seen))


def demand(history: Sequence[Sold], on: date) -> Demand:
    """What is wanted, estimated from what was sold in the twelve weeks up to and with `on`; a day in which there was
    never anything to sell says nothing."""
    days = [one for one in history if one.in_stock >= _GLIMPSE and on - HISTORY < one.day <= on]
    if not days or not any(one.sold for one in days):
        return Demand(on, 0.0, 0.0, (1.0,) * WEEK, 1.0, 0)
    fit = _Fit(days, on)
    level = sum(fit.rates) / WEEK
    weekdays = tuple(rate / level for rate in fit.rates)
    off = sum((one.sold - fit.wanted(one)) ** 2 / fit.wanted(one) for one in days)
    free = len(days) - min(WEEK, len(days)) / 2 - 1  # weekdays are half believed, half estimated
    uneven = max(1.0, off / free) if free > 0 else 1.0
    return Demand(on, level, fit.trend, weekdays, uneven, sum(one.sold for one in days))


class _Fit:
    """The likeliest rates by weekday and growth a day; given the growth, a rate is what was sold over the days exposed,
    drawn to that of all weekdays by a gamma prior."""

    def __init__(self, days: Sequence[Sold], on: date) -> None:
        self.days, self.on = days, on
        self.trend = 0.0
        low, high = -STEEPEST, STEEPEST
        for _ in range(20):  # the slope falls as the trend rises: halving finds where it is 0
            self.trend = (low + high) / 2
            slope = sum((one.day - on).days * (one.sold - self.wanted(one)) for one in days)
            if slope - self.trend / _TREND_USUAL**2 > 0:
                low = self.trend
            else:
                high = self.trend

    @property
    def trend(self) -> float:
        return self._trend

    @trend.setter
    def trend(self, trend: float) -> None:
        self._trend = trend
        exposed, sold = [0.0] * WEEK, [0] * WEEK
        for one in self.days:
            exposed[one.day.weekday()] += self._exposed(one)
            sold[one.day.weekday()] += one.sold
        mean, believed = sum(sold) / sum(exposed), 1 / _WEEKDAYS_USUAL**2  # pieces: a gamma prior's shape
        self.rates = [(found + believed) / (days + believed / mean) for found, days in zip(sold, exposed, strict=True)]

    def wanted(self, one: Sold) -> float:
        return self.rates[one.day.weekday()] * self._exposed(one)

    def _exposed(self, one: Sold) -> float:
        return one.in_stock * exp(self._trend * (one.day - self.on).days)


@dataclass(frozen=True)
class Terms:
    """On what terms one SKU is bought. Costs and prices of one piece are millionths of a yuan, landed.

    lead_days, lead_spread: from an order to its cards on the shelf, mean and standard deviation. least, most: pieces
    of one order. life_days: until a card expires, None where it does not.
    """

    supplier: str
    cost_e6: int
    price_e6: int
    lead_days: float
    lead_spread: float = 0.0
    least: int = 1
    most: int | None = None
    life_days: int | None = None


@dataclass(frozen=True)
class Policy:
    """What the seller finds dear. service: the chance that an order arrives before the shelf is empty, at least.

    review_days: between two looks at this list. order_e6: what it costs to make one purchase, in work and fees.
    holding_a_year: what money on the shelf costs, as a share. lost_times: how many margins a missed sale costs, since
    some who went away do not come back. safe_life: the share of a card's life after which nobody should still have it.
    """

    service: float = 0.95
    review_days: float = 1.0
    order_e6: int = 5 * MILLION
    holding_a_year: float = 0.20
    lost_times: float = 1.5
    safe_life: float = 0.7


class Shelf(NamedTuple):
    """What there is of a SKU: pieces to sell, and pieces ordered that have not come."""

    sku: str
    on_hand: int
    on_order: int = 0


class Said(NamedTuple):
    zh: str
    en: str


@dataclass(frozen=True)
class Advice:
    """What to buy of one SKU. quantity is 0 where nothing needs to be bought, or can be.

    reorder_at: the position, on hand and on order, at which to order. days_left: how long what is on hand lasts, None
    where nothing is wanted. service: the chance aimed at of not running out before the order arrives.
    """

    sku: str
    supplier: str
    quantity: int
    reorder_at: int
    days_left: float | None
    service: float
    reasons: tuple[Said, ...] = field(default=())


def advise(shelf: Shelf, wanted: Demand, terms: Terms, policy: Policy | None = None) -> Advice:
    """Whether to buy now, how much, and why."""
    return _Plan(shelf, wanted, terms, policy or Policy()).advice


def quantile(mean: float, variance: float, chance: float) -> int:
    """How many pieces are enough with this chance, on the safe side of Poisson's and of the normal distribution.

    Slow sellers are far from normal, and are most of a shop; what is less even than chance alone is far from Poisson.
    """
    normal = max(0, ceil(mean + NormalDist().inv_cdf(chance) * sqrt(variance) - 0.5))  # a count ends half a piece later
    if mean > _LARGE:
        return normal
    pieces, sure = 0, exp(-mean)
    while sure < chance:
        pieces += 1
        sure += exp(pieces * log(mean) - mean - lgamma(pieces + 1))
    return max(pieces, normal) if chance >= 0.5 else min(pieces, normal)


@dataclass(frozen=True)
class _Plan:
    shelf: Shelf
    wanted: Demand
    terms: Terms
    policy: Policy

    @cached_property
    def advice(self) -> Advice:
        due = self.position <= self.reorder_at and self.a_day > 0
        quantity = self.quantity if due else 0
        return Advice(
            self.shelf.sku,
            self.terms.supplier,
            quantity,
            self.reorder_at,
            self.days_left,
            self.service,
            tuple(self.reasons(quantity) if due else ()),
        )

    @property
    def position(self) -> int:
        return self.shelf.on_hand + self.shelf.on_order

    @cached_property
    def a_day(self) -> float:
        """Pieces wanted on an average one of the coming days."""
        return self.wanted.over(2 * WEEK) / (2 * WEEK)

    @cached_property
    def days_left(self) -> float | None:
        return self.shelf.on_hand / self.a_day if self.a_day else None

    @property
    def holding_e6(self) -> float:
        """What one piece on the shelf costs a day."""
        return max(1.0, self.terms.cost_e6 * self.policy.holding_a_year / 365)

    @property
    def lost_e6(self) -> float:
        """What one missed sale costs."""
        return max(0.0, (self.terms.price_e6 - self.terms.cost_e6) * self.policy.lost_times)

    @cached_property
    def economic(self) -> float:
        """Harris: work of ordering against money on the shelf, √(2·demand·order cost / holding cost)."""
        return sqrt(2 * self.a_day * self.policy.order_e6 / self.holding_e6)

    @cached_property
    def service(self) -> float:
        """The chance at which one more piece of safety costs as much as it saves: 1 − holding·quantity / (demand·loss)
        (Silver, Pyke and Thomas); at least what the seller has set."""
        worth = self.a_day * self.lost_e6
        best = 1 - self.holding_e6 * self.economic / worth if worth else 0.0
        return min(0.999, max(self.policy.service, best))

    @cached_property
    def reorder_at(self) -> int:
        """What may be wanted until an order made at the next look is here: the days vary, and so does each day."""
        wanted = self.wanted.over(self.terms.lead_days + self.policy.review_days)
        late = (self.a_day * self.terms.lead_spread) ** 2
        return quantile(wanted, self.wanted.variance(wanted) + late, self.service)

    @cached_property
    def sold_in_time(self) -> int | None:
        """How many may be there at once for the last to be sold in time: the newsvendor's quantile, the margin missed
        against the cost of a card that expires."""
        if self.terms.life_days is None:
            return None
        wanted = self.wanted.over(self.terms.life_days * self.policy.safe_life)
        missed = self.lost_e6 / (self.lost_e6 + self.terms.cost_e6) if self.terms.cost_e6 else 1.0
        return quantile(wanted, self.wanted.variance(wanted), min(0.999, missed))

    @cached_property
    def quantity(self) -> int:
        wished = max(1, self.reorder_at - self.position + round(self.economic))
        if self.sold_in_time is not None:
            room = self.sold_in_time - self.position
            if room < self.terms.least:
                return 0  # the least that he sells would expire here
            wished = min(wished, room)
        wished = max(wished, self.terms.least)
        return min(wished, self.terms.most) if self.terms.most else wished

    def reasons(self, quantity: int) -> Iterable[Said]:
        yield Said(
            f"现有 {self.shelf.on_hand} 张（在途 {self.shelf.on_order} 张），每天约需 {self.a_day:.1f} 张，"
            f"约可卖 {self.days_left:.1f} 天",
            f"{self.shelf.on_hand} on hand and {self.shelf.on_order} on order; about {self.a_day:.1f} are wanted a "
            f"day: what is on hand lasts {self.days_left:.1f} days",
        )
        if abs(self.wanted.trend) >= 0.005:
            zh, en = ("上升", "rising") if self.wanted.trend > 0 else ("下降", "falling")
            share = abs(self.wanted.trend) * WEEK
            yield Said(f"需求每周{zh}约 {share:.0%}", f"demand is {en} by about {share:.0%} a week")
        yield Said(
            f"到货需 {self.terms.lead_days:g} 天（±{self.terms.lead_spread:g}），要有 {self.service:.1%} 的把握不断货，"
            f"不多于 {self.reorder_at} 张即应补货",
            f"goods take {self.terms.lead_days:g} days (±{self.terms.lead_spread:g}): with {self.reorder_at} or fewer, "
            f"the chance not to run out is below {self.service:.1%}",
        )
        if self.sold_in_time is not None and quantity == 0:
            yield Said(
                f"供应商起订 {self.terms.least} 张，到期前卖不完，不建议采购",
                f"the supplier sells {self.terms.least} at least, more than would be sold before they expire: buy none",
            )
        elif quantity == self.terms.most:
            yield Said(f"供应商单次最多 {quantity} 张", f"the supplier sells {quantity} at most")
        elif quantity == self.terms.least > 1:
            yield Said(f"供应商起订 {quantity} 张", f"the supplier sells {quantity} at least")
        elif self.sold_in_time is not None and quantity == self.sold_in_time - self.position:
            yield Said("再多就会在有效期内卖不完", "more would not be sold before they expire")
        else:
            yield Said(
                f"订 {quantity} 张时，采购成本与资金占用之和最小",
                f"with {quantity}, the work of ordering and the money on the shelf cost least together",
            )
