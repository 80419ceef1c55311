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


class TooManySuppliers(Refusal):
    """facts: limit."""

    code, status = "too_many_suppliers", 422
    zh = "供应商最多 {limit} 个。"
    en = "There can be {limit} suppliers at most."


class TooManyDocuments(Refusal):
    """facts: limit."""

    code, status = "too_many_documents", 422
    zh = "一个供应商的证照材料最多 {limit} 份。"
    en = "A supplier can have {limit} documents at most."


class WrongStanding(Refusal):
    """facts: standing."""

    code, status = "wrong_standing", 409
    zh = "供应商当前状态为 {standing}，不能这样操作。"
    en = "The supplier is {standing}: this cannot be done now."


class PapersMissing(Refusal):
    """facts: papers, those that are needed and not there, or over."""

    code, status = "papers_missing", 409
    zh = "证照材料缺失或已到期：{papers}。"
    en = "Documents are missing or over: {papers}."


class SamePerson(Refusal):
    code, status = "same_person", 403
    zh = "需要两个人：请另一位有权限的同事来做这一步。"
    en = "This takes two people: another one has to take this step."


class WrongDocumentState(Refusal):
    """facts: state."""

    code, status = "wrong_document_state", 409
    zh = "该材料当前状态为 {state}，不能这样操作。"
    en = "The document is {state}: this cannot be done now."


class NothingUploaded(Refusal):
    """facts: limit, in bytes."""

    code, status = "nothing_uploaded", 409
    zh = "没有收到文件，或文件为空、超过 {limit} 字节。请重新上传。"
    en = "No file has come, or it is empty or larger than {limit} bytes. Upload it again."


class UnknownOffer(Refusal):
    code, status = "unknown_offer", 404
    zh = "该供应商没有这个商品。"
    en = "The supplier has no such product."


class MappedOtherwise(Refusal):
    """facts: sku, the one that it is mapped to, or an empty text."""

    code, status = "mapped_otherwise", 409
    zh = "该商品的对应关系已经改变，请刷新后再操作。"
    en = "The product is mapped to something else by now; look again."


class ListTooLong(Refusal):
    code, status = "list_too_long", 422
    zh = "未能在限定时间内读完该供应商的商品；定时同步的时限更长，会再试。"
    en = "The supplier's list did not end in time; the scheduled sync, which may take longer, tries it again."


class OrdersOut(Refusal):
    code, status = "orders_out", 409
    zh = "该供应商还有未结束的采购。请先暂停采购，等这些采购结束后再改。"
    en = "This supplier has orders of ours that have not ended. Pause him, and change this when they have."


class AttemptOver(Refusal):
    """facts: state."""

    code, status = "attempt_over", 409
    zh = "这次采购当前状态为 {state}，不能这样操作。"
    en = "This attempt to buy is {state}: this cannot be done now."


class NotByHand(Refusal):
    code, status = "not_by_hand", 409
    zh = "只有等待人工采购的充值才能查看账号。"
    en = "An account is shown only of a top-up that waits for a person to buy it."


class AccountAltered(Refusal):
    code, status = "account_altered", 409
    zh = "该订单的充值账号与买家下单时所填的不一致，不能采购；请联系工程师。"
    en = "The account is not what the order's buyer gave: buy nothing, and call an engineer."


class TooMuchOnItsWay(Refusal):
    """facts: limit."""

    code, status = "too_much_on_its_way", 409
    zh = "在途的备货单最多 {limit} 张：请先关闭不会再到货的。"
    en = "{limit} orders for stock can be on their way at most: close those of which nothing more comes."


class NobodySells(Refusal):
    """facts: sku."""

    code, status = "nobody_sells", 409
    zh = "目前没有可以为库存采购“{sku}”的供应商（或数量不符合起订量、库存）。"
    en = "No supplier can be asked for so many of {sku} for stock at the moment."
