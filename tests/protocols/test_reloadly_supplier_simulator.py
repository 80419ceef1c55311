"""Reloadly's stand-in over real sockets, by the letter of its protocol; signing and reading here are the test's own."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from infra.local.supplier_shop import KINDS
from infra.local.suppliers.common import Product
from infra.local.suppliers.reloadly import Reloadly, signature, timed
from tests.published import vectors
from tests.supplied import HANG_UPS, Shop, eventually, send, shop

GIFT_CARDS, TOP_UPS = "giftcards", "topups"
# 10.00 less 8 % and 0.50 of fee on top; 25.00 likewise.
SMALL = Product(
    "7:10",
    "Sample gift card",
    9_700_000,
    stock=20,
    quantity_max=5,
    more={"face": "10.00", "fee_e6": 500_000, "discount": 8},
)
LARGE = Product(
    "7:25",
    "Sample gift card",
    23_500_000,
    stock=20,
    quantity_max=5,
    more={"face": "25.00", "fee_e6": 500_000, "discount": 8},
)
FOREIGN = Product("8", "Sample store CNY", 14_000_000, more={"face": "100.00", "currency": "CNY", "country": "CN"})
PHONE = Product(
    "535", "Sample mobile", 7_250_000, kind="topup", more={"face": "50.00", "currency": "CNY", "country": "CN"}
)
_numbers = count(1)


class Client:
    """A customer's own hands on one line."""

    def __init__(self, reloadly: Reloadly, line: str = GIFT_CARDS) -> None:
        self.terms, self.keys, self.line = reloadly.terms, reloadly.keys, line
        self.token = ""

    def sign_in(self, **other: Any) -> tuple[int, Any]:
        wanted = {
            "client_id": self.terms["client_id"],
            "client_secret": self.keys["client_secret"],
            "grant_type": "client_credentials",
            "audience": f"https://{self.line}.reloadly.com",
        } | other
        status, raw = self.send("POST", "/oauth/token", wanted, site=self.terms["auth_site"])
        return status, json.loads(raw)

    def send(
        self, method: str, target: str, content: Any = None, *, site: str = "", **headers: str
    ) -> tuple[int, bytes]:
        body = b"" if content is None else json.dumps(content).encode()
        sent = {
            "Accept": f"application/com.reloadly.{self.line}-v1+json",
            "Content-Type": "application/json",
            "Authorization": f"Bearer {self.token}",
        } | headers
        return send(method, (site or self.terms["site"]) + target, body, sent)

    def call(self, method: str, target: str, content: Any = None, **headers: str) -> tuple[int, Any]:
        """Status and body, with a token that is fetched when there is none."""
        if not self.token:
            status, told = self.sign_in()
            assert status == 200, told
            self.token = told["access_token"]
        status, raw = self.send(method, target, content, **headers)
        return status, json.loads(raw)

    def ask(self, method: str, target: str, content: Any = None, **query: Any) -> Any:
        status, told = self.call(method, f"{target}?{urlencode(query)}" if query else target, content)
        assert status == 200, told
        return told

    def refused(self, method: str, target: str, content: Any = None, **headers: str) -> str:
        status, told = self.call(method, target, content, **headers)
        assert status >= 400
        return str(told["errorCode"])

    def order(self, **fields: Any) -> Any:
        return self.ask("POST", "/orders", order(**fields))

    def top_up(self, how: str = "topups", **fields: Any) -> Any:
        return self.ask("POST", f"/{how}", top_up(**fields))

    def cards(self, number: int) -> Any:
        return self.ask("GET", f"/orders/transactions/{number}/cards")

    def history(self, **query: Any) -> Any:
        start = "" if self.line == GIFT_CARDS else "/topups"
        return self.ask("GET", f"{start}/reports/transactions", **query)


def order(**fields: Any) -> dict[str, Any]:
    wanted = {"quantity": 1, "productId": 7, "senderName": "Kaquan", "unitPrice": 10}
    return wanted | {"customIdentifier": f"k{next(_numbers):06d}", "recipientEmail": "a@example.com"} | fields


def top_up(**fields: Any) -> dict[str, Any]:
    wanted = {"operatorId": 535, "amount": 50, "useLocalAmount": True, "customIdentifier": f"k{next(_numbers):06d}"}
    return wanted | {"recipientPhone": {"countryCode": "CN", "number": "13800000000"}} | fields


@dataclass
class Hook:
    stamp: str
    signature: str
    raw: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.raw)

    def genuine(self, client: Client, *, with_time: bool = True) -> bool:
        covered = self.raw + b":" + self.stamp.encode() if with_time else self.raw
        own = hmac.new(client.keys["webhook_secret"].encode(), covered, hashlib.sha256).hexdigest()
        return hmac.compare_digest(own, self.signature)


@pytest.fixture
def inbox() -> Iterator[Shop]:
    with shop(b"") as one:
        yield one


def told_to(inbox: Shop, number_min: int = 0) -> list[Hook]:
    stamp, sign = "X-Reloadly-Request-Timestamp", "X-Reloadly-Signature"
    return [Hook(one.headers[stamp], one.headers[sign], one.raw) for one in inbox.wait(number_min)]


@pytest.fixture
def reloadly(tmp_path: Path) -> Iterator[Reloadly]:
    with Reloadly(tmp_path / "reloadly.sqlite", retry_after=(0.05, 0.1), balance_e6=1_000_000_000) as running:
        Reloadly.put_products(running.url, [SMALL, LARGE, FOREIGN, PHONE])
        yield running


@pytest.fixture
def client(reloadly: Reloadly) -> Client:
    return Client(reloadly)


@pytest.fixture
def phones(reloadly: Reloadly) -> Client:
    return Client(reloadly, TOP_UPS)


# -- who may ask -------------------------------------------------------------------------------------------------------


def test_the_command_knows_the_kind_and_its_owner_gets_terms_and_keys(reloadly: Reloadly) -> None:
    assert KINDS["reloadly"]() is Reloadly
    given = reloadly.state.with_name("reloadly.sqlite.supplier.json")
    assert json.loads(given.read_text()) == {"terms": reloadly.terms, "keys": reloadly.keys}
    assert set(reloadly.terms) == {"auth_site", "site", "line", "client_id"}
    assert set(reloadly.keys) == {"client_secret", "webhook_secret"}


def test_a_token_is_given_for_the_right_secret_and_a_known_audience(client: Client, reloadly: Reloadly) -> None:
    for audience in (
        "https://giftcards.reloadly.com",
        "https://topups-sandbox.reloadly.com",
        reloadly.url,
    ):
        status, told = client.sign_in(audience=audience)
        assert (status, told["token_type"], told["expires_in"]) == (200, "Bearer", 86_400)
    for wrong in ({"client_secret": "x"}, {"client_id": "x"}, {"client_secret": None}):
        status, told = client.sign_in(**wrong)
        assert (status, told["errorCode"]) == (401, "INVALID_CREDENTIALS")
    for odd in ({"grant_type": "password"}, {"audience": "https://example.com"}):
        status, told = client.sign_in(**odd)
        assert (status, told["errorCode"]) == (400, "INVALID_REQUEST")


def test_nothing_is_told_without_a_token_of_the_line_and_a_version(client: Client, phones: Client) -> None:
    client.ask("GET", "/accounts/balance")
    phones.ask("GET", "/accounts/balance")

    for authorization in ("", "Bearer x", client.token, f"Basic {client.token}"):
        assert client.refused("GET", "/products", Authorization=authorization) == "INVALID_TOKEN"
    topups = f"Bearer {phones.token}"
    assert client.refused("GET", "/products", Authorization=topups) == "INVALID_AUDIENCE"
    for accept in ("application/json", "application/com.reloadly.topups-v1+json"):
        assert client.refused("GET", "/products", Accept=accept) == "NOT_ACCEPTABLE"
    assert client.refused("POST", "/topups", top_up()) == "NOT_ACCEPTABLE"
    assert client.refused("GET", "/nowhere") == "NOT_FOUND"


def test_a_token_for_the_site_itself_serves_both_lines(client: Client, phones: Client, reloadly: Reloadly) -> None:
    client.token = phones.token = client.sign_in(audience=reloadly.url)[1]["access_token"]
    assert client.ask("GET", "/products")["totalElements"] == 2
    assert phones.ask("GET", "/operators")["totalElements"] == 1


def test_a_token_ends(client: Client, reloadly: Reloadly) -> None:
    Reloadly.misbehave(reloadly.url, "token", "short", seconds=0)
    assert client.refused("GET", "/products") == "TOKEN_EXPIRED"
    client.token = ""
    assert client.ask("GET", "/products")
    Reloadly.misbehave(reloadly.url, "buy", "token_expired")
    assert client.refused("POST", "/orders", order()) == "TOKEN_EXPIRED"
    assert client.refused("GET", "/products") == "INVALID_TOKEN"
    assert Reloadly.orders(reloadly.url) == []


# -- what it sells -----------------------------------------------------------------------------------------------------


def test_gift_cards_are_listed_with_their_denominations_fee_and_discount(client: Client) -> None:
    listed = client.ask("GET", "/products")["content"]

    assert [one["productId"] for one in listed] == [7, 8]
    card = listed[0]
    assert (card["denominationType"], card["fixedRecipientDenominations"]) == ("FIXED", [10.0, 25.0])
    assert (card["fixedSenderDenominations"], card["senderFee"], card["discountPercentage"]) == ([10.0, 25.0], 0.5, 8.0)
    assert card["fixedRecipientToSenderDenominationsMap"] == {"10.00": 10.0, "25.00": 25.0}
    assert (listed[1]["recipientCurrencyCode"], listed[1]["country"]["isoName"]) == ("CNY", "CN")
    assert client.ask("GET", "/products/7") == card
    assert client.refused("GET", "/products/9") == "PRODUCT_NOT_FOUND"


def test_pages_are_asked_for_from_one_and_counted_from_zero(client: Client) -> None:
    first, second = (client.ask("GET", "/products", page=page, size=1) for page in (1, 2))

    assert [page["content"][0]["productId"] for page in (first, second)] == [7, 8]
    assert [(page["number"], page["last"], page["totalPages"]) for page in (first, second)] == [
        (0, False, 2),
        (1, True, 2),
    ]
    assert client.ask("GET", "/products", page=3, size=1)["content"] == []
    assert client.refused("GET", "/products?page=0") == "INVALID_REQUEST"
    assert client.refused("GET", "/products?size=201") == "INVALID_REQUEST"


def test_what_is_sold_out_or_off_the_shelf_is_not_listed(client: Client, reloadly: Reloadly) -> None:
    Reloadly.change_product(reloadly.url, "8", stock=0)
    Reloadly.change_product(reloadly.url, "7:10", on_sale=False)
    (card,) = client.ask("GET", "/products")["content"]
    assert card["fixedRecipientDenominations"] == [25.0]


def test_operators_and_the_balance_can_be_asked_for(phones: Client, client: Client) -> None:
    (operator,) = phones.ask("GET", "/operators")["content"]
    assert (operator["operatorId"], operator["fixedAmounts"], operator["localFixedAmounts"]) == (535, [7.25], [50.0])
    assert phones.ask("GET", "/operators/535") == operator
    for line in (phones, client):
        balance = line.ask("GET", "/accounts/balance")
        assert (balance["balance"], balance["currencyCode"]) == (1000.0, "USD")


# -- gift cards --------------------------------------------------------------------------------------------------------


def test_an_order_takes_money_and_its_cards_are_fetched_apart(client: Client, reloadly: Reloadly) -> None:
    sold = client.order(quantity=2, unitPrice=25.00, customIdentifier="one")

    (kept,) = Reloadly.orders(reloadly.url, "one")
    assert (sold["status"], sold["transactionId"], sold["customIdentifier"]) == (
        "SUCCESSFUL",
        int(kept["order_no"]),
        "one",
    )
    assert (sold["amount"], sold["fee"], sold["discount"]) == (47.0, 1.0, 4.0)
    assert sold["product"] | {"productName": ""} == {
        "productId": 7,
        "productName": "",
        "quantity": 2,
        "unitPrice": 25.0,
        "totalPrice": 50.0,
        "currencyCode": "USD",
    }
    assert client.cards(sold["transactionId"]) == [
        {"cardNumber": card["card_no"], "pinCode": card["password"]} for card in kept["cards"]
    ]
    assert kept["account"] == {"recipientEmail": "a@example.com"}
    assert Reloadly.balance_e6(reloadly.url) == 1_000_000_000 - 47_000_000


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"productId": 9}, "PRODUCT_NOT_FOUND"),
        ({"productId": "7"}, "PRODUCT_NOT_FOUND"),
        ({"productId": 535}, "PRODUCT_NOT_FOUND"),
        ({"unitPrice": 11}, "INVALID_UNIT_PRICE"),
        ({"unitPrice": "10"}, "INVALID_UNIT_PRICE"),
        ({"quantity": 0}, "INVALID_QUANTITY"),
        ({"quantity": 6}, "INVALID_QUANTITY"),
        ({"quantity": "1"}, "INVALID_QUANTITY"),
        ({"senderName": ""}, "INVALID_REQUEST"),
        ({"recipientEmail": "nobody"}, "INVALID_REQUEST"),
        ({"customIdentifier": "x" * 151}, "INVALID_REQUEST"),
    ],
)
def test_an_order_that_cannot_be_filled_is_refused_and_costs_nothing(
    client: Client, reloadly: Reloadly, fields: dict[str, Any], code: str
) -> None:
    assert client.refused("POST", "/orders", order(**fields)) == code
    assert Reloadly.orders(reloadly.url) == []
    assert Reloadly.balance_e6(reloadly.url) == 1_000_000_000


def test_shelf_stock_and_purse_are_checked(client: Client, reloadly: Reloadly) -> None:
    def refused_with(**product: Any) -> str:
        Reloadly.change_product(reloadly.url, "8", **product)
        return client.refused("POST", "/orders", order(productId=8, unitPrice=100))

    assert refused_with(on_sale=False) == "PRODUCT_NOT_AVAILABLE"
    assert refused_with(on_sale=True, stock=0) == "OUT_OF_STOCK"
    Reloadly.set_balance(reloadly.url, 13_000_000)
    assert refused_with(stock=1) == "INSUFFICIENT_BALANCE"


def test_only_json_is_read(client: Client) -> None:
    client.ask("GET", "/products")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert client.refused("POST", "/orders", order(), **form) == "INVALID_REQUEST"
    assert client.refused("POST", "/orders", [order()]) == "INVALID_REQUEST"


def test_an_order_may_be_pending_and_its_cards_not_ready(client: Client, reloadly: Reloadly) -> None:
    Reloadly.misbehave(reloadly.url, "buy", "late_asks", seconds=4)
    sold = client.order(customIdentifier="one")
    number = sold["transactionId"]

    assert sold["status"] == "PENDING"
    assert client.history(customIdentifier="one")["content"][0]["status"] == "PROCESSING"
    assert client.refused("GET", f"/orders/transactions/{number}/cards") == "CARDS_NOT_READY"
    Reloadly.behave(reloadly.url, cards_not_ready="empty")
    assert client.cards(number) == []
    assert client.ask("GET", f"/reports/transactions/{number}")["status"] == "SUCCESSFUL"
    assert len(client.cards(number)) == 1
    Reloadly.behave(reloadly.url, delivery="first_ask")
    assert client.order(customIdentifier="two")["status"] == "PENDING"
    assert client.history(customIdentifier="two")["content"][0]["status"] == "SUCCESSFUL"


def test_a_card_may_have_a_pin_or_a_number_alone(client: Client, reloadly: Reloadly) -> None:
    number = client.order()["transactionId"]
    (whole,) = client.cards(number)
    Reloadly.behave(reloadly.url, card_parts="pin")
    assert client.cards(number) == [whole | {"cardNumber": None}]
    Reloadly.behave(reloadly.url, card_parts="number")
    assert client.cards(number) == [whole | {"pinCode": None}]


def test_a_repeated_identifier_buys_again_is_refused_or_told_again(client: Client, reloadly: Reloadly) -> None:
    first = client.order(customIdentifier="one")["transactionId"]
    assert client.order(customIdentifier="one")["transactionId"] != first
    assert Reloadly.bought_twice(reloadly.url) == ["one"]
    Reloadly.behave(reloadly.url, repeat="refuses")
    said = client.refused("POST", "/orders", order(customIdentifier="one"))
    assert said == "DUPLICATE_CUSTOM_IDENTIFIER"
    Reloadly.behave(reloadly.url, repeat="replays")
    assert client.order(customIdentifier="one")["transactionId"] == first
    assert len(Reloadly.orders(reloadly.url)) == 2


def test_the_history_is_filtered_by_our_identifier(client: Client, phones: Client, reloadly: Reloadly) -> None:
    for ours in ("one", "one-two", "three"):
        client.order(customIdentifier=ours)
    phones.top_up(customIdentifier="one")

    assert [one["customIdentifier"] for one in client.history(customIdentifier="one")["content"]] == ["one"]
    assert client.history(customIdentifier="none")["content"] == []
    assert [one["customIdentifier"] for one in client.history()["content"]] == ["three", "one-two", "one"]
    assert "operatorId" in phones.history(customIdentifier="one")["content"][0]
    Reloadly.behave(reloadly.url, history_filter="contains")
    found = client.history(customIdentifier="one")["content"]
    assert [one["customIdentifier"] for one in found] == ["one-two", "one"]


def test_transactions_are_of_one_line_only(client: Client, phones: Client) -> None:
    card, topped = client.order()["transactionId"], phones.top_up()["transactionId"]
    assert client.refused("GET", f"/orders/transactions/{topped}/cards") == "TRANSACTION_NOT_FOUND"
    assert client.refused("GET", f"/reports/transactions/{topped}") == "TRANSACTION_NOT_FOUND"
    assert phones.refused("GET", f"/topups/{card}/status") == "TRANSACTION_NOT_FOUND"
    assert phones.ask("GET", f"/topups/reports/transactions/{topped}")["status"] == "SUCCESSFUL"


# -- top-ups -----------------------------------------------------------------------------------------------------------


def test_a_top_up_may_be_answered_at_once_or_asked_after(phones: Client, reloadly: Reloadly) -> None:
    done = phones.top_up(customIdentifier="one")
    later = phones.top_up("topups-async", customIdentifier="two")

    assert (done["status"], done["recipientPhone"], done["deliveredAmount"], done["requestedAmount"]) == (
        "SUCCESSFUL",
        "8613800000000",
        50.0,
        7.25,
    )
    assert set(later) == {"transactionId"}
    told = phones.ask("GET", f"/topups/{later['transactionId']}/status")
    assert (told["status"], told["transaction"]["customIdentifier"]) == ("SUCCESSFUL", "two")
    account = Reloadly.orders(reloadly.url, "two")[0]["account"]
    assert account == {"countryCode": "CN", "number": "13800000000"}
    assert phones.top_up(amount=7.25, useLocalAmount=False)["deliveredAmount"] == 50.0


def test_a_top_up_may_be_processing_and_fail(phones: Client, reloadly: Reloadly) -> None:
    Reloadly.misbehave(reloadly.url, "buy", "late_asks", seconds=2)
    taken = phones.top_up()
    number = taken["transactionId"]
    told = [phones.ask("GET", f"/topups/{number}/status") for _ in range(2)]
    assert (taken["status"], [one["status"] for one in told]) == ("PROCESSING", ["PROCESSING", "SUCCESSFUL"])
    assert told[0]["transaction"] is None

    Reloadly.misbehave(reloadly.url, "buy", "fails_late", seconds=0)
    number = phones.top_up("topups-async", customIdentifier="bad")["transactionId"]
    told = phones.ask("GET", f"/topups/{number}/status")
    assert (told["status"], told["code"]) == ("FAILED", "RECHARGE_FAILED")
    Reloadly.behave(reloadly.url, failed_state="REFUNDED")
    assert phones.ask("GET", f"/topups/{number}/status")["status"] == "REFUNDED"
    assert Reloadly.bought(reloadly.url, "bad") == []


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"operatorId": 1}, "PRODUCT_NOT_FOUND"),
        ({"operatorId": 7}, "PRODUCT_NOT_FOUND"),
        ({"amount": 51}, "INVALID_AMOUNT_FOR_OPERATOR"),
        ({"amount": 50, "useLocalAmount": False}, "INVALID_AMOUNT_FOR_OPERATOR"),
        ({"amount": "50"}, "INVALID_AMOUNT_FOR_OPERATOR"),
        ({"recipientPhone": None}, "INVALID_RECIPIENT_PHONE"),
        ({"recipientPhone": {"countryCode": "US", "number": "13800000000"}}, "INVALID_RECIPIENT_PHONE"),
        ({"recipientPhone": {"countryCode": "CN", "number": "1380000000x"}}, "INVALID_RECIPIENT_PHONE"),
    ],
)
def test_a_top_up_that_cannot_be_made_is_refused_and_costs_nothing(
    phones: Client, reloadly: Reloadly, fields: dict[str, Any], code: str
) -> None:
    for how in ("topups", "topups-async"):
        assert phones.refused("POST", f"/{how}", top_up(**fields)) == code
    assert Reloadly.orders(reloadly.url) == []
    assert Reloadly.balance_e6(reloadly.url) == 1_000_000_000


# -- webhooks ----------------------------------------------------------------------------------------------------------


def test_the_computed_sample_has_the_signature_that_the_stand_in_would_give() -> None:
    sample = vectors("supplier_reloadly.json")["webhook_computed_by_us"]
    assert signature(timed(sample["raw_body"].encode(), sample["timestamp"]), sample["secret"]) == sample["signature"]


def test_the_end_of_an_order_is_told_by_a_signed_webhook(
    client: Client, phones: Client, reloadly: Reloadly, inbox: Shop
) -> None:
    Reloadly.call_back(reloadly.url, inbox.url)
    card = client.order(customIdentifier="one")["transactionId"]
    (told,) = told_to(inbox, 1)
    topped = phones.top_up(customIdentifier="two")["transactionId"]
    second = told_to(inbox, 2)[1]

    assert told.genuine(client)
    assert not told.genuine(client, with_time=False)
    assert abs(time.time() * 1000 - int(told.stamp)) < 60_000
    assert told.body == {
        "type": "giftcard_transaction.status",
        "data": {"transactionId": card, "customIdentifier": "one", "status": "SUCCESSFUL"},
    }
    assert (second.body["type"], second.body["data"]["transactionId"]) == ("airtime_transaction.status", topped)
    eventually(lambda: Reloadly.told(reloadly.url, str(card))[0]["state"] == "acknowledged")


def test_a_webhook_comes_again_until_it_is_answered_with_200(client: Client, reloadly: Reloadly, inbox: Shop) -> None:
    Reloadly.call_back(reloadly.url, inbox.url)
    inbox.status = 401
    number = client.order()["transactionId"]
    inbox.wait(2)
    inbox.status = 200
    eventually(lambda: Reloadly.told(reloadly.url, str(number))[0]["state"] == "acknowledged")
    assert len(told_to(inbox)) == 3


def test_an_older_signature_leaves_the_time_out(client: Client, reloadly: Reloadly, inbox: Shop) -> None:
    Reloadly.behave(reloadly.url, webhook_covers="body")
    Reloadly.call_back(reloadly.url, inbox.url)
    client.order()
    (told,) = told_to(inbox, 1)
    assert (told.genuine(client), told.genuine(client, with_time=False)) == (False, True)


def test_a_refund_after_the_delivery_is_told(client: Client, reloadly: Reloadly, inbox: Shop) -> None:
    Reloadly.call_back(reloadly.url, inbox.url)
    number = client.order(customIdentifier="one")["transactionId"]
    told_to(inbox, 1)

    Reloadly.void(reloadly.url, str(number), refund=True)

    assert told_to(inbox, 2)[1].body["data"]["status"] == "REFUNDED"
    assert client.history(customIdentifier="one")["content"][0]["status"] == "REFUNDED"
    assert Reloadly.balance_e6(reloadly.url) == 1_000_000_000


def test_webhooks_can_be_forged_doubled_reordered_stale_or_missing(
    client: Client, reloadly: Reloadly, inbox: Shop
) -> None:
    def told_with(fault: str, number_of: int) -> list[Hook]:
        inbox.notices.clear()
        Reloadly.misbehave(reloadly.url, "callback", fault)
        number = client.order()["transactionId"]
        eventually(lambda: all(one["tries"] for one in Reloadly.told(reloadly.url, str(number))))
        assert len(told_to(inbox)) == number_of, fault
        return sorted(told_to(inbox), key=lambda one: (one.genuine(client), one.stamp))

    Reloadly.call_back(reloadly.url, inbox.url)
    forged, true_one = told_with("forged", 2)
    assert (forged.body["data"]["status"], forged.genuine(client)) == ("FAILED", False)
    assert (true_one.body["data"]["status"], true_one.genuine(client)) == ("SUCCESSFUL", True)
    assert len({one.raw for one in told_with("twice", 2)}) == 1
    assert {one.body["data"]["status"] for one in told_with("reordered", 2)} == {"SUCCESSFUL", "PROCESSING"}
    stale, fresh = told_with("stale", 2)
    assert stale.genuine(client)
    assert int(fresh.stamp) - int(stale.stamp) > 86_400_000
    assert told_with("none", 0) == []


def test_a_webhook_can_be_badly_signed_or_lie_or_come_before_the_answer(
    client: Client, reloadly: Reloadly, inbox: Shop
) -> None:
    Reloadly.call_back(reloadly.url, inbox.url)
    Reloadly.misbehave(reloadly.url, "notify", "wrong_signature")
    number = client.order()["transactionId"]
    assert not told_to(inbox, 1)[0].genuine(client)
    eventually(lambda: Reloadly.told(reloadly.url, str(number))[0]["state"] == "acknowledged")
    Reloadly.tell(reloadly.url, str(number), says="failed")
    assert told_to(inbox, 2)[1].body["data"]["status"] == "FAILED"
    Reloadly.misbehave(reloadly.url, "buy", "callback_first")
    client.order(customIdentifier="early")
    assert told_to(inbox)[-1].body["data"]["customIdentifier"] == "early"


# -- bad days ----------------------------------------------------------------------------------------------------------


def test_an_answer_can_be_lost_after_the_order_was_taken(client: Client, reloadly: Reloadly) -> None:
    for fault in ("silent", "500", "garbage", "cut_short"):
        Reloadly.misbehave(reloadly.url, "buy", fault)
        with pytest.raises((*HANG_UPS, json.JSONDecodeError)):
            client.order(customIdentifier=fault)
        (found,) = client.history(customIdentifier=fault)["content"]
        assert len(client.cards(found["transactionId"])) == 1


def test_an_answer_can_be_lost_before_anything_was_done(client: Client, reloadly: Reloadly) -> None:
    client.ask("GET", "/products")
    Reloadly.misbehave(reloadly.url, "buy", "before_silent")
    with pytest.raises(HANG_UPS):
        client.order(customIdentifier="one")
    for fault, expected in (("before_500", 500), ("before_429", 429), ("before_moved", 302)):
        Reloadly.misbehave(reloadly.url, "buy", fault)
        assert client.send("POST", "/orders", order(customIdentifier="one"))[0] == expected
    assert client.history(customIdentifier="one")["content"] == []


def test_it_can_be_slow_before_and_after(client: Client, reloadly: Reloadly) -> None:
    for fault in ("slow", "before_slow"):
        Reloadly.misbehave(reloadly.url, "buy", fault, seconds=0.3)
        began = time.monotonic()
        client.order()
        assert time.monotonic() - began >= 0.3


def test_it_can_refuse_what_is_right(client: Client, reloadly: Reloadly) -> None:
    said = {"refuse_signature": "INVALID_TOKEN", "refuse_address": "IP_NOT_ALLOWED", "refuse_key": "ACCOUNT_DISABLED"}
    for fault, code in said.items():
        Reloadly.misbehave(reloadly.url, "buy", fault)
        assert client.refused("POST", "/orders", order()) == code
    Reloadly.misbehave(reloadly.url, "token", "refuse_key")
    assert client.sign_in()[0] == 401
    assert Reloadly.orders(reloadly.url) == []


def test_it_can_say_that_a_transaction_is_absent_which_is_there(
    client: Client, phones: Client, reloadly: Reloadly
) -> None:
    number = client.order(customIdentifier="one")["transactionId"]
    topped = phones.top_up()["transactionId"]
    for route in ("history", "cards", "status"):
        Reloadly.misbehave(reloadly.url, route, "absent")
    assert client.history(customIdentifier="one")["content"] == []
    assert client.refused("GET", f"/orders/transactions/{number}/cards") == "TRANSACTION_NOT_FOUND"
    assert phones.refused("GET", f"/topups/{topped}/status") == "TRANSACTION_NOT_FOUND"
    assert len(client.history(customIdentifier="one")["content"]) == 1


def test_it_can_lie_about_stock(client: Client, reloadly: Reloadly) -> None:
    Reloadly.change_product(reloadly.url, "8", stock=0, shown=9)
    assert [one["productId"] for one in client.ask("GET", "/products")["content"]] == [7, 8]
    assert client.refused("POST", "/orders", order(productId=8, unitPrice=100)) == "OUT_OF_STOCK"


def test_it_can_deliver_half_the_same_code_or_dearer(client: Client, reloadly: Reloadly) -> None:
    def bought_with(fault: str, **fields: Any) -> Any:
        if fault:
            Reloadly.misbehave(reloadly.url, "buy", fault)
        return client.order(**fields)

    first = bought_with("")["transactionId"]
    assert client.cards(bought_with("same_code")["transactionId"]) == client.cards(first)
    assert len(client.cards(bought_with("half", quantity=4)["transactionId"])) == 2
    assert bought_with("dearer")["amount"] == 19.4
    before = Reloadly.balance_e6(reloadly.url)
    Reloadly.behave(reloadly.url, half_money="given_back")
    bought_with("half", quantity=4)
    assert before - Reloadly.balance_e6(reloadly.url) == 2 * 9_700_000


def test_it_can_deliver_late(client: Client, reloadly: Reloadly, inbox: Shop) -> None:
    Reloadly.call_back(reloadly.url, inbox.url)
    Reloadly.misbehave(reloadly.url, "buy", "late", seconds=0.2)
    sold = client.order()
    assert (sold["status"], told_to(inbox)) == ("PENDING", [])
    assert told_to(inbox, 1)[0].body["data"]["status"] == "SUCCESSFUL"
    assert len(client.cards(sold["transactionId"])) == 1


def test_it_can_go_down(client: Client, reloadly: Reloadly) -> None:
    Reloadly.go_down(reloadly.url, 60)
    with pytest.raises(HANG_UPS):
        client.ask("GET", "/products")
    Reloadly.go_down(reloadly.url, 0)
    assert client.ask("GET", "/products")


def test_orders_outlive_a_restart_and_tokens_do_not(tmp_path: Path) -> None:
    state = tmp_path / "reloadly.sqlite"
    with Reloadly(state) as reloadly:
        Reloadly.put_products(reloadly.url, [SMALL])
        first = Client(reloadly)
        number = first.order(customIdentifier="one")["transactionId"]
    with Reloadly(state) as reloadly:
        client = Client(reloadly)
        client.token = first.token
        assert client.refused("GET", "/products") == "INVALID_TOKEN"
        client.token = ""
        assert client.history(customIdentifier="one")["content"][0]["transactionId"] == number
