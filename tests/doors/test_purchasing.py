"""What the shop has not itself is bought from suppliers, who are real HTTP servers with faults."""

from __future__ import annotations

from pathlib import Path

from infra.local.suppliers.common import Product
from shared.kernel import clock
from shared.steps import settlement
from shared.suppliers import purchases
from tests.hub import pump_until, selling
from tests.shop import Shop

SKU = "G020"
CARD = Product("1", "Steam 100 元", 91_000_000, stock=50)


def trial_balance() -> dict[str, int]:
    return settlement.running(clock.now()).trial_balance


def test_what_is_not_in_stock_is_bought_from_the_cheapest_and_delivered(shop: Shop, tmp_path: Path) -> None:
    dear = Product("7", "Steam 充值卡 100", 93_000_000)
    with selling(tmp_path, "cheap", "dujiao", {SKU: CARD}) as cheap, selling(tmp_path, "dear", "dujiao", {SKU: dear}) as other:
        order = shop.placed(SKU, 2)
        shop.pay(order)
        pump_until(shop, order, "delivered")
        assert len({card["code"] for card in shop.reveal(order).body["cards"]}) == 2
        [attempt] = purchases.of_order(order.order_id)
        assert (attempt.state, attempt.supplier, int(attempt.cost_e6)) == ("delivered", "cheap", 182_000_000)
        assert len(cheap.bought(str(attempt.number))) == 1
        assert other.bought() == []
    [total] = settlement.running(clock.now()).totals
    assert (total.units, total.sales, total.cost) == (2, 19400, 18200)
    assert trial_balance() == {"CNY": 0}
