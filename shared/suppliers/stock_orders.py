"""Parts of the table `purchases`: what a person orders for stock. Its cards come by import, which names the order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from pynamodb.attributes import NumberAttribute, UnicodeAttribute
from pynamodb.expressions.update import Action
from pynamodb.indexes import GlobalSecondaryIndex, KeysOnlyProjection

from shared.kernel import clock, records, settings
from shared.kernel.errors import NotFound

OPEN, OVER = "stock#open", "stock#over"
STOCK = "stock"
OPEN_MAX = 200  # more is not ordered at once: each is read with every page of advice
OVER_SHOWN = 100  # the latest that came, by which the next ones are expected


class StockState(StrEnum):
    OPEN = "open"  # on its way
    RECEIVED = "received"  # all of it
    CLOSED = "closed"  # nobody expects the rest any more


class ByState(GlobalSecondaryIndex["StockOrder"]):
    """The index in which attempts wait; what is ordered for stock stands apart there, open or over."""

    class Meta(records.Options):
        index_name = "due"
        projection = KeysOnlyProjection()

    due = UnicodeAttribute(hash_key=True)
    due_at = UnicodeAttribute(range_key=True)


class StockOrder(records.Record):
    """One purchase for stock. landed_e6: what one piece costs us, in millionths of a yuan. asked: what was asked for.

    Not `supplier` and `ended_at`: by these the attempts of a supplier are found.
    """

    class Meta(records.Options):
        table_name = settings.table("purchases")

    order_id = UnicodeAttribute(hash_key=True, default=STOCK)
    part = UnicodeAttribute(range_key=True)  # its id
    sku = UnicodeAttribute()
    sold_by = UnicodeAttribute()
    product = UnicodeAttribute()
    quantity = NumberAttribute()
    landed_e6 = NumberAttribute()
    state = UnicodeAttribute(default=StockState.OPEN)
    received = NumberAttribute(default=0)
    ordered_by = UnicodeAttribute()
    ordered_at = UnicodeAttribute()
    over_at = UnicodeAttribute(null=True)
    closed_by = UnicodeAttribute(null=True)
    asked = UnicodeAttribute()
    due = UnicodeAttribute(null=True)
    due_at = UnicodeAttribute(null=True)
    by_state = ByState()

    @property
    def id(self) -> str:
        return str(self.part)

    @property
    def missing(self) -> int:
        return max(0, int(self.quantity) - int(self.received)) if self.state == StockState.OPEN else 0


def named(by: str, key: str) -> str:
    """The id of an order: the same for the same key of the same person."""
    by_key = hashlib.sha256(f"{by}\n{key}".encode())
    return f"po_{by_key.hexdigest()[:26]}"


def order(
    id_: str, sku: str, sold_by: str, product: str, quantity: int, landed_e6: int, asked: str, by: str, now: datetime
) -> StockOrder:
    """Order so many; Lost if there is one of this id that asked for something else."""
    made = StockOrder(
        part=id_,
        sku=sku,
        sold_by=sold_by,
        product=product,
        quantity=quantity,
        landed_e6=landed_e6,
        ordered_by=by,
        ordered_at=clock.iso(now),
        asked=hashlib.sha256(asked.encode()).hexdigest(),
        due=OPEN,
        due_at=clock.iso(now),
    )
    try:
        with records.Transaction() as tx:
            tx.insert("order", made)
    except records.Lost:
        found = order_of(id_)
        if found.asked != made.asked:
            raise
        return found
    return made


def asked_for(id_: str, asked: str) -> StockOrder | None:
    """The order of this id, if it was made by the same request; Lost if by another one, None if there is none."""
    try:
        found = order_of(id_)
    except NotFound:
        return None
    if found.asked != hashlib.sha256(asked.encode()).hexdigest():
        raise records.Lost("order")
    return found


def order_of(id_: str) -> StockOrder:
    """The order as it is now, or NotFound."""
    try:
        return StockOrder.get(STOCK, id_, consistent_read=True)
    except StockOrder.DoesNotExist:
        raise NotFound from None


def on_their_way() -> list[StockOrder]:
    """The open ones, the oldest first; may be a moment behind."""
    return _all([str(one.part) for one in StockOrder.by_state.query(OPEN)])


def came() -> list[StockOrder]:
    """The latest that are over, the latest first."""
    found = StockOrder.by_state.query(OVER, scan_index_forward=False, limit=OVER_SHOWN, page_size=OVER_SHOWN)
    return _all([str(one.part) for one in found])


def count_in(id_: str, cards: int, now: datetime) -> StockOrder:
    """So many cards of it are in stock, all together. What is over stays so."""
    found = order_of(id_)
    if found.state != StockState.OPEN or cards == int(found.received):
        return found
    actions: list[Action] = [StockOrder.received.set(cards)]
    if cards >= int(found.quantity):
        actions += _over(StockState.RECEIVED, now)
    records.update(found, actions, StockOrder.due == OPEN)
    return found


def close(id_: str, by: str, now: datetime) -> StockOrder:
    """Nobody expects the rest of it; what is over already stays what it is. NotFound."""
    found = order_of(id_)
    if found.state == StockState.OPEN:
        try:
            records.update(
                found, [*_over(StockState.CLOSED, now), StockOrder.closed_by.set(by)], StockOrder.due == OPEN
            )
        except records.Lost:
            return order_of(id_)
    return found


def request(sku: str, quantity: int, supplier: str | None) -> str:
    """What an order asks for, as text."""
    return json.dumps([sku, quantity, supplier])


def _over(state: StockState, now: datetime) -> list[Action]:
    at = clock.iso(now)
    return [
        StockOrder.state.set(state),
        StockOrder.over_at.set(at),
        StockOrder.due.set(OVER),
        StockOrder.due_at.set(at),
    ]


def _all(found: Sequence[str]) -> list[StockOrder]:
    by_id = {one.id: one for one in StockOrder.batch_get([(STOCK, id_) for id_ in found])} if found else {}
    return [by_id[id_] for id_ in found if id_ in by_id]
