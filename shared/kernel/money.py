"""Money is an integer count of minor units with its currency; unit costs, rates and fees are integer millionths."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Decimal
from typing import NamedTuple

MILLION = 1_000_000
MINOR_PER_UNIT = 100  # CNY, USD, HKD: every currency sold so far has cents
E6_PER_MINOR = MILLION // MINOR_PER_UNIT
_LARGEST = 10**18  # what a DynamoDB number and every client's integer hold exactly


class Money(NamedTuple):
    minor: int
    currency: str = "CNY"

    def times(self, quantity: int) -> Money:
        return Money(self.minor * quantity, self.currency)

    def json(self) -> dict[str, int | str]:
        return {"amount_minor": self.minor, "currency": self.currency}

    def __str__(self) -> str:
        return f"{self.currency} {Decimal(self.minor) / MINOR_PER_UNIT:.2f}"


def total(amounts: Iterable[Money]) -> Money:
    """Add amounts of one currency; a mixture raises ValueError, an empty sum is 0 CNY."""
    amounts = list(amounts)
    currencies = {amount.currency for amount in amounts}
    if len(currencies) > 1:
        raise ValueError(f"cannot add {sorted(currencies)}")
    return Money(sum(amount.minor for amount in amounts), currencies.pop() if currencies else "CNY")


def half_even(numerator: int, denominator: int) -> int:
    """Divide two integers and round to the nearest, ties to the even neighbour, exactly at any size."""
    quotient, remainder = divmod(numerator, denominator)
    twice = 2 * remainder
    return quotient + (twice > denominator or (twice == denominator and quotient % 2 == 1))


def minor_from_e6(amount_e6: int) -> int:
    """Minor units of an amount in millionths of the currency's unit, rounded half-even."""
    return half_even(amount_e6, E6_PER_MINOR)


def share(amount_minor: int, rate_e6: int) -> int:
    """The part of an amount that a rate in millionths takes, in minor units, rounded half-even."""
    return half_even(amount_minor * rate_e6, MILLION)


def parse_minor(text: str) -> int:
    """Minor units of a decimal text such as ``19.80``; more than two decimals or no number raises ValueError."""
    return _scaled(text, MINOR_PER_UNIT)


def parse_e6(text: str) -> int:
    """Millionths of a decimal text such as ``48.215``; more than six decimals or no number raises ValueError."""
    return _scaled(text, MILLION)


def _scaled(text: str, scale: int) -> int:
    try:
        scaled = Decimal(text.strip()) * scale
        if not scaled.is_finite() or abs(scaled) > _LARGEST or scaled != scaled.to_integral_value(ROUND_HALF_EVEN):
            raise ValueError
    except (ArithmeticError, ValueError):
        raise ValueError(f"not an amount: {text[:20]!r}") from None
    return int(scaled)
