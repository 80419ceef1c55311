"""What the catalogue takes and gives over HTTP."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Annotated

from pydantic import Field

from shared.catalog.search import Place
from shared.kernel.errors import InvalidRequest
from shared.kernel.http import Amount, Shape


class ProductQuery(Shape):
    q: str = Field("", max_length=64)
    category: str | None = Field(None, max_length=64)
    cursor: str | None = Field(None, max_length=200)
    limit: int = Field(20, ge=1, le=100)


class AccountField(Shape):
    name: str
    label: str
    options: list[str]


class SkuShown(Shape):
    sku: str
    title: str
    spec: str
    kind: str
    price: Amount
    face: Amount | None = None
    for_sale: bool
    limit_per_order: int | None = None
    validity_days: int | None = None
    account: list[AccountField]
    available: bool | None = None  # told of one product at a time


class Product(Shape):
    product_id: str
    name: str
    brand: str
    category: str
    tags: list[str]
    skus: list[SkuShown]


class ProductPage(Shape):
    products: list[Product]
    categories: list[str]
    next_cursor: str | None = None


class Health(Shape):
    status: str
    stage: str
    version: str


def cursor_text(place: Place | None) -> str | None:
    return None if place is None else base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def cursor_place(text: str | None) -> Place | None:
    """The place a cursor means; InvalidRequest if we did not make it."""
    if not text:
        return None
    try:
        worth, key = json.loads(base64.b64decode(text, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, TypeError):
        raise _bad_cursor() from None
    if not isinstance(worth, int) or not isinstance(key, str):
        raise _bad_cursor()
    return Place(worth, key)


def _bad_cursor() -> InvalidRequest:
    return InvalidRequest(fields=[{"field": "cursor", "reason": "bad_cursor"}])


ChannelName = Annotated[str, Field(max_length=32, pattern=r"^[a-z][a-z0-9-]*$")]
Kept = Annotated[int, Field(ge=0, le=10_000)]  # cards: so many are moved from shelf to shelf within one request


class SetTerms(Shape):
    """How a SKU's stock is shared out; what is left out means no limit, whatever was set before.

    margin_percent: of its price must stay with us where it is bought from a supplier for an order.
    """

    safety: Kept = 0
    low: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    min_days: Annotated[int, Field(ge=0, le=3_650)] = 0
    hold_percent: Annotated[int, Field(ge=1, le=100)] | None = None
    floors: Annotated[dict[ChannelName, Kept], Field(max_length=20)] = Field(default_factory=dict)
    quotas: Annotated[dict[ChannelName, Annotated[int, Field(ge=0, le=10**9)]], Field(max_length=100)] = Field(
        default_factory=dict
    )
    hidden: Annotated[list[ChannelName], Field(max_length=100)] = Field(default_factory=list)
    margin_percent: Annotated[int, Field(ge=0, le=90)] = 0


class TermsView(Shape):
    """`kept`: cards that lie aside now, for each channel and as ``safety``; `short`: how many are lacking there."""

    sku: str
    safety: int
    low: int
    min_days: int
    hold_percent: int | None
    floors: dict[str, int]
    quotas: dict[str, int]
    hidden: list[str]
    margin_percent: int
    kept: dict[str, int]
    short: dict[str, int]
