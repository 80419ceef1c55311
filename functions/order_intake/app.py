"""HTTP: quote, place, look up, cancel, pay another way."""

from shared.catalog.errors import NotForSale, UnknownSku
from shared.inventory.errors import OutOfStock, QuotaUsedUp
from shared.kernel import clock
from shared.kernel.errors import Busy, NotFound, TooManyTries
from shared.kernel.http import Caller, answers, door, entry
from shared.orders.contract import (
    ChangePayment,
    MethodList,
    OrderView,
    PaymentView,
    PlacedOrder,
    PlaceOrder,
    QuoteRequest,
    QuoteView,
)
from shared.orders.errors import (
    ForeignChannel,
    NoContact,
    NotOpen,
    OverLimit,
    PriceChanged,
    ReferenceReused,
    TooManyCards,
    TooManyPayments,
    WeakReference,
)
from shared.payments.errors import MethodOut, NoPayer, ProviderRefused, ProviderSilent, UnknownMethod
from shared.risk.errors import HoldLimit
from shared.steps import access, order_intake

QUOTING = (UnknownSku, NotForSale, OverLimit, TooManyCards, ForeignChannel)
SHORT = (OutOfStock, QuotaUsedUp, HoldLimit)
METHOD = (UnknownMethod, MethodOut, NoPayer)
PLACING = (*QUOTING, *SHORT, *METHOD, PriceChanged, NoContact, WeakReference, ReferenceReused, Busy)
GUARDED = (NotFound, TooManyTries)

app = door("order_intake")


@app.route("/quotes", methods=["POST"])
@answers(QuoteView, takes=QuoteRequest, refusals=QUOTING)
def quote(body: QuoteRequest) -> QuoteView:
    """Say what an order would cost today."""
    return order_intake.quote(body, clock.now())


@app.route("/payment-methods")
@answers(MethodList)
def payment_methods(caller: Caller) -> MethodList:
    """Say what a buyer may choose now."""
    return order_intake.payment_methods(caller, clock.now())


@app.route("/orders", methods=["POST"])
@answers(PlacedOrder, status=201, takes=PlaceOrder, refusals=PLACING)
def place(body: PlaceOrder, caller: Caller) -> PlacedOrder:
    """Place an order and hold its cards; the same client_ref gives the same order again."""
    return order_intake.place(body, caller, clock.now())


@app.route("/orders/{order_id}")
@answers(OrderView, secured="buyer", refusals=GUARDED)
def look_up(order_id: str, caller: Caller) -> OrderView:
    """Show an order to whoever holds its token."""
    access.check(order_id, caller, clock.now())
    return order_intake.look_up(order_id)


@app.route("/orders/{order_id}/payments", methods=["POST"])
@answers(
    PaymentView,
    status=201,
    takes=ChangePayment,
    secured="buyer",
    refusals=(*GUARDED, *METHOD, NotOpen, TooManyPayments, ProviderSilent, ProviderRefused, Busy),
)
def change_payment(order_id: str, body: ChangePayment, caller: Caller, idempotency_key: str) -> PaymentView:
    """Pay another way, or ask again how to pay."""
    now = clock.now()
    access.check(order_id, caller, now)
    return order_intake.change_payment(order_id, body, caller, idempotency_key, now)


@app.route("/orders/{order_id}/cancel", methods=["POST"])
@answers(OrderView, secured="buyer", refusals=(*GUARDED, NotOpen, Busy))
def cancel(order_id: str, caller: Caller) -> OrderView:
    """Cancel an unpaid order."""
    now = clock.now()
    access.check(order_id, caller, now)
    return order_intake.cancel(order_id, now)


handler = entry(app)
