"""Card files as suppliers send them."""

import io
import json
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.inventory import card_files
from shared.inventory.card_files import REASONS, Card, Refused, Row, Shape, Skipped

DATA = Path(__file__).parents[1] / "data"
EXPECTED = json.loads((DATA / "expected.json").read_text(encoding="utf-8"))
TODAY = date(2026, 11, 22)
SKU_DAYS: dict[str, int | None] = {"G020": None, "C053": 365, "C055": 365, "V001": 30, "V006": 30, "L043": 90}


def rows_of(
    file: bytes | str, *, file_name: str = "cards.txt", sku: str | None = "G020", shape: Shape | None = None
) -> list[Row]:
    content = file.encode() if isinstance(file, str) else file
    return list(card_files.read(content, file_name=file_name, sku=sku, as_of=TODAY, sku_days=SKU_DAYS, shape=shape))


def table_of(*lines: str, sku: str | None = None, shape: Shape | None = None) -> list[Row]:
    return rows_of("\r\n".join(lines), file_name="cards.csv", sku=sku, shape=shape)


def read_as(rows: list[Row]) -> list[tuple[str | None, str] | str]:
    return [(row.number, row.code) if isinstance(row, Card) else row.reason for row in rows]


def the_card(rows: list[Row]) -> Card:
    (card,) = rows
    assert isinstance(card, Card)
    return card


def test_the_sample_files_give_exactly_what_is_expected() -> None:
    target = {"cards_txt_one_per_line.txt": "G020", "cards_number_password_gbk.txt": "C055"}
    stock: dict[str, str] = {}
    found = {}
    for name in EXPECTED["import_order"]:
        accepted, refused, skipped = 0, {}, {}
        with (DATA / name).open("rb") as file:
            for row in card_files.read(
                file,
                file_name=name,
                sku=target.get(name),
                as_of=date.fromisoformat(EXPECTED["as_of"]),
                sku_days=SKU_DAYS,
            ):
                if isinstance(row, Skipped):
                    skipped[str(row.line)] = row.reason
                elif isinstance(row, Refused):
                    refused[str(row.line)] = row.reason
                elif row.identity in stock:
                    known = stock[row.identity] == row.whole
                    refused[str(row.line)] = "duplicate_in_stock" if known else "number_conflict"
                else:
                    stock[row.identity] = row.whole
                    accepted += 1
        found[name] = {"accepted": accepted, "refused": refused, "skipped": skipped}

    assert found == EXPECTED["files"]


def test_the_stated_shape_changes_nothing_where_the_file_already_shows_it() -> None:
    content = (DATA / "cards_number_password_gbk.txt").read_bytes()

    assert rows_of(content, shape="number_password") == rows_of(content)


def test_a_sample_pair_keeps_the_inner_spaces_of_its_password() -> None:
    first, *_ = rows_of((DATA / "cards_number_password_gbk.txt").read_bytes())

    assert isinstance(first, Card)
    assert (first.number, first.code) == ("JD680190567862", "NYZL 3NMF 8KDG 7QY2")
    assert (first.normal_number, first.normal) == ("JD680190567862", "NYZL3NMF8KDG7QY2")


@pytest.mark.parametrize("encode", [str.encode, lambda text: text.encode("utf-8-sig"), lambda text: text.encode("gbk")])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_encodings_and_line_ends_make_no_difference(encode: Callable[[str], bytes], line_end: str) -> None:
    text = line_end.join(["SKU编码,卡密,批次", "G020,ＡＢＣＤ-1234,春季", "G020,EFGH-5678,谢谢", ""])

    first, second = rows_of(encode(text), file_name="cards.csv", sku=None)

    assert isinstance(first, Card)
    assert isinstance(second, Card)
    assert (first.code, first.lot, second.lot) == ("ABCD-1234", "春季", "谢谢")


def test_a_broken_line_costs_itself_and_not_the_encoding_of_the_file() -> None:
    content = "ＡＢＣＤ\nＥＦＧＨ\n".encode() + b"\xff\xffAB\n" + "ＩＪＫＬ\n".encode()

    assert read_as(rows_of(content)) == [(None, "ABCD"), (None, "EFGH"), "bad_encoding", (None, "IJKL")]


@pytest.mark.parametrize(
    "line",
    [
        "JD123456----WXYZ-9876",
        "JD123456,WXYZ-9876",
        "JD123456，WXYZ-9876",
        "JD123456\tWXYZ-9876",
        "JD123456 WXYZ-9876",
        "JD123456|WXYZ-9876",
        "卡号：JD123456 密码：WXYZ-9876",
        "卡号：JD123456，卡密：WXYZ-9876",
        "卡号:JD123456----密码:WXYZ-9876",
        "Card number: JD123456, PIN: WXYZ-9876",
    ],
)
def test_every_separator_in_use_parts_the_number_from_the_password(line: str) -> None:
    assert read_as(rows_of(line)) == [("JD123456", "WXYZ-9876")]


def test_a_code_printed_in_groups_is_not_a_number_and_a_password() -> None:
    assert read_as(rows_of("NYZL 3NMF 8KDG 7QY2\nABCDE FGHIJ KLM\n")) == [
        (None, "NYZL 3NMF 8KDG 7QY2"),
        (None, "ABCDE FGHIJ KLM"),
    ]


def test_a_line_that_may_be_read_in_two_ways_is_refused_until_the_shape_is_stated() -> None:
    line = "ABCD-EFGH IJKL-MNOP"

    assert read_as(rows_of(line)) == ["ambiguous"]
    assert read_as(rows_of(line, shape="code")) == [(None, line)]
    assert read_as(rows_of(line, shape="number_password")) == [("ABCD-EFGH", "IJKL-MNOP")]


def test_a_number_without_its_password_is_never_taken_for_a_code() -> None:
    lines = "JD123456----AAAA\nJD123457----BBBB\nJD123458\n卡号：JD123459\n"

    assert read_as(rows_of(lines)) == [("JD123456", "AAAA"), ("JD123457", "BBBB"), "missing_column", "missing_column"]


def test_a_pair_among_codes_is_refused() -> None:
    assert read_as(rows_of("AAAA-1111\nBBBB-2222\nJD123----CCCC\n")) == [
        (None, "AAAA-1111"),
        (None, "BBBB-2222"),
        "mixed_shape",
    ]


def test_a_label_before_a_code_is_not_part_of_it() -> None:
    assert read_as(rows_of("卡密：AAAA-1111\nXCODE:BBBB\n")) == [(None, "AAAA-1111"), (None, "XCODE:BBBB")]


def test_a_heading_over_pairs_states_the_shape() -> None:
    assert read_as(rows_of("卡号 密码\nAAAA BBBB\n")) == [("AAAA", "BBBB")]
    assert read_as(rows_of("卡号----卡密\nAAAA----BBBB\n")) == [("AAAA", "BBBB")]


@pytest.mark.parametrize(
    "header",
    [
        "SKU编码,卡号,密码,到期日,成本(元),批次",
        "sku,number,password,expires_on,cost,lot",
        "SKU,Card No,PIN,Expiry,成本（元）,Batch",
    ],
)
def test_columns_are_known_by_their_names(header: str) -> None:
    card = the_card(table_of(header, "V001,N-1,P-1,2027/1/5,12.5,A"))

    assert (card.sku, card.number, card.code, card.lot) == ("V001", "N-1", "P-1", "A")
    assert (card.expires_on, card.cost_e6) == (date(2027, 1, 5), 12_500_000)


def test_the_order_of_the_columns_does_not_matter() -> None:
    assert the_card(table_of("批次,卡密,SKU编码", "A,P-1,V001")) == the_card(
        table_of("SKU编码,批次,卡密", "V001,A,P-1")
    )


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "，"])
def test_a_table_may_be_delimited_as_spreadsheets_do_it(delimiter: str) -> None:
    assert the_card(table_of(f"SKU编码{delimiter}卡密", f'V001{delimiter}"P-1"')).code == "P-1"


@pytest.mark.parametrize(
    "header",
    ["SKU编码,卡密,有效天数", "SKU编码,卡密,卡密", "SKU编码,批次", "卡号,批次", "G020,AAAA-1111", "卡号,卡密,密码"],
)
def test_a_table_whose_columns_are_not_all_known_is_not_read_at_all(header: str) -> None:
    assert table_of(header, "G020,AAAA-1111,BBBB") == [Refused(1, "bad_header")]


def test_empty_cells_and_rows_that_a_spreadsheet_adds_are_no_columns() -> None:
    assert read_as(table_of("SKU编码,卡密,,", "G020,AAAA,,", ",,,", "G020,BBBB")) == [(None, "AAAA"), (None, "BBBB")]


def test_an_open_quote_costs_its_own_row_only() -> None:
    assert read_as(table_of("SKU编码,卡密", 'G020,"AAAA', "G020,BBBB")) == ["broken_row", (None, "BBBB")]


def test_a_pair_in_one_cell_is_read_when_the_shape_is_stated_and_refused_otherwise() -> None:
    lines = "SKU编码,卡密", "G020,JD1----AAAA"

    assert read_as(table_of(*lines)) == ["mixed_shape"]
    assert read_as(table_of(*lines, shape="number_password")) == [("JD1", "AAAA")]


def test_rows_take_the_sku_of_the_import_and_may_not_name_another() -> None:
    lines = "SKU编码,卡密", ",AAAA", "G020,BBBB", "V001,CCCC", "NOPE,DDDD"

    assert read_as(table_of(*lines, sku="G020")) == [(None, "AAAA"), (None, "BBBB"), "other_sku", "other_sku"]
    assert read_as(table_of(*lines[:2])) == ["unknown_sku"]
    assert read_as(rows_of("AAAA", sku=None)) == ["unknown_sku"]


@pytest.mark.parametrize(
    ("text", "expires_on"),
    [
        ("2027-01-31", date(2027, 1, 31)),
        ("2027/01/31", date(2027, 1, 31)),
        ("20270131", date(2027, 1, 31)),
        ("２０２７－０１－３１", date(2027, 1, 31)),
        ("2026-11-22", TODAY),
        ("永久", None),
        ("", date(2026, 12, 22)),
    ],
)
def test_an_expiry_is_read_in_the_forms_in_use(text: str, expires_on: date | None) -> None:
    assert the_card(table_of("SKU编码,卡密,到期日", f"V001,AAAA,{text}")).expires_on == expires_on


def test_a_sku_without_days_has_cards_without_expiry() -> None:
    assert the_card(rows_of("AAAA", sku="G020")).expires_on is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2026-11-21", "expired"),
        ("2027-02-30", "bad_date"),
        ("2027-13-01", "bad_date"),
        ("2027-01/31", "bad_date"),
        ("01/31/2027", "bad_date"),
        ("365", "bad_date"),
        ("0000-01-01", "bad_date"),
    ],
)
def test_a_past_or_unreadable_expiry_is_refused(text: str, reason: str) -> None:
    assert read_as(table_of("SKU编码,卡密,到期日", f"V001,AAAA,{text}")) == [reason]


@pytest.mark.parametrize(
    ("text", "cost_e6"),
    [
        ("", None),
        ("0", 0),
        ("14.52", 14_520_000),
        ("0.000001", 1),
        ("￥10.10", 10_100_000),
        ("999999999", 999_999_999_000_000),
    ],
)
def test_a_cost_becomes_whole_millionths_of_a_yuan(text: str, cost_e6: int | None) -> None:
    assert the_card(table_of("SKU编码,卡密,成本(元)", f"V001,AAAA,{text}")).cost_e6 == cost_e6


@pytest.mark.parametrize("text", ["-1", "1.0000001", "1e3", "NaN", "12元5角", ".", "9999999999"])
def test_a_cost_that_would_be_rounded_or_guessed_is_refused(text: str) -> None:
    assert read_as(table_of("SKU编码,卡密,成本(元)", f"V001,AAAA,{text}")) == ["bad_cost"]


@pytest.mark.parametrize("lot", ["=1+1", "A" * 65, "A\x07"])
def test_a_lot_that_would_harm_a_later_export_is_refused(lot: str) -> None:
    assert read_as(table_of("SKU编码,卡密,批次", f"V001,AAAA,{lot}")) == ["bad_lot"]


def test_the_same_number_is_a_duplicate_with_its_password_and_a_conflict_with_another() -> None:
    lines = "JD123456----AAAA-BBBB\njd123456----aaaa bbbb\nJD123456----CCCC\n"

    assert read_as(rows_of(lines)) == [("JD123456", "AAAA-BBBB"), "duplicate_in_file", "number_conflict"]


def test_a_refused_row_does_not_make_a_later_good_one_a_duplicate() -> None:
    assert read_as(table_of("SKU编码,卡密,到期日", "V001,AAAA,2020-01-01", "V001,AAAA,永久")) == [
        "expired",
        (None, "AAAA"),
    ]


def test_a_remark_is_skipped_and_a_blank_line_is_not_reported() -> None:
    assert rows_of("\n# 以上补货\n  ＃ more\n\u3000\n") == [Skipped(2, "remark"), Skipped(3, "remark")]


def test_a_card_prints_as_a_mask() -> None:
    card = the_card(rows_of("JD12345678----WXYZ-9876-SECR-ETET"))

    assert repr(card) == "Card(line=1, sku='G020', code='••••ETET')"


class Endless:
    """A stream that counts what was taken from it and gives a little at a time."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.pieces = pieces
        self.taken = 0

    def read(self, size: int, /) -> bytes:
        self.taken += 1
        return next(self.pieces, b"")


def test_rows_come_while_the_file_is_still_being_read() -> None:
    stream = Endless(f"AAAA-{number}\n".encode() for number in range(1_000_000))

    rows = card_files.read(stream, file_name="a.txt", sku="G020", as_of=TODAY, sku_days=SKU_DAYS)

    assert [row.line for row, _ in zip(rows, range(10), strict=False)] == list(range(1, 11))
    assert stream.taken < 20


def test_an_endless_line_is_refused_without_being_held() -> None:
    stream = Endless(b"X" * 65536 for _ in range(512))

    tracemalloc.start()
    rows = list(card_files.read(stream, file_name="a.txt", sku="G020", as_of=TODAY, sku_days=SKU_DAYS))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert rows == [Refused(1, "too_long")]
    assert peak < 2_000_000


@given(st.binary(max_size=400), st.sampled_from(["a.txt", "a.csv"]), st.sampled_from([None, "code", "number_password"]))
def test_no_bytes_make_it_raise_and_lines_come_in_order(content: bytes, file_name: str, shape: Shape | None) -> None:
    rows = rows_of(content, file_name=file_name, shape=shape)

    lines = [row.line for row in rows]
    assert lines == sorted(set(lines))
    assert all(1 <= line <= content.count(b"\n") + 1 for line in lines)
    assert all(row.reason in REASONS for row in rows if not isinstance(row, Card))


cell = st.text("AB1-=+ \t,;\"'#\u3000：，—。卡号密码\u200b\r永久2027/", max_size=24)


@given(st.lists(st.lists(cell, max_size=5).map(",".join), max_size=8), st.booleans())
def test_no_text_makes_it_raise_and_every_refusal_has_its_sentences(lines: list[str], headed: bool) -> None:
    rows = table_of(*(["SKU编码,卡密,到期日,成本(元),批次"] if headed else []), *lines, sku="G020")

    assert all(row.reason in REASONS for row in rows if not isinstance(row, Card))


@given(st.binary(max_size=400), st.integers(1, 40))
def test_how_the_stream_is_cut_makes_no_difference_to_lines(content: bytes, size: int) -> None:
    whole = (b"#" + b" " * 16_000 + b"\n") * 4 + b"\n" * 1_500 + b"AAAA\n" * 9 + content
    pieces = [whole[:65536], *(whole[start : start + size] for start in range(65536, len(whole), size))]

    cut = card_files.read(Endless(iter(pieces)), file_name="a.txt", sku="G020", as_of=TODAY, sku_days=SKU_DAYS)

    assert list(cut) == list(
        card_files.read(io.BytesIO(whole), file_name="a.txt", sku="G020", as_of=TODAY, sku_days=SKU_DAYS)
    )


def test_every_reason_is_a_sentence_in_both_languages() -> None:
    assert all(reason.zh and reason.en and not reason.en.endswith(".") for reason in REASONS.values())
