"""An order that will not be delivered gives back what it held: an unpaid one that ends, a paid one that is refunded."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime
from random import SystemRandom

from shared.inventory import records as inventory
from shared.inventory.states import CardState
from shared.kernel import clock, ids
from shared.kernel.errors import Busy
from shared.kernel.records import Lost, Transaction
from shared.orders import records as orders
from shared.orders.deadlines import LAST_LOOK, STEP_WITHIN
from shared.orders.errors import NotOpen
from shared.orders.records import Chunk, Order
from shared.orders.status import CLOSED, OPEN, Status
from shared.steps import hold_limits

ATTEMPTS = 6  # meetings with other transactions, and cards that turn out to be recalled, before we say busy

_chance = SystemRandom()


def close(order: Order, how: Status, now: datetime) -> None:
    """Cancel or expire an unpaid order and free what it held; NotOpen if it moved elsewhere first."""
    if order.status not in OPEN:
        raise NotOpen(order_status=order.status)
    large = bool(order.head.chunks)
    due_at = now + STEP_WITHIN if large else now  # `deadlines` closes it at its provider

    def move(tx: Transaction, said: Collection[str]) -> None:
        orders.move(tx, order.head, closed=how, due_at=due_at)
        hold_limits.give_back(tx, order, lapsed=how is Status.EXPIRED, unless=said)
        if order.status is Status.HOLDING:
            orders.drop_ref(tx, str(order.head.ref))

    try:
        ending(order, move)
    except Lost:
        latest = Status(orders.head_of(order.order_id).status)
        if latest in OPEN:
            raise Busy from None
        if latest is not how:
            raise NotOpen(order_status=latest) from None
    if large:
        with suppress(Lost, Busy):  # the order has ended; `deadlines` gives back what is left
            finish(order.order_id, now)


def ending(order: Order, move: Callable[[Transaction, Collection[str]], None]) -> None:
    """Make the move that ends an order, and give back in the same transaction what it holds; raises Lost.

    The move is told which parts named ``hold …`` were refused, because their counters have forgotten the order. The
    cards of a large order are too many for one transaction: `finish` gives them back once the move is made.
    """
    recalled: frozenset[str] = frozenset()
    said: frozenset[str] = frozenset()
    for attempt in range(ATTEMPTS):
        try:
            with Transaction() as tx:
                move(tx, said)
                for card_id in () if order.head.chunks else order.held_card_ids:
                    _release(tx, card_id, order.order_id, recalled)
                for taken in orders.limited(order.lines, str(order.head.channel)):
                    inventory.return_quota(tx, taken.of, taken.quantity)
            return
        except Lost as lost:
            newly = _recalled(lost, order.order_id) - recalled
            forgotten = {part for part in lost.refused if part.startswith("hold ")} - said
            if attempt == ATTEMPTS - 1 or (lost.refused and not newly and not forgotten):
                raise
            recalled |= newly
            said |= forgotten
            if not lost.refused:
                _wait(attempt)


def finish(order_id: str, now: datetime) -> bool:
    """Give back what a large order that has ended still holds, and say when it is looked at again.

    False if all was back before. What dies on the way is taken up by the deadline that the ending move has set.
    """
    order = orders.order_of(order_id)
    for chunk in order.chunks:
        if not chunk.claimed:
            _release_chunk(order_id, chunk)
    head = order.head
    if not head.due_at:
        return False
    last = clock.parse(str(head.expires_at)) + LAST_LOOK
    if not head.payments or (order.status not in CLOSED and len(head.payments) == 1):
        orders.rest(head)
    elif now < last and str(head.due_at) < clock.iso(last):
        orders.look_again(head, last, 0)  # its provider is still to be asked for late money
    else:
        return False
    return True


def _release_chunk(order_id: str, chunk: Chunk) -> None:
    recalled: frozenset[str] = frozenset()
    for attempt in range(ATTEMPTS):
        try:
            with Transaction() as tx:
                orders.drop_chunk(tx, chunk)
                for card_id in chunk.card_ids:
                    _release(tx, str(card_id), order_id, recalled)
            return
        except Lost as lost:
            if "chunk" in lost.refused:
                return  # somebody else has given it back
            newly = _recalled(lost, order_id) - recalled
            if lost.refused and not newly:
                raise
            recalled |= newly
            _wait(attempt)
    raise Busy


def _release(tx: Transaction, card_id: str, order_id: str, recalled: Collection[str]) -> None:
    (inventory.release_recalled if card_id in recalled else inventory.release)(tx, card_id, order_id)


def _recalled(lost: Lost, order_id: str) -> frozenset[str]:
    """Those of the refused cards that this order holds, and that may not go back on the shelf."""
    refused = [part for part in lost.refused if ids.is_id("crd", part)]
    return frozenset(
        str(card.card_id)
        for card in (inventory.known(refused) if refused else ())
        if card.state == CardState.HELD and card.order_id == order_id and card.recall_id
    )


def _wait(attempt: int) -> None:
    time.sleep(_chance.uniform(0, 0.02 * (attempt + 1)))  # seconds: spreads those who met
