"""What crosses the HTTP edge about bills."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field

from shared.kernel.http import Amount, Shape
from shared.payments.bills import KeptBill
from shared.payments.provider import LineKind
from shared.payments.states import BillState


class BillsQuery(Shape):
    """Yesterday in Shanghai, unless a day is given."""

    day: Annotated[str, Field(max_length=10)] | None = None


class BillSum(Shape):
    """All lines of one kind in one currency; `fee_e6` in millionths of the currency's unit."""

    kind: LineKind
    lines: int
    gross: Amount
    fee_e6: int


class BillView(Shape):
    """`sha256` is over the file as the provider gave it. `read_at`: when it was read, if that was later."""

    merchant: str
    day: str
    state: BillState
    sha256: str | None
    lines: int | None
    sums: list[BillSum]
    fetched_at: str | None
    read_at: str | None

    @classmethod
    def of(cls, bill: KeptBill) -> Self:
        return cls(
            merchant=str(bill.merchant),
            day=str(bill.day),
            state=BillState(bill.state),
            sha256=bill.sha256,
            lines=None if bill.lines is None else int(bill.lines),
            sums=[
                BillSum(
                    kind=LineKind(one.kind),
                    lines=one.lines,
                    gross=Amount(amount_minor=one.gross_minor, currency=one.currency),
                    fee_e6=one.fee_e6,
                )
                for one in bill.sums
            ],
            fetched_at=bill.fetched_at,
            read_at=bill.read_at,
        )


class BillList(Shape):
    day: str
    bills: list[BillView]


class BillFile(BillView):
    """`file_url` gives the file as the provider gave it, for five minutes; absent where the day had no money."""

    file_url: str | None
