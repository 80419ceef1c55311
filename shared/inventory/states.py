"""The states of a card and its legal moves."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class CardState(StrEnum):
    AVAILABLE = "available"
    HELD = "held"
    SOLD = "sold"


MOVES: Mapping[CardState, frozenset[CardState]] = MappingProxyType(
    {
        CardState.AVAILABLE: frozenset({CardState.HELD}),
        CardState.HELD: frozenset({CardState.AVAILABLE, CardState.SOLD}),
        CardState.SOLD: frozenset(),  # at most once, ever
    }
)
