"""A day's trade bill as Alipay gives it: a ZIP of two GBK files."""

from __future__ import annotations

import csv
import io
import struct
import zlib
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from infra.local.alipay.book import BEIJING, BUYER_LOGON, Refund, Trade, beijing, yuan

FEE_RATE = Decimal("0.006")
_COLUMNS = (
    "支付宝交易号",
    "商户订单号",
    "业务类型",
    "商品名称",
    "创建时间",
    "完成时间",
    "门店编号",
    "门店名称",
    "操作员",
    "终端号",
    "对方账户",
    "订单金额（元）",
    "商家实收（元）",
    "支付宝红包（元）",
    "集分宝（元）",
    "支付宝优惠（元）",
    "商家优惠（元）",
    "券核销金额（元）",
    "券名称",
    "商家红包消费金额（元）",
    "卡消费金额（元）",
    "退款批次号/请求号",
    "服务费（元）",
    "分润（元）",
    "备注",
)
_SUMMARY_COLUMNS = (
    "门店编号",
    "门店名称",
    "交易订单总笔数",
    "退款订单总笔数",
    "订单金额（元）",
    "商家实收（元）",
    "支付宝优惠（元）",
    "商家优惠（元）",
    "卡消费金额（元）",
    "服务费（元）",
    "分润（元）",
    "实收净额（元）",
)
_DASHES = "-" * 41
_ACCOUNT = f"*卡友({BUYER_LOGON})"


def fee_minor(amount_minor: int) -> int:
    """What Alipay keeps, rounded to 0.01 yuan."""
    return int((amount_minor * FEE_RATE).quantize(Decimal(1), ROUND_HALF_UP))


def bill_zip(
    seller_id: str,
    day: date,
    paid: Sequence[Trade],
    back: Sequence[tuple[Trade, Refund]],
    now: float,
    *,
    fee_comes_back: bool = False,
    summary_name: str = "汇总",
) -> bytes:
    """The bill of a day. fee_comes_back: refunds bring back the fee on what they return."""
    stem = f"{seller_id}0156_{day:%Y%m%d}_"
    rows = [_line(trade, trade.amount_minor, trade.paid_at or 0, "", -fee_minor(trade.amount_minor)) for trade in paid]
    rows += [
        _line(
            trade,
            -refund.amount_minor,
            refund.refunded_at,
            refund.out_request_no,
            fee_minor(refund.amount_minor) if fee_comes_back else 0,
        )
        for trade, refund in back
    ]
    taken = sum(trade.amount_minor for trade in paid)
    given = -sum(refund.amount_minor for _, refund in back)
    fees = -sum(fee_minor(trade.amount_minor) for trade in paid)
    fees += sum(fee_minor(refund.amount_minor) for _, refund in back) if fee_comes_back else 0
    details = (
        _head("业务明细", seller_id, day)
        + _csv([_COLUMNS, *rows])
        + [
            f"#{_DASHES}业务明细列表结束{_DASHES[5:]}",
            f"#交易合计：{len(paid)}笔，商家实收共{yuan(taken)}元，商家优惠共0.00元",
            f"#退款合计：{len(back)}笔，商家实收退款共{yuan(given)}元，商家优惠退款共0.00元",
            f"#导出时间：[{_chinese(datetime.fromtimestamp(now, BEIJING))}]",
        ]
    )
    total = yuan(taken + given)
    sums = ("合计", "", str(len(paid)), str(len(back)), total, total, "0.00", "0.00", "0.00", yuan(fees), "0.00")
    summary = (
        _head("业务汇总", seller_id, day)
        + _csv([_SUMMARY_COLUMNS, (*sums, yuan(taken + given + fees))])
        + [
            f"#{_DASHES}业务汇总列表结束{_DASHES[5:]}",
            f"#导出时间：[{_chinese(datetime.fromtimestamp(now, BEIJING))}]",
        ]
    )
    return _zip(
        [(f"{stem}业务明细.csv", _bytes(details)), (f"{stem}{summary_name}.csv", _bytes(summary))],
        datetime.fromtimestamp(now, BEIJING),
    )


def _head(kind: str, seller_id: str, day: date) -> list[str]:
    begins, ends = (datetime(one.year, one.month, one.day, tzinfo=BEIJING) for one in (day, day + timedelta(days=1)))
    return [
        f"#支付宝{kind}查询",
        f"#账号：[{seller_id}0156]",
        f"#起始日期：[{_chinese(begins)}]   终止日期：[{_chinese(ends)}]",
        f"#{_DASHES}{kind}列表{_DASHES[1:]}",
    ]


def _line(trade: Trade, amount_minor: int, done_at: float, request_no: str, fee: int) -> tuple[str, ...]:
    amount = yuan(amount_minor)
    return (
        f"{trade.trade_no}\t",
        f"{trade.out_trade_no}\t",
        "退款\t" if amount_minor < 0 else "交易\t",
        trade.subject,
        beijing(trade.created_at),
        beijing(done_at),
        "\t",  # the shop's number, its name, who served, at which till
        "\t",
        "\t",
        "\t",
        f"{_ACCOUNT}\t",
        amount,
        amount,
        *("0.00",) * 5,  # paid with red packets, points and vouchers of the kinds that the columns name
        "",
        "0.00\t",
        "0.00",
        f"{request_no}\t",
        yuan(fee),
        "0.00",
        trade.subject,
    )


def _csv(rows: Sequence[Sequence[str]]) -> list[str]:
    """Quoted only where a comma or a quotation mark makes it necessary."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().removesuffix("\n").split("\n")


def _bytes(lines: Sequence[str]) -> bytes:
    # What GBK has no character for, such as a smiley in a subject, becomes a question mark.
    return "".join(f"{line}\r\n" for line in lines).encode("gbk", "replace")


def _chinese(moment: datetime) -> str:
    return f"{moment:%Y}年{moment:%m}月{moment:%d}日 {moment:%H:%M:%S}"


def _zip(members: Sequence[tuple[str, bytes]], moment: datetime) -> bytes:
    """By hand, since `zipfile` marks every Chinese name as UTF-8 and Alipay writes GBK without a mark."""
    stamp = moment.hour << 11 | moment.minute << 5 | moment.second // 2
    day = (moment.year - 1980) << 9 | moment.month << 5 | moment.day
    body, index = b"", b""
    for name, content in members:
        raw_name = name.encode("gbk")
        packer = zlib.compressobj(wbits=-15)
        packed = packer.compress(content) + packer.flush()
        common = struct.pack(
            "<5H3L2H", 20, 0, 8, stamp, day, zlib.crc32(content), len(packed), len(content), len(raw_name), 0
        )
        index += b"PK\x01\x02" + struct.pack("<H", 20) + common + struct.pack("<3H2L", 0, 0, 0, 0, len(body)) + raw_name
        body += b"PK\x03\x04" + common + raw_name + packed
    count = len(members)
    return body + index + b"PK\x05\x06" + struct.pack("<4H2LH", 0, 0, count, count, len(index), len(body), 0)
