"""What the console is told about an entry."""

from __future__ import annotations

from typing import Self

from shared.kernel.http import Amount, Shape
from shared.ledger.records import Entry


class LegView(Shape):
    """A debit is positive, a credit negative."""

    account: str
    amount: Amount
    sku: str | None = None
    quantity: int | None = None


class EntryView(Shape):
    entry_id: str
    posted_on: str
    kind: str
    legs: list[LegView]
    order_id: str | None = None
    payment_id: str | None = None
    refund_id: str | None = None
    lot_id: str | None = None
    reverses: str | None = None

    @classmethod
    def of(cls, entry: Entry) -> Self:
        return cls(
            entry_id=entry.entry_id,
            posted_on=entry.posted_on.isoformat(),
            kind=entry.kind,
            legs=[
                LegView(
                    account=leg.account,
                    amount=Amount(amount_minor=leg.amount_minor, currency=leg.currency),
                    sku=leg.sku,
                    quantity=leg.quantity,
                )
                for leg in entry.legs
            ],
            order_id=entry.order_id,
            payment_id=entry.payment_id,
            refund_id=entry.refund_id,
            lot_id=entry.lot_id,
            reverses=entry.reverses,
        )
