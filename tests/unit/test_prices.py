"""Which offers are too cheap to be honest, which are too old; what is new in a list; how long a balance lasts."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.kernel import clock
from shared.suppliers import balances, listing, price_files
from shared.suppliers.balances import Pace
from shared.suppliers.listing import UNSURE, Listing
from shared.suppliers.prices import BY_FILE, STALE_AFTER, doubtful, landed_e6, stale
from shared.suppliers.supplier import Delivers, Product, Wish

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
PRODUCT = Product("p1", "Steam 50元", Delivers.CARDS, 45_500_000)


def in_the_lists() -> dict[str, dict[str, int]]:
    """The prices of the sample lists, by what they are for, as far as the titles are the same."""
    text = (ROOT / "infra/local/sample/catalogue.csv").read_text("utf-8-sig")
    brands = {
        bare(row["品牌"] + row["商品名称"] + row["规格"]): row["商品名称"] + row["规格"]
        for row in csv.DictReader(io.StringIO(text))
    }
    prices: dict[str, dict[str, int]] = defaultdict(dict)
    for supplier in "abcd":
        for product in price_files.read((ROOT / f"tests/data/supplier_{supplier}_pricelist.csv").read_bytes()).products:
            title = bare(brands.get(bare(product.title), product.title))
            if not title.startswith("话费"):  # the carrier is not said
                prices[title][supplier] = product.cost_e6
    return prices


def bare(text: str) -> str:
    return "".join(letter for letter in text if letter.isalnum())


def test_the_supplier_of_doubtful_origin_is_flagged_wherever_two_others_sell_the_same_and_nobody_else_is() -> None:
    flagged = {title: doubtful(prices) for title, prices in in_the_lists().items()}
    comparable = {title for title, prices in in_the_lists().items() if "d" in prices and len(prices) >= 3}

    assert len(comparable) >= 6
    assert {title for title, who in flagged.items() if "d" in who} == comparable
    assert [who for who in flagged.values() if who - {"d"}] == []


def test_of_two_offers_nobody_can_say_which_is_odd() -> None:
    assert doubtful({"a": 100_000_000, "b": 10_000_000}) == set()


def test_a_dear_offer_is_no_alarm_and_a_cent_below_equal_prices_neither() -> None:
    assert doubtful({"a": 100, "b": 100, "c": 900}) == set()
    assert doubtful({"a": 45_500_000, "b": 45_500_000, "c": 45_490_000}) == set()
    assert doubtful({"a": 45_500_000, "b": 45_500_000, "c": 40_000_000}) == {"c"}
    assert doubtful({"a": 0, "b": 0, "c": 0}) == set()


def test_who_is_not_admitted_is_judged_and_is_no_measure() -> None:
    admitted = {"a": 45_500_000, "b": 45_400_000, "c": 45_300_000}
    strangers = {"x": 30_000_000, "y": 30_000_000, "z": 30_000_000}

    assert doubtful({**admitted, **strangers}) == set()
    assert doubtful({**admitted, **strangers}, admitted) == set(strangers)


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 10**15), max_size=12))
def test_the_middle_and_all_above_it_are_never_doubtful(prices: dict[str, int]) -> None:
    found = doubtful(prices)

    assert len(found) <= len(prices) / 2
    assert all(prices[who] < min(price for one, price in prices.items() if one not in found) for who in found)


def test_what_a_piece_costs_is_his_price_at_his_rate() -> None:
    assert landed_e6(10_000_000, 7_123_456) == 71_234_560
    assert landed_e6(48_215_000, 1_000_000) == 48_215_000


@pytest.mark.parametrize(
    ("kind", "age", "is_stale"),
    [
        ("dujiao", STALE_AFTER - timedelta(seconds=1), False),
        ("dujiao", STALE_AFTER, True),
        (BY_FILE, timedelta(days=6, hours=23), False),
        (BY_FILE, timedelta(days=7), True),
        ("dujiao", None, True),
    ],
)
def test_offers_are_too_old_after_45_minutes_and_those_of_a_file_after_a_week(
    kind: str, age: timedelta | None, is_stale: bool
) -> None:
    assert stale(kind, None if age is None else NOW - age, NOW) is is_stale


# --- what is new in a list ---


def listed(*products: Product) -> Listing:
    return Listing(1, {one.product: listing.line_of(one) for one in products})


@pytest.mark.parametrize(
    "other",
    [
        replace(PRODUCT, title="Steam 50"),
        replace(PRODUCT, delivers=Delivers.TOPUP),
        replace(PRODUCT, currency="USD"),
        replace(PRODUCT, stock=0),
        replace(PRODUCT, on_sale=False),
        replace(PRODUCT, least=2),
        replace(PRODUCT, most=9),
        replace(PRODUCT, fields=(Wish("uid", "UID"),)),
    ],
)
def test_whatever_a_supplier_says_otherwise_is_a_change(other: Product) -> None:
    changes, _ = listing.compare(listed(PRODUCT), [other])

    assert (changes.other, changes.count) == ([other], 1)


def test_a_list_is_compared_with_the_one_before() -> None:
    gone, dearer, new = replace(PRODUCT, product="p2"), replace(PRODUCT, product="p3"), replace(PRODUCT, product="p4")
    after = [PRODUCT, replace(dearer, cost_e6=46_000_000), new]
    changes, lines = listing.compare(listed(PRODUCT, gone, dearer), after)

    assert ([one.product for one in changes.new], [one.product for one in changes.priced]) == (["p4"], ["p3"])
    assert (changes.other, changes.gone) == ([], ["p2"])
    assert sorted(changes.touched()) == ["p2", "p3", "p4"]
    assert listing.compare(Listing(2, lines), after)[0].count == 0


def test_what_is_unsure_is_read_before_it_is_written_also_if_it_is_gone() -> None:
    before = Listing(1, {"p1": UNSURE, "p2": UNSURE})
    changes, _ = listing.compare(before, [PRODUCT])

    assert ([one.product for one in changes.priced], changes.gone) == (["p1"], ["p2"])


@pytest.mark.parametrize(
    "odd",
    [
        replace(PRODUCT, product=""),
        replace(PRODUCT, product="x" * 300),
        replace(PRODUCT, title="x" * 400),
        replace(PRODUCT, cost_e6=-1),
        replace(PRODUCT, cost_e6=10**16),
        replace(PRODUCT, stock=10**16),
    ],
)
def test_what_no_table_takes_is_not_fit(odd: Product) -> None:
    assert listing.fit(PRODUCT)
    assert not listing.fit(odd)


# --- how long a balance lasts ---


def after(steps: list[tuple[float, int]], start: int = 1_000_000) -> tuple[int, int]:
    """What is left, and what is spent in an hour, after steps of so many hours in which so much was spent."""
    now, minor = NOW, start
    pace = Pace("acme", minor=minor, at=clock.iso(now))
    for hours, spent in steps:
        now += timedelta(hours=hours)
        minor -= spent
        pace = Pace("acme", minor=minor, at=clock.iso(now), hourly_e6=balances.hourly_e6(pace, minor, now))
    return minor, int(pace.hourly_e6)


def test_a_steady_pace_is_learnt_and_somebody_is_told_a_day_before_the_end() -> None:
    left, hourly = after([(1 / 6, 100)] * 6 * 24 * 7)

    assert hourly == pytest.approx(600 * 1_000_000, rel=0.01)
    assert not balances.is_low(600 * 25, None, hourly)
    assert balances.is_low(600 * 23, None, hourly)
    assert not balances.is_low(left, None, hourly)


def test_one_large_purchase_is_no_pace_and_filling_up_is_no_spending() -> None:
    _, hourly = after([(1 / 6, 100_000)])
    assert hourly < 3_000 * 1_000_000  # a tenth of the balance within ten minutes: not gone within a day
    steady = [(1 / 6, 100)] * 1000
    assert after([*steady, (1 / 6, -5_000_000)])[1] == after(steady)[1]


def test_what_is_below_the_set_limit_is_low_whatever_the_pace() -> None:
    assert balances.is_low(999, 1_000, 0)
    assert not balances.is_low(1_000, 1_000, 0)
    assert not balances.is_low(0, None, 0)
