"""Moves along a graph and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

State = TypeVar("State", bound=StrEnum)


class IllegalMove(Exception):
    """A programme tried a move the graph does not have: a defect, never a caller's fault."""


def check_move(moves: Mapping[State, frozenset[State]], old: State, new: State) -> None:
    """Raise IllegalMove unless `moves` leads from `old` to `new`; staying is always legal."""
    if new != old and new not in moves.get(old, frozenset()):
        raise IllegalMove(f"{old} → {new}")
