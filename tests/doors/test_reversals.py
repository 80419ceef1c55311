"""What a supplier takes back after he has delivered it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.suppliers.common import Product
from infra.local.suppliers.common import Supplier as StandIn
from infra.local.suppliers.fulu import Fulu
from shared.inventory import records as inventory
from shared.inventory.states import CardState
from shared.kernel import clock
from shared.orders import records as orders
from shared.orders.records import Line
from shared.staff import records as staff
from shared.steps import purchase_reversed, purchasing, settlement
from shared.suppliers import attempts, purchases
from shared.suppliers.attempts import AttemptState
from shared.suppliers.purchases import Attempt
from tests.hub import Selling, entries, pump_until, selling
from tests.shop import Placed, Shop
from tests.supplied import eventually

CARD, TOP_UP = "G020", "V004"
QQ = "847362915"


def cards() -> Product:
    return Product("1", "Steam 充值卡 100 元", 91_000_000, stock=50)


def top_up(key: str = "recharge_account") -> Product:
    fields = [{"key": key, "name": "QQ号"}]
    return Product("4", "腾讯视频VIP直充 7天", 6_500_000, kind="topup", fields=fields, stock=50)


@pytest.fixture
def them(shop: Shop, tmp_path: Path) -> Iterator[Selling]:
    with selling(tmp_path, "them", "kashangwl", {CARD: cards(), TOP_UP: top_up()}) as found:
        yield found


def paid(shop: Shop, sku: str = TOP_UP, quantity: int = 1) -> Placed:
    account = {"account": {"qq": QQ}} if sku == TOP_UP else {}
    answer = shop.place(lines=[{"sku": sku, "quantity": quantity, **account}])
    assert answer.status == 201, answer.body
    body = answer.body
    order = Placed(
        body["order_id"], body["access_token"], body["payment"]["redirect_url"], body["payment"]["payment_id"]
    )
    shop.pay(order)
    return order


def bought(shop: Shop, sku: str = TOP_UP, quantity: int = 1) -> Placed:
    order = paid(shop, sku, quantity)
    pump_until(shop, order, "delivered")
    return order


def attempt_of(order: Placed) -> Attempt:
    [attempt] = purchases.of_order(order.order_id)
    return attempt


def void(shop: Shop, them: Selling, order: Placed) -> None:
    """The supplier takes the first that he delivered of it back, and says so."""
    while not shop.inbox.callbacks.empty():
        shop.called_back()
    shop.pump()
    StandIn.void(them.url, str(purchases.of_order(order.order_id)[0].upstream_no), refund=True)
    them.rested()


def heard(shop: Shop) -> None:
    assert shop.called_back().status == 200
    shop.pump()


def open_tasks() -> list[tuple[str, str]]:
    return [(str(task.kind), str(task.about)) for task in staff.open_tasks(50)]


def owed() -> dict[str, int]:
    """What stands against each account, in minor units."""
    return {row.account: row.balance for row in settlement.running(clock.now()).accounts}


def balanced() -> bool:
    return settlement.running(clock.now()).trial_balance == {"CNY": 0}


def sold(order: Placed) -> list[inventory.Card]:
    return inventory.cards(orders.order_of(order.order_id).card_ids)


def test_a_top_up_that_is_taken_back_is_claimed_and_a_person_is_called(shop: Shop, them: Selling) -> None:
    order = bought(shop)
    void(shop, them, order)
    heard(shop)

    attempt = attempt_of(order)
    assert (attempt.state, attempt.reason) == (AttemptState.REVERSED, "reversed")
    assert entries("supplier_claim") == [{"payable:them": 650, "cogs": -650}]
    assert open_tasks() == [("purchase_reversed", str(attempt.number))]
    assert shop.status(order) == "delivered"
    assert balanced()


def test_a_reversal_that_is_told_twice_is_claimed_once(shop: Shop, them: Selling) -> None:
    order = bought(shop)
    void(shop, them, order)
    heard(shop)
    for _ in range(2):
        purchases.hint(attempt_of(order), clock.now())
        shop.pump()
        purchasing.work({"order_id": order.order_id, "line": "1", "hint": "1"}, clock.now())

    assert len(entries("supplier_claim")) == 1
    assert len(open_tasks()) == 1


def test_a_delivery_that_stands_is_not_touched_by_a_callback(shop: Shop, them: Selling) -> None:
    order = bought(shop)
    heard(shop)
    StandIn.tell(them.url, str(attempt_of(order).upstream_no), "refunded", "")
    heard(shop)

    assert attempt_of(order).state == AttemptState.DELIVERED
    assert open_tasks() == []


def test_sold_cards_that_are_taken_back_are_marked_and_stay_with_their_buyer_until_a_person_decides(
    shop: Shop, them: Selling
) -> None:
    order = bought(shop, CARD, 2)
    codes = shop.reveal(order).body
    void(shop, them, order)
    heard(shop)

    assert attempt_of(order).state == AttemptState.REVERSED
    assert entries("supplier_claim") == [{"payable:them": 18200, "cogs": -18200}]
    assert [(card.state, bool(card.recall_id)) for card in sold(order)] == [(CardState.SOLD, True)] * 2
    assert shop.status(order) == "delivered"
    assert shop.reveal(order).body["cards"] == codes["cards"]
    assert balanced()


def test_unsold_cards_that_are_taken_back_are_sold_to_nobody(shop: Shop, tmp_path: Path) -> None:
    with (
        selling(tmp_path, "them", "kasushou", {CARD: Product("1", "Steam 充值卡 100 元", 90_000_000)}) as them,
        selling(tmp_path, "next", "dujiao", {CARD: Product("1", "Steam 充值卡 100 元", 93_000_000)}),
    ):
        them.misbehave("buy", "silent")
        order = shop.placed(CARD)
        shop.pay(order)
        shop.pump()
        [attempt] = purchases.of_order(order.order_id)
        now = clock.now()
        purchases.move_alone(attempt, AttemptState.FAILED, now, now + attempts.LOOK_BACK)  # as if told to be absent
        purchasing.work({"order_id": order.order_id, "line": "1"}, now)
        pump_until(shop, order, "delivered")
        purchasing.work({"order_id": order.order_id, "line": "1", "hint": "1"}, clock.now())
        late = purchases.of_order(order.order_id)[0]
        assert late.state == AttemptState.LATE
        StandIn.behave(them.url, order_money="told")
        StandIn.void(them.url, str(late.upstream_no), refund=True)
        them.rested()
        purchasing.work({"order_id": order.order_id, "line": "1", "hint": "1"}, clock.now())

    late = purchases.of_order(order.order_id)[0]
    assert late.state == AttemptState.REVERSED
    [spare] = inventory.Card.scan(inventory.Card.purchase_id == str(late.number))
    assert spare.state == CardState.FROZEN
    assert entries("supplier_claim") == [{"payable:them": 9000, "inventory": -9000}]
    assert balanced()


def test_codes_that_came_twice_are_a_loss_no_more_when_they_are_taken_back(shop: Shop, them: Selling) -> None:
    bought(shop, CARD)
    them.misbehave("buy", "same_code")
    order = bought(shop, CARD, 2)
    first = purchases.of_order(order.order_id)[0]
    assert (int(first.delivered), int(first.duplicates)) == (1, 1)
    void(shop, them, order)
    heard(shop)

    assert purchases.of_order(order.order_id)[0].state == AttemptState.REVERSED
    assert entries("supplier_claim") == [{"payable:them": 18200, "cogs": -9100, "write_offs": -9100}]
    assert balanced()


def test_where_all_codes_had_come_before_their_money_is_claimed_back_all_the_same(shop: Shop, them: Selling) -> None:
    bought(shop, CARD)
    them.misbehave("buy", "same_code")
    order = shop.placed(CARD)
    shop.pay(order)
    pump_until(shop, order, "refunded")
    void(shop, them, order)
    heard(shop)

    assert entries("supplier_claim") == [{"payable:them": 9100, "write_offs": -9100}]
    assert balanced()


def test_what_came_of_a_top_up_beyond_its_order_is_claimed_out_of_the_losses(shop: Shop, them: Selling) -> None:
    them.misbehave("buy", "late", seconds=60)
    order = paid(shop, TOP_UP, 2)
    shop.pump()
    [line] = orders.order_of(order.order_id).lines
    line.update([Line.got.set(1)])  # as if another had brought one of them
    StandIn.end(them.url, str(attempt_of(order).upstream_no))
    heard(shop)
    assert (attempt_of(order).state, int(attempt_of(order).delivered)) == (AttemptState.DELIVERED, 2)
    void(shop, them, order)
    heard(shop)

    assert entries("supplier_claim") == [{"payable:them": 1300, "cogs": -650, "write_offs": -650}]
    assert balanced()


def test_a_card_that_is_sold_in_the_moment_of_its_reversal_is_claimed_as_what_it_is(
    shop: Shop, them: Selling, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = bought(shop, CARD)
    void(shop, them, order)
    [card] = sold(order)
    card.update([inventory.Card.state.set(CardState.HELD)])
    seen = purchase_reversed._cards

    def meanwhile(attempt: Attempt) -> list[inventory.Card]:
        found = seen(attempt)
        card.update([inventory.Card.state.set(CardState.SOLD)])
        return found

    monkeypatch.setattr(purchase_reversed, "_cards", meanwhile)
    heard(shop)

    assert attempt_of(order).state == AttemptState.REVERSED
    assert entries("supplier_claim") == [{"payable:them": 9100, "cogs": -9100}]


def test_what_only_fulus_refund_callback_tells_is_for_a_person_to_settle(shop: Shop, tmp_path: Path) -> None:
    with selling(tmp_path, "fulu", "fulu", {TOP_UP: top_up("charge_account")}) as fulu:
        Fulu.call_back(fulu.url, f"{shop.inbox.url}/webhooks/suppliers/fulu")
        order = bought(shop)
        void(shop, fulu, order)
        heard(shop)
        number = str(attempt_of(order).number)

        assert attempt_of(order).state == AttemptState.DELIVERED  # asked after, it goes on to be a success
        assert open_tasks() == [("purchase_reversed", number)]
        assert entries("supplier_claim") == []

        said = {"outcome": "reversed", "note": "the money is back in our account with him"}
        for _ in range(2):
            answer = shop.call("POST", f"/console/purchases/{number}/settle", said, groups="operator")
            assert (answer.status, answer.body["state"]) == (200, "reversed")
        assert entries("supplier_claim") == [{"payable:fulu": 650, "cogs": -650}]
        assert balanced()


def test_a_supplier_who_does_not_say_how_much_is_back_is_left_to_a_person(shop: Shop, tmp_path: Path) -> None:
    with selling(tmp_path, "them", "kasushou", {CARD: cards()}) as them:
        order = bought(shop, CARD)
        void(shop, them, order)
        heard(shop)

        assert attempt_of(order).state == AttemptState.DELIVERED
        assert open_tasks() == [("purchase_reversed", str(attempt_of(order).number))]
        assert (entries("supplier_claim"), [bool(card.recall_id) for card in sold(order)]) == ([], [False])


def test_what_a_person_has_in_his_hands_is_not_undone_by_a_supplier_who_knows_nothing_of_it(
    shop: Shop, them: Selling
) -> None:
    them.misbehave("buy", "unknown_fails", seconds=0.1)
    order = shop.placed(CARD)
    shop.pay(order)
    shop.pump()
    shop.drop_messages()
    assert attempt_of(order).state == AttemptState.UNKNOWN
    cards = [{"code": "CAME-BY-PHONE-1234"}]
    said = {"outcome": "delivered", "note": "he told them by phone", "cards": cards}
    path = f"/console/purchases/{attempt_of(order).number}/settle"
    assert shop.call("POST", path, said, groups="operator").status == 200
    eventually(lambda: them.bought()[0]["state"] == "failed")
    shop.pump()
    assert open_tasks() == []
    heard(shop)  # nor by what he says of it himself, which is for a person to settle

    assert (attempt_of(order).state, shop.status(order)) == (AttemptState.DELIVERED, "delivered")
    assert open_tasks() == [("purchase_reversed", str(attempt_of(order).number))]
    assert (entries("supplier_claim"), [bool(card.recall_id) for card in sold(order)]) == ([], [False])


def test_an_attempt_that_brought_nothing_cannot_be_reversed(shop: Shop, them: Selling) -> None:
    them.misbehave("buy", "late", seconds=60)
    order = paid(shop)
    shop.pump()
    said = {"outcome": "reversed", "note": "a mistake"}
    path = f"/console/purchases/{attempt_of(order).number}/settle"

    assert shop.call("POST", path, said, groups="operator").body["code"] == "attempt_over"
    assert attempt_of(order).state == AttemptState.ACCEPTED
