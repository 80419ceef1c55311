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


class RefundNotRefused(Refusal):
    """facts: state."""

    code, status = "refund_not_refused", 409
    zh = "该退款尚未被支付渠道拒绝（{state}），不能登记为人工退款。"
    en = "The provider has not refused this refund ({state}); it cannot be recorded as paid by hand."
