"""The states of a card."""

from __future__ import annotations

from enum import StrEnum


class CardState(StrEnum):
    """available → held → available | sold; sold is for ever."""

    AVAILABLE = "available"
    HELD = "held"
    SOLD = "sold"
