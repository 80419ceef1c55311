"""A step dies right after its n-th write, for every n: a retry or a deadline finishes it, and nothing is doubled."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.inventory import records as inventory
from shared.kernel import clock
from shared.ledger import records as ledger
from shared.steps import settlement
from tests.deaths import Step, abandoned, dying_after, retried
from tests.shop import Placed, Shop


def place(shop: Shop, sku: str, nth: int) -> Placed:
    wanted = {"client_ref": f"{nth:032}", "phone": f"138{nth:08}"}
    body = retried(lambda: shop.place(sku, **wanted)).body
    return Placed(
        body["order_id"], body["access_token"], body["payment"]["redirect_url"], body["payment"]["payment_id"]
    )


def pay(shop: Shop, order: Placed) -> None:
    shop.provider.pay(order.url)
    notification = shop.inbox.notifications.get(timeout=10)
    shop.invoke(lambda: shop.hand_in(notification))
    shop.pump()


def let_time_pass(shop: Shop) -> None:
    for _ in range(4):
        retried(lambda: shop.deadlines(datetime.now(UTC) + timedelta(minutes=4)))
        shop.pump()


def entries(order: Placed) -> list[str]:
    today = clock.shanghai_day(clock.now())
    return sorted(str(entry.kind) for entry in ledger.entries_of(today) if entry.order_id == order.order_id)


def states() -> dict[str, int]:
    found: dict[str, int] = {}
    for card in inventory.Card.scan():
        found[str(card.state)] = found.get(str(card.state), 0) + 1
    return found


@pytest.mark.parametrize("sku", ["G020", "C060"], ids=["stocked", "issued"])
@pytest.mark.parametrize("invoke", [retried, abandoned], ids=["retried", "left-to-the-deadlines"])
def test_a_sale_survives_a_death_after_every_write(shop: Shop, invoke: Callable[[Step], Any], sku: str) -> None:
    shop.invoke, nth, died = invoke, 0, True
    while died:
        nth += 1
        shop.stock("G020", [f"DYING-{nth:04}"])
        with dying_after(nth) as seen:
            order = place(shop, sku, nth)
            pay(shop, order)
            let_time_pass(shop)
            [card] = retried(lambda: shop.reveal(order)).body["cards"]  # noqa: B023  # called at once
        died = len(seen) >= nth
        assert shop.status(order) == "delivered", f"after write {nth}, a {seen[nth - 1]}"
        assert card["sku"] == sku
        assert entries(order) == ["delivery", "payment"], f"after write {nth}"

    assert nth > 9  # order, money, payment, three messages, counter, decision, dispatch and view at the least
    assert states().get("held", 0) == 0
    assert settlement.running(clock.now()).trial_balance == {"CNY": 0}


@pytest.mark.parametrize("invoke", [retried, abandoned], ids=["retried", "left-to-the-deadlines"])
def test_giving_money_back_survives_a_death_after_every_write(shop: Shop, invoke: Callable[[Step], Any]) -> None:
    denied = {"kind": "phone", "verdict": "deny", "reason": "test", "days": 3}
    shop.stock()
    shop.invoke, nth, died = invoke, 0, True
    while died:
        nth += 1
        assert shop.call("POST", "/console/lists", {**denied, "value": f"138{nth:08}"}, groups="owner").status == 201
        with dying_after(nth) as seen:
            order = place(shop, "G020", nth)
            pay(shop, order)
            let_time_pass(shop)
        died = len(seen) >= nth
        assert shop.status(order) == "refunded", f"after write {nth}, a {seen[nth - 1]}"
        assert entries(order) == ["payment", "refund_requested", "refund_sent"], f"after write {nth}"
        assert states() == {"available": 1}

    assert settlement.running(clock.now()).trial_balance == {"CNY": 0}


@pytest.mark.parametrize("how", ["cancel", "expire"])
def test_closing_an_order_survives_a_death_after_every_write(shop: Shop, how: str) -> None:
    shop.stock()
    nth, died = 0, True
    while died:
        nth += 1
        with dying_after(nth) as seen:
            order = place(shop, "G020", nth)
            if how == "cancel":
                path = f"/orders/{order.order_id}/cancel"
                retried(lambda: shop.call("POST", path, token=order.token))  # noqa: B023  # called at once
            else:
                retried(lambda: shop.deadlines(datetime.now(UTC) + timedelta(minutes=16)))
        died = len(seen) >= nth
        assert shop.status(order) == {"cancel": "cancelled", "expire": "expired"}[how]
        assert states() == {"available": 1}
    assert nth > 2


def test_an_import_that_died_is_finished_by_running_the_file_again(shop: Shop) -> None:
    nth, died, stocked = 0, True, 0
    while died:
        nth += 1
        codes = [f"IMPORT-{nth:02}-{n:04}" for n in range(6)]
        with dying_after(nth) as seen:
            report = retried(lambda: shop.stock("G020", codes)).body  # noqa: B023  # called at once
        died = len(seen) >= nth
        stocked += 6
        assert report["accepted"] + report["refused_count"] == 6
        assert states() == {"available": stocked}

    today = clock.shanghai_day(clock.now())
    bought = sum(
        leg.quantity or 0 for entry in ledger.entries_of(today) for leg in entry.legs if leg.account == "inventory"
    )
    assert bought == stocked
