"""Who buys dies right after its n-th write, for every n: it is bought once, delivered, and the books agree."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.local.suppliers.common import Product
from infra.local.suppliers.common import Supplier as StandIn
from shared.kernel import clock
from shared.staff import records as staff
from shared.steps import purchasing, settlement
from shared.suppliers import pulses, purchases
from tests import shop as shops
from tests.deaths import Died, dying_after, retried
from tests.hub import selling
from tests.shop import Shop

SKU = "G020"
LATER = (1, 6, 12, 20)  # minutes: a slot is free again, absent is said twice, the last pause is over


@pytest.mark.parametrize("kind", ["dujiao", "kasushou"], ids=["repeats", "can be asked"])
def test_a_purchase_survives_a_death_after_every_write(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    others = [name for name in shops.workers() if name != "purchasing"]
    monkeypatch.setattr(shops, "workers", lambda: others)
    product = Product("1", "Steam 充值卡 100 元", 91_000_000)
    with selling(tmp_path, "one", kind, {SKU: product}) as one:
        nth, died = 0, True
        while died:
            nth += 1
            order = shop.placed(SKU, phone=f"138{nth:08}")
            shop.pay(order)
            shop.pump()
            work = {"order_id": order.order_id, "line": "1"}
            now = datetime.now(UTC)
            for slot in range(2):
                pulses.give_back(one.code, slot, now)  # the last one used them in times to come
            with dying_after(nth) as seen:
                with suppress(Died):
                    purchasing.work(work, now)
                for minutes in LATER:
                    retried(lambda: purchasing.work(work, now + timedelta(minutes=minutes)))  # noqa: B023  # at once
            died = len(seen) >= nth
            assert shop.status(order) == "delivered", f"after write {nth}, a {seen[nth - 1] if died else '-'}"
            assert len(shop.reveal(order).body["cards"]) == 1
            bought = [one.bought(str(attempt.number)) for attempt in purchases.of_order(order.order_id)]
            assert sum(map(len, bought)) == 1, f"after write {nth}"

        assert nth > 5  # the attempt, its slot, sent, accepted, the lot, what was delivered
        assert StandIn.bought_twice(one.url) == []
    assert settlement.running(clock.now()).trial_balance == {"CNY": 0}


def test_who_dies_before_one_who_can_be_asked_nothing_buys_no_second_time(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [name for name in shops.workers() if name != "purchasing"]
    monkeypatch.setattr(shops, "workers", lambda: others)
    with selling(tmp_path, "deaf", "acg", {SKU: Product("1", "Steam 充值卡 100 元", 91_000_000)}) as deaf:
        nth, died, waiting = 0, True, 0
        while died:
            nth += 1
            order = shop.placed(SKU, phone=f"138{nth:08}")
            shop.pay(order)
            shop.pump()
            work, now = {"order_id": order.order_id, "line": "1"}, datetime.now(UTC)
            for slot in range(2):
                pulses.give_back(deaf.code, slot, now)
            with dying_after(nth) as seen:
                with suppress(Died):
                    purchasing.work(work, now)
                for minutes in LATER:
                    retried(lambda: purchasing.work(work, now + timedelta(minutes=minutes)))  # noqa: B023  # at once
            died = len(seen) >= nth
            [attempt] = purchases.of_order(order.order_id)
            delivered = shop.status(order) == "delivered"
            waiting += not delivered
            assert delivered or attempt.state in {"sent", "unknown"}, f"after write {nth}"
            assert len(deaf.bought(str(attempt.number))) <= 1
        assert 0 < waiting < nth
        assert {str(task.kind) for task in staff.open_tasks(50)} == {"purchase_unknown"}
        assert StandIn.bought_twice(deaf.url) == []
