"""A notice that cards are void: what a purchase brought is recalled, and its supplier is trusted with less."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.suppliers.common import Product
from infra.local.suppliers.common import Supplier as StandIn
from shared.catalog import records as catalog
from shared.inventory import lots
from shared.inventory import records as inventory
from shared.inventory.lots import LotState
from shared.inventory.states import CardState
from shared.kernel import clock
from shared.ledger import records as ledger
from shared.orders import records as orders
from shared.staff import records as staff
from shared.steps import settlement, supply
from shared.suppliers import purchases, scores, voids
from shared.suppliers.purchases import Attempt
from shared.suppliers.scoring import Record
from tests.deaths import dying_after, retried
from tests.hub import Selling, pump_until, selling
from tests.shop import Answer, Placed, Shop

SKU, OTHER = "G020", "G021"


@pytest.fixture
def them(shop: Shop, tmp_path: Path) -> Iterator[Selling]:
    products = {
        SKU: Product("1", "Steam 充值卡 100 元", 91_000_000),
        OTHER: Product("2", "Steam 充值卡 200 元", 91_000_000),
    }
    with selling(tmp_path, "them", "kashangwl", products) as found:
        yield found


def bought(shop: Shop, sku: str = SKU, quantity: int = 1) -> Placed:
    order = shop.placed(sku, quantity)
    shop.pay(order)
    pump_until(shop, order, "delivered")
    return order


def attempt_of(order: Placed) -> Attempt:
    [attempt] = purchases.of_order(order.order_id)
    return attempt


def say(shop: Shop, order: Placed, source: str = "issuer", **more: bool) -> Answer:
    wanted = {"source": source, "note": "the issuer has voided them", **more}
    return shop.call("POST", f"/console/purchases/{attempt_of(order).number}/void", wanted, groups="operator")


def take_back(shop: Shop, them: Selling, order: Placed) -> None:
    while not shop.inbox.callbacks.empty():
        shop.called_back()
    shop.pump()
    StandIn.void(them.url, str(attempt_of(order).upstream_no), refund=True)
    them.rested()
    shop.called_back()
    shop.pump()


def scored() -> list[str]:
    return [one.record for one in scores.of("them").values()]


def marked(order: Placed) -> list[bool]:
    return [bool(card.recall_id) for card in inventory.cards(orders.order_of(order.order_id).card_ids)]


def claims() -> list[dict[str, int]]:
    found = ledger.entries_of(clock.shanghai_day(clock.now()))
    return [{leg.account: leg.amount_minor for leg in one.legs} for one in found if one.kind == "supplier_claim"]


def balanced() -> bool:
    return settlement.running(clock.now()).trial_balance == {"CNY": 0}


def test_what_one_purchase_brought_is_recalled_and_what_lies_beside_it_is_not(shop: Shop, them: Selling) -> None:
    bad, good = bought(shop, quantity=2), bought(shop)
    lot_id = str(attempt_of(bad).lot_id)
    assert attempt_of(good).lot_id == lot_id  # both of one day

    said = say(shop, bad)
    assert (said.status, said.body["target"]["purchase_id"]) == (201, str(attempt_of(bad).number))
    shop.pump()

    assert shop.status(bad) == "refunded"  # nothing of it is in stock
    assert shop.call("GET", f"/orders/{bad.order_id}", token=bad.token).body["notice"]["code"] == "refunded_recall"
    assert (shop.status(good), marked(good)) == ("delivered", [False])
    assert claims() == [{"payable:them": 18200, "cogs": -18200}]
    assert lots.lot_of(lot_id).state == LotState.OPEN
    assert balanced()


def test_it_is_found_by_the_purchase_where_recalls_are_asked_for(shop: Shop, them: Selling) -> None:
    bad, good = bought(shop), bought(shop)
    wanted = {"purchase_id": str(attempt_of(bad).number), "reason": "void"}
    assert shop.call("POST", "/console/recalls", wanted, groups="operator").status == 201
    shop.pump()

    assert (shop.status(bad), shop.status(good)) == ("refunded", "delivered")


def test_said_twice_it_is_one_recall_and_one_notice(shop: Shop, them: Selling) -> None:
    order = bought(shop)
    first = say(shop, order)
    shop.pump()
    again = say(shop, order)
    shop.pump()

    assert again.body["recall_id"] == first.body["recall_id"]
    [notice] = voids.of("them")
    assert (notice.source, notice.sku, int(notice.cards), notice.purchase) == (
        "issuer",
        SKU,
        1,
        str(attempt_of(order).number),
    )
    assert len(claims()) == 1


def test_a_whole_day_is_recalled_of_that_sku_and_of_no_other(shop: Shop, them: Selling) -> None:
    one, two, other = bought(shop), bought(shop), bought(shop, OTHER)
    said = say(shop, one, whole_day=True)
    shop.pump()

    assert said.body["target"]["sku"] == SKU
    assert [shop.status(order) for order in (one, two, other)] == ["refunded", "refunded", "delivered"]
    assert marked(other) == [False]
    assert balanced()


def test_after_an_issuers_notice_nothing_more_is_bought_of_him(shop: Shop, them: Selling) -> None:
    order, sku = bought(shop), catalog.skus([SKU])[SKU]
    assert supply.can_buy(sku, 1, 97_000_000, clock.now())
    say(shop, order)

    assert not supply.can_buy(sku, 1, 97_000_000, clock.now())
    [kept] = scores.of("them").values()
    assert kept.noticed_at


def test_a_suppliers_own_word_counts_as_cards_that_went_bad(shop: Shop, them: Selling) -> None:
    order = bought(shop)
    say(shop, order, "supplier")
    [once] = scores.of("them").values()
    say(shop, order, "supplier")
    [twice] = scores.of("them").values()

    assert not once.noticed_at
    assert once.record != Record().json()
    assert twice.record == once.record
    assert [notice.source for notice in voids.of("them")] == ["supplier"]


def test_cards_that_were_taken_back_before_are_made_good_and_claimed_once(shop: Shop, them: Selling) -> None:
    order = bought(shop, quantity=2)
    take_back(shop, them, order)
    assert shop.status(order) == "delivered"
    assert [str(task.kind) for task in staff.open_tasks(9)] == ["purchase_reversed"]

    recall_id = say(shop, order, "supplier").body["recall_id"]
    shop.pump()
    view = shop.call("GET", f"/console/recalls/{recall_id}", groups="operator").body
    assert (view["state"], view["sold"], view["refunded"], view["open"]) == ("done", 2, 2, 0)
    assert shop.status(order) == "refunded"
    assert claims() == [{"payable:them": 18200, "cogs": -18200}]
    assert "purchase_reversed" not in [str(task.kind) for task in staff.open_tasks(9)]
    assert balanced()


def test_a_whole_day_makes_good_what_was_taken_back_before_as_well(shop: Shop, them: Selling) -> None:
    one, other = bought(shop), bought(shop)
    take_back(shop, them, one)
    assert say(shop, one, "supplier", whole_day=True).body["target"]["sku"] == SKU
    shop.pump()

    assert [shop.status(order) for order in (one, other)] == ["refunded", "refunded"]
    assert claims() == [{"payable:them": 9100, "cogs": -9100}] * 2
    assert "purchase_reversed" not in [str(task.kind) for task in staff.open_tasks(9)]
    assert balanced()


def test_a_suppliers_word_counts_though_who_takes_it_down_dies(shop: Shop, them: Selling) -> None:
    orders = [bought(shop) for _ in range(8)]  # soon nothing more is bought of him
    died, before = [], scored()
    for nth, order in enumerate(orders, 1):
        with dying_after(nth) as seen:
            retried(lambda: say(shop, order, "supplier"))  # noqa: B023  # at once
        died.append(len(seen) >= nth)
        assert scored() != before, f"after write {nth}"
        assert voids.is_known("them", str(attempt_of(order).number))
        before = scored()
    assert died[2]  # the recall, the score, the notice
    assert not died[-1]


def test_cards_in_stock_take_the_place_of_void_ones(shop: Shop, them: Selling) -> None:
    order = bought(shop)
    shop.stock(SKU, ["GOOD-GOOD-GOOD-GOOD"])
    say(shop, order)
    shop.pump()

    assert {card["code"] for card in shop.reveal(order).body["cards"]} == {"GOOD-GOOD-GOOD-GOOD"}


def test_nothing_is_recalled_of_what_brought_no_cards(shop: Shop, them: Selling) -> None:
    StandIn.change_product(them.url, "1", cost_e6=97_000_001)
    order = shop.placed(SKU)
    shop.pay(order)
    shop.pump()
    number = purchases.of_order(order.order_id)[0].number
    wanted = {"source": "issuer", "note": "void"}

    assert shop.call("POST", f"/console/purchases/{number}/void", wanted, groups="operator").status == 404
    assert voids.of("them") == []
    assert list(inventory.Card.scan(inventory.Card.state == CardState.FROZEN)) == []
