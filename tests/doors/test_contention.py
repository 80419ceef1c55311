"""Two hands on one thing: whoever loses is told the truth, and told to come again where that helps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from shared.inventory import records as inventory
from shared.kernel import clock
from shared.ledger import records as ledger
from shared.orders import records as orders
from shared.orders.status import Status
from shared.payments import records as payments
from shared.payments.errors import UnknownPayment
from shared.risk import records as risk
from shared.steps import order_closing
from tests.shop import Answer, Placed, Shop

Act = Callable[[Shop, Placed], Answer]


def cancel(shop: Shop, order: Placed) -> Answer:
    return shop.call("POST", f"/orders/{order.order_id}/cancel", token=order.token)


def pay_another_way(shop: Shop, order: Placed) -> Answer:
    path, method = f"/orders/{order.order_id}/payments", {"payment_method": "sandbox"}
    return shop.call("POST", path, method, order.token, **{"Idempotency-Key": "another"})


def refund(shop: Shop, order: Placed) -> Answer:
    return shop.call("POST", f"/console/orders/{order.order_id}/refunds", {}, groups="finance")


def approve(shop: Shop, _: Placed) -> Answer:
    [review] = risk.open_reviews(1)
    return shop.call("POST", f"/console/reviews/{review.id}/approve", {}, groups="operator")


@pytest.fixture
def conflict(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From now on every transaction meets another one on its way, as on AWS under contention."""
    original = BaseClient._make_api_call

    def meet(client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:
        if operation != "TransactWriteItems":
            return original(client, operation, parameters)
        reasons = [{"Code": "TransactionConflict"} for _ in parameters["TransactItems"]]
        error = {"Error": {"Code": "TransactionCanceledException", "Message": ""}, "CancellationReasons": reasons}
        raise ClientError(error, operation)

    return lambda: monkeypatch.setattr(BaseClient, "_make_api_call", meet)


@pytest.mark.parametrize(
    ("act", "sku", "quantity", "status"),
    [
        (cancel, "G020", 1, "placed"),
        (pay_another_way, "G020", 1, "placed"),
        (refund, "G020", 1, "delivered"),
        (approve, "V003", 6, "review"),
    ],
)
def test_what_only_met_another_transaction_may_be_tried_again(
    shop: Shop, conflict: Callable[[], None], act: Act, sku: str, quantity: int, status: str
) -> None:
    shop.stock(sku, [f"CARD-{n:06}" for n in range(quantity)])
    order = shop.placed(sku, quantity)
    if status != "placed":
        shop.pay(order)
        shop.pump()
    conflict()

    answer = act(shop, order)
    assert (answer.status, answer.body["code"], answer.body["retryable"]) == (503, "busy", True)
    assert shop.status(order) == status


def test_of_two_who_cancel_at_once_both_succeed(shop: Shop) -> None:
    shop.stock()
    order = shop.placed()
    seen_by_the_slower = orders.order_of(order.order_id)
    assert cancel(shop, order).status == 200

    order_closing.close(seen_by_the_slower, Status.CANCELLED, clock.now())
    assert shop.status(order) == "cancelled"


def test_of_two_who_decide_a_review_at_once_the_first_is_obeyed(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.stock("V003", [f"YEAR-{n:04}" for n in range(6)])
    order = shop.placed("V003", 6)
    shop.pay(order)
    shop.pump()
    [review] = risk.open_reviews(1)
    head_of = orders.head_of

    def after_another_approved(order_id: str) -> orders.Head:
        monkeypatch.setattr(orders, "head_of", head_of)
        assert approve(shop, order).status == 200
        return head_of(order_id)

    monkeypatch.setattr(orders, "head_of", after_another_approved)
    refused = shop.call("POST", f"/console/reviews/{review.id}/refuse", {}, groups="owner")
    assert (refused.status, refused.body["code"], refused.body["state"]) == (409, "review_decided", "approved")


def test_a_record_of_another_kind_is_not_found_under_its_id(shop: Shop) -> None:
    shop.stock()
    order = shop.placed()
    shop.pay(order)
    shop.pump()
    refund_id = refund(shop, order).body["refund_id"]
    for other in (refund_id, str(orders.head_of(order.order_id).paid_by)):
        with pytest.raises(UnknownPayment):
            payments.payment(other)

    wanted = {"kind": "phone", "value": "13800138999", "verdict": "deny", "reason": "known", "days": 3}
    assert shop.call("POST", "/console/lists", wanted, groups="operator").status == 201
    [entry] = risk.ListEntry.scan()
    answer = shop.call("POST", f"/console/reviews/{entry.id}/approve", {}, groups="operator")
    assert (answer.status, answer.body["code"]) == (404, "not_found")


@pytest.mark.parametrize(("outcome", "kind"), [("paid", "payment"), ("wrong_amount", "too_little")])
def test_the_same_notification_worked_by_two_processes_at_once_has_one_effect(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, outcome: str, kind: str
) -> None:
    shop.stock()
    order = shop.placed()
    shop.provider.pay(order.url, outcome)
    notification = shop.inbox.notifications.get(timeout=10)
    original, overtaken = BaseClient._make_api_call, []

    def overtake(client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:
        """Just before the first process writes, a second one does all of the same work."""
        if operation == "TransactWriteItems" and not overtaken:
            overtaken.append(True)
            assert shop.hand_in(notification).body == "success"
        return original(client, operation, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", overtake)
    assert shop.hand_in(notification).body == "success"
    shop.pump()

    today = clock.shanghai_day(clock.now())
    assert [entry.kind for entry in ledger.entries_of(today)].count(kind) == 1
    refunds = [item for item in payments.Refund.scan() if str(item.id).startswith("ref_")]
    assert len(refunds) == (outcome == "wrong_amount")


def test_the_last_card_goes_to_one_of_two_buyers_who_saw_it_at_once(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.stock()
    original, winners = BaseClient._make_api_call, []

    def overtake(client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:
        """Just before the first buyer's order is written, a second buyer gets the card."""
        if operation == "TransactWriteItems" and not winners:
            winners.append("somebody")
            winners[0] = shop.placed().order_id
        return original(client, operation, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", overtake)
    assert shop.place().body["code"] == "out_of_stock"
    [card] = inventory.Card.scan()
    assert (card.state, card.order_id) == ("held", winners[0])
