"""Reads for a stocktake: every card there is, and the cards of a shelf that will soon be past their day."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import NamedTuple

from shared.inventory.records import Card, Shelf
from shared.inventory.shelf import OnShelf

_READ = ("sku", "lot_id", "state", "channel", "shelf", "shelf_order")  # of a card; a sealed code is not among them


class Counted(NamedTuple):
    """What a stocktake sees of a card. `place` is the shelf it lies on; `expires_on` sorts as text, also for never."""

    sku: str
    lot_id: str
    state: str
    channel: str | None
    place: str | None
    expires_on: str


def every_card() -> Iterator[Counted]:
    """All cards, each as committed when it is read, page by page. It reads the whole table."""
    for card in Card.scan(consistent_read=True, attributes_to_get=list(_READ)):
        yield Counted(
            card.sku, card.lot_id, card.state, card.channel, card.shelf, str(card.shelf_order).partition("#")[0]
        )


def expiring(place: str, until: date) -> Iterator[OnShelf]:
    """The cards of a shelf whose last day is not after `until`, the first to expire first."""
    for card in Card.on_shelf.query(place, Shelf.shelf_order < (until + timedelta(days=1)).isoformat()):
        yield OnShelf(str(card.card_id), str(card.shelf_order).partition("#")[0])
