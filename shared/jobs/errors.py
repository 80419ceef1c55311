"""How a job says no."""

from __future__ import annotations

from shared.kernel.errors import Refusal


class WrongJobState(Refusal):
    """facts: state, the one it is in."""

    code, status = "wrong_job_state", 409
    zh = "任务当前状态为 {state}，不能这样操作。"
    en = "The job is {state}: this cannot be done with it now."


class KeyReused(Refusal):
    code, status = "idempotency_key_reused", 422
    zh = "该 Idempotency-Key 已用于另一个不同的请求。"
    en = "This Idempotency-Key has been used for a different request."


class NotUndone(Refusal):
    """facts: kind."""

    code, status = "cannot_be_undone", 409
    zh = "类型为 {kind} 的任务不能撤销：请导入改正后的文件。"
    en = "A job of kind {kind} cannot be undone: import a corrected file instead."


class CardsGone(Refusal):
    """facts: held, sold: how many of its cards. Nothing was changed."""

    code, status = "cards_gone", 409
    zh = "此次导入已有 {sold} 张售出、{held} 张被占用，不能整批撤销；未作任何更改。"
    en = "{sold} cards of this import are sold and {held} held: it cannot be undone. Nothing was changed."


class RecalledMeanwhile(Refusal):
    """facts: lot_id."""

    code, status = "lot_recalled", 409
    zh = "批次 {lot_id} 已被召回或销毁，不能撤销导入。"
    en = "Lot {lot_id} has been recalled or destroyed: its import cannot be undone."


class CardsRest(Refusal):
    """facts: supplier, until: a moment in Shanghai."""

    code, status, retryable = "cards_rest", 409, True
    zh = "供应商 {supplier} 为 C 级，其卡密须静置到 {until} 才能入库。"
    en = "Supplier {supplier} is in tier C: his cards rest, and come into stock from {until} on."


class NotTakenFromHim(Refusal):
    """facts: supplier, reason: not_admitted, document_over, no_authorisation, or tier_d."""

    code, status = "not_taken_from_him", 409
    zh = "目前不能入库供应商 {supplier} 的卡密（{reason}）：请先处理该供应商。"
    en = "Cards of supplier {supplier} are not taken in ({reason}): see to the supplier first."


class LinkOver(Refusal):
    code, status = "link_over", 404
    zh = "链接无效或已过期：请在导入任务中重新获取。"
    en = "The link is not valid any more: get a new one from the import."
