"""Buyers who pay through WeChat and Alipay, on the deployed stack, against stand-ins that keep books of their own."""

from __future__ import annotations

import hashlib
import json
import urllib.error
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from infra.local.alipay import AlipayGateway
from infra.local.counterparts.counterpart import Counterpart
from infra.local.wechat import WeChatPay
from shared.kernel import clock
from shared.ledger import records as ledger
from tests import billed, notified
from tests.journeys.stack import Buyer, Order, Stack, order_in, wait_for
from tests.stripe_door import TEST_KEY, Door, listening, localstripe

RETRY_AFTER = (0.5, 1, 2, 4, 8)  # seconds: the provider's patience, shortened
SKUS = {"wechat": "V006", "alipay": "G029"}
METHODS = {"wechat": "wechat_native", "alipay": "alipay_qr"}


@dataclass(frozen=True)
class Paying:
    """One provider, the account we have with it, and a buyer's hand on its pay page."""

    kind: str
    stack: Stack
    counterpart: Counterpart

    def place(self, buyer: Buyer, **more: Any) -> Order:
        self.stack.stock(SKUS[self.kind], 1)
        return self._paid_at(buyer, buyer.try_to_place(SKUS[self.kind], payment_method=METHODS[self.kind], **more))

    def _paid_at(self, buyer: Buyer, reply: Any) -> Order:
        assert reply.status == 201, reply.body
        assert reply.body["payment"]["problem"] is None, reply.body
        order = order_in(reply)
        order.url = reply.body["payment"]["qr_url"]
        return order

    def pay(self, order: Order, outcome: str = "paid", **more: Any) -> Any:
        return type(self.counterpart).pay(order.url, outcome, **more)

    def misbehave(self, route: str, fault: str, times: int = 1) -> None:
        type(self.counterpart).misbehave(self.counterpart.url, route, fault, times)

    def entries(self, order: Order) -> dict[str, int]:
        return dict(self.stack.entries(order.order_id))


@dataclass(frozen=True)
class Providers:
    paying: dict[str, Paying]
    door: Door


@pytest.fixture(scope="module")
def open_shop(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Providers]:
    home = Path(tmp_path_factory.mktemp("providers"))
    with ExitStack() as running:
        found = {}
        for kind, make, methods in (
            ("wechat", WeChatPay, ["wechat_native", "wechat_h5"]),
            ("alipay", AlipayGateway, ["alipay_qr", "alipay_page"]),
        ):
            counterpart = running.enter_context(
                make(home / f"{kind}.sqlite", retry_after=RETRY_AFTER, answer_within=60)
            )
            terms = {"kind": kind, "methods": methods, "fee_e6": 6_000, "terms": counterpart.terms}
            assert stack.console("PUT", f"/merchants/{kind}", terms).status == 200
            for _ in range(2):
                given = stack.console("POST", f"/merchants/{kind}/keys", {"keys": counterpart.keys})
                assert (given.status, given.body["key_sets"]) == (200, 1)
            assert stack.console("POST", f"/merchants/{kind}/check").body["answers"] is True
            found[kind] = Paying(kind, stack, counterpart)
        door = running.enter_context(listening(Door(running.enter_context(localstripe()))))
        terms = {
            "kind": "stripe",
            "methods": ["stripe"],
            "fee_e6": 29_000,
            "terms": {"publishable_key": "pk_test_here", "gateway": door.url},
        }
        assert stack.console("PUT", "/merchants/stripe", terms).status == 200
        keys = {"api_key": TEST_KEY, "webhook_secret": notified.WEBHOOK_SECRET}
        assert stack.console("POST", "/merchants/stripe/keys", {"keys": keys}).status == 200
        assert stack.console("POST", "/merchants/stripe/check").body["answers"] is True
        wait_for(
            lambda: {*METHODS.values(), "stripe"} <= {one["payment_method"] for one in offered(stack)},
            "the new methods to be offered everywhere",
        )
        yield Providers(found, door)


@pytest.fixture
def providers(open_shop: Providers) -> dict[str, Paying]:
    return open_shop.paying


@pytest.fixture
def door(open_shop: Providers) -> Door:
    return open_shop.door


@pytest.fixture(params=sorted(METHODS))
def paying(request: pytest.FixtureRequest, providers: dict[str, Paying]) -> Paying:
    return providers[request.param]


def offered(stack: Stack) -> list[dict[str, Any]]:
    reply = stack.call("GET", "/payment-methods")
    assert reply.status == 200, reply.body
    return list(reply.body["methods"])


def test_a_notification_pays_the_order_and_is_answered_as_the_provider_wants(stack: Stack, paying: Paying) -> None:
    buyer = stack.buyer()
    order = paying.place(buyer)
    paying.pay(order)
    stack.until(order.order_id, "delivered")

    assert len(buyer.reveal(order)) == 1
    assert paying.entries(order) == {"payment": 1, "delivery": 1}
    wait_for(lambda: letters(paying, order)[-1]["state"] == "acknowledged", "the notification to be acknowledged")


def test_a_lost_notification_is_made_good_by_asking_within_two_minutes(stack: Stack, paying: Paying) -> None:
    buyer = stack.buyer()
    order = paying.place(buyer)
    paying.pay(order, "silent")
    assert buyer.status(order) == "placed"

    stack.deadlines(2)
    stack.until(order.order_id, "delivered")
    assert paying.entries(order) == {"payment": 1, "delivery": 1}


def test_an_order_that_expires_while_it_is_paid_ends_with_the_card_or_the_money(stack: Stack, paying: Paying) -> None:
    buyer = stack.buyer()
    order = paying.place(buyer)
    with ThreadPoolExecutor(2) as pool:
        paid = pool.submit(paying.pay, order)
        pool.submit(stack.deadlines, 16).result()
        paid.result()
    stack.deadlines(17)

    assert stack.until(order.order_id, "delivered", "refunded") in {"delivered", "refunded"}
    kinds = paying.entries(order)
    assert kinds in (
        {"payment": 1, "delivery": 1},
        {"late_money": 1, "refund_sent": 1},
    )


def test_an_order_that_ends_is_closed_at_the_provider_too(stack: Stack, providers: dict[str, Paying]) -> None:
    paying = providers["wechat"]  # at Alipay a code that nobody has scanned cannot be closed: it ends by its own time
    buyer = stack.buyer()
    order = paying.place(buyer)
    assert buyer.cancel(order).body["status"] == "cancelled"
    stack.deadlines(1)

    with pytest.raises(urllib.error.HTTPError) as refused:
        paying.pay(order)
    assert refused.value.code == 400


def test_an_order_paid_by_two_methods_is_delivered_once_and_one_payment_goes_back(
    stack: Stack, providers: dict[str, Paying]
) -> None:
    wechat, alipay = providers["wechat"], providers["alipay"]
    buyer = stack.buyer()
    order = wechat.place(buyer)
    change = buyer.call(
        "POST", f"/orders/{order.order_id}/payments", {"payment_method": METHODS["alipay"]}, order.token
    )
    assert change.status == 201, change.body
    other = Order(order.order_id, order.token, change.body["qr_url"], change.body["payment_id"], order.total)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(wechat.pay, order), pool.submit(alipay.pay, other)]:
            done.result()
    stack.until(order.order_id, "delivered")
    wait_for(
        lambda: wechat.entries(order) == {"payment": 1, "delivery": 1, "paid_twice": 1, "refund_sent": 1},
        "the second payment to go back",
    )
    assert len(buyer.reveal(order)) == 1


def test_money_for_an_order_of_nobodys_lies_in_suspense_until_a_person_gives_it_back(
    stack: Stack, providers: dict[str, Paying]
) -> None:
    paying = providers["wechat"]
    buyer = stack.buyer()
    order = paying.place(buyer)
    before = open_tasks(stack, "unknown_money")
    paying.pay(order, "other_order")

    wait_for(lambda: open_tasks(stack, "unknown_money") > before, "a task for the unknown money")
    (task,) = open_tasks(stack, "unknown_money") - before
    stack.deadlines(2)  # asked, WeChat says that it was for this order: the same money is not taken in twice
    assert buyer.status(order) == "placed"
    provider, number = task.split("#")[1:]
    for _ in range(2):
        said = stack.console("POST", f"/money/{provider}/{number}/refund", {"note": "nobody's"}, role="finance")
        assert said.status in (200, 201), said.body
    assert open_tasks(stack, "unknown_money") == before
    assert buyer.cancel(order).status == 200


def test_a_full_refund_goes_back_through_the_provider(stack: Stack, paying: Paying) -> None:
    buyer = stack.buyer()
    order = paying.place(buyer)
    paying.pay(order)
    stack.until(order.order_id, "delivered")
    for _ in range(2):
        assert stack.console("POST", f"/orders/{order.order_id}/refunds", {}, role="operator").status == 201

    refunded(stack, order, lambda: stack.until(order.order_id, "refunded", seconds=5))
    assert paying.entries(order) == {"payment": 1, "delivery": 1, "refund_requested": 1, "refund_sent": 1}


def test_a_provider_that_goes_silent_is_taken_out_of_the_choices_and_put_back_by_itself(
    stack: Stack, providers: dict[str, Paying]
) -> None:
    paying = providers["alipay"]
    buyer = stack.buyer()
    stack.stock(SKUS["alipay"], 1)
    reply = buyer.try_to_place(SKUS["alipay"], payment_method="sandbox")
    order = order_in(reply)
    paying.misbehave("precreate", "silent_before", 5)
    for _ in range(5):
        asked = buyer.call(
            "POST", f"/orders/{order.order_id}/payments", {"payment_method": METHODS["alipay"]}, order.token
        )
        assert (asked.status, asked.code) == (503, "provider_silent"), asked.body

    wait_for(
        lambda: METHODS["alipay"] not in {one["payment_method"] for one in offered(stack)},
        "Alipay to be taken out of the choices",
    )
    shown = {one["merchant"]: one for one in stack.console("GET", "/merchants").body["merchants"]}
    assert shown["alipay"]["health"]["state"] == "out"
    assert shown["wechat"]["health"]["state"] == "answering"
    wait_for(
        lambda: METHODS["alipay"] in {one["payment_method"] for one in offered(stack)},
        "Alipay to be offered again",
        seconds=120,
    )
    again = buyer.call("POST", f"/orders/{order.order_id}/payments", {"payment_method": METHODS["alipay"]}, order.token)
    assert again.status == 201, again.body
    shown = {one["merchant"]: one for one in stack.console("GET", "/merchants").body["merchants"]}
    assert shown["alipay"]["health"]["state"] == "answering"
    buyer.cancel(order)


@pytest.mark.parametrize("told", ["notified", "never told"])
def test_a_card_payment_through_stripe_delivers_and_its_refund_goes_back(stack: Stack, door: Door, told: str) -> None:
    stack.stock("V006", 1)
    buyer = stack.buyer()
    reply = buyer.try_to_place("V006", payment_method="stripe")
    assert reply.status == 201, reply.body
    order, means = order_in(reply), reply.body["payment"]["client_params"]
    assert means["publishable_key"] == "pk_test_here"
    reference = means["client_secret"].partition("_secret")[0]
    door.pay(reference)
    if told == "notified":
        now = datetime.now(UTC)
        headers, raw = notified.stripe(notified.Told(order.payment_id, reference.removeprefix("pi_"), order.total, now))
        heard = stack.http.call("POST", f"{stack.api}/webhooks/payments/stripe", raw, headers)
        assert heard.status == 200, heard.body
    else:
        stack.deadlines(2)
    stack.until(order.order_id, "delivered")
    assert len(buyer.reveal(order)) == 1

    assert stack.console("POST", f"/orders/{order.order_id}/refunds", {}, role="operator").status == 201
    refunded(stack, order, lambda: stack.until(order.order_id, "refunded", seconds=5))
    assert len([sent for sent in door.sent("/v1/refunds") if sent.fields["payment_intent"] == reference]) == 1


def test_a_part_asked_back_twice_under_one_key_goes_back_once_and_the_order_stays_delivered(
    stack: Stack, paying: Paying
) -> None:
    buyer = stack.buyer()
    order = paying.place(buyer)
    paying.pay(order)
    stack.until(order.order_id, "delivered")
    asked = [
        stack.console(
            "POST", f"/orders/{order.order_id}/refunds", {"amount_minor": 500}, role="operator", Idempotency_Key="part"
        )
        for _ in range(2)
    ]
    assert [one.status for one in asked] == [201, 201], [one.body for one in asked]
    (refund_id,) = {one.body["refund_id"] for one in asked}

    refunded(stack, order, lambda: wait_for(lambda: sent_back(stack, order) == {refund_id: 500}, "the part", 5))
    assert buyer.status(order) == "delivered"
    assert paying.entries(order) == {"payment": 1, "delivery": 1, "refund_requested": 1, "refund_sent": 1}


@pytest.fixture(scope="module")
def paid_that_day(stack: Stack, open_shop: Providers) -> date:
    """A day that is over, on which somebody paid through each provider, before anybody asks for its bills."""
    noon = datetime.combine(clock.shanghai_day(datetime.now(UTC)) - timedelta(days=2), time(12), clock.SHANGHAI)
    for paying in open_shop.paying.values():
        order = paying.place(stack.buyer())
        paying.pay(order, paid_at=noon.isoformat())
        stack.until(order.order_id, "delivered")
    return noon.date()


def test_the_bill_of_a_day_says_what_the_books_say(stack: Stack, paying: Paying, paid_that_day: date) -> None:
    day = paid_that_day.isoformat()
    # The hourly run may have come before anybody had paid on that day, and found nothing.
    kept = {"day": {"S": day}, "merchant": {"S": paying.kind}}
    stack.client("dynamodb").delete_item(TableName=f"kaquan-{stack.stage}-bills", Key=kept)

    def fetched() -> dict[str, Any]:
        assert stack.invoke("bills", {"time": datetime.now(UTC).isoformat()}) is None
        shown = {
            one["merchant"]: one for one in stack.console("GET", f"/bills?day={day}", role="finance").body["bills"]
        }
        return dict(shown[paying.kind])

    bill = fetched()
    assert (bill["state"], bill["read_at"]) == ("fetched", None), bill
    entries = [
        SimpleNamespace(
            entry_id=item["entry_id"],
            occurred_at=item.get("occurred_at"),
            reverses=item.get("reverses"),
            legs=ledger.Legs().deserialize(item["legs"]),
        )
        for item in stack.table("ledger")
        if "legs" in item
    ]
    ours = billed.booked(paying.kind, entries, paid_that_day)  # type: ignore[arg-type]  # as much of an entry as it reads
    assert [(one["kind"], one["lines"], one["gross"]["amount_minor"]) for one in bill["sums"]] == [
        (one.kind, one.lines, one.gross_minor) for one in ours
    ]
    for theirs, our in zip(bill["sums"], ours, strict=True):
        assert abs(theirs["fee_e6"] - our.fee_e6) <= our.lines * 5_000  # we book whole cents: half a cent for each

    # A bill that could not be read when it came is read from what was kept, as soon as it can be.
    stack.client("dynamodb").update_item(
        TableName=f"kaquan-{stack.stage}-bills",
        Key=kept,
        UpdateExpression="SET #state = :unreadable, unread = :unread REMOVE #lines, sums",
        ExpressionAttributeNames={"#state": "state", "#lines": "lines"},
        ExpressionAttributeValues={":unreadable": {"S": "unreadable"}, ":unread": {"S": "unread#bill"}},
    )
    again = fetched()
    assert again["read_at"]
    assert (again["state"], again["sums"], again["sha256"]) == ("fetched", bill["sums"], bill["sha256"])
    link = stack.console("GET", f"/bills/{paying.kind}/{day}", role="auditor").body["file_url"]
    content = stack.http.call("GET", link).body
    assert (
        hashlib.sha256(content if isinstance(content, bytes) else json.dumps(content).encode()).hexdigest()
        == (bill["sha256"])
    )


@pytest.mark.parametrize("case", ["open", "cancelled", "at another provider"])
def test_two_people_confirm_a_payment_that_nobody_told_us_of(
    stack: Stack, providers: dict[str, Paying], case: str
) -> None:
    buyer = stack.buyer()
    if case == "at another provider":
        order, provider = providers["wechat"].place(buyer), "wechat"
        number = providers["wechat"].pay(order, "silent")["transaction_id"]
    else:
        stack.stock("V006", 2)
        order, provider = buyer.place("V006"), "sandbox"
        (number,) = buyer.pay(order, "silent")["charges"]
    if case == "cancelled":
        assert buyer.cancel(order).status == 200
    said = {
        "provider": provider,
        "provider_no": number,
        "amount_minor": order.total,
        "currency": "CNY",
        "paid_at": datetime.now(UTC).isoformat(),
        "note": "seen on the merchant's page",
    }
    path = f"/orders/{order.order_id}/payments/confirmations"
    asked = [stack.console("POST", path, said, role="operator", Idempotency_Key=f"seen-{number}") for _ in range(2)]
    assert [one.status for one in asked] == [201, 201], [one.body for one in asked]
    (confirmation,) = {one.body["confirmation_id"] for one in asked}
    listed = stack.console("GET", "/confirmations", role="auditor").body["confirmations"]
    assert confirmation in {one["confirmation_id"] for one in listed}
    assert stack.console("GET", f"/confirmations/{confirmation}", role="auditor").body["state"] == "created"

    approved = stack.console("POST", f"/confirmations/{confirmation}/approve", role="finance")
    assert approved.status == 200, approved.body
    stack.until(order.order_id, "delivered")
    stack.deadlines(2)  # asked, the provider tells of the same money
    assert stack.entries(order.order_id)["payment"] == 1


def sent_back(stack: Stack, order: Order) -> dict[str, int]:
    return {
        item["id"]: int(item["amount_minor"])
        for item in stack.table("payments")
        if item["id"].startswith("ref_") and item["order_id"] == order.order_id and item["state"] == "succeeded"
    }


def open_tasks(stack: Stack, kind: str) -> set[str]:
    reply = stack.console("GET", "/tasks")
    assert reply.status == 200, reply.body
    return {task["about"] for task in reply.body["tasks"] if task["kind"] == kind}


def letters(paying: Paying, order: Order) -> list[dict[str, Any]]:
    return type(paying.counterpart).told(paying.counterpart.url, order.payment_id)


def refunded(stack: Stack, order: Order, ended: Callable[[], object]) -> None:
    """A provider may take its time: minutes pass until the refund has ended."""
    for minute in range(0, 12, 2):
        try:
            ended()
        except AssertionError:
            stack.deadlines(minute)
        else:
            return
    ended()
