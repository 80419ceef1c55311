"""How what people do with money by hand says no."""

from __future__ import annotations

from shared.kernel.errors import Refusal


class MoneyElsewhere(Refusal):
    """facts: provider_no, order_id: whose the money is, or - for nobody's."""

    code, status = "money_elsewhere", 409
    zh = "流水号 {provider_no} 的款项已入账，归属为 {order_id}，不能确认到本订单。"
    en = "The money numbered {provider_no} is on record already, as that of {order_id}: it cannot pay this order."


class NotInSuspense(Refusal):
    """facts: use, what the money was used for."""

    code, status = "not_in_suspense", 409
    zh = "这笔款项已有用途（{use}），不在待查款项中。"
    en = "This money has its use ({use}): it does not lie in suspense."
