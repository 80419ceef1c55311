"""Stripe: payment intents, refunds and balance transactions through its library; webhooks checked by hand.

One payment is one payment intent, and its ``pi_…`` is our provider number: a refund may name it, every balance
transaction leads to it, and it takes money once however many charges (``ch_…``) were tried on it.
Secrets of a merchant: ``api_key`` and ``webhook_secret``. Terms: ``publishable_key``, ``gateway``.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from shared.kernel.money import E6_PER_MINOR, MILLION, Money
from shared.payments.errors import BadBill, BadNotification, BillNotReady, ProviderRefused, ProviderSilent
from shared.payments.provider import (
    Ack,
    Attempt,
    Bill,
    BillLine,
    Charge,
    Intent,
    Keys,
    LineKind,
    Merchant,
    Outcome,
    PaymentRequest,
    PaymentStatus,
    RefundNews,
    RefundRequest,
)

GATEWAY = "https://api.stripe.com"
WINDOW = 300  # seconds a signed message stays fresh, on both sides: the library would take one from the future
TIMEOUT = 5  # seconds; below the time limit of every function that calls
PAGES_MAX = 1000  # of a hundred each: a day with more than this is an endless answer
AMOUNT_MAX = 10**12  # minor units: beyond any sale, and a number that every store and spreadsheet holds exactly
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # of a payment, a refund or a charge: it becomes part of a key
_CURRENCY = re.compile(r"[a-z]{3}")
_TIMES = range(946_684_800, 4_102_444_800)  # 2000 to 2099: at the ends of the calendar a change of zone fails
_CLOCK = re.compile(r"[0-9]{1,12}")
_MODE = re.compile(r"(?:sk|rk)_(live|test)_")
_UNREADABLE = (AttributeError, KeyError, TypeError, ValueError, ArithmeticError, RecursionError)

# Our minor unit is a hundredth. Stripe counts these currencies otherwise; ISK and UGX look like cents and are none.
_WHOLE = frozenset(re.findall(r"\w+", "BIF CLP DJF GNF ISK JPY KMF KRW MGA PYG RWF UGX VND VUV XAF XOF XPF"))
_THOUSANDTHS = frozenset(("BHD", "JOD", "KWD", "OMR", "TND"))
_PADDED = frozenset(("ISK", "UGX"))  # whole, yet sent and told with two zeros

_INTENTS = {
    "succeeded": Outcome.SUCCEEDED,
    "canceled": Outcome.FAILED,
    "processing": Outcome.PROCESSING,
    "requires_action": Outcome.PROCESSING,
    "requires_capture": Outcome.PROCESSING,
    "requires_confirmation": Outcome.PROCESSING,
    "requires_payment_method": Outcome.PROCESSING,
}
_REFUNDS = {
    "succeeded": Outcome.SUCCEEDED,
    "failed": Outcome.FAILED,
    "canceled": Outcome.FAILED,
    "pending": Outcome.PROCESSING,
    "requires_action": Outcome.PROCESSING,
}
_CLOSED = {Outcome.SUCCEEDED: Outcome.FAILED, Outcome.FAILED: Outcome.SUCCEEDED}  # what is canceled is closed
_REFUND_EVENTS = ("charge.refund.updated", "refund.created", "refund.failed", "refund.updated")

# Reporting categories. What is in none of these is no line we could name, and makes the bill a bad one.
_KINDS = {
    LineKind.CHARGE: "charge charge_failure",
    LineKind.REFUND: "refund refund_failure partial_capture_reversal",
    LineKind.DISPUTE: "dispute dispute_reversal",
    LineKind.FEE: "fee network_cost tax",
    # everything that moves between the account and somebody who is no buyer
    LineKind.PAYOUT: "payout payout_reversal topup topup_reversal transfer transfer_reversal other_adjustment "
    "connect_collection_transfer connect_reserved_funds risk_reserved_funds platform_earning platform_earning_refund "
    "advance advance_funding anticipation_repayment financing_paydown financing_paydown_reversal financing_payout "
    "financing_payout_reversal climate_order_purchase climate_order_refund contribution issuing_authorization_hold "
    "issuing_authorization_release issuing_dispute issuing_transaction unreconciled_customer_funds",
}
_KIND_OF = {category: kind for kind, categories in _KINDS.items() for category in categories.split()}


class _Refused(Exception):
    """Stripe understood and said no: nothing has happened."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status, self.reason = status, reason


@dataclass(frozen=True)
class Stripe:
    """keys: newest first; a webhook may be signed under any of them, calls are made with the first.

    keys_kept: how long an idempotency key is sure to be remembered, which is what Stripe documents. An attempt whose
    reference was lost is found through its key for half of that time after it expired, so attempts must live less
    than the other half; later nobody can say what became of it.
    """

    merchant: Merchant
    keys: Sequence[Keys] = field(repr=False)
    keys_kept: timedelta = timedelta(hours=24)

    refund_is_repeatable = True

    @property
    def code(self) -> str:
        return self.merchant.code

    @property
    def fee_e6(self) -> int:
        return self.merchant.fee_e6

    def create(self, request: PaymentRequest, _now: datetime) -> Intent:
        publishable = self.merchant.terms.get("publishable_key")
        if not publishable:
            raise ProviderRefused(provider=self.code, reason="no_publishable_key")
        if odd := _odd(request.attempt.amount):
            raise ProviderRefused(provider=self.code, reason=odd)
        try:
            intent = self._open(request.attempt)
            secret, reference = intent["client_secret"], intent["id"]
            if type(secret) is not str or not _NAME.fullmatch(reference):
                raise ValueError
        except _Refused as refused:
            raise ProviderRefused(provider=self.code, reason=refused.reason) from None
        except _UNREADABLE:
            raise ProviderSilent(provider=self.code) from None
        return Intent(client_params={"client_secret": secret, "publishable_key": publishable}, reference=reference)

    def parse_notification(self, headers: Mapping[str, str], raw: bytes, now: datetime) -> Charge | RefundNews | None:
        signer = self._signer(headers.get("stripe-signature", ""), raw, now)
        try:
            event = json.loads(raw)
            mode = _MODE.match(signer.get("api_key", ""))
            if type(event["livemode"]) is not bool or (mode and event["livemode"] != (mode[1] == "live")):
                raise BadNotification
            about = event["data"]["object"]
            if event["type"] == "payment_intent.succeeded":
                return _event_charge(event, about)
            if event["type"] == "charge.refunded":
                refunds = (about.get("refunds") or {}).get("data") or ()
                return next((news for refund in refunds if (news := _news(refund))), None)
            return _news(about) if event["type"] in _REFUND_EVENTS else None
        except _UNREADABLE:
            raise BadNotification from None

    def ack(self, ok: bool) -> Ack:
        return Ack(200) if ok else Ack(400)

    def query(self, attempt: Attempt, now: datetime) -> PaymentStatus:
        try:
            return _status(self._retrieve(attempt, self._reference(attempt, now)), attempt)
        except _Refused as refused:
            return PaymentStatus(Outcome.ABSENT if refused.status == 404 else Outcome.UNKNOWN)
        except (ProviderSilent, *_UNREADABLE):
            return PaymentStatus(Outcome.UNKNOWN)

    def close(self, attempt: Attempt, now: datetime) -> Outcome:
        try:
            reference = self._reference(attempt, now)
            try:
                intent = self._call("post", f"/v1/payment_intents/{reference}/cancel")
            except _Refused:  # paid, canceled already, or on its way: look which
                intent = self._retrieve(attempt, reference)
            outcome = _INTENTS[intent["status"]]
        except _Refused as refused:
            return Outcome.ABSENT if refused.status == 404 else Outcome.UNKNOWN
        except (ProviderSilent, *_UNREADABLE):
            return Outcome.UNKNOWN
        return _CLOSED.get(outcome, outcome)

    def refund(self, request: RefundRequest, now: datetime) -> Outcome:
        """The idempotency key guards the first day; the list of refunds, looked at first, guards for ever."""
        if _odd(request.amount):
            return Outcome.FAILED
        known = self.query_refund(request, now)
        if known is not Outcome.ABSENT:
            return known
        try:
            refund = self._call(
                "post",
                "/v1/refunds",
                idempotency_key=request.refund_id,
                payment_intent=request.provider_no,
                amount=request.amount.minor,
                metadata={"refund_id": request.refund_id, "payment_id": request.payment_id},
            )
            return _REFUNDS[refund["status"]]
        except _Refused as refused:
            # That the charge is not there contradicts what we know: somebody must look at the account.
            return Outcome.UNKNOWN if refused.status == 404 else Outcome.FAILED
        except (ProviderSilent, *_UNREADABLE):
            return Outcome.UNKNOWN

    def query_refund(self, request: RefundRequest, _now: datetime) -> Outcome:
        try:
            for refund in self._pages("/v1/refunds", payment_intent=request.provider_no):
                if _ours(refund, "refund_id") == request.refund_id:
                    return _REFUNDS[refund["status"]]
        except (_Refused, ProviderSilent, *_UNREADABLE):
            return Outcome.UNKNOWN
        return Outcome.ABSENT

    def bill(self, day: date, now: datetime) -> Bill:
        """The balance transactions of a day in UTC, as one document."""
        start = datetime.combine(day, time_of_day(), UTC)
        end = start + timedelta(days=1)
        if now < end:
            raise BillNotReady
        created = {"gte": int(start.timestamp()), "lt": int(end.timestamp())}
        try:
            lines = self._pages("/v1/balance_transactions", created=created, expand=["data.source"])
        except (_Refused, *_UNREADABLE):
            raise ProviderSilent(provider=self.code) from None
        document = {"object": "list", "data": lines}
        return Bill(json.dumps(document, ensure_ascii=False).encode() if lines else b"", "json")

    def bill_lines(self, bill: Bill) -> list[BillLine]:
        try:
            return (
                [_line(line) for line in json.loads(bill.content, parse_float=Decimal)["data"]] if bill.content else []
            )
        except _UNREADABLE:
            raise BadBill from None

    def _signer(self, header: str, raw: bytes, now: datetime) -> Keys:
        """The keys under which a fresh message is signed; raises BadNotification where there are none."""
        parts = [part.split("=", 1) for part in header[:4096].split(",") if "=" in part]
        stamps = [value for name, value in parts if name == "t"]
        if len(stamps) != 1 or not _CLOCK.fullmatch(stamps[0]) or abs(int(stamps[0]) - now.timestamp()) > WINDOW:
            raise BadNotification
        given = [value.encode(errors="replace") for name, value in parts if name == "v1"]
        message = stamps[0].encode() + b"." + raw
        for keys in self.keys:
            secret = keys.get("webhook_secret", "").encode()
            expected = hmac.new(secret, message, hashlib.sha256).hexdigest().encode()
            if secret and any(hmac.compare_digest(expected, signature) for signature in given):
                return keys
        raise BadNotification

    def _open(self, attempt: Attempt) -> dict[str, Any]:
        """Open the intent, or hear again how it was opened: never what became of it since."""
        return self._call(
            "post",
            "/v1/payment_intents",
            idempotency_key=attempt.payment_id,
            amount=attempt.amount.minor,
            currency=attempt.amount.currency.lower(),
            description=attempt.subject,
            automatic_payment_methods={"enabled": True},
            metadata={"payment_id": attempt.payment_id},
        )

    def _reference(self, attempt: Attempt, now: datetime) -> str:
        reference = attempt.reference
        if reference is None:
            if now > attempt.expires_at + self.keys_kept / 2:
                raise ProviderSilent(provider=self.code)
            try:
                reference = self._open(attempt)["id"]
            except _Refused:  # of a second opening, this says nothing about the first
                raise ProviderSilent(provider=self.code) from None
        if not _NAME.fullmatch(reference):
            raise ValueError
        return reference

    def _retrieve(self, attempt: Attempt, reference: str) -> dict[str, Any]:
        intent = self._call("get", f"/v1/payment_intents/{reference}", expand=["latest_charge"])
        if intent["id"] != reference or _ours(intent, "payment_id") != attempt.payment_id:
            raise ValueError
        return intent

    def _pages(self, path: str, **params: object) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        for _ in range(PAGES_MAX):
            page = self._call("get", path, limit=100, **params)
            items += page["data"]
            if not page["has_more"]:
                return items
            params["starting_after"] = page["data"][-1]["id"] if page["data"] else None
        raise ProviderSilent(provider=self.code)

    def _call(self, method: str, path: str, **params: object) -> dict[str, Any]:
        """The answer; raises _Refused, or ProviderSilent where it is unknown what happened."""
        import stripe  # takes a fifth of a second, which only they pay who use it

        stripe.enable_telemetry = False  # it would tell the platform, and write an id into the home directory
        gateway = (self.merchant.terms.get("gateway") or GATEWAY).rstrip("/")
        address = urllib.parse.urlsplit(gateway)
        plain = address.scheme == "http" and address.hostname == "127.0.0.1"
        if not self.keys or not (plain or address.scheme == "https"):
            raise ProviderSilent(provider=self.code)
        client = stripe.StripeClient(
            self.keys[0]["api_key"],
            base_addresses={"api": gateway},
            max_network_retries=0,  # the callers ask again, under the same number
            http_client=stripe.RequestsClient(timeout=TIMEOUT),
        )
        # What the library raises quotes the key in part, and the message in full: none of it goes further.
        try:
            answer = client.raw_request(method, path, **params).data
        except (stripe.InvalidRequestError, stripe.CardError) as error:
            reason = error.code if type(error.code) is str and _NAME.fullmatch(error.code) else "invalid_request"
            raise _Refused(error.http_status or 0, reason) from None
        except (stripe.StripeError, OSError, *_UNREADABLE):
            raise ProviderSilent(provider=self.code) from None
        if not isinstance(answer, dict):
            raise ProviderSilent(provider=self.code)
        return answer


def _odd(amount: Money) -> str | None:
    """Why Stripe must not be asked for such an amount."""
    if amount.currency in _WHOLE:
        return "zero_decimal_currency"
    if amount.currency in _THOUSANDTHS:
        return "three_decimal_currency"
    return None if 0 < amount.minor <= AMOUNT_MAX else "amount"


def _ours(thing: Mapping[str, Any], name: str) -> str:
    """What we had written on it, or nothing where it is somebody else's."""
    value = (thing.get("metadata") or {}).get(name)
    return value if type(value) is str and _NAME.fullmatch(value) else ""


def _status(intent: Mapping[str, Any], attempt: Attempt) -> PaymentStatus:
    outcome = _INTENTS[intent["status"]]
    if outcome is not Outcome.SUCCEEDED:
        return PaymentStatus(outcome)
    paid_at = _moment(intent["latest_charge"]["created"])
    return PaymentStatus(outcome, [_charge(intent, attempt.payment_id, paid_at, {})])


def _event_charge(event: Mapping[str, Any], intent: Mapping[str, Any]) -> Charge | None:
    payment_id = _ours(intent, "payment_id")
    if not payment_id or intent["status"] != "succeeded":
        return None  # the account may sell other things as well
    # The event names the charge and does not say when it was made; the event itself is seconds younger.
    return _charge(intent, payment_id, _moment(event["created"]), {"event": event["id"]})


def _charge(intent: Mapping[str, Any], payment_id: str, paid_at: datetime, facts: Mapping[str, Any]) -> Charge:
    amount = _money(intent["amount_received"], intent["currency"])
    if not 0 < amount.minor <= AMOUNT_MAX or not _NAME.fullmatch(intent["id"]):
        raise ValueError
    # Kept is what the books need: the rest names the buyer, or opens the intent to whoever reads it.
    kept = ("id", "amount", "amount_received", "currency", "status", "livemode", "created")
    charge = intent.get("latest_charge")
    raw = {
        **facts,
        **{name: intent.get(name) for name in kept},
        "latest_charge": charge.get("id") if isinstance(charge, dict) else charge,
        "metadata": {"payment_id": payment_id},
    }
    return Charge(payment_id, intent["id"], amount, paid_at, json.dumps(raw))


def _news(refund: Mapping[str, Any]) -> RefundNews | None:
    refund_id = _ours(refund, "refund_id")
    ended = _REFUNDS.get(refund["status"]) in (Outcome.SUCCEEDED, Outcome.FAILED)
    return RefundNews(refund_id) if refund_id and ended else None


def _line(line: Mapping[str, Any]) -> BillLine:
    kind = _KIND_OF[line["reporting_category"]]
    source = line["source"] if isinstance(line["source"], dict) else {"id": line["source"]}
    foreign = source.get("currency", line["currency"]) != line["currency"]
    gross, fee_e6 = _money(line["amount"], line["currency"]), _e6(line["fee"], line["currency"])
    if kind is LineKind.FEE:
        gross, fee_e6 = Money(0, gross.currency), fee_e6 - gross.minor * E6_PER_MINOR
    elif foreign and line["exchange_rate"] and kind is not LineKind.PAYOUT:
        # The account settles in another currency than the buyer paid. Its rate leads from theirs to the account's.
        paid = _money(source["amount"], source["currency"])
        gross = Money(-paid.minor if line["amount"] < 0 else paid.minor, paid.currency)
        fee_e6 = int((Decimal(fee_e6) / Decimal(line["exchange_rate"])).to_integral_value(ROUND_HALF_EVEN))
    provider_no = source.get("payment_intent") or source.get("id") or line["id"]
    if not _NAME.fullmatch(provider_no):
        raise ValueError
    names = _ours(source, "payment_id"), provider_no, _ours(source, "refund_id")
    return BillLine(kind, *names, gross, fee_e6, _moment(line["created"]))


def _money(amount: object, currency: str) -> Money:
    minor, rest = divmod(_e6(amount, currency), E6_PER_MINOR)
    if rest:
        raise ValueError
    return Money(minor, currency.upper())


def _e6(amount: object, currency: str) -> int:
    """Millionths of the currency's unit."""
    if type(amount) is not int or abs(amount) > AMOUNT_MAX or not _CURRENCY.fullmatch(currency):
        raise ValueError
    code = currency.upper()
    if code in _WHOLE - _PADDED:
        return amount * MILLION
    return amount * (MILLION // 1000 if code in _THOUSANDTHS else MILLION // 100)


def _moment(seconds: object) -> datetime:
    if type(seconds) is not int or seconds not in _TIMES:
        raise ValueError
    return datetime.fromtimestamp(seconds, UTC)
