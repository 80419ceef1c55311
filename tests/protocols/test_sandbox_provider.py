"""The sandbox provider over real sockets, by the letter of its wire protocol; the signing here is the test's own."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count, pairwise
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit

import pytest

from infra.local.sandbox import SandboxProvider

SECRET = "a secret of two"
ROOT = Path(__file__).resolve().parents[2]
RETRY_AFTER = (0.05, 0.1, 0.15, 0.2)
_numbers = count(1)


def signature(message: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


@dataclass
class Notice:
    headers: dict[str, str]
    raw: bytes
    at: float

    @property
    def body(self) -> Any:
        return json.loads(self.raw)

    @property
    def is_genuine(self) -> bool:
        stamp = self.headers["Sandbox-Timestamp"]
        return self.headers["Sandbox-Signature"] == signature(stamp.encode() + b"." + self.raw)


@dataclass
class Shop:
    """The merchant's end: keeps every notification and answers as told."""

    server: ThreadingHTTPServer
    answer: Callable[[Notice], tuple[int, bytes]] = lambda notice: (200, b"success")
    all_notices: list[Notice] = field(default_factory=list)

    @property
    def notify_url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/webhooks/payments/sandbox"

    def notices(self, payment_id: str) -> list[Notice]:
        return [notice for notice in list(self.all_notices) if notice.body["payment_id"] == payment_id]

    def wait(self, payment_id: str, number: int) -> list[Notice]:
        eventually(lambda: len(self.notices(payment_id)) >= number)
        return self.notices(payment_id)


def eventually(holds: Callable[[], bool], seconds: float = 8) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def shop() -> Iterator[Shop]:
    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            notice = Notice(dict(self.headers), raw, time.monotonic())
            merchant.all_notices.append(notice)
            status, said = merchant.answer(notice)
            self.send_response(status)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    merchant = Shop(server)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield merchant
    server.shutdown()
    server.server_close()


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[SandboxProvider]:
    with SandboxProvider(tmp_path / "sandbox.sqlite", SECRET, retry_after=RETRY_AFTER) as provider:
        yield provider


def link(sandbox_url: str, shop: Shop, payment_id: str | None = None, secret: str = SECRET, **other: str) -> str:
    fields = {
        "merchant": "kaquan",
        "payment_id": f"pay_{next(_numbers):04d}" if payment_id is None else payment_id,
        "amount_minor": "2500",
        "currency": "CNY",
        "subject": "王者荣耀 点券 <b>&",
        "notify_url": shop.notify_url,
        "return_url": "http://127.0.0.1:9/orders/1?a=1&b=2",
        "expires_at": (datetime.now(UTC) + timedelta(minutes=15)).strftime("%Y-%m-%dT%H:%M:%SZ"),
    } | other
    query = urlencode(sorted(fields.items()))
    return f"{sandbox_url}/pay?{query}&sign={signature(query.encode(), secret)}"


def api(
    sandbox: SandboxProvider, method: str, path: str, content: object = None, **other: str
) -> tuple[int, dict[str, Any], bool]:
    """Status, content, and whether the reply's signature holds."""
    body = b"" if content is None else json.dumps(content).encode()
    stamp = other.get("stamp", str(int(time.time())))
    headers = {
        "Sandbox-Merchant": other.get("merchant", "kaquan"),
        "Sandbox-Timestamp": stamp,
        "Sandbox-Signature": signature(f"{stamp}.{method} {path}.".encode() + body, secret=other.get("secret", SECRET)),
    }
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(sandbox.url).port, timeout=10)
    try:
        connection.request(method, path, body, headers)
        reply = connection.getresponse()
        raw = reply.read()
    finally:
        connection.close()
    replied = reply.headers["Sandbox-Timestamp"].encode() + b"." + raw
    return reply.status, json.loads(raw), reply.headers["Sandbox-Signature"] == signature(replied)


def payment(sandbox: SandboxProvider, payment_id: str) -> dict[str, Any]:
    status, content, is_genuine = api(sandbox, "GET", f"/api/payments/{payment_id}")
    assert (status, is_genuine) == (200, True)
    return content


def refund(sandbox: SandboxProvider, refund_id: str, provider_no: str, amount_minor: int) -> tuple[int, dict[str, Any]]:
    wanted = {
        "refund_id": refund_id,
        "provider_no": provider_no,
        "amount_minor": amount_minor,
        "currency": "CNY",
        "reason": "无货",
    }
    status, content, is_genuine = api(sandbox, "POST", "/api/refunds", wanted)
    assert is_genuine
    return status, content


def page(url: str, form: dict[str, str] | None = None, **headers: str) -> tuple[int, str]:
    body = None if form is None else urlencode(form).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=body, headers=headers), timeout=10) as reply:
            return reply.status, reply.read().decode()
    except HTTPError as refused:
        return refused.code, refused.read().decode()


# -- outcomes ----------------------------------------------------------------------------------------------------------


def test_paid_charges_once_and_notifies(sandbox: SandboxProvider, shop: Shop) -> None:
    pressed = sandbox.pay(link(sandbox.url, shop, "pay_a"), "paid")
    [notice] = shop.wait("pay_a", 1)

    assert notice.is_genuine
    assert notice.headers["Content-Type"] == "application/json"
    assert abs(int(notice.headers["Sandbox-Timestamp"]) - time.time()) < 5
    paid_at = notice.body["paid_at"]
    assert datetime.fromisoformat(paid_at).tzinfo is not None
    assert notice.body == {
        "notification_id": notice.body["notification_id"],
        "merchant": "kaquan",
        "payment_id": "pay_a",
        "provider_no": pressed["charges"][0],
        "amount_minor": 2500,
        "currency": "CNY",
        "status": "paid",
        "paid_at": paid_at,
    }
    assert pressed == {"outcome": "paid", "charges": [notice.body["provider_no"]], "already_charged": False}
    assert payment(sandbox, "pay_a") == {
        "payment_id": "pay_a",
        "status": "paid",
        "charges": [
            {
                "provider_no": notice.body["provider_no"],
                "amount_minor": 2500,
                "currency": "CNY",
                "paid_at": paid_at,
                "refunded_minor": 0,
            }
        ],
    }


def test_failed_charges_nothing_and_says_so(sandbox: SandboxProvider, shop: Shop) -> None:
    assert sandbox.pay(link(sandbox.url, shop, "pay_a"), "failed")["charges"] == []
    [notice] = shop.wait("pay_a", 1)

    assert notice.is_genuine
    assert (notice.body["status"], notice.body["paid_at"]) == ("failed", None)
    assert payment(sandbox, "pay_a") == {"payment_id": "pay_a", "status": "failed", "charges": []}


def test_a_failed_payment_can_still_be_paid(sandbox: SandboxProvider, shop: Shop) -> None:
    url = link(sandbox.url, shop, "pay_a")
    sandbox.pay(url, "failed")

    assert len(sandbox.pay(url, "paid")["charges"]) == 1
    assert payment(sandbox, "pay_a")["status"] == "paid"


def test_silent_charges_but_only_a_query_tells(sandbox: SandboxProvider, shop: Shop) -> None:
    [number] = sandbox.pay(link(sandbox.url, shop, "pay_a"), "silent")["charges"]
    time.sleep(0.2)

    assert shop.notices("pay_a") == []
    assert payment(sandbox, "pay_a")["charges"][0]["provider_no"] == number


def test_twice_makes_two_charges_and_notifies_both(sandbox: SandboxProvider, shop: Shop) -> None:
    numbers = sandbox.pay(link(sandbox.url, shop, "pay_a"), "twice")["charges"]
    notices = shop.wait("pay_a", 2)

    assert len(set(numbers)) == 2
    assert sorted(notice.body["provider_no"] for notice in notices) == numbers
    assert len({notice.body["notification_id"] for notice in notices}) == 2
    assert [charge["amount_minor"] for charge in payment(sandbox, "pay_a")["charges"]] == [2500, 2500]


def test_twice_on_a_charged_payment_adds_only_the_second_charge(sandbox: SandboxProvider, shop: Shop) -> None:
    url = link(sandbox.url, shop, "pay_a")
    first = sandbox.pay(url, "paid")["charges"]

    second = sandbox.pay(url, "twice")["charges"]
    assert len(second) == 2
    assert second[0] == first[0]
    assert sandbox.pay(url, "twice")["charges"] == second


def test_late_is_processing_until_its_time_comes(sandbox: SandboxProvider, shop: Shop) -> None:
    pressed_at = time.monotonic()
    [number] = sandbox.pay(link(sandbox.url, shop, "pay_a"), "late", delay_seconds=1)["charges"]
    early = payment(sandbox, "pay_a")
    too_early = refund(sandbox, "ref_a", number, 1)
    [notice] = shop.wait("pay_a", 1)

    assert early == {"payment_id": "pay_a", "status": "processing", "charges": []}
    assert too_early[1]["error"] == "unknown_charge"
    assert notice.at - pressed_at >= 1
    assert notice.body["provider_no"] == number
    assert payment(sandbox, "pay_a")["status"] == "paid"


@pytest.mark.parametrize(("asked", "charged"), [(2500, 2499), (1, 2)])
def test_wrong_amount_is_off_by_one(sandbox: SandboxProvider, shop: Shop, asked: int, charged: int) -> None:
    sandbox.pay(link(sandbox.url, shop, "pay_a", amount_minor=str(asked)), "wrong_amount")
    [notice] = shop.wait("pay_a", 1)

    assert notice.is_genuine
    assert notice.body["amount_minor"] == charged
    assert payment(sandbox, "pay_a")["charges"][0]["amount_minor"] == charged


def test_a_forged_notice_is_well_formed_wrongly_signed_and_sent_once(sandbox: SandboxProvider, shop: Shop) -> None:
    shop.answer = lambda notice: (401, b"no")
    assert sandbox.pay(link(sandbox.url, shop, "pay_a"), "forged")["charges"] == []
    [notice] = shop.wait("pay_a", 1)
    time.sleep(0.2)

    assert not notice.is_genuine
    assert re.fullmatch("[0-9a-f]{64}", notice.headers["Sandbox-Signature"])
    assert (notice.body["status"], notice.body["amount_minor"]) == ("paid", 2500)
    assert payment(sandbox, "pay_a")["status"] == "absent"
    assert refund(sandbox, "ref_a", notice.body["provider_no"], 1)[1]["error"] == "unknown_charge"
    assert len(shop.notices("pay_a")) == 1


def test_paying_again_charges_nothing_and_sends_the_same_notification(sandbox: SandboxProvider, shop: Shop) -> None:
    url = link(sandbox.url, shop, "pay_a")
    first = sandbox.pay(url)
    shop.wait("pay_a", 1)

    again = sandbox.pay(url)
    notices = shop.wait("pay_a", 2)
    assert again == first | {"already_charged": True}
    assert notices[0].raw == notices[1].raw
    assert len(payment(sandbox, "pay_a")["charges"]) == 1


def test_twenty_concurrent_presses_make_one_charge(sandbox: SandboxProvider, shop: Shop) -> None:
    url = link(sandbox.url, shop, "pay_a")
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: sandbox.pay(url), range(20)))

    assert {tuple(answer["charges"]) for answer in answers} == {tuple(answers[0]["charges"])}
    assert [answer["already_charged"] for answer in answers].count(False) == 1
    assert len(payment(sandbox, "pay_a")["charges"]) == 1
    assert len({notice.raw for notice in shop.wait("pay_a", 1)}) == 1


def test_fifty_connections_are_served_at_once_and_every_number_is_its_own(sandbox: SandboxProvider, shop: Shop) -> None:
    urls = [link(sandbox.url, shop) for _ in range(50)]
    with ThreadPoolExecutor(50) as pool:
        numbers = [answer["charges"][0] for answer in pool.map(sandbox.pay, urls)]

    assert len(set(numbers)) == 50
    eventually(lambda: len(shop.all_notices) == 50)


# -- notifications -----------------------------------------------------------------------------------------------------


def test_a_notification_is_retried_until_it_is_acknowledged(sandbox: SandboxProvider, shop: Shop) -> None:
    answers = iter([(500, b"success"), (200, b'"success"'), (302, b"success"), (200, b"success")])
    shop.answer = lambda notice: next(answers)
    sandbox.pay(link(sandbox.url, shop, "pay_a"))
    notices = shop.wait("pay_a", 4)
    time.sleep(0.3)

    assert len(shop.notices("pay_a")) == 4
    assert all(notice.is_genuine for notice in notices)
    assert len({notice.body["notification_id"] for notice in notices}) == 1
    pauses = [after.at - before.at for before, after in pairwise(notices)]
    assert all(pause >= planned for pause, planned in zip(pauses, RETRY_AFTER, strict=False))


def test_after_five_tries_a_notification_is_given_up(sandbox: SandboxProvider, shop: Shop) -> None:
    shop.answer = lambda notice: (503, b"")
    sandbox.pay(link(sandbox.url, shop, "pay_a"))
    shop.wait("pay_a", 5)
    time.sleep(0.4)

    assert len(shop.notices("pay_a")) == 5


@pytest.mark.parametrize("address", ["http://127.0.0.1:99999/n", "http://127.0.0.1:9/通 知", "http://127.0.0.1:9/n"])
def test_an_address_that_cannot_be_called_holds_up_nobody(sandbox: SandboxProvider, shop: Shop, address: str) -> None:
    sandbox.pay(link(sandbox.url, shop, "pay_a", notify_url=address))
    sandbox.pay(link(sandbox.url, shop, "pay_b"))

    assert len(shop.wait("pay_b", 1)) == 1
    eventually(lambda: "已放弃通知</span>" in page(link(sandbox.url, shop, "pay_a", notify_url=address))[1])


def test_an_unfinished_notification_survives_a_restart_and_numbers_go_on(tmp_path: Path, shop: Shop) -> None:
    shop.answer = lambda notice: (503, b"")
    with SandboxProvider(tmp_path / "s.sqlite", SECRET, retry_after=(0.3,) * 4) as provider:
        [before] = provider.pay(link(provider.url, shop, "pay_a"))["charges"]
        shop.wait("pay_a", 1)

    shop.answer = lambda notice: (200, b"success")
    with SandboxProvider(tmp_path / "s.sqlite", SECRET, retry_after=(0.3,) * 4) as provider:
        shop.wait("pay_a", 2)
        assert payment(provider, "pay_a")["charges"][0]["provider_no"] == before
        [after] = provider.pay(link(provider.url, shop, "pay_b"))["charges"]
    assert after > before


# -- the merchant's API ------------------------------------------------------------------------------------------------


def test_a_payment_nobody_pressed_is_absent(sandbox: SandboxProvider) -> None:
    assert payment(sandbox, "pay_never") == {"payment_id": "pay_never", "status": "absent", "charges": []}


@pytest.mark.parametrize(
    "wrong",
    [{"secret": "another"}, {"merchant": "another"}, {"stamp": str(int(time.time()) - 900)}, {"stamp": "soon"}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_badly_signed_request_is_401(sandbox: SandboxProvider, wrong: dict[str, str]) -> None:
    assert api(sandbox, "GET", "/api/payments/pay_a", **wrong)[:2] == (401, {"error": "bad_signature"})


def test_a_request_signed_for_another_body_is_401(sandbox: SandboxProvider) -> None:
    stamp = str(int(time.time()))
    headers = {
        "Sandbox-Merchant": "kaquan",
        "Sandbox-Timestamp": stamp,
        "Sandbox-Signature": signature(f"{stamp}.POST /api/refunds.{{}}".encode()),
    }
    status, said = page(f"{sandbox.url}/api/refunds", {"amount_minor": "1"}, **headers)

    assert (status, json.loads(said)) == (401, {"error": "bad_signature"})


def test_a_refund_succeeds_once_however_often_it_is_asked(sandbox: SandboxProvider, shop: Shop) -> None:
    [number] = sandbox.pay(link(sandbox.url, shop, "pay_a"))["charges"]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: refund(sandbox, "ref_a", number, 2500), range(8)))

    status, answer = answers[0]
    assert all(other == answers[0] for other in answers)
    assert status == 200
    assert answer == {
        "refund_id": "ref_a",
        "status": "succeeded",
        "provider_refund_no": answer["provider_refund_no"],
        "amount_minor": 2500,
    }
    assert api(sandbox, "GET", "/api/refunds/ref_a") == (200, answer, True)
    assert payment(sandbox, "pay_a")["charges"][0]["refunded_minor"] == 2500


def test_a_refund_number_used_for_another_refund_is_a_conflict(sandbox: SandboxProvider, shop: Shop) -> None:
    [number] = sandbox.pay(link(sandbox.url, shop, "pay_a"))["charges"]
    refund(sandbox, "ref_a", number, 100)

    assert refund(sandbox, "ref_a", number, 101) == (409, {"error": "conflict"})
    assert payment(sandbox, "pay_a")["charges"][0]["refunded_minor"] == 100


def test_more_than_the_charge_has_left_is_not_refunded(sandbox: SandboxProvider, shop: Shop) -> None:
    [number] = sandbox.pay(link(sandbox.url, shop, "pay_a"))["charges"]
    refund(sandbox, "ref_a", number, 2000)
    status, answer = refund(sandbox, "ref_b", number, 501)

    assert (status, answer["status"], answer["error"]) == (200, "failed", "exceeds_charge")
    assert refund(sandbox, "ref_b", number, 501)[1] == answer
    assert refund(sandbox, "ref_c", number, 500)[1]["status"] == "succeeded"


def test_concurrent_refunds_never_exceed_the_charge(sandbox: SandboxProvider, shop: Shop) -> None:
    [number] = sandbox.pay(link(sandbox.url, shop, "pay_a"))["charges"]
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda n: refund(sandbox, f"ref_{n}", number, 1000), range(10)))

    assert [answer["status"] for _, answer in answers].count("succeeded") == 2
    assert payment(sandbox, "pay_a")["charges"][0]["refunded_minor"] == 2000


def test_a_refund_of_an_unknown_charge_fails_and_an_unknown_refund_is_absent(sandbox: SandboxProvider) -> None:
    assert refund(sandbox, "ref_a", "sbx1", 1)[1]["error"] == "unknown_charge"
    assert api(sandbox, "GET", "/api/refunds/ref_b")[1] == {"refund_id": "ref_b", "status": "absent"}


@pytest.mark.parametrize("amount_minor", [0, -1, 1.5, True, "1", None, 10**30])
def test_a_refund_of_no_sound_amount_is_400(sandbox: SandboxProvider, amount_minor: object) -> None:
    wanted = {"refund_id": "ref_a", "provider_no": "sbx1", "amount_minor": amount_minor, "currency": "CNY"}

    assert api(sandbox, "POST", "/api/refunds", wanted) == (400, {"error": "bad_request"}, True)


# -- faults ------------------------------------------------------------------------------------------------------------


def test_a_dropped_reply_leaves_the_refund_done(sandbox: SandboxProvider, shop: Shop) -> None:
    [number] = sandbox.pay(link(sandbox.url, shop, "pay_a"))["charges"]
    sandbox.misbehave(sandbox.url, "refunds", "drop_reply")
    with pytest.raises(http.client.RemoteDisconnected):
        refund(sandbox, "ref_a", number, 2500)

    assert payment(sandbox, "pay_a")["charges"][0]["refunded_minor"] == 2500
    assert refund(sandbox, "ref_a", number, 2500)[1]["status"] == "succeeded"


def test_an_armed_500_strikes_just_as_often_as_asked_and_only_its_route(sandbox: SandboxProvider) -> None:
    sandbox.misbehave(sandbox.url, "payments", "status_500", times=2)

    assert api(sandbox, "GET", "/api/refunds/ref_a")[0] == 200
    assert [api(sandbox, "GET", "/api/payments/pay_a")[0] for _ in range(3)] == [500, 500, 200]


def test_a_slow_reply_comes_late_and_a_badly_signed_one_does_not_hold(sandbox: SandboxProvider) -> None:
    sandbox.misbehave(sandbox.url, "payments", "slow", seconds=0.3)
    sandbox.misbehave(sandbox.url, "payments", "bad_signature")
    began = time.monotonic()

    assert api(sandbox, "GET", "/api/payments/pay_a")[2] is True
    assert time.monotonic() - began >= 0.3
    assert api(sandbox, "GET", "/api/payments/pay_a")[2] is False
    assert api(sandbox, "GET", "/api/payments/pay_a")[2] is True


def test_a_processing_refund_succeeds_later_and_holds_its_money(sandbox: SandboxProvider, shop: Shop) -> None:
    [number] = sandbox.pay(link(sandbox.url, shop, "pay_a"))["charges"]
    sandbox.misbehave(sandbox.url, "refunds", "processing", seconds=0.5)

    assert refund(sandbox, "ref_a", number, 2000)[1]["status"] == "processing"
    assert payment(sandbox, "pay_a")["charges"][0]["refunded_minor"] == 0
    assert refund(sandbox, "ref_b", number, 2000)[1]["error"] == "exceeds_charge"
    eventually(lambda: api(sandbox, "GET", "/api/refunds/ref_a")[1]["status"] == "succeeded")
    assert payment(sandbox, "pay_a")["charges"][0]["refunded_minor"] == 2000


def test_a_lost_acknowledgement_repeats_the_notification(sandbox: SandboxProvider, shop: Shop) -> None:
    sandbox.misbehave(sandbox.url, "notify", "drop_reply")
    sandbox.misbehave(sandbox.url, "notify", "bad_signature")
    shop.answer = lambda notice: (200, b"success") if notice.is_genuine else (401, b"")
    sandbox.pay(link(sandbox.url, shop, "pay_a"))
    notices = shop.wait("pay_a", 3)
    time.sleep(0.2)

    assert [notice.is_genuine for notice in notices] == [True, False, True]
    assert len(shop.notices("pay_a")) == 3


def test_an_unknown_fault_is_400_and_times_0_disarms(sandbox: SandboxProvider) -> None:
    with pytest.raises(HTTPError, match="400"):
        sandbox.misbehave(sandbox.url, "payments", "explode")
    sandbox.misbehave(sandbox.url, "payments", "status_500", times=5)
    sandbox.misbehave(sandbox.url, "payments", "status_500", times=0)

    assert api(sandbox, "GET", "/api/payments/pay_a")[0] == 200


# -- the pay page ------------------------------------------------------------------------------------------------------


def test_the_pay_page_shows_the_bill_and_every_button(sandbox: SandboxProvider, shop: Shop) -> None:
    status, shown = page(link(sandbox.url, shop, "pay_a"))

    assert status == 200
    assert '<html lang="zh">' in shown
    assert "¥25.00" in shown
    assert "王者荣耀 点券 &lt;b&gt;&amp;" in shown
    assert set(re.findall('name="outcome" value="(.*?)"', shown)) == {
        "paid", "failed", "silent", "twice", "late", "wrong_amount", "forged",
    }  # fmt: skip
    assert re.search('id="over"[^>]* hidden', shown)
    assert not re.search(r'(?:src|href)="(?!data:)', shown), "everything is in the page itself"


def test_a_browser_that_asks_for_english_gets_english(sandbox: SandboxProvider, shop: Shop) -> None:
    _, shown = page(link(sandbox.url, shop), None, **{"Accept-Language": "en-GB,zh;q=0.8"})

    assert '<html lang="en">' in shown


def test_an_expired_payment_says_so_and_can_be_paid(sandbox: SandboxProvider, shop: Shop) -> None:
    url = link(sandbox.url, shop, "pay_a", expires_at="2026-01-01T00:00:00Z")

    assert not re.search('id="over"[^>]* hidden', page(url)[1])
    assert len(sandbox.pay(url)["charges"]) == 1


def test_a_browser_gets_a_result_page_with_the_way_back(sandbox: SandboxProvider, shop: Shop) -> None:
    url = link(sandbox.url, shop, "pay_a")
    status, shown = page(url, {"outcome": "paid"})

    assert status == 200
    assert "支付成功" in shown
    assert 'href="http://127.0.0.1:9/orders/1?a=1&amp;b=2"' in shown
    assert "没有再次扣款" in page(url, {"outcome": "paid"})[1]


@pytest.mark.parametrize("form", [None, {"outcome": "paid"}], ids=["shown", "pressed"])
def test_a_link_with_a_bad_signature_is_403_and_charges_nothing(
    sandbox: SandboxProvider, shop: Shop, form: dict[str, str] | None
) -> None:
    signed = link(sandbox.url, shop, "pay_a")
    for url in (
        link(sandbox.url, shop, "pay_a", secret="another"),
        signed.replace("amount_minor=2500", "amount_minor=1"),
        signed + "&amount_minor=1",
        signed.partition("&sign=")[0],
        link(sandbox.url, shop, "pay_a", merchant="another"),
    ):
        status, shown = page(url, form)
        assert status == 403
        assert "这个付款链接无效" in shown

    assert payment(sandbox, "pay_a")["status"] == "absent"


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount_minor": "0"},
        {"amount_minor": "1.5"},
        {"payment_id": ""},
        {"notify_url": "file:///etc/hosts"},
        {"return_url": "javascript:alert(1)"},
        {"expires_at": "soon"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_signed_link_that_makes_no_sense_is_400(sandbox: SandboxProvider, shop: Shop, wrong: dict[str, str]) -> None:
    assert page(link(sandbox.url, shop, **wrong))[0] == 400


@pytest.mark.parametrize("form", [{}, {"outcome": "free"}, {"outcome": "late", "delay_seconds": "-1"}])
def test_an_unknown_button_is_400_and_charges_nothing(
    sandbox: SandboxProvider, shop: Shop, form: dict[str, str]
) -> None:
    url = link(sandbox.url, shop, "pay_a")

    assert page(url, form, Accept="application/json") == (400, '{"error": "bad_outcome"}')
    assert payment(sandbox, "pay_a")["status"] == "absent"


def test_the_same_payment_with_another_amount_is_a_conflict(sandbox: SandboxProvider, shop: Shop) -> None:
    sandbox.pay(link(sandbox.url, shop, "pay_a"), "failed")

    with pytest.raises(HTTPError, match="409"):
        sandbox.pay(link(sandbox.url, shop, "pay_a", amount_minor="2400"))


# -- the process -------------------------------------------------------------------------------------------------------


def test_the_command_keeps_connections_open_stops_on_sigterm_and_logs_no_secret(tmp_path: Path, shop: Shop) -> None:
    state = tmp_path / "deep" / "s.sqlite"
    command = [sys.executable, "infra/local/sandbox_pay.py", "--port", "0", "--state", str(state)]
    process = subprocess.Popen(
        command, cwd=ROOT, env=os.environ | {"SANDBOX_SECRET": SECRET}, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        first = process.stderr.readline()
        url = re.search(r"http://\S+", first)[0]  # type: ignore[index]
        connection = http.client.HTTPConnection("127.0.0.1", urlsplit(url).port, timeout=10)
        for _ in range(3):
            connection.request("GET", "/health")
            assert json.load(connection.getresponse()) == {"ok": True}
            assert connection.sock is not None, "the connection is kept"
        pay_link = link(url, shop, "pay_a")
        SandboxProvider.pay(pay_link)
        shop.wait("pay_a", 1)
        SandboxProvider.misbehave(url, "payments", "slow", seconds=30)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        log = process.communicate(timeout=10)[1]
    finally:
        process.kill()

    assert process.returncode == 0
    assert time.monotonic() - began < 3
    assert "POST /pay 200" in log
    assert SECRET not in log
    assert pay_link.rpartition("=")[2] not in log
    assert shop.notify_url not in log


def test_the_command_without_a_secret_says_what_to_do(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "SANDBOX_SECRET"}
    command = [sys.executable, "infra/local/sandbox_pay.py", "--state", str(tmp_path / "s.sqlite")]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=10, check=False)

    assert ended.returncode == 2
    assert "SANDBOX_SECRET" in ended.stderr
