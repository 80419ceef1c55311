"""What crosses the HTTP edge about reservations: the orders of a channel, in a channel's words."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shared.kernel.http import Amount, Shape
from shared.orders.contract import Contact, OrderView, QuoteRequest

HOLD_MIN, HOLD_MAX = 60, 86_400  # seconds: deadlines looks once a minute; a day is the longest that anybody holds


class Reserve(QuoteRequest):
    """`client_ref` is the channel's own name for it; `contact` is the buyer's, if the channel wants us to know it."""

    client_ref: Annotated[str, Field(min_length=1, max_length=128)]
    contact: Contact | None = None
    hold_seconds: Annotated[int, Field(ge=HOLD_MIN, le=HOLD_MAX)] | None = None


class Confirm(Shape):
    """`paid`, if it is said, must be what the reservation costs."""

    paid: Amount | None = None


class Reserved(Shape):
    """`access_token` reads the codes at /orders/{order_id}/reveal once they are delivered."""

    order_id: str
    status: str
    total: Amount
    expires_at: str
    access_token: str


class ReservationView(OrderView):
    access_token: str
