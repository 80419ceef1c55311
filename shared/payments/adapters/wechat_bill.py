"""WeChat Pay's trade bill (bill_type ALL): what its columns mean, and its own sums held against its lines.

UTF-8 with a byte order mark; every cell after the headers begins with a backtick, so a comma in a product's name
parts nothing. Two layouts are about, 27 columns today and 24 before; columns are found by name.

gross of a charge is 订单金额 (总金额), the total we asked for; of a refund 申请退款金额, the refund we asked for. Both
are whole, with the part that a coupon of the buyer's pays, as our orders and the API's amounts are; 应结订单金额 and
退款金额 of the 27 columns leave that part out. The 24 columns know 退款金额 only, which is whole there. Refund lines
bear the money of the refund alone: their 订单金额 is 0, as bills of real merchants show.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from shared.kernel import clock
from shared.kernel.money import Money, parse_e6, parse_minor
from shared.payments.errors import BadBill
from shared.payments.provider import BillLine, LineKind

AMOUNT_MAX = 10**12  # minor units, as in the API's messages
_AMOUNT = re.compile(r"-?[0-9]{1,13}(\.[0-9]{1,5})?")
_NAME = re.compile(r"[A-Za-z0-9_*|-]{1,64}")  # it becomes part of a key
_CURRENCY = re.compile(r"[A-Z]{3}")
_YEARS = range(2000, 2100)
_NOTHING = ("", "0")  # how a cell says that there is no refund

# A payment by code is taken back by revoking it: the money is in the columns of a refund.
_KINDS = {"SUCCESS": LineKind.CHARGE, "REFUND": LineKind.REFUND, "REVOKED": LineKind.REFUND}


class _Layout(NamedTuple):
    total: str
    refunded: str
    summary_total: str
    summary_refunded: str


_LAYOUTS = (
    _Layout("订单金额", "申请退款金额", "订单总金额", "申请退款总金额"),
    _Layout("总金额", "退款金额", "总交易额", "总退款金额"),
)


def lines(content: bytes, mchid: str) -> list[BillLine]:
    """The lines of a bill of this merchant; raises BadBill."""
    try:
        return _lines(content, mchid)
    except (ValueError, KeyError, IndexError) as unreadable:
        raise BadBill(f"not a trade bill of {mchid}: {type(unreadable).__name__}") from None


def _lines(content: bytes, mchid: str) -> list[BillLine]:
    # Not splitlines: a product's name may hold one of the many characters that it takes for an end of line.
    rows = content.decode("utf-8-sig").replace("\r\n", "\n").rstrip("\n").split("\n")
    columns = rows[0].split(",")
    layout = next((layout for layout in _LAYOUTS if {layout.total, layout.refunded} <= set(columns)), None)
    if layout is None:
        raise BadBill("no amounts among the columns of a trade bill")
    found = [_line(_cells(columns, row), layout, mchid) for row in rows[1:-2]]
    _check(_cells(rows[-2].split(","), rows[-1]), layout, found)
    return found


def _cells(columns: Sequence[str], row: str) -> Mapping[str, str]:
    cells = row[1:].split(",`")
    if not row.startswith("`") or len(cells) != len(columns):
        raise BadBill("a line has another number of cells than its header")
    return dict(zip(columns, cells, strict=True))


def _line(cells: Mapping[str, str], layout: _Layout, mchid: str) -> BillLine:
    if cells["商户号"] != mchid:
        raise BadBill("a line of another merchant")
    kind = _KINDS[cells["交易状态"]]
    refunds = kind is LineKind.REFUND
    amount = parse_minor(_amount(cells[layout.refunded if refunds else layout.total]))
    if not 0 < amount <= AMOUNT_MAX or not _CURRENCY.fullmatch(cells["货币种类"]):
        raise ValueError
    at = datetime.strptime(cells["交易时间"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=clock.SHANGHAI)
    if at.year not in _YEARS:
        raise ValueError
    refund_id = cells["商户退款单号"] if refunds and cells["商户退款单号"] not in _NOTHING else ""
    return BillLine(
        kind=kind,
        payment_id=_name(cells["商户订单号"]),
        provider_no=_name(cells["微信订单号"]),
        refund_id=refund_id and _name(refund_id),
        gross=Money(-amount if refunds else amount, cells["货币种类"]),
        fee_e6=parse_e6(_amount(cells["手续费"])),  # negative where a refund gives it back, in the bill as with us
        at=at.astimezone(UTC),
    )


def _check(summary: Mapping[str, str], layout: _Layout, found: Sequence[BillLine]) -> None:
    charged = sum(line.gross.minor for line in found if line.kind is LineKind.CHARGE)
    refunded = -sum(line.gross.minor for line in found if line.kind is LineKind.REFUND)
    if (
        summary["总交易单数"] != str(len(found))
        or parse_minor(_amount(summary[layout.summary_total])) != charged
        or parse_minor(_amount(summary[layout.summary_refunded])) != refunded
        or parse_e6(_amount(summary["手续费总金额"])) != sum(line.fee_e6 for line in found)
    ):
        raise BadBill("the summary disagrees with the lines")


def _amount(text: str) -> str:
    if not _AMOUNT.fullmatch(text):
        raise ValueError
    return text


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError
    return text
