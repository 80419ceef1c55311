"""What WeChat Pay's trade bill says, read in both of its layouts."""

from __future__ import annotations

import base64
import contextlib
import hashlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.kernel.money import Money
from shared.payments.adapters import wechat_bill
from shared.payments.errors import BadBill
from shared.payments.provider import BillLine, LineKind
from tests.published import vectors

MCHID = "1900000001"
HEADER = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,"
    "应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,"
    "手续费,费率,订单金额,申请退款金额,费率备注"
)
CHARGE = (
    f"`2026-05-01 00:30:00,`wx1,`{MCHID},`0,`,`42001,`pay_1,`openid,`NATIVE,`SUCCESS,`OTHERS,`CNY,"
    "`9.00,`1.00,`0,`0,`0.00,`0.00,`,`,`月卡, 30 天,`,`0.05940,`0.60%,`10.00,`0.00,`"
)
REFUND = (
    f"`2026-05-01 23:59:59,`wx1,`{MCHID},`0,`,`42000,`pay_0,`openid,`NATIVE,`REFUND,`OTHERS,`CNY,"
    "`0.00,`0.00,`50300,`ref_0,`3.60,`0.40,`ORIGINAL,`SUCCESS,`周卡,`,`-0.02376,`0.60%,`0.00,`4.00,`"
)
SUMMARY_HEADER = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"
SUMMARY = "`2,`9.00,`3.60,`0.40,`0.03564,`10.00,`4.00"

OLD_HEADER = (
    "交易时间,公众账号ID,商户号,子商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,"
    "总金额,代金券或立减优惠金额,微信退款单号,商户退款单号,退款金额,代金券或立减优惠退款金额,退款类型,退款状态,商品名称,"
    "商户数据包,手续费,费率"
)
OLD_CHARGE = (
    f"`2026-05-01 00:30:00,`wx1,`{MCHID},`0,`,`42001,`pay_1,`openid,`NATIVE,`SUCCESS,`OTHERS,`CNY,"
    "`10.00,`0.0,`0,`0,`0,`0,`,`,`月卡,`,`0.06,`0.60%"
)
OLD_REFUND = (
    f"`2026-05-01 23:59:59,`wx1,`{MCHID},`0,`,`42000,`pay_0,`openid,`NATIVE,`REFUND,`OTHERS,`CNY,"
    "`0.00,`0.0,`50300,`ref_0,`4.00,`0,`ORIGINAL,`SUCCESS,`周卡,`,`-0.02,`0.60%"
)
OLD_SUMMARY_HEADER = "总交易单数,总交易额,总退款金额,总代金券或立减优惠退款金额,手续费总金额"
OLD_SUMMARY = "`2,`10.00,`4.00,`0,`0.04"


def bill(*rows: str) -> bytes:
    return b"\xef\xbb\xbf" + "".join(row + "\r\n" for row in rows).encode()


GOOD = (HEADER, CHARGE, REFUND, SUMMARY_HEADER, SUMMARY)


def lines(fee_of_charge: int, fee_of_refund: int) -> list[BillLine]:
    return [
        BillLine(
            kind=LineKind.CHARGE,
            payment_id="pay_1",
            provider_no="42001",
            refund_id="",
            gross=Money(1000),
            fee_e6=fee_of_charge,
            at=datetime(2026, 4, 30, 16, 30, tzinfo=UTC),
        ),
        BillLine(
            kind=LineKind.REFUND,
            payment_id="pay_0",
            provider_no="42000",
            refund_id="ref_0",
            gross=Money(-400),
            fee_e6=fee_of_refund,
            at=datetime(2026, 5, 1, 15, 59, 59, tzinfo=UTC),
        ),
    ]


def test_the_bill_that_wechat_published_reads_to_its_last_fen() -> None:
    vector = vectors("wechatpay_tradebill.json")
    content = base64.b64decode(vector["raw_b64"])
    assert hashlib.sha1(content).hexdigest() == vector["hash_value"]

    found = wechat_bill.lines(content, "1601959334")

    assert [line.payment_id for line in found] == [
        "S20210128170702357723",
        "S20210128153505214586",
        "S20210128165824499930",
    ]
    assert {line.gross for line in found} == {Money(1)}
    assert found[0].provider_no == "4200000925202101284997714292"
    assert found[0].at == datetime(2021, 1, 28, 9, 7, 11, tzinfo=UTC)
    assert sum(line.fee_e6 for line in found) == 0


def test_the_columns_of_today_give_the_whole_amounts_asked_for() -> None:
    assert wechat_bill.lines(bill(*GOOD), MCHID) == lines(59_400, -23_760)


def test_the_columns_of_before_give_the_same() -> None:
    content = bill(OLD_HEADER, OLD_CHARGE, OLD_REFUND, OLD_SUMMARY_HEADER, OLD_SUMMARY)
    assert wechat_bill.lines(content, MCHID) == lines(60_000, -20_000)


def test_a_product_may_be_called_anything_but_a_new_cell() -> None:
    for name in ("a\u2028b", "a\x0bb", 'a"b', "a,b", "a`b"):
        content = bill(HEADER, CHARGE.replace("月卡, 30 天", name), REFUND, SUMMARY_HEADER, SUMMARY)
        assert wechat_bill.lines(content, MCHID) == lines(59_400, -23_760)


def test_a_bill_without_lines_is_a_bill() -> None:
    assert wechat_bill.lines(bill(HEADER, SUMMARY_HEADER, "`0,`0.00,`0.00,`0.00,`0.00000,`0.00,`0.00"), MCHID) == []


def test_a_refund_made_without_a_number_of_ours_has_none() -> None:
    content = bill(HEADER, CHARGE, REFUND.replace("`ref_0", "`0"), SUMMARY_HEADER, SUMMARY)
    assert wechat_bill.lines(content, MCHID)[1].refund_id == ""


@pytest.mark.parametrize(
    "wrong",
    [
        "`3,`9.00,`3.60,`0.40,`0.03564,`10.00,`4.00",
        "`2,`9.00,`3.60,`0.40,`0.03565,`10.00,`4.00",
        "`2,`9.00,`3.60,`0.40,`0.03564,`10.01,`4.00",
        "`2,`9.00,`3.60,`0.40,`0.03564,`10.00,`3.99",
        "`2,`9.00,`3.60,`0.40,`0.03564,`10.00",
        "`2,`9.00,`3.60,`0.40,`a,`10.00,`4.00",
    ],
)
def test_a_summary_that_disagrees_with_the_lines_makes_no_bill(wrong: str) -> None:
    with pytest.raises(BadBill):
        wechat_bill.lines(bill(*GOOD[:-1], wrong), MCHID)


def test_a_bill_cut_short_is_none() -> None:
    whole = bill(*GOOD)
    end = whole.index(b"`9.00,`3.60")
    for length in range(1, end):
        with pytest.raises(BadBill):
            wechat_bill.lines(whole[:length], MCHID)


def test_a_bill_that_lost_a_line_is_none() -> None:
    for missing in range(len(GOOD)):
        with pytest.raises(BadBill):
            wechat_bill.lines(bill(*(row for at, row in enumerate(GOOD) if at != missing)), MCHID)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("`10.00", "`10.001"),
        ("`10.00", "`-10.00"),
        ("`10.00", "`1_0.00"),
        ("`10.00", "`１0.00"),
        ("`10.00", "`1e1"),
        ("`10.00", "`NaN"),
        ("`0.05940", "`0.059400"),
        ("`pay_1", "`pay 1"),
        ("`pay_1", "`"),
        ("`42001", "`" + "4" * 65),
        ("`SUCCESS", "`FREE"),
        ("`CNY", "`cny"),
        ("`2026-05-01", "`2026-02-30"),
        ("`2026-05-01", "`0001-01-01"),
        (f"`{MCHID}", "`1900000002"),
    ],
)
def test_a_line_in_another_form_makes_no_bill(old: str, new: str) -> None:
    assert old in CHARGE
    with pytest.raises(BadBill):
        wechat_bill.lines(bill(HEADER, CHARGE.replace(old, new, 1), REFUND, SUMMARY_HEADER, SUMMARY), MCHID)


@given(st.binary() | st.text().map(str.encode) | st.lists(st.sampled_from(GOOD)).map(lambda rows: bill(*rows)))
def test_whatever_comes_is_a_bill_or_none(content: bytes) -> None:
    with contextlib.suppress(BadBill):
        wechat_bill.lines(content, MCHID)


@given(st.integers(0, len(bill(*GOOD)) - 1), st.binary(min_size=1, max_size=3))
def test_a_changed_place_is_read_or_refused_and_never_more(place: int, instead: bytes) -> None:
    content = bill(*GOOD)
    with contextlib.suppress(BadBill):
        wechat_bill.lines(content[:place] + instead + content[place + 1 :], MCHID)
