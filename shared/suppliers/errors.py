from shared.kernel.errors import Refusal


class UnknownSupplier(Refusal):
    code, status = "unknown_supplier", 404
    zh = "没有这个供应商。"
    en = "There is no such supplier."
