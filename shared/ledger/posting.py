"""Every move of money as balanced legs. Pure: what to write, not when or where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from shared.kernel.money import Money, minor_from_e6
from shared.ledger import accounts
from shared.ledger.accounts import of


class Leg(NamedTuple):
    """One side of a move: a debit is positive, a credit negative.

    quantity: cards sold (on a sales leg) or moved in stock (on an inventory leg).
    """

    account: str
    amount_minor: int
    currency: str = "CNY"
    sku: str | None = None
    quantity: int | None = None


class Line(NamedTuple):
    """What is delivered together: the very cards' costs decide what they cost us; codes we issue may have none."""

    sku: str
    quantity: int
    total: Money
    costs_e6: Sequence[int] = ()
    cost_currency: str = "CNY"


class Unbalanced(Exception):
    """Legs that do not add up to nothing in every currency: a defect, never a caller's fault."""


def balanced(legs: Iterable[Leg]) -> tuple[Leg, ...]:
    """The legs that say something; raises Unbalanced or UnknownAccount rather than let a wrong entry be written."""
    kept = tuple(leg for leg in legs if leg.amount_minor or leg.quantity)
    for leg in kept:
        accounts.account(leg.account)
    sums = trial_balance(kept)
    if not kept or any(sums.values()):
        raise Unbalanced(sums)
    return kept


def trial_balance(legs: Iterable[Leg]) -> dict[str, int]:
    """The sum of all legs per currency; 0 in sound books."""
    sums: Counter[str] = Counter()
    for leg in legs:
        sums[leg.currency] += leg.amount_minor
    return dict(sums)


def payment_received(
    provider: str, amount: Money, fee_minor: int = 0, lines: Sequence[tuple[str, int]] = ()
) -> tuple[Leg, ...]:
    """A buyer's money for an order, and the fee the provider will keep of it by the set rate.

    lines: (SKU, its total in minor units); the fee is laid on them in proportion, to the last cent.
    """
    return balanced(
        [
            Leg(of(accounts.RECEIVABLE, provider), amount.minor, amount.currency),
            Leg(accounts.DEPOSITS, -amount.minor, amount.currency),
            *_fee(provider, Money(fee_minor, amount.currency), lines),
        ]
    )


def unplaced_received(provider: str, amount: Money, fee_minor: int = 0) -> tuple[Leg, ...]:
    """Money that came late, twice or wrong: it is there, and nobody has said yet what it is for."""
    return balanced(
        [
            Leg(of(accounts.RECEIVABLE, provider), amount.minor, amount.currency),
            Leg(accounts.SUSPENSE, -amount.minor, amount.currency),
            *_fee(provider, Money(fee_minor, amount.currency), ()),
        ]
    )


def delivered(lines: Iterable[Line]) -> tuple[Leg, ...]:
    """Lines handed over: deposits become sales, and the cost of the very cards becomes cost of goods.

    Each card's cost is rounded once, by itself, exactly as it was when it came into stock.
    """
    legs = []
    for line in lines:
        cost = sum(map(minor_from_e6, line.costs_e6))
        legs += [
            Leg(accounts.DEPOSITS, line.total.minor, line.total.currency),
            Leg(accounts.REVENUE, -line.total.minor, line.total.currency, line.sku, line.quantity),
            Leg(accounts.COST_OF_GOODS, cost, line.cost_currency, line.sku),
            Leg(accounts.INVENTORY, -cost, line.cost_currency, line.sku, -len(line.costs_e6)),
        ]
    return balanced(legs)


def lot_bought(
    supplier: str, sku: str, costs_e6: Sequence[int], currency: str = "CNY", before_e6: int = 0
) -> tuple[Leg, ...]:
    """Cards came into stock: we owe their exact sum, they stand in stock at whole cents each.

    before_e6: what the same delivery has cost so far, so that its parts add up to the sum of the whole, to the cent.
    """
    stocked = sum(map(minor_from_e6, costs_e6))
    owed = minor_from_e6(before_e6 + sum(costs_e6)) - minor_from_e6(before_e6)
    return balanced(
        [
            Leg(accounts.INVENTORY, stocked, currency, sku, len(costs_e6)),
            Leg(of(accounts.PAYABLE, supplier), -owed, currency),
            Leg(accounts.ROUNDING, owed - stocked, currency, sku),
        ]
    )


def paid_for_nothing(
    supplier: str, sku: str, costs_e6: Sequence[int], currency: str = "CNY", before_e6: int = 0
) -> tuple[Leg, ...]:
    """A supplier has been paid for what we cannot use, such as a code that somebody had before: our loss until he
    takes it back. before_e6: as in `lot_bought`."""
    cost = minor_from_e6(before_e6 + sum(costs_e6)) - minor_from_e6(before_e6)
    legs = [Leg(accounts.WRITE_OFFS, cost, currency, sku), Leg(of(accounts.PAYABLE, supplier), -cost, currency)]
    return balanced(legs) if cost else ()


def replaced(sku: str, costs_e6: Sequence[int], currency: str = "CNY") -> tuple[Leg, ...]:
    """Cards given in place of sold ones: the buyer pays nothing more, the very cards' costs become cost of goods."""
    cost = sum(map(minor_from_e6, costs_e6))
    return balanced(
        [
            Leg(accounts.COST_OF_GOODS, cost, currency, sku),
            Leg(accounts.INVENTORY, -cost, currency, sku, -len(costs_e6)),
        ]
    )


def supplier_claim(
    supplier: str,
    stocked: Iterable[tuple[str, Sequence[int]]],
    sold: Iterable[tuple[str, Sequence[int]]],
    currency: str = "CNY",
) -> tuple[Leg, ...]:
    """Bad cards go back to who sold them to us: what we owe him falls by what they stand at, card by card.

    stocked, sold: SKU and its cards' costs; the unsold leave the stock, the sold leave the cost of goods. No legs where
    nothing was paid and nothing was in stock.
    """
    legs = []
    for sku, costs_e6 in stocked:
        cost = sum(map(minor_from_e6, costs_e6))
        legs.append(Leg(accounts.INVENTORY, -cost, currency, sku, -len(costs_e6)))
    for sku, costs_e6 in sold:
        legs.append(Leg(accounts.COST_OF_GOODS, -sum(map(minor_from_e6, costs_e6)), currency, sku))
    claimed = -sum(leg.amount_minor for leg in legs)
    if not any(leg.amount_minor or leg.quantity for leg in legs):
        return ()
    return balanced([Leg(of(accounts.PAYABLE, supplier), claimed, currency), *legs])


def written_off(sku: str, costs_e6: Sequence[int], currency: str = "CNY") -> tuple[Leg, ...]:
    """Cards in stock that nobody will buy any more: their cost, rounded as it came into stock, is our loss."""
    cost = sum(map(minor_from_e6, costs_e6))
    return balanced(
        [
            Leg(accounts.WRITE_OFFS, cost, currency, sku),
            Leg(accounts.INVENTORY, -cost, currency, sku, -len(costs_e6)),
        ]
    )


def refund_requested(
    amount: Money,
    from_: Literal["deposits", "suspense", "refunds"] = "deposits",
    lines: Sequence[tuple[str, int]] = (),
) -> tuple[Leg, ...]:
    """We owe a buyer money back: for what was not delivered (deposits), not placed (suspense) or was sold (refunds).

    lines: (SKU, its total in minor units), among which a refund of sales is shared out.
    """
    taken = _shared(Leg(from_, amount.minor, amount.currency), lines if from_ == accounts.REFUNDS else ())
    return balanced([*taken, Leg(accounts.REFUNDS_DUE, -amount.minor, amount.currency)])


def refund_sent(provider: str, amount: Money) -> tuple[Leg, ...]:
    """The provider has paid the buyer back."""
    return _moved(accounts.REFUNDS_DUE, of(accounts.RECEIVABLE, provider), amount)


def refund_by_hand(amount: Money) -> tuple[Leg, ...]:
    """A person has paid the buyer back past the provider, which refused to."""
    return _moved(accounts.REFUNDS_DUE, accounts.BANK, amount)


def reversal(legs: Iterable[Leg]) -> tuple[Leg, ...]:
    """The same move, undone."""
    return balanced(
        leg._replace(amount_minor=-leg.amount_minor, quantity=None if leg.quantity is None else -leg.quantity)
        for leg in legs
    )


def split(amount: int, weights: Sequence[int]) -> list[int]:
    """Whole parts in proportion to the weights, which add up to the amount; the largest remainders get the odd cents.

    Equal parts if all weights are 0.
    """
    whole = sum(weights)
    if not whole:
        weights, whole = [1] * len(weights), len(weights)
    parts = [amount * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda n: (-(amount * weights[n] % whole), n))
    for n in by_remainder[: amount - sum(parts)]:
        parts[n] += 1
    return parts


def _fee(provider: str, fee: Money, lines: Sequence[tuple[str, int]]) -> list[Leg]:
    return [
        *_shared(Leg(accounts.FEES, fee.minor, fee.currency), lines),
        Leg(of(accounts.RECEIVABLE, provider), -fee.minor, fee.currency),
    ]


def _shared(leg: Leg, lines: Sequence[tuple[str, int]]) -> list[Leg]:
    if not lines:
        return [leg]
    parts = split(leg.amount_minor, [weight for _, weight in lines])
    return [leg._replace(amount_minor=part, sku=sku) for (sku, _), part in zip(lines, parts, strict=True)]


def _moved(debit: str, credit: str, amount: Money) -> tuple[Leg, ...]:
    return balanced([Leg(debit, amount.minor, amount.currency), Leg(credit, -amount.minor, amount.currency)])
