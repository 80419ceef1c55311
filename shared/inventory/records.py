"""Cards, the fingerprints that keep them unique for ever, and the quotas of what is limited.

The verbs that move a card take the caller's transaction: a card moves only together with what explains it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from itertools import islice
from random import Random
from typing import NamedTuple

from pynamodb.attributes import BinaryAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.expressions.condition import Condition
from pynamodb.indexes import GlobalSecondaryIndex, KeysOnlyProjection

from shared.inventory import lots, shelf
from shared.inventory.errors import OutOfStock
from shared.inventory.lots import Lot
from shared.inventory.shelf import OnShelf
from shared.inventory.states import UNSOLD, CardState
from shared.kernel import records, settings
from shared.kernel.states import IllegalMove

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
    mask = UnicodeAttribute(null=True)  # what staff may see
    cost_e6 = NumberAttribute()
    purchase_id = UnicodeAttribute(null=True)
    home = UnicodeAttribute()  # the shelf it goes back to when a hold ends
    shelf = UnicodeAttribute(null=True)
    shelf_order = UnicodeAttribute()
    order_id = UnicodeAttribute(null=True)
    channel = UnicodeAttribute(null=True)  # through which it is held or was sold
    recall_id = UnicodeAttribute(null=True)
    replaced_by = UnicodeAttribute(null=True)  # the card that its buyer got for it
    on_shelf = Shelf()
    by_lot = ByLot()

    @property
    def expires_on(self) -> str | None:
        day = str(self.shelf_order).partition("#")[0]
        return None if day == shelf.NEVER else day


_OPEN = [name for name in Card.get_attributes() if name != "sealed"]


class Fingerprint(records.Record):
    class Meta(records.Options):
        table_name = settings.table("fingerprints")

    fingerprint = UnicodeAttribute(hash_key=True)
    card_id = UnicodeAttribute()
    whole = UnicodeAttribute()  # keyed hash of number and password: tells a repeat from a conflict


class Quota(records.Record):
    """How much is taken of what is limited; lives beside the lots."""

    class Meta(records.Options):
        table_name = settings.table("lots")

    lot_id = UnicodeAttribute(hash_key=True)
    used = NumberAttribute(default=0)


def new_card(
    card_id: str,
    sku: str,
    lot: Lot,
    sealed: bytes,
    mask: str,
    cost_e6: int,
    expires_on: date | None,
    shards: int,
    purchase_id: str | None = None,
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
        mask=mask,
        cost_e6=cost_e6,
        purchase_id=purchase_id,
        home=home,
        shelf=home,
        shelf_order=shelf.order_key(expires_on, card_id),
    )


def stock(
    tx: records.Transaction,
    card: Card,
    fingerprints: Sequence[str],
    wholes: Sequence[str],
    instead_of: Sequence[str] = (),
) -> None:
    """Add a card and the fingerprints that refuse its like for ever; the part that loses is named by the card's id.

    fingerprints, wholes: of its identity and of all of it, one for each pepper. The part ``lot {lot_id}`` loses once
    the lot was recalled or destroyed, or has got another key than the card was sealed with. instead_of: cards of an
    import that was undone, whose fingerprints this one takes over.
    """
    theirs = Fingerprint.card_id.is_in(*instead_of) if instead_of else None
    lots.sealed_with(tx, str(card.lot_id), int(card.key_version))
    for fingerprint, whole in zip(fingerprints, wholes, strict=True):
        tx.insert(str(card.card_id), Fingerprint(fingerprint, card_id=card.card_id, whole=whole), theirs)
    tx.insert(f"card {card.card_id}", card)


class Known(NamedTuple):
    card_id: str
    whole: str  # keyed hash


def fingerprint_anew(tx: records.Transaction, card_id: str, old: str, new: str, whole: str) -> None:
    """Write a card's fingerprint under another pepper, beside the one that is there.

    The part named by the card's id loses if that has been done, ``old {card_id}`` if the old one was taken back.
    """
    tx.check(f"old {card_id}", Fingerprint, (old,), Fingerprint.card_id == card_id)
    tx.insert(card_id, Fingerprint(new, card_id=card_id, whole=whole))


def fingerprints_under(number: str) -> Iterator[list[Fingerprint]]:
    """All fingerprints under one pepper, a hundred at a time; for jobs."""
    found = Fingerprint.scan(Fingerprint.fingerprint.startswith(f"fp#{number}#"), consistent_read=True)
    while page := list(islice(found, records.LIMIT)):
        yield page


def forget_fingerprints(fingerprints: Iterable[Fingerprint]) -> None:
    with Fingerprint.batch_write() as batch:
        for fingerprint in fingerprints:
            batch.delete(fingerprint)


def stored(fingerprints: Sequence[str]) -> dict[str, Known]:
    """What is known under these fingerprints."""
    return {
        str(found.fingerprint): Known(str(found.card_id), str(found.whole))
        for found in Fingerprint.batch_get(list(fingerprints), consistent_read=True)
    }


class Need(NamedTuple):
    """So many cards of a SKU that are still good on a day; the day of expiry itself is good.

    shards: of the SKU's shelf. aside: the channel whose own cards may be taken, too, where some are kept for it.
    """

    sku: str
    quantity: int
    shards: int
    good_on: date
    aside: str | None = None


def pick(need: Need, chance: Random, passed_over: frozenset[str] = frozenset()) -> Sequence[OnShelf]:
    """As many available cards as are needed, the first to expire first, or OutOfStock.

    passed_over: cards another buyer has just won; the index may still show them for a moment.
    """
    start = chance.randrange(need.shards)
    seen: dict[str, OnShelf] = {}
    for look in (0, 1):  # sold out is said only after a second look, the index being eventually consistent
        if need.aside:
            _look(shelf.aside(need.sku, need.aside), need, passed_over, seen)
        for shard in range(need.shards):
            _look(f"{need.sku}#{(start + shard) % need.shards}", need, passed_over, seen)
            if len(seen) >= need.quantity:
                return shelf.choose(seen.values(), need.quantity, chance)
        if look == 0 and passed_over:
            time.sleep(0.05)  # seconds: an index page is rarely staler than this
    raise OutOfStock(sku=need.sku)


def pick_all(needs: Iterable[Need], chance: Random, passed_over: frozenset[str] = frozenset()) -> list[list[str]]:
    """Ids of cards for each need, none of them twice, or OutOfStock."""
    picked: list[list[str]] = []
    for need in needs:
        picked.append([card.card_id for card in pick(need, chance, passed_over.union(*picked))])
    return picked


def most(need: Need, chance: Random, passed_over: frozenset[str] = frozenset()) -> list[str]:
    """Ids of available cards for a need, the first to expire first, as many of them as there are."""
    seen: dict[str, OnShelf] = {}
    if need.aside:
        _look(shelf.aside(need.sku, need.aside), need, passed_over, seen)
    for shard in range(need.shards):
        _look(f"{need.sku}#{shard}", need, passed_over, seen)
    return [card.card_id for card in shelf.choose(seen.values(), need.quantity, chance)]


def has_stock(need: Need) -> bool:
    """Whether a shelf shows at least one card; a hint, the transaction decides."""
    places = [f"{need.sku}#{shard}" for shard in range(need.shards)]
    places += [shelf.aside(need.sku, need.aside)] if need.aside else []
    return any(True for place in places for _ in Card.on_shelf.query(place, _fresh(need.good_on), limit=1))


def hold(tx: records.Transaction, card_id: str, sku: str, order_id: str, channel: str) -> None:
    """Take an available card for an order; the part that loses is named by the card's id.

    A card that has just been set aside for somebody else is refused, whatever the index still shows.
    """
    tx.update(
        card_id,
        Card(card_id),
        [
            Card.state.set(CardState.HELD),
            Card.order_id.set(order_id),
            Card.channel.set(channel),
            Card.shelf.remove(),
        ],
        _takeable(sku, channel),
    )


def release(tx: records.Transaction, card_id: str, order_id: str) -> None:
    """Put a card held by this order back on its shelf; it is refused for a card that was recalled meanwhile."""
    tx.update(
        card_id,
        Card(card_id),
        [
            Card.state.set(CardState.AVAILABLE),
            Card.shelf.set(Card.home),
            Card.order_id.remove(),
            Card.channel.remove(),
        ],
        _held_by(order_id) & Card.recall_id.does_not_exist(),
    )


def release_recalled(tx: records.Transaction, card_id: str, order_id: str) -> None:
    """Let a card held by this order go into the ice, because its lot was recalled meanwhile."""
    tx.update(
        card_id,
        Card(card_id),
        [Card.state.set(CardState.FROZEN), Card.order_id.remove(), Card.channel.remove()],
        _held_by(order_id) & Card.recall_id.exists(),
    )


def claim(tx: records.Transaction, card_id: str, order_id: str) -> None:
    """Bind a card held by this order to it for ever; it is refused for a card that was recalled meanwhile."""
    tx.update(
        card_id, Card(card_id), [Card.state.set(CardState.SOLD)], _held_by(order_id) & Card.recall_id.does_not_exist()
    )


def freeze(tx: records.Transaction, card_id: str, recall_id: str) -> None:
    """Take an available card from the shelf because its lot is recalled."""
    tx.update(
        card_id,
        Card(card_id),
        [Card.state.set(CardState.FROZEN), Card.recall_id.set(recall_id), Card.shelf.remove()],
        Card.state == CardState.AVAILABLE,
    )


def mark_recalled(tx: records.Transaction, card_id: str, recall_id: str, state: CardState) -> None:
    """Say, once, of a held or sold card that its lot is recalled: its order cannot claim it, or is made good."""
    tx.update(
        card_id,
        Card(card_id),
        [Card.recall_id.set(recall_id)],
        (Card.state == state) & Card.recall_id.does_not_exist(),
    )


def sell(tx: records.Transaction, card_id: str, sku: str, order_id: str, channel: str) -> None:
    """Give an available card, from the common shelf or from safety stock, to an order that is paid, for ever."""
    tx.update(
        card_id,
        Card(card_id),
        [
            Card.state.set(CardState.SOLD),
            Card.order_id.set(order_id),
            Card.channel.set(channel),
            Card.shelf.remove(),
        ],
        _takeable(sku, shelf.SAFETY),
    )


def replace(tx: records.Transaction, card_id: str, recall_id: str, by: str) -> None:
    """Say of a sold card that was recalled which card its buyer got for it; once."""
    tx.update(
        card_id,
        Card(card_id),
        [Card.replaced_by.set(by)],
        (Card.state == CardState.SOLD) & (Card.recall_id == recall_id) & Card.replaced_by.does_not_exist(),
    )


def expire(tx: records.Transaction, card_id: str, today: date) -> None:
    """Take a card whose last day is over from the shelf."""
    tx.update(
        card_id,
        Card(card_id),
        [Card.state.set(CardState.EXPIRED), Card.shelf.remove()],
        (Card.state == CardState.AVAILABLE) & (Card.shelf_order < today.isoformat()),
    )


def void(tx: records.Transaction, card_id: str, state: CardState) -> None:
    """Write off a card that is unsold, in the state it was seen in."""
    tx.update(
        card_id, Card(card_id), [Card.state.set(CardState.VOID), Card.shelf.remove()], Card.state == _unsold(state)
    )


def shelved(place: str) -> list[OnShelf]:
    """Every card that a shelf shows, the first to expire first."""
    return [_shown(card) for card in Card.on_shelf.query(place)]


def last_to_expire(sku: str, shards: int, good_on: date, limit: int) -> list[OnShelf]:
    """The cards on a SKU's common shelf that are good the longest; at most so many."""
    found = [
        _shown(card)
        for shard in range(shards)
        for card in Card.on_shelf.query(f"{sku}#{shard}", _fresh(good_on), limit=limit, scan_index_forward=False)
    ]
    return sorted(found, key=lambda card: (card.expires_on, card.card_id), reverse=True)[:limit]


def reseal(card: Card, sealed: bytes, version: int) -> None:
    """Replace what is sealed in a card, wherever it goes meanwhile; Lost if that has been done since it was read."""
    records.update(
        Card(card.card_id),
        [Card.sealed.set(sealed), Card.key_version.set(version)],
        (Card.key_version == card.key_version) & (Card.sealed == card.sealed),
        str(card.card_id),
    )


def set_aside(tx: records.Transaction, card_id: str, home: str) -> None:
    """Move an available card to another shelf, which becomes its home."""
    tx.update(card_id, Card(card_id), [Card.home.set(home), Card.shelf.set(home)], Card.state == CardState.AVAILABLE)


def reserve_quota(tx: records.Transaction, of: str, count: int, limit: int) -> None:
    """Count against the limit of a SKU, or of a SKU in a channel; the part that loses is named ``quota {of}``."""
    left = Quota.used <= limit - count
    enough = left | Quota.used.does_not_exist() if count <= limit else left  # the first may not take too many either
    tx.update(f"quota {of}", Quota(_quota(of)), [Quota.used.add(count)], enough)


def return_quota(tx: records.Transaction, of: str, count: int) -> None:
    tx.update(f"quota {of}", Quota(_quota(of)), [Quota.used.add(-count)], Quota.used >= count)


def cards_of_lot(lot_id: str, shard: int, after: str = "", limit: int | None = None) -> list[str]:
    """Ids of the lot's cards in one of its `LOT_SHARDS`, in their order, those behind `after`."""
    behind = ByLot.card_id > after if after else None
    found = Card.by_lot.query(f"{lot_id}#{shard}", behind, limit=limit, page_size=limit)
    return [str(card.card_id) for card in found]


def of_lot(lot_id: str) -> Iterator[str]:
    """Ids of all cards of a lot."""
    for shard in range(LOT_SHARDS):
        yield from cards_of_lot(lot_id, shard)


def in_state(sku: str, state: str) -> Iterator[str]:
    """Ids of a SKU's cards in a state, out of all cards there are: for jobs, never for a request."""
    found = Card.scan((Card.sku == sku) & (Card.state == state), attributes_to_get=["card_id"])
    return (str(card.card_id) for card in found)


def pages(after: str, size: int) -> Iterator[list[Card]]:
    """All cards there are, read consistently, in the table's own order, those behind `after`; for jobs."""
    start = {"card_id": {"S": after}} if after else None
    found = Card.scan(consistent_read=True, last_evaluated_key=start, page_size=size)
    while page := list(islice(found, size)):
        yield page


def known(card_ids: Iterable[str], attributes: Sequence[str] = _OPEN) -> list[Card]:
    """Those of the cards that are there, read consistently, in no order and without what is sealed in them."""
    return list(Card.batch_get(list(card_ids), consistent_read=True, attributes_to_get=list(attributes)))


def states_of(lot_ids: Iterable[str]) -> Counter[str]:
    """How many cards of these lots are in which state, counted one by one."""
    found: Counter[str] = Counter()
    for lot_id in lot_ids:
        for shard in range(LOT_SHARDS):
            card_ids = cards_of_lot(lot_id, shard)
            seen = Card.batch_get(card_ids, consistent_read=True, attributes_to_get=["card_id", "state"])
            found.update(str(card.state) for card in seen)
    return found


def cards(card_ids: Iterable[str]) -> list[Card]:
    """The cards in the order asked for, read consistently; one that is missing raises KeyError."""
    wanted = list(card_ids)
    if len(wanted) == 1:
        return [Card.get(wanted[0], consistent_read=True)]
    found = {str(card.card_id): card for card in Card.batch_get(wanted, consistent_read=True)}
    return [found[card_id] for card_id in wanted]


def _look(place: str, need: Need, passed_over: frozenset[str], seen: dict[str, OnShelf]) -> None:
    want = need.quantity + len(passed_over) + shelf.WINDOW
    for card in Card.on_shelf.query(place, _fresh(need.good_on), limit=want, page_size=want):
        if card.card_id not in passed_over:
            seen[str(card.card_id)] = _shown(card)


def _shown(card: Card) -> OnShelf:
    return OnShelf(str(card.card_id), str(card.shelf_order).partition("#")[0])


def _takeable(sku: str, channel: str) -> Condition:
    """Available, of this SKU, and on the common shelf or on the one kept for this channel."""
    home = Card.home.startswith(f"{sku}#") | (Card.home == shelf.aside(sku, channel))
    takeable: Condition = (Card.state == CardState.AVAILABLE) & (Card.sku == sku) & home
    return takeable


def _fresh(good_on: date) -> Condition:
    return Shelf.shelf_order >= good_on.isoformat()


def _held_by(order_id: str) -> Condition:
    held: Condition = (Card.state == CardState.HELD) & (Card.order_id == order_id)
    return held


def _unsold(state: CardState) -> CardState:
    if state not in UNSOLD:
        raise IllegalMove(f"{state} → {CardState.VOID}")
    return state


def _quota(of: str) -> str:
    return f"quota#{of}"
