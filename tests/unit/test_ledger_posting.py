from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.kernel.money import Money
from shared.ledger import accounts, posting
from shared.ledger.posting import Leg, Line

amounts = st.builds(Money, st.integers(1, 10**9), st.sampled_from(["CNY", "USD"]))
providers = st.sampled_from(["sandbox", "wechat", "alipay"])
weights = st.lists(st.tuples(st.sampled_from(["A", "B", "C"]), st.integers(0, 10**7)), max_size=5)
costs = st.lists(st.integers(0, 10**10), min_size=1, max_size=20)
lines = st.builds(
    lambda sku, total, costs_e6: Line(sku, len(costs_e6), total, costs_e6),
    st.sampled_from(["A", "B", "C"]),
    st.builds(Money, st.integers(0, 10**9), st.sampled_from(["CNY", "USD"])),
    costs,
)
fees = st.integers(0, 10**6)
postings = st.one_of(
    st.builds(posting.payment_received, providers, amounts, fees, weights),
    st.builds(posting.unplaced_received, providers, amounts, fees),
    st.builds(posting.delivered, st.lists(lines, min_size=1, max_size=5)),
    st.builds(posting.lot_bought, st.just("acme"), st.just("A"), costs),
    st.builds(posting.refund_requested, amounts, st.sampled_from(["deposits", "suspense", "refunds"]), weights),
    st.builds(posting.refund_sent, providers, amounts),
    st.builds(posting.refund_by_hand, amounts),
    st.builds(posting.replaced, st.just("A"), costs),
    st.builds(
        posting.supplier_claim, st.just("acme"), st.tuples(st.tuples(st.just("A"), costs)), st.just((("B", [1, 2]),))
    ),
)


def balances(legs: list[Leg] | tuple[Leg, ...]) -> Counter[str]:
    sums: Counter[str] = Counter()
    for leg in legs:
        sums[leg.account] += leg.amount_minor
    return sums


@given(st.lists(postings, max_size=30))
def test_the_trial_balance_is_zero_after_any_sequence_of_postings(sequence: list[tuple[Leg, ...]]) -> None:
    legs = [leg for one in sequence for leg in one]

    assert not any(posting.trial_balance(legs).values())


@given(postings)
def test_a_reversal_undoes_amounts_and_quantities_of_every_account(legs: tuple[Leg, ...]) -> None:
    undone: Counter[tuple[str, str, str | None]] = Counter()
    for leg in (*legs, *posting.reversal(legs)):
        undone[leg.account, leg.currency, leg.sku] += leg.amount_minor + (leg.quantity or 0)

    assert not any(undone.values())


@given(costs)
def test_stock_is_empty_and_worth_nothing_after_the_very_cards_that_were_bought_are_sold(costs_e6: list[int]) -> None:
    bought = posting.lot_bought("acme", "A", costs_e6)
    sold = [leg for cost in costs_e6 for leg in posting.delivered([Line("A", 1, Money(100), [cost])])]

    stock = [leg for leg in (*bought, *sold) if leg.account == accounts.INVENTORY]
    assert sum(leg.amount_minor for leg in stock) == 0
    assert sum(leg.quantity or 0 for leg in stock) == 0


@given(st.integers(0, 10**9), st.lists(st.integers(0, 10**7), min_size=1, max_size=10))
def test_a_split_adds_up_and_no_part_is_a_whole_cent_off_its_share(amount: int, weights: list[int]) -> None:
    parts = posting.split(amount, weights)

    assert sum(parts) == amount
    if sum(weights):
        assert all(
            abs(part * sum(weights) - amount * weight) < sum(weights)
            for part, weight in zip(parts, weights, strict=True)
        )


def test_an_order_that_is_paid_delivered_and_refunded_leaves_only_its_cost_and_its_fee() -> None:
    price = Money(1980)
    sequence = [
        posting.payment_received("sandbox", price, 12, [("A", 1980)]),
        posting.delivered([Line("A", 1, price, [15_000_000])]),
        posting.refund_requested(price, "refunds", [("A", 1980)]),
        posting.refund_sent("sandbox", price),
    ]

    left = {name: sum_ for name, sum_ in balances([leg for one in sequence for leg in one]).items() if sum_}
    assert left == {
        "receivable:sandbox": -12,
        "fees": 12,
        "revenue": -1980,
        "refunds": 1980,
        "cogs": 1500,
        "inventory": -1500,
    }


@pytest.mark.parametrize(
    ("costs_e6", "stocked", "owed"),
    [
        ([5_000], 0, 0),  # half a cent goes to the even neighbour
        ([15_000], 2, 2),
        ([5_000, 5_000, 5_000], 0, 2),
        ([48_215_000] * 3, 3 * 4822, 14464),  # 48.215 each: 4821.5 goes up to 4822; 144.645 together goes down to 14464
        ([4_999, 5_001], 1, 1),
        ([1] * 20_000, 0, 2),
    ],
)
def test_odd_costs_are_rounded_once_per_card_and_the_difference_has_its_own_account(
    costs_e6: list[int], stocked: int, owed: int
) -> None:
    sums = balances(posting.lot_bought("acme", "A", costs_e6))

    assert sums[accounts.INVENTORY] == stocked
    assert sums["payable:acme"] == -owed
    assert sums[accounts.ROUNDING] == owed - stocked


@given(costs, st.lists(st.booleans(), min_size=20, max_size=20), st.integers(1, 20))
def test_a_claim_takes_back_what_bad_cards_stand_at_whether_sold_or_not_and_in_whatever_parts(
    costs_e6: list[int], is_sold: list[bool], size: int
) -> None:
    sold = [cost for cost, was in zip(costs_e6, is_sold, strict=False) if was]
    kept = [cost for cost, was in zip(costs_e6, is_sold, strict=False) if not was]
    legs = [*posting.lot_bought("acme", "A", costs_e6)]
    for cost in sold:
        legs += posting.delivered([Line("A", 1, Money(100), [cost])])
    for start in range(0, 20, size):
        parts = [[("A", many[start : start + size])] for many in (kept, sold)]
        legs += posting.supplier_claim("acme", *parts)

    left = balances(legs)
    assert (left["inventory"], left["cogs"]) == (0, 0)
    assert left["payable:acme"] == -left["rounding"]  # nothing is owed but the odd cents of the purchase
    assert sum(leg.quantity or 0 for leg in legs if leg.account == accounts.INVENTORY) == 0


def test_a_replacement_costs_its_own_cost_and_brings_no_sale() -> None:
    assert posting.replaced("A", [15_000_000]) == (
        Leg("cogs", 1500, "CNY", "A"),
        Leg("inventory", -1500, "CNY", "A", -1),
    )


def test_nothing_is_claimed_for_sold_cards_that_cost_nothing() -> None:
    assert posting.supplier_claim("acme", [], [("A", [0, 0])]) == ()


def test_a_fee_is_laid_on_the_lines_to_the_last_cent() -> None:
    legs = posting.payment_received("sandbox", Money(300), 2, [("A", 100), ("B", 100), ("C", 100)])

    assert [(leg.sku, leg.amount_minor) for leg in legs if leg.account == "fees"] == [("A", 1), ("B", 1)]


def test_a_card_given_away_still_counts_as_delivered() -> None:
    legs = posting.delivered([Line("A", 1, Money(0), [0])])

    assert legs == (Leg("revenue", 0, "CNY", "A", 1), Leg("inventory", 0, "CNY", "A", -1))


@pytest.mark.parametrize(
    "legs",
    [
        [],
        [Leg("deposits", 0)],
        [Leg("deposits", 1)],
        [Leg("deposits", 1), Leg("revenue", -1, "USD")],
    ],
)
def test_legs_that_do_not_balance_in_every_currency_are_not_an_entry(legs: list[Leg]) -> None:
    with pytest.raises(posting.Unbalanced):
        posting.balanced(legs)


@pytest.mark.parametrize("name", ["deposit", "receivable", "receivable:", "", "deposits:x"])
def test_nothing_is_posted_to_an_account_that_the_chart_does_not_have(name: str) -> None:
    with pytest.raises(accounts.UnknownAccount):
        posting.balanced([Leg(name, 1), Leg("revenue", -1)])


def test_every_account_has_a_name_in_both_languages_and_a_side_that_fits_its_type() -> None:
    chart = [accounts.account(name) for name in (*accounts._SINGLE, "receivable:sandbox", "payable:acme")]

    for one in chart:
        assert one.zh
        assert one.en.isascii()
        debit = one.type in {accounts.Type.ASSET, accounts.Type.EXPENSE} or one.name == accounts.REFUNDS
        assert one.side == (accounts.Side.DEBIT if debit else accounts.Side.CREDIT)
