"""HTTP: the operators' API."""

from shared.inventory.contract import TracedCards
from shared.inventory.errors import OwnRequest
from shared.jobs.errors import KeyReused, WrongJobState
from shared.kernel import clock
from shared.kernel.errors import Busy, InvalidRequest, NotFound
from shared.kernel.http import Caller, answers, door, entry
from shared.ledger.contract import EntryView
from shared.ledger.errors import AlreadyReversed
from shared.orders.contract import ConsoleOrderView
from shared.orders.errors import AmountDiffers, MoreThanPaid, NotOpen, OnlyWhole
from shared.payments.bill_contract import BillFile, BillList, BillsQuery
from shared.payments.by_hand import MoneyElsewhere, NotInSuspense
from shared.payments.contract import (
    AskConfirmation,
    ConfirmationList,
    ConfirmationView,
    GiveBack,
    PaidByHand,
    RefundView,
    RequestRefund,
)
from shared.payments.errors import RefundNotRefused, UnknownMoney, UnknownPayment, UnknownProvider
from shared.risk.contract import Decide, ListContact, Listed, ReviewList, ReviewView
from shared.risk.errors import ReviewDecided
from shared.settlement.contract import StatementView
from shared.settlement.errors import DayNotOver, NotClosed
from shared.staff.contract import CloseTask, TaskClosed, TaskList
from shared.staff.permissions import may
from shared.steps import bills, confirmations, console, risk_checks, trace

app = door("console")


@app.route("/console/orders/{order_id}")
@answers(ConsoleOrderView, permission=may("orders.read"), refusals=(NotFound,))
def show_order(order_id: str) -> ConsoleOrderView:
    """Show an order as staff may see it."""
    return console.order(order_id)


@app.route("/console/orders/{order_id}/cards")
@answers(TracedCards, permission=may("cards.read"), refusals=(NotFound,))
def list_order_cards(order_id: str) -> TracedCards:
    """List an order's cards, masked, each with its lot and its supplier."""
    return trace.order_cards(order_id)


@app.route("/console/orders/{order_id}/refunds", methods=["POST"])
@answers(
    RefundView,
    status=201,
    takes=RequestRefund,
    permission=may("refunds.create"),
    refusals=(NotFound, NotOpen, OnlyWhole, MoreThanPaid, KeyReused, Busy),
)
def refund_order(order_id: str, body: RequestRefund, idempotency_key: str, caller: Caller) -> RefundView:
    """Request the refund of some lines of an order, of an amount, or of all that is left."""
    return console.refund(order_id, body, caller.name, idempotency_key, clock.now())


@app.route("/console/orders/{order_id}/payments/confirmations", methods=["POST"])
@answers(
    ConfirmationView,
    status=201,
    takes=AskConfirmation,
    permission=may("payments.confirm"),
    refusals=(NotFound, UnknownPayment, AmountDiffers, MoneyElsewhere, KeyReused),
)
def ask_for_confirmation(
    order_id: str, body: AskConfirmation, idempotency_key: str, caller: Caller
) -> ConfirmationView:
    """Say that an order's money came, which its provider has not told us of; another person has to approve."""
    return confirmations.ask(order_id, body, idempotency_key, caller.name, clock.now())


@app.route("/console/confirmations")
@answers(ConfirmationList, permission=may("orders.read"))
def list_confirmations() -> ConfirmationList:
    """List the payments that wait for a second person, the latest first."""
    return confirmations.waiting()


@app.route("/console/confirmations/{confirmation_id}")
@answers(ConfirmationView, permission=may("orders.read"), refusals=(NotFound,))
def show_confirmation(confirmation_id: str) -> ConfirmationView:
    """Show who said that money came, and what has become of it."""
    return confirmations.show(confirmation_id)


@app.route("/console/confirmations/{confirmation_id}/approve", methods=["POST"])
@answers(
    ConfirmationView,
    permission=may("payments.approve"),
    refusals=(NotFound, OwnRequest, WrongJobState, MoneyElsewhere, UnknownProvider, Busy),
)
def approve_confirmation(confirmation_id: str, caller: Caller) -> ConfirmationView:
    """Let the money count as if its provider had told us of it."""
    return confirmations.approve(confirmation_id, caller.name, clock.now())


@app.route("/console/confirmations/{confirmation_id}/refuse", methods=["POST"])
@answers(ConfirmationView, permission=may("payments.approve"), refusals=(NotFound, WrongJobState, Busy))
def refuse_confirmation(confirmation_id: str, caller: Caller) -> ConfirmationView:
    """Let the money not count."""
    return confirmations.refuse(confirmation_id, caller.name, clock.now())


@app.route("/console/money/{provider}/{provider_no}/refund", methods=["POST"])
@answers(
    RefundView,
    status=201,
    takes=GiveBack,
    permission=may("refunds.create"),
    refusals=(UnknownMoney, NotInSuspense, Busy),
)
def give_unknown_back(provider: str, provider_no: str, body: GiveBack, caller: Caller) -> RefundView:
    """Send money that came for nothing we know of back where it came from; closes its task."""
    return console.give_unknown_back(provider, provider_no, body.note, caller.name, clock.now())


@app.route("/console/refunds/{refund_id}/paid-by-hand", methods=["POST"])
@answers(RefundView, takes=PaidByHand, permission=may("refunds.by_hand"), refusals=(NotFound, RefundNotRefused))
def refund_by_hand(refund_id: str, body: PaidByHand, caller: Caller) -> RefundView:
    """Record that the money of a refund that the provider refused was given back by hand; closes its task."""
    return console.paid_by_hand(refund_id, body.note, caller.name, clock.now())


@app.route("/console/reviews")
@answers(ReviewList, permission=may("reviews.read"))
def list_reviews() -> ReviewList:
    """List the reviews that wait for a person, the most urgent first."""
    return console.reviews()


@app.route("/console/reviews/{review_id}/approve", methods=["POST"])
@answers(ReviewView, takes=Decide, permission=may("reviews.decide"), refusals=(NotFound, ReviewDecided, Busy))
def approve_review(review_id: str, body: Decide, caller: Caller) -> ReviewView:
    """Let the order go on."""
    return console.review_view(risk_checks.approve(review_id, caller.name, body.note, clock.now()))


@app.route("/console/reviews/{review_id}/refuse", methods=["POST"])
@answers(ReviewView, takes=Decide, permission=may("reviews.decide"), refusals=(NotFound, ReviewDecided, Busy))
def refuse_review(review_id: str, body: Decide, caller: Caller) -> ReviewView:
    """Send the money back."""
    return console.review_view(risk_checks.refuse(review_id, caller.name, body.note, clock.now()))


@app.route("/console/lists", methods=["POST"])
@answers(Listed, status=201, takes=ListContact, permission=may("risk.lists"))
def put_on_list(body: ListContact, caller: Caller) -> Listed:
    """Deny or allow a contact or an address."""
    return console.put_on_list(body, caller.name, clock.now())


@app.route("/console/tasks")
@answers(TaskList, permission=may("orders.read"))
def list_tasks() -> TaskList:
    """List what waits for a person, the oldest first."""
    return console.tasks()


@app.route("/console/tasks/{task_id}/close", methods=["POST"])
@answers(TaskClosed, takes=CloseTask, permission=may("tasks.close"), refusals=(NotFound,))
def close_task(task_id: str, body: CloseTask, caller: Caller) -> TaskClosed:
    """Say that a task is done."""
    return console.close_task(task_id, caller.name, body.note, clock.now())


@app.route("/console/settlement/{day}")
@answers(StatementView, permission=may("settlement.read"), refusals=(InvalidRequest, NotClosed))
def show_statement(day: str) -> StatementView:
    """Show a closed day, or today so far."""
    return console.statement(day, clock.now())


@app.route("/console/settlement/{day}/close", methods=["POST"])
@answers(StatementView, permission=may("settlement.close"), refusals=(InvalidRequest, DayNotOver))
def close_day(day: str) -> StatementView:
    """Close a day, once."""
    return console.close_day(day, clock.now())


@app.route("/console/settlement/{day}/entries/{entry_id}/reverse", methods=["POST"])
@answers(
    EntryView,
    status=201,
    permission=may("settlement.close"),
    refusals=(InvalidRequest, NotFound, AlreadyReversed, Busy),
)
def reverse_entry(day: str, entry_id: str, caller: Caller) -> EntryView:
    """Correct the books by an entry of today that undoes another."""
    return console.reverse_entry(day, entry_id, caller.name, clock.now())


@app.route("/console/bills")
@answers(BillList, query=BillsQuery, permission=may("settlement.read"), refusals=(InvalidRequest,))
def list_bills(query: BillsQuery) -> BillList:
    """List what the payment providers say of a day, with its sums."""
    return bills.listed(console.day_of(query.day) if query.day else bills.latest(clock.now()))


@app.route("/console/bills/{merchant}/{day}")
@answers(BillFile, permission=may("settlement.read"), refusals=(InvalidRequest, NotFound))
def show_bill(merchant: str, day: str) -> BillFile:
    """Show a day's bill of one merchant, with a link to the file as it came."""
    return bills.shown(merchant, console.day_of(day))


handler = entry(app)
