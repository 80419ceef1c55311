"""What an order is, costs and may become."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from shared.kernel.money import Money
from shared.orders.deadlines import next_look
from shared.orders.quoting import Quote, QuotedLine
from shared.orders.status import MOVES, Decision, Facts, LineState, Refund, Status, status_of

facts = st.builds(
    Facts,
    closed=st.sampled_from([None, Status.EXPIRED, Status.CANCELLED]),
    holding=st.booleans(),
    paid=st.booleans(),
    decision=st.sampled_from([None, *Decision]),
    lines=st.lists(st.sampled_from(LineState), min_size=1, max_size=4).map(tuple),
    refund=st.sampled_from([None, *Refund]),
)


@given(facts)
def test_all_facts_amount_to_a_status(known: Facts) -> None:
    assert isinstance(status_of(known), Status)


@given(facts)
def test_nothing_is_delivered_that_is_not_paid_and_cleared(known: Facts) -> None:
    if status_of(known) in {Status.DELIVERED, Status.PARTLY_DELIVERED}:
        assert known.paid
        assert known.decision is Decision.CLEARED
        assert not known.refund


def test_every_status_has_its_place_in_the_graph_and_can_be_reached_from_holding() -> None:
    assert set(MOVES) == set(Status)
    reached, waiting = set(), [Status.HOLDING]
    while waiting:
        status = waiting.pop()
        if status not in reached:
            reached.add(status)
            waiting += MOVES[status]
    assert reached == set(Status)


def test_money_never_stays_with_us_for_nothing() -> None:
    """From every paid status one can still come to delivered or refunded."""
    ends = {Status.DELIVERED, Status.REFUNDED}
    for start in set(Status) - {Status.HOLDING, Status.PLACED, Status.EXPIRED, Status.CANCELLED}:
        reached, waiting = set(), [start]
        while waiting:
            status = waiting.pop()
            if status not in reached:
                reached.add(status)
                waiting += MOVES[status]
        assert reached & ends, start


def test_a_refund_under_way_hides_what_was_delivered() -> None:
    delivered = Facts(paid=True, decision=Decision.CLEARED, lines=(LineState.DELIVERED,))
    assert status_of(delivered) is Status.DELIVERED
    assert status_of(Facts(**{**vars(delivered), "refund": Refund.OPEN})) is Status.REFUNDING
    assert status_of(Facts(**{**vars(delivered), "refund": Refund.DONE})) is Status.REFUNDED


def line(**other: object) -> QuotedLine:
    fields = {
        "sku": "A",
        "title": "A card",
        "quantity": 2,
        "unit_price": Money(100),
        "fulfilment": "stock",
        "version": 1,
    }
    return QuotedLine(**{**fields, **other})  # type: ignore[arg-type]


def test_the_quote_hash_covers_all_that_the_price_rests_on() -> None:
    quotes = [
        Quote([line()], "shop"),
        Quote([line(sku="B")], "shop"),
        Quote([line(quantity=3)], "shop"),
        Quote([line(unit_price=Money(101))], "shop"),
        Quote([line(unit_price=Money(100, "USD"))], "shop"),
        Quote([line(version=2)], "shop"),
        Quote([line(), line(sku="B")], "shop"),
        Quote([line(sku="B"), line()], "shop"),
        Quote([line()], "taobao"),
    ]
    assert len({quote.hash for quote in quotes}) == len(quotes)
    assert Quote([line()], "shop").hash == quotes[0].hash
    assert quotes[6].total == Money(400)


@given(st.integers(60, 3600), st.integers(0, 4000))
def test_an_unpaid_order_is_always_looked_at_again_until_it_expires(hold: int, passed: int) -> None:
    placed_at = datetime(2026, 5, 1, tzinfo=UTC)
    expires_at, now = placed_at + timedelta(seconds=hold), placed_at + timedelta(seconds=passed)
    look = next_look(placed_at, expires_at, now)
    assert look <= expires_at
    assert look > now or look == expires_at


def test_the_provider_is_asked_every_minute_until_the_hold_ends() -> None:
    placed_at = datetime(2026, 5, 1, tzinfo=UTC)
    looks, now, expires_at = [], placed_at, placed_at + timedelta(minutes=15)
    while now < expires_at:
        now = next_look(placed_at, expires_at, now)
        looks.append((now - placed_at) // timedelta(minutes=1))
    assert looks == list(range(1, 16))


def test_the_pairs_of_the_graph_are_exactly_these() -> None:
    legal = {(old, new) for old, new in product(Status, Status) if new in MOVES[old]}
    assert legal == {
        (Status.HOLDING, Status.PLACED),
        (Status.HOLDING, Status.CANCELLED),
        (Status.PLACED, Status.PAID),
        (Status.PLACED, Status.EXPIRED),
        (Status.PLACED, Status.CANCELLED),
        (Status.EXPIRED, Status.PAID),
        (Status.EXPIRED, Status.REFUNDING),
        (Status.CANCELLED, Status.PAID),
        (Status.CANCELLED, Status.REFUNDING),
        (Status.PAID, Status.CLEARED),
        (Status.PAID, Status.REVIEW),
        (Status.PAID, Status.REFUSED),
        (Status.REVIEW, Status.CLEARED),
        (Status.REVIEW, Status.REFUSED),
        (Status.REFUSED, Status.REFUNDING),
        (Status.CLEARED, Status.PARTLY_DELIVERED),
        (Status.CLEARED, Status.DELIVERED),
        (Status.CLEARED, Status.REFUNDING),
        (Status.PARTLY_DELIVERED, Status.DELIVERED),
        (Status.PARTLY_DELIVERED, Status.REFUNDING),
        (Status.DELIVERED, Status.REFUNDING),
        (Status.REFUNDING, Status.REFUNDED),
    }
