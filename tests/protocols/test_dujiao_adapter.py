"""Our side of dujiao-next's upstream API: against what it documents, and a shop that says whatever it likes."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.kernel.money import Money
from shared.kernel.vault import Secret
from shared.suppliers import wire
from shared.suppliers.adapters.dujiao import Dujiao
from shared.suppliers.errors import BadCallback, SupplierRefused, SupplierSilent
from shared.suppliers.registry import made
from shared.suppliers.supplier import (
    ENDLESS,
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

NOW = datetime(2026, 5, 1, 4, tzinfo=UTC)
STAMP = str(int(NOW.timestamp()))
KEYS = [{"api_key": "key-2", "api_secret": "secret-2"}, {"api_key": "key-1", "api_secret": "secret-1"}]
NUMBER = "01jt5z0000000000000000000a0101"
PURCHASE = Purchase(NUMBER, "7-101", 2, 9_900_000, "https://ours.example/c?m=1&x=卡")
PAID = {"ok": True, "order_id": 55, "order_no": "DJ1", "status": "paid", "amount": "19.80", "currency": "CNY"}


def at(site: str, keys: Sequence[Mapping[str, str]] = KEYS, /, **terms: str) -> Dujiao:
    return Dujiao(Account("shop", "dujiao", {"site": site, **terms}), keys)


ours = at("https://shop.example")


def expected_signature(heard: Heard, secret: str = "secret-2") -> str:
    """As the vendor's document computes it, by hand."""
    digest = hashlib.md5(heard.body).hexdigest()
    message = f"{heard.method}\n{heard.path.partition('?')[0]}\n{STAMP}\n{digest}"
    return hmac.new(secret.encode(), message.encode(), hashlib.sha256).hexdigest()


def assert_signed(heard: Heard) -> None:
    assert heard.headers["dujiao-next-api-key"] == "key-2"
    assert heard.headers["dujiao-next-timestamp"] == STAMP
    assert heard.headers["dujiao-next-signature"] == expected_signature(heard)


def placed(script: Script, purchase: Purchase = PURCHASE) -> Answer:
    with canned(script) as shop:
        return at(shop.address).place(purchase, NOW)


def asked(script: Script, upstream_no: str = "55") -> Answer:
    with canned(script) as shop:
        return at(shop.address).ask(NUMBER, upstream_no, NOW)


def order(status: str = "completed", payload: str | None = "AAAA-1111\nBBBB-2222", **other: Any) -> dict[str, Any]:
    items = [{"product_id": 7, "sku_id": 101, "quantity": 2, "fulfillment_type": "auto"}]
    handed = {"type": "auto", "status": "delivered", "payload": payload, "delivery_data": None}
    return {**PAID, "status": status, "items": items, "fulfillment": handed if payload is not None else None, **other}


# --- accounts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("terms", "keys"),
    [
        ({}, KEYS),
        ({"site": "http://shop.example"}, KEYS),
        ({"site": "https://shop.example"}, []),
        ({"site": "https://shop.example"}, [{"api_key": "k"}]),
    ],
)
def test_an_account_that_cannot_work_is_refused_at_once(terms: Mapping[str, str], keys: list[dict[str, str]]) -> None:
    with pytest.raises(ValueError, match="supplier shop"):
        made(Account("shop", "dujiao", terms), keys)


def test_what_is_documented_may_be_relied_on_and_terms_say_otherwise() -> None:
    alone = at("https://shop.example", KEYS[:1])
    assert (alone.code, alone.traits.repeat, alone.traits.calls_back) == ("shop", Repeat.REPLAYS, True)
    assert (alone.traits.asks_by_ours, alone.traits.ceiling) == (False, False)
    assert at("https://shop.example", KEYS[:1], **{"trait.repeat": "refuses"}).traits.repeat is Repeat.REFUSES


def test_while_the_key_changes_a_repeated_order_may_be_a_second_one() -> None:
    renewed = [{"api_key": "key-1", "api_secret": "secret-2"}, {"api_key": "key-1", "api_secret": "secret-1"}]
    assert at("https://shop.example", renewed).traits.repeat is Repeat.REPLAYS
    assert ours.traits.repeat is Repeat.BUYS
    assert at("https://shop.example", **{"trait.repeat": "replays"}).traits.repeat is Repeat.BUYS
    assert at("https://shop.example", **{"trait.repeat": "refuses"}).traits.repeat is Repeat.REFUSES


def test_nothing_secret_is_shown() -> None:
    assert "secret-2" not in repr(ours)


# --- buying ----------------------------------------------------------------------------------------------------------


def test_an_order_is_signed_as_it_is_sent() -> None:
    with canned(said(PAID)) as shop:
        answer = at(shop.address + "/").place(PURCHASE, NOW)

        assert (shop.last.method, shop.last.path) == ("POST", "/api/v1/upstream/orders")
        assert (
            shop.last.body
            == (
                '{"sku_id":101,"quantity":2,"downstream_order_no":"' + NUMBER + '",'
                '"callback_url":"https://ours.example/c?m=1&x=卡"}'
            ).encode()
        )
        assert_signed(shop.last)
    assert replace(answer, said="") == Answer(Outcome.ACCEPTED, upstream_no="55", cost_e6=19_800_000)


def test_a_shop_below_a_path_is_signed_with_it() -> None:
    with canned(said(PAID)) as shop:
        at(f"{shop.address}/sub/").place(PURCHASE, NOW)
        assert shop.last.path == "/sub/api/v1/upstream/orders"
        assert_signed(shop.last)


def test_a_form_goes_along_with_what_a_person_delivers() -> None:
    with canned(said(PAID)) as shop:
        at(shop.address).place(replace(PURCHASE, account={"区服": "一区", "uid": "42"}, callback_url=""), NOW)
        told = json.loads(shop.last.body)
        assert told["manual_form_data"] == {"区服": "一区", "uid": "42"}
        assert "callback_url" not in told


def test_the_documented_answers_are_read() -> None:
    told = vectors("supplier_dujiao_next.json")
    assert replace(placed(said(told["create_order_ok"])), said="") == Answer(
        Outcome.ACCEPTED, upstream_no="101", cost_e6=9_900_000
    )
    failed = placed(said(told["create_order_failed_http200"]))
    assert (failed.outcome, failed.reason) == (Outcome.FAILED, Reason.LOW_BALANCE)
    detail = asked(said(told["order_detail"]), "101")
    assert replace(detail, said="") == Answer(
        Outcome.DELIVERED,
        upstream_no="101",
        goods=[Goods(Secret("ABCD-EFGH-1234-5678"))],
        delivered=1,
        cost_e6=9_900_000,
    )
    assert "ABCD-EFGH" not in detail.said
    assert json.loads(ours.ack(True).body) == told["callback_ack"]
    with canned(said(told["ping_response"])) as shop:
        assert at(shop.address).balance(NOW) == Money(100_000)
        assert shop.last.body == b""
        assert_signed(shop.last)


@pytest.mark.parametrize(
    ("status", "code", "outcome", "reason"),
    [
        (401, "missing_auth_headers", Outcome.REFUSED, Reason.BAD_SIGNATURE),
        (401, "invalid_timestamp", Outcome.REFUSED, Reason.BAD_SIGNATURE),
        (401, "timestamp_expired", Outcome.REFUSED, Reason.BAD_SIGNATURE),
        (401, "invalid_signature", Outcome.REFUSED, Reason.BAD_SIGNATURE),
        (401, "invalid_api_key", Outcome.REFUSED, Reason.NOT_ALLOWED),
        (403, "user_disabled", Outcome.REFUSED, Reason.NOT_ALLOWED),
        (403, "ip_not_allowed", Outcome.REFUSED, Reason.NOT_ALLOWED),
        (400, "invalid_callback_url", Outcome.REFUSED, Reason.NOT_ALLOWED),
        (400, "bad_request", Outcome.FAILED, Reason.OTHER),
        (400, "sku_unavailable", Outcome.FAILED, Reason.OFF_SHELF),
        (400, "product_unavailable", Outcome.FAILED, Reason.OFF_SHELF),
        (402, "insufficient_balance", Outcome.FAILED, Reason.LOW_BALANCE),
        (409, "insufficient_stock", Outcome.FAILED, Reason.NO_STOCK),
        (400, "something_new", Outcome.UNKNOWN, Reason.OTHER),
        (400, None, Outcome.UNKNOWN, Reason.OTHER),
    ],
)
def test_each_refusal_says_whether_anything_may_be_bought(
    status: int, code: str | None, outcome: Outcome, reason: Reason
) -> None:
    answer = placed(said({"ok": False, "error_code": code, "error_message": "no"}, status))
    assert (answer.outcome, answer.reason) == (outcome, reason)

    # Of an order that is there, only its own state says that nothing came of it.
    later = asked(said({"ok": False, "error_code": code, "error_message": "no"}, status))
    assert later.outcome is (Outcome.REFUSED if outcome is Outcome.REFUSED else Outcome.UNKNOWN)


@pytest.mark.parametrize(
    ("words", "outcome", "reason"),
    [
        ("manual_form_data is incomplete", Outcome.FAILED, Reason.BAD_ACCOUNT),
        ("充值账号格式不正确", Outcome.FAILED, Reason.BAD_ACCOUNT),
        ("手机号有误", Outcome.FAILED, Reason.BAD_ACCOUNT),
        ("quantity is out of range", Outcome.FAILED, Reason.OTHER),
        ("sku does not exist", Outcome.FAILED, Reason.OTHER),
        ("downstream_order_no exists", Outcome.UNKNOWN, Reason.DUPLICATE),
        ("订单号重复", Outcome.UNKNOWN, Reason.DUPLICATE),
        (None, Outcome.FAILED, Reason.OTHER),
    ],
)
def test_of_a_bad_request_only_the_words_say_whose_fault_it_is(
    words: str | None, outcome: Outcome, reason: Reason
) -> None:
    refusal = said({"ok": False, "error_code": "bad_request", "error_message": words}, 400)
    top_up = placed(refusal, replace(PURCHASE, account={"uid": "x"}))
    assert (top_up.outcome, top_up.reason) == (outcome, reason)
    cards = placed(refusal)  # have no account that could be wrong
    assert (cards.outcome, cards.reason) == (outcome, Reason.OTHER if reason is Reason.BAD_ACCOUNT else reason)


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("canceled", Answer(Outcome.FAILED, Reason.LOW_BALANCE)),
        ("pending_payment", Answer(Outcome.UNKNOWN, Reason.LOW_BALANCE, "55")),
        (None, Answer(Outcome.UNKNOWN, Reason.LOW_BALANCE, "55")),
    ],
)
def test_what_is_not_paid_is_over_only_once_it_is_canceled(status: str | None, told: Answer) -> None:
    answer = placed(said({**PAID, "ok": False, "error_code": "payment_failed", "status": status}))
    assert replace(answer, said="") == told


def test_an_order_without_a_number_to_ask_by_is_unknown() -> None:
    answer = placed(said({**PAID, "order_id": "DJ1"}))
    assert (answer.outcome, answer.upstream_no) == (Outcome.UNKNOWN, "")


def test_what_a_buyer_has_typed_is_not_kept() -> None:
    refusal = said({"ok": False, "error_code": "bad_request", "error_message": "no role 张三 in eu"}, 400)
    told = placed(refusal, replace(PURCHASE, account={"role": "张三"})).said
    assert "张三" not in told
    assert "no role *** in eu" in told


def test_a_product_that_can_be_none_of_his_is_not_asked_for() -> None:
    with canned(said(PAID)) as shop:
        for product in ("", "7", "7-", "7-x", "../1"):
            assert at(shop.address).place(replace(PURCHASE, product=product), NOW).reason is Reason.OFF_SHELF
            assert at(shop.address).product(product, NOW) is None
        assert not shop.heard


@pytest.mark.parametrize("fault", FAULTS)
def test_what_goes_wrong_says_what_is_known(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "TIMEOUT", SHORTLY)
    script, outcome, reason = FAULTS[fault]
    placing, asking = placed(script), asked(script)
    assert (placing.outcome, placing.reason) == (outcome, reason)
    assert (asking.outcome, asking.reason) == (Outcome.UNKNOWN if outcome is Outcome.RETRY else outcome, reason)
    with canned(script) as shop, pytest.raises((SupplierSilent, SupplierRefused)):
        at(shop.address).balance(NOW)


def test_where_nobody_listens_nothing_was_bought() -> None:
    shop = at(refusing())
    assert shop.place(PURCHASE, NOW) == Answer(Outcome.RETRY, Reason.NOT_SENT)
    assert shop.ask(NUMBER, "55", NOW) == Answer(Outcome.UNKNOWN, Reason.NOT_SENT)


def test_an_order_placed_again_is_the_first_one() -> None:
    first = order("canceled", None)
    assert placed(said({**PAID, "status": "canceled"})).outcome is Outcome.FAILED
    assert placed(said({**first, "ok": True})).upstream_no == "55"


# --- asking ----------------------------------------------------------------------------------------------------------


def test_an_order_is_asked_after_by_his_number() -> None:
    with canned(said(order())) as shop:
        answer = at(shop.address).ask(NUMBER, "55", NOW)
        assert (shop.last.method, shop.last.path, shop.last.body) == ("GET", "/api/v1/upstream/orders/55", b"")
        assert_signed(shop.last)
    assert [one.code.code for one in answer.goods] == ["AAAA-1111", "BBBB-2222"]
    assert (answer.outcome, answer.delivered, answer.cost_e6) == (Outcome.DELIVERED, 2, 19_800_000)
    assert "AAAA" not in answer.said + repr(answer)


@pytest.mark.parametrize("upstream_no", ["", "x", "5/../6", "5?x"])
def test_without_his_number_only_placing_again_tells(upstream_no: str) -> None:
    with canned(said(order())) as shop:
        assert at(shop.address).ask(NUMBER, upstream_no, NOW) == Answer(Outcome.UNKNOWN, Reason.SILENT)
        assert not shop.heard


@pytest.mark.parametrize(
    ("told", "outcome", "reason", "goods"),
    [
        (order("pending_payment", None), Outcome.ACCEPTED, Reason.NONE, 0),
        (order("paid", None), Outcome.ACCEPTED, Reason.NONE, 0),
        (order("fulfilling", None), Outcome.ACCEPTED, Reason.NONE, 0),
        (order("partially_delivered", "AAAA-1111"), Outcome.ACCEPTED, Reason.NONE, 0),
        (order("delivered", None), Outcome.ACCEPTED, Reason.NONE, 0),
        (order("delivered", "AAAA-1111"), Outcome.DELIVERED, Reason.NONE, 1),
        (order("completed", "A\n\n B \n"), Outcome.DELIVERED, Reason.NONE, 2),
        (order("completed", "A\nB\nC"), Outcome.UNKNOWN, Reason.UNREADABLE, 0),
        (order("completed", "祝您使用愉快"), Outcome.UNKNOWN, Reason.UNREADABLE, 0),
        (order("completed", ""), Outcome.UNKNOWN, Reason.UNREADABLE, 0),
        (order("canceled", None), Outcome.FAILED, Reason.OTHER, 0),
        (order("canceled", "AAAA-1111"), Outcome.DELIVERED, Reason.OTHER, 1),
        (order("canceled", "无货，已退款"), Outcome.FAILED, Reason.OTHER, 0),
        (order("canceled", "卡密 AAAA-1111 已作废"), Outcome.UNKNOWN, Reason.UNREADABLE, 0),
        (
            order(
                "completed",
                fulfillment={"type": "manual", "payload": "A-1\nhttps://x.example/help", "x": 1},
                items=[{"quantity": 1}],
            ),
            Outcome.UNKNOWN,
            Reason.UNREADABLE,
            0,
        ),
        (
            order("completed", fulfillment={"type": "manual", "payload": "已充值"}, items=[]),
            Outcome.UNKNOWN,
            Reason.UNREADABLE,
            0,
        ),
        (order("completed", "AAAA-1111", amount="免费"), Outcome.DELIVERED, Reason.NONE, 1),
        (order("refunded", None), Outcome.FAILED, Reason.REVERSED, 0),
        (order("brand_new", None), Outcome.UNKNOWN, Reason.UNREADABLE, 0),
        (order(order_id=56), Outcome.UNKNOWN, Reason.UNREADABLE, 0),
        ({"ok": False, "error_code": "order_not_found"}, Outcome.ABSENT, Reason.NONE, 0),
    ],
)
def test_each_state_is_told_and_his_number_is_kept(
    told: dict[str, Any], outcome: Outcome, reason: Reason, goods: int
) -> None:
    answer = asked(said(told))
    assert (answer.outcome, answer.reason, len(answer.goods), answer.delivered) == (outcome, reason, goods, goods)
    known = told.get("order_id") == 55
    assert placed(said(told)).upstream_no == ("55" if known else str(told.get("order_id", "")))


def test_what_a_person_delivers_is_told_with_its_pieces_and_what_looks_like_cards() -> None:
    by_hand = order(fulfillment={"type": "manual", "status": "delivered", "payload": "充值成功，请查收"})
    answer = asked(said(by_hand))
    assert (answer.outcome, answer.goods, answer.delivered, answer.proof) == (Outcome.DELIVERED, (), 2, "DJ1")

    by_hand["fulfillment"]["payload"] = "AAAA-1111"
    assert [one.code.code for one in asked(said(by_hand)).goods] == ["AAAA-1111"]


def test_a_price_in_another_currency_is_not_our_cost() -> None:
    assert placed(said({**PAID, "currency": "USD"})).cost_e6 is None


NAMES = st.sampled_from(["ok", "order_id", "status", "fulfillment", "payload", "amount", "items", "quantity"])
SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=5)


@given(
    st.recursive(
        SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=8
    )
)
def test_whatever_he_says_an_order_is_never_a_failure_by_accident(told: Any) -> None:
    script = said({"ok": True, "order_id": 55, "status": "completed", "fulfillment": told, "items": told})
    assert asked(script).outcome in (Outcome.UNKNOWN, Outcome.ACCEPTED, Outcome.DELIVERED)


# --- what he sells ---------------------------------------------------------------------------------------------------

ITEM = {
    "id": 7,
    "title": {"zh-CN": "视频会员", "en": "Video"},
    "fulfillment_type": "auto",
    "manual_form_schema": None,
    "is_active": True,
    "skus": [
        {"id": 101, "spec_values": {"时长": "月卡"}, "price_amount": "7.90", "stock_quantity": 12, "is_active": True},
        {"id": 102, "spec_values": {}, "price_amount": "70.125", "stock_quantity": -1, "is_active": False},
    ],
}
MONTH = Product("7-101", "视频会员 月卡", Delivers.CARDS, 7_900_000, stock=12)
YEAR = Product("7-102", "视频会员", Delivers.CARDS, 70_125_000, stock=ENDLESS, on_sale=False)


def test_each_sku_of_a_page_is_a_product() -> None:
    def listing(heard: Heard) -> Script:
        return said({"ok": True, "items": [ITEM, {"id": 9}], "total": 101, "page": 1, "page_size": 100})

    with canned(listing) as shop:
        assert at(shop.address).products("", NOW) == Page([MONTH, YEAR], "2")
        assert shop.last.path == "/api/v1/upstream/products?page=1&page_size=100"
        assert_signed(shop.last)
        assert at(shop.address).products("2", NOW).cursor == ""
        assert shop.last.path == "/api/v1/upstream/products?page=2&page_size=100"


def test_one_product_is_looked_up_as_it_is_now() -> None:
    with canned(said({"ok": True, "product": ITEM})) as shop:
        assert at(shop.address).product("7-101", NOW) == MONTH
        assert shop.last.path == "/api/v1/upstream/products/7"
        assert at(shop.address).product("7-103", NOW) is None
        shop.says = lambda _: said({"ok": False, "error_code": "product_not_found"}, 404)
        assert at(shop.address).product("7-101", NOW) is None
        shop.says = lambda _: said({"ok": False, "error_code": "invalid_signature"}, 401)
        with pytest.raises(SupplierRefused) as refused:
            at(shop.address).product("7-101", NOW)
        assert refused.value.facts == {"supplier": "shop", "reason": "bad_signature"}


def test_a_form_is_what_a_top_up_must_be_told() -> None:
    schema = {
        "fields": [
            {"key": "uid", "label": {"zh-CN": "角色ID"}},
            {"key": "zone", "options": ["一区", {"value": "二区"}]},
        ]
    }
    item = {**ITEM, "fulfillment_type": "manual", "manual_form_schema": schema}
    with canned(said({"ok": True, "product": item})) as shop:
        found = at(shop.address).product("7-101", NOW)
    assert found is not None
    assert found.delivers is Delivers.TOPUP
    assert found.fields == (Wish("uid", "角色ID"), Wish("zone", "zone", ("一区", "二区")))


# --- callbacks -------------------------------------------------------------------------------------------------------

NEWS = json.dumps(
    {"event": "order.status_changed", "order_id": 55, "downstream_order_no": NUMBER, "status": "completed"}
)


def signed(
    raw: bytes, stamp: str = STAMP, key: str = "key-1", secret: str = "secret-1", path: str = ""
) -> dict[str, str]:
    message = f"POST\n{path or '/api/v1/upstream/callback'}\n{stamp}\n{hashlib.md5(raw).hexdigest()}"
    signature = hmac.new(secret.encode(), message.encode(), hashlib.sha256).hexdigest()
    return {"dujiao-next-api-key": key, "dujiao-next-timestamp": stamp, "dujiao-next-signature": signature}


def test_a_callback_signed_with_any_of_the_keys_is_news() -> None:
    raw = NEWS.encode()
    assert ours.parse_callback(signed(raw), raw, NOW) == News(NUMBER, "55")
    assert ours.parse_callback(signed(raw, key="key-2", secret="secret-2"), raw, NOW) == News(NUMBER, "55")


def test_a_fork_may_sign_over_another_path() -> None:
    raw, path = NEWS.encode(), "/webhooks/shop"
    fork = at("https://shop.example", callback_path=path)
    assert fork.parse_callback(signed(raw, path=path), raw, NOW) == News(NUMBER, "55")
    with pytest.raises(BadCallback):
        fork.parse_callback(signed(raw), raw, NOW)


@pytest.mark.parametrize("seconds", [-61, 61, 10**7])
def test_a_callback_of_another_time_is_refused(seconds: int) -> None:
    raw = NEWS.encode()
    with pytest.raises(BadCallback):
        ours.parse_callback(signed(raw), raw, NOW + timedelta(seconds=seconds))


def test_a_callback_within_a_minute_is_news() -> None:
    raw = NEWS.encode()
    for seconds in (-60, 60):
        ours.parse_callback(signed(raw), raw, NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        signed(NEWS.encode(), key="key-2"),
        signed(NEWS.encode(), secret="secret-3"),
        signed(NEWS.encode(), key="key-3", secret="secret-3"),
        signed(NEWS.encode(), stamp=STAMP + "0"),
        {**signed(NEWS.encode()), "dujiao-next-signature": "卡"},
    ],
)
def test_a_forged_callback_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(BadCallback):
        ours.parse_callback(headers, NEWS.encode(), NOW)


@given(st.integers(0, len(NEWS) - 1), st.integers(1, 255))
def test_one_byte_changed_is_refused(place: int, by: int) -> None:
    raw = NEWS.encode()
    changed = raw[:place] + bytes([raw[place] ^ by]) + raw[place + 1 :]
    with pytest.raises(BadCallback):
        ours.parse_callback(signed(raw), changed, NOW)


@given(st.binary(max_size=80))
def test_whatever_is_signed_is_news_or_a_refusal(raw: bytes) -> None:
    with pytest.raises(BadCallback):
        ours.parse_callback(signed(raw), raw, NOW)


def test_it_is_told_whether_it_was_taken() -> None:
    assert ours.ack(True) == Ack(200, '{"ok":true,"message":"received"}', "application/json")
    assert (ours.ack(False).status, json.loads(ours.ack(False).body)["ok"]) == (400, False)


def test_he_cannot_say_whether_an_account_is_there() -> None:
    assert ours.check_account("7-101", {"uid": "1"}, NOW) is None
