"""Our side of the sandbox's protocol, against the real provider and against everything it might say."""

from __future__ import annotations

import json
import socket
import threading
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.sandbox import SandboxProvider
from shared.kernel.money import Money
from shared.payments.adapters.sandbox import Sandbox
from shared.payments.errors import BadNotification
from shared.payments.provider import Attempt, Charge, Outcome, PaymentRequest, RefundRequest

SECRET = "secret-of-this-test"
AMOUNT = Money(2500)
NOW = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[SandboxProvider]:
    with SandboxProvider(tmp_path / "sandbox.sqlite", SECRET) as running:
        yield running


@pytest.fixture
def adapter(provider: SandboxProvider) -> Sandbox:
    return Sandbox(provider.url, "kaquan", SECRET.encode())


def now() -> datetime:
    return datetime.now(UTC)


def attempt(payment_id: str = "pay_1") -> Attempt:
    return Attempt(payment_id, "sandbox", AMOUNT, "卡 & card", now() + timedelta(minutes=15))


def pay(adapter: Sandbox, outcome: str, payment_id: str = "pay_1") -> None:
    # Nobody listens at the address of notifications: these tests ask instead.
    url = adapter.create(PaymentRequest(attempt(payment_id), "http://127.0.0.1:9/n", ""), now()).redirect_url
    assert url
    SandboxProvider.pay(url, outcome)


def charged(adapter: Sandbox) -> Charge:
    pay(adapter, "paid")
    [charge] = adapter.query(attempt(), now()).charges
    return charge


def refund(charge: Charge, amount: Money = AMOUNT, refund_id: str = "ref_1") -> RefundRequest:
    return RefundRequest(refund_id, charge.payment_id, charge.provider_no, charge.amount, amount, "test")


def test_the_pay_page_opens_for_the_link_we_sign(adapter: Sandbox) -> None:
    url = str(adapter.create(PaymentRequest(attempt(), "http://127.0.0.1:9/n", ""), now()).redirect_url)
    with urllib.request.urlopen(url, timeout=5) as page:
        assert "25.00" in page.read().decode()


@pytest.mark.parametrize(
    ("outcome", "expected", "amounts"),
    [
        ("paid", Outcome.SUCCEEDED, [2500]),
        ("silent", Outcome.SUCCEEDED, [2500]),
        ("twice", Outcome.SUCCEEDED, [2500, 2500]),
        ("wrong_amount", Outcome.SUCCEEDED, [2499]),
        ("failed", Outcome.FAILED, []),
        ("late", Outcome.PROCESSING, []),
    ],
)
def test_asking_tells_what_happened(adapter: Sandbox, outcome: str, expected: Outcome, amounts: list[int]) -> None:
    pay(adapter, outcome)
    status = adapter.query(attempt(), now())
    assert status.outcome is expected
    assert [charge.amount.minor for charge in status.charges] == amounts


def test_what_was_never_paid_is_absent(adapter: Sandbox) -> None:
    assert adapter.query(attempt("pay_unknown"), now()).outcome is Outcome.ABSENT
    never = RefundRequest("ref_unknown", "pay_1", "sbx_1", AMOUNT, AMOUNT, "test")
    assert adapter.query_refund(never, now()) is Outcome.ABSENT


@pytest.mark.parametrize("fault", ["drop_reply", "status_500", "bad_signature"])
def test_an_answer_that_cannot_be_trusted_is_unknown(adapter: Sandbox, fault: str) -> None:
    charge = charged(adapter)
    SandboxProvider.misbehave(adapter.url, "payments", fault)
    assert adapter.query(attempt(), now()).outcome is Outcome.UNKNOWN
    SandboxProvider.misbehave(adapter.url, "refunds", fault)
    assert adapter.refund(refund(charge), now()) is Outcome.UNKNOWN
    assert adapter.query_refund(refund(charge), now()) is Outcome.SUCCEEDED


def test_nobody_at_the_other_end_is_unknown() -> None:
    nobody = Sandbox("http://127.0.0.1:9", "kaquan", SECRET.encode())
    assert nobody.query(attempt(), now()).outcome is Outcome.UNKNOWN


def test_an_answer_that_is_no_http_is_unknown() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def talk_nonsense() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")

        threading.Thread(target=talk_nonsense, daemon=True).start()
        adapter = Sandbox(f"http://127.0.0.1:{server.getsockname()[1]}", "kaquan", b"secret")
        assert adapter.query(attempt(), now()).outcome is Outcome.UNKNOWN


def test_a_refund_may_be_sent_again_and_never_exceeds_its_charge(adapter: Sandbox) -> None:
    charge = charged(adapter)
    assert adapter.refund(refund(charge), now()) is Outcome.SUCCEEDED
    assert adapter.refund(refund(charge), now()) is Outcome.SUCCEEDED
    assert adapter.refund(refund(charge, Money(1), "ref_2"), now()) is Outcome.FAILED


def test_a_wrong_secret_gets_no_answer_it_could_use(provider: SandboxProvider) -> None:
    stranger = Sandbox(provider.url, "kaquan", b"another secret")
    assert stranger.query(attempt(), now()).outcome is Outcome.UNKNOWN


ours = Sandbox("http://127.0.0.1:9", "kaquan", SECRET.encode())


def signed(raw: bytes, at: datetime = NOW) -> dict[str, str]:
    stamp = str(int(at.timestamp()))
    return {"sandbox-timestamp": stamp, "sandbox-signature": ours._sign(f"{stamp}.".encode() + raw)}


def message(**other: object) -> bytes:
    fields = {
        "notification_id": "n1",
        "merchant": "kaquan",
        "payment_id": "pay_1",
        "provider_no": "sbx1",
        "amount_minor": 2500,
        "currency": "CNY",
        "status": "paid",
        "paid_at": "2026-05-01T00:00:00Z",
    }
    return json.dumps({**fields, **other}).encode()


def test_a_notification_signed_by_the_provider_is_read() -> None:
    raw = message()
    charge = ours.parse_notification(signed(raw), raw, NOW)
    assert charge
    assert (charge.payment_id, charge.provider_no, charge.amount) == ("pay_1", "sbx1", AMOUNT)
    raw = message(status="failed")
    assert ours.parse_notification(signed(raw), raw, NOW) is None


@pytest.mark.parametrize("seconds", [-301, 301])
def test_a_notification_from_another_time_is_refused(seconds: int) -> None:
    raw = message()
    with pytest.raises(BadNotification):
        ours.parse_notification(signed(raw, NOW + timedelta(seconds=seconds)), raw, NOW)


@pytest.mark.parametrize(
    "other",
    [
        {"merchant": "somebody"},
        {"amount_minor": "2500"},
        {"amount_minor": 25.0},
        {"amount_minor": True},
        {"amount_minor": [2500]},
        {"amount_minor": 0},
        {"amount_minor": -1},
        {"currency": None},
        {"provider_no": 7},
        {"paid_at": "yesterday"},
        {"paid_at": None},
        {"paid_at": "2026-05-01T00:00:00"},
    ],
)
def test_a_senseless_notification_is_refused_though_it_is_signed(other: dict[str, object]) -> None:
    raw = message(**other)
    with pytest.raises(BadNotification):
        ours.parse_notification(signed(raw), raw, NOW)


@given(st.integers(0, 1000), st.integers(1, 255))
def test_one_changed_byte_is_refused(place: int, change: int) -> None:
    raw = bytearray(message())
    headers = signed(bytes(raw))
    raw[place % len(raw)] ^= change
    with pytest.raises(BadNotification):
        ours.parse_notification(headers, bytes(raw), NOW)


@given(st.binary(max_size=200), st.dictionaries(st.sampled_from(["sandbox-timestamp", "sandbox-signature"]), st.text()))
def test_arbitrary_bytes_are_refused_by_name(raw: bytes, headers: dict[str, str]) -> None:
    with pytest.raises(BadNotification):
        ours.parse_notification(headers, raw, NOW)


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner)).map(json.dumps)
)
def test_arbitrary_json_is_refused_by_name_though_it_is_signed(text: str) -> None:
    with pytest.raises(BadNotification):
        ours.parse_notification(signed(text.encode()), text.encode(), NOW)
