"""Alipay's simulator over real sockets, by the letter of the protocol; the signing here is the test's own."""

from __future__ import annotations

import base64
import io
import json
import re
import signal
import stat
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qsl, urlencode, urlsplit
from zipfile import ZipFile

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from cryptography.x509 import load_pem_x509_certificates

from infra.local.alipay import AlipayGateway
from tests.published import vectors

ROOT = Path(__file__).resolve().parents[2]
BEIJING = timezone(timedelta(hours=8))
RETRY_AFTER = (0.05, 0.1, 0.15, 0.2)
SUBJECT = "王者荣耀 点券/648"
_numbers = count(1)
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def number(prefix: str = "KQ") -> str:
    return f"{prefix}{next(_numbers):06d}"


def today() -> str:
    return f"{datetime.now(BEIJING):%Y-%m-%d}"


def eventually(holds: Callable[[], bool], seconds: float = 8) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.01)


# -- the test's own merchant -------------------------------------------------------------------------------------------


def joined(fields: dict[str, str], *without: str) -> bytes:
    return "&".join(f"{k}={v}" for k, v in sorted(fields.items()) if k not in without and v != "").encode()


@dataclass
class Client:
    """Signs requests and checks answers with nothing but what the protocol says."""

    terms: dict[str, str]
    keys: dict[str, str]

    def fields(self, method: str, biz: Any, **other: str) -> dict[str, str]:
        """Signed fields; what is given as "" is left out, and `sign` may be given."""
        fields = {
            "app_id": self.terms["app_id"],
            "method": method,
            "format": "JSON",
            "charset": "utf-8",
            "sign_type": "RSA2",
            "timestamp": f"{datetime.now(BEIJING):%Y-%m-%d %H:%M:%S}",
            "version": "1.0",
            "biz_content": biz if isinstance(biz, str) else json.dumps(biz, ensure_ascii=False),
        }
        fields = {name: value for name, value in (fields | other).items() if value}
        return {"sign": self.sign(joined(fields, "sign"))} | fields

    def sign(self, message: bytes) -> str:
        key = load_pem_private_key(self.keys["private_key"].encode(), None)
        assert isinstance(key, rsa.RSAPrivateKey)
        return base64.b64encode(key.sign(message, padding.PKCS1v15(), hashes.SHA256())).decode()

    def post(self, fields: dict[str, str]) -> str:
        with _open(self.terms["gateway"], urlencode(fields).encode(), timeout=15) as reply:
            return str(reply.read().decode())

    def ask(self, method: str, biz: Any, **other: str) -> dict[str, Any]:
        """The answer's content, once its signature holds."""
        text = self.post(self.fields(method, biz, **other))
        content, sign = self.split(method, text)
        self.check(content.encode(), sign)
        answer: dict[str, Any] = json.loads(content)
        return answer

    def refusal(self, method: str, biz: Any, **other: str) -> tuple[str, str]:
        """Code and sub_code of an answer that the gateway does not sign."""
        answer = json.loads(self.post(self.fields(method, biz, **other)))
        assert "sign" not in answer
        (content,) = answer.values()
        return content["code"], content["sub_code"]

    @staticmethod
    def split(method: str, text: str) -> tuple[str, str]:
        """The exact text that is signed, and the signature."""
        name = f'"{method.replace(".", "_")}_response":'
        begins = text.index(name) + len(name)
        _, length = json.JSONDecoder().raw_decode(text[begins:])
        return text[begins : begins + length], json.loads(text)["sign"]

    def holds(self, message: bytes, sign: str, digest: hashes.HashAlgorithm | None = None) -> bool:
        key = load_pem_public_key(self.keys["alipay_key"].encode())
        assert isinstance(key, rsa.RSAPublicKey)
        try:
            key.verify(base64.b64decode(sign), message, padding.PKCS1v15(), digest or hashes.SHA256())
        except InvalidSignature:
            return False
        return True

    def check(self, message: bytes, sign: str) -> None:
        assert self.holds(message, sign), "the answer's signature does not hold"

    # -- what most tests begin with

    def precreate(self, amount: str = "25.00", notify_url: str = "", **biz: str) -> tuple[str, str]:
        """The number of a new order, and its QR code."""
        order = {"out_trade_no": number(), "total_amount": amount, "subject": SUBJECT} | biz
        answer = self.ask("alipay.trade.precreate", order, notify_url=notify_url)
        assert answer["code"] == "10000", answer
        return order["out_trade_no"], answer["qr_code"]

    def page_address(self, method: str, return_url: str = "", **biz: str) -> str:
        product = "FAST_INSTANT_TRADE_PAY" if "page" in method else "QUICK_WAP_WAY"
        order = {"out_trade_no": number(), "total_amount": "25.00", "subject": SUBJECT, "product_code": product} | biz
        return f"{self.terms['gateway']}?{urlencode(self.fields(method, order, return_url=return_url))}"

    def query(self, out_trade_no: str) -> dict[str, Any]:
        return self.ask("alipay.trade.query", {"out_trade_no": out_trade_no})

    def refund(self, out_trade_no: str, amount: str, request_no: str) -> dict[str, Any]:
        biz = {"out_trade_no": out_trade_no, "refund_amount": amount, "out_request_no": request_no}
        return self.ask("alipay.trade.refund", biz)


@dataclass
class Shop:
    """The merchant's end: keeps every notification and answers as told."""

    server: ThreadingHTTPServer
    answer: Callable[[dict[str, str]], tuple[int, bytes]] = lambda notice: (200, b"success")
    all_notices: list[dict[str, str]] = field(default_factory=list)

    @property
    def notify_url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/webhooks/payments/alipay"

    def wait(self, out_trade_no: str, how_many: int) -> list[dict[str, str]]:
        def found() -> list[dict[str, str]]:
            return [notice for notice in list(self.all_notices) if notice["out_trade_no"] == out_trade_no]

        eventually(lambda: len(found()) >= how_many)
        return found()


@pytest.fixture
def shop() -> Iterator[Shop]:
    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            notice = dict(parse_qsl(raw.decode("ascii"), keep_blank_values=True, strict_parsing=True))
            status, body = one.answer(notice)
            one.all_notices.append(notice)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    one = Shop(ThreadingHTTPServer(("127.0.0.1", 0), Door))
    Thread(target=one.server.serve_forever, args=(0.02,), daemon=True).start()
    yield one
    one.server.shutdown()
    one.server.server_close()


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("alipay") / "alipay.sqlite"


@pytest.fixture(scope="module")
def gateway(state: Path) -> Iterator[AlipayGateway]:
    with AlipayGateway(state, retry_after=RETRY_AFTER) as running:
        yield running


@pytest.fixture
def client(gateway: AlipayGateway) -> Client:
    return Client(gateway.terms, gateway.keys)


@pytest.fixture
def traits(gateway: AlipayGateway) -> Iterator[Callable[..., None]]:
    before = AlipayGateway.behave(gateway.url)
    yield lambda **wanted: AlipayGateway.behave(gateway.url, **wanted) and None
    AlipayGateway.behave(gateway.url, **before)


# -- paying ------------------------------------------------------------------------------------------------------------


def test_a_scanned_code_is_paid_notified_and_answered_for(client: Client, shop: Shop) -> None:
    out_trade_no, qr_code = client.precreate("648.00", shop.notify_url)

    pressed = AlipayGateway.pay(qr_code)

    (notice,) = shop.wait(out_trade_no, 1)
    assert client.holds(joined(notice, "sign", "sign_type"), notice["sign"])
    assert {name: notice[name] for name in ("notify_type", "trade_status", "total_amount", "sign_type", "charset")} == {
        "notify_type": "trade_status_sync",
        "trade_status": "TRADE_SUCCESS",
        "total_amount": "648.00",
        "sign_type": "RSA2",
        "charset": "utf-8",
    }
    assert (notice["app_id"], notice["seller_id"]) == (client.terms["app_id"], client.terms["seller_id"])
    assert notice["subject"] == SUBJECT
    assert notice["notify_id"]
    asked = client.query(out_trade_no)
    assert (asked["code"], asked["trade_status"], asked["total_amount"]) == ("10000", "TRADE_SUCCESS", "648.00")
    assert asked["trade_no"] == notice["trade_no"] == pressed["trade_no"]
    assert asked["send_pay_date"] == notice["gmt_payment"]
    assert len(asked["trade_no"]) == 28


def test_a_changed_notification_does_not_verify(client: Client, shop: Shop) -> None:
    out_trade_no, qr_code = client.precreate(notify_url=shop.notify_url)
    AlipayGateway.pay(qr_code)

    (notice,) = shop.wait(out_trade_no, 1)

    assert not client.holds(joined(notice | {"total_amount": "0.01"}, "sign", "sign_type"), notice["sign"])


def test_there_is_no_trade_before_somebody_scans(client: Client) -> None:
    out_trade_no, qr_code = client.precreate()

    before = client.query(out_trade_no)
    closed = client.ask("alipay.trade.close", {"out_trade_no": out_trade_no})
    page = _open(qr_code).read().decode()
    after = client.query(out_trade_no)

    assert (before["code"], before["sub_code"]) == ("40004", "ACQ.TRADE_NOT_EXIST")
    assert closed["sub_code"] == "ACQ.TRADE_NOT_EXIST"
    assert SUBJECT in page
    assert "¥25.00" in page
    assert client.terms["seller_id"] in page
    assert after["trade_status"] == "WAIT_BUYER_PAY"
    assert "send_pay_date" not in after


@pytest.mark.parametrize("method", ["alipay.trade.page.pay", "alipay.trade.wap.pay"])
def test_a_buyer_comes_back_with_a_signed_address(client: Client, method: str) -> None:
    out_trade_no = number()
    address = client.page_address(method, "https://shop.example/orders?id=7", out_trade_no=out_trade_no)
    assert client.query(out_trade_no)["sub_code"] == "ACQ.TRADE_NOT_EXIST"

    pressed = AlipayGateway.pay(address)

    back = dict(parse_qsl(urlsplit(pressed["return_url"]).query))
    assert pressed["return_url"].startswith("https://shop.example/orders?id=7&")
    del back["id"]
    assert client.holds(joined(back, "sign", "sign_type"), back["sign"])
    assert back["method"] == f"{method}.return"
    assert (back["out_trade_no"], back["total_amount"]) == (out_trade_no, "25.00")
    assert client.query(out_trade_no)["trade_status"] == "TRADE_SUCCESS"


def test_a_form_opens_the_same_page_as_an_address(client: Client) -> None:
    order = {
        "out_trade_no": number(),
        "total_amount": "25.00",
        "subject": SUBJECT,
        "product_code": "FAST_INSTANT_TRADE_PAY",
    }
    fields = client.fields("alipay.trade.page.pay", order)

    with _open(client.terms["gateway"], urlencode(fields).encode()) as page:
        content = page.read().decode()

    assert SUBJECT in content
    assert client.query(order["out_trade_no"])["trade_status"] == "WAIT_BUYER_PAY"


def test_answers_come_with_and_without_escaped_slashes(client: Client) -> None:
    texts = [
        client.post(
            client.fields(
                "alipay.trade.precreate", {"out_trade_no": number(), "total_amount": "1.00", "subject": SUBJECT}
            )
        )
        for _ in range(2)
    ]

    assert {"\\/" in text for text in texts} == {True, False}
    for text in texts:
        content, sign = client.split("alipay.trade.precreate", text)
        client.check(content.encode(), sign)


# -- what is refused ---------------------------------------------------------------------------------------------------

_ORDER = {"out_trade_no": "KQ1", "total_amount": "25.00", "subject": SUBJECT}


@pytest.mark.parametrize(
    ("other", "refusal"),
    [
        ({"sign": "AAAA"}, ("40002", "isv.invalid-signature")),
        ({"sign": "不是base64"}, ("40002", "isv.invalid-signature")),
        ({"app_id": "2021000000000000"}, ("40002", "isv.invalid-app-id")),
        ({"app_id": ""}, ("40001", "isv.missing-app-id")),
        ({"sign_type": "RSA"}, ("40002", "isv.invalid-signature-type")),
        ({"charset": "gbk"}, ("40002", "isv.invalid-charset")),
        ({"version": "2.0"}, ("40002", "isv.unsupported-version")),
        ({"timestamp": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}"}, ("40002", "isv.invalid-timestamp")),
        ({"timestamp": f"{datetime.now(BEIJING):%Y-%m-%dT%H:%M:%S}"}, ("40002", "isv.invalid-timestamp")),
        ({"timestamp": ""}, ("40001", "isv.missing-timestamp")),
        ({"notify_url": "shop.example/notify"}, ("40002", "isv.invalid-parameter")),
        ({"biz_content": "[]"}, ("40002", "isv.invalid-parameter")),
    ],
)
def test_the_gateway_refuses_what_is_not_signed_for_it_now(
    client: Client, other: dict[str, str], refusal: tuple[str, str]
) -> None:
    assert client.refusal("alipay.trade.precreate", _ORDER, **other) == refusal


def test_a_field_changed_after_signing_is_refused(client: Client) -> None:
    fields = client.fields("alipay.trade.precreate", _ORDER)

    answer = json.loads(client.post(fields | {"notify_url": "https://elsewhere.example/"}))

    assert answer["alipay_trade_precreate_response"]["sub_code"] == "isv.invalid-signature"
    assert "sign" not in answer


@pytest.mark.parametrize(
    "change",
    [
        {"out_trade_no": ""},
        {"out_trade_no": "x" * 65},
        {"out_trade_no": "KQ-1"},
        {"total_amount": "25"},
        {"total_amount": "25.0"},
        {"total_amount": 25.0},
        {"total_amount": "0.00"},
        {"total_amount": "-1.00"},
        {"total_amount": "100000000.01"},
        {"subject": ""},
        {"subject": "x" * 257},
        {"timeout_express": "16d"},
        {"time_expire": f"{datetime.now(UTC) + timedelta(hours=1):%Y-%m-%d %H:%M:%S}"},
        {"product_code": "FAST_INSTANT_TRADE_PAY"},
        {"seller_id": "2088000000000000"},
    ],
)
def test_an_odd_order_is_refused_and_the_refusal_signed(client: Client, change: dict[str, Any]) -> None:
    answer = client.ask("alipay.trade.precreate", _ORDER | change)

    assert (answer["code"], answer["sub_code"]) == ("40004", "ACQ.INVALID_PARAMETER")


def test_a_page_that_is_not_signed_shows_why(client: Client) -> None:
    address = client.page_address("alipay.trade.page.pay").replace("25.00", "0.01")

    with pytest.raises(HTTPError) as refused:
        _open(address)

    assert refused.value.code == 400
    assert "isv.invalid-signature" in refused.value.read().decode()


# -- the same again ----------------------------------------------------------------------------------------------------


def test_an_order_asked_for_again_is_the_same_one_and_other_terms_are_refused(client: Client) -> None:
    out_trade_no, qr_code = client.precreate()

    again = client.precreate(out_trade_no=out_trade_no)
    other = client.ask("alipay.trade.precreate", _ORDER | {"out_trade_no": out_trade_no, "total_amount": "24.99"})

    assert again == (out_trade_no, qr_code)
    assert (other["code"], other["sub_code"]) == ("40004", "ACQ.CONTEXT_INCONSISTENT")


def test_a_paid_order_and_a_closed_one_are_not_made_again(client: Client) -> None:
    paid, paid_code = client.precreate()
    closed, closed_code = client.precreate()
    AlipayGateway.pay(paid_code)
    _open(closed_code).close()

    closing = client.ask("alipay.trade.close", {"out_trade_no": closed})
    answers = [client.ask("alipay.trade.precreate", _ORDER | {"out_trade_no": one}) for one in (paid, closed)]

    assert (closing["code"], closing["out_trade_no"]) == ("10000", closed)
    assert [answer["sub_code"] for answer in answers] == ["ACQ.TRADE_HAS_SUCCESS", "ACQ.TRADE_HAS_CLOSE"]
    assert client.query(closed)["trade_status"] == "TRADE_CLOSED"
    with pytest.raises(HTTPError, match="409"):
        AlipayGateway.pay(closed_code)


def test_a_paid_trade_cannot_be_closed(client: Client) -> None:
    out_trade_no, qr_code = client.precreate()
    AlipayGateway.pay(qr_code)

    answer = client.ask("alipay.trade.close", {"out_trade_no": out_trade_no})

    assert (answer["code"], answer["sub_code"]) == ("40004", "ACQ.TRADE_STATUS_ERROR")
    assert client.query(out_trade_no)["trade_status"] == "TRADE_SUCCESS"


def test_a_trade_nobody_pays_in_time_is_closed(client: Client) -> None:
    moment = datetime.now(BEIJING) + timedelta(seconds=4)
    out_trade_no, qr_code = client.precreate(time_expire=f"{moment:%Y-%m-%d %H:%M:%S}")
    unseen, unseen_code = client.precreate(time_expire=f"{moment:%Y-%m-%d %H:%M:%S}")
    _open(qr_code).close()

    eventually(lambda: client.query(out_trade_no)["trade_status"] == "TRADE_CLOSED")

    for code in (qr_code, unseen_code):
        with pytest.raises(HTTPError, match="409"):
            AlipayGateway.pay(code)
    assert client.query(unseen)["sub_code"] == "ACQ.TRADE_NOT_EXIST"


def test_a_code_that_nobody_scanned_can_be_paid_after_it_was_to_be_closed(client: Client) -> None:
    out_trade_no, qr_code = client.precreate()

    closing = client.ask("alipay.trade.close", {"out_trade_no": out_trade_no})
    AlipayGateway.pay(qr_code)

    assert closing["sub_code"] == "ACQ.TRADE_NOT_EXIST"
    assert client.query(out_trade_no)["trade_status"] == "TRADE_SUCCESS"


def test_cancelling_closes_what_is_unpaid_and_refunds_what_is_paid(client: Client) -> None:
    unseen, unseen_code = client.precreate()
    unpaid, unpaid_code = client.precreate()
    paid, paid_code = client.precreate()
    _open(unpaid_code).close()
    AlipayGateway.pay(paid_code)

    answers = [client.ask("alipay.trade.cancel", {"out_trade_no": one}) for one in (unseen, unpaid, paid)]

    assert [(answer["code"], answer.get("action")) for answer in answers] == [
        ("10000", None),
        ("10000", "close"),
        ("10000", "refund"),
    ]
    assert [client.query(one)["trade_status"] for one in (unpaid, paid)] == ["TRADE_CLOSED", "TRADE_CLOSED"]
    with pytest.raises(HTTPError, match="409"):
        AlipayGateway.pay(unseen_code)


# -- refunds -----------------------------------------------------------------------------------------------------------


def test_a_refund_is_made_once_per_request_number(client: Client, shop: Shop) -> None:
    out_trade_no, qr_code = client.precreate("25.00", shop.notify_url)
    AlipayGateway.pay(qr_code)

    first = client.refund(out_trade_no, "5.00", "R1")
    again = client.refund(out_trade_no, "5.00", "R1")
    other = client.refund(out_trade_no, "6.00", "R1")

    assert (first["fund_change"], again["fund_change"]) == ("Y", "N")
    assert first["refund_fee"] == again["refund_fee"] == "5.00"
    assert other["sub_code"] == "ACQ.DISCORDANT_REPEAT_REQUEST"
    assert client.query(out_trade_no)["trade_status"] == "TRADE_SUCCESS"
    paid, refunded = shop.wait(out_trade_no, 2)
    assert "refund_fee" not in paid
    assert (refunded["refund_fee"], refunded["out_biz_no"], refunded["trade_status"]) == ("5.00", "R1", "TRADE_SUCCESS")
    assert client.holds(joined(refunded, "sign", "sign_type"), refunded["sign"])


def test_all_money_back_closes_the_trade_and_more_is_refused(client: Client) -> None:
    out_trade_no, qr_code = client.precreate("25.00")
    AlipayGateway.pay(qr_code)
    client.refund(out_trade_no, "5.00", "R1")

    too_much = client.refund(out_trade_no, "20.01", "R2")
    rest = client.refund(out_trade_no, "20.00", "R2")
    more = client.refund(out_trade_no, "0.01", "R3")

    assert too_much["sub_code"] == more["sub_code"] == "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL"
    assert (rest["fund_change"], rest["refund_fee"]) == ("Y", "25.00")
    assert client.query(out_trade_no)["trade_status"] == "TRADE_CLOSED"


def test_refunds_asked_for_at_once_give_back_no_more_than_was_paid(client: Client) -> None:
    out_trade_no, qr_code = client.precreate("25.00")
    AlipayGateway.pay(qr_code)

    with ThreadPoolExecutor(8) as crowd:
        answers = list(crowd.map(lambda n: client.refund(out_trade_no, "10.00", f"R{n % 4}"), range(16)))

    assert [answer.get("fund_change") for answer in answers].count("Y") == 2
    assert len({answer["refund_fee"] for answer in answers if answer["code"] == "10000"}) == 2


def test_what_is_not_paid_is_not_refunded(client: Client) -> None:
    out_trade_no, qr_code = client.precreate()
    _open(qr_code).close()

    assert client.refund(out_trade_no, "25.00", "R1")["sub_code"] == "ACQ.TRADE_STATUS_ERROR"
    assert client.refund(number(), "25.00", "R1")["sub_code"] == "ACQ.TRADE_NOT_EXIST"


def test_a_part_needs_its_own_request_number(client: Client) -> None:
    out_trade_no, qr_code = client.precreate()
    AlipayGateway.pay(qr_code)

    part = client.ask("alipay.trade.refund", {"out_trade_no": out_trade_no, "refund_amount": "5.00"})
    whole = client.ask("alipay.trade.refund", {"out_trade_no": out_trade_no, "refund_amount": "25.00"})

    assert part["sub_code"] == "ACQ.INVALID_PARAMETER"
    assert whole["fund_change"] == "Y"


def test_a_refund_can_be_asked_after(client: Client, traits: Callable[..., None]) -> None:
    out_trade_no, qr_code = client.precreate()
    AlipayGateway.pay(qr_code)
    client.refund(out_trade_no, "5.00", "R1")

    def asked(request_no: str) -> dict[str, Any]:
        biz = {"out_trade_no": out_trade_no, "out_request_no": request_no}
        return client.ask("alipay.trade.fastpay.refund.query", biz)

    made, absent = asked("R1"), asked("R2")
    traits(refund_query="amount")
    bare = asked("R1")

    assert (made["refund_amount"], made["refund_status"]) == ("5.00", "REFUND_SUCCESS")
    assert absent == {"code": "10000", "msg": "Success"}
    assert bare["refund_amount"] == "5.00"
    assert "refund_status" not in bare


# -- what else the pay page can do -------------------------------------------------------------------------------------


def test_a_failed_payment_closes_the_trade(client: Client, shop: Shop) -> None:
    out_trade_no, qr_code = client.precreate(notify_url=shop.notify_url)

    AlipayGateway.pay(qr_code, "failed")

    (notice,) = shop.wait(out_trade_no, 1)
    assert notice["trade_status"] == "TRADE_CLOSED"
    assert "gmt_payment" not in notice


def test_a_silent_payment_is_learnt_of_only_by_asking(client: Client, gateway: AlipayGateway, shop: Shop) -> None:
    out_trade_no, qr_code = client.precreate(notify_url=shop.notify_url)

    AlipayGateway.pay(qr_code, "silent")

    assert client.query(out_trade_no)["trade_status"] == "TRADE_SUCCESS"
    assert AlipayGateway.told(gateway.url, out_trade_no) == []


def test_twice_is_one_payment_under_two_notifications(client: Client, shop: Shop) -> None:
    out_trade_no, qr_code = client.precreate(notify_url=shop.notify_url)

    AlipayGateway.pay(qr_code, "twice")

    one, two = shop.wait(out_trade_no, 2)
    assert one["notify_id"] != two["notify_id"]
    assert one["trade_no"] == two["trade_no"]


def test_a_stale_notification_comes_after_the_true_one(client: Client, shop: Shop) -> None:
    out_trade_no, qr_code = client.precreate(notify_url=shop.notify_url)

    AlipayGateway.pay(qr_code, "out_of_order")

    assert [notice["trade_status"] for notice in shop.wait(out_trade_no, 2)] == ["TRADE_SUCCESS", "WAIT_BUYER_PAY"]


def test_late_money_comes_when_it_was_said_to(client: Client, shop: Shop) -> None:
    out_trade_no, qr_code = client.precreate(notify_url=shop.notify_url)

    AlipayGateway.pay(qr_code, "late", seconds=2)

    assert client.query(out_trade_no)["trade_status"] == "WAIT_BUYER_PAY"
    (notice,) = shop.wait(out_trade_no, 1)
    assert notice["trade_status"] == "TRADE_SUCCESS"
    assert client.query(out_trade_no)["send_pay_date"] == notice["gmt_payment"]


def test_closing_in_time_stops_late_money(client: Client, gateway: AlipayGateway, shop: Shop) -> None:
    out_trade_no, qr_code = client.precreate(notify_url=shop.notify_url)
    AlipayGateway.pay(qr_code, "late", seconds=60)

    closed = client.ask("alipay.trade.close", {"out_trade_no": out_trade_no})

    assert closed["code"] == "10000"
    assert [letter["state"] for letter in AlipayGateway.told(gateway.url, out_trade_no)] == ["abandoned"]


def test_wrong_money_is_told_and_answered_for_as_it_is(client: Client, shop: Shop) -> None:
    amount, amount_code = client.precreate("25.00", shop.notify_url)
    currency, currency_code = client.precreate("25.00", shop.notify_url)
    AlipayGateway.pay(amount_code, "wrong_amount")
    AlipayGateway.pay(currency_code, "wrong_currency")

    (off,), (foreign,) = shop.wait(amount, 1), shop.wait(currency, 1)

    assert off["total_amount"] == client.query(amount)["total_amount"] == "24.99"
    assert foreign["trans_currency"] == client.query(currency)["trans_currency"] == "USD"


def test_a_refund_may_name_its_currency_only_where_that_is_a_foreign_one(client: Client) -> None:
    def refund(out_trade_no: str, currency: str) -> dict[str, Any]:
        biz = {"out_trade_no": out_trade_no, "refund_amount": "25.00", "out_request_no": "R1"}
        return client.ask("alipay.trade.refund", biz | {"refund_currency": currency})

    for outcome, refused, taken in (("wrong_currency", ("CNY", "HKD"), ("USD", "")), ("paid", ("USD", "CNY"), ("",))):
        out_trade_no, qr_code = client.precreate("25.00")
        AlipayGateway.pay(qr_code, outcome)
        said = [refund(out_trade_no, currency) for currency in (*refused, *taken)]
        assert [answer.get("sub_code") for answer in said[:2]] == ["ACQ.INVALID_PARAMETER"] * 2
        assert {answer["code"] for answer in said[2:]} == {"10000"}


def test_another_order_is_notified_soundly_and_this_one_is_not_charged(client: Client, shop: Shop) -> None:
    out_trade_no, qr_code = client.precreate(notify_url=shop.notify_url)

    AlipayGateway.pay(qr_code, "other_order")

    eventually(lambda: any(notice["out_trade_no"].endswith(out_trade_no) for notice in shop.all_notices))
    notice = shop.all_notices[-1]
    assert notice["out_trade_no"] != out_trade_no
    assert client.holds(joined(notice, "sign", "sign_type"), notice["sign"])
    assert client.query(out_trade_no)["trade_status"] == "WAIT_BUYER_PAY"
    assert client.query(notice["out_trade_no"])["trade_status"] == "TRADE_SUCCESS"


def test_a_forged_notification_is_sent_once_and_nothing_is_charged(
    client: Client, gateway: AlipayGateway, shop: Shop
) -> None:
    shop.answer = lambda notice: (200, b"fail")
    out_trade_no, qr_code = client.precreate(notify_url=shop.notify_url)

    AlipayGateway.pay(qr_code, "forged")

    (notice,) = shop.wait(out_trade_no, 1)
    assert notice["trade_status"] == "TRADE_SUCCESS"
    assert not client.holds(joined(notice, "sign", "sign_type"), notice["sign"])
    assert client.query(out_trade_no)["trade_status"] == "WAIT_BUYER_PAY"
    eventually(lambda: AlipayGateway.told(gateway.url, out_trade_no)[0]["state"] == "abandoned")
    assert AlipayGateway.told(gateway.url, out_trade_no)[0]["tries"] == 1


def test_the_old_signature_is_sha1_under_the_true_key(client: Client, shop: Shop) -> None:
    out_trade_no, qr_code = client.precreate(notify_url=shop.notify_url)

    AlipayGateway.pay(qr_code, "sha1")

    (notice,) = shop.wait(out_trade_no, 1)
    assert notice["sign_type"] == "RSA"
    assert not client.holds(joined(notice, "sign", "sign_type"), notice["sign"])
    assert client.holds(joined(notice, "sign", "sign_type"), notice["sign"], hashes.SHA1())


def test_a_refund_in_the_console_is_notified_after_the_payment(client: Client, shop: Shop) -> None:
    out_trade_no, qr_code = client.precreate(notify_url=shop.notify_url)

    AlipayGateway.pay(qr_code, "success_then_refund")

    paid, refunded = shop.wait(out_trade_no, 2)
    assert (paid["trade_status"], refunded["trade_status"]) == ("TRADE_SUCCESS", "TRADE_CLOSED")
    assert refunded["refund_fee"] == "25.00"


def test_a_button_pressed_again_charges_nothing_again(client: Client, shop: Shop) -> None:
    out_trade_no, qr_code = client.precreate(notify_url=shop.notify_url)

    first, again = AlipayGateway.pay(qr_code), AlipayGateway.pay(qr_code, "wrong_amount")

    assert (first["already_paid"], again["already_paid"]) == (False, True)
    assert [notice["total_amount"] for notice in shop.wait(out_trade_no, 2)] == ["25.00", "25.00"]
    with pytest.raises(HTTPError, match="400"):
        AlipayGateway.pay(qr_code, "double")


# -- notifications and bad days ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("refusal", [(200, b"fail"), (200, b"success\n"), (200, b"Success"), (500, b"success")])
def test_a_notification_is_repeated_until_the_answer_is_exactly_success(
    client: Client, gateway: AlipayGateway, shop: Shop, refusal: tuple[int, bytes]
) -> None:
    answers = iter([refusal, refusal])
    shop.answer = lambda notice: next(answers, (200, b"success"))
    out_trade_no, qr_code = client.precreate(notify_url=shop.notify_url)

    AlipayGateway.pay(qr_code)

    notices = shop.wait(out_trade_no, 3)
    eventually(lambda: AlipayGateway.told(gateway.url, out_trade_no)[0]["state"] == "acknowledged")
    assert len({notice["notify_id"] for notice in notices}) == 1
    (letter,) = AlipayGateway.told(gateway.url, out_trade_no)
    assert [answer["status"] for answer in letter["answers"]] == [refusal[0], refusal[0], 200]


@pytest.mark.parametrize(("fault", "is_made"), [("silent", True), ("silent_before", False)])
def test_a_lost_answer_leaves_the_refund_made_or_not(
    client: Client, gateway: AlipayGateway, fault: str, is_made: bool
) -> None:
    out_trade_no, qr_code = client.precreate()
    AlipayGateway.pay(qr_code)
    AlipayGateway.misbehave(gateway.url, "refund", fault)

    with pytest.raises((OSError, HTTPException)):
        client.refund(out_trade_no, "5.00", "R1")

    assert client.refund(out_trade_no, "5.00", "R1")["fund_change"] == ("N" if is_made else "Y")


def test_bad_answers_are_bad_as_ordered(client: Client, gateway: AlipayGateway) -> None:
    out_trade_no, qr_code = client.precreate()
    AlipayGateway.pay(qr_code)
    for fault in ("wrong_signature", "unsigned", "garbage", "500", "system_error", "unavailable"):
        AlipayGateway.misbehave(gateway.url, "alipay.trade.query", fault)
    fields = client.fields("alipay.trade.query", {"out_trade_no": out_trade_no})

    content, sign = client.split("alipay.trade.query", client.post(fields))
    assert not client.holds(content.encode(), sign)
    assert "sign" not in json.loads(client.post(fields))
    with pytest.raises(ValueError, match="decode"):
        client.post(fields)
    with pytest.raises(HTTPError, match="500"):
        client.post(fields)
    assert client.query(out_trade_no)["sub_code"] == "ACQ.SYSTEM_ERROR"
    assert client.query(out_trade_no)["code"] == "20000"
    assert client.query(out_trade_no)["code"] == "10000"


def test_a_slow_answer_is_slow(client: Client, gateway: AlipayGateway) -> None:
    out_trade_no, qr_code = client.precreate()
    _open(qr_code).close()
    AlipayGateway.misbehave(gateway.url, "query", "slow", seconds=0.5)
    began = time.monotonic()

    client.query(out_trade_no)

    assert time.monotonic() - began >= 0.5


def test_an_unknown_fault_or_trait_is_refused(gateway: AlipayGateway) -> None:
    with pytest.raises(HTTPError, match="400"):
        AlipayGateway.misbehave(gateway.url, "query", "explode")
    with pytest.raises(HTTPError, match="400"):
        AlipayGateway.behave(gateway.url, refund_query="never")


def test_uncertain_points_can_be_played_the_other_way(client: Client, traits: Callable[..., None]) -> None:
    out_trade_no, qr_code = client.precreate()
    AlipayGateway.pay(qr_code)
    client.refund(out_trade_no, "25.00", "R1")
    usual = client.query(out_trade_no)

    traits(closed_pay_date="dropped", repeated_refund="Y", sign_place="first", slashes="escaped")

    assert "send_pay_date" in usual
    assert "send_pay_date" not in client.query(out_trade_no)
    assert client.refund(out_trade_no, "25.00", "R1")["fund_change"] == "Y"
    traits(business_error="unsigned", gateway_error="error_response", precreate_trade="at_once")
    fields = client.fields("alipay.trade.query", {"out_trade_no": number()})
    assert list(json.loads(client.post(fields))) == ["alipay_trade_query_response"]
    assert list(json.loads(client.post(fields | {"sign": "AAAA"}))) == ["error_response"]
    assert client.query(client.precreate()[0])["trade_status"] == "WAIT_BUYER_PAY"


# -- bills -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def quiet(tmp_path: Path) -> Iterator[Client]:
    """A merchant without any trade of another test."""
    with AlipayGateway(tmp_path / "alipay.sqlite") as gateway:
        yield Client(gateway.terms, gateway.keys)


def bill_address(client: Client, day: str) -> str:
    answer = client.ask("alipay.data.dataservice.bill.downloadurl.query", {"bill_type": "trade", "bill_date": day})
    assert answer["code"] == "10000", answer
    return str(answer["bill_download_url"])


def test_a_bill_is_a_zip_of_gbk_files_under_gbk_names(quiet: Client) -> None:
    paid, paid_code = quiet.precreate("648.50")
    small, small_code = quiet.precreate("0.50")
    _, unpaid_code = quiet.precreate()
    AlipayGateway.pay(paid_code)
    AlipayGateway.pay(small_code, "silent")
    _open(unpaid_code).close()
    quiet.refund(paid, "8.50", "R1")

    raw = _open(bill_address(quiet, today())).read()

    names = [member.filename.encode("cp437").decode("gbk") for member in ZipFile(io.BytesIO(raw)).infolist()]
    assert [name.rpartition("_")[2] for name in names] == ["业务明细.csv", "汇总.csv"]
    assert "业务明细.csv".encode("gbk") in raw
    # Bit 11 says UTF-8, which these names are not; once in the local head of each member, once in the index.
    assert struct.unpack_from("<H", raw, 6)[0] == struct.unpack_from("<H", raw, raw.index(b"PK\x01\x02") + 8)[0] == 0
    with ZipFile(io.BytesIO(raw)) as archive:
        assert archive.testzip() is None
        lines, sums = (archive.read(member).decode("gbk").splitlines() for member in archive.infolist())
    assert lines[0] == "#支付宝业务明细查询"
    assert all(line.startswith("#") for line in lines[:4])
    assert lines[4].split(",")[0] == "支付宝交易号"
    rows = [line.split(",") for line in lines[4:8]]
    assert {len(row) for row in rows} == {25}
    bill = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    assert [
        (one["商户订单号"], one["业务类型"], one["订单金额（元）"], one["服务费（元）"], one["退款批次号/请求号"])
        for one in bill
    ] == [
        (f"{paid}\t", "交易\t", "648.50", "-3.89", "\t"),
        (f"{small}\t", "交易\t", "0.50", "0.00", "\t"),
        (f"{paid}\t", "退款\t", "-8.50", "0.00", "R1\t"),
    ]
    assert bill[0]["支付宝交易号"] == f"{quiet.query(paid)['trade_no']}\t"
    assert lines[8].strip("#-") == "业务明细列表结束"
    assert lines[9] == "#交易合计：2笔，商家实收共649.00元，商家优惠共0.00元"
    assert lines[10] == "#退款合计：1笔，商家实收退款共-8.50元，商家优惠退款共0.00元"
    assert lines[11].startswith("#导出时间：[")
    assert sums[5] == "合计,,2,1,640.50,640.50,0.00,0.00,0.00,-3.89,0.00,636.61"


def test_money_of_a_past_day_stands_in_the_bill_of_that_day(quiet: Client) -> None:
    out_trade_no, qr_code = quiet.precreate()

    # In Greenwich it is still the day before.
    AlipayGateway.pay(qr_code, paid_at="2026-03-01T16:30:00+00:00")

    with ZipFile(io.BytesIO(_open(bill_address(quiet, "2026-03-02")).read())) as archive:
        row = archive.read(archive.infolist()[0]).decode("gbk").splitlines()[5].split(",")
    assert (row[1], row[4], row[5]) == (f"{out_trade_no}\t", "2026-03-02 00:30:00", "2026-03-02 00:30:00")
    for odd in ("2126-03-01T16:30:00+00:00", "2026-03-01T16:30:00", "yesterday"):
        with pytest.raises(HTTPError, match="400"):
            AlipayGateway.pay(qr_code, paid_at=odd)


def test_a_day_without_money_has_no_bill(quiet: Client) -> None:
    wanted = {"bill_type": "trade", "bill_date": "2026-01-01"}
    method = "alipay.data.dataservice.bill.downloadurl.query"

    answer = quiet.ask(method, wanted)
    AlipayGateway.behave(quiet.terms["gateway"].removesuffix("/gateway.do"), empty_day="bill_without_lines")
    empty = _open(bill_address(quiet, "2026-01-01")).read()

    assert (answer["code"], answer["sub_code"]) == ("40004", "isp.bill_not_exist")
    with ZipFile(io.BytesIO(empty)) as archive:
        assert "#交易合计：0笔" in archive.read(archive.infolist()[0]).decode("gbk")
    assert quiet.ask(method, wanted | {"bill_date": "2026-02-30"})["code"] == "40004"


def test_an_old_download_address_gives_no_bill(client: Client, gateway: AlipayGateway) -> None:
    _, qr_code = client.precreate()
    AlipayGateway.pay(qr_code)
    address = bill_address(client, today())
    AlipayGateway.misbehave(gateway.url, "download", "expired")

    with pytest.raises(HTTPError, match="403"):
        _open(address)
    with pytest.raises(HTTPError, match="403"):
        _open(address[:-1])
    assert _open(address).read(2) == b"PK"


# -- beside the real thing ---------------------------------------------------------------------------------------------


def test_a_notification_has_the_fields_of_an_authentic_one_and_is_signed_alike(client: Client, shop: Shop) -> None:
    sample = vectors("alipay_v2.json")
    theirs = sample["async_notify"]["decoded_form_fields"]
    certificate, *_ = load_pem_x509_certificates(sample["alipay_public_cert_pem"].encode())
    key = certificate.public_key()
    public = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    out_trade_no, qr_code = client.precreate(notify_url=shop.notify_url)
    AlipayGateway.pay(qr_code)

    (ours,) = shop.wait(out_trade_no, 1)

    assert set(theirs) <= set(ours)
    assert {name: len(theirs[name]) for name in ("trade_no", "notify_time", "app_id", "seller_id", "notify_id")} == {
        name: len(ours[name]) for name in ("trade_no", "notify_time", "app_id", "seller_id", "notify_id")
    }
    # What the test holds ours against is what holds theirs.
    assert Client({}, {"alipay_key": public}).holds(joined(theirs, "sign", "sign_type"), theirs["sign"])
    returned = dict(parse_qsl(sample["return_url_query"]))
    back = AlipayGateway.pay(client.page_address("alipay.trade.page.pay", "https://shop.example/"))["return_url"]
    assert set(returned) == set(dict(parse_qsl(urlsplit(back).query)))


def test_a_bill_has_the_frame_of_a_real_one(quiet: Client) -> None:
    real = vectors("alipay_bill.json")
    out_trade_no, qr_code = quiet.precreate()
    AlipayGateway.pay(qr_code)
    quiet.refund(out_trade_no, "25.00", "R1")

    with ZipFile(io.BytesIO(_open(bill_address(quiet, today())).read())) as archive:
        lines = archive.read(archive.infolist()[0]).decode("gbk").splitlines()

    def shape(line: str) -> str:
        return re.sub(r"[0-9]+", "9", line)

    assert lines[4].split(",") == real["columns"]
    frame = [line for line in real["lines"] if line.startswith("#")]
    assert [shape(line) for line in lines if line.startswith("#")] == [shape(line) for line in frame]
    # Where a TAB follows, a sign stands, or nothing is.
    for mine, theirs in zip(lines[5:7], real["lines"][5:7], strict=True):
        cells = list(zip(mine.split(","), theirs.split(","), strict=True))
        assert [(one.endswith("\t"), one.startswith("-")) for one, _ in cells[9:22]] == [
            (one.endswith("\t"), one.startswith("-")) for _, one in cells[9:22]
        ]


# -- restarts ----------------------------------------------------------------------------------------------------------


def test_a_restart_keeps_keys_trades_refunds_and_undelivered_notifications(tmp_path: Path, shop: Shop) -> None:
    state = tmp_path / "alipay.sqlite"
    shop.answer = lambda notice: (503, b"")
    with AlipayGateway(state, retry_after=(0.2,) * 100) as gateway:
        before = Client(gateway.terms, gateway.keys)
        out_trade_no, qr_code = before.precreate(notify_url=shop.notify_url)
        AlipayGateway.pay(qr_code)
        before.refund(out_trade_no, "5.00", "R1")
        shop.wait(out_trade_no, 2)
    shop.answer = lambda notice: (200, b"success")

    with AlipayGateway(state, retry_after=(0.2,) * 100) as gateway:
        after = Client(gateway.terms, gateway.keys)

        assert after.keys == before.keys
        assert after.terms["app_id"] == before.terms["app_id"]
        assert after.query(out_trade_no)["trade_status"] == "TRADE_SUCCESS"
        assert after.refund(out_trade_no, "5.00", "R1")["fund_change"] == "N"
        eventually(
            lambda: [one["state"] for one in AlipayGateway.told(gateway.url, out_trade_no)] == ["acknowledged"] * 2
        )


def test_the_command_tells_the_merchant_in_a_private_file_and_prints_no_secret(tmp_path: Path) -> None:
    state = tmp_path / "alipay.sqlite"
    command = [sys.executable, "infra/local/alipay_pay.py", "--port", "0", "--state", str(state)]
    merchant = tmp_path / "alipay.sqlite.merchant.json"

    running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        eventually(merchant.exists, 30)
        known = json.loads(merchant.read_text())
        client = Client(known["terms"], known["keys"])
        eventually(lambda: _is_up(client), 30)
        out_trade_no, qr_code = client.precreate()
        AlipayGateway.pay(qr_code)
        assert client.query(out_trade_no)["trade_status"] == "TRADE_SUCCESS"
    finally:
        running.send_signal(signal.SIGTERM)
        printed, _ = running.communicate(timeout=30)

    assert running.returncode == 0
    assert "PRIVATE" not in printed
    assert "sign" not in printed
    for file in (merchant, tmp_path / "alipay.sqlite.keys.json"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def _is_up(client: Client) -> bool:
    try:
        return _open(client.terms["gateway"].replace("gateway.do", "health")).status == 200
    except OSError:
        return False
