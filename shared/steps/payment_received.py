"""What money does once it is recorded: pays its order, revives a closed one, or goes back where it came from.

Used by whoever learns of money: the notification door, and the owner of time when it asks a provider.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from random import SystemRandom

from shared.inventory import records as inventory
from shared.inventory.errors import OutOfStock
from shared.kernel import clock, ids
from shared.kernel.errors import Busy
from shared.kernel.money import share
from shared.kernel.records import Lost, Transaction
from shared.kernel.telemetry import count, logger
from shared.ledger import posting
from shared.ledger import records as ledger
from shared.orders import records as orders
from shared.orders.deadlines import STEP_WITHIN, step_due
from shared.orders.records import Order
from shared.orders.status import Refund, Status
from shared.payments import records as payments
from shared.payments import registry
from shared.payments.errors import UnknownPayment
from shared.payments.provider import Charge
from shared.payments.records import Received
from shared.payments.states import MoneyState
from shared.staff import records as staff
from shared.steps.quoting import need

ATTEMPTS = 12  # lost races against the order's other moves and against buyers of the same cards

_chance = SystemRandom()


def receive(payment_id: str, charge: Charge, provider: str, now: datetime) -> None:
    """Record the charge, then act on it. Repeating it changes nothing.

    Money that we never asked this provider for lies in suspense until a person has found out why it came.
    """
    try:
        paid = payments.payment(payment_id)
    except UnknownPayment:
        paid = None
    if paid is None or paid.provider != provider:
        _keep_unknown(charge, provider, now)
        return
    money = payments.record(paid, charge, now)
    if money.payment_id != payment_id:
        # The number is known as the money of another payment: what that is worth, nobody gets twice.
        logger.error("money under another name", provider=provider, provider_no=charge.provider_no)
        return
    for _ in range(ATTEMPTS):
        if money.state == MoneyState.APPLIED:
            return
        try:
            _use(money, paid, orders.outline_of(str(paid.order_id)), now)
            return
        except Lost:
            money = payments.received(str(money.id))  # somebody moved first: look again, decide again
    raise Busy


def _use(money: Received, paid: payments.Payment, order: Order, now: datetime) -> None:
    odd = _odd(money, paid, order)
    if odd:
        _give_back(money, order, odd, now)
    elif order.status is Status.PLACED:
        _pay(money, order, {}, now)
    else:
        _revive(money, order, now)


def _odd(money: Received, paid: payments.Payment, order: Order) -> str | None:
    """Why this money is not the price of its order, if it is not."""
    if money.amount.currency != paid.amount.currency:
        return "other_currency"
    if money.amount != paid.amount:
        return "too_little" if money.amount < paid.amount else "too_much"
    if order.head.refund:
        return "after_refund"
    return "paid_twice" if order.head.paid_by else None


def _keep_unknown(charge: Charge, provider: str, now: datetime) -> None:
    fee = share(charge.amount.minor, registry.fee_e6(provider))
    try:
        with Transaction() as tx:
            money = payments.record_unknown(tx, provider, charge, now)
            ledger.post(
                tx,
                payments.UNKNOWN_PAYMENT,
                posting.unplaced_received(provider, charge.amount, fee),
                now,
                charge.paid_at,
                provider=provider,
                payment_id=charge.payment_id,
            )
            staff.open_task(tx, "unknown_money", str(money.id), None, now)
    except Lost as lost:
        if not lost.refused:
            raise Busy from None  # another transaction was in the way: the provider will say it again
        return
    count("UnknownMoney")
    logger.error("money for an unknown payment", provider=provider, provider_no=charge.provider_no)


def _revive(money: Received, order: Order, now: datetime) -> None:
    """Late money: its cards are back on the shelf, so others take their place; if there are none, it goes back.

    It goes back for a large order, too: a thousand cards are not taken at once for a buyer who may have gone.
    """
    if order.head.chunks:
        _refund_late(money, order, now)
        return
    stocked = [line for line in order.lines if line.card_ids]
    today = clock.shanghai_day(now)
    try:
        picked = inventory.pick_all([need(line, today) for line in stocked], _chance)
        _pay(money, order, dict(zip((line.number for line in stocked), picked, strict=True)), now)
    except OutOfStock:
        _refund_late(money, order, now)
    except Lost as lost:
        if not any(part.startswith("quota ") for part in lost.refused):
            raise
        _refund_late(money, order, now)


def _pay(money: Received, order: Order, held_anew: Mapping[str, list[str]], now: datetime) -> None:
    """The order is paid: money, attempt, order, books, and for late money the new cards of its lines, all at once."""
    with Transaction() as tx:
        payments.apply(tx, money, "late" if order.head.closed else "order")
        orders.move(tx, order.head, due_at=_due(order, now), also={"paid_by": str(money.id)})
        for line in order.lines if order.head.closed else ():
            for card_id in held_anew.get(line.number, ()):
                inventory.hold(tx, card_id, str(line.sku), order.order_id, str(order.head.channel))
            if line.number in held_anew:
                orders.hold_anew(tx, line, held_anew[line.number])
        for taken in orders.limited(order.lines, str(order.head.channel)) if order.head.closed else ():
            inventory.reserve_quota(tx, *taken)
        legs = posting.payment_received(str(money.provider), money.amount, _fee(money), _weights(order))
        _post(tx, "payment", legs, money, order, now)
    logger.info("paid", order_id=order.order_id, late=bool(order.head.closed))


def _due(order: Order, now: datetime) -> datetime | None:
    """An order that was paid soon is looked at soon enough at the time that its placing has set."""
    if order.head.closed or not order.head.due_at:
        return now + STEP_WITHIN
    return step_due(clock.parse(str(order.head.due_at)), now)


def _refund_late(money: Received, order: Order, now: datetime) -> None:
    """The order was closed and its cards are gone: the money goes back, and the order says so."""
    refund_id = ids.new("ref", now)
    with Transaction() as tx:
        payments.apply(tx, money, "late_without_stock")
        orders.move(
            tx,
            order.head,
            due_at=now if order.head.chunks else None,  # if not all its cards are back yet, `deadlines` sees to it
            refund=Refund.OPEN,
            also={"paid_by": str(money.id), "refund_id": refund_id},
        )
        payments.request_refund(tx, refund_id, money, "late_without_stock", "system", now, of_order=True)
        _post(tx, "late_money", _there_and_back(money), money, order, now, refund_id)
    count("LateMoneyRefunded")


def _give_back(money: Received, order: Order, why: str, now: datetime) -> None:
    """Money that fits no open order: recorded in suspense and sent back; the order does not move."""
    refund_id = ids.new("ref", now)
    with Transaction() as tx:
        payments.apply(tx, money, why)
        payments.request_refund(tx, refund_id, money, why, "system", now, of_order=False)
        _post(tx, why, _there_and_back(money), money, order, now, refund_id)
    count("UnplacedMoney")


def _there_and_back(money: Received) -> list[posting.Leg]:
    received = posting.unplaced_received(str(money.provider), money.amount, _fee(money))
    return [*received, *posting.refund_requested(money.amount, "suspense")]


def _post(
    tx: Transaction,
    kind: str,
    legs: list[posting.Leg] | tuple[posting.Leg, ...],
    money: Received,
    order: Order,
    now: datetime,
    refund_id: str | None = None,
) -> None:
    ledger.post(
        tx,
        kind,
        legs,
        now,
        clock.parse(str(money.paid_at)),
        order_id=order.order_id,
        channel=str(order.head.channel),
        provider=str(money.provider),
        payment_id=str(money.payment_id),
        refund_id=refund_id,
    )


def _fee(money: Received) -> int:
    return share(int(money.amount_minor), registry.fee_e6(str(money.provider)))


def _weights(order: Order) -> list[tuple[str, int]]:
    return [(str(line.sku), line.amount.minor) for line in order.lines]
