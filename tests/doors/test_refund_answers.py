"""Refunds whose provider is silent: one that can be asked is asked until it says, one that cannot is sent once."""

from __future__ import annotations

import hashlib
import json
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from infra.local.sandbox import SandboxProvider
from shared.kernel.money import Money
from shared.payments import merchant_keys, merchants, registry
from shared.payments import records as payments
from shared.payments.provider import Merchant
from tests.deaths import abandoned, dying_after
from tests.doors.test_spine import later, refunds
from tests.shop import Placed, Shop

KEY = "key-of-this-test"


@dataclass
class Epay:
    """An epay gateway that says of every order that it is paid, and nothing at all when money is to go back."""

    url: str = ""
    paid: dict[str, str] = field(default_factory=dict)  # order number → what was paid, as a decimal text
    asked_back: list[str] = field(default_factory=list)

    def answer(self, act: str, fields: dict[str, str]) -> dict[str, object] | None:
        if act == "refund":
            self.asked_back.append(fields["trade_no"])
            return None
        number = fields["out_trade_no"]
        if number not in self.paid:
            return {"code": -1}
        return {"code": 1, "out_trade_no": number, "trade_no": f"T{number}", "status": 1, "money": self.paid[number]}


@contextmanager
def answering(epay: Epay) -> Iterator[Epay]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            split = urllib.parse.urlsplit(self.path)
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            fields = dict(urllib.parse.parse_qsl(f"{split.query}&{sent}"))
            said = epay.answer(fields["act"], fields)
            if said is None:
                return  # it hangs up
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(said).encode())

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        epay.url = f"http://127.0.0.1:{server.server_port}"
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield epay
        server.shutdown()


@pytest.fixture
def epay(shop: Shop) -> Iterator[Epay]:
    with answering(Epay()) as gateway:
        terms = {"gateway": gateway.url, "pid": "1001", "allowed": "yes"}
        merchants.save(Merchant("epay", "epay", ("epay_alipay",), 20_000, terms=terms))
        merchant_keys.add("epay", {"key": KEY})
        registry.forget()
        yield gateway


def bought(shop: Shop, epay: Epay) -> Placed:
    """Paid through the gateway, notified by a GET, delivered."""
    shop.stock()
    order = shop.placed(payment_method="epay_alipay")
    amount = payments.payment(order.payment_id).amount
    epay.paid[order.payment_id] = decimal(amount)
    fields = {
        "pid": "1001",
        "trade_no": f"T{order.payment_id}",
        "out_trade_no": order.payment_id,
        "type": "alipay",
        "name": "card",
        "money": decimal(amount),
        "trade_status": "TRADE_SUCCESS",
    }
    text = "&".join(f"{name}={fields[name]}" for name in sorted(fields)) + KEY
    fields |= {"sign": hashlib.md5(text.encode()).hexdigest(), "sign_type": "MD5"}
    heard = shop.call("GET", f"/webhooks/payments/epay?{urllib.parse.urlencode(fields)}")
    assert (heard.status, heard.body) == (200, "success")
    shop.pump()
    assert shop.status(order) == "delivered"
    return order


def decimal(amount: Money) -> str:
    return f"{amount.minor // 100}.{amount.minor % 100:02d}"


def give_back(shop: Shop, order: Placed) -> None:
    assert shop.call("POST", f"/console/orders/{order.order_id}/refunds", {}, groups="operator").status == 201


def tasks(shop: Shop) -> list[str]:
    return [task["kind"] for task in shop.call("GET", "/console/tasks", groups="owner").body["tasks"]]


def test_a_refund_that_cannot_be_repeated_is_sent_once_and_then_waits_for_a_person(shop: Shop, epay: Epay) -> None:
    order = bought(shop, epay)
    give_back(shop, order)
    shop.pump()
    for tries in range(8):
        shop.deadlines(later(300 * (tries + 1)))
        shop.pump()

    assert len(epay.asked_back) == 1
    assert [refund.state for refund in refunds()] == ["unknown"]
    assert "refund_stuck" in tasks(shop)
    assert registry.silent("epay") <= 1  # that it cannot say what became of a refund is no outage


@pytest.mark.parametrize("nth", range(1, 5))
def test_whenever_the_sender_dies_such_a_refund_is_not_sent_twice(shop: Shop, epay: Epay, nth: int) -> None:
    order = bought(shop, epay)
    give_back(shop, order)
    shop._streams()
    with dying_after(nth):
        shop.invoke = abandoned
        shop.pump()
    for tries in range(4):
        shop.deadlines(later(300 * (tries + 1)))
        shop.pump()

    assert len(epay.asked_back) <= 1


def test_a_refund_that_was_stuck_takes_its_task_along_when_it_ends_by_itself(shop: Shop) -> None:
    shop.stock()
    order = shop.placed()
    shop.pay(order)
    shop.pump()
    SandboxProvider.misbehave(shop.provider.url, "refunds", "status_500", times=50)
    give_back(shop, order)
    shop.pump()
    for tries in range(6):
        shop.deadlines(later(300 * (tries + 1)))
        shop.pump()
    assert tasks(shop) == ["refund_stuck"]

    SandboxProvider.misbehave(shop.provider.url, "refunds", "status_500", times=0)
    for tries in range(6, 9):
        shop.deadlines(later(300 * (tries + 1)))
        shop.pump()
    assert shop.status(order) == "refunded"
    assert tasks(shop) == []
