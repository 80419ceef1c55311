"""The port to payment providers: what each adapter must be able to do, in words of our own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import NamedTuple, Protocol

from shared.kernel.money import Money


class Outcome(StrEnum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    PROCESSING = "processing"
    ABSENT = "absent"
    UNKNOWN = "unknown"  # no trustworthy answer: ask again, never act


@dataclass(frozen=True)
class Merchant:
    """One account of ours with a provider; there may be several with the same one.

    code: our name for it, which stands in webhook addresses and in the books (``wechat``, ``wechat-2``).
    kind: the adapter that speaks for it. methods: what buyers may choose, such as ``wechat_native``.
    channels: whose orders it takes, or nothing for all. terms: what is no secret, such as ``mchid``.
    """

    code: str
    kind: str
    methods: tuple[str, ...]
    fee_e6: int  # what the provider keeps of each payment, in millionths
    currency: str = "CNY"
    channels: tuple[str, ...] = ()
    terms: Mapping[str, str] = field(default_factory=dict)
    off: bool = False  # takes no new payments; what is under way still ends


Keys = Mapping[str, str]
"""The secrets of one merchant, by the names its adapter gives them."""


@dataclass(frozen=True)
class Attempt:
    """One attempt to pay, as its provider knows it.

    method: one of the merchant's methods. reference: the provider's own name for the attempt, where it gave one.
    """

    payment_id: str
    method: str
    amount: Money
    subject: str
    expires_at: datetime
    reference: str | None = None


@dataclass(frozen=True)
class PaymentRequest:
    """address: the buyer's. payer: how the provider knows the buyer (a WeChat openid), where a method needs it."""

    attempt: Attempt
    notify_url: str
    return_url: str
    address: str = ""
    payer: str = ""


@dataclass(frozen=True)
class Intent:
    """How the buyer pays: one of the three is given, or none where nothing is left for the buyer to do."""

    redirect_url: str | None = None
    qr_url: str | None = None
    client_params: Mapping[str, str] | None = None
    reference: str | None = None


@dataclass(frozen=True)
class Charge:
    """Money that a provider says it has taken. `raw` is the message, fit to be stored."""

    payment_id: str
    provider_no: str
    amount: Money
    paid_at: datetime
    raw: str


class RefundNews(NamedTuple):
    """A provider says that a refund has come to an end: a reason to ask it, not more."""

    refund_id: str


@dataclass(frozen=True)
class PaymentStatus:
    outcome: Outcome
    charges: Sequence[Charge] = ()


@dataclass(frozen=True)
class RefundRequest:
    """charged: all the money of the charge, of which `amount` goes back."""

    refund_id: str
    payment_id: str
    provider_no: str
    charged: Money
    amount: Money
    reason: str


class Ack(NamedTuple):
    """What a provider wants to hear when it has notified us."""

    status: int = 200
    body: str = ""
    content_type: str = "text/plain"


class Bill(NamedTuple):
    """A day's bill, exactly as the provider gave it; a day without money has no content."""

    content: bytes
    form: str  # how its file name ends: csv, zip, json


class LineKind(StrEnum):
    CHARGE = "charge"
    REFUND = "refund"
    DISPUTE = "dispute"
    FEE = "fee"
    PAYOUT = "payout"


@dataclass(frozen=True)
class BillLine:
    """One line of a bill in our own words.

    gross: what the buyer paid, or got back (negative). fee_e6: what the provider keeps, in millionths of the currency's
    unit; negative where it gives a fee back.
    """

    kind: LineKind
    payment_id: str
    provider_no: str
    refund_id: str
    gross: Money
    fee_e6: int
    at: datetime


class Provider(Protocol):
    """Times are passed in. A call that got no trustworthy answer is UNKNOWN, or ProviderSilent; no method sleeps."""

    @property
    def code(self) -> str: ...  # its merchant's
    @property
    def fee_e6(self) -> int: ...
    @property
    def refund_is_repeatable(self) -> bool: ...  # if not, a refund whose answer is lost waits for a person

    def create(self, request: PaymentRequest, now: datetime) -> Intent:
        """Repeatable under the attempt's id; raises ProviderSilent or ProviderRefused."""

    def parse_notification(self, headers: Mapping[str, str], raw: bytes, now: datetime) -> Charge | RefundNews | None:
        """What it reports, None where nothing came of it; raises BadNotification. Makes no call.

        headers: by lower-case name. raw: the body as it came, or the query of a GET.
        """

    def ack(self, ok: bool) -> Ack:
        """Taken, or not: then it comes again."""

    def query(self, attempt: Attempt, now: datetime) -> PaymentStatus:
        """SUCCEEDED with its charges; PROCESSING while it can still be paid; FAILED or ABSENT where it cannot be."""

    def close(self, attempt: Attempt, now: datetime) -> Outcome:
        """SUCCEEDED or ABSENT where nobody can pay it any more, FAILED where somebody has."""

    def refund(self, request: RefundRequest, now: datetime) -> Outcome:
        """Repeatable under the refund's id, unless `refund_is_repeatable` says otherwise."""

    def query_refund(self, request: RefundRequest, now: datetime) -> Outcome: ...

    def bill(self, day: date, now: datetime) -> Bill:
        """The bill of a day of the provider's calendar; raises BillNotReady or ProviderSilent."""

    def bill_lines(self, bill: Bill) -> list[BillLine]:
        """Raises BadBill if it is not in the form that the provider documents."""
