"""What a supplier means who refuses in words, or by numbers whose meaning is not published."""

from __future__ import annotations

import re
from typing import Final

from shared.suppliers.supplier import Reason

# In this order: whoever says that our signature is wrong speaks of nothing else, and "no such order" is no product.
_WORDS: Final = tuple(
    (re.compile(words, re.IGNORECASE), reason)
    for words, reason in (
        ("签名|验签|密钥错误|sign(ature)? (error|invalid|wrong)|invalid sign", Reason.BAD_SIGNATURE),
        ("白名单|IP ?(地址)?(不|未|受限)|whitelist", Reason.NOT_ALLOWED),
        ("(商户|商家|app_?key|app_?id).{0,6}(不存在|禁用|停用|冻结|无效|未授权)|invalid app", Reason.NOT_ALLOWED),
        ("(?<!充值)(账户|账号|用户).{0,3}(禁用|停用|封禁)", Reason.NOT_ALLOWED),
        ("already exists|(订单号?|编号|请求).{0,6}(已存在|重复)|重复(提交|下单|订单)", Reason.DUPLICATE),
        ("余额不足|余额不够|insufficient balance", Reason.LOW_BALANCE),
        ("库存不足|库存不够|无库存|无货|缺货|断货|售罄|out of stock", Reason.NO_STOCK),
        ("(商品|产品|货品).{0,4}(不存在|(已|被)?下架|已?停售|维护|未上架|未授权)", Reason.OFF_SHELF),
        ("(价格|成本|单价).{0,6}(超|高于|大于)", Reason.ABOVE_CEILING),
        ("充值(信息|参数).{0,6}(错误|不完整|有误)|填写.{0,6}充值(信息|参数|账号)", Reason.BAD_ACCOUNT),
        ("(充值)?(账号|帐号|手机号|号码|区服).{0,6}(错误|不存在|不正确|有误|无效|不支持|不符合)", Reason.BAD_ACCOUNT),
        ("(最低|最少|最多|单次).{0,4}(购买|数量)|(购买)?数量.{0,6}(错误|不足|超)|限购", Reason.BAD_QUANTITY),
    )
)
_NO_ORDER: Final = re.compile(
    "(订单|记录).{0,4}(不存在|未找到|未查到)|(未找到|无此|没有).{0,4}订单|order not found", re.IGNORECASE
)

CONFIGURATION: Final = frozenset({Reason.BAD_SIGNATURE, Reason.NOT_ALLOWED})
"""It is about who we are: nobody's order will get through."""

BEFORE_BUYING: Final = frozenset(
    {
        Reason.LOW_BALANCE,
        Reason.NO_STOCK,
        Reason.OFF_SHELF,
        Reason.ABOVE_CEILING,
        Reason.BAD_ACCOUNT,
        Reason.BAD_QUANTITY,
    }
)
"""Said before anything is bought, and so definite."""


def reason(message: str) -> Reason:
    """What the words mean; OTHER where they are none that we know."""
    return next((found for words, found in _WORDS if words.search(message)), Reason.OTHER)


def no_such_order(message: str) -> bool:
    return bool(_NO_ORDER.search(message))
