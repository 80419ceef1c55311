"""What a supplier is worth, which tier that is, and that every change of tier says why."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.suppliers import scoring
from shared.suppliers.detectors import Alarm
from shared.suppliers.routing import CAPS
from shared.suppliers.scoring import (
    CLIMB,
    FLOORS,
    REST,
    WEIGHTS,
    Because,
    Documents,
    Ended,
    Event,
    Factors,
    Facts,
    Latency,
    Record,
    Score,
    Tier,
    WentBad,
    explain,
    factors_of,
    tier_of,
    usual,
)
from shared.suppliers.supplier import Outcome, Reason

ORDER = list(Tier)  # the best first

FAST = Ended(Outcome.DELIVERED, seconds=3.0)
FAILED = Ended(Outcome.FAILED, Reason.OFF_SHELF)

ends = st.one_of(
    st.builds(Ended, st.just(Outcome.DELIVERED), seconds=st.floats(0.1, 5_000), cards=st.integers(1, 5)),
    st.builds(Ended, st.just(Outcome.FAILED), st.sampled_from(Reason), claimed=st.booleans()),
)
events = st.lists(st.one_of(ends, st.builds(WentBad, st.integers(1, 3))), max_size=60)
facts = st.builds(
    Facts,
    slo=st.floats(5, 600),
    price_z=st.none() | st.floats(-40, 40),
    documents=st.sampled_from(Documents),
    notice=st.booleans(),
)
shares = st.floats(0, 1)
all_factors = st.builds(Factors, shares, shares, shares, shares, shares)


def score(record: Record, now: Facts, tier: Tier | None = None) -> Score:
    """The score of somebody who had this tier by his points."""
    return scoring.score(record, now, tier and Score(Factors(1, 1, 1, 1, 1), tier))


def after(*happened: Event, times: int = 1) -> Record:
    return Record().after(*happened * times)


# Ten thousand clean orders: what it takes to be trusted fully.
TRUSTED = after(FAST, times=10_000)


# --- points ----------------------------------------------------------------------------------------------------------


def test_the_weights_are_all_there_is_and_half_a_factor_costs_what_its_weight_says() -> None:
    assert sum(WEIGHTS.values()) == pytest.approx(1)
    assert Factors(1, 1, 1, 1, 1).points == pytest.approx(100)
    assert Factors(0.5, 1, 1, 1, 1).points == pytest.approx(100 * 0.5**0.35)
    assert Factors(1, 1, 0.5, 1, 1).points == pytest.approx(100 * 0.5**0.10)
    assert Factors(1, 0, 1, 1, 1).points == 0


@given(all_factors, st.sampled_from(list(WEIGHTS)), shares)
def test_points_never_rise_when_one_factor_gets_worse(factors: Factors, name: str, worse: float) -> None:
    lower = replace(factors, **{name: min(worse, getattr(factors, name))})
    assert lower.points <= factors.points + 1e-9


@given(events, facts)
def test_factors_are_shares_and_points_lie_between_0_and_100(happened: list[Event], now: Facts) -> None:
    found = score(after(*happened), now)
    assert all(0 <= getattr(found.factors, name) <= 1 for name in WEIGHTS)
    assert 0 <= found.points <= 100 + 1e-9


@given(events, facts, st.sampled_from([*Tier, None]), st.integers(0, 60))
def test_whatever_goes_worse_never_makes_a_score_better(
    happened: list[Event], now: Facts, tier: Tier | None, at: int
) -> None:
    record = after(*happened)
    before = score(record, now, tier)
    worse_facts = [
        replace(now, notice=True),
        replace(now, documents=Documents.OVER),
        replace(now, slo=now.slo / 2),
        replace(now, price_z=min(now.price_z or 0.0, -10)),
    ]
    worse_records = [
        record.after(WentBad()),
        record.after(FAILED),
        after(*happened[:at], Ended(Outcome.FAILED, Reason.NO_STOCK), *happened[at:]),
    ]

    scores = [score(record, worse, tier) for worse in worse_facts] + [score(one, now, tier) for one in worse_records]
    for worse in scores:
        assert worse.points <= before.points + 1e-9
        assert worse.tier >= before.tier


@given(st.lists(st.floats(0.1, 5_000), min_size=1, max_size=60), st.integers(0, 59), st.floats(1, 50))
def test_a_slower_delivery_in_the_place_of_a_faster_one_never_helps(
    seconds: list[float], at: int, times: float
) -> None:
    slower = [*seconds]
    slower[at % len(seconds)] *= times
    quick, slow = (after(*(Ended(Outcome.DELIVERED, seconds=one) for one in each)) for each in (seconds, slower))
    assert factors_of(slow, Facts()).latency <= factors_of(quick, Facts()).latency + 1e-9


# --- the factors -----------------------------------------------------------------------------------------------------


def test_a_newcomer_begins_in_b_whatever_others_in_the_family_did() -> None:
    bad = after(FAST, FAILED, WentBad(), times=500)
    for records in ([], [bad], [TRUSTED, TRUSTED], [bad, TRUSTED]):
        failures, voids = usual(records)
        begins = score(Record(), Facts(failures=failures, voids=voids))
        assert begins.tier is Tier.B
        assert begins.because is Because.POINTS


def test_a_good_family_is_believed_to_be_good_and_a_bad_one_not_to_be_bad() -> None:
    assert usual([TRUSTED])[0].rate < usual([])[0].rate
    assert usual([TRUSTED])[1].rate < usual([])[1].rate
    assert usual([after(FAILED, WentBad(), times=100)]) == usual([])


def test_nobody_is_trusted_fully_on_the_word_of_others() -> None:
    assert tier_of(99.0, None) is Tier.B
    assert tier_of(60.0, None) is Tier.C


def test_each_card_of_an_order_counts_for_voids_and_what_is_long_ago_less() -> None:
    tens = after(Ended(Outcome.DELIVERED, cards=10), times=30).after(WentBad(2))
    assert tens.voids.ring.over() == (300, 2)
    assert tens.after(*[Ended(Outcome.DELIVERED, cards=10)] * 1_000).voids.lasting.bad == pytest.approx(
        2 / 2.718, rel=0.01
    )


def test_ten_thousand_clean_orders_earn_tier_a_and_a_thousand_do_not() -> None:
    assert score(TRUSTED, Facts(), Tier.B).tier is Tier.A
    assert score(after(FAST, times=1_000), Facts(), Tier.B).tier is Tier.B


def test_few_orders_are_drawn_to_the_prior_and_many_speak_for_themselves() -> None:
    one_of_two = factors_of(after(FAST, FAILED), Facts()).delivery
    half = factors_of(after(FAST, FAILED, times=500), Facts()).delivery
    assert one_of_two > 0.8
    assert half < 0.5


def test_only_the_last_thousand_orders_count_for_delivery() -> None:
    bad_once = after(FAILED, times=500).after(*[FAST] * 1_000)
    assert factors_of(bad_once, Facts()).delivery == pytest.approx(factors_of(TRUSTED, Facts()).delivery, abs=0.001)


def test_what_is_our_own_fault_costs_a_supplier_nothing() -> None:
    ours = (
        Reason.ABOVE_CEILING,
        Reason.BAD_ACCOUNT,
        Reason.BAD_QUANTITY,
        Reason.DUPLICATE,
        Reason.LOW_BALANCE,
        Reason.NOT_ALLOWED,
    )
    assert after(*(Ended(Outcome.FAILED, reason) for reason in ours)) == Record()


def test_what_has_not_ended_says_nothing_yet() -> None:
    open_ones = set(Outcome) - {Outcome.DELIVERED, Outcome.FAILED}
    assert after(*(Ended(outcome, Reason.SILENT) for outcome in open_ones)) == Record()


def test_no_stock_is_a_lie_only_where_stock_was_claimed() -> None:
    lied = after(FAST, Ended(Outcome.FAILED, Reason.NO_STOCK, claimed=True), times=50)
    open_about_it = after(FAST, Ended(Outcome.FAILED, Reason.NO_STOCK, claimed=False), times=50)
    assert factors_of(lied, Facts()).operations < 0.7
    assert factors_of(open_about_it, Facts()).operations == 1
    assert factors_of(lied, Facts()).delivery == factors_of(open_about_it, Facts()).delivery


def test_half_the_target_is_fast_and_twice_the_target_is_slow() -> None:
    shares = [
        factors_of(after(Ended(Outcome.DELIVERED, seconds=s), times=200), Facts(slo=60)).latency for s in (4, 60, 120)
    ]
    assert shares[0] > 0.98
    assert shares[1] == pytest.approx(0.5, abs=0.04)
    assert shares[2] < 0.25


@pytest.mark.parametrize("spread", [0.3, 0.8, 1.5])
def test_the_time_within_which_95_of_100_are_delivered_is_read_to_within_a_step(spread: float) -> None:
    chance = random.Random(spread)
    seconds = [chance.lognormvariate(2.5, spread) for _ in range(5_000)]
    latency = Latency()
    for one in seconds:
        latency = latency.after(one)

    true = sorted(seconds)[4_750]
    assert true / 1.42 < latency.slow(30.0) < true * 1.42  # the sides of a step differ by √2


def test_a_sudden_slowness_is_seen_within_thirty_deliveries() -> None:
    slow = after(FAST, times=900).after(*[Ended(Outcome.DELIVERED, seconds=300.0)] * 30)
    assert factors_of(slow, Facts(slo=60)).latency < 0.1


@pytest.mark.parametrize(
    ("before", "hours", "tier"), [(0, 1, Tier.B), (0, 40, Tier.C), (100, 6, Tier.C), (50, 30, Tier.C)]
)
def test_one_slow_delivery_moves_nobody_and_slowness_alone_ends_nobody(before: int, hours: int, tier: Tier) -> None:
    slow = [Ended(Outcome.DELIVERED, seconds=3_600.0)] * hours
    assert score(after(*[FAST] * before, *slow), Facts(), Tier.B).tier is tier


def test_a_person_who_bought_does_not_count_as_a_slow_supplier() -> None:
    by_hand = Ended(Outcome.DELIVERED, seconds=None)
    assert after(by_hand, times=40).latency == Latency()
    assert after(by_hand, times=40).deliveries.over() == (40, 0)


def test_a_cheap_price_is_an_alarm_and_a_dear_one_is_not() -> None:
    assert score(TRUSTED, Facts(price_z=-2.9), Tier.A).tier is Tier.A
    assert score(TRUSTED, Facts(price_z=8.0), Tier.A).tier is Tier.A
    cheap = score(TRUSTED, Facts(price_z=-3.1), Tier.A)
    assert (cheap.tier, cheap.because) == (Tier.C, Because.CHEAP)
    assert score(TRUSTED, Facts(price_z=-1e9), Tier.A).tier is Tier.C


def test_prices_that_waver_about_the_line_do_not_move_a_tier_to_and_fro() -> None:
    now, tiers = score(TRUSTED, Facts(), Tier.A), []
    for z in (-2.9, -3.1, -2.9, -3.2, -2.5, -1.9, -2.9):
        now = scoring.score(TRUSTED, Facts(price_z=z), now)
        tiers.append(str(now.tier))
    assert tiers[:5] == ["A", "C", "C", "C", "C"]
    assert tiers[5] < "C"
    assert tiers[6] < "C"


# --- tiers -----------------------------------------------------------------------------------------------------------


def test_caps_fall_with_the_tier_and_doubtful_cards_rest_a_day() -> None:
    assert [CAPS[tier] for tier in Tier] == [1.0, 0.4, 0.1, 0.0]
    assert {tier: rest.total_seconds() / 3600 for tier, rest in REST.items()} == {Tier.C: 24}


@pytest.mark.parametrize("tier", list(Tier))
def test_an_issuers_notice_bypasses_statistics(tier: Tier) -> None:
    told = score(TRUSTED, Facts(notice=True), tier)
    assert (told.tier, told.because) == (Tier.D, Because.NOTICE)
    assert told.points > 85


def test_a_document_that_is_over_ends_purchases_and_one_that_ends_soon_does_not() -> None:
    assert score(TRUSTED, Facts(documents=Documents.OVER), Tier.A).tier is Tier.D
    ending = score(TRUSTED, Facts(documents=Documents.ENDING), Tier.A)
    assert ending.tier <= Tier.B
    assert ending.points < score(TRUSTED, Facts(), Tier.A).points


def test_a_case_caps_a_confirmed_change_suspends_and_a_person_lifts_both() -> None:
    case = TRUSTED.after(*[FAST, WentBad()] * 3)
    assert case.voids.alarm is Alarm.CASE
    assert (score(case, Facts(), Tier.A).tier, score(case, Facts(), Tier.A).because) == (Tier.C, Because.CASE)

    sure = case.after(*[FAST, WentBad()] * 3)
    assert (score(sure, Facts(), Tier.A).tier, score(sure, Facts(), Tier.A).because) == (Tier.D, Because.VOIDS)
    assert score(sure.after(*[FAST] * 5_000), Facts(), Tier.D).tier is Tier.D
    suspended = scoring.score(sure, Facts(), score(TRUSTED, Facts(), Tier.A))
    assert scoring.score(sure.cleared(), Facts(), suspended).tier is suspended.earned


@pytest.mark.parametrize("price_z", [None, -40])
@pytest.mark.parametrize(
    "happened",
    [
        [FAILED] * 400,
        [FAST, *[WentBad(10)] * 40],
        [Ended(Outcome.FAILED, Reason.NO_STOCK)] * 60,
        [Ended(Outcome.DELIVERED, seconds=80_000.0), FAILED, WentBad(5)] * 90,
    ],
    ids=["failed", "void", "lied", "all"],
)
def test_a_person_lifts_every_end_also_one_by_points(happened: list[Event], price_z: float | None) -> None:
    """Nothing is bought of him then, so that nothing that he does could lift it."""
    now = Facts(price_z=price_z)
    ended = scoring.score(after(*happened), now, score(TRUSTED, now, Tier.B))
    cleared = after(*happened).cleared()
    lifted = scoring.score(cleared, now, ended)
    assert (ended.tier, lifted.tier) == (Tier.D, Tier.C)
    assert scoring.score(cleared.after(FAST), now, lifted).tier is Tier.C


def test_a_person_who_clears_a_false_alarm_takes_nothing_from_whom_it_was_about() -> None:
    case = TRUSTED.after(*[FAST, WentBad()] * 3)
    assert case.cleared() == replace(case, voids=case.voids.cleared())


@given(st.floats(0, 100), st.sampled_from(Tier))
def test_a_tier_is_lost_at_its_floor_and_won_above_it(points: float, tier: Tier) -> None:
    found = tier_of(points, tier)
    if found > tier:
        assert points < FLOORS[tier]
        assert points >= FLOORS[found]
    elif found < tier:
        assert points >= FLOORS[found] + CLIMB
    else:
        assert points >= FLOORS[tier]
        assert tier is Tier.A or points < FLOORS[ORDER[ORDER.index(tier) - 1]] + CLIMB


@given(st.floats(0, 97), st.lists(st.floats(0, CLIMB - 0.01), min_size=2, max_size=50), st.sampled_from(Tier))
def test_points_that_waver_by_less_than_the_climb_change_a_tier_at_most_once(
    least: float, waves: list[float], tier: Tier
) -> None:
    tiers = [tier := tier_of(least + wave, tier) for wave in waves]
    assert sum(one != other for one, other in pairwise(tiers)) <= 1


# --- explanations ----------------------------------------------------------------------------------------------------


@given(events, events, facts, facts)
def test_every_change_of_tier_explains_itself_and_nothing_else_does(
    first: list[Event], then: list[Event], was: Facts, now: Facts
) -> None:
    record = after(*first)
    old = score(record, was)
    new = scoring.score(record.after(*then), now, old)

    said = explain(old, new)
    assert (said is not None) == (old.tier != new.tier)
    if said:
        assert f"{old.tier} 级 → {new.tier} 级" in said.zh
        assert f"Tier {old.tier} to {new.tier}" in said.en
        assert said.zh.endswith("。")
        assert said.en.endswith(".")


def test_the_factor_that_moved_it_is_named_with_its_figures() -> None:
    old = score(TRUSTED, Facts(), Tier.A)
    slow = score(TRUSTED.after(*[Ended(Outcome.DELIVERED, seconds=400.0)] * 200), Facts(), Tier.A)
    failing = score(TRUSTED.after(*[FAILED] * 400), Facts(), Tier.A)

    assert explain(old, slow) == (
        "A 级 → C 级：主要因为发货速度从 100 变为 5（满分 100），总分 66。",
        "Tier A to C: mostly by speed, from 100 to 5 of 100; 66 points.",
    )
    assert explain(old, failing) == (
        "A 级 → B 级：主要因为发货成功率从 99 变为 59（满分 100），总分 74。",
        "Tier A to B: mostly by delivery, from 99 to 59 of 100; 74 points.",
    )
    assert explain(failing, old) == (
        "B 级 → A 级：主要因为发货成功率从 59 变为 99（满分 100），总分 89。",
        "Tier B to A: mostly by delivery, from 59 to 99 of 100; 89 points.",
    )


@pytest.mark.parametrize(
    ("now", "because"),
    [
        (Facts(notice=True), "issuer has told"),
        (Facts(documents=Documents.OVER), "document"),
        (Facts(price_z=-9.0), "origin of his goods"),
    ],
)
def test_what_outweighs_points_is_what_is_named_and_also_when_it_is_over(now: Facts, because: str) -> None:
    well = score(TRUSTED, Facts(), Tier.A)
    limited = score(TRUSTED, now, Tier.A)
    again = scoring.score(TRUSTED, Facts(), limited)

    assert because in explain(well, limited).en
    assert "this is over" in explain(limited, again).en
    assert because in explain(limited, again).en


def test_a_newcomer_is_explained_too() -> None:
    assert explain(None, score(Record(), Facts())) == (
        "新供应商从 B 级开始：总分 72。",
        "A new supplier begins in tier B: 72 points.",
    )


# --- what routing asks -----------------------------------------------------------------------------------------------


def trust(*happened: Event) -> scoring.Trust:
    return scoring.trust(after(*happened), Facts(), Tier.B)


def test_who_has_delivered_once_looks_no_worse_to_routing_than_who_never_did() -> None:
    assert 0.96 <= trust().chance <= trust(FAST).chance  # 0.96 and 30 seconds stand for newcomers, see `supply`
    assert 29 < trust().seconds <= 30


def test_routing_learns_how_often_and_how_fast_a_supplier_delivers() -> None:
    good, bad = trust(*[FAST] * 500), trust(*[FAST] * 400, *[FAILED] * 100)

    assert good.chance > 0.99
    assert 0.78 < bad.chance < 0.84
    assert 2.0 < good.seconds < 4.5


# --- what is stored --------------------------------------------------------------------------------------------------


@given(events, facts)
def test_records_and_scores_survive_being_stored_as_json(happened: list[Event], now: Facts) -> None:
    record = after(*happened)
    stored = json.dumps(record.json())
    found = score(record, now)

    assert Record.parse(json.loads(stored)) == record
    assert Score.parse(json.loads(json.dumps(found.json()))) == found
    assert len(stored) < 1_000
