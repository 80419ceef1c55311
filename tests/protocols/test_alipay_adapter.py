"""Our side of Alipay's protocol: against its own signed messages, and a gateway that checks what we sign."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import functools
import io
import json
import re
import threading
import time
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import assume, example, given
from hypothesis import strategies as st

from shared.kernel.money import Money
from shared.payments.adapters import alipay as module
from shared.payments.adapters.alipay import Alipay, Traits
from shared.payments.errors import BadNotification, BillNotReady, ProviderRefused, ProviderSilent, UnknownMethod
from shared.payments.provider import (
    Ack,
    Attempt,
    Bill,
    Charge,
    Intent,
    Merchant,
    Outcome,
    PaymentRequest,
    RefundNews,
    RefundRequest,
)
from tests.published import vectors

NOW = datetime(2026, 5, 1, 18, 30, tzinfo=UTC)  # half past two at night in Beijing
EXPIRES = NOW + timedelta(minutes=15)
TRADE_NO = "2026050222001499160501589436"
QUERY = "alipay.trade.query"

Rsa = rsa.RSAPrivateKey


@functools.cache
def key(name: str) -> Rsa:
    """One for each name, made for this run."""
    return rsa.generate_private_key(65537, 2048)


def private_pem(private: Rsa, form: serialization.PrivateFormat = serialization.PrivateFormat.PKCS8) -> str:
    return private.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def public_pem(private: Rsa) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return private.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def bare(pem: str) -> str:
    return "".join(line for line in pem.splitlines() if not line.startswith("-----"))


def keys(ours: str = "ours", theirs: str = "theirs") -> dict[str, str]:
    return {"private_key": private_pem(key(ours)), "alipay_key": public_pem(key(theirs))}


def adapter(gateway: str = "http://127.0.0.1:9/gateway.do", traits: Traits | None = None, **terms: str) -> Alipay:
    merchant = Merchant(
        code="alipay-2",
        kind="alipay",
        methods=("alipay_qr", "alipay_page", "alipay_wap"),
        fee_e6=6_000,
        terms={"app_id": "2021000000000001", "seller_id": "2088000000000001", "gateway": gateway, **terms},
    )
    return Alipay(merchant, [keys()], traits or Traits())


ours = adapter()
sign_with = hashes.SHA256()


def signature(message: bytes, by: str = "theirs", digest: hashes.HashAlgorithm = sign_with) -> str:
    return base64.b64encode(key(by).sign(message, padding.PKCS1v15(), digest)).decode()


def attempt(method: str = "alipay_qr") -> Attempt:
    return Attempt("pay_1", method, Money(2505), "卡 & card", EXPIRES)


def payment(method: str = "alipay_qr") -> PaymentRequest:
    return PaymentRequest(attempt(method), "https://shop.example/n?m=2&x=卡", "https://shop.example/back")


def refund(minor: int = 1000) -> RefundRequest:
    return RefundRequest("ref_1", "pay_1", TRADE_NO, Money(2505), Money(minor), "no longer wanted")


# --- a gateway


class Gateway:
    """Takes what is signed as it should be, and says what the test wrote."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.downloads: list[str] = []
        self.answers: dict[str, Any] = {}
        self.file = b""
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                answer = gateway.answer(body)
                self.reply(answer if isinstance(answer, bytes) else answer.encode())

            def do_GET(self) -> None:
                gateway.downloads.append(self.path)
                self.reply(gateway.file)

            def reply(self, content: bytes) -> None:
                moved = content.startswith(b"moved ")
                self.send_response(302 if moved else 500 if content == b"broken" else 200)
                if moved:
                    self.send_header("Location", content.decode().removeprefix("moved "))
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self.server.server_port}"
        self.url = f"{self.origin}/gateway.do"
        threading.Thread(target=self.server.serve_forever, args=[0.01], daemon=True).start()

    def answer(self, body: str) -> str | bytes:
        form = dict(urllib.parse.parse_qsl(body, keep_blank_values=True, strict_parsing=True))
        check_request(form)
        self.asked.append(form)
        said = self.answers[form["method"]]
        return signed_answer(form["method"], json.dumps(said)) if isinstance(said, dict) else said

    def content(self, place: int = -1) -> Any:
        return json.loads(self.asked[place]["biz_content"])


def check_request(form: Mapping[str, str], by: str = "ours") -> None:
    form = dict(form)
    sign = base64.b64decode(form.pop("sign"))
    assert all(form.values())
    message = "&".join(f"{name}={form[name]}" for name in sorted(form)).encode()
    key(by).public_key().verify(sign, message, padding.PKCS1v15(), hashes.SHA256())


def signed_answer(method: str, content: str) -> str:
    name = f"{method.replace('.', '_')}_response"
    return f'{{"{name}":{content},"sign":"{signature(content.encode())}"}}'


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    running = Gateway()
    yield running
    running.server.shutdown()
    running.server.server_close()


def ok(**fields: object) -> dict[str, object]:
    return {"code": "10000", "msg": "Success", **fields}


def no(sub_code: str, code: str = "40004") -> dict[str, object]:
    return {"code": code, "msg": "Business Failed", "sub_code": sub_code, "sub_msg": "说明"}


def paid(status: str = "TRADE_SUCCESS", **other: object) -> dict[str, object]:
    return ok(
        out_trade_no="pay_1",
        trade_no=TRADE_NO,
        trade_status=status,
        total_amount="25.05",
        send_pay_date="2026-05-02 02:31:07",
        buyer_logon_id="159****5620",
        **other,
    )


# --- vectors


def of_the_vectors(whole: Any) -> Alipay:
    certificate, *_ = x509.load_pem_x509_certificates(whole["alipay_public_cert_pem"].encode())
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    theirs = certificate.public_key().public_bytes(serialization.Encoding.PEM, form).decode()
    fields = whole["async_notify"]["decoded_form_fields"]
    merchant = Merchant(
        code="alipay",
        kind="alipay",
        methods=("alipay_qr",),
        fee_e6=6_000,
        terms={"app_id": fields["app_id"], "seller_id": fields["seller_id"]},
    )
    return Alipay(merchant, [keys(), {"private_key": private_pem(key("ours")), "alipay_key": theirs}])


def test_a_notification_that_alipay_signed_is_read() -> None:
    whole = vectors("alipay_v2.json")
    raw = urllib.parse.urlencode(whole["async_notify"]["decoded_form_fields"]).encode()

    charge = of_the_vectors(whole).parse_notification({}, raw, NOW)

    assert isinstance(charge, Charge)
    assert (charge.payment_id, charge.provider_no) == ("1703147160", "2023122122001499160501589436")
    assert charge.amount == Money(1, "CNY")
    assert charge.paid_at == datetime(2023, 12, 21, 8, 26, 43, tzinfo=UTC)
    assert "2088722003899169" not in charge.raw  # the buyer
    with pytest.raises(BadNotification):
        of_the_vectors(whole).parse_notification({}, raw.replace(b"total_amount=0.01", b"total_amount=0.02"), NOW)


def test_a_return_that_alipay_signed_is_no_proof_of_payment() -> None:
    whole = vectors("alipay_v2.json")
    raw = whole["return_url_query"].encode()
    assert of_the_vectors(whole).parse_notification({}, raw, NOW) is None
    with pytest.raises(BadNotification):
        of_the_vectors(whole).parse_notification({}, raw.replace(b"total_amount=0.01", b"total_amount=0.10"), NOW)


def test_an_answer_that_alipay_signed_is_read() -> None:
    whole = vectors("alipay_v2.json")
    said, sign = whole["sync_response"]["signed_string"], whole["sync_response"]["sign"]
    theirs = of_the_vectors(whole)

    def read(content: str) -> Any:
        raw = json.dumps({"sign": sign}).removesuffix("}") + f',"a_b_response":{content}}}'
        return module._answer(raw.encode(), "a.b", theirs._signed_by_alipay)

    assert read(said)["trans_amount"] == "0.01"
    assert read(said.replace("0.01", "0.02")) is None
    assert read(said.replace(",", ", ")) is None  # the same to JSON, other letters


# --- what we send


def test_a_qr_code_is_asked_for_with_the_moment_it_dies(gateway: Gateway) -> None:
    code = "https://qr.alipay.com/bax00001"
    gateway.answers["alipay.trade.precreate"] = ok(out_trade_no="pay_1", qr_code=code)

    assert adapter(gateway.url).create(payment(), NOW) == Intent(qr_url=code)

    [form] = gateway.asked
    assert (form["app_id"], form["charset"], form["sign_type"]) == ("2021000000000001", "utf-8", "RSA2")
    assert form["notify_url"] == payment().notify_url
    assert form["timestamp"] == "2026-05-02 02:30:00"
    assert form["biz_content"] == (
        '{"out_trade_no":"pay_1","total_amount":"25.05","subject":"卡   card","time_expire":"2026-05-02 02:45:00"}'
    )


@pytest.mark.parametrize(
    ("method", "name", "product"),
    [
        ("alipay_page", "alipay.trade.page.pay", "FAST_INSTANT_TRADE_PAY"),
        ("alipay_wap", "alipay.trade.wap.pay", "QUICK_WAP_PAY"),
    ],
)
def test_a_page_is_opened_by_a_signed_address_without_a_call(method: str, name: str, product: str) -> None:
    url = str(ours.create(payment(method), NOW).redirect_url)
    address, _, query = url.partition("?")
    form = dict(urllib.parse.parse_qsl(query, keep_blank_values=True, strict_parsing=True))
    check_request(form)
    assert address == "http://127.0.0.1:9/gateway.do"
    assert (form["method"], form["return_url"]) == (name, "https://shop.example/back")
    content = json.loads(form["biz_content"])
    assert (content["product_code"], content["total_amount"]) == (product, "25.05")


def test_without_an_address_to_come_back_to_none_is_sent() -> None:
    request = dataclasses.replace(payment("alipay_page"), return_url="")
    assert "return_url" not in str(ours.create(request, NOW).redirect_url)


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
def test_times_are_those_of_beijing_wherever_the_machine_stands(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        url = str(ours.create(payment("alipay_page"), NOW).redirect_url)
        charge = ours.parse_notification({}, notification(), NOW)
    finally:
        monkeypatch.undo()
        time.tzset()
    form = dict(urllib.parse.parse_qsl(url.partition("?")[2]))
    assert form["timestamp"] == "2026-05-02 02:30:00"
    assert json.loads(form["biz_content"])["time_expire"] == "2026-05-02 02:45:00"
    assert isinstance(charge, Charge)
    assert charge.paid_at == datetime(2026, 5, 1, 18, 31, 7, tzinfo=UTC)


@given(st.integers(1, 10**10))
def test_an_amount_is_written_to_the_fen(minor: int) -> None:
    request = dataclasses.replace(
        payment("alipay_page"), attempt=dataclasses.replace(attempt("alipay_page"), amount=Money(minor))
    )
    form = dict(urllib.parse.parse_qsl(str(ours.create(request, NOW).redirect_url).partition("?")[2]))
    units, cents = json.loads(form["biz_content"])["total_amount"].split(".")
    assert (int(units) * 100 + int(cents), len(cents)) == (minor, 2)


def test_what_alipay_does_not_do_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(UnknownMethod):
        ours.create(payment("wechat_native"), NOW)
    dollars = dataclasses.replace(payment(), attempt=dataclasses.replace(attempt(), amount=Money(1, "USD")))
    with pytest.raises(ProviderRefused):
        ours.create(dollars, NOW)


@pytest.mark.parametrize("form", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize("write", [str, bare, lambda pem: pem.replace("\n", " ")])
def test_keys_are_read_as_pem_and_as_alipays_tools_print_them(
    form: serialization.PrivateFormat, write: Callable[[str], str]
) -> None:
    pair = {"private_key": write(private_pem(key("ours"), form)), "alipay_key": write(public_pem(key("theirs")))}
    alipay = Alipay(ours.merchant, [pair])
    form_sent = dict(
        urllib.parse.parse_qsl(str(alipay.create(payment("alipay_page"), NOW).redirect_url).partition("?")[2])
    )
    check_request(form_sent)
    assert isinstance(alipay.parse_notification({}, notification(), NOW), Charge)


def test_a_key_never_shows() -> None:
    secret = bare(private_pem(key("ours")))
    assert secret[:40] not in repr(ours)
    broken = Alipay(ours.merchant, [{"private_key": secret[:-9], "alipay_key": secret}])
    with pytest.raises(ValueError, match="no RSA key") as failure:
        broken.create(payment("alipay_page"), NOW)
    assert secret[:40] not in str(failure.value)


@pytest.mark.parametrize(
    "gateway", ["http://openapi.alipay.com/gateway.do", "http://127.0.0.1.evil.example/", "", "://["]
)
def test_a_gateway_in_the_clear_is_not_accepted(gateway: str) -> None:
    with pytest.raises(ValueError, match="https"):
        adapter(gateway)


def test_while_keys_are_changed_two_are_valid_and_the_newest_signs() -> None:
    both = dataclasses.replace(ours, keys=[keys("ours-new", "theirs-new"), keys()])
    form = dict(urllib.parse.parse_qsl(str(both.create(payment("alipay_page"), NOW).redirect_url).partition("?")[2]))
    check_request(form, by="ours-new")
    for by in ("theirs", "theirs-new"):
        assert isinstance(both.parse_notification({}, notification(by=by), NOW), Charge)
    with pytest.raises(BadNotification):
        both.parse_notification({}, notification(by="stranger"), NOW)


# --- what it answers


@pytest.mark.parametrize(
    ("said", "refusal"),
    [
        (no("ACQ.TRADE_HAS_CLOSE"), ProviderRefused),
        (no("ACQ.TRADE_HAS_SUCCESS"), ProviderSilent),
        (no("ACQ.CONTEXT_INCONSISTENT"), ProviderSilent),
        (no("ACQ.SYSTEM_ERROR"), ProviderSilent),
        (no("isv.invalid-signature", "40002"), ProviderSilent),
        (no("isp.unknow-error", "20000"), ProviderSilent),
        (no(""), ProviderSilent),
        (ok(out_trade_no="pay_2", qr_code="https://qr.alipay.com/bax00002"), ProviderSilent),
        (ok(out_trade_no="pay_1"), ProviderSilent),
        ('{"error_response":{"code":"40004","sub_code":"ACQ.TRADE_HAS_CLOSE"}}', ProviderSilent),
        ("broken", ProviderSilent),
    ],
)
def test_only_a_signed_no_of_the_business_refuses_a_payment(
    gateway: Gateway, said: Any, refusal: type[ProviderRefused | ProviderSilent]
) -> None:
    gateway.answers["alipay.trade.precreate"] = said
    with pytest.raises(refusal) as caught:
        adapter(gateway.url).create(payment(), NOW)
    assert caught.value.facts["provider"] == "alipay-2"


def test_asking_finds_the_charge(gateway: Gateway) -> None:
    gateway.answers[QUERY] = paid(subject='{"not":"} the end"}', body="a/b\\", fund_bill_list=[{"amount": "25.05"}])
    status = adapter(gateway.url).query(attempt(), NOW)
    assert status.outcome is Outcome.SUCCEEDED
    [charge] = status.charges
    assert (charge.payment_id, charge.provider_no, charge.amount) == ("pay_1", TRADE_NO, Money(2505))
    assert charge.paid_at == datetime(2026, 5, 1, 18, 31, 7, tzinfo=UTC)
    assert "159****5620" not in charge.raw
    assert gateway.content() == {"out_trade_no": "pay_1"}


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        (paid("TRADE_FINISHED"), Outcome.SUCCEEDED),
        (paid("TRADE_CLOSED"), Outcome.SUCCEEDED),
        (paid("WAIT_BUYER_PAY"), Outcome.PROCESSING),
        (paid("TRADE_OTHER"), Outcome.UNKNOWN),
        (paid() | {"send_pay_date": None}, Outcome.UNKNOWN),
        (paid() | {"out_trade_no": "pay_2"}, Outcome.UNKNOWN),
        (paid() | {"total_amount": "-1"}, Outcome.UNKNOWN),
        (paid() | {"total_amount": "0.00"}, Outcome.UNKNOWN),
        (paid() | {"total_amount": ["1"]}, Outcome.UNKNOWN),
        (paid() | {"trade_no": "a b"}, Outcome.UNKNOWN),
        (ok(out_trade_no="pay_1", trade_status="TRADE_CLOSED", receipt_amount="0.00"), Outcome.FAILED),
        (ok(out_trade_no="pay_1", trade_status="TRADE_CLOSED", receipt_amount=None), Outcome.FAILED),
        (ok(out_trade_no="pay_1", trade_status="TRADE_CLOSED", receipt_amount="0.01"), Outcome.UNKNOWN),
        (no("ACQ.TRADE_NOT_EXIST", "20000"), Outcome.UNKNOWN),
        (no("ACQ.SYSTEM_ERROR"), Outcome.UNKNOWN),
        (no("isv.invalid-app-id", "40002"), Outcome.UNKNOWN),
        (no("isv.insufficient-isv-permissions", "40006"), Outcome.UNKNOWN),
        ('{"error_response":{"code":"40004","sub_code":"ACQ.TRADE_NOT_EXIST"}}', Outcome.UNKNOWN),
        ("broken", Outcome.UNKNOWN),
        ("<html>", Outcome.UNKNOWN),
        (b"\xff\xfe", Outcome.UNKNOWN),
        ("[" * 100_000, Outcome.UNKNOWN),
        ("moved http://127.0.0.1:9/", Outcome.UNKNOWN),
    ],
)
def test_an_answer_means_what_it_says_or_nothing(gateway: Gateway, said: Any, outcome: Outcome) -> None:
    gateway.answers[QUERY] = said
    assert adapter(gateway.url).query(attempt(), NOW).outcome is outcome


def test_amounts_that_alipay_writes_as_numbers_stay_exact(gateway: Gateway) -> None:
    content = json.dumps(paid()).replace('"25.05"', "25.05")
    gateway.answers[QUERY] = signed_answer(QUERY, content)
    [charge] = adapter(gateway.url).query(attempt(), NOW).charges
    assert charge.amount == Money(2505)


def test_slashes_that_the_gateway_escaped_after_signing_are_no_forgery(gateway: Gateway) -> None:
    content = json.dumps(paid(store_name="a/b"))
    gateway.answers[QUERY] = signed_answer(QUERY, content).replace("a/b", "a\\/b")
    assert adapter(gateway.url).query(attempt(), NOW).outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize(
    "forge",
    [
        lambda raw: raw.replace("25.05", "25.06"),
        lambda raw: re.sub('"sign":"[^"]*"', '"sign":""', raw),
        lambda raw: re.sub(',"sign":"[^"]*"', "", raw),
        lambda raw: re.sub('"sign":"[^"]*"', '"sign":null', raw),
        lambda raw: re.sub('"sign":"[^"]*"', f'"sign":"{signature(b"other")}"', raw),
        lambda raw: raw.replace('{"alipay_trade', '{"alipay_trade_query_response":{"code":"10000"},"alipay_trade'),
        lambda raw: raw.replace('{"alipay_trade', '{"error_response":{"code":"10000"},"alipay_trade'),
        lambda raw: raw.replace("alipay_trade_query_response", "alipay_trade_close_response"),
        lambda raw: raw + "{}",
        lambda raw: raw[:-1],
        lambda raw: f"[{raw}]",
    ],
)
def test_an_answer_whose_signature_is_not_over_what_it_says_is_unknown(
    gateway: Gateway, forge: Callable[[str], str]
) -> None:
    raw = signed_answer(QUERY, json.dumps(paid()))
    gateway.answers[QUERY] = forge(raw)
    assert forge(raw) != raw
    assert adapter(gateway.url).query(attempt(), NOW).outcome is Outcome.UNKNOWN


words = st.text(max_size=9)
said_by_alipay = st.dictionaries(
    words,
    st.recursive(
        st.none() | st.booleans() | words,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
        max_leaves=6,
    ),
    max_size=4,
)


@given(said_by_alipay, st.booleans(), st.sampled_from([None, 2]))
def test_whatever_alipay_says_is_read_in_the_letters_it_signed(
    said: dict[str, Any], ascii_only: bool, indent: int | None
) -> None:
    content = json.dumps(said, ensure_ascii=ascii_only, indent=indent)
    try:
        raw = signed_answer(QUERY, content).encode()
    except UnicodeEncodeError:
        return
    assert module._answer(raw, QUERY, ours._signed_by_alipay) == said


ANSWER = signed_answer(QUERY, json.dumps(paid(subject='{"a":"\\}', body="卡/"), ensure_ascii=False)).encode()


@given(st.integers(0, len(ANSWER) - 1), st.integers(1, 255))
def test_one_changed_byte_of_an_answer_never_changes_what_it_says(place: int, change: int) -> None:
    changed = bytearray(ANSWER)
    changed[place] ^= change
    untouched = module._answer(ANSWER, QUERY, ours._signed_by_alipay)
    assert untouched
    assert module._answer(bytes(changed), QUERY, ours._signed_by_alipay) in (None, untouched)


@given(st.binary(max_size=200) | st.text(alphabet='{}[]":,\\ abc1', max_size=60).map(str.encode))
def test_arbitrary_bytes_are_no_answer(raw: bytes) -> None:
    assert module._answer(raw, QUERY, ours._signed_by_alipay) is None


def test_nobody_at_the_other_end_is_unknown() -> None:
    assert ours.query(attempt(), NOW).outcome is Outcome.UNKNOWN
    assert ours.refund(refund(), NOW) is Outcome.UNKNOWN
    with pytest.raises(ProviderSilent):
        ours.create(payment(), NOW)


@pytest.mark.parametrize("method", ["alipay_qr", "alipay_page", "alipay_wap"])
def test_a_trade_that_no_buyer_has_opened_can_be_paid_until_it_expires(gateway: Gateway, method: str) -> None:
    gateway.answers |= {QUERY: no("ACQ.TRADE_NOT_EXIST"), "alipay.trade.close": no("ACQ.TRADE_NOT_EXIST")}
    alipay, unseen = adapter(gateway.url), attempt(method)
    assert alipay.query(unseen, NOW).outcome is Outcome.PROCESSING
    assert alipay.close(unseen, NOW) is Outcome.PROCESSING
    assert alipay.query(unseen, EXPIRES).outcome is Outcome.ABSENT
    assert alipay.close(unseen, EXPIRES) is Outcome.ABSENT
    assert adapter(gateway.url, Traits(close_kills_unseen=True)).close(unseen, NOW) is Outcome.ABSENT


@pytest.mark.parametrize(
    ("closing", "asking", "outcome"),
    [
        (ok(out_trade_no="pay_1", trade_no=TRADE_NO), None, Outcome.SUCCEEDED),
        (ok(out_trade_no="pay_2", trade_no=TRADE_NO), None, Outcome.UNKNOWN),
        (no("ACQ.TRADE_STATUS_ERROR"), paid(), Outcome.FAILED),
        (no("ACQ.TRADE_STATUS_ERROR"), ok(out_trade_no="pay_1", trade_status="TRADE_CLOSED"), Outcome.SUCCEEDED),
        (no("ACQ.REASON_TRADE_STATUS_INVALID"), "broken", Outcome.UNKNOWN),
        (no("ACQ.TRADE_HAS_CLOSE"), ok(out_trade_no="pay_1", trade_status="TRADE_CLOSED"), Outcome.SUCCEEDED),
        (no("ACQ.TRADE_HAS_CLOSE"), ok(out_trade_no="pay_1", trade_status="WAIT_BUYER_PAY"), Outcome.UNKNOWN),
        (no("ACQ.TRADE_HAS_SUCCESS"), paid(), Outcome.FAILED),
        (no("ACQ.TRADE_HAS_FINISHED"), "broken", Outcome.UNKNOWN),
        (no("ACQ.SYSTEM_ERROR"), None, Outcome.UNKNOWN),
        ("broken", None, Outcome.UNKNOWN),
    ],
)
def test_closing_tells_whether_somebody_has_paid(gateway: Gateway, closing: Any, asking: Any, outcome: Outcome) -> None:
    gateway.answers |= {QUERY: asking, "alipay.trade.close": closing}
    assert adapter(gateway.url).close(attempt(), NOW) is outcome


def returned(**other: object) -> dict[str, object]:
    return ok(out_request_no="ref_1", trade_no=TRADE_NO, refund_amount="10.00", refund_status="REFUND_SUCCESS") | other


def repaid(fund_change: str) -> dict[str, object]:
    return ok(out_trade_no="pay_1", trade_no=TRADE_NO, fund_change=fund_change, refund_fee="10.00")


@pytest.mark.parametrize(
    ("refunding", "asking", "outcome"),
    [
        (repaid("Y"), "broken", Outcome.SUCCEEDED),
        (repaid("Y") | {"trade_no": "other"}, None, Outcome.UNKNOWN),
        (repaid("N"), returned(), Outcome.SUCCEEDED),
        (repaid("N"), ok(), Outcome.PROCESSING),
        (repaid("N"), "broken", Outcome.UNKNOWN),
        (no("ACQ.SELLER_BALANCE_NOT_ENOUGH"), ok(), Outcome.FAILED),
        (no("ACQ.REASON_TRADE_REFUND_FEE_ERR"), returned(), Outcome.SUCCEEDED),
        (no("ACQ.TRADE_HAS_FINISHED"), "broken", Outcome.UNKNOWN),
        (no("ACQ.TRADE_NOT_EXIST"), no("ACQ.TRADE_NOT_EXIST"), Outcome.FAILED),
        (no("ACQ.DISCORDANT_REPEAT_REQUEST"), ok(), Outcome.UNKNOWN),
        (no("ACQ.SYSTEM_ERROR"), ok(), Outcome.UNKNOWN),
        (no("ACQ.SOMETHING_NEW"), ok(), Outcome.UNKNOWN),
        (no("isp.unknow-error", "20000"), ok(), Outcome.UNKNOWN),
        (no("isv.missing-signature", "40001"), ok(), Outcome.UNKNOWN),
        (no("isv.invalid-signature", "40002"), ok(), Outcome.UNKNOWN),
        (no("isv.insufficient-isv-permissions", "40006"), ok(), Outcome.UNKNOWN),
        ("broken", ok(), Outcome.UNKNOWN),
    ],
)
def test_a_refund_fails_only_where_no_money_has_moved(
    gateway: Gateway, refunding: Any, asking: Any, outcome: Outcome
) -> None:
    gateway.answers |= {"alipay.trade.refund": refunding, "alipay.trade.fastpay.refund.query": asking}
    assert adapter(gateway.url).refund(refund(), NOW) is outcome
    assert gateway.content(0) == {
        "trade_no": TRADE_NO,
        "out_request_no": "ref_1",
        "refund_amount": "10.00",
        "refund_reason": "no longer wanted",
    }


@pytest.mark.parametrize(
    ("said", "outcome", "by_amount"),
    [
        (returned(), Outcome.SUCCEEDED, Outcome.SUCCEEDED),
        (returned(refund_status=None), Outcome.UNKNOWN, Outcome.SUCCEEDED),
        (returned(refund_status="REFUND_FAIL"), Outcome.UNKNOWN, Outcome.UNKNOWN),
        (returned(refund_amount="9.99"), Outcome.UNKNOWN, Outcome.UNKNOWN),
        (returned(out_request_no="ref_2"), Outcome.UNKNOWN, Outcome.UNKNOWN),
        (returned(refund_amount=["10.00"]), Outcome.UNKNOWN, Outcome.UNKNOWN),
        (ok(), Outcome.ABSENT, Outcome.ABSENT),
        (no("ACQ.TRADE_NOT_EXIST"), Outcome.ABSENT, Outcome.ABSENT),
        (no("ACQ.SYSTEM_ERROR"), Outcome.UNKNOWN, Outcome.UNKNOWN),
        ("broken", Outcome.UNKNOWN, Outcome.UNKNOWN),
    ],
)
def test_asking_for_a_refund_tells_what_became_of_it(
    gateway: Gateway, said: Any, outcome: Outcome, by_amount: Outcome
) -> None:
    gateway.answers["alipay.trade.fastpay.refund.query"] = said
    assert adapter(gateway.url).query_refund(refund(), NOW) is outcome
    trusting = adapter(gateway.url, Traits(refund_query_tells_success_by_amount=True))
    assert trusting.query_refund(refund(), NOW) is by_amount


def test_where_a_change_of_funds_proves_nothing_each_refund_is_asked_for(gateway: Gateway) -> None:
    gateway.answers |= {"alipay.trade.refund": repaid("Y"), "alipay.trade.fastpay.refund.query": ok()}
    doubting = adapter(gateway.url, Traits(fund_change_proves_refund=False))
    assert doubting.refund(refund(), NOW) is Outcome.PROCESSING


# --- bills

BILL = "alipay.data.dataservice.bill.downloadurl.query"
DAY = date(2026, 5, 1)
NEXT_NOON = datetime(2026, 5, 2, 4, 0, tzinfo=UTC)


def packed() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("1.csv", "#")
    return out.getvalue()


def test_a_bill_is_fetched_as_it_is(gateway: Gateway) -> None:
    gateway.file = packed()
    gateway.answers[BILL] = ok(bill_download_url=f"{gateway.origin}/downloadBillFile.resource?fileId=1")

    assert adapter(gateway.url).bill(DAY, NEXT_NOON) == Bill(packed(), "zip")

    assert gateway.content() == {"bill_type": "trade", "bill_date": "2026-05-01"}
    assert gateway.downloads == ["/downloadBillFile.resource?fileId=1"]


def test_a_day_without_trades_has_an_empty_bill_once_it_must_have_been_made(gateway: Gateway) -> None:
    gateway.answers[BILL] = no("isp.bill_not_exist")
    alipay = adapter(gateway.url)
    ten = datetime(2026, 5, 2, 2, 0, tzinfo=UTC)
    with pytest.raises(BillNotReady):
        alipay.bill(DAY, ten - timedelta(seconds=1))
    assert alipay.bill(DAY, ten) == Bill(b"", "zip")
    assert alipay.bill_lines(Bill(b"", "zip")) == []


def test_a_day_that_is_not_over_in_beijing_has_no_bill() -> None:
    with pytest.raises(BillNotReady):
        ours.bill(DAY, datetime(2026, 5, 1, 15, 59, 59, tzinfo=UTC))


@pytest.mark.parametrize(
    "said",
    [
        ok(),
        ok(bill_download_url="ftp://dwbillcenter.alipay.com/1"),
        ok(bill_download_url="file:///etc/passwd"),
        ok(bill_download_url="http://127.0.0.1:9/"),
        no("isp.unknow-error", "20000"),
        no("isv.invalid_arguments"),
        "broken",
    ],
)
def test_a_bill_that_cannot_be_had_is_asked_for_again(gateway: Gateway, said: Any) -> None:
    gateway.answers[BILL] = said
    with pytest.raises(ProviderSilent):
        adapter(gateway.url).bill(DAY, NEXT_NOON)


@pytest.mark.parametrize(
    "file",
    [b"<html>", b"broken", b"", b"moved /elsewhere", packed()[:-9], packed()[:40]],
    ids=["page", "broken", "empty", "moved", "without its end", "its begin"],  # a ZIP has the time in it
)
def test_a_page_or_a_part_of_a_bill_is_no_bill(gateway: Gateway, file: bytes) -> None:
    gateway.file = file
    gateway.answers[BILL] = ok(bill_download_url=f"{gateway.origin}/bill")
    with pytest.raises(ProviderSilent):
        adapter(gateway.url).bill(DAY, NEXT_NOON)
    assert gateway.downloads == ["/bill"]


def test_a_bill_never_travels_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = []

    def fetch(request: urllib.request.Request, *_: int) -> bytes:
        fetched.append(request.full_url)
        plain = ok(bill_download_url="http://dwbillcenter.alipay.com/downloadBillFile.resource?fileId=1")
        return packed() if len(fetched) == 2 else signed_answer(BILL, json.dumps(plain)).encode()

    monkeypatch.setattr(module, "_fetch", fetch)
    adapter("https://openapi.alipay.com/gateway.do").bill(DAY, NEXT_NOON)
    assert fetched[1] == "https://dwbillcenter.alipay.com/downloadBillFile.resource?fileId=1"


def test_a_bill_larger_than_memory_is_not_read(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BILL_MAX", 100)
    gateway.file = packed()
    gateway.answers[BILL] = ok(bill_download_url=f"{gateway.origin}/bill")
    assert len(packed()) > module.BILL_MAX
    with pytest.raises(ProviderSilent):
        adapter(gateway.url).bill(DAY, NEXT_NOON)


# --- notifications


def fields(**other: str | None) -> dict[str, str]:
    every = {
        "app_id": "2021000000000001",
        "seller_id": "2088000000000001",
        "charset": "utf-8",
        "notify_id": "2026050201222162644199160501632046",
        "notify_type": "trade_status_sync",
        "out_trade_no": "pay_1",
        "trade_no": TRADE_NO,
        "trade_status": "TRADE_SUCCESS",
        "total_amount": "25.05",
        "gmt_payment": "2026-05-02 02:31:07",
        "subject": "卡 + card/1",
        "buyer_id": "2088722003899169",
        **other,
    }
    return {name: value for name, value in every.items() if value is not None}


def notification(
    by: str = "theirs", sign_type: str = "RSA2", digest: hashes.HashAlgorithm = sign_with, **other: str | None
) -> bytes:
    form = fields(**other)
    charset = form.get("charset", "utf-8")
    message = "&".join(f"{name}={form[name]}" for name in sorted(form)).encode(charset)
    signed = {**form, "sign": signature(message, by, digest), "sign_type": sign_type}
    return urllib.parse.urlencode(signed, encoding=charset).encode()


@pytest.mark.parametrize("status", ["TRADE_SUCCESS", "TRADE_FINISHED"])
@pytest.mark.parametrize("charset", ["utf-8", "UTF-8", "gbk", "GBK", None])
def test_a_signed_notification_of_a_payment_is_read(status: str, charset: str | None) -> None:
    charge = ours.parse_notification({}, notification(trade_status=status, charset=charset, refund_fee="0.00"), NOW)
    assert isinstance(charge, Charge)
    assert (charge.payment_id, charge.provider_no, charge.amount) == ("pay_1", TRADE_NO, Money(2505))
    assert json.loads(charge.raw)["subject"] == "卡 + card/1"
    assert "2088722003899169" not in charge.raw


@pytest.mark.parametrize("status", ["WAIT_BUYER_PAY", "TRADE_CLOSED", "SOMETHING_NEW", None])
def test_what_is_not_paid_is_no_news(status: str | None) -> None:
    assert ours.parse_notification({}, notification(trade_status=status), NOW) is None


@pytest.mark.parametrize("status", ["TRADE_SUCCESS", "TRADE_CLOSED"])
def test_a_refund_is_told_by_its_own_name_and_is_no_charge(status: str) -> None:
    news = notification(trade_status=status, refund_fee="10.00", out_biz_no="ref_1")
    assert ours.parse_notification({}, news, NOW) == RefundNews("ref_1")
    by_hand = notification(trade_status=status, refund_fee="10.00")
    assert ours.parse_notification({}, by_hand, NOW) is None


@pytest.mark.parametrize("sign_type", ["RSA", "RSA2", "rsa2", ""])
def test_a_signature_with_sha_1_is_refused_whatever_it_calls_itself(sign_type: str) -> None:
    with pytest.raises(BadNotification):
        ours.parse_notification({}, notification(sign_type=sign_type, digest=hashes.SHA1()), NOW)


@pytest.mark.parametrize("sign_type", ["RSA", "rsa2", "", "RSA2,RSA"])
def test_another_kind_of_signature_is_refused_though_it_fits(sign_type: str) -> None:
    with pytest.raises(BadNotification):
        ours.parse_notification({}, notification(sign_type=sign_type), NOW)


@pytest.mark.parametrize(
    "other",
    [
        {"app_id": "2021000000000002"},
        {"app_id": None},
        {"seller_id": "2088000000000002"},
        {"seller_id": None},
        {"charset": "utf-16"},
        {"total_amount": "0.00"},
        {"total_amount": "-25.05"},
        {"total_amount": "25.051"},
        {"total_amount": "1e3"},
        {"total_amount": "٢٥"},
        {"total_amount": "99999999999.00"},
        {"total_amount": None},
        {"trade_no": None},
        {"trade_no": "a#b"},
        {"out_trade_no": "p" * 65},
        {"out_trade_no": "付"},
        {"out_trade_no": None},
        {"gmt_payment": None},
        {"gmt_payment": "2026-02-30 00:00:00"},
        {"gmt_payment": "2100-01-01 00:00:00"},
        {"gmt_payment": "1999-12-31 23:59:59"},
        {"gmt_payment": "yesterday"},
        {"out_biz_no": "a#b", "refund_fee": "1.00"},
        {"trans_currency": "yuan"},
    ],
)
def test_a_senseless_notification_is_refused_though_it_is_signed(other: dict[str, str | None]) -> None:
    with pytest.raises(BadNotification):
        ours.parse_notification({}, notification(**other), NOW)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: raw + b"&total_amount=25.05",
        lambda raw: raw + b"&total_amount=99.00",
        lambda raw: raw + b"&refund_fee=1.00",
        lambda raw: raw + b"&",
        lambda raw: raw + b"&x",
        lambda raw: raw + b"&x=%",
        lambda raw: raw + b"&x=%zz",
        lambda raw: raw + b"&%78=1",
        lambda raw: raw + b"&x=" + b"1" * 70_000,
        lambda raw: raw.replace(b"charset=utf-8", b"charset=gbk"),
        lambda raw: re.sub(rb"&sign=[^&]*", b"", raw),
        lambda raw: re.sub(rb"&sign_type=[^&]*", b"", raw),
        lambda raw: b"",
    ],
)
def test_a_form_that_was_touched_is_refused(spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(BadNotification):
        ours.parse_notification({}, spoil(notification()), NOW)


def test_an_empty_field_says_nothing_whether_it_was_signed_or_not() -> None:
    signed = ours.parse_notification({}, notification(passback_params=""), NOW)
    added = ours.parse_notification({}, notification() + b"&refund_fee=&out_biz_no=", NOW)
    assert signed == added == ours.parse_notification({}, notification(), NOW)


NOTIFICATION = notification()


@given(st.integers(0, len(NOTIFICATION) - 1), st.integers(1, 255))
def test_one_changed_byte_is_refused(place: int, change: int) -> None:
    changed = bytearray(NOTIFICATION)
    changed[place] ^= change
    escapes = re.compile(rb"%..")
    upper = [escapes.sub(lambda escape: escape[0].upper(), raw) for raw in (bytes(changed), NOTIFICATION)]
    assume(upper[0] != upper[1])  # %2b is another spelling of %2B
    with pytest.raises(BadNotification):
        ours.parse_notification({}, bytes(changed), NOW)


def test_another_spelling_of_the_same_signature_is_refused() -> None:
    letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    place = NOTIFICATION.index(b"%3D%3D&sign_type") - 1
    last = letters.index(NOTIFICATION[place])  # four of its six bits are read by nobody
    other = NOTIFICATION[:place] + letters[last ^ 1 : (last ^ 1) + 1] + NOTIFICATION[place + 1 :]
    with pytest.raises(BadNotification):
        ours.parse_notification({}, other, NOW)


def test_a_notification_longer_than_any_is_refused_though_it_is_signed() -> None:
    assert ours.parse_notification({}, notification(body="a" * 60_000), NOW)
    with pytest.raises(BadNotification):
        ours.parse_notification({}, notification(body="a" * 70_000), NOW)


@given(st.binary(max_size=300), st.dictionaries(st.text(max_size=20), st.text(max_size=20), max_size=3))
@example(b"sign=%FF&sign_type=RSA2", {})
@example(b"charset=%FF&sign=a&sign_type=RSA2", {})
def test_arbitrary_bytes_are_refused_by_name(raw: bytes, headers: dict[str, str]) -> None:
    with pytest.raises(BadNotification):
        ours.parse_notification(headers, raw, NOW)


@given(st.dictionaries(st.sampled_from([*fields(), "refund_fee", "out_biz_no", "trans_currency"]), st.text(max_size=9)))
def test_arbitrary_fields_are_refused_by_name_or_say_nothing_though_they_are_signed(other: dict[str, str]) -> None:
    assume(other.get("charset", "utf-8") in {"utf-8", "gbk"})
    try:
        raw = notification(**other)
    except UnicodeEncodeError:
        return
    with contextlib.suppress(BadNotification):
        ours.parse_notification({}, raw, NOW)


def test_alipay_hears_the_two_words_it_waits_for() -> None:
    assert ours.ack(ok=True) == Ack(200, "success", "text/plain")
    assert ours.ack(ok=False) == Ack(200, "fail", "text/plain")
    assert (ours.code, ours.fee_e6) == ("alipay-2", 6_000)
