"""The refused rows of an import as a file that can be mended and imported: the reader's own columns, and the reason."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from shared.inventory.card_files import REASONS, Cells

HEADER: Final = ("sku", "number", "code", "expires_on", "cost", "lot", "remark")
_RUNS_IN_A_SPREADSHEET: Final = ("=", "+", "-", "@")
_NO_NUMBER: Final = "无"  # the reader takes it for "this card has none"


class RefusedRow(NamedTuple):
    """cells are None where the stock knows the card: then `mask` is all that may be shown of it."""

    line: int
    reason: str
    cells: Cells | None
    mask: str = ""


def text_of(rows: Iterable[RefusedRow]) -> Iterator[str]:
    """The lines of the file; a row that the stock knows is a remark, which no import looks at."""
    yield _line(HEADER)
    yield from lines_of(rows)


def lines_of(rows: Iterable[RefusedRow]) -> Iterator[str]:
    for row in rows:
        reason = REASONS[row.reason]
        if row.cells is None:
            yield _remark(f"第 {row.line} 行 {row.mask}：{reason.zh} / line {row.line}: {reason.en}")
        else:
            cells = row.cells
            yield _line(
                (
                    cells.sku,
                    _NO_NUMBER if cells.number is None else cells.number,
                    cells.code,
                    cells.expires_on,
                    cells.cost,
                    cells.lot,
                    f"第 {row.line} 行 {row.reason}：{reason.zh} / line {row.line}: {reason.en}",
                )
            )


def note(zh: str, en: str) -> str:
    """A line for the reader of the file that no import looks at."""
    return _remark(f"{zh} / {en}")


def _remark(text: str) -> str:
    # Never in quotes: the reader knows a remark by its first character.
    return "# " + text.replace(",", ";").replace('"', "'") + "\r\n"


def _line(cells: Iterable[str]) -> str:
    written = io.StringIO()
    csv.writer(written).writerow([_tame(cell) for cell in cells])
    return written.getvalue()


def _tame(cell: str) -> str:
    cell = cell.replace("\n", " ").replace("\r", " ")
    return f"'{cell}" if cell.strip().startswith(_RUNS_IN_A_SPREADSHEET) else cell
