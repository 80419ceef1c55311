"""Fulu's stand-in over real sockets, by the letter of its protocol; signing and reading here are the test's own."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from itertools import count
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qsl

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from infra.local.supplier_shop import KINDS
from infra.local.suppliers.common import Product
from infra.local.suppliers.fulu import Fulu, encoded, signature
from tests.published import vectors
from tests.supplied import HANG_UPS, Shop, eventually, send, shop

BEIJING = timezone(timedelta(hours=8))
CARD = Product("10000001", "样板卡/100 点", 9_512_500, stock=20, quantity_max=5, more={"face": "10.00"})
GAME = Product(
    "10000002",
    "样板游戏充值",
    8_800_000,
    kind="topup",
    fields=[
        {"key": "charge_account", "name": "游戏账号", "pattern": "[0-9]{5,12}"},
        {"key": "charge_game_region", "name": "区服", "options": ["电信一区", "网通一区"]},
        {"key": "charge_game_role", "name": "角色", "required": False},
    ],
)
PHONE = Product("10000003", "话费 50 元", 49_500_000, kind="topup", more={"order_type": 1, "value": 50})
DATA = Product("10000004", "流量 500 M", 19_500_000, kind="topup", more={"order_type": 2, "value": 500})
_numbers = count(1)


def compact(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def md5_of_sorted(text: str, secret: str) -> str:
    return hashlib.md5(("".join(sorted(text)) + secret).encode()).hexdigest()


class Client:
    """A customer's own hands: they sign each request and check each answer."""

    def __init__(self, fulu: Fulu) -> None:
        self.site = fulu.terms["site"]
        self.app_key, self.secret = fulu.terms["app_key"], fulu.keys["app_secret"]

    def params(self, method: str, biz: Any, **other: str) -> dict[str, Any]:
        """Signed; what is given as "" is left out, and `sign` may be given."""
        params = {
            "app_key": self.app_key,
            "method": f"fulu.{method}",
            "timestamp": f"{datetime.now(BEIJING):%Y-%m-%d %H:%M:%S}",
            "version": "2.0",
            "format": "json",
            "charset": "utf-8",
            "sign_type": "md5",
            "app_auth_token": "",
            "biz_content": biz if isinstance(biz, str) else compact(biz),
        } | other
        return {"sign": md5_of_sorted(compact(params), self.secret)} | params

    def post(self, body: str, path: str = "/api/getway") -> tuple[int, bytes]:
        return send("POST", self.site + path, body.encode(), {"Content-Type": "application/json"})

    def answer(self, params: dict[str, Any]) -> dict[str, Any]:
        status, raw = self.post(compact(params))
        answer: dict[str, Any] = json.loads(raw)
        assert status == 200, answer
        return answer

    def genuine(self, answer: dict[str, Any]) -> bool:
        return answer.get("sign") == md5_of_sorted(answer["result"], self.secret)

    def ask(self, method: str, **biz: Any) -> Any:
        answer = self.answer(self.params(method, biz))
        assert answer["code"] == 0, answer
        assert self.genuine(answer)
        return json.loads(answer["result"])

    def refused(self, method: str, biz: Any, **other: str) -> int:
        """The code; a refusal is signed, too, and has no result."""
        answer = self.answer(self.params(method, biz, **other))
        assert self.genuine(answer)
        assert answer["result"] == ""
        return int(answer["code"])

    def card(self, **fields: Any) -> Any:
        return self.ask("order.card.add", **card(**fields))

    def info(self, ours: str) -> Any:
        return self.ask("order.info.get", customer_order_no=ours)


def number() -> str:
    return f"k{next(_numbers):06d}"


def card(**fields: Any) -> dict[str, Any]:
    return {"product_id": 10000001, "customer_order_no": number(), "buy_num": 1} | fields


def game(**fields: Any) -> dict[str, Any]:
    wanted = {"charge_account": "888888", "charge_game_region": "电信一区", "charge_ip": "192.168.1.100"}
    return card(product_id=10000002) | wanted | fields


@pytest.fixture
def inbox() -> Iterator[Shop]:
    with shop(b"success") as one:
        yield one


def told_to(inbox: Shop, number_min: int = 0) -> list[dict[str, str]]:
    return [dict(parse_qsl(one.raw.decode(), keep_blank_values=True)) for one in inbox.wait(number_min)]


@pytest.fixture
def fulu(tmp_path: Path) -> Iterator[Fulu]:
    with Fulu(tmp_path / "fulu.sqlite", retry_after=(0.05, 0.1), balance_e6=1_000_000_000) as running:
        Fulu.put_products(running.url, [CARD, GAME, PHONE, DATA])
        yield running


@pytest.fixture
def client(fulu: Fulu) -> Client:
    return Client(fulu)


def genuine(told: dict[str, str], client: Client) -> bool:
    unsigned = {name: value for name, value in told.items() if name != "sign"}
    return told.get("sign") == md5_of_sorted(compact(unsigned), client.secret)


# -- the gateway -------------------------------------------------------------------------------------------------------


def test_the_command_knows_the_kind_and_its_owner_gets_terms_and_keys(fulu: Fulu) -> None:
    assert KINDS["fulu"]() is Fulu
    given = fulu.state.with_name("fulu.sqlite.supplier.json")
    assert json.loads(given.read_text()) == {"terms": fulu.terms, "keys": fulu.keys}
    assert (set(fulu.terms), set(fulu.keys)) == ({"site", "app_key"}, {"app_secret"})


def test_the_computed_sample_has_the_signature_that_the_stand_in_would_give(fulu: Fulu) -> None:
    sample = vectors("supplier_fulu.json")
    request = {name: value for name, value in sample["request_from_docs"].items() if name != "sign"}
    computed = sample["computed_by_us"]

    assert md5_of_sorted(compact(request), computed["secret"]) == computed["sign"]
    assert signature(encoded(request), computed["secret"]) == computed["sign"]
    # What the stand-in asks for is what the sample holds: only whose it is, when, and the product are other here.
    ours = {name: value for name, value in request.items() if name not in ("app_key", "timestamp")}
    ours["biz_content"] = ours["biz_content"].replace("10000001", "10000002")
    client = Client(fulu)
    biz, method = ours.pop("biz_content"), ours.pop("method").removeprefix("fulu.")
    assert client.refused(method, biz, timestamp=request["timestamp"]) == 1003
    assert client.answer(client.params(method, biz, **ours))["code"] == 0
    assert client.info("201906281030191013526")["order_state"] == "success"


def test_what_the_signature_covers_cannot_be_altered(client: Client, fulu: Fulu) -> None:
    signed = client.params("order.card.add", card())

    for name, value in (("biz_content", compact(card(buy_num=2))), ("method", "fulu.order.direct.add"), ("sign", "0")):
        assert client.answer(signed | {name: value})["code"] == 1002, name
    assert client.answer(signed | {"extra": "1"})["code"] == 1002
    assert client.answer(signed | {"app_key": "1"})["code"] == 1001
    del signed["sign"]
    assert client.answer(signed)["code"] == 1006
    assert Fulu.orders(fulu.url) == []


def test_the_order_of_parameters_does_not_matter_and_spaces_in_what_is_signed_do(client: Client) -> None:
    params = client.params("user.info.get", {})
    turned = dict(reversed(params.items()))
    assert client.answer(turned)["code"] == 0
    unsigned = {name: value for name, value in params.items() if name != "sign"}
    spaced = md5_of_sorted(json.dumps(unsigned, ensure_ascii=False), client.secret)
    assert client.answer(unsigned | {"sign": spaced})["code"] == 1002
    assert client.answer(client.params("goods.list.get", '{"product_name": "三/国"}'))["code"] == 0


def test_time_version_and_shape_are_checked(client: Client) -> None:
    def moment(seconds: float) -> str:
        return f"{datetime.now(BEIJING) + timedelta(seconds=seconds):%Y-%m-%d %H:%M:%S}"

    for ago in (-660, 660):
        assert client.refused("user.info.get", {}, timestamp=moment(ago)) == 1003
    assert client.refused("user.info.get", {}, timestamp=f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}") == 1003
    assert client.refused("user.info.get", {}, timestamp="1717171717") == 1003
    assert client.answer(client.params("user.info.get", {}, timestamp=moment(-500)))["code"] == 0
    assert client.refused("user.info.get", {}, version="1.0") == 1005
    assert client.refused("user.info.get", {}, sign_type="sha1") == 1005
    assert client.refused("user.none.get", {}) == 1005
    assert client.refused("user.info.get", "[]") == 1006
    assert client.refused("user.info.get", "{") == 1006
    assert json.loads(client.post("no json")[1])["code"] == 1006
    assert client.post("{}", "/api/gateway")[0] == 404


# -- what it sells -----------------------------------------------------------------------------------------------------


def test_the_list_and_one_product_tell_price_kind_and_stock(client: Client, fulu: Fulu) -> None:
    first, second, *_ = listed = client.ask("goods.list.get")

    assert len(listed) == 4
    assert first == {
        "product_id": 10000001,
        "product_name": "样板卡/100 点",
        "product_type": "卡密",
        "face_value": 10.0,
        "purchase_price": 9.5125,
        "template_id": "",
        "sales_status": "上架",
        "stock_status": "充足",
    }
    assert (second["product_type"], bool(second["template_id"])) == ("直充", True)
    assert client.ask("goods.info.get", product_id=10000001) == first
    assert client.ask("goods.list.get", product_id="10000002") == [second]
    assert client.refused("goods.info.get", {"product_id": 1}) == 3001
    Fulu.change_product(fulu.url, "10000001", stock=3, more={"maintenance": True})
    assert client.ask("goods.info.get", product_id="10000001")["stock_status"] == "警报"
    assert client.ask("goods.info.get", product_id="10000001")["sales_status"] == "维护中"
    Fulu.change_product(fulu.url, "10000001", stock=0, on_sale=False, more={})
    gone = client.ask("goods.info.get", product_id=10000001)
    assert (gone["sales_status"], gone["stock_status"]) == ("下架", "断货")


def test_a_template_tells_the_fields_of_a_top_up(client: Client) -> None:
    template_id = client.ask("goods.info.get", product_id=10000002)["template_id"]

    fields = client.ask("goods.template.get", template_id=template_id)["fields"]

    assert [(one["name"], one["type"], one["required"]) for one in fields] == [
        ("charge_account", "text", True),
        ("charge_game_region", "select", True),
        ("charge_game_role", "text", False),
    ]
    assert fields[1]["options"] == ["电信一区", "网通一区"]
    phone = client.ask("goods.template.get", template_id="t10000003")["fields"]
    assert [one["name"] for one in phone] == ["charge_account"]
    assert client.refused("goods.template.get", {"template_id": "x"}) == 3001


def test_stock_balance_and_a_phones_home_can_be_asked_for(client: Client) -> None:
    assert client.ask("goods.stock.check", product_id=10000001, buy_num=20)["stock_status"] == "充足"
    assert client.ask("goods.stock.check", product_id=10000001, buy_num=21)["stock_status"] == "断货"
    assert client.ask("user.info.get")["balance"] == 1000.0
    assert client.ask("mobile.info.get", phone="13800000000")["sp"] == "移动"
    assert client.refused("mobile.info.get", {"phone": "1"}) == 3008


# -- orders ------------------------------------------------------------------------------------------------------------


def test_an_order_is_only_taken_at_first_and_its_cards_are_asked_for(client: Client, fulu: Fulu) -> None:
    taken = client.card(customer_order_no="one", buy_num=2)
    told = client.info("one")

    (kept,) = Fulu.orders(fulu.url, "one")
    assert (taken["order_state"], taken["cards"], taken["finish_time"]) == ("untreated", None, "")
    assert (told["order_state"], told["order_id"], told["order_type"]) == ("success", taken["order_id"], 3)
    assert [(one["card_number"], one["card_pwd"]) for one in told["cards"]] == [
        (one["card_no"], one["password"]) for one in kept["cards"]
    ]
    assert (told["price"], told["order_price"], told["buy_num"]) == (9.5125, 19.025, 2)
    assert Fulu.balance_e6(fulu.url) == 1_000_000_000 - 19_025_000


def test_an_order_goes_from_untreated_through_processing_to_its_end(client: Client, fulu: Fulu) -> None:
    for fault, end in (("late_asks", "success"), ("fails_late", "failed")):
        Fulu.misbehave(fulu.url, "buy", fault, seconds=2 if fault == "late_asks" else 60)
        states = [client.card(customer_order_no=fault)["order_state"], client.info(fault)["order_state"]]
        if fault == "fails_late":
            Fulu.end(fulu.url, Fulu.orders(fulu.url, fault)[0]["order_no"], "failed")
        told = client.info(fault)
        assert [*states, told["order_state"]] == ["untreated", "processing", end]
        assert bool(told["cards"]) is (end == "success")
    assert Fulu.bought(fulu.url, "fails_late") == []
    Fulu.behave(fulu.url, delivery="first_ask")
    client.card(customer_order_no="one")
    assert Fulu.orders(fulu.url, "one")[0]["state"] == "accepted"
    assert client.info("one")["order_state"] == "success"


def test_a_card_may_be_enciphered_with_the_secret(client: Client, fulu: Fulu) -> None:
    Fulu.behave(fulu.url, card_cipher="aes")
    client.card(customer_order_no="one")

    (told,) = client.info("one")["cards"]

    aes = Cipher(algorithms.AES(client.secret.encode()), modes.ECB()).decryptor()
    unpadder = PKCS7(128).unpadder()
    plain = unpadder.update(aes.update(base64.b64decode(told["card_pwd"]))) + unpadder.finalize()
    assert plain.decode() == Fulu.orders(fulu.url, "one")[0]["cards"][0]["password"]
    assert told["card_number"] != Fulu.orders(fulu.url, "one")[0]["cards"][0]["card_no"]


def test_a_top_up_goes_to_the_account_that_was_named(client: Client, fulu: Fulu) -> None:
    taken = client.ask("order.direct.add", **game(customer_order_no="one", charge_game_role="逐鹿"))

    told, (kept,) = client.info("one"), Fulu.orders(fulu.url, "one")
    assert (taken["order_type"], told["order_state"], told["charge_account"], told["cards"]) == (
        4,
        "success",
        "888888",
        None,
    )
    assert kept["account"] == {
        "charge_account": "888888",
        "charge_game_region": "电信一区",
        "charge_game_role": "逐鹿",
        "charge_ip": "192.168.1.100",
    }


def test_a_phone_is_topped_up_with_money_or_data(client: Client) -> None:
    for kind, value, order_type in (("mobile", 50, 1), ("data", 500, 2)):
        wanted = {"charge_phone": "13800000000", "charge_value": value, "customer_order_no": kind}
        assert client.ask(f"order.{kind}.add", **wanted)["order_type"] == order_type
        assert client.info(kind)["charge_account"] == "13800000000"
        assert client.refused(f"order.{kind}.add", wanted | {"charge_phone": "1380000000"}) == 3008
        assert client.refused(f"order.{kind}.add", wanted | {"charge_value": 51}) == 3001


@pytest.mark.parametrize(
    ("method", "biz", "code"),
    [
        ("card", card(product_id=1), 3001),
        ("card", card(product_id=10000002), 3001),
        ("direct", game(product_id=10000001), 3001),
        ("card", card(buy_num=6), 1006),
        ("card", card(buy_num=0), 1006),
        ("card", card(buy_num="1.5"), 1006),
        ("card", card(customer_order_no=""), 1006),
        ("card", card(customer_order_no="x" * 51), 1006),
        ("direct", game(charge_account=""), 3008),
        ("direct", card(product_id=10000003), 3008),
        ("direct", game(charge_account="abcdef"), 3008),
        ("direct", game(charge_game_region=""), 3008),
        ("direct", game(charge_game_region="三区"), 3008),
    ],
)
def test_what_cannot_be_sold_is_refused_and_costs_nothing(
    client: Client, fulu: Fulu, method: str, biz: dict[str, Any], code: int
) -> None:
    assert client.refused(f"order.{method}.add", biz) == code
    assert Fulu.orders(fulu.url) == []
    assert Fulu.balance_e6(fulu.url) == 1_000_000_000


def test_shelf_stock_maintenance_and_purse_are_checked(client: Client, fulu: Fulu) -> None:
    def refused_with(**product: Any) -> int:
        Fulu.change_product(fulu.url, "10000001", **product)
        return client.refused("order.card.add", card())

    assert refused_with(on_sale=False) == 3002
    assert refused_with(on_sale=True, more={"maintenance": True}) == 3003
    assert refused_with(more={}, stock=0) == 3004
    Fulu.set_balance(fulu.url, 9_000_000)
    assert refused_with(stock=1) == 3005


def test_a_repeated_number_is_refused_told_again_or_bought_again(client: Client, fulu: Fulu) -> None:
    first = client.card(customer_order_no="one")["order_id"]
    assert client.refused("order.card.add", card(customer_order_no="one")) == 4001
    Fulu.behave(fulu.url, repeat="replays")
    assert client.card(customer_order_no="one")["order_id"] == first
    assert Fulu.bought_twice(fulu.url) == []
    Fulu.behave(fulu.url, repeat="buys")
    assert client.card(customer_order_no="one")["order_id"] != first
    assert Fulu.bought_twice(fulu.url) == ["one"]


def test_an_order_that_is_not_there_is_refused_or_answered_with_nothing(client: Client, fulu: Fulu) -> None:
    nobodys = {"customer_order_no": "none"}
    assert client.refused("order.info.get", nobodys) == 4002
    Fulu.behave(fulu.url, absent="empty")
    assert client.refused("order.info.get", nobodys) == 0


def test_a_refusal_may_have_no_signature_and_an_answer_has_one(client: Client, fulu: Fulu) -> None:
    Fulu.behave(fulu.url, refusals="unsigned")

    refused = client.answer(client.params("order.card.add", card(product_id=7)))

    assert (refused["code"], refused["result"], refused["sign"]) == (3001, "", None)
    assert client.card()


def test_only_known_traits_can_be_set(fulu: Fulu) -> None:
    for odd in ({"repeat": "sells"}, {"none": "x"}):
        with pytest.raises(HTTPError):
            Fulu.behave(fulu.url, **odd)


# -- callbacks ---------------------------------------------------------------------------------------------------------


def test_the_end_of_an_order_is_called_back_without_its_cards(client: Client, fulu: Fulu, inbox: Shop) -> None:
    Fulu.call_back(fulu.url, inbox.url)
    taken = client.card(customer_order_no="one", buy_num=2)

    (told,) = told_to(inbox, 1)

    assert genuine(told, client)
    assert (told["order_id"], told["customer_order_no"], told["order_status"]) == (taken["order_id"], "one", "success")
    assert (told["product_id"], told["price"], told["buy_num"]) == ("10000001", "9.5125", "2")
    assert "card" not in json.dumps(told)
    eventually(lambda: Fulu.told(fulu.url, taken["order_id"])[0]["state"] == "acknowledged")


def test_a_callback_has_the_fields_of_an_authentic_sample(client: Client, fulu: Fulu, inbox: Shop) -> None:
    sample = vectors("supplier_fulu.json")["order_callback_sample"]
    Fulu.call_back(fulu.url, inbox.url)
    client.ask("order.direct.add", **game())

    (told,) = told_to(inbox, 1)

    assert set(told) == set(sample)
    assert [len(told[name]) for name in ("order_id", "charge_finish_time", "operator_serial_number", "sign")] == [
        len(sample[name]) for name in ("order_id", "charge_finish_time", "operator_serial_number", "sign")
    ]
    assert told["recharge_description"] == sample["recharge_description"]


def test_nobody_is_called_back_where_no_address_was_set(client: Client, fulu: Fulu, inbox: Shop) -> None:
    Fulu.call_back(fulu.url, inbox.url)
    Fulu.call_back(fulu.url, "")
    client.card()
    assert Fulu.told(fulu.url) == []


def test_a_callback_comes_again_until_the_word_success(client: Client, fulu: Fulu, inbox: Shop) -> None:
    Fulu.call_back(fulu.url, inbox.url)
    inbox.answer = b"ok"
    taken = client.card()
    inbox.wait(2)
    inbox.answer = b"success"

    eventually(lambda: Fulu.told(fulu.url, taken["order_id"])[0]["state"] == "acknowledged")

    assert len(told_to(inbox)) == 3


def test_a_failure_is_called_back_and_so_is_a_refund(client: Client, fulu: Fulu, inbox: Shop) -> None:
    Fulu.call_back(fulu.url, inbox.url)
    Fulu.misbehave(fulu.url, "buy", "fails_late", seconds=0)
    client.card(customer_order_no="one")
    assert told_to(inbox, 1)[0]["order_status"] == "failed"

    good = client.card(customer_order_no="two")
    told_to(inbox, 2)
    Fulu.void(fulu.url, good["order_id"], refund=True)

    refund = told_to(inbox, 3)[2]
    assert genuine(refund, client)
    assert (refund["refund_status"], refund["customer_order_no"], "order_status" in refund) == ("success", "two", False)
    assert Fulu.bought(fulu.url, "two") == []
    assert client.info("two")["order_state"] == "success"
    Fulu.behave(fulu.url, refunded_state="failed")
    assert client.info("two")["order_state"] == "failed"


def test_callbacks_can_be_forged_doubled_reordered_stale_or_missing(client: Client, fulu: Fulu, inbox: Shop) -> None:
    def told_with(fault: str, number_of: int) -> list[dict[str, str]]:
        inbox.notices.clear()
        Fulu.misbehave(fulu.url, "callback", fault)
        order_id = client.card()["order_id"]
        eventually(lambda: all(one["tries"] for one in Fulu.told(fulu.url, order_id)))
        assert len(told_to(inbox)) == number_of, fault
        return sorted(told_to(inbox), key=lambda one: genuine(one, client))

    Fulu.call_back(fulu.url, inbox.url)
    forged, true_one = told_with("forged", 2)
    assert (forged["order_status"], genuine(forged, client)) == ("failed", False)
    assert (true_one["order_status"], genuine(true_one, client)) == ("success", True)
    assert len({compact(one) for one in told_with("twice", 2)}) == 1
    assert {one["order_status"] for one in told_with("reordered", 2)} == {"success", "processing"}
    today = f"{datetime.now(BEIJING):%Y-%m-%d}"
    assert {one["charge_finish_time"].startswith(today) for one in told_with("stale", 2)} == {True, False}
    assert told_with("none", 0) == []


def test_a_callback_can_be_badly_signed_or_lie_or_come_before_the_answer(
    client: Client, fulu: Fulu, inbox: Shop
) -> None:
    Fulu.call_back(fulu.url, inbox.url)
    Fulu.misbehave(fulu.url, "notify", "wrong_signature")
    order_id = client.card()["order_id"]
    assert not genuine(told_to(inbox, 1)[0], client)
    eventually(lambda: Fulu.told(fulu.url, order_id)[0]["state"] == "acknowledged")
    Fulu.tell(fulu.url, order_id, says="failed")
    assert told_to(inbox, 2)[1]["order_status"] == "failed"
    Fulu.misbehave(fulu.url, "buy", "callback_first")
    client.card(customer_order_no="early")
    assert told_to(inbox)[-1]["customer_order_no"] == "early"


# -- bad days ----------------------------------------------------------------------------------------------------------


def test_an_answer_can_be_lost_after_the_order_was_taken(client: Client, fulu: Fulu) -> None:
    for fault in ("silent", "500", "garbage", "cut_short"):
        Fulu.misbehave(fulu.url, "buy", fault)
        with pytest.raises((*HANG_UPS, json.JSONDecodeError)):
            client.card(customer_order_no=fault)
        assert len(Fulu.bought(fulu.url, fault)) == 1
        assert client.info(fault)["order_state"] == "success"


def test_an_answer_can_say_system_error_though_the_order_was_taken(client: Client, fulu: Fulu) -> None:
    Fulu.misbehave(fulu.url, "buy", "system_error")
    assert client.refused("order.card.add", card(customer_order_no="one")) == 2000
    assert client.info("one")["order_state"] == "success"


def test_an_answer_can_be_lost_before_anything_was_done(client: Client, fulu: Fulu) -> None:
    Fulu.misbehave(fulu.url, "buy", "before_silent")
    with pytest.raises(HANG_UPS):
        client.card(customer_order_no="one")
    for fault, expected in (("before_500", 500), ("before_429", 429), ("before_moved", 302)):
        Fulu.misbehave(fulu.url, "buy", fault)
        assert client.post(compact(client.params("order.card.add", card(customer_order_no="one"))))[0] == expected
    assert client.refused("order.info.get", {"customer_order_no": "one"}) == 4002


def test_it_can_be_slow_before_and_after(client: Client, fulu: Fulu) -> None:
    for fault in ("slow", "before_slow"):
        Fulu.misbehave(fulu.url, "buy", fault, seconds=0.3)
        began = time.monotonic()
        client.card()
        assert time.monotonic() - began >= 0.3


def test_it_can_refuse_what_is_right(client: Client, fulu: Fulu) -> None:
    for fault, code in (("refuse_signature", 1002), ("refuse_address", 1004), ("refuse_key", 1008)):
        Fulu.misbehave(fulu.url, "buy", fault)
        Fulu.misbehave(fulu.url, "balance", fault)
        assert client.refused("order.card.add", card()) == code
        assert client.refused("user.info.get", {}) == code
    assert Fulu.orders(fulu.url) == []


def test_an_answer_can_be_badly_signed_or_not_at_all(client: Client, fulu: Fulu) -> None:
    for fault in ("wrong_signature", "unsigned"):
        for method, biz in (("user.info.get", {}), ("order.card.add", card(customer_order_no=fault))):
            Fulu.misbehave(fulu.url, "balance" if method == "user.info.get" else "buy", fault)
            answer = client.answer(client.params(method, biz))
            assert (answer["code"], client.genuine(answer)) == (0, False)
        assert len(Fulu.bought(fulu.url, fault)) == 1


def test_it_can_say_that_an_order_is_absent_which_is_there(client: Client, fulu: Fulu) -> None:
    client.card(customer_order_no="one")
    Fulu.misbehave(fulu.url, "query", "absent", times=2)
    assert [client.refused("order.info.get", {"customer_order_no": "one"}) for _ in range(2)] == [4002, 4002]
    assert client.info("one")["order_state"] == "success"


def test_it_can_lie_about_stock(client: Client, fulu: Fulu) -> None:
    Fulu.change_product(fulu.url, "10000001", stock=0, shown=99)
    assert client.ask("goods.stock.check", product_id=10000001, buy_num=1)["stock_status"] == "充足"
    assert client.refused("order.card.add", card()) == 3004


def test_it_can_deliver_half_the_same_code_or_dearer(client: Client, fulu: Fulu) -> None:
    def bought_with(fault: str, **fields: Any) -> Any:
        if fault:
            Fulu.misbehave(fulu.url, "buy", fault)
        return client.info(client.card(**fields)["customer_order_no"])

    first = bought_with("")
    assert bought_with("same_code")["cards"] == first["cards"]
    assert len(bought_with("half", buy_num=4)["cards"]) == 2
    assert bought_with("dearer")["price"] == 19.025
    before = Fulu.balance_e6(fulu.url)
    Fulu.behave(fulu.url, half_money="given_back")
    bought_with("half", buy_num=4)
    assert before - Fulu.balance_e6(fulu.url) == 2 * 9_512_500


def test_it_can_deliver_late(client: Client, fulu: Fulu, inbox: Shop) -> None:
    Fulu.call_back(fulu.url, inbox.url)
    Fulu.misbehave(fulu.url, "buy", "late", seconds=0.2)
    client.card(customer_order_no="one")
    assert (client.info("one")["order_state"], told_to(inbox)) == ("processing", [])
    assert told_to(inbox, 1)[0]["order_status"] == "success"
    assert client.info("one")["cards"]


def test_it_can_go_down(client: Client, fulu: Fulu) -> None:
    Fulu.go_down(fulu.url, 60)
    with pytest.raises(HANG_UPS):
        client.ask("user.info.get")
    Fulu.go_down(fulu.url, 0)
    assert client.ask("user.info.get")


def test_orders_and_the_callback_address_outlive_a_restart(tmp_path: Path, inbox: Shop) -> None:
    state = tmp_path / "fulu.sqlite"
    with Fulu(state) as fulu:
        Fulu.put_products(fulu.url, [CARD])
        Fulu.call_back(fulu.url, inbox.url)
        Client(fulu).card(customer_order_no="one")
        told_to(inbox, 1)
    with Fulu(state) as fulu:
        assert Client(fulu).info("one")["order_state"] == "success"
        Client(fulu).card(customer_order_no="two")
        told_to(inbox, 2)
