"""A step that dies before or after any of its writes is finished by its retry or by `deadlines`.

Each scenario is lived again and again, the process dying one write later each time, until it finishes without having
died: a write that is added to a step is covered by itself.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from tests.journeys.stack import Buyer, Order, Stack, in_minutes, order_in, persistently, wait_for
from tests.journeys.weather import Fault

WRITES_MAX = 12  # far above any step's; a scenario that goes on dying is wrong
SKU, LARGE, MADE = "M017", "V008", "C060"  # from stock, above the limit of review with six, issued by us

Deadly = Callable[[str], AbstractContextManager[None]]


def dying(stack: Stack, function: str, live: Callable[[Deadly], None]) -> int:
    """Live a scenario with a death after every write of `function`; how often it died."""
    for after in range(WRITES_MAX):
        armed: list[Fault] = []

        @contextmanager
        def deadly(about: str, after: int = after, armed: list[Fault] = armed) -> Iterator[None]:
            with stack.weather.death(function, after, about) as fault:
                armed.append(fault)
                yield

        live(deadly)
        if not armed[0].struck:
            return after
    raise AssertionError(f"{function} still dies after {WRITES_MAX} writes")


@pytest.fixture(autouse=True)
def impatient(stack: Stack) -> Iterator[None]:
    with stack.impatient(3):
        yield


@pytest.fixture(scope="module", autouse=True)
def full_shelves(stack: Stack) -> None:
    """Enough for every life of every scenario."""
    stack.wholesale(LARGE)
    stack.stock(SKU, 150)
    stack.stock(LARGE, 6 * WRITES_MAX)


def delivered_once(stack: Stack, order: Order) -> None:
    stack.until(order.order_id, "delivered")
    assert stack.entries(order.order_id) == {"payment": 1, "delivery": 1}


def paid(stack: Stack, buyer: Buyer, sku: str, quantity: int = 1) -> Order:
    order = buyer.place(sku, quantity)
    buyer.pay(order)
    return order


def test_placing_may_die_at_any_write(stack: Stack) -> None:
    def live(deadly: Deadly) -> None:
        buyer, reference = stack.buyer(), uuid.uuid4().hex
        with deadly(reference):
            reply = persistently(lambda: buyer.try_to_place(SKU, client_ref=reference))
        assert reply.status == 201, reply.body
        order = order_in(reply)
        buyer.pay(order)
        delivered_once(stack, order)

    assert dying(stack, "order-intake", live) >= 2


def test_cancelling_may_die_at_any_write(stack: Stack) -> None:
    def live(deadly: Deadly) -> None:
        buyer = stack.buyer()
        order = buyer.place(SKU)
        with deadly(order.order_id):
            reply = persistently(lambda: buyer.cancel(order))
        assert (reply.status, reply.body["status"]) == (200, "cancelled")

    assert dying(stack, "order-intake", live) >= 2


def test_a_change_of_payment_may_die_at_any_write(stack: Stack) -> None:
    def live(deadly: Deadly) -> None:
        buyer = stack.buyer()
        order = buyer.place(SKU)
        path, wanted = f"/orders/{order.order_id}/payments", {"payment_method": "sandbox"}
        with deadly(order.order_id):
            reply = persistently(lambda: buyer.call("POST", path, wanted, order.token, Idempotency_Key="other"))
        assert reply.status == 201, reply.body
        order.url = reply.body["redirect_url"]
        buyer.pay(order)
        delivered_once(stack, order)

    assert dying(stack, "order-intake", live) >= 2


def test_taking_a_notification_may_die_at_any_write(stack: Stack) -> None:
    def live(deadly: Deadly) -> None:
        buyer = stack.buyer()
        order = buyer.place(SKU)
        with deadly(order.payment_id):
            buyer.pay(order)
            delivered_once(stack, order)

    assert dying(stack, "payment-webhooks", live) >= 3


def test_taking_late_money_may_die_at_any_write(stack: Stack) -> None:
    stack.stock("L044", 1)

    def live(deadly: Deadly) -> None:
        late, quick = stack.buyer(), stack.buyer()
        order = late.place("L044")
        late.cancel(order)
        other = quick.place("L044")
        with deadly(order.payment_id):
            late.pay(order)
            stack.until(order.order_id, "refunded")
        quick.cancel(other)
        assert stack.entries(order.order_id) == {"late_money": 1, "refund_sent": 1}

    assert dying(stack, "payment-webhooks", live) >= 3


def test_risk_checks_may_die_at_any_write(stack: Stack) -> None:
    def live(deadly: Deadly) -> None:
        buyer = stack.buyer()
        order = buyer.place(SKU)
        with deadly(order.order_id):
            buyer.pay(order)
            delivered_once(stack, order)

    assert dying(stack, "risk-checks", live) >= 3


def test_opening_a_review_may_die_at_any_write(stack: Stack) -> None:
    def live(deadly: Deadly) -> None:
        buyer = stack.buyer()
        order = buyer.place(LARGE, 6)
        with deadly(order.order_id):
            buyer.pay(order)
            stack.until(order.order_id, "review")
        head = stack.head(order.order_id)
        reply = stack.console("POST", f"/reviews/{head['review_id']}/approve", {}, role="operator")
        assert reply.status == 200, reply.body
        delivered_once(stack, order)

    assert dying(stack, "risk-checks", live) >= 3


@pytest.mark.parametrize(("sku", "quantity"), [(SKU, 2), (MADE, 2)])
def test_dispatch_may_die_at_any_write(stack: Stack, sku: str, quantity: int) -> None:
    def live(deadly: Deadly) -> None:
        buyer = stack.buyer()
        order = buyer.place(sku, quantity)
        with deadly(order.order_id):
            buyer.pay(order)
            delivered_once(stack, order)
        assert len(set(buyer.reveal(order))) == quantity

    assert dying(stack, "card-dispatch", live) >= 2


@pytest.mark.parametrize("quantity", [1, 2])
def test_a_reveal_may_die_at_any_write(stack: Stack, quantity: int) -> None:
    buyer = stack.buyer()
    order = buyer.buy(SKU, quantity)

    def live(deadly: Deadly) -> None:
        with deadly(order.order_id):
            reply = persistently(lambda: buyer.try_to_reveal(order))
        assert len(reply.body["cards"]) == quantity

    died = dying(stack, "card-reveal", live)
    assert died >= 2
    looks = [view for view in stack.table("views") if view.get("order_id") == order.order_id]
    assert len(looks) >= quantity * died  # each answer and at least each death after the write has left its event


def test_requesting_the_refund_of_a_refused_order_may_die_at_any_write(stack: Stack) -> None:
    def live(deadly: Deadly) -> None:
        buyer = stack.buyer()
        denied = {"kind": "phone", "value": buyer.contact["phone"], "verdict": "deny", "reason": "known", "days": 1}
        assert stack.console("POST", "/lists", denied, role="operator").status == 201
        order = buyer.place(SKU)
        with deadly(order.order_id):
            buyer.pay(order)
            stack.until(order.order_id, "refunded")
        assert stack.entries(order.order_id) == {"payment": 1, "refund_requested": 1, "refund_sent": 1}

    assert dying(stack, "after-sales", live) >= 2


def test_sending_a_refund_may_die_at_any_write(stack: Stack) -> None:
    def live(deadly: Deadly) -> None:
        buyer = stack.buyer()
        order = buyer.buy(SKU)
        with deadly(""):
            reply = stack.console("POST", f"/orders/{order.order_id}/refunds", {"reason": "broken"}, role="operator")
            assert reply.status == 201, reply.body
            stack.until(order.order_id, "refunded")
        assert stack.entries(order.order_id) == {"payment": 1, "delivery": 1, "refund_requested": 1, "refund_sent": 1}

    assert dying(stack, "after-sales", live) >= 2


def test_relay_may_die_before_and_after_it_has_sent(stack: Stack) -> None:
    def live(deadly: Deadly) -> None:
        buyer = stack.buyer()
        order = buyer.place(SKU)
        with deadly(order.order_id):
            buyer.pay(order)
            delivered_once(stack, order)

    assert dying(stack, "relay", live) >= 2


# --- the owner of time -----------------------------------------------------------------------------------------------


def a_minute_that_dies(stack: Stack, deadly: Deadly, minutes: float) -> None:
    """The schedule fires, and the process dies; the next minute it fires again."""
    moment = in_minutes(minutes)
    with deadly(moment):
        stack.invoke("deadlines", {"time": moment})


def test_expiring_an_order_may_die_at_any_write(stack: Stack) -> None:
    def live(deadly: Deadly) -> None:
        order = stack.buyer().place(SKU)
        a_minute_that_dies(stack, deadly, 16)
        stack.deadlines(17)
        assert stack.status(order.order_id) == "expired"

    assert dying(stack, "deadlines", live) >= 2


def test_finding_lost_money_may_die_at_any_write(stack: Stack) -> None:
    def live(deadly: Deadly) -> None:
        buyer = stack.buyer()
        order = buyer.place(SKU)
        buyer.pay(order, "silent")
        a_minute_that_dies(stack, deadly, 2.5)
        stack.deadlines(3.5)
        delivered_once(stack, order)

    assert dying(stack, "deadlines", live) >= 3


def test_ending_a_review_may_die_at_any_write(stack: Stack) -> None:
    def live(deadly: Deadly) -> None:
        order = paid(stack, stack.buyer(), LARGE, 6)
        stack.until(order.order_id, "review")
        a_minute_that_dies(stack, deadly, 31)
        stack.deadlines(32)
        stack.until(order.order_id, "refunded")
        assert stack.entries(order.order_id) == {"payment": 1, "refund_requested": 1, "refund_sent": 1}

    assert dying(stack, "deadlines", live) >= 2


def test_sending_a_lost_step_again_may_die_at_any_write(stack: Stack) -> None:
    def live(deadly: Deadly) -> None:
        buyer = stack.buyer()
        with stack.weather.lossy_streams(drop=1, double=0, seed=1) as lost:
            order = paid(stack, buyer, SKU)
            stack.until(order.order_id, "paid")
            wait_for(
                lambda: len(lost.records) >= 2, "the record of the payment to be lost"
            )  # the first one is of placing
        a_minute_that_dies(stack, deadly, 3)
        stack.deadlines(6)
        delivered_once(stack, order)

    assert dying(stack, "deadlines", live) >= 3


def test_sending_a_lost_refund_again_may_die_at_any_write(stack: Stack) -> None:
    def live(deadly: Deadly) -> None:
        order = stack.buyer().buy(SKU)
        with stack.weather.lossy_streams(drop=1, double=0, seed=1) as lost:
            reply = stack.console("POST", f"/orders/{order.order_id}/refunds", {"reason": "broken"}, role="finance")
            assert reply.status == 201, reply.body
            wait_for(lambda: len(lost.records) >= 2, "the records of order and refund to be lost")
        a_minute_that_dies(stack, deadly, 3)
        stack.deadlines(8)
        stack.until(order.order_id, "refunded")
        assert stack.entries(order.order_id) == {"payment": 1, "delivery": 1, "refund_requested": 1, "refund_sent": 1}

    assert dying(stack, "deadlines", live) >= 3
