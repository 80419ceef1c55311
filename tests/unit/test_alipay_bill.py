"""The bill of a day as Alipay packs it: read whole, or refused."""

from __future__ import annotations

import contextlib
import io
import struct
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.kernel.money import Money
from shared.payments.adapters import alipay_bill
from shared.payments.errors import BadBill
from shared.payments.provider import BillLine, LineKind
from tests.published import vectors

NAME = "20880000000000010156_20260501_业务明细.csv"
HEAD = [
    "#支付宝业务明细查询",
    "#账号：[20880000000000010156]",
    "#起始日期：[2026年05月01日 00:00:00]   终止日期：[2026年05月02日 00:00:00]",
    "#-----------------------------------------业务明细列表----------------------------------------",
]
COLUMNS = (
    "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,订单金额（元）,"
    "商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,商家红包消费金额（元）,"
    "卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注"
)
PAID = (
    "2026050122001458860515315453\t,pay_1\t,交易\t,卡,2026-05-01 10:55:16,2026-05-01 10:55:23,\t,"
    "\t,\t,\t,*某(a***@b.cn)\t,25.00,25.00,0.96,0.00,0.00,0.00,0.00,,0.00\t,0.00,\t,-0.15,0.00,"
)
RETURNED = (
    "2026050122001458860515315453\t,pay_1\t,退款\t,卡,2026-05-01 10:55:16,2026-05-01 23:56:48,\t,"
    "\t,\t,\t,*某(a***@b.cn)\t,-10.00,-10.00,0.00,0.00,0.00,0.00,0.00,,0.00\t,0.00,ref_1\t,0.00,0.00,"
)
END = "#-----------------------------------------业务明细列表结束------------------------------------"


def foot(charges: str = "1笔，商家实收共25.00元", refunds: str = "1笔，商家实收退款共-10.00元") -> list[str]:
    return [
        END,
        f"#交易合计：{charges}，商家优惠共0.00元",
        f"#退款合计：{refunds}，商家优惠退款共0.00元",
        "#导出时间：[2026年05月02日 05:46:49]",
    ]


def table(*rows: str, header: str = COLUMNS, footer: Sequence[str] | None = None) -> bytes:
    whole = [*HEAD, header, *(rows or (PAID, RETURNED)), *(foot() if footer is None else footer)]
    return "".join(f"{line}\r\n" for line in whole).encode("gbk")


def packed(content: bytes, name: str = NAME) -> bytes:
    """A ZIP with names in GBK that it does not mark, as Alipay's."""
    names = [name.encode("gbk"), name.replace("业务明细", "业务明细(汇总)").encode("gbk")]
    stand_ins = [b"~" * len(names[0]), b"^" * len(names[1])]  # the module would mark what is not ASCII
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(stand_ins[0].decode(), content)
        archive.writestr(stand_ins[1].decode(), "#支付宝业务汇总查询".encode("gbk"))
    return out.getvalue().replace(stand_ins[0], names[0]).replace(stand_ins[1], names[1])


def test_a_bill_is_read_with_its_charges_and_its_refunds() -> None:
    trade = "2026050122001458860515315453"
    assert alipay_bill.lines(packed(table())) == [
        BillLine(
            LineKind.CHARGE, "pay_1", trade, "", Money(2500), 150_000, datetime(2026, 5, 1, 2, 55, 23, tzinfo=UTC)
        ),
        BillLine(
            LineKind.REFUND, "pay_1", trade, "ref_1", Money(-1000), 0, datetime(2026, 5, 1, 15, 56, 48, tzinfo=UTC)
        ),
    ]


def test_a_day_without_a_bill_has_no_lines() -> None:
    assert alipay_bill.lines(b"") == []


def test_a_bill_from_the_wild_is_read() -> None:
    """It was shortened to two of its ten lines when it was published, so its totals are put right first."""
    whole = vectors("alipay_bill.json")["lines"]
    shortened = [
        line.replace("6笔，商家实收共0.06元", "1笔，商家实收共0.01元").replace(
            "4笔，商家实收退款共-0.04元", "1笔，商家实收退款共-0.01元"
        )
        for line in whole
    ]
    name = "20880211096256330156_20190916_业务明细.csv"

    charge, refund = alipay_bill.lines(packed("\r\n".join(shortened).encode("gbk"), name))

    assert (charge.gross, refund.gross) == (Money(1), Money(-1))
    assert (charge.payment_id, refund.refund_id) == ("service_1568601259302", "re_test_1568602607356")
    assert charge.at == datetime(2019, 9, 16, 2, 55, 23, tzinfo=UTC)
    with pytest.raises(BadBill):
        alipay_bill.lines(packed("\r\n".join(whole).encode("gbk"), name))


def test_columns_are_found_by_their_names() -> None:
    names = COLUMNS.split(",")
    rows = [PAID.split(","), RETURNED.split(",")]
    turned = [",".join(reversed(row)) for row in (names, *rows)]
    assert alipay_bill.lines(packed(table(*turned[1:], header=turned[0]))) == alipay_bill.lines(packed(table()))


@pytest.mark.parametrize(
    "broken",
    [
        table(footer=()),
        table(footer=foot("2笔，商家实收共25.00元")),
        table(footer=foot("1笔，商家实收共25.01元")),
        table(footer=foot(refunds="1笔，商家实收退款共-10.01元")),
        table(footer=[*foot(), *foot()]),
        table(PAID),
        table(PAID, RETURNED.replace("-10.00,-10.00", "10.00,10.00")),
        table(PAID.replace("25.00,25.00", "-25.00,25.00"), RETURNED),
        table(PAID.replace("25.00,25.00", "1e3,25.00"), RETURNED),
        table(PAID.replace("25.00,25.00", "25.001,25.00"), RETURNED),
        table(PAID.replace("-0.15", "0.15"), RETURNED),
        table(PAID.replace("交易", "代付"), RETURNED),
        table(PAID.replace("pay_1", "p" * 65), RETURNED),
        table(PAID.replace("2026-05-01 10:55:23", "2026-02-30 10:55:23"), RETURNED),
        table(PAID.replace("2026-05-01 10:55:23", ""), RETURNED),
        table(PAID + ",", RETURNED),
        table(PAID.replace("卡", "卡,卡"), RETURNED),
        table(header=COLUMNS.replace("服务费（元）", "费用")),
        table(header=COLUMNS.replace("备注", "商品名称")),
        table() + b"\xff\xff",
        b"",
    ],
)
def test_a_bill_that_is_not_in_the_documented_form_is_refused(broken: bytes) -> None:
    with pytest.raises(BadBill):
        alipay_bill.lines(packed(broken))


@pytest.mark.parametrize(
    "name", ["20880000000000010156_20260501_业务明细_1.csv", "20880000000000010156_20260501_账务明细.csv"]
)
def test_a_bill_under_another_name_is_refused_rather_than_taken_for_no_trades(name: str) -> None:
    with pytest.raises(BadBill):
        alipay_bill.lines(packed(table(), name))


def test_a_bill_that_would_unpack_to_more_than_memory_holds_is_refused_unopened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(alipay_bill, "TABLE_MAX", 10_000)
    bomb = packed(table() + b"#" * 10_000_000)
    assert len(bomb) < 20_000
    with pytest.raises(BadBill):
        alipay_bill.lines(bomb)
    lying = bomb.replace(struct.pack("<L", len(table()) + 10_000_000), struct.pack("<L", 5_000))
    assert lying != bomb
    with pytest.raises(BadBill):
        alipay_bill.lines(lying)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_no_bill(content: bytes) -> None:
    if content:
        with pytest.raises(BadBill):
            alipay_bill.lines(content)


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_a_broken_bill_reads_the_same_or_not_at_all(place: int, change: int) -> None:
    bill = bytearray(packed(table()))
    bill[place % len(bill)] ^= change
    with contextlib.suppress(BadBill):
        assert len(alipay_bill.lines(bytes(bill))) == 2


@given(st.text(max_size=200))
def test_any_text_as_a_table_is_read_or_refused(text: str) -> None:
    with pytest.raises(BadBill):
        alipay_bill.lines(packed(text.encode("gb18030", "replace")))
