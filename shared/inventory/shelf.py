"""Which cards to take from the shelf: first to expire first, by day; ties at random so that buyers rarely collide."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from random import Random

NEVER = "9999-12-31"  # the expiry day of what does not expire: sorts last
SAFETY = "safety"  # the name under which safety stock is set aside: no channel has it
WINDOW = 20  # how many of the first to expire are looked at beyond what is needed


@dataclass(frozen=True)
class OnShelf:
    card_id: str
    expires_on: str


def place(sku: str, card_id: str, shards: int) -> str:
    """The shelf a card lies on; neighbours by id, so the cards of one import, go to different shards."""
    return f"{sku}#{sum(card_id.encode()) % shards}"


def aside(sku: str, channel: str) -> str:
    """The shelf of the cards kept back for one channel; `SAFETY` is nobody's."""
    return f"{sku}@{channel}#0"  # neither SKUs nor channels hold @ or #


def order_key(expires_on: date | None, card_id: str) -> str:
    return f"{expires_on.isoformat() if expires_on else NEVER}#{card_id}"


def choose(seen: Iterable[OnShelf], count: int, chance: Random) -> Sequence[OnShelf]:
    """At most `count` cards: every day's cards before the next day's, in random order within the day."""
    return sorted(seen, key=lambda card: (card.expires_on, chance.random()))[:count]
