"""What only a person can find out about a purchase, and says at the console."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.local.suppliers.common import Product
from infra.local.suppliers.common import Supplier as StandIn
from shared.inventory import records as inventory
from shared.inventory.states import CardState
from shared.kernel import clock
from shared.staff import records as staff
from shared.steps import settlement
from shared.suppliers import purchases
from shared.suppliers.purchases import Attempt
from tests.deaths import dying_after, retried
from tests.hub import Selling, entries, pump_until, selling
from tests.shop import Answer, Placed, Shop
from tests.supplied import eventually

SKU = "G020"
KEPT = {"write_offs": 9000, "payable:deaf": -9000}


@pytest.fixture
def deaf(shop: Shop, tmp_path: Path) -> Iterator[Selling]:
    """One who can be asked nothing about an order whose answer is lost."""
    with selling(tmp_path, "deaf", "acg", {SKU: Product("9", "Steam 充值卡 100 元", 90_000_000, stock=50)}) as found:
        yield found


@pytest.fixture
def order(shop: Shop, deaf: Selling) -> Placed:
    """An order whose supplier was given up by a person; its money is back, since nobody else sells it."""
    deaf.misbehave("trade", "silent")
    order = shop.placed(SKU)
    shop.pay(order)
    shop.pump()
    settle(shop, order, outcome="failed")
    pump_until(shop, order, "refunded")
    return order


def settle(shop: Shop, order: Placed, **said: Any) -> Answer:
    path = f"/console/purchases/{attempt_of(order).number}/settle"
    return shop.call("POST", path, {"note": "he says so", **said}, groups="operator")


def attempt_of(order: Placed) -> Attempt:
    return purchases.of_order(order.order_id)[-1]


def balanced() -> bool:
    return settlement.running(clock.now()).trial_balance == {"CNY": 0}


def test_what_came_of_a_given_up_attempt_all_the_same_is_stock(shop: Shop, order: Placed) -> None:
    code = "LATE1-LATE2-LATE3-LATE4"
    for _ in range(2):
        answer = settle(shop, order, outcome="delivered", cards=[{"code": code}])
        assert (answer.status, answer.body["state"], answer.body["delivered"]) == (200, "late", 1)

    [card] = inventory.cards(list(inventory.of_lot(str(attempt_of(order).lot_id))))
    assert card.state == CardState.AVAILABLE
    assert entries("purchase") == [{"inventory": 9000, "payable:deaf": -9000}]
    assert shop.status(order) == "refunded"
    assert balanced()


def test_what_came_of_a_given_up_attempt_goes_to_an_order_that_still_waits(
    shop: Shop, deaf: Selling, tmp_path: Path
) -> None:
    dear = {SKU: Product("7", "Steam 充值卡 100 元", 99_000_000)}
    with selling(tmp_path, "dear", "dujiao", dear):
        deaf.misbehave("trade", "silent")
        order = shop.placed(SKU)
        shop.pay(order)
        shop.pump()
        first = str(attempt_of(order).number)
        settle(shop, order, outcome="failed", cost_minor=9000)
        shop.pump()
        assert (attempt_of(order).state, shop.status(order)) == ("held", "cleared")
        said = {"outcome": "delivered", "note": "he found it", "cards": [{"code": "LATE1-LATE2-LATE3-LATE4"}]}
        assert shop.call("POST", f"/console/purchases/{first}/settle", said, groups="operator").status == 200
        pump_until(shop, order, "delivered")

    tried = [(str(one.state), one.settled_by) for one in purchases.of_order(order.order_id)]
    assert tried == [("delivered", "ann"), ("failed", None)]
    assert staff.open_tasks(9) == []
    assert entries("purchase") == [
        KEPT,
        {"write_offs": -9000, "cogs": 9000, "deposits": 9700, "revenue": -9700},
    ]
    assert balanced()


def test_money_that_is_kept_for_nothing_is_a_loss_once(shop: Shop, order: Placed) -> None:
    for _ in range(2):
        answer = settle(shop, order, outcome="failed", cost_minor=9000)
        assert (answer.status, answer.body["state"], answer.body["cost"]["amount_minor"]) == (200, "failed", 9000)

    assert entries("purchase") == [KEPT]
    assert balanced()


def test_what_comes_for_money_that_was_written_off_is_paid_for_once(shop: Shop, order: Placed) -> None:
    settle(shop, order, outcome="failed", cost_minor=9000)
    settle(shop, order, outcome="delivered", cards=[{"code": "LATE1-LATE2-LATE3-LATE4"}], cost_minor=9000)

    assert entries("purchase") == [KEPT, {"write_offs": -9000, "inventory": 9000}]
    assert balanced()


def test_money_that_is_kept_is_booked_with_the_word_that_nothing_came(shop: Shop, deaf: Selling) -> None:
    deaf.misbehave("trade", "silent")
    waiting = shop.placed(SKU)
    shop.pay(waiting)
    shop.pump()
    assert settle(shop, waiting, outcome="failed", cost_minor=9000).status == 200

    pump_until(shop, waiting, "refunded")
    assert entries("purchase") == [KEPT]
    assert balanced()


def test_of_what_waits_for_a_price_nothing_can_have_come(shop: Shop, deaf: Selling) -> None:
    order = held(shop, deaf)
    answer = settle(shop, order, outcome="delivered", cards=[{"code": "LATE1-LATE2-LATE3-LATE4"}])
    assert (answer.status, answer.body["code"]) == (409, "attempt_over")
    assert "当前状态为 held" in answer.body["detail"]


def test_a_price_that_is_allowed_is_bought_at_though_who_takes_it_down_dies(shop: Shop, deaf: Selling) -> None:
    nth, died = 0, True
    while died:
        nth += 1
        order = held(shop, deaf)
        path = f"/console/purchases/{attempt_of(order).number}/allow"
        wanted = {"most_minor": 9900, "note": "a good customer"}
        with dying_after(nth) as seen:
            retried(lambda: shop.call("POST", path, wanted, groups="operator"))  # noqa: B023  # at once
        died = len(seen) >= nth
        pump_until(shop, order, "delivered")
        assert [str(task.kind) for task in staff.open_tasks(9)] == []
    assert nth > 3  # the attempt, the task, the hint


@pytest.mark.parametrize(
    "card", [{"code": " "}, {"code": "\u200b"}, {"code": "A1B2-C3D4-E5F6", "number": " "}], ids=str
)
def test_a_card_of_blanks_is_none(shop: Shop, order: Placed, card: dict[str, str]) -> None:
    answer = settle(shop, order, outcome="delivered", cards=[card])
    assert (answer.status, answer.body["fields"]) == (422, [{"field": "cards.code", "reason": "empty_code"}])
    assert attempt_of(order).state == "failed"


def held(shop: Shop, deaf: Selling) -> Placed:
    """An order that nobody will fill at the price."""
    StandIn.change_product(deaf.url, "9", cost_e6=98_000_000)
    order = shop.placed(SKU)
    shop.pay(order)

    def is_held() -> bool:
        shop.pump()
        return [str(one.state) for one in purchases.of_order(order.order_id)][-1:] == ["held"]

    eventually(is_held)  # a slot may have to be waited for
    return order
