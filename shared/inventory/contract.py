"""What crosses the HTTP edge about stock."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from shared.kernel.http import Amount, Shape

Reason = Annotated[str, Field(min_length=3, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*\S[^\x00-\x1f\x7f]*$")]
"""Why somebody wants to see or to destroy; it is kept for ever, beside his name."""


class Page(Shape):
    """cursor: the `next_cursor` of the page before."""

    cursor: Annotated[str, Field(pattern=r"^view_[0-9a-z]{26}$")] | None = None


class LookView(Shape):
    """A look at a code; `viewer` is ``buyer`` or the name of a member of staff.

    card_id: of a top-up's account, the number of its attempt to buy."""

    view_id: str
    card_id: str
    viewer: str
    at: str
    reason: str
    order_id: str | None
    export_id: str | None


class LookList(Shape):
    views: list[LookView]
    next_cursor: str | None


class CardLot(Shape):
    lot_id: str
    label: str
    supplier: str
    purchase_id: str | None
    state: str
    received_at: str


class CardOrder(Shape):
    """contact: masked."""

    order_id: str
    status: str
    contact: str
    channel: str


class CardView(Shape):
    """A card as staff may see it; `views` are the latest looks at its code, `next_cursor` leads to older ones."""

    card_id: str
    sku: str
    state: str
    mask: str | None
    expires_on: str | None
    channel: str | None
    recall_id: str | None
    replaced_by: str | None
    lot: CardLot
    order: CardOrder | None
    views: list[LookView]
    next_cursor: str | None


class RevealCard(Shape):
    reason: Reason


class RevealedCode(Shape):
    card_id: str
    sku: str
    code: str
    number: str | None
    expires_on: str | None


class RequestExport(Shape):
    """The cards of a lot, or else those of a SKU in one state."""

    lot_id: Annotated[str, Field(pattern=r"^lot_[0-9a-z]{26}$")] | None = None
    sku: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    state: Literal["available", "held", "sold", "frozen", "expired", "void"] | None = None
    reason: Reason


class ExportView(Shape):
    """What was asked for and how far it is. `file_until`: when the file is deleted at the latest, opened or not."""

    export_id: str
    state: str
    lot_id: str | None
    sku: str | None
    card_state: str | None
    reason: str
    asked_by: str
    asked_at: str
    decided_by: str | None
    ended_at: str | None
    cards: int | None
    opened: bool
    file_until: str | None
    failed: WhyFailed | None


class ExportList(Shape):
    exports: list[ExportView]


class ExportSecret(Shape):
    """Shown once. The file is a ZIP under AES-256; the link ends before `url_until`."""

    export_id: str
    password: str
    url: str
    url_until: str


class WhyFailed(Shape):
    code: str
    zh: str
    en: str


class Rotate(Shape):
    """lot: a new data key for the lot named. wrapping: all data keys are wrapped anew. pepper: new fingerprints."""

    what: Literal["lot", "wrapping", "pepper"]
    lot_id: Annotated[str, Field(pattern=r"^lot_[0-9a-z]{26}$")] | None = None


class DestroyLot(Shape):
    reason: Reason


class KeyJobView(Shape):
    """A change of keys or the destruction of a lot; `counts` say how many cards or lots are done.

    what: lot_key, wrapping, pepper or destruction.
    """

    job_id: str
    what: str
    state: str
    lot_id: str | None
    reason: str | None
    asked_by: str
    asked_at: str
    approved_by: str | None
    started_at: str | None
    ended_at: str | None
    counts: dict[str, int]
    failed: WhyFailed | None


class LotsQuery(Shape):
    """Of a supplier, in a period of business days in Shanghai, the latest first; or of a purchase."""

    supplier: Annotated[str, Field(pattern=r"^[a-z0-9_\-]{1,32}$")] | None = None
    from_: date | None = Field(None, alias="from")
    to: date | None = None
    purchase_id: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_\-.:]+$")] | None = None
    cursor: Annotated[str, Field(max_length=100, pattern=r"^[0-9TZ:.\-]+\|lot_[0-9a-z]{26}$")] | None = None


class LotView(Shape):
    """A lot: where it came from, by what, and what has become of it."""

    lot_id: str
    label: str
    supplier: str
    purchase_id: str | None
    source: str
    job_id: str | None
    documents: dict[str, str]
    state: str
    received_at: str
    recall_id: str | None


class LotList(Shape):
    lots: list[LotView]
    next_cursor: str | None


class LotLevel(Shape):
    """How many of its cards are in each state; a moment old."""

    available: int
    held: int
    sold: int
    frozen: int
    expired: int
    void: int


class LotDetail(LotView):
    cards: LotLevel


class TracedCard(Shape):
    """A card between its supplier and its buyer, masked."""

    card_id: str
    sku: str
    mask: str | None
    state: str
    expires_on: str | None
    lot_id: str
    supplier: str
    purchase_id: str | None
    order_id: str | None
    channel: str | None
    recall_id: str | None
    replaced_by: str | None


class TracedCards(Shape):
    cards: list[TracedCard]
    next_cursor: str | None


class LotCardsQuery(Shape):
    cursor: Annotated[str, Field(pattern=r"^[0-9]{1,2}\|(crd_[0-9a-z]{26})?$")] | None = None


class FindBuyer(Shape):
    """By a phone number or an e-mail address; it is not stored, logged or part of any address."""

    phone: Annotated[str, Field(max_length=32)] | None = None
    email: Annotated[str, Field(max_length=254)] | None = None
    cursor: Annotated[str, Field(pattern=r"^ord_[0-9a-z]{26}$")] | None = None


class BuyersOrder(Shape):
    order_id: str
    status: str
    placed_at: str
    channel: str
    total: Amount
    cards: list[TracedCard]


class BuyersOrders(Shape):
    """What this contact has ordered, the latest first."""

    contact: str
    orders: list[BuyersOrder]
    next_cursor: str | None
