"""A channel's account with us: it has its buyer's money, owes it to us, and settles with us later.

Nobody notifies and nobody can be asked: the channel's own confirmation, made with its credential, is the fact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from shared.payments.errors import BadNotification
from shared.payments.provider import (
    Ack,
    Attempt,
    Bill,
    BillLine,
    Charge,
    Intent,
    Outcome,
    PaymentRequest,
    PaymentStatus,
    RefundRequest,
)


@dataclass(frozen=True)
class OnAccount:
    code = "on_account"
    refund_is_repeatable = True
    fee_e6 = 0  # what a channel keeps is agreed with it, and is no payment fee

    def create(self, _request: PaymentRequest, _now: datetime) -> Intent:
        return Intent()

    def parse_notification(self, _headers: Mapping[str, str], _raw: bytes, _now: datetime) -> Charge | None:
        raise BadNotification

    def ack(self, ok: bool) -> Ack:
        return Ack(200 if ok else 400)

    def query(self, _attempt: Attempt, _now: datetime) -> PaymentStatus:
        return PaymentStatus(Outcome.ABSENT)

    def close(self, _attempt: Attempt, _now: datetime) -> Outcome:
        return Outcome.ABSENT

    def refund(self, _request: RefundRequest, _now: datetime) -> Outcome:
        """The channel owes us less from now on."""
        return Outcome.SUCCEEDED

    def query_refund(self, _request: RefundRequest, _now: datetime) -> Outcome:
        return Outcome.ABSENT  # so that it is made, which is always safe here

    def bill(self, _day: date, _now: datetime) -> Bill:
        return Bill(b"", "json")

    def bill_lines(self, _bill: Bill) -> list[BillLine]:
        return []
