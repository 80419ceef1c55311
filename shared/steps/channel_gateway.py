"""Reserve, confirm, release: what channels ask of us. A reservation is an order like any other, on account."""

from __future__ import annotations

from datetime import datetime

from shared.kernel import tokens
from shared.kernel.errors import NotFound
from shared.kernel.http import Caller
from shared.orders import records as orders
from shared.orders.contract import Contact, PlaceOrder
from shared.orders.errors import AmountDiffers, NotOpen
from shared.orders.reservations import Confirm, ReservationView, Reserve, Reserved
from shared.orders.status import CLOSED, Status
from shared.payments.adapters.on_account import OnAccount
from shared.payments.provider import Charge
from shared.steps import channels, order_intake, payment_received
from shared.steps.order_views import order_view


def reserve(wanted: Reserve, caller: Caller, now: datetime) -> Reserved:
    """Hold cards for the channel; the same reference gives the same reservation again."""
    caller = channels.known(caller, now)
    placed = order_intake.place(
        PlaceOrder(
            lines=wanted.lines,
            channel=wanted.channel,
            contact=wanted.contact or Contact(),
            payment_method=OnAccount.code,
            client_ref=wanted.client_ref,
        ),
        caller,
        now,
        wanted.hold_seconds,
    )
    return Reserved(
        order_id=placed.order_id,
        status=placed.status,
        total=placed.total,
        expires_at=placed.expires_at,
        access_token=placed.access_token,
    )


def confirm(order_id: str, wanted: Confirm, caller: Caller, now: datetime) -> ReservationView:
    """The channel has its buyer's money and owes it to us; again is a success.

    It is money like any other: for a reservation that has ended, other cards are found or it is given back.
    """
    order = _own(order_id, caller, now)
    head = order.head
    if wanted.paid and (wanted.paid.amount_minor, wanted.paid.currency) != (head.total.minor, head.total.currency):
        raise AmountDiffers(total_minor=head.total.minor, currency=head.total.currency)
    if not head.payments:
        raise NotOpen(order_status=str(head.status))  # its cards are still being held
    charge = Charge(
        payment_id=str(head.payments[0]),
        provider_no=order_id,  # an order is paid for once on account, however often that is said
        amount=head.total,
        paid_at=now,
        raw="{}",
    )
    payment_received.receive(charge.payment_id, charge, OnAccount.code, now)
    return _view(order_id)


def release(order_id: str, caller: Caller, now: datetime) -> ReservationView:
    """Free the cards; again, or when the time is up, is a success."""
    order = _own(order_id, caller, now)
    try:
        if order.status not in CLOSED:
            order_intake.cancel(order_id, now)
    except NotOpen:
        if Status(orders.head_of(order_id).status) not in CLOSED:
            raise
    return _view(order_id)


def show(order_id: str, caller: Caller, now: datetime) -> ReservationView:
    _own(order_id, caller, now)
    return _view(order_id)


def _own(order_id: str, caller: Caller, now: datetime) -> orders.Order:
    """The order, or NotFound if it is another channel's: nobody learns what others sell."""
    caller = channels.known(caller, now)
    order = orders.outline_of(order_id)
    if order.head.channel != caller.channel:
        raise NotFound
    return order


def _view(order_id: str) -> ReservationView:
    view = order_view(orders.outline_of(order_id))
    return ReservationView(**dict(view), access_token=tokens.access_token(order_id))
