"""Alipay's bill of a day's trades: a ZIP of GBK tables, read into lines of our own and held against its own totals."""

from __future__ import annotations

import csv
import io
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from shared.kernel.clock import SHANGHAI
from shared.kernel.money import Money, parse_e6, parse_minor
from shared.payments.errors import BadBill
from shared.payments.provider import BillLine, LineKind

TABLE_MAX = 128 * 1024 * 1024  # unpacked: some 400,000 lines, and what a function bears
_MEMBERS_MAX = 16
_AMOUNT_MAX = 10**12  # minor units
_TABLE, _TOTALS = "业务明细", "汇总"  # the totals are a table of their own, which says nothing that the footer does not
_KINDS = {"交易": LineKind.CHARGE, "退款": LineKind.REFUND}
_FOOTERS = {
    LineKind.CHARGE: re.compile(r"#交易合计[：:]([0-9]+)笔，商家实收共(-?[0-9.]+)元"),
    LineKind.REFUND: re.compile(r"#退款合计[：:]([0-9]+)笔，商家实收退款共(-?[0-9.]+)元"),
}
_AMOUNT = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,2})?")
_NUMBER = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NAME_MAX = 64  # what Alipay accepts; the names of other shops' orders on the account need not look like ours
_MOMENT = re.compile(r"20[0-9]{2}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")
_COLUMNS = {
    "支付宝交易号",
    "商户订单号",
    "业务类型",
    "完成时间",
    "订单金额(元)",
    "商家实收(元)",
    "退款批次号/请求号",
    "服务费(元)",
}
_UNREADABLE = (ValueError, LookupError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error, csv.Error)


def lines(content: bytes) -> list[BillLine]:
    """The lines of a bill as Alipay gives it, none for a day without one; raises BadBill."""
    if not content:
        return []
    try:
        # The names are in GBK without saying so.
        archive = zipfile.ZipFile(io.BytesIO(content), metadata_encoding="gbk")
        with archive, archive.open(_table(archive.infolist())) as packed:
            return _lines(io.TextIOWrapper(packed, "gb18030", newline=""))
    except _UNREADABLE:
        raise BadBill from None


def _table(members: Sequence[zipfile.ZipInfo]) -> zipfile.ZipInfo:
    [table] = [info for info in members if _TABLE in info.filename and _TOTALS not in info.filename]
    # No more than the size it tells is ever unpacked, so a lie about it ends in a wrong checksum.
    if len(members) > _MEMBERS_MAX or not table.filename.endswith(f"_{_TABLE}.csv") or table.file_size > TABLE_MAX:
        raise BadBill
    return table


def _lines(table: Iterable[str]) -> list[BillLine]:
    found: list[BillLine] = []
    remarks: list[str] = []
    received = dict.fromkeys(_KINDS.values(), 0)
    header: Sequence[str] = ()
    for fields in _rows(table):
        if fields[0].startswith("#"):
            remarks.append(",".join(fields))
        elif not header:
            header = [name.replace("（", "(").replace("）", ")") for name in fields]
            if len({*header}) != len(header) or _COLUMNS - {*header}:
                raise BadBill
        else:
            row = dict(zip(header, fields, strict=True))
            line = _line(row)
            found.append(line)
            received[line.kind] += _minor(row["商家实收(元)"])
    for kind, footer in _FOOTERS.items():
        [total] = filter(None, map(footer.match, remarks))  # without its footer a bill is a part of one
        if (int(total[1]), _minor(total[2])) != (sum(line.kind is kind for line in found), received[kind]):
            raise BadBill
    return found


def _rows(table: Iterable[str]) -> Iterator[list[str]]:
    for fields in csv.reader(table):
        if fields:
            yield [field.strip() for field in fields]


def _line(row: Mapping[str, str]) -> BillLine:
    kind = _KINDS[row["业务类型"]]
    gross, service = _minor(row["订单金额(元)"]), parse_e6(_amount(row["服务费(元)"]))
    number, refund_id = row["支付宝交易号"], row["退款批次号/请求号"]
    if not _NUMBER.fullmatch(number) or (kind is LineKind.REFUND) != (gross < 0) or gross == 0:
        raise BadBill
    if kind is LineKind.CHARGE and service > 0:  # a fee is written as what we lose
        raise BadBill
    return BillLine(
        kind=kind,
        payment_id=_name(row["商户订单号"]),
        provider_no=number,
        refund_id=_name(refund_id) if kind is LineKind.REFUND else "",
        gross=Money(gross),
        fee_e6=-service,
        at=_moment(row["完成时间"]),
    )


def _name(text: str) -> str:
    if len(text) > _NAME_MAX or not text.isprintable():
        raise BadBill
    return text


def _amount(text: str) -> str:
    if not _AMOUNT.fullmatch(text):
        raise BadBill
    return text


def _minor(text: str) -> int:
    minor = parse_minor(_amount(text))
    if abs(minor) > _AMOUNT_MAX:
        raise BadBill
    return minor


def _moment(text: str) -> datetime:
    if not _MOMENT.fullmatch(text):
        raise BadBill
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=SHANGHAI).astimezone(UTC)
