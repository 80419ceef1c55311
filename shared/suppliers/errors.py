from shared.kernel.errors import Refusal


class UnknownSupplier(Refusal):
    code, status = "unknown_supplier", 404
    zh = "没有这个供应商。"
    en = "There is no such supplier."


class BadCallback(Refusal):
    """Forged, stale or unreadable: the supplier would not have sent it."""

    code, status = "bad_callback", 400
    zh = "供应商回调未通过校验。"
    en = "The callback failed verification."


class SupplierSilent(Refusal):
    """No trustworthy answer; facts: supplier."""

    code, status, retryable = "supplier_silent", 503, True
    zh = "供应商 {supplier} 暂时没有回应，请稍后再试。"
    en = "Supplier {supplier} does not answer at the moment. Try again later."


class SupplierRefused(Refusal):
    """facts: supplier, reason."""

    code, status = "supplier_refused", 422
    zh = "供应商 {supplier} 拒绝了请求：{reason}。"
    en = "Supplier {supplier} refused: {reason}."
