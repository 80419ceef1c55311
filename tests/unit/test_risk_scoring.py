"""Who is cleared, who waits, who is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.risk.scoring import REASONS, Features, Limits, Outcome, decide

LIMITS = Limits(order_minor=1000, contact_orders_per_day=3, contact_minor_per_day=2000, address_orders_per_day=5)
CALM = Features(total_minor=1000, contact_orders=3, contact_minor=2000, address_orders=5)


def test_what_reaches_a_limit_passes() -> None:
    assert decide(CALM, LIMITS).outcome is Outcome.CLEARED


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"total_minor": 1001}, "large_amount"),
        ({"contact_orders": 4}, "contact_velocity"),
        ({"contact_minor": 2001}, "contact_amount"),
        ({"address_orders": 6}, "address_velocity"),
    ],
)
def test_what_exceeds_a_limit_waits_for_a_person(more: dict[str, int], reason: str) -> None:
    verdict = decide(replace(CALM, **more), LIMITS)
    assert (verdict.outcome, verdict.reasons) == (Outcome.REVIEW, (reason,))


def test_denied_goes_before_allowed_and_allowed_before_limits() -> None:
    wild = Features(total_minor=10**9, contact_orders=99, contact_minor=10**9, address_orders=99)
    allowed = replace(wild, contact_listed="allow")
    assert decide(allowed, LIMITS).outcome is Outcome.CLEARED
    assert decide(replace(allowed, address_listed="deny"), LIMITS).outcome is Outcome.REFUSED
    assert decide(replace(wild, address_listed="allow"), LIMITS).outcome is Outcome.REVIEW


features = st.builds(
    Features,
    total_minor=st.integers(0, 3000),
    contact_orders=st.integers(0, 6),
    contact_minor=st.integers(0, 5000),
    address_orders=st.integers(0, 9),
    contact_listed=st.sampled_from([None, "deny", "allow"]),
    address_listed=st.sampled_from([None, "deny", "allow"]),
)


@given(features)
def test_every_reason_can_be_explained_and_no_hold_is_without_one(seen: Features) -> None:
    verdict = decide(seen, LIMITS)
    assert set(verdict.reasons) <= set(REASONS)
    assert verdict.reasons or verdict.outcome is Outcome.CLEARED


@given(features, st.integers(0, 3000))
def test_more_money_never_makes_an_order_less_suspicious(seen: Features, more: int) -> None:
    rank = [Outcome.CLEARED, Outcome.REVIEW, Outcome.REFUSED]
    richer = replace(seen, total_minor=seen.total_minor + more)
    assert rank.index(decide(richer, LIMITS).outcome) >= rank.index(decide(seen, LIMITS).outcome)
