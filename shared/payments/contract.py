"""What crosses the HTTP edge about refunds."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shared.kernel.http import Amount, Shape
from shared.payments.states import RefundState


class RequestRefund(Shape):
    reason: Annotated[str, Field(min_length=1, max_length=200)] = "operator"


class PaidByHand(Shape):
    note: Annotated[str, Field(min_length=1, max_length=500)]


class RefundView(Shape):
    refund_id: str
    order_id: str
    state: RefundState
    amount: Amount
    reason: str
    requested_at: str
    requested_by: str
