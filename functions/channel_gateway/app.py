"""HTTP: marketplaces, resellers and whoever else sells from our stock: reserve, confirm, release."""

from shared.catalog.errors import NotForSale, UnknownSku
from shared.channels.errors import BadCredential
from shared.inventory.errors import OutOfStock, QuotaUsedUp
from shared.kernel import clock
from shared.kernel.errors import Busy, NotFound, TooManyTries
from shared.kernel.http import Caller, answers, door, entry
from shared.orders.errors import (
    AmountDiffers,
    ForeignChannel,
    NoContact,
    NotOpen,
    OverLimit,
    ReferenceReused,
    TooManyCards,
)
from shared.orders.reservations import Confirm, ReservationView, Reserve, Reserved
from shared.steps import channel_gateway

KNOWN = (BadCredential, TooManyTries)
PLACING = (UnknownSku, NotForSale, OverLimit, TooManyCards, OutOfStock, QuotaUsedUp, ReferenceReused, Busy)

app = door("channel_gateway")


@app.route("/channel/reservations", methods=["POST"])
@answers(Reserved, status=201, takes=Reserve, secured="channel", refusals=(*KNOWN, *PLACING, ForeignChannel, NoContact))
def reserve(body: Reserve, caller: Caller) -> Reserved:
    """Hold cards for the channel; the same client_ref gives the same reservation again."""
    return channel_gateway.reserve(body, caller, clock.now())


@app.route("/channel/reservations/{order_id}")
@answers(ReservationView, secured="channel", refusals=(*KNOWN, NotFound))
def show(order_id: str, caller: Caller) -> ReservationView:
    """Show one of the channel's own reservations."""
    return channel_gateway.show(order_id, caller, clock.now())


@app.route("/channel/reservations/{order_id}/confirm", methods=["POST"])
@answers(ReservationView, takes=Confirm, secured="channel", refusals=(*KNOWN, NotFound, AmountDiffers, NotOpen, Busy))
def confirm(order_id: str, body: Confirm, caller: Caller) -> ReservationView:
    """Say that the buyer has paid the channel: the cards are delivered within seconds."""
    return channel_gateway.confirm(order_id, body, caller, clock.now())


@app.route("/channel/reservations/{order_id}/release", methods=["POST"])
@answers(ReservationView, secured="channel", refusals=(*KNOWN, NotFound, NotOpen, Busy))
def release(order_id: str, caller: Caller) -> ReservationView:
    """Give the cards back."""
    return channel_gateway.release(order_id, caller, clock.now())


handler = entry(app)
