"""What crosses the HTTP edge about orders."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shared.kernel.http import Amount, Shape

Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._\-]+$")]
Text = Annotated[str, Field(min_length=1, max_length=200)]
ReturnUrl = Annotated[str, Field(max_length=500, pattern=r"^https?://[^\s]+$")]
Payer = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_\-]+$")]
"""How a provider knows the buyer, such as a WeChat openid."""


class WantedLine(Shape):
    sku: Name
    quantity: Annotated[int, Field(ge=1, le=1000)]
    account: Annotated[dict[Name, Text], Field(max_length=10)] | None = None


class Contact(Shape):
    phone: Annotated[str, Field(max_length=32)] | None = None
    email: Annotated[str, Field(max_length=254)] | None = None


class QuoteRequest(Shape):
    lines: Annotated[list[WantedLine], Field(min_length=1, max_length=20)]
    channel: Name | None = None


class PlaceOrder(QuoteRequest):
    contact: Contact
    payment_method: Name
    client_ref: Annotated[str, Field(min_length=1, max_length=128)]
    quote_hash: Annotated[str, Field(max_length=64)] | None = None
    return_url: ReturnUrl | None = None
    payer: Payer | None = None


class ChangePayment(Shape):
    payment_method: Name
    return_url: ReturnUrl | None = None
    payer: Payer | None = None


class MethodView(Shape):
    payment_method: str
    zh: str
    en: str
    needs_payer: bool


class MethodList(Shape):
    """What a buyer may choose from now."""

    methods: list[MethodView]


class QuotedLineView(Shape):
    sku: str
    title: str
    quantity: int
    unit_price: Amount
    amount: Amount
    available: bool


class QuoteView(Shape):
    lines: list[QuotedLineView]
    total: Amount
    channel: str
    quote_hash: str


class ProblemView(Shape):
    """Why a provider has not said how to pay."""

    code: str
    zh: str
    en: str
    retryable: bool


class PaymentView(Shape):
    """How to pay: by one of the three ways, or, where there is a problem, by asking again or another method."""

    provider: str
    payment_id: str
    redirect_url: str | None = None
    qr_url: str | None = None
    client_params: dict[str, str] | None = None
    problem: ProblemView | None = None


class LineView(Shape):
    """got: pieces that a supplier has delivered so far; account: masked, of a top-up; proof: what shows it was done."""

    sku: str
    title: str
    quantity: int
    amount: Amount
    state: Literal["waiting", "buying", "delivered", "failed", "refunded"]
    got: int | None = None
    account: dict[str, str] | None = None
    proof: str | None = None


class NoticeView(Shape):
    """What the buyer is told about the order."""

    code: str
    zh: str
    en: str


class OrderView(Shape):
    order_id: str
    status: str
    total: Amount
    channel: str
    contact: str
    placed_at: str
    expires_at: str
    lines: list[LineView]
    delivered_at: str | None = None
    notice: NoticeView | None = None


class PlacedOrder(Shape):
    order_id: str
    status: str
    total: Amount
    expires_at: str
    access_token: str
    payment: PaymentView


class RevealedCard(Shape):
    sku: str
    code: str
    number: str | None
    expires_on: str | None


class RevealView(Shape):
    order_id: str
    cards: list[RevealedCard]


class ConsoleOrderView(OrderView):
    """What staff see: facts and masks, never codes or contacts."""

    version: int
    provider: str
    payment_ids: list[str]
    reasons: list[str]
    review_id: str | None
    refund_id: str | None
    refunded: Amount
    due_at: str | None
    card_ids: list[str]
