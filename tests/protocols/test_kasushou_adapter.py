"""Our side of kasushou 2.0: against what it documents, and a site that says whatever it likes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.kernel.money import Money
from shared.kernel.vault import Secret
from shared.suppliers import wire
from shared.suppliers.adapters.kasushou import Kasushou
from shared.suppliers.errors import BadCallback, SupplierRefused, SupplierSilent
from shared.suppliers.registry import made
from shared.suppliers.supplier import (
    Account,
    Ack,
    Answer,
    Delivers,
    Goods,
    News,
    Outcome,
    Page,
    Product,
    Purchase,
    Reason,
    Repeat,
    Wish,
)
from tests.canned_http import Heard, Script, canned, refusing, said
from tests.published import vectors
from tests.supplier_faults import FAULTS, SHORTLY

NOW = datetime(2026, 5, 1, 4, 0, 0, 250_000, tzinfo=UTC)
STAMP = str(int(NOW.timestamp() * 1000))
KEYS = [{"api_key": "key-2"}, {"api_key": "key-1"}]
NUMBER = "01jt5z0000000000000000000a0101"
PURCHASE = Purchase(NUMBER, "7", 2, 9_987_654, "https://ours.example/c/卡")
BOUGHT = {"code": 200, "msg": "成功", "data": {"ordersn": "D1007", "external_orderno": NUMBER}}


def at(site: str, **terms: str) -> Kasushou:
    return Kasushou(Account("site", "kasushou", {"site": site, "user_id": "10000", **terms}), KEYS)


ours = at("https://site.example")


def assert_signed(heard: Heard) -> None:
    """As the vendor's document computes it, by hand."""
    assert heard.method == "POST"
    assert (heard.headers["timestamp"], heard.headers["userid"]) == (STAMP, "10000")
    assert heard.headers["sign"] == hashlib.sha1(STAMP.encode() + heard.body + b"key-2").hexdigest()


def placed(script: Script, purchase: Purchase = PURCHASE) -> Answer:
    with canned(script) as site:
        return at(site.address).place(purchase, NOW)


def asked(script: Script, upstream_no: str = "D1007") -> Answer:
    with canned(script) as site:
        return at(site.address).ask(NUMBER, upstream_no, NOW)


def order(status: int, cards: int = 0, **other: Any) -> dict[str, Any]:
    card_list = [{"card_no": f"N{n}", "card_password": f"PASS-{n}", "card_show_type": 1} for n in range(cards)]
    found = {"ordersn": "D1007", "external_orderno": NUMBER, "recharge_info": [], "status": status, **other}
    return {"code": 200, "msg": "成功", "data": [{"card_list": card_list, **found}]}


def goods(**other: Any) -> dict[str, Any]:
    found = {"id": 7, "goods_name": "月卡", "goods_type": 1, "goods_price": "9.90", "status": 1, "stock_num": 12}
    return {"code": 200, "msg": "成功", "data": {**found, "start_count": 1, "end_count": 10, "attach": [], **other}}


# --- accounts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("terms", "keys"),
    [
        ({"user_id": "1"}, KEYS),
        ({"site": "https://site.example"}, KEYS),
        ({"site": "http://site.example", "user_id": "1"}, KEYS),
        ({"site": "https://site.example", "user_id": "1"}, []),
        ({"site": "https://site.example", "user_id": "1"}, [{}]),
    ],
)
def test_an_account_that_cannot_work_is_refused_at_once(terms: Mapping[str, str], keys: list[dict[str, str]]) -> None:
    with pytest.raises(ValueError, match="supplier site"):
        made(Account("site", "kasushou", terms), keys)


def test_what_is_not_documented_is_taken_at_its_worst_until_terms_say_otherwise() -> None:
    traits = ours.traits
    assert (traits.repeat, traits.ceiling, traits.calls_back) == (Repeat.BUYS, False, False)
    assert traits.asks_by_ours
    assert at("https://site.example", **{"trait.repeat": "refuses"}).traits.repeat is Repeat.REFUSES


def test_nothing_secret_is_shown() -> None:
    assert "key-2" not in repr(ours)


# --- buying ----------------------------------------------------------------------------------------------------------


def test_an_order_is_signed_as_it_is_sent() -> None:
    with canned(said(BOUGHT)) as site:
        answer = at(site.address + "/").place(replace(PURCHASE, account={"uid": "4/2"}), NOW)

        assert [heard.path for heard in site.heard] == ["/api/v1/order/buy"]
        assert (
            site.last.body
            == (
                '{"attach":{"uid":"4/2"},"external_orderno":"' + NUMBER + '","id":7,"quantity":2,'
                '"safe_price":"9.9876","url":"https://ours.example/c/卡"}'
            ).encode()
        )
        assert_signed(site.last)
    assert replace(answer, said="") == Answer(Outcome.ACCEPTED, upstream_no="D1007")


@pytest.mark.parametrize(
    ("message", "outcome", "reason"),
    [
        ("签名错误", Outcome.REFUSED, Reason.BAD_SIGNATURE),
        ("IP不在白名单", Outcome.REFUSED, Reason.NOT_ALLOWED),
        ("商品库存不足", Outcome.FAILED, Reason.NO_STOCK),
        ("商品已下架", Outcome.FAILED, Reason.OFF_SHELF),
        ("商品价格高于安全价格", Outcome.FAILED, Reason.ABOVE_CEILING),
        ("余额不足", Outcome.FAILED, Reason.LOW_BALANCE),
        ("充值账号错误", Outcome.UNKNOWN, Reason.OTHER),  # whose, of an order for cards
        ("没有权限查询订单", Outcome.UNKNOWN, Reason.OTHER),
        ("订单查询接口不存在", Outcome.UNKNOWN, Reason.OTHER),
        ("订单所属商户不存在", Outcome.REFUSED, Reason.NOT_ALLOWED),
        ("外部订单号已存在", Outcome.UNKNOWN, Reason.DUPLICATE),
        ("系统繁忙", Outcome.UNKNOWN, Reason.OTHER),
        ("", Outcome.UNKNOWN, Reason.OTHER),
    ],
)
def test_each_refusal_says_whether_anything_may_be_bought(message: str, outcome: Outcome, reason: Reason) -> None:
    refusal = said({"code": 400, "msg": message, "data": []})
    answer = placed(refusal)
    assert (answer.outcome, answer.reason) == (outcome, reason)

    # Of an order that is there, only its own state says that nothing came of it.
    assert asked(refusal).outcome is (Outcome.REFUSED if outcome is Outcome.REFUSED else Outcome.UNKNOWN)


def test_of_a_top_up_the_account_may_be_wrong_and_what_was_typed_means_nothing() -> None:
    top_up = replace(PURCHASE, account={"uid": "签名错误"})
    for words in ("充值账号不正确", "充值账号 签名错误 不存在"):
        answer = placed(said({"code": 400, "msg": words}), top_up)
        assert (answer.outcome, answer.reason) == (Outcome.FAILED, Reason.BAD_ACCOUNT)
        assert "签名错误" not in answer.said


def test_a_product_that_can_be_none_of_his_is_not_asked_for() -> None:
    with canned(said(BOUGHT)) as site:
        for product in ("", "x", "7-1", "٧"):
            assert at(site.address).place(replace(PURCHASE, product=product), NOW).reason is Reason.OFF_SHELF
            assert at(site.address).product(product, NOW) is None
        assert not site.heard


@pytest.mark.parametrize("fault", FAULTS)
def test_what_goes_wrong_says_what_is_known(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "TIMEOUT", SHORTLY)
    script, outcome, reason = FAULTS[fault]
    placing, asking = placed(script), asked(script)
    assert (placing.outcome, placing.reason) == (outcome, reason)
    assert (asking.outcome, asking.reason) == (Outcome.UNKNOWN if outcome is Outcome.RETRY else outcome, reason)
    with canned(script) as site, pytest.raises((SupplierSilent, SupplierRefused)):
        at(site.address).balance(NOW)


def test_where_nobody_listens_nothing_was_bought() -> None:
    site = at(refusing())
    assert site.place(PURCHASE, NOW) == Answer(Outcome.RETRY, Reason.NOT_SENT)
    assert site.ask(NUMBER, "", NOW) == Answer(Outcome.UNKNOWN, Reason.NOT_SENT)


# --- asking ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("upstream_no", "body"),
    [("D1007", '{"day":0,"ordersn":"D1007"}'), ("", '{"day":0,"external_orderno":"' + NUMBER + '"}')],
)
def test_an_order_is_asked_after_by_his_number_or_else_by_ours(upstream_no: str, body: str) -> None:
    with canned(said(order(3, 2, total_price="19.80"))) as site:
        answer = at(site.address).ask(NUMBER, upstream_no, NOW)
        assert (site.last.path, site.last.body) == ("/api/v1/order/info", body.encode())
        assert_signed(site.last)
    assert replace(answer, said="") == Answer(
        Outcome.DELIVERED,
        upstream_no="D1007",
        goods=[Goods(Secret("PASS-0", "N0")), Goods(Secret("PASS-1", "N1"))],
        delivered=2,
        cost_e6=19_800_000,
    )
    assert "PASS" not in answer.said + repr(answer)
    assert "N0" not in answer.said + repr(answer)


def test_the_documented_answers_are_read() -> None:
    told = vectors("supplier_kasushou.json")
    virtual = asked(said(told["order_info_virtual"]), "D100759324935205552128")
    assert (virtual.outcome, virtual.reason) == (Outcome.FAILED, Reason.REVERSED)
    card = asked(said(told["order_info_card"]), "D100759274105949519872")
    assert (card.outcome, card.reason, card.goods) == (Outcome.UNKNOWN, Reason.REVERSED, ())
    with canned(said(told["balance_response"])) as site:
        assert at(site.address).balance(NOW) == Money(888_888)
        assert (site.last.path, site.last.body) == ("/api/v1/user/info", b"{}")
        site.says = lambda _: said({"code": 200, "data": {"balance": "-5.00"}})
        assert at(site.address).balance(NOW) == Money(-500)
        assert_signed(site.last)
    with canned(said(told["goods_info"])) as site:
        assert at(site.address).product("1", NOW) == Product(
            product="1",
            title="test自营手工",
            delivers=Delivers.TOPUP,
            cost_e6=2_000_000,
            stock=9999,
            most=1,
            fields=(Wish("recharge_account", "测试1"), Wish("lblName1", "测试2")),
        )
        assert site.last.body == b'{"id":1}'


@pytest.mark.parametrize(
    ("told", "outcome", "reason", "delivered"),
    [
        (order(1), Outcome.ACCEPTED, Reason.NONE, 0),
        (order(2), Outcome.ACCEPTED, Reason.NONE, 0),
        (order(3), Outcome.ACCEPTED, Reason.NONE, 0),
        (order(3, 1), Outcome.DELIVERED, Reason.NONE, 1),
        (order(3, recharge_info=[{"n": "QQ", "v": "1", "k": "q"}]), Outcome.DELIVERED, Reason.NONE, 1),
        (order(4), Outcome.FAILED, Reason.OTHER, 0),
        (order(4, 1), Outcome.UNKNOWN, Reason.OTHER, 0),
        (order(4, 1, total_price="19.80", has_back_money="19.80"), Outcome.FAILED, Reason.OTHER, 0),
        (order(5), Outcome.FAILED, Reason.REVERSED, 0),
        (order(5, 1, total_price="19.80", has_back_money="9.90"), Outcome.DELIVERED, Reason.REVERSED, 1),
        (order(-1), Outcome.UNKNOWN, Reason.LOW_BALANCE, 0),
        (order(6), Outcome.UNKNOWN, Reason.UNREADABLE, 0),
        (order(4, external_orderno="another"), Outcome.UNKNOWN, Reason.UNREADABLE, 0),
        (order(4, ordersn="D2"), Outcome.UNKNOWN, Reason.UNREADABLE, 0),
        (order(3, card_list=[{}]), Outcome.UNKNOWN, Reason.UNREADABLE, 0),
        (order(3, card_list=["PASS"]), Outcome.UNKNOWN, Reason.UNREADABLE, 0),
        (order(5, recharge_info=[{"v": "1"}], recharge_hints="充值账号不存在"), Outcome.FAILED, Reason.BAD_ACCOUNT, 0),
        (order(5, recharge_hints="充值账号不存在"), Outcome.FAILED, Reason.REVERSED, 0),
        (order(3, 1, total_price="免费"), Outcome.DELIVERED, Reason.NONE, 1),
        ({"code": 200, "msg": "", "data": []}, Outcome.ABSENT, Reason.NONE, 0),
        ({"code": 200, "msg": "", "data": None}, Outcome.UNKNOWN, Reason.UNREADABLE, 0),
        ({"code": 400, "msg": "订单不存在", "data": []}, Outcome.ABSENT, Reason.NONE, 0),
    ],
)
def test_each_state_is_told(told: dict[str, Any], outcome: Outcome, reason: Reason, delivered: int) -> None:
    answer = asked(said(told))
    assert (answer.outcome, answer.reason, answer.delivered) == (outcome, reason, delivered)


def test_by_our_number_an_order_without_it_is_somebody_s_else() -> None:
    assert asked(said(order(3, 1, external_orderno="")), "").outcome is Outcome.UNKNOWN
    assert asked(said(order(3, 1, external_orderno=""))).outcome is Outcome.DELIVERED


@pytest.mark.parametrize("odd", [{"card_list": [{}]}, {"card_list": "PASS"}, {"card_list": [{"card_password": []}]}])
def test_his_number_is_kept_where_the_rest_cannot_be_read(odd: dict[str, Any]) -> None:
    answer = asked(said(order(3, **odd)), "")
    assert (answer.outcome, answer.reason, answer.upstream_no) == (Outcome.UNKNOWN, Reason.UNREADABLE, "D1007")


def test_two_orders_under_one_number_are_for_a_person() -> None:
    twice = order(4)
    twice["data"] *= 2
    assert asked(said(twice), "").outcome is Outcome.UNKNOWN


def test_what_was_given_back_is_no_cost() -> None:
    assert asked(said(order(3, 1, total_price="19.80", has_back_money="9.90"))).cost_e6 == 9_900_000


SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
NAMES = st.sampled_from(["code", "data", "ordersn", "card_no", "card_password", "n", "v"])


@given(
    st.recursive(
        SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=8
    )
)
def test_whatever_he_says_an_order_is_never_a_failure_by_accident(told: Any) -> None:
    fine = (Outcome.UNKNOWN, Outcome.ACCEPTED, Outcome.DELIVERED)
    assert asked(said(order(3, card_list=told, recharge_info=told))).outcome in fine
    assert asked(said({"code": 200, "data": told})).outcome in (Outcome.UNKNOWN, Outcome.ABSENT)


# --- what he sells ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_full_page_leads_to_the_next_one(wrapped: bool) -> None:
    def listing(heard: Heard) -> Script:
        count = 100 if json.loads(heard.body)["page"] == 1 else 1
        listed = [goods(id=n)["data"] for n in range(count - 1)] + [{"id": "odd"}]
        return said({"code": 200, "msg": "", "data": {"total": 101, "list": listed} if wrapped else listed})

    with canned(listing) as site:
        page = at(site.address).products("", NOW)
        assert site.last.body == b'{"cate_id":0,"keyword":"","limit":100,"page":1}'
        assert_signed(site.last)
        assert (len(page.products), page.cursor) == (99, "2")
        assert page.products[0] == Product("0", "月卡", Delivers.CARDS, 9_900_000, stock=12, most=10)
        assert at(site.address).products("2", NOW) == Page([], "")


def test_a_product_that_is_gone_is_none() -> None:
    with canned(said({"code": 400, "msg": "商品不存在", "data": []})) as site:
        assert at(site.address).product("7", NOW) is None
        site.says = lambda _: said({"code": 401, "msg": "签名错误", "data": []})
        with pytest.raises(SupplierRefused) as refused:
            at(site.address).product("7", NOW)
        assert refused.value.facts == {"supplier": "site", "reason": "bad_signature"}


# --- callbacks -------------------------------------------------------------------------------------------------------

NEWS = json.dumps({"ordersn": "D1007", "external_orderno": NUMBER, "status": 3}).encode()


def signed(raw: bytes, stamp: str = STAMP, key: str = "key-1") -> dict[str, str]:
    return {"timestamp": stamp, "sign": hashlib.sha1(stamp.encode() + raw + key.encode()).hexdigest()}


def signed_inside(time: str = STAMP[:10], key: str = "key-1", **other: Any) -> bytes:
    """As public clients of the protocol check it."""
    fields = {"external_orderno": NUMBER, "ordersn": "D1007", "price": 9.9, "status": 3, "time": time, "url": "a/b卡"}
    plain = json.dumps(fields, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    sign = hashlib.sha1((time + plain + key).encode()).hexdigest()
    return json.dumps({**fields, "sign": sign, "card_list": [{"card_no": "x"}], **other}).encode()


def test_a_callback_signed_with_any_of_the_keys_is_news() -> None:
    for key in ("key-1", "key-2"):
        assert ours.parse_callback(signed(NEWS, key=key), NEWS, NOW) == News(NUMBER)
        assert ours.parse_callback({}, signed_inside(key=key), NOW) == News(NUMBER)


def test_one_that_is_not_signed_is_a_hint_by_a_number_that_nobody_guesses() -> None:
    assert ours.parse_callback({}, NEWS, NOW) == News(NUMBER)
    for number in ("", "1", NUMBER + "0", NUMBER.upper(), None):
        with pytest.raises(BadCallback):
            ours.parse_callback({}, json.dumps({"external_orderno": number}).encode(), NOW)


@pytest.mark.parametrize(
    ("headers", "raw"),
    [
        (signed(NEWS, key="key-3"), NEWS),
        (signed(NEWS + b" "), NEWS),
        ({"sign": signed(NEWS)["sign"]}, NEWS),
        ({**signed(NEWS), "timestamp": "x"}, NEWS),
        ({}, signed_inside(key="key-3")),
        ({}, signed_inside(status=4)),
        ({}, signed_inside(more=1)),
        ({}, signed_inside(sign="")),
        ({}, b"x" * (2**20 + 1)),
    ],
)
def test_a_forged_callback_is_refused(headers: dict[str, str], raw: bytes) -> None:
    with pytest.raises(BadCallback):
        ours.parse_callback(headers, raw, NOW)


@pytest.mark.parametrize("seconds", [-602, 602])
def test_a_signed_callback_of_another_time_is_refused(seconds: int) -> None:
    later = NOW + timedelta(seconds=seconds)
    for headers, raw in ((signed(NEWS), NEWS), ({}, signed_inside())):
        with pytest.raises(BadCallback):
            ours.parse_callback(headers, raw, later)


@given(st.integers(0, len(NEWS) - 1), st.integers(1, 255))
def test_one_byte_of_a_signed_callback_changed_is_refused(place: int, by: int) -> None:
    changed = NEWS[:place] + bytes([NEWS[place] ^ by]) + NEWS[place + 1 :]
    with pytest.raises(BadCallback):
        ours.parse_callback(signed(NEWS), changed, NOW)


@given(st.binary(max_size=80))
def test_whatever_comes_is_news_or_a_refusal(raw: bytes) -> None:
    with pytest.raises(BadCallback):
        ours.parse_callback({}, raw, NOW)


def test_it_is_told_whether_it_was_taken() -> None:
    assert (ours.ack(True), ours.ack(False)) == (Ack(200, "ok"), Ack(400, "fail"))


def test_he_cannot_say_whether_an_account_is_there() -> None:
    assert ours.check_account("7", {"uid": "1"}, NOW) is None
