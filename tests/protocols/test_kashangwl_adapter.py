"""Our side of the kashangwl family: against what it documents, and a site that says whatever it likes."""

from __future__ import annotations

import hashlib
import json
import urllib.parse
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.kernel.money import Money
from shared.kernel.vault import Secret
from shared.suppliers import wire
from shared.suppliers.adapters import kashangwl as module
from shared.suppliers.adapters.kashangwl import Kashangwl
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
from tests.canned_http import Heard, Said, Script, canned, refusing, said
from tests.published import vectors
from tests.supplier_faults import FAULTS, SHORTLY

NOW = datetime(2026, 5, 1, 4, tzinfo=UTC)
STAMP = str(int(NOW.timestamp()))
KEYS = [{"secret": "secret-2"}, {"secret": "secret-1"}]
NUMBER = "01jt5z0000000000000000000a0101"
PURCHASE = Purchase(NUMBER, "1887", 2, 3_012_345, "https://ours.example/c?a=卡")
CARDS = [
    {"card_no": "vip1", "card_password": "PASS-1", "expired_at": "2022-12-31 00:00:00"},
    {"card_no": "", "card_password": "PASS-2", "expired_at": ""},
]


def at(site: str, **terms: str) -> Kashangwl:
    return Kashangwl(Account("site", "kashangwl", {"site": site, "customer_id": "10939", **terms}), KEYS)


ours = at("https://site.example")


def signature(fields: Mapping[str, str], secret: str) -> str:
    """As the vendor's document computes it, by hand."""
    text = secret + "".join(name + fields[name] for name in sorted(fields))
    return hashlib.md5(text.encode()).hexdigest()


def form(heard: Heard) -> dict[str, str]:
    """What was sent, once its signature is checked."""
    assert heard.headers["content-type"] == "application/x-www-form-urlencoded"
    fields = dict(urllib.parse.parse_qsl(heard.body.decode(), keep_blank_values=True, strict_parsing=True))
    assert fields.pop("sign") == signature(fields, "secret-2")
    assert (fields.pop("customer_id"), fields.pop("timestamp")) == ("10939", STAMP)
    return fields


def ok(data: object) -> Said:
    return said({"code": "ok", "message": "", "data": data})


def order(state: int, **other: Any) -> dict[str, Any]:
    """As asking shows it."""
    found = {"id": 556076540184, "product_id": 1887, "product_type": 2, "quantity": 2, "total_price": "6.0000"}
    return {**found, "product_price": "3.0000", "outer_order_id": NUMBER, "state": state, **other}


def topped_up(**other: Any) -> dict[str, Any]:
    return order(200, product_type=1, quantity=50, total_price="30.00", **other)


def bought(state: int, **other: Any) -> dict[str, Any]:
    """As buying shows it."""
    return {"order_id": "5560", "product_price": "3.0000", "total_price": "6.0000", "state": state, **other}


def listed(**other: Any) -> dict[str, Any]:
    found = {"id": 1887, "product_name": "视频会员", "name": "月卡", "price": "3.012345", "type": 2}
    return {**found, "valid_purchasing_quantity": "1-10000", "stock_state": 1, "supply_state": 1, **other}


MONTH = Product("1887", "视频会员 月卡", Delivers.CARDS, 3_012_345, most=10_000)


def placed(script: Script, purchase: Purchase = PURCHASE) -> Answer:
    with canned(script) as site:
        return at(site.address).place(purchase, NOW)


def asked(script: Script, upstream_no: str = "556076540184") -> Answer:
    with canned(script) as site:
        return at(site.address).ask(NUMBER, upstream_no, NOW)


# --- accounts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("terms", "keys"),
    [
        ({}, KEYS),
        ({"customer_id": "1"}, []),
        ({"customer_id": "1"}, [{}]),
        ({"customer_id": "1", "site": "http://site.example"}, KEYS),
    ],
)
def test_an_account_that_cannot_work_is_refused_at_once(terms: Mapping[str, str], keys: list[dict[str, str]]) -> None:
    with pytest.raises(ValueError, match="supplier site"):
        made(Account("site", "kashangwl", terms), keys)


def test_without_a_site_it_is_kashangwl_itself_over_https() -> None:
    Kashangwl(Account("site", "kashangwl", {"customer_id": "1"}), KEYS)
    assert module.SITE == "https://www.kashangwl.com"


def test_what_is_not_documented_is_taken_at_its_worst_until_terms_say_otherwise() -> None:
    traits = ours.traits
    assert (traits.repeat, traits.ceiling, traits.asks_by_ours) == (Repeat.BUYS, False, False)
    assert traits.calls_back
    assert at("https://site.example", **{"trait.asks_by_ours": "true"}).traits.asks_by_ours


def test_nothing_secret_is_shown() -> None:
    assert "secret-2" not in repr(ours)


# --- buying ----------------------------------------------------------------------------------------------------------


def test_an_order_is_signed_as_it_is_sent() -> None:
    with canned(ok(bought(100))) as site:
        account = {"recharge_account": "卡 1", "区服": "一区"}
        answer = at(site.address + "/").place(replace(PURCHASE, account=account), NOW)

        assert [(heard.method, heard.path) for heard in site.heard] == [("POST", "/api/buy")]
        assert form(site.last) == {
            "product_id": "1887",
            "quantity": "2",
            "outer_order_id": NUMBER,
            "safe_cost": "3.0123",
            "notify_url": "https://ours.example/c?a=卡",
            "recharge_account": "卡 1",
            "recharge_template_input_items[区服]": "一区",
        }
    assert replace(answer, said="") == Answer(Outcome.ACCEPTED, upstream_no="5560", cost_e6=6_000_000)


@pytest.mark.parametrize(
    ("code", "message", "outcome", "reason"),
    [
        ("invalid_sign", "", Outcome.REFUSED, Reason.BAD_SIGNATURE),
        ("disabled_customer", "", Outcome.REFUSED, Reason.NOT_ALLOWED),
        ("error", "IP不在白名单", Outcome.REFUSED, Reason.NOT_ALLOWED),
        ("request_frequency", "", Outcome.RETRY, Reason.BUSY),
        ("error", "商品库存不足", Outcome.FAILED, Reason.NO_STOCK),
        ("error", "余额不足", Outcome.FAILED, Reason.LOW_BALANCE),
        ("error", "商品价格高于安全进价", Outcome.FAILED, Reason.ABOVE_CEILING),
        ("error", "商品已下架", Outcome.FAILED, Reason.OFF_SHELF),
        ("invalid_parameters", "购买数量不正确，单次最多购买5件", Outcome.FAILED, Reason.BAD_QUANTITY),
        ("error", "充值账号不正确", Outcome.UNKNOWN, Reason.OTHER),  # whose, of an order for cards
        ("error", "外部订单号重复", Outcome.UNKNOWN, Reason.DUPLICATE),
        ("error", "没有权限查询订单", Outcome.UNKNOWN, Reason.OTHER),
        ("error", "订单查询接口不存在", Outcome.UNKNOWN, Reason.OTHER),
        ("error", "订单所属商户不存在", Outcome.REFUSED, Reason.NOT_ALLOWED),
        ("server_error", "订单不存在", Outcome.UNKNOWN, Reason.SILENT),
        ("error", "系统错误", Outcome.UNKNOWN, Reason.OTHER),
        ("brand_new", "", Outcome.UNKNOWN, Reason.OTHER),
    ],
)
def test_each_refusal_says_whether_anything_may_be_bought(
    code: str, message: str, outcome: Outcome, reason: Reason
) -> None:
    refusal = said({"code": code, "message": message, "data": []})
    answer = placed(refusal)
    assert (answer.outcome, answer.reason) == (outcome, reason)

    # Of an order that is there, only its own state says that nothing came of it.
    assert asked(refusal).outcome is (Outcome.REFUSED if outcome is Outcome.REFUSED else Outcome.UNKNOWN)


def test_of_a_top_up_the_account_may_be_wrong_and_what_was_typed_means_nothing() -> None:
    top_up = replace(PURCHASE, account={"recharge_account": "签名错误"})
    for words in ("充值账号不正确", "充值账号 签名错误 不存在"):
        answer = placed(said({"code": "error", "message": words}), top_up)
        assert (answer.outcome, answer.reason) == (Outcome.FAILED, Reason.BAD_ACCOUNT)
        assert "签名错误" not in answer.said


def test_a_product_that_can_be_none_of_his_is_not_asked_for() -> None:
    with canned(ok(bought(100))) as site:
        for product in ("", "x", "7-1", "٧"):
            assert at(site.address).place(replace(PURCHASE, product=product), NOW).reason is Reason.OFF_SHELF
            assert at(site.address).product(product, NOW) is None
        assert not site.heard


@pytest.mark.parametrize("fault", FAULTS)
def test_what_goes_wrong_says_what_is_known(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "TIMEOUT", SHORTLY)
    script, outcome, reason = FAULTS[fault]
    if fault == "done, and no order":
        script = said({"code": "ok"})
    placing, asking = placed(script), asked(script)
    assert (placing.outcome, placing.reason) == (outcome, reason)
    assert (asking.outcome, asking.reason) == (Outcome.UNKNOWN if outcome is Outcome.RETRY else outcome, reason)
    with canned(script) as site, pytest.raises((SupplierSilent, SupplierRefused)):
        at(site.address).balance(NOW)


def test_where_nobody_listens_nothing_was_bought() -> None:
    site = at(refusing())
    assert site.place(PURCHASE, NOW) == Answer(Outcome.RETRY, Reason.NOT_SENT)
    assert site.ask(NUMBER, "5560", NOW) == Answer(Outcome.UNKNOWN, Reason.NOT_SENT)


def test_cards_may_come_at_once() -> None:
    answer = placed(ok(bought(200, cards=CARDS)))
    assert replace(answer, said="") == Answer(
        Outcome.DELIVERED,
        upstream_no="5560",
        goods=[Goods(Secret("PASS-1", "vip1"), date(2022, 12, 31)), Goods(Secret("PASS-2"))],
        delivered=2,
        cost_e6=6_000_000,
    )
    assert "PASS" not in answer.said + repr(answer)
    assert "vip1" not in answer.said + repr(answer)


def test_what_is_done_without_cards_in_the_answer_is_asked_after() -> None:
    assert placed(ok(bought(200, cards=[]))).outcome is Outcome.ACCEPTED


def test_a_top_up_may_be_done_at_once() -> None:
    answer = placed(ok(bought(200)), replace(PURCHASE, account={"recharge_account": "1"}))
    assert (answer.outcome, answer.delivered, answer.proof) == (Outcome.DELIVERED, 2, "5560")


# --- asking ----------------------------------------------------------------------------------------------------------


def test_an_order_is_asked_after_by_his_number() -> None:
    with canned(ok(order(200, cards=[{"no": "vip1", "password": "PASS-1"}]))) as site:
        answer = at(site.address).ask(NUMBER, "556076540184", NOW)
        assert (site.last.path, form(site.last)) == ("/api/order", {"order_id": "556076540184"})
    assert answer.goods == [Goods(Secret("PASS-1", "vip1"))]
    assert (answer.outcome, answer.delivered, answer.cost_e6) == (Outcome.DELIVERED, 1, 6_000_000)


def test_by_our_number_it_is_asked_only_where_he_is_known_to_understand() -> None:
    with canned(ok(order(100))) as site:
        assert at(site.address).ask(NUMBER, "", NOW) == Answer(Outcome.UNKNOWN, Reason.SILENT)
        assert not site.heard
        answer = at(site.address, **{"trait.asks_by_ours": "true"}).ask(NUMBER, "", NOW)
        assert (site.last.path, form(site.last)) == ("/api/outer-order", {"outer_order_id": NUMBER})
    assert (answer.outcome, answer.upstream_no) == (Outcome.ACCEPTED, "556076540184")


@pytest.mark.parametrize(
    ("told", "outcome", "reason", "delivered"),
    [
        (order(100), Outcome.ACCEPTED, Reason.NONE, 0),
        (order(101), Outcome.ACCEPTED, Reason.NONE, 0),
        (order(200), Outcome.ACCEPTED, Reason.NONE, 0),
        (order(200, cards=CARDS[:1]), Outcome.DELIVERED, Reason.NONE, 1),
        (order(200, product_type=1, recharge_account="1"), Outcome.DELIVERED, Reason.NONE, 2),
        (order(200, product_type=3, tickets=[{"no": "", "ticket": "x"}]), Outcome.UNKNOWN, Reason.UNREADABLE, 0),
        (order(500), Outcome.FAILED, Reason.OTHER, 0),
        (order(500, cards=CARDS[:1]), Outcome.DELIVERED, Reason.OTHER, 1),
        (order(501), Outcome.UNKNOWN, Reason.OTHER, 0),
        (order(501, cards=CARDS), Outcome.UNKNOWN, Reason.OTHER, 0),
        (order(502), Outcome.UNKNOWN, Reason.UNREADABLE, 0),
        (order(500, outer_order_id="another"), Outcome.UNKNOWN, Reason.UNREADABLE, 0),
        (order(500, id="1"), Outcome.UNKNOWN, Reason.UNREADABLE, 0),
        (order(200, cards=[{}]), Outcome.UNKNOWN, Reason.UNREADABLE, 0),
        (
            order(200, total_price="免费", cards=[{**CARDS[0], "expired_at": "永久有效"}]),
            Outcome.DELIVERED,
            Reason.NONE,
            1,
        ),
        (order(500, product_type=1, state_info="充值账号不存在"), Outcome.FAILED, Reason.BAD_ACCOUNT, 0),
        (order(500, state_info="充值账号不存在"), Outcome.FAILED, Reason.OTHER, 0),
        (topped_up(refunded_amount="0"), Outcome.DELIVERED, Reason.NONE, 50),
        (topped_up(refunded_amount="6.00"), Outcome.DELIVERED, Reason.REVERSED, 40),
        (topped_up(refunded_amount="10.00"), Outcome.UNKNOWN, Reason.REVERSED, 0),
        (topped_up(refunded_amount="30.00"), Outcome.UNKNOWN, Reason.REVERSED, 0),
        (topped_up(refunded_amount="some"), Outcome.UNKNOWN, Reason.UNREADABLE, 0),
    ],
)
def test_each_state_is_told(told: dict[str, Any], outcome: Outcome, reason: Reason, delivered: int) -> None:
    answer = asked(ok(told))
    assert (answer.outcome, answer.reason, answer.delivered) == (outcome, reason, delivered)


def test_an_order_that_he_does_not_know_is_absent() -> None:
    assert asked(said({"code": "error", "message": "订单不存在"})).outcome is Outcome.ABSENT


@pytest.mark.parametrize("odd", [{"cards": [{}]}, {"tickets": [{"ticket": "x"}]}, {"state": "new"}])
def test_his_number_is_kept_where_the_rest_cannot_be_read(odd: dict[str, Any]) -> None:
    answer = placed(ok(bought(200) | odd))
    assert (answer.outcome, answer.reason, answer.upstream_no) == (Outcome.UNKNOWN, Reason.UNREADABLE, "5560")


def test_what_was_given_back_is_no_cost() -> None:
    assert asked(ok(order(200, cards=CARDS, refunded_amount="3.0000"))).cost_e6 == 3_000_000


SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
NAMES = st.sampled_from(["id", "state", "no", "password", "card_no", "card_password", "expired_at"])


@given(
    st.recursive(
        SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=8
    )
)
def test_whatever_he_says_an_order_is_never_a_failure_by_accident(told: Any) -> None:
    fine = (Outcome.UNKNOWN, Outcome.ACCEPTED, Outcome.DELIVERED)
    assert asked(ok(order(200, cards=told, tickets=told, product_type=told))).outcome in fine
    assert asked(ok(told)).outcome is Outcome.UNKNOWN


# --- what he sells ---------------------------------------------------------------------------------------------------


def test_all_he_sells_is_one_page() -> None:
    kinds = [listed(), listed(id=2, type=1), listed(id=3, type=3), listed(id=4, stock_state=2), {"id": "odd"}]
    with canned(ok(kinds)) as site:
        page = at(site.address).products("", NOW)
        assert (site.last.path, form(site.last)) == ("/api/product-list", {})
    top_up = replace(MONTH, product="2", delivers=Delivers.TOPUP)
    assert page == Page([MONTH, top_up, replace(MONTH, product="4", stock=0)])


def test_a_top_up_says_what_it_must_be_told() -> None:
    params = {
        "recharge_account_label": "QQ号",
        "recharge_params": [
            {"name": "角色", "type": "text", "options": ""},
            {"name": "区服", "type": "select", "options": "一区,二区"},
        ],
    }
    with canned(lambda heard: ok(listed(type=1) if heard.path == "/api/product" else params)) as site:
        found = at(site.address).product("1887", NOW)
        assert [heard.path for heard in site.heard] == ["/api/product", "/api/product/recharge-params"]
        assert form(site.last) == {"product_id": "1887"}
    assert found is not None
    assert found.delivers is Delivers.TOPUP
    assert found.fields == (
        Wish("recharge_account", "QQ号"),
        Wish("角色", "角色"),
        Wish("区服", "区服", ("一区", "二区")),
    )


def test_a_product_that_is_gone_is_none() -> None:
    with canned(said({"code": "error", "message": "商品不存在"})) as site:
        assert at(site.address).product("1887", NOW) is None
        site.says = lambda _: ok(listed())
        assert at(site.address).product("1887", NOW) == MONTH


def test_the_balance_is_read_to_the_last_digit() -> None:
    with canned(ok({"id": 10939, "name": "商家", "balance": "575.6000"})) as site:
        assert at(site.address).balance(NOW) == Money(57_560)
        assert (site.last.path, form(site.last)) == ("/api/customer", {})
        site.says = lambda _: ok({"balance": "-5.0000"})
        assert at(site.address).balance(NOW) == Money(-500)


# --- callbacks -------------------------------------------------------------------------------------------------------

STATE = {
    "quantity": "1",
    "state": "200",
    "state_info": "",
    "timestamp": STAMP,
    "created_at": "2026-05-01 12:00:00",
    "order_id": "749915828461",
    "outer_order_id": NUMBER,
    "product_id": "41847",
    "customer_id": "10939",
}
UNSIGNED = {"cards[0][card_no]": "vip009", "cards[0][card_password]": "PASS-1", "tickets": "[]"}


def news(secret: str = "secret-1", **other: str) -> bytes:
    fields = {**STATE, **other}
    return urllib.parse.urlencode({**fields, "sign": signature(fields, secret), **UNSIGNED}).encode()


def test_a_callback_signed_with_any_of_the_keys_is_news() -> None:
    for secret in ("secret-1", "secret-2"):
        assert ours.parse_callback({}, news(secret), NOW) == News(NUMBER, "749915828461")


def test_the_published_notice_is_news_once_it_is_signed_for_us() -> None:
    told = vectors("supplier_kashangwl.json")["notify_example"]
    fields = {name: str(value) for name, value in told.items() if name not in ("sign", "cards")}
    cards = json.dumps(told["cards"])
    raw = urllib.parse.urlencode({**fields, "cards": cards, "sign": signature(fields, "secret-2")}).encode()
    then = datetime.fromtimestamp(told["timestamp"], UTC)
    assert ours.parse_callback({}, raw, then) == News("20210928134512847783", "749915828461")
    assert ours.ack(True).body == vectors("supplier_kashangwl.json")["ack"]


def test_a_callback_without_our_number_is_news_by_his() -> None:
    assert ours.parse_callback({}, news(outer_order_id=""), NOW) == News("", "749915828461")


@pytest.mark.parametrize("seconds", [-601, 601])
def test_a_callback_of_another_time_is_refused(seconds: int) -> None:
    with pytest.raises(BadCallback):
        ours.parse_callback({}, news(), NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"x",
        news("secret-3"),
        news(customer_id="1"),
        news(timestamp="x"),
        news(order_id=""),
        news() + b"&state=500",
        b"state=500&" + news(),
        news() + b"&more=1",
        news().replace(b"state=200", b"state=500"),
        b"a" * (2**18 + 1),
    ],
)
def test_a_forged_callback_is_refused(raw: bytes) -> None:
    with pytest.raises(BadCallback):
        ours.parse_callback({}, raw, NOW)


SIGNED_PART = news().index(b"&cards")


@given(st.integers(0, SIGNED_PART - 1), st.integers(1, 255))
def test_one_byte_of_what_is_signed_changed_is_refused(place: int, by: int) -> None:
    raw = news()
    changed = raw[:place] + bytes([raw[place] ^ by]) + raw[place + 1 :]
    if urllib.parse.parse_qs(changed.decode("latin-1")) != urllib.parse.parse_qs(
        raw.decode()
    ):  # a blank may be written as + and as %20
        with pytest.raises(BadCallback):
            ours.parse_callback({}, changed, NOW)


@given(st.binary(max_size=80))
def test_whatever_comes_is_a_refusal(raw: bytes) -> None:
    with pytest.raises(BadCallback):
        ours.parse_callback({}, raw, NOW)


def test_it_is_told_whether_it_was_taken() -> None:
    assert (ours.ack(True), ours.ack(False)) == (Ack(200, "ok"), Ack(400, "fail"))


def test_he_cannot_say_whether_an_account_is_there() -> None:
    assert ours.check_account("1887", {"recharge_account": "1"}, NOW) is None
