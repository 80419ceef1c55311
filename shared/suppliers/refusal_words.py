"""What a supplier means who refuses in words, or by numbers whose meaning is not published."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from shared.suppliers.supplier import Answer, Outcome, Reason

# In this order: whoever says that our signature is wrong speaks of nothing else, and "no such order" is no product.
_BARRED = "(禁用|停用|封禁|冻结|封停)"
_WORDS: Final = tuple(
    (re.compile(words, re.IGNORECASE), reason)
    for words, reason in (
        (f"(游戏|QQ|微信|手机|充值).{{0,4}}(账号|帐号|账户).{{0,3}}{_BARRED}", Reason.BAD_ACCOUNT),
        ("(?<!个性)签名|验签|密钥错误|sign(ature)? (error|invalid|wrong)|invalid sign", Reason.BAD_SIGNATURE),
        ("白名单(?!账号|用户|商品)|IP ?(地址)?(不|未|受限)|whitelist", Reason.NOT_ALLOWED),
        ("(商户|商家|app_?key|app_?id).{0,6}(不存在|无效|未授权)|invalid app", Reason.NOT_ALLOWED),
        (f"(商户|商家|代理|接口|平台|API|app_?key|app_?id)(账户|账号|用户)?.{{0,6}}{_BARRED}", Reason.NOT_ALLOWED),
        (f"^(账户|账号|用户)(已|被|已被){_BARRED}", Reason.NOT_ALLOWED),
        ("already exists|(单号|编号|请求).{0,6}(已存在|重复)|重复(提交|下单|订单)", Reason.DUPLICATE),
        ("库存.{0,2}(不足|不够)|无库存|无货|缺货|断货|售罄|out of stock", Reason.NO_STOCK),
        ("供应商.{0,4}余额", Reason.OTHER),  # his own with whom he buys, not ours with him
        ("余额不足|余额不够|insufficient balance", Reason.LOW_BALANCE),
        ("(商品|产品|货品).{0,4}(不存在|(已|被)?下架|已?停售|维护|未上架|未授权)", Reason.OFF_SHELF),
        ("(价格|成本|单价).{0,6}(超|高于|大于)", Reason.ABOVE_CEILING),
        ("充值(信息|参数).{0,6}(错误|不完整|有误)|填写.{0,6}充值(信息|参数|账号)", Reason.BAD_ACCOUNT),
        (
            "(?<!订单)(?<!接口)(账号|帐号|手机号|号码|区服).{0,6}(错误|不存在|不正确|有误|无效|不支持|不符合)",
            Reason.BAD_ACCOUNT,
        ),
        ("(最低|最少|最多|单次).{0,4}(购买|数量)|(购买)?数量.{0,6}(错误|不足|超)|限购", Reason.BAD_QUANTITY),
    )
)
# Up to the end of the sentence: what "cannot be found" may be the door of questions, or whose orders they are.
_NO_ORDER: Final = re.compile(
    "((订单|(交易|充值|购买)记录)(号|号码|编号|信息|数据|记录)?(不存在|未找到|未查到|未查询到)"
    "|(未找到|未查到|未查询到|没有找到|没有查到|没有[该此]|没有这个|查?无)[该此]?(相关|对应)?的?订单(号|信息|数据|记录)?"
    r"|order not found)(?=$|\W)",
    re.IGNORECASE,
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


def reason(message: str, account: Iterable[str] = ()) -> Reason:
    """What the words mean; OTHER where they are none that we know.

    account: what the buyer has typed, which they may repeat: it means nothing, whatever it says.
    """
    for typed in filter(None, account):
        message = re.sub(re.escape(typed), "*", message, flags=re.IGNORECASE)
    return next((found for words, found in _WORDS if words.search(message)), Reason.OTHER)


def no_such_order(message: str) -> bool:
    """Whether they say that he has no such order, and nothing else, such as that we may not ask."""
    return reason(message) is Reason.OTHER and bool(_NO_ORDER.search(message))


def refused(reason: Reason, definite: Outcome, account: Iterable[str] = ()) -> Answer:
    """What a refusal for this reason makes of an order; words that nobody knows may come after it was bought.

    definite: what it is where it is said before anything is bought. account: what the buyer has typed of a top-up;
    without any, the account that is wrong is not his.
    """
    if reason in CONFIGURATION:
        return Answer(Outcome.REFUSED, reason)
    if reason is Reason.BUSY:  # they have counted the call, and done nothing
        return Answer(Outcome.RETRY, reason)
    if reason is Reason.BAD_ACCOUNT and not any(account):
        return Answer(Outcome.UNKNOWN, Reason.OTHER)
    return Answer(definite if reason in BEFORE_BUYING else Outcome.UNKNOWN, reason)
