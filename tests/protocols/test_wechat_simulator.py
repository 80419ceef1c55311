"""The WeChat Pay simulator over real sockets, by the letter of APIv3; signing and reading here are the test's own."""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.client
import json
import re
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from infra.local.wechat import WeChatPay
from tests.published import vectors

ROOT = Path(__file__).resolve().parents[2]
BEIJING = timezone(timedelta(hours=8))
RETRY_AFTER = (0.05, 0.1, 0.15, 0.2)
OFFICIAL_COLUMNS = 27
_numbers = count(1)


def number() -> str:
    return f"T{secrets.token_hex(4)}{next(_numbers):06d}"


def holds(public_pem: str, message: bytes, signature: str) -> bool:
    key = serialization.load_pem_public_key(public_pem.encode())
    try:
        key.verify(base64.b64decode(signature), message, padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, ValueError):
        return False
    return True


@cache  # reading a key proves it, which takes longer than signing
def private(pem: str) -> Any:
    return serialization.load_pem_private_key(pem.encode(), None)


def signed(private_pem: str, message: bytes) -> str:
    return base64.b64encode(private(private_pem).sign(message, padding.PKCS1v15(), hashes.SHA256())).decode()


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.raw)

    @property
    def code(self) -> str:
        return str(self.body["code"])


@dataclass
class Client:
    """A merchant's own hands: it signs each request and checks each answer, as the protocol says."""

    wechat: WeChatPay

    def call(
        self,
        method: str,
        target: str,
        content: Any = None,
        *,
        trust: bool = True,
        headers: dict[str, str] | None = None,
        **more: str,
    ) -> Answer:
        body = b"" if content is None else content if isinstance(content, bytes) else json.dumps(content).encode()
        sent = {
            "Accept": "application/json",
            "Content-Type": "application/json",
            "Wechatpay-Serial": self.wechat.keys["platform_key_id"],
            "Authorization": self.authorization(method, target, body, **more),
        } | (headers or {})
        where = urlsplit(self.wechat.url)
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=10)
        try:
            connection.request(method, target, body or None, {name: value for name, value in sent.items() if value})
            reply = connection.getresponse()
            answer = Answer(reply.status, dict(reply.getheaders()), reply.read())
        finally:
            connection.close()
        if trust:
            assert self.genuine(answer)
        return answer

    def authorization(self, method: str, target: str, body: bytes, **more: str) -> str:
        terms, keys = self.wechat.terms, self.wechat.keys
        stamp = more.get("timestamp", str(int(time.time())))
        nonce = more.get("nonce_str", secrets.token_hex(16))
        message = f"{method}\n{more.get('signed_target', target)}\n{stamp}\n{nonce}\n".encode() + body + b"\n"
        parts = {
            "mchid": more.get("mchid", terms["mchid"]),
            "nonce_str": nonce,
            "timestamp": stamp,
            "serial_no": more.get("serial_no", keys["serial"]),
            "signature": more.get("signature", signed(keys["private_key"], message)),
        }
        return "WECHATPAY2-SHA256-RSA2048 " + ",".join(f'{name}="{value}"' for name, value in parts.items())

    def genuine(self, answer: Answer) -> bool:
        given = answer.headers
        if given.get("Wechatpay-Serial") != self.wechat.keys["platform_key_id"]:
            return False
        if abs(time.time() - int(given["Wechatpay-Timestamp"])) >= 300:
            return False
        message = f"{given['Wechatpay-Timestamp']}\n{given['Wechatpay-Nonce']}\n".encode() + answer.raw + b"\n"
        return holds(self.wechat.keys["platform_key"], message, given["Wechatpay-Signature"])

    # -- words of the protocol -------------------------------------------------------------------------------------

    def order(self, notify_url: str = "http://127.0.0.1:9/notify", **more: Any) -> dict[str, Any]:
        return {
            "appid": self.wechat.terms["appid"],
            "mchid": self.wechat.terms["mchid"],
            "description": "测试卡 100 元",
            "out_trade_no": number(),
            "notify_url": notify_url,
            "amount": {"total": 1000, "currency": "CNY"},
        } | more

    def create(self, order: dict[str, Any], kind: str = "native", **more: Any) -> Answer:
        return self.call("POST", f"/v3/pay/transactions/{kind}", order, **more)

    def query(self, no: str, **more: Any) -> Answer:
        return self.call("GET", f"/v3/pay/transactions/out-trade-no/{no}?mchid={self.wechat.terms['mchid']}", **more)

    def close(self, no: str, **more: Any) -> Answer:
        body = {"mchid": self.wechat.terms["mchid"]}
        return self.call("POST", f"/v3/pay/transactions/out-trade-no/{no}/close", body, **more)

    def refund(self, no: str, refund: int = 1000, out_refund_no: str = "", total: int = 1000, **more: Any) -> Answer:
        wanted = {
            "out_trade_no": no,
            "out_refund_no": out_refund_no or number(),
            "amount": {"refund": refund, "total": total, "currency": "CNY"},
        }
        return self.call("POST", "/v3/refund/domestic/refunds", wanted | more.pop("fields", {}), **more)

    def refund_query(self, out_refund_no: str) -> Answer:
        return self.call("GET", f"/v3/refund/domestic/refunds/{out_refund_no}")

    def paid(self, notify_url: str = "http://127.0.0.1:9/notify", outcome: str = "silent", **more: Any) -> str:
        order = self.order(notify_url)
        WeChatPay.pay(self.create(order).body["code_url"], outcome, **more)
        return str(order["out_trade_no"])


@dataclass
class Notice:
    headers: dict[str, str]
    raw: bytes
    at: float

    def is_genuine(self, wechat: WeChatPay) -> bool:
        stamp, nonce = self.headers["Wechatpay-Timestamp"], self.headers["Wechatpay-Nonce"]
        if self.headers["Wechatpay-Serial"] != wechat.keys["platform_key_id"] or abs(self.at - int(stamp)) > 300:
            return False
        message = f"{stamp}\n{nonce}\n".encode() + self.raw + b"\n"
        return holds(wechat.keys["platform_key"], message, self.headers["Wechatpay-Signature"])

    @property
    def event(self) -> Any:
        return json.loads(self.raw)

    def read(self, wechat: WeChatPay) -> Any:
        resource = self.event["resource"]
        assert resource["algorithm"] == "AEAD_AES_256_GCM"
        plain = AESGCM(wechat.keys["apiv3_key"].encode()).decrypt(
            resource["nonce"].encode(),
            base64.b64decode(resource["ciphertext"]),
            resource["associated_data"].encode(),
        )
        return json.loads(plain)


@dataclass
class Shop:
    """The merchant's end: keeps every notification and answers as told, 204 where nothing was said."""

    url: str = ""
    notices: list[Notice] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    slow_seconds: float = 0

    def wait_for(self, number_min: int, seconds: float = 5) -> list[Notice]:
        eventually(lambda: len(self.notices) >= number_min, seconds)
        return self.notices


def eventually(happened: Callable[[], Any], seconds: float = 5) -> None:
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.01)


@pytest.fixture
def shop() -> Iterator[Shop]:
    kept = Shop()

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            kept.notices.append(Notice(dict(self.headers.items()), raw, time.time()))
            time.sleep(kept.slow_seconds)
            status = kept.answers.pop(0) if kept.answers else 204
            self.send_response(status)
            self.end_headers()
            if status >= 400:
                self.wfile.write('{"code":"FAIL","message":"失败"}'.encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    kept.url = f"http://127.0.0.1:{server.server_address[1]}/wechat"
    yield kept
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def merchant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys that every test's simulator starts with: making RSA keys is the slow part."""
    state = tmp_path_factory.mktemp("merchant") / "w.sqlite"
    with WeChatPay(state):
        return state.with_name("w.sqlite.keys.json")


@pytest.fixture
def state(tmp_path: Path, merchant: Path) -> Path:
    shutil.copy(merchant, tmp_path / "w.sqlite.keys.json")
    return tmp_path / "w.sqlite"


@pytest.fixture
def wechat(state: Path) -> Iterator[WeChatPay]:
    with WeChatPay(state, retry_after=RETRY_AFTER, refund_after=0.2) as running:
        yield running


@pytest.fixture
def client(wechat: WeChatPay) -> Client:
    return Client(wechat)


# -- the merchant's keys -----------------------------------------------------------------------------------------------


def test_the_merchant_is_made_once_in_files_that_only_the_owner_reads(tmp_path: Path) -> None:
    state = tmp_path / "deep" / "w.sqlite"
    with WeChatPay(state) as first:
        terms, keys = first.terms, first.keys
    for name in ("w.sqlite.keys.json", "w.sqlite.merchant.json"):
        assert state.with_name(name).stat().st_mode & 0o777 == 0o600
    with WeChatPay(state) as again:
        assert again.keys == keys
        assert again.terms == terms | {"gateway": again.url}
        written = json.loads(state.with_name("w.sqlite.merchant.json").read_text())
        assert written == {"terms": again.terms, "keys": keys}
    assert set(keys) == {"serial", "private_key", "apiv3_key", "platform_key_id", "platform_key"}
    assert len(keys["apiv3_key"]) == 32
    assert keys["platform_key_id"].startswith("PUB_KEY_ID_")
    assert "PRIVATE" not in keys["platform_key"]


# -- the happy path ----------------------------------------------------------------------------------------------------


def test_an_order_is_paid_notified_and_found(client: Client, wechat: WeChatPay, shop: Shop) -> None:
    order = client.order(shop.url, attach="附加", time_expire="2099-01-01T00:00:00+08:00")
    no = order["out_trade_no"]
    made = client.create(order)
    assert made.status == 200
    assert client.query(no).body["trade_state"] == "NOTPAY"

    pressed = WeChatPay.pay(made.body["code_url"])
    assert (pressed["trade_state"], pressed["already_paid"]) == ("SUCCESS", False)

    (notice,) = shop.wait_for(1)
    assert notice.is_genuine(wechat)
    assert {"Wechatpay-Signature-Type", "Wechatpay-Timestamp", "Request-ID"} <= set(notice.headers)
    assert notice.event["event_type"] == "TRANSACTION.SUCCESS"
    assert notice.event["resource_type"] == "encrypt-resource"
    told = notice.read(wechat)
    assert told["trade_state"] == "SUCCESS"
    assert (told["appid"], told["mchid"]) == (wechat.terms["appid"], wechat.terms["mchid"])
    assert (told["out_trade_no"], told["attach"]) == (no, "附加")
    assert told["amount"] == {"total": 1000, "payer_total": 1000, "currency": "CNY", "payer_currency": "CNY"}
    assert datetime.fromisoformat(told["success_time"]).utcoffset() == timedelta(hours=8)
    assert client.query(no).body == told
    by_id = f"/v3/pay/transactions/id/{told['transaction_id']}?mchid={wechat.terms['mchid']}"
    assert client.call("GET", by_id).body == told


def test_each_way_to_pay_has_its_own_answer_and_trade_type(client: Client, wechat: WeChatPay) -> None:
    scene = {"payer_client_ip": "203.0.113.7", "h5_info": {"type": "Wap"}}
    h5 = client.order(scene_info=scene)
    WeChatPay.pay(client.create(h5, "h5").body["h5_url"], "silent")
    assert client.query(h5["out_trade_no"]).body["trade_type"] == "MWEB"

    jsapi = client.order(payer={"openid": "o-buyer"})
    prepay_id = client.create(jsapi, "jsapi").body["prepay_id"]
    handed = {
        "appId": wechat.terms["appid"],
        "timeStamp": str(int(time.time())),
        "nonceStr": "abc",
        "package": f"prepay_id={prepay_id}",
        "signType": "RSA",
    }
    message = "".join(f"{handed[name]}\n" for name in ("appId", "timeStamp", "nonceStr", "package")).encode()
    handed["paySign"] = signed(wechat.keys["private_key"], message)
    with pytest.raises(HTTPError, match="400"):
        WeChatPay.pay(WeChatPay.jsapi_page(wechat.url, handed | {"nonceStr": "abd"}))
    WeChatPay.pay(WeChatPay.jsapi_page(wechat.url, handed), "silent")
    found = client.query(jsapi["out_trade_no"]).body
    assert (found["trade_type"], found["trade_state"], found["payer"]) == ("JSAPI", "SUCCESS", {"openid": "o-buyer"})


def test_the_pay_page_shows_what_is_paid_and_a_button_for_every_outcome(client: Client) -> None:
    order = client.order(description="<b>卡</b>", amount={"total": 123456})
    code_url = client.create(order).body["code_url"]
    with urllib.request.urlopen(code_url) as reply:
        page = reply.read().decode()
    assert "¥1,234.56" in page
    assert "&lt;b&gt;卡&lt;/b&gt;" in page
    assert client.wechat.terms["mchid"] in page
    buttons = re.findall(r'name="outcome" value="(\w+)"', page)
    assert buttons[0] == "paid"
    assert len(set(buttons)) == 12
    with urllib.request.urlopen(code_url, b"outcome=silent") as reply:
        assert "SUCCESS" in reply.read().decode()
    for address in (code_url + "x", client.wechat.url + "/pay"):
        with pytest.raises(HTTPError, match="404"):
            urllib.request.urlopen(address)


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_a_request_that_is_not_signed_by_the_merchant_now_is_refused(client: Client, wechat: WeChatPay) -> None:
    order = client.order()
    good = signed(wechat.keys["private_key"], b"something else")
    old, ahead = (str(int(time.time()) + shift) for shift in (-310, 310))
    for wrong in (
        {"signature": good},
        {"signature": "%%%"},
        {"timestamp": old},
        {"timestamp": ahead},
        {"timestamp": "now"},
        {"mchid": "1900000001"},
        {"serial_no": "0" * 40},
        {"nonce_str": ""},
        {"signed_target": "/v3/pay/transactions/jsapi"},
    ):
        refused = client.create(order, **wrong)
        assert (refused.status, refused.code) == (401, "SIGN_ERROR"), wrong
    for headers in (
        {"Authorization": ""},
        {"Authorization": "Bearer x"},
        {"Wechatpay-Serial": "PUB_KEY_ID_0"},
    ):
        assert client.create(order, headers=headers).status == 401, headers
    assert client.query(order["out_trade_no"]).code == "ORDER_NOT_EXIST"


def test_the_query_and_the_body_are_signed_too_and_a_nonce_serves_once(client: Client) -> None:
    no, mchid = number(), client.wechat.terms["mchid"]
    path = f"/v3/pay/transactions/out-trade-no/{no}"
    assert client.call("GET", f"{path}?mchid={mchid}", signed_target=path).status == 401
    assert client.call("GET", f"{path}?mchid={mchid}", nonce_str="n1").status == 404
    assert client.call("GET", f"{path}?mchid={mchid}", nonce_str="n1").status == 401
    order = client.order()
    header = client.authorization("POST", "/v3/pay/transactions/native", json.dumps(order).encode())
    order["amount"]["total"] = 1
    assert client.create(order, headers={"Authorization": header}).status == 401


@pytest.mark.parametrize(
    "odd",
    [
        {"out_trade_no": "short"},
        {"out_trade_no": "x" * 33},
        {"out_trade_no": "dotted.number"},
        {"out_trade_no": 123456},
        {"description": ""},
        {"description": None},
        {"amount": {"total": 0}},
        {"amount": {"total": -1}},
        {"amount": {"total": "100"}},
        {"amount": {"total": 1.5}},
        {"amount": {"total": True}},
        {"amount": {"total": 10**30}},
        {"amount": {"currency": "CNY"}},
        {"amount": {"total": 1, "currency": "USD"}},
        {"amount": 100},
        {"notify_url": "http://127.0.0.1:9/notify?order=1"},
        {"notify_url": "http://shop.example/notify"},
        {"notify_url": "/notify"},
        {"time_expire": "2099-01-01 00:00:00"},
        {"time_expire": "2099-01-01T00:00:00"},
        {"time_expire": "2099-13-01T00:00:00Z"},
        {"time_expire": "2001-01-01T00:00:00Z"},
        {"time_expires": "2099-01-01T00:00:00Z"},
        {"attach": "x" * 129},
        {"payer": {"openid": "o"}},
    ],
)
def test_an_order_by_other_than_the_letter_is_refused(client: Client, odd: dict[str, Any]) -> None:
    refused = client.create(client.order() | odd)
    assert (refused.status, refused.code) == (400, "PARAM_ERROR")


def test_what_an_order_must_have(client: Client) -> None:
    for name in ("description", "out_trade_no", "notify_url", "amount"):
        order = client.order()
        del order[name]
        assert client.create(order).code == "PARAM_ERROR", name
    assert client.create(client.order(), "jsapi").code == "PARAM_ERROR"
    assert client.create(client.order(), "h5").code == "PARAM_ERROR"
    assert client.create(client.order(scene_info={"payer_client_ip": "here"}), "h5").code == "PARAM_ERROR"
    assert client.create(client.order(appid="wx0")).code == "APPID_MCHID_NOT_MATCH"
    for body in (b"", b"{", b"[]", b'"x"'):
        assert client.call("POST", "/v3/pay/transactions/native", body).code == "PARAM_ERROR"
    assert client.call("GET", "/v3/pay/transactions/native").status == 404
    assert client.create(client.order(), headers={"Accept": "text/html"}).code == "PARAM_ERROR"
    assert client.create(client.order(), headers={"Content-Type": "text/plain"}).code == "PARAM_ERROR"


def test_an_order_number_serves_one_order(client: Client) -> None:
    order = client.order()
    first = client.create(order).body
    assert client.create(order).body == first
    assert client.create(order | {"description": "other"}).code == "OUT_TRADE_NO_USED"
    assert client.create(order | {"amount": {"total": 1}}).code == "OUT_TRADE_NO_USED"
    WeChatPay.pay(first["code_url"], "silent")
    assert (client.create(order).status, client.create(order).code) == (400, "ORDERPAID")

    closed = client.order()
    code_url = client.create(closed).body["code_url"]
    answer = client.close(closed["out_trade_no"])
    assert (answer.status, answer.raw) == (204, b"")
    assert client.close(closed["out_trade_no"]).status == 204
    assert client.create(closed).code == "ORDER_CLOSED"
    assert client.query(closed["out_trade_no"]).body["trade_state"] == "CLOSED"
    with pytest.raises(HTTPError, match="400"):
        WeChatPay.pay(code_url)


def test_closing_and_asking_about_others(client: Client) -> None:
    assert (client.close(number()).status, client.query(number()).status) == (404, 404)
    assert client.close(client.paid()).code == "ORDERPAID"
    no = client.paid()
    path = f"/v3/pay/transactions/out-trade-no/{no}"
    assert client.call("GET", path).code == "PARAM_ERROR"
    assert client.call("GET", f"{path}?mchid=1").code == "PARAM_ERROR"
    assert client.call("POST", f"{path}/close", {}).code == "PARAM_ERROR"


def test_a_code_that_has_run_out_cannot_be_paid_except_by_who_was_typing(client: Client) -> None:
    order = client.order(time_expire=(datetime.now(UTC) + timedelta(seconds=1)).isoformat())
    code_url = client.create(order).body["code_url"]
    time.sleep(1.1)
    with pytest.raises(HTTPError, match="400"):
        WeChatPay.pay(code_url)
    assert client.query(order["out_trade_no"]).body["trade_state"] == "NOTPAY"
    assert WeChatPay.pay(code_url, "silent", anyway=1)["trade_state"] == "SUCCESS"


# -- notifications -----------------------------------------------------------------------------------------------------


def test_a_notification_comes_again_until_it_is_accepted(client: Client, wechat: WeChatPay, shop: Shop) -> None:
    shop.answers = [500, 401, 302, 200]
    no = client.paid(shop.url, "paid")
    notices = shop.wait_for(4)
    assert len({notice.event["id"] for notice in notices}) == 1
    assert len({notice.headers["Wechatpay-Nonce"] for notice in notices}) == 4
    assert all(notice.is_genuine(wechat) for notice in notices)
    eventually(lambda: WeChatPay.told(wechat.url, no)[0]["state"] == "acknowledged")
    (letter,) = WeChatPay.told(wechat.url, no)
    assert [answer["status"] for answer in letter["answers"]] == [500, 401, 302, 200]
    assert "FAIL" in letter["answers"][0]["body"]


def test_a_merchant_who_is_slow_is_told_again(state: Path, shop: Shop) -> None:
    shop.slow_seconds = 0.3
    with WeChatPay(state, retry_after=(0.05,), answer_within=0.1) as wechat:
        no = Client(wechat).paid(shop.url, "paid")
        eventually(lambda: WeChatPay.told(wechat.url, no)[0]["state"] == "abandoned")
        (letter,) = WeChatPay.told(wechat.url, no)
    assert [answer["status"] for answer in letter["answers"]] == [None, None]


def test_pressing_again_notifies_again_and_charges_nothing(client: Client, shop: Shop) -> None:
    order = client.order(shop.url)
    code_url = client.create(order).body["code_url"]
    first, again = WeChatPay.pay(code_url), WeChatPay.pay(code_url)
    assert again == first | {"already_paid": True}
    notices = shop.wait_for(2)
    assert notices[0].event == notices[1].event


def test_failing_leaves_the_order_to_be_paid(client: Client, shop: Shop) -> None:
    order = client.order(shop.url)
    code_url = client.create(order).body["code_url"]
    WeChatPay.pay(code_url, "failed")
    assert client.query(order["out_trade_no"]).body["trade_state"] == "PAYERROR"
    WeChatPay.pay(code_url)
    assert client.query(order["out_trade_no"]).body["trade_state"] == "SUCCESS"
    assert len(shop.wait_for(1)) == 1


def test_silent_and_twice_and_late(client: Client, wechat: WeChatPay, shop: Shop) -> None:
    silent = client.paid(shop.url, "silent")
    assert client.query(silent).body["trade_state"] == "SUCCESS"
    client.paid(shop.url, "twice")
    first, second = shop.wait_for(2)
    assert first.event == second.event
    began = time.time()
    late = client.paid(shop.url, "late", seconds=0.5)
    assert client.query(late).body["trade_state"] == "SUCCESS"
    notice = shop.wait_for(3)[2]
    assert notice.read(wechat)["out_trade_no"] == late
    assert notice.at - began >= 0.5
    assert WeChatPay.told(wechat.url, silent) == []


def test_a_stale_notification_comes_before_the_true_one(client: Client, wechat: WeChatPay, shop: Shop) -> None:
    client.paid(shop.url, "out_of_order")
    stale, true = shop.wait_for(2)
    assert stale.is_genuine(wechat)
    assert stale.read(wechat)["trade_state"] == "USERPAYING"
    assert "transaction_id" not in stale.read(wechat)
    assert true.read(wechat)["trade_state"] == "SUCCESS"


def test_wrong_amount_and_wrong_currency_are_what_was_paid(client: Client, wechat: WeChatPay, shop: Shop) -> None:
    short = client.paid(shop.url, "wrong_amount")
    assert shop.wait_for(1)[0].read(wechat)["amount"]["total"] == 999
    assert client.query(short).body["amount"]["total"] == 999
    assert client.refund(short, 1000, total=1000).code == "INVALID_REQUEST"
    assert client.refund(short, 999, total=999).status == 200
    odd = client.paid(shop.url, "wrong_currency")
    eventually(lambda: shop.notices[-1].read(wechat)["out_trade_no"] == odd)
    assert shop.notices[-1].read(wechat)["amount"]["currency"] == "USD"
    assert client.query(odd).body["amount"]["currency"] == "USD"


def test_a_notification_may_name_another_order(client: Client, wechat: WeChatPay, shop: Shop) -> None:
    first = client.paid(shop.url, "other_order")
    told = shop.wait_for(1)[0].read(wechat)
    assert told["out_trade_no"] != first
    assert client.query(told["out_trade_no"]).status == 404
    client.paid(shop.url, "other_order", other_no=first)
    assert shop.wait_for(2)[1].read(wechat)["out_trade_no"] == first


def test_a_forged_notification_looks_right_and_is_not(client: Client, wechat: WeChatPay, shop: Shop) -> None:
    shop.answers = [401]
    no = client.paid(shop.url, "forged")
    (notice,) = shop.wait_for(1)
    assert not notice.is_genuine(wechat)
    assert notice.headers["Wechatpay-Serial"] == wechat.keys["platform_key_id"]
    assert notice.read(wechat)["trade_state"] == "SUCCESS"
    assert client.query(no).body["trade_state"] == "NOTPAY"
    eventually(lambda: WeChatPay.told(wechat.url, no)[0]["state"] == "abandoned")


def test_a_probe_is_marked_as_such_and_its_answer_is_kept(client: Client, wechat: WeChatPay, shop: Shop) -> None:
    shop.answers = [401]
    no = client.paid(shop.url, "signtest")
    probe, true = shop.wait_for(2)
    assert probe.headers["Wechatpay-Signature"].startswith("WECHATPAY/SIGNTEST/")
    assert not probe.is_genuine(wechat)
    assert true.is_genuine(wechat)
    eventually(lambda: WeChatPay.told(wechat.url, no)[1]["state"] == "acknowledged")
    first, _ = WeChatPay.told(wechat.url, no)
    assert (first["how"], first["state"], first["answers"][0]["status"]) == ("signtest", "abandoned", 401)


@pytest.mark.parametrize("fault", ["wrong_signature", "stale_timestamp", "unknown_serial", "tampered", "garbage"])
def test_a_notification_can_go_wrong_on_its_way(client: Client, wechat: WeChatPay, shop: Shop, fault: str) -> None:
    shop.answers = [401]
    WeChatPay.misbehave(wechat.url, "notify", fault)
    client.paid(shop.url, "paid")
    wrong, right = shop.wait_for(2)
    assert wrong.is_genuine(wechat) == (fault == "garbage")
    assert right.is_genuine(wechat)
    assert right.read(wechat)["trade_state"] == "SUCCESS"


# -- refunds -----------------------------------------------------------------------------------------------------------


def test_a_refund_is_under_way_and_then_done_and_notified(client: Client, wechat: WeChatPay, shop: Shop) -> None:
    no = client.paid(shop.url)
    asked = client.refund(no, 300, "R-1", fields={"reason": "缺货"})
    assert (asked.status, asked.body["status"]) == (200, "PROCESSING")
    assert asked.body["amount"]["refund"] == 300
    assert client.query(no).body["trade_state"] == "REFUND"
    (notice,) = shop.wait_for(1)
    assert notice.is_genuine(wechat)
    assert notice.event["event_type"] == "REFUND.SUCCESS"
    told = notice.read(wechat)
    assert (told["out_refund_no"], told["refund_status"], told["amount"]["refund"]) == ("R-1", "SUCCESS", 300)
    found = client.refund_query("R-1").body
    assert (found["status"], found["refund_id"]) == ("SUCCESS", told["refund_id"])
    assert found["success_time"] == told["success_time"]
    assert client.refund_query("R-2").status == 404


def test_a_refund_number_serves_once_and_never_more_than_was_paid(client: Client) -> None:
    no = client.paid()
    first = client.refund(no, 600, "A-1").body
    assert client.refund(no, 600, "A-1").body["refund_id"] == first["refund_id"]
    assert client.refund(no, 500, "A-1").code == "INVALID_REQUEST"
    assert client.refund(no, 401, "A-2").code == "INVALID_REQUEST"
    assert client.refund_query("A-2").status == 404
    assert client.refund(no, 400, "A-2").status == 200
    assert client.refund(no, 1, "A-3").code == "INVALID_REQUEST"
    assert client.query(no).body["trade_state"] == "REFUND"


def test_refunds_that_are_refused(client: Client) -> None:
    no = client.paid()
    unpaid = client.order()
    client.create(unpaid)
    assert client.refund(number()).code == "RESOURCE_NOT_EXISTS"
    assert client.refund(unpaid["out_trade_no"]).code == "INVALID_REQUEST"
    assert client.refund(no, 1, total=999).code == "INVALID_REQUEST"
    for odd in (
        {"amount": {"refund": 1, "total": 1000}},
        {"amount": {"refund": 0, "total": 1000, "currency": "CNY"}},
        {"transaction_id": "4200"},
        {"out_refund_no": "with space"},
        {"out_refund_no": "x" * 65},
        {"refund_no": "x"},
        {"notify_url": "https://shop.example/n?x=1"},
    ):
        assert client.refund(no, fields=odd).code == "PARAM_ERROR", odd
    assert client.query(no).body["trade_state"] == "SUCCESS"


@pytest.mark.parametrize("ends_as", ["ABNORMAL", "CLOSED"])
def test_a_refund_can_come_to_nothing(client: Client, wechat: WeChatPay, shop: Shop, ends_as: str) -> None:
    no = client.paid(shop.url)
    WeChatPay.misbehave(wechat.url, "refunds", ends_as.lower())
    assert client.refund(no, 1000, "N-1").body["status"] == "PROCESSING"
    assert client.refund(no, 1, "N-2").code == "INVALID_REQUEST"
    (notice,) = shop.wait_for(1)
    assert notice.event["event_type"] == f"REFUND.{ends_as}"
    assert client.refund_query("N-1").body["status"] == ends_as
    freed = client.refund(no, 1, "N-2").status == 200
    assert freed == (ends_as == "CLOSED")


def test_a_refund_by_the_transaction_with_its_own_address_takes_the_time_told(
    client: Client, wechat: WeChatPay, shop: Shop
) -> None:
    no = client.paid()
    transaction_id = client.query(no).body["transaction_id"]
    wanted = {
        "transaction_id": transaction_id,
        "out_refund_no": "T-1",
        "notify_url": shop.url,
        "amount": {"refund": 1, "total": 1000, "currency": "CNY"},
    }
    WeChatPay.misbehave(wechat.url, "refunds", "not_enough")
    poor = client.call("POST", "/v3/refund/domestic/refunds", wanted)
    assert (poor.status, poor.code) == (403, "NOT_ENOUGH")
    WeChatPay.misbehave(wechat.url, "refunds", "processing", seconds=0.6)
    began = time.time()
    client.call("POST", "/v3/refund/domestic/refunds", wanted)
    assert shop.wait_for(1)[0].at - began >= 0.6


def test_wechat_itself_may_refund(client: Client, wechat: WeChatPay, shop: Shop) -> None:
    no = client.paid(shop.url, "success_then_refund")
    paid, refunded = shop.wait_for(2)
    assert paid.event["event_type"] == "TRANSACTION.SUCCESS"
    assert refunded.event["event_type"] == "REFUND.SUCCESS"
    assert refunded.read(wechat)["amount"]["refund"] == 1000
    assert client.query(no).body["trade_state"] == "REFUND"
    assert client.refund(no, 1).code == "INVALID_REQUEST"


# -- faults ------------------------------------------------------------------------------------------------------------


def test_an_answer_can_be_lost_before_or_after_the_work_is_done(client: Client, wechat: WeChatPay) -> None:
    for fault, found in (("silent", 200), ("before_silent", 404)):
        WeChatPay.misbehave(wechat.url, "pay", fault)
        order = client.order()
        with pytest.raises((http.client.HTTPException, OSError)):
            client.create(order)
        assert client.query(order["out_trade_no"]).status == found


@pytest.mark.parametrize(
    ("fault", "status", "trusted", "done"),
    [
        ("500", 500, True, True),
        ("before_500", 500, True, False),
        ("before_429", 429, True, False),
        ("wrong_signature", 200, False, True),
        ("unsigned", 200, False, True),
        ("stale_timestamp", 200, False, True),
        ("unknown_serial", 200, False, True),
        ("garbage", 200, True, True),
    ],
)
def test_an_answer_can_be_wrong(
    client: Client, wechat: WeChatPay, fault: str, status: int, trusted: bool, done: bool
) -> None:
    no = client.paid()
    WeChatPay.misbehave(wechat.url, "refunds", fault)
    answer = client.refund(no, 1, "F-1", trust=False)
    assert (answer.status, client.genuine(answer)) == (status, trusted)
    assert (client.refund_query("F-1").status == 200) == done
    assert client.refund(no, 1, "F-1").status == 200


def test_an_answer_can_be_slow(client: Client, wechat: WeChatPay) -> None:
    WeChatPay.misbehave(wechat.url, "query", "slow", seconds=0.3)
    began = time.monotonic()
    client.query(number())
    assert time.monotonic() - began >= 0.3


def test_odd_faults_are_refused(wechat: WeChatPay) -> None:
    for route, fault, more in (("pay", "abnormal", {}), ("nowhere", "500", {}), ("pay", "slow", {"seconds": 999})):
        with pytest.raises(HTTPError, match="400"):
            WeChatPay.misbehave(wechat.url, route, fault, **more)
    WeChatPay.misbehave(wechat.url, "pay", "500", times=3)
    assert WeChatPay.misbehave(wechat.url, "pay", "500", times=0)["armed"] == 0


def test_uncertain_points_can_be_played_the_other_way_and_odd_ones_are_refused(
    client: Client, wechat: WeChatPay
) -> None:
    paid, order = client.paid(), client.order()
    played = WeChatPay.behave(
        wechat.url, failed_state="NOTPAY", close_paid="INVALID_REQUEST", close_again="ORDER_CLOSED"
    )
    WeChatPay.pay(client.create(order).body["code_url"], "failed")
    no = order["out_trade_no"]

    assert played == WeChatPay.behave(wechat.url)
    assert client.query(no).body["trade_state"] == "NOTPAY"
    assert client.close(paid).code == "INVALID_REQUEST"
    assert client.close(no).status == 204
    assert client.close(no).code == "ORDER_CLOSED"
    WeChatPay.behave(wechat.url, codes="joined", order_absent="RESOURCE_NOT_EXISTS")
    assert client.query("NOSUCHORDER").code == "RESOURCENOTEXISTS"
    WeChatPay.behave(wechat.url, refusals="unsigned")
    assert "Wechatpay-Signature" not in client.query("NOSUCHORDER", trust=False).headers
    for odd in ({"nothing": "x"}, {"codes": "x"}):
        with pytest.raises(HTTPError, match="400"):
            WeChatPay.behave(wechat.url, **odd)


# -- bills -------------------------------------------------------------------------------------------------------------


def today() -> str:
    return f"{datetime.now(BEIJING):%Y-%m-%d}"


def fetched(client: Client, day: str, more: str = "&bill_type=ALL&tar_type=GZIP") -> bytes:
    """The bill after its hash was checked."""
    told = client.call("GET", f"/v3/bill/tradebill?bill_date={day}{more}")
    assert told.status == 200, told.raw
    assert told.body["hash_type"] == "SHA1"
    where = urlsplit(told.body["download_url"])
    answer = client.call("GET", f"{where.path}?{where.query}", trust=False, headers={"Accept": ""})
    assert not [name for name in answer.headers if name.lower().startswith("wechatpay-")]
    text = gzip.decompress(answer.raw) if "GZIP" in more else answer.raw
    assert hashlib.sha1(text).hexdigest() == told.body["hash_value"]
    return text


def test_the_bill_has_the_bytes_of_a_real_one(client: Client, wechat: WeChatPay, shop: Shop) -> None:
    first, second = client.paid(), client.paid(paid_at=datetime.now(UTC).isoformat(timespec="seconds"))
    refund = client.refund(first, 250, "B-1").body
    eventually(lambda: client.refund_query("B-1").body["status"] == "SUCCESS")
    raw = fetched(client, today())
    assert raw.startswith(b"\xef\xbb\xbf\xe4\xba\xa4\xe6\x98\x93\xe6\x97\xb6\xe9\x97\xb4,")
    assert raw.endswith(b"\r\n")
    assert raw.count(b"\n") == raw.count(b"\r\n") == 6
    head, *rows, summary, total = raw.decode("utf-8-sig").splitlines()
    assert len(head.split(",")) == OFFICIAL_COLUMNS
    assert all(len(row.split(",`")) == OFFICIAL_COLUMNS for row in rows)
    cells = [dict(zip(head.split(","), row.removeprefix("`").split(",`"), strict=True)) for row in rows]
    (paid,) = [row for row in cells if row["商户订单号"] == first and row["交易状态"] == "SUCCESS"]
    assert paid["微信订单号"] == client.query(first).body["transaction_id"]
    assert (paid["订单金额"], paid["手续费"], paid["费率"]) == ("10.00", "0.06000", "0.60%")
    assert (paid["微信退款单号"], paid["商户退款单号"], paid["退款金额"]) == ("0", "0", "0.00")
    (back,) = [row for row in cells if row["交易状态"] == "REFUND"]
    assert (back["商户订单号"], back["商户退款单号"], back["微信退款单号"]) == (first, "B-1", refund["refund_id"])
    assert (back["退款金额"], back["申请退款金额"], back["手续费"]) == ("2.50", "2.50", "-0.01500")
    assert {row["商户订单号"] for row in cells} == {first, second}
    assert len(summary.split(",")) == 7
    assert total == "`3,`20.00,`2.50,`0.00,`0.10500,`20.00,`2.50"


def test_the_columns_are_those_of_an_authentic_bill(client: Client) -> None:
    real = base64.b64decode(vectors("wechatpay_tradebill.json")["raw_b64"])
    no = client.paid()
    theirs = real.decode("utf-8").split("\r\n")
    ours = fetched(client, today()).decode("utf-8").split("\r\n")
    assert (ours[0], ours[2], len(ours[1].split(",`"))) == (theirs[0], theirs[-3], len(theirs[1].split(",`")))
    shape = [re.sub(r"\d+", "9", cell) for cell in theirs[1].split(",`")]
    mine = [re.sub(r"\d+", "9", cell) for cell in ours[1].split(",`")]
    same = [0, 3, 4, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 22, 23, 24, 25, 26]
    assert [mine[i] for i in same] == [shape[i] for i in same]
    assert no in ours[1]


def test_bills_of_other_days_and_kinds(client: Client, wechat: WeChatPay) -> None:
    def refusal(query: str) -> str:
        return client.call("GET", f"/v3/bill/tradebill?{query}").code

    yesterday = datetime.now(BEIJING) - timedelta(days=1)
    day = f"bill_date={yesterday:%Y-%m-%d}"
    assert refusal(day) == "NO_STATEMENT_EXIST"
    no = client.paid(paid_at=yesterday.isoformat(timespec="seconds"))
    assert no.encode() in fetched(client, f"{yesterday:%Y-%m-%d}", "")
    assert refusal(f"{day}&bill_type=REFUND") == "NO_STATEMENT_EXIST"
    WeChatPay.misbehave(wechat.url, "bill", "statement_creating")
    assert refusal(day) == "STATEMENT_CREATING"
    for odd in ("bill_date=2099-01-01", "bill_date=2001-01-01", "bill_date=20260101", f"{day}&tar_type=ZIP", "x=1"):
        assert refusal(odd) == "PARAM_ERROR", odd


def test_a_bill_is_had_only_signed_and_may_come_damaged(client: Client, wechat: WeChatPay) -> None:
    client.paid()
    told = client.call("GET", f"/v3/bill/tradebill?bill_date={today()}&tar_type=GZIP").body
    with pytest.raises(HTTPError, match="401"):
        urllib.request.urlopen(told["download_url"])
    WeChatPay.misbehave(wechat.url, "bill", "wrong_hash")
    with pytest.raises(AssertionError):
        fetched(client, today())
    for fault in ("garbage", "cut_short"):
        WeChatPay.misbehave(wechat.url, "download", fault)
        with pytest.raises((OSError, EOFError)):
            fetched(client, today())


def test_the_real_hours_of_bills_can_be_kept(state: Path) -> None:
    with WeChatPay(state, bills_at_once=False) as wechat:
        client = Client(wechat)
        client.paid()
        refused = client.call("GET", f"/v3/bill/tradebill?bill_date={today()}")
        assert (refused.status, refused.code) == (400, "STATEMENT_CREATING")
        past = datetime.now(BEIJING) - timedelta(days=3)
        client.paid(paid_at=past.isoformat(timespec="seconds"))
        assert fetched(client, f"{past:%Y-%m-%d}")


# -- restarts ----------------------------------------------------------------------------------------------------------


def test_a_restart_keeps_payments_refunds_and_what_is_still_to_be_told(state: Path, shop: Shop) -> None:
    with WeChatPay(state, retry_after=(0.5,), refund_after=0.5) as before:
        client = Client(before)
        shop.answers = [500]
        no = client.paid(shop.url, "paid")
        shop.wait_for(1)
        refund = client.refund(no, 10, "K-1").body
        eventually(lambda: WeChatPay.told(before.url, no)[0]["tries"] == 1)
        client.call("GET", "/v3/refund/domestic/refunds/K-1", nonce_str="kept")
    with WeChatPay(state, retry_after=(0.5,)) as after:
        client = Client(after)
        assert client.query(no).body["trade_state"] == "REFUND"
        assert client.refund(no, 10, "K-1").body["refund_id"] == refund["refund_id"]
        assert client.call("GET", "/v3/refund/domestic/refunds/K-1", nonce_str="kept").status == 401
        notices = shop.wait_for(3)
        assert notices[1].is_genuine(after)
        assert {notice.event["event_type"] for notice in notices[1:]} == {"TRANSACTION.SUCCESS", "REFUND.SUCCESS"}


def test_the_command_serves_until_it_is_told_to_end_and_prints_no_secret(state: Path) -> None:
    command = [sys.executable, "infra/local/wechat_pay.py", "--port", "0", "--state", str(state)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        file = state.with_name("w.sqlite.merchant.json")
        eventually(file.exists, 20)
        written = json.loads(file.read_text())
        with urllib.request.urlopen(f"{written['terms']['gateway']}/health", timeout=5) as reply:
            assert reply.status == 200
    finally:
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "PRIVATE KEY" not in said
    assert written["keys"]["apiv3_key"] not in said
