"""What crosses the HTTP edge about refunds and about our accounts with payment providers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shared.kernel.http import Amount, Shape
from shared.payments.states import RefundState

Note = Annotated[str, Field(min_length=1, max_length=500)]


class RequestRefund(Shape):
    """One of: lines, by their places in the order, the first is 1; amount_minor; without either all that is left.

    A part needs an Idempotency-Key: under the same key it is the same refund.
    """

    reason: Annotated[str, Field(min_length=1, max_length=200)] = "operator"
    lines: Annotated[list[Annotated[int, Field(ge=1, le=20)]], Field(min_length=1, max_length=20)] | None = None
    amount_minor: Annotated[int, Field(ge=1, le=100_000_000_000)] | None = None


class PaidByHand(Shape):
    note: Note


class GiveBack(Shape):
    note: Note


class AskConfirmation(Shape):
    """What was paid without our being told: the provider's own number for it, as its merchant page shows it.

    provider: a merchant of ours that the order could be paid through. paid_at: ISO 8601 with its time zone.
    """

    provider: Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[A-Za-z0-9._\-]+$")]
    provider_no: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._:\-]+$")]
    amount_minor: Annotated[int, Field(ge=1, le=100_000_000_000)]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    paid_at: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+\-]\d{2}:\d{2})$")]
    note: Note


class ConfirmationView(Shape):
    """state: created (waits for a second person), running (approved), done, failed or cancelled (refused).

    use: what the money was used for, once it is taken in; `order` where it has paid for the order.
    """

    confirmation_id: str
    order_id: str
    state: str
    provider: str
    provider_no: str
    amount: Amount
    paid_at: str
    note: str
    asked_by: str
    asked_at: str
    decided_by: str | None
    ended_at: str | None
    use: str | None


class ConfirmationList(Shape):
    confirmations: list[ConfirmationView]


class RefundView(Shape):
    refund_id: str
    order_id: str
    state: RefundState
    amount: Amount
    reason: str
    requested_at: str
    requested_by: str


MethodName = Annotated[str, Field(max_length=32, pattern=r"^[a-z0-9_]+$")]
ChannelName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._\-]+$")]
TermName = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[a-z0-9_]+$")]
Term = Annotated[str, Field(min_length=1, max_length=300)]
Key = Annotated[str, Field(min_length=1, max_length=8192)]


class SaveMerchant(Shape):
    """`terms` are what is no secret, such as mchid; `channels` whose orders it takes, or nothing for all."""

    kind: Literal["wechat", "alipay", "stripe", "epay"]
    methods: Annotated[list[MethodName], Field(min_length=1, max_length=10)]
    fee_e6: Annotated[int, Field(ge=0, le=200_000)]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "CNY"
    channels: Annotated[list[ChannelName], Field(max_length=20, default_factory=list)]
    terms: Annotated[dict[TermName, Term], Field(max_length=12, default_factory=dict)]
    off: bool = False


class GiveKeys(Shape):
    """The secrets of a merchant, by the names that its kind asks for; they are never shown again."""

    keys: Annotated[dict[TermName, Key], Field(min_length=1, max_length=12)]


class HealthView(Shape):
    """The last hour. `answered_e6` is the share of calls that were answered, in millionths; null without calls."""

    state: Literal["answering", "silent", "out", "off", "no_keys"]
    calls: int
    answered_e6: int | None
    average_ms: int | None
    silent_in_a_row: int
    out_until: str | None
    last_notification_at: str | None


class MerchantView(Shape):
    merchant: str
    kind: str
    methods: list[str]
    fee_e6: int
    currency: str
    channels: list[str]
    terms: dict[str, str]
    off: bool
    key_sets: int
    notify_url: str
    health: HealthView


class MerchantList(Shape):
    merchants: list[MerchantView]


class MerchantChecked(Shape):
    """What came of asking the provider for a payment that does not exist."""

    merchant: str
    answers: bool
    took_ms: int
