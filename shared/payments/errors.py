from shared.kernel.errors import Refusal


class UnknownProvider(Refusal):
    code, status = "unknown_provider", 404
    zh = "没有这个支付渠道。"
    en = "There is no such payment provider."


class UnknownMethod(Refusal):
    """facts: payment_method."""

    code, status = "unknown_payment_method", 422
    zh = "不支持支付方式 {payment_method}。"
    en = "Payment method {payment_method} is not available."


class BadNotification(Refusal):
    """Forged, stale or unreadable: the provider would not have sent it."""

    code, status = "bad_notification", 400
    zh = "支付通知未通过校验。"
    en = "The notification failed verification."


class UnknownPayment(Refusal):
    code, status = "unknown_payment", 404
    zh = "没有这笔支付。"
    en = "There is no such payment."


class UnknownMoney(Refusal):
    code, status = "unknown_money", 404
    zh = "没有这笔到账记录。"
    en = "There is no such money on record."


class RefundNotRefused(Refusal):
    """facts: state."""

    code, status = "refund_not_refused", 409
    zh = "该退款尚未被支付渠道拒绝（{state}），不能登记为人工退款。"
    en = "The provider has not refused this refund ({state}); it cannot be recorded as paid by hand."


class ProviderSilent(Refusal):
    """No trustworthy answer; facts: provider."""

    code, status, retryable = "provider_silent", 503, True
    zh = "支付渠道 {provider} 暂时没有回应，请稍后重试或换一种支付方式。"
    en = "Payment provider {provider} does not answer; try again in a moment or pay another way."


class ProviderRefused(Refusal):
    """facts: provider, reason (the provider's own code)."""

    code, status = "provider_refused", 409
    zh = "支付渠道 {provider} 拒绝了这笔支付（{reason}），请换一种支付方式。"
    en = "Payment provider {provider} refused this payment ({reason}); pay another way."


class MethodOut(Refusal):
    """facts: payment_method."""

    code, status, retryable = "payment_method_out", 503, True
    zh = "支付方式 {payment_method} 暂时不可用，请换一种支付方式或稍后再试。"
    en = "Payment method {payment_method} is out of order just now; pay another way, or try again later."


class TooManyMerchants(Refusal):
    """facts: limit."""

    code, status = "too_many_merchants", 422
    zh = "收款账户最多 {limit} 个。"
    en = "There can be {limit} merchant accounts at most."


class NoPayer(Refusal):
    """facts: payment_method."""

    code, status = "no_payer", 422
    zh = "支付方式 {payment_method} 需要 payer（买家在该渠道的标识，例如微信 openid）。"
    en = "Payment method {payment_method} needs payer: how the provider knows the buyer, such as a WeChat openid."


class BillNotReady(Exception):
    """The provider has not made this day's bill yet: ask again later."""


class BadBill(Exception):
    """What came is not a bill in the documented form."""
