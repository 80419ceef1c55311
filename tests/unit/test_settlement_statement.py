from __future__ import annotations

import csv
import io
import random
import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import load_workbook

from shared.kernel.money import Money
from shared.ledger import accounts, posting
from shared.ledger.posting import Leg, Line
from shared.settlement import reports
from shared.settlement.statement import Chart, Row, Statement, statement_of

DAY = date(2026, 5, 1)


@dataclass(frozen=True)
class Entry:
    entry_id: str
    legs: Sequence[Leg]
    channel: str | None = "shop"
    provider: str | None = "sandbox"
    kind: str = "any"


def statement(entries: Sequence[Entry]) -> Statement:
    return statement_of(DAY, entries, accounts.account)


def a_day() -> list[Entry]:
    price, dollars = Money(1980), Money(500, "USD")
    both = [Line("A", 1, Money(300, "USD"), [15_000_000]), Line("B", 2, Money(200, "USD"), [1_000_000] * 2, "USD")]
    return [
        Entry("ent_1", posting.lot_bought("acme", "A", [15_000_000, 15_000, 15_000]), None, None),
        Entry("ent_2", posting.payment_received("sandbox", price, 12, [("A", 1980)])),
        Entry("ent_3", posting.delivered([Line("A", 1, price, [15_000_000])])),
        Entry("ent_4", posting.payment_received("stripe", dollars, 15, [("A", 300), ("B", 200)]), "api", "stripe"),
        Entry("ent_5", posting.delivered(both), "api", "stripe"),
        Entry("ent_6", posting.refund_requested(price, "refunds", [("A", 1980)])),
        Entry("ent_7", posting.refund_sent("sandbox", price)),
        Entry("ent_8", posting.unplaced_received("sandbox", Money(7), 1)),
    ]


legs = st.one_of(
    st.builds(
        lambda minor, fee, sku: posting.payment_received("sandbox", Money(minor), fee, [(sku, minor)]),
        st.integers(1, 10**6),
        st.integers(0, 100),
        st.sampled_from("AB"),
    ),
    st.builds(
        lambda sku, minor, costs: posting.delivered([Line(sku, len(costs), Money(minor, "USD"), costs)]),
        st.sampled_from("AB"),
        st.integers(0, 10**6),
        st.lists(st.integers(0, 10**9), min_size=1, max_size=3),
    ),
    st.builds(lambda costs: posting.lot_bought("acme", "A", costs), st.lists(st.integers(0, 10**9), min_size=1)),
    st.builds(lambda costs: posting.written_off("A", costs), st.lists(st.integers(0, 10**9), min_size=1, max_size=3)),
    st.builds(lambda minor: posting.refund_requested(Money(minor), "refunds"), st.integers(1, 10**6)),
)
days = st.lists(
    st.builds(lambda legs, channel: (legs, channel), legs, st.sampled_from(["shop", None])), max_size=20
).map(lambda drawn: [Entry(f"ent_{n:03d}", legs, channel) for n, (legs, channel) in enumerate(drawn)])


def test_a_statement_tells_sales_refunds_fees_cost_and_profit_by_sku_channel_and_provider() -> None:
    result = statement(a_day())

    assert result.rows == (
        Row("CNY", "", "shop", "sandbox", fees=1),
        Row("CNY", "A", "", "", rounding=-1),
        Row("CNY", "A", "api", "stripe", cost=1500),
        Row("CNY", "A", "shop", "sandbox", units=1, sales=1980, refunds=1980, fees=12, cost=1500),
        Row("USD", "A", "api", "stripe", units=1, sales=300, fees=9),
        Row("USD", "B", "api", "stripe", units=2, sales=200, fees=6, cost=200),
    )
    assert [(row.currency, row.profit) for row in result.totals] == [("CNY", -3012), ("USD", 285)]


def test_money_in_transit_stands_apart_and_the_trial_balance_is_zero() -> None:
    result = statement(a_day())

    assert {(one.account, one.currency): (one.debit, one.credit) for one in result.in_transit} == {
        ("deposits", "CNY"): (1980, 1980),
        ("deposits", "USD"): (500, 500),
        ("receivable:sandbox", "CNY"): (1987, 12 + 1980 + 1),
        ("receivable:stripe", "USD"): (500, 15),
        ("refunds_due", "CNY"): (1980, 1980),
        ("suspense", "CNY"): (0, 7),
    }
    assert result.trial_balance == {"CNY": 0, "USD": 0}


@given(days, st.randoms(use_true_random=False))
def test_the_same_entries_in_any_order_make_the_same_statement(day: list[Entry], chance: random.Random) -> None:
    shuffled = list(day)
    chance.shuffle(shuffled)

    assert statement(shuffled).sha256 == statement(day).sha256


@given(days)
def test_the_profit_is_what_the_books_say_in_every_currency(day: list[Entry]) -> None:
    result = statement(day)

    for total in result.totals:
        assert total.profit == -sum(
            leg.amount_minor
            for entry in day
            for leg in entry.legs
            if leg.currency == total.currency and accounts.account(leg.account).type in {"income", "expense"}
        )
    assert not any(result.trial_balance.values())


def test_stock_that_is_written_off_is_a_loss_of_its_sku() -> None:
    result = statement([Entry("ent_1", posting.written_off("A", [15_000_000, 4_000]), None, None)])

    assert result.rows == (Row("CNY", "A", write_offs=1500),)
    assert result.totals[0].profit == -1500


def test_a_statement_of_before_there_were_write_offs_keeps_its_text_and_its_hash() -> None:
    result = statement(a_day())

    assert "write_offs" not in result.text
    assert Statement.parse(result.text).sha256 == result.sha256


@given(days)
def test_a_statement_is_read_back_from_its_canonical_text(day: list[Entry]) -> None:
    result = statement(day)

    assert Statement.parse(result.text) == result
    assert Statement.parse(result.text).sha256 == result.sha256


def test_an_entry_and_its_undoing_change_the_hash_although_every_sum_stays() -> None:
    day = a_day()
    more = [Entry("ent_a", day[1].legs), Entry("ent_b", posting.reversal(day[1].legs))]

    changed = statement([*day, *more])

    assert changed.totals == statement(day).totals
    assert changed.entries_sha256 != statement(day).entries_sha256


@pytest.mark.parametrize("change", [{"channel": "api"}, {"provider": None}, {"legs": a_day()[2].legs}])
def test_an_entry_that_was_altered_changes_the_hash(change: dict[str, str]) -> None:
    day = a_day()

    altered = statement([replace(day[1], **change), *day[:1], *day[2:]])

    assert altered.entries_sha256 != statement(day).entries_sha256


def csv_lines(result: Statement) -> list[dict[str, str]]:
    text = reports.csv_of(result, accounts.account).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


def test_the_csv_opens_as_utf8_in_excel_and_says_the_totals_of_the_statement() -> None:
    result = statement(a_day())
    lines = csv_lines(result)

    totals = [line for line in lines if line["类别 Section"] == "total"]
    assert reports.csv_of(result, accounts.account).startswith(b"\xef\xbb\xbf")
    assert [(line["币种 Currency"], line["销售额 Sales"], line["利润 Profit"]) for line in totals] == [
        ("CNY", "19.80", "-30.12"),
        ("USD", "5.00", "2.85"),
    ]
    assert [line["净额 Net"] for line in lines if line["类别 Section"] == "trial_balance"] == ["0.00", "0.00"]


def test_no_text_in_the_csv_is_taken_for_a_formula_and_negative_amounts_stay_numbers() -> None:
    evil = "=HYPERLINK(1)"
    result = statement([Entry("ent_1", posting.delivered([Line(evil, 1, Money(1), [1_000_000])]), "@shop", "+x")])

    (line,) = (line for line in csv_lines(result) if line["类别 Section"] == "sales")
    assert (line["规格 SKU"], line["渠道 Channel"], line["支付渠道 Provider"]) == ("'" + evil, "'@shop", "'+x")
    assert line["利润 Profit"] == "-0.99"


@given(days)
def test_the_workbook_says_what_the_csv_says(day: list[Entry]) -> None:
    result = statement(day)
    book = load_workbook(io.BytesIO(reports.xlsx_of(result, accounts.account)))

    sheet = book["销售 Sales"]
    heading, *rows = sheet.iter_rows(values_only=True)
    totals = [row for row in csv_lines(result) if row["类别 Section"] in {"sales", "total"}]
    money = heading.index("销售额 Sales")
    assert [[f"{cell:.2f}" for cell in row[money:]] for row in rows] == [
        [line[str(name)] for name in heading[money:]] for line in totals
    ]
    assert [str(row[money - 1]) for row in rows] == [line["数量 Units"] for line in totals]
    assert sheet.freeze_panes == "A2"


def test_a_formula_in_a_sku_is_a_text_in_the_workbook() -> None:
    result = statement([Entry("ent_1", posting.delivered([Line("=1+1", 1, Money(1))]))])
    book = load_workbook(io.BytesIO(reports.xlsx_of(result, accounts.account)))

    assert book["销售 Sales"]["A2"].data_type == "s"
    assert book["销售 Sales"]["A2"].value == "=1+1"


def test_money_in_transit_and_the_accounts_have_their_sheets_with_names_in_both_languages() -> None:
    book = load_workbook(io.BytesIO(reports.xlsx_of(statement(a_day()), accounts.account)))

    transit = list(book["在途资金 Money in transit"].iter_rows(values_only=True))
    everything = list(book["科目 Accounts"].iter_rows(values_only=True))
    assert ("suspense", "待查款项", "Suspense", "CNY", 0, 0.07, -0.07) in transit
    assert ("payable:acme", "应付供应商 acme", "Payable to supplier acme", "CNY", 0, 15.03, -15.03) in everything
    assert [row[-1] for row in everything if row[0] == "合计 Total"] == [0, 0]


@pytest.mark.parametrize("file", [reports.csv_of, reports.xlsx_of])
def test_the_same_statement_gives_the_same_bytes(file: Callable[[Statement, Chart], bytes]) -> None:
    assert file(statement(a_day()), accounts.account) == file(statement(a_day()[::-1]), accounts.account)


def test_the_workbook_does_not_know_when_it_was_made() -> None:
    file = zipfile.ZipFile(io.BytesIO(reports.xlsx_of(statement(a_day()), accounts.account)))

    moments = re.findall(r"\d{4}-\d\d-\d\dT[\d:]+Z", "".join(file.read(name).decode() for name in file.namelist()))
    assert set(moments) == {"2026-05-01T00:00:00Z"}
    assert {member.date_time for member in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_an_empty_day_has_a_statement_too() -> None:
    result = statement([])

    assert (result.entries, result.rows, result.trial_balance) == (0, (), {})
    assert len(csv_lines(result)) == 0
    assert load_workbook(io.BytesIO(reports.xlsx_of(result, accounts.account)))
