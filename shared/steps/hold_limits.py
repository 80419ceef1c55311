"""What one contact and one address may hold unpaid, so that nobody empties a shelf without paying."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from shared.catalog.kinds import Fulfilment
from shared.catalog.sku import Sku
from shared.insights import records as insights
from shared.kernel import clock
from shared.kernel.http import SHOP
from shared.kernel.records import Transaction
from shared.orders import records as orders
from shared.risk import records as risk
from shared.risk.errors import HoldLimit
from shared.risk.holds import LAPSED_BY_ADDRESS, LAPSED_BY_CONTACT, Caps, Stock, caps
from shared.risk.records import Hold

_LAPSED = {"contact": LAPSED_BY_CONTACT, "address": LAPSED_BY_ADDRESS}


def taken(head: orders.Head, lines: Sequence[orders.Line]) -> Hold | None:
    """What an unpaid order holds and its buyer answers for; a channel answers for its orders by its quota."""
    if head.channel != SHOP:
        return None
    cards = Counter[str]()
    for line in lines:
        if line.fulfilment == Fulfilment.STOCK or line.quota is not None:
            cards[str(line.sku)] += int(line.quantity)
    return Hold(str(head.order_id), clock.parse(str(head.placed_at)), cards) if cards else None


def allowed(hold: Hold | None, skus: Mapping[str, Sku]) -> Mapping[str, Caps]:
    """The caps of what an order wants, by what the levels say now; HoldLimit where it alone is too much."""
    if hold is None:
        return {}
    stocked = [sku for sku in hold.cards if skus[sku].fulfilment is Fulfilment.STOCK]
    levels = insights.levels(stocked) if stocked else {}
    stocks = {sku: Stock(level.available, level.held) for sku, level in levels.items()}
    found = {sku: caps(stocks.get(sku), skus[sku].terms.hold_percent) for sku in hold.cards}
    for sku, wanted in hold.cards.items():
        if any(cap is not None and wanted > cap for cap in found[sku]):
            raise HoldLimit
    return found


def take(tx: Transaction, head: orders.Head, hold: Hold | None, found: Mapping[str, Caps]) -> None:
    """Count what an order holds; the parts that lose are named ``hold contact`` and ``hold address``."""
    if hold is None:
        return
    for what, hashed in _buyer(head):
        of_this = {sku: cap.contact if what == "contact" else cap.address for sku, cap in found.items()}
        risk.hold(tx, what, hashed, hold, of_this, _LAPSED[what])


def give_back(tx: Transaction, order: orders.Order, *, lapsed: bool, unless: Collection[str]) -> None:
    """An unpaid order ends; the parts are named as in `take`, and refused where the counter has forgotten the order.

    unless: parts that were refused for that.
    """
    if hold := taken(order.head, order.lines):
        for what, hashed in _buyer(order.head):
            if f"hold {what}" not in unless:
                risk.give_back(tx, what, hashed, hold, lapsed=lapsed)


def _buyer(head: orders.Head) -> list[tuple[str, str]]:
    known = (("contact", head.contact_hash), ("address", head.address_hash))
    return [(what, str(hashed)) for what, hashed in known if hashed]
