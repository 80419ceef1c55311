"""Money that people bring to light: confirmed by two of them, or sent back by one where nobody asked for it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from shared.jobs import records as jobs
from shared.kernel import clock, settings
from shared.ledger import records as ledger
from shared.orders import records as orders
from shared.payments import records as payments
from shared.steps import payment_received, settlement
from tests.deaths import Step, abandoned, dying_after, retried
from tests.shop import Answer, Placed, Shop

Notification = tuple[dict[str, str], bytes]


def paid_unheard(shop: Shop, order: Placed) -> tuple[str, Notification]:
    """The buyer has paid, and the notification is still on its way: its number, and what it will say."""
    shop.provider.pay(order.url)
    notification = shop.inbox.notifications.get(timeout=10)
    return str(json.loads(notification[1])["provider_no"]), notification


def said(order: Placed, number: str, **more: Any) -> dict[str, Any]:
    return {
        "provider": "sandbox",
        "provider_no": number,
        "amount_minor": orders.head_of(order.order_id).total.minor,
        "currency": "CNY",
        "paid_at": clock.iso(clock.now()),
        "note": "seen on the merchant's page",
        **more,
    }


def asked(shop: Shop, order: Placed, body: dict[str, Any], operator: str = "ann", key: str = "") -> Answer:
    path = f"/console/orders/{order.order_id}/payments/confirmations"
    headers = {"Idempotency-Key": key} if key else {}
    return shop.call("POST", path, body, groups="operator", operator=operator, **headers)


def decided(shop: Shop, confirmation: Answer, verb: str = "approve", operator: str = "bea") -> Answer:
    path = f"/console/confirmations/{confirmation.body['confirmation_id']}/{verb}"
    return shop.call("POST", path, groups="finance", operator=operator)


def waiting(shop: Shop) -> list[str]:
    found = shop.call("GET", "/console/confirmations", groups="auditor").body["confirmations"]
    return [one["confirmation_id"] for one in found]


def posted() -> Counter[str]:
    return Counter(str(entry.kind) for entry in ledger.entries_of(clock.shanghai_day(clock.now())))


def net(account: str) -> int:
    today = clock.shanghai_day(clock.now())
    return sum(leg.amount_minor for entry in ledger.entries_of(today) for leg in entry.legs if leg.account == account)


def balanced() -> bool:
    return settlement.running(clock.now()).trial_balance == {"CNY": 0}


def test_two_people_let_money_count_and_the_providers_own_word_of_it_is_the_same_money(shop: Shop) -> None:
    shop.stock()
    order = shop.placed()
    number, notification = paid_unheard(shop, order)

    asking = asked(shop, order, said(order, number))
    assert (asking.status, asking.body["state"], asking.body["asked_by"]) == (201, "created", "ann")
    assert waiting(shop) == [asking.body["confirmation_id"]]
    assert shop.status(order) == "placed"
    approved = decided(shop, asking)
    assert (approved.status, approved.body["state"], approved.body["use"]) == (200, "done", "order")
    assert (approved.body["decided_by"], waiting(shop)) == ("bea", [])
    assert decided(shop, asking).body == approved.body
    shop.pump()
    assert shop.status(order) == "delivered"
    assert shop.hand_in(notification).body == "success"
    shop.pump()

    path = f"/console/confirmations/{asking.body['confirmation_id']}"
    assert shop.call("GET", path, groups="auditor").body == approved.body
    failures = boto3.client("sqs").receive_message(QueueUrl=settings.get("RELAY_FAILURES_QUEUE"))
    assert "Messages" not in failures  # nobody works at a confirmation, and the relay knows
    assert posted()["payment"] == posted()["delivery"] == 1
    assert [item for item in payments.Refund.scan() if str(item.id).startswith("ref_")] == []
    assert (balanced(), net("suspense"), net("deposits")) == (True, 0, 0)


def test_what_the_provider_has_said_first_is_confirmed_without_effect(shop: Shop) -> None:
    shop.stock()
    order = shop.placed()
    number, notification = paid_unheard(shop, order)
    asking = asked(shop, order, said(order, number))
    shop.hand_in(notification)
    shop.pump()

    assert decided(shop, asking).body["state"] == "done"
    assert posted()["payment"] == 1
    assert shop.status(order) == "delivered"


def test_confirmed_money_revives_an_order_that_was_closed_meanwhile(shop: Shop) -> None:
    shop.stock()
    order = shop.placed()
    number, _ = paid_unheard(shop, order)
    shop.call("POST", f"/orders/{order.order_id}/cancel", token=order.token)

    assert decided(shop, asked(shop, order, said(order, number))).body["use"] == "late"
    shop.pump()
    assert shop.status(order) == "delivered"


def test_nobody_approves_what_he_has_asked_for(shop: Shop) -> None:
    order = shop.placed("C060")
    asking = asked(shop, order, said(order, "NO-1"), operator="ann")

    refused = decided(shop, asking, operator="ann")
    assert (refused.status, refused.body["code"]) == (403, "own_request")
    assert shop.status(order) == "placed"


def test_what_is_refused_has_no_effect_and_stays_refused(shop: Shop) -> None:
    order = shop.placed("C060")
    asking = asked(shop, order, said(order, "NO-1"))

    for _ in range(2):
        assert decided(shop, asking, "refuse").body["state"] == "cancelled"
    for operator in ("bea", "cyd"):
        assert decided(shop, asking, operator=operator).body["code"] == "wrong_job_state"
    shop.pump()
    assert (shop.status(order), waiting(shop)) == ("placed", [])
    assert decided(shop, asked(shop, order, said(order, "NO-2"))).body["state"] == "done"
    assert decided(shop, asking, "refuse").body["state"] == "cancelled"


def test_the_same_key_asks_once_and_another_body_is_refused(shop: Shop) -> None:
    order = shop.placed("C060")
    body = said(order, "NO-1")
    first, again = asked(shop, order, body, key="k"), asked(shop, order, body, key="k")

    assert first.body == again.body
    assert asked(shop, order, {**body, "note": "other"}, key="k").body["code"] == "idempotency_key_reused"
    assert len(waiting(shop)) == 1


@pytest.mark.parametrize(
    ("wrong", "status", "code"),
    [
        ({"amount_minor": 1}, 422, "amount_differs"),
        ({"currency": "USD"}, 422, "amount_differs"),
        ({"provider": "on_account"}, 404, "unknown_payment"),
        ({"provider": "nobody"}, 404, "unknown_payment"),
        ({"paid_at": "2020-01-01T00:00:00Z"}, 422, "invalid_request"),
        ({"paid_at": "2999-01-01T00:00:00+08:00"}, 422, "invalid_request"),
        ({"paid_at": "0001-01-01T00:00:00+14:00"}, 422, "invalid_request"),
        ({"paid_at": "2026-02-30T00:00:00Z"}, 422, "invalid_request"),
        ({"paid_at": "2026-11-22T10:00:00"}, 422, "invalid_request"),
        ({"note": ""}, 422, "invalid_request"),
        ({"provider_no": "a#b"}, 422, "invalid_request"),
    ],
)
def test_what_cannot_be_this_orders_money_is_refused_by_name(
    shop: Shop, wrong: dict[str, Any], status: int, code: str
) -> None:
    order = shop.placed("C060")
    answer = asked(shop, order, said(order, "NO-1", **wrong))
    assert (answer.status, answer.body["code"]) == (status, code)
    assert waiting(shop) == []


def test_the_money_of_one_order_cannot_pay_another(shop: Shop) -> None:
    paid, other = shop.placed("C060"), shop.placed("C060")
    before = asked(shop, other, said(other, "NO-1"))
    assert decided(shop, asked(shop, paid, said(paid, "NO-1"))).body["use"] == "order"

    refused = asked(shop, other, said(other, "NO-1"))
    assert (refused.status, refused.body["code"], refused.body["order_id"]) == (409, "money_elsewhere", paid.order_id)
    assert decided(shop, before).body["code"] == "money_elsewhere"
    assert shop.status(other) == "placed"


def test_money_that_is_put_elsewhere_at_the_last_moment_fails_its_confirmation(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    paid, other = shop.placed("C060"), shop.placed("C060")
    slower, quicker = asked(shop, other, said(other, "NO-1")), asked(shop, paid, said(paid, "NO-1"))
    receive = payment_received.receive

    def overtaken(*what: Any) -> None:
        monkeypatch.setattr(payment_received, "receive", receive)
        assert decided(shop, quicker).body["use"] == "order"
        receive(*what)

    monkeypatch.setattr(payment_received, "receive", overtaken)
    ended = decided(shop, slower)
    assert (ended.body["state"], ended.body["use"]) == ("failed", None)
    assert (shop.status(paid), shop.status(other)) == ("paid", "placed")


@pytest.mark.parametrize("invoke", [retried, abandoned], ids=["approved-again", "left-to-the-deadlines"])
def test_an_approval_survives_a_death_after_every_write(shop: Shop, invoke: Callable[[Step], Any]) -> None:
    nth, died = 0, True
    shop.invoke = retried
    while died:
        nth += 1
        order = shop.placed("C060", phone=f"138{nth:08}")
        body = said(order, f"NO-{nth}")
        asking = asked(shop, order, body)
        with dying_after(nth) as seen:
            invoke(lambda: decided(shop, asking))  # noqa: B023  # called at once
        died = len(seen) >= nth
        shop.pump()
        if invoke is abandoned:
            shop.deadlines(datetime.now(UTC) + timedelta(minutes=4))
            shop.pump()
        path = f"/console/confirmations/{asking.body['confirmation_id']}"
        assert shop.call("GET", path, groups="auditor").body["state"] == "done", f"after write {nth}"
        assert shop.status(order) == "delivered", f"after write {nth}"
        assert posted()["payment"] == posted()["delivery"] == nth
    assert nth > 4  # approved, recorded, used, done, and one that lived
    assert jobs.overdue(datetime.now(UTC) + timedelta(days=9), 9) == []
    assert (balanced(), net("deposits")) == (True, 0)


def test_asking_survives_a_death_after_every_write(shop: Shop) -> None:
    order, nth, died = shop.placed("C060"), 0, True
    body = said(order, "NO-1")
    while died:
        nth += 1
        with dying_after(nth) as seen:
            asking = retried(lambda: asked(shop, order, body, key=f"k{nth}"))  # noqa: B023  # called at once
        died = len(seen) >= nth
        assert asking.status == 201
        assert len(waiting(shop)) == nth


# --- money that nobody asked for -------------------------------------------------------------------------------------


def stray(shop: Shop) -> str:
    """Money for an attempt we know nothing of, in suspense; its number."""
    order = shop.placed("C060")
    number, notification = paid_unheard(shop, order)
    payments.Payment(order.payment_id).delete()
    orders.Head(order.order_id, orders.HEAD).delete()
    shop.hand_in(notification)
    return number


def given_back(shop: Shop, number: str, operator: str = "ann", provider: str = "sandbox") -> Answer:
    path = f"/console/money/{provider}/{number}/refund"
    return shop.call("POST", path, {"note": "a test of theirs"}, groups="finance", operator=operator)


def test_money_that_nobody_asked_for_goes_back_once_and_its_task_ends(shop: Shop) -> None:
    number = stray(shop)
    assert net("suspense") < 0
    [task] = shop.call("GET", "/console/tasks", groups="owner").body["tasks"]
    assert (task["kind"], task["about"]) == ("unknown_money", f"money#sandbox#{number}")

    first, second = given_back(shop, number), given_back(shop, number, operator="bea")
    assert (first.status, first.body["order_id"], first.body["requested_by"]) == (201, "-", "ann")
    assert second.body["refund_id"] == first.body["refund_id"]
    assert shop.call("GET", "/console/tasks", groups="owner").body["tasks"] == []
    shop.pump()

    assert payments.refund(first.body["refund_id"]).state == "succeeded"
    assert given_back(shop, number).body["state"] == "succeeded"
    assert posted() == {"unknown_payment": 1, "refund_requested": 1, "refund_sent": 1}
    assert (net("suspense"), net("refunds_due"), balanced()) == (0, 0, True)


def test_stray_money_that_the_provider_keeps_becomes_a_persons_task_and_is_paid_by_hand(shop: Shop) -> None:
    number = stray(shop)
    amount = -net("suspense")
    money = payments.received(f"money#sandbox#{number}")
    money.update([payments.Received.provider_no.set("sbx-unknown")])
    refund_id = given_back(shop, number).body["refund_id"]
    shop.pump()

    [task] = shop.call("GET", "/console/tasks", groups="owner").body["tasks"]
    assert (task["kind"], task["about"], task["order_id"]) == ("refund_failed", refund_id, "-")
    path = f"/console/refunds/{refund_id}/paid-by-hand"
    assert shop.call("POST", path, {"note": "bank"}, groups="finance").body["state"] == "succeeded"
    assert (net("bank"), net("suspense"), net("refunds_due"), balanced()) == (-amount, 0, 0, True)


def test_money_that_paid_for_something_is_no_stray_money(shop: Shop) -> None:
    order = shop.placed("C060")
    number, notification = paid_unheard(shop, order)
    unknown = given_back(shop, number)
    assert (unknown.status, unknown.body["code"]) == (404, "unknown_money")
    shop.hand_in(notification)

    refused = given_back(shop, number)
    assert (refused.status, refused.body["code"], refused.body["use"]) == (409, "not_in_suspense", "order")
    assert given_back(shop, number, provider="nobody").body["code"] == "unknown_money"


def test_stray_money_cannot_be_confirmed_for_an_order(shop: Shop) -> None:
    number, order = stray(shop), shop.placed("C060")
    refused = asked(shop, order, said(order, number))
    assert (refused.body["code"], refused.body["order_id"]) == ("money_elsewhere", "-")


def test_giving_stray_money_back_survives_a_death_after_every_write(shop: Shop) -> None:
    nth, died = 0, True
    shop.invoke = retried
    while died:
        nth += 1
        number = stray(shop)
        with dying_after(nth) as seen:
            answer = retried(lambda: given_back(shop, number))  # noqa: B023  # called at once
            shop.pump()
            retried(lambda: shop.deadlines(datetime.now(UTC) + timedelta(minutes=4)))
            shop.pump()
        died = len(seen) >= nth
        assert payments.refund(answer.body["refund_id"]).state == "succeeded", f"after write {nth}"
        assert posted()["refund_requested"] == posted()["refund_sent"] == nth
    assert (net("suspense"), net("refunds_due"), balanced()) == (0, 0, True)
