"""The sandbox provider: a real counterpart over HTTP for trying and testing, never for money.

Protocol: HMAC-SHA256 in lower-case hex over ``{unix seconds}.{raw body}`` in both directions, over
``{unix seconds}.{METHOD} {path}.{raw body}`` for our calls, and over the sorted query for the pay page.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from http.client import HTTPException
from typing import Any

from shared.kernel import clock
from shared.kernel.money import Money
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

WINDOW = 300  # seconds a signed message stays fresh, as the protocol says
AMOUNT_MAX = 10**12  # minor units: beyond any sale, and a number that every store and spreadsheet holds exactly
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # of a payment or a charge: it becomes part of a key
_CURRENCY = re.compile(r"[A-Z]{3}")
_YEARS = range(2000, 2100)  # at the ends of the calendar a change of zone fails
TIMEOUT = 5  # seconds; below the time limit of every function that calls


@dataclass(frozen=True)
class Sandbox:
    url: str
    merchant: str
    secret: bytes = field(repr=False)

    code = "sandbox"
    refund_is_repeatable = True
    fee_e6 = 6_000  # 0.6 %, what the large channels charge

    def create(self, request: PaymentRequest, _now: datetime) -> Intent:
        attempt = request.attempt
        query = {
            "merchant": self.merchant,
            "payment_id": attempt.payment_id,
            "amount_minor": str(attempt.amount.minor),
            "currency": attempt.amount.currency,
            "subject": attempt.subject,
            "notify_url": request.notify_url,
            "return_url": request.return_url,
            "expires_at": clock.iso(attempt.expires_at),
        }
        encoded = urllib.parse.urlencode(sorted(query.items()))
        return Intent(redirect_url=f"{self.url}/pay?{encoded}&sign={self._sign(encoded.encode())}")

    def parse_notification(self, headers: Mapping[str, str], raw: bytes, now: datetime) -> Charge | None:
        self._verify(headers, raw, now)
        try:
            message = json.loads(raw)
            if message["merchant"] != self.merchant:
                raise BadNotification
            return _charge(message, message["payment_id"], raw.decode()) if message["status"] == "paid" else None
        except (ValueError, KeyError, TypeError, RecursionError):
            raise BadNotification from None

    def ack(self, ok: bool) -> Ack:
        return Ack(200, "success") if ok else Ack(400, "fail")

    def query(self, attempt: Attempt, now: datetime) -> PaymentStatus:
        payment_id = attempt.payment_id
        answer = self._call("GET", f"/api/payments/{payment_id}", None, now)
        try:
            if answer is None:
                return PaymentStatus(Outcome.UNKNOWN)
            charges = [_charge(charge, payment_id, json.dumps(charge)) for charge in answer.get("charges", ())]
            outcome = {"paid": Outcome.SUCCEEDED, "failed": Outcome.FAILED, "absent": Outcome.ABSENT}
            return PaymentStatus(outcome.get(answer["status"], Outcome.PROCESSING), charges)
        except (ValueError, KeyError, TypeError):
            return PaymentStatus(Outcome.UNKNOWN)

    def close(self, _attempt: Attempt, _now: datetime) -> Outcome:
        return Outcome.SUCCEEDED  # its pay page serves until the time that the link names, and cannot be ended before

    def refund(self, request: RefundRequest, now: datetime) -> Outcome:
        body = {
            "refund_id": request.refund_id,
            "provider_no": request.provider_no,
            "amount_minor": request.amount.minor,
            "currency": request.amount.currency,
            "reason": request.reason,
        }
        return _refund_outcome(self._call("POST", "/api/refunds", body, now))

    def query_refund(self, request: RefundRequest, now: datetime) -> Outcome:
        return _refund_outcome(self._call("GET", f"/api/refunds/{request.refund_id}", None, now))

    def bill(self, _day: date, _now: datetime) -> Bill:
        return Bill(b"", "json")  # it makes none: pretended money is settled with nobody

    def bill_lines(self, _bill: Bill) -> list[BillLine]:
        return []

    def _call(self, method: str, path: str, body: Mapping[str, object] | None, now: datetime) -> dict[str, Any] | None:
        """The verified answer, or None where it is unknown what happened."""
        raw = json.dumps(body).encode() if body else b""
        stamp = str(int(now.timestamp()))
        headers = {
            "Content-Type": "application/json",
            "Sandbox-Merchant": self.merchant,
            "Sandbox-Timestamp": stamp,
            "Sandbox-Signature": self._sign(f"{stamp}.{method} {path}.".encode() + raw),
        }
        request = urllib.request.Request(self.url + path, raw or None, headers, method=method)  # noqa: S310  # a setting
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310  # a setting
                reply = answer.read()
                self._verify({name.lower(): value for name, value in answer.headers.items()}, reply, now)
                return dict(json.loads(reply))
        except (OSError, HTTPException, ValueError, TypeError, BadNotification):
            return None

    def _verify(self, headers: Mapping[str, str], raw: bytes, now: datetime) -> None:
        stamp = headers.get("sandbox-timestamp", "")
        expected = self._sign(f"{stamp}.".encode() + raw)
        if not hmac.compare_digest(expected.encode(), headers.get("sandbox-signature", "").encode()):
            raise BadNotification
        if not stamp.isdecimal() or abs(int(stamp) - now.timestamp()) > WINDOW:
            raise BadNotification

    def _sign(self, message: bytes) -> str:
        return hmac.new(self.secret, message, hashlib.sha256).hexdigest()


def _charge(message: Mapping[str, Any], payment_id: str, raw: str) -> Charge:
    amount, currency, number = message["amount_minor"], message["currency"], message["provider_no"]
    if type(amount) is not int or not 0 < amount <= AMOUNT_MAX or not _CURRENCY.fullmatch(currency):
        raise ValueError
    if not _NAME.fullmatch(payment_id) or not _NAME.fullmatch(number):
        raise ValueError
    paid_at = clock.parse(message["paid_at"])
    if paid_at.year not in _YEARS:
        raise ValueError
    return Charge(payment_id, number, Money(amount, currency), paid_at, raw)


def _refund_outcome(answer: Mapping[str, Any] | None) -> Outcome:
    known = {outcome.value: outcome for outcome in (Outcome.SUCCEEDED, Outcome.FAILED, Outcome.ABSENT)}
    return known.get(str(answer.get("status")), Outcome.PROCESSING) if answer else Outcome.UNKNOWN
