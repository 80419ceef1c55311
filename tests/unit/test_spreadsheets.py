"""Spreadsheets as lines of CSV, and memory that does not grow with a file."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import Any

import openpyxl
import pytest

from shared.inventory import card_files, spreadsheets
from shared.inventory.spreadsheets import Lines, Unreadable
from shared.kernel.disk_set import DiskSet

HEADER = ["code", "expires_on", "cost"]


def book(*rows: list[Any]) -> bytes:
    made = openpyxl.Workbook()
    for row in rows:
        made.active.append(row)
    written = io.BytesIO()
    made.save(written)
    return written.getvalue()


def read(file: card_files.Stream, seen: card_files.Seen | None = None) -> Iterator[card_files.Row]:
    return card_files.read(
        file, file_name="cards.csv", sku="A", as_of=date(2026, 11, 22), sku_days={"A": None}, seen=seen
    )


def lines(file: bytes) -> list[str]:
    return Lines(file).read(1_000_000).decode().split("\n")


def test_cells_become_what_a_person_sees_in_them() -> None:
    file = book(
        HEADER,
        ["ABCD", datetime(2027, 1, 31, tzinfo=UTC).replace(tzinfo=None), 12.5],
        [" A B ", date(2027, 2, 1), 3],
        [123456, None, True],
    )
    assert lines(file)[1:4] == ["ABCD,2027-01-31,12.5", " A B ,2027-02-01,3", "123456,,True"]


def test_a_row_keeps_its_number_behind_empty_ones() -> None:
    rows = list(read(Lines(book(["code"], [None], [None], ["=BAD"], ["GOOD-1"]))))
    assert [row.line for row in rows] == [4, 5]


def test_a_number_that_the_spreadsheet_has_rounded_is_refused_and_not_taken_for_a_code() -> None:
    rows = list(read(Lines(book(["code"], [1234567890123456789], [1.2345678901234567e18], [123456789012345]))))
    assert [getattr(row, "reason", None) for row in rows] == ["rounded_number", "rounded_number", None]


def test_a_line_break_in_a_cell_does_not_break_the_row() -> None:
    [row] = read(Lines(book(["code"], ["ABCD\nEFGH"])))
    assert isinstance(row, card_files.Card)
    assert row.normal == "ABCDEFGH"


def test_what_is_no_spreadsheet_says_so() -> None:
    assert spreadsheets.is_spreadsheet(b"PK\x03\x04....")
    assert not spreadsheets.is_spreadsheet(b"code\nABCD")
    with pytest.raises(Unreadable):
        spreadsheets.is_spreadsheet(b"\xd0\xcf\x11\xe0....")
    for broken in (b"PK\x03\x04", b"PK\x03\x04" + b"x" * 100, book(["a"])[:-40]):
        with pytest.raises(Unreadable):
            lines(broken)


def test_a_file_that_unpacks_to_too_much_is_not_opened() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as bomb, bomb.open("xl/a.xml", "w") as member:
        for _ in range(260):
            member.write(bytes(1024 * 1024))
    assert len(packed.getvalue()) < 1024 * 1024
    with pytest.raises(Unreadable):
        lines(packed.getvalue())


# Memory


class Endless:
    """A file of so many rows that is never in memory."""

    def __init__(self, rows: int) -> None:
        self.rows = (b"FLAT-%08d,1.00\n" % n for n in range(rows))
        self.head = b"code,cost\n"

    def read(self, size: int) -> bytes:
        block, self.head = self.head, b""
        while len(block) < size and (row := next(self.rows, None)):
            block += row
        return block


def peak(rows: int, remember: Callable[[], Any]) -> int:
    tracemalloc.start()
    with remember() as seen:
        assert sum(isinstance(row, card_files.Card) for row in read(Endless(rows), seen)) == rows
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return used


class InMemory(set[bytes]):
    def __enter__(self) -> InMemory:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()


def test_three_times_the_rows_take_the_same_memory() -> None:
    peak(200, DiskSet)  # what is loaded once
    assert peak(24_000, DiskSet) / peak(8_000, DiskSet) < 1.1
    assert peak(24_000, InMemory) / peak(8_000, InMemory) > 2, "this test would notice"


def test_a_set_on_disk_knows_what_it_was_given_and_keeps_no_digest_as_it_came() -> None:
    with DiskSet() as seen:
        seen.add(b"0123456789abcdef")
        seen.add(b"0123456789abcdef")
        assert b"0123456789abcdef" in seen
        assert b"0123456789abcdeX" not in seen
        with open(seen._file.name, "rb") as stored:
            assert b"0123456789abcdef" not in stored.read()
        assert b"0123456789abcdef" not in b"".join(row[0] for row in seen._base.execute("SELECT digest FROM seen"))
