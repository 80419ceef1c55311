"""Our side of epay V1, against a gateway of this test's own and against everything it might say."""

from __future__ import annotations

import hashlib
import json
import logging
import socket
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.kernel.money import Money
from shared.payments.adapters import epay
from shared.payments.adapters.epay import Epay, signature
from shared.payments.errors import BadBill, BadNotification, BillNotReady, ProviderRefused
from shared.payments.provider import (
    Ack,
    Attempt,
    Bill,
    Charge,
    Intent,
    Merchant,
    Outcome,
    PaymentRequest,
    PaymentStatus,
    RefundRequest,
)
from tests.published import vectors

KEY, OLD_KEY = "key-of-this-test", "key-before-it"
PID = "1001"
NOW = datetime(2026, 5, 1, 4, tzinfo=UTC)
AMOUNT = Money(2500)
ATTEMPT = Attempt("pay_1", "epay_alipay", AMOUNT, "卡 & card", NOW + timedelta(minutes=15))
REQUEST = PaymentRequest(ATTEMPT, "https://shop.example/n", "https://shop.example/r?a=1&b=2")
REFUND = RefundRequest("ref_1", "pay_1", "2026050122", AMOUNT, Money(1000), "test")


def adapter_at(gateway: str, **other: str) -> Epay:
    terms = {"gateway": gateway, "pid": PID, "allowed": "yes", **other}
    return Epay(Merchant("epay", "epay", ("epay_alipay",), 10_000, terms=terms), [{"key": KEY}, {"key": OLD_KEY}])


ours = adapter_at("https://pay.example/")


# --- the pay page ----------------------------------------------------------------------------------------------------


def test_the_published_signature_is_ours() -> None:
    told = vectors("epay_v1.json")["computed_by_us"]
    assert signature(told["params"], told["key"]) == told["sign"]
    assert signature({**told["params"], "param": "", "sign": "x", "sign_type": "MD5"}, told["key"]) == told["sign"]
    assert hashlib.md5((told["string"] + told["key"]).encode()).hexdigest() == told["sign"]


def fields_of(intent: Intent) -> dict[str, str]:
    url = urllib.parse.urlsplit(str(intent.redirect_url))
    assert (url.scheme, url.netloc, url.path) == ("https", "pay.example", "/submit.php")
    return dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True, strict_parsing=True))


def test_the_page_is_signed_and_made_without_a_call() -> None:
    fields = fields_of(ours.create(REQUEST, NOW))
    assert fields == {
        "pid": PID,
        "type": "alipay",
        "out_trade_no": "pay_1",
        "notify_url": REQUEST.notify_url,
        "return_url": REQUEST.return_url,
        "name": "卡 ＆ card",
        "money": "25.00",
        "sign": signature(fields, KEY),
        "sign_type": "MD5",
    }


def test_what_is_empty_is_left_out() -> None:
    assert "return_url" not in fields_of(ours.create(replace(REQUEST, return_url=""), NOW))


@given(st.integers(1, 10**12))
def test_money_always_has_two_decimals(minor: int) -> None:
    money = fields_of(ours.create(replace(REQUEST, attempt=replace(ATTEMPT, amount=Money(minor))), NOW))["money"]
    whole, _, rest = money.partition(".")
    assert len(rest) == 2
    assert int(whole + rest) == minor


@pytest.mark.parametrize(
    ("method", "kind"), [("epay_alipay", "alipay"), ("epay_wxpay", "wxpay"), ("epay_qqpay", "qqpay")]
)
def test_every_method_has_its_type(method: str, kind: str) -> None:
    assert fields_of(ours.create(replace(REQUEST, attempt=replace(ATTEMPT, method=method)), NOW))["type"] == kind


@pytest.mark.parametrize(
    ("adapter", "attempt", "reason"),
    [
        (adapter_at("https://pay.example", allowed=""), ATTEMPT, "epay_not_allowed"),
        (adapter_at("https://pay.example", allowed="true"), ATTEMPT, "epay_not_allowed"),
        (Epay(Merchant("epay", "epay", (), 0), [{"key": KEY}]), ATTEMPT, "epay_not_allowed"),
        (adapter_at("http://pay.example"), ATTEMPT, "gateway"),
        (adapter_at("http://[::1"), ATTEMPT, "gateway"),
        (adapter_at(""), ATTEMPT, "gateway"),
        (replace(ours, keys=[]), ATTEMPT, "key"),
        (replace(ours, keys=[{}]), ATTEMPT, "key"),
        (adapter_at("https://pay.example", pid=""), ATTEMPT, "key"),
        (ours, replace(ATTEMPT, method="epay_cash"), "method"),
        (ours, replace(ATTEMPT, amount=Money(2500, "USD")), "currency"),
        (ours, replace(ATTEMPT, amount=Money(0)), "amount"),
    ],
)
def test_what_cannot_be_signed_honestly_is_refused(adapter: Epay, attempt: Attempt, reason: str) -> None:
    with pytest.raises(ProviderRefused) as refused:
        adapter.create(replace(REQUEST, attempt=attempt), NOW)
    assert refused.value.facts["reason"] == reason


# --- notifications ---------------------------------------------------------------------------------------------------


def notification(key: str = KEY, **other: str) -> bytes:
    fields = {
        "pid": PID,
        "trade_no": "2026050122",
        "out_trade_no": "pay_1",
        "type": "alipay",
        "name": "VIP会员",
        "money": "25.00",
        "trade_status": "TRADE_SUCCESS",
        **other,
    }
    return urllib.parse.urlencode({**fields, "sign": signature(fields, key), "sign_type": "MD5"}).encode()


def heard(raw: bytes, adapter: Epay = ours) -> Charge | None:
    told = adapter.parse_notification({}, raw, NOW)
    assert told is None or isinstance(told, Charge)
    return told


def test_a_notification_with_the_published_fields_is_read() -> None:
    told = vectors("epay_v1.json")
    fields = {
        name: value for name, value in zip(told["notify_fields"], iter("abcdefghi"), strict=True) if "sign" not in name
    }
    raw = notification(**{**fields, "pid": PID, "money": "1.00", "trade_status": told["success_value"]})
    assert heard(raw)
    assert ours.ack(True) == Ack(200, told["ack"])


def test_a_payment_that_the_gateway_signed_is_read_under_either_key() -> None:
    for key in (KEY, OLD_KEY):
        charge = heard(notification(key))
        assert charge
        assert (charge.payment_id, charge.provider_no, charge.amount) == ("pay_1", "2026050122", AMOUNT)
        assert charge.paid_at == NOW
    assert heard(notification(param="of ours")) == replace(charge, raw=notification(param="of ours").decode())
    assert ours.ack(False).body == "fail"


@pytest.mark.parametrize("status", ["", "WAIT_BUYER_PAY", "TRADE_CLOSED", "trade_success"])
def test_what_is_not_paid_is_nothing(status: str) -> None:
    assert heard(notification(trade_status=status)) is None


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"sign=",
        notification("another key"),
        notification(""),
        notification(pid="1002"),
        notification(money="25"),
        notification(money="25.0"),
        notification(money="25.000"),
        notification(money="0.00"),
        notification(money="-1.00"),
        notification(money="1e3"),
        notification(money="２５.00"),
        notification(money="99999999999.99"),
        notification(out_trade_no="pay/1"),
        notification(out_trade_no="p" * 65),
        notification(trade_no="2026 0501"),
        notification(trade_no=""),
        notification(name="x&money=1.00"),
        notification().replace(b"sign_type=MD5", b"sign_type=RSA"),
        notification().replace(b"sign_type=MD5", b"sign_type<MD5"),
        notification().replace(b"&sign=", b"&sign=0"),
        notification() + b"&pid=" + PID.encode(),
        notification() + b"&extra=1",
        notification() + b"&sign=%ff",
        notification(name="x" * 9000),
        notification(**{f"field{number}": "1" for number in range(30)}),
    ],
)
def test_a_forged_or_senseless_notification_is_refused(raw: bytes) -> None:
    with pytest.raises(BadNotification):
        heard(raw)


def test_without_a_key_nothing_is_believed() -> None:
    for keys in ([], [{}], [{"key": ""}]):
        with pytest.raises(BadNotification):
            heard(notification(""), replace(ours, keys=keys))


@given(st.integers(0, 1000), st.integers(1, 255))
def test_one_changed_byte_is_refused_or_changes_nothing(place: int, change: int) -> None:
    whole = notification()
    raw = bytearray(whole)
    raw[place % len(raw)] ^= change
    try:
        told = heard(bytes(raw))
    except BadNotification:
        return
    # %E4 and %e4 are one letter; nothing else may pass.
    assert urllib.parse.parse_qsl(raw.decode()) == urllib.parse.parse_qsl(whole.decode())
    same = heard(whole)
    assert same
    assert told == replace(same, raw=raw.decode())


@given(st.binary(max_size=300) | st.text(alphabet="sign=&%+pid;f0", max_size=60).map(str.encode))
def test_arbitrary_bytes_are_refused_by_name(raw: bytes) -> None:
    with pytest.raises(BadNotification):
        heard(raw)


@given(
    st.dictionaries(
        st.sampled_from(["pid", "trade_no", "out_trade_no", "money", "trade_status", "name", "param"]),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    )
)
def test_signed_fields_of_any_sense_are_read_or_refused_by_name(fields: dict[str, str]) -> None:
    try:
        charge = heard(notification(**fields))
    except BadNotification:
        return
    assert charge is None or (0 < charge.amount.minor <= 10**12 and charge.amount.currency == "CNY")


# --- asking ----------------------------------------------------------------------------------------------------------


@dataclass
class Gateway:
    """An api.php as the pages of several gateways tell it: it checks pid and key, and knows orders and refunds."""

    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    refunds: list[dict[str, str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    url: str = ""

    def answer(self, query: dict[str, str], body: dict[str, str]) -> object:
        fields = {**query, **body}
        if (fields.get("pid"), fields.get("key")) != (PID, KEY):
            return {"code": -3, "msg": "商户密钥错误"}
        if query["act"] == "order":
            return self.orders.get(fields["out_trade_no"], {"code": -1, "msg": "订单号不存在"})
        self.refunds.append(body)
        return {"code": 1, "msg": "退款成功"} if len(self.refunds) == 1 else {"code": -1, "msg": "金额不足"}

    def sell(self, **other: Any) -> None:
        order = {
            "code": 1,
            "msg": "查询订单号成功！",
            "trade_no": "2026050122",
            "out_trade_no": "pay_1",
            "type": "alipay",
            "pid": int(PID),
            "addtime": "2026-05-01 11:59:00",
            "endtime": "2026-05-01 12:00:00",
            "name": "VIP会员",
            "money": "25.00",
            "status": 1,
        }
        self.orders["pay_1"] = {**order, **other}


@contextmanager
def listening(gateway: Gateway) -> Iterator[Gateway]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            gateway.paths.append(path)
            body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
            fault = gateway.faults.pop(0) if gateway.faults else ""
            told = gateway.answer(dict(urllib.parse.parse_qsl(query)), dict(urllib.parse.parse_qsl(body)))
            if fault == "drop":
                return
            self.send_response({"500": 500, "redirect": 302}.get(fault, 200))
            if fault == "redirect":
                self.send_header("Location", f"{gateway.url}/elsewhere?{query}")
            self.end_headers()
            self.wfile.write({"nonsense": b"<html>\xff", "list": b"[1]"}.get(fault) or json.dumps(told).encode())

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        gateway.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield gateway
        server.shutdown()


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with listening(Gateway()) as gateway:
        yield gateway


@pytest.fixture
def adapter(gateway: Gateway) -> Epay:
    return adapter_at(gateway.url)


def test_asking_tells_what_was_paid(adapter: Epay, gateway: Gateway) -> None:
    gateway.sell()
    status = adapter.query(ATTEMPT, NOW)
    [charge] = status.charges
    assert status.outcome is Outcome.SUCCEEDED
    assert (charge.payment_id, charge.provider_no, charge.amount) == ("pay_1", "2026050122", AMOUNT)
    assert charge.paid_at == NOW  # 12:00 in Shanghai
    gateway.sell(status="1", pid=PID, endtime=None, key=KEY)
    [charge] = adapter.query(ATTEMPT, NOW + timedelta(1)).charges
    assert charge.paid_at == NOW + timedelta(1)
    assert KEY not in charge.raw


def test_an_order_can_be_paid_until_it_is(adapter: Epay, gateway: Gateway) -> None:
    gateway.sell(status=0, endtime=None)
    assert adapter.query(ATTEMPT, NOW) == PaymentStatus(Outcome.PROCESSING)
    assert adapter.close(ATTEMPT, NOW) is Outcome.PROCESSING
    gateway.sell()
    assert adapter.close(ATTEMPT, NOW) is Outcome.FAILED


@pytest.mark.parametrize(
    "other",
    [
        {"code": 0},
        {"code": True},
        {"code": None},
        {"status": 2},
        {"status": "paid"},
        {"status": None},
        {"out_trade_no": "pay_2"},
        {"pid": 1002},
        {"money": 25.0},
        {"money": "25"},
        {"money": None},
        {"trade_no": 7},
        {"trade_no": "a/b"},
        {"endtime": "yesterday"},
        {"endtime": 7},
        {"endtime": "1000-01-01 00:00:00"},
    ],
)
def test_an_answer_that_makes_no_sense_is_unknown(adapter: Epay, gateway: Gateway, other: dict[str, Any]) -> None:
    gateway.sell(**other)
    assert adapter.query(ATTEMPT, NOW) == PaymentStatus(Outcome.UNKNOWN)
    assert adapter.close(ATTEMPT, NOW) is Outcome.UNKNOWN


def test_an_order_that_nobody_has_opened_can_still_be_paid(adapter: Epay) -> None:
    assert adapter.query(ATTEMPT, NOW) == PaymentStatus(Outcome.PROCESSING)
    assert adapter.close(ATTEMPT, NOW) is Outcome.PROCESSING
    assert adapter.refund(REFUND, NOW) is Outcome.UNKNOWN


@pytest.mark.parametrize("other", [{"code": -3}, {"code": 0}, {"msg": "商户不存在"}, {"msg": None}])
def test_a_refusal_in_other_words_may_be_a_wrong_key_and_is_unknown(
    adapter: Epay, gateway: Gateway, other: dict[str, Any]
) -> None:
    gateway.orders["pay_1"] = {"code": -1, "msg": "订单号不存在", **other}
    assert adapter.query(ATTEMPT, NOW).outcome is Outcome.UNKNOWN
    assert replace(adapter, keys=[{"key": "another"}]).query(ATTEMPT, NOW).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("fault", ["drop", "500", "nonsense", "list", "redirect"])
def test_an_answer_that_cannot_be_trusted_is_unknown(adapter: Epay, gateway: Gateway, fault: str) -> None:
    gateway.sell()
    gateway.faults = [fault]
    assert adapter.query(ATTEMPT, NOW).outcome is Outcome.UNKNOWN
    gateway.faults = ["", fault]
    assert adapter.refund(REFUND, NOW) is Outcome.UNKNOWN
    assert set(gateway.paths) == {"/api.php"}  # the key followed nobody elsewhere


def test_nobody_at_the_other_end_and_no_safe_way_there_are_unknown() -> None:
    for gateway in ("http://127.0.0.1:9", "http://pay.example", ""):
        assert adapter_at(gateway).query(ATTEMPT, NOW).outcome is Outcome.UNKNOWN


def test_an_answer_that_does_not_come_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epay, "TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        adapter = adapter_at(f"http://127.0.0.1:{server.getsockname()[1]}")
        assert adapter.query(ATTEMPT, NOW).outcome is Outcome.UNKNOWN


# --- refunds and bills -----------------------------------------------------------------------------------------------


def test_a_refund_that_was_made_is_told(adapter: Epay, gateway: Gateway) -> None:
    gateway.sell()
    assert adapter.refund(REFUND, NOW) is Outcome.SUCCEEDED
    assert gateway.refunds == [{"pid": PID, "key": KEY, "trade_no": "2026050122", "money": "10.00"}]


def test_a_refund_is_never_said_to_be_absent(adapter: Epay, gateway: Gateway) -> None:
    gateway.sell()
    gateway.faults = ["", "drop"]
    assert adapter.refund(REFUND, NOW) is Outcome.UNKNOWN
    assert adapter.query_refund(REFUND, NOW) is Outcome.UNKNOWN
    assert Epay.refund_is_repeatable is False


def test_an_order_that_is_not_plainly_paid_is_not_refunded(adapter: Epay, gateway: Gateway) -> None:
    for other in ({"status": 0}, {"status": 2}, {"trade_no": "2026050123"}):
        gateway.sell(**other)
        assert adapter.refund(REFUND, NOW) is Outcome.UNKNOWN
    assert gateway.refunds == []


def test_a_no_to_a_refund_is_believed_only_of_a_gateway_known_to_mean_it(adapter: Epay, gateway: Gateway) -> None:
    gateway.sell()
    gateway.refunds = [{}]
    assert adapter.refund(REFUND, NOW) is Outcome.UNKNOWN
    known = replace(adapter, refusal_is_definite=True)
    assert known.refund(REFUND, NOW) is Outcome.FAILED
    gateway.faults = ["", "drop"]
    assert known.refund(REFUND, NOW) is Outcome.UNKNOWN


def test_a_refund_of_more_than_was_paid_is_not_sent(adapter: Epay, gateway: Gateway) -> None:
    gateway.sell()
    for amount in (Money(2501), Money(0), Money(100, "USD")):
        assert adapter.refund(replace(REFUND, amount=amount), NOW) is Outcome.FAILED
    assert gateway.paths == []


def test_there_are_no_bills() -> None:
    with pytest.raises(BillNotReady):
        ours.bill(date(2026, 4, 30), NOW)
    with pytest.raises(BadBill):
        ours.bill_lines(Bill(b"", "json"))


# --- the key ---------------------------------------------------------------------------------------------------------


def test_the_key_is_in_no_text_that_leaves_the_adapter(
    adapter: Epay, gateway: Gateway, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    gateway.sell()
    said = [
        repr(adapter),
        str(
            adapter.create,
        ),
        repr(adapter.query(ATTEMPT, NOW)),
        repr(adapter.refund(REFUND, NOW)),
    ]
    said.append(repr(adapter_at("https://pay.example").create(REQUEST, NOW)))
    for fault in ("drop", "500", "nonsense", "redirect"):
        gateway.faults = [fault]
        said.append(repr(adapter.query(ATTEMPT, NOW)))
    for raw in (b"", notification("another key")):
        with pytest.raises(BadNotification) as bad:
            adapter.parse_notification({}, raw, NOW)
        said.append(repr(bad.value) + str(bad.value.__cause__))
    with pytest.raises(ProviderRefused) as refused:
        adapter_at("").create(REQUEST, NOW)
    said.append(repr(refused.value) + str(refused.value.facts))

    assert KEY not in "".join(said) + caplog.text + "".join(capfd.readouterr())
