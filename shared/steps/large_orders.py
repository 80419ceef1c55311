"""Orders of more cards than one transaction moves: all or nothing, chunk by chunk.

The order comes first and names what it wants, as `holding`; each chunk is held only while it is that, and a last move
makes it an order like any other. Whatever dies on the way is taken up by a retry, or given back by `deadlines`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from random import SystemRandom

from shared.catalog.kinds import Fulfilment
from shared.inventory import records as inventory
from shared.kernel import clock, ids
from shared.kernel.errors import Busy
from shared.kernel.money import Money
from shared.kernel.records import Lost, Transaction
from shared.ledger import posting
from shared.orders import records as orders
from shared.orders.records import Line, Order
from shared.orders.status import Status
from shared.steps.quoting import need

HOLD_WITHIN = timedelta(minutes=1)
"""A thousand cards are held within seconds; later than this whoever held them has died, and they go back."""

ATTEMPTS = 25  # lost races for the cards of one chunk before we say busy

_chance = SystemRandom()


def chunks_of(line: Line) -> list[int]:
    """How many pieces each chunk of a line has."""
    size = orders.MADE_CHUNK if line.fulfilment == Fulfilment.ISSUE else orders.CHUNK
    whole, rest = divmod(int(line.quantity), size)
    return [size] * whole + ([rest] if rest else [])


def missing(order: Order) -> Iterator[tuple[Line, list[tuple[int, int]]]]:
    """What an order has no cards for yet, as (line, [(chunk number, pieces)])."""
    have = {(chunk.line, chunk.number) for chunk in order.chunks}
    for line in order.lines:
        if wanted := [(n, size) for n, size in enumerate(chunks_of(line)) if (line.number, n) not in have]:
            yield line, wanted


def hold(order: Order, now: datetime) -> None:
    """Hold all cards that a holding order has not got yet; OutOfStock if there are too few.

    Raises Lost where the order moved, or another process that holds for the same order was faster: look again.
    """
    today = clock.shanghai_day(now)
    for line, wanted in missing(order):
        if line.fulfilment == Fulfilment.ISSUE:
            continue  # made when they are delivered
        wish = need(line, today)._replace(quantity=sum(size for _, size in wanted))
        planned = [card.card_id for card in inventory.pick(wish, _chance)]
        for number, size in wanted:
            chosen, planned = planned[:size], planned[size:]
            _hold_chunk(order, line, number, chosen, frozenset(planned), today)


def _hold_chunk(order: Order, line: Line, number: int, chosen: list[str], planned: frozenset[str], today: date) -> None:
    """planned: cards of the chunks after this one."""
    won_by_others: frozenset[str] = frozenset()
    for attempt in range(ATTEMPTS):
        try:
            with Transaction() as tx:
                orders.insist(tx, order.order_id, Status.HOLDING)
                orders.add_chunk(tx, order.order_id, line, number, chosen, claimed=False)
                for card_id in chosen:
                    inventory.hold(tx, card_id, str(line.sku), order.order_id, str(order.head.channel))
            return
        except Lost as lost:
            if {"order", "chunk"} & set(lost.refused):
                raise
            won_by_others |= {part for part in lost.refused if ids.is_id("crd", part)}
            time.sleep(_chance.uniform(0, 0.02 * min(attempt + 1, 10)))  # seconds: spreads buyers who collided
            kept = [card_id for card_id in chosen if card_id not in won_by_others]
            if len(kept) < len(chosen):
                wish = need(line, today)._replace(quantity=len(chosen) - len(kept))
                others = inventory.pick(wish, _chance, won_by_others | planned | frozenset(kept))
                chosen = kept + [card.card_id for card in others]
    raise Busy


def claimed_legs(order: Order, costs: Mapping[str, int]) -> tuple[posting.Leg, ...]:
    """What an order that is not delivered after all has cost us: cards bound to it are sold for ever.

    costs: card → its cost in millionths.
    """
    legs: list[posting.Leg] = []
    for line in order.lines:
        bound = [
            str(card)
            for chunk in order.chunks
            if chunk.claimed and chunk.line == line.number
            for card in chunk.card_ids
        ]
        if bound:
            line_costs = [costs[card_id] for card_id in bound]
            if line.fulfilment == Fulfilment.ISSUE:
                legs += posting.lot_bought("own", str(line.sku), line_costs, str(line.currency))
            none = Money(0, str(line.currency))
            legs += posting.delivered([posting.Line(str(line.sku), 0, none, line_costs, str(line.currency))])
    return tuple(legs)
