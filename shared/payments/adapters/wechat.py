"""WeChat Pay, APIv3, with the platform's public key configured beside ours: nothing is ever fetched to verify.

Protocol: RSA-SHA256 (PKCS#1 v1.5) over ``METHOD\\npath?query\\ntime\\nnonce\\nbody\\n`` for our calls and over
``time\\nnonce\\nbody\\n`` for its answers and notifications, whose content AES-256-GCM seals with the APIv3 key.

Why its Python library (wechatpayv3) makes none of the calls: it asks WeChat for certificates when an answer names a
serial it does not know, knows one platform key where two are valid during a rotation, accepts answers of any age and
refusals without a signature, verifies decoded text instead of bytes, and reads the clock itself. What would be left of
it is the signature, which is ten lines of `cryptography`.

WeChat signs every answer to a caller whose own signature it accepts, refusals too; therefore an answer without a
valid signature is none. 401 says that ours was not accepted, and is the only exception.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import secrets
import urllib.request
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from http.client import HTTPException, HTTPResponse
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from shared.kernel import clock
from shared.kernel.money import Money
from shared.payments.adapters import wechat_bill
from shared.payments.errors import (
    BadNotification,
    BillNotReady,
    NoPayer,
    ProviderRefused,
    ProviderSilent,
    UnknownMethod,
)
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

GATEWAY = "https://api.mch.weixin.qq.com"
FAMILY = ".mch.weixin.qq.com"  # whose hosts hand out bills
WINDOW = 300  # seconds a signed message stays fresh, as WeChat's own SDK has it
TIMEOUT = 5  # seconds; below the time limit of every function that calls
ANSWER_MAX = 2**20
BILL_MAX = 2**26  # bytes of a bill, as it comes and unpacked: some 200 000 payments a day
AMOUNT_MAX = 10**12  # minor units: beyond any sale, and a number that every store and spreadsheet holds exactly
DESCRIPTION_MAX = 127  # WeChat does not say of what: bytes is the narrower reading
REASON_MAX = 80  # likewise
BILLS_READY = time(10, tzinfo=clock.SHANGHAI)  # on the next day

_NAME = re.compile(r"[A-Za-z0-9_*|-]{1,64}")  # of a payment, a refund or a charge: it becomes part of a key
_CURRENCY = re.compile(r"[A-Z]{3}")
_YEARS = range(2000, 2100)  # at the ends of the calendar a change of zone fails
_STAMP = re.compile(r"[0-9]{1,12}")
_NONCE = re.compile(r"[!-~]{1,128}")  # no end of line: it would move the border between nonce and body
_URL = re.compile(r"[!-~]{1,2048}")

# What is stored of a message about a payment. The buyer's openid, coupons and device are not.
_KEPT = (
    "appid", "mchid", "out_trade_no", "transaction_id", "trade_type", "trade_state", "bank_type", "success_time",
)  # fmt: skip

_STATES = {
    "SUCCESS": Outcome.SUCCEEDED,
    "REFUND": Outcome.SUCCEEDED,  # it was paid; what came after is told by its refunds
    "NOTPAY": Outcome.PROCESSING,
    "USERPAYING": Outcome.PROCESSING,
    "CLOSED": Outcome.FAILED,
    "PAYERROR": Outcome.PROCESSING,  # one try has failed; there may be another until it is closed
    "REVOKED": Outcome.FAILED,
}
_REFUND_STATES = {
    "PROCESSING": Outcome.PROCESSING,
    "SUCCESS": Outcome.SUCCEEDED,
    "CLOSED": Outcome.FAILED,
    "ABNORMAL": Outcome.FAILED,  # the buyer's card is gone: a person settles it with WeChat
}

# Codes without their underscores: WeChat's pages spell the same one ORDERPAID and ORDER_PAID.
_ABSENT = frozenset({"ORDERNOTEXIST", "RESOURCENOTEXISTS"})
_NO_REFUND = frozenset({"RESOURCENOTEXISTS", "REFUNDNOTEXIST", "REFUNDNOTEXISTS"})
_PAID = "ORDERPAID"
_CLOSED = "ORDERCLOSED"
_TAKEN = frozenset({_PAID, "OUTTRADENOUSED"})  # the attempt is there, and may be payable: to be asked about
_REFUND_REFUSED = frozenset(
    {"NOTENOUGH", "INVALIDREQUEST", "PARAMERROR", "USERACCOUNTABNORMAL", "RESOURCENOTEXISTS"}
)  # all others say something of us or of the moment, not of this refund

_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


class _Answer(NamedTuple):
    ok: bool
    body: Mapping[str, Any]

    @property
    def reason(self) -> str:
        return str(self.body.get("code", ""))[:64]

    @property
    def code(self) -> str:
        return self.reason.replace("_", "")


@dataclass(frozen=True)
class WeChat:
    """terms: appid, mchid and perhaps gateway. keys: newest first; those of a rotation are all valid at once.

    Of each: serial and private_key are our certificate's, platform_key_id and platform_key WeChat's public key, as
    merchants find them on its platform, and apiv3_key what they set there.
    """

    merchant: Merchant
    keys: Sequence[Keys] = field(repr=False)

    refund_is_repeatable = True

    def __post_init__(self) -> None:
        gateway = urlsplit(self._gateway)
        if gateway.scheme != "https" and (gateway.scheme, gateway.hostname) != ("http", "127.0.0.1"):
            raise ValueError(f"the gateway of {self.code} must be https")
        if not self.keys:
            raise ValueError(f"{self.code} has no keys")

    @property
    def code(self) -> str:
        return self.merchant.code

    @property
    def fee_e6(self) -> int:
        return self.merchant.fee_e6

    def create(self, request: PaymentRequest, now: datetime) -> Intent:
        attempt = request.attempt
        body: dict[str, object] = {
            "appid": self._appid,
            "mchid": self._mchid,
            "description": _description(attempt.subject),
            "out_trade_no": attempt.payment_id,
            "time_expire": attempt.expires_at.astimezone(clock.SHANGHAI).isoformat(timespec="seconds"),
            "notify_url": request.notify_url,
            "amount": {"total": attempt.amount.minor, "currency": attempt.amount.currency},
        }
        match attempt.method:
            case "wechat_native":
                return Intent(qr_url=self._ordered("native", "code_url", body, now))
            case "wechat_jsapi":
                if not request.payer:
                    raise NoPayer(payment_method=attempt.method)
                body["payer"] = {"openid": request.payer}
                return Intent(client_params=self._client_params(self._ordered("jsapi", "prepay_id", body, now), now))
            case "wechat_h5":
                body["scene_info"] = {"payer_client_ip": request.address, "h5_info": {"type": "Wap"}}
                return Intent(redirect_url=self._ordered("h5", "h5_url", body, now))
        raise UnknownMethod(payment_method=attempt.method)

    def parse_notification(self, headers: Mapping[str, str], raw: bytes, now: datetime) -> Charge | RefundNews | None:
        try:
            self._verify({name.lower(): value for name, value in headers.items()}, raw, now)
            envelope = _object(json.loads(raw))
            event = envelope["event_type"]
            if event == "TRANSACTION.SUCCESS":
                message = self._unseal(envelope["resource"])
                if message["trade_state"] != "SUCCESS":
                    raise BadNotification
                return self._charge(message)
            if event.startswith("REFUND."):
                message = self._unseal(envelope["resource"])
                if message["mchid"] != self._mchid:
                    raise BadNotification
                return RefundNews(_name(message["out_refund_no"]))
        except _UNREADABLE:
            raise BadNotification from None
        return None

    def ack(self, ok: bool) -> Ack:
        return Ack(204) if ok else Ack(400, '{"code":"FAIL","message":"失败"}', "application/json")

    def query(self, attempt: Attempt, now: datetime) -> PaymentStatus:
        answer = self._call("GET", f"{_order(attempt.payment_id)}?mchid={quote(self._mchid)}", None, now)
        if answer is None or not answer.ok:
            return PaymentStatus(Outcome.ABSENT if answer and answer.code in _ABSENT else Outcome.UNKNOWN)
        try:
            if answer.body["out_trade_no"] != attempt.payment_id:
                return PaymentStatus(Outcome.UNKNOWN)
            outcome = _STATES.get(answer.body["trade_state"], Outcome.UNKNOWN)
            return PaymentStatus(outcome, [self._charge(answer.body)] if outcome is Outcome.SUCCEEDED else ())
        except (*_UNREADABLE, BadNotification):
            return PaymentStatus(Outcome.UNKNOWN)

    def close(self, attempt: Attempt, now: datetime) -> Outcome:
        answer = self._call("POST", _order(attempt.payment_id) + "/close", {"mchid": self._mchid}, now)
        if answer is None:
            return Outcome.UNKNOWN
        if answer.ok or answer.code == _CLOSED:
            return Outcome.SUCCEEDED
        if answer.code == _PAID:
            return Outcome.FAILED
        return Outcome.ABSENT if answer.code in _ABSENT else Outcome.UNKNOWN

    def refund(self, request: RefundRequest, now: datetime) -> Outcome:
        body: dict[str, object] = {
            "transaction_id": request.provider_no,
            "out_refund_no": request.refund_id,
            "amount": {
                "refund": request.amount.minor,
                "total": request.charged.minor,
                "currency": request.amount.currency,
            },
        }
        if request.reason:
            body["reason"] = _cut(request.reason, REASON_MAX)
        answer = self._call("POST", "/v3/refund/domestic/refunds", body, now)
        if answer is None:
            return Outcome.UNKNOWN
        if answer.ok:
            return _refund_outcome(answer.body, request)
        if answer.code not in _REFUND_REFUSED:
            return Outcome.UNKNOWN
        # INVALID_REQUEST is also what a second request under the id hears, if it comes amiss: whether the first one
        # took is what ends the doubt, for after FAILED a person may pay by hand.
        known = self.query_refund(request, now)
        return Outcome.FAILED if known is Outcome.ABSENT else known

    def query_refund(self, request: RefundRequest, now: datetime) -> Outcome:
        path = f"/v3/refund/domestic/refunds/{quote(request.refund_id, safe='')}"
        answer = self._call("GET", path, None, now)
        if answer is None:
            return Outcome.UNKNOWN
        if answer.ok:
            return _refund_outcome(answer.body, request)
        return Outcome.ABSENT if answer.code in _NO_REFUND else Outcome.UNKNOWN

    def bill(self, day: date, now: datetime) -> Bill:
        # Asked earlier it might say of a day with money that there is no statement.
        if now < datetime.combine(day + timedelta(days=1), BILLS_READY):
            raise BillNotReady
        path = f"/v3/bill/tradebill?bill_date={day.isoformat()}&bill_type=ALL&tar_type=GZIP"
        answer = self._call("GET", path, None, now)
        if answer and answer.code == "NOSTATEMENTEXIST":
            return Bill(b"", "csv")
        if answer and answer.code == "STATEMENTCREATING":
            raise BillNotReady
        if answer and answer.ok:
            content = self._download(answer.body, now)
            if content is not None:
                return Bill(content, "csv")
        raise ProviderSilent(provider=self.code)

    def bill_lines(self, bill: Bill) -> list[BillLine]:
        return wechat_bill.lines(bill.content, self._mchid) if bill.content else []

    @property
    def _appid(self) -> str:
        return self.merchant.terms["appid"]

    @property
    def _mchid(self) -> str:
        return self.merchant.terms["mchid"]

    @property
    def _gateway(self) -> str:
        return self.merchant.terms.get("gateway", GATEWAY).rstrip("/")

    def _ordered(self, kind: str, name: str, body: Mapping[str, object], now: datetime) -> str:
        answer = self._call("POST", f"/v3/pay/transactions/{kind}", body, now)
        if answer and answer.ok and isinstance(answer.body.get(name), str) and answer.body[name]:
            return str(answer.body[name])
        if answer and not answer.ok and answer.reason and answer.code not in _TAKEN:
            raise ProviderRefused(provider=self.code, reason=answer.reason)
        raise ProviderSilent(provider=self.code)

    def _client_params(self, prepay_id: str, now: datetime) -> Mapping[str, str]:
        stamp, nonce, package = str(int(now.timestamp())), secrets.token_hex(16), f"prepay_id={prepay_id}"
        return {
            "appId": self._appid,
            "timeStamp": stamp,
            "nonceStr": nonce,
            "package": package,
            "signType": "RSA",
            "paySign": self._sign(f"{self._appid}\n{stamp}\n{nonce}\n{package}\n".encode()),
        }

    def _charge(self, message: Mapping[str, Any]) -> Charge:
        """Raises BadNotification if it is not ours, ValueError and its like if it is not in the documented form."""
        if message["mchid"] != self._mchid or message["appid"] != self._appid:
            raise BadNotification
        # Left out it is CNY: merchants of this API are paid in nothing else.
        amount, currency = message["amount"]["total"], message["amount"].get("currency", "CNY")
        if type(amount) is not int or not 0 < amount <= AMOUNT_MAX or not _CURRENCY.fullmatch(currency):
            raise ValueError
        paid_at = clock.parse(message["success_time"])
        if paid_at.year not in _YEARS:
            raise ValueError
        kept = {name: message[name] for name in _KEPT if name in message}
        kept["amount"] = {"total": amount, "currency": currency}
        return Charge(
            payment_id=_name(message["out_trade_no"]),
            provider_no=_name(message["transaction_id"]),
            amount=Money(amount, currency),
            paid_at=paid_at,
            raw=json.dumps(kept),
        )

    def _download(self, message: Mapping[str, Any], now: datetime) -> bytes | None:
        """The file that a signed answer names, by the hash that it gives: the file itself comes without a signature."""
        url, kind, digest = message.get("download_url"), message.get("hash_type"), message.get("hash_value")
        if not isinstance(url, str) or not isinstance(digest, str) or kind != "SHA1" or not self._hands_out_bills(url):
            return None
        reply = self._send("GET", url, b"", now, BILL_MAX)
        content = _unpacked(reply.raw) if reply and reply.status == 200 else None
        if content is None or hashlib.sha1(content, usedforsecurity=False).hexdigest() != digest.lower():
            return None
        return content

    def _hands_out_bills(self, url: str) -> bool:
        if not _URL.fullmatch(url):
            return False
        try:
            there, gateway = urlsplit(url), urlsplit(self._gateway)
            host = there.hostname or ""
        except ValueError:
            return False
        if (there.scheme, there.netloc) == (gateway.scheme, gateway.netloc):
            return True
        return there.scheme == "https" and there.netloc == host and host.endswith(FAMILY)

    def _call(self, method: str, path: str, body: Mapping[str, object] | None, now: datetime) -> _Answer | None:
        """What WeChat decided, or None where that is unknown."""
        reply = self._send(method, self._gateway + path, json.dumps(body).encode() if body else b"", now, ANSWER_MAX)
        if reply is None:
            return None
        if reply.status == 401:
            return _Answer(False, {"code": "SIGN_ERROR"})
        try:
            self._verify(reply.headers, reply.raw, now)
            answer = _Answer(reply.status in range(200, 300), _object(json.loads(reply.raw)) if reply.raw else {})
        except (*_UNREADABLE, BadNotification):
            return None
        refused = reply.status in range(400, 500) and reply.status != 429
        return answer if answer.ok or refused else None

    def _send(self, method: str, url: str, body: bytes, now: datetime, size_max: int) -> _Reply | None:
        stamp, nonce = str(int(now.timestamp())), secrets.token_hex(16)
        there = urlsplit(url)
        path = url.removeprefix(f"{there.scheme}://{there.netloc}")
        signature = self._sign(f"{method}\n{path}\n{stamp}\n{nonce}\n".encode() + body + b"\n")
        newest = self.keys[0]
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/json",
            "User-Agent": "kaquan",
            "Wechatpay-Serial": newest["platform_key_id"],  # with which of its keys it shall sign the answer
            "Authorization": (
                f'WECHATPAY2-SHA256-RSA2048 mchid="{self._mchid}",nonce_str="{nonce}",timestamp="{stamp}",'
                f'serial_no="{newest["serial"]}",signature="{signature}"'
            ),
        }
        request = urllib.request.Request(url, body or None, headers, method=method)  # noqa: S310  # checked above
        try:
            with _OPENER.open(request, timeout=TIMEOUT) as answer:
                raw = answer.read(size_max)
                return _Reply(answer.status, {name.lower(): value for name, value in answer.headers.items()}, raw)
        except (OSError, HTTPException, ValueError):
            return None

    def _sign(self, message: bytes) -> str:
        return base64.b64encode(_private(self.keys[0]["private_key"]).sign(message, PKCS1v15(), SHA256())).decode()

    def _verify(self, headers: Mapping[str, str], raw: bytes, now: datetime) -> None:
        """Raises BadNotification, or ValueError and its like; headers by lower-case name."""
        serial = headers.get("wechatpay-serial")
        ours = [keys["platform_key"] for keys in self.keys if keys["platform_key_id"] == serial]
        stamp, nonce = headers.get("wechatpay-timestamp", ""), headers.get("wechatpay-nonce", "")
        if not ours or not _STAMP.fullmatch(stamp) or not _NONCE.fullmatch(nonce):
            raise BadNotification
        if abs(int(stamp) - now.timestamp()) > WINDOW:
            raise BadNotification
        signature = _decoded(headers.get("wechatpay-signature", ""))
        message = f"{stamp}\n{nonce}\n".encode() + raw + b"\n"
        if not any(_signed(_public(key), signature, message) for key in ours):
            raise BadNotification

    def _unseal(self, resource: Mapping[str, Any]) -> Mapping[str, Any]:
        if resource["algorithm"] != "AEAD_AES_256_GCM":
            raise BadNotification
        sealed, nonce = _decoded(resource["ciphertext"]), resource["nonce"].encode()
        bound = (resource.get("associated_data") or "").encode()
        for keys in self.keys:
            try:
                return _object(json.loads(AESGCM(keys["apiv3_key"].encode()).decrypt(nonce, sealed, bound)))
            except InvalidTag:
                continue
        raise BadNotification


class _Reply(NamedTuple):
    status: int
    headers: Mapping[str, str]
    raw: bytes


class _AnyStatus(urllib.request.HTTPErrorProcessor):
    """Refusals are answers like others, and nobody is sent elsewhere with our signature."""

    def http_response(self, request: urllib.request.Request, response: HTTPResponse) -> HTTPResponse:  # noqa: ARG002  # urllib calls it
        return response

    https_response = http_response


_OPENER = urllib.request.build_opener(_AnyStatus)


@lru_cache(maxsize=16)
def _private(pem: str) -> RSAPrivateKey:
    key = load_pem_private_key(pem.encode(), None)
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("not an RSA key")
    return key


@lru_cache(maxsize=16)
def _public(pem: str) -> RSAPublicKey:
    key = load_pem_public_key(pem.encode())
    if not isinstance(key, RSAPublicKey):
        raise ValueError("not an RSA key")
    return key


def _signed(key: RSAPublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message, PKCS1v15(), SHA256())
    except InvalidSignature:
        return False
    return True


def _decoded(text: str) -> bytes:
    """The only bytes that encode to this text: base64 has spare bits, in which a text could be changed unseen."""
    decoded = base64.b64decode(text, validate=True)
    if base64.b64encode(decoded).decode() != text:
        raise binascii.Error
    return decoded


def _unpacked(raw: bytes) -> bytes | None:
    if not raw.startswith(b"\x1f\x8b"):
        return raw  # its hash will tell
    unpacking = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        content = unpacking.decompress(raw, BILL_MAX)
    except zlib.error:
        return None
    return content if unpacking.eof else None


def _refund_outcome(message: Mapping[str, Any], request: RefundRequest) -> Outcome:
    try:
        if message["out_refund_no"] != request.refund_id or message["amount"]["refund"] != request.amount.minor:
            return Outcome.UNKNOWN
        return _REFUND_STATES.get(message["status"], Outcome.UNKNOWN)
    except _UNREADABLE:
        return Outcome.UNKNOWN


def _order(payment_id: str) -> str:
    return f"/v3/pay/transactions/out-trade-no/{quote(payment_id, safe='')}"


def _description(subject: str) -> str:
    """Without what would part a line of the bill: the cells there are told apart by backticks."""
    plain = "".join(letter if letter.isprintable() and letter != "`" else " " for letter in subject).strip()
    return _cut(plain, DESCRIPTION_MAX) or "-"


def _cut(text: str, bytes_max: int) -> str:
    return text.encode(errors="replace")[:bytes_max].decode(errors="ignore")


def _object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError
    return value


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError
    return text
