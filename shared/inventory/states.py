"""The states of a card, and the moves between them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class CardState(StrEnum):
    AVAILABLE = "available"
    HELD = "held"
    SOLD = "sold"
    FROZEN = "frozen"
    EXPIRED = "expired"
    VOID = "void"


MOVES: Mapping[CardState, frozenset[CardState]] = MappingProxyType(
    {
        CardState.AVAILABLE: frozenset(
            {CardState.HELD, CardState.SOLD, CardState.FROZEN, CardState.EXPIRED, CardState.VOID}
        ),
        # A recall cannot take a card from under an order: it is marked, and leaves the order into the ice.
        CardState.HELD: frozenset({CardState.AVAILABLE, CardState.SOLD, CardState.FROZEN}),
        CardState.SOLD: frozenset(),
        CardState.FROZEN: frozenset({CardState.VOID}),
        CardState.EXPIRED: frozenset({CardState.VOID}),
        CardState.VOID: frozenset(),
    }
)
"""Sold is for ever. Void is what an import that was undone, or a lot that was destroyed, leaves behind."""

UNSOLD = frozenset({CardState.AVAILABLE, CardState.FROZEN, CardState.EXPIRED})
"""In our hands and in no order's."""
