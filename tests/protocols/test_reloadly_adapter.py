"""Our side of Reloadly: the documented vector, and everything that a counterpart might say."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.kernel.money import Money
from shared.suppliers import wire
from shared.suppliers.adapters.reloadly import Reloadly
from shared.suppliers.errors import BadCallback, SupplierRefused, SupplierSilent
from shared.suppliers.registry import made
from shared.suppliers.supplier import (
    Account,
    Answer,
    Delivers,
    News,
    Outcome,
    Product,
    Purchase,
    Reason,
    Repeat,
    Supplier,
    Wish,
)
from tests.canned_supplier import RESET, SHORT, SILENT, Door, Sent, Told, closed_url, door
from tests.published import vectors

SECRET, HOOK = "client-secret-of-this-test", "whsecret-of-this-test"
NOW = datetime(2026, 11, 23, 4, tzinfo=UTC)
NUMBER = "01jdabcdefghjkmnpqrstvwxyz0101"
PURCHASE = Purchase(NUMBER, "5-9.99", 2, 10_000_000, "https://shop.example/callbacks/reloadly")
TOPUP = Purchase(NUMBER, "341-5.00-NG", 1, 5_000_000, "https://shop.example/x", {"phone": "2340000000000"})
CARD: dict[str, Any] = {
    "productId": 5,
    "productName": "App Store US",
    "denominationType": "FIXED",
    "recipientCurrencyCode": "USD",
    "senderCurrencyCode": "USD",
    "senderFee": 0.5,
    "discountPercentage": 5.5,
    "fixedRecipientDenominations": [9.99, 25],
    "fixedSenderDenominations": [9.99, 25.00],
    "country": {"isoName": "US"},
}
OPERATOR: dict[str, Any] = {
    "operatorId": 341,
    "name": "MTN Nigeria",
    "denominationType": "FIXED",
    "senderCurrencyCode": "USD",
    "fixedAmounts": [5, 10],
    "country": {"isoName": "NG", "name": "Nigeria"},
}
CARDS = [{"cardNumber": "NUM-0001", "pinCode": "AAAA-0001"}, {"cardNumber": "BBBB-0002", "pinCode": None}]


def said(found: Any, status: int = 200) -> Told:
    return status, json.dumps(found).encode()


def no(name: str, status: int = 400) -> Told:
    return said({"message": "words", "errorCode": name}, status)


def transaction(**other: Any) -> dict[str, Any]:
    return {
        "transactionId": 48213,
        "customIdentifier": NUMBER,
        "status": "SUCCESSFUL",
        "amount": 19.88,
        "currencyCode": "USD",
        **other,
    }


class Site:
    """history: the transactions there are; `made` is what an order is answered with."""

    def __init__(self) -> None:
        self.lives = 86400
        self.tokens = 0
        self.history: list[dict[str, Any]] = []
        self.made: Told = said(transaction())
        self.cards: Told = said(CARDS)
        self.goods = [CARD, CARD | {"productId": 6, "denominationType": "RANGE"}, {"productId": 7}]

    def __call__(self, sent: Sent) -> Told:
        parts = sent.path.strip("/").split("/")
        if parts == ["oauth", "token"]:
            self.tokens += 1
            return said({"access_token": f"token-{self.tokens}", "expires_in": self.lives, "token_type": "Bearer"})
        if sent.headers.get("authorization") != f"Bearer token-{self.tokens}":
            return no("TOKEN_EXPIRED", 401)
        match parts:
            case ["accounts", "balance"]:
                return said({"balance": 1234.565, "currencyCode": "USD"})
            case ["products"]:
                return said({"content": self.goods, "totalPages": 3, "last": sent.query["page"] == "3"})
            case ["products", "5"]:
                return said(self.goods[0])
            case ["operators"]:
                return said({"content": [OPERATOR], "totalPages": 1, "last": True})
            case ["operators", "341"]:
                return said(OPERATOR)
            case ["orders"] | ["topups-async"]:
                return self.made
            case ["orders", "transactions", "48213", "cards"]:
                return self.cards
            case ["reports", "transactions"] | ["topups", "reports", "transactions"]:
                return said(
                    {"content": self.history, "totalElements": len(self.history), "totalPages": 1, "last": True}
                )
            case [*_, "reports", "transactions", number]:
                found = [one for one in self.history if str(one["transactionId"]) == number]
                return said(found[0]) if found else no("TRANSACTION_NOT_FOUND", 404)
        return no("PRODUCT_NOT_FOUND", 404)


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def at(site: Site) -> Iterator[Door]:
    with door(site) as here:
        yield here


def adapter_at(url: str, **terms: str) -> Reloadly:
    keys = [{"client_secret": SECRET, "webhook_secret": HOOK}, {"client_secret": "old", "webhook_secret": "old-hook"}]
    return Reloadly(Account("rel1", "reloadly", {"site": url, "client_id": "id-1", **terms}, "USD"), keys)


@pytest.fixture
def ours(at: Door) -> Supplier:
    return adapter_at(at.url)


@pytest.fixture
def topups(at: Door) -> Supplier:
    return adapter_at(at.url, line="topups")


def outcome(answer: Answer) -> tuple[Outcome, Reason]:
    return answer.outcome, answer.reason


def paths(at: Door) -> list[str]:
    return [f"{sent.method} {sent.path}" for sent in at.sent]


# --- the token -------------------------------------------------------------------------------------------------------


def test_a_token_is_asked_for_once_and_goes_with_every_call(ours: Supplier, at: Door, site: Site) -> None:
    ours.balance(NOW)
    ours.place(PURCHASE, NOW + timedelta(hours=23))

    first = at.sent[0]
    assert (first.method, first.target) == ("POST", "/oauth/token")
    assert json.loads(first.body) == {
        "client_id": "id-1",
        "client_secret": SECRET,
        "grant_type": "client_credentials",
        "audience": at.url,
    }
    assert site.tokens == 1
    assert {sent.headers["authorization"] for sent in at.sent[1:]} == {"Bearer token-1"}
    assert {sent.headers["accept"] for sent in at.sent[1:]} == {"application/com.reloadly.giftcards-v1+json"}


def test_a_token_that_is_about_to_end_is_renewed(ours: Supplier, site: Site) -> None:
    ours.balance(NOW)
    ours.balance(NOW + timedelta(hours=24) - timedelta(minutes=4))

    assert site.tokens == 2


def test_a_token_that_ended_early_is_thrown_away_and_nothing_was_bought(ours: Supplier, site: Site) -> None:
    ours.balance(NOW)
    site.tokens = 7

    assert outcome(ours.place(PURCHASE, NOW)) == (Outcome.RETRY, Reason.NOT_SENT)
    assert ours.place(PURCHASE, NOW).outcome is Outcome.ACCEPTED


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (no("INVALID_CREDENTIALS", 401), (Outcome.REFUSED, Reason.NOT_ALLOWED)),
        (no("IP_NOT_ALLOWED", 403), (Outcome.REFUSED, Reason.NOT_ALLOWED)),
        ((500, b""), (Outcome.RETRY, Reason.NOT_SENT)),
        ((429, b""), (Outcome.RETRY, Reason.NOT_SENT)),
        (RESET, (Outcome.RETRY, Reason.NOT_SENT)),
        ((200, b"{}"), (Outcome.RETRY, Reason.NOT_SENT)),
    ],
)
def test_without_a_token_nothing_is_ordered(
    ours: Supplier, at: Door, fault: Told, expected: tuple[Outcome, Reason]
) -> None:
    at.faults = [fault]

    assert outcome(ours.place(PURCHASE, NOW)) == expected
    assert paths(at) == ["POST /oauth/token"]


def test_the_secret_goes_to_reloadly_alone_where_the_site_is_theirs() -> None:
    at_home = adapter_at("https://giftcards-sandbox.reloadly.com")
    assert at_home._session._door == "https://auth.reloadly.com"
    assert adapter_at("https://stand-in.example")._session._door == "https://stand-in.example"
    assert Reloadly(
        Account("r", "reloadly", {"client_id": "1", "line": "topups"}), [{"client_secret": "x"}]
    )._session.site == ("https://topups.reloadly.com")


# --- buying ----------------------------------------------------------------------------------------------------------


def test_gift_cards_are_ordered_under_our_number_and_fetched(ours: Supplier, site: Site, at: Door) -> None:
    ours.product(PURCHASE.product, NOW)
    at.sent.clear()
    accepted = ours.place(PURCHASE, NOW)
    assert paths(at) == ["POST /orders"]  # the token is kept
    site.history = [transaction()]
    answer = ours.ask(NUMBER, accepted.upstream_no, NOW)

    order = next(sent for sent in at.sent if sent.path == "/orders")
    assert json.loads(order.body) == {
        "productId": 5,
        "quantity": 2,
        "unitPrice": 9.99,
        "customIdentifier": NUMBER,
        "senderName": "Kaquan",
    }
    assert (accepted.outcome, accepted.upstream_no, accepted.cost_e6) == (Outcome.ACCEPTED, "48213", 19_880_000)
    assert (answer.outcome, answer.upstream_no, answer.delivered) == (Outcome.DELIVERED, "48213", 2)
    assert [(card.code.code, card.code.number) for card in answer.goods] == [
        ("AAAA-0001", "NUM-0001"),
        ("BBBB-0002", None),
    ]
    assert answer.cost_e6 == 19_880_000


@pytest.mark.parametrize("fault", [(500, b""), RESET, (200, b"[]"), (200, b"{}"), (200, b"[{}]"), (404, b"{}")])
def test_cards_that_cannot_be_fetched_now_are_asked_for_later(ours: Supplier, site: Site, fault: Told) -> None:
    site.cards, site.history = fault, [transaction()]
    answer = ours.ask(NUMBER, "48213", NOW)
    assert (answer.outcome, answer.upstream_no) == (Outcome.ACCEPTED, "48213")

    site.cards = said(CARDS[:1])
    later = ours.ask(NUMBER, "48213", NOW)
    assert (later.outcome, later.delivered) == (Outcome.DELIVERED, 1)


@pytest.mark.parametrize(
    ("other", "expected", "cost_e6"),
    [
        ({"amount": 19.880000000000003}, (Outcome.DELIVERED, Reason.NONE), 19_880_001),
        ({"amount": "free"}, (Outcome.DELIVERED, Reason.NONE), None),
        ({"amount": -1}, (Outcome.DELIVERED, Reason.NONE), None),
        ({"amount": None}, (Outcome.DELIVERED, Reason.NONE), None),
        ({"status": None}, (Outcome.UNKNOWN, Reason.UNREADABLE), 19_880_000),
        ({"product": {"quantity": 2}}, (Outcome.DELIVERED, Reason.NONE), 19_880_000),
        ({"product": {"quantity": None}}, (Outcome.DELIVERED, Reason.NONE), 19_880_000),
        ({"product": {"quantity": 1}}, (Outcome.UNKNOWN, Reason.UNREADABLE), 19_880_000),  # two cards came
    ],
)
def test_an_odd_detail_of_a_transaction_does_not_take_away_its_number_nor_its_cards(
    ours: Supplier, site: Site, other: dict[str, Any], expected: tuple[Outcome, Reason], cost_e6: int | None
) -> None:
    site.history = [transaction(**other)]

    answer = ours.ask(NUMBER, "", NOW)

    assert (outcome(answer), answer.upstream_no, answer.cost_e6) == (expected, "48213", cost_e6)
    assert len(answer.goods) == (2 if expected[0] is Outcome.DELIVERED else 0)


def test_credit_goes_to_the_phone_and_is_asked_for(topups: Supplier, site: Site, at: Door) -> None:
    site.made = said({"transactionId": 48213})
    accepted = topups.place(TOPUP, NOW)
    site.history = [transaction(operatorTransactionId="7297929551:OrderConfirmed")]
    done = topups.ask(NUMBER, accepted.upstream_no, NOW)

    order = next(sent for sent in at.sent if sent.path == "/topups-async")
    assert json.loads(order.body) == {
        "operatorId": 341,
        "amount": 5.0,
        "useLocalAmount": False,
        "customIdentifier": NUMBER,
        "recipientPhone": {"countryCode": "NG", "number": "2340000000000"},
    }
    assert at.last.headers["accept"] == "application/com.reloadly.topups-v1+json"
    assert (accepted.outcome, accepted.upstream_no) == (Outcome.ACCEPTED, "48213")
    assert (done.outcome, done.delivered, done.proof) == (Outcome.DELIVERED, 1, "7297929551:OrderConfirmed")
    assert outcome(topups.place(replace(TOPUP, quantity=2), NOW)) == (Outcome.FAILED, Reason.BAD_QUANTITY)
    site.made = said({"message": "no number of anybody: one two", "errorCode": "INVALID_RECIPIENT_PHONE"}, 400)
    refused = topups.place(replace(TOPUP, account={"phone": "one two"}), NOW)
    assert (outcome(refused), "one two" in refused.said) == ((Outcome.FAILED, Reason.BAD_ACCOUNT), False)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("PENDING", (Outcome.ACCEPTED, Reason.NONE)),
        ("PROCESSING", (Outcome.ACCEPTED, Reason.NONE)),
        ("FAILED", (Outcome.FAILED, Reason.OTHER)),
        ("REFUNDED", (Outcome.FAILED, Reason.REVERSED)),
        ("LOST", (Outcome.UNKNOWN, Reason.UNREADABLE)),
    ],
)
def test_the_status_of_a_transaction_is_read(
    ours: Supplier, site: Site, status: str, expected: tuple[Outcome, Reason]
) -> None:
    site.history = [transaction(status=status)]

    assert outcome(ours.ask(NUMBER, "48213", NOW)) == expected
    assert outcome(ours.ask(NUMBER, "", NOW)) == expected


# --- after a lost answer ---------------------------------------------------------------------------------------------


def test_a_lost_order_is_found_in_the_history_by_our_number(ours: Supplier, site: Site, at: Door) -> None:
    site.history = [transaction(customIdentifier="another", transactionId=1), transaction()]

    answer = ours.ask(NUMBER, "", NOW)

    assert (answer.outcome, answer.upstream_no, len(answer.goods)) == (Outcome.DELIVERED, "48213", 2)
    asked = next(sent for sent in at.sent if sent.path == "/reports/transactions")
    assert asked.query["customIdentifier"] == NUMBER


def test_an_order_that_the_whole_history_does_not_know_is_absent(ours: Supplier, site: Site, at: Door) -> None:
    assert ours.ask(NUMBER, "", NOW).outcome is Outcome.ABSENT
    site.history = [transaction(customIdentifier="another")]
    assert ours.ask(NUMBER, "", NOW).outcome is Outcome.ABSENT
    at.faults = [said({"content": [], "totalElements": 101, "totalPages": 2, "last": False})]
    assert outcome(ours.ask(NUMBER, "", NOW)) == (Outcome.UNKNOWN, Reason.UNREADABLE)


def test_two_orders_under_one_number_are_for_a_person(ours: Supplier, site: Site) -> None:
    site.history = [transaction(), transaction(transactionId=2)]

    assert outcome(ours.ask(NUMBER, "", NOW)) == (Outcome.UNKNOWN, Reason.DUPLICATE)


def test_a_transaction_of_another_order_is_not_taken_for_ours(ours: Supplier, site: Site) -> None:
    site.history = [transaction(customIdentifier="another")]

    assert outcome(ours.ask(NUMBER, "48213", NOW)) == (Outcome.UNKNOWN, Reason.UNREADABLE)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (RESET, (Outcome.UNKNOWN, Reason.SILENT)),
        (SILENT, (Outcome.UNKNOWN, Reason.SILENT)),
        (SHORT, (Outcome.UNKNOWN, Reason.SILENT)),
        ((502, b""), (Outcome.UNKNOWN, Reason.SILENT)),
        ((429, b""), (Outcome.RETRY, Reason.BUSY)),
        ((302, b""), (Outcome.UNKNOWN, Reason.UNREADABLE)),
        ((200, b"<html>"), (Outcome.UNKNOWN, Reason.UNREADABLE)),
        ((200, b"{}"), (Outcome.UNKNOWN, Reason.UNREADABLE)),
        ((400, b"<html>"), (Outcome.UNKNOWN, Reason.UNREADABLE)),
        (no("OUT_OF_STOCK"), (Outcome.FAILED, Reason.NO_STOCK)),
        (no("INSUFFICIENT_BALANCE"), (Outcome.FAILED, Reason.LOW_BALANCE)),
        (no("INVALID_RECIPIENT_PHONE"), (Outcome.FAILED, Reason.BAD_ACCOUNT)),
        ((403, b"<html>WAF"), (Outcome.UNKNOWN, Reason.NOT_ALLOWED)),
        (no("DUPLICATE_CUSTOM_IDENTIFIER"), (Outcome.UNKNOWN, Reason.DUPLICATE)),
        (no("TRANSACTION_CANNOT_BE_PROCESSED"), (Outcome.UNKNOWN, Reason.OTHER)),
        (no("IP_NOT_ALLOWED", 403), (Outcome.REFUSED, Reason.NOT_ALLOWED)),
        (said(transaction(customIdentifier="another")), (Outcome.UNKNOWN, Reason.UNREADABLE)),
    ],
)
def test_only_what_is_said_before_buying_is_definite(
    monkeypatch: pytest.MonkeyPatch, ours: Supplier, at: Door, fault: Told, expected: tuple[Outcome, Reason]
) -> None:
    whole = wire.call
    monkeypatch.setattr(wire, "call", lambda *args, **more: whole(*args, **{"timeout": 0.5, **more}))
    at.faults = [None, fault]

    assert outcome(ours.place(PURCHASE, NOW)) == expected
    assert paths(at) == ["POST /oauth/token", "POST /orders"]


@pytest.mark.parametrize("fault", [(429, b""), (500, b""), RESET, no("OUT_OF_STOCK"), (200, b"{}"), (404, b"")])
def test_a_question_that_fails_says_nothing_of_the_order(ours: Supplier, at: Door, fault: Told) -> None:
    at.faults = [None, fault]

    assert ours.ask(NUMBER, "", NOW).outcome is Outcome.UNKNOWN


def test_what_never_left_here_may_be_sent_again() -> None:
    for url in (closed_url(), "http://shop.example"):
        assert outcome(adapter_at(url).place(PURCHASE, NOW)) == (Outcome.RETRY, Reason.NOT_SENT)


@pytest.mark.parametrize("product", ["5-10.00", "8-9.99", "../x"])
def test_what_they_do_not_sell_is_none(ours: Supplier, product: str) -> None:
    assert ours.product(product, NOW) is None


def test_what_no_product_of_theirs_is_called_is_not_ordered(ours: Supplier, at: Door) -> None:
    assert outcome(ours.place(replace(PURCHASE, product="../x"), NOW)) == (Outcome.FAILED, Reason.OFF_SHELF)
    assert at.sent == []


# --- what they sell --------------------------------------------------------------------------------------------------


def test_each_fixed_value_is_a_product_at_what_it_costs_us(ours: Supplier, at: Door) -> None:
    page = ours.products("", NOW)

    assert page.products == [
        Product("5-9.99", "App Store US 9.99 USD", Delivers.CARDS, 9_940_550, "USD"),
        Product("5-25.00", "App Store US 25.00 USD", Delivers.CARDS, 24_125_000, "USD"),
    ]
    assert page.cursor == "2"
    assert ours.products("3", NOW).cursor == ""
    assert at.last.query["page"] == "3"


def test_what_is_paid_in_another_currency_is_not_offered(ours: Supplier, site: Site) -> None:
    site.goods = [CARD | {"senderCurrencyCode": "EUR"}]

    assert ours.products("", NOW).products == []


def test_credit_is_offered_with_the_field_that_it_wants(topups: Supplier) -> None:
    first, second = topups.products("", NOW).products

    assert first == Product(
        "341-5.00-NG",
        "MTN Nigeria 5.00 USD",
        Delivers.TOPUP,
        5_000_000,
        "USD",
        most=1,
        fields=(Wish("phone", "手机号"),),
    )
    assert second.product == "341-10.00-NG"


def test_the_balance_has_its_currency_or_a_reason(ours: Supplier, at: Door) -> None:
    assert ours.balance(NOW) == Money(123456, "USD")
    at.faults = [no("IP_NOT_ALLOWED", 403)]
    with pytest.raises(SupplierRefused) as refused:
        ours.balance(NOW)
    assert refused.value.facts["reason"] == Reason.NOT_ALLOWED
    for fault in ((500, b""), (200, b"{}"), (200, b"x"), RESET, (429, b"")):
        at.faults = [fault]
        with pytest.raises(SupplierSilent):
            ours.balance(NOW)


# --- webhooks --------------------------------------------------------------------------------------------------------


def hook(raw: bytes, at: datetime = NOW, secret: str = HOOK) -> dict[str, str]:
    moment = str(int(at.timestamp() * 1000))
    signature = hmac.new(secret.encode(), raw + b":" + moment.encode(), hashlib.sha256).hexdigest()
    return {"x-reloadly-signature": signature, "x-reloadly-request-timestamp": moment}


RAW = json.dumps(
    {"type": "giftcard_transaction.status", "data": {"transactionId": 1, "customIdentifier": NUMBER}}
).encode()
hearing = adapter_at("https://x.example")


def test_the_documented_webhook_is_read() -> None:
    told = vectors("supplier_reloadly.json")["webhook_computed_by_us"]
    ours = replace(hearing, keys=[{"client_secret": SECRET, "webhook_secret": told["secret"]}])
    headers = {"x-reloadly-signature": told["signature"], "x-reloadly-request-timestamp": told["timestamp"]}
    sent_at = datetime.fromtimestamp(int(told["timestamp"]) / 1000, UTC)

    assert ours.parse_callback(headers, told["raw_body"].encode(), sent_at) == News(number="NO-SUCH-ORDER")
    with pytest.raises(BadCallback):
        ours.parse_callback(headers, told["raw_body"].encode() + b" ", sent_at)


def test_a_webhook_names_our_order_or_theirs_within_a_day() -> None:
    assert hearing.parse_callback(hook(RAW), RAW, NOW) == News(number=NUMBER)
    assert hearing.parse_callback(hook(RAW, secret="old-hook"), RAW, NOW + timedelta(hours=23)) == News(number=NUMBER)
    theirs = b'{"data":{"transactionId":48213,"customIdentifier":null}}'
    assert hearing.parse_callback(hook(theirs), theirs, NOW) == News(upstream_no="48213")
    for late in (timedelta(hours=25), -timedelta(hours=25)):
        with pytest.raises(BadCallback):
            hearing.parse_callback(hook(RAW), RAW, NOW + late)
    assert (hearing.ack(True).status, hearing.ack(False).status) == (200, 400)


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{}", b'{"data":{}}', b'{"data":7}', b'{"data":{"customIdentifier":{}}}', b"\xff"]
)
def test_a_senseless_webhook_is_refused_though_it_is_signed(raw: bytes) -> None:
    with pytest.raises(BadCallback):
        hearing.parse_callback(hook(raw), raw, NOW)


@given(st.binary(max_size=100), st.text(max_size=70), st.text(max_size=20))
def test_whatever_is_not_signed_is_refused(raw: bytes, signature: str, moment: str) -> None:
    headers = {"x-reloadly-signature": signature, "x-reloadly-request-timestamp": moment}
    for given_headers in (headers, {}, hook(raw, secret="another")):
        with pytest.raises(BadCallback):
            hearing.parse_callback(given_headers, raw, NOW)


def test_without_a_secret_no_webhook_is_believed() -> None:
    for secret in ("", None):
        keys = [{"client_secret": SECRET} | ({} if secret is None else {"webhook_secret": secret})]
        with pytest.raises(BadCallback):
            replace(hearing, keys=keys).parse_callback(hook(RAW, secret=""), RAW, NOW)


# --- the rest --------------------------------------------------------------------------------------------------------


def test_what_is_not_documented_is_not_relied_on() -> None:
    assert hearing.traits.repeat is Repeat.BUYS
    assert (hearing.traits.asks_by_ours, hearing.traits.ceiling) == (True, False)
    assert adapter_at("https://x.example", **{"trait.repeat": "refuses"}).traits.repeat is Repeat.REFUSES


@pytest.mark.parametrize(
    ("terms", "keys"),
    [
        ({}, {"client_secret": "x"}),
        ({"client_id": "1", "line": "cars"}, {"client_secret": "x"}),
        ({"client_id": "1"}, {}),
    ],
)
def test_an_account_that_cannot_be_used_is_none(terms: dict[str, str], keys: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="rel1"):
        made(Account("rel1", "reloadly", terms), [keys])


def test_neither_secret_nor_token_nor_code_is_in_any_text_that_leaves_the_adapter(
    at: Door, site: Site, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    ours = adapter_at(at.url)
    told = [repr(ours.place(PURCHASE, NOW)), repr(ours), repr(ours._session)]
    site.made = said(CARDS)
    told.append(repr(ours.place(PURCHASE, NOW)))

    everything = "".join(told) + caplog.text + "".join(capfd.readouterr())
    assert not any(secret in everything for secret in (SECRET, HOOK, "token-1", "AAAA"))
