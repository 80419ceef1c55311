"""Cards, the fingerprints that keep them unique for ever, the lots they came in, and every view of a code.

The verbs that move a card take the caller's transaction: a card moves only together with the order that explains it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from random import Random
from typing import NamedTuple

from pynamodb.attributes import BinaryAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.expressions.condition import Condition
from pynamodb.indexes import GlobalSecondaryIndex, KeysOnlyProjection

from shared.inventory import shelf
from shared.inventory.errors import OutOfStock
from shared.inventory.shelf import OnShelf
from shared.inventory.states import CardState
from shared.kernel import clock, ids, records, settings

LOT_SHARDS = 16  # so that one lot of 100,000 cards is not one hot index key


class Shelf(GlobalSecondaryIndex["Card"]):
    """Present only while a card is available, so selling costs the same whatever was sold before."""

    class Meta(records.Options):
        index_name = "shelf"
        projection = KeysOnlyProjection()

    shelf = UnicodeAttribute(hash_key=True)
    shelf_order = UnicodeAttribute(range_key=True)


class ByLot(GlobalSecondaryIndex["Card"]):
    class Meta(records.Options):
        index_name = "lot"
        projection = KeysOnlyProjection()

    lot_shard = UnicodeAttribute(hash_key=True)
    card_id = UnicodeAttribute(range_key=True)


class Card(records.Record):
    class Meta(records.Options):
        table_name = settings.table("cards")

    card_id = UnicodeAttribute(hash_key=True)
    state = UnicodeAttribute()
    sku = UnicodeAttribute()
    lot_id = UnicodeAttribute()
    lot_shard = UnicodeAttribute()
    sealed = BinaryAttribute(legacy_encoding=False)
    key_version = NumberAttribute()
    cost_e6 = NumberAttribute()
    home = UnicodeAttribute()  # the shelf it goes back to when a hold ends
    shelf = UnicodeAttribute(null=True)
    shelf_order = UnicodeAttribute()
    order_id = UnicodeAttribute(null=True)
    on_shelf = Shelf()
    by_lot = ByLot()

    @property
    def expires_on(self) -> str | None:
        day = str(self.shelf_order).partition("#")[0]
        return None if day == shelf.NEVER else day


class Fingerprint(records.Record):
    class Meta(records.Options):
        table_name = settings.table("fingerprints")

    fingerprint = UnicodeAttribute(hash_key=True)
    card_id = UnicodeAttribute()
    whole = UnicodeAttribute()  # keyed hash of number and password: tells a repeat from a conflict


class Lot(records.Record):
    class Meta(records.Options):
        table_name = settings.table("lots")

    lot_id = UnicodeAttribute(hash_key=True)
    label = UnicodeAttribute()
    supplier = UnicodeAttribute()
    source = UnicodeAttribute()  # the file or the process it came by
    wrapped_key = BinaryAttribute(legacy_encoding=False)
    key_version = NumberAttribute()
    received_at = UnicodeAttribute()


class Quota(records.Record):
    """How many codes we still may make of a limited SKU; lives beside the lots."""

    class Meta(records.Options):
        table_name = settings.table("lots")

    lot_id = UnicodeAttribute(hash_key=True)
    used = NumberAttribute(default=0)


class View(records.Record):
    """One look at a code: written before the code is shown, never changed."""

    class Meta(records.Options):
        table_name = settings.table("views")

    card_id = UnicodeAttribute(hash_key=True)
    view_id = UnicodeAttribute(range_key=True)
    order_id = UnicodeAttribute()
    viewer = UnicodeAttribute()
    address = UnicodeAttribute()  # keyed hash
    reason = UnicodeAttribute()


def new_card(
    card_id: str, sku: str, lot: Lot, sealed: bytes, cost_e6: int, expires_on: date | None, shards: int
) -> Card:
    """An available card that is not stored yet."""
    home = shelf.place(sku, card_id, shards)
    return Card(
        card_id=card_id,
        state=CardState.AVAILABLE,
        sku=sku,
        lot_id=lot.lot_id,
        lot_shard=f"{lot.lot_id}#{sum(card_id.encode()) % LOT_SHARDS}",
        sealed=sealed,
        key_version=lot.key_version,
        cost_e6=cost_e6,
        home=home,
        shelf=home,
        shelf_order=shelf.order_key(expires_on, card_id),
    )


def stock(tx: records.Transaction, card: Card, fingerprint: str, whole: str) -> None:
    """Add a card and the fingerprint that refuses its like for ever; the part that loses is named by the card's id."""
    tx.insert(str(card.card_id), Fingerprint(fingerprint, card_id=card.card_id, whole=whole))
    tx.insert(f"card {card.card_id}", card)


def stored_wholes(fingerprints: Sequence[str]) -> dict[str, str]:
    """What is known under these fingerprints: fingerprint → keyed hash of the whole."""
    return {
        str(found.fingerprint): str(found.whole)
        for found in Fingerprint.batch_get(list(fingerprints), consistent_read=True)
    }


def pick(
    sku: str, shards: int, count: int, today: date, chance: Random, passed_over: frozenset[str] = frozenset()
) -> Sequence[OnShelf]:
    """`count` available cards that have not expired, or OutOfStock; the day of expiry itself is still good.

    passed_over: cards another buyer has just won; the index may still show them for a moment.
    """
    start = chance.randrange(shards)
    seen: dict[str, OnShelf] = {}
    for look in (0, 1):  # sold out is said only after a second look, the index being eventually consistent
        for shard in range(shards):
            for card in _on_shelf(f"{sku}#{(start + shard) % shards}", today, count + len(passed_over)):
                if card.card_id not in passed_over:
                    seen[card.card_id] = card
            if len(seen) >= count:
                return shelf.choose(seen.values(), count, chance)
        if look == 0 and passed_over:
            time.sleep(0.05)  # seconds: an index page is rarely staler than this
    raise OutOfStock(sku=sku)


class Need(NamedTuple):
    """So many cards of a SKU, whose shelf has so many shards."""

    sku: str
    quantity: int
    shards: int


def pick_all(
    needs: Iterable[Need], today: date, chance: Random, passed_over: frozenset[str] = frozenset()
) -> list[list[str]]:
    """Ids of cards for each need, none of them twice, or OutOfStock."""
    picked: list[list[str]] = []
    for need in needs:
        taken = passed_over.union(*picked)
        picked.append([card.card_id for card in pick(need.sku, need.shards, need.quantity, today, chance, taken)])
    return picked


def has_stock(sku: str, shards: int, today: date) -> bool:
    """Whether the shelf shows at least one card; a hint, the transaction decides."""
    return any(True for shard in range(shards) for _ in Card.on_shelf.query(f"{sku}#{shard}", _fresh(today), limit=1))


def hold(tx: records.Transaction, card_id: str, sku: str, order_id: str) -> None:
    """Take an available card for an order; the part that loses is named by the card's id."""
    tx.update(
        card_id,
        Card(card_id),
        [Card.state.set(CardState.HELD), Card.order_id.set(order_id), Card.shelf.remove()],
        (Card.state == CardState.AVAILABLE) & (Card.sku == sku),
    )


def release(tx: records.Transaction, card_id: str, order_id: str) -> None:
    """Put a card held by this order back on its shelf."""
    tx.update(
        card_id,
        Card(card_id),
        [Card.state.set(CardState.AVAILABLE), Card.shelf.set(Card.home), Card.order_id.remove()],
        (Card.state == CardState.HELD) & (Card.order_id == order_id),
    )


def claim(tx: records.Transaction, card_id: str, order_id: str) -> None:
    """Bind a card held by this order to it for ever."""
    tx.update(
        card_id,
        Card(card_id),
        [Card.state.set(CardState.SOLD)],
        (Card.state == CardState.HELD) & (Card.order_id == order_id),
    )


def reserve_quota(tx: records.Transaction, sku: str, count: int, limit: int) -> None:
    """Count codes to be made against a SKU's limit; the part that loses is named ``quota {sku}``."""
    left = Quota.used <= limit - count
    enough = left | Quota.used.does_not_exist() if count <= limit else left  # the first may not take too many either
    tx.update(f"quota {sku}", Quota(_quota(sku)), [Quota.used.add(count)], enough)


def return_quota(tx: records.Transaction, sku: str, count: int) -> None:
    tx.update(f"quota {sku}", Quota(_quota(sku)), [Quota.used.add(-count)], Quota.used >= count)


def cards(card_ids: Iterable[str]) -> list[Card]:
    """The cards in the order asked for, read consistently; one that is missing raises KeyError."""
    wanted = list(card_ids)
    if len(wanted) == 1:
        return [Card.get(wanted[0], consistent_read=True)]
    found = {str(card.card_id): card for card in Card.batch_get(wanted, consistent_read=True)}
    return [found[card_id] for card_id in wanted]


def lots(lot_ids: Iterable[str]) -> dict[str, Lot]:
    wanted = sorted(set(lot_ids))
    if len(wanted) == 1:
        return {wanted[0]: Lot.get(wanted[0], consistent_read=True)}
    return {str(lot.lot_id): lot for lot in Lot.batch_get(wanted, consistent_read=True)}


def record_views(card_ids: Sequence[str], order_id: str, viewer: str, address: str, reason: str, now: datetime) -> None:
    """Write down who is about to see these codes; only after this returns may they be shown."""
    views = [
        View(card_id, ids.new("view", now), order_id=order_id, viewer=viewer, address=address, reason=reason)
        for card_id in card_ids
    ]
    if len(views) == 1:
        views[0].save()
        return
    with View.batch_write() as batch:
        for view in views:
            batch.save(view)


def new_lot(lot_id: str, label: str, supplier: str, source: str, wrapped: bytes, version: int, now: datetime) -> Lot:
    lot = Lot(
        lot_id,
        label=label,
        supplier=supplier,
        source=source,
        wrapped_key=wrapped,
        key_version=version,
        received_at=clock.iso(now),
    )
    records.insert(lot)
    return lot


def _on_shelf(place: str, today: date, count: int) -> Iterator[OnShelf]:
    want = count + shelf.WINDOW
    for card in Card.on_shelf.query(place, _fresh(today), limit=want, page_size=want):
        yield OnShelf(str(card.card_id), str(card.shelf_order).partition("#")[0])


def _fresh(today: date) -> Condition:
    return Shelf.shelf_order >= today.isoformat()


def _quota(sku: str) -> str:
    return f"quota#{sku}"
