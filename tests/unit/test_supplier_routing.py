"""Of whom is bought, in which order, and who is left out; when a failing supplier is left alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.suppliers import attempts, breaker, routing
from shared.suppliers.breaker import IN_A_ROW, PROBE_EVERY, WINDOW, Gate, Pulse
from shared.suppliers.routing import Candidate, LeftOut, Wanted
from shared.suppliers.supplier import ENDLESS

NOW = datetime(2026, 11, 23, 4, tzinfo=UTC)
WANTED = Wanted(2, 10_000_000)


def offer(supplier: str = "a", landed_e6: int = 9_000_000, **more: object) -> Candidate:
    return Candidate(supplier, f"{supplier}-1", landed_e6, **more)  # type: ignore[arg-type]


def order(*candidates: Candidate, wanted: Wanted = WANTED) -> list[str]:
    return [choice.supplier for choice in routing.decide(candidates, wanted).choices]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"admitted": False}, LeftOut.NOT_ADMITTED),
        ({"fresh": False}, LeftOut.STALE),
        ({"on_sale": False}, LeftOut.OFF_SHELF),
        ({"stock": 0}, LeftOut.NO_STOCK),
        ({"least": 3}, LeftOut.QUANTITY),
        ({"least": 2, "stock": 1}, LeftOut.QUANTITY),
        ({"landed_e6": 10_000_001}, LeftOut.TOO_DEAR),
        ({"balance_e6": 17_999_999}, LeftOut.NO_BALANCE),
        ({"gate": Gate.SHUT}, LeftOut.SHUT),
        ({"tier": "D"}, LeftOut.TIER),
        ({"fillable": False}, LeftOut.FIELDS),
        ({"renamed": True}, LeftOut.RENAMED),
        ({"doubtful": True}, LeftOut.DOUBTFUL),
    ],
)
def test_who_may_not_sell_it_is_left_out_with_the_reason(change: dict[str, object], why: LeftOut) -> None:
    decision = routing.decide([replace(offer("b"), **change), offer("a")], WANTED)  # type: ignore[arg-type]
    assert [choice.supplier for choice in decision.choices] == ["a"]
    assert decision.left_out == (("b", "b-1", why),)


def test_who_has_failed_for_this_line_is_not_asked_again() -> None:
    assert order(offer("a"), offer("b"), wanted=WANTED._replace(tried=frozenset({"a"}))) == ["b"]


def test_the_cheapest_comes_first_unless_it_fails_too_often_or_keeps_buyers_waiting() -> None:
    assert order(offer("a", 9_100_000), offer("b", 9_000_000)) == ["b", "a"]
    assert order(offer("a", 9_000_000, chance=0.5), offer("b", 9_100_000, chance=0.99)) == ["b", "a"]
    assert order(offer("a", 9_000_000, seconds=3600), offer("b", 9_100_000, seconds=5)) == ["b", "a"]


def test_the_sellers_own_order_comes_before_every_price_and_vouches_for_a_doubtful_one() -> None:
    assert order(offer("a", 8_000_000), offer("b", 9_500_000, pin=1), offer("c", 9_900_000, pin=0, doubtful=True)) == [
        "c",
        "b",
        "a",
    ]


def test_who_has_had_his_share_comes_after_the_others_and_still_sells_when_he_is_alone() -> None:
    capped = offer("a", 8_000_000, tier="B", share=0.40)
    assert order(capped, offer("b", 9_500_000, tier="B", share=0.1)) == ["b", "a"]
    assert order(capped) == ["a"]
    assert order(offer("a", 8_000_000, tier="A", share=1.0), offer("b")) == ["a", "b"]


@pytest.mark.parametrize(("tiers", "shares"), [("AC", (90, 10)), ("BC", (90, 10)), ("BB", (40, 60)), ("CC", (10, 90))])
def test_beside_a_better_tier_a_cheaper_one_has_his_share_and_no_more_and_of_equals_the_cheaper_has_the_rest(
    tiers: str, shares: tuple[int, int]
) -> None:
    bought = {"dear": 0, "cheap": 0}
    for orders in range(500):
        first, *_ = order(
            *(
                offer(name, landed, tier=tier, share=bought[name] / max(1, orders))
                for tier, (name, landed) in zip(tiers, {"dear": 9_900_000, "cheap": 9_000_000}.items(), strict=True)
            )
        )
        bought[first] += 1
    assert [round(count / 5) for count in bought.values()] == pytest.approx(shares, abs=2)


def test_a_part_is_bought_where_there_is_no_more() -> None:
    [choice] = routing.decide([offer("a", stock=3)], Wanted(10, 10_000_000)).choices
    assert choice.quantity == 3
    [choice] = routing.decide([offer("a", stock=ENDLESS, at_once=30)], Wanted(80, 10_000_000)).choices
    assert choice.quantity == 30


def test_a_price_jump_is_told_from_an_empty_market() -> None:
    assert routing.decide([offer("a", 11_000_000), offer("b", stock=0)], WANTED).only_too_dear
    assert not routing.decide([offer("b", stock=0)], WANTED).only_too_dear
    assert not routing.decide([offer("a", 11_000_000), offer("b")], WANTED).only_too_dear


@given(st.lists(st.tuples(st.integers(1, 12_000_000), st.floats(0, 1), st.integers(-1, 5)), max_size=20))
def test_nothing_is_ever_chosen_above_what_it_may_cost_or_beyond_its_stock(
    offers: list[tuple[int, float, int]],
) -> None:
    candidates = [
        offer(f"s{n}", landed, chance=chance, stock=stock) for n, (landed, chance, stock) in enumerate(offers)
    ]
    decision = routing.decide(candidates, WANTED)
    assert len(decision.choices) + len(decision.left_out) == len(candidates)
    for choice in decision.choices:
        stock = candidates[int(choice.supplier[1:])].stock
        assert choice.landed_e6 <= WANTED.most_e6
        assert 0 < choice.quantity <= WANTED.quantity
        assert stock == ENDLESS or choice.quantity <= stock


# --- the breaker ---


def failing(times: int, pulse: Pulse = Pulse()) -> Pulse:  # noqa: B008  # frozen
    for n in range(times):
        pulse = breaker.after(pulse, False, NOW + timedelta(seconds=n))
    return pulse


def test_five_failures_in_a_row_shut_a_supplier_and_four_do_not() -> None:
    assert breaker.gate(failing(IN_A_ROW - 1), NOW) is Gate.OPEN
    assert breaker.gate(failing(IN_A_ROW), NOW + timedelta(seconds=5)) is Gate.SHUT


def test_three_failures_of_ten_within_five_minutes_shut_him_and_spread_over_an_hour_do_not() -> None:
    quick, slow = Pulse(), Pulse()
    for n in range(10):
        good = n not in {2, 5, 9}
        quick = breaker.after(quick, good, NOW + timedelta(seconds=n))
        slow = breaker.after(slow, good, NOW + timedelta(minutes=6 * n))
    assert quick.shut_at
    assert not slow.shut_at


def test_one_order_in_thirty_seconds_tries_him_again_and_the_first_that_is_delivered_opens_him() -> None:
    shut = failing(IN_A_ROW)
    when = shut.shut_at + PROBE_EVERY
    assert breaker.gate(shut, when) is Gate.PROBE
    probed = breaker.probing(shut, when)
    assert breaker.gate(probed, when + PROBE_EVERY / 2) is Gate.SHUT
    assert breaker.gate(probed, when + PROBE_EVERY) is Gate.PROBE
    assert breaker.gate(breaker.after(probed, False, when), when) is Gate.SHUT
    assert breaker.gate(breaker.after(probed, True, when), when) is Gate.OPEN


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 400)), max_size=60))
def test_a_supplier_is_never_shut_by_what_went_well(steps: list[tuple[bool, int]]) -> None:
    pulse, now = Pulse(), NOW
    for good, seconds in steps:
        before, now = pulse, now + timedelta(seconds=seconds)
        pulse = breaker.after(pulse, good, now)
        if good:
            assert pulse.shut_at is None
        assert pulse.since is None or now - pulse.since < WINDOW or not before.since


# --- attempts ---


@given(st.integers(1, 99), st.integers(1, 99))
def test_a_number_leads_back_to_its_attempt(line: int, attempt: int) -> None:
    order_id = "ord_01m831c22w20ze910vhfw2gvsr"
    number = attempts.number_of(order_id, str(line), attempt)
    assert len(number) == 30
    assert attempts.named_by(number) == (order_id, str(line), attempt)


@pytest.mark.parametrize(
    "text", ["", "x" * 30, "01m831c22w20ze910vhfw2gvsr01", "01m831c22w20ze910vhfw2gvsr01\u0661\u0661"]
)
def test_what_is_no_number_of_ours_leads_nowhere(text: str) -> None:
    assert attempts.named_by(text) is None


def test_absent_must_be_said_twice_minutes_apart() -> None:
    assert not attempts.is_absent(None, NOW)
    assert not attempts.is_absent(NOW - attempts.ABSENT_APART + timedelta(seconds=1), NOW)
    assert attempts.is_absent(NOW - attempts.ABSENT_APART, NOW)


def test_a_supplier_is_asked_less_and_less_often_for_a_day_and_then_a_person_is() -> None:
    pauses = [attempts.ask_after(asks, NOW, NOW + timedelta(minutes=1)) for asks in range(8)]
    assert [pause.total_seconds() for pause in pauses if pause] == [2, 5, 15, 60, 300, 1800, 1800, 1800]
    assert attempts.ask_after(8, NOW, NOW + attempts.ASK_FOR) is None
