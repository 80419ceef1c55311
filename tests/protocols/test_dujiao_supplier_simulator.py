"""The dujiao-next stand-in over real sockets, by the letter of the protocol; the signing here is the test's own.

What all stand-ins of suppliers have in common is tested here, too.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

import pytest

from infra.local.suppliers.common import Product, amount
from infra.local.suppliers.dujiao import Dujiao
from tests.published import vectors
from tests.supplied import HANG_UPS, Notice, Shop, eventually, pass_a_minute, send, shop

ROOT = Path(__file__).resolve().parents[2]
RECEIVED = b'{"ok":true,"message":"received"}'
CARD = Product("1", "腾讯视频 月卡", 9_900_000, stock=5)
TOP_UP = Product("2", "Q 币", 985_000, kind="topup", fields=[{"key": "qq", "name": "QQ 号"}])
_numbers = count(1)


def number() -> str:
    return f"kq{next(_numbers):028d}"


@dataclass
class Client:
    site: str
    api_key: str
    api_secret: str

    def headers(self, method: str, path: str, body: bytes, **other: str) -> dict[str, str]:
        stamp = other.get("Timestamp", str(int(time.time())))
        message = "\n".join([method, urlsplit(path).path, stamp, hashlib.md5(body).hexdigest()])
        signature = hmac.new(self.api_secret.encode(), message.encode(), hashlib.sha256).hexdigest()
        named = {"Api-Key": self.api_key, "Timestamp": stamp, "Signature": signature} | other
        return {f"Dujiao-Next-{name}": value for name, value in named.items() if value}

    def call(self, method: str, what: str, content: Any = None, **headers: str) -> tuple[int, dict[str, Any]]:
        body = b"" if content is None else json.dumps(content).encode()
        path = f"/api/v1/upstream{what}"
        status, raw = send(method, self.site + path, body, self.headers(method, path, body, **headers))
        return status, json.loads(raw)

    def buy(self, ours: str = "", sku_id: int = 1, quantity: int = 1, **more: Any) -> tuple[int, dict[str, Any]]:
        order = {"sku_id": sku_id, "quantity": quantity, "downstream_order_no": ours or number()} | more
        return self.call("POST", "/orders", order)

    def order(self, order_id: int) -> dict[str, Any]:
        status, told = self.call("GET", f"/orders/{order_id}")
        assert status == 200, told
        return told


def the_client(supplier: Dujiao) -> Client:
    return Client(supplier.terms["site"], supplier.keys["api_key"], supplier.keys["api_secret"])


@pytest.fixture
def supplier(tmp_path: Path) -> Iterator[Dujiao]:
    with Dujiao(tmp_path / "dujiao.sqlite", retry_after=(0.05, 0.05)) as running:
        Dujiao.put_products(running.url, [CARD, TOP_UP])
        yield running


@pytest.fixture
def client(supplier: Dujiao) -> Client:
    return the_client(supplier)


@pytest.fixture
def inbox() -> Iterator[Shop]:
    with shop(RECEIVED) as one:
        yield one


# -- the protocol ------------------------------------------------------------------------------------------------------


def test_a_ping_tells_the_balance_in_the_shape_of_the_sample(supplier: Dujiao, client: Client) -> None:
    Dujiao.set_balance(supplier.url, 1_000_000_000)

    status, told = client.call("POST", "/ping")

    assert (status, told["ok"], told["balance"], told["currency"]) == (200, True, "1000.00", "CNY")
    assert set(told) == set(vectors("supplier_dujiao_next.json")["ping_response"])


def test_the_published_example_has_the_signature_that_the_stand_in_expects(
    supplier: Dujiao, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = vectors("supplier_dujiao_next.json")["computed_by_us_from_doc_example"]
    path, body, stamp = sample["path"], sample["body"].encode(), sample["timestamp"]
    monkeypatch.setattr(Dujiao, "keys", {"api_key": client.api_key, "api_secret": sample["api_secret"]})

    assert supplier.sign(sample["method"], path, stamp, body) == sample["signature"]

    client.api_secret = sample["api_secret"]
    signed = client.headers("POST", path, body, Timestamp=stamp)
    assert signed["Dujiao-Next-Signature"] == sample["signature"]
    signed = client.headers("POST", path, body)
    assert send("POST", supplier.url + path, body, signed)[0] == 200
    assert send("POST", supplier.url + path, body + b" ", signed)[0] == 401


def test_the_catalogue_lists_pages_with_stock_price_and_form(supplier: Dujiao, client: Client) -> None:
    _, first = client.call("GET", "/products?page=1&page_size=1")
    _, second = client.call("GET", "/products?page=2&page_size=1")
    _, categories = client.call("GET", "/categories")

    (card,), (top_up,) = first["items"], second["items"]
    assert (first["total"], card["fulfillment_type"], top_up["fulfillment_type"]) == (2, "auto", "manual")
    assert [(sku["id"], sku["price_amount"], sku["stock_quantity"]) for sku in card["skus"]] == [(1, "9.90", 5)]
    assert [(sku["id"], sku["price_amount"], sku["stock_quantity"]) for sku in top_up["skus"]] == [(2, "0.985", -1)]
    assert [one["key"] for one in top_up["manual_form_schema"]["fields"]] == ["qq"]
    assert categories["ok"]
    assert client.call("GET", "/products?page_size=101")[0] == 400


def test_a_product_of_several_skus_is_told_by_its_own_number(supplier: Dujiao, client: Client) -> None:
    kinds = [Product(str(sku), "a", 10 * sku, more={"product_id": 70, "spec_values": {"d": sku}}) for sku in (11, 12)]
    Dujiao.put_products(supplier.url, kinds)

    _, told = client.call("GET", "/products/70")

    assert [(sku["id"], sku["spec_values"]) for sku in told["product"]["skus"]] == [(11, {"d": 11}), (12, {"d": 12})]
    assert client.order(client.buy(sku_id=12)[1]["order_id"])["items"][0]["product_id"] == 70
    assert client.call("GET", "/products/12")[1]["error_code"] == "product_not_found"
    Dujiao.change_product(supplier.url, "2", on_sale=False)
    status, told = client.call("GET", "/products/1002")
    assert (status, told["error_code"]) == (404, "product_unavailable")


def test_an_order_is_paid_from_the_balance_and_its_code_is_in_the_detail(supplier: Dujiao, client: Client) -> None:
    before = Dujiao.balance_e6(supplier.url)
    ours = number()

    status, made = client.buy(ours, quantity=2)
    detail = client.order(made["order_id"])

    assert (status, made["ok"], made["status"], made["amount"]) == (200, True, "paid", "19.80")
    assert detail["status"] == "completed"
    assert before - Dujiao.balance_e6(supplier.url) == 19_800_000
    (bought,) = Dujiao.bought(supplier.url, ours)
    assert detail["fulfillment"]["payload"].split("\n") == [card["password"] for card in bought["cards"]]
    assert Dujiao.products(supplier.url)[0]["stock"] == 3


def test_answers_have_the_shapes_of_the_samples(client: Client) -> None:
    samples = vectors("supplier_dujiao_next.json")

    _, made = client.buy()
    detail = client.order(made["order_id"])

    assert set(made) == set(samples["create_order_ok"])
    assert set(detail) == set(samples["order_detail"])
    assert set(detail["items"][0]) == set(samples["order_detail"]["items"][0])
    assert set(detail["fulfillment"]) == set(samples["order_detail"]["fulfillment"])


def test_a_top_up_needs_its_form_and_is_delivered_without_a_code(client: Client, supplier: Dujiao) -> None:
    assert client.buy(sku_id=2)[1]["error_code"] == "bad_request"
    assert client.buy(sku_id=2, manual_form_data={"qq": ""})[0] == 400

    _, made = client.buy(sku_id=2, manual_form_data={"qq": "10001"})

    assert client.order(made["order_id"])["fulfillment"]["type"] == "manual"
    (order,) = Dujiao.orders(supplier.url)
    assert (order["account"], order["cards"]) == ({"qq": "10001"}, [])


def test_the_same_number_returns_the_order_that_is_there(supplier: Dujiao, client: Client) -> None:
    ours = number()

    _, first = client.buy(ours)
    _, again = client.buy(ours)

    assert (again["order_id"], again["status"]) == (first["order_id"], "completed")
    assert len(Dujiao.bought(supplier.url, ours)) == 1
    assert Dujiao.bought_twice(supplier.url) == []


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Api-Key": ""}, 401, "missing_auth_headers"),
        ({"Signature": ""}, 401, "missing_auth_headers"),
        ({"Timestamp": "soon"}, 401, "invalid_timestamp"),
        ({"Timestamp": str(int(time.time()) - 3600)}, 401, "timestamp_expired"),
        ({"Timestamp": str(int(time.time()) + 3600)}, 401, "timestamp_expired"),
        ({"Api-Key": "somebody"}, 401, "invalid_api_key"),
        ({"Signature": "0" * 64}, 401, "invalid_signature"),
    ],
)
def test_a_request_that_is_not_soundly_signed_is_refused(
    supplier: Dujiao, client: Client, headers: dict[str, str], status: int, code: str
) -> None:
    told = client.call("POST", "/orders", {"sku_id": 1, "quantity": 1}, **headers)

    assert (told[0], told[1]["ok"], told[1]["error_code"]) == (status, False, code)
    assert Dujiao.orders(supplier.url) == []


@pytest.mark.parametrize(
    ("order", "status", "code"),
    [
        ({"sku_id": 99}, 400, "sku_unavailable"),
        ({"sku_id": "1"}, 400, "bad_request"),
        ({"quantity": 0}, 400, "bad_request"),
        ({"quantity": 101}, 400, "bad_request"),
        ({"quantity": 6}, 409, "insufficient_stock"),
        ({"manual_form_data": [1]}, 400, "bad_request"),
        ({"callback_url": "ftp://x"}, 400, "invalid_callback_url"),
    ],
)
def test_an_order_that_cannot_be_is_refused_in_the_protocols_words(
    supplier: Dujiao, client: Client, order: dict[str, Any], status: int, code: str
) -> None:
    told = client.buy(**order)

    assert (told[0], told[1]["error_code"]) == (status, code)
    assert Dujiao.orders(supplier.url) == []


def test_what_is_off_sale_too_dear_for_the_balance_or_nowhere_is_refused(supplier: Dujiao, client: Client) -> None:
    Dujiao.set_balance(supplier.url, 1_000_000)
    assert client.buy()[0:1] == (402,)
    Dujiao.behave(supplier.url, poor="payment_failed")
    status, told = client.buy()
    assert (status, told["ok"], told["status"], told["error_code"]) == (200, False, "canceled", "payment_failed")
    assert set(told) == {"ok", "order_id", "order_no", "status", "error_code", "error_message", "amount", "currency"}
    Dujiao.change_product(supplier.url, "1", on_sale=False)
    assert client.buy()[1]["error_code"] == "product_unavailable"
    assert client.call("GET", "/orders/4711")[1]["error_code"] == "order_not_found"
    Dujiao.behave(supplier.url, absent="not_found")
    assert client.call("GET", "/orders/4711")[1]["error_code"] == "not_found"
    assert client.call("GET", "/elsewhere")[0] == 404
    assert Dujiao.balance_e6(supplier.url) == 1_000_000


def test_a_callback_to_a_private_address_is_refused_where_that_is_played(supplier: Dujiao, client: Client) -> None:
    Dujiao.behave(supplier.url, callback_address="public_only")

    assert client.buy(callback_url="http://127.0.0.1:9/x")[1]["error_code"] == "invalid_callback_url"
    assert client.buy(callback_url="https://8.8.8.8/x")[0] == 200


def test_what_is_open_can_be_canceled_for_its_money_and_what_is_delivered_cannot(
    supplier: Dujiao, client: Client
) -> None:
    before = Dujiao.balance_e6(supplier.url)
    Dujiao.misbehave(supplier.url, "buy", "late", seconds=60)
    _, made = client.buy()

    assert client.call("POST", f"/orders/{made['order_id']}/cancel")[1]["status"] == "canceled"
    assert Dujiao.balance_e6(supplier.url) == before
    assert Dujiao.products(supplier.url)[0]["stock"] == 5
    _, made = client.buy()
    status, told = client.call("POST", f"/orders/{made['order_id']}/cancel")
    assert (status, told["error_code"]) == (409, "cancel_not_allowed")


# -- what is not certain -----------------------------------------------------------------------------------------------


def test_a_repeated_number_is_refused_or_buys_again_where_that_is_played(supplier: Dujiao, client: Client) -> None:
    ours = number()
    client.buy(ours)

    Dujiao.behave(supplier.url, repeat="refuses")
    assert client.buy(ours)[1]["error_message"] == "downstream_order_no exists"
    assert Dujiao.bought_twice(supplier.url) == []
    Dujiao.behave(supplier.url, repeat="buys")
    assert client.buy(ours)[0] == 200
    assert len(Dujiao.bought(supplier.url, ours)) == 2
    assert Dujiao.bought_twice(supplier.url) == [ours]


def test_what_is_bought_may_be_delivered_only_when_it_is_asked_after(supplier: Dujiao, client: Client) -> None:
    Dujiao.behave(supplier.url, delivery="first_ask", create_says="as_it_is", payload="pairs")

    _, made = client.buy()
    (open_one,) = Dujiao.orders(supplier.url)
    detail = client.order(made["order_id"])

    assert (made["status"], open_one["state"], detail["status"]) == ("paid", "accepted", "completed")
    (order,) = Dujiao.orders(supplier.url)
    assert detail["fulfillment"]["payload"] == "{card_no} {password}".format(**order["cards"][0])


def test_states_have_a_second_word_and_canceling_may_be_refused(supplier: Dujiao, client: Client) -> None:
    Dujiao.behave(supplier.url, open_status="fulfilling", done_status="delivered", cancel="refused")
    Dujiao.misbehave(supplier.url, "buy", "late_asks", seconds=2)
    _, made = client.buy()

    assert client.call("POST", f"/orders/{made['order_id']}/cancel")[1]["error_code"] == "cancel_not_allowed"
    assert [client.order(made["order_id"])["status"] for _ in range(2)] == ["fulfilling", "delivered"]


def test_an_unknown_trait_or_fault_is_refused(supplier: Dujiao) -> None:
    with pytest.raises(HTTPError, match="400"):
        Dujiao.behave(supplier.url, repeat="perhaps")
    with pytest.raises(HTTPError, match="400"):
        Dujiao.misbehave(supplier.url, "ping", "late")


# -- bad days ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["before_silent", "silent"])
def test_a_dropped_answer_says_nothing_about_what_was_bought(supplier: Dujiao, client: Client, fault: str) -> None:
    ours = number()
    Dujiao.misbehave(supplier.url, "buy", fault)

    with pytest.raises(HANG_UPS):
        client.buy(ours)

    assert len(Dujiao.bought(supplier.url, ours)) == (1 if fault == "silent" else 0)


@pytest.mark.parametrize(("fault", "number_bought"), [("before_500", 0), ("500", 1), ("garbage", 1), ("cut_short", 1)])
def test_an_answer_may_be_unreadable_whether_or_not_it_was_done(
    supplier: Dujiao, client: Client, fault: str, number_bought: int
) -> None:
    ours = number()
    Dujiao.misbehave(supplier.url, "buy", fault)

    with pytest.raises(json.JSONDecodeError):
        client.buy(ours)

    assert len(Dujiao.bought(supplier.url, ours)) == number_bought
    assert client.buy(ours)[0] == 200
    assert len(Dujiao.bought(supplier.url, ours)) == 1


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("before_429", 429, "too_many_requests"),
        ("refuse_signature", 401, "invalid_signature"),
        ("refuse_address", 403, "user_disabled"),
    ],
)
def test_a_sound_order_may_be_refused_before_it_is_made(
    supplier: Dujiao, client: Client, fault: str, status: int, code: str
) -> None:
    Dujiao.misbehave(supplier.url, "buy", fault, times=2)

    for _ in range(2):
        told = client.buy()
        assert (told[0], told[1]["error_code"]) == (status, code)

    assert Dujiao.orders(supplier.url) == []
    assert client.buy()[0] == 200


def test_a_redirect_leads_away_before_anything_is_bought(supplier: Dujiao, client: Client) -> None:
    Dujiao.misbehave(supplier.url, "buy", "before_moved")

    with pytest.raises(json.JSONDecodeError):
        client.buy()

    assert Dujiao.orders(supplier.url) == []


@pytest.mark.parametrize(("fault", "bought_meanwhile"), [("before_slow", 0), ("slow", 1)])
def test_a_slow_answer_comes_before_or_after_the_deed(
    supplier: Dujiao, client: Client, fault: str, bought_meanwhile: int
) -> None:
    ours = number()
    Dujiao.misbehave(supplier.url, "buy", fault, seconds=2)

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.buy, ours)
        until = time.monotonic() + 0.5  # of the two seconds: enough to see what is done at once
        eventually(lambda: Dujiao.bought(supplier.url, ours) or time.monotonic() > until)
        meanwhile = len(Dujiao.bought(supplier.url, ours))
        unanswered = not answer.done()

    assert (answer.result()[0], meanwhile, unanswered) == (200, bought_meanwhile, True)


def test_payment_may_fail_after_the_order_was_made(supplier: Dujiao, client: Client) -> None:
    ours = number()
    before = Dujiao.balance_e6(supplier.url)
    Dujiao.misbehave(supplier.url, "buy", "payment_failed")

    status, told = client.buy(ours)

    assert (status, told["ok"], told["error_code"]) == (200, False, "payment_failed")
    assert client.order(told["order_id"])["status"] == "canceled"
    assert (Dujiao.bought(supplier.url, ours), Dujiao.balance_e6(supplier.url)) == ([], before)


def test_a_late_order_is_delivered_when_its_time_has_come(supplier: Dujiao, client: Client) -> None:
    Dujiao.misbehave(supplier.url, "buy", "late", seconds=60)

    _, made = client.buy()

    assert client.order(made["order_id"])["status"] == "paid"
    pass_a_minute(supplier)
    assert client.order(made["order_id"])["status"] == "completed"


def test_a_late_order_is_delivered_at_the_ask_of_that_number(supplier: Dujiao, client: Client) -> None:
    Dujiao.misbehave(supplier.url, "buy", "late_asks", seconds=3)

    _, made = client.buy()

    assert [client.order(made["order_id"])["status"] for _ in range(4)] == ["paid", "paid", "completed", "completed"]


def test_an_order_may_fail_late_and_gives_money_and_stock_back(supplier: Dujiao, client: Client) -> None:
    ours = number()
    before = Dujiao.balance_e6(supplier.url)
    Dujiao.misbehave(supplier.url, "buy", "fails_late", seconds=60)

    _, made = client.buy(ours)
    assert len(Dujiao.bought(supplier.url, ours)) == 1
    pass_a_minute(supplier)
    assert client.order(made["order_id"])["status"] == "canceled"

    assert (Dujiao.bought(supplier.url, ours), Dujiao.balance_e6(supplier.url)) == ([], before)
    assert Dujiao.products(supplier.url)[0]["stock"] == 5


@pytest.mark.parametrize(
    ("partial", "half_money", "cost_e6"),
    [("completed", "kept", 39_600_000), ("partially_delivered", "given_back", 19_800_000)],
)
def test_half_may_be_delivered_with_or_without_the_rest_of_the_money(
    supplier: Dujiao, client: Client, partial: str, half_money: str, cost_e6: int
) -> None:
    before = Dujiao.balance_e6(supplier.url)
    Dujiao.behave(supplier.url, partial=partial, half_money=half_money)
    Dujiao.misbehave(supplier.url, "buy", "half")

    _, made = client.buy(quantity=4)
    detail = client.order(made["order_id"])

    assert detail["status"] == partial
    assert len(detail["fulfillment"]["payload"].split("\n")) == 2
    assert before - Dujiao.balance_e6(supplier.url) == cost_e6


def test_an_order_may_cost_more_than_the_catalogue_says(client: Client, supplier: Dujiao) -> None:
    Dujiao.misbehave(supplier.url, "buy", "dearer")

    assert client.buy()[1]["amount"] == "19.80"


def test_codes_are_unique_until_the_same_are_asked_for(supplier: Dujiao, client: Client) -> None:
    Dujiao.change_product(supplier.url, "1", stock=None)
    for _ in range(20):
        client.buy(quantity=5)
    Dujiao.misbehave(supplier.url, "buy", "same_code")
    client.buy(quantity=1)

    *others, last = [[card["password"] for card in one["cards"]] for one in Dujiao.orders(supplier.url)]

    codes = [code for order in others for code in order]
    assert len(set(codes)) == len(codes) == 100
    assert last == [others[-1][-1]]


def test_a_catalogue_that_lies_lists_more_than_it_sells(supplier: Dujiao, client: Client) -> None:
    Dujiao.change_product(supplier.url, "1", stock=0, shown=50)

    _, listed = client.call("GET", "/products")

    assert listed["items"][0]["skus"][0]["stock_quantity"] == 50
    assert client.buy()[1]["error_code"] == "insufficient_stock"


def test_a_supplier_that_is_down_hangs_up_until_it_is_up(supplier: Dujiao, client: Client) -> None:
    Dujiao.go_down(supplier.url, 60)
    for _ in range(2):
        with pytest.raises(HANG_UPS):
            client.call("POST", "/ping")

    Dujiao.go_down(supplier.url, 0)

    assert client.call("POST", "/ping")[0] == 200


# -- callbacks ---------------------------------------------------------------------------------------------------------


def sound(client: Client, notice: Notice, path: str = "/api/v1/upstream/callback") -> bool:
    signed = {name.lower(): value for name, value in notice.headers.items()}
    stamp = signed["dujiao-next-timestamp"]
    wanted = client.headers("POST", path, notice.raw, Timestamp=stamp)["Dujiao-Next-Signature"]
    return signed["dujiao-next-signature"] == wanted and abs(time.time() - int(stamp)) <= 60


def test_a_delivery_is_told_signed_once_and_ends_with_the_acknowledgement(
    supplier: Dujiao, client: Client, inbox: Shop
) -> None:
    ours = number()
    _, made = client.buy(ours, callback_url=inbox.url)

    (notice,) = inbox.wait()

    told = json.loads(notice.raw)
    assert sound(client, notice)
    assert (told["downstream_order_no"], told["order_id"], told["status"]) == (ours, made["order_id"], "completed")
    assert told["fulfillment"]["payload"] == client.order(made["order_id"])["fulfillment"]["payload"]
    eventually(lambda: [one["state"] for one in Dujiao.told(supplier.url, made["order_no"])] == ["acknowledged"])


def test_a_callback_may_be_signed_over_its_own_path(supplier: Dujiao, client: Client, inbox: Shop) -> None:
    Dujiao.behave(supplier.url, callback_path="of_the_url")
    client.buy(callback_url=inbox.url)

    (notice,) = inbox.wait()

    assert sound(client, notice, notice.path)
    assert not sound(client, notice)


def test_a_callback_is_sent_again_until_the_answer_says_ok(supplier: Dujiao, client: Client, inbox: Shop) -> None:
    inbox.answer = b'{"ok":false,"message":"later"}'
    _, made = client.buy(callback_url=inbox.url)

    inbox.wait(3)

    eventually(lambda: [one["state"] for one in Dujiao.told(supplier.url, made["order_no"])] == ["abandoned"])


def test_a_late_order_is_told_when_it_ends_without_anybody_asking(
    supplier: Dujiao, client: Client, inbox: Shop
) -> None:
    Dujiao.misbehave(supplier.url, "buy", "late", seconds=60)
    client.buy(callback_url=inbox.url)
    assert inbox.notices == []
    pass_a_minute(supplier)

    (notice,) = inbox.wait()

    assert json.loads(notice.raw)["status"] == "completed"
    assert [one["state"] for one in Dujiao.orders(supplier.url)] == ["delivered"]


def test_an_order_can_be_ended_by_hand_and_is_told_then(supplier: Dujiao, client: Client, inbox: Shop) -> None:
    Dujiao.misbehave(supplier.url, "buy", "late", times=2, seconds=60)
    _, one = client.buy(callback_url=inbox.url)
    _, other = client.buy(callback_url=inbox.url)

    Dujiao.end(supplier.url, one["order_no"], "failed")
    (notice,) = inbox.wait()
    Dujiao.end(supplier.url, other["order_no"], told=False)

    assert json.loads(notice.raw)["status"] == "canceled"
    assert client.order(other["order_id"])["status"] == "completed"
    assert Dujiao.told(supplier.url, other["order_no"]) == []


def test_the_callback_can_come_before_the_answer(supplier: Dujiao, client: Client, inbox: Shop) -> None:
    Dujiao.misbehave(supplier.url, "buy", "callback_first")

    client.buy(callback_url=inbox.url)

    assert len(inbox.notices) == 1


def test_callbacks_may_stay_out_or_come_twice(supplier: Dujiao, client: Client, inbox: Shop) -> None:
    Dujiao.misbehave(supplier.url, "callback", "none")
    client.buy(callback_url=inbox.url)
    Dujiao.misbehave(supplier.url, "callback", "twice")
    ours = number()
    client.buy(ours, callback_url=inbox.url)

    notices = inbox.wait(2)

    assert [json.loads(one.raw)["downstream_order_no"] for one in notices] == [ours, ours]
    assert all(sound(client, one) for one in notices)


def test_an_old_state_may_come_after_the_last(supplier: Dujiao, client: Client, inbox: Shop) -> None:
    Dujiao.misbehave(supplier.url, "callback", "reordered")
    client.buy(callback_url=inbox.url)

    notices = inbox.wait(2)

    assert [json.loads(one.raw)["status"] for one in notices] == ["completed", "paid"]
    assert json.loads(notices[1].raw)["fulfillment"] is None
    assert all(sound(client, one) for one in notices)


@pytest.mark.parametrize(("fault", "statuses"), [("forged", {"canceled", "completed"}), ("stale", {"completed"})])
def test_a_false_callback_comes_beside_the_true_one(
    supplier: Dujiao, client: Client, inbox: Shop, fault: str, statuses: set[str]
) -> None:
    Dujiao.misbehave(supplier.url, "callback", fault)
    client.buy(callback_url=inbox.url)

    notices = inbox.wait(2)

    assert sorted(sound(client, one) for one in notices) == [False, True]
    assert {json.loads(one.raw)["status"] for one in notices} == statuses
    assert json.loads(next(one for one in notices if sound(client, one)).raw)["status"] == "completed"


@pytest.mark.parametrize("how", ["wrong_signature", "stale_timestamp", "garbage"])
def test_a_false_callback_can_be_sent_at_any_time(supplier: Dujiao, client: Client, inbox: Shop, how: str) -> None:
    _, made = client.buy(callback_url=inbox.url)
    inbox.wait(1)

    Dujiao.tell(supplier.url, made["order_no"], "failed", how)

    assert [sound(client, one) for one in inbox.wait(2)] == [True, False]


def test_what_cannot_be_told_or_ended_is_refused(supplier: Dujiao, client: Client) -> None:
    _, made = client.buy()

    for refused in (
        lambda: Dujiao.tell(supplier.url, made["order_no"]),
        lambda: Dujiao.end(supplier.url, made["order_no"]),
        lambda: Dujiao.void(supplier.url, "absent"),
    ):
        with pytest.raises(HTTPError, match=r"40[04]"):
            refused()


def test_voided_cards_are_named_and_a_refund_is_told(supplier: Dujiao, client: Client, inbox: Shop) -> None:
    before = Dujiao.balance_e6(supplier.url)
    _, made = client.buy(quantity=2, callback_url=inbox.url)
    codes = client.order(made["order_id"])["fulfillment"]["payload"].split("\n")
    inbox.wait(1)

    assert Dujiao.void(supplier.url, made["order_no"]) == codes
    assert client.order(made["order_id"])["status"] == "completed"
    Dujiao.void(supplier.url, made["order_no"], refund=True)

    assert json.loads(inbox.wait(2)[1].raw)["status"] == "canceled"
    assert Dujiao.balance_e6(supplier.url) == before
    assert all(card["voided"] for card in Dujiao.orders(supplier.url)[0]["cards"])


# -- the whole ---------------------------------------------------------------------------------------------------------


def test_many_orders_at_once_buy_what_there_is_and_no_number_twice(supplier: Dujiao, client: Client) -> None:
    Dujiao.change_product(supplier.url, "1", stock=30)
    wanted = [f"crowd{at % 50:03d}" for at in range(100)]

    with ThreadPoolExecutor(16) as pool:
        statuses = [status for status, _ in pool.map(client.buy, wanted)]

    assert set(statuses) == {200, 409}
    assert len(Dujiao.orders(supplier.url)) == 30
    assert Dujiao.bought_twice(supplier.url) == []


def test_books_keys_and_numbers_outlive_a_restart(tmp_path: Path) -> None:
    state = tmp_path / "dujiao.sqlite"
    with Dujiao(state, seed=7) as first:
        Dujiao.put_products(first.url, [CARD])
        client, ours = the_client(first), number()
        _, made = client.buy(ours)
        Dujiao.misbehave(first.url, "buy", "late", seconds=0.05)
        _, late = client.buy()

    with Dujiao(state, seed=7) as second:
        again = the_client(second)
        assert (again.api_key, again.api_secret) == (client.api_key, client.api_secret)
        assert again.buy(ours)[1]["order_id"] == made["order_id"]
        eventually(lambda: again.order(late["order_id"])["status"] == "completed")


def test_the_same_seed_makes_the_same_codes_and_another_makes_others(tmp_path: Path) -> None:
    codes = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        with Dujiao(tmp_path / name, seed=seed) as one:
            Dujiao.put_products(one.url, [CARD])
            the_client(one).buy()
            codes.append(Dujiao.orders(one.url)[0]["cards"][0]["password"])

    assert codes[0] == codes[1] != codes[2]


def test_products_are_added_replaced_or_put_instead_of_all(supplier: Dujiao) -> None:
    Dujiao.put_products(supplier.url, [Product("1", "new name", 5_000_000), Product("3", "third", 1)])
    assert [one["sku"] for one in Dujiao.products(supplier.url)] == ["1", "2", "3"]

    Dujiao.put_products(supplier.url, [CARD], instead=True)

    assert [(one["sku"], one["name"]) for one in Dujiao.products(supplier.url)] == [("1", CARD.name)]
    with pytest.raises(HTTPError, match="404"):
        Dujiao.change_product(supplier.url, "77", stock=1)


def test_amounts_have_two_places_or_as_many_as_it_takes() -> None:
    assert [amount(e6) for e6 in (0, 9_900_000, 985_000, 1_234_567, -500_000)] == [
        "0.00",
        "9.90",
        "0.985",
        "1.234567",
        "-0.50",
    ]


@pytest.mark.parametrize("kind", ["dujiao", "kasushou", "kashangwl"])
def test_the_command_runs_until_it_is_told_to_stop_and_leaves_a_private_file_for_the_owner(
    tmp_path: Path, kind: str
) -> None:
    state = tmp_path / "shop.sqlite"
    command = [sys.executable, str(ROOT / "infra/local/supplier_shop.py"), "--kind", kind]
    running = subprocess.Popen([*command, "--port", "0", "--state", str(state), "--seed", "5"])
    try:
        file = state.with_name("shop.sqlite.supplier.json")
        eventually(file.exists)
        told = json.loads(file.read_text())
        eventually(lambda: _healthy(told["terms"]["site"]))
    finally:
        running.send_signal(signal.SIGTERM)

    assert running.wait(timeout=10) == 0
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    assert told["keys"]


def _healthy(site: str) -> bool:
    try:
        return send("GET", f"{site}/health")[0] == 200
    except HANG_UPS:
        return False
