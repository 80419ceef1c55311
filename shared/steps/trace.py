"""Where a card came from and where it went: supplier, purchase, lot, card, order, buyer, and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from datetime import time as time_of_day

from shared.insights import records as insights
from shared.inventory import lots as lot_records
from shared.inventory import records as inventory
from shared.inventory.contract import (
    BuyersOrder,
    BuyersOrders,
    FindBuyer,
    LotDetail,
    LotLevel,
    LotList,
    LotsQuery,
    LotView,
    TracedCard,
    TracedCards,
)
from shared.inventory.lots import Lot
from shared.inventory.records import LOT_SHARDS, Card
from shared.kernel import clock, people
from shared.kernel.errors import InvalidRequest
from shared.kernel.telemetry import logger
from shared.orders import records as orders
from shared.orders.errors import NoContact
from shared.orders.records import Order
from shared.steps.order_views import amount_of

LOTS = 50  # in an answer
FIRST_DAY, LAST_DAY = date(1970, 1, 2), date(9999, 12, 30)  # outside of these other zones have no calendar
CARDS = 100  # in an answer: one read of the table
ORDERS = 20  # of a buyer in an answer; each may hold many cards


def lots(query: LotsQuery) -> LotList:
    """A supplier's lots, the latest first, or those of a purchase."""
    if (query.supplier is None) == (query.purchase_id is None):
        raise InvalidRequest(fields=[{"field": "supplier", "reason": "supplier_or_purchase_id"}])
    if query.purchase_id is not None:
        return LotList(lots=_views(lot_records.of_purchase(query.purchase_id)), next_cursor=None)
    start, end = period(query.from_ or FIRST_DAY, query.to or LAST_DAY)
    received_at, _, lot_id = (query.cursor or "").partition("|")
    if query.cursor and not clock.iso(start) <= received_at < clock.iso(end):
        raise InvalidRequest(fields=[{"field": "cursor", "reason": "bad_cursor"}])
    found = lot_records.latest(str(query.supplier), start, end, LOTS, (received_at, lot_id) if query.cursor else None)
    return LotList(
        lots=_views(lot_id for _, lot_id in found),
        next_cursor="|".join(found[-1]) if len(found) == LOTS else None,
    )


def lot(lot_id: str) -> LotDetail:
    """A lot and how many of its cards are in which state."""
    found = lot_records.lot_of(lot_id)
    level = insights.of_lot(lot_id)
    return LotDetail(
        **_view(found).model_dump(),
        cards=LotLevel(**{name: getattr(level, name) for name in LotLevel.model_fields}),
    )


def lot_cards(lot_id: str, cursor: str | None) -> TracedCards:
    """The cards of a lot, a page of them."""
    found = lot_records.lot_of(lot_id)
    number, _, after = (cursor or "0|").partition("|")
    ids: list[str] = []
    for shard in range(int(number), LOT_SHARDS):
        ids += inventory.cards_of_lot(lot_id, shard, after, CARDS - len(ids))
        if len(ids) == CARDS:
            return TracedCards(cards=_traced(ids, [found]), next_cursor=f"{shard}|{ids[-1]}")
        after = ""
    return TracedCards(cards=_traced(ids, [found]), next_cursor=None)


def order_cards(order_id: str) -> TracedCards:
    """The cards of an order, those of its buyer that were recalled and replaced among them no more."""
    return TracedCards(cards=_traced(orders.order_of(order_id).card_ids), next_cursor=None)


def buyer(wanted: FindBuyer, by: str) -> BuyersOrders:
    """What a contact has ordered and which cards it got; who asked is written down, for whom is not."""
    given = [(kind, text) for kind, text in (("phone", wanted.phone), ("email", wanted.email)) if text]
    contact = people.contact(*given[0]) if len(given) == 1 else None
    if contact is None:
        raise NoContact
    ids = orders.of_buyer(people.hashed(contact.kind, contact.text), wanted.cursor, ORDERS)
    found = [orders.order_of(order_id) for order_id in ids]
    logger.info("a buyer was looked up", by=by, orders=len(found))
    return BuyersOrders(
        contact=contact.mask,
        orders=[_buyers_order(order) for order in found],
        next_cursor=ids[-1] if len(ids) == ORDERS else None,
    )


def period(first: date, last: date) -> tuple[datetime, datetime]:
    """From the first moment of a business day in Shanghai until the last of another is over."""
    midnight = time_of_day(tzinfo=clock.SHANGHAI)
    start, end = (datetime.combine(min(max(day, FIRST_DAY), LAST_DAY), midnight) for day in (first, last))
    return start, end + timedelta(days=1)


def _buyers_order(order: Order) -> BuyersOrder:
    head = order.head
    return BuyersOrder(
        order_id=order.order_id,
        status=str(head.status),
        placed_at=str(head.placed_at),
        channel=str(head.channel),
        total=amount_of(head.total),
        cards=_traced(order.card_ids),
    )


def _traced(card_ids: Sequence[str], known: Sequence[Lot] = ()) -> list[TracedCard]:
    if not card_ids:
        return []
    found = {str(card.card_id): card for card in inventory.known(card_ids)}
    lots_of = {str(lot.lot_id): lot for lot in known}
    if missing := {str(card.lot_id) for card in found.values()} - lots_of.keys():
        lots_of |= lot_records.known(missing)
    return [_card(found[card_id], lots_of[str(found[card_id].lot_id)]) for card_id in card_ids if card_id in found]


def _card(card: Card, lot: Lot) -> TracedCard:
    return TracedCard(
        card_id=str(card.card_id),
        sku=str(card.sku),
        mask=card.mask,
        state=str(card.state),
        expires_on=card.expires_on,
        lot_id=str(card.lot_id),
        supplier=str(lot.supplier),
        purchase_id=card.purchase_id or lot.purchase_id,
        order_id=card.order_id,
        channel=card.channel,
        recall_id=card.recall_id,
        replaced_by=card.replaced_by,
    )


def _views(lot_ids: Iterable[str]) -> list[LotView]:
    wanted = list(lot_ids)
    found = lot_records.known(wanted) if wanted else {}
    return [_view(found[lot_id]) for lot_id in wanted if lot_id in found]


def _view(lot: Lot) -> LotView:
    return LotView(
        lot_id=str(lot.lot_id),
        label=str(lot.label),
        supplier=str(lot.supplier),
        purchase_id=lot.purchase_id,
        source=str(lot.source),
        job_id=lot.job_id,
        documents=dict(lot.documents or {}),
        state=str(lot.state),
        received_at=str(lot.received_at),
        recall_id=lot.recall_id,
    )
