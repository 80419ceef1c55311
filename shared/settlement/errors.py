"""How settlement says no."""

from __future__ import annotations

from shared.kernel.errors import Refusal


class DayNotOver(Refusal):
    """facts: day, closes_at"""

    code, status = "day_not_over", 409
    zh = "{day} 尚未结束，北京时间次日 00:20 之后才能结账。"
    en = "{day} is not over yet: it can be closed after 00:20 Shanghai time of the next day."


class NotClosed(Refusal):
    """facts: day"""

    code, status = "day_not_closed", 404
    zh = "{day} 尚未结账，没有结算单。"
    en = "{day} has not been closed: it has no statement."
