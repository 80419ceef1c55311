"""The life of an order: its status is one function of the facts, and it moves along one graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Status(StrEnum):
    HOLDING = "holding"  # a large order takes its cards in several transactions; nobody can pay it yet
    PLACED = "placed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    PAID = "paid"
    REVIEW = "review"
    CLEARED = "cleared"
    REFUSED = "refused"
    PARTLY_DELIVERED = "partly_delivered"
    DELIVERED = "delivered"
    REFUNDING = "refunding"
    REFUNDED = "refunded"


class LineState(StrEnum):
    WAITING = "waiting"
    BUYING = "buying"  # a supplier is asked for it
    DELIVERED = "delivered"
    FAILED = "failed"  # nobody has it; its money is still to go back
    RETURNED = "returned"  # nobody had it, and its money goes back


class Decision(StrEnum):
    CLEARED = "cleared"
    REVIEW = "review"
    REFUSED = "refused"


class Refund(StrEnum):
    """How far the refund of an order has come, as the order needs to know it."""

    OPEN = "open"
    DONE = "done"


MOVES: Mapping[Status, frozenset[Status]] = MappingProxyType(
    {
        Status.HOLDING: frozenset({Status.PLACED, Status.CANCELLED}),
        Status.PLACED: frozenset({Status.PAID, Status.EXPIRED, Status.CANCELLED}),
        # Closed is not final: late money is honoured with stock or given back.
        Status.EXPIRED: frozenset({Status.PAID, Status.REFUNDING}),
        Status.CANCELLED: frozenset({Status.PAID, Status.REFUNDING}),
        Status.PAID: frozenset({Status.CLEARED, Status.REVIEW, Status.REFUSED}),
        Status.REVIEW: frozenset({Status.CLEARED, Status.REFUSED}),
        Status.REFUSED: frozenset({Status.REFUNDING}),
        Status.CLEARED: frozenset({Status.PARTLY_DELIVERED, Status.DELIVERED, Status.REFUNDING}),
        Status.PARTLY_DELIVERED: frozenset({Status.DELIVERED, Status.REFUNDING}),
        Status.DELIVERED: frozenset({Status.REFUNDING}),
        Status.REFUNDING: frozenset({Status.REFUNDED}),
        Status.REFUNDED: frozenset(),
    }
)

OPEN = frozenset({Status.HOLDING, Status.PLACED})
"""Unpaid, and holding cards."""

CLOSED = frozenset({Status.EXPIRED, Status.CANCELLED})
"""Unpaid for good, as far as we know."""

GIVING_BACK = frozenset({*CLOSED, Status.REFUNDING, Status.REFUNDED})
"""What the order held goes back, or has gone back."""

NO_DEADLINE = frozenset({Status.DELIVERED, Status.REFUNDING, Status.REFUNDED})
"""The order itself waits for nothing more, except that a second attempt to pay it may have been paid, too; a refund
under way carries its own deadline."""

READABLE = frozenset({Status.DELIVERED, Status.PARTLY_DELIVERED})
"""The buyer may see the delivered codes, but for those of lines that were given back."""

OVER = frozenset({Status.REFUSED, Status.REFUNDING, Status.REFUNDED})
"""The money goes back: nothing will be delivered any more, and what was delivered is not shown again."""


@dataclass(frozen=True)
class Facts:
    """What is known of an order; `closed` says how an unpaid one ended, `holding` that it has not all its cards yet."""

    closed: Status | None = None
    holding: bool = False
    paid: bool = False
    decision: Decision | None = None
    lines: tuple[LineState, ...] = ()
    refund: Refund | None = None


def status_of(facts: Facts) -> Status:
    """The status that these facts amount to."""
    if facts.refund:
        return Status.REFUNDED if facts.refund is Refund.DONE else Status.REFUNDING
    if not facts.paid:
        return facts.closed or (Status.HOLDING if facts.holding else Status.PLACED)
    if facts.decision is None:
        return Status.PAID
    if facts.decision is not Decision.CLEARED:
        return Status(facts.decision)
    delivered = facts.lines.count(LineState.DELIVERED)
    if delivered == 0:
        return Status.CLEARED
    over = delivered + facts.lines.count(LineState.RETURNED)
    return Status.DELIVERED if over == len(facts.lines) else Status.PARTLY_DELIVERED
