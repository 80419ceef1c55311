"""The table `offers`: what each supplier sells, at what price, and which SKU of ours it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from pynamodb.attributes import Attribute, BooleanAttribute, JSONAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex

from shared.kernel import clock, records, settings
from shared.suppliers.supplier import Delivers, Product, Wish

OF_SKU_MAX = 40  # offers that are compared for one line of an order
HISTORY_MAX = 50  # changes of price that are kept: at one a day, what happened in this month and the last
READ_AT_ONCE = 100  # the limit of BatchGetItem


class OfSku(GlobalSecondaryIndex["Offer"]):
    """Sparse: only offers that a person has said to be a SKU of ours."""

    class Meta(records.Options):
        index_name = "sku"
        projection = AllProjection()

    sku = UnicodeAttribute(hash_key=True)
    supplier = UnicodeAttribute(range_key=True)


class Offer(records.Record):
    """One product of one supplier. cost_e6: of one piece, in millionths of a unit of his currency.

    stock: pieces, absent where he does not say, -1 where it does not end. history: (moment, cost_e6) of its last
    changes of price, the latest first. fills: his field → the field of our SKU that it takes, of a top-up.
    round: the number of the listing that wrote it; an older one writes no more.
    """

    class Meta(records.Options):
        table_name = settings.table("offers")

    supplier = UnicodeAttribute(hash_key=True)
    product = UnicodeAttribute(range_key=True)
    title = UnicodeAttribute()
    delivers = UnicodeAttribute()
    cost_e6 = NumberAttribute()
    currency = UnicodeAttribute(default="CNY")
    stock = NumberAttribute(null=True)
    on_sale = BooleanAttribute(default=True)
    least = NumberAttribute(default=1)
    most = NumberAttribute(null=True)
    fields: JSONAttribute = JSONAttribute(null=True)
    changed_at = UnicodeAttribute()
    history: JSONAttribute = JSONAttribute(null=True)
    round = NumberAttribute(null=True)
    sku = UnicodeAttribute(null=True)
    fills: JSONAttribute = JSONAttribute(null=True)
    pin = NumberAttribute(null=True)  # the seller's own order among the offers of the SKU, the lowest first
    mapped_title = UnicodeAttribute(null=True)  # what it was called when a person said which SKU it is
    mapped_by = UnicodeAttribute(null=True)
    mapped_at = UnicodeAttribute(null=True)
    of_sku = OfSku()


_OF_A_PERSON = (Offer.sku, Offer.fills, Offer.pin, Offer.mapped_title, Offer.mapped_by, Offer.mapped_at)


def of_sku(sku: str) -> list[Offer]:
    """The offers that are this SKU; may be a moment behind."""
    return list(Offer.of_sku.query(sku, limit=OF_SKU_MAX, page_size=OF_SKU_MAX))


class Offers(NamedTuple):
    """A page of a supplier's offers, and where to go on, or nothing."""

    offers: Sequence[Offer]
    cursor: str


def offer(supplier: str, product: str) -> Offer | None:
    """One offer as it is now."""
    try:
        return Offer.get(supplier, product, consistent_read=True)
    except Offer.DoesNotExist:
        return None


def some(supplier: str, products: Sequence[str]) -> dict[str, Offer]:
    """Those of his offers that are stored, as they are now."""
    found = Offer.batch_get([(supplier, product) for product in products], consistent_read=True) if products else []
    return {str(one.product): one for one in found}


def page(supplier: str, after: str, limit: int) -> Offers:
    """His offers by their names, those that come after `after`."""
    following = Offer.product > after if after else None
    found = Offer.query(supplier, following, limit=limit, page_size=limit)
    offers = list(found)
    more = found.last_evaluated_key
    return Offers(offers, str(offers[-1].product) if more and offers else "")


def insert(supplier: str, product: Product, number: int, now: datetime) -> None:
    """Store what is offered for the first time; Lost if it is there already. number: of the listing, as in `round`."""
    history = [[clock.iso(now), product.cost_e6]]
    actions = [*_said(product, number, now), *_how(product.delivers, product.fields), Offer.history.set(history)]
    records.update(Offer(supplier, product.product), actions, Offer.supplier.does_not_exist())


def change(
    supplier: str, product: Product, number: int, now: datetime, before: Offer | None = None, *, guessed: bool = False
) -> Offer:
    """Store what he says of it now, and nothing else; the offer as it is then. Lost if a newer listing has written it.

    before: the stored offer, where the price may have changed. guessed: he does not say how he delivers, so that stays
    as it was guessed first, or as a person has said.
    """
    actions = [*_said(product, number, now), *([] if guessed else _how(product.delivers, product.fields))]
    if before is not None and before.cost_e6 != product.cost_e6:
        history = [[clock.iso(now), product.cost_e6], *(before.history or [])][:HISTORY_MAX]
        actions.append(Offer.history.set(history))
    changed = Offer(supplier, product.product)
    records.update(changed, actions, _not_overtaken(number))
    return changed


def take_off(supplier: str, product: str, number: int, now: datetime) -> None:
    """He offers it no more. Lost if a newer listing has written it, or if there is none."""
    actions = [Offer.on_sale.set(False), Offer.round.set(number), Offer.changed_at.set(clock.iso(now))]
    records.update(Offer(supplier, product), actions, _not_overtaken(number))


def confirm(
    seen: Offer,
    sku: str,
    fills: Mapping[str, str],
    by: str,
    now: datetime,
    how: tuple[Delivers, Sequence[Wish]] | None = None,
) -> bool:
    """A person says which SKU of ours an offer is; says whether this is new. Lost if it is another one already.

    seen: the offer as the person sees it; once it is called otherwise, it has to be said anew. fills: his field → the
    field of our SKU that it takes. how: what is delivered and asked for, where his list does not say it. Another
    mapping has to be taken away first, by a person who sees it: two who map the same offer must not overwrite each
    other.
    """
    wanted = dict(fills) or None
    supplier, product, title = str(seen.supplier), str(seen.product), str(seen.title)
    said_anew = (Offer.sku == sku) & (Offer.mapped_title != title)
    try:
        records.update(
            Offer(supplier, product),
            [
                Offer.sku.set(sku),
                Offer.mapped_title.set(title),
                *_set_or_remove(Offer.fills, wanted),
                Offer.mapped_by.set(by),
                Offer.mapped_at.set(clock.iso(now)),
                *(_how(*how) if how else []),
            ],
            Offer.product.exists() & (Offer.sku.does_not_exist() | said_anew),
        )
    except records.Lost:
        found = offer(supplier, product)
        if found is not None and found.sku == sku and (found.fills or None) == wanted:
            return False
        raise
    return True


def unmap(supplier: str, product: str, sku: str) -> bool:
    """It is this SKU no more; says whether this is new. Lost if it is another one."""
    try:
        records.update(
            Offer(supplier, product),
            [one.remove() for one in _OF_A_PERSON],
            Offer.sku == sku,
        )
    except records.Lost:
        found = offer(supplier, product)
        if found is not None and not found.sku:
            return False
        raise
    return True


def renamed(offer: Offer) -> bool:
    """Whether it is called otherwise than when a person said which SKU it is: then it may be another thing by now."""
    before, now = offer.mapped_title, str(offer.title)
    if not offer.sku or before in (None, now):
        return False
    from shared.suppliers import matching  # only who needs it pays for its tables

    return matching.called(str(before)) != matching.called(now)


def wishes(offer: Offer) -> tuple[Wish, ...]:
    """What a top-up must be told."""
    return tuple(Wish(one["name"], one["label"], tuple(one["options"])) for one in offer.fields or ())


def pin(tx: records.Transaction, supplier: str, product: str, sku: str, place: int | None) -> None:
    """Put an offer at this place among those of its SKU, or nowhere; the part that loses is named by both."""
    actions = _set_or_remove(Offer.pin, place)
    tx.update(f"{supplier}/{product}", Offer(supplier, product), actions, Offer.sku == sku)


def _said(product: Product, number: int, now: datetime) -> list[Action]:
    """What every supplier speaks of; what a person has said of the offer is not among it."""
    return [
        Offer.title.set(product.title),
        Offer.cost_e6.set(product.cost_e6),
        Offer.currency.set(product.currency),
        *_set_or_remove(Offer.stock, product.stock),
        Offer.on_sale.set(product.on_sale),
        Offer.least.set(product.least),
        *_set_or_remove(Offer.most, product.most),
        Offer.round.set(number),
        Offer.changed_at.set(clock.iso(now)),
    ]


def _how(delivers: Delivers, fields: Sequence[Wish]) -> list[Action]:
    if delivers is Delivers.TOPUP and not fields:
        return [Offer.delivers.set(delivers)]  # his list does not say: what he said when he was asked for it stays
    asked = [{"name": one.name, "label": one.label, "options": list(one.options)} for one in fields]
    return [Offer.delivers.set(delivers), *_set_or_remove(Offer.fields, asked or None)]


def _set_or_remove(attribute: Attribute[Any], value: object) -> list[Action]:
    return [attribute.remove() if value is None else attribute.set(value)]


def _not_overtaken(number: int) -> Condition:
    return Offer.round <= number
