"""Orders that own stock cannot fill, bought on the deployed stack from suppliers that keep books of their own."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.local import client, supply
from infra.local.client import Shop as Desk
from infra.local.supplier_shop import KINDS as STAND_INS
from infra.local.suppliers.common import Product, Supplier
from infra.local.suppliers.fulu import Fulu
from infra.local.suppliers.ledger import TOP_UP
from infra.local.supply import Local
from shared.kernel import clock
from tests.journeys import books, stockroom
from tests.journeys.stack import CATALOGUE, Buyer, Order, Reply, Stack, in_minutes, order_in, wait_for

BRAND, FAMILY = "甲牌", "视频会员"
CARD, PHONE, LISTED, TAKEN, BY_HAND = (f"X90{n}" for n in range(1, 6))  # which no other journey has in stock
ROWS = (
    f"{CARD},{FAMILY},{BRAND},甲牌会员,月卡,card,30.00,25.00,19.80,,90,,\n"
    f"{PHONE},{FAMILY},{BRAND},甲牌会员直充,月,topup,30.00,25.00,19.80,phone:手机号,,,\n"
    f"{LISTED},{FAMILY},{BRAND},甲牌会员,季卡,card,80.00,70.00,60.00,,90,,\n"
    f"{TAKEN},{FAMILY},{BRAND},甲牌会员,年卡,card,180.00,150.00,120.00,,90,,\n"
    f"{BY_HAND},{FAMILY},{BRAND},甲牌会员直充,季,topup,80.00,70.00,60.00,phone:手机号,,,\n"
)
FIRST_E6, SECOND_E6 = 15_000_000, 16_000_000
PURCHASED = 90  # seconds: three pauses that are really waited, on a slow machine
RETRY_AFTER = (0.5, 1, 2)  # seconds: a supplier's patience, shortened
TRUSTED = {(FAMILY, "B"), (FAMILY, "C")}


def card(cost_e6: int) -> Product:
    return Product("1", "甲牌会员 月卡", cost_e6, stock=500)


LOCALS = (
    Local("first", "dujiao", "一号", 901, {CARD: (BRAND, card(FIRST_E6))}),
    Local("second", "kasushou", "二号", 902, {CARD: (BRAND, card(SECOND_E6))}),
    Local("third", "kashangwl", "三号", 904, {TAKEN: (BRAND, Product("1", "甲牌会员 年卡", 100_000_000, stock=500))}),
    Local(
        "phones",
        "fulu",
        "话费",
        903,
        {
            PHONE: (
                BRAND,
                Product(
                    "7", "甲牌会员直充 月", FIRST_E6, TOP_UP, 100, fields=[{"key": "charge_account", "name": "手机号"}]
                ),
            )
        },
    ),
)


@dataclass(frozen=True)
class Hub:
    """The suppliers of these journeys, by our names for them."""

    stack: Stack
    stand_ins: dict[str, Supplier]

    def url(self, code: str) -> str:
        return self.stand_ins[code].url

    def paid(self, sku: str = CARD, **more: Any) -> tuple[Buyer, Order]:
        buyer = self.stack.buyer()
        order = buyer.place(sku, **more)
        buyer.pay(order)
        return buyer, order

    def attempts(self, order: Order) -> list[dict[str, Any]]:
        reply = self.stack.console("GET", f"/purchases?order_id={order.order_id}", role="auditor")
        assert reply.status == 200, reply.body
        return list(reply.body["attempts"])

    def tried(self, order: Order) -> list[tuple[str, str, str]]:
        return [(one["supplier"], one["state"], one["reason"]) for one in self.attempts(order)]

    def came(self, order: Order) -> dict[str, Any]:
        """The one attempt that brought something."""
        [found] = [one for one in self.attempts(order) if one["delivered"]]
        return found

    def sold(self, code: str, number: str) -> list[dict[str, Any]]:
        """What a supplier has in his own books under our number."""
        return Supplier.orders(self.url(code), number)

    def by_hand(self, order: Order) -> str:
        """The number of the attempt that a person is asked to make for an order."""
        wait_for(lambda: self.tried(order), "a person to be asked", PURCHASED)
        [attempt] = self.attempts(order)
        self.until_task("buy_by_hand", attempt["number"])
        return str(attempt["number"])

    def save(self, code: str, **more: Any) -> Reply:
        """Save a supplier as he is known, but for this."""
        one = next(one for one in LOCALS if one.code == code)
        known = {"kind": one.kind, "name": one.name, "company": one.company, "terms": self.stand_ins[code].terms}
        return self.stack.console("PUT", f"/suppliers/{code}", {**known, **more})

    def until_task(self, kind: str, about: str) -> str:
        """The open task of this kind about something."""

        def found() -> str:
            tasks = self.stack.console("GET", "/tasks").body["tasks"]
            return next((str(one["task_id"]) for one in tasks if (one["kind"], one["about"]) == (kind, about)), "")

        return wait_for(found, f"a task {kind} about {about}", PURCHASED)

    def refill(self, *codes: str, **stock: int | None) -> None:
        for code in codes:
            Supplier.change_product(self.url(code), "1", **stock)

    def price(self, cost_e6: int, *codes: str) -> None:
        for code in codes:
            Supplier.change_product(self.url(code), "1", cost_e6=cost_e6)
            assert self.stack.console("POST", f"/suppliers/{code}/sync", role="operator").status == 200


@pytest.fixture(scope="module")
def hub(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    sample = CATALOGUE.read_text(encoding="utf-8-sig")
    view = stack.import_catalogue((sample.rstrip("\n") + "\n" + ROWS).encode())
    assert (view["state"], view["counts"]["refused"]) == ("done", 0), view
    folder = Path(tmp_path_factory.mktemp("suppliers"))
    owner, operator = (Desk(stack.api, stack.token(role)) for role in ("owner", "operator"))
    with ExitStack() as running:
        found = {}
        for one in LOCALS:
            make = STAND_INS[one.kind]()
            stand_in = make(folder / f"{one.code}.sqlite", seed=one.seed, retry_after=RETRY_AFTER, answer_within=60)
            found[one.code] = running.enter_context(stand_in)
            for _ in range(2):  # as when `make run` is said twice
                supply.let_in(one, stand_in.url, {"terms": stand_in.terms, "keys": stand_in.keys}, owner, operator)
        Fulu.call_back(found["phones"].url, f"{stack.api}/webhooks/suppliers/phones")
        yield Hub(stack, found)


def test_what_own_stock_has_not_is_bought_from_the_cheapest_and_delivered(hub: Hub) -> None:
    buyer, order = hub.paid(quantity=2)
    hub.stack.until(order.order_id, "delivered", seconds=PURCHASED)

    [attempt] = hub.attempts(order)
    assert (attempt["supplier"], attempt["delivered"], attempt["cost"]["amount_minor"]) == ("first", 2, 3_000)
    assert [one["supplier"] for one in attempt["choices"]] == ["first", "second"]
    [sale] = hub.sold("first", attempt["number"])
    assert set(buyer.reveal(order)) == {one["password"] for one in sale["cards"]}
    assert hub.sold("second", attempt["number"]) == []
    answered = [told["answers"] for told in Supplier.told(hub.url("first"), sale["order_no"])]
    wait_for(
        lambda: any(
            answer["status"] == 200
            for told in Supplier.told(hub.url("first"), sale["order_no"])
            for answer in told["answers"]
        ),
        f"the supplier's callback to be taken: {answered}",
    )


def test_own_stock_is_sold_before_anything_is_bought(hub: Hub) -> None:
    (code,) = hub.stack.stock(CARD, 1)
    buyer, order = hub.paid()
    hub.stack.until(order.order_id, "delivered")
    assert buyer.reveal(order) == [code]
    assert hub.attempts(order) == []


def test_where_the_cheapest_is_down_the_second_sells_it(hub: Hub) -> None:
    buyer, order = hub.stack.buyer(), None
    order = buyer.place(CARD)
    Supplier.go_down(hub.url("first"), 120)
    buyer.pay(order)
    hub.stack.until(order.order_id, "delivered", seconds=2 * PURCHASED)
    Supplier.go_down(hub.url("first"), 0)

    tried = hub.tried(order)
    assert [(supplier, state) for supplier, state, _ in tried] == [("first", "failed"), ("second", "delivered")], tried
    first, second = hub.attempts(order)
    assert hub.sold("first", first["number"]) == []
    assert len(hub.sold("second", second["number"])) == 1
    assert len(buyer.reveal(order)) == 1


def test_who_answers_nothing_is_asked_and_nothing_is_bought_twice(hub: Hub) -> None:
    Supplier.misbehave(hub.url("first"), "buy", "silent")
    buyer, order = hub.paid()
    hub.stack.until(order.order_id, "delivered", seconds=PURCHASED)

    [attempt] = hub.attempts(order)
    assert attempt["messages"][0]["outcome"] == "unknown"
    [sale] = hub.sold("first", attempt["number"])
    assert buyer.reveal(order) == [one["password"] for one in sale["cards"]]
    assert Supplier.bought_twice(hub.url("first")) == []


def test_a_line_that_is_sent_twice_is_bought_once(hub: Hub) -> None:
    def sent_again() -> bool:
        hub.stack.deadlines(6)
        return int(hub.stack.head(order.order_id)["tries"]) > 0

    with hub.stack.paused("purchasing"):
        buyer, order = hub.paid()
        wait_for(lambda: "buying" in hub.stack.head(order.order_id)["lines"], "the line to be bought")
        wait_for(sent_again, "the line to be sent again")
    hub.stack.until(order.order_id, "delivered", seconds=PURCHASED)
    [attempt] = hub.attempts(order)
    assert len(hub.sold("first", attempt["number"])) == len(buyer.reveal(order)) == 1


def test_a_price_that_changes_is_read_as_soon_as_he_says_so(hub: Hub) -> None:
    def priced() -> int:
        offers = hub.stack.console("GET", f"/skus/{CARD}/offers").body["offers"]
        return next(int(one["landed_e6"]) for one in offers if one["supplier"] == "second")

    before = priced()
    Supplier.change_product(hub.url("second"), "1", cost_e6=SECOND_E6 + 500_000)
    assert hub.stack.call("POST", "/webhooks/suppliers/second/changes", {}).status == 200
    wait_for(lambda: priced() == before + 500_000, "the new price to be read")
    hub.price(SECOND_E6, "second")


def test_a_price_that_jumps_waits_for_a_person(hub: Hub) -> None:
    buyer = hub.stack.buyer()
    order = buyer.place(CARD)
    hub.price(26_000_000, "first", "second")
    buyer.pay(order)
    wait_for(lambda: hub.tried(order), "the purchase to be held", PURCHASED)
    [held] = hub.attempts(order)
    assert (held["state"], held["most"]["amount_minor"]) == ("held", 2_500), held
    assert {one["reason"] for one in held["left_out"]} == {"too_dear"}
    hub.until_task("price_jump", held["number"])
    path = f"/purchases/{held['number']}/allow"
    assert hub.stack.console("POST", path, {"most_minor": 2_400, "note": "less"}).status == 422
    allowed = hub.stack.console("POST", path, {"most_minor": 2_600, "note": "a good customer"}, role="operator")
    assert allowed.status == 200, allowed.body
    hub.stack.until(order.order_id, "delivered", seconds=PURCHASED)
    assert hub.attempts(order)[-1]["cost"]["amount_minor"] == 2_600
    hub.price(FIRST_E6, "first")
    hub.price(SECOND_E6, "second")


def test_what_nobody_delivers_is_paid_back(hub: Hub) -> None:
    def terms(**quotas: int) -> None:
        assert hub.stack.console("POST", f"/skus/{CARD}/terms", {"quotas": quotas}, role="operator").status == 200

    terms(shop=1)
    hub.refill("first", "second", stock=0, shown=500)
    _, order = hub.paid()
    assert hub.stack.buyer().try_to_place(CARD).code == "quota_used_up"
    hub.stack.until(order.order_id, "refunded", seconds=PURCHASED)
    assert hub.tried(order) == [("first", "failed", "no_stock"), ("second", "failed", "no_stock")]
    hub.refill("first", "second", stock=500, shown=None)
    buyer = hub.stack.buyer()
    buyer.cancel(buyer.place(CARD))  # what was paid back is not counted against what the shop may sell
    terms()


def test_a_wrong_account_is_refused_before_anybody_pays(hub: Hub) -> None:
    right = hub.stack.canaries.phone()
    buyer = hub.stack.buyer()

    def placed(phone: str) -> Any:
        return buyer.try_to_place(PHONE, lines=[{"sku": PHONE, "quantity": 1, "account": {"phone": phone}}])

    malformed, unknown = placed("no phone"), placed("12345678901")
    assert [malformed.status, unknown.status] == [422, 422]
    assert unknown.body["fields"] == [{"field": "account.phone", "reason": "unknown_account"}]
    order = order_in(placed(right))
    buyer.pay(order)
    hub.stack.until(order.order_id, "delivered", seconds=PURCHASED)

    [attempt] = hub.attempts(order)
    [sale] = hub.sold("phones", attempt["number"])
    assert sale["account"] == {"charge_account": right}
    (line,) = buyer.call("GET", f"/orders/{order.order_id}", bearer=order.token).body["lines"]
    assert (line["got"], line["account"], bool(line["proof"])) == (1, {"phone": f"19****{right[-2:]}"}, True)
    assert right not in str(hub.attempts(order))
    assert buyer.reveal(order) == []
    mistaken = {"source": "issuer", "note": "all that came today"}
    refused = hub.stack.console("POST", f"/purchases/{attempt['number']}/void", mistaken)
    assert (refused.status, refused.code) == (404, "not_found")  # a top-up has no cards that could be recalled

    Supplier.void(hub.url("phones"), sale["order_no"], refund=True)  # and he says so
    hub.until_task("purchase_reversed", attempt["number"])
    said = {"outcome": "reversed", "note": "he has paid us back"}
    settled = hub.stack.console("POST", f"/purchases/{attempt['number']}/settle", said, role="operator")
    assert (settled.status, settled.body["state"]) == (200, "reversed"), settled.body


def test_what_a_channel_has_sold_is_bought_for_it(hub: Hub) -> None:
    made = hub.stack.console("POST", "/channels", {"channel": "kiosk", "name": "Kiosk"})
    line = {"sku": PHONE, "quantity": 1, "account": {"phone": hub.stack.canaries.phone()}}
    wanted, key = {"lines": [line], "client_ref": "kiosk-1"}, made.body["key"]
    reserved = hub.stack.call("POST", "/channel/reservations", wanted, key)
    assert reserved.status == 201, reserved.body
    confirmed = hub.stack.call("POST", f"/channel/reservations/{reserved.body['order_id']}/confirm", {}, key)
    assert confirmed.status == 200, confirmed.body
    hub.stack.until(reserved.body["order_id"], "delivered", seconds=PURCHASED)

    line["account"] = {"phone": "12345678901"}
    unknown = hub.stack.call("POST", "/channel/reservations", {**wanted, "client_ref": "kiosk-2"}, key)
    assert unknown.status == 422
    assert unknown.body["fields"] == [{"field": "account.phone", "reason": "unknown_account"}]


def test_a_document_that_ends_soon_is_named(hub: Hub) -> None:
    path = "/suppliers/second/documents"
    ends = (clock.shanghai_day(datetime.now(UTC)) + timedelta(days=10)).isoformat()
    company = next(one.company for one in LOCALS if one.code == "second")
    rights = {"paper": "authorisation", "brand": "乙牌", "issued_by": "乙牌", "from_owner": True, "ends_on": ends}
    asked = hub.stack.console("POST", path, {**rights, "file_name": "scan.pdf", "issued_to": company})
    assert asked.status == 201, asked.body
    client.put(asked.body["upload_url"], b"%PDF-1.7")
    document = asked.body["document_id"]
    assert hub.stack.console("POST", f"{path}/{document}/received").status == 200
    assert hub.stack.console("POST", f"{path}/{document}/accept", role="operator").status == 200
    for _ in range(2):
        assert hub.stack.invoke("stocktake", {"time": in_minutes(0)}) is None
    hub.until_task("supplier_document_ends", f"second-{document}-30")


def test_cards_that_a_supplier_takes_back_are_claimed_and_recalled_where_a_person_says_so(hub: Hub) -> None:
    orders = [hub.paid(TAKEN)[1] for _ in range(3)]
    for order in orders:
        hub.stack.until(order.order_id, "delivered", seconds=PURCHASED)
    told, written, void = (hub.came(order) for order in orders)
    owed = books.balances(hub.stack)["payable:third"]
    (sale,) = hub.sold("third", told["number"])
    Supplier.void(hub.url("third"), sale["order_no"], refund=True)
    wait_for(lambda: hub.came(orders[0])["state"] == "reversed", "the supplier's word to be believed", PURCHASED)
    hub.until_task("purchase_reversed", told["number"])
    assert books.balances(hub.stack)["payable:third"] == owed + 10_000
    assert hub.stack.status(orders[0].order_id) == "delivered"

    said = {"outcome": "reversed", "note": "he wrote to us"}
    assert hub.stack.console("POST", f"/purchases/{written['number']}/settle", said, role="operator").status == 200
    asked = hub.stack.console("POST", "/recalls", {"purchase_id": told["number"], "reason": "blocked by their issuer"})
    assert asked.status == 201, asked.body
    for attempt in (told, told, written, void):
        wanted = {"source": "supplier", "note": "blocked by their issuer", "whole_day": attempt is void}
        recalled = hub.stack.console("POST", f"/purchases/{attempt['number']}/void", wanted)
        assert recalled.status == 201, recalled.body
    for order in orders:
        hub.stack.until(order.order_id, "refunded", seconds=PURCHASED)
    assert books.balances(hub.stack)["payable:third"] == 0


def test_who_is_suspended_gets_nothing_until_two_people_let_him_in_again(hub: Hub) -> None:
    said = hub.stack.console("POST", "/suppliers/first/suspend", {"said": "looked into"})
    assert said.status == 200, said.body
    _, order = hub.paid()
    hub.stack.until(order.order_id, "delivered", seconds=PURCHASED)
    assert hub.tried(order) == [("second", "delivered", "")]
    assert {(one["supplier"], one["reason"]) for one in hub.attempts(order)[0]["left_out"]} == {
        ("first", "not_admitted")
    }
    assert hub.stack.console("POST", "/suppliers/first/review", role="operator").status == 200
    assert hub.stack.console("POST", "/suppliers/first/approve").status == 200
    _, order = hub.paid()
    hub.stack.until(order.order_id, "delivered", seconds=PURCHASED)
    assert hub.tried(order) == [("first", "delivered", "")]


def test_what_a_supplier_takes_off_his_list_is_bought_elsewhere_until_he_has_it_again(hub: Hub) -> None:
    other = Product("2", "甲牌会员 周卡", 5_000_000, stock=500)
    for his, sell in ((other, ["second"]), (card(FIRST_E6), ["first", "second"])):
        Supplier.put_products(hub.url("first"), [his], instead=True)
        assert hub.stack.invoke("supplier-sync", {"time": in_minutes(0)}) is None
        compared = hub.stack.console("GET", f"/skus/{CARD}/offers", role="auditor").body["offers"]
        assert [one["supplier"] for one in compared if one["sells"]] == sell
        _, order = hub.paid()
        hub.stack.until(order.order_id, "delivered", seconds=PURCHASED)
        assert hub.tried(order) == [(sell[0], "delivered", "")]


def test_nobody_becomes_another_account_with_a_supplier_while_he_has_an_order_of_ours(hub: Hub) -> None:
    Supplier.misbehave(hub.url("first"), "buy", "late", seconds=60)
    _, order = hub.paid()
    wait_for(lambda: hub.tried(order) == [("first", "accepted", "")], "the supplier to have the order", PURCHASED)
    refused = hub.save("first", terms={"site": "http://127.0.0.1:9"})
    assert (refused.status, refused.code) == (409, "orders_out"), refused.body
    [attempt] = hub.attempts(order)
    [sale] = hub.sold("first", attempt["number"])
    Supplier.end(hub.url("first"), sale["order_no"])
    hub.stack.until(order.order_id, "delivered", seconds=PURCHASED)


@pytest.fixture(scope="module")
def listed(hub: Hub) -> None:
    """A supplier of whom a person buys: there is nothing of him but his price list."""
    owner, operator = (Desk(hub.stack.api, hub.stack.token(role)) for role in ("owner", "operator"))
    company = "三号（本机模拟）有限公司"
    path = "/console/suppliers/listed"
    known = owner.call("PUT", path, {"kind": "pricelist", "name": "三号", "company": company})
    supply.show_papers(company, {BRAND}, path, known, owner, operator)
    operator.call("POST", f"{path}/review")
    owner.call("POST", f"{path}/approve")
    table = "商品编号,商品名称,供货价,库存\nA1,甲牌会员 季卡,58.00,50\nA2,甲牌会员直充 季,58.00,50\n"
    taken = owner.call("POST", f"{path}/pricelist", {"content": base64.b64encode(table.encode()).decode()})
    assert taken["new"] == 2, taken
    for product, sku in (("A1", LISTED), ("A2", BY_HAND)):
        owner.call("POST", "/console/offers/listed/map", {"product": product, "sku": sku})


@pytest.mark.usefixtures("listed")
def test_a_person_buys_what_only_a_price_list_has(hub: Hub) -> None:
    buyer, order = hub.paid(LISTED)
    number, code = hub.by_hand(order), hub.stack.canaries.code()
    said = {"outcome": "delivered", "note": "bought at his desk", "cards": [{"code": code}], "cost_minor": 5_800}
    settled = hub.stack.console("POST", f"/purchases/{number}/settle", said, role="operator")
    assert settled.status == 200, settled.body
    hub.stack.until(order.order_id, "delivered", seconds=PURCHASED)
    assert buyer.reveal(order) == [code]


@pytest.mark.usefixtures("listed")
def test_who_tops_up_by_hand_sees_the_account_until_it_is_done_and_is_written_down(hub: Hub) -> None:
    account, why = {"phone": hub.stack.canaries.phone()}, {"reason": "I buy it of him now"}
    _, order = hub.paid(lines=[{"sku": BY_HAND, "quantity": 1, "account": account}])
    number = hub.by_hand(order)
    path = f"/purchases/{number}"
    assert hub.stack.console("POST", f"{path}/account", why, role="auditor").status == 403
    shown = hub.stack.console("POST", f"{path}/account", why, role="operator")
    assert (shown.status, shown.body["account"]) == (200, account)
    said = {"outcome": "delivered", "note": "topped up at his desk", "pieces": 1, "proof": "his receipt"}
    assert hub.stack.console("POST", f"{path}/settle", said, role="operator").status == 200
    hub.stack.until(order.order_id, "delivered", seconds=PURCHASED)

    again = hub.stack.console("POST", f"{path}/account", why, role="operator")
    assert (again.status, again.code) == (409, "not_by_hand")
    (look,) = [look for look in hub.stack.table("views") if look["card_id"] == number]
    seen = hub.stack.console("GET", f"/staff/{look['viewer']}/views", role="auditor").body["views"]
    assert (seen[0]["order_id"], seen[0]["reason"]) == (order.order_id, why["reason"])


def test_who_refuses_us_is_stopped_and_whose_money_is_low_is_named(hub: Hub) -> None:
    stack, one = hub.stack, LOCALS[0]
    assert hub.save(one.code, low_minor=10**11).status == 200
    assert stack.console("POST", f"/suppliers/{one.code}/sync", role="operator").status == 200
    hub.until_task("supplier_balance_low", one.code)
    assert hub.save(one.code, low_minor=None).status == 200
    hub.refill(one.code, cost_e6=FIRST_E6 + 10_000)
    assert stack.invoke("supplier-sync", {"time": in_minutes(0)}) is None
    assert "supplier_balance_low" not in {task["kind"] for task in stack.console("GET", "/tasks").body["tasks"]}
    assert stack.console("GET", f"/skus/{CARD}/offers").body["offers"][0]["cost_e6"] == FIRST_E6 + 10_000
    hub.price(FIRST_E6, one.code)

    Supplier.misbehave(hub.url(one.code), "products", "refuse_signature")
    assert stack.console("POST", f"/suppliers/{one.code}/sync", role="operator").status >= 400
    hub.until_task("supplier_stopped", one.code)
    listed = {
        found["supplier"]: found for found in stack.console("GET", "/suppliers", role="auditor").body["suppliers"]
    }
    assert (listed[one.code]["buys"], listed[one.code]["stopped"]) == (False, "bad_signature")
    assert stack.console("POST", f"/suppliers/{one.code}/resume").status == 200

    for verb in ("keys", "keys/retire"):
        body = {"keys": hub.stand_ins["second"].keys} if verb == "keys" else None
        assert stack.console("POST", f"/suppliers/second/{verb}", body).status == 200
    assert stack.console("POST", "/suppliers/second/check").body["answers"] is True


def test_offers_are_compared_and_put_in_order_and_scored(hub: Hub) -> None:
    def compared() -> list[dict[str, Any]]:
        return list(hub.stack.console("GET", f"/skus/{CARD}/offers", role="auditor").body["offers"])

    assert [(one["supplier"], one["sells"]) for one in compared()] == [("first", True), ("second", True)]
    keys = [{"supplier": one["supplier"], "product": one["product"]} for one in compared()]
    put = hub.stack.console("PUT", f"/skus/{CARD}/offers/order", {"offers": keys[1:]}, role="operator")
    assert put.status == 200, put.body
    wait_for(lambda: [one["supplier"] for one in compared()] == ["second", "first"], "the seller's own order")
    _, order = hub.paid()
    hub.stack.until(order.order_id, "delivered", seconds=PURCHASED)
    assert hub.tried(order) == [("second", "delivered", "")]
    assert hub.stack.console("PUT", f"/skus/{CARD}/offers/order", {"offers": []}, role="operator").status == 200
    mapping = {"product": keys[1]["product"], "sku": CARD}
    for verb in ("unmap", "map"):
        assert hub.stack.console("POST", f"/offers/second/{verb}", mapping, role="operator").status == 200
    for function in ("supplier-sync", "supplier-scores"):
        assert hub.stack.invoke(function, {"time": datetime.now(UTC).isoformat()}) is None
    scores = hub.stack.console("GET", "/suppliers/first/scores", role="auditor")
    assert scores.status == 200, scores.body


def test_cards_that_are_said_to_be_void_are_recalled_and_their_supplier_is_not_asked_again(hub: Hub) -> None:
    buyer, order = hub.paid()
    hub.stack.until(order.order_id, "delivered", seconds=PURCHASED)
    [attempt] = hub.attempts(order)
    code = attempt["supplier"]

    def scored() -> list[tuple[str, str]]:
        scores = hub.stack.console("GET", f"/suppliers/{code}/scores", role="auditor").body
        return [(one["family"], one["tier"]) for one in scores["families"]]

    assert hub.stack.invoke("supplier-scores", {"time": in_minutes(10)}) is None  # what ended now is counted then
    assert scored()[0] in TRUSTED

    def void() -> Any:
        said = {"source": "issuer", "note": "stolen cards"}
        reply = hub.stack.console("POST", f"/purchases/{attempt['number']}/void", said)
        assert reply.status == 201, reply.body
        return stockroom.recalled(hub.stack, reply.body["recall_id"])

    recall, again = void(), void()  # said once more, it is looked for once more
    unchanged = ("recall_id", "sold", "refunded", "claimed")
    assert {name: again[name] for name in unchanged} == {name: recall[name] for name in unchanged}
    assert (recall["sold"], recall["refunded"]) == (1, 1)

    hub.stack.until(order.order_id, "refunded", seconds=PURCHASED)  # own stock has none to put in its place
    told = buyer.call("GET", f"/orders/{order.order_id}", bearer=order.token).body["notice"]
    assert told["code"] == "refunded_recall", told
    assert scored() == [(FAMILY, "D")]
    compared = hub.stack.console("GET", f"/skus/{CARD}/offers").body["offers"]
    assert {one["supplier"]: one["tier"] for one in compared}[code] == "D"
    cleared = hub.stack.console("POST", f"/suppliers/{code}/scores/clear", {"family": FAMILY})
    assert cleared.status == 200, cleared.body
    assert scored()[0] in TRUSTED
    assert hub.stack.invoke("supplier-scores", {"time": in_minutes(70)}) is None
    assert scored()[0] in TRUSTED
