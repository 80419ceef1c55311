"""How much of a SKU one buyer may hold unpaid: a share of the stock, the smaller the more of it is held already."""

from __future__ import annotations

from typing import NamedTuple

CONTACT_CEILING, ADDRESS_CEILING = 1_000, 2_000  # cards, where nobody knows how many there are
SMALL = 20  # cards: of so few a share is next to nothing, so the floors of quiet times hold always
LAPSED_BY_CONTACT, LAPSED_BY_ADDRESS = 3, 10  # orders a day that were let run out, beyond those that were paid


class Stock(NamedTuple):
    """What the levels say of a SKU: a hint, a second or two old."""

    available: int
    held: int


class Caps(NamedTuple):
    """The most that may be held unpaid at once; None where there is no limit."""

    contact: int | None
    address: int | None


class _Step(NamedTuple):
    """From this much of the stock being held on: percent of the stock, and never less than a few cards."""

    pressure: int  # percent
    contact: int
    address: int
    contact_floor: int
    address_floor: int


_CALM = _Step(0, 25, 50, 5, 10)
_STEPS = (_CALM, _Step(50, 10, 20, 1, 2), _Step(75, 5, 10, 1, 1))


def caps(stock: Stock | None, hold_percent: int | None = None) -> Caps:
    """hold_percent: the share of one contact that the operator set, shrinking like the usual one; 100 is no limit."""
    if hold_percent is not None and hold_percent >= 100:
        return Caps(None, None)
    if stock is None:
        return Caps(CONTACT_CEILING, ADDRESS_CEILING)
    whole = max(stock.available, 0) + max(stock.held, 0)
    step = next(step for step in reversed(_STEPS) if max(stock.held, 0) * 100 >= step.pressure * whole)
    if not whole:
        step = _CALM
    percent = step.contact if hold_percent is None else hold_percent * step.contact // _CALM.contact
    floors = _CALM if whole < SMALL else step
    contact = max(whole * percent // 100, floors.contact_floor)
    return Caps(contact, max(whole * step.address // 100, floors.address_floor, contact))
