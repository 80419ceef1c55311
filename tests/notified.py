"""Notifications as each payment provider signs them, made by hand from the protocol: for tests of what we take."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from functools import cache
from urllib.parse import urlencode

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256

from shared.kernel import keyring
from shared.payments import merchant_keys, merchants, registry
from shared.payments.provider import Merchant

BEIJING = timezone(timedelta(hours=8))
APIV3_KEY = "k" * 32
WEBHOOK_SECRET = "whsec_" + "s" * 24
EPAY_KEY = "e" * 32
NOWHERE = "http://127.0.0.1:9"  # nobody listens: a notification that asked somebody would show

Message = tuple[dict[str, str], bytes]


@cache
def pair(name: str) -> rsa.RSAPrivateKey:
    """A key pair by name, one for the whole run."""
    return rsa.generate_private_key(65537, 2048)


def private(name: str) -> str:
    form = serialization.PrivateFormat.PKCS8
    return pair(name).private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def public(name: str) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return pair(name).public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def open_accounts() -> None:
    """An account of ours with each provider, under the name of its kind."""
    ours = private("ours")
    wechat = {"appid": "wxapp", "mchid": "19000", "gateway": NOWHERE}
    alipay = {"app_id": "2021", "seller_id": "2088", "gateway": f"{NOWHERE}/gateway.do"}
    stripe = {"publishable_key": "pk_test_1", "gateway": NOWHERE}
    epay = {"pid": "1001", "gateway": NOWHERE, "allowed": "yes"}
    for merchant, keys in (
        (
            Merchant("wechat", "wechat", ("wechat_native",), 6_000, terms=wechat),
            {
                "serial": "5157F09EFDC096DE15EBE81A47057A72",
                "private_key": ours,
                "apiv3_key": APIV3_KEY,
                "platform_key_id": "PUB_KEY_ID_1",
                "platform_key": public("wechat"),
            },
        ),
        (
            Merchant("alipay", "alipay", ("alipay_qr",), 6_000, terms=alipay),
            {"private_key": ours, "alipay_key": public("alipay")},
        ),
        (
            Merchant("stripe", "stripe", ("stripe",), 29_000, terms=stripe),
            {"api_key": "sk_test_" + "1" * 24, "webhook_secret": WEBHOOK_SECRET},
        ),
        (Merchant("epay", "epay", ("epay_alipay",), 10_000, terms=epay), {"key": EPAY_KEY}),
    ):
        merchants.save(merchant)
        merchant_keys.add(merchant.code, keys)
    registry.forget()


@dataclass(frozen=True)
class Told:
    """What a provider tells, and how rightly it does: `signer` is whose key signs, `at` when it says so."""

    payment_id: str
    provider_no: str
    minor: int
    at: datetime
    currency: str = "CNY"
    signer: str = ""
    whose: str = ""  # another merchant of the same provider
    status: str = "TRADE_SUCCESS"  # as epay calls it

    def with_(self, **changed: object) -> Told:
        return replace(self, **changed)  # type: ignore[arg-type]


def sandbox(told: Told) -> Message:
    raw = json.dumps(
        {
            "notification_id": f"sbn-{told.provider_no}",
            "merchant": told.whose or "kaquan",
            "payment_id": told.payment_id,
            "provider_no": told.provider_no,
            "amount_minor": told.minor,
            "currency": told.currency,
            "status": "paid",
            "paid_at": told.at.isoformat(),
        }
    ).encode()
    stamp = str(int(told.at.timestamp()))
    secret = told.signer or keyring.text("SANDBOX_SECRET")
    sign = hmac.new(secret.encode(), f"{stamp}.".encode() + raw, hashlib.sha256).hexdigest()
    return {"Sandbox-Timestamp": stamp, "Sandbox-Signature": sign, "Content-Type": "application/json"}, raw


def wechat(told: Told) -> Message:
    inner = {
        "mchid": told.whose or "19000",
        "appid": "wxapp",
        "out_trade_no": told.payment_id,
        "transaction_id": told.provider_no,
        "trade_type": "NATIVE",
        "trade_state": "SUCCESS",
        "success_time": told.at.astimezone(BEIJING).isoformat(timespec="seconds"),
        "payer": {"openid": "o-nobody"},
        "amount": {"total": told.minor, "payer_total": told.minor, "currency": told.currency},
    }
    nonce, about = "n" * 12, "transaction"
    sealed = AESGCM(APIV3_KEY.encode()).encrypt(nonce.encode(), json.dumps(inner).encode(), about.encode())
    resource = {
        "algorithm": "AEAD_AES_256_GCM",
        "ciphertext": base64.b64encode(sealed).decode(),
        "nonce": nonce,
        "associated_data": about,
        "original_type": "transaction",
    }
    raw = json.dumps(
        {
            "id": f"EV-{told.provider_no}",
            "create_time": told.at.astimezone(BEIJING).isoformat(timespec="seconds"),
            "event_type": "TRANSACTION.SUCCESS",
            "resource_type": "encrypt-resource",
            "resource": resource,
        }
    ).encode()
    stamp = str(int(told.at.timestamp()))
    message = f"{stamp}\nnonce-of-it\n".encode() + raw + b"\n"
    sign = pair(told.signer or "wechat").sign(message, padding.PKCS1v15(), SHA256())
    return {
        "Content-Type": "application/json",
        "Wechatpay-Serial": "PUB_KEY_ID_1",
        "Wechatpay-Timestamp": stamp,
        "Wechatpay-Nonce": "nonce-of-it",
        "Wechatpay-Signature": base64.b64encode(sign).decode(),
    }, raw


def alipay(told: Told) -> Message:
    fields = {
        "notify_time": told.at.astimezone(BEIJING).strftime("%Y-%m-%d %H:%M:%S"),
        "notify_type": "trade_status_sync",
        "notify_id": f"notify{told.provider_no}",
        "app_id": "2021",
        "seller_id": told.whose or "2088",
        "charset": "utf-8",
        "version": "1.0",
        "trade_no": told.provider_no,
        "out_trade_no": told.payment_id,
        "trade_status": "TRADE_SUCCESS",
        "total_amount": f"{told.minor // 100}.{told.minor % 100:02d}",
        "gmt_payment": told.at.astimezone(BEIJING).strftime("%Y-%m-%d %H:%M:%S"),
    } | ({"trans_currency": told.currency} if told.currency != "CNY" else {})
    message = "&".join(f"{name}={fields[name]}" for name in sorted(fields)).encode()
    sign = pair(told.signer or "alipay").sign(message, padding.PKCS1v15(), SHA256())
    form = urlencode({**fields, "sign_type": "RSA2", "sign": base64.b64encode(sign).decode()})
    return {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}, form.encode()


def stripe(told: Told) -> Message:
    raw = json.dumps(
        {
            "id": f"evt_{told.provider_no}",
            "type": "payment_intent.succeeded",
            "livemode": bool(told.whose),  # an event of the live account is none of the test account's
            "created": int(told.at.timestamp()),
            "data": {
                "object": {
                    "id": f"pi_{told.provider_no}",
                    "object": "payment_intent",
                    "amount": told.minor,
                    "amount_received": told.minor,
                    "currency": told.currency.lower(),
                    "status": "succeeded",
                    "livemode": bool(told.whose),
                    "created": int(told.at.timestamp()),
                    "latest_charge": f"ch_{told.provider_no}",
                    "metadata": {"payment_id": told.payment_id},
                }
            },
        }
    ).encode()
    stamp = int(told.at.timestamp())
    secret = told.signer or WEBHOOK_SECRET
    sign = hmac.new(secret.encode(), f"{stamp}.".encode() + raw, hashlib.sha256).hexdigest()
    return {"Stripe-Signature": f"t={stamp},v1={sign}", "Content-Type": "application/json"}, raw


def epay(told: Told) -> Message:
    """The query of a GET. It has neither a time nor a currency in it: another currency is a field that nobody knows."""
    fields = {
        "pid": told.whose or "1001",
        "trade_no": told.provider_no,
        "out_trade_no": told.payment_id,
        "type": "alipay",
        "name": "Steam 充值卡",
        "money": f"{told.minor // 100}.{told.minor % 100:02d}",
        "trade_status": told.status,
    } | ({"currency": told.currency} if told.currency != "CNY" else {})
    message = "&".join(f"{name}={fields[name]}" for name in sorted(fields) if fields[name])
    sign = hashlib.md5((message + (told.signer or EPAY_KEY)).encode()).hexdigest()
    return {}, urlencode({**fields, "sign": sign, "sign_type": "MD5"}).encode()


MAKERS: dict[str, Callable[[Told], Message]] = {
    "sandbox": sandbox,
    "wechat": wechat,
    "alipay": alipay,
    "stripe": stripe,
    "epay": epay,
}

BY_QUERY = {"epay"}  # whose message is the query of a GET
TIMELESS = {"alipay", "epay"}  # whose message is as good tomorrow as today: its number alone tells a repeat
ONE_CURRENCY = {"epay"}  # whose protocol knows of no other

TAKEN = {
    "sandbox": (200, "success"),
    "wechat": (204, ""),
    "alipay": (200, "success"),
    "stripe": (200, ""),
    "epay": (200, "success"),
}
REFUSED = {
    "sandbox": (400, "fail"),
    "wechat": (400, {"code": "FAIL", "message": "失败"}),
    "alipay": (200, "fail"),
    "stripe": (400, ""),
    "epay": (400, "fail"),
}
"""What each provider wants to hear, status and body; of JSON, what it says."""
