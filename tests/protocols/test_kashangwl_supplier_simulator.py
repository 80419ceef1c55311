"""The kashangwl stand-in over real sockets, by the letter of the protocol; the signing here is the test's own."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest

from infra.local.suppliers.common import Product
from infra.local.suppliers.kashangwl import Kashangwl
from tests.published import vectors
from tests.supplied import HANG_UPS, Notice, Shop, eventually, pass_a_minute, send, shop

CARD = Product("41847", "优酷 年卡", 98_500_000, stock=9)
TOP_UP = Product(
    "7",
    "Q 币",
    985_000,
    kind="topup",
    fields=[{"key": "recharge_account", "name": "QQ 号"}, {"key": "QQ", "name": "再输一次"}],
)
_numbers = count(1)


def number() -> str:
    return f"kq{next(_numbers):028d}"


@dataclass
class Client:
    site: str
    customer_id: str
    secret: str

    def sign(self, fields: dict[str, str]) -> str:
        text = "".join(f"{name}{value}" for name, value in sorted(fields.items()))
        return hashlib.md5((self.secret + text).encode()).hexdigest()

    def post(self, what: str, fields: dict[str, str]) -> dict[str, Any]:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        status, raw = send("POST", f"{self.site}/api/{what}", urlencode(fields).encode(), form)
        return {"http": status} | json.loads(raw)

    def call(self, what: str, **fields: str) -> dict[str, Any]:
        whole = {"customer_id": self.customer_id, "timestamp": str(int(time.time()))} | fields
        return self.post(what, {"sign": self.sign(whole)} | whole)

    def buy(self, ours: str = "", product_id: str = "41847", quantity: int = 1, **more: str) -> dict[str, Any]:
        order = {"product_id": product_id, "quantity": str(quantity), "outer_order_id": ours or number()}
        return self.call("buy", **order, **more)

    def order(self, order_id: str) -> dict[str, Any]:
        return dict(self.call("order", order_id=order_id)["data"])


def why(answer: Mapping[str, Any]) -> str:
    """Most refusals have one code, and differ in words."""
    return str(answer["message"] if answer["code"] == "error" else answer["code"])


@pytest.fixture
def supplier(tmp_path: Path) -> Iterator[Kashangwl]:
    with Kashangwl(tmp_path / "kashangwl.sqlite", retry_after=(0.05, 0.05)) as running:
        Kashangwl.put_products(running.url, [CARD, TOP_UP])
        yield running


@pytest.fixture
def client(supplier: Kashangwl) -> Client:
    return Client(supplier.terms["site"], supplier.terms["customer_id"], supplier.keys["secret"])


@pytest.fixture
def inbox() -> Iterator[Shop]:
    with shop(b"ok") as one:
        yield one


# -- the protocol ------------------------------------------------------------------------------------------------------


def test_the_customer_the_product_and_its_parameters_are_told(supplier: Kashangwl, client: Client) -> None:
    Kashangwl.set_balance(supplier.url, 123_456_000)

    customer = client.call("customer")
    card = client.call("product", product_id="41847")["data"]
    fields = client.call("product/recharge-params", product_id="7")["data"]

    assert (customer["code"], customer["data"]["balance"]) == ("ok", "123.456")
    assert (card["price"], card["supply_state"], card["stock_state"], card["type"]) == ("98.50", 1, 1, 2)
    assert fields["recharge_account_label"] == "QQ 号"
    assert [one["name"] for one in fields["recharge_params"]] == ["QQ"]
    assert card["valid_purchasing_quantity"] == "1-100"
    assert [one["type"] for one in client.call("product-list")["data"]] == [2, 1]
    Kashangwl.change_product(supplier.url, "41847", stock=0)
    assert client.call("product", product_id="41847")["data"]["stock_state"] == 2
    Kashangwl.change_product(supplier.url, "41847", shown=5, on_sale=False)
    told = client.call("product", product_id="41847")["data"]
    assert (told["stock_state"], told["supply_state"]) == (1, 2)
    assert client.call("product")["code"] == "invalid_parameters"


def test_an_order_brings_its_cards_at_once_and_again_when_asked_after(supplier: Kashangwl, client: Client) -> None:
    ours = number()
    before = Kashangwl.balance_e6(supplier.url)

    made = client.buy(ours, quantity=2)
    told = client.order(made["data"]["order_id"])

    assert (made["code"], made["data"]["state"], made["data"]["total_price"]) == ("ok", 200, "197.00")
    assert (told["id"], told["state"]) == (made["data"]["order_id"], 200)
    assert [(one["card_no"], one["card_password"]) for one in made["data"]["cards"]] == [
        (one["no"], one["password"]) for one in told["cards"]
    ]
    (bought,) = Kashangwl.bought(supplier.url, ours)
    assert [(one["no"], one["password"]) for one in told["cards"]] == [
        (one["card_no"], one["password"]) for one in bought["cards"]
    ]
    assert before - Kashangwl.balance_e6(supplier.url) == 197_000_000


def test_a_top_up_takes_its_account_and_items_under_their_php_names(supplier: Kashangwl, client: Client) -> None:
    account = {"recharge_account": "10001", "recharge_template_input_items[QQ]": "10001"}

    assert why(client.buy(product_id="7")) == "充值账号不正确"
    assert why(client.buy(product_id="7", recharge_account="10001")) == "充值账号不正确"
    made = client.buy(product_id="7", **account)

    assert (made["data"]["state"], made["data"]["cards"]) == (200, [])
    assert Kashangwl.orders(supplier.url)[0]["account"] == {"QQ": "10001", "recharge_account": "10001"}
    told = client.order(made["data"]["order_id"])
    assert (told["product_type"], told["recharge_account"], told["recharge_params"]) == (1, "10001", {"QQ": "10001"})
    assert client.order(client.buy()["data"]["order_id"])["product_type"] == 2


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"customer_id": "1"}, "disabled_customer"),
        ({"timestamp": "soon"}, "invalid_parameters"),
        ({"timestamp": str(int(time.time()) - 7200)}, "invalid_parameters"),
        ({"timestamp": str(int(time.time()) + 7200)}, "invalid_parameters"),
        ({"sign": "0" * 32}, "invalid_sign"),
        ({"product_id": ""}, "invalid_parameters"),
        ({"product_id": "99"}, "商品不存在"),
        ({"quantity": "0"}, "购买数量不正确"),
        ({"quantity": "x"}, "购买数量不正确"),
        ({"quantity": "101"}, "购买数量不正确"),
        ({"quantity": "10"}, "库存不足"),
        ({"notify_url": "ftp://x"}, "invalid_parameters"),
    ],
)
def test_an_order_that_cannot_be_is_refused(
    supplier: Kashangwl, client: Client, fields: dict[str, str], code: str
) -> None:
    order = {"product_id": "41847", "quantity": "1", "outer_order_id": number()} | fields

    told = (
        client.call("buy", **{name: value for name, value in order.items() if name != "sign"})
        if ("sign" not in fields)
        else client.post("buy", {"customer_id": client.customer_id, "timestamp": str(int(time.time()))} | order)
    )

    assert (told["http"], why(told)) == (200, code)
    assert Kashangwl.orders(supplier.url) == []


def test_every_field_is_signed_and_none_stands_twice(supplier: Kashangwl, client: Client) -> None:
    fields = {
        "customer_id": client.customer_id,
        "timestamp": str(int(time.time())),
        "product_id": "41847",
        "quantity": "1",
        "outer_order_id": number(),
    }
    signed = {"sign": client.sign(fields)} | fields
    form = {"Content-Type": "application/x-www-form-urlencoded"}

    assert client.post("buy", signed | {"quantity": "2"})["code"] == "invalid_sign"
    assert client.post("buy", signed | {"notify_url": "http://127.0.0.1:9/"})["code"] == "invalid_sign"
    twice = urlencode(signed).encode() + b"&quantity=2"
    assert json.loads(send("POST", f"{client.site}/api/buy", twice, form)[1])["code"] == "invalid_parameters"
    as_json = send("POST", f"{client.site}/api/buy", json.dumps(signed).encode(), {"Content-Type": "application/json"})
    assert json.loads(as_json[1])["code"] == "invalid_parameters"
    assert Kashangwl.orders(supplier.url) == []
    assert client.post("buy", signed)["code"] == "ok"


def test_off_sale_and_a_low_balance_are_refused(supplier: Kashangwl, client: Client) -> None:
    Kashangwl.set_balance(supplier.url, 1)
    assert why(client.buy()) == "余额不足"
    Kashangwl.change_product(supplier.url, "41847", on_sale=False)
    assert why(client.buy()) == "商品已下架"
    assert client.call("elsewhere")["http"] == 404


# -- what is not certain -----------------------------------------------------------------------------------------------


def test_an_order_is_asked_after_by_our_number_only_where_that_is_played(supplier: Kashangwl, client: Client) -> None:
    ours = number()
    made = client.buy(ours)

    assert why(client.call("outer-order", outer_order_id=ours)) == "订单不存在"
    Kashangwl.behave(supplier.url, asks_by_ours="yes", order_names="order_id")
    assert client.call("outer-order", outer_order_id=ours)["data"] == made["data"] | {"product_type": 2}
    assert why(client.call("outer-order", outer_order_id="absent")) == "订单不存在"


def test_refusals_may_have_one_code_for_all_and_only_differ_in_words(client: Client) -> None:
    told = [client.buy(product_id="99"), client.buy(quantity=10), client.call("order", order_id="1")]

    assert [(one["code"], one["message"]) for one in told] == [
        ("error", "商品不存在"),
        ("error", "库存不足"),
        ("error", "订单不存在"),
    ]


def test_the_ceiling_lets_pass_what_costs_as_much_and_stops_what_got_dearer(
    supplier: Kashangwl, client: Client
) -> None:
    assert client.buy(safe_cost="98.5")["code"] == "ok"
    assert why(client.buy(safe_cost="98.49")) == "商品价格高于安全价格"
    assert client.buy(safe_cost="cheap")["code"] == "invalid_parameters"
    Kashangwl.misbehave(supplier.url, "buy", "dearer")
    assert why(client.buy(safe_cost="98.50")) == "商品价格高于安全价格"
    assert len(Kashangwl.orders(supplier.url)) == 1


@pytest.mark.parametrize(("fault", "number_bought"), [("before_server_error", 0), ("server_error", 1)])
def test_an_error_of_the_server_says_nothing_about_what_was_bought(
    supplier: Kashangwl, client: Client, fault: str, number_bought: int
) -> None:
    ours = number()
    Kashangwl.misbehave(supplier.url, "buy", fault)

    assert client.buy(ours)["code"] == "server_error"
    assert len(Kashangwl.bought(supplier.url, ours)) == number_bought


def test_a_repeated_number_buys_again_unless_another_answer_is_played(supplier: Kashangwl, client: Client) -> None:
    ours, other = number(), number()
    assert client.buy(ours)["data"]["order_id"] != client.buy(ours)["data"]["order_id"]
    assert Kashangwl.bought_twice(supplier.url) == [ours]

    Kashangwl.behave(supplier.url, repeat="replays")
    assert client.buy(other)["data"] == client.buy(other)["data"]
    Kashangwl.behave(supplier.url, repeat="refuses")
    assert why(client.buy(other)) == "外部订单号已存在"
    assert len(Kashangwl.bought(supplier.url, other)) == 1


def test_cards_may_come_only_when_asked_after_and_as_tickets(supplier: Kashangwl, client: Client) -> None:
    Kashangwl.behave(supplier.url, buy_cards="not_told", codes_in="tickets")

    made = client.buy()["data"]
    told = client.order(made["order_id"])

    assert (made["state"], made["cards"], made["tickets"]) == (200, [], [])
    assert (told["cards"], len(told["tickets"])) == ([], 1)


@pytest.mark.parametrize("state", [100, 101])
def test_an_open_order_is_waiting_or_charging(supplier: Kashangwl, client: Client, state: int) -> None:
    Kashangwl.behave(supplier.url, open_state=str(state), delivery="first_ask")

    made = client.buy()["data"]

    assert (made["state"], made["cards"]) == (state, [])
    assert client.order(made["order_id"])["state"] == 200


@pytest.mark.parametrize("partial", ["200", "501"])
def test_half_is_called_done_or_unknown(supplier: Kashangwl, client: Client, partial: str) -> None:
    Kashangwl.behave(supplier.url, partial=partial)
    Kashangwl.misbehave(supplier.url, "buy", "half")

    made = client.buy(quantity=4)["data"]

    assert (made["state"], len(made["cards"])) == (int(partial), 2)


# -- bad days ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fault", "state", "number_bought"), [("unknown", 200, 1), ("unknown_fails", 500, 0)])
def test_an_order_may_be_unknown_for_a_while_and_then_end_either_way(
    supplier: Kashangwl, client: Client, fault: str, state: int, number_bought: int
) -> None:
    ours = number()
    Kashangwl.misbehave(supplier.url, "buy", fault, seconds=60)

    made = client.buy(ours)["data"]

    assert (made["state"], made["cards"]) == (501, [])
    assert client.order(made["order_id"])["state"] == 501
    pass_a_minute(supplier)
    assert client.order(made["order_id"])["state"] == state
    assert len(Kashangwl.bought(supplier.url, ours)) == number_bought


@pytest.mark.parametrize(("fault", "number_bought"), [("before_silent", 0), ("silent", 1)])
def test_a_dropped_answer_says_nothing_about_what_was_bought(
    supplier: Kashangwl, client: Client, fault: str, number_bought: int
) -> None:
    ours = number()
    Kashangwl.misbehave(supplier.url, "buy", fault)

    with pytest.raises(HANG_UPS):
        client.buy(ours)

    assert len(Kashangwl.bought(supplier.url, ours)) == number_bought


@pytest.mark.parametrize(
    ("fault", "http", "code"),
    [
        ("before_429", 429, "request_frequency"),
        ("refuse_signature", 200, "invalid_sign"),
        ("refuse_address", 200, "IP未授权"),
    ],
)
@pytest.mark.parametrize("route", ["balance", "product", "fields", "buy", "order"])
def test_every_route_can_refuse_what_is_sound(
    supplier: Kashangwl, client: Client, route: str, fault: str, http: int, code: str
) -> None:
    order_id = client.buy()["data"]["order_id"]
    calls = {
        "balance": lambda: client.call("customer"),
        "product": lambda: client.call("product", product_id="7"),
        "fields": lambda: client.call("product/recharge-params", product_id="7"),
        "buy": lambda: client.buy(),
        "order": lambda: client.call("order", order_id=order_id),
    }
    Kashangwl.misbehave(supplier.url, route, fault)

    told = calls[route]()

    assert (told["http"], why(told)) == (http, code)
    assert calls[route]()["code"] == "ok"


def test_an_order_may_cost_more_than_was_told_before(supplier: Kashangwl, client: Client) -> None:
    Kashangwl.misbehave(supplier.url, "buy", "dearer")

    assert client.buy()["data"]["product_price"] == "197.00"


# -- callbacks ---------------------------------------------------------------------------------------------------------


def form(notice: Notice) -> dict[str, str]:
    return dict(parse_qsl(notice.raw.decode(), keep_blank_values=True))


def sound(client: Client, told: dict[str, str]) -> bool:
    signed = {name: value for name, value in told.items() if name.split("[")[0] not in ("sign", "cards", "tickets")}
    return told["sign"] == client.sign(signed) and abs(time.time() - int(told["timestamp"])) <= 600


def test_a_delivery_is_told_signed_without_its_cards(supplier: Kashangwl, client: Client, inbox: Shop) -> None:
    ours = number()
    made = client.buy(ours, quantity=2, notify_url=inbox.url)["data"]

    (notice,) = inbox.wait()

    told = form(notice)
    assert sound(client, told)
    assert (told["outer_order_id"], told["order_id"], told["state"]) == (ours, made["order_id"], "200")
    assert [told[f"cards[{at}][card_password]"] for at in range(2)] == [one["card_password"] for one in made["cards"]]
    eventually(lambda: Kashangwl.told(supplier.url, made["order_id"])[0]["state"] == "acknowledged")


def test_a_notification_has_the_fields_of_the_sample(client: Client, inbox: Shop) -> None:
    sample = vectors("supplier_kashangwl.json")["notify_example"]
    client.buy(notify_url=inbox.url)

    told = form(inbox.wait()[0])

    assert {name.split("[")[0] for name in told} == set(sample)
    assert {name.split("[")[2].strip("]") for name in told if name.startswith("cards")} == set(sample["cards"][0])


def test_the_signature_of_a_notification_is_the_rule_of_the_documents(supplier: Kashangwl, client: Client) -> None:
    sample = vectors("supplier_kashangwl.json")["notify_example"]
    fields = {name: str(value) for name, value in sample.items() if name not in ("sign", "cards")}

    assert supplier.sign(fields | {"sign": sample["sign"], "cards[0][card_no]": "vip009"}) == client.sign(fields)


def test_a_notification_is_sent_three_times_in_all(supplier: Kashangwl, client: Client, inbox: Shop) -> None:
    inbox.answer = b"OK"
    made = client.buy(notify_url=inbox.url)["data"]

    inbox.wait(3)

    eventually(lambda: Kashangwl.told(supplier.url, made["order_id"])[0]["state"] == "abandoned")
    assert len(inbox.notices) == 3


def test_a_failure_and_what_came_before_it_are_told(supplier: Kashangwl, client: Client, inbox: Shop) -> None:
    Kashangwl.misbehave(supplier.url, "callback", "reordered")
    Kashangwl.misbehave(supplier.url, "buy", "unknown_fails", seconds=0.1)
    client.buy(notify_url=inbox.url)

    told = [form(notice) for notice in inbox.wait(2)]

    assert [one["state"] for one in told] == ["500", "100"]
    assert told[0]["state_info"] == "充值失败，已退款"
    assert all(sound(client, one) for one in told)


@pytest.mark.parametrize("how", ["wrong_signature", "stale_timestamp"])
def test_a_false_callback_says_that_an_open_order_is_done(
    supplier: Kashangwl, client: Client, inbox: Shop, how: str
) -> None:
    Kashangwl.misbehave(supplier.url, "buy", "late", seconds=60)
    made = client.buy(notify_url=inbox.url)["data"]

    Kashangwl.tell(supplier.url, made["order_id"], "delivered", how)

    told = form(inbox.wait()[0])
    assert (told["state"], sound(client, told)) == ("200", False)
    assert client.order(made["order_id"])["state"] == 100
