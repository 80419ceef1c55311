"""An unpaid order ends: cancelled by its buyer or expired, and what it held goes back."""

from __future__ import annotations

from datetime import datetime

from shared.inventory import records as inventory
from shared.kernel import clock
from shared.kernel.errors import Busy
from shared.kernel.records import Lost, Transaction
from shared.orders import records as orders
from shared.orders.deadlines import last_look
from shared.orders.errors import NotOpen
from shared.orders.status import Status


def close(order: orders.Order, how: Status, now: datetime) -> None:
    """Cancel or expire an unpaid order and free what it held; NotOpen if it moved elsewhere first."""
    if order.status is not Status.PLACED:
        raise NotOpen(order_status=order.status)
    try:
        with Transaction() as tx:
            orders.move(tx, order.head, closed=how, due_at=last_look(clock.parse(str(order.head.expires_at)), now))
            free(tx, order)
    except Lost:
        latest = Status(orders.head_of(order.order_id).status)
        if latest is Status.PLACED:
            raise Busy from None
        if latest is not how:
            raise NotOpen(order_status=latest) from None


def free(tx: Transaction, order: orders.Order) -> None:
    """Give back all that an order holds, in the transaction of the move that ends it."""
    for card_id in order.card_ids:
        inventory.release(tx, card_id, order.order_id)
    for taken in orders.limited(order.lines, str(order.head.channel)):
        inventory.return_quota(tx, taken.of, taken.quantity)
