"""What the catalogue takes and gives over HTTP."""

from __future__ import annotations

import base64
import binascii
import json

from pydantic import Base64Bytes, Field

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


class RefusedLine(Shape):
    line: int
    reason: str
    zh: str
    en: str


class ImportReport(Shape):
    """What became of a catalogue file; `refused` shows the first lines of `refused_count`."""

    created: int
    changed: int
    unchanged: int
    refused_count: int
    refused: list[RefusedLine]
    snapshot: str


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


class ImportCatalogue(Shape):
    """A catalogue file; `content` is its bytes in base 64."""

    content: Base64Bytes
