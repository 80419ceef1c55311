"""What the shop has not itself is bought from suppliers, who are real HTTP servers with faults."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.local.suppliers.common import Product
from infra.local.suppliers.common import Supplier as StandIn
from shared.inventory import records as inventory
from shared.inventory.states import CardState
from shared.kernel import clock
from shared.orders import records as orders
from shared.staff import records as staff
from shared.steps import purchase_desk, purchasing, settlement
from shared.suppliers import accounts, attempts, purchases
from shared.suppliers.admission import Standing
from shared.suppliers.attempts import AttemptState
from shared.suppliers.purchase_contract import SettleAttempt
from shared.suppliers.purchases import Attempt
from tests.hub import Selling, entries, pump_until, selling
from tests.shop import Placed, Shop

SKU = "G020"
PRICE_E6 = 97_000_000


def card(number: str = "1", cost_e6: int = 91_000_000, stock: int | None = 50) -> Product:
    return Product(number, f"Steam 充值卡 100 元 {number}", cost_e6, stock=stock)


@pytest.fixture
def cheap(shop: Shop, tmp_path: Path) -> Iterator[Selling]:
    with selling(tmp_path, "cheap", "dujiao", {SKU: card()}) as found:
        yield found


@pytest.fixture
def dear(shop: Shop, tmp_path: Path) -> Iterator[Selling]:
    with selling(tmp_path, "dear", "dujiao", {SKU: card("7", 93_000_000)}) as found:
        yield found


@pytest.fixture
def deaf(shop: Shop, tmp_path: Path) -> Iterator[Selling]:
    """One who can be asked nothing about an order whose answer is lost."""
    with selling(tmp_path, "deaf", "acg", {SKU: card("9", 90_000_000)}) as found:
        yield found


def paid(shop: Shop, quantity: int = 1) -> Placed:
    order = shop.placed(SKU, quantity)
    shop.pay(order)
    return order


def trial_balance() -> dict[str, int]:
    return settlement.running(clock.now()).trial_balance


def codes(shop: Shop, order: Placed) -> set[str]:
    return {card["code"] for card in shop.reveal(order).body["cards"]}


def tried(order: Placed) -> list[tuple[str, str, str]]:
    return [(str(one.supplier), str(one.state), str(one.reason)) for one in purchases.of_order(order.order_id)]


def open_tasks() -> list[str]:
    return [str(task.kind) for task in staff.open_tasks(50)]


def test_what_he_says_of_the_cost_when_he_takes_the_order_is_booked_when_it_comes(shop: Shop, deaf: Selling) -> None:
    """He never says it again, and his price has fallen since his list was read."""
    StandIn.change_product(deaf.url, "9", cost_e6=80_000_000)
    deaf.misbehave("trade", "late", seconds=0.2)
    order = paid(shop, 2)
    pump_until(shop, order, "delivered")
    [attempt] = purchases.of_order(order.order_id)
    assert [told["what"] for told in attempt.said] == ["place", "delivered"]
    assert attempt.cost_e6 == 160_000_000
    assert [one["payable:deaf"] for one in entries("purchase")] == [-16_000]


def test_what_is_not_in_stock_is_bought_from_the_cheapest_and_delivered(
    shop: Shop, cheap: Selling, dear: Selling
) -> None:
    order = paid(shop, 2)
    pump_until(shop, order, "delivered")

    assert len(codes(shop, order)) == 2
    [attempt] = purchases.of_order(order.order_id)
    assert (attempt.state, attempt.supplier, int(attempt.cost_e6)) == ("delivered", "cheap", 182_000_000)
    assert [one["supplier"] for one in attempt.choices] == ["cheap", "dear"]
    assert len(cheap.bought(str(attempt.number))) == 1
    assert dear.bought() == []
    [total] = settlement.running(clock.now()).totals
    assert (total.units, total.sales, total.cost) == (2, 19400, 18200)
    assert trial_balance() == {"CNY": 0}
    lots = {str(one.lot_id) for one in inventory.cards(orders.order_of(order.order_id).card_ids)}
    assert len(lots) == 1


def test_own_stock_comes_first(shop: Shop, cheap: Selling) -> None:
    shop.stock(SKU, ["OWN1-OWN2-OWN3-OWN4"])
    order = paid(shop)
    pump_until(shop, order, "delivered")

    assert codes(shop, order) == {"OWN1-OWN2-OWN3-OWN4"}
    assert cheap.bought() == []


def test_a_definite_no_goes_to_the_next_supplier(shop: Shop, cheap: Selling, dear: Selling) -> None:
    StandIn.change_product(cheap.url, "1", stock=0, shown=50)
    order = paid(shop)
    pump_until(shop, order, "delivered")

    assert tried(order) == [("cheap", "failed", "no_stock"), ("dear", "delivered", "")]
    assert trial_balance() == {"CNY": 0}


def test_a_lost_answer_is_asked_after_and_nothing_is_bought_twice(shop: Shop, cheap: Selling, dear: Selling) -> None:
    cheap.misbehave("buy", "silent")
    order = paid(shop)
    shop.pump()
    assert tried(order) == [("cheap", "unknown", "silent")]

    pump_until(shop, order, "delivered")
    [attempt] = purchases.of_order(order.order_id)
    assert len(cheap.bought(str(attempt.number))) == 1
    assert StandIn.bought_twice(cheap.url) == []
    assert dear.bought() == []


def test_who_cannot_be_asked_is_left_to_a_person_and_never_bought_from_again(
    shop: Shop, deaf: Selling, dear: Selling
) -> None:
    deaf.misbehave("trade", "silent")
    order = paid(shop)
    shop.pump()
    purchasing.work({"order_id": order.order_id, "line": "1"}, datetime.now(UTC) + timedelta(hours=2))

    assert [state for _, state, _ in tried(order)] == ["unknown"]
    assert open_tasks() == ["purchase_unknown"]
    assert len(deaf.bought()) == 1
    assert dear.bought() == []
    assert shop.status(order) == "cleared"


def test_a_price_jump_is_held_for_a_person_and_given_back_in_time(shop: Shop, cheap: Selling) -> None:
    StandIn.change_product(cheap.url, "1", cost_e6=PRICE_E6 + 1)
    order = paid(shop)
    shop.pump()

    assert tried(order)[0] == ("cheap", "failed", "above_ceiling")
    assert [state for _, state, _ in tried(order)] == ["failed", "held"]
    assert open_tasks() == ["price_jump"]
    assert cheap.bought() == []

    purchasing.work({"order_id": order.order_id, "line": "1"}, datetime.now(UTC) + attempts.HELD_FOR)
    pump_until(shop, order, "refunded")
    assert trial_balance() == {"CNY": 0}


def test_nobody_sells_it_and_the_money_goes_back(shop: Shop, cheap: Selling) -> None:
    order = paid(shop)
    accounts.Head(cheap.code).update([accounts.Head.standing.set(Standing.SUSPENDED)])
    pump_until(shop, order, "refunded")

    assert cheap.bought() == []
    assert shop.call("GET", f"/orders/{order.order_id}", token=order.token).body["notice"]["code"] == "no_supply"
    assert trial_balance() == {"CNY": 0}


def test_a_supplier_who_refuses_us_is_stopped_and_no_order_is_burnt(shop: Shop, cheap: Selling, dear: Selling) -> None:
    cheap.misbehave("buy", "refuse_signature")
    first = paid(shop)
    pump_until(shop, first, "delivered")
    second = paid(shop)
    pump_until(shop, second, "delivered")

    assert tried(first) == [("cheap", "failed", "bad_signature"), ("dear", "delivered", "")]
    assert tried(second) == [("dear", "delivered", "")]
    assert cheap.head.stopped == "bad_signature"
    assert open_tasks() == ["supplier_stopped"]


def test_half_of_it_comes_from_one_and_the_rest_from_the_next(shop: Shop, cheap: Selling, dear: Selling) -> None:
    cheap.misbehave("buy", "half")
    order = paid(shop, 4)
    pump_until(shop, order, "delivered")

    assert len(codes(shop, order)) == 4
    got = [(str(one.supplier), int(one.delivered)) for one in purchases.of_order(order.order_id)]
    assert sum(pieces for _, pieces in got) == 4
    assert len(got) == 2
    assert trial_balance() == {"CNY": 0}


def test_a_code_that_somebody_had_before_is_not_delivered_again(shop: Shop, cheap: Selling) -> None:
    first = paid(shop)
    pump_until(shop, first, "delivered")
    cheap.misbehave("buy", "same_code")
    second = paid(shop)
    pump_until(shop, second, "refunded")

    assert "purchase_duplicates" in open_tasks()
    assert trial_balance() == {"CNY": 0}
    assert int(purchases.of_order(second.order_id)[0].duplicates) == 1


def test_absent_is_believed_when_it_is_said_twice_minutes_apart(shop: Shop, tmp_path: Path, dear: Selling) -> None:
    with selling(tmp_path, "asked", "kasushou", {SKU: card("5", 90_000_000)}) as asked:
        asked.misbehave("buy", "before_silent")
        order = paid(shop)
        shop.pump()
        work = {"order_id": order.order_id, "line": "1"}
        now = datetime.now(UTC)
        purchasing.work(work, now + timedelta(seconds=10))
        assert purchases.of_order(order.order_id)[0].absent_at
        purchasing.work({**work, "hint": "1"}, now + timedelta(seconds=60))
        assert tried(order) == [("asked", "unknown", "silent")]

        later = now + attempts.ABSENT_APART + timedelta(seconds=61)
        purchasing.work(work, later)
        purchasing.work(work, later + timedelta(seconds=10))
        assert shop.status(order) == "delivered"
        assert [supplier for supplier, _, _ in tried(order)] == ["asked", "dear"]
        assert asked.bought() == []


def test_what_comes_after_a_change_of_supplier_goes_to_stock(shop: Shop, tmp_path: Path, dear: Selling) -> None:
    with selling(tmp_path, "asked", "kasushou", {SKU: card("5", 90_000_000)}) as asked:
        asked.misbehave("buy", "silent")
        StandIn.behave(asked.url, repeat="buys")
        order = paid(shop)
        shop.pump()
        [attempt] = purchases.of_order(order.order_id)
        # As if he had said twice that he knows no such order, and did know it.
        purchases.move_alone(attempt, AttemptState.FAILED, datetime.now(UTC), datetime.now(UTC) + attempts.LOOK_BACK)
        purchasing.work({"order_id": order.order_id, "line": "1"}, datetime.now(UTC))
        pump_until(shop, order, "delivered")
        before = codes(shop, order)

        purchasing.work({"order_id": order.order_id, "line": "1", "hint": "1"}, datetime.now(UTC))
        assert [state for _, state, _ in tried(order)] == ["late", "delivered"]
        assert codes(shop, order) == before
        spare = list(inventory.Card.scan(inventory.Card.state == CardState.AVAILABLE))
        assert [(str(one.sku), str(one.purchase_id)) for one in spare] == [(SKU, str(attempt.number))]
        assert trial_balance() == {"CNY": 0}


def test_the_pauses_between_questions_are_those_of_the_policy(shop: Shop, tmp_path: Path) -> None:
    with selling(tmp_path, "slow", "kasushou", {SKU: card("5", 90_000_000)}) as slow:
        slow.misbehave("buy", "late", seconds=60)
        order = paid(shop)
        shop.pump()
        [attempt] = purchases.of_order(order.order_id)
        now = clock.parse(attempt.said[-1]["at"])
        pauses = [clock.parse(str(attempt.due_at)) - now]
        for pause in (*attempts.ASK_AFTER[:-1], attempts.ASK_AFTER[-1]):
            now += pause
            purchasing.work({"order_id": order.order_id, "line": "1"}, now)
            last = purchases.of_order(order.order_id)[-1]
            pauses.append(clock.parse(str(last.due_at)) - now)

    wanted = [*attempts.ASK_AFTER, attempts.ASK_AFTER[-1]]
    assert [round(pause.total_seconds()) for pause in pauses] == [round(pause.total_seconds()) for pause in wanted]


def test_a_callback_is_a_reason_to_ask_at_once(shop: Shop, cheap: Selling) -> None:
    cheap.misbehave("buy", "late", seconds=60)
    order = paid(shop)
    shop.pump()
    shop.drop_messages()
    [attempt] = purchases.of_order(order.order_id)
    assert attempt.state == AttemptState.ACCEPTED
    [bought] = cheap.bought(str(attempt.number))
    StandIn.end(cheap.url, bought["order_no"])
    assert shop.called_back().status == 200
    assert shop.status(order) == "cleared"  # the callback alone delivers nothing

    shop.pump()
    assert shop.status(order) == "delivered"


def test_who_cannot_be_asked_by_our_number_is_asked_by_the_one_that_he_calls_back_with(
    shop: Shop, tmp_path: Path
) -> None:
    with selling(tmp_path, "his", "kashangwl", {SKU: card()}, **{"trait.asks_by_ours": "false"}) as his:
        his.misbehave("buy", "silent")
        order = paid(shop)
        shop.pump()
        [attempt] = purchases.of_order(order.order_id)
        assert (attempt.state, attempt.upstream_no) == (AttemptState.UNKNOWN, None)
        assert shop.called_back().status == 200
        pump_until(shop, order, "delivered")

        [bought] = his.bought()
        number = str(bought["order_no"])
        assert [one.upstream_no for one in purchases.of_order(order.order_id)] == [number]
        assert purchases.named("his", number) == (order.order_id, "1", 1)


def test_a_forged_callback_is_refused_and_asks_nobody(shop: Shop, cheap: Selling) -> None:
    cheap.misbehave("buy", "late", seconds=60)
    order = paid(shop)
    shop.pump()
    [attempt] = purchases.of_order(order.order_id)
    [bought] = cheap.bought(str(attempt.number))
    StandIn.tell(cheap.url, bought["order_no"], "delivered", "wrong_signature")
    assert shop.called_back().status == 400
    assert not purchases.of_order(order.order_id)[0].hinted


def test_a_supplier_that_has_no_balance_left_is_left_alone_and_somebody_is_told(
    shop: Shop, cheap: Selling, dear: Selling
) -> None:
    StandIn.set_balance(cheap.url, 1_000_000)
    order = paid(shop)
    pump_until(shop, order, "delivered")

    assert tried(order) == [("cheap", "failed", "low_balance"), ("dear", "delivered", "")]
    assert open_tasks() == ["supplier_balance_low"]
    assert int(cheap.head.balance_minor) == 0


def test_an_attempt_remembers_what_was_said_without_the_codes(shop: Shop, cheap: Selling) -> None:
    order = paid(shop)
    pump_until(shop, order, "delivered")

    [attempt] = purchases.of_order(order.order_id)
    assert attempt.said
    [code] = codes(shop, order)
    assert code not in str(Attempt.get(attempt.order_id, attempt.part).attribute_values)


def settled(attempt: Attempt, outcome: str) -> None:
    wanted = SettleAttempt(outcome=outcome, note="he says so")  # type: ignore[arg-type]
    purchase_desk.settle(str(attempt.number), wanted, "ann", datetime.now(UTC))


def test_what_a_person_has_given_up_is_asked_after_until_its_supplier_says_something(
    shop: Shop, tmp_path: Path, dear: Selling
) -> None:
    with selling(tmp_path, "asked", "kasushou", {SKU: card("5", 90_000_000)}, seed=2) as asked:
        asked.misbehave("buy", "silent")
        order = paid(shop)
        shop.pump()
        asked.misbehave("order", "silent", times=1)
        settled(purchases.of_order(order.order_id)[0], "failed")
        pump_until(shop, order, "delivered")
        assert [state for _, state, _ in tried(order)] == ["failed", "delivered"]

        shop.deadlines(datetime.now(UTC) + attempts.LOOK_BACK + timedelta(minutes=1))
        purchasing.work({"order_id": order.order_id, "line": "1"}, datetime.now(UTC) + timedelta(hours=2))
        assert [state for _, state, _ in tried(order)] == ["late", "delivered"]


def test_who_cannot_be_asked_is_not_waited_for_once_a_person_has_given_up(
    shop: Shop, deaf: Selling, dear: Selling
) -> None:
    deaf.misbehave("trade", "before_silent")
    order = paid(shop)
    shop.pump()
    settled(purchases.of_order(order.order_id)[0], "failed")
    pump_until(shop, order, "delivered")

    [given_up, _] = purchases.of_order(order.order_id)
    assert (str(given_up.state), given_up.due_at) == ("failed", None)


def test_saying_again_what_was_settled_ends_the_task_that_a_death_left_open(
    shop: Shop, deaf: Selling, dear: Selling
) -> None:
    deaf.misbehave("trade", "before_silent")
    order = paid(shop)
    shop.pump()
    [attempt] = purchases.of_order(order.order_id)
    purchases.move_alone(attempt, AttemptState.FAILED, datetime.now(UTC), None)  # and here somebody died
    assert open_tasks() == ["purchase_unknown"]

    settled(attempt, "failed")
    assert open_tasks() == []
    pump_until(shop, order, "delivered")


def test_who_is_set_aside_is_not_asked_by_sending_the_order_again(shop: Shop, cheap: Selling, dear: Selling) -> None:
    cheap.misbehave("buy", "before_silent")
    order = paid(shop)
    shop.pump()
    accounts.pause(cheap.code, "ann")
    purchasing.work({"order_id": order.order_id, "line": "1"}, datetime.now(UTC) + timedelta(seconds=10))
    assert tried(order) == [("cheap", "unknown", "not_allowed")]
    assert cheap.bought() == []

    accounts.resume(cheap.head, "ann", datetime.now(UTC))
    for seconds in (60, 120):
        purchasing.work({"order_id": order.order_id, "line": "1"}, datetime.now(UTC) + timedelta(seconds=seconds))
    assert shop.status(order) == "delivered"
    assert len(cheap.bought()) == 1


def test_who_accepts_an_order_and_then_does_not_find_it_is_asked_on(shop: Shop, tmp_path: Path, dear: Selling) -> None:
    with selling(tmp_path, "fickle", "fulu", {SKU: card("10000001", 90_000_000)}, seed=2) as fickle:
        fickle.misbehave("buy", "late_asks", seconds=1)
        fickle.misbehave("query", "absent")
        order = paid(shop)
        shop.pump()
        now = datetime.now(UTC)
        purchasing.work({"order_id": order.order_id, "line": "1"}, now + timedelta(seconds=10))
        [attempt] = purchases.of_order(order.order_id)
        assert (attempt.state, bool(attempt.absent_at)) == ("accepted", True)

        purchasing.work({"order_id": order.order_id, "line": "1"}, now + timedelta(minutes=4))
        assert tried(order) == [("fickle", "delivered", "")]
        assert dear.bought() == []
