"""Price lists as suppliers send them."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.suppliers.price_files import LIST_MAX, REASONS, Reading, read
from shared.suppliers.supplier import Delivers, Product

DATA = Path(__file__).parents[1] / "data"


_ROWS = [("名称", "进价（元）", "库存"), ("谢谢卡", "1.5", "有货"), ("", "", "")]


def sample(letter: str) -> Reading:
    return read((DATA / f"supplier_{letter}_pricelist.csv").read_bytes())


def of(*lines: str) -> Reading:
    return read("\r\n".join(lines).encode())


def only(*lines: str) -> Product:
    reading = of(*lines)
    assert not reading.refused
    (product,) = reading.products
    return product


def refusals(*lines: str) -> list[tuple[int, str]]:
    return [(row.line, row.reason) for row in of(*lines).refused]


def test_a_list_in_gbk_with_words_for_stock_and_state_is_read_whole() -> None:
    products, refused, _ = sample("a")

    assert (len(products), refused) == (56, [])
    assert products[0] == Product("A1001", "腾讯视频VIP 季卡", Delivers.CARDS, 48_215_000)
    assert (products[1].stock, products[1].cost_e6) == (175, 163_547_000)
    assert [one.product for one in products if not one.on_sale][:3] == ["A1005", "A1006", "A1010"]
    assert {one.product for one in products if "话费" in one.title} >= {"A1032", "A1034"}  # one name, two products


def test_a_list_may_be_packed() -> None:
    content = (DATA / "supplier_a_pricelist.csv").read_bytes()
    assert read(gzip.compress(content)) == read(content)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (gzip.compress(b"name,price\na,1\n")[:-9], "bad_gzip"),
        (gzip.compress(b"name,price\na,1\n") + gzip.compress(b"b,2\n"), "bad_gzip"),
        (b"\x1f\x8b no gzip", "bad_gzip"),
        (gzip.compress(b"name,price\n" + b"a,1\n" * LIST_MAX), "too_long"),
        (b"name,price\n" + b"a,1\n" * LIST_MAX, "too_long"),
    ],
    ids=["cut off", "two in one", "no gzip", "too long when unpacked", "too long"],
)
def test_of_a_list_that_is_not_here_whole_nothing_is_read(content: bytes, reason: str) -> None:
    assert [(row.line, row.reason) for row in read(content).refused] == [(1, reason)]
    assert read(content).products == []


def test_a_list_with_the_columns_of_an_api_is_read_whole() -> None:
    products, refused, _ = sample("b")

    assert (len(products), refused) == (46, [])
    assert products[0] == Product("20000", "腾讯视频 腾讯视频VIP 月卡", Delivers.CARDS, 19_524_900, stock=4446)
    assert products[3].delivers is Delivers.TOPUP


def test_a_list_of_discounts_off_the_face_value_is_read_whole() -> None:
    products, refused, _ = sample("c")

    assert (len(products), refused) == (44, [])
    assert products[0] == Product("C-0000", "腾讯视频VIP月卡", Delivers.CARDS, 19_689_000, stock=168)


def test_a_list_without_numbers_keeps_what_can_be_told_apart_and_what_was_written_beside_it() -> None:
    products, refused, remarks = sample("d")

    assert len(products) == 11
    assert len({one.product for one in products}) == 11
    assert [(row.line, row.reason) for row in refused] == [(9, "ambiguous"), (10, "ambiguous")]
    steam = next(one for one in products if "Steam" in one.title)
    assert (steam.cost_e6, remarks[steam.product]) == (64_140_000, "不保售后")
    assert all(len(one.product) <= 64 for one in products)


def test_a_product_without_a_number_keeps_the_one_it_was_given_when_its_price_changes() -> None:
    assert only("商品,特价", "大会员-年,85.59").product == only("商品,特价", " 大会员-年 ,90").product
    assert only("商品,特价", "大会员-年,85.59").product != only("商品,特价", "大会员-月,85.59").product


@pytest.mark.parametrize(
    "encode",
    [
        str.encode,
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("gb18030"),
        lambda text: text.encode("utf-16"),
    ],
)
@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_encodings_delimiters_and_line_ends_make_no_difference(
    encode: Callable[[str], bytes], delimiter: str, end: str
) -> None:
    text = end.join(
        delimiter.join(row) for row in [("名称", "进价（元）", "库存"), ("谢谢卡", "1.5", "有货"), ("", "", "")]
    )

    reading = read(encode(text))

    assert not reading.refused
    assert [(one.title, one.cost_e6, one.stock) for one in reading.products] == [("谢谢卡", 1_500_000, None)]


@pytest.mark.parametrize(
    ("word", "stock"),
    [
        ("充足", None),
        ("有货", None),
        ("In Stock", None),
        ("", None),
        ("无货", 0),
        ("售罄", 0),
        ("1,580", 1580),
        ("99+", 99),
    ],
)
def test_stock_is_a_number_only_where_he_says_one(word: str, stock: int | None) -> None:
    assert only("name\tprice\tstock", f"x\t1\t{word}").stock == stock


@pytest.mark.parametrize(("word", "on"), [("上架", True), ("在售", True), ("", True), ("下架", False), ("停售", False)])
def test_what_is_taken_off_his_shelf_is_not_on_sale(word: str, on: bool) -> None:
    assert only("name,price,状态", f"x,1,{word}").on_sale is on


@pytest.mark.parametrize(
    ("face", "discount", "cost_e6"),
    [
        ("30.00", "0.6563", 19_689_000),
        ("30", "65.63%", 19_689_000),
        ("30", "6.563折", 19_689_000),
        ("30", "98折", 29_400_000),
        ("￥１００", "0.95", 95_000_000),
        ("0.01", "0.99995", 10_000),  # 9999.5 rounds half to even
    ],
)
def test_a_discount_may_be_written_in_four_ways(face: str, discount: str, cost_e6: int) -> None:
    assert only("name,face,discount", f"x,{face},{discount}").cost_e6 == cost_e6


@pytest.mark.parametrize("price", ["", "0", "-1", "free", "1e3", "=1+1", "1.2.3", "inf", "１２元元"])
def test_a_price_that_is_none_costs_its_own_row(price: str) -> None:
    lines = ("name,price", "a,1", f"b,{price}", "c,3")

    assert refusals(*lines) == [(3, "bad_price")]
    assert [one.title for one in of(*lines).products] == ["a", "c"]


@pytest.mark.parametrize("discount", ["", "0", "9.5", "95", "-0.5"])
def test_a_discount_that_might_mean_something_else_is_refused(discount: str) -> None:
    assert refusals("name,face,discount", f"x,100,{discount}") == [(2, "bad_price")]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("1,,5,1,在售,CNY,1,", "bad_name"),
        ("1,=cmd(),5,1,在售,CNY,1,", "bad_name"),
        (f"1,{'x' * 201},5,1,在售,CNY,1,", "bad_name"),
        (",x,5,1,在售,CNY,1,", "bad_product"),
        ("a b,x,5,1,在售,CNY,1,", "bad_product"),
        ("1.2E+10,x,5,1,在售,CNY,1,", "bad_product"),
        ("1,x,5,some,在售,CNY,1,", "bad_stock"),
        ("1,x,5,-3,在售,CNY,1,", "bad_stock"),
        ("1,x,5,1,perhaps,CNY,1,", "bad_state"),
        ("1,x,5,1,在售,USD,1,", "other_currency"),
        ("1,x,5,1,在售,CNY,few,", "bad_quantity"),
        ("1,x,5,1,在售,CNY,1", "broken_row"),
        ("1,x,5,1,在售,CNY,1,,more", "broken_row"),
        ('1,"x,5,1,在售,CNY,1,', "broken_row"),
    ],
)
def test_a_row_that_cannot_be_trusted_is_refused_by_name(row: str, reason: str) -> None:
    header = "编号,名称,进价,库存,状态,币种,起购,限购"

    assert refusals(header, row, "2,y,5,1,在售,CNY,1,10") == [(2, reason)]
    assert reason in REASONS


def test_a_repeated_row_counts_once_and_a_changed_one_not_at_all() -> None:
    header = "id,name,price"

    assert refusals(header, "1,x,5", "1,x,5") == [(3, "duplicate")]
    assert refusals(header, "1,x,5", "1,x,4", "2,y,1") == [(2, "ambiguous"), (3, "ambiguous")]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"a,b\n1,2", "名称,备注\nx,y".encode(), b"name,price,price\nx,1,2"])
def test_a_table_without_names_and_prices_is_refused_as_a_whole(content: bytes) -> None:
    assert [(row.line, row.reason) for row in read(content).refused] == [(1, "bad_header")]


def test_a_title_above_the_table_is_passed_over() -> None:
    assert only("十一月报价单", "2026-11-22", "名称,进价", "x,1").cost_e6 == 1_000_000


def test_a_picture_is_refused() -> None:
    assert [row.reason for row in read(b"\x89PNG\r\n\x1a\n\x00\xff\xff\xff").refused] == ["bad_encoding"]


@given(st.binary(max_size=300) | st.text(max_size=200).map(lambda text: ("name,price\n" + text).encode()))
def test_no_content_makes_it_raise(content: bytes) -> None:
    reading = read(content)

    assert all(one.cost_e6 > 0 for one in reading.products)
    assert {row.reason for row in reading.refused} <= set(REASONS)
