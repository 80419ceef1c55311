"""Who may see an order: whoever holds its token. Guessing is counted per address, never per order."""

from __future__ import annotations

from datetime import datetime

from shared.kernel import people, tokens
from shared.kernel.errors import NotFound, TooManyTries
from shared.kernel.http import Caller
from shared.risk import records as risk

WRONG_MAX = 30  # wrong tokens per address in a quarter of an hour: a person mistypes a few, a script thousands


def check(order_id: str, caller: Caller, now: datetime) -> None:
    """Raise the same NotFound for a wrong token, no token and no order; TooManyTries for an address that goes on."""
    try:
        tokens.check_access(order_id, caller.token)
    except NotFound:
        if risk.tries("token", people.hashed("address", caller.address), now) > WRONG_MAX:
            raise TooManyTries from None
        raise
