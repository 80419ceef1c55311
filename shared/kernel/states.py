"""Moves along a graph and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class IllegalMove(Exception):
    """A programme tried a move the graph does not have: a defect, never a caller's fault."""


def check_move(moves: Mapping[StrEnum, frozenset[StrEnum]], old: StrEnum, new: StrEnum) -> None:
    """Raise IllegalMove unless `moves` leads from `old` to `new`; staying is always legal."""
    if new != old and new not in moves.get(old, frozenset()):
        raise IllegalMove(f"{old} → {new}")
