"""The file of refused rows: what a person sees of it, and what the reader makes of it again."""

from __future__ import annotations

import csv
import io
from datetime import date

from shared.inventory import card_files, refusals
from shared.inventory.card_files import Card, Cells, Refused, Skipped
from shared.inventory.refusals import RefusedRow


def text(*rows: RefusedRow) -> str:
    return "".join(refusals.text_of(rows))


def read_again(given: str) -> list[card_files.Row]:
    file = given.encode("utf-8-sig")
    return list(card_files.read(file, file_name="refused.csv", sku=None, as_of=date(2026, 11, 22), sku_days={"A": 30}))


def test_each_row_says_its_line_and_its_reason_in_both_languages() -> None:
    given = text(RefusedRow(7, "bad_date", Cells("CODE-1", None, "A", "2027-13-01", "1.50", "x")))

    header, row = csv.reader(io.StringIO(given))
    assert header == ["sku", "number", "code", "expires_on", "cost", "lot", "remark"]
    assert row[:-1] == ["A", "无", "CODE-1", "2027-13-01", "1.50", "x"]
    assert row[-1].startswith("第 7 行 bad_date：到期日应为 YYYY-MM-DD")
    assert "line 7: The expiry must be" in row[-1]


def test_a_row_that_was_mended_is_read_as_it_is_and_its_remark_is_passed_over() -> None:
    given = text(RefusedRow(7, "bad_date", Cells("CODE-1", None, "A", "2027-13-01", "1.50", "x")))

    [card] = read_again(given.replace("2027-13-01", "2027-12-01"))

    assert isinstance(card, Card)
    assert (card.code, card.number, card.sku, card.expires_on, card.cost_e6, card.lot) == (
        "CODE-1",
        None,
        "A",
        date(2027, 12, 1),
        1_500_000,
        "x",
    )


def test_a_number_and_its_password_come_back_together() -> None:
    given = text(RefusedRow(1, "unknown_sku", Cells("PASS-1", "JD111122223333", "?")))
    [card] = read_again(given.replace("?", "A"))
    assert isinstance(card, Card)
    assert (card.number, card.code) == ("JD111122223333", "PASS-1")


def test_what_the_stock_knows_is_a_remark_with_a_mask() -> None:
    given = text(RefusedRow(3, "duplicate_in_stock", None, "A ••••4321"))
    assert "# 第 3 行 A ••••4321：" in given
    assert read_again(given) == [Skipped(2, "remark")]


def test_no_cell_is_run_by_a_spreadsheet() -> None:
    for cell in ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"):
        given = text(RefusedRow(1, "formula", Cells(cell, None, "A", cell, cell, cell)))
        _, cells = csv.reader(io.StringIO(given))
        assert all(not one.strip("\t ").startswith(("=", "+", "-", "@")) for one in cells), cells
        assert [type(row) for row in read_again(given)] == [Refused]


def test_quotes_commas_and_line_breaks_stay_in_their_cell() -> None:
    given = text(RefusedRow(1, "bad_characters", Cells('a"b,c\rd\ne', None, "A")))
    [row] = read_again(given)
    assert row == Refused(2, "bad_characters")
    assert row.cells.code == 'a"b,c d e'  # type: ignore[union-attr]


def test_a_remark_is_never_put_in_quotes() -> None:
    assert refusals.note("一", 'say "no", twice') == "# 一 / say 'no'; twice\r\n"
