from shared.kernel.errors import Refusal


class ReviewDecided(Refusal):
    """facts: state."""

    code, status = "review_decided", 409
    zh = "该审核已有结果（{state}）。"
    en = "This review has been decided already ({state})."
