from shared.kernel.errors import Refusal


class OutOfStock(Refusal):
    """facts: sku."""

    code, status = "out_of_stock", 409
    zh = "{sku} 库存不足。"
    en = "There is not enough stock of {sku}."


class TooManyRows(Refusal):
    """facts: limit."""

    code, status = "too_many_rows", 413
    zh = "文件超过 {limit} 行，请拆分后分次导入。"
    en = "The file has more than {limit} lines; split it and import the parts."


class CodeUnreadable(Refusal):
    """A ciphertext did not open. Nothing is shown; an alarm is raised."""

    code, status = "code_unreadable", 500
    zh = "卡密校验失败，已通知店主，请联系客服。"
    en = "A code failed its integrity check; the shop has been told. Please contact support."


class QuotaUsedUp(Refusal):
    """facts: sku. The channel has taken all of it that it may ever take; there may be cards for others."""

    code, status = "quota_used_up", 409
    zh = "该渠道的 {sku} 配额已用完。"
    en = "This channel's quota of {sku} is used up."
