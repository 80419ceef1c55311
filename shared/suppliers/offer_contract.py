"""What crosses the HTTP edge about offers: what suppliers sell, which SKU it is, and how they compare."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shared.kernel.http import Shape

SupplierCode = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[a-z0-9-]+$")]
ProductId = Annotated[str, Field(min_length=1, max_length=256)]
SkuName = Annotated[str, Field(min_length=1, max_length=64)]
FieldName = Annotated[str, Field(min_length=1, max_length=64)]
Limit = Annotated[int, Field(ge=1, le=100)]


class OfferQuery(Shape):
    """`mapped`: only those that are a SKU of ours, those that are none yet, or those called otherwise since."""

    supplier: SupplierCode
    mapped: Literal["yes", "no", "renamed"] | None = None
    cursor: Annotated[str, Field(min_length=1, max_length=1400)] | None = None
    limit: Limit = 50


class MapOffer(Shape):
    """`fills`: the supplier's field → the field of our SKU that it takes, of a top-up."""

    product: ProductId
    sku: SkuName
    fills: Annotated[dict[FieldName, FieldName], Field(max_length=20, default_factory=dict)]


class UnmapOffer(Shape):
    """`sku`: what the caller sees that it is mapped to."""

    product: ProductId
    sku: SkuName


class OfferKey(Shape):
    supplier: SupplierCode
    product: ProductId


class OrderOffers(Shape):
    """The offers that come first whatever they cost, the first first; the others follow by what they cost."""

    offers: Annotated[list[OfferKey], Field(max_length=40)]


class PriceList(Shape):
    """`content`: the file as it is, or as gzip packs it, in base64. Unpacked it may have 400,000 bytes."""

    content: Annotated[str, Field(min_length=1, max_length=60_000, pattern=r"^[A-Za-z0-9+/]+={0,2}$")]


class WishView(Shape):
    name: str
    label: str
    options: list[str]


class SuggestionView(Shape):
    """`score_e6`: of 1, in millionths. `why`: what agrees, and after a minus what only one side says.

    `fills`: which of our fields each of his may take, of a top-up.
    """

    sku: str
    title: str
    score_e6: int
    sure: bool
    why: list[str]
    fills: dict[str, str]


class OfferView(Shape):
    """`cost_e6`: of one piece, in millionths of a unit of `currency`. `stock`: -1 where it does not end.

    `mapped_title`: what it was called when a person said which SKU it is; `renamed`: it is called otherwise now.
    """

    supplier: str
    product: str
    title: str
    delivers: str
    cost_e6: int
    currency: str
    stock: int | None
    on_sale: bool
    least: int
    most: int | None
    fields: list[WishView]
    changed_at: str
    sku: str | None
    fills: dict[str, str]
    mapped_title: str | None
    renamed: bool
    mapped_by: str | None
    mapped_at: str | None


class OfferToMap(OfferView):
    suggestions: list[SuggestionView]


class OfferList(Shape):
    offers: list[OfferToMap]
    next_cursor: str | None


class PriceChange(Shape):
    at: str
    cost_e6: int


class ComparedOffer(OfferView):
    """`landed_e6`: of one piece, in millionths of a yuan. `admitted`: new purchases of this brand may go to him.

    `doubtful`: much too cheap beside the others; it is bought only where it is pinned. `why`: what keeps it from being
    bought, were one piece wanted now; null where it `sells`.
    """

    supplier_name: str
    standing: str
    tier: str
    stopped: str | None
    paused: bool
    admitted: bool
    synced_at: str | None
    stale: bool
    landed_e6: int
    history: list[PriceChange]
    doubtful: bool
    pinned: int | None
    why: str | None
    sells: bool


class Comparison(Shape):
    """The offers that sell first, then as they are pinned, then by what they cost."""

    sku: str
    title: str
    offers: list[ComparedOffer]


class SyncView(Shape):
    """`products`: that he sells; the others say what was written. `unfit`: products that cannot be stored."""

    supplier: str
    products: int
    new: int
    changed: int
    gone: int
    unfit: int


class RefusedRow(Shape):
    line: int
    reason: str
    zh: str
    en: str


class ListTaken(SyncView):
    refused: list[RefusedRow]
    refused_count: int
