"""A catalogue file as merchants really send it: what is read, what is refused, and on which line."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.catalog import importing
from shared.catalog.errors import UnreadableFile, WrongColumns
from shared.catalog.importing import COLUMNS, REASONS, Refused, read
from shared.catalog.sku import Sku

SAMPLE = Path(__file__).parents[2] / "infra" / "local" / "sample" / "catalogue.csv"
GOOD = {
    "SKU编码": "A1",
    "分类": "视频会员",
    "品牌": "腾讯视频",
    "商品名称": "腾讯视频VIP",
    "规格": "月卡",
    "发货方式": "card",
    "面值(元)": "30.00",
    "售价(元)": "25.00",
    "成本(元)": "19.805",
    "充值账号字段": "",
    "有效期(天)": "90",
    "限购": "",
    "标签": "热销",
}


def a_file(*rows: dict[str, str], columns: list[str] | None = None) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, columns or list(COLUMNS))
    writer.writeheader()
    writer.writerows([{**GOOD, **row} for row in rows])
    return out.getvalue().encode()


def reason(**said: str) -> str | None:
    reading = read(a_file(said))
    assert len(reading.skus) + len(reading.refused) == 1
    return reading.refused[0].reason if reading.refused else None


def test_the_sample_catalogue_is_read_whole() -> None:
    reading = read(SAMPLE.read_bytes())

    assert (len(reading.skus), reading.refused) == (73, ())
    assert len({sku.category for sku in reading.skus}) == 10
    assert reading.skus[0] == Sku(
        sku="V001",
        category="视频会员",
        brand="腾讯视频",
        name="腾讯视频VIP",
        spec="月卡",
        kind="card",
        face_minor=3000,
        price_minor=2500,
        cost_e6=19_800_000,
        account="",
        validity_days=90,
        limit_per_order=None,
        tags=("热销",),
    )
    game = next(sku for sku in reading.skus if sku.sku == "G024")
    assert [field.name for field in game.account_fields] == ["qq", "region"]
    assert game.account_fields[1].options == ("安卓QQ", "安卓微信", "苹果QQ", "苹果微信")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "gb18030"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_every_usual_encoding_and_line_ending_reads_the_same(encoding: str, ending: str) -> None:
    text = a_file({}, {"SKU编码": "A2"}).decode().replace("\r\n", ending)

    assert read(text.encode(encoding)) == read(a_file({}, {"SKU编码": "A2"}))
    assert len(read(text.encode(encoding)).skus) == 2


def test_columns_may_come_in_any_order_with_full_width_brackets_and_others_between() -> None:
    shuffled = a_file({}, columns=[*reversed(COLUMNS), "备注"]).decode().replace("(元)", "（元）")

    assert read(shuffled.encode()).skus == read(a_file({})).skus


def test_missing_and_repeated_columns_refuse_the_file_by_name() -> None:
    text = a_file({}).decode().replace("限购", "SKU编码", 1)

    with pytest.raises(WrongColumns) as refusal:
        read(text.encode())

    assert refusal.value.facts == {"missing": ["限购"], "repeated": ["SKU编码"]}
    with pytest.raises(WrongColumns):
        read(b"")


@pytest.mark.parametrize("file", [b"\xff\xff\xff\xff", b'"\n'])
def test_what_is_no_text_table_is_refused_as_unreadable(file: bytes) -> None:
    with pytest.raises(UnreadableFile):
        read(file)


@pytest.mark.parametrize(
    "price",
    [
        "",
        "0",
        "0.00",
        "-1",
        "+5",
        "1.005",
        "1e3",
        "1_000",
        "1,399.00",
        "NaN",
        "Infinity",
        "¥5",
        "5元",
        "٣",
        "1000000.01",
        ".",
    ],
)
def test_a_price_that_is_no_plain_amount_above_zero_is_refused(price: str) -> None:
    assert reason(**{"售价(元)": price}) == "bad_price"


@pytest.mark.parametrize(("price", "minor"), [("25", 2500), ("25.5", 2550), (" 0.01 ", 1), ("1000000", 100_000_000)])
def test_a_price_is_read_exactly(price: str, minor: int) -> None:
    assert read(a_file({"售价(元)": price})).skus[0].price_minor == minor


def test_costs_go_down_to_millionths_and_may_be_nothing() -> None:
    assert read(a_file({"成本(元)": "48.215001"})).skus[0].cost_e6 == 48_215_001
    assert read(a_file({"成本(元)": "0.00"})).skus[0].cost_e6 == 0


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"成本(元)": ""}, "bad_cost"),
        ({"成本(元)": "-0.01"}, "bad_cost"),
        ({"成本(元)": "1.0000001"}, "bad_cost"),
        ({"面值(元)": "x"}, "bad_face"),
        ({"面值(元)": ""}, None),
        ({"SKU编码": ""}, "bad_sku"),
        ({"SKU编码": "A#1"}, "bad_sku"),
        ({"SKU编码": "=A1"}, "bad_sku"),
        ({"SKU编码": "A" * 33}, "bad_sku"),
        ({"SKU编码": "A\u200b1"}, "bad_sku"),
        ({"SKU编码": "A-1.b_2"}, None),
        ({"发货方式": "drone"}, "unknown_kind"),
        ({"发货方式": ""}, "unknown_kind"),
        ({"分类": ""}, "missing"),
        ({"品牌": " "}, "missing"),
        ({"商品名称": ""}, "missing"),
        ({"规格": ""}, None),
        ({"有效期(天)": "0"}, "bad_validity"),
        ({"有效期(天)": "1.5"}, "bad_validity"),
        ({"有效期(天)": "36501"}, "bad_validity"),
        ({"有效期(天)": ""}, None),
        ({"限购": "-1"}, "bad_limit"),
        ({"限购": "999999"}, "bad_limit"),
        ({"充值账号字段": "电话"}, "bad_account"),
        ({"充值账号字段": "qq:QQ号,region:大区=安卓|苹果"}, None),
        ({"充值账号字段": "qq:=1+1"}, "bad_account"),
        ({"充值账号字段": "qq:@SUM(A1)"}, "formula"),
        ({"充值账号字段": "region:大区=+甲|乙"}, "formula"),
        ({"商品名称": "=HYPERLINK(1)"}, "formula"),
        ({"商品名称": "＝１＋１"}, "formula"),
        ({"商品名称": "-1"}, "formula"),
        ({"品牌": "@x"}, "formula"),
        ({"分类": "+x"}, "formula"),
        ({"标签": "热销,=1+1"}, "formula"),
        ({"规格": "300+30"}, None),
        ({"商品名称": "王\u202e者"}, "bad_character"),
        ({"商品名称": "王\x00者"}, "bad_character"),
        ({"商品名称": "王" * 61}, "too_long"),
        ({"商品名称": "王" * 5000}, "too_long"),
        ({"售价(元)": "1" * 200_000}, "too_long"),
        ({"商品名称": "🎮王者"}, None),
    ],
)
def test_each_misfit_has_its_own_reason(said: dict[str, str], expected: str | None) -> None:
    assert reason(**said) == expected


def test_a_sku_is_known_in_capitals_and_half_width() -> None:
    assert read(a_file({"SKU编码": "ｖ００1"})).skus[0].sku == "V001"


def test_a_repeated_sku_is_refused_and_the_first_stands() -> None:
    reading = read(a_file({"售价(元)": "1"}, {"SKU编码": "a1", "售价(元)": "2"}))

    assert [sku.price_minor for sku in reading.skus] == [100]
    assert reading.refused == (Refused(3, "repeated"),)


def test_one_product_stays_in_one_category() -> None:
    assert read(a_file({}, {"SKU编码": "A2", "分类": "其他"})).refused == (Refused(3, "category_conflict"),)


def test_line_numbers_are_those_of_the_file_whatever_stands_between() -> None:
    header, good = a_file({}).decode().splitlines()
    file = "\n".join(
        [header, good, "", ",".join([""] * 13), "short,line", good.replace("A1", 'A"2"x"'), good + ",more"]
    )

    assert read(file.encode()).refused == (
        Refused(5, "wrong_cells"),
        Refused(6, "bad_sku"),
        Refused(7, "wrong_cells"),
    )


def test_an_open_quote_spoils_its_own_line_only() -> None:
    header, good = a_file({}).decode().splitlines()
    reading = read("\n".join([header, good.replace("热销", '"热销'), good]).encode())

    assert reading.refused == (Refused(2, "quotes"),)
    assert [sku.sku for sku in reading.skus] == ["A1"]


def test_tags_are_parted_at_either_comma_and_said_once() -> None:
    assert read(a_file({"标签": "热销，高风险, 热销,"})).skus[0].tags == ("热销", "高风险")


def test_every_reason_has_a_sentence_in_both_languages() -> None:
    assert all(one.zh and one.en and one.en.isascii() is ("qq:" not in one.en) for one in REASONS.values())


@given(st.lists(st.tuples(st.sampled_from(list(COLUMNS)), st.text(max_size=12)), min_size=1, max_size=6))
def test_every_line_becomes_a_sku_or_a_named_refusal(changes: list[tuple[str, str]]) -> None:
    rows = [
        {"SKU编码": f"A{n}", column: text.replace("\n", " ").replace("\r", " ")}
        for n, (column, text) in enumerate(changes)
    ]

    reading = read(a_file(*rows))

    assert len(reading.skus) + len(reading.refused) == len(rows)
    assert all(refused.reason in REASONS for refused in reading.refused)
    assert all(sku.price_minor > 0 and sku.cost_e6 >= 0 for sku in reading.skus)
    for sku in reading.skus:
        texts = (sku.sku, sku.category, sku.brand, sku.name, sku.spec, *sku.tags)
        assert not any(text.startswith(("=", "+", "-", "@")) for text in texts)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(file: bytes) -> None:
    try:
        reading = read(file)
    except (UnreadableFile, WrongColumns):
        return
    assert isinstance(reading, importing.Reading)
