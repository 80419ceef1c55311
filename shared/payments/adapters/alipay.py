"""Alipay through its OpenAPI v2 gateway: QR codes, web pages and mobile pages, signed with RSA2 and nothing older.

Done on `cryptography` rather than by a library: python-alipay-sdk sends everything as a query, which logs keep, signs
with the machine's local time and changes what it verifies, and the official one weighs 130 MB.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import re
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from http.client import HTTPException
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from shared.kernel.clock import SHANGHAI
from shared.kernel.money import MINOR_PER_UNIT, Money, parse_minor
from shared.kernel.telemetry import logger
from shared.payments.adapters import alipay_bill
from shared.payments.errors import BadNotification, BillNotReady, ProviderRefused, ProviderSilent, UnknownMethod
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

GATEWAY = "https://openapi.alipay.com/gateway.do"
AMOUNT_MAX = 10**12  # minor units: beyond any sale, and a number that every store and spreadsheet holds exactly
TIMEOUT = 5  # seconds; below the time limit of every function that calls
DOWNLOAD_TIMEOUT = 25  # seconds without a byte; the address of a bill lives for 30
BILL_MAX = 64 * 1024 * 1024
_ANSWER_MAX = 1024 * 1024
_NOTIFICATION_MAX = 64 * 1024
_PEM_FRAME = re.compile(r"-----[A-Z ]+-----")
_UNREADABLE_KEY = "a key of an Alipay merchant is no RSA key"
_LOCAL = "127.0.0.1"
_SUBJECT_MAX = 256
# Alipay forbids the first three in a subject; the others would break the lines of its own bill.
_NOT_IN_A_SUBJECT = re.compile(r"[/=&,\"#\x00-\x1f\x7f]+")

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # of a payment, a charge or a refund: it becomes part of a key
_CURRENCY = re.compile(r"[A-Z]{3}")
_AMOUNT = re.compile(r"[0-9]{1,12}(\.[0-9]{1,2})?")
_MOMENT = re.compile(r"(20[0-9]{2}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{1,6})?")
_FORM_PAIR = re.compile(rb"([A-Za-z0-9_.]{1,64})=((?:[!-$'-<>-~]|%[0-9A-Fa-f]{2})*)")  # no bare %, & or =

_MISSING = "ACQ.TRADE_NOT_EXIST"
_MOVED_ON = {"ACQ.TRADE_STATUS_ERROR", "ACQ.REASON_TRADE_STATUS_INVALID"}  # no longer waits for its buyer
_OVER = {*_MOVED_ON, "ACQ.TRADE_HAS_CLOSE", "ACQ.TRADE_HAS_FINISHED", "ACQ.TRADE_HAS_SUCCESS"}
_OVERLOADED = "ACQ.SYSTEM_ERROR"
# The attempt is there, and may be payable or paid: to be asked about.
_TAKEN = {"ACQ.TRADE_HAS_SUCCESS", "ACQ.CONTEXT_INCONSISTENT"}
_REFUND_REFUSALS = {
    _MISSING,
    *_MOVED_ON,
    "ACQ.REASON_TRADE_BEEN_FREEZEN",
    "ACQ.REASON_TRADE_REFUND_FEE_ERR",
    "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL",
    "ACQ.SELLER_BALANCE_NOT_ENOUGH",
    "ACQ.TRADE_HAS_CLOSE",
    "ACQ.TRADE_HAS_FINISHED",
    "ACQ.TRADE_NOT_ALLOW_REFUND",
}

_BILL_MISSING = {"isp.bill_not_exist", "BILL_NOT_EXIST"}  # as it is, and as it is documented
_ORDINARY = {_MISSING, *_OVER, *_BILL_MISSING}
_SAID = re.compile(rb'"(?:code|sub_code)"\s*:\s*"([A-Za-z0-9_.-]{1,64})"')

_Answer = Mapping[str, Any]


@dataclass(frozen=True)
class Traits:
    """What is not certain about Alipay; a default is the answer that is safe where it is wrong.

    fund_change_proves_refund: ``fund_change=Y`` says that the money went back, as the page of alipay.trade.refund of
    2025 does. Without it each refund is asked for once more.
    refund_query_tells_success_by_amount: a refund that is told with its amount and without ``refund_status`` has
    succeeded. The page of 2018 said so, that of 2024 says the contrary.
    close_kills_unseen: closing a trade that no buyer has opened makes its QR code or page useless. Alipay only says
    that there is no such trade, and a QR code that was not scanned may well be scanned later; without it such a trade
    counts as open until it expires.
    bill_settled_hour: from this hour in Beijing on, a bill that does not exist means a day without trades. Alipay
    gives the same answer before it has made the bill, which it does by nine in the morning as a rule.
    wap_product: the product of a mobile page. Alipay's page says ``QUICK_WAP_WAY``, most integrations send this one.
    """

    fund_change_proves_refund: bool = True
    refund_query_tells_success_by_amount: bool = False
    close_kills_unseen: bool = False
    bill_settled_hour: int = 10
    wap_product: str = "QUICK_WAP_PAY"


TRAITS = Traits()


@dataclass(frozen=True)
class Alipay:
    """One merchant of Alipay's.

    keys: newest first. Each has `private_key` (ours) and `alipay_key` (theirs), as PEM or as the bare base64 that
    Alipay's tools print. The newest signs, any verifies: while keys are changed two are valid at once.
    """

    merchant: Merchant
    keys: Sequence[Keys] = field(repr=False)
    traits: Traits = TRAITS

    refund_is_repeatable = True

    def __post_init__(self) -> None:
        if not _trusted(self._gateway, local=True) or not self._app_id or not self._seller_id:
            raise ValueError(f"the terms of merchant {self.code} need app_id, seller_id and a gateway behind https")

    @property
    def code(self) -> str:
        return self.merchant.code

    @property
    def fee_e6(self) -> int:
        return self.merchant.fee_e6

    @property
    def _app_id(self) -> str:
        return self.merchant.terms.get("app_id", "")

    @property
    def _seller_id(self) -> str:
        return self.merchant.terms.get("seller_id", "")

    @property
    def _gateway(self) -> str:
        return self.merchant.terms.get("gateway", GATEWAY)

    def create(self, request: PaymentRequest, now: datetime) -> Intent:
        attempt = request.attempt
        if attempt.amount.currency != "CNY":
            raise ProviderRefused(provider=self.code, reason="currency")
        trade = {
            "out_trade_no": attempt.payment_id,
            "total_amount": _yuan(attempt.amount),
            "subject": _subject(attempt.subject) or attempt.payment_id,
            "time_expire": _beijing(attempt.expires_at),
        }
        addresses = {"notify_url": request.notify_url, "return_url": request.return_url}
        match attempt.method:
            case "alipay_qr":
                return Intent(qr_url=self._qr_code(trade, request.notify_url, now))
            case "alipay_page":
                page = self._form("alipay.trade.page.pay", trade | {"product_code": "FAST_INSTANT_TRADE_PAY"}, now)
            case "alipay_wap":
                page = self._form("alipay.trade.wap.pay", trade | {"product_code": self.traits.wap_product}, now)
            case _:
                raise UnknownMethod(payment_method=attempt.method[:32])
        return Intent(redirect_url=f"{self._gateway}?{self._signed(page | addresses)}")

    def parse_notification(
        self,
        headers: Mapping[str, str],  # noqa: ARG002  # nothing in them is signed
        raw: bytes,
        now: datetime,  # noqa: ARG002  # repeats come for a day and look like the first
    ) -> Charge | RefundNews | None:
        fields = self._verified(raw)
        if (fields.get("app_id"), fields.get("seller_id")) != (self._app_id, self._seller_id):
            raise BadNotification
        try:
            if _refunded(fields):
                refund_id = fields.get("out_biz_no")  # none where somebody refunded by hand at Alipay's
                return RefundNews(_name(refund_id)) if refund_id else None
            if fields.get("trade_status") in {"TRADE_SUCCESS", "TRADE_FINISHED"}:
                return _charge(fields, fields["gmt_payment"])
        except (ValueError, KeyError):
            raise BadNotification from None
        return None

    def ack(self, ok: bool) -> Ack:
        return Ack(body="success" if ok else "fail")

    def query(self, attempt: Attempt, now: datetime) -> PaymentStatus:
        answer = self._call("alipay.trade.query", {"out_trade_no": attempt.payment_id}, now)
        if _sub_code(answer) == _MISSING:
            # Alipay knows of a trade once its buyer has opened it.
            return PaymentStatus(Outcome.PROCESSING if now < attempt.expires_at else Outcome.ABSENT)
        if not answer or answer.get("code") != "10000" or answer.get("out_trade_no") != attempt.payment_id:
            return PaymentStatus(Outcome.UNKNOWN)
        status = answer.get("trade_status")
        if status == "WAIT_BUYER_PAY":
            return PaymentStatus(Outcome.PROCESSING)
        if status == "TRADE_CLOSED" and not _was_paid(answer):
            return PaymentStatus(Outcome.FAILED)
        if status not in {"TRADE_SUCCESS", "TRADE_FINISHED", "TRADE_CLOSED"}:  # what was paid and refunded is closed
            return PaymentStatus(Outcome.UNKNOWN)
        try:
            return PaymentStatus(Outcome.SUCCEEDED, [_charge(answer, answer["send_pay_date"])])
        except (ValueError, KeyError, TypeError):
            return PaymentStatus(Outcome.UNKNOWN)

    def close(self, attempt: Attempt, now: datetime) -> Outcome:
        answer = self._call("alipay.trade.close", {"out_trade_no": attempt.payment_id}, now)
        if answer and answer.get("code") == "10000":
            same = answer.get("out_trade_no", attempt.payment_id) == attempt.payment_id
            return Outcome.SUCCEEDED if same else Outcome.UNKNOWN
        if _sub_code(answer) == _MISSING:
            still_open = now < attempt.expires_at and not self.traits.close_kills_unseen
            return Outcome.PROCESSING if still_open else Outcome.ABSENT
        if _sub_code(answer) in _OVER:  # paid, or closed before
            closed = {Outcome.SUCCEEDED: Outcome.FAILED, Outcome.FAILED: Outcome.SUCCEEDED}
            return closed.get(self.query(attempt, now).outcome, Outcome.UNKNOWN)
        return Outcome.UNKNOWN

    def refund(self, request: RefundRequest, now: datetime) -> Outcome:
        wanted = {
            "trade_no": request.provider_no,
            "out_request_no": request.refund_id,
            "refund_amount": _yuan(request.amount),
            "refund_reason": request.reason[:_SUBJECT_MAX],
        }
        if request.amount.currency != "CNY":
            wanted["refund_currency"] = request.amount.currency
        answer = self._call("alipay.trade.refund", wanted, now)
        if answer and answer.get("code") == "10000" and answer.get("trade_no") == request.provider_no:
            if answer.get("fund_change") == "Y" and self.traits.fund_change_proves_refund:
                return Outcome.SUCCEEDED
            # A repeat changes no funds though the first call did; and a refund takes seconds until it can be asked for.
            asked = self.query_refund(request, now)
            return Outcome.PROCESSING if asked is Outcome.ABSENT else asked
        if _sub_code(answer) in _REFUND_REFUSALS:
            # A repeat may be refused though the first call went through.
            asked = self.query_refund(request, now)
            return Outcome.FAILED if asked is Outcome.ABSENT else asked
        return Outcome.UNKNOWN

    def query_refund(self, request: RefundRequest, now: datetime) -> Outcome:
        wanted = {"trade_no": request.provider_no, "out_request_no": request.refund_id}
        answer = self._call("alipay.trade.fastpay.refund.query", wanted, now)
        if _sub_code(answer) == _MISSING:
            return Outcome.ABSENT
        if not answer or answer.get("code") != "10000":
            return Outcome.UNKNOWN
        status, amount = answer.get("refund_status"), answer.get("refund_amount")
        if not status and not amount:
            return Outcome.ABSENT
        try:
            if answer.get("out_request_no") != request.refund_id or _minor(amount) != request.amount.minor:
                return Outcome.UNKNOWN
        except (ValueError, TypeError):
            return Outcome.UNKNOWN
        told = status == "REFUND_SUCCESS" or (not status and self.traits.refund_query_tells_success_by_amount)
        return Outcome.SUCCEEDED if told else Outcome.UNKNOWN

    def bill(self, day: date, now: datetime) -> Bill:
        tomorrow = datetime(day.year, day.month, day.day, tzinfo=SHANGHAI) + timedelta(days=1)
        if now < tomorrow:
            raise BillNotReady
        wanted = {"bill_type": "trade", "bill_date": day.isoformat()}
        answer = self._call("alipay.data.dataservice.bill.downloadurl.query", wanted, now)
        if _sub_code(answer) in _BILL_MISSING:
            if now < tomorrow + timedelta(hours=self.traits.bill_settled_hour):
                raise BillNotReady
            return Bill(b"", "zip")
        url = str(answer.get("bill_download_url", "")) if answer and answer.get("code") == "10000" else ""
        local = urllib.parse.urlsplit(self._gateway).hostname == _LOCAL
        if not local and url.startswith("http://"):
            url = "https" + url.removeprefix("http")  # the bill names our buyers: never in the clear
        if not _trusted(url, local=local):
            raise ProviderSilent(provider=self.code)
        content = _fetch(urllib.request.Request(url), BILL_MAX, DOWNLOAD_TIMEOUT)  # noqa: S310  # see _trusted
        # An address that has died shows a page, and nothing but its own end says that a file has come whole.
        if content is None or not zipfile.is_zipfile(io.BytesIO(content)):
            raise ProviderSilent(provider=self.code)
        return Bill(content, "zip")

    def bill_lines(self, bill: Bill) -> list[BillLine]:
        return alipay_bill.lines(bill.content)

    def _qr_code(self, trade: Mapping[str, str], notify_url: str, now: datetime) -> str:
        answer = self._call("alipay.trade.precreate", trade, now, notify_url=notify_url)
        reason = _sub_code(answer)
        if reason and reason not in {_OVERLOADED, *_TAKEN}:
            raise ProviderRefused(provider=self.code, reason=reason[:64])
        if not answer or answer.get("code") != "10000" or answer.get("out_trade_no") != trade["out_trade_no"]:
            raise ProviderSilent(provider=self.code)
        code = answer.get("qr_code")
        if not isinstance(code, str) or not code:
            raise ProviderSilent(provider=self.code)
        return code

    def _call(self, method: str, content: Mapping[str, str], now: datetime, notify_url: str = "") -> _Answer | None:
        """The verified answer, or None where it is unknown what happened."""
        body = self._signed(self._form(method, content, now) | {"notify_url": notify_url}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded;charset=utf-8"}
        request = urllib.request.Request(self._gateway, body, headers, method="POST")  # noqa: S310  # see __post_init__
        raw = _fetch(request, _ANSWER_MAX, TIMEOUT)
        answer = None if raw is None else _answer(raw, method, self._signed_by_alipay)
        if not answer or (answer.get("code") != "10000" and _sub_code(answer) not in _ORDINARY):
            # Wrong settings look like this too, often without a signature, and stay until somebody reads it.
            said = _SAID.findall(raw or b"")[:4]
            logger.warning(
                "no", provider=self.code, method=method, signed=bool(answer), said=[*map(bytes.decode, said)]
            )
        return answer

    def _form(self, method: str, content: Mapping[str, str], now: datetime) -> dict[str, str]:
        content = {name: value for name, value in content.items() if value}
        return {
            "app_id": self._app_id,
            "method": method,
            "format": "JSON",
            "charset": "utf-8",
            "sign_type": "RSA2",
            "timestamp": _beijing(now),
            "version": "1.0",
            "biz_content": json.dumps(content, ensure_ascii=False, separators=(",", ":")),
        }

    def _signed(self, form: Mapping[str, str]) -> str:
        given = sorted((name, value) for name, value in form.items() if value)
        text = "&".join(f"{name}={value}" for name, value in given)
        signature = _private_key(self.keys[0]["private_key"]).sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        return urllib.parse.urlencode([*given, ("sign", base64.b64encode(signature).decode())])

    def _signed_by_alipay(self, message: bytes, sign: object) -> bool:
        try:
            signature = base64.b64decode(str(sign), validate=True)
        except (binascii.Error, ValueError):
            return False
        if base64.b64encode(signature).decode() != sign:  # the last letter has bits that nobody reads
            return False
        return any(_verifies(_public_key(keys["alipay_key"]), signature, message) for keys in self.keys)

    def _verified(self, raw: bytes) -> dict[str, str]:
        """The fields of a signed form that say something, or BadNotification."""
        fields = _form_fields(raw)
        charset = fields.get("charset", b"utf-8").decode("ascii", "replace").lower()
        sign = fields.pop("sign", b"").decode("ascii", "replace")
        if fields.pop("sign_type", b"") != b"RSA2" or charset not in {"utf-8", "gbk"}:
            raise BadNotification
        spoken = {name: value for name, value in fields.items() if value}
        # Libraries differ in whether an empty field is signed; it says nothing in either case.
        if not any(self._signed_by_alipay(_sorted_pairs(form), sign) for form in (fields, spoken)):
            raise BadNotification
        try:
            return {name: value.decode(charset) for name, value in spoken.items()}
        except UnicodeDecodeError:
            raise BadNotification from None


def _form_fields(raw: bytes) -> dict[str, bytes]:
    if len(raw) > _NOTIFICATION_MAX:
        raise BadNotification
    fields: dict[str, bytes] = {}
    for pair in raw.split(b"&"):
        found = _FORM_PAIR.fullmatch(pair)
        if not found or (name := found[1].decode()) in fields:
            raise BadNotification
        fields[name] = urllib.parse.unquote_to_bytes(found[2].replace(b"+", b" "))
    return fields


def _sorted_pairs(fields: Mapping[str, bytes]) -> bytes:
    return b"&".join(name.encode() + b"=" + fields[name] for name in sorted(fields))


def _answer(raw: bytes, method: str, signed: Callable[[bytes, object], bool]) -> _Answer | None:
    """What an answer says, if its signature is over exactly the letters that say it."""
    try:
        text = raw.decode()
        spans = _members(text)
        # The two names never come together: which of them was signed would be open.
        [name] = spans.keys() & {f"{method.replace('.', '_')}_response", "error_response"}
        sign = json.loads(spans["sign"])
        # Their gateway may escape slashes after it has signed; their own library looks at both forms.
        for content in (spans[name], spans[name].replace("\\/", "/")):
            if isinstance(sign, str) and signed(content.encode(), sign):
                answer = json.loads(content, parse_float=str, parse_int=str)
                return answer if isinstance(answer, dict) else None
    except (ValueError, KeyError, RecursionError):
        pass
    return None


def _members(text: str) -> dict[str, str]:
    """The members of a JSON object, each in the very letters it is written in; else ValueError."""
    read = json.JSONDecoder().raw_decode
    found: dict[str, str] = {}
    place = _expect("{", text, 0)
    while True:
        name, end = read(text, place)
        start = _expect(":", text, end)
        _, end = read(text, start)
        if not isinstance(name, str) or name in found:
            raise ValueError
        found[name] = text[start:end]
        place = _skip(text, end)
        if text[place : place + 1] != ",":
            break
        place = _skip(text, place + 1)
    if _expect("}", text, place) != len(text):
        raise ValueError
    return found


def _expect(letter: str, text: str, place: int) -> int:
    place = _skip(text, place)
    if text[place : place + 1] != letter:
        raise ValueError
    return _skip(text, place + 1)


def _skip(text: str, place: int) -> int:
    while text[place : place + 1] in {" ", "\t", "\r", "\n"}:
        place += 1
    return place


def _sub_code(answer: _Answer | None) -> str:
    """Why the business said no; nothing where it did not, or where it was the gateway."""
    return str(answer.get("sub_code") or "") if answer and answer.get("code") == "40004" else ""


def _charge(message: Mapping[str, str], paid_at: str) -> Charge:
    currency = message.get("trans_currency", "CNY")
    if not _CURRENCY.fullmatch(currency):
        raise ValueError
    return Charge(
        payment_id=_name(message["out_trade_no"]),
        provider_no=_name(message["trade_no"]),
        amount=Money(_minor(message["total_amount"]), currency),
        paid_at=_moment(paid_at),
        raw=json.dumps({name: value for name, value in message.items() if not _personal(name)}, ensure_ascii=False),
    )


def _personal(name: str) -> bool:
    return name.startswith("buyer_") or name == "open_id"


def _refunded(fields: Mapping[str, str]) -> bool:
    fee = fields.get("refund_fee")
    return "out_biz_no" in fields or (fee is not None and fee.strip("0.") != "")


def _was_paid(answer: _Answer) -> bool:
    amounts = (str(answer.get(name) or "") for name in ("receipt_amount", "buyer_pay_amount"))
    return bool(answer.get("send_pay_date")) or any(amount.strip("0.") for amount in amounts)


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError
    return text


def _minor(text: Any) -> int:
    if not _AMOUNT.fullmatch(text) or not 0 < (minor := parse_minor(text)) <= AMOUNT_MAX:
        raise ValueError
    return minor


def _moment(text: str) -> datetime:
    found = _MOMENT.fullmatch(text)
    if not found:
        raise ValueError
    return datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=SHANGHAI).astimezone(UTC)


def _beijing(moment: datetime) -> str:
    return moment.astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M:%S")


def _yuan(amount: Money) -> str:
    units, minor = divmod(amount.minor, MINOR_PER_UNIT)
    return f"{units}.{minor:02d}"


def _subject(text: str) -> str:
    return _NOT_IN_A_SUBJECT.sub(" ", text).strip()[:_SUBJECT_MAX]


def _trusted(url: str, *, local: bool) -> bool:
    """Whether it is behind https, or on this machine where that is allowed."""
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        return False
    behind_https = parts.scheme == "https" and bool(parts.hostname)
    return behind_https or (local and parts.scheme == "http" and parts.hostname == _LOCAL)


class _NoDetour(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Alipay sends nobody elsewhere; who does is not Alipay."""


_opener = urllib.request.build_opener(_NoDetour)


def _fetch(request: urllib.request.Request, size_max: int, timeout: int) -> bytes | None:
    try:
        with _opener.open(request, timeout=timeout) as answer:
            content: bytes = answer.read(size_max + 1)
    except (OSError, HTTPException, ValueError):
        return None
    return content if len(content) <= size_max else None


def _verifies(key: rsa.RSAPublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


@lru_cache(maxsize=16)  # reading a private key takes longer than signing with it
def _private_key(text: str) -> rsa.RSAPrivateKey:
    key = _key(text, lambda der: serialization.load_der_private_key(der, None))
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError(_UNREADABLE_KEY)
    return key


@lru_cache(maxsize=16)
def _public_key(text: str) -> rsa.RSAPublicKey:
    key = _key(text, serialization.load_der_public_key)
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError(_UNREADABLE_KEY)
    return key


def _key(text: str, read: Callable[[bytes], object]) -> object:
    """Of a PEM or of its bare base64, also where the line ends were lost on the way."""
    try:
        return read(base64.b64decode("".join(_PEM_FRAME.sub("", text).split()), validate=True))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None  # the reason may quote the key
