"""A channel's account with us: it has its buyer's money, owes it to us, and settles with us later.

Nobody notifies and nobody can be asked: the channel's own confirmation, made with its credential, is the fact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from shared.payments.errors import BadNotification
from shared.payments.provider import Charge, Intent, Outcome, PaymentRequest, PaymentStatus, RefundRequest


@dataclass(frozen=True)
class OnAccount:
    code = "on_account"
    fee_e6 = 0  # what a channel keeps is agreed with it, and is no payment fee
    ack = ""

    def create(self, _: PaymentRequest) -> Intent:
        return Intent()

    def parse_notification(self, _headers: Mapping[str, str], _raw: bytes, _now: datetime) -> Charge | None:
        raise BadNotification

    def query(self, _payment_id: str, _now: datetime) -> PaymentStatus:
        return PaymentStatus(Outcome.ABSENT)

    def refund(self, _request: RefundRequest, _now: datetime) -> Outcome:
        """The channel owes us less from now on."""
        return Outcome.SUCCEEDED

    def query_refund(self, _refund_id: str, _now: datetime) -> Outcome:
        return Outcome.ABSENT  # so that it is made, which is always safe here
