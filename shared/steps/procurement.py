"""What to buy for stock, before it runs out: the list with its reasons, and the orders that a person makes of it.

Each hour it is seen what can be sold and what of the orders has come; after each closed day, once, what should be
bought. What is ordered here a person buys of the supplier; its cards come by an import that names the order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from math import sqrt
from typing import Final

from shared.catalog import records as catalog
from shared.catalog.errors import UnknownSku
from shared.catalog.sku import Sku
from shared.insights import history
from shared.insights import records as insights
from shared.insights.history import History
from shared.insights.levels import Level
from shared.inventory import lots
from shared.jobs.errors import KeyReused
from shared.kernel import clock
from shared.kernel.errors import InvalidRequest
from shared.kernel.http import Amount
from shared.kernel.money import half_even
from shared.kernel.records import Lost
from shared.kernel.telemetry import logger
from shared.steps import sales_history, supply
from shared.steps.supply import MINOR_E6
from shared.suppliers import advice, stock_orders
from shared.suppliers.advice import Advice, Demand, Shelf, Sold, Terms
from shared.suppliers.errors import NobodySells, TooMuchOnItsWay
from shared.suppliers.procurement_contract import (
    AdviceView,
    OfferToBuy,
    OrderStock,
    Procurement,
    ProcurementQuery,
    ReasonView,
    StockOrderView,
)
from shared.suppliers.routing import Wanted
from shared.suppliers.scoring import REST
from shared.suppliers.stock_orders import StockOrder, StockState
from shared.suppliers.supplier import ENDLESS

LEAD_DAYS: Final = 1.0  # from an order to its cards in stock, before anything is known of a supplier …
LEAD_SPREAD: Final = 0.5  # … and its standard deviation; both are worth so many orders:
LEAD_SURE: Final = 2
RANKED_MAX: Final = 2_000  # SKUs in the list


@dataclass(frozen=True)
class _Known:
    """What a page of advice is made of."""

    skus: Mapping[str, Sku]
    histories: Mapping[str, History]
    levels: Mapping[str, Level]
    orders: Sequence[StockOrder]  # that are on their way
    leads: Mapping[str, tuple[float, float]]

    @cached_property
    def coming(self) -> Counter[str]:
        """Pieces of each SKU."""
        coming: Counter[str] = Counter()
        for one in self.orders:
            coming[str(one.sku)] += one.missing
        return coming


# --- each hour -------------------------------------------------------------------------------------------------------


def work(now: datetime) -> None:
    """See what can be sold, and what has come; once a day is closed, say what should be bought."""
    sales_history.look(now)
    count_in(now)
    ranked = history.ranked()
    since = date.fromisoformat(str(ranked.day)) if ranked else None
    day = sales_history.fold(since, now)
    if day and day != since:
        best = _best_first(now)
        history.rank(best, day, now)  # last: whoever dies before it folds and ranks the same day once more
        logger.info("procurement looked at", day=day.isoformat(), to_buy=len(best))


def count_in(now: datetime) -> None:
    """Count the cards that imports have brought of each open order."""
    for one in stock_orders.on_their_way():
        levels = [insights.of_lot(lot_id) for lot_id in lots.of_purchase(one.id)]
        with suppress(Lost):  # somebody has closed it meanwhile
            stock_orders.count_in(one.id, sum(sum(level.numbers) - level.void for level in levels), now)


def _best_first(now: datetime) -> list[str]:
    """The SKUs of which something should be bought: first those whose absence would cost most in a day."""
    worth: dict[str, float] = {}
    for names in sales_history.pages():
        known = _know(names)
        for name in known.skus:
            found, wanted, _, terms = _advice(name, known, now)
            if found and found.quantity:
                worth[name] = wanted.over(1.0) * (terms.price_e6 - terms.cost_e6)
    return sorted(worth, key=lambda name: (-worth[name], name))[:RANKED_MAX]


# --- for staff -------------------------------------------------------------------------------------------------------


def listed(query: ProcurementQuery, now: datetime) -> Procurement:
    """A page of what should be bought, as it is now, and all that is on its way."""
    ranked, start = history.ranked(), int(query.cursor or 0)
    names = [str(name) for name in ranked.skus] if ranked else []
    known = _know(names[start : start + query.limit])
    shown = [_shown(name, known, now) for name in names[start : start + query.limit] if name in known.skus]
    end = start + query.limit
    return Procurement(
        day=str(ranked.day) if ranked else None,
        advice=[one for one in shown if one],
        next_cursor=str(end) if end < len(names) else None,
        on_their_way=[_order(one) for one in known.orders],
    )


def order(wanted: OrderStock, key: str, by: str, now: datetime) -> StockOrderView:
    """Order for stock; the same Idempotency-Key, which must be there, gives the same order.

    UnknownSku, NobodySells, TooMuchOnItsWay, KeyReused.
    """
    if not key:
        raise InvalidRequest(fields=[{"field": "Idempotency-Key", "reason": "required"}])
    made = stock_orders.named(by, key)
    asked = stock_orders.request(wanted.sku, wanted.quantity, wanted.supplier)
    try:
        if before := stock_orders.asked_for(made, asked):
            return _order(before)
        sku = catalog.skus([wanted.sku]).get(wanted.sku)
        if sku is None:
            raise UnknownSku(sku=wanted.sku)
        if len(stock_orders.on_their_way()) >= stock_orders.OPEN_MAX:
            raise TooMuchOnItsWay(limit=stock_orders.OPEN_MAX)
        offer = next((one for one in _offers(sku, now) if _sells(one, wanted)), None)
        if offer is None:
            raise NobodySells(sku=wanted.sku)
        quantity, landed_e6 = wanted.quantity, offer.landed_e6
        done = stock_orders.order(made, sku.sku, offer.supplier, offer.product, quantity, landed_e6, asked, by, now)
    except Lost:
        raise KeyReused from None
    logger.info("ordered for stock", order=done.id, sku=sku.sku, supplier=offer.supplier, pieces=quantity, by=by)
    return _order(done)


def close(id_: str, by: str, now: datetime) -> StockOrderView:
    """Nobody expects the rest of an order; saying so again changes nothing. NotFound."""
    return _order(stock_orders.close(id_, by, now))


# --- parts -----------------------------------------------------------------------------------------------------------


def _know(names: Sequence[str]) -> _Known:
    """All that is read for these SKUs together; only those that are cards, and of which something is known, are in."""
    histories = history.of(names)
    skus = {name: sku for name, sku in catalog.skus(histories).items() if not sku.account_fields}
    orders, leads = stock_orders.on_their_way(), _leads(stock_orders.came())
    return _Known(skus, histories, insights.levels(skus), orders, leads)


def _leads(came: Iterable[StockOrder]) -> dict[str, tuple[float, float]]:
    """Mean and spread of the days that a supplier takes, by what came of him; at first as everybody is believed to."""
    took: dict[str, list[float]] = {}
    for one in came:
        if one.state == StockState.RECEIVED:
            between = clock.parse(str(one.over_at)) - clock.parse(str(one.ordered_at))
            took.setdefault(str(one.sold_by), []).append(between / timedelta(days=1))
    found = {}
    for supplier, days in took.items():
        mean = (LEAD_SURE * LEAD_DAYS + sum(days)) / (LEAD_SURE + len(days))
        off = LEAD_SURE * (LEAD_SPREAD**2 + (LEAD_DAYS - mean) ** 2) + sum((one - mean) ** 2 for one in days)
        found[supplier] = (round(mean, 1), round(sqrt(off / (LEAD_SURE + len(days))), 1))
    return found


def _advice(name: str, known: _Known, now: datetime) -> tuple[Advice | None, Demand, list[OfferToBuy], Terms]:
    """What to buy of a SKU, of the first offer; nothing of one that nobody wants, for which no offer is read."""
    sku, past = known.skus[name], known.histories[name]
    on = date.fromisoformat(str(past.last))
    wanted = advice.demand([Sold(day, one.sold, one.in_stock) for day, one in past.days.items()], on)
    offers = _offers(sku, now) if wanted.level else []
    terms = _terms(sku, offers, known)
    if not wanted.level:
        return None, wanted, offers, terms
    shelf = Shelf(name, known.levels[name].available if name in known.levels else 0, known.coming[name])
    return advice.advise(shelf, wanted, terms), wanted, offers, terms


def _terms(sku: Sku, offers: Sequence[OfferToBuy], known: _Known) -> Terms:
    """Of the first offer; where nobody sells it, by the catalogue's cost, so that it is in the list all the same."""
    price_e6 = sku.price_minor * MINOR_E6
    if not offers:
        return Terms("", sku.cost_e6, price_e6, LEAD_DAYS, LEAD_SPREAD, life_days=sku.validity_days)
    best = offers[0]
    lead, spread = known.leads.get(best.supplier, (LEAD_DAYS, LEAD_SPREAD))
    most = min((one for one in (best.most, best.stock) if one is not None), default=None)
    return Terms(best.supplier, best.landed_e6, price_e6, lead, spread, best.least, most, sku.validity_days)


def _offers(sku: Sku, now: datetime) -> list[OfferToBuy]:
    """Who would sell it to us now; the rules are those of routing, but there are no shares: so the cheapest comes
    first, and last whose cards would have to rest before they are sold."""
    if sku.account_fields:
        return []
    market = supply.look(sku, Wanted(1_000_000, supply.most_e6(sku)), now, by_hand=True)
    found = []
    for choice in market.decision.choices:
        head, offer = market.heads[choice.supplier], market.offers[choice.supplier, choice.product]
        found.append(
            OfferToBuy(
                supplier=choice.supplier,
                supplier_name=str(head.name),
                product=choice.product,
                tier=supply.tier_in(sku, head),
                landed_e6=choice.landed_e6,
                least=int(offer.least),
                most=None if offer.most is None else int(offer.most),
                stock=None if offer.stock in (None, ENDLESS) else int(offer.stock),
            )
        )
    return sorted(found, key=lambda one: (one.tier in REST, one.landed_e6, one.supplier, one.product))


def _sells(offer: OfferToBuy, wanted: OrderStock) -> bool:
    limits = [limit for limit in (offer.most, offer.stock) if limit is not None]
    return wanted.supplier in (None, offer.supplier) and offer.least <= wanted.quantity <= min(limits, default=10**9)


def _shown(name: str, known: _Known, now: datetime) -> AdviceView | None:
    found, wanted, offers, _ = _advice(name, known, now)
    if not found or not found.quantity:
        return None
    return AdviceView(
        sku=name,
        title=known.skus[name].title,
        quantity=found.quantity,
        on_hand=known.levels[name].available if name in known.levels else 0,
        on_order=known.coming[name],
        reorder_at=found.reorder_at,
        wanted_e3=round(1000 * wanted.over(1.0)),
        hours_left=round(24 * (found.days_left or 0.0)),
        sure_percent=round(100 * found.service),
        reasons=[ReasonView(zh=said.zh, en=said.en) for said in found.reasons],
        offers=offers,
    )


def _order(one: StockOrder) -> StockOrderView:
    return StockOrderView(
        order=one.id,
        sku=str(one.sku),
        supplier=str(one.sold_by),
        product=str(one.product),
        quantity=int(one.quantity),
        received=int(one.received),
        state=str(one.state),
        cost=Amount(amount_minor=half_even(int(one.landed_e6) * int(one.quantity), MINOR_E6), currency="CNY"),
        ordered_by=str(one.ordered_by),
        ordered_at=str(one.ordered_at),
        over_at=one.over_at,
        closed_by=one.closed_by,
    )
