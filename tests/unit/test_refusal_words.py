"""What suppliers mean who refuse in words."""

from __future__ import annotations

import pytest

from shared.suppliers.refusal_words import BEFORE_BUYING, CONFIGURATION, no_such_order, reason
from shared.suppliers.supplier import Reason


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("签名错误", Reason.BAD_SIGNATURE),
        ("密钥错误", Reason.BAD_SIGNATURE),
        ("当前IP不在白名单", Reason.NOT_ALLOWED),
        ("商户ID不存在", Reason.NOT_ALLOWED),
        ("账号已被封禁", Reason.NOT_ALLOWED),
        ("The request ID already exists", Reason.DUPLICATE),
        ("外部订单号已存在", Reason.DUPLICATE),
        ("请勿重复提交", Reason.DUPLICATE),
        ("商户余额不足", Reason.LOW_BALANCE),
        ("商品库存不足", Reason.NO_STOCK),
        ("当前商品已停售", Reason.OFF_SHELF),
        ("商品不存在", Reason.OFF_SHELF),
        ("价格高于上限", Reason.ABOVE_CEILING),
        ("充值账号不符合要求", Reason.BAD_ACCOUNT),
        ("手机号有误", Reason.BAD_ACCOUNT),
        ("请填写完整的充值信息", Reason.BAD_ACCOUNT),
        ("充值信息不完整", Reason.BAD_ACCOUNT),
        ("单次最多购买5件", Reason.BAD_QUANTITY),
        ("系统繁忙，请稍后再试", Reason.OTHER),
        ("", Reason.OTHER),
    ],
)
def test_the_words_of_a_refusal_have_a_reason(words: str, expected: Reason) -> None:
    assert reason(words) is expected


def test_an_account_to_be_charged_is_not_our_own() -> None:
    assert reason("充值账号已禁用") not in CONFIGURATION


def test_a_number_that_is_taken_is_never_a_definite_no() -> None:
    assert not {Reason.DUPLICATE, Reason.OTHER, Reason.BUSY} & BEFORE_BUYING
    assert not CONFIGURATION & BEFORE_BUYING


@pytest.mark.parametrize(
    ("words", "is_so"), [("订单不存在", True), ("未找到该订单", True), ("商品不存在", False), ("", False)]
)
def test_only_a_missing_order_is_one(words: str, is_so: bool) -> None:
    assert no_such_order(words) is is_so
