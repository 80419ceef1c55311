"""The trade bill: 27 columns, UTF-8 with a byte order mark, CRLF, a backtick before each cell, a summary of seven."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from infra.local.wechat.checks import BEIJING

COLUMNS = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,"
    "应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,"
    "手续费,费率,订单金额,申请退款金额,费率备注"
)
COLUMNS_BEFORE = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,"
    "总金额,企业红包金额,微信退款单号,商户退款单号,退款金额,企业红包退款金额,退款类型,退款状态,商品名称,商户数据包,"
    "手续费,费率"
)
SUMMARY = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"
SUMMARY_BEFORE = "总交易单数,总交易额,总退款金额,总企业红包退款金额,手续费总金额"
FEE_PER_FEN = Decimal("0.00006")  # 0.6 %, in yuan


@dataclass(frozen=True)
class Line:
    """A payment, or a refund of one if it has a refund_id. at: when the money moved."""

    at: float
    transaction_id: str
    out_trade_no: str
    openid: str
    trade_type: str
    currency: str
    description: str
    attach: str
    total: int = 0
    refund_id: str = "0"
    out_refund_no: str = "0"
    refund: int = 0
    fee_comes_back: bool = True  # with a refund

    @property
    def is_refund(self) -> bool:
        return self.refund_id != "0"

    @property
    def fee(self) -> Decimal:
        return (self.total - (self.refund if self.fee_comes_back else 0)) * FEE_PER_FEN


def bill(lines: Iterable[Line], appid: str, mchid: str, *, as_before: bool = False) -> bytes:
    """as_before: in the layout of 24 columns."""
    rows = sorted(lines, key=lambda line: line.at)
    paid, refunded = sum(row.total for row in rows), sum(row.refund for row in rows)
    fee = sum((row.fee for row in rows), Decimal())
    columns, summary = (COLUMNS_BEFORE, SUMMARY_BEFORE) if as_before else (COLUMNS, SUMMARY)
    sums = (str(len(rows)), _yuan(paid), _yuan(refunded), "0.00", f"{fee:.5f}", _yuan(paid), _yuan(refunded))
    text = [
        columns,
        *(_cells(*_row(row, appid, mchid)[: columns.count(",") + 1]) for row in rows),
        summary,
        _cells(*sums[: summary.count(",") + 1]),
    ]
    return "".join(f"{line}\r\n" for line in text).encode("utf-8-sig")


def _row(line: Line, appid: str, mchid: str) -> tuple[str, ...]:
    return (
        f"{datetime.fromtimestamp(line.at, BEIJING):%Y-%m-%d %H:%M:%S}",
        appid,
        mchid,
        "0",
        "",
        line.transaction_id,
        line.out_trade_no,
        line.openid,
        line.trade_type,
        "REFUND" if line.is_refund else "SUCCESS",
        "OTHERS",
        line.currency,
        _yuan(line.total),
        "0.00",
        line.refund_id,
        line.out_refund_no,
        _yuan(line.refund),
        "0.00",
        "ORIGINAL" if line.is_refund else "",
        "SUCCESS" if line.is_refund else "",
        line.description,
        line.attach,
        f"{line.fee:.5f}",
        "0.60%",
        _yuan(line.total),
        _yuan(line.refund),
        "",
    )


def _cells(*cells: str) -> str:
    return ",".join("`" + " ".join(cell.splitlines()) for cell in cells)


def _yuan(fen: int) -> str:
    return f"{fen // 100}.{fen % 100:02d}"
