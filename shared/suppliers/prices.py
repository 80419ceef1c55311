"""What offers cost us, which of them are too cheap to be honest, and which are too old to be sold."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from statistics import median
from typing import Final, TypeVar

from shared.kernel.money import MILLION, half_even

STALE_AFTER: Final = timedelta(minutes=45)  # four rounds of the sync that did not get through
LIST_STALE_AFTER: Final = timedelta(days=7)  # of a list that somebody sends: they come weekly
BY_FILE: Final = "pricelist"  # the kind of supplier whose offers come from such a list

TOO_CHEAP: Final = -3.0  # robust standard deviations; what lies below asks where it comes from
COMPARABLE_MIN: Final = 3  # offers: of two, nobody can say which one is odd
# The least spread that is believed: honest prices of one thing lie within a few percent, but three that happen to be
# equal to the cent must not make the next one, a cent below, a thief.
SPREAD_MIN: Final = 0.01  # of the median
_OF_NORMAL = 1.4826  # a standard deviation in median absolute deviations

Who = TypeVar("Who")


def landed_e6(cost_e6: int, rate_e6: int) -> int:
    """What one piece costs us, in millionths of a yuan. rate_e6: of one unit of the supplier's currency."""
    return half_even(cost_e6 * rate_e6, MILLION)


def stale(kind: str, synced_at: datetime | None, now: datetime) -> bool:
    """Whether the offers of a supplier of this kind are too old to be sold by; those that were never read are."""
    return synced_at is None or now - synced_at >= (LIST_STALE_AFTER if kind == BY_FILE else STALE_AFTER)


def deviation(price: int, among: Mapping[Who, int]) -> float | None:
    """How far a price lies from the middle of these, in robust standard deviations; None where too few are there."""
    if len(among) < COMPARABLE_MIN:
        return None
    middle = median(among.values())
    spread = max(median(abs(one - middle) for one in among.values()), SPREAD_MIN * middle)
    return (price - middle) / (_OF_NORMAL * spread) if spread else 0.0


def deviations(landed: Mapping[Who, int], beside: Mapping[Who, int] | None = None) -> dict[Who, float | None]:
    """How far each of the offers of one SKU lies from the others, as `deviation`.

    landed: what each costs us, without the offers that are off sale or stale. beside: those of them whose suppliers are
    admitted; of the others nobody knows yet whether their prices are any measure.
    """
    measure = landed if beside is None else beside
    return {who: deviation(price, {**measure, who: price}) for who, price in landed.items()}


def doubtful(landed: Mapping[Who, int], beside: Mapping[Who, int] | None = None) -> set[Who]:
    """Those of the offers of one SKU that are too cheap beside the others; landed, beside: as with `deviations`."""
    return {who for who, z in deviations(landed, beside).items() if z is not None and z < TOO_CHEAP}
