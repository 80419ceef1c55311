"""Show the buyer what was bought. The only step that can decrypt a code, and it says so first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache

from shared.inventory import lots as lot_records
from shared.inventory import records as inventory
from shared.inventory import views
from shared.inventory.errors import CodeUnreadable
from shared.inventory.states import CardState
from shared.kernel import people, vault
from shared.kernel.http import Caller
from shared.kernel.telemetry import count, logger
from shared.orders import records as orders
from shared.orders.contract import RevealedCard, RevealView
from shared.orders.errors import NotDelivered, NotOpen
from shared.orders.status import OVER, READABLE


def reveal(order_id: str, caller: Caller, now: datetime) -> RevealView:
    """The codes of a delivered order, each look written down before it is answered.

    NotDelivered before delivery, NotOpen where the money goes back.
    """
    order = orders.order_of(order_id)
    if order.status in OVER:
        raise NotOpen(order_status=order.status)
    if order.status not in READABLE:
        raise NotDelivered(order_status=order.status)
    cards = inventory.cards(order.card_ids)
    shown = _opened(order_id, cards)
    address = people.hashed("address", caller.address)
    views.record(order.card_ids, "buyer", address, "bought", now, order_id=order_id)
    return RevealView(order_id=order_id, cards=shown)


def _opened(order_id: str, cards: Sequence[inventory.Card]) -> list[RevealedCard]:
    lots = lot_records.lots(str(card.lot_id) for card in cards)
    shown = []
    for card in cards:
        lot = lots[str(card.lot_id)]
        try:
            wrapped = lot.wrapped(int(card.key_version))
            if card.state != CardState.SOLD or card.order_id != order_id or wrapped is None:
                raise vault.Tampered(card.card_id)
            secret = vault.unseal(
                _key(str(lot.lot_id), wrapped),
                str(lot.lot_id),
                str(card.card_id),
                int(card.key_version),
                bytes(card.sealed),
            )
        except vault.Tampered:
            count("CodeUnreadable")
            logger.error("a code does not open", card_id=str(card.card_id), lot_id=str(lot.lot_id))
            raise CodeUnreadable from None
        shown.append(
            RevealedCard(sku=str(card.sku), code=secret.code, number=secret.number, expires_on=card.expires_on)
        )
    return shown


@lru_cache(maxsize=32)  # lots: KMS is asked once per lot and process, and a process lives for hours at most
def _key(lot_id: str, wrapped: bytes) -> bytes:
    return vault.unwrap(lot_id, wrapped)
