"""What suppliers mean who refuse in words."""

from __future__ import annotations

import pytest

from shared.suppliers.refusal_words import BEFORE_BUYING, CONFIGURATION, no_such_order, reason, refused
from shared.suppliers.supplier import Answer, Outcome, Reason


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
        ("库存数量不足", Reason.NO_STOCK),
        ("单号已存在", Reason.DUPLICATE),
        ("供应商余额不足", Reason.OTHER),
        ("代理账户已停用", Reason.NOT_ALLOWED),
        ("商户10086已禁用", Reason.NOT_ALLOWED),
        ("游戏账号已封禁", Reason.BAD_ACCOUNT),
        ("该QQ账号被封禁", Reason.BAD_ACCOUNT),
        ("您充值的账号已被封禁", Reason.BAD_ACCOUNT),
        ("您的账号已被封禁", Reason.OTHER),
        ("白名单账号才能购买", Reason.OTHER),
        ("接口账号不存在", Reason.OTHER),
        ("订单号码无效", Reason.OTHER),
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
    ("words", "typed", "expected"),
    [
        ("充值账号 签名错误 不存在", "签名错误", Reason.BAD_ACCOUNT),
        ("账号ip未授权无效", "IP未授权", Reason.BAD_ACCOUNT),
        ("签名错误", "13800138000", Reason.BAD_SIGNATURE),
        ("商品库存不足", "", Reason.NO_STOCK),
    ],
)
def test_what_a_buyer_has_typed_means_nothing(words: str, typed: str, expected: Reason) -> None:
    assert reason(words, [typed]) is expected


@pytest.mark.parametrize(
    ("why", "account", "outcome", "told"),
    [
        (Reason.NOT_ALLOWED, [], Outcome.REFUSED, Reason.NOT_ALLOWED),
        (Reason.NO_STOCK, [], Outcome.FAILED, Reason.NO_STOCK),
        (Reason.BAD_ACCOUNT, ["13800138000"], Outcome.FAILED, Reason.BAD_ACCOUNT),
        (Reason.BAD_ACCOUNT, [""], Outcome.UNKNOWN, Reason.OTHER),
        (Reason.DUPLICATE, [], Outcome.UNKNOWN, Reason.DUPLICATE),
        (Reason.BUSY, [], Outcome.RETRY, Reason.BUSY),
        (Reason.OTHER, [], Outcome.UNKNOWN, Reason.OTHER),
    ],
)
def test_a_wrong_account_is_one_only_of_a_top_up(
    why: Reason, account: list[str], outcome: Outcome, told: Reason
) -> None:
    assert refused(why, Outcome.FAILED, account) == Answer(outcome, told)


@pytest.mark.parametrize(
    ("words", "is_so"),
    [
        ("订单不存在", True),
        ("订单不存在，请核对", True),
        ("订单编号不存在", True),
        ("未找到该订单", True),
        ("查无此订单", True),
        ("无此订单信息", True),
        ("未查询到相关订单", True),
        ("Order not found.", True),
        ("没有权限查询订单", False),
        ("没有订单权限", False),
        ("未找到订单查询接口", False),
        ("订单查询接口不存在", False),
        ("订单所属商户不存在", False),
        ("白名单中无此订单", False),
        ("订单不存在权限", False),
        ("商品不存在", False),
        ("", False),
    ],
)
def test_only_a_missing_order_is_one(words: str, is_so: bool) -> None:
    assert no_such_order(words) is is_so
