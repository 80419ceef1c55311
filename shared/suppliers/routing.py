"""Of whom a line is bought: those who may not sell it are left out, each with the reason, the others are ranked. Pure.

The seller's own order comes first. Then counts what a delivered piece is expected to cost: the landed price, the loss
when the attempt fails, and the buyer's time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from shared.suppliers.breaker import Gate
from shared.suppliers.supplier import ENDLESS

FAILURE_COSTS = 0.10
"""What a failed attempt costs us, as a share of the price: the next supplier is dearer, and the buyer waits."""

SECOND_COSTS_E6 = 500
"""What a second of a buyer's waiting is worth, in millionths of a yuan per line: a minute is 3 fen."""

CAPS: Mapping[str, float] = MappingProxyType({"A": 1.0, "B": 0.40, "C": 0.10, "D": 0.0})
"""The share of a SKU's purchases that a tier may have while others sell it, too."""


class LeftOut(StrEnum):
    NOT_ADMITTED = "not_admitted"  # not approved, suspended, paused, stopped, or a document is over
    STALE = "stale"
    OFF_SHELF = "off_shelf"
    NO_STOCK = "no_stock"
    QUANTITY = "quantity"
    TOO_DEAR = "too_dear"
    NO_BALANCE = "no_balance"
    SHUT = "shut"  # its breaker
    TIER = "tier"
    DOUBTFUL = "doubtful"  # too cheap to be honest, and nobody has vouched for it by pinning it
    TRIED = "tried"
    FIELDS = "fields"  # it wants to know what our SKU does not ask
    RENAMED = "renamed"  # it is called otherwise than what a person has confirmed


@dataclass(frozen=True)
class Candidate:
    """One offer, with what is known of its supplier. landed_e6: of one piece, in millionths of a yuan.

    at_once: pieces that he sells in one purchase. balance_e6: what we have left there, in millionths of a yuan, or
    None. chance: of delivery, 0 to 1. seconds: to deliver, as nineteen of twenty are. share: of the SKU's last
    purchases. pin: its place in the seller's own order.
    """

    supplier: str
    product: str
    landed_e6: int
    stock: int | None = None
    least: int = 1
    most: int | None = None
    at_once: int = 30
    admitted: bool = True
    fresh: bool = True
    on_sale: bool = True
    fillable: bool = True
    renamed: bool = False
    doubtful: bool = False
    balance_e6: int | None = None
    gate: Gate = Gate.OPEN
    tier: str = "B"
    chance: float = 0.95
    seconds: float = 10.0
    share: float = 0.0
    pin: int | None = None


class Wanted(NamedTuple):
    """quantity: pieces. most_e6: what one may cost us, in millionths of a yuan. tried: suppliers that have failed."""

    quantity: int
    most_e6: int
    tried: frozenset[str] = frozenset()


class Choice(NamedTuple):
    """quantity: pieces to ask for, which may be fewer than are wanted. expected_e6: of one delivered piece.

    capped: its supplier has had his share, and comes only because nobody else is left before him.
    """

    supplier: str
    product: str
    quantity: int
    landed_e6: int
    expected_e6: int
    probe: bool
    capped: bool


class Decision(NamedTuple):
    choices: tuple[Choice, ...]
    left_out: tuple[tuple[str, str, LeftOut], ...]  # supplier, product, why

    @property
    def only_too_dear(self) -> bool:
        """Somebody would sell it, but for more than it may cost."""
        return not self.choices and any(why is LeftOut.TOO_DEAR for _, _, why in self.left_out)


def decide(candidates: Iterable[Candidate], wanted: Wanted) -> Decision:
    """Whom to ask first, second, … and why not the others."""
    ranked: list[tuple[tuple[bool, int, bool, str, int, str, str], Choice]] = []
    left_out: list[tuple[str, str, LeftOut]] = []
    for one in candidates:
        if why := _unfit(one, wanted):
            left_out.append((one.supplier, one.product, why))
            continue
        quantity = _pieces(one, wanted.quantity)
        choice = Choice(
            one.supplier,
            one.product,
            quantity,
            one.landed_e6,
            expected_e6(one, quantity),
            probe=one.gate is Gate.PROBE,
            capped=one.share >= CAPS[one.tier] and one.tier != "A",
        )
        pinned = one.pin is not None
        capped = choice.capped and not pinned
        # Where all have had their share, what is left is for those who are trusted most, and not for the cheapest.
        trusted = one.tier if capped else ""
        order = (not pinned, one.pin or 0, capped, trusted, choice.expected_e6, one.supplier, one.product)
        ranked.append((order, choice))
    return Decision(tuple(choice for _, choice in sorted(ranked)), tuple(sorted(left_out)))


def expected_e6(one: Candidate, quantity: int) -> int:
    """What a delivered piece is expected to cost, in millionths of a yuan, when so many are asked for."""
    return round(one.landed_e6 * (1 + FAILURE_COSTS * (1 - one.chance)) + SECOND_COSTS_E6 * one.seconds / quantity)


def _pieces(one: Candidate, wanted: int) -> int:
    """How many of the wanted can be asked for at once."""
    known = one.stock is not None and one.stock != ENDLESS
    limits = [wanted, one.at_once, *([one.stock or 0] if known else []), *([one.most] if one.most is not None else [])]
    return min(limits)


def _unfit(one: Candidate, wanted: Wanted) -> LeftOut | None:
    pieces = _pieces(one, wanted.quantity)
    checks = {
        LeftOut.NOT_ADMITTED: one.admitted,
        LeftOut.TRIED: one.supplier not in wanted.tried,
        LeftOut.TIER: CAPS[one.tier] > 0,
        LeftOut.OFF_SHELF: one.on_sale,
        LeftOut.STALE: one.fresh,
        LeftOut.RENAMED: not one.renamed,
        LeftOut.FIELDS: one.fillable,
        LeftOut.DOUBTFUL: not one.doubtful or one.pin is not None,
        LeftOut.NO_STOCK: one.stock != 0,
        LeftOut.QUANTITY: 0 < one.least <= pieces,
        LeftOut.TOO_DEAR: one.landed_e6 <= wanted.most_e6,
        LeftOut.NO_BALANCE: one.balance_e6 is None or one.balance_e6 >= one.landed_e6 * pieces,
        LeftOut.SHUT: one.gate is not Gate.SHUT,
    }
    return next((why for why, fine in checks.items() if not fine), None)
