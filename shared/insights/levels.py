"""What a change of a card does to the levels it counts in, and whether a level still tells the truth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

STATES = ("available", "held", "sold", "frozen", "expired", "void")
IN_CHANNEL = frozenset({"held", "sold"})  # the other states belong to no channel
ALL = "all"
_SKU, _LOT, _CHANNEL = "sku#", "lot#", "channel#"


class Key(NamedTuple):
    """Whose level: of a SKU or a lot, and which part of it."""

    of: str
    part: str = ALL

    @property
    def sku(self) -> str | None:
        """The SKU whose whole level this is, or None."""
        return self.of.removeprefix(_SKU) if self.of.startswith(_SKU) and self.part == ALL else None

    @property
    def channel(self) -> str | None:
        return self.part.removeprefix(_CHANNEL) if self.part.startswith(_CHANNEL) else None

    @property
    def counts(self) -> bool:
        """Whether this names a level; beside the levels lie other things."""
        return self.of.startswith((_SKU, _LOT)) and (self.part == ALL or self.part.startswith(_CHANNEL))


def of_sku(sku: str) -> Key:
    return Key(f"{_SKU}{sku}")


def of_channel(sku: str, channel: str) -> Key:
    return Key(f"{_SKU}{sku}", f"{_CHANNEL}{channel}")


def of_lot(lot_id: str) -> Key:
    return Key(f"{_LOT}{lot_id}")


@dataclass(frozen=True, slots=True)
class Level:
    """How many cards are in each state, and how many moves have been counted on the way there."""

    available: int = 0
    held: int = 0
    sold: int = 0
    frozen: int = 0
    expired: int = 0
    void: int = 0
    moves: int = 0

    @property
    def numbers(self) -> tuple[int, ...]:
        return self.available, self.held, self.sold, self.frozen, self.expired, self.void

    @property
    def shown(self) -> Level:
        """No card is there less than not at all: what the stream has lost must not confuse a reader."""
        return Level(*(max(0, number) for number in (*self.numbers, self.moves)))


class Seen(NamedTuple):
    """What the levels know of a card."""

    sku: str
    lot_id: str
    state: str
    channel: str | None = None

    @classmethod
    def of(cls, image: Mapping[str, Any]) -> Seen:
        """The card of a stream record's image; KeyError, TypeError or ValueError if it cannot be read."""
        channel = image.get("channel")
        seen = cls(image["sku"]["S"], image["lot_id"]["S"], image["state"]["S"], channel["S"] if channel else None)
        if seen.state not in STATES or not seen.sku or not seen.lot_id:
            raise ValueError("not a card's image")
        return seen

    @property
    def keys(self) -> list[Key]:
        """The levels in which the card counts."""
        keys = [of_sku(self.sku), of_lot(self.lot_id)]
        return [*keys, of_channel(self.sku, self.channel)] if self.state in IN_CHANNEL and self.channel else keys


@dataclass
class Sums:
    """Additions to one level."""

    numbers: dict[str, int] = field(default_factory=dict)
    moves: int = 0

    def add(self, state: str, count: int) -> None:
        self.numbers[state] = self.numbers.get(state, 0) + count


def sums(changes: Iterable[tuple[Seen | None, Seen | None]]) -> dict[Key, Sums]:
    """What these changes (before, after) add to each level they touch; what did not move adds nothing."""
    found: dict[Key, Sums] = {}
    for old, new in changes:
        if old == new:
            continue
        touched: set[Key] = set()
        for seen, count in ((old, -1), (new, 1)):
            if seen:
                touched |= set(seen.keys)
                for key in seen.keys:
                    found.setdefault(key, Sums()).add(seen.state, count)
        for key in touched:
            found[key].moves += 1
    return found


class Verdict(Enum):
    """What a recount says of a level."""

    RIGHT = "right"
    UNSURE = "unsure"  # the moves counted meanwhile may explain the difference
    DRIFT = "drift"  # they do not


def verdict(counted: Sequence[int], level: Level, moves_before: int) -> Verdict:
    """Compare the cards, counted one after the other, with the level read after that.

    moves_before: what the level had counted before the first card was. Each move shifts a number by one at most.
    """
    off = max(abs(number - stored) for number, stored in zip(counted, level.numbers, strict=True))
    if off == 0:
        return Verdict.RIGHT
    return Verdict.DRIFT if off > level.moves - moves_before else Verdict.UNSURE
