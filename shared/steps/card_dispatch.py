"""A cleared order gets its cards: held ones are bound, issued ones made, and the books say so, in one transaction.

What has to be bought is handed on to `purchasing`, so that no supplier delays what we have.
The cards of a large order are bound in chunks before that.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from random import SystemRandom

from shared.catalog.kinds import Fulfilment
from shared.inventory import codes, lots
from shared.inventory import records as inventory
from shared.inventory.errors import OutOfStock
from shared.inventory.states import CardState
from shared.kernel import clock, ids, vault
from shared.kernel.errors import Busy
from shared.kernel.records import Lost, Transaction
from shared.kernel.telemetry import count, logger
from shared.kernel.vault import LotKey, Secret
from shared.ledger import posting
from shared.ledger import records as ledger
from shared.orders import records as orders
from shared.orders.deadlines import STEP_WITHIN
from shared.orders.records import Line, Order
from shared.orders.status import LineState, Status
from shared.steps import after_sales, large_orders
from shared.steps.quoting import need

_chance = SystemRandom()

ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # no look-alikes: people type these
ATTEMPTS = 60  # looks at one order: a thousand recalled cards are replaced in fewer
REPLACED = 40  # recalled cards at once: two actions each
CODE_LENGTH = 16  # characters of 5 bits: 80 bits cannot be guessed


def dispatch(message: Mapping[str, str], now: datetime) -> None:
    """Deliver a cleared order; one that has been delivered, or has moved elsewhere, is left alone.

    A card that was recalled since it was held is never delivered: another takes its place, or the money goes back.
    """
    order_id = message["order_id"]
    for attempt in range(ATTEMPTS):
        order = orders.order_of(order_id)
        if order.status is not Status.CLEARED or LineState.WAITING not in order.head.lines.values():
            logger.info("not to be delivered", order_id=order_id, status=order.status)
            return
        cards = inventory.cards(order.card_ids) if order.card_ids else []
        try:
            if recalled := [card for card in cards if card.recall_id and card.state == CardState.HELD]:
                _replace(order, recalled, now)
                continue
            costs = {str(card.card_id): int(card.cost_e6) for card in cards}
            (_deliver_in_chunks if order.head.chunks else _deliver)(order, costs, now)
        except Lost as lost:
            latest = orders.head_of(order_id)
            if latest.status != Status.CLEARED or LineState.WAITING not in latest.lines.values():
                logger.info("delivered before", order_id=order_id, lost=lost.failed)
                return
            if any(part.startswith("lot ") for part in lost.refused):
                _issuing_lot.cache_clear()  # it was recalled, or has another key now: the next try begins a new one
            elif not lost.refused:
                time.sleep(_chance.uniform(0, 0.02 * min(attempt + 1, 10)))  # seconds: only met somebody
            continue  # a card was recalled this very moment, or another process is at work on this order: look again
        if all(line.fulfilment != Fulfilment.PURCHASE for line in order.lines):
            count("Delivered")
        logger.info("dispatched", order_id=order_id)
        return
    raise Busy  # the order still waits: its message comes again, then a person looks


def _replace(order: Order, recalled: Sequence[inventory.Card], now: datetime) -> None:
    """Give some recalled cards of one line away for others; without others the whole order is given back."""
    line = next(line for line in order.lines if recalled[0].card_id in line.card_ids)
    bad = [str(card.card_id) for card in recalled if card.card_id in line.card_ids][:REPLACED]
    try:
        wish = need(line, clock.shanghai_day(now))._replace(quantity=len(bad))
        good = [card.card_id for card in inventory.pick(wish, _chance)]
    except OutOfStock:
        after_sales.request(order, after_sales.RECALLED, "system", now)
        return
    with Transaction() as tx:
        orders.insist(tx, order.order_id, Status.CLEARED)
        orders.exchange(tx, order, dict(zip(bad, good, strict=True)))
        for card_id in bad:
            inventory.release_recalled(tx, card_id, order.order_id)
        for card_id in good:
            inventory.hold(tx, card_id, str(line.sku), order.order_id, str(order.head.channel))


def _deliver_in_chunks(order: Order, costs: Mapping[str, int], now: datetime) -> None:
    """Bind a large order's cards chunk by chunk; then it is delivered. Who comes again goes on where this was left."""
    for line, wanted in large_orders.missing(order):
        for number, size in wanted:
            with Transaction() as tx:
                orders.touch(tx, order.order_id, Status.CLEARED)
                made = [_issue(tx, order, line, now) for _ in range(size)]
                orders.add_chunk(tx, order.order_id, line, number, made, claimed=True)
    for chunk in order.chunks:
        if not chunk.claimed:
            with Transaction() as tx:
                orders.touch(tx, order.order_id, Status.CLEARED)
                orders.claim_chunk(tx, chunk)
                for card_id in chunk.card_ids:
                    inventory.claim(tx, str(card_id), order.order_id)
    bound = orders.order_of(order.order_id)
    if len(bound.chunks) < int(bound.head.chunks) or not all(chunk.claimed for chunk in bound.chunks):
        raise Lost("chunk")
    delivered: list[posting.Line] = []
    made_legs: list[posting.Leg] = []
    for line in bound.lines:
        if line.fulfilment == Fulfilment.ISSUE:
            line_costs = [int(line.cost_e6)] * int(line.quantity)
            made_legs += posting.lot_bought("own", str(line.sku), line_costs, str(line.currency))
        else:
            line_costs = [costs[str(card_id)] for card_id in line.card_ids]
        delivered.append(posting.Line(str(line.sku), int(line.quantity), line.amount, line_costs, str(line.currency)))
    with Transaction() as tx:
        _delivered(tx, bound, made_legs, delivered, now)


def _deliver(order: Order, costs: Mapping[str, int], now: datetime) -> None:
    with Transaction() as tx:
        delivered: list[posting.Line] = []
        made: list[posting.Leg] = []
        for line in order.lines:
            if line.fulfilment == Fulfilment.PURCHASE:
                continue
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
        _delivered(tx, order, made, delivered, now)


def _delivered(
    tx: Transaction, order: Order, made: Sequence[posting.Leg], delivered: Sequence[posting.Line], now: datetime
) -> None:
    """Lines that must be bought are bought from now on. made: legs of the codes that came into being for this order."""
    bought = [line.fulfilment == Fulfilment.PURCHASE for line in order.lines]
    orders.move(
        tx,
        order.head,
        lines=[LineState.BUYING if buy else LineState.DELIVERED for buy in bought],
        due_at=now + STEP_WITHIN if any(bought) else None,
        also={"buying_at" if any(bought) else "delivered_at": clock.iso(now)},
    )
    if all(bought):
        return
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
