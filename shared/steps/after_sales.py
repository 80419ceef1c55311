"""Money back: requested once, sent under its own number, asked after until the provider has said yes or no."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from shared.inventory import records as inventory
from shared.kernel import ids
from shared.kernel.errors import Busy
from shared.kernel.records import Lost, Transaction
from shared.kernel.telemetry import count, logger
from shared.ledger import posting
from shared.ledger import records as ledger
from shared.orders import records as orders
from shared.orders.errors import NotOpen
from shared.orders.notices import Notice
from shared.orders.records import Order
from shared.orders.status import LineState, Refund, Status
from shared.payments import records as payments
from shared.payments import registry
from shared.payments.errors import RefundNotRefused
from shared.payments.provider import Outcome
from shared.payments.states import RefundState
from shared.staff import records as staff
from shared.steps import large_orders, order_closing, provider_calls

ASK_AGAIN = timedelta(minutes=1)
"""Doubled with every try."""

TRIES_MAX = 8
"""Sending and being due again count one try each: an hour and a half of asking, then a person looks at it."""

RECALLED = "recalled"  # the reason of a refund that the buyer is told about

REFUNDABLE = frozenset({Status.REFUSED, Status.CLEARED, Status.PARTLY_DELIVERED, Status.DELIVERED})


def work(message: Mapping[str, str], now: datetime) -> None:
    """Give a refused order's money back, or send a refund that was requested."""
    if "refund_id" in message:
        send(message["refund_id"], now)
        return
    order = orders.order_of(message["order_id"])
    if order.status is Status.REFUSED:
        request(order, "refused", "system", now)


def request(order: Order, reason: str, by: str, now: datetime) -> str:
    """Request the refund of a whole order and free what it held; again gives the same refund. NotOpen otherwise."""
    if order.head.refund_id:
        return str(order.head.refund_id)
    if order.status not in REFUNDABLE:
        raise NotOpen(order_status=order.status)
    refund_id = ids.new("ref", now)
    money = payments.received(str(order.head.paid_by))
    delivered = LineState.DELIVERED in order.head.facts.lines
    large = bool(order.head.chunks) and not delivered
    legs = _owed(order) + (_bound_for_nothing(order) if large else [])

    def move(tx: Transaction, _: Collection[str] = ()) -> None:
        due_at = now if large else None  # `deadlines` gives its cards back, chunk by chunk
        also = {"refund_id": refund_id, **({"notice": Notice.REFUNDED_RECALL} if reason == RECALLED else {})}
        orders.move(tx, order.head, due_at=due_at, refund=Refund.OPEN, also=also)
        payments.request_refund(tx, refund_id, money, reason, by, now, of_order=True)
        ledger.post(
            tx,
            "refund_requested",
            legs,
            now,
            order_id=order.order_id,
            channel=str(order.head.channel),
            provider=str(money.provider),
            refund_id=refund_id,
            by=by,
        )

    try:
        if delivered:
            with Transaction() as tx:
                move(tx)
        else:
            order_closing.ending(order, move)
    except Lost:
        latest = orders.order_of(order.order_id)
        if latest.head.refund_id:
            return str(latest.head.refund_id)
        raise (Busy() if latest.status in REFUNDABLE else NotOpen(order_status=latest.status)) from None
    return refund_id


def send(refund_id: str, now: datetime) -> None:
    """Ask the provider for one refund and write down its answer; a refund that is final is left alone."""
    refund = payments.refund(refund_id)
    if refund.state in {RefundState.SUCCEEDED, RefundState.FAILED}:
        return
    outcome = _answer(refund, now)
    try:
        if outcome is Outcome.SUCCEEDED:
            with Transaction() as tx:
                _succeed(tx, refund, posting.refund_sent(str(refund.provider), refund.amount), now)
        elif outcome is Outcome.FAILED:
            with Transaction() as tx:
                payments.end_refund(tx, refund, RefundState.FAILED)
                staff.open_task(tx, "refund_failed", refund_id, str(refund.order_id), now)
            count("TaskOpened")
        else:
            wait(refund, RefundState.UNKNOWN, now)
    except Lost:
        logger.info("refund moved meanwhile", refund_id=refund_id)
    logger.info("refund", refund_id=refund_id, outcome=outcome)


def paid_by_hand(refund_id: str, by: str, note: str, now: datetime) -> None:
    """A person has given the money back past the provider, which refused to; saying so again changes nothing.

    RefundNotRefused unless the provider's refusal is final: else the buyer would be paid twice.
    """
    refund = payments.refund(refund_id)
    if refund.state == RefundState.SUCCEEDED:
        return
    if refund.state != RefundState.FAILED:
        raise RefundNotRefused(state=str(refund.state))
    with suppress(Lost), Transaction() as tx:  # two people pressed at once: one of them has said it
        _succeed(tx, refund, posting.refund_by_hand(refund.amount), now, by)
        staff.end_task(tx, "refund_failed", refund_id, by, note, now)


def wait(refund: payments.Refund, state: RefundState, now: datetime) -> None:
    """Look at it again later; a person is told when that has been said too often."""
    tries = int(refund.tries)
    with Transaction() as tx:
        payments.wait_for_refund(tx, refund, state, now + ASK_AGAIN * 2 ** min(tries, TRIES_MAX))
        if tries + 1 == TRIES_MAX:
            staff.open_task(tx, "refund_stuck", str(refund.id), str(refund.order_id), now)
    if tries + 1 == TRIES_MAX:
        count("TaskOpened")


def _answer(refund: payments.Refund, now: datetime) -> Outcome:
    provider, request = registry.provider(str(refund.provider)), refund.request
    if refund.state == RefundState.UNKNOWN:
        known = provider_calls.counted(provider, lambda: provider.query_refund(request, now), now)
        if known is not Outcome.ABSENT:
            return known
    return provider_calls.counted(provider, lambda: provider.refund(request, now), now)


def _succeed(
    tx: Transaction, refund: payments.Refund, legs: Sequence[posting.Leg], now: datetime, by: str | None = None
) -> None:
    head = orders.head_of(str(refund.order_id))
    payments.end_refund(tx, refund, RefundState.SUCCEEDED)
    if refund.of_order:
        orders.move(tx, head, refund=Refund.DONE)
    ledger.post(
        tx,
        "refund_sent",
        legs,
        now,
        order_id=str(refund.order_id),
        channel=str(head.channel),
        provider=str(refund.provider),
        refund_id=str(refund.id),
        by=by,
    )


def _bound_for_nothing(order: Order) -> list[posting.Leg]:
    """The cost of what a large order had been given when it was refunded half-way."""
    bound = [str(card_id) for chunk in order.chunks if chunk.claimed for card_id in chunk.card_ids]
    costs = {str(card.card_id): int(card.cost_e6) for card in inventory.known(bound)} if bound else {}
    return list(large_orders.claimed_legs(order, costs))


def _owed(order: Order) -> list[posting.Leg]:
    """What was delivered is taken back from sales, what was not from the buyer's deposits."""
    legs: list[posting.Leg] = []
    for line in order.lines:
        sold = order.head.lines[line.number] == LineState.DELIVERED
        legs += posting.refund_requested(
            line.amount, "refunds" if sold else "deposits", [(str(line.sku), line.amount.minor)]
        )
    return legs
