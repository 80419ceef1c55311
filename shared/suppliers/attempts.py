"""The life of an attempt to buy: which moves there are, when a supplier is asked again, when it is given up. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

from shared.suppliers.supplier import Reason, Repeat, Traits


class AttemptState(StrEnum):
    HELD = "held"  # nobody sells it for what it may cost: a person decides
    CREATED = "created"
    SENT = "sent"  # written down before the call: whoever finds it so asks, and does not buy
    UNKNOWN = "unknown"
    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    FAILED = "failed"
    LATE = "late"  # delivered, when its order needed it no more
    REVERSED = "reversed"  # delivered, and taken back by the supplier


MOVES: Mapping[AttemptState, frozenset[AttemptState]] = MappingProxyType(
    {
        AttemptState.HELD: frozenset({AttemptState.CREATED, AttemptState.FAILED}),
        AttemptState.CREATED: frozenset({AttemptState.SENT, AttemptState.FAILED}),
        # Back to created only where it is sure that nothing arrived.
        AttemptState.SENT: frozenset(
            {
                AttemptState.CREATED,
                AttemptState.UNKNOWN,
                AttemptState.ACCEPTED,
                AttemptState.DELIVERED,
                AttemptState.FAILED,
                AttemptState.LATE,
            }
        ),
        AttemptState.UNKNOWN: frozenset(
            {AttemptState.ACCEPTED, AttemptState.DELIVERED, AttemptState.FAILED, AttemptState.LATE}
        ),
        AttemptState.ACCEPTED: frozenset({AttemptState.DELIVERED, AttemptState.FAILED, AttemptState.LATE}),
        AttemptState.DELIVERED: frozenset({AttemptState.REVERSED}),
        # It may be delivered after all; late only where nobody waits for it any more.
        AttemptState.FAILED: frozenset({AttemptState.DELIVERED, AttemptState.LATE}),
        AttemptState.LATE: frozenset({AttemptState.REVERSED}),
        AttemptState.REVERSED: frozenset(),
    }
)

OPEN = frozenset(
    {AttemptState.HELD, AttemptState.CREATED, AttemptState.SENT, AttemptState.UNKNOWN, AttemptState.ACCEPTED}
)
"""The line waits for this attempt; no other may be begun."""

OUT = frozenset({AttemptState.SENT, AttemptState.UNKNOWN, AttemptState.ACCEPTED})
"""The supplier may have it."""

ASK_AFTER = tuple(timedelta(seconds=seconds) for seconds in (2, 5, 15, 60, 300, 1800))
ASK_FOR = timedelta(hours=24)
"""So long a supplier is asked; then a person is."""

SEND_AGAIN = tuple(timedelta(seconds=seconds) for seconds in (2, 5, 15))
"""Pauses before an order that never arrived is sent again, under the same number; then another supplier is asked."""

ABSENT_APART = timedelta(minutes=3)
"""Between the two answers *absent* that together are believed: an order may lie in a queue of the supplier's."""

LOOK_BACK = timedelta(hours=1)
"""After an attempt was given up as absent its supplier is asked so often, for `ASK_FOR`: what came late is ours."""

HELD_FOR = timedelta(hours=4)
"""A price jump waits so long for a person; then the money goes back."""

ATTEMPTS_MAX = 12  # for one line: several suppliers, several parts

PIECES_MAX = 30
"""Of one attempt: cards with two fingerprints each, while a pepper is exchanged, that fit into one transaction."""

HARMLESS = frozenset({Reason.NONE, Reason.BAD_ACCOUNT, Reason.BAD_QUANTITY, Reason.ABOVE_CEILING})
"""Failures that say nothing against a supplier."""


def ask_after(asks: int, since: datetime, now: datetime) -> timedelta | None:
    """How long to wait before asking for the time `asks` + 1; None when a person is to look.

    since: when the order was sent.
    """
    if now - since >= ASK_FOR:
        return None
    return ASK_AFTER[min(asks, len(ASK_AFTER) - 1)]


def may_ask(traits: Traits, upstream_no: str) -> bool:
    """Whether asking can tell what became of an order; where it cannot, a person must look."""
    return bool(upstream_no) or traits.asks_by_ours or traits.repeat is Repeat.REPLAYS


def is_absent(first_told: datetime | None, now: datetime) -> bool:
    """Whether *absent* is sure, told now, and before at `first_told`."""
    return first_told is not None and now - first_told >= ABSENT_APART


def number_of(order_id: str, line: str, attempt: int) -> str:
    """Our number for an attempt: 30 letters and digits, which lead back to it.

    Raises ValueError for a line or an attempt of more than two digits.
    """
    if not (0 < int(line) < 100 and 0 < attempt < 100):
        raise ValueError("no number can be made")
    return f"{order_id.removeprefix('ord_')}{int(line):02d}{attempt:02d}"


def named_by(number: str) -> tuple[str, str, int] | None:
    """(order, line, attempt) of one of our numbers; None where it cannot be one."""
    if len(number) != 30 or not number.isalnum() or not number[26:].isdecimal() or not number.isascii():
        return None
    return f"ord_{number[:26]}", str(int(number[26:28])), int(number[28:])
