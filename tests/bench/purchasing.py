"""Of whom to buy, how fast the next supplier is asked after a no, and what a bought order costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from random import Random
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any

from infra.local.suppliers.common import Product, Supplier
from tests.bench import meter, world
from tests.bench.report import Facts, Part, Row

# isort: split
# Only now: the world names the tables, and records take their names when they are imported.

from shared.suppliers import attempts, pulses, purchases, routing
from shared.suppliers.routing import Candidate, Wanted
from tests.hub import pump_until, selling

OFFERS = 20
DECISIONS = 20_000
CHANGES = 30


def measure(given: Facts) -> Part:
    """given: changes, for a look at fewer."""
    rows, text = _decisions()
    more, told = _orders(int(given.get("changes", CHANGES)))
    return Part([*rows, *more], "\n".join([text, told]))


def _decisions() -> tuple[list[Row], str]:
    chance = Random(5)  # prices, not secrets
    candidates = [
        Candidate(
            f"s{n}",
            f"p{n}",
            chance.randrange(9_000_000, 11_000_000),
            stock=chance.choice([None, 0, 3, 100]),
            tier=chance.choice("ABC"),
            chance=chance.random(),
            share=chance.random(),
            fresh=chance.random() > 0.1,
        )
        for n in range(OFFERS)
    ]
    wanted = Wanted(2, 10_500_000)
    spent, sorting = [], []
    for _ in range(DECISIONS):
        began = time.perf_counter_ns()
        routing.decide(candidates, wanted)
        between = time.perf_counter_ns()
        sorted(candidates, key=lambda one: one.landed_e6)
        spent.append((between - began) / 1000)
        sorting.append((time.perf_counter_ns() - between) / 1000)
    floor = "floor: sorting the same offers by price"
    found = [
        Row("purchasing.decide.median", median(spent), "µs", median(sorting), "", floor),
        Row("purchasing.decide.p99", quantiles(spent, n=100)[98], "µs", quantiles(sorting, n=100)[98], "", floor),
    ]
    return found, f"A decision among {OFFERS} offers: median {found[0].value:.0f} µs, p99 {found[1].value:.0f} µs."


def _orders(changes: int) -> tuple[list[Row], str]:
    """What an order that is bought costs, and the pause between a definite no and the request to the next supplier."""
    meter.install()
    sku = world.SKU
    with world.shop() as shop, TemporaryDirectory(prefix="kaquan-bench-") as folder:
        first, second = (
            Product(number, f"Steam 充值卡 {number}", cost) for number, cost in (("1", 90_000_000), ("2", 91_000_000))
        )
        # The pauses that keep a supplier's rate are no work.
        quick = {"trait.rate": "1000"}
        with (
            selling(Path(folder), "first", "kasushou", {sku: first}, **quick) as one,
            selling(Path(folder), "second", "kasushou", {sku: second}, seed=2, **quick) as other,
        ):
            order = shop.placed(sku)
            shop.pay(order)
            used, plain = meter.Meter(), shop.invoke

            def counted(step: Callable[[], Any]) -> Any:
                with meter.metered(used):
                    return plain(step)

            shop.invoke = counted
            pump_until(shop, order, "delivered")
            shop.invoke = plain
            pauses = []
            Supplier.change_product(one.url, "1", stock=0, shown=50)
            for n in range(changes):
                order = shop.placed(sku, phone=f"138{n:08}")
                shop.pay(order)
                pump_until(shop, order, "delivered")
                [lost, bought] = purchases.of_order(order.order_id)
                pauses.append(_moment(bought.sent_at) - _moment(lost.ended_at))
                Supplier.change_product(one.url, "1", stock=0, shown=50)
                _open_again(one.code, sku)
            waits = _waits(shop, other, sku)
    change = median(pause.total_seconds() for pause in pauses) * 1000
    rows = [
        Row("purchasing.order.writes", used.write, "units"),
        Row("purchasing.order.reads", used.read, "units"),
        Row("purchasing.change_over", change, "ms", None, "≤ 1000"),
        *[
            Row(f"purchasing.wait.{n}", measured, "s", wanted, "", "floor: what the policy says")
            for n, (measured, wanted) in enumerate(waits, 1)
        ],
    ]
    return rows, (
        f"A bought order of one card, from paid to delivered: {used.write:.0f} write and {used.read:.1f} read units. "
        f"From a no to the next supplier: median {change:.0f} ms of {changes}."
    )


def _waits(shop: Any, one: Any, sku: str) -> list[tuple[float, float]]:
    """The first three pauses between questions, really waited, beside the policy's, in seconds."""
    one.misbehave("buy", "late_asks", seconds=len(attempts.ASK_AFTER[:3]))
    order = shop.placed(sku, phone="13900000001")
    shop.pay(order)
    pump_until(shop, order, "delivered", within=60)
    [attempt] = [found for found in purchases.of_order(order.order_id) if found.state == "delivered"]
    moments = [datetime.fromisoformat(said["at"]) for said in attempt.said]
    pauses = [(later - sooner).total_seconds() for sooner, later in pairwise(moments)]
    return list(zip(pauses[:3], [pause.total_seconds() for pause in attempts.ASK_AFTER[:3]], strict=False))


def _open_again(supplier: str, sku: str) -> None:
    """Its breaker must not get between."""
    pulses.Beat(supplier, f"pulse#{sku}").delete()


def _moment(text: Any) -> datetime:
    return datetime.fromisoformat(str(text)).astimezone(UTC)
