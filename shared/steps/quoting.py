"""What an order would cost at this moment, and whether it may be placed at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from shared.catalog import kinds
from shared.catalog import records as catalog
from shared.catalog.errors import UnknownSku
from shared.catalog.kinds import Fulfilment
from shared.catalog.sku import Sku
from shared.inventory.records import Need
from shared.orders import records as orders
from shared.orders.contract import QuoteRequest, WantedLine
from shared.orders.errors import ForeignChannel, OverLimit, TooManyCards
from shared.orders.quoting import Quote, QuotedLine


def quote(wanted: QuoteRequest, channel: str) -> tuple[Quote, Mapping[str, Sku]]:
    """Today's price of what is wanted, and its SKUs; refuses what is unknown, not for sale, too much, or not asked.

    What is hidden from a channel does not exist for it.
    """
    if wanted.channel not in (None, channel):
        raise ForeignChannel
    skus = catalog.for_sale([line.sku for line in wanted.lines])
    for line in wanted.lines:
        if channel in skus[line.sku].terms.hidden:
            raise UnknownSku(sku=line.sku)
    _check_size(wanted.lines)
    asked = Counter[str]()
    for line in wanted.lines:
        sku = skus[line.sku]
        kinds.check_account(sku.account_fields, line.account or {})
        asked[line.sku] += line.quantity
        if sku.limit_per_order and asked[line.sku] > sku.limit_per_order:
            raise OverLimit(sku=line.sku, limit=sku.limit_per_order)
    quoted = [
        QuotedLine(
            line.sku,
            skus[line.sku].title,
            line.quantity,
            skus[line.sku].price,
            skus[line.sku].fulfilment,
            skus[line.sku].version,
        )
        for line in wanted.lines
    ]
    return Quote(quoted, channel), skus


def need(line: orders.Line, today: date) -> Need:
    """The cards that a line wants from the shelf."""
    good_on = today + timedelta(days=int(line.min_days or 0))
    return Need(str(line.sku), int(line.quantity), int(line.shards), good_on, line.aside)


def is_large(lines: Sequence[orders.Line]) -> bool:
    """Whether an order is too much for the one transaction that places it, or for the one that delivers it."""
    # A code that we make ourselves is written with its fingerprints, of which it has two while a pepper is changed.
    # What is bought comes later, piece by piece.
    weights = {Fulfilment.ISSUE: 3, Fulfilment.PURCHASE: 0}
    pieces = sum(int(line.quantity) * weights.get(Fulfilment(line.fulfilment), 1) for line in lines)
    # Each line is written, too, and each count of what a channel may take.
    return pieces + len(lines) + sum(1 for line in lines if line.channel_quota is not None) > orders.PIECES_MAX


def _check_size(lines: Sequence[WantedLine]) -> None:
    if sum(line.quantity for line in lines) > orders.CARDS_MAX:
        raise TooManyCards(limit=orders.CARDS_MAX)
