"""The port to payment providers: what each adapter must be able to do, in words of our own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from shared.kernel.money import Money


class Outcome(StrEnum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    PROCESSING = "processing"
    ABSENT = "absent"
    UNKNOWN = "unknown"  # no trustworthy answer: ask again, never act


@dataclass(frozen=True)
class PaymentRequest:
    payment_id: str
    amount: Money
    subject: str
    notify_url: str
    return_url: str
    expires_at: datetime


@dataclass(frozen=True)
class Intent:
    """How the buyer pays: one of the three is given, or none where nothing is left for the buyer to do."""

    redirect_url: str | None = None
    qr_url: str | None = None
    client_params: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Charge:
    """Money that a provider says it has taken. `raw` is the message, fit to be stored."""

    payment_id: str
    provider_no: str
    amount: Money
    paid_at: datetime
    raw: str


@dataclass(frozen=True)
class PaymentStatus:
    outcome: Outcome
    charges: Sequence[Charge] = ()


@dataclass(frozen=True)
class RefundRequest:
    refund_id: str
    provider_no: str
    amount: Money
    reason: str


class Provider(Protocol):
    code: str
    fee_e6: int  # what it keeps of each payment, in millionths
    ack: str  # the body that tells it a notification has arrived

    def create(self, request: PaymentRequest) -> Intent: ...

    def parse_notification(self, headers: Mapping[str, str], raw: bytes, now: datetime) -> Charge | None:
        """The charge it reports, None if it reports that none was made; raises BadNotification."""

    def query(self, payment_id: str, now: datetime) -> PaymentStatus: ...

    def refund(self, request: RefundRequest, now: datetime) -> Outcome:
        """Repeatable under the refund's id."""

    def query_refund(self, refund_id: str, now: datetime) -> Outcome: ...
