from shared.kernel.errors import Refusal


class OutOfStock(Refusal):
    """facts: sku."""

    code, status = "out_of_stock", 409
    zh = "{sku} 库存不足。"
    en = "There is not enough stock of {sku}."


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


class LotDestroyed(Refusal):
    """facts: lot_id."""

    code, status = "lot_destroyed", 410
    zh = "批次 {lot_id} 的密钥已销毁，其中的卡密不可再读取。"
    en = "The keys of lot {lot_id} have been destroyed: no code of it can be read any more."


class RevealLimit(Refusal):
    """facts: limit."""

    code, status = "reveal_limit", 429
    zh = "您今天查看的卡密已达上限（{limit} 张），明天再试，或请店主导出。"
    en = "You have looked at {limit} codes today, the most there may be. Try tomorrow, or ask for an export."


class OwnRequest(Refusal):
    code, status = "own_request", 403
    zh = "不能批准自己的申请，请另一位有权限的同事批准。"
    en = "Nobody approves his own request: another person has to."


class NotYours(Refusal):
    code, status = "not_yours", 403
    zh = "只有申请人本人可以打开。"
    en = "Only the person who asked for it may open it."


class ExportOpened(Refusal):
    code, status = "export_opened", 410
    zh = "该导出已打开过一次，或文件已删除；如仍需要，请重新申请。"
    en = "This export has been opened once, or its file is deleted. Ask for another if you need it."
