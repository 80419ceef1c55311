"""HTTP: the operators' API of what is bought for orders: each attempt with its messages, and what a person decides."""

from shared.jobs.contract import RecallView
from shared.kernel import clock
from shared.kernel.errors import Busy, InvalidRequest, NotFound
from shared.kernel.http import Caller, answers, door, entry
from shared.staff.permissions import may
from shared.steps import purchase_desk
from shared.suppliers.errors import AccountAltered, AttemptOver, NotByHand
from shared.suppliers.purchase_contract import (
    AccountToTopUp,
    AllowPrice,
    AttemptList,
    AttemptView,
    PurchaseQuery,
    RevealAccount,
    SettleAttempt,
    VoidPurchase,
)

app = door("purchase_desk")


@app.route("/console/purchases")
@answers(AttemptList, query=PurchaseQuery, permission=may("purchases.read"), refusals=(NotFound,))
def list_attempts(query: PurchaseQuery) -> AttemptList:
    """List the attempts to buy what an order needs, of whom, why, and what was said."""
    return purchase_desk.of_order(query.order_id)


@app.route("/console/purchases/{number}/allow", methods=["POST"])
@answers(
    AttemptView,
    takes=AllowPrice,
    permission=may("purchases.write"),
    refusals=(NotFound, AttemptOver, InvalidRequest, Busy),
)
def allow_price(number: str, body: AllowPrice, caller: Caller) -> AttemptView:
    """Let a line that waits for it cost more this time."""
    return purchase_desk.allow(number, body, caller.name, clock.now())


@app.route("/console/purchases/{number}/account", methods=["POST"])
@answers(
    AccountToTopUp,
    takes=RevealAccount,
    permission=may("accounts.reveal"),
    refusals=(NotFound, NotByHand, AccountAltered),
)
def reveal_account(number: str, body: RevealAccount, caller: Caller) -> AccountToTopUp:
    """Show the account of a top-up to who is to buy it by hand, and says why; recorded for ever."""
    return purchase_desk.reveal_account(number, body, caller, clock.now())


@app.route("/console/purchases/{number}/settle", methods=["POST"])
@answers(
    AttemptView,
    takes=SettleAttempt,
    permission=may("purchases.write"),
    refusals=(NotFound, AttemptOver, InvalidRequest, Busy),
)
def settle_attempt(number: str, body: SettleAttempt, caller: Caller) -> AttemptView:
    """Say what a person has bought by hand, or has found out about an attempt."""
    return purchase_desk.settle(number, body, caller.name, clock.now())


@app.route("/console/purchases/{number}/void", methods=["POST"])
@answers(RecallView, status=201, takes=VoidPurchase, permission=may("cards.recall"), refusals=(NotFound, Busy))
def void_purchase(number: str, body: VoidPurchase, caller: Caller) -> RecallView:
    """Recall what a purchase brought, or all of that SKU from its supplier that day, because it is said to be void."""
    return purchase_desk.void(number, body, caller.name, clock.now())


handler = entry(app)
