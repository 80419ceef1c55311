"""Reading a supplier's .xlsx as the lines of CSV that the reader of card files takes: one row held at a time."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any, Final

_MAGIC: Final = b"PK\x03\x04"
_OLD_MAGIC: Final = b"\xd0\xcf\x11\xe0"
_UNPACKED_MAX: Final = 256 * 1024 * 1024  # bytes: what 16 MB of honest rows unpack to; a bomb unpacks to more
_EXACT_DIGITS: Final = 15  # of a number in a spreadsheet; more have been rounded already


class Unreadable(Exception):
    """No spreadsheet that can be opened."""


def is_spreadsheet(head: bytes) -> bool:
    """Whether a file that begins so is one, whatever its name says; Unreadable for the old format of the nineties."""
    if head.startswith(_OLD_MAGIC):
        raise Unreadable
    return head.startswith(_MAGIC)


class Lines:
    """The first sheet as a stream of CSV in UTF-8."""

    def __init__(self, file: bytes) -> None:
        self._rows = _rows(file)
        self._rest = b""

    def read(self, size: int, /) -> bytes:
        while len(self._rest) < size:
            row = next(self._rows, None)
            if row is None:
                break
            self._rest += row
        block, self._rest = self._rest[:size], self._rest[size:]
        return block


def _rows(file: bytes) -> Iterator[bytes]:
    import openpyxl  # here, because it loads slowly and few files are spreadsheets

    try:
        with zipfile.ZipFile(io.BytesIO(file)) as packed:
            if sum(member.file_size for member in packed.infolist()) > _UNPACKED_MAX:
                raise Unreadable
        book = openpyxl.load_workbook(io.BytesIO(file), read_only=True, data_only=True)
        sheet = book.worksheets[0]
        sheet.reset_dimensions()  # what some programs write there is wrong
        for row in sheet.iter_rows(values_only=True):
            written = io.StringIO()
            csv.writer(written, lineterminator="\n").writerow([_text(cell) for cell in row])
            yield written.getvalue().encode()
    except Unreadable:
        raise
    except Exception as error:  # a broken file fails anywhere in zip, XML or openpyxl, in their own ways
        raise Unreadable from error


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, datetime | date):
        return cell.strftime("%Y-%m-%d")
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    if isinstance(cell, int) and not isinstance(cell, bool):
        return str(cell) if len(str(abs(cell))) <= _EXACT_DIGITS else f"{cell:.6E}"
    return " ".join(str(cell).split("\n")).replace("\r", " ")
