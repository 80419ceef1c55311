from shared.kernel.errors import Refusal


class PriceChanged(Refusal):
    """facts: quote_hash, the one that holds now."""

    code, status = "price_changed", 409
    zh = "价格或库存信息已变化，请重新确认后下单。"
    en = "The price has changed since it was quoted; look again and confirm."


class ReferenceReused(Refusal):
    code, status = "reference_reused", 422
    zh = "该 client_ref 已用于另一笔不同的订单。"
    en = "This client_ref has been used for a different order."


class WeakReference(Refusal):
    code, status = "weak_reference", 422
    zh = "client_ref 需包含至少 128 位随机数（例如 UUID）。"
    en = "client_ref must hold at least 128 random bits, such as a UUID."


class NoContact(Refusal):
    code, status = "no_contact", 422
    zh = "请填写有效的手机号或邮箱。"
    en = "Give a valid phone number or e-mail address."


class ForeignChannel(Refusal):
    code, status = "foreign_channel", 403
    zh = "您的凭证不属于该销售渠道。"
    en = "Your credential does not belong to that channel."


class OverLimit(Refusal):
    """facts: sku, limit."""

    code, status = "over_limit", 409
    zh = "{sku} 每单限购 {limit} 件。"
    en = "{sku} is limited to {limit} per order."


class TooManyCards(Refusal):
    """facts: limit."""

    code, status = "too_many_cards", 422
    zh = "每单最多 {limit} 张。"
    en = "An order holds at most {limit} cards."


class TooManyPayments(Refusal):
    """facts: limit."""

    code, status = "too_many_payments", 409
    zh = "该订单的支付尝试已达 {limit} 次，请使用已有的支付链接。"
    en = "This order has had {limit} attempts to pay; use one of them."


class NotOpen(Refusal):
    """facts: order_status. The order has left the state in which this could be done."""

    code, status = "order_not_open", 409
    zh = "订单当前状态（{order_status}）不能进行此操作。"
    en = "The order is {order_status}; this cannot be done any more."


class AmountDiffers(Refusal):
    """facts: total_minor, currency."""

    code, status = "amount_differs", 422
    zh = "金额与订单不符，应为 {total_minor}（{currency} 最小单位）。"
    en = "The amount is not the order's, which is {total_minor} minor units of {currency}."


class OnlyWhole(Refusal):
    """facts: order_status. What the buyer has not got yet is given back with the whole order or not at all."""

    code, status = "only_whole_refund", 409
    zh = "尚未交付的部分（订单状态 {order_status}）只能整单退款。"
    en = "What is not delivered yet (the order is {order_status}) can only be refunded with the whole order."


class MoreThanPaid(Refusal):
    """facts: left_minor, currency: what can still be given back of what was asked for."""

    code, status = "more_than_paid", 409
    zh = "超出可退金额：最多还能退 {left_minor}（{currency} 最小单位）。"
    en = "More than can be given back: {left_minor} minor units of {currency} are left."


class NotDelivered(Refusal):
    """facts: order_status."""

    code, status, retryable = "not_delivered", 409, True
    zh = "订单尚未发货（{order_status}），请稍后再试。"
    en = "The order is {order_status}, not delivered yet; try again in a moment."
