"""How demand is read from sales, and whether what is advised costs less than a fixed rule on simulated shops."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cache
from math import exp, sqrt
from statistics import NormalDist, mean
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.kernel.money import MILLION
from shared.suppliers.advice import (
    Demand,
    Policy,
    Shelf,
    Sold,
    Terms,
    advise,
    demand,
    quantile,
)
from tests.crowd import SCALE

TODAY = date(2026, 11, 22)  # a Sunday
EVEN = (1.0,) * 7
WEEKEND = (0.8, 0.8, 0.9, 0.9, 1.1, 1.35, 1.15)
SEEDS = 40 * SCALE


def day(back: int) -> date:
    return TODAY - timedelta(days=back)


def steady(level: float = 10.0, trend: float = 0.0, uneven: float = 1.0) -> Demand:
    return Demand(TODAY, level, trend, EVEN, uneven, 1_000)


TERMS = Terms("S1", cost_e6=20 * MILLION, price_e6=25 * MILLION, lead_days=3.0, lead_spread=1.0)


def poisson(chance: random.Random, expected: float) -> int:
    """Knuth's method, in pieces that exp() can hold."""
    count, left = 0, expected
    while left > 0:
        part = min(left, 30.0)
        limit, product = exp(-part), chance.random()
        while product > limit:
            count, product = count + 1, product * chance.random()
        left -= part
    return count


@dataclass(frozen=True)
class Truth:
    """What buyers of a simulated shop want on each day."""

    level: float
    trend: float = 0.0
    weekdays: tuple[float, ...] = WEEKEND

    def on(self, when: date) -> float:
        return self.level * exp(self.trend * (when - TODAY).days) * self.weekdays[when.weekday()]

    def history(self, chance: random.Random, days: int, out_of_stock: float) -> list[Sold]:
        """Sales of the days until today; some days run out, at a moment that has nothing to do with their demand."""
        found = []
        for back in range(days, 0, -1):
            in_stock = chance.random() if chance.random() < out_of_stock else 1.0
            found.append(Sold(day(back - 1), poisson(chance, self.on(day(back - 1)) * in_stock), in_stock))
        return found


# --- demand ----------------------------------------------------------------------------------------------------------


def test_what_never_sold_is_not_wanted_and_what_was_never_there_is_not_known() -> None:
    for history in ([], [Sold(TODAY, 0)], [Sold(TODAY, 0, in_stock=0.0)]):
        assert demand(history, TODAY).over(30) == 0


def test_half_a_day_in_stock_counts_as_half_a_day() -> None:
    whole = demand([Sold(day(back), 10) for back in range(28)], TODAY)
    half = demand([Sold(day(back), 5, in_stock=0.5) for back in range(28)], TODAY)
    assert whole.level == pytest.approx(10, rel=0.01)
    assert half.level == pytest.approx(10, rel=0.05)


def test_days_out_of_stock_say_nothing_about_demand() -> None:
    history = [Sold(day(back), 10) for back in range(28)]
    gaps = [replaced if one.day.day % 3 else Sold(one.day, 0, 0.0) for one in history for replaced in [one]]
    assert demand(gaps, TODAY).level == pytest.approx(demand(history, TODAY).level, rel=0.02)


def test_saturdays_are_told_from_mondays_and_growth_from_decline() -> None:
    for trend in (-0.02, 0.02):
        truth = Truth(40.0, trend)
        history = [Sold(day(back), round(truth.on(day(back)))) for back in range(56)]
        found = demand(history, TODAY)
        assert found.weekdays == pytest.approx([share / mean(WEEKEND) for share in WEEKEND], abs=0.08)
        assert found.trend == pytest.approx(trend, abs=0.002)
        assert found.over(7) == pytest.approx(sum(truth.on(TODAY + timedelta(days=1 + n)) for n in range(7)), rel=0.05)


def test_a_trend_is_not_followed_for_ever() -> None:
    growing = steady(10.0, trend=0.03)
    assert growing.day(TODAY + timedelta(days=14)) == growing.day(TODAY + timedelta(days=300))


@given(st.lists(st.tuples(st.integers(0, 200), st.floats(0, 1)), max_size=100))
def test_any_history_gives_a_demand_that_makes_sense(days: list[tuple[int, float]]) -> None:
    history = [Sold(day(back), sold if share else 0, share) for back, (sold, share) in enumerate(days)]
    found = demand(history, TODAY)
    assert found.level >= 0
    assert abs(found.trend) <= 0.03
    assert found.uneven >= 1
    assert all(share >= 0 for share in found.weekdays)
    assert mean(found.weekdays) == pytest.approx(1)
    assert 0 <= found.over(3.5) <= found.over(4) <= found.over(30)


class Error(NamedTuple):
    """Of an estimate of the next week: its distance from the truth, as a share; and without corrected days."""

    corrected: float
    plain: float


def _error(seed: int, truth: Truth) -> Error:
    history = truth.history(random.Random(seed), 56, out_of_stock=0.3)
    real = sum(truth.on(TODAY + timedelta(days=1 + ahead)) for ahead in range(7))
    plain = [one._replace(in_stock=1.0) for one in history]
    return Error(*(demand(one, TODAY).over(7) / real - 1 for one in (history, plain)))


def _allowed(truth: Truth) -> float:
    """The spread of the best unbiased estimate of next week there can be, by the bound of Cramér and Rao.

    A level and a growth are fitted to Poisson counts: their information is the sum of w, w·t and w·t² over the days, w
    being what is expected to be sold, and next week lies around t = 4. Weekdays add nothing to a whole week.
    """
    weights = [(-back, truth.on(day(back)) * 0.85) for back in range(56)]
    one, first, second = (sum(weight * at**power for at, weight in weights) for power in range(3))
    return sqrt((second - 2 * 4 * first + 16 * one) / (one * second - first**2))


@pytest.mark.parametrize("truth", [Truth(3.0), Truth(12.0, 0.01), Truth(12.0, -0.01), Truth(60.0, 0.0, EVEN)])
def test_demand_behind_stock_outs_is_found_about_as_well_as_it_can_be(truth: Truth) -> None:
    """A tenth beyond the bound is allowed, since a day in stock by 85 % on average costs more than 85 % of all days
    would; and 3.3 standard deviations of a variance that is measured in so many runs."""
    errors = [_error(seed, truth) for seed in range(SEEDS)]
    off, plain = ([getattr(error, name) for error in errors] for name in Error._fields)
    spread, allowed = sqrt(mean(error * error for error in off)), _allowed(truth)
    print(
        f"\n{truth.level:g} a day {truth.trend:+.0%}: error {mean(off):+.1%} on average, {spread:.1%} in spread "
        f"(bound {allowed:.1%}); not corrected {mean(plain):+.1%}"
    )

    assert spread <= 1.1 * allowed * sqrt(1 + 3.3 * sqrt(2 / SEEDS))
    assert abs(mean(off)) <= allowed / 2
    assert mean(plain) < -0.10  # 30 % of the days sold half: that is 15 %


def test_uneven_days_are_noticed() -> None:
    chance = random.Random(1)
    even = [Sold(day(back), poisson(chance, 20)) for back in range(56)]
    bursts = [Sold(day(back), 10 * poisson(chance, 2)) for back in range(56)]
    assert demand(even, TODAY).uneven < 1.6
    assert 6 < demand(bursts, TODAY).uneven < 16


# --- when and how much -----------------------------------------------------------------------------------------------


@given(st.floats(0.05, 400), st.floats(1, 5), st.floats(0.5, 0.999))
def test_a_quantile_grows_with_its_chance_and_is_nearly_normal_where_many_are_wanted(
    expected: float, uneven: float, chance: float
) -> None:
    pieces = quantile(expected, expected * uneven, chance)
    assert pieces >= 0
    assert quantile(expected, expected * uneven, min(0.9995, chance + 0.0005)) >= pieces
    if expected > 50:
        normal = expected + NormalDist().inv_cdf(chance) * sqrt(expected * uneven)
        assert pieces == pytest.approx(normal, abs=3)


def test_quantiles_of_slow_sellers_are_those_of_poisson() -> None:
    """Tables: P(X ≤ 2 | 1) = 0.9197, P(X ≤ 3 | 1) = 0.9810, P(X ≤ 8 | 5) = 0.9319, P(X ≤ 9 | 5) = 0.9682."""
    assert [quantile(1.0, 1.0, chance) for chance in (0.91, 0.92, 0.98, 0.985)] == [2, 3, 3, 4]
    assert [quantile(5.0, 5.0, chance) for chance in (0.93, 0.95, 0.97)] == [8, 9, 10]


def test_a_full_shelf_needs_nothing_and_an_empty_one_does() -> None:
    assert advise(Shelf("A", 500), steady(), TERMS).quantity == 0
    assert advise(Shelf("A", 500), steady(), TERMS).reasons == ()
    assert advise(Shelf("A", 0), steady(), TERMS).quantity > 0
    assert advise(Shelf("A", 0, on_order=500), steady(), TERMS).quantity == 0


def test_what_nobody_wants_is_not_bought() -> None:
    assert advise(Shelf("A", 0), demand([], TODAY), TERMS).quantity == 0


def test_each_uncertainty_and_each_cost_has_its_part_in_when_to_order() -> None:
    def reorder_at(wanted: Demand, policy: Policy | None = None, **terms: int | float) -> int:
        return advise(Shelf("A", 0), wanted, replace(TERMS, **terms), policy).reorder_at  # type: ignore[arg-type]

    base = reorder_at(steady())
    assert reorder_at(steady(), lead_spread=3.0) > base
    assert reorder_at(steady(uneven=3.0)) > base
    assert reorder_at(replace(steady(), seen=10)) > base  # little was sold: the level is hardly known
    assert reorder_at(steady(), Policy(review_days=3.0)) > base
    assert reorder_at(steady(), price_e6=60 * MILLION) > base  # a missed sale costs eight times as much


numbers = {
    "level": st.floats(0.1, 200),
    "lead": st.floats(0, 20),
    "spread": st.floats(0, 5),
    "on_hand": st.integers(0, 300),
}


@given(**numbers)
def test_longer_or_less_certain_deliveries_and_more_uneven_days_never_mean_to_order_later(
    level: float, lead: float, spread: float, on_hand: int
) -> None:
    terms = replace(TERMS, lead_days=lead, lead_spread=spread)
    shelf = Shelf("A", on_hand)
    base = advise(shelf, steady(level), terms).reorder_at

    assert advise(shelf, steady(level), replace(terms, lead_days=lead + 2)).reorder_at >= base
    assert advise(shelf, steady(level), replace(terms, lead_spread=spread + 2)).reorder_at >= base
    assert advise(shelf, steady(level, uneven=3.0), terms).reorder_at >= base
    assert advise(shelf, steady(level * 1.5), terms).reorder_at >= base
    assert advise(shelf, steady(level), terms, Policy(service=0.999)).reorder_at >= base


@given(
    **numbers,
    least=st.integers(1, 100),
    more=st.none() | st.integers(0, 500),
    life=st.none() | st.integers(1, 90),
)
def test_a_quantity_is_one_that_the_supplier_sells_and_the_shop_can_sell_in_time(
    level: float, lead: float, spread: float, on_hand: int, least: int, more: int | None, life: int | None
) -> None:
    most = None if more is None else least + more
    terms = Terms("S1", 20 * MILLION, 25 * MILLION, lead, spread, least, most, life)
    found = advise(Shelf("A", on_hand), steady(level), terms)

    assert found.quantity == 0 or least <= found.quantity <= (most or found.quantity)
    if life and found.quantity:
        wanted = level * life * 0.7
        assert on_hand + found.quantity <= wanted + 4 * sqrt(wanted) + 4
    if on_hand > found.reorder_at:
        assert found.quantity == 0
    for reason in found.reasons:
        assert reason.zh
        assert reason.en


def test_dear_money_buys_less_at_once_and_dear_work_buys_more() -> None:
    def quantity(**policy: float) -> int:
        return advise(Shelf("A", 0), steady(), TERMS, replace(Policy(), **policy)).quantity  # type: ignore[arg-type]

    assert quantity(holding_a_year=2.0) < quantity() < quantity(order_e6=50 * MILLION)


def test_cards_that_expire_soon_are_bought_in_small_quantities_and_the_reason_is_told() -> None:
    short = advise(Shelf("A", 0), steady(), replace(TERMS, life_days=10))
    assert short.quantity < advise(Shelf("A", 0), steady(), TERMS).quantity
    assert "expire" in short.reasons[-1].en

    none = advise(Shelf("A", 0), steady(0.5), replace(TERMS, life_days=10, least=100))
    assert none.quantity == 0
    assert none.reasons[-1].zh == "供应商起订 100 张，到期前卖不完，不建议采购"


def test_reasons_name_the_figures_they_rest_on() -> None:
    found = advise(Shelf("A", 20, 5), steady(10.0, trend=0.01), TERMS)
    zh, en = ("\n".join(texts) for texts in zip(*found.reasons, strict=True))
    for words in (
        "20 on hand and 5 on order",
        "demand is rising by about 7% a week",
        "3 days (±1)",
        str(found.reorder_at),
    ):
        assert words in en
    assert "现有 20 张（在途 5 张）" in zh
    assert "需求每周上升约 7%" in zh
    assert f"不多于 {found.reorder_at} 张即应补货" in zh
    assert f"with {found.reorder_at} or fewer" in en


# --- a simulated shop ------------------------------------------------------------------------------------------------

Rule = Callable[[Shelf, list[Sold], date], int]

LEARNED, RUN = 56, 120  # days of sales before the rule decides, days in which it does


class Cost(NamedTuple):
    """Of one shop in yuan, and the share of its buyers who went away."""

    yuan: float
    lost: float


def run(rule: Rule, truth: Truth, terms: Terms, policy: Policy, seed: int) -> Cost:
    """One shop, day by day: cards come in the morning, buyers through the day, the rule decides in the evening.

    Whatever the rule, a seed brings the same buyers: demand and lead times are drawn from generators of their own.
    """
    buyers, carriers = random.Random(f"buyers {seed}"), random.Random(f"carriers {seed}")
    history = truth.history(random.Random(f"past {seed}"), LEARNED, out_of_stock=0.1)
    lots: deque[list[int]] = deque([[int(truth.on(TODAY) * terms.lead_days * 2) + 1, RUN]])
    coming: list[tuple[int, int]] = []
    cost, wanted_ever, lost_ever = 0.0, 0, 0
    for at in range(1, RUN + 1):
        today = TODAY + timedelta(days=at)
        for _, quantity in [one for one in coming if one[0] <= at]:
            lots.append([quantity, at + terms.life_days if terms.life_days else RUN + 1])
        coming = [one for one in coming if one[0] > at]
        while lots and lots[0][1] <= at < RUN:
            cost += lots.popleft()[0] * terms.cost_e6
        on_hand = sum(lot[0] for lot in lots)
        wanted = poisson(buyers, truth.on(today))
        sold = left = min(wanted, on_hand)
        while left:
            taken = min(left, lots[0][0])
            lots[0][0] -= taken
            left -= taken
            if not lots[0][0]:
                lots.popleft()
        lost = wanted - sold
        # Buyers come evenly: what was sold before the shelf was empty tells how long it was not.
        history.append(Sold(today, sold, (sold + 1) / (wanted + 1) if lost else 1.0))
        cost += lost * (terms.price_e6 - terms.cost_e6) * policy.lost_times
        cost += (on_hand - sold) * terms.cost_e6 * policy.holding_a_year / 365
        wanted_ever, lost_ever = wanted_ever + wanted, lost_ever + lost

        quantity = rule(Shelf("A", on_hand - sold, sum(each for _, each in coming)), history, today)
        if quantity:
            cost += policy.order_e6
            lead = max(1, round(carriers.gauss(terms.lead_days, terms.lead_spread)))
            coming.append((at + lead, quantity))
    return Cost(cost / MILLION, lost_ever / max(1, wanted_ever))


def advised(terms: Terms, policy: Policy) -> Rule:
    def decide(shelf: Shelf, history: list[Sold], today: date) -> int:
        return advise(shelf, demand(history, today), terms, policy).quantity

    return decide


def fixed(terms: Terms, at_days: float, for_days: float) -> Rule:
    """The rule of a spreadsheet: below so many days' average sales, buy for so many days; the average is that of the
    eight weeks before the shop was handed over to it."""

    def decide(shelf: Shelf, history: list[Sold], today: date) -> int:
        average = mean(one.sold for one in history[:LEARNED])
        due = shelf.on_hand + shelf.on_order <= average * at_days
        return max(terms.least, round(average * for_days)) if due else 0

    return decide


SHOPS = {
    "steady": (Truth(12.0), TERMS),
    "growing": (Truth(8.0, 0.008), TERMS),
    "shrinking": (Truth(20.0, -0.01), replace(TERMS, life_days=60)),
    "slow": (Truth(0.8), replace(TERMS, lead_days=5.0)),
    "expiring": (Truth(6.0), replace(TERMS, life_days=20)),
}
FIXED = [(5.0, 7.0), (7.0, 14.0), (10.0, 30.0)]  # what a careful shopkeeper writes down for three days' delivery
SHOP_SEEDS = 4 * SCALE


@cache
def costs(name: str) -> list[Cost]:
    """Of one shop by our advice, and by each fixed rule: means of all seeds."""
    truth, terms = SHOPS[name]
    policy = Policy()
    found = []
    for rule in (advised(terms, policy), *(fixed(terms, *each) for each in FIXED)):
        runs = [run(rule, truth, terms, policy, seed) for seed in range(SHOP_SEEDS)]
        found.append(Cost(mean(one.yuan for one in runs), mean(one.lost for one in runs)))
    return found


@pytest.mark.parametrize("name", SHOPS)
def test_in_no_shop_is_any_of_the_fixed_rules_much_better_than_the_advice(name: str) -> None:
    ours, *theirs = costs(name)
    print(f"\n{name:10}", *(f"{each.yuan:,.0f} yuan, {each.lost:.1%} lost;" for each in (ours, *theirs)))

    assert ours.yuan <= 1.1 * min(each.yuan for each in theirs)  # by luck a rule of days may fit one shop
    assert ours.lost < 0.01


def test_over_all_shops_each_fixed_rule_costs_much_more_than_the_advice() -> None:
    ours, *theirs = (sum(each.yuan for each in of_rule) for of_rule in zip(*map(costs, SHOPS), strict=True))
    print(f"\nall shops  {ours:,.0f} yuan; fixed rules {', '.join(f'{each:,.0f}' for each in theirs)}")

    assert all(ours < 0.7 * each for each in theirs)
