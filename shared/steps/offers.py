"""Offers as staff see them: which SKU each is, how those of one SKU compare, and in which order they are asked."""

from __future__ import annotations

import base64
import binascii
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from shared.catalog import records as catalog
from shared.catalog import snapshots
from shared.catalog.errors import UnknownSku
from shared.catalog.sku import Sku
from shared.kernel.errors import InvalidRequest
from shared.kernel.records import Lost, Transaction
from shared.kernel.telemetry import logger
from shared.steps import supplier_sync, supply
from shared.suppliers import accounts, matching, offers, price_files, prices, registry
from shared.suppliers.accounts import Head
from shared.suppliers.errors import MappedOtherwise, UnknownOffer
from shared.suppliers.matching import Index, Ours
from shared.suppliers.offer_contract import (
    ComparedOffer,
    Comparison,
    ListTaken,
    MapOffer,
    OfferList,
    OfferQuery,
    OfferToMap,
    OfferView,
    OrderOffers,
    PriceChange,
    PriceList,
    RefusedRow,
    SuggestionView,
    SyncView,
    UnmapOffer,
    WishView,
)
from shared.suppliers.offers import OF_SKU_MAX, Offer
from shared.suppliers.routing import Candidate, Wanted
from shared.suppliers.supplier import Delivers, Wish

READS_MAX: Final = 4  # pages that are read for one answer, where most offers are of the other sort
WHILE_SOMEBODY_WAITS: Final = timedelta(seconds=12)  # of a gateway's 29 are left for the writes
KEY_MAX: Final = 1024  # bytes: the limit of a sort key
REFUSED_SHOWN_MAX: Final = 100  # rows of a file
_ASKED_FOR: Final[Mapping[str | None, Callable[[Offer], bool]]] = {
    None: lambda _: True,
    "yes": lambda one: bool(one.sku),
    "no": lambda one: not one.sku,
    "renamed": offers.renamed,
}
_DELIVERS: Final = {"card": Delivers.CARDS, "topup": Delivers.TOPUP}

_index: tuple[str, Index, dict[str, Any]] | None = None  # of a catalogue's version: a warm process makes it once


def listed(query: OfferQuery) -> OfferList:
    """A page of a supplier's offers; those that are no SKU of ours yet with what they may be. UnknownSupplier.

    A page may be short and still not be the last.
    """
    head = accounts.head_of(query.supplier)
    cursor, found = _place(query.cursor), list[Offer]()
    for _ in range(READS_MAX):
        page = offers.page(query.supplier, cursor, query.limit - len(found))
        found += [one for one in page.offers if _ASKED_FOR[query.mapped](one)]
        cursor = page.cursor
        if not cursor or len(found) >= query.limit:
            break
    return OfferList(
        offers=[
            OfferToMap(**_shown(one), suggestions=[] if one.sku else _suggestions(one, str(head.kind))) for one in found
        ],
        next_cursor=base64.urlsafe_b64encode(cursor.encode()).decode() if cursor else None,
    )


def map_to(supplier: str, wanted: MapOffer, by: str, now: datetime) -> OfferView:
    """A person says which SKU an offer is; the same again is a success.

    UnknownSupplier, UnknownOffer, UnknownSku; InvalidRequest if they cannot be the same; MappedOtherwise if it is
    another one already. SupplierSilent, SupplierRefused where he must be asked what a top-up must be told.
    """
    head, offer, sku = accounts.head_of(supplier), _offer(supplier, wanted.product), _sku(wanted.sku)
    delivers, asked, fills, how = _DELIVERS.get(sku.kind), offers.wishes(offer), wanted.fills, None
    if head.kind == prices.BY_FILE and delivers:
        # A list does not say how he delivers, nor what he must be told: whoever buys there by hand is told all we know.
        asked = tuple(Wish(*field) for field in sku.account_fields)
        fills, how = fills or {wish.name: wish.name for wish in asked}, (delivers, asked)
    elif offer.delivers == delivers == Delivers.TOPUP and not asked:
        # Nor do some lists say what a top-up must be told; whoever is not told whom to top up tops up nobody.
        asked = _fields_of(supplier, wanted.product, now)
        fills = fills or matching.fills(asked, [Wish(*field) for field in sku.account_fields])
        how = (delivers, asked)
    elif offer.sku == wanted.sku:
        fills = fills or offer.fills or {}
    _insist(_misfits(offer, sku, asked, fills, delivers_otherwise=not how and delivers not in (None, offer.delivers)))
    try:
        if offers.confirm(offer, wanted.sku, fills, by, now, how):
            logger.info("an offer was mapped", supplier=supplier, product=wanted.product, sku=wanted.sku, by=by)
    except Lost:
        raise MappedOtherwise(sku=str(_offer(supplier, wanted.product).sku or "")) from None
    return OfferView(**_shown(_offer(supplier, wanted.product)))


def unmap(supplier: str, wanted: UnmapOffer, by: str) -> OfferView:
    """It is this SKU no more; saying so again is a success. UnknownOffer; MappedOtherwise if it is another one."""
    _offer(supplier, wanted.product)
    try:
        if offers.unmap(supplier, wanted.product, wanted.sku):
            logger.info("an offer was unmapped", supplier=supplier, product=wanted.product, sku=wanted.sku, by=by)
    except Lost:
        raise MappedOtherwise(sku=str(_offer(supplier, wanted.product).sku or "")) from None
    return OfferView(**_shown(_offer(supplier, wanted.product)))


def compared(name: str, now: datetime) -> Comparison:
    """The offers of a SKU side by side, or UnknownSku."""
    sku = _sku(name)
    return Comparison(sku=name, title=sku.title, offers=_compared(offers.of_sku(name), sku, now))


def put_in_order(name: str, wanted: OrderOffers, by: str, now: datetime) -> Comparison:
    """Let these offers of a SKU come first, in this order, and no others; UnknownSku, InvalidRequest, Busy.

    The others are let go whether they are seen to be pinned or not: the index may be a moment behind.
    """
    sku, found = _sku(name), offers.of_sku(name)
    keys = [(one.supplier, one.product) for one in wanted.offers]
    wrong = [(f"offers.{at}", "twice") for at, key in enumerate(keys) if key in keys[:at]]
    _insist(wrong)
    places: dict[tuple[str, str], int | None] = {(str(one.supplier), str(one.product)): None for one in found}
    places |= {key: place for place, key in enumerate(keys, 1)}
    try:
        with Transaction() as tx:
            for (supplier, product), place in places.items():
                offers.pin(tx, supplier, product, name, place)
    except Lost as lost:
        gone = [(f"offers.{at}", "not_of_this_sku") for at, key in enumerate(keys) if "/".join(key) in lost.refused]
        _insist(gone)
        raise MappedOtherwise(sku="") from None  # one that is not named was unmapped meanwhile
    logger.info("offers were put in order", sku=name, offers=len(keys), by=by)
    pinned = {(str(one.supplier), str(one.product)): one for one in found}
    for key in places.keys() - pinned.keys():
        pinned[key] = _offer(*key)  # the index has not shown it yet
    for key, one in pinned.items():
        one.pin = places[key]
    return Comparison(sku=name, title=sku.title, offers=_compared(list(pinned.values()), sku, now))


def sync(supplier: str, now: datetime) -> SyncView:
    """Read what a supplier sells now, as `supplier_sync.sync`; ListTooLong if it takes longer than a person waits."""
    synced = supplier_sync.sync(supplier, now, WHILE_SOMEBODY_WAITS)
    return SyncView(supplier=supplier, **vars(synced))


def take_list(supplier: str, sent: PriceList, now: datetime) -> ListTaken:
    """Take in the whole of what a supplier sells, as a file; see `supplier_sync.take_list`."""
    try:
        content = base64.b64decode(sent.content, validate=True)
    except binascii.Error:
        raise InvalidRequest(fields=[{"field": "content", "reason": "not_base64"}]) from None
    synced, refused = supplier_sync.take_list(supplier, content, now)
    rows = [
        RefusedRow(line=one.line, reason=one.reason, **price_files.REASONS[one.reason]._asdict())
        for one in refused[:REFUSED_SHOWN_MAX]
    ]
    return ListTaken(supplier=supplier, **vars(synced), refused=rows, refused_count=len(refused))


def _compared(found: Sequence[Offer], sku: Sku, now: datetime) -> list[ComparedOffer]:
    """As routing would look at them, were one piece wanted now: those that sell in its order, then the others."""
    market = supply.look(sku, Wanted(1, supply.most_e6(sku)), now, found=found)
    places = {(one.supplier, one.product): place for place, one in enumerate(market.decision.choices)}
    why = {(supplier, product): str(left_out) for supplier, product, left_out in market.decision.left_out}

    def rank(one: Candidate) -> tuple[object, ...]:
        return places.get((one.supplier, one.product), len(places)), one.landed_e6, one.supplier, one.product

    return [
        _row(
            one,
            market.offers[one.supplier, one.product],
            market.heads[one.supplier],
            why.get((one.supplier, one.product)),
        )
        for one in sorted(market.candidates, key=rank)
    ]


def _row(one: Candidate, offer: Offer, head: Head, why: str | None) -> ComparedOffer:
    return ComparedOffer(
        **_shown(offer),
        supplier_name=str(head.name),
        standing=str(head.standing),
        tier=one.tier,
        stopped=str(head.stopped) if head.stopped else None,
        paused=bool(head.paused_by),
        admitted=one.admitted,
        synced_at=str(head.synced_at) if head.synced_at else None,
        stale=not one.fresh,
        landed_e6=one.landed_e6,
        history=[PriceChange(at=at, cost_e6=cost_e6) for at, cost_e6 in offer.history or []],
        doubtful=one.doubtful,
        pinned=one.pin,
        why=why,
        sells=why is None,
    )


def _shown(one: Offer) -> dict[str, Any]:
    return {
        "supplier": str(one.supplier),
        "product": str(one.product),
        "title": str(one.title),
        "delivers": str(one.delivers),
        "cost_e6": int(one.cost_e6),
        "currency": str(one.currency),
        "stock": None if one.stock is None else int(one.stock),
        "on_sale": bool(one.on_sale),
        "least": int(one.least),
        "most": None if one.most is None else int(one.most),
        "fields": [
            WishView(name=wish.name, label=wish.label, options=list(wish.options)) for wish in offers.wishes(one)
        ],
        "changed_at": str(one.changed_at),
        "sku": str(one.sku) if one.sku else None,
        "fills": dict(one.fills or {}),
        "mapped_title": str(one.mapped_title) if one.mapped_title else None,
        "renamed": offers.renamed(one),
        "mapped_by": str(one.mapped_by) if one.mapped_by else None,
        "mapped_at": str(one.mapped_at) if one.mapped_at else None,
    }


def _suggestions(one: Offer, kind: str) -> list[SuggestionView]:
    index, skus = _ours()
    # A list that somebody sends does not say how it is delivered: what is stored was guessed from the title.
    delivers = None if kind == prices.BY_FILE else Delivers(str(one.delivers))
    return [
        SuggestionView(
            sku=found.sku,
            title=skus[found.sku]["title"],
            score_e6=round(found.score * 1_000_000),
            sure=found.sure,
            why=list(found.why),
            fills=matching.fills(
                offers.wishes(one), [Wish(field["name"], field["label"]) for field in skus[found.sku]["account"]]
            ),
        )
        for found in index.suggest(str(one.title), delivers)
    ]


def _ours() -> tuple[Index, dict[str, Any]]:
    """What is shown in the shop, prepared for suggestions, and beside it each SKU as it is shown."""
    global _index
    snapshot = snapshots.current()
    if _index is None or _index[0] != snapshot.version:
        skus, prepared = {}, []
        for line in snapshot.search("", None, None, sys.maxsize).products:
            product = json.loads(line)["product"]
            for sku in product["skus"]:
                delivers = _DELIVERS.get(sku["kind"])
                prepared.append(Ours(sku["sku"], product["brand"], product["name"], sku["spec"], delivers))
                skus[sku["sku"]] = sku
        _index = (snapshot.version, Index(prepared), skus)
    return _index[1], _index[2]


def _misfits(
    offer: Offer, sku: Sku, asked: Sequence[Wish], fills: Mapping[str, str], *, delivers_otherwise: bool
) -> list[tuple[str, str]]:
    """Why an offer cannot be this SKU."""
    theirs, ours = {wish.name for wish in asked}, {field.name for field in sku.account_fields}
    return [
        *([("sku", "delivers_otherwise")] if delivers_otherwise else []),
        *[(f"fills.{name}", "not_asked") for name in fills.keys() - theirs],
        *[(f"fills.{name}", "unknown_field") for name, field in fills.items() if field not in ours],
        *[(f"fills.{name}", "required") for name in theirs - fills.keys()],
        *([("sku", "too_many_offers")] if not offer.sku and len(offers.of_sku(sku.sku)) >= OF_SKU_MAX else []),
    ]


def _offer(supplier: str, product: str) -> Offer:
    found = offers.offer(supplier, product)
    if found is None:
        raise UnknownOffer
    return found


def _fields_of(supplier: str, product: str, now: datetime) -> tuple[Wish, ...]:
    """What he must be told, by his own word of this one product."""
    found = registry.supplier(supplier).product(product, now)
    if found is None:
        raise UnknownOffer
    return found.fields


def _sku(name: str) -> Sku:
    found = catalog.skus([name]).get(name)
    if found is None:
        raise UnknownSku(sku=name)
    return found


def _place(cursor: str | None) -> str:
    """The product a cursor names; InvalidRequest if we did not make it."""
    if cursor is None:
        return ""
    try:
        place = base64.b64decode(cursor.encode(), altchars=b"-_", validate=True)
        if len(place) > KEY_MAX:
            raise ValueError
        return place.decode()
    except ValueError:  # also of the two decodings
        raise InvalidRequest(fields=[{"field": "cursor", "reason": "bad_cursor"}]) from None


def _insist(wrong: Sequence[tuple[str, str]]) -> None:
    if wrong:
        raise InvalidRequest(fields=[{"field": field, "reason": reason} for field, reason in sorted(set(wrong))])
