"""A cleared order gets its cards: held ones are bound, issued ones made, and the books say so, in one transaction."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache

from shared.catalog.kinds import Fulfilment
from shared.inventory import codes, lots
from shared.inventory import records as inventory
from shared.inventory.states import CardState
from shared.kernel import clock, ids, vault
from shared.kernel.records import Lost, Transaction
from shared.kernel.telemetry import count, logger
from shared.kernel.vault import LotKey, Secret
from shared.ledger import posting
from shared.ledger import records as ledger
from shared.orders import records as orders
from shared.orders.records import Line, Order
from shared.orders.status import LineState, Status

ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # no look-alikes: people type these
CODE_LENGTH = 16  # characters of 5 bits: 80 bits cannot be guessed


def dispatch(message: Mapping[str, str], now: datetime) -> None:
    """Deliver a cleared order; one that has been delivered, or has moved elsewhere, is left alone."""
    order = orders.order_of(message["order_id"])
    if order.status is not Status.CLEARED:
        return
    try:
        _deliver(order, now)
    except Lost as lost:
        if orders.head_of(order.order_id).status == Status.CLEARED:
            if any(part.startswith("lot ") for part in lost.refused):
                _issuing_lot.cache_clear()  # it was recalled, or has another key now: the next try begins a new one
            raise  # the order still waits and its cards did not move: try again, then a person looks
        logger.info("delivered before", order_id=order.order_id, lost=lost.failed)
        return
    count("Delivered")
    logger.info("delivered", order_id=order.order_id)


def _deliver(order: Order, now: datetime) -> None:
    costs = {str(card.card_id): int(card.cost_e6) for card in inventory.cards(order.card_ids)} if order.card_ids else {}
    with Transaction() as tx:
        delivered: list[posting.Line] = []
        made: list[posting.Leg] = []
        for line in order.lines:
            if line.fulfilment == Fulfilment.ISSUE:
                for _ in range(int(line.quantity)):
                    line.card_ids.append(_issue(tx, order, line, now))
                orders.hold_anew(tx, line, line.card_ids)
                line_costs = [int(line.cost_e6)] * int(line.quantity)
                made += posting.lot_bought("own", str(line.sku), line_costs, str(line.currency))
            else:
                for card_id in line.card_ids:
                    inventory.claim(tx, card_id, order.order_id)
                line_costs = [costs[card_id] for card_id in line.card_ids]
            delivered.append(
                posting.Line(str(line.sku), int(line.quantity), line.amount, line_costs, str(line.currency))
            )
        orders.move(
            tx,
            order.head,
            lines=[LineState.DELIVERED] * len(order.lines),
            also={"delivered_at": clock.iso(now)},
        )
        ledger.post(
            tx,
            "delivery",
            [*made, *posting.delivered(delivered)],
            now,
            order_id=order.order_id,
            channel=str(order.head.channel),
            provider=str(order.head.provider),
        )


def _issue(tx: Transaction, order: Order, line: Line, now: datetime) -> str:
    """Make one code of our own, sold from birth."""
    code = "".join(secrets.choice(ALPHABET) for _ in range(CODE_LENGTH))
    lot, key = _issuing_lot(clock.shanghai_day(now).isoformat())
    card_id = ids.new("crd", now)
    expires_on = (
        clock.shanghai_day(now) + timedelta(days=int(line.validity_days)) if line.validity_days is not None else None
    )
    shown = "-".join(code[start : start + 4] for start in range(0, CODE_LENGTH, 4))
    sealed = vault.seal(key, str(lot.lot_id), card_id, Secret(shown))
    card = inventory.new_card(card_id, str(line.sku), lot, sealed, codes.mask(shown), int(line.cost_e6), expires_on, 1)
    card.state, card.order_id, card.shelf = CardState.SOLD, order.order_id, None
    card.channel = order.head.channel
    normal = codes.normal(code)
    inventory.stock(
        tx,
        card,
        vault.fingerprints(codes.identity(normal), codes.NORMAL_FORM),
        vault.fingerprints(codes.whole(normal), codes.NORMAL_FORM),
    )
    return card_id


@cache
def _issuing_lot(day: str) -> tuple[lots.Lot, LotKey]:
    """Each process issues into its own lot of the day: it knows that lot's key and may decrypt no other."""
    now = clock.now()
    lot_id = ids.new("lot", now)
    key = vault.new_lot_key(lot_id)
    return lots.new_lot(lot_id, f"issued {day}", "own", "card_dispatch", key.wrapped, key.version, now), key
