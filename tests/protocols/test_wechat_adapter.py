"""Our side of WeChat Pay's APIv3: the vendor's own vectors, and everything that a counterpart might say."""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from shared.kernel.money import Money
from shared.payments.adapters import wechat
from shared.payments.adapters.wechat import WeChat
from shared.payments.errors import (
    BadBill,
    BadNotification,
    BillNotReady,
    NoPayer,
    ProviderRefused,
    ProviderSilent,
    UnknownMethod,
)
from shared.payments.provider import (
    Attempt,
    Bill,
    Charge,
    Merchant,
    Outcome,
    PaymentRequest,
    RefundNews,
    RefundRequest,
)
from tests.published import vectors

NOW = datetime(2026, 5, 1, 4, tzinfo=UTC)
STAMP = int(NOW.timestamp())
APPID, MCHID, SERIAL = "wx0000000000000001", "1900000001", "5157F09EFDC096DE15EBE81A47057A72"
PLATFORM, NEXT_PLATFORM = "PUB_KEY_ID_0119000000012026", "PUB_KEY_ID_0219000000012026"
APIV3, NEXT_APIV3 = "of-this-test-32-characters-long-", "next-of-this-test-32-characters-"
ATTEMPT = Attempt("pay_1", "wechat_native", Money(2500), "腾讯视频 & 月卡", NOW + timedelta(minutes=15))
REFUND = RefundRequest("ref_1", "pay_1", "42001", Money(2500), Money(1000), "recalled")
ORDER = "/v3/pay/transactions/out-trade-no/pay_1"


@cache
def key(name: str) -> RSAPrivateKey:
    return generate_private_key(65537, 2048)


def private_pem(name: str) -> str:
    return key(name).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_pem(name: str) -> str:
    return key(name).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def signature(name: str, message: bytes) -> str:
    return base64.b64encode(key(name).sign(message, PKCS1v15(), SHA256())).decode()


@cache
def keys_of(platform: str = PLATFORM, apiv3: str = APIV3) -> Mapping[str, str]:
    return {
        "serial": SERIAL,
        "private_key": private_pem("merchant"),
        "apiv3_key": apiv3,
        "platform_key_id": platform,
        "platform_key": public_pem(platform),
    }


def merchant(gateway: str = "http://127.0.0.1:9") -> Merchant:
    terms = {"appid": APPID, "mchid": MCHID, "gateway": gateway}
    return Merchant("wechat-2", "wechat", ("wechat_native", "wechat_jsapi", "wechat_h5"), 6_000, terms=terms)


def signed(raw: bytes, platform: str = PLATFORM, stamp: int = STAMP, nonce: str = "n0nce") -> dict[str, str]:
    """The headers of a message of WeChat's."""
    return {
        "Wechatpay-Serial": platform,
        "Wechatpay-Timestamp": str(stamp),
        "Wechatpay-Nonce": nonce,
        "Wechatpay-Signature": signature(platform, f"{stamp}\n{nonce}\n".encode() + raw + b"\n"),
    }


TRANSACTION: Mapping[str, Any] = {
    "appid": APPID,
    "mchid": MCHID,
    "out_trade_no": "pay_1",
    "transaction_id": "42001",
    "trade_type": "NATIVE",
    "trade_state": "SUCCESS",
    "bank_type": "OTHERS",
    "success_time": "2026-05-01T11:59:00+08:00",
    "payer": {"openid": "openid-of-the-buyer"},
    "amount": {"total": 2500, "payer_total": 2400, "currency": "CNY", "payer_currency": "CNY"},
}
REFUNDED: Mapping[str, Any] = {
    "mchid": MCHID,
    "out_trade_no": "pay_1",
    "transaction_id": "42001",
    "out_refund_no": "ref_1",
    "refund_id": "50300",
    "refund_status": "SUCCESS",
    "amount": {"total": 2500, "refund": 1000, "payer_total": 2500, "payer_refund": 1000},
}


def sealed(event: str, message: object, apiv3: str = APIV3) -> bytes:
    content = AESGCM(apiv3.encode()).encrypt(b"twelve-bytes", json.dumps(message).encode(), b"transaction")
    resource = {
        "algorithm": "AEAD_AES_256_GCM",
        "ciphertext": base64.b64encode(content).decode(),
        "nonce": "twelve-bytes",
        "associated_data": "transaction",
        "original_type": "transaction",
    }
    envelope = {"id": "1", "event_type": event, "resource_type": "encrypt-resource", "resource": resource}
    return json.dumps(envelope).encode()


def adapter() -> WeChat:
    """Nobody is at its gateway: what it does, it does without asking."""
    return WeChat(merchant(), [keys_of()])


def heard(raw: bytes, headers: Mapping[str, str] | None = None, now: datetime = NOW) -> Charge | RefundNews | None:
    return adapter().parse_notification(signed(raw) if headers is None else headers, raw, now)


# Notifications


def test_a_paid_notification_is_a_charge_without_the_buyers_openid() -> None:
    charge = heard(sealed("TRANSACTION.SUCCESS", TRANSACTION))

    assert isinstance(charge, Charge)
    assert (charge.payment_id, charge.provider_no, charge.amount) == ("pay_1", "42001", Money(2500))
    assert charge.paid_at == datetime(2026, 5, 1, 3, 59, tzinfo=UTC)
    assert json.loads(charge.raw)["transaction_id"] == "42001"
    assert "openid" not in charge.raw


@pytest.mark.parametrize("event", ["REFUND.SUCCESS", "REFUND.ABNORMAL", "REFUND.CLOSED"])
def test_the_end_of_a_refund_is_news_of_it(event: str) -> None:
    assert heard(sealed(event, REFUNDED)) == RefundNews("ref_1")


@pytest.mark.parametrize("event", ["SECURITY_ECHO.SUCCESS", "PAYSCORE.USER_OPEN_SERVICE"])
def test_what_is_not_of_payments_is_heard_and_nothing_comes_of_it(event: str) -> None:
    assert heard(sealed(event, {})) is None


def test_the_names_of_headers_may_be_in_any_case() -> None:
    raw = sealed("TRANSACTION.SUCCESS", TRANSACTION)
    for form in (str.lower, str.upper, str.title):
        assert heard(raw, {form(name): value for name, value in signed(raw).items()})


@pytest.mark.parametrize("age", [-301, 301, 10**6, -(10**6)])
def test_a_message_older_or_newer_than_five_minutes_is_refused(age: int) -> None:
    raw = sealed("TRANSACTION.SUCCESS", TRANSACTION)
    with pytest.raises(BadNotification):
        heard(raw, signed(raw, stamp=STAMP + age))


@pytest.mark.parametrize("age", [-300, 300])
def test_a_message_of_five_minutes_is_fresh(age: int) -> None:
    raw = sealed("TRANSACTION.SUCCESS", TRANSACTION)
    assert heard(raw, signed(raw, stamp=STAMP + age))


def test_a_probe_with_a_wrong_signature_is_refused_and_answered_with_failure() -> None:
    raw = sealed("TRANSACTION.SUCCESS", TRANSACTION)
    probe = signed(raw)
    probe["Wechatpay-Signature"] = "WECHATPAY/SIGNTEST/" + probe["Wechatpay-Signature"][19:]
    with pytest.raises(BadNotification):
        heard(raw, probe)
    assert adapter().ack(False) == (400, '{"code":"FAIL","message":"失败"}', "application/json")


def test_what_was_taken_is_answered_without_content() -> None:
    assert adapter().ack(True)[:2] == (204, "")


@pytest.mark.parametrize("name", ["Wechatpay-Serial", "Wechatpay-Timestamp", "Wechatpay-Nonce", "Wechatpay-Signature"])
def test_a_message_without_one_of_its_headers_is_refused(name: str) -> None:
    raw = sealed("TRANSACTION.SUCCESS", TRANSACTION)
    headers = signed(raw)
    del headers[name]
    with pytest.raises(BadNotification):
        heard(raw, headers)


SEALED = sealed("TRANSACTION.SUCCESS", TRANSACTION)


@given(st.data())
def test_a_message_with_any_byte_changed_is_refused(data: st.DataObject) -> None:
    parts = {name: value.encode() for name, value in signed(SEALED).items()} | {"body": SEALED}
    part = data.draw(st.sampled_from(sorted(parts)))
    place = data.draw(st.integers(0, len(parts[part]) - 1))
    old = parts[part][place]
    new = data.draw(st.integers(0, 255).filter(lambda byte: byte != old))
    parts[part] = parts[part][:place] + bytes([new]) + parts[part][place + 1 :]
    raw = parts.pop("body")

    with pytest.raises(BadNotification):
        heard(raw, {name: value.decode("latin-1") for name, value in parts.items()})


def test_every_other_last_letter_of_a_signature_is_refused() -> None:
    raw = sealed("TRANSACTION.SUCCESS", TRANSACTION)
    headers = signed(raw)
    good = headers["Wechatpay-Signature"]
    assert good.endswith("==")
    for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/":
        # The last letter before the padding has four spare bits, which other readers of base64 drop.
        headers["Wechatpay-Signature"] = good[:-3] + letter + "=="
        if headers["Wechatpay-Signature"] != good:
            with pytest.raises(BadNotification):
                heard(raw, headers)


def test_the_border_between_nonce_and_body_cannot_be_moved() -> None:
    raw = b'in front\n{"event_type":"OTHER"}'
    headers = signed(raw)
    first, rest = raw.split(b"\n")
    headers["Wechatpay-Nonce"] += "\n" + first.decode()
    with pytest.raises(BadNotification):
        heard(rest, headers)


NAMES = ("wechatpay-serial", "wechatpay-timestamp", "wechatpay-nonce", "wechatpay-signature")


@given(
    st.dictionaries(
        st.sampled_from(NAMES) | st.text(),
        st.sampled_from((PLATFORM, str(STAMP), "٣" * 10, "9" * 5000)) | st.text(),
    ),
    st.binary() | st.text().map(lambda text: text.encode(errors="surrogatepass")),
)
def test_whatever_comes_is_refused_and_never_more(headers: dict[str, str], raw: bytes) -> None:
    with pytest.raises(BadNotification):
        heard(raw, {"wechatpay-serial": PLATFORM} | headers)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(
    st.sampled_from(sorted(TRANSACTION)) | st.sampled_from(["total", "currency"]),
    JSON | st.sampled_from(["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00", "\ud800", 10**13, True]),
)
def test_whatever_a_signed_message_holds_is_a_charge_within_bounds_or_refused(name: str, value: object) -> None:
    message = {**TRANSACTION, "amount": dict(TRANSACTION["amount"])}
    (message["amount"] if name in ("total", "currency") else message)[name] = value
    with contextlib.suppress(BadNotification):
        charge = heard(sealed("TRANSACTION.SUCCESS", message))
        assert isinstance(charge, Charge)
        assert re.fullmatch(r"[A-Za-z0-9_*|-]{1,64}", charge.payment_id)
        assert re.fullmatch(r"[A-Za-z0-9_*|-]{1,64}", charge.provider_no)
        assert 0 < charge.amount.minor <= 10**12
        charge.raw.encode()


@given(JSON)
def test_whatever_is_signed_is_understood_or_refused(message: object) -> None:
    for raw in (json.dumps(message).encode(), sealed("TRANSACTION.SUCCESS", message), sealed("REFUND.X", message)):
        with contextlib.suppress(BadNotification):
            assert heard(raw) is None


def test_a_message_nested_without_end_is_refused() -> None:
    for raw in (b"[" * 100_000, b'{"a":' * 100_000):
        with pytest.raises(BadNotification):
            heard(raw)


@pytest.mark.parametrize(
    "wrong",
    [
        {"mchid": "1900000002"},
        {"appid": "wx0000000000000002"},
        {"trade_state": "NOTPAY"},
        {"amount": {"total": 0, "currency": "CNY"}},
        {"amount": {"total": 25.0, "currency": "CNY"}},
        {"amount": {"total": True, "currency": "CNY"}},
        {"amount": {"total": 2500, "currency": "cny"}},
        {"success_time": "2026-05-01T11:59:00"},
        {"success_time": "1999-12-31T00:00:00+08:00"},
        {"success_time": "2101-01-01T00:00:00+08:00"},
        {"out_trade_no": "pay#1"},
        {"transaction_id": ""},
    ],
)
def test_a_notification_of_anything_but_a_payment_to_us_is_refused(wrong: Mapping[str, object]) -> None:
    with pytest.raises(BadNotification):
        heard(sealed("TRANSACTION.SUCCESS", {**TRANSACTION, **wrong}))


def test_a_refund_of_another_merchant_is_refused() -> None:
    with pytest.raises(BadNotification):
        heard(sealed("REFUND.SUCCESS", {**REFUNDED, "mchid": "1900000002"}))


def test_content_sealed_with_another_key_is_refused() -> None:
    with pytest.raises(BadNotification):
        heard(sealed("TRANSACTION.SUCCESS", TRANSACTION, NEXT_APIV3))


def test_while_keys_are_rotated_both_are_good() -> None:
    rotating = WeChat(merchant(), [keys_of(NEXT_PLATFORM, NEXT_APIV3), keys_of()])
    for platform in (PLATFORM, NEXT_PLATFORM):
        for apiv3 in (APIV3, NEXT_APIV3):
            raw = sealed("TRANSACTION.SUCCESS", TRANSACTION, apiv3)
            assert rotating.parse_notification(signed(raw, platform), raw, NOW)


def test_a_key_is_good_under_its_own_serial_only() -> None:
    raw = sealed("TRANSACTION.SUCCESS", TRANSACTION)
    rotating = WeChat(merchant(), [keys_of(NEXT_PLATFORM), keys_of()])
    with pytest.raises(BadNotification):
        rotating.parse_notification(signed(raw) | {"Wechatpay-Serial": NEXT_PLATFORM}, raw, NOW)


@pytest.mark.parametrize("serial", [NEXT_PLATFORM, "", "5157F09EFDC096DE15EBE81A47057A72", "zz"])
def test_a_serial_that_is_not_ours_is_refused_and_nobody_is_asked(serial: str) -> None:
    raw = sealed("TRANSACTION.SUCCESS", TRANSACTION)
    with socket.create_server(("127.0.0.1", 0)) as gateway:
        gateway.setblocking(False)
        listening = WeChat(merchant(f"http://127.0.0.1:{gateway.getsockname()[1]}"), [keys_of()])
        with pytest.raises(BadNotification):
            listening.parse_notification(signed(raw) | {"Wechatpay-Serial": serial}, raw, NOW)
        with pytest.raises(BlockingIOError):
            gateway.accept()


# The vendor's vectors


def vendors(**values: str) -> WeChat:
    return WeChat(merchant(), [{**keys_of(), **values}])


def test_the_vendors_own_notification_is_verified() -> None:
    vector = vectors("wechatpay_v3.json")["notify"]
    serial = vector["headers"]["Wechatpay-Serial"]
    ours = vendors(platform_key_id=serial, platform_key=vector["platform_public_key_pem"])
    at = datetime.fromtimestamp(vector["frozen_clock"], UTC)
    raw = vector["body"].encode()

    assert ours.parse_notification(vector["headers"], raw, at) is None  # it is not about a payment

    with pytest.raises(BadNotification):
        ours.parse_notification(vector["headers"], raw.replace(b"USER_OPEN", b"USER-OPEN"), at)
    with pytest.raises(BadNotification):
        ours.parse_notification(vector["headers"], raw, NOW)


def test_the_vendors_own_content_is_unsealed() -> None:
    vector = vectors("wechatpay_v3.json")["notify"]
    resource = json.loads(vector["body"])["resource"]
    assert vendors(apiv3_key=vector["apiv3_key"])._unseal(resource) == json.loads(vector["expected_plaintext"])

    vector = vectors("wechatpay_v3.json")["aes_gcm"]
    sealing = AESGCM(vector["apiv3_key"].encode())
    nonce, bound = vector["nonce"].encode(), vector["associated_data"].encode()
    assert sealing.decrypt(nonce, base64.b64decode(vector["ciphertext"]), bound).decode() == vector["plaintext"]


def test_we_sign_as_the_vendor_does() -> None:
    vector = vectors("wechatpay_v3.json")["rsa_sha256_sign"]
    pem = vector["private_key_pem_marked_TESTING"].replace("TESTING KEY", "PRIVATE KEY")
    assert vendors(private_key=pem)._sign(vector["message"].encode()) == vector["expected_signature_b64"]


# Calls


@dataclass(frozen=True)
class Answer:
    body: object = None
    status: int = 200
    sign: Callable[[bytes], Mapping[str, str]] | None = signed

    @property
    def raw(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        return b"" if self.body is None else json.dumps(self.body).encode()


@dataclass(frozen=True)
class Call:
    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


@dataclass
class Counterpart:
    """Checks who calls, as WeChat does, and says what a test gave it to say, in turn; then it hangs up."""

    url: str = ""
    answers: list[Answer] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    def adapter(self, *keys: Mapping[str, str]) -> WeChat:
        return WeChat(merchant(self.url), keys or [keys_of()])

    def says(self, *answers: Answer) -> WeChat:
        self.answers = list(answers)
        return self.adapter()


AUTHORIZATION = re.compile(
    r'WECHATPAY2-SHA256-RSA2048 mchid="(?P<mchid>\d+)",nonce_str="(?P<nonce>\w{16,32})",timestamp="(?P<stamp>\d+)",'
    r'serial_no="(?P<serial>\w+)",signature="(?P<signature>[^"]+)"'
)


def recognised(method: str, path: str, authorization: str, raw: bytes) -> bool:
    match = AUTHORIZATION.fullmatch(authorization)
    if not match or (match["mchid"], match["serial"], match["stamp"]) != (MCHID, SERIAL, str(STAMP)):
        return False
    message = f"{method}\n{path}\n{match['stamp']}\n{match['nonce']}\n".encode() + raw + b"\n"
    try:
        key("merchant").public_key().verify(base64.b64decode(match["signature"]), message, PKCS1v15(), SHA256())
    except InvalidSignature:
        return False
    return True


@pytest.fixture
def counterpart() -> Iterator[Counterpart]:
    there = Counterpart()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            there.calls.append(
                Call(self.command, self.path, dict(self.headers.items()), json.loads(raw) if raw else None)
            )
            if not recognised(self.command, self.path, self.headers["Authorization"], raw):
                answer = Answer({"code": "SIGN_ERROR", "message": "签名错误"}, 401, None)
            elif not there.answers:
                self.close_connection = True
                return
            else:
                answer = there.answers.pop(0)
            self.send_response(answer.status)
            for name, value in (answer.sign(answer.raw) if answer.sign else {}).items():
                self.send_header(name, value)
            if answer.status != 204:
                self.send_header("Content-Length", str(len(answer.raw)))
            self.end_headers()
            self.wfile.write(answer.raw)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        there.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield there
        server.shutdown()


def request(method: str = "wechat_native", **more: str) -> PaymentRequest:
    attempt = replace(ATTEMPT, method=method)
    return PaymentRequest(attempt, "https://shop.test/notify", "https://shop.test/return", **more)


def refusal(code: str, status: int = 400) -> Answer:
    return Answer({"code": code, "message": "…"}, status)


UNTRUSTED = {
    "no signature": Answer(TRANSACTION, sign=None),
    "a signature of another message": Answer(TRANSACTION, sign=lambda raw: signed(raw + b" ")),
    "a key of nobody": Answer(TRANSACTION, sign=lambda raw: signed(raw, NEXT_PLATFORM)),
    "an old message": Answer(TRANSACTION, sign=lambda raw: signed(raw, stamp=STAMP - 301)),
    "a message of the future": Answer(TRANSACTION, sign=lambda raw: signed(raw, stamp=STAMP + 301)),
    "no JSON": Answer(b"<html>"),
    "no object": Answer([TRANSACTION]),
    "an unsigned refusal": Answer({"code": "ORDER_NOT_EXIST"}, 404, None),
    "a refusal forged as our own mistake": Answer({"code": "ORDER_NOT_EXIST"}, 401, None),
    "a breakdown": Answer({"code": "SYSTEM_ERROR"}, 500),
    "a breakdown that names another code": Answer({"code": "ORDER_NOT_EXIST"}, 502),
    "too many calls": Answer({"code": "FREQUENCY_LIMITED"}, 429),
    "a way elsewhere": Answer({"code": "ORDER_NOT_EXIST"}, 302),
}


def test_a_native_order_is_a_code_to_scan(counterpart: Counterpart) -> None:
    ours = counterpart.says(Answer({"code_url": "weixin://wxpay/bizpayurl?pr=x"}))

    assert ours.create(request(), NOW).qr_url == "weixin://wxpay/bizpayurl?pr=x"

    [call] = counterpart.calls
    assert (call.method, call.path) == ("POST", "/v3/pay/transactions/native")
    assert call.headers["Wechatpay-Serial"] == PLATFORM
    assert call.headers["Content-Type"] == "application/json"
    assert call.body == {
        "appid": APPID,
        "mchid": MCHID,
        "description": "腾讯视频 & 月卡",
        "out_trade_no": "pay_1",
        "time_expire": "2026-05-01T12:15:00+08:00",
        "notify_url": "https://shop.test/notify",
        "amount": {"total": 2500, "currency": "CNY"},
    }


def test_an_order_inside_wechat_is_signed_for_the_buyers_client(counterpart: Counterpart) -> None:
    ours = counterpart.says(Answer({"prepay_id": "wx26"}))

    params = ours.create(request("wechat_jsapi", payer="openid-1"), NOW).client_params

    assert counterpart.calls[0].path == "/v3/pay/transactions/jsapi"
    assert counterpart.calls[0].body["payer"] == {"openid": "openid-1"}
    assert params is not None
    assert list(params) == ["appId", "timeStamp", "nonceStr", "package", "signType", "paySign"]
    assert (params["package"], params["signType"]) == ("prepay_id=wx26", "RSA")
    message = "".join(params[name] + "\n" for name in ("appId", "timeStamp", "nonceStr", "package")).encode()
    key("merchant").public_key().verify(base64.b64decode(params["paySign"]), message, PKCS1v15(), SHA256())


def test_an_order_inside_wechat_needs_to_know_the_buyer(counterpart: Counterpart) -> None:
    with pytest.raises(NoPayer):
        counterpart.adapter().create(request("wechat_jsapi"), NOW)
    with pytest.raises(UnknownMethod):
        counterpart.adapter().create(request("wechat_app"), NOW)
    assert counterpart.calls == []


def test_an_order_of_a_phone_is_a_page_to_open(counterpart: Counterpart) -> None:
    ours = counterpart.says(Answer({"h5_url": "https://wx.tenpay.test/x"}))

    assert ours.create(request("wechat_h5", address="203.0.113.9"), NOW).redirect_url == "https://wx.tenpay.test/x"

    scene = {"payer_client_ip": "203.0.113.9", "h5_info": {"type": "Wap"}}
    assert counterpart.calls[0].path == "/v3/pay/transactions/h5"
    assert counterpart.calls[0].body["scene_info"] == scene


def test_a_description_fits_and_parts_no_line_of_the_bill(counterpart: Counterpart) -> None:
    ours = counterpart.says(Answer({"code_url": "weixin://x"}))
    attempt = replace(ATTEMPT, subject="卡,`" + "卡\n" * 200)
    ours.create(replace(request(), attempt=attempt), NOW)
    described = counterpart.calls[0].body["description"]
    assert described.startswith("卡, 卡 ")
    assert 120 < len(described.encode()) <= 127


@pytest.mark.parametrize("code", ["PARAM_ERROR", "NO_AUTH", "APPID_MCHID_NOT_MATCH", "ORDER_CLOSED"])
def test_a_refused_order_says_why(counterpart: Counterpart, code: str) -> None:
    with pytest.raises(ProviderRefused) as refused:
        counterpart.says(refusal(code, 403)).create(request(), NOW)
    assert refused.value.facts == {"provider": "wechat-2", "reason": code}


@pytest.mark.parametrize("code", ["ORDERPAID", "ORDER_PAID", "OUT_TRADE_NO_USED"])
def test_an_order_that_is_there_already_is_no_refusal(counterpart: Counterpart, code: str) -> None:
    with pytest.raises(ProviderSilent):
        counterpart.says(refusal(code)).create(request(), NOW)


def test_a_signature_of_ours_that_wechat_does_not_accept_refuses_orders_and_decides_nothing_else(
    counterpart: Counterpart,
) -> None:
    ours = counterpart.adapter({**keys_of(), "private_key": private_pem("another")})
    with pytest.raises(ProviderRefused) as refused:
        ours.create(request(), NOW)
    assert refused.value.facts["reason"] == "SIGN_ERROR"
    assert ours.query(ATTEMPT, NOW).outcome is Outcome.UNKNOWN
    assert ours.close(ATTEMPT, NOW) is Outcome.UNKNOWN
    assert ours.refund(REFUND, NOW) is Outcome.UNKNOWN
    assert ours.query_refund(REFUND, NOW) is Outcome.UNKNOWN
    with pytest.raises(ProviderSilent):
        ours.bill(date(2026, 4, 30), NOW)


@pytest.mark.parametrize("answer", [*(UNTRUSTED[name] for name in UNTRUSTED if "own mistake" not in name), None])
def test_an_order_without_a_trustworthy_answer_is_silence(counterpart: Counterpart, answer: Answer | None) -> None:
    ours = counterpart.says(*[answer] if answer else [])
    with pytest.raises(ProviderSilent) as silent:
        ours.create(request(), NOW)
    assert silent.value.facts == {"provider": "wechat-2"}


@pytest.mark.parametrize("body", [{}, {"code_url": ""}, {"code_url": 1}, {"prepay_id": "wx26"}])
def test_an_order_without_its_code_is_silence(counterpart: Counterpart, body: object) -> None:
    with pytest.raises(ProviderSilent):
        counterpart.says(Answer(body)).create(request(), NOW)


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        ("SUCCESS", Outcome.SUCCEEDED),
        ("REFUND", Outcome.SUCCEEDED),
        ("NOTPAY", Outcome.PROCESSING),
        ("USERPAYING", Outcome.PROCESSING),
        ("CLOSED", Outcome.FAILED),
        ("REVOKED", Outcome.FAILED),
        ("PAYERROR", Outcome.PROCESSING),
        ("ACCEPT", Outcome.UNKNOWN),
        (["SUCCESS"], Outcome.UNKNOWN),
    ],
)
def test_asking_tells_what_became_of_a_payment(counterpart: Counterpart, state: object, outcome: Outcome) -> None:
    status = counterpart.says(Answer({**TRANSACTION, "trade_state": state})).query(ATTEMPT, NOW)

    assert status.outcome is outcome
    assert [charge.amount for charge in status.charges] == ([Money(2500)] if outcome is Outcome.SUCCEEDED else [])
    assert [(call.method, call.path) for call in counterpart.calls] == [("GET", f"{ORDER}?mchid={MCHID}")]


@pytest.mark.parametrize("code", ["ORDER_NOT_EXIST", "ORDERNOTEXIST", "RESOURCE_NOT_EXISTS"])
def test_what_was_never_ordered_is_absent(counterpart: Counterpart, code: str) -> None:
    assert counterpart.says(refusal(code, 404)).query(ATTEMPT, NOW).outcome is Outcome.ABSENT
    assert counterpart.says(refusal(code, 404)).close(ATTEMPT, NOW) is Outcome.ABSENT


@pytest.mark.parametrize(
    "wrong",
    [
        {"out_trade_no": "pay_2"},
        {"mchid": "1900000002"},
        {"appid": "wx0000000000000002"},
        {"amount": None},
        {"amount": {"total": "2500"}},
        {"success_time": None},
        {"transaction_id": None},
    ],
)
def test_an_answer_about_something_else_is_unknown(counterpart: Counterpart, wrong: Mapping[str, object]) -> None:
    status = counterpart.says(Answer({**TRANSACTION, **wrong})).query(ATTEMPT, NOW)
    assert status.outcome is Outcome.UNKNOWN
    assert list(status.charges) == []


@pytest.mark.parametrize("what", [*UNTRUSTED, "no answer"])
def test_an_answer_that_cannot_be_trusted_is_unknown(counterpart: Counterpart, what: str) -> None:
    answers = [UNTRUSTED[what]] if what in UNTRUSTED else []
    assert counterpart.says(*answers).query(ATTEMPT, NOW).outcome is Outcome.UNKNOWN
    assert counterpart.says(*answers).close(ATTEMPT, NOW) is Outcome.UNKNOWN
    assert counterpart.says(*answers).refund(REFUND, NOW) is Outcome.UNKNOWN
    assert counterpart.says(*answers).query_refund(REFUND, NOW) is Outcome.UNKNOWN
    with pytest.raises(ProviderSilent):
        counterpart.says(*answers).bill(date(2026, 4, 30), NOW)


def test_answers_are_good_under_both_keys_of_a_rotation(counterpart: Counterpart) -> None:
    for platform in (PLATFORM, NEXT_PLATFORM):
        counterpart.answers = [Answer(TRANSACTION, sign=lambda raw, platform=platform: signed(raw, platform))]
        ours = counterpart.adapter(keys_of(NEXT_PLATFORM), keys_of())
        assert ours.query(ATTEMPT, NOW).outcome is Outcome.SUCCEEDED
        assert counterpart.calls[-1].headers["Wechatpay-Serial"] == NEXT_PLATFORM


def test_nobody_at_the_other_end_is_unknown() -> None:
    assert adapter().query(ATTEMPT, NOW).outcome is Outcome.UNKNOWN
    with pytest.raises(ProviderSilent):
        adapter().create(request(), NOW)


def test_an_answer_that_is_no_http_is_unknown() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def talk_nonsense() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")

        threading.Thread(target=talk_nonsense, daemon=True).start()
        ours = WeChat(merchant(f"http://127.0.0.1:{server.getsockname()[1]}"), [keys_of()])
        assert ours.query(ATTEMPT, NOW).outcome is Outcome.UNKNOWN


def test_a_slow_answer_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wechat, "TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:  # takes calls and says nothing
        ours = WeChat(merchant(f"http://127.0.0.1:{server.getsockname()[1]}"), [keys_of()])
        assert ours.refund(REFUND, NOW) is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer(status=204), Outcome.SUCCEEDED),
        (refusal("ORDER_CLOSED"), Outcome.SUCCEEDED),
        (refusal("ORDERPAID"), Outcome.FAILED),
        (refusal("ORDER_PAID"), Outcome.FAILED),
        (refusal("INVALID_REQUEST"), Outcome.UNKNOWN),
        (Answer(status=204, sign=None), Outcome.UNKNOWN),
    ],
)
def test_closing_tells_whether_anybody_can_still_pay(
    counterpart: Counterpart, answer: Answer, outcome: Outcome
) -> None:
    assert counterpart.says(answer).close(ATTEMPT, NOW) is outcome
    [call] = counterpart.calls
    assert (call.method, call.path, call.body) == ("POST", f"{ORDER}/close", {"mchid": MCHID})


def refunded(status: object, **more: object) -> Answer:
    body = {"refund_id": "50300", "out_refund_no": "ref_1", "status": status, "amount": {"refund": 1000, "total": 2500}}
    return Answer({**body, **more})


def test_a_refund_without_a_reason_gives_none(counterpart: Counterpart) -> None:
    assert counterpart.says(refunded("SUCCESS")).refund(replace(REFUND, reason=""), NOW) is Outcome.SUCCEEDED
    assert "reason" not in counterpart.calls[0].body


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (refunded("PROCESSING"), Outcome.PROCESSING),
        (refunded("SUCCESS"), Outcome.SUCCEEDED),
        (refunded("CLOSED"), Outcome.FAILED),
        (refunded("ABNORMAL"), Outcome.FAILED),
        (refunded("WAITING"), Outcome.UNKNOWN),
        (refunded(["SUCCESS"]), Outcome.UNKNOWN),
        (refunded("SUCCESS", out_refund_no="ref_2"), Outcome.UNKNOWN),
        (refunded("SUCCESS", amount={"refund": 2500}), Outcome.UNKNOWN),
        (refunded("SUCCESS", amount=1000), Outcome.UNKNOWN),
    ],
)
def test_a_refund_is_what_wechat_says_of_it(counterpart: Counterpart, answer: Answer, outcome: Outcome) -> None:
    ours = counterpart.says(answer, answer)
    assert ours.refund(REFUND, NOW) is outcome
    assert ours.query_refund(REFUND, NOW) is outcome

    [sent, asked] = counterpart.calls
    assert (sent.method, sent.path) == ("POST", "/v3/refund/domestic/refunds")
    assert sent.body == {
        "transaction_id": "42001",
        "out_refund_no": "ref_1",
        "reason": "recalled",
        "amount": {"refund": 1000, "total": 2500, "currency": "CNY"},
    }
    assert (asked.method, asked.path) == ("GET", "/v3/refund/domestic/refunds/ref_1")


REFUSED = ("NOT_ENOUGH", "INVALID_REQUEST", "PARAM_ERROR", "USER_ACCOUNT_ABNORMAL", "RESOURCE_NOT_EXISTS")


@pytest.mark.parametrize("code", REFUSED)
def test_a_refused_refund_that_wechat_does_not_know_has_failed(counterpart: Counterpart, code: str) -> None:
    ours = counterpart.says(refusal(code, 403), refusal("RESOURCE_NOT_EXISTS", 404))
    assert ours.refund(REFUND, NOW) is Outcome.FAILED


@pytest.mark.parametrize(
    ("second", "outcome"),
    [
        ([refunded("SUCCESS")], Outcome.SUCCEEDED),
        ([refunded("PROCESSING")], Outcome.PROCESSING),
        ([refusal("SYSTEM_ERROR", 500)], Outcome.UNKNOWN),
        ([], Outcome.UNKNOWN),
    ],
)
def test_a_refused_refund_that_may_have_been_made_before_has_not_failed(
    counterpart: Counterpart, second: list[Answer], outcome: Outcome
) -> None:
    assert counterpart.says(refusal("INVALID_REQUEST"), *second).refund(REFUND, NOW) is outcome


@pytest.mark.parametrize("code", ["NO_AUTH", "SIGN_ERROR", "MCH_NOT_EXISTS", "FREQUENCY_LIMITED", "SOMETHING_NEW"])
def test_what_is_wrong_with_us_or_with_the_moment_ends_no_refund(counterpart: Counterpart, code: str) -> None:
    assert counterpart.says(refusal(code, 403)).refund(REFUND, NOW) is Outcome.UNKNOWN


def test_a_refund_that_was_never_asked_for_is_absent(counterpart: Counterpart) -> None:
    assert counterpart.says(refusal("RESOURCE_NOT_EXISTS", 404)).query_refund(REFUND, NOW) is Outcome.ABSENT


# Bills

DAY = date(2026, 4, 30)
BILL = (
    "\ufeff交易时间,商户号,微信订单号,商户订单号,交易状态,货币种类,商户退款单号,手续费,订单金额,申请退款金额\r\n"
    f"`2026-04-30 12:00:00,`{MCHID},`42001,`pay_1,`SUCCESS,`CNY,`0,`0.15000,`25.00,`0.00\r\n"
    "总交易单数,手续费总金额,订单总金额,申请退款总金额\r\n`1,`0.15000,`25.00,`0.00\r\n"
).encode()


def named(counterpart: Counterpart, **more: object) -> Answer:
    body = {
        "hash_type": "SHA1",
        "hash_value": hashlib.sha1(BILL).hexdigest(),
        "download_url": f"{counterpart.url}/v3/billdownload/file?token=a%2Fb&tartype=gzip",
    }
    return Answer({**body, **more})


def test_a_bill_is_the_file_whose_hash_was_signed(counterpart: Counterpart) -> None:
    ours = counterpart.says(named(counterpart), Answer(gzip.compress(BILL), sign=None))

    bill = ours.bill(DAY, NOW)

    assert bill == Bill(BILL, "csv")
    [line] = ours.bill_lines(bill)
    assert (line.payment_id, line.gross, line.fee_e6) == ("pay_1", Money(2500), 150_000)
    assert [call.path for call in counterpart.calls] == [
        "/v3/bill/tradebill?bill_date=2026-04-30&bill_type=ALL&tar_type=GZIP",
        "/v3/billdownload/file?token=a%2Fb&tartype=gzip",
    ]


def test_a_bill_that_comes_unpacked_is_as_good(counterpart: Counterpart) -> None:
    assert counterpart.says(named(counterpart), Answer(BILL, sign=None)).bill(DAY, NOW).content == BILL


@pytest.mark.parametrize(
    "file",
    [
        Answer(gzip.compress(BILL + b"x"), sign=None),
        Answer(gzip.compress(BILL)[:-9], sign=None),
        Answer(b"\x1f\x8bnot gzip", sign=None),
        Answer(BILL, 403, None),
    ],
)
def test_a_file_with_another_hash_is_no_bill(counterpart: Counterpart, file: Answer) -> None:
    with pytest.raises(ProviderSilent):
        counterpart.says(named(counterpart), file).bill(DAY, NOW)


@pytest.mark.parametrize(
    "wrong",
    [
        {"hash_type": "MD5"},
        {"hash_value": None},
        {"download_url": None},
        {"download_url": "file:///etc/passwd"},
        {"download_url": "http://127.0.0.1:9/v3/billdownload/file"},
        {"download_url": "https://mch.weixin.qq.com.evil.test/"},
        {"download_url": "https://evilmch.weixin.qq.com/"},
        {"download_url": "http://api.mch.weixin.qq.com/"},
        {"download_url": "https://evil.test@api.mch.weixin.qq.com/"},
        {"download_url": "https://[api.mch.weixin.qq.com/"},
        {"download_url": "https://api.mch.weixin.qq.com/\r\nx"},
    ],
)
def test_a_bill_is_fetched_from_wechat_only(counterpart: Counterpart, wrong: Mapping[str, object]) -> None:
    with pytest.raises(ProviderSilent):
        counterpart.says(named(counterpart, **wrong), Answer(gzip.compress(BILL), sign=None)).bill(DAY, NOW)
    assert len(counterpart.calls) == 1
    url = wrong.get("download_url")
    assert not isinstance(url, str) or not counterpart.adapter()._hands_out_bills(url)


def test_the_hosts_of_wechat_hand_out_bills() -> None:
    for host in ("api.mch.weixin.qq.com", "api2.mch.weixin.qq.com"):
        assert adapter()._hands_out_bills(f"https://{host}/v3/billdownload/file?token=x")


def test_a_bill_too_large_to_hold_is_not_held(counterpart: Counterpart, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wechat, "BILL_MAX", len(BILL) - 1)
    with pytest.raises(ProviderSilent):
        counterpart.says(named(counterpart), Answer(gzip.compress(BILL), sign=None)).bill(DAY, NOW)


def test_a_day_without_payments_has_an_empty_bill(counterpart: Counterpart) -> None:
    ours = counterpart.says(refusal("NO_STATEMENT_EXIST"))
    bill = ours.bill(DAY, NOW)
    assert bill == Bill(b"", "csv")
    assert ours.bill_lines(bill) == []


def test_a_bill_is_not_asked_for_before_ten_in_beijing(counterpart: Counterpart) -> None:
    ten = datetime(2026, 5, 1, 2, tzinfo=UTC)
    with pytest.raises(BillNotReady):
        counterpart.says().bill(DAY, ten - timedelta(seconds=1))
    assert counterpart.calls == []
    with pytest.raises(BillNotReady):
        counterpart.says(refusal("STATEMENT_CREATING")).bill(DAY, NOW)


def test_a_bill_of_another_form_is_said_to_be() -> None:
    with pytest.raises(BadBill):
        adapter().bill_lines(Bill(b"PK", "csv"))


# The account


@pytest.mark.parametrize(
    "gateway",
    ["http://api.mch.weixin.qq.com", "http://127.0.0.1.evil.test", "http://127.0.0.1@evil.test", "ftp://x", ""],
)
def test_a_gateway_without_tls_is_refused(gateway: str) -> None:
    with pytest.raises(ValueError, match="https"):
        WeChat(merchant(gateway), [keys_of()])


def test_an_account_without_keys_is_refused() -> None:
    with pytest.raises(ValueError, match="keys"):
        WeChat(merchant(), [])


def test_an_account_is_called_as_its_merchant_and_shows_no_key() -> None:
    ours = adapter()
    assert (ours.code, ours.fee_e6) == ("wechat-2", 6_000)
    assert "PRIVATE" not in repr(ours)
    assert APIV3 not in repr(ours)


# A second opinion: the Python library that merchants use.


def test_the_library_of_others_reads_what_our_counterpart_signs() -> None:
    library = pytest.importorskip("wechatpayv3.core")
    core = library.Core(
        MCHID, SERIAL, private_pem("merchant"), APIV3, public_key=public_pem(PLATFORM), public_key_id=PLATFORM
    )
    raw = sealed("TRANSACTION.SUCCESS", TRANSACTION)
    headers = signed(raw) | {"Wechatpay-Signature-Type": "WECHATPAY2-SHA256-RSA2048"}
    assert core.callback(headers, raw)["resource"] == TRANSACTION
    assert core.sign([APPID, "1", "n", "prepay_id=x"]) == adapter()._sign(f"{APPID}\n1\nn\nprepay_id=x\n".encode())
