"""How the books say no."""

from __future__ import annotations

from shared.kernel.errors import Refusal


class AlreadyReversed(Refusal):
    """facts: entry_id"""

    code, status = "already_reversed", 409
    zh = "该分录已经冲销过，每笔分录只能冲销一次。"
    en = "This entry has been reversed already; an entry is reversed at most once."
