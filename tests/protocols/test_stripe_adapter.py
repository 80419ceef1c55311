"""Our side of Stripe, against localstripe in a process of its own and against everything that might be said instead."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from shared.kernel.money import Money
from shared.payments.adapters.stripe import Stripe
from shared.payments.errors import BadBill, BadNotification, BillNotReady, ProviderRefused, ProviderSilent
from shared.payments.provider import (
    Attempt,
    Bill,
    Charge,
    Keys,
    LineKind,
    Merchant,
    Outcome,
    PaymentRequest,
    RefundNews,
    RefundRequest,
)
from tests.stripe_door import TEST_KEY, Door, listening, localstripe

NOW = datetime(2026, 5, 1, tzinfo=UTC)
AMOUNT = Money(2500, "USD")
LIVE_KEY = "_".join(("sk", "live", "made-here"))
SECRET, OLD_SECRET = "secret-of-this-test", "secret-before-it"


@pytest.fixture(scope="module")
def stripe_port() -> Iterator[int]:
    with localstripe() as port:
        yield port


@pytest.fixture
def door(stripe_port: int) -> Iterator[Door]:
    with listening(Door(stripe_port)) as door:
        yield door


def merchant(url: str = "http://127.0.0.1:9", **terms: str) -> Merchant:
    return Merchant(
        "stripe", "stripe", ("stripe",), 29_000, "USD", terms={"gateway": url, "publishable_key": "pk", **terms}
    )


def adapter_at(url: str) -> Stripe:
    return Stripe(merchant(url), [{"api_key": TEST_KEY, "webhook_secret": SECRET}])


@pytest.fixture
def adapter(door: Door) -> Stripe:
    return adapter_at(door.url)


numbers = iter(range(1, 10_000))


def attempt(amount: Money = AMOUNT) -> Attempt:
    number = f"pay_{next(numbers)}_{time.monotonic_ns()}"
    return Attempt(number, "stripe", amount, "卡 & card", now() + timedelta(minutes=15))


def now() -> datetime:
    return datetime.now(UTC)


def request(attempt: Attempt) -> PaymentRequest:
    return PaymentRequest(attempt, "http://127.0.0.1:9/n", "http://127.0.0.1:9/r")


def opened(adapter: Stripe, amount: Money = AMOUNT) -> Attempt:
    wanted = attempt(amount)
    return replace(wanted, reference=adapter.create(request(wanted), now()).reference)


def paid(adapter: Stripe, door: Door) -> tuple[Attempt, Charge]:
    bought = opened(adapter)
    door.pay(str(bought.reference))
    [charge] = adapter.query(bought, now()).charges
    return bought, charge


def refund(charge: Charge, minor: int = 1000) -> RefundRequest:
    number = f"ref_{next(numbers)}_{time.monotonic_ns()}"
    return RefundRequest(number, charge.payment_id, charge.provider_no, charge.amount, Money(minor, "USD"), "test")


# --- payments --------------------------------------------------------------------------------------------------------


def test_creating_gives_the_page_what_it_needs_and_creates_once(adapter: Stripe, door: Door) -> None:
    wanted = attempt()
    first = adapter.create(request(wanted), now())
    assert first == adapter.create(request(wanted), now())

    assert first.client_params
    assert first.client_params.keys() == {"client_secret", "publishable_key"}
    assert str(first.reference).startswith("pi_")
    sent = door.seen[0]
    assert sent.headers["idempotency-key"] == wanted.payment_id
    assert sent.headers["authorization"] == f"Bearer {TEST_KEY}"
    assert sent.fields == {
        "amount": "2500",
        "currency": "usd",
        "description": "卡 & card",
        "automatic_payment_methods[enabled]": "true",
        "metadata[payment_id]": wanted.payment_id,
    }


def test_the_library_tells_nobody_how_we_use_it(adapter: Stripe, door: Door) -> None:
    opened(adapter)
    opened(adapter)
    for sent in door.seen:
        assert "x-stripe-client-telemetry" not in sent.headers
        assert json.loads(sent.headers["x-stripe-client-user-agent"]).keys().isdisjoint({"telemetry_id", "platform"})


def test_asking_tells_what_happened(adapter: Stripe, door: Door) -> None:
    declined = opened(adapter)
    assert adapter.query(declined, now()).outcome is Outcome.PROCESSING
    door.pay(str(declined.reference), "4000000000000341")
    assert adapter.query(declined, now()).outcome is Outcome.PROCESSING  # another card may still pay

    bought, charge = paid(adapter, door)
    assert adapter.query(bought, now()).outcome is Outcome.SUCCEEDED
    assert (charge.payment_id, charge.provider_no, charge.amount) == (bought.payment_id, bought.reference, AMOUNT)
    assert abs(charge.paid_at - now()) < timedelta(minutes=1)
    assert "secret" not in charge.raw


def test_an_attempt_whose_reference_was_lost_is_found_under_its_number(adapter: Stripe, door: Door) -> None:
    bought, charge = paid(adapter, door)
    lost = replace(bought, reference=None)
    assert adapter.query(lost, now()).charges == [charge]
    assert adapter.close(lost, now()) is Outcome.FAILED
    door.faults = ["drop"]
    never_heard = attempt()
    with pytest.raises(ProviderSilent):
        adapter.create(request(never_heard), now())
    assert adapter.close(never_heard, now()) is Outcome.SUCCEEDED


def test_when_its_number_may_be_forgotten_nobody_is_asked_under_it(adapter: Stripe, door: Door) -> None:
    bought, _ = paid(adapter, door)
    lost, later = replace(bought, reference=None), bought.expires_at + timedelta(hours=12, seconds=1)
    door.faults = [404, 404]  # of a second opening, which says nothing about the first
    assert adapter.query(lost, now()).outcome is Outcome.UNKNOWN
    assert adapter.close(lost, now()) is Outcome.UNKNOWN
    calls = len(door.seen)
    assert adapter.query(lost, later).outcome is Outcome.UNKNOWN
    assert adapter.close(lost, later) is Outcome.UNKNOWN
    assert len(door.seen) == calls


def test_closing_ends_what_is_not_paid_and_only_that(adapter: Stripe, door: Door) -> None:
    bought = opened(adapter)
    assert adapter.close(bought, now()) is Outcome.SUCCEEDED
    assert adapter.close(bought, now()) is Outcome.SUCCEEDED
    assert adapter.query(bought, now()).outcome is Outcome.FAILED
    bought, _ = paid(adapter, door)
    assert adapter.close(bought, now()) is Outcome.FAILED
    assert adapter.close(replace(bought, reference="pi_unknown"), now()) is Outcome.ABSENT


def test_what_was_never_there_is_absent_and_what_is_somebody_elses_is_unknown(adapter: Stripe, door: Door) -> None:
    bought = opened(adapter)
    assert adapter.query(replace(bought, reference="pi_unknown"), now()).outcome is Outcome.ABSENT
    assert adapter.query(replace(bought, payment_id="pay_other"), now()).outcome is Outcome.UNKNOWN
    calls = len(door.seen)
    assert adapter.query(replace(bought, reference="../customers"), now()).outcome is Outcome.UNKNOWN
    assert len(door.seen) == calls


@pytest.mark.parametrize(
    ("amount", "reason"),
    [
        (Money(500, "JPY"), "zero_decimal_currency"),
        (Money(500, "ISK"), "zero_decimal_currency"),
        (Money(500, "KWD"), "three_decimal_currency"),
        (Money(0, "USD"), "amount"),
        (Money(10**12 + 1, "USD"), "amount"),
    ],
)
def test_money_that_stripe_counts_otherwise_is_refused(amount: Money, reason: str) -> None:
    with pytest.raises(ProviderRefused) as refused:
        adapter_at("http://127.0.0.1:9").create(request(attempt(amount)), now())
    assert refused.value.facts["reason"] == reason


def test_without_a_key_for_the_page_there_is_no_payment() -> None:
    with pytest.raises(ProviderRefused):
        Stripe(merchant(publishable_key=""), [{"api_key": TEST_KEY}]).create(request(attempt()), now())


# --- answers that are none -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["drop", "nonsense", "list", 500, 503, 429, 401, 403, 409])
def test_an_answer_that_cannot_be_trusted_is_unknown(adapter: Stripe, door: Door, fault: str | int) -> None:
    bought, charge = paid(adapter, door)
    wanted = refund(charge)

    door.faults = [fault]
    assert adapter.query(bought, now()).outcome is Outcome.UNKNOWN
    door.faults = [fault]
    assert adapter.close(bought, now()) is Outcome.UNKNOWN
    door.faults = [fault]
    assert adapter.query_refund(wanted, now()) is Outcome.UNKNOWN
    door.faults = [fault]
    assert adapter.refund(wanted, now()) is Outcome.UNKNOWN
    door.faults = [fault]
    with pytest.raises(ProviderSilent):
        adapter.create(request(attempt()), now())
    door.faults = [fault]
    with pytest.raises(ProviderSilent):
        adapter.bill(date(2026, 5, 1), now())
    assert not door.faults


def test_nobody_is_asked_twice_by_the_library(adapter: Stripe, door: Door) -> None:
    door.faults = [500]
    with pytest.raises(ProviderSilent):
        adapter.create(request(attempt()), now())
    assert len(door.seen) == 1


@pytest.mark.parametrize("status", [400, 402])
def test_a_plain_no_is_a_refusal(adapter: Stripe, door: Door, status: int) -> None:
    _, charge = paid(adapter, door)
    door.faults = [status]
    with pytest.raises(ProviderRefused) as refused:
        adapter.create(request(attempt()), now())
    assert refused.value.facts["reason"] == "armed"
    door.faults = ["", status]
    assert adapter.refund(refund(charge), now()) is Outcome.FAILED
    door.faults = ["", 404]  # the charge cannot be gone
    assert adapter.refund(refund(charge), now()) is Outcome.UNKNOWN


def test_one_number_for_two_things_is_no_refusal(adapter: Stripe) -> None:
    wanted = opened(adapter)
    with pytest.raises(ProviderSilent):
        adapter.create(request(replace(wanted, subject="another")), now())


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://stripe.example", "ftp://127.0.0.1", "http://[::1"])
def test_nobody_at_the_other_end_and_no_safe_way_there_are_silence(url: str) -> None:
    with pytest.raises(ProviderSilent) as silent:
        adapter_at(url).create(request(attempt()), now())
    assert adapter_at(url).query(replace(attempt(), reference="pi_1"), now()).outcome is Outcome.UNKNOWN
    assert TEST_KEY not in repr(silent.value)


def test_in_clear_text_only_this_very_machine_is_asked(door: Door) -> None:
    with pytest.raises(ProviderSilent):
        adapter_at(door.url.replace("127.0.0.1", "localhost")).create(request(attempt()), now())
    assert door.seen == []


def test_an_answer_that_is_no_http_is_unknown() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def talk_nonsense() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")

        threading.Thread(target=talk_nonsense, daemon=True).start()
        adapter = adapter_at(f"http://127.0.0.1:{server.getsockname()[1]}")
        assert adapter.query(replace(attempt(), reference="pi_1"), now()).outcome is Outcome.UNKNOWN


def test_an_answer_that_does_not_come_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.payments.adapters.stripe.TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        adapter = adapter_at(f"http://127.0.0.1:{server.getsockname()[1]}")
        assert adapter.query(replace(attempt(), reference="pi_1"), now()).outcome is Outcome.UNKNOWN


def test_secrets_are_in_no_repr() -> None:
    shown = repr(Stripe(merchant(), [{"api_key": TEST_KEY, "webhook_secret": SECRET}]))
    assert TEST_KEY not in shown
    assert SECRET not in shown


# --- refunds ---------------------------------------------------------------------------------------------------------


def test_a_refund_sent_twice_is_made_once(adapter: Stripe, door: Door) -> None:
    _, charge = paid(adapter, door)
    wanted = refund(charge)
    assert adapter.query_refund(wanted, now()) is Outcome.ABSENT
    assert adapter.refund(wanted, now()) is Outcome.SUCCEEDED
    assert adapter.refund(wanted, now()) is Outcome.SUCCEEDED
    door.remembered.clear()  # a day later
    assert adapter.refund(wanted, now()) is Outcome.SUCCEEDED

    assert adapter.query_refund(wanted, now()) is Outcome.SUCCEEDED
    [sent] = door.sent("/v1/refunds")
    assert sent.headers["idempotency-key"] == wanted.refund_id
    assert sent.fields == {
        "payment_intent": charge.provider_no,
        "amount": "1000",
        "metadata[refund_id]": wanted.refund_id,
        "metadata[payment_id]": wanted.payment_id,
    }


def test_a_refund_whose_answer_was_lost_is_not_made_again(adapter: Stripe, door: Door) -> None:
    _, charge = paid(adapter, door)
    wanted = refund(charge)
    door.faults = ["", "drop"]
    assert adapter.refund(wanted, now()) is Outcome.UNKNOWN
    assert adapter.refund(wanted, now()) is Outcome.SUCCEEDED
    assert len(door.sent("/v1/refunds")) == 1


def test_the_refunds_of_a_charge_are_told_apart_on_every_page(adapter: Stripe, door: Door) -> None:
    _, charge = paid(adapter, door)
    wanted = [refund(charge, 100 + step) for step in range(3)]
    assert [adapter.refund(one, now()) for one in wanted] == [Outcome.SUCCEEDED] * 3
    door.page = 1
    assert [adapter.query_refund(one, now()) for one in wanted] == [Outcome.SUCCEEDED] * 3
    assert adapter.query_refund(refund(charge), now()) is Outcome.ABSENT


# --- bills -----------------------------------------------------------------------------------------------------------


def test_a_day_of_the_account_is_its_charges_and_refunds(adapter: Stripe, door: Door) -> None:
    bought, charge = paid(adapter, door)
    back = refund(charge)
    adapter.refund(back, now())
    day = charge.paid_at.date()
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
    with pytest.raises(BillNotReady):
        adapter.bill(day, midnight - timedelta(seconds=1))
    door.page = 1
    bill = adapter.bill(day, midnight)
    lines = {
        (line.kind, line.refund_id): line for line in adapter.bill_lines(bill) if line.provider_no == bought.reference
    }

    assert lines.keys() == {(LineKind.CHARGE, ""), (LineKind.REFUND, back.refund_id)}
    assert [line.payment_id for line in lines.values()] == [bought.payment_id] * 2
    assert {line.gross for line in lines.values()} == {AMOUNT, Money(-1000, "USD")}
    assert bill.form == "json"


def test_a_day_without_money_has_no_content(adapter: Stripe) -> None:
    bill = adapter.bill(date(2020, 1, 1), now())
    assert bill == Bill(b"", "json")
    assert adapter.bill_lines(bill) == []


def line(category: str, amount: int, fee: int = 0, currency: str = "usd", **other: object) -> dict[str, object]:
    return {
        "id": "txn_1",
        "object": "balance_transaction",
        "amount": amount,
        "fee": fee,
        "currency": currency,
        "exchange_rate": None,
        "reporting_category": category,
        "source": "po_1",
        "created": int(NOW.timestamp()),
        **other,
    }


def read(*lines: object) -> list[tuple[LineKind, str, str, int]]:
    content = json.dumps({"object": "list", "data": lines}).encode()
    told = adapter_at("").bill_lines(Bill(content, "json"))
    return [(one.kind, one.provider_no, str(one.gross), one.fee_e6) for one in told]


def test_every_line_says_who_paid_and_what_stripe_keeps() -> None:
    dispute = {"object": "dispute", "id": "du_1", "payment_intent": "pi_1", "amount": 2500, "currency": "usd"}
    assert read(
        line("charge", 2500, 103),
        line("dispute", -2500, 1500, source=dispute),
        line("dispute_reversal", 2500, -1500, source=dispute),
        line("fee", -30),
        line("payout", -9000, 25),
    ) == [
        (LineKind.CHARGE, "po_1", "USD 25.00", 1_030_000),
        (LineKind.DISPUTE, "pi_1", "USD -25.00", 15_000_000),
        (LineKind.DISPUTE, "pi_1", "USD 25.00", -15_000_000),
        (LineKind.FEE, "po_1", "USD 0.00", 300_000),
        (LineKind.PAYOUT, "po_1", "USD -90.00", 250_000),
    ]


def test_a_line_is_in_the_money_of_the_buyer_though_the_account_settles_in_another() -> None:
    charge = {"object": "charge", "id": "ch_1", "payment_intent": "pi_1", "amount": 10000, "currency": "cny"}
    back = {"object": "refund", "id": "re_1", "payment_intent": "pi_1", "amount": 5000, "currency": "cny"}
    assert read(
        line("charge", 1380, 70, source=charge, exchange_rate=0.138),
        line("refund", -690, 0, source=back, exchange_rate=0.138),
        line("refund", -690, 0, source=back),
        line("payout", -690, 0, source=back, exchange_rate=0.138),
        line("charge", 2500, 103, currency="jpy"),
        line("charge", 2500, 103, currency="isk"),
        line("charge", 25000, 1030, currency="kwd"),
    ) == [
        (LineKind.CHARGE, "pi_1", "CNY 100.00", 5_072_464),
        (LineKind.REFUND, "pi_1", "CNY -50.00", 0),
        (LineKind.REFUND, "pi_1", "USD -6.90", 0),  # no rate, no other money
        (LineKind.PAYOUT, "pi_1", "USD -6.90", 0),
        (LineKind.CHARGE, "po_1", "JPY 2500.00", 103_000_000),
        (LineKind.CHARGE, "po_1", "ISK 25.00", 1_030_000),
        (LineKind.CHARGE, "po_1", "KWD 25.00", 1_030_000),
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"nonsense",
        b"[]",
        b"{}",
        b'{"data": [7]}',
        json.dumps({"data": [line("never heard of", 1)]}).encode(),
        json.dumps({"data": [line("charge", 1, currency="DOLLARS")]}).encode(),
        json.dumps({"data": [line("charge", 25001, currency="kwd")]}).encode(),
        json.dumps({"data": [line("charge", 10**13)]}).encode(),
        json.dumps({"data": [line("charge", 1, created=0)]}).encode(),
        json.dumps({"data": [line("charge", 1, source="po/1")]}).encode(),
        json.dumps({"data": [line("charge", 1) | {"amount": 1.5}]}).encode(),
    ],
)
def test_what_is_no_bill_is_refused(content: bytes) -> None:
    with pytest.raises(BadBill):
        adapter_at("").bill_lines(Bill(content, "json"))


# --- notifications ---------------------------------------------------------------------------------------------------

ours = adapter_at("http://127.0.0.1:9")


def signed(raw: bytes, at: datetime = NOW, secret: str = SECRET) -> dict[str, str]:
    header = stripe.WebhookSignature.generate_signature_header(raw.decode(), secret, int(at.timestamp()))
    return {"stripe-signature": header}


def event(kind: str = "payment_intent.succeeded", live: object = False, **about: object) -> bytes:
    intent = {
        "id": "pi_1",
        "object": "payment_intent",
        "amount": 2500,
        "amount_received": 2500,
        "currency": "usd",
        "status": "succeeded",
        "client_secret": "pi_1_secret_2",
        "latest_charge": "ch_1",
        "metadata": {"payment_id": "pay_1"},
    }
    told = {"id": "evt_1", "object": "event", "type": kind, "livemode": live, "created": int(NOW.timestamp())}
    return json.dumps({**told, "data": {"object": {**intent, **about}}}).encode()


def heard(raw: bytes) -> Charge | RefundNews | None:
    return ours.parse_notification(signed(raw), raw, NOW)


def test_a_payment_that_stripe_signed_is_read() -> None:
    charge = heard(event())
    assert isinstance(charge, Charge)
    assert (charge.payment_id, charge.provider_no, charge.amount, charge.paid_at) == ("pay_1", "pi_1", AMOUNT, NOW)
    assert "secret" not in charge.raw


@pytest.mark.parametrize(
    "raw",
    [
        event("payment_intent.created"),
        event("charge.succeeded"),
        event("account.updated"),
        event(metadata={}),
        event(metadata=None),
        event(metadata={"payment_id": "order #7"}),
        event(status="processing"),
    ],
)
def test_what_is_not_about_our_money_is_nothing(raw: bytes) -> None:
    assert heard(raw) is None


def refund_event(kind: str, status: str = "succeeded", **metadata: str) -> bytes:
    return event(kind, id="re_1", object="refund", status=status, metadata=metadata)


def test_the_end_of_a_refund_of_ours_is_news() -> None:
    for kind in ("refund.updated", "charge.refund.updated", "refund.created", "refund.failed"):
        assert heard(refund_event(kind, refund_id="ref_1")) == RefundNews("ref_1")
        assert heard(refund_event(kind, "failed", refund_id="ref_1")) == RefundNews("ref_1")
        assert heard(refund_event(kind, "pending", refund_id="ref_1")) is None
        assert heard(refund_event(kind)) is None
    known = {"data": [{"status": "succeeded"}, {"status": "succeeded", "metadata": {"refund_id": "ref_2"}}]}
    assert heard(event("charge.refunded", refunds=known)) == RefundNews("ref_2")
    assert heard(event("charge.refunded", refunds=None)) is None


@pytest.mark.parametrize(("seconds", "fresh"), [(-301, False), (-300, True), (300, True), (301, False)])
def test_a_notification_is_taken_within_five_minutes_on_both_sides(seconds: int, fresh: bool) -> None:
    raw = event()
    headers = signed(raw, NOW + timedelta(seconds=seconds))
    if fresh:
        assert ours.parse_notification(headers, raw, NOW)
    else:
        with pytest.raises(BadNotification):
            ours.parse_notification(headers, raw, NOW)


def with_keys(*keys: Keys) -> Stripe:
    return Stripe(merchant(), keys)


def test_while_a_secret_is_changed_both_are_valid() -> None:
    raw = event()
    new, old = ({"api_key": TEST_KEY, "webhook_secret": secret} for secret in (SECRET, OLD_SECRET))
    for secret in (SECRET, OLD_SECRET):
        assert with_keys(new, old).parse_notification(signed(raw, secret=secret), raw, NOW)
    with pytest.raises(BadNotification):
        with_keys(new).parse_notification(signed(raw, secret=OLD_SECRET), raw, NOW)
    # Stripe itself signs with both for a while.
    both = signed(raw, secret=OLD_SECRET)["stripe-signature"] + "," + signed(raw)["stripe-signature"].split(",")[1]
    assert with_keys(new).parse_notification({"stripe-signature": both}, raw, NOW)


def test_without_a_secret_nothing_is_believed() -> None:
    raw = event()
    for keys in ({}, {"api_key": TEST_KEY}, {"api_key": TEST_KEY, "webhook_secret": ""}):
        with pytest.raises(BadNotification):
            with_keys(keys).parse_notification(signed(raw, secret=""), raw, NOW)


@pytest.mark.parametrize(
    ("key", "live", "fits"),
    [
        (TEST_KEY, False, True),
        (TEST_KEY, True, False),
        (LIVE_KEY, True, True),
        (LIVE_KEY, False, False),
        ("_".join(("rk", "live", "x")), False, False),
        ("another kind of key", True, True),
        ("another kind of key", None, False),
    ],
)
def test_play_money_is_not_taken_for_real(key: str, live: bool | None, fits: bool) -> None:
    raw, adapter = event(live=live), with_keys({"api_key": key, "webhook_secret": SECRET})
    if fits:
        assert adapter.parse_notification(signed(raw), raw, NOW)
    else:
        with pytest.raises(BadNotification):
            adapter.parse_notification(signed(raw), raw, NOW)


@pytest.mark.parametrize(
    "raw",
    [
        event(live=None),
        event(id=None),
        event(id="pi/1"),
        event(id="p" * 65),
        event(amount_received=0),
        event(amount_received=-1),
        event(amount_received=True),
        event(amount_received=25.0),
        event(amount_received="2500"),
        event(amount_received=10**13),
        event(currency="dollar"),
        event(currency="USD"),
        event(currency=None),
        event().replace(b'"created": 17', b'"created": 9917'),
        event().replace(b'"created": 17', b'"created": -17'),
        json.dumps({"type": "payment_intent.succeeded", "livemode": False, "data": []}).encode(),
    ],
)
def test_a_senseless_notification_is_refused_though_it_is_signed(raw: bytes) -> None:
    with pytest.raises(BadNotification):
        heard(raw)


@pytest.mark.parametrize("more", ["v1=\udc80,", ",,=,t,", "v1=é,"])
def test_a_signature_with_odd_parts_is_read(more: str) -> None:
    raw = event()
    assert ours.parse_notification({"stripe-signature": more + signed(raw)["stripe-signature"]}, raw, NOW)


def test_of_two_times_nobody_could_say_which_is_meant() -> None:
    raw = event()
    with pytest.raises(BadNotification):
        ours.parse_notification({"stripe-signature": signed(raw)["stripe-signature"] + ",t=1"}, raw, NOW)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_one_changed_byte_is_refused(place: int, change: int) -> None:
    raw = bytearray(event())
    headers = signed(bytes(raw))
    raw[place % len(raw)] ^= change
    with pytest.raises(BadNotification):
        ours.parse_notification(headers, bytes(raw), NOW)


@given(st.integers(0, 10_000), st.characters())
def test_one_changed_character_of_the_signature_is_refused(place: int, character: str) -> None:
    raw = event()
    header = signed(raw)["stripe-signature"]
    place %= len(header)
    changed = header[:place] + character + header[place + 1 :]
    if changed != header:
        with pytest.raises(BadNotification):
            ours.parse_notification({"stripe-signature": changed}, raw, NOW)


@given(st.binary(max_size=200), st.text() | st.from_regex(re.compile(r"t=\d+,v1=[0-9a-f]{64}"), fullmatch=True))
def test_arbitrary_bytes_are_refused_by_name(raw: bytes, header: str) -> None:
    for headers in ({}, {"stripe-signature": header}):
        with pytest.raises(BadNotification):
            ours.parse_notification(headers, raw, NOW)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(anything)
def test_arbitrary_json_is_refused_by_name_though_it_is_signed(thing: object) -> None:
    raw = json.dumps(thing).encode()
    with pytest.raises(BadNotification):
        heard(raw)


@given(
    st.sampled_from(["payment_intent.succeeded", "charge.refunded", "refund.updated"]),
    st.dictionaries(st.sampled_from(["id", "amount_received", "currency", "status", "metadata", "refunds"]), anything),
)
def test_an_event_with_arbitrary_parts_is_read_or_refused_by_name(kind: str, about: dict[str, object]) -> None:
    try:
        told = heard(event(kind, **about))
    except BadNotification:
        return
    assert told is None or isinstance(told, RefundNews) or 0 < told.amount.minor <= 10**12


def test_stripe_hears_whether_it_was_taken() -> None:
    assert (ours.ack(True).status, ours.ack(False).status) == (200, 400)
