"""Asking after payments: whom nobody answers for, and what must not keep the others waiting."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.local.alipay import AlipayGateway
from shared.kernel import clock
from shared.orders import records as orders
from shared.orders.deadlines import LAST_LOOK
from shared.payments import merchant_keys, merchants, registry
from shared.payments import records as payments
from shared.payments.provider import Merchant
from shared.staff import records as staff
from shared.steps.deadlines import CLOSED_LONG_AGO
from tests.shop import Placed, Shop


def later(minutes: float) -> datetime:
    return datetime.now(UTC) + timedelta(minutes=minutes)


def tasks() -> list[str]:
    return [str(task.id) for task in staff.open_tasks(9)]


def is_resting(order: Placed) -> bool:
    return orders.head_of(order.order_id).due_at is None


@pytest.fixture
def gateway(shop: Shop, tmp_path: Path) -> Iterator[AlipayGateway]:
    with AlipayGateway(tmp_path / "alipay.sqlite") as gateway:
        merchants.save(Merchant("alipay", "alipay", ("alipay_qr",), 6_000, terms=gateway.terms))
        merchant_keys.add("alipay", gateway.keys)
        registry.forget()
        yield gateway


def cancelled(shop: Shop, method: str) -> Placed:
    """An order that nobody has opened the pay page of."""
    shop.stock("G020")
    order = shop.placed(payment_method=method)
    assert shop.call("POST", f"/orders/{order.order_id}/cancel", token=order.token).status == 200
    return order


def asked_until(shop: Shop, order: Placed, end: datetime) -> int:
    """Make every look that is due by then; how many there were."""
    looks = 0
    while (due_at := orders.head_of(order.order_id).due_at) and clock.parse(str(due_at)) < end:
        shop.deadlines(max(clock.parse(str(due_at)) + timedelta(seconds=1), later(0)))
        looks += 1
        assert looks < 100, "it is asked after at every run"
    return looks


def test_an_order_that_its_provider_never_speaks_of_in_trust_rests_with_a_task_after_a_day(
    shop: Shop, gateway: AlipayGateway
) -> None:
    gateway.behave(gateway.url, business_error="unsigned")
    order = cancelled(shop, "alipay_qr")
    last = clock.parse(str(orders.head_of(order.order_id).expires_at)) + LAST_LOOK

    asked_until(shop, order, last + CLOSED_LONG_AGO)
    assert (is_resting(order), tasks()) == (False, [])
    looks = asked_until(shop, order, last + CLOSED_LONG_AGO * 2)

    assert (looks, is_resting(order)) == (1, True)
    assert tasks() == [f"payment_unknown.{order.order_id}"]
    shop.deadlines(last + CLOSED_LONG_AGO * 9)
    assert (is_resting(order), tasks()) == (True, [f"payment_unknown.{order.order_id}"])


def test_an_order_that_its_provider_says_nobody_has_opened_rests_without_a_task(
    shop: Shop, gateway: AlipayGateway
) -> None:
    order = cancelled(shop, "alipay_qr")
    last = clock.parse(str(orders.head_of(order.order_id).expires_at)) + LAST_LOOK

    asked_until(shop, order, last + CLOSED_LONG_AGO * 2)

    assert (is_resting(order), tasks()) == (True, [])


def test_one_silence_long_after_the_end_is_not_enough_to_tell_a_person(shop: Shop, gateway: AlipayGateway) -> None:
    order = cancelled(shop, "alipay_qr")
    gateway.misbehave(gateway.url, "query", "silent", times=1)

    shop.deadlines(later(3 * 24 * 60))

    assert (is_resting(order), tasks()) == (False, [])


def test_an_order_whose_attempt_to_pay_is_gone_stops_no_other(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    broken, lost = (shop.stock("G020"), shop.placed("G020", phone="13900000001"))[1], cancelled(shop, "sandbox")
    shop.stock("G020")
    paid = shop.placed("G020", phone="13900000002")
    shop.provider.pay(paid.url, "silent")
    payments.Payment(broken.payment_id).delete()

    shop.deadlines(later(2))
    shop.pump()

    assert shop.status(paid) == "delivered"
    assert '"DeadlineFailed"' in capsys.readouterr().out
    shop.deadlines(later(20))
    assert shop.status(broken) == "expired"
    for minutes in (26, 40):
        shop.deadlines(later(minutes))
    assert is_resting(broken)
    assert is_resting(lost)
