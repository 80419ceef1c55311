"""What share of a SKU one buyer may hold unpaid."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.risk.holds import ADDRESS_CEILING, CONTACT_CEILING, Caps, Stock, caps

numbers = st.integers(0, 5_000)
percents = st.one_of(st.none(), st.integers(1, 99))


def limits(stock: Stock, percent: int | None = None) -> tuple[int, int]:
    found = caps(stock, percent)
    assert found.contact is not None
    assert found.address is not None
    return found.contact, found.address


def test_in_quiet_times_a_contact_may_hold_a_quarter_and_an_address_half() -> None:
    assert limits(Stock(100, 0)) == (25, 50)
    assert limits(Stock(60, 40)) == (25, 50)


def test_shares_shrink_while_much_is_held() -> None:
    assert limits(Stock(50, 50)) == (10, 20)
    assert limits(Stock(25, 75)) == (5, 10)
    assert limits(Stock(5, 25)) == (1, 3)


def test_of_a_small_stock_an_honest_buyer_may_have_most() -> None:
    assert limits(Stock(5, 0)) == (5, 10)
    assert limits(Stock(3, 2)) == (5, 10)
    assert limits(Stock(1, 18)) == (5, 10)


def test_where_nobody_knows_the_stock_only_the_ceilings_hold() -> None:
    assert caps(None) == caps(None, 40) == Caps(CONTACT_CEILING, ADDRESS_CEILING)
    assert limits(Stock(0, 0)) == (5, 10), "cards that have only just come are not in the levels yet"


def test_an_operator_may_set_the_share_of_a_contact_and_lift_the_limit_for_wholesale() -> None:
    assert limits(Stock(1_000, 0), 60) == (600, 600)
    assert limits(Stock(1_000, 0), 10) == (100, 500)
    assert limits(Stock(500, 500), 60) == (240, 240)
    assert caps(Stock(1_000, 0), 100) == caps(None, 100) == Caps(None, None)


@given(numbers, numbers, percents)
def test_everybody_may_hold_something_and_an_address_no_less_than_one_of_its_buyers(
    available: int, held: int, percent: int | None
) -> None:
    contact, address = limits(Stock(available, held), percent)
    assert 1 <= contact <= address


@given(st.integers(20, 5_000), percents, st.data())
def test_the_more_is_held_the_less_anybody_may_hold(whole: int, percent: int | None, data: st.DataObject) -> None:
    less = data.draw(st.integers(0, whole))
    more = data.draw(st.integers(less, whole))
    quiet, pressed = limits(Stock(whole - less, less), percent), limits(Stock(whole - more, more), percent)
    assert pressed[0] <= quiet[0]
    assert pressed[1] <= quiet[1]


@given(st.integers(20, 1_000), st.integers(1, 60))
def test_a_script_behind_one_address_leaves_half_of_the_shelf_to_others(whole: int, contacts: int) -> None:
    by_contact, held = [0] * contacts, 0
    for _ in range(whole):
        for one in range(contacts):
            contact, address = limits(Stock(whole - held, held))
            if held < whole and by_contact[one] + 1 <= contact and held + 1 <= address:
                by_contact[one] += 1
                held += 1

    assert held <= max(whole // 2, 10)
    assert max(by_contact) <= max(whole // 4, 5)
    assert limits(Stock(whole - held, held))[0] >= 1, "an honest buyer elsewhere still gets a card"
