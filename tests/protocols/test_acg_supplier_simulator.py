"""The stand-in of an acg-faka shop over real sockets, by the letter of its protocol; the signing is the test's own."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from infra.local.supplier_shop import KINDS
from infra.local.suppliers.acg import Acg
from infra.local.suppliers.common import Product
from tests.supplied import HANG_UPS, send

CARD = Product("KA100", "样板卡 100 点", 9_500_000, stock=20, quantity_min=1, quantity_max=5, more={"category": "点卡"})
GAME = Product(
    "QB10", "样板游戏币", 9_000_000, kind="topup", fields=[{"key": "qq", "name": "QQ 号"}], more={"manual": True}
)
KINDS_OF_CARD = Product("KB", "样板会员", 20_000_000, stock=20, more={"races": ["月卡", "年卡"]})
_numbers = count(1)


class Client:
    """Another shop's hands."""

    def __init__(self, shop: Acg) -> None:
        self.site, self.terms, self.keys = shop.terms["site"], shop.terms, shop.keys

    def form(self, **fields: Any) -> dict[str, str]:
        """Signed as the page says; what is given as sign stays."""
        form = {"app_id": self.terms["app_id"]} | {name: str(value) for name, value in fields.items()}
        text = "&".join(f"{name}={form[name]}" for name in sorted(form) if form[name] != "" and name != "sign")
        return {"sign": hashlib.md5(f"{text}&key={self.keys['app_key']}".encode()).hexdigest()} | form

    def post(self, path: str, body: str, content_type: str = "application/x-www-form-urlencoded") -> tuple[int, bytes]:
        return send("POST", f"{self.site}/shared/{path}", body.encode(), {"Content-Type": content_type})

    def ask(self, path: str, **fields: Any) -> Any:
        """`data` of a good answer."""
        status, raw = self.post(path, urlencode(self.form(**fields)))
        answer = json.loads(raw)
        assert (status, answer["code"]) == (200, 200), answer
        return answer["data"]

    def refused(self, path: str, **fields: Any) -> str:
        """What a refusal says; it comes with HTTP 200, too."""
        status, raw = self.post(path, urlencode(self.form(**fields)))
        answer = json.loads(raw)
        assert (status, answer["code"], "data" in answer) == (200, 500, False), answer
        return str(answer["msg"])

    def trade(self, **fields: Any) -> Any:
        return self.ask("commodity/trade", **order(**fields))


def order(**fields: Any) -> dict[str, Any]:
    return {"shared_code": "KA100", "contact": "13800000000", "num": 1, "request_no": f"r{next(_numbers)}"} | fields


def later(sold: dict[str, Any]) -> dict[str, Any]:
    """What is told of an order of cards that is asked after."""
    return {"secret": sold["secret"], "widget": None, "status": 1}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Acg]:
    with Acg(tmp_path / "acg.sqlite", balance_e6=1_000_000_000) as running:
        Acg.put_products(running.url, [CARD, GAME, KINDS_OF_CARD])
        yield running


@pytest.fixture
def client(shop: Acg) -> Client:
    return Client(shop)


# -- what it sells -----------------------------------------------------------------------------------------------------


def test_the_command_knows_the_kind_and_its_owner_gets_terms_and_keys(shop: Acg) -> None:
    assert KINDS["acg"]() is Acg
    given = shop.state.with_name("acg.sqlite.supplier.json")
    assert json.loads(given.read_text()) == {"terms": shop.terms, "keys": shop.keys}
    assert (set(shop.terms), set(shop.keys)) == ({"site", "app_id"}, {"app_key"})


def test_connecting_tells_the_balance(client: Client) -> None:
    assert client.ask("authentication/connect")["balance"] == 1000.0


def test_the_catalogue_has_price_stock_bounds_and_fields_on_shelves(client: Client, shop: Acg) -> None:
    shelves = client.ask("commodity/items")
    card = {"code": "KA100", "user_price": 9.5, "stock": 20, "minimum": 1, "maximum": 5, "delivery_way": 0}

    assert [shelf["name"] for shelf in shelves] == ["点卡", "虚拟商品"]
    assert card.items() <= shelves[0]["children"][0].items()
    assert client.ask("commodity/item", code="KA100") == shelves[0]["children"][0]
    game = client.ask("commodity/item", code="QB10")
    assert (game["delivery_way"], game["widget"][0]["name"], game["widget"][0]["required"]) == (1, "qq", True)
    assert client.ask("commodity/item", code="KB")["config"] == {"category": {"月卡": 20.0, "年卡": 20.0}}
    Acg.change_product(shop.url, "KA100", on_sale=False)
    assert "KA100" not in json.dumps(client.ask("commodity/items"))


def test_stock_and_price_can_be_asked_for_one_product(client: Client) -> None:
    assert client.ask("commodity/stock", code="KA100") == {"stock": 20}
    assert client.ask("commodity/inventory", sharedCode="KA100")["count"] == 20
    assert client.ask("commodity/valuation", code="KA100", num=3) == {"price": 28.5}
    assert client.ask("commodity/inventoryState", shared_code="KA100", num=20) == []
    assert client.refused("commodity/inventoryState", shared_code="KA100", num=21) == "库存不足"
    assert client.refused("commodity/item", code="KX") == "商品不存在"
    assert client.refused("commodity/draftCard", code="KA100") == "该商品不支持预选"


# -- signatures --------------------------------------------------------------------------------------------------------


def test_what_the_signature_covers_cannot_be_altered(client: Client, shop: Acg) -> None:
    signed = client.form(**order())

    for name, value in (("num", "2"), ("shared_code", "KB"), ("race", "x"), ("sign", "0" * 32), ("app_key", "x")):
        answer = json.loads(client.post("commodity/trade", urlencode(signed | {name: value}))[1])
        assert answer == {"code": 500, "msg": "签名错误"}, name
    del signed["sign"]
    assert json.loads(client.post("commodity/trade", urlencode(signed))[1])["msg"] == "签名错误"
    assert Acg.orders(shop.url) == []


def test_empty_fields_are_not_signed_and_the_key_may_travel_as_the_old_client_sends_it(client: Client) -> None:
    assert client.trade(race="", password="", device=0)["secret"]
    assert client.trade(app_key=client.keys["app_key"])["secret"]


def test_chinese_and_signs_of_urls_are_signed_as_they_read(client: Client) -> None:
    assert client.trade(contact="张三 a+b&c=d%20", shared_code="KB", race="月卡")["secret"]


def test_a_list_is_signed_with_the_places_that_php_gives(client: Client) -> None:
    fields = {"app_id": client.terms["app_id"], **{name: str(value) for name, value in order().items()}}
    named = fields | {"sku[0]": "红", "sku[1]": "大"}
    text = "&".join(f"{name}={named[name]}" for name in sorted(named)) + f"&key={client.keys['app_key']}"
    fields["sign"] = hashlib.md5(text.encode()).hexdigest()

    _, raw = client.post("commodity/trade", urlencode([*fields.items(), ("sku[]", "红"), ("sku[]", "大")]))

    assert json.loads(raw)["code"] == 200


def test_an_unknown_customer_json_and_other_addresses_are_refused(client: Client) -> None:
    assert client.refused("authentication/connect", app_id="1") == "商户ID不存在"
    status, raw = client.post("authentication/connect", "{}", "application/json")
    assert (status, json.loads(raw)["msg"]) == (200, "请求参数错误")
    assert client.post("commodity/refund", "")[0] == 404


# -- trade -------------------------------------------------------------------------------------------------------------


def test_a_trade_takes_money_and_answers_with_the_cards(client: Client, shop: Acg) -> None:
    sold = client.trade(num=2, request_no="one")

    (kept,) = Acg.orders(shop.url, "one")
    assert sold["secret"].split("\n") == [f"{card['card_no']}----{card['password']}" for card in kept["cards"]]
    assert (sold["amount"], sold["tradeNo"], sold["stock"], sold["leave_message"]) == (19.0, kept["order_no"], 18, "")
    assert Acg.balance_e6(shop.url) == 1_000_000_000 - 19_000_000


def test_a_repeated_number_is_refused_and_tells_nothing_of_the_order(client: Client, shop: Acg) -> None:
    sold = client.trade(request_no="one")

    said = client.refused("commodity/trade", **order(request_no="one"))

    assert said == "The request ID already exists"
    assert sold["tradeNo"] not in said
    assert len(Acg.orders(shop.url, "one")) == 1


def test_only_the_shops_own_number_finds_an_order(client: Client) -> None:
    sold = client.trade(request_no="one")

    assert client.ask("commodity/query", tradeNo=sold["tradeNo"]) == later(sold)
    assert client.refused("commodity/query", request_no="one") == "订单不存在"
    assert client.refused("commodity/query", tradeNo="one") == "订单不存在"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"shared_code": "KX"}, "商品不存在"),
        ({"num": 6}, "最多购买5件"),
        ({"num": 0}, "购买数量不正确"),
        ({"num": "1.5"}, "购买数量不正确"),
        ({"contact": ""}, "请填写联系方式"),
        ({"shared_code": "QB10"}, "请填写必填项"),
        ({"shared_code": "KB"}, "商品种类不存在"),
        ({"shared_code": "KB", "race": "日卡"}, "商品种类不存在"),
        ({"card_id": 7}, "该商品不支持预选"),
        ({"shared_code": "KB", "race": "月卡", "num": 21}, "库存不足"),
    ],
)
def test_what_cannot_be_sold_is_refused_and_costs_nothing(
    client: Client, shop: Acg, fields: dict[str, Any], said: str
) -> None:
    assert client.refused("commodity/trade", **order(**fields)) == said
    assert Acg.orders(shop.url) == []
    assert Acg.balance_e6(shop.url) == 1_000_000_000


def test_least_number_shelf_and_purse_are_checked(client: Client, shop: Acg) -> None:
    Acg.change_product(shop.url, "KA100", quantity_min=2)
    assert client.refused("commodity/trade", **order()) == "最低购买2件"
    Acg.change_product(shop.url, "KA100", quantity_min=1, on_sale=False)
    assert client.refused("commodity/trade", **order()) == "商品已下架"
    assert client.refused("commodity/inventoryState", shared_code="KA100", num=1) == "商品已下架"
    Acg.change_product(shop.url, "KA100", on_sale=True)
    Acg.set_balance(shop.url, 9_000_000)
    assert client.refused("commodity/trade", **order()) == "余额不足"


def test_goods_that_a_person_hands_over_come_later(client: Client, shop: Acg) -> None:
    sold = client.trade(shared_code="QB10", qq="10001")
    assert (sold["secret"], Acg.orders(shop.url)[0]["state"]) == ("", "accepted")
    assert Acg.orders(shop.url)[0]["account"] == {"qq": "10001"}

    Acg.change_product(shop.url, "KA100", more={"manual": True})
    waits = client.trade()
    assert client.ask("commodity/query", tradeNo=waits["tradeNo"])["secret"] == ""
    Acg.end(shop.url, waits["tradeNo"])
    assert client.ask("commodity/query", tradeNo=waits["tradeNo"])["secret"]


def test_a_topup_shows_its_fields_and_what_the_person_wrote_who_did_it(client: Client, shop: Acg) -> None:
    sold = client.trade(shared_code="QB10", qq="10001")
    fields = {"qq": {"value": "10001", "cn": "QQ 号"}}
    assert client.ask("commodity/query", tradeNo=sold["tradeNo"]) == later(sold) | {"widget": fields}

    Acg.end(shop.url, sold["tradeNo"])

    assert client.ask("commodity/query", tradeNo=sold["tradeNo"]) == {
        "secret": "您好，已为您充值成功，请查收",
        "widget": fields,
        "status": 1,
    }


# -- bad days ----------------------------------------------------------------------------------------------------------


def test_an_answer_can_be_lost_after_the_cards_were_sold(client: Client, shop: Acg) -> None:
    for number, fault in enumerate(("silent", "500", "garbage", "cut_short")):
        Acg.misbehave(shop.url, "trade", fault)
        body = urlencode(client.form(**order(request_no=fault)))
        if fault == "silent":
            with pytest.raises(HANG_UPS):
                client.post("commodity/trade", body)
        else:
            status, raw = client.post("commodity/trade", body)
            assert status == (500 if fault == "500" else 200)
            with pytest.raises(json.JSONDecodeError):
                json.loads(raw)
        assert len(Acg.bought(shop.url, fault)) == 1
        assert client.refused("commodity/trade", **order(request_no=fault)) == "The request ID already exists"
        assert len(Acg.orders(shop.url)) == number + 1


def test_an_answer_can_be_lost_before_anything_was_sold(client: Client, shop: Acg) -> None:
    Acg.misbehave(shop.url, "trade", "before_silent")
    with pytest.raises(HANG_UPS):
        client.trade(request_no="one")
    for fault, expected in (("before_500", 500), ("before_429", 429), ("before_moved", 302)):
        Acg.misbehave(shop.url, "trade", fault)
        assert client.post("commodity/trade", urlencode(client.form(**order())))[0] == expected
    assert Acg.orders(shop.url) == []
    assert client.trade(request_no="one")["secret"]


def test_it_can_be_slow_before_and_after(client: Client, shop: Acg) -> None:
    for fault in ("slow", "before_slow"):
        Acg.misbehave(shop.url, "trade", fault, seconds=0.3)
        began = time.monotonic()
        assert client.trade()["secret"]
        assert time.monotonic() - began >= 0.3


def test_it_can_refuse_what_is_right(client: Client, shop: Acg) -> None:
    said = {"refuse_signature": "签名错误", "refuse_address": "当前IP不在白名单", "refuse_key": "账号已被封禁"}
    for fault, words in said.items():
        for route, path in (("trade", "commodity/trade"), ("connect", "authentication/connect")):
            Acg.misbehave(shop.url, route, fault)
            assert client.refused(path, **order()) == words
    assert Acg.orders(shop.url) == []


def test_it_can_lie_about_stock(client: Client, shop: Acg) -> None:
    Acg.change_product(shop.url, "KA100", stock=0, shown=99)

    assert client.ask("commodity/stock", code="KA100") == {"stock": 99}
    assert client.ask("commodity/inventoryState", shared_code="KA100", num=5) == []
    assert client.refused("commodity/trade", **order()) == "库存不足"


def test_it_can_deliver_half_the_same_code_late_or_dearer(client: Client, shop: Acg) -> None:
    first = client.trade()["secret"]
    Acg.misbehave(shop.url, "trade", "same_code")
    assert client.trade()["secret"] == first
    Acg.misbehave(shop.url, "trade", "half")
    half = client.trade(num=4)
    assert (len(half["secret"].split("\n")), half["amount"]) == (2, 38.0)
    Acg.misbehave(shop.url, "trade", "dearer")
    assert client.trade()["amount"] == 19.0
    Acg.misbehave(shop.url, "trade", "late_asks", seconds=2)
    late = client.trade()
    asked = [client.ask("commodity/query", tradeNo=late["tradeNo"])["secret"] for _ in range(2)]
    assert (late["secret"], asked[0], len(asked[1]) > 0) == ("", "", True)
    Acg.misbehave(shop.url, "trade", "late", seconds=60)
    assert client.trade(request_no="slow")["secret"] == ""


def test_it_can_give_back_the_money_for_the_half_that_it_did_not_deliver(client: Client, shop: Acg) -> None:
    Acg.behave(shop.url, half_money="given_back")
    Acg.misbehave(shop.url, "trade", "half")
    client.trade(num=4)
    assert Acg.balance_e6(shop.url) == 1_000_000_000 - 19_000_000


def test_it_can_fail_late_and_give_the_money_back(client: Client, shop: Acg) -> None:
    Acg.misbehave(shop.url, "trade", "fails_late", seconds=0)
    sold = client.trade(request_no="one")
    assert client.ask("commodity/query", tradeNo=sold["tradeNo"])["secret"] == ""
    assert Acg.bought(shop.url, "one") == []
    assert Acg.balance_e6(shop.url) == 1_000_000_000


def test_it_can_go_down(client: Client, shop: Acg) -> None:
    Acg.go_down(shop.url, 60)
    with pytest.raises(HANG_UPS):
        client.ask("authentication/connect")
    Acg.go_down(shop.url, 0)
    assert client.ask("authentication/connect")


def test_an_order_is_told_after_its_product_is_gone(client: Client, shop: Acg) -> None:
    sold = client.trade()
    Acg.put_products(shop.url, [GAME], instead=True)
    assert client.ask("commodity/query", tradeNo=sold["tradeNo"]) == later(sold)


def test_orders_and_numbers_outlive_a_restart(tmp_path: Path) -> None:
    state = tmp_path / "acg.sqlite"
    with Acg(state) as shop:
        Acg.put_products(shop.url, [CARD])
        sold = Client(shop).trade(request_no="one")
    with Acg(state) as shop:
        assert Client(shop).ask("commodity/query", tradeNo=sold["tradeNo"]) == later(sold)
        assert Client(shop).refused("commodity/trade", **order(request_no="one")) == "The request ID already exists"
