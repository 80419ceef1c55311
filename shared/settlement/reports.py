"""A statement as files for people: CSV that Excel reads as UTF-8, and a workbook. Equal statements give equal bytes."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time
from typing import Any

from shared.kernel.money import MINOR_PER_UNIT
from shared.settlement.statement import FIGURES, Chart, Movement, Row, Statement

CSV_TYPE = "text/csv; charset=utf-8"
XLSX_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

Cells = dict[str, int | str]

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what makes a spreadsheet run a text instead of showing it
_ROW = {
    "sku": "规格 SKU",
    "channel": "渠道 Channel",
    "provider": "支付渠道 Provider",
    "currency": "币种 Currency",
    "units": "数量 Units",
    "sales": "销售额 Sales",
    "refunds": "退款 Refunds",
    "fees": "手续费 Fees",
    "cost": "成本 Cost",
    "rounding": "舍入 Rounding",
    "write_offs": "报废 Written off",
    "profit": "利润 Profit",
}
_MOVEMENT = {
    "account": "科目 Account",
    "zh": "中文名",
    "en": "English name",
    "currency": "币种 Currency",
    "debit": "借方 Debit",
    "credit": "贷方 Credit",
    "net": "净额 Net",
}
_TOTAL = "合计 Total"
_PLAIN: Mapping[str, Mapping[str, str]] = {
    "text": {},
    "count": {"num_format": "#,##0"},
    "money": {"num_format": "#,##0.00;[Red]-#,##0.00"},
}
_LOOKS: Mapping[str, Mapping[str, str | bool]] = {
    "head": {"bold": True, "bg_color": "#EFEFEF"},
    **_PLAIN,
    **{f"total {name}": {**look, "bold": True} for name, look in _PLAIN.items()},
}
_MONEY = frozenset({*FIGURES, "profit", "debit", "credit", "net"} - {"units"})


def csv_of(statement: Statement, chart: Chart) -> bytes:
    """One table: `section` says whether a line is a result, a total, money in transit, another account, or the proof
    that the books balance."""
    columns = ["section", *_ROW, "account", "zh", "en", "debit", "credit", "net"]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\r\n")
    writer.writerow({"section": "类别 Section", **_MOVEMENT, **_ROW})
    for section, cells in (
        *(("sales", _row(row)) for row in statement.rows),
        *(("total", _row(row)) for row in statement.totals),
        *(("in_transit" if one.in_transit else "account", _movement(one, chart)) for one in statement.movements),
        *(("trial_balance", cells) for cells in _balance(statement)),
    ):
        writer.writerow({"section": section, **{name: _text(name, value) for name, value in cells.items()}})
    return text.getvalue().encode("utf-8-sig")


def xlsx_of(statement: Statement, chart: Chart) -> bytes:
    """Three sheets: results with totals, money in transit, and all accounts with the trial balance."""
    import xlsxwriter  # here, because the console shows statements far more often than it writes one

    file = io.BytesIO()
    with xlsxwriter.Workbook(file, {"in_memory": True}) as book:
        # Left to itself the library writes the time of day into the file.
        book.set_properties({"created": datetime.combine(statement.day, time(), UTC)})
        formats = {name: book.add_format(look) for name, look in _LOOKS.items()}
        movements = [_movement(one, chart) for one in statement.movements]
        in_transit = [_movement(one, chart) for one in statement.in_transit]
        totals: list[Cells] = [{**_row(row), "sku": _TOTAL} for row in statement.totals]
        balance = [{"account": _TOTAL, **cells} for cells in _balance(statement)]
        for title, heading, rows, closing in (
            ("销售 Sales", _ROW, list(map(_row, statement.rows)), totals),
            ("在途资金 Money in transit", _MOVEMENT, in_transit, []),
            ("科目 Accounts", _MOVEMENT, movements, balance),
        ):
            _sheet(book, formats, title, heading, rows, closing)
    return file.getvalue()


def _sheet(
    book: Any,
    formats: Mapping[str, Any],
    title: str,
    heading: Mapping[str, str],
    rows: Sequence[Cells],
    closing: Sequence[Cells],
) -> None:
    sheet = book.add_worksheet(title)
    sheet.freeze_panes(1, 0)
    for column, (name, text) in enumerate(heading.items()):
        sheet.set_column(column, column, 14 if name in _MONEY else 20)  # characters: fits ten million with separators
        sheet.write_string(0, column, text, formats["head"])
    for line, cells in enumerate([*rows, *closing], start=1):
        total = "total " if line > len(rows) else ""
        for column, name in enumerate(heading):
            value = cells.get(name, "")
            if isinstance(value, str):
                sheet.write_string(line, column, value, formats[f"{total}text"])
            elif name in _MONEY:
                sheet.write_number(line, column, value / MINOR_PER_UNIT, formats[f"{total}money"])
            else:
                sheet.write_number(line, column, value, formats[f"{total}count"])


def _row(row: Row) -> Cells:
    return {name: getattr(row, name) for name in _ROW}


def _movement(movement: Movement, chart: Chart) -> Cells:
    account = chart(movement.account)
    return {name: getattr(account if name in {"zh", "en"} else movement, name) for name in _MOVEMENT}


def _balance(statement: Statement) -> list[Cells]:
    return [{"currency": currency, "net": net} for currency, net in sorted(statement.trial_balance.items())]


def _text(name: str, value: int | str) -> str:
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    if name not in _MONEY:
        return str(value)
    return f"{'-' if value < 0 else ''}{abs(value) // MINOR_PER_UNIT}.{abs(value) % MINOR_PER_UNIT:02d}"
