from shared.kernel.errors import Refusal


class ReviewDecided(Refusal):
    """facts: state."""

    code, status = "review_decided", 409
    zh = "该审核已有结果（{state}）。"
    en = "This review has been decided already ({state})."


class HoldLimit(Refusal):
    """One contact or address would hold more unpaid than its share, or has let too many orders run out today."""

    code, status, retryable = "hold_limit", 429, True
    zh = "未付款占用的数量过多，请先支付或取消未付款的订单，或减少数量后再试。"
    en = "Too much would be held unpaid; pay or cancel your open orders first, or order fewer."
