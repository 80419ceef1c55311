"""What the console is told about a day."""

from __future__ import annotations

from typing import Self

from shared.kernel.http import Amount, Shape
from shared.settlement.records import ClosedDay, link
from shared.settlement.statement import Movement, Row, Statement


class ResultView(Shape):
    """The result of one SKU in one channel through one provider; empty where a figure belongs to none."""

    sku: str
    channel: str
    provider: str
    units: int
    sales: Amount
    refunds: Amount
    fees: Amount
    cost: Amount
    rounding: Amount
    write_offs: Amount
    profit: Amount

    @classmethod
    def of(cls, row: Row) -> Self:
        names = ("sales", "refunds", "fees", "cost", "rounding", "write_offs", "profit")
        return cls(
            sku=row.sku,
            channel=row.channel,
            provider=row.provider,
            units=row.units,
            **{name: Amount(amount_minor=getattr(row, name), currency=row.currency) for name in names},
        )


class MovementView(Shape):
    """What the day did to one account."""

    account: str
    debit: Amount
    credit: Amount
    net: Amount

    @classmethod
    def of(cls, movement: Movement) -> Self:
        names = ("debit", "credit", "net")
        return cls(
            account=movement.account,
            **{name: Amount(amount_minor=getattr(movement, name), currency=movement.currency) for name in names},
        )


class StatementView(Shape):
    """closed_at and the links are absent while the day runs."""

    day: str
    closed_at: str | None = None
    sha256: str
    entries: int
    rows: list[ResultView]
    totals: list[ResultView]
    in_transit: list[MovementView]
    accounts: list[MovementView]
    trial_balance: list[Amount]
    csv_url: str | None = None
    xlsx_url: str | None = None

    @classmethod
    def of(cls, statement: Statement, record: ClosedDay | None = None) -> Self:
        return cls(
            day=statement.day.isoformat(),
            closed_at=record.closed_at if record else None,
            sha256=statement.sha256,
            entries=statement.entries,
            rows=[ResultView.of(row) for row in statement.rows],
            totals=[ResultView.of(row) for row in statement.totals],
            in_transit=[MovementView.of(one) for one in statement.in_transit],
            accounts=[MovementView.of(one) for one in statement.movements],
            trial_balance=[
                Amount(amount_minor=net, currency=currency) for currency, net in sorted(statement.trial_balance.items())
            ],
            csv_url=link(record, "csv") if record else None,
            xlsx_url=link(record, "xlsx") if record else None,
        )
