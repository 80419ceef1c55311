"""Which cards to keep back for whom: those that will be good the longest, so that what is kept does not grow old."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from shared.inventory.shelf import OnShelf

COMMON = ""  # where a move leads that gives a card back to all


@dataclass(frozen=True)
class Kept:
    """One shelf of cards kept back: what lies on it, and how many there should be."""

    name: str
    cards: Sequence[OnShelf]
    target: int


@dataclass(frozen=True)
class Plan:
    """moves: card id → the name of the shelf it should lie on, or COMMON. short: name → how many cards it will lack."""

    moves: Mapping[str, str]
    short: Mapping[str, int]


def plan(kept: Sequence[Kept], common: Iterable[OnShelf], good_on: date) -> Plan:
    """How to come from what is kept to what should be; the first named are served first where there is not enough.

    common: of the cards for all, at least as many as all targets together, those that are good the longest.
    A card that is not good any longer on the day is kept for nobody. A plan carried out leaves nothing to be moved.
    """
    free = sorted(map(_by_day, common))
    own: dict[str, list[tuple[str, str]]] = {}
    lies = {card_id: COMMON for _, card_id in free}
    for one in kept:
        cards = sorted(map(_by_day, one.cards))
        lies |= {card_id: one.name for _, card_id in cards}
        good = [card for card in cards if card[0] >= good_on.isoformat()]
        surplus = max(0, len(good) - one.target)
        own[one.name] = good[surplus:]
        for card in good[:surplus]:
            insort(free, card)
    for one in kept:
        mine = own[one.name]
        while free and len(mine) < one.target:
            insort(mine, free.pop())
    for one in kept:
        mine = own[one.name]
        while free and mine and mine[0][0] < free[-1][0]:
            insort(mine, free.pop())
            insort(free, mine.pop(0))
    should = dict.fromkeys(lies, COMMON) | {card_id: name for name, cards in own.items() for _, card_id in cards}
    return Plan(
        moves={card_id: name for card_id, name in should.items() if name != lies[card_id]},
        short={one.name: one.target - len(own[one.name]) for one in kept if len(own[one.name]) < one.target},
    )


def _by_day(card: OnShelf) -> tuple[str, str]:
    return card.expires_on, card.card_id
