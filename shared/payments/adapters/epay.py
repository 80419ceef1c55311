"""易支付 (彩虹易支付 and its clones), protocol V1: pages and notifications signed with MD5 over a shared key.

合规警告：许多易支付网关是没有支付牌照的“四方支付”。通过无证机构收款可能违法，资金可能被冻结或卷走，平台也无法替您追回。
本渠道默认关闭；只有在您确认网关合法、并愿意自担风险后，才能在商户条款中写上 allowed: "yes"。

Compliance warning: many of these gateways are payment brokers without a licence. Taking money through them may be
against the law, and the money may be frozen or gone. The adapter is off unless the merchant's terms say
``allowed: "yes"``: say so only after you have made sure of the licence, at your own risk.

The protocol's own weaknesses, which no adapter can mend: MD5; no time in a message, so only ``trade_no`` tells a
replay; the key goes through the address of every question; answers to questions are not signed; a signed page can be
opened and paid for ever; nothing can be closed; a refund has no number of ours; no bill.
Secret of a merchant: ``key``. Terms: ``gateway``, ``pid``, ``allowed``.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from http.client import HTTPException
from typing import Any

from shared.kernel.clock import SHANGHAI
from shared.kernel.money import Money, parse_minor
from shared.payments.errors import BadBill, BadNotification, BillNotReady, ProviderRefused
from shared.payments.provider import (
    Ack,
    Attempt,
    Bill,
    BillLine,
    Charge,
    Intent,
    Keys,
    Merchant,
    Outcome,
    PaymentRequest,
    PaymentStatus,
    RefundNews,
    RefundRequest,
)

CURRENCY = "CNY"  # the protocol has no other
TYPES = {"epay_alipay": "alipay", "epay_wxpay": "wxpay", "epay_qqpay": "qqpay"}
TIMEOUT = 5  # seconds; below the time limit of every function that calls
NOTIFICATION_MAX = 8192  # bytes of a query: longer than any gateway sends
ANSWER_MAX = 65536
AMOUNT_MAX = 10**12  # minor units: beyond any sale, and a number that every store and spreadsheet holds exactly
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # of a payment or a charge: it becomes part of a key
_MONEY = re.compile(r"[0-9]{1,11}\.[0-9]{2}")  # exactly: 1.0 and 1 are signed otherwise
_YEARS = range(2000, 2100)  # at the ends of the calendar a change of zone fails
_UNSIGNED = ("sign", "sign_type")


def signature(fields: Mapping[str, str], key: str) -> str:
    """MD5, in lower-case hex, of the sorted fields that are not empty, and the key right behind them."""
    parts = [f"{name}={value}" for name, value in sorted(fields.items()) if value and name not in _UNSIGNED]
    return hashlib.md5(("&".join(parts) + key).encode()).hexdigest()  # noqa: S324  # the protocol's


@dataclass(frozen=True)
class Epay:
    """keys: newest first; a notification may be signed with any of them, we sign with the first.

    The traits say what a gateway may be trusted with; no document settles them, and clones differ.
    refund_is_repeatable: a second request is not a second refund. As it may be one, a refund is never sent unless the
    order is plainly paid, and after an unknown answer never again: only a person can look into the gateway's console.
    refusal_is_definite: a refund that it says no to has not happened.
    not_opened: what a gateway that takes our key says, under the code -1, of an order whose page nobody has opened yet.
    In any other words it may be the key that it refuses.
    """

    merchant: Merchant
    keys: Sequence[Keys] = field(repr=False)
    refund_is_repeatable: bool = False
    refusal_is_definite: bool = False
    not_opened: str = "订单号不存在"

    @property
    def code(self) -> str:
        return self.merchant.code

    @property
    def fee_e6(self) -> int:
        return self.merchant.fee_e6

    def create(self, request: PaymentRequest, _now: datetime) -> Intent:
        """A signed address, without a call."""
        attempt, terms = request.attempt, self.merchant.terms
        checks = {
            "epay_not_allowed": terms.get("allowed") == "yes",
            "gateway": bool(self._gateway),
            "key": bool(self._key and terms.get("pid")),
            "method": attempt.method in TYPES,
            "currency": attempt.amount.currency == CURRENCY,
            "amount": 0 < attempt.amount.minor <= AMOUNT_MAX,
        }
        for reason, good in checks.items():
            if not good:
                raise ProviderRefused(provider=self.code, reason=reason)
        fields = {
            "pid": terms["pid"],
            "type": TYPES[attempt.method],
            "out_trade_no": attempt.payment_id,
            "notify_url": request.notify_url,
            "return_url": request.return_url,
            # In what is signed nothing tells an & of a value from one between fields.
            "name": attempt.subject.replace("&", "＆"),
            "money": _decimal(attempt.amount),
        }
        fields = {name: value for name, value in fields.items() if value}
        signed = {**fields, "sign": signature(fields, self._key), "sign_type": "MD5"}
        return Intent(redirect_url=f"{self._gateway}/submit.php?{urllib.parse.urlencode(signed)}")

    def parse_notification(self, _headers: Mapping[str, str], raw: bytes, now: datetime) -> Charge | RefundNews | None:
        """raw: the query of a GET, as it came. It has no time in it: what is paid is paid now."""
        try:
            if len(raw) > NOTIFICATION_MAX:
                raise ValueError
            text = raw.decode()
            pairs = urllib.parse.parse_qsl(
                text, keep_blank_values=True, strict_parsing=True, max_num_fields=32, errors="strict"
            )
            fields = dict(pairs)
            if len(fields) != len(pairs) or fields.get("sign_type", "MD5") != "MD5":
                raise ValueError
            if any("&" in value for value in fields.values()):  # it might have been split elsewhere when it was signed
                raise ValueError
            given = fields["sign"].encode()
            keys = [key for held in self.keys if (key := held.get("key"))]
            if not any(hmac.compare_digest(signature(fields, key).encode(), given) for key in keys):
                raise ValueError
            if fields["pid"] != self.merchant.terms.get("pid"):
                raise ValueError
            if fields["trade_status"] != "TRADE_SUCCESS":
                return None
            return _charge(fields, now, text)
        except (ValueError, KeyError):
            raise BadNotification from None

    def ack(self, ok: bool) -> Ack:
        return Ack(200, "success") if ok else Ack(400, "fail")

    def query(self, attempt: Attempt, now: datetime) -> PaymentStatus:
        """PROCESSING until it is paid, opened or not: a signed page serves for ever.

        What is refused in words that we do not know may be a wrong key: UNKNOWN.
        """
        return self._look(attempt.payment_id, now)

    def close(self, attempt: Attempt, now: datetime) -> Outcome:
        """FAILED where it is paid, else what asking says: it cannot be closed, and PROCESSING is the plain truth."""
        outcome = self._look(attempt.payment_id, now).outcome
        return Outcome.FAILED if outcome is Outcome.SUCCEEDED else outcome

    def refund(self, request: RefundRequest, now: datetime) -> Outcome:
        """Sent once; see `refund_is_repeatable`. The caller must know that it has sent it before it sends it."""
        if request.amount.currency != CURRENCY or not 0 < request.amount.minor <= request.charged.minor <= AMOUNT_MAX:
            return Outcome.FAILED
        charges = self._look(request.payment_id, now).charges
        if [charge.provider_no for charge in charges] != [request.provider_no]:
            return Outcome.UNKNOWN
        answer = self._ask("refund", {"trade_no": request.provider_no, "money": _decimal(request.amount)}, post=True)
        if answer is not None and _integer(answer.get("code")) == 1:
            return Outcome.SUCCEEDED
        refused = answer is not None and "code" in answer
        return Outcome.FAILED if refused and self.refusal_is_definite else Outcome.UNKNOWN

    def query_refund(self, _request: RefundRequest, _now: datetime) -> Outcome:
        """Always UNKNOWN: no question tells, and ABSENT would have it sent again."""
        return Outcome.UNKNOWN

    def bill(self, _day: date, _now: datetime) -> Bill:
        """Never ready: ``act=orders`` lists the newest orders, with no day, no refunds and no fees."""
        raise BillNotReady

    def bill_lines(self, _bill: Bill) -> list[BillLine]:
        raise BadBill

    @property
    def _key(self) -> str:
        return self.keys[0].get("key", "") if self.keys else ""

    @property
    def _gateway(self) -> str:
        """Where it is, or nothing where what is said there could be read by others."""
        gateway = self.merchant.terms.get("gateway", "").rstrip("/")
        try:
            address = urllib.parse.urlsplit(gateway)
            plain = address.scheme == "http" and address.hostname == "127.0.0.1"
            return gateway if plain or (address.scheme == "https" and address.hostname) else ""
        except ValueError:
            return ""

    def _look(self, payment_id: str, now: datetime) -> PaymentStatus:
        answer = self._ask("order", {"out_trade_no": payment_id})
        try:
            if answer is not None and _integer(answer["code"]) == -1 and answer["msg"] == self.not_opened:
                return PaymentStatus(Outcome.PROCESSING)
            if answer is None or _integer(answer["code"]) != 1 or answer["out_trade_no"] != payment_id:
                return PaymentStatus(Outcome.UNKNOWN)
            if str(answer.get("pid", self.merchant.terms.get("pid"))) != self.merchant.terms.get("pid"):
                return PaymentStatus(Outcome.UNKNOWN)
            status = _integer(answer["status"])
            if status == 1:
                told = {name: value for name, value in answer.items() if name in _TOLD}
                charge = _charge(answer, _paid_at(answer, now), json.dumps(told, ensure_ascii=False))
                return PaymentStatus(Outcome.SUCCEEDED, [charge])
            return PaymentStatus(Outcome.PROCESSING if status == 0 else Outcome.UNKNOWN)
        except (ValueError, KeyError, TypeError):
            return PaymentStatus(Outcome.UNKNOWN)

    def _ask(self, act: str, fields: Mapping[str, str], *, post: bool = False) -> dict[str, Any] | None:
        """What api.php says, or None where it is unknown what happened.

        The key goes along, and in an address: nothing of the request is ever logged, raised or returned.
        """
        if not self._gateway or not self._key:
            return None
        encoded = urllib.parse.urlencode({"pid": self.merchant.terms.get("pid", ""), "key": self._key, **fields})
        url, body = f"{self._gateway}/api.php?act={act}", None
        if post:
            body = encoded.encode()
        else:
            url += f"&{encoded}"
        try:
            with _OPENER.open(urllib.request.Request(url, body), timeout=TIMEOUT) as answer:  # noqa: S310  # checked
                return dict(json.loads(answer.read(ANSWER_MAX)))
        except (OSError, HTTPException, ValueError, TypeError, RecursionError):
            return None


_TOLD = ("code", "trade_no", "out_trade_no", "type", "pid", "addtime", "endtime", "name", "money", "status")


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows nowhere: the key is for the gateway alone."""

    def redirect_request(self, *_: object) -> None:
        return None


_OPENER = urllib.request.build_opener(_Stay)


def _decimal(amount: Money) -> str:
    return f"{amount.minor // 100}.{amount.minor % 100:02d}"


def _integer(value: object) -> int:
    """Clones write numbers as texts as well."""
    if type(value) is int:
        return value
    if type(value) is str and re.fullmatch(r"-?[0-9]{1,6}", value):
        return int(value)
    raise ValueError


def _paid_at(answer: Mapping[str, Any], now: datetime) -> datetime:
    told = answer.get("endtime")
    if not told:
        return now
    paid_at = datetime.strptime(told, "%Y-%m-%d %H:%M:%S").replace(tzinfo=SHANGHAI)
    if paid_at.year not in _YEARS:
        raise ValueError
    return paid_at


def _charge(fields: Mapping[str, Any], paid_at: datetime, raw: str) -> Charge:
    payment_id, number, money = fields["out_trade_no"], fields["trade_no"], fields["money"]
    if not _NAME.fullmatch(payment_id) or not _NAME.fullmatch(number) or not _MONEY.fullmatch(money):
        raise ValueError
    minor = parse_minor(money)
    if not 0 < minor <= AMOUNT_MAX:
        raise ValueError
    return Charge(payment_id, number, Money(minor, CURRENCY), paid_at, raw)
