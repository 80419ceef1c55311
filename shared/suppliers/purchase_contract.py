"""What crosses the HTTP edge about purchases: attempts as staff see them, and what a person decides about one."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shared.kernel.http import Amount, Shape

Code = Annotated[str, Field(min_length=1, max_length=512)]
Note = Annotated[str, Field(min_length=1, max_length=500)]


class SaidView(Shape):
    """One message of a supplier, without codes, keys or accounts."""

    at: str
    what: str
    outcome: str
    reason: str
    said: str


class ChoiceView(Shape):
    supplier: str
    product: str
    quantity: int
    landed: Amount
    probe: bool
    capped: bool


class LeftOutView(Shape):
    supplier: str
    product: str
    reason: str


class AttemptView(Shape):
    """`number`: ours, which names it everywhere. `most`: what a piece may cost; `cost`: what all of it did cost."""

    number: str
    line: str
    state: str
    sku: str
    quantity: int
    delivered: int
    duplicates: int
    most: Amount
    cost: Amount
    supplier: str | None
    product: str | None
    upstream_no: str | None
    reason: str
    proof: str
    asks: int
    created_at: str
    sent_at: str | None
    ended_at: str | None
    due_at: str | None
    choices: list[ChoiceView]
    left_out: list[LeftOutView]
    messages: list[SaidView]


class AttemptList(Shape):
    """All attempts for an order, the first first."""

    attempts: list[AttemptView]


class AllowPrice(Shape):
    """What a piece may cost us in this one case, in minor units; `note`: why that is right."""

    most_minor: Annotated[int, Field(ge=1, le=10**12)]
    note: Note


class RevealAccount(Shape):
    """reason: why he has to see it; kept for ever, beside his name."""

    reason: Annotated[str, Field(min_length=3, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*\S[^\x00-\x1f\x7f]*$")]


class AccountToTopUp(Shape):
    """What the buyer has filled in, in clear, by the names of the SKU's fields."""

    number: str
    supplier: str
    product: str
    sku: str
    account: dict[str, str]


class GoodsBrought(Shape):
    code: Code
    number: Code | None = None
    expires_on: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")] | None = None


class SettleAttempt(Shape):
    """What a person has found out, or done, about an attempt.

    delivered, also after it was given up: cards, or for a top-up how many pieces; cost_minor: what all of it cost.
    failed: he is sure that nothing comes of it, so that another supplier may be asked; cost_minor: what the supplier
    keeps all the same. reversed: what was delivered was taken back, and our money is.
    """

    outcome: Literal["delivered", "failed", "reversed"]
    note: Note
    cards: Annotated[list[GoodsBrought], Field(max_length=30)] = Field(default_factory=list)
    pieces: Annotated[int, Field(ge=0, le=90)] = 0
    cost_minor: Annotated[int, Field(ge=0, le=10**12)] | None = None
    proof: Annotated[str, Field(max_length=200)] = ""


class VoidPurchase(Shape):
    """What somebody says to be void: the cards of one purchase or, with `whole_day`, all that its supplier delivered of
    its SKU on that business day. source: who says so; `note`: his words."""

    source: Literal["issuer", "supplier"]
    note: Note
    whole_day: bool = False


class PurchaseQuery(Shape):
    order_id: Annotated[str, Field(min_length=1, max_length=64)]
