"""Our side of Fulu's open platform: the documented vectors, and everything that a counterpart might say."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import urllib.parse
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from shared.kernel.money import Money
from shared.suppliers import signing, wire
from shared.suppliers.adapters.fulu import Fulu
from shared.suppliers.errors import BadCallback, SupplierRefused, SupplierSilent
from shared.suppliers.registry import made
from shared.suppliers.supplier import (
    Account,
    Ack,
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

SECRET, OLD_SECRET = "secret-of-this-test-of-32-letters", "the-secret-before"
AES_SECRET = "0123456789abcdef0123456789abcdef"
NOW = datetime(2026, 11, 23, 4, tzinfo=UTC)
NUMBER = "01jdabcdefghjkmnpqrstvwxyz0101"
PURCHASE = Purchase(NUMBER, "10000001", 2, 46_000_000, "https://shop.example/callbacks/fulu")
CARD: dict[str, Any] = {
    "product_id": 10000001,
    "product_name": "京东E卡 50元",
    "product_type": "卡密",
    "face_value": 50,
    "purchase_price": 45.5,
    "template_id": "",
    "sales_status": "上架",
    "stock_status": "充足",
}
TOPUP = CARD | {"product_id": 10000002, "product_name": "Q币 10个", "product_type": "直充", "template_id": "t1"}
TEMPLATE = {
    "template_id": "t1",
    "fields": [
        {"name": "charge_account", "title": "QQ号", "type": "text", "required": True},
        {"name": "charge_type", "title": "类型", "type": "select", "options": ["Q币", "Q点"]},
    ],
}
CARDS = [
    {"card_number": "NUM-0001", "card_pwd": "AAAA-0001", "card_deadline": "2028-01-31 00:00:00"},
    {"card_number": "", "card_pwd": "BBBB-0002", "card_deadline": None},
]


def sign(text: str, secret: str = SECRET) -> str:
    return hashlib.md5(("".join(sorted(text)) + secret).encode()).hexdigest()


def said(result: Any = None, code: int = 0, message: str = "接口调用成功", secret: str = SECRET) -> Told:
    text = "" if result is None else json.dumps(result, ensure_ascii=False)
    told = {"code": code, "message": message, "result": text, "sign": sign(text, secret)}
    return 200, json.dumps(told, ensure_ascii=False).encode()


def order(**other: Any) -> dict[str, Any]:
    return {
        "order_id": "21052527311827521558",
        "customer_order_no": NUMBER,
        "product_id": 10000001,
        "order_type": 3,
        "order_state": "processing",
        "order_price": 91.0,
        "buy_num": 2,
        "cards": None,
        "operator_serial_number": "",
        "recharge_description": "",
        **other,
    }


class Platform:
    """order: what it tells of any order; `no` refuses orders and questions after them, by number and words."""

    def __init__(self) -> None:
        self.goods = [CARD, TOPUP]
        self.order = order()
        self.no: tuple[int, str] | None = None

    def __call__(self, sent: Sent) -> Told:
        request = json.loads(sent.body)
        content = json.loads(request["biz_content"])
        match request["method"]:
            case "fulu.goods.list.get":
                return said(self.goods)
            case "fulu.goods.info.get":
                found = [one for one in self.goods if one["product_id"] == content["product_id"]]
                return said(found[0]) if found else said(code=3001, message="商品不存在")
            case "fulu.goods.template.get":
                return said(TEMPLATE)
            case "fulu.user.info.get":
                return said({"name": "测试", "balance": 1234.5678})
        return said(code=self.no[0], message=self.no[1]) if self.no else said(self.order)


@pytest.fixture
def platform() -> Platform:
    return Platform()


@pytest.fixture
def at(platform: Platform) -> Iterator[Door]:
    with door(platform) as here:
        yield here


def adapter_at(url: str, *secrets: str, **terms: str) -> Fulu:
    keys = [{"app_secret": secret} for secret in secrets or (SECRET, OLD_SECRET)]
    return Fulu(Account("fulu1", "fulu", {"site": url, "app_key": "app", **terms}), keys)


@pytest.fixture
def ours(at: Door) -> Supplier:
    return adapter_at(at.url)


def outcome(answer: Answer) -> tuple[Outcome, Reason]:
    return answer.outcome, answer.reason


def content(sent: Sent) -> dict[str, Any]:
    return dict(json.loads(json.loads(sent.body)["biz_content"]))


# --- signatures ------------------------------------------------------------------------------------------------------


def test_the_documented_request_is_signed_as_computed() -> None:
    told = vectors("supplier_fulu.json")
    computed = told["computed_by_us"]

    assert signing.fulu_request(told["request_from_docs"], computed["secret"]) == computed["sign"]
    assert adapter_at("https://x.example").ack(True) == Ack(200, told["ack"])


def test_what_is_signed_is_what_is_sent(ours: Supplier, at: Door) -> None:
    ours.place(PURCHASE, NOW)

    sent = at.last
    assert (sent.method, sent.target) == ("POST", "/api/getway")
    assert sent.headers["content-type"] == "application/json"
    request = json.loads(sent.body)
    given = request.pop("sign")
    text = sent.body.decode().replace(f',"sign":"{given}"', "")
    assert given == sign(text)
    assert text == json.dumps(request, ensure_ascii=False, separators=(",", ":"))
    assert request | {"biz_content": ""} == {
        "app_key": "app",
        "method": "fulu.order.card.add",
        "timestamp": "2026-11-23 12:00:00",
        "version": "2.0",
        "format": "json",
        "charset": "utf-8",
        "sign_type": "md5",
        "app_auth_token": "",
        "biz_content": "",
    }
    assert content(sent) == {"product_id": 10000001, "customer_order_no": NUMBER, "buy_num": 2}


# --- buying ----------------------------------------------------------------------------------------------------------


def test_an_order_is_accepted_first_and_its_cards_are_asked_for(ours: Supplier, platform: Platform, at: Door) -> None:
    accepted = ours.place(PURCHASE, NOW)
    platform.order = order(order_state="success", cards=CARDS)
    delivered = ours.ask(NUMBER, accepted.upstream_no, NOW)

    assert (accepted.outcome, accepted.upstream_no) == (Outcome.ACCEPTED, "21052527311827521558")
    assert content(at.last) == {"customer_order_no": NUMBER}
    assert (delivered.outcome, delivered.delivered, delivered.cost_e6) == (Outcome.DELIVERED, 2, 91_000_000)
    assert [(card.code.code, card.code.number, card.expires_on) for card in delivered.goods] == [
        ("AAAA-0001", "NUM-0001", date(2028, 1, 31)),
        ("BBBB-0002", None, None),
    ]
    assert not any(secret in delivered.said for secret in ("AAAA", "BBBB", "NUM-0001"))


def test_half_an_order_is_told_as_half_and_none_of_it_as_not_yet(ours: Supplier, platform: Platform) -> None:
    platform.order = order(order_state="success", cards=CARDS[:1])
    assert ours.ask(NUMBER, "", NOW).delivered == 1
    platform.order = order(order_state="success", cards=[])
    assert ours.ask(NUMBER, "", NOW).outcome is Outcome.ACCEPTED


def test_cards_of_an_order_that_is_called_failed_are_ours(ours: Supplier, platform: Platform) -> None:
    platform.order = order(order_state="failed", cards=CARDS[:1], recharge_description="部分失败")

    answer = ours.ask(NUMBER, "", NOW)

    assert (outcome(answer), len(answer.goods)) == ((Outcome.DELIVERED, Reason.OTHER), 1)
    assert (answer.delivered, answer.cost_e6) == (1, None)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"order_price": 0.30000000000000004}, (Outcome.DELIVERED, Reason.NONE)),
        ({"order_price": "free"}, (Outcome.DELIVERED, Reason.NONE)),
        ({"order_price": None}, (Outcome.DELIVERED, Reason.NONE)),
        ({"cards": [{}]}, (Outcome.UNKNOWN, Reason.UNREADABLE)),
        ({"cards": [*CARDS, CARDS[0]]}, (Outcome.UNKNOWN, Reason.UNREADABLE)),  # more than were ordered
    ],
)
def test_an_odd_detail_of_an_order_does_not_take_away_its_number_nor_its_cards(
    ours: Supplier, platform: Platform, other: dict[str, Any], expected: tuple[Outcome, Reason]
) -> None:
    platform.order = order(order_state="success", cards=CARDS) | other

    answer = ours.ask(NUMBER, "", NOW)

    assert (outcome(answer), answer.upstream_no) == (expected, "21052527311827521558")
    assert answer.cost_e6 is None


@pytest.mark.parametrize("deadline", ["永久有效", "0001-01-01 00:00:00", "1970-01-01", 0, "", None])
def test_a_deadline_that_is_none_is_no_end(ours: Supplier, platform: Platform, deadline: Any) -> None:
    platform.order = order(order_state="success", cards=[CARDS[0] | {"card_deadline": deadline}])

    assert [card.expires_on for card in ours.ask(NUMBER, "", NOW).goods] == [None]


def test_a_topup_carries_the_account_and_is_delivered_in_pieces(ours: Supplier, platform: Platform, at: Door) -> None:
    account = {"charge_account": "10001", "charge_type": "Q币", "buy_num": "99"}
    topup = replace(PURCHASE, product="10000002", account=account)
    platform.order = order(
        order_type=4, order_state="success", operator_serial_number="5146", recharge_description="充值成功"
    )

    answer = ours.place(topup, NOW)

    assert json.loads(at.last.body)["method"] == "fulu.order.direct.add"
    assert content(at.last) == {
        "charge_account": "10001",
        "charge_type": "Q币",
        "product_id": 10000002,
        "customer_order_no": NUMBER,
        "buy_num": 2,
    }
    assert (answer.outcome, answer.delivered, answer.goods, answer.proof) == (Outcome.DELIVERED, 2, [], "5146")
    assert "10001" not in answer.said.replace("10000002", "").replace("10000001", "")


@pytest.mark.parametrize(
    ("state", "words", "expected"),
    [
        ("untreated", "", (Outcome.ACCEPTED, Reason.NONE)),
        ("failed", "充值失败", (Outcome.FAILED, Reason.OTHER)),
        ("failed", "充值账号错误", (Outcome.FAILED, Reason.BAD_ACCOUNT)),
        ("failed", "库存不足", (Outcome.FAILED, Reason.NO_STOCK)),
        ("undone", "", (Outcome.UNKNOWN, Reason.OTHER)),
    ],
)
def test_the_state_of_an_order_is_read(
    ours: Supplier, platform: Platform, state: str, words: str, expected: tuple[Outcome, Reason]
) -> None:
    platform.order = order(order_state=state, recharge_description=words)

    assert outcome(ours.ask(NUMBER, "", NOW)) == expected


# --- ciphers ---------------------------------------------------------------------------------------------------------


def enciphered(text: str, secret: str = AES_SECRET) -> str:
    pad = 16 - len(text) % 16
    encryptor = Cipher(algorithms.AES(secret.encode()), modes.ECB()).encryptor()
    return base64.b64encode(encryptor.update((text + chr(pad) * pad).encode()) + encryptor.finalize()).decode()


def test_cards_are_deciphered_only_where_the_terms_say_so(at: Door, platform: Platform) -> None:
    cards = [{"card_number": enciphered("NUM-0001"), "card_pwd": enciphered("AAAA-0001")}]
    platform.order = order(order_state="success", cards=cards)
    door_answers = at.answer
    at.answer = lambda sent: resigned(door_answers(sent), AES_SECRET)

    (card,) = adapter_at(at.url, SECRET, AES_SECRET, card_cipher="aes").ask(NUMBER, "", NOW).goods
    unsaid = adapter_at(at.url, AES_SECRET).ask(NUMBER, "", NOW)
    (plain,) = adapter_at(at.url, AES_SECRET, card_cipher="none").ask(NUMBER, "", NOW).goods

    assert (card.code.code, card.code.number) == ("AAAA-0001", "NUM-0001")
    assert outcome(unsaid) == (Outcome.UNKNOWN, Reason.UNREADABLE)
    assert plain.code.code == enciphered("AAAA-0001")


def resigned(told: Told, secret: str) -> Told:
    assert not isinstance(told, str)
    fields = json.loads(told[1])
    return 200, json.dumps(fields | {"sign": sign(fields["result"], secret)}).encode()


def test_a_cipher_under_another_secret_is_delivered_to_nobody(at: Door, platform: Platform) -> None:
    ours = adapter_at(at.url, card_cipher="aes")
    for text in (enciphered("AAAA-0001"), "AAAA-0001"):
        platform.order = order(order_state="success", cards=[{"card_number": "", "card_pwd": text}])
        assert outcome(ours.ask(NUMBER, "", NOW)) == (Outcome.UNKNOWN, Reason.UNREADABLE)


# --- what does not go well -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [3001, 3002, 3003, 3004, 3005, 3008])
def test_six_numbers_are_definite_with_words_of_that_kind_or_where_the_terms_say_so(
    at: Door, platform: Platform, code: int
) -> None:
    unsure, sure = adapter_at(at.url), adapter_at(at.url, definite_codes=f"9001 {code}")
    for words, expected in {
        "库存不足": ((Outcome.FAILED, Reason.NO_STOCK),) * 2,
        "系统异常": ((Outcome.UNKNOWN, Reason.OTHER), (Outcome.FAILED, Reason.OTHER)),
        # It may be this order.
        "外部订单号已存在": ((Outcome.UNKNOWN, Reason.DUPLICATE),) * 2,
    }.items():
        platform.no = (code, words)
        assert (outcome(unsure.place(PURCHASE, NOW)), outcome(sure.place(PURCHASE, NOW))) == expected
        assert sure.ask(NUMBER, "", NOW).outcome is Outcome.UNKNOWN  # of an order they say nothing


@pytest.mark.parametrize(
    ("code", "words", "expected"),
    [
        (3004, "库存不足", (Outcome.FAILED, Reason.NO_STOCK)),
        (3005, "余额不足", (Outcome.FAILED, Reason.LOW_BALANCE)),
        (3008, "充值账号不存在", (Outcome.UNKNOWN, Reason.OTHER)),  # of cards: it is not the buyer's
        (1002, "签名错误", (Outcome.REFUSED, Reason.BAD_SIGNATURE)),
        (1004, "IP不在白名单", (Outcome.REFUSED, Reason.NOT_ALLOWED)),
        (1008, "商户已禁用", (Outcome.REFUSED, Reason.NOT_ALLOWED)),
        (4001, "外部订单号已存在", (Outcome.UNKNOWN, Reason.DUPLICATE)),
        (2000, "系统异常", (Outcome.UNKNOWN, Reason.OTHER)),
        (1007, "请求过于频繁", (Outcome.UNKNOWN, Reason.OTHER)),
        (9999, "库存不足", (Outcome.UNKNOWN, Reason.NO_STOCK)),
    ],
)
def test_other_numbers_are_no_promise(
    ours: Supplier, platform: Platform, code: int, words: str, expected: tuple[Outcome, Reason]
) -> None:
    platform.no = (code, words)

    assert outcome(ours.place(PURCHASE, NOW)) == expected


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (RESET, (Outcome.UNKNOWN, Reason.SILENT)),
        (SILENT, (Outcome.UNKNOWN, Reason.SILENT)),
        (SHORT, (Outcome.UNKNOWN, Reason.SILENT)),
        ((503, b""), (Outcome.UNKNOWN, Reason.SILENT)),
        ((429, b""), (Outcome.RETRY, Reason.BUSY)),
        ((302, b""), (Outcome.UNKNOWN, Reason.UNREADABLE)),
        ((200, b"<html>"), (Outcome.UNKNOWN, Reason.UNREADABLE)),
        (said(order(), secret="another"), (Outcome.UNKNOWN, Reason.BAD_SIGNATURE)),
        (said(code=3004, message="库存不足", secret="another"), (Outcome.UNKNOWN, Reason.BAD_SIGNATURE)),
        (said(code=1002, message="签名错误", secret="another"), (Outcome.REFUSED, Reason.BAD_SIGNATURE)),
        (said(order(customer_order_no="another")), (Outcome.UNKNOWN, Reason.UNREADABLE)),
        (said([]), (Outcome.UNKNOWN, Reason.UNREADABLE)),
        (said(), (Outcome.UNKNOWN, Reason.UNREADABLE)),
    ],
)
def test_an_answer_that_is_lost_senseless_or_forged_leaves_the_order_unknown(
    monkeypatch: pytest.MonkeyPatch, at: Door, ours: Supplier, fault: Told, expected: tuple[Outcome, Reason]
) -> None:
    whole = wire.call
    monkeypatch.setattr(wire, "call", lambda *args, **more: whole(*args, **{"timeout": 0.5, **more}))
    at.faults = [fault]

    assert outcome(ours.place(PURCHASE, NOW)) == expected
    assert len(at.sent) == 1

    at.faults = [fault]
    question = ours.ask(NUMBER, "", NOW)
    assert question.outcome is (Outcome.REFUSED if expected[0] is Outcome.REFUSED else Outcome.UNKNOWN)


def test_what_never_left_here_may_be_sent_again() -> None:
    for url in (closed_url(), "http://shop.example"):
        assert outcome(adapter_at(url).place(PURCHASE, NOW)) == (Outcome.RETRY, Reason.NOT_SENT)


def test_the_words_of_a_refusal_do_not_say_what_the_buyer_typed(ours: Supplier, platform: Platform) -> None:
    platform.no = (3008, "充值账号 签名错误 不存在")
    topup = replace(PURCHASE, product="10000002", account={"charge_account": "签名错误"})

    answer = ours.place(topup, NOW)

    assert outcome(answer) == (Outcome.FAILED, Reason.BAD_ACCOUNT)
    assert "签名错误" not in answer.said


@pytest.mark.parametrize("bare", ["", None])
def test_a_refusal_without_a_signature_is_believed_only_where_the_terms_say_so(at: Door, bare: str | None) -> None:
    def no(code: int, words: str, result: str = "") -> Told:
        return 200, json.dumps({"code": code, "message": words, "result": result, "sign": bare}).encode()

    taken, not_taken = adapter_at(at.url, refusals="unsigned"), adapter_at(at.url)
    at.faults = [no(3004, "库存不足")] * 2 + [no(4002, "订单不存在")] * 2
    assert outcome(not_taken.place(PURCHASE, NOW)) == (Outcome.UNKNOWN, Reason.BAD_SIGNATURE)
    assert outcome(taken.place(PURCHASE, NOW)) == (Outcome.FAILED, Reason.NO_STOCK)
    assert outcome(not_taken.ask(NUMBER, "", NOW)) == (Outcome.UNKNOWN, Reason.BAD_SIGNATURE)
    assert taken.ask(NUMBER, "", NOW).outcome is Outcome.ABSENT
    # Whatever has a result, and what is no refusal, must be signed there, too.
    at.faults = [
        no(3004, "库存不足", "{}"),
        no(0, "接口调用成功"),
        said(code=3004, message="库存不足", secret="another"),
    ]
    for _ in range(3):
        assert outcome(taken.place(PURCHASE, NOW)) == (Outcome.UNKNOWN, Reason.BAD_SIGNATURE)


def test_an_order_that_is_not_there_is_absent_only_in_his_own_words(
    ours: Supplier, platform: Platform, at: Door
) -> None:
    platform.no = (4002, "订单不存在")
    assert ours.ask(NUMBER, "", NOW).outcome is Outcome.ABSENT
    at.faults = [said(code=4002, message="订单不存在", secret="another")]
    assert ours.ask(NUMBER, "", NOW).outcome is Outcome.UNKNOWN


# --- what he sells ---------------------------------------------------------------------------------------------------


def test_cards_and_topups_are_offered_and_other_lines_are_not(ours: Supplier, platform: Platform) -> None:
    platform.goods = [
        CARD,
        TOPUP | {"stock_status": "断货", "sales_status": "下架"},
        CARD | {"product_type": "流量"},
        {},
    ]

    assert ours.products("", NOW).products == [
        Product("10000001", "京东E卡 50元", Delivers.CARDS, 45_500_000),
        Product("10000002", "Q币 10个", Delivers.TOPUP, 45_500_000, stock=0, on_sale=False),
    ]


def test_a_topup_says_what_it_must_be_told(ours: Supplier, at: Door) -> None:
    product = ours.product("10000002", NOW)
    assert product
    assert product.fields == (Wish("charge_account", "QQ号"), Wish("charge_type", "类型", ("Q币", "Q点")))
    assert ours.product("7", NOW) is None


@pytest.mark.parametrize("other", [{"template_id": ""}, {"template_id": None}, {"product_type": "话费"}])
def test_a_topup_of_which_nobody_can_say_what_it_must_be_told_is_not_sold(
    ours: Supplier, platform: Platform, other: dict[str, Any]
) -> None:
    platform.goods = [TOPUP | other]
    assert ours.product("10000002", NOW) is None
    del platform.goods[0]["template_id"]
    assert ours.product("10000002", NOW) is None


def test_the_balance_is_told_or_why_not(ours: Supplier, at: Door) -> None:
    assert ours.balance(NOW) == Money(123457)
    at.faults = [said(code=1002, message="签名错误", secret="another")]
    with pytest.raises(SupplierRefused) as refused:
        ours.balance(NOW)
    assert refused.value.facts["reason"] == Reason.BAD_SIGNATURE
    for fault in (said({"balance": 1}, secret="another"), said({}), (500, b""), RESET):
        at.faults = [fault]
        with pytest.raises(SupplierSilent):
            ours.balance(NOW)


# --- callbacks -------------------------------------------------------------------------------------------------------


CALLBACK = {
    "order_id": "21052527311827521558",
    "charge_finish_time": "2021-05-25 16:02:04",
    "customer_order_no": NUMBER,
    "order_status": "success",
    "recharge_description": "充值成功 a/b",
    "product_id": "10015788",
    "price": "49.8750",
    "buy_num": "1",
    "operator_serial_number": "514656091005086760",
}
REFUND = {
    "order_id": "2105",
    "customer_order_no": NUMBER,
    "refund_time": "2021-05-25 16:02:04",
    "refund_status": "success",
}


def callback(fields: dict[str, str], secret: str = SECRET) -> bytes:
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    return urllib.parse.urlencode({**fields, "sign": sign(text, secret)}).encode()


hearing = adapter_at("https://x.example")


@pytest.mark.parametrize("fields", [CALLBACK, REFUND])
@pytest.mark.parametrize("secret", [SECRET, OLD_SECRET])
def test_a_callback_of_an_order_or_a_refund_names_our_order(fields: dict[str, str], secret: str) -> None:
    news = hearing.parse_callback({}, callback(fields, secret), NOW)
    assert news == News(number=NUMBER, taken_back=fields is REFUND)


def test_a_refund_that_did_not_come_about_takes_nothing_back() -> None:
    assert not hearing.parse_callback({}, callback({**REFUND, "refund_status": "failed"}), NOW).taken_back


def test_a_callback_with_the_documented_fields_is_read() -> None:
    sample = {
        name: value for name, value in vectors("supplier_fulu.json")["order_callback_sample"].items() if name != "sign"
    }

    news = hearing.parse_callback({}, callback(sample), NOW)

    assert news == News(number=sample["customer_order_no"])


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"sign=",
        callback(CALLBACK, "another"),
        callback({**CALLBACK, "order_status": "failed"}).replace(b"failed", b"success"),
        callback(CALLBACK) + b"&more=1",
        callback(CALLBACK) + b"&sign=1",
        callback(CALLBACK) + b"&buy_num=1",
        callback({"order_id": "1"}),
        callback({**CALLBACK, "customer_order_no": "x" * 200}),
        callback({**CALLBACK, "recharge_description": "x" * 9000}),
        json.dumps({**CALLBACK, "sign": "x"}).encode(),
    ],
)
def test_a_forged_or_senseless_callback_is_refused(raw: bytes) -> None:
    with pytest.raises(BadCallback):
        hearing.parse_callback({}, raw, NOW)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_by_name(raw: bytes) -> None:
    with pytest.raises(BadCallback):
        hearing.parse_callback({}, raw, NOW)


@given(st.integers(0, 1000), st.integers(1, 255))
def test_one_changed_byte_is_refused_or_changes_nothing(place: int, change: int) -> None:
    whole = callback(CALLBACK)
    raw = bytearray(whole)
    raw[place % len(raw)] ^= change
    try:
        hearing.parse_callback({}, bytes(raw), NOW)
    except BadCallback:
        return
    # Sorted, the characters of two values may be swapped without anybody noticing: a callback is a hint.
    was, now = (urllib.parse.parse_qsl(text.decode()) for text in (whole, bytes(raw)))
    assert sorted("".join(map("".join, was))) == sorted("".join(map("".join, now)))


# --- the rest --------------------------------------------------------------------------------------------------------


def test_what_is_not_documented_is_not_relied_on() -> None:
    assert hearing.traits.repeat is Repeat.BUYS
    assert (hearing.traits.asks_by_ours, hearing.traits.calls_back, hearing.traits.ceiling) == (True, True, False)
    assert hearing.ack(False).body != "success"


@pytest.mark.parametrize(
    ("terms", "keys"),
    [
        ({}, {"app_secret": SECRET}),
        ({"app_key": "a"}, {}),
        ({"app_key": "a", "card_cipher": "des"}, {"app_secret": SECRET}),
        ({"app_key": "a", "refusals": "some"}, {"app_secret": SECRET}),
        ({"app_key": "a", "definite_codes": "3001,3002"}, {"app_secret": SECRET}),
    ],
)
def test_an_account_that_cannot_be_used_is_none(terms: dict[str, str], keys: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="fulu1"):
        made(Account("fulu1", "fulu", terms), [keys])


def test_neither_secret_nor_code_is_in_any_text_that_leaves_the_adapter(
    at: Door, platform: Platform, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    ours = adapter_at(at.url)
    platform.order = order(order_state="success", cards=CARDS)
    told = [repr(ours), ours.place(PURCHASE, NOW).said, repr(ours.ask(NUMBER, "", NOW))]
    for fault in (RESET, (500, b"AAAA-0001"), said(order(cards=CARDS), secret="another")):
        at.faults = [fault]
        told.append(repr(ours.ask(NUMBER, "", NOW)))

    assert not any(secret in "".join(told) + caplog.text + "".join(capfd.readouterr()) for secret in (SECRET, "AAAA"))
