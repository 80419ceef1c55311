"""The table `offers`: what each supplier sells, at what price, and which SKU of ours it is."""

from __future__ import annotations

from pynamodb.attributes import BooleanAttribute, JSONAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex

from shared.kernel import records, settings

OF_SKU_MAX = 40  # offers that are compared for one line of an order


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
    sku = UnicodeAttribute(null=True)
    fills: JSONAttribute = JSONAttribute(null=True)
    pin = NumberAttribute(null=True)  # the seller's own order among the offers of the SKU, the lowest first
    mapped_by = UnicodeAttribute(null=True)
    mapped_at = UnicodeAttribute(null=True)
    of_sku = OfSku()


def of_sku(sku: str) -> list[Offer]:
    """The offers that are this SKU; may be a moment behind."""
    return list(Offer.of_sku.query(sku, limit=OF_SKU_MAX, page_size=OF_SKU_MAX))
