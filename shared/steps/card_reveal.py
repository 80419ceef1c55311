"""Show codes: to the buyer what was bought, to staff one at a time. Each look is written down before it is answered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from shared.inventory import lots as lot_records
from shared.inventory import opening, views
from shared.inventory import records as inventory
from shared.inventory.contract import RevealCard, RevealedCode
from shared.inventory.errors import LotDestroyed, RevealLimit
from shared.inventory.lots import LotState
from shared.inventory.states import CardState
from shared.kernel import ids, people, settings
from shared.kernel.errors import Busy, NotFound
from shared.kernel.http import Caller
from shared.kernel.records import Lost, Transaction
from shared.orders import records as orders
from shared.orders.contract import RevealedCard, RevealView
from shared.orders.errors import NotDelivered, NotOpen
from shared.orders.status import OVER, READABLE, LineState
from shared.staff import limits

REVEALS_A_DAY = 50
"""By one member of staff: enough for a day of complaints, far from a way to empty the stock."""

ATTEMPTS = 4  # the same person pressing twice at once


def reveal(order_id: str, caller: Caller, now: datetime) -> RevealView:
    """The codes of what was delivered and not given back, each look written down before it is answered; a top-up has
    none.

    NotDelivered before delivery, NotOpen where the money goes back.
    """
    order = orders.order_of(order_id)
    if order.status in OVER:
        raise NotOpen(order_status=order.status)
    if order.status not in READABLE:
        raise NotDelivered(order_status=order.status)
    card_ids = _readable(order)
    if not card_ids and order.card_ids:  # what was delivered has gone back, and the rest is still to come
        raise NotDelivered(order_status=order.status)
    shown = _opened(order_id, inventory.cards(card_ids))
    address = people.hashed("address", caller.address)
    views.record(card_ids, "buyer", address, "bought", now, order_id=order_id)
    return RevealView(order_id=order_id, cards=shown)


def reveal_card(card_id: str, wanted: RevealCard, caller: Caller, now: datetime) -> RevealedCode:
    """One code for a member of staff, who says why and may do it so many times a day; RevealLimit after that."""
    if not ids.is_id("crd", card_id):
        raise NotFound
    try:
        [card] = inventory.cards([card_id])
    except inventory.Card.DoesNotExist:
        raise NotFound from None
    if lot_records.lot_of(str(card.lot_id)).state == LotState.DESTROYED:
        raise LotDestroyed(lot_id=card.lot_id)
    _count(caller.name, now)
    address = people.hashed("address", caller.address)
    views.record([card_id], caller.name, address, wanted.reason, now, order_id=card.order_id, staff=True)
    [secret] = opening.opened([card])
    return RevealedCode(
        card_id=card_id, sku=str(card.sku), code=secret.code, number=secret.number, expires_on=card.expires_on
    )


def _readable(order: orders.Order) -> list[str]:
    """The cards of the lines that are delivered and still paid for."""
    states, given_back = order.head.lines, order.given_back
    shown = [line for line in order.lines if states[line.number] == LineState.DELIVERED]
    return [str(card_id) for line in shown if line.number not in given_back for card_id in line.card_ids]


def _opened(order_id: str, cards: Sequence[inventory.Card]) -> list[RevealedCard]:
    for card in cards:
        if card.state != CardState.SOLD or card.order_id != order_id:
            raise opening.unreadable(str(card.lot_id), str(card.card_id))
    return [
        RevealedCard(sku=str(card.sku), code=secret.code, number=secret.number, expires_on=card.expires_on)
        for card, secret in zip(cards, opening.opened(cards), strict=True)
    ]


def _count(name: str, now: datetime) -> None:
    limit = settings.whole("REVEALS_A_DAY", REVEALS_A_DAY)
    for _ in range(ATTEMPTS):
        try:
            with Transaction() as tx:
                limits.use(tx, "reveal", name, 1, limit, now)
            return
        except Lost as lost:
            if lost.refused:
                raise RevealLimit(limit=limit) from None
    raise Busy
