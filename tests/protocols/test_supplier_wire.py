"""How adapters speak HTTP: what is sent, and what is known of it when it fails."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import logging
import ssl
import threading
import time
import traceback
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from shared.kernel.money import Money
from shared.suppliers import wire
from shared.suppliers.errors import SupplierRefused, SupplierSilent
from shared.suppliers.supplier import Account, Answer, Outcome, Reason
from shared.suppliers.wire import NoAnswer, NotSent, Reply
from tests.canned_http import Drip, Reset, Said, Script, Silence, canned, refusing

DONE = Answer(Outcome.ACCEPTED, upstream_no="1")

# --- what is sent ----------------------------------------------------------------------------------------------------


@given(st.binary(max_size=300))
def test_the_bytes_given_are_the_bytes_sent(body: bytes) -> None:
    with canned(Said(200, body, {"X-Told": "yes"})) as server:
        reply = wire.call("POST", f"{server.address}/a?b=c%20d", body, {"X-Sign": "abc", "Content-Type": "text/plain"})

        assert server.heard[0].body == body
        assert (server.last.method, server.last.path) == ("POST", "/a?b=c%20d")
        assert (server.last.headers["x-sign"], server.last.headers["content-type"]) == ("abc", "text/plain")
        assert (reply.status, reply.body, reply.headers["x-told"]) == (200, body, "yes")


def test_nothing_is_sent_where_there_is_no_body() -> None:
    with canned() as server:
        wire.call("GET", server.address, None, {})
        assert (server.last.method, server.last.path, server.last.body) == ("GET", "/", b"")
        assert "content-length" not in server.last.headers


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    with canned() as other, canned(Said(302, b"", {"Location": other.address})) as server:
        assert wire.call("POST", server.address, b"x", {}).status == 302
        assert not other.heard


def test_no_proxy_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", refusing())
    with canned() as server:
        assert wire.call("GET", server.address, None, {}).status == 200


# --- not sent --------------------------------------------------------------------------------------------------------

BAD_ADDRESSES = [
    "http://localhost/x",
    "http://127.0.0.2/x",
    "http://shop.example/x",
    "http://127.0.0.1.shop.example/x",
    "http://127.0.0.1@shop.example/x",
    "https://user:pass@127.0.0.1/x",
    "ftp://127.0.0.1/x",
    "file:///etc/hosts",
    "//127.0.0.1/x",
    "",
    "https:///x",
    "http://127.0.0.1:99999/x",
    "http://[127.0.0.1/x",
    "http://127.0.0.1/x#y",
]


@pytest.mark.parametrize("url", BAD_ADDRESSES)
def test_only_https_is_spoken_and_plain_http_to_this_machine(url: str) -> None:
    with pytest.raises(NotSent):
        wire.call("POST", url, b"", {})


def test_where_nobody_listens_nothing_is_sent() -> None:
    with pytest.raises(NotSent):
        wire.call("POST", refusing(), b"", {})


def test_a_name_that_nobody_has_is_not_sent_to() -> None:
    with pytest.raises(NotSent):
        wire.call("POST", "https://nobody.invalid/", b"", {})


@pytest.mark.parametrize("headers", [{"X": "a\r\nY: b"}, {"X\r\n": "a"}, {"X": "卡"}])
def test_a_header_that_cannot_be_is_not_sent(headers: dict[str, str]) -> None:
    with canned() as server, pytest.raises(NotSent):
        wire.call("POST", server.address, b"", headers)
    assert not server.heard


def test_an_address_with_a_line_end_is_not_sent_to() -> None:
    with canned() as server:
        for url in (f"{server.address}/a b", f"{server.address}/a\x00", f"{server.address}/卡"):
            with pytest.raises(NotSent):
                wire.call("GET", url, None, {})
        assert not server.heard


def certificate(folder: Path, name: str) -> Path:
    """A new certificate for 127.0.0.1, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    pem = serialization.Encoding.PEM
    plain = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(made.public_bytes(pem) + plain)
    return path


class Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def secure(certificate: Path) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    class Quiet(HTTPServer):
        def handle_error(self, *_: object) -> None:
            pass

    server = Quiet(("127.0.0.1", 0), Hello)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_https_is_spoken_to_whom_we_trust_and_to_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known, stranger = certificate(tmp_path, "known"), certificate(tmp_path, "stranger")
    monkeypatch.setenv("SSL_CERT_FILE", str(known))
    wire._trust.cache_clear()
    try:
        with secure(known) as url:
            assert wire.call("GET", url, None, {}).body == b"hello"
        with secure(stranger) as url, pytest.raises(NotSent):
            wire.call("GET", url, None, {})
    finally:
        wire._trust.cache_clear()


def test_plain_http_behind_an_https_address_is_not_sent_to() -> None:
    with canned() as server, pytest.raises(NotSent):
        wire.call("GET", server.address.replace("http:", "https:"), None, {})


# --- no answer -------------------------------------------------------------------------------------------------------

HALF = Said(200, b'{"code":200', promised=500)


@pytest.mark.parametrize(
    "script", [Reset(), Silence(), Drip(0.01), HALF, Said(200, b"x" * 5000)], ids=lambda script: type(script).__name__
)
def test_what_fails_after_it_was_sent_has_no_answer(script: Script) -> None:
    with canned(script) as server:
        with pytest.raises(NoAnswer):
            wire.call("POST", server.address, b"buy", {}, timeout=0.3, answer_max=4999)
        assert server.last.body == b"buy"


def test_an_answer_may_be_as_long_as_is_allowed() -> None:
    with canned(Said(200, b"x" * 5000)) as server:
        assert len(wire.call("POST", server.address, b"", {}, answer_max=5000).body) == 5000


def test_however_slowly_it_drips_the_time_is_kept() -> None:
    with canned(Drip(0.02)) as server:
        began = time.monotonic()
        with pytest.raises(NoAnswer):
            wire.call("POST", server.address, b"", {}, timeout=0.4)
        assert time.monotonic() - began < 2  # half a minute, if each byte had its own time


def test_nothing_of_a_request_is_in_an_exception(caplog: pytest.LogCaptureFixture) -> None:
    secret = "a-secret-of-this-test"
    with canned(Reset()) as server:
        tries = [
            (server.address + "/?" + secret, {"X": secret}),
            (refusing() + "/?" + secret, {"X": secret}),
            (server.address + "/?" + secret + "\n", {}),
            (server.address, {"X": secret + "\n"}),
            ("http://" + secret + ".example/", {}),
        ]
        for url, headers in tries:
            with pytest.raises((NotSent, NoAnswer)) as failed, caplog.at_level(logging.DEBUG):
                wire.call("POST", url, secret.encode(), headers, timeout=0.5)
            shown = "".join(traceback.format_exception_only(failed.value))
            assert secret not in shown + repr(failed.value.args) + caplog.text


# --- what it makes of an order ---------------------------------------------------------------------------------------


def exchange(result: Reply | Exception) -> Reply:
    if isinstance(result, Exception):
        raise result
    return result


def reply(status: int, body: bytes = b'{"msg":"no"}') -> Reply:
    return Reply(status, body, {})


def unreadable(_: Reply) -> Answer:
    raise KeyError("code")


@pytest.mark.parametrize(
    ("result", "outcome", "reason"),
    [
        (NotSent(), Outcome.RETRY, Reason.NOT_SENT),
        (NoAnswer(), Outcome.UNKNOWN, Reason.SILENT),
        (reply(429), Outcome.RETRY, Reason.BUSY),
        (reply(500), Outcome.UNKNOWN, Reason.SILENT),
        (reply(503), Outcome.UNKNOWN, Reason.SILENT),
        (reply(302), Outcome.UNKNOWN, Reason.UNREADABLE),
        (reply(200), Outcome.ACCEPTED, Reason.NONE),
        (reply(409), Outcome.ACCEPTED, Reason.NONE),
    ],
)
def test_each_failure_says_what_is_known_of_the_order(
    result: Reply | Exception, outcome: Outcome, reason: Reason
) -> None:
    placed = wire.placed(lambda: exchange(result), lambda _: DONE)
    asked = wire.asked(lambda: exchange(result), lambda _: DONE)

    assert (placed.outcome, placed.reason) == (outcome, reason)
    # That a question did not get through does not say that nothing was bought.
    assert asked.outcome is (Outcome.UNKNOWN if outcome is Outcome.RETRY else outcome)
    assert asked.reason is reason


@pytest.mark.parametrize("status", [200, 400, 404])
def test_what_cannot_be_read_is_unknown(status: int) -> None:
    got = wire.placed(lambda: reply(status), unreadable)
    assert (got.outcome, got.reason, got.said) == (Outcome.UNKNOWN, Reason.UNREADABLE, '{"msg":"no"}')


@pytest.mark.parametrize("status", [401, 403])
def test_a_page_that_lets_nobody_in_is_about_who_we_are_and_says_nothing_of_an_order(status: int) -> None:
    for got in (
        wire.placed(lambda: reply(status, b"<html>Forbidden</html>"), unreadable),
        wire.asked(lambda: reply(status, b'{"ok":false}'), unreadable),
    ):
        assert (got.outcome, got.reason) == (Outcome.UNKNOWN, Reason.NOT_ALLOWED)
    with pytest.raises(SupplierRefused):
        wire.told("shop", lambda: reply(status, b"<html>"), unreadable)


@pytest.mark.parametrize("result", [NotSent(), NoAnswer(), reply(429), reply(500), reply(200)])
def test_what_reads_has_a_trustworthy_answer_or_is_silent(result: Reply | Exception) -> None:
    with pytest.raises(SupplierSilent) as failed:
        wire.told("shop", lambda: exchange(result), unreadable)
    assert failed.value.facts == {"supplier": "shop"}
    assert wire.told("shop", lambda: reply(200), lambda found: found.status) == 200


def test_what_is_known_of_an_order_is_kept_where_the_rest_cannot_be_read() -> None:
    assert wire.order_known("D1", lambda: DONE) == DONE
    assert wire.order_known("D1", lambda: unreadable(reply(200))) == Answer(Outcome.UNKNOWN, Reason.UNREADABLE, "D1")


def test_a_product_that_he_does_not_sell_is_none_and_another_refusal_is_one() -> None:
    def refuse(reason: Reason) -> int:
        raise SupplierRefused(supplier="shop", reason=reason)

    assert wire.or_none(lambda: 7) == 7
    assert wire.or_none(lambda: refuse(Reason.OFF_SHELF)) is None
    with pytest.raises(SupplierRefused):
        wire.or_none(lambda: refuse(Reason.NOT_ALLOWED))


def test_what_a_buyer_has_typed_is_not_kept_of_the_answer() -> None:
    said = '{"msg":"zhangsan 张三"}'.encode()
    answer = wire.placed(lambda: reply(200, said), lambda _: DONE, {"name": "张三", "id": "zhangsan"}.values())
    assert answer.said == '{"msg":"*** ***"}'


def test_what_came_is_in_no_representation() -> None:
    assert repr(Reply(200, b"PASS-1", {"token": "t"})) == "Reply(status=200)"


# --- reading ---------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=100) | st.text(max_size=100).map(str.encode))
def test_json_of_any_bytes_is_an_object_or_a_value_error(raw: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(wire.json_object(raw), dict)


@pytest.mark.parametrize(
    "raw",
    [b"[" * 100_000, b"[]", b"1", b'{"a":NaN}', b'{"a":Infinity}', b'{"a":1,"a":2}', b'{"a":"\\ud800"}', b"\xff", b""],
)
def test_odd_json_is_a_value_error(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"not |too deep|twice|code|surrogates|Expecting"):
        wire.json_object(raw)


def test_a_fraction_is_read_as_it_is_written() -> None:
    assert wire.json_object(b'\xef\xbb\xbf{"a":0.1}') == {"a": Decimal("0.1")}


@given(st.integers(0, 10**15 - 1))
def test_an_amount_is_read_and_written_exactly(amount_e6: int) -> None:
    assert wire.e6(wire.decimal(amount_e6)) == amount_e6
    assert 0 <= amount_e6 - wire.e6(wire.decimal(amount_e6, 2)) < 10_000


@pytest.mark.parametrize(
    ("value", "amount_e6"),
    [("9.90", 9_900_000), ("49.8750000000", 49_875_000), (9, 9_000_000), (Decimal("0.000001"), 1), ("0", 0)],
)
def test_an_amount_may_be_written_in_many_ways(value: object, amount_e6: int) -> None:
    assert wire.e6(value) == amount_e6


@pytest.mark.parametrize(
    "value", ["-1", "1e3", "", " 1", "1_0", "٣", "0.0000001", "NaN", 1.5, True, None, [], "1" * 10, Decimal("1E+3")]
)
def test_what_is_no_amount_is_a_value_error(value: object) -> None:
    with pytest.raises(ValueError, match="not an amount"):
        wire.e6(value)


def test_what_an_order_costs_may_be_unknown() -> None:
    assert wire.cost_e6("9.90") == 9_900_000
    odd: list[object] = [Decimal("0.30000000000000004"), None, "-1", "免费", []]
    for value in odd:
        assert wire.cost_e6(value) is None


@pytest.mark.parametrize(
    ("told", "minor"), [("5.00", 500), ("-5.00", -500), (-5, -500), (Decimal("-0.015"), -2), ("-0", 0)]
)
def test_a_balance_may_be_below_zero(told: object, minor: int) -> None:
    assert wire.balance(told, "USD") == Money(minor, "USD")
    with pytest.raises(ValueError, match="not an amount"):
        wire.balance(f"-{told}x", "USD")


def test_a_form_has_each_name_once_and_is_not_too_long() -> None:
    assert wire.form(b"a=1&b=%E5%8D%A1&c=", 20) == {"a": "1", "b": "卡", "c": ""}
    for raw in (b"a=1&a=2", b"a", b"a=%ff", b"a=\xff", b"a=" + b"x" * 20):
        with pytest.raises(ValueError, match=r"long|twice|bad|code"):
            wire.form(raw, 20)


@pytest.mark.parametrize(
    ("amount_e6", "places", "text"),
    [(9_900_000, 6, "9.90"), (9_999_999, 2, "9.99"), (9_999_900, 4, "9.9999"), (0, 2, "0.00"), (1_230_000, 6, "1.23")],
)
def test_a_ceiling_is_rounded_down(amount_e6: int, places: int, text: str) -> None:
    assert wire.decimal(amount_e6, places) == text


@pytest.mark.parametrize("site", BAD_ADDRESSES[:4])
def test_an_account_needs_an_address_that_we_speak_to(site: str) -> None:
    for name in ("site", "auth_site"):
        with pytest.raises(ValueError, match=f"the {name} of supplier s must be an https address"):
            wire.fit(Account("s", "k", {name: site}), [{}], [], [])


def test_an_account_needs_its_terms_and_its_newest_keys() -> None:
    account = Account("s", "k", {"site": "https://shop.example", "user_id": "7"})
    wire.fit(account, [{"key": "new"}, {}], ["site", "user_id"], ["key"])
    for keys in ([], [{"key": ""}], [{}, {"key": "old"}]):
        with pytest.raises(ValueError, match="supplier s needs key"):
            wire.fit(account, keys, ["site"], ["key"])
    with pytest.raises(ValueError, match="supplier s needs app_id"):
        wire.fit(account, [], ["app_id"], [])
