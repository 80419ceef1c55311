"""Our side of acg-faka's shared store, against a shop of this test's own and against everything it might say."""

from __future__ import annotations

import hashlib
import json
import logging
import urllib.parse
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.kernel.money import Money
from shared.suppliers import wire
from shared.suppliers.adapters.acg import Acg
from shared.suppliers.errors import BadCallback, SupplierRefused, SupplierSilent
from shared.suppliers.registry import made
from shared.suppliers.supplier import (
    Account,
    Answer,
    Delivers,
    Outcome,
    Product,
    Purchase,
    Reason,
    Repeat,
    Supplier,
    Wish,
)
from tests.canned_supplier import RESET, SHORT, SILENT, Door, Sent, Told, closed_url, door

KEY = "key-of-this-test"
NOW = datetime(2026, 11, 23, 4, tzinfo=UTC)
NUMBER = "01jdabcdefghjkmnpqrstvwxyz0101"
PURCHASE = Purchase(NUMBER, "STEAM50", 2, 46_000_000, "https://shop.example/callbacks/acg")
ITEM: dict[str, Any] = {
    "id": 7,
    "code": "STEAM50",
    "name": "Steam 50元",
    "price": "49.00",
    "user_price": "47.00",
    "factory_price": 45.5,
    "delivery_way": 0,
    "minimum": 1,
    "maximum": 0,
    "stock": 12,
    "widget": "[]",
    "config": "",
}
TRADE: dict[str, Any] = {
    "url": "/x",
    "amount": "91.00",
    "tradeNo": "T2026112300001",
    "secret": "AAAA-0001\nBBBB-0002",
    "leave_message": "",
    "stock": 10,
}


def said(data: Any = None, code: int = 200, msg: str = "success") -> Told:
    return 200, json.dumps({"code": code, "msg": msg, "data": data}, ensure_ascii=False).encode()


class Shop:
    """items, trades: what it answers; `no` refuses every trade with these words."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = [ITEM]
        self.trade: Any = TRADE
        self.no = ""

    def __call__(self, sent: Sent) -> Told:
        match sent.path.rsplit("/", 1)[1]:
            case "connect":
                return said({"shopName": "测试", "balance": "1234.56"})
            case "items":
                return said([{"id": 1, "name": "游戏", "children": self.items}, {"id": 2, "name": "空"}])
            case "item":
                found = [item for item in self.items if item["code"] == sent.form["code"]]
                return said([{"children": found}]) if found else said(code=500, msg="商品不存在")
            case "trade" | "query" if self.no:
                return said(code=500, msg=self.no)
            case "trade" | "query":
                return said(self.trade)
        return 404, b""


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def at(shop: Shop) -> Iterator[Door]:
    with door(shop) as here:
        yield here


def adapter_at(url: str, **terms: str) -> Acg:
    return Acg(Account("acg1", "acg", {"site": url, "app_id": "10", **terms}), [{"app_key": KEY}])


@pytest.fixture
def ours(at: Door) -> Supplier:
    return adapter_at(at.url)


def outcome(answer: Answer) -> tuple[Outcome, Reason]:
    return answer.outcome, answer.reason


# --- buying ----------------------------------------------------------------------------------------------------------


def test_a_purchase_is_signed_over_what_is_sent_and_the_key_stays_here(ours: Supplier, at: Door) -> None:
    ours.place(PURCHASE, NOW)

    sent = at.last
    assert (sent.method, sent.target) == ("POST", "/shared/commodity/trade")
    assert sent.headers["content-type"] == "application/x-www-form-urlencoded"
    fields = sent.form
    signed = {name: value for name, value in sorted(fields.items()) if value and name != "sign"}
    plain = urllib.parse.unquote_plus(urllib.parse.urlencode(signed)) + f"&key={KEY}"
    assert fields["sign"] == hashlib.md5(plain.encode()).hexdigest()
    assert {name: fields[name] for name in ("shared_code", "num", "request_no", "app_id", "race")} == {
        "shared_code": "STEAM50",
        "num": "2",
        "request_no": NUMBER,
        "app_id": "10",
        "race": "",
    }
    assert "app_key" not in fields
    assert KEY.encode() not in b"".join(sent.body for sent in at.sent)


def test_the_cards_of_an_order_come_with_its_answer(ours: Supplier) -> None:
    answer = ours.place(PURCHASE, NOW)

    assert outcome(answer) == (Outcome.DELIVERED, Reason.NONE)
    assert [card.code.code for card in answer.goods] == ["AAAA-0001", "BBBB-0002"]
    assert (answer.upstream_no, answer.delivered, answer.cost_e6) == ("T2026112300001", 2, 91_000_000)
    assert "AAAA" not in answer.said + repr(answer)
    assert "T2026112300001" in answer.said


def test_half_an_order_is_told_as_half(ours: Supplier, shop: Shop) -> None:
    shop.trade = TRADE | {"secret": "AAAA-0001\n"}

    answer = ours.place(PURCHASE, NOW)

    assert (answer.outcome, answer.delivered, len(answer.goods)) == (Outcome.DELIVERED, 1, 1)


def test_more_lines_than_cards_are_for_a_person_to_read(ours: Supplier, shop: Shop) -> None:
    shop.trade = TRADE | {"secret": "AAAA-0001\nBBBB-0002\nCCCC-0003"}

    assert outcome(ours.place(PURCHASE, NOW)) == (Outcome.UNKNOWN, Reason.UNREADABLE)


@pytest.mark.parametrize("secret", ["", "正在发货中，请耐心等待，如有疑问，请联系客服。", None])
def test_what_a_person_delivers_there_is_accepted_and_asked_for_by_their_number(
    ours: Supplier, shop: Shop, at: Door, secret: str | None
) -> None:
    shop.trade = TRADE | {"secret": secret}
    answer = ours.place(PURCHASE, NOW)
    assert (answer.outcome, answer.upstream_no, answer.goods) == (Outcome.ACCEPTED, "T2026112300001", ())

    shop.trade = {"secret": "AAAA-0001\nBBBB-0002", "widget": None, "status": 1}
    later = ours.ask(NUMBER, answer.upstream_no, NOW)

    assert at.last.form["tradeNo"] == "T2026112300001"
    assert (later.outcome, later.delivered, later.upstream_no) == (Outcome.DELIVERED, 2, "T2026112300001")


def test_the_fields_of_a_topup_go_along_and_only_words_of_success_deliver_it(
    ours: Supplier, shop: Shop, at: Door
) -> None:
    shop.trade = TRADE | {"secret": "正在发货中"}
    topup = replace(PURCHASE, account={"qq": "10001", "num": "9", "area": "A"})

    assert ours.place(topup, NOW).outcome is Outcome.ACCEPTED
    assert [at.last.form[name] for name in ("qq", "area", "num")] == ["10001", "A", "2"]
    shop.trade = {"secret": "已充值", "widget": {"qq": {"value": "10001"}}, "status": 1}
    answer = ours.ask(NUMBER, "T2026112300001", NOW)
    assert (answer.outcome, answer.goods, answer.proof) == (Outcome.DELIVERED, (), "T2026112300001")
    shop.trade = {"secret": "ABCD-0001", "widget": {"qq": {"value": "10001"}}, "status": 1}
    assert ours.ask(NUMBER, "T2026112300001", NOW).outcome is Outcome.ACCEPTED


# --- what does not go well -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("库存不足", (Outcome.FAILED, Reason.NO_STOCK)),
        ("余额不足", (Outcome.FAILED, Reason.LOW_BALANCE)),
        ("商品已下架", (Outcome.FAILED, Reason.OFF_SHELF)),
        ("当前商品已停售", (Outcome.FAILED, Reason.OFF_SHELF)),
        ("最低购买5件", (Outcome.FAILED, Reason.BAD_QUANTITY)),
        ("密钥错误", (Outcome.REFUSED, Reason.BAD_SIGNATURE)),
        ("签名错误", (Outcome.REFUSED, Reason.BAD_SIGNATURE)),
        ("商户ID不存在", (Outcome.REFUSED, Reason.NOT_ALLOWED)),
        ("当前IP不在白名单", (Outcome.REFUSED, Reason.NOT_ALLOWED)),
        ("The request ID already exists", (Outcome.UNKNOWN, Reason.DUPLICATE)),
        ("发货失败，请联系管理员", (Outcome.UNKNOWN, Reason.OTHER)),
        (" ", (Outcome.UNKNOWN, Reason.OTHER)),
    ],
)
def test_a_refusal_is_definite_only_in_words_that_are_said_before_buying(
    ours: Supplier, shop: Shop, words: str, expected: tuple[Outcome, Reason]
) -> None:
    shop.no = words

    assert outcome(ours.place(PURCHASE, NOW)) == expected


def test_what_the_buyer_typed_says_nothing_and_is_not_kept(ours: Supplier, shop: Shop) -> None:
    shop.no = "账号 密钥错误 zhangsan 不存在"

    answer = ours.place(replace(PURCHASE, account={"qq": "密钥错误", "name": "zhangsan"}), NOW)

    assert outcome(answer) == (Outcome.FAILED, Reason.BAD_ACCOUNT)
    assert not any(typed in answer.said for typed in ("密钥错误", "zhangsan"))


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (RESET, (Outcome.UNKNOWN, Reason.SILENT)),
        (SILENT, (Outcome.UNKNOWN, Reason.SILENT)),
        (SHORT, (Outcome.UNKNOWN, Reason.SILENT)),
        ((502, b"<html>"), (Outcome.UNKNOWN, Reason.SILENT)),
        ((429, b"slow down"), (Outcome.RETRY, Reason.BUSY)),
        ((302, b""), (Outcome.UNKNOWN, Reason.UNREADABLE)),
        ((200, b"<html>"), (Outcome.UNKNOWN, Reason.UNREADABLE)),
        ((200, b"[]"), (Outcome.UNKNOWN, Reason.UNREADABLE)),
        ((200, b'{"code":200,"data":{}}'), (Outcome.UNKNOWN, Reason.UNREADABLE)),
        ((200, b'{"code":200,"data":null}'), (Outcome.UNKNOWN, Reason.UNREADABLE)),
        ((403, b"<html>WAF"), (Outcome.UNKNOWN, Reason.NOT_ALLOWED)),
    ],
)
def test_an_answer_that_is_lost_or_senseless_leaves_the_order_unknown(
    monkeypatch: pytest.MonkeyPatch, at: Door, ours: Supplier, fault: Told, expected: tuple[Outcome, Reason]
) -> None:
    short_of_patience(monkeypatch)
    at.faults = [fault]

    assert outcome(ours.place(PURCHASE, NOW)) == expected
    assert [sent.path for sent in at.sent] == ["/shared/commodity/trade"]


def short_of_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = wire.call
    monkeypatch.setattr(wire, "call", lambda *args, **more: whole(*args, **{"timeout": 0.5, **more}))


def test_what_never_left_here_may_be_sent_again() -> None:
    for url in (closed_url(), "http://shop.example", "ftp://127.0.0.1", "https://"):
        assert outcome(adapter_at(url).place(PURCHASE, NOW)) == (Outcome.RETRY, Reason.NOT_SENT)


@pytest.mark.parametrize("amount", [0.30000000000000004, "9.9元", -1, {}, True, None])
def test_an_odd_amount_takes_away_the_price_and_not_the_cards(ours: Supplier, shop: Shop, amount: Any) -> None:
    shop.trade = TRADE | {"amount": amount}

    answer = ours.place(PURCHASE, NOW)

    assert (answer.outcome, answer.upstream_no, len(answer.goods)) == (Outcome.DELIVERED, "T2026112300001", 2)
    assert answer.cost_e6 is None


def test_a_lost_order_cannot_be_asked_for_by_our_number(ours: Supplier, at: Door) -> None:
    assert ours.ask(NUMBER, "", NOW).outcome is Outcome.UNKNOWN
    assert at.sent == []


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (said(code=500, msg="订单不存在"), Outcome.ABSENT),
        (said(code=500, msg="库存不足"), Outcome.UNKNOWN),
        (said(code=500, msg="密钥错误"), Outcome.REFUSED),
        ((429, b""), Outcome.UNKNOWN),
        (RESET, Outcome.UNKNOWN),
        ((200, b"{}"), Outcome.UNKNOWN),
    ],
)
def test_a_question_that_fails_says_nothing_of_the_order(
    ours: Supplier, at: Door, fault: Told, expected: Outcome
) -> None:
    at.faults = [fault]

    assert ours.ask(NUMBER, "T2026112300001", NOW).outcome is expected


# --- what he sells ---------------------------------------------------------------------------------------------------


def test_products_are_offered_at_the_price_that_we_pay(ours: Supplier, shop: Shop) -> None:
    assert ours.products("", NOW).products == [
        Product("STEAM50", "Steam 50元", Delivers.CARDS, 45_500_000, stock=12),
    ]
    assert ours.products("", NOW).cursor == ""
    shop.items = [ITEM | {"factory_price": 0}]
    assert ours.products("", NOW).products[0].cost_e6 == 47_000_000


@pytest.mark.parametrize(
    "config",
    [
        "[category]\n月卡=19.8\n年卡=188\n[category_factory]\n月卡=18.8\n年卡=180.5\n",
        {"category": {"月卡": 19.8, "年卡": 188}, "category_factory": {"月卡": "18.8", "年卡": 180.5}},
    ],
)
def test_each_kind_of_an_item_is_a_product(ours: Supplier, shop: Shop, at: Door, config: Any) -> None:
    shop.items = [ITEM | {"config": config}]

    offered = ours.products("", NOW).products

    assert [(one.product, one.title, one.cost_e6, one.stock) for one in offered] == [
        ("STEAM50|月卡", "Steam 50元 月卡", 18_800_000, None),
        ("STEAM50|年卡", "Steam 50元 年卡", 180_500_000, None),
    ]
    assert ours.place(replace(PURCHASE, product="STEAM50|月卡"), NOW).outcome is Outcome.DELIVERED
    assert (at.last.form["shared_code"], at.last.form["race"]) == ("STEAM50", "月卡")


def test_what_wants_fields_is_a_topup_and_what_cannot_be_read_is_not_offered(ours: Supplier, shop: Shop) -> None:
    widget = [{"name": "qq", "cn": "QQ号"}, {"name": "area", "cn": "大区", "dict": "安卓=1,苹果=2"}]
    shop.items = [
        ITEM | {"code": "A", "widget": widget, "stock": "充足", "minimum": 2, "maximum": 5},
        ITEM | {"code": "B", "config": {"sku": {"颜色": {"红": 1}}}},
        ITEM | {"code": "C", "price": "x", "factory_price": None, "user_price": None},
        ITEM | {"code": None},
        ITEM | {"code": "D", "delivery_way": 1},
    ]

    first, last = ours.products("", NOW).products

    assert first.fields == (Wish("qq", "QQ号"), Wish("area", "大区", ("安卓", "苹果")))
    # One piece at a time: what is told of it later does not say of how many it was.
    assert (first.delivers, first.stock, first.least, first.most) == (Delivers.TOPUP, None, 2, 1)
    assert (last.product, last.stock) == ("D", None)


def test_the_balance_is_told_and_a_refusal_by_its_reason(ours: Supplier, at: Door) -> None:
    assert ours.balance(NOW) == Money(123456)
    at.faults = [said(code=500, msg="当前IP不在白名单")]
    with pytest.raises(SupplierRefused) as refused:
        ours.balance(NOW)
    assert refused.value.facts == {"supplier": "acg1", "reason": Reason.NOT_ALLOWED}
    for fault in ((200, b"{}"), (500, b""), RESET, (429, b"")):
        at.faults = [fault]
        with pytest.raises(SupplierSilent):
            ours.products("", NOW)


# --- the rest --------------------------------------------------------------------------------------------------------


def test_nothing_is_relied_on_that_the_protocol_does_not_have(ours: Supplier) -> None:
    assert (ours.traits.repeat, ours.traits.asks_by_ours) == (Repeat.REFUSES, False)
    assert (ours.traits.ceiling, ours.traits.calls_back) == (False, False)
    assert adapter_at("https://x.example", **{"trait.repeat": "buys"}).traits.repeat is Repeat.BUYS
    assert ours.check_account("STEAM50", {}, NOW) is None
    with pytest.raises(BadCallback):
        ours.parse_callback({}, b"x=1", NOW)


@pytest.mark.parametrize(
    ("terms", "keys"),
    [({"app_id": "1"}, [{"app_key": "k"}]), ({"site": "x"}, [{"app_key": "k"}]), ({"site": "x", "app_id": "1"}, [{}])],
)
def test_an_account_that_cannot_sign_is_no_account(terms: dict[str, str], keys: list[dict[str, str]]) -> None:
    with pytest.raises(ValueError, match="acg1"):
        made(Account("acg1", "acg", terms), keys)


def test_neither_key_nor_code_is_in_any_text_that_leaves_the_adapter(
    at: Door, shop: Shop, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    ours = adapter_at(at.url)
    told = [repr(ours), repr(ours.place(PURCHASE, NOW)), repr(ours.ask(NUMBER, "T1", NOW))]
    for fault in (RESET, (500, b"AAAA-0001"), (200, b"<p>AAAA-0001</p>"), (200, b'{"data":{"secret":"AAAA-0001"}}')):
        at.faults = [fault]
        told.append(repr(ours.place(PURCHASE, NOW)))

    assert not any(secret in "".join(told) + caplog.text + "".join(capfd.readouterr()) for secret in (KEY, "AAAA"))
