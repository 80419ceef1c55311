"""Money back: requested once, sent under its own number, asked after until the provider has said yes or no."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from shared.inventory import records as inventory
from shared.jobs.errors import KeyReused
from shared.kernel import clock, ids
from shared.kernel.errors import Busy, InvalidRequest, NotFound
from shared.kernel.money import Money
from shared.kernel.records import Lost, Transaction
from shared.kernel.telemetry import count, logger
from shared.ledger import posting
from shared.ledger import records as ledger
from shared.orders import records as orders
from shared.orders.errors import MoreThanPaid, NotOpen, OnlyWhole
from shared.orders.notices import Notice
from shared.orders.records import Line, Order
from shared.orders.status import READABLE, LineState, Refund, Status
from shared.payments import records as payments
from shared.payments import registry
from shared.payments.by_hand import NotInSuspense
from shared.payments.contract import RequestRefund
from shared.payments.errors import RefundNotRefused
from shared.payments.provider import Outcome, Provider
from shared.payments.states import RefundState
from shared.staff import records as staff
from shared.steps import large_orders, order_closing, provider_calls

ASK_AGAIN = timedelta(minutes=1)
"""Doubled with every try."""

TRIES_MAX = 8
"""Sending and being due again count one try each: an hour and a half of asking, then a person looks at it."""

ATTEMPTS = 12  # lost races against other refunds of the same order

GIVEN_BACK = "given_back"  # what became of money in suspense

RECALLED, NO_SUPPLY, WRONG_ACCOUNT = "recalled", "no_supply", "wrong_account"
_NOTICES = {
    RECALLED: Notice.REFUNDED_RECALL,
    NO_SUPPLY: Notice.NO_SUPPLY,
    WRONG_ACCOUNT: Notice.WRONG_ACCOUNT,
}
"""The reasons of refunds that the buyer is told about."""

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
    """Request the refund of all that an order has not had back, and free what it held; again gives the same refund.

    NotOpen otherwise.
    """
    if order.head.refund_id:
        return str(order.head.refund_id)
    if order.status not in REFUNDABLE:
        raise NotOpen(order_status=order.status)
    refund_id = ids.new("ref", now)
    money = payments.received(str(order.head.paid_by))
    delivered = LineState.DELIVERED in order.head.facts.lines
    large = bool(order.head.chunks) and not delivered
    bound = _bound_for_nothing(order) if large else []

    def move(tx: Transaction, _: Collection[str] = ()) -> None:
        due_at = now if large else None  # `deadlines` gives its cards back, chunk by chunk
        orders.move(tx, order.head, due_at=due_at, refund=Refund.OPEN, also=_ending(refund_id, reason))
        _request(tx, refund_id, order, money, order.left, bound, reason, by, now, of_order=True)

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


def request_part(order_id: str, wanted: RequestRefund, by: str, key: str, now: datetime) -> str:
    """Request the refund of some lines, or of an amount, of what was delivered; the order stays what it is.

    The same key gives the same refund, KeyReused where it stood for another request. Never more goes back than was
    paid, nor of a line than its amount: the order's version is a condition of the transaction. A part that leaves
    nothing over ends the order as a refund of all does.
    """
    asked = hashlib.sha256(wanted.model_dump_json().encode()).hexdigest()
    for _ in range(ATTEMPTS):
        order = orders.outline_of(order_id)
        refund_id = _refund_id(order_id, key)
        if _asked_before(refund_id, asked):
            return refund_id
        if order.status not in READABLE:
            raise (OnlyWhole if order.status in REFUNDABLE else NotOpen)(order_status=order.status)
        money = payments.received(str(order.head.paid_by))
        parts = _parts(order, wanted, money.amount)
        whole = sum(parts.values()) == sum(order.left.values())
        try:
            with Transaction() as tx:
                if whole:
                    orders.move(tx, order.head, refund=Refund.OPEN, also=_ending(refund_id, wanted.reason))
                else:
                    orders.refund_parts(tx, order.head, parts)
                _request(tx, refund_id, order, money, parts, [], wanted.reason, by, now, of_order=whole, asked=asked)
        except Lost:
            continue  # somebody moved the order or gave something back: look again, decide again
        return refund_id
    raise Busy


def request_undelivered(tx: Transaction, order: Order, parts: Mapping[str, int], reason: str, now: datetime) -> None:
    """Give back what nobody delivers of an order that is delivered otherwise: line number → minor units; once an order.

    The caller's transaction says in the order's head that it goes back.
    """
    refund_id = _refund_id(order.order_id, reason)
    money = payments.received(str(order.head.paid_by))
    _request(tx, refund_id, order, money, parts, [], reason, "system", now, of_order=False)


def give_unknown_back(provider: str, provider_no: str, by: str, note: str, now: datetime) -> str:
    """Send money that came for nothing we know of back where it came from, and close its task; again changes nothing.

    NotInSuspense where the money has paid for something, or went back by itself.
    """
    money = payments.received(payments.money_id(provider, provider_no))
    moment = clock.parse(str(money.received_at))
    refund_id = ids.new("ref", moment, hashlib.sha256(str(money.id).encode()).digest()[:10])
    for _ in range(ATTEMPTS):
        if money.use == GIVEN_BACK:
            return refund_id
        if money.use != payments.UNKNOWN_PAYMENT:
            raise NotInSuspense(use=money.use or money.state)
        try:
            with Transaction() as tx:
                payments.use_otherwise(tx, money, GIVEN_BACK)
                payments.request_refund(tx, refund_id, money, payments.UNKNOWN_PAYMENT, by, now, of_order=False)
                ledger.post(
                    tx,
                    "refund_requested",
                    posting.refund_requested(money.amount, "suspense"),
                    now,
                    provider=provider,
                    payment_id=str(money.payment_id),
                    refund_id=refund_id,
                    by=by,
                )
                staff.end_task(tx, "unknown_money", str(money.id), by, note, now)
        except Lost:
            money = payments.received(str(money.id))  # another person was faster, or somebody looked at the task
            continue
        return refund_id
    raise Busy


def return_promotions(tx: Transaction, order: Order, parts: Mapping[str, int]) -> None:
    """The one place where a refund gives back what its order has used of coupons and budgets, in its own transaction.

    parts: line number → minor units that go back of it now; what is given back is in proportion to them, and the last
    part takes what rounding has left. Orders use neither coupons nor budgets yet, so there is nothing to give back.
    """


def send(refund_id: str, now: datetime) -> None:
    """Ask the provider for one refund and write down its answer; a refund that is final is left alone."""
    refund = payments.refund(refund_id)
    if refund.state in {RefundState.SUCCEEDED, RefundState.FAILED}:
        return
    provider = registry.provider(str(refund.provider))
    try:
        if refund.state == RefundState.REQUESTED and not provider.refund_is_repeatable:
            # Written down before it is sent: whoever dies now, nobody sends it a second time.
            wait(refund, RefundState.UNKNOWN, now)
            refund = payments.refund(refund_id)
            outcome = provider_calls.counted(provider, lambda: provider.refund(refund.request, now), now)
        else:
            outcome = _answer(provider, refund, now)
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
    if int(refund.tries) >= TRIES_MAX and outcome in {Outcome.SUCCEEDED, Outcome.FAILED}:
        staff.end_if_open("refund_stuck", refund_id, "system", str(outcome), now)
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


def _answer(provider: Provider, refund: payments.Refund, now: datetime) -> Outcome:
    request = refund.request
    if refund.state == RefundState.UNKNOWN:
        if not provider.refund_is_repeatable:
            return provider.query_refund(request, now)  # what it cannot say is no outage of its
        known = provider_calls.counted(provider, lambda: provider.query_refund(request, now), now)
        if known is not Outcome.ABSENT:
            return known
    return provider_calls.counted(provider, lambda: provider.refund(request, now), now)


def _succeed(
    tx: Transaction, refund: payments.Refund, legs: Sequence[posting.Leg], now: datetime, by: str | None = None
) -> None:
    head = None if refund.order_id == payments.NO_ORDER else orders.head_of(str(refund.order_id))
    payments.end_refund(tx, refund, RefundState.SUCCEEDED)
    if head and refund.of_order:
        orders.move(tx, head, refund=Refund.DONE)
    ledger.post(
        tx,
        "refund_sent",
        legs,
        now,
        order_id=str(refund.order_id) if head else None,
        channel=str(head.channel) if head else None,
        provider=str(refund.provider),
        refund_id=str(refund.id),
        by=by,
    )


def _refund_id(order_id: str, key: str) -> str:
    """A part's id follows from its order and its caller's key: asking twice is asking once."""
    return ids.new("ref", ids.moment(order_id), hashlib.sha256(f"{order_id}|{key}".encode()).digest()[:10])


def _asked_before(refund_id: str, asked: str) -> bool:
    try:
        known = payments.refund(refund_id)
    except NotFound:
        return False
    if known.asked != asked:
        raise KeyReused
    return True


def _parts(order: Order, wanted: RequestRefund, paid: Money) -> dict[str, int]:
    """What goes back of each line, by its number; MoreThanPaid, or OnlyWhole for what is not delivered yet.

    Of an amount every delivered line bears its share, so that no line can ever give back more than it was paid.
    """
    delivered = {number for number, state in order.head.lines.items() if state == LineState.DELIVERED}
    left = {number: minor for number, minor in order.left.items() if number in delivered}
    if wanted.lines:
        named = {str(number) for number in wanted.lines}
        if unknown := named - order.left.keys():
            fields = [{"field": "lines", "reason": f"no_line_{number}"} for number in sorted(unknown, key=int)]
            raise InvalidRequest(fields=fields)
        if not named <= delivered:
            raise OnlyWhole(order_status=order.status)
        left = {number: minor for number, minor in left.items() if number in named}
    gone = sum(line.amount.minor for line in order.lines) - sum(order.left.values())
    possible = min(sum(left.values()), paid.minor - gone)
    amount = sum(left.values()) if wanted.amount_minor is None else wanted.amount_minor
    if amount > possible or (wanted.lines and not all(left.values())):
        raise MoreThanPaid(left_minor=possible, currency=paid.currency)
    return dict(zip(left, posting.split(amount, list(left.values())), strict=True))


def _ending(refund_id: str, reason: str) -> dict[str, str]:
    """What an order remembers of the refund that ends it."""
    return {"refund_id": refund_id, **({"notice": _NOTICES[reason]} if reason in _NOTICES else {})}


def _request(
    tx: Transaction,
    refund_id: str,
    order: Order,
    money: payments.Received,
    parts: Mapping[str, int],
    more: Sequence[posting.Leg],
    reason: str,
    by: str,
    now: datetime,
    *,
    of_order: bool,
    asked: str | None = None,
) -> None:
    """The refund of some of each line, its entry in the books, and what goes back with it."""
    amount = Money(sum(parts.values()), money.amount.currency)
    payments.request_refund(tx, refund_id, money, reason, by, now, of_order=of_order, amount=amount, asked=asked)
    return_promotions(tx, order, parts)
    ledger.post(
        tx,
        "refund_requested",
        [*_owed(order, parts), *more],
        now,
        order_id=order.order_id,
        channel=str(order.head.channel),
        provider=str(money.provider),
        refund_id=refund_id,
        by=by,
    )


def _bound_for_nothing(order: Order) -> list[posting.Leg]:
    """The cost of what a large order had been given when it was refunded half-way."""
    bound = [str(card_id) for chunk in order.chunks if chunk.claimed for card_id in chunk.card_ids]
    costs = {str(card.card_id): int(card.cost_e6) for card in inventory.known(bound)} if bound else {}
    return list(large_orders.claimed_legs(order, costs))


def _owed(order: Order, parts: Mapping[str, int]) -> list[posting.Leg]:
    """What was delivered is taken back from sales, what was not from the buyer's deposits; stock is left alone."""
    legs: list[posting.Leg] = []
    for line in order.lines:
        minor = parts.get(line.number, 0)
        sold = minor if order.head.lines[line.number] == LineState.DELIVERED else max(0, minor - _undelivered(line))
        if sold:
            legs += posting.refund_requested(Money(sold, str(line.currency)), "refunds", [(str(line.sku), sold)])
        if minor > sold:
            legs += posting.refund_requested(Money(minor - sold, str(line.currency)), "deposits")
    return legs


def _undelivered(line: Line) -> int:
    """What of a line's amount, in minor units, no delivery has turned into sales yet."""
    return int(line.unit_minor) * (int(line.quantity) - int(line.got or 0))
