"""What nobody delivers of an order, or not all of it: its money goes back, and the order comes to its end."""

from __future__ import annotations

from datetime import datetime

from shared.kernel import clock
from shared.kernel.errors import Busy
from shared.kernel.records import Lost, Transaction
from shared.orders import records as orders
from shared.orders.notices import Notice
from shared.orders.records import Order
from shared.orders.status import LineState
from shared.steps import after_sales
from shared.steps.purchase_received import BUYING_IN
from shared.suppliers import purchases

ATTEMPTS = 12  # lost races against the order's other lines


def give_up(order_id: str, number: str, tried: int, now: datetime, why: Notice = Notice.NO_SUPPLY) -> None:
    """Nobody delivers the line, or what is left of it; `why` is what its buyer is told. Again changes nothing.

    tried: attempts that were seen; raises Lost where somebody has begun another one.
    """
    for _ in range(ATTEMPTS):
        order = orders.outline_of(order_id)
        if order.status not in BUYING_IN or order.head.lines[number] != LineState.BUYING:
            break
        states = {name: LineState(state) for name, state in order.head.lines.items()} | {number: LineState.FAILED}
        told = Notice.WRONG_ACCOUNT if order.head.notice == Notice.WRONG_ACCOUNT else why
        try:
            # Due at once: whoever dies before the money goes back is followed by `deadlines`.
            with Transaction() as tx:
                purchases.insist(tx, order_id, number, tried)
                orders.move(tx, order.head, lines=list(states.values()), due_at=now, also={"notice": told})
            break
        except Lost as lost:
            if "attempt" in lost.refused:
                raise
    else:
        raise Busy
    settle(order_id, now)


def settle(order_id: str, now: datetime) -> bool:
    """Once no line waits any more, give back what the failed ones cost; False while one waits, or where none failed."""
    for _ in range(ATTEMPTS):
        order = orders.order_of(order_id)
        states = set(order.head.lines.values())
        if order.status not in BUYING_IN or LineState.FAILED not in states:
            return False
        if states & {LineState.WAITING, LineState.BUYING}:
            return False
        try:
            if not _has_something(order):
                after_sales.request(order, _why(order), "system", now)
            else:
                _settle_rest(order, now)
        except (Lost, Busy):
            continue
        return True
    raise Busy


def _why(order: Order) -> str:
    """The reason of the refund, as the buyer has been told since a line was given up; he can do something about one."""
    wrong = order.head.notice == Notice.WRONG_ACCOUNT
    return after_sales.WRONG_ACCOUNT if wrong else after_sales.NO_SUPPLY


def _has_something(order: Order) -> bool:
    return LineState.DELIVERED in order.head.lines.values() or any(int(line.got or 0) for line in order.lines)


def _settle_rest(order: Order, now: datetime) -> None:
    """A failed line of which some came is delivered as far as it goes; of the others the whole amount goes back."""
    states = {number: LineState(state) for number, state in order.head.lines.items()}
    parts: dict[str, int] = {}
    for line in order.lines:
        if states[line.number] is LineState.FAILED:
            got = int(line.got or 0)
            states[line.number] = LineState.DELIVERED if got else LineState.RETURNED
            parts[line.number] = int(line.unit_minor) * (int(line.quantity) - got)
    with Transaction() as tx:
        after_sales.request_undelivered(tx, order, parts, _why(order), now)
        orders.move(
            tx,
            order.head,
            lines=list(states.values()),
            also={
                "refunded": {**(order.head.refunded or {}), **parts},
                "notice": Notice(_why(order)),
                "delivered_at": clock.iso(now),
            },
        )
