"""Many channels sell from one pool: each by its own key, on its own terms, and never what is another's."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient

from shared.catalog import snapshots
from shared.catalog.terms import Terms
from shared.channels import records as channel_records
from shared.inventory import records as inventory
from shared.inventory.states import CardState
from shared.kernel import clock, settings
from shared.ledger import posting
from shared.ledger import records as ledger
from shared.orders import records as orders
from shared.payments import records as payments
from shared.steps import channels as channel_keys
from shared.steps import stock_terms
from tests import imported
from tests.shop import Answer, Placed, Shop

SKU = "G020"
CODES = [f"CARD-{n:06}" for n in range(40)]


class Seller:
    """A channel that holds its key."""

    def __init__(self, shop: Shop, name: str) -> None:
        created = shop.call("POST", "/console/channels", {"channel": name, "name": name.title()}, groups="owner")
        assert created.status == 201, created.body
        self.shop, self.name, self.key, self.references = shop, name, created.body["key"], 0

    def call(self, method: str, path: str = "", body: Any = None, **headers: str) -> Answer:
        return self.shop.call(method, f"/channel/reservations{path}", body, self.key, **headers)

    def reserve(self, quantity: int = 1, sku: str = SKU, **more: Any) -> Answer:
        self.references += 1
        wanted = {"lines": [{"sku": sku, "quantity": quantity}], "client_ref": f"T{self.references}", **more}
        return self.call("POST", "", wanted)

    def reserved(self, quantity: int = 1, sku: str = SKU, **more: Any) -> Placed:
        answer = self.reserve(quantity, sku, **more)
        assert answer.status == 201, answer.body
        return Placed(answer.body["order_id"], answer.body["access_token"], "", "")

    def confirm(self, order: Placed, **said: Any) -> Answer:
        return self.call("POST", f"/{order.order_id}/confirm", said)

    def release(self, order: Placed) -> Answer:
        return self.call("POST", f"/{order.order_id}/release")

    def show(self, order: Placed) -> Answer:
        return self.call("GET", f"/{order.order_id}")


@pytest.fixture
def taobao(shop: Shop) -> Seller:
    return Seller(shop, "taobao")


@pytest.fixture
def douyin(shop: Shop) -> Seller:
    return Seller(shop, "douyin")


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at the catalogue is a new one, and no key is known from another shop."""
    monkeypatch.setattr(snapshots, "RECHECK", 0)
    snapshots._held.clear()
    channel_keys._known.clear()


def terms(shop: Shop, sku: str = SKU, **wanted: Any) -> Answer:
    return shop.call("POST", f"/console/skus/{sku}/terms", wanted, groups="operator")


def states() -> Counter[str]:
    return Counter(str(card.state) for card in inventory.Card.scan())


def balance(account: str) -> int:
    entries = ledger.entries_of(clock.shanghai_day(clock.now()))
    return sum(leg.amount_minor for entry in entries for leg in entry.legs if leg.account == account)


# --- reserve, confirm, release ----------------------------------------------------------------------------------------


def test_what_a_channel_reserves_and_confirms_is_delivered_and_booked_on_its_account(
    shop: Shop, taobao: Seller
) -> None:
    shop.stock(codes=CODES[:2])
    order = taobao.reserved(2)
    assert {(card.state, card.channel) for card in inventory.Card.scan()} == {("held", "taobao")}

    assert taobao.confirm(order).body["status"] == "paid"
    shop.pump()

    assert taobao.show(order).body["status"] == "delivered"
    assert sorted(card["code"] for card in shop.reveal(order).body["cards"]) == CODES[:2]
    total = taobao.show(order).body["total"]["amount_minor"]
    assert balance("receivable:on_account") == total
    entries = [one for one in ledger.entries_of(clock.shanghai_day(clock.now())) if one.order_id == order.order_id]
    assert {(entry.kind, entry.channel) for entry in entries} == {("payment", "taobao"), ("delivery", "taobao")}
    assert posting.trial_balance(leg for entry in entries for leg in entry.legs) == {"CNY": 0}


def test_the_same_confirmation_twice_is_one_sale(shop: Shop, taobao: Seller) -> None:
    shop.stock()
    order = taobao.reserved()

    first, second = taobao.confirm(order), taobao.confirm(order)
    shop.pump()
    third = taobao.confirm(order)

    assert [answer.status for answer in (first, second, third)] == [200, 200, 200]
    assert third.body["status"] == "delivered"
    assert balance("receivable:on_account") == third.body["total"]["amount_minor"]


def test_the_same_release_twice_frees_the_cards_once(shop: Shop, taobao: Seller) -> None:
    shop.stock()
    order = taobao.reserved()

    assert [taobao.release(order).body["status"] for _ in range(2)] == ["cancelled", "cancelled"]
    assert states() == {CardState.AVAILABLE: 1}


def test_what_is_paid_for_cannot_be_released(shop: Shop, taobao: Seller) -> None:
    shop.stock()
    order = taobao.reserved()
    taobao.confirm(order)

    answer = taobao.release(order)
    assert (answer.status, answer.body["code"], answer.body["order_status"]) == (409, "order_not_open", "paid")
    assert states() == {CardState.HELD: 1}


def test_a_reservation_ends_at_its_own_time_and_releasing_it_then_is_no_error(shop: Shop, taobao: Seller) -> None:
    shop.stock()
    order = taobao.reserved(hold_seconds=60)

    shop.deadlines(clock.now() + timedelta(seconds=61))

    assert taobao.release(order).body["status"] == "expired"
    assert states() == {CardState.AVAILABLE: 1}


@pytest.mark.parametrize("end", ["release", "expire"])
def test_a_late_confirmation_finds_another_card(shop: Shop, taobao: Seller, end: str) -> None:
    shop.stock()
    order = taobao.reserved(hold_seconds=60)
    taobao.release(order) if end == "release" else shop.deadlines(clock.now() + timedelta(seconds=61))

    assert taobao.confirm(order).body["status"] == "paid"
    shop.pump()
    assert shop.status(order) == "delivered"


def test_a_late_confirmation_without_a_card_is_given_back_on_account(shop: Shop, taobao: Seller) -> None:
    shop.stock()
    order = taobao.reserved()
    taobao.release(order)
    shop.placed()

    assert taobao.confirm(order).body["status"] == "refunding"
    shop.pump()

    assert taobao.confirm(order).body["status"] == "refunded"
    assert balance("receivable:on_account") == balance("refunds_due") == balance("suspense") == 0


def test_a_refund_of_what_was_sold_on_account_lowers_what_the_channel_owes(shop: Shop, taobao: Seller) -> None:
    shop.stock()
    order = taobao.reserved()
    taobao.confirm(order)
    shop.pump()

    assert shop.call("POST", f"/console/orders/{order.order_id}/refunds", {}, groups="finance").status == 201
    shop.pump()

    assert shop.status(order) == "refunded"
    assert balance("receivable:on_account") == 0


def test_a_release_that_overtakes_a_confirmation_leaves_one_truth(
    shop: Shop, taobao: Seller, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.stock()
    order = taobao.reserved()
    original, overtaken = BaseClient._make_api_call, []

    def overtake(client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:
        if operation == "TransactWriteItems" and not overtaken:
            overtaken.append("now")
            overtaken.append(taobao.release(order).body["status"])
        return original(client, operation, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", overtake)
    confirmed = taobao.confirm(order)
    shop.pump()

    assert overtaken == ["now", "cancelled"]
    assert (confirmed.status, shop.status(order)) == (200, "delivered")  # the money came late, and there was a card
    assert states() == {CardState.SOLD: 1}


def test_a_confirmation_that_overtakes_a_release_wins(
    shop: Shop, taobao: Seller, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.stock()
    order = taobao.reserved()
    original, overtaken = BaseClient._make_api_call, []

    def overtake(client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:
        if operation == "TransactWriteItems" and not overtaken:
            overtaken.append(True)
            assert taobao.confirm(order).status == 200
        return original(client, operation, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", overtake)
    assert taobao.release(order).body["code"] == "order_not_open"
    shop.pump()
    assert shop.status(order) == "delivered"


def test_a_wrong_amount_is_refused_before_anything_is_recorded(shop: Shop, taobao: Seller) -> None:
    shop.stock()
    order = taobao.reserved()
    total = taobao.show(order).body["total"]

    wrong = taobao.confirm(order, paid={**total, "amount_minor": total["amount_minor"] - 1})
    assert (wrong.status, wrong.body["code"], wrong.body["total_minor"]) == (
        422,
        "amount_differs",
        total["amount_minor"],
    )
    assert taobao.show(order).body["status"] == "placed"
    assert balance("receivable:on_account") == 0
    assert taobao.confirm(order, paid=total).status == 200


def test_a_reference_is_the_channels_own(shop: Shop, taobao: Seller, douyin: Seller) -> None:
    shop.stock(codes=CODES[:3])
    first = taobao.reserved(client_ref="100")

    assert taobao.reserved(client_ref="100").order_id == first.order_id
    assert taobao.reserve(2, client_ref="100").body["code"] == "reference_reused"
    assert taobao.reserve(client_ref="100", hold_seconds=90).body["code"] == "reference_reused"
    assert douyin.reserved(client_ref="100").order_id != first.order_id


def test_a_contact_is_welcome_and_not_needed(shop: Shop, taobao: Seller) -> None:
    shop.stock(codes=CODES[:2])
    without, with_one = taobao.reserved(), taobao.reserved(contact={"phone": "13800138000"})

    assert taobao.show(without).body["contact"] == ""
    assert taobao.show(with_one).body["contact"] == "138****8000"
    assert taobao.reserve(contact={"phone": "x"}).body["code"] == "no_contact"
    assert orders.head_of(without.order_id).contact_hash is None
    for order in (without, with_one):
        taobao.confirm(order)
    shop.pump()
    assert {shop.status(without), shop.status(with_one)} == {"delivered"}


def test_many_orders_of_one_channel_do_not_look_like_one_greedy_buyer(
    shop: Shop, taobao: Seller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUSTED_PROXIES", "198.51.100.7")
    monkeypatch.setenv("RISK_ADDRESS_ORDERS_PER_DAY", "1")
    shop.stock(codes=CODES[:3])
    placed = []
    for n in range(3):
        wanted = {"lines": [{"sku": SKU, "quantity": 1}], "client_ref": str(n)}
        answer = taobao.call("POST", "", wanted, **{"X-Forwarded-For": "8.8.8.8"})
        placed.append(Placed(answer.body["order_id"], answer.body["access_token"], "", ""))
        taobao.confirm(placed[-1])
    shop.pump()

    assert [shop.status(order) for order in placed] == ["delivered"] * 3


def test_what_a_channel_reserves_is_held_as_long_as_it_says_and_no_longer_than_a_day(
    shop: Shop, taobao: Seller
) -> None:
    shop.stock()

    assert taobao.reserve(hold_seconds=86_401).body["code"] == "invalid_request"
    assert taobao.reserve(hold_seconds=59).body["code"] == "invalid_request"
    before = clock.now()
    expires_at = clock.parse(str(orders.head_of(taobao.reserved(hold_seconds=7_200).order_id).expires_at))
    assert timedelta(milliseconds=-1) <= expires_at - before - timedelta(seconds=7_200) < timedelta(minutes=1)


# --- who a channel is -------------------------------------------------------------------------------------------------


def test_a_channel_sees_its_own_orders_only(shop: Shop, taobao: Seller, douyin: Seller) -> None:
    shop.stock(codes=CODES[:2])
    for order in (douyin.reserved(), shop.placed()):
        for answer in (taobao.show(order), taobao.confirm(order), taobao.release(order)):
            assert (answer.status, answer.body["code"]) == (404, "not_found")
    assert states() == {CardState.HELD: 2}


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "x",
        "kq_live_0000000000000000_00000000000000000000000000000000",
        "{key}0",
        "{id}_00000000000000000000000000000000",
    ],
)
def test_whatever_is_wrong_with_a_key_the_answer_is_the_same(shop: Shop, taobao: Seller, wrong: str) -> None:
    taobao.key = wrong.format(key=taobao.key, id=taobao.key.rpartition("_")[0])
    answer = taobao.reserve()

    assert (answer.status, answer.body["code"]) == (401, "bad_credential")
    assert answer.body["detail"] == "渠道密钥无效。"


def test_an_address_that_tries_keys_is_stopped_and_who_holds_one_is_not(
    shop: Shop, taobao: Seller, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.stock()
    moment = clock.now()
    monkeypatch.setattr(clock, "now", lambda: moment)  # tries are forgotten with each quarter of an hour
    right, taobao.key = taobao.key, "kq_live_wrong"
    codes = [taobao.reserve().body["code"] for _ in range(channel_keys.WRONG_MAX + 2)]

    assert codes == ["bad_credential"] * channel_keys.WRONG_MAX + ["too_many_tries"] * 2
    taobao.key = right
    assert taobao.reserve().status == 201


def test_keys_change_in_daylight(shop: Shop, taobao: Seller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_keys, "KNOWN_FOR", 0)
    shop.stock(codes=CODES[:3])
    keys = "/console/channels/taobao/keys"
    old, new = taobao.key, shop.call("POST", keys, groups="owner").body
    assert shop.call("POST", keys, groups="owner").body["code"] == "too_many_keys"
    taobao.reserved()
    taobao.key = new["key"]
    taobao.reserved()

    old_id = old.split("_")[2]
    revoked = shop.call("POST", f"{keys}/{old_id}/revoke", groups="owner")
    again = shop.call("POST", f"{keys}/{old_id}/revoke", groups="owner")

    assert (revoked.body["state"], again.body) == ("revoked", revoked.body)
    [shown] = shop.call("GET", "/console/channels", groups="auditor").body["channels"]
    assert [key["key_id"] for key in shown["keys"]] == [new["key_id"]]
    taobao.reserved()
    taobao.key = old
    assert taobao.reserve().body["code"] == "bad_credential"
    assert shop.call("POST", keys, groups="owner").status == 201


def test_a_revoked_key_is_believed_for_a_minute_at_most(
    shop: Shop, taobao: Seller, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.stock(codes=CODES[:2])
    moment = channel_keys.time.monotonic()
    monkeypatch.setattr(channel_keys.time, "monotonic", lambda: moment)
    taobao.reserved()
    shop.call("POST", f"/console/channels/taobao/keys/{taobao.key.split('_')[2]}/revoke", groups="owner")
    assert taobao.reserve().status == 201

    moment += 61
    assert taobao.reserve().body["code"] == "bad_credential"


def test_a_key_of_another_channel_is_not_there_to_be_revoked(shop: Shop, taobao: Seller, douyin: Seller) -> None:
    theirs = douyin.key.split("_")[2]
    for path in (f"taobao/keys/{theirs}/revoke", "taobao/keys/nothing/revoke", "nobody/keys"):
        assert shop.call("POST", f"/console/channels/{path}", groups="owner").body["code"] == "not_found"


def test_a_channels_name_is_taken_once_and_some_are_never_given(shop: Shop, taobao: Seller) -> None:
    for name in ("taobao", "shop", "safety", "anonymous"):
        answer = shop.call("POST", "/console/channels", {"channel": name, "name": "x"}, groups="owner")
        assert (answer.status, answer.body["code"]) == (409, "channel_taken")


def test_there_is_room_for_so_many_channels(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_records, "CHANNELS_MAX", 2)
    Seller(shop, "one1"), Seller(shop, "two2")

    answer = shop.call("POST", "/console/channels", {"channel": "three3", "name": "x"}, groups="owner")
    assert (answer.body["code"], answer.body["limit"]) == ("too_many_channels", 2)
    assert [one["channel"] for one in shop.call("GET", "/console/channels", groups="owner").body["channels"]] == [
        "one1",
        "two2",
    ]


def test_the_secret_of_a_key_is_nowhere(shop: Shop, taobao: Seller) -> None:
    secret = taobao.key.split("_")[3]

    stored = boto3.client("dynamodb").scan(TableName=settings.table("channels"))["Items"]
    assert len(stored) == 3
    assert secret not in repr(stored)
    assert secret not in repr(shop.call("GET", "/console/channels", groups="owner").body)


def test_a_body_that_names_another_channel_is_refused(shop: Shop, taobao: Seller) -> None:
    shop.stock(codes=CODES[:2])

    assert shop.place(channel="taobao").body["code"] == "foreign_channel"
    assert taobao.reserve(channel="shop").body["code"] == "foreign_channel"
    assert taobao.reserve(channel="taobao").status == 201


def test_nobody_without_a_key_pays_on_account(shop: Shop) -> None:
    shop.stock(codes=CODES[:2])

    assert shop.place(payment_method="on_account").body["code"] == "unknown_payment_method"
    order = shop.placed()
    change = shop.call("POST", f"/orders/{order.order_id}/payments", {"payment_method": "on_account"}, order.token)
    assert change.body["code"] == "unknown_payment_method"
    assert shop.call("POST", "/webhooks/payments/on_account", "{}").status == 400


def test_a_reservation_may_be_paid_for_only_once_however_it_is_paid(shop: Shop, taobao: Seller) -> None:
    shop.stock()
    order = taobao.reserved()
    other = shop.call("POST", f"/orders/{order.order_id}/payments", {"payment_method": "sandbox"}, order.token)
    order.url = other.body["redirect_url"]
    shop.pay(order)

    assert taobao.confirm(order).status == 200
    shop.pump()
    assert shop.status(order) == "delivered"
    assert balance("receivable:on_account") == 0
    assert len([one for one in payments.Refund.scan() if str(one.id).startswith("ref_")]) == 1


# --- the terms on which stock is shared out ---------------------------------------------------------------------------


def test_a_channel_never_takes_more_than_its_quota(shop: Shop, taobao: Seller) -> None:
    shop.stock(codes=CODES[:6])
    terms(shop, quotas={"taobao": 3})
    first = taobao.reserved(2)

    refused = taobao.reserve(2)
    assert (refused.status, refused.body["code"], refused.body["sku"]) == (409, "quota_used_up", SKU)
    taobao.reserved(1)
    taobao.release(first)
    taobao.reserved(2)
    assert taobao.reserve(1).body["code"] == "quota_used_up"
    assert shop.place().status == 201, "the shop has no quota"


def test_late_money_beyond_the_quota_goes_back(shop: Shop, taobao: Seller) -> None:
    shop.stock(codes=CODES[:6])
    terms(shop, quotas={"taobao": 2})
    late = taobao.reserved(2)
    taobao.release(late)
    taobao.reserved(1)

    assert taobao.confirm(late).body["status"] == "refunding"


def test_what_is_kept_back_for_a_channel_is_sold_to_nobody_else(shop: Shop, taobao: Seller, douyin: Seller) -> None:
    shop.stock(codes=CODES[:10])
    assert terms(shop, floors={"taobao": 4}).body["kept"] == {"taobao": 4}

    for buyer in (douyin.reserve, shop.place):
        assert buyer(quantity=3).status == 201
    assert shop.place().body["code"] == douyin.reserve().body["code"] == "out_of_stock"
    assert taobao.reserve(5).body["code"] == "out_of_stock"
    taobao.reserved(4)


def test_a_channel_sells_from_the_common_shelf_before_its_own_where_that_expires_first(
    shop: Shop, taobao: Seller
) -> None:
    in_days(shop, {"soon": 30, "late": 300, "mid": 90})
    terms(shop, "V003", floors={"taobao": 1})

    sold = [shop.reveal(delivered(shop, taobao, "V003")).body["cards"][0]["code"] for _ in range(3)]
    assert [code[5:] for code in sold] == ["SOON", "MID", "LATE"]


def test_safety_stock_is_nobodys(shop: Shop, taobao: Seller) -> None:
    shop.stock(codes=CODES[:3])
    assert terms(shop, safety=2).body["kept"] == {"safety": 2}

    taobao.reserved(1)
    assert shop.place().body["code"] == taobao.reserve().body["code"] == "out_of_stock"
    assert terms(shop, safety=1).body["kept"] == {"safety": 1}
    assert shop.place().status == 201


def test_a_floor_that_is_dropped_gives_its_cards_back_also_those_that_come_later(shop: Shop, taobao: Seller) -> None:
    shop.stock(codes=CODES[:2])
    terms(shop, floors={"taobao": 2})
    held = taobao.reserved(2)
    terms(shop)
    taobao.release(held)
    assert shop.place().body["code"] == "out_of_stock", "they went back to the shelf that was theirs"

    assert terms(shop).body["kept"] == {}
    assert shop.place(quantity=2).status == 201


def test_a_card_that_is_set_aside_while_a_buyer_looks_at_it_is_not_sold_to_that_buyer(
    shop: Shop, taobao: Seller, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.stock(codes=CODES[:2])
    original, overtaken = BaseClient._make_api_call, []

    def overtake(client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:
        if operation == "TransactWriteItems" and not overtaken:
            overtaken.append(True)
            assert terms(shop, floors={"taobao": 2}).body["kept"] == {"taobao": 2}
        return original(client, operation, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", overtake)
    assert shop.place().body["code"] == "out_of_stock"
    taobao.reserved(2)


def test_a_run_that_dies_is_finished_by_the_next(shop: Shop, taobao: Seller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stock_terms.records, "LIMIT", 2)
    shop.stock(codes=CODES[:9])
    original = BaseClient._make_api_call
    writes = last = 0

    class Died(Exception):
        pass

    def die(client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:
        nonlocal writes
        answer = original(client, operation, parameters)
        if operation in ("TransactWriteItems", "UpdateItem", "PutItem", "PutObject"):
            writes += 1
            if writes == last:
                raise Died
        return answer

    monkeypatch.setattr(BaseClient, "_make_api_call", die)
    deaths = 0
    for last in range(1, 9):  # noqa: B007  # it is looked at by what dies
        writes = 0
        died = terms(shop, floors={"taobao": 5}, safety=2).status == 500
        writes = 99  # alive from here on
        assert terms(shop, floors={"taobao": 5}, safety=2).body["kept"] == {"taobao": 5, "safety": 2}
        assert shop.place(quantity=3).body["code"] == "out_of_stock"
        assert shop.call("GET", f"/console/skus/{SKU}/terms", groups="auditor").body["floors"] == {"taobao": 5}
        assert terms(shop).body["kept"] == {}
        deaths += died
        if not died:
            break
    else:
        pytest.fail("it never came to its end")
    assert deaths >= 5


def test_what_is_lacking_is_said(shop: Shop, taobao: Seller) -> None:
    shop.stock(codes=CODES[:3])

    set_ = terms(shop, floors={"taobao": 2}, safety=5)
    assert (set_.body["kept"], set_.body["short"]) == ({"taobao": 2, "safety": 1}, {"safety": 4})
    assert shop.call("GET", f"/console/skus/{SKU}/terms", groups="support").body == set_.body


def test_what_is_hidden_from_a_channel_does_not_exist_for_it(shop: Shop, taobao: Seller, douyin: Seller) -> None:
    shop.stock(codes=CODES[:2])
    product_id = product_of(shop, SKU)
    terms(shop, hidden=["taobao", "shop"])

    assert taobao.reserve().body["code"] == "unknown_sku"
    assert shop.place().body["code"] == "unknown_sku"
    quote = shop.call("POST", "/quotes", {"lines": [{"sku": SKU, "quantity": 1}]})
    assert (quote.status, quote.body["code"]) == (404, "unknown_sku")
    shown = shop.call("GET", f"/products/{product_id}").body
    assert SKU not in [sku["sku"] for sku in shown.get("skus", [])]
    assert shop.call("GET", f"/products?q={SKU}").body["products"] == []
    douyin.reserved()

    terms(shop)
    assert SKU in [sku["sku"] for sku in shop.call("GET", f"/products/{product_id}").body["skus"]]
    taobao.reserved()


def test_what_is_shown_again_at_once_is_shown_again(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "RECHECK", 3600)  # seconds: the door that sets terms has just seen the catalogue
    shown = snapshots.stored()[1]
    published = []
    for hidden in (["shop"], [], ["shop"], []):
        terms(shop, hidden=hidden)
        published.append(snapshots.stored()[1] == shown)

    assert published == [False, True, False, True]


def test_a_card_that_does_not_last_long_enough_is_neither_shown_nor_sold(shop: Shop, taobao: Seller) -> None:
    in_days(shop, {"soon": 6})
    product_id = product_of(shop, "V003")
    assert available(shop, product_id, "V003")

    terms(shop, "V003", min_days=7)
    assert not available(shop, product_id, "V003")
    quote = shop.call("POST", "/quotes", {"lines": [{"sku": "V003", "quantity": 1}]})
    assert not quote.body["lines"][0]["available"]
    assert shop.place("V003").body["code"] == taobao.reserve(sku="V003").body["code"] == "out_of_stock"
    terms(shop, "V003", min_days=6)
    assert available(shop, product_id, "V003")
    taobao.reserved(sku="V003")


def test_the_shop_may_have_cards_of_its_own_and_shows_them(shop: Shop, taobao: Seller) -> None:
    shop.stock(codes=CODES[:1])
    product_id = product_of(shop, SKU)
    terms(shop, floors={"taobao": 1})
    assert not available(shop, product_id, SKU)

    terms(shop, floors={"shop": 1})
    assert available(shop, product_id, SKU)
    assert taobao.reserve().body["code"] == "out_of_stock"
    assert shop.place().status == 201


@pytest.mark.parametrize(
    ("sku", "wanted", "status", "code"),
    [
        ("NOPE", {}, 404, "unknown_sku"),
        (SKU, {"floors": {"nobody": 1}}, 422, "unknown_channel"),
        (SKU, {"quotas": {"nobody": 1}}, 422, "unknown_channel"),
        (SKU, {"hidden": ["nobody"]}, 422, "unknown_channel"),
        (SKU, {"floors": {"safety": 1}}, 422, "unknown_channel"),
        (SKU, {"floors": {"taobao": 3}, "quotas": {"taobao": 2}}, 422, "floor_above_quota"),
        ("C060", {"safety": 1}, 409, "no_stock_to_share"),
        (SKU, {"safety": -1}, 422, "invalid_request"),
        (SKU, {"hold_percent": 101}, 422, "invalid_request"),
    ],
)
def test_terms_that_make_no_sense_are_refused(
    shop: Shop, taobao: Seller, sku: str, wanted: dict[str, Any], status: int, code: str
) -> None:
    answer = terms(shop, sku, **wanted)
    assert (answer.status, answer.body["code"]) == (status, code)


def test_who_may_read_terms_may_not_set_them(shop: Shop) -> None:
    assert shop.call("GET", f"/console/skus/{SKU}/terms", groups="auditor").status == 200
    assert shop.call("POST", f"/console/skus/{SKU}/terms", {}, groups="auditor").body["code"] == "not_allowed"


def test_a_sku_without_terms_pays_nothing_for_them() -> None:
    assert (Terms().aside("taobao"), Terms().good_on(date(2026, 5, 1))) == (None, date(2026, 5, 1))


# --- helpers ----------------------------------------------------------------------------------------------------------


def in_days(shop: Shop, of: dict[str, int], sku: str = "V003") -> None:
    """Cards named for how long they last; where a test says nothing else, of a SKU whose cards expire."""
    today = clock.shanghai_day(clock.now())
    lines = [f"{sku},CODE-{name.upper()},{today + timedelta(days=days)}" for name, days in of.items()]
    text = "\n".join(["SKU编码,卡密,到期日", *lines])
    seen = imported.take_in(text.encode(), "cards.csv", clock.now(), supplier="acme")
    assert seen.counts.done == len(of), seen


def delivered(shop: Shop, seller: Seller, sku: str) -> Placed:
    order = seller.reserved(sku=sku)
    seller.confirm(order)
    shop.pump()
    return order


def product_of(shop: Shop, sku: str) -> str:
    [product] = [
        product
        for product in shop.call("GET", f"/products?q={sku}").body["products"]
        if sku in [one["sku"] for one in product["skus"]]
    ]
    return str(product["product_id"])


def available(shop: Shop, product_id: str, sku: str) -> bool:
    shown = shop.call("GET", f"/products/{product_id}").body["skus"]
    return bool(next(one["available"] for one in shown if one["sku"] == sku))
