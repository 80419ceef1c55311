"""The kasushou stand-in over real sockets, by the letter of the protocol; the signing here is the test's own."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from infra.local.suppliers.common import Product
from infra.local.suppliers.kasushou import Kasushou
from tests.published import vectors
from tests.supplied import HANG_UPS, Notice, Shop, eventually, pass_a_minute, send, shop

CARD = Product("1", "爱奇艺 季卡", 2_000_000, stock=9, more={"can_buy": "拼多多,京东,快手", "can_no_buy": "抖音"})
TOP_UP = Product(
    "2",
    "话费/50 元",
    49_250_000,
    kind="topup",
    quantity_max=10,
    fields=[{"key": "recharge_account", "name": "手机号"}, {"key": "lblName1", "name": "备注", "required": False}],
)
WAITING, DONE, CANCELED, REFUNDED = 2, 3, 4, 5
_numbers = count(1)


def number() -> str:
    return f"kq{next(_numbers):028d}"


@dataclass
class Client:
    site: str
    user_id: str
    api_key: str

    def sign(self, stamp: str, body: bytes) -> str:
        return hashlib.sha1(stamp.encode() + body + self.api_key.encode()).hexdigest()

    def post(self, what: str, body: bytes, signed: bytes | None = None, **other: str) -> dict[str, Any]:
        stamp = other.get("Timestamp", str(int(time.time() * 1000)))
        sign = self.sign(stamp, body if signed is None else signed)
        headers = {"Sign": sign, "Timestamp": stamp, "UserId": self.user_id} | other
        status, raw = send("POST", f"{self.site}/api/v1/{what}", body, headers)
        return {"http": status} | json.loads(raw)

    def call(self, what: str, **content: Any) -> dict[str, Any]:
        return self.post(what, canonical(content))

    def buy(self, ours: str = "", goods: int = 1, quantity: int = 1, **more: Any) -> dict[str, Any]:
        return self.call("order/buy", id=goods, quantity=quantity, external_orderno=ours or number(), **more)

    def order(self, ours: str) -> dict[str, Any]:
        (found,) = self.call("order/info", external_orderno=ours)["data"]
        return dict(found)


def canonical(content: dict[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.fixture
def supplier(tmp_path: Path) -> Iterator[Kasushou]:
    with Kasushou(tmp_path / "kasushou.sqlite", retry_after=(0.05, 0.05)) as running:
        Kasushou.put_products(running.url, [CARD, TOP_UP])
        yield running


@pytest.fixture
def client(supplier: Kasushou) -> Client:
    return Client(supplier.terms["site"], supplier.terms["user_id"], supplier.keys["api_key"])


@pytest.fixture
def inbox() -> Iterator[Shop]:
    with shop(b"ok") as one:
        yield one


# -- the protocol ------------------------------------------------------------------------------------------------------


def test_the_published_texts_have_the_signatures_that_the_stand_in_expects(
    supplier: Kasushou, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = vectors("supplier_kasushou.json")
    for text, sign in (
        ("string_to_sign_from_docs", "sha1_computed_by_us"),
        ("string_to_sign_goods_list_from_docs", "sha1_goods_list_computed_by_us"),
    ):
        stamp, body, key = samples[text][:13], samples[text][13:-32], samples[text][-32:]
        monkeypatch.setattr(Kasushou, "keys", {"api_key": key})
        assert supplier.sign(stamp, body.encode()) == samples[sign]
        assert Client("", "", key).sign(stamp, body.encode()) == samples[sign]


def test_the_balance_is_told_in_the_shape_of_the_sample_and_an_empty_body_is_signed_as_braces(
    supplier: Kasushou, client: Client
) -> None:
    Kasushou.set_balance(supplier.url, 8_888_880_000)

    told = client.post("user/info", b"", signed=b"{}")

    assert told == {"http": 200} | vectors("supplier_kasushou.json")["balance_response"]
    assert client.post("user/info", b"", signed=b"")["code"] == 401
    assert client.call("user/info")["code"] == 200


def test_goods_are_told_one_by_one_and_in_pages(supplier: Kasushou, client: Client) -> None:
    card = client.call("goods/info", id=1)["data"]
    listed = client.call("goods/list", cate_id=0, keyword="", limit=1, page=2)["data"]
    found = client.call("goods/list", keyword="爱奇艺")["data"]["list"]

    assert (card["goods_type"], card["goods_price"], card["stock_num"], card["status"]) == (1, "2.00", 9, 1)
    assert (card["start_count"], card["end_count"], card["can_no_buy"]) == (1, 100, "抖音")
    assert (listed["total"], [one["id"] for one in listed["list"]]) == (2, [2])
    assert [one["key"] for one in listed["list"][0]["attach"]] == ["recharge_account", "lblName1"]
    assert [one["id"] for one in found] == [1]
    assert client.call("goods/list", limit=101)["code"] == 400
    Kasushou.behave(supplier.url, goods_list="plain")
    assert [one["id"] for one in client.call("goods/list")["data"]] == [1, 2]
    Kasushou.change_product(supplier.url, "1", on_sale=False)
    assert client.call("goods/info", id=1)["data"]["status"] == 2


def test_answers_have_the_shapes_of_the_samples(client: Client) -> None:
    samples = vectors("supplier_kasushou.json")
    ours = number()
    client.buy(ours)
    goods, order = client.call("goods/info", id=2)["data"], client.order(ours)

    assert set(goods) == set(samples["goods_info"]["data"])
    assert set(goods["attach"][0]) == set(samples["goods_info"]["data"]["attach"][0])
    assert set(order) == set(samples["order_info_card"]["data"][0])
    assert set(order["card_list"][0]) == set(samples["order_info_card"]["data"][0]["card_list"][0])


def test_buying_never_brings_cards_and_a_question_does(supplier: Kasushou, client: Client) -> None:
    ours = number()
    before = Kasushou.balance_e6(supplier.url)

    made = client.buy(ours, quantity=2)
    told = client.order(ours)

    assert (made["code"], made["data"]["external_orderno"]) == (200, ours)
    assert "card_list" not in made["data"]
    (bought,) = Kasushou.bought(supplier.url, ours)
    assert (told["ordersn"], told["status"]) == (made["data"]["ordersn"], DONE)
    assert [(one["card_no"], one["card_password"]) for one in told["card_list"]] == [
        (one["card_no"], one["password"]) for one in bought["cards"]
    ]
    assert before - Kasushou.balance_e6(supplier.url) == 4_000_000


def test_a_top_up_takes_its_account_as_an_object_or_a_list(supplier: Kasushou, client: Client) -> None:
    one, other = number(), number()
    client.buy(one, goods=2, attach={"recharge_account": "13800000000"})
    client.buy(other, goods=2, attach=[{"key": "recharge_account", "value": "13800000001"}])

    assert client.order(one)["recharge_info"] == [{"n": "手机号", "v": "13800000000", "k": "recharge_account"}]
    assert (client.order(other)["status"], client.order(other)["card_list"]) == (DONE, [])
    assert client.buy(goods=2)["code"] == 1007
    assert client.buy(goods=2, attach={"lblName1": "x"})["code"] == 1007


def test_orders_are_asked_after_by_either_number_several_at_once_and_within_days(
    supplier: Kasushou, client: Client
) -> None:
    one, other = number(), number()
    theirs = client.buy(one)["data"]["ordersn"]
    client.buy(other)

    found = client.call("order/info", external_orderno=f"{one},{other},absent")["data"]

    assert [order["external_orderno"] for order in found] == [one, other]
    assert client.call("order/info", ordersn=theirs)["data"][0]["external_orderno"] == one
    with supplier.store.transaction() as db:
        db.execute("UPDATE orders SET placed_at = placed_at - 40 * 86400 WHERE ours = ?", (one,))
    assert client.call("order/info", external_orderno=one)["data"] == []
    assert len(client.call("order/info", external_orderno=one, day=0)["data"]) == 1
    assert len(client.call("order/info", external_orderno=one, day=60)["data"]) == 1
    assert client.call("order/info")["code"] == 400


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"UserId": "somebody"}, 402),
        ({"Timestamp": "1696654563"}, 405),
        ({"Timestamp": str(int(time.time() * 1000) - 3_600_000)}, 405),
        ({"Timestamp": str(int(time.time() * 1000) + 3_600_000)}, 405),
        ({"Sign": "0" * 40}, 401),
    ],
)
def test_a_request_that_is_not_soundly_signed_is_refused(
    supplier: Kasushou, client: Client, headers: dict[str, str], code: int
) -> None:
    told = client.post("order/buy", canonical({"id": 1, "external_orderno": number(), "quantity": 1}), **headers)

    assert (told["http"], told["code"]) == (200, code)
    assert Kasushou.orders(supplier.url) == []


def test_the_bytes_signed_are_the_bytes_sent_and_stand_as_the_documents_say(supplier: Kasushou, client: Client) -> None:
    order = {"id": 1, "external_orderno": number(), "quantity": 1, "url": "http://127.0.0.1:9/x"}
    wrong = [
        json.dumps(order, separators=(",", ":")).encode(),  # not sorted
        json.dumps(order, sort_keys=True).encode(),  # with spaces
        canonical(order).replace(b"/", b"\\/"),
    ]

    assert [client.post("order/buy", body)["code"] for body in wrong] == [401, 401, 401]
    assert client.post("order/buy", canonical(order), signed=wrong[0])["code"] == 401
    assert Kasushou.orders(supplier.url) == []
    assert client.post("order/buy", canonical(order))["code"] == 200
    Kasushou.behave(supplier.url, body="as_sent")
    assert [client.post("order/buy", body)["code"] for body in wrong] == [200, 200, 200]


@pytest.mark.parametrize(
    ("order", "code"),
    [
        ({"goods": 99}, 1001),
        ({"quantity": 10}, 1003),
        ({"quantity": 0}, 1005),
        ({"quantity": 101}, 1005),
        ({"quantity": -1}, 400),
        ({"safe_price": "1.99"}, 1006),
        ({"safe_price": "cheap"}, 400),
        ({"url": "ftp://x"}, 400),
    ],
)
def test_an_order_that_cannot_be_is_refused(
    supplier: Kasushou, client: Client, order: dict[str, Any], code: int
) -> None:
    assert client.buy(**order)["code"] == code
    assert Kasushou.orders(supplier.url) == []


def test_the_ceiling_lets_pass_what_costs_as_much_and_stops_what_got_dearer(supplier: Kasushou, client: Client) -> None:
    assert client.buy(safe_price="2.00")["code"] == 200
    Kasushou.misbehave(supplier.url, "buy", "dearer", times=2)
    assert client.buy(safe_price="2.00")["code"] == 1006
    assert client.buy()["code"] == 200
    assert [one["unit_e6"] for one in Kasushou.orders(supplier.url)] == [2_000_000, 4_000_000]


def test_off_sale_and_a_low_balance_are_refused(supplier: Kasushou, client: Client) -> None:
    Kasushou.set_balance(supplier.url, 1_999_999)
    assert client.buy()["code"] == 1004
    Kasushou.change_product(supplier.url, "1", on_sale=False)
    assert client.buy()["code"] == 1002
    assert client.call("elsewhere")["http"] == 404


# -- what is not certain -----------------------------------------------------------------------------------------------


def test_a_repeated_number_buys_again_unless_another_answer_is_played(supplier: Kasushou, client: Client) -> None:
    ours, other = number(), number()
    client.buy(ours)
    client.buy(ours)
    assert Kasushou.bought_twice(supplier.url) == [ours]
    assert len(client.call("order/info", external_orderno=ours)["data"]) == 2

    Kasushou.behave(supplier.url, repeat="refuses")
    assert [client.buy(other)["code"] for _ in range(2)] == [200, 1008]
    Kasushou.behave(supplier.url, repeat="replays")
    assert client.buy(other)["data"] == {
        "ordersn": client.order(other)["ordersn"],
        "external_orderno": other,
    }
    assert len(Kasushou.bought(supplier.url, other)) == 1


def test_what_is_not_there_is_an_empty_list_or_a_refusal(supplier: Kasushou, client: Client) -> None:
    ours = number()
    client.buy(ours)

    assert client.call("order/info", external_orderno="absent")["data"] == []
    Kasushou.behave(supplier.url, absent="refused")
    assert client.call("order/info", external_orderno="absent")["code"] == 1009
    Kasushou.behave(supplier.url, asks_by_ours="no")
    assert client.call("order/info", external_orderno=ours)["code"] == 1009


@pytest.mark.parametrize(
    ("traits", "status", "cards"),
    [
        ({}, REFUNDED, []),
        ({"failed_status": "4"}, CANCELED, []),
        ({"failed_cards": "placeholder"}, REFUNDED, [{"card_no": "", "card_password": "1", "card_show_type": 1}]),
    ],
)
def test_a_failed_order_may_look_like_one_that_has_cards(
    supplier: Kasushou, client: Client, traits: dict[str, str], status: int, cards: list[Any]
) -> None:
    Kasushou.behave(supplier.url, **traits)
    Kasushou.misbehave(supplier.url, "buy", "fails_late", seconds=60)
    ours = number()
    client.buy(ours)
    assert client.order(ours)["status"] == WAITING

    pass_a_minute(supplier)

    assert client.order(ours)["status"] == status
    assert client.order(ours)["card_list"] == cards
    assert client.order(ours)["recharge_hints"].startswith("订单已取消")
    assert Kasushou.bought(supplier.url, ours) == []


def test_an_order_may_tell_what_it_cost_and_what_came_back(supplier: Kasushou, client: Client) -> None:
    Kasushou.behave(supplier.url, order_money="told", half_money="given_back")
    Kasushou.misbehave(supplier.url, "buy", "half")
    ours = number()
    client.buy(ours, quantity=4)

    told = client.order(ours)

    assert (told["total_price"], told["has_back_money"]) == ("8.00", "4.00")


@pytest.mark.parametrize("partial", ["3", "5", "2"])
def test_half_has_half_of_the_cards_by_several_names(supplier: Kasushou, client: Client, partial: str) -> None:
    Kasushou.behave(supplier.url, partial=partial, card_no="empty")
    Kasushou.misbehave(supplier.url, "buy", "half")
    ours = number()
    client.buy(ours, quantity=4)

    told = client.order(ours)

    assert (told["status"], len(told["card_list"])) == (int(partial), 2)
    assert {one["card_no"] for one in told["card_list"]} == {""}


@pytest.mark.parametrize(("money", "status"), [("kept", 3), ("given_back", 5)])
def test_what_is_called_refunded_has_its_money_back(
    supplier: Kasushou, client: Client, money: str, status: int
) -> None:
    Kasushou.behave(supplier.url, partial="5", half_money=money)
    Kasushou.misbehave(supplier.url, "buy", "half")
    ours = number()
    client.buy(ours, quantity=1)

    told = client.order(ours)

    assert (told["status"], told["card_list"]) == (status, [])


def test_what_is_bought_may_wait_for_the_first_question(supplier: Kasushou, client: Client) -> None:
    Kasushou.behave(supplier.url, delivery="first_ask")
    Kasushou.misbehave(supplier.url, "buy", "late_asks", seconds=2)
    slow, usual = number(), number()
    client.buy(slow)
    client.buy(usual)

    assert [client.order(slow)["status"] for _ in range(2)] == [WAITING, DONE]
    assert client.order(usual)["status"] == DONE


# -- bad days ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fault", "number_bought"), [("before_silent", 0), ("silent", 1)])
def test_after_a_dropped_answer_our_number_tells_what_was_bought(
    supplier: Kasushou, client: Client, fault: str, number_bought: int
) -> None:
    ours = number()
    Kasushou.misbehave(supplier.url, "buy", fault)

    with pytest.raises(HANG_UPS):
        client.buy(ours)

    assert len(client.call("order/info", external_orderno=ours)["data"]) == number_bought


@pytest.mark.parametrize(
    ("fault", "http", "code"),
    [("before_429", 429, 429), ("refuse_signature", 200, 401), ("refuse_address", 200, 403)],
)
@pytest.mark.parametrize("route", ["balance", "products", "product", "buy", "order"])
def test_every_route_can_refuse_what_is_sound(
    supplier: Kasushou, client: Client, route: str, fault: str, http: int, code: int
) -> None:
    ours = number()
    calls = {
        "balance": lambda: client.call("user/info"),
        "products": lambda: client.call("goods/list"),
        "product": lambda: client.call("goods/info", id=1),
        "buy": lambda: client.buy(ours),
        "order": lambda: client.call("order/info", external_orderno=ours),
    }
    Kasushou.misbehave(supplier.url, route, fault)

    told = calls[route]()

    assert (told["http"], told["code"]) == (http, code)
    assert calls[route]()["code"] == 200


# -- callbacks ---------------------------------------------------------------------------------------------------------


def sound(client: Client, notice: Notice) -> bool:
    told = {name.lower(): value for name, value in notice.headers.items()}
    fresh = abs(time.time() - int(told["timestamp"]) / 1000) <= 300
    return fresh and told["userid"] == client.user_id and told["sign"] == client.sign(told["timestamp"], notice.raw)


def test_a_delivery_is_told_with_a_signature_like_that_of_a_request(
    supplier: Kasushou, client: Client, inbox: Shop
) -> None:
    ours = number()
    client.buy(ours, url=inbox.url)

    (notice,) = inbox.wait()

    assert sound(client, notice)
    assert json.loads(notice.raw) == client.order(ours)


@pytest.mark.parametrize("how", ["", "wrong_signature"])
def test_a_callback_may_be_signed_within(supplier: Kasushou, client: Client, inbox: Shop, how: str) -> None:
    Kasushou.behave(supplier.url, callback_sign="body")
    if how:
        Kasushou.misbehave(supplier.url, "notify", how)
    client.buy(url=inbox.url)

    told = json.loads(inbox.wait()[0].raw)

    signed = {name: value for name, value in told.items() if name not in ("sign", "card_list", "express_list")}
    assert told["card_list"]
    assert (told["sign"] == client.sign(told["time"], canonical(signed))) is (how == "")


def test_a_callback_may_be_unsigned_and_want_a_word_as_its_answer(
    supplier: Kasushou, client: Client, inbox: Shop
) -> None:
    Kasushou.behave(supplier.url, callback_sign="none", ack="success")
    theirs = client.buy(url=inbox.url)["data"]["ordersn"]
    notices = inbox.wait(3)
    eventually(lambda: Kasushou.told(supplier.url, theirs)[0]["state"] == "abandoned")
    assert "Sign" not in notices[0].headers
    inbox.answer = b"success"
    theirs = client.buy(url=inbox.url)["data"]["ordersn"]
    eventually(lambda: Kasushou.told(supplier.url, theirs)[0]["state"] == "acknowledged")


@pytest.mark.parametrize(("how", "says"), [("wrong_signature", DONE), ("stale_timestamp", DONE)])
def test_a_false_callback_says_that_an_open_order_is_done(
    supplier: Kasushou, client: Client, inbox: Shop, how: str, says: int
) -> None:
    Kasushou.misbehave(supplier.url, "buy", "late", seconds=60)
    ours = number()
    theirs = client.buy(ours, url=inbox.url)["data"]["ordersn"]

    Kasushou.tell(supplier.url, theirs, "delivered", how)

    (notice,) = inbox.wait()
    assert (json.loads(notice.raw)["status"], sound(client, notice)) == (says, False)
    assert client.order(ours)["status"] == WAITING


def test_a_delivered_order_can_be_refunded_later(supplier: Kasushou, client: Client, inbox: Shop) -> None:
    ours = number()
    theirs = client.buy(ours, url=inbox.url)["data"]["ordersn"]
    inbox.wait(1)

    Kasushou.void(supplier.url, theirs, refund=True)

    assert json.loads(inbox.wait(2)[1].raw)["status"] == REFUNDED
    assert (client.order(ours)["status"], len(client.order(ours)["card_list"])) == (REFUNDED, 1)


def test_a_question_and_an_order_take_a_few_milliseconds(supplier: Kasushou, client: Client) -> None:
    Kasushou.change_product(supplier.url, "1", stock=None)
    began = time.process_time()  # the work of both sides, however busy the machine is

    for _ in range(300):
        ours = number()
        client.buy(ours)
        client.order(ours)

    assert (time.process_time() - began) / 600 < 0.01
