"""Bad weather: poisoned messages, streams that lose and double, tables that conflict, throttle and answer stale."""

from __future__ import annotations

import json

import pytest

from tests.journeys.stack import SCALE, WORKERS, Buyer, Order, Stack, at_once, order_in, persistently, wait_for

POISON = {
    "nothing known": json.dumps({"order_id": "ord_00000000000000000000000000", "job_id": "job_none"}),
    "no JSON": "{",
}


def test_a_poisoned_message_ends_in_its_dead_letter_queue_and_the_others_go_on(stack: Stack) -> None:
    stack.stock("L039", 6)
    buyers = [stack.buyer() for _ in range(6)]
    before = {queue: stack.waiting(f"{queue}-dead") for queue in WORKERS}
    with stack.impatient(4):  # seconds: what is worked at on a busy machine must not come again meanwhile
        for queue in WORKERS:
            stack.send(queue, *POISON.values())
        orders = at_once(lambda buyer: buyer.place("L039"), buyers, 6)
        for buyer, order in zip(buyers, orders, strict=True):
            buyer.pay(order)
        assert set(stack.all_settled([order.order_id for order in orders], 120).values()) == {"delivered"}

        for queue in WORKERS:
            wait_for(
                lambda queue=queue: stack.waiting(f"{queue}-dead") - before[queue] == len(POISON),
                f"the poison in {queue}-dead",
            )
            assert set(POISON.values()) <= set(stack.messages(f"{queue}-dead"))


def test_a_stream_record_that_cannot_be_read_is_set_aside_and_the_others_go_on(stack: Stack) -> None:
    stack.stock("L039", 1)
    unknown = {
        "orders": {"order_id": {"S": "ord_unreadable"}, "part": {"S": "head"}, "status": {"S": "no such status"}},
        "cards": {"card_id": {"S": "crd_unreadable"}, "sku": {"S": "L039"}, "state": {"S": "no such state"}},
    }
    dynamodb = stack.client("dynamodb")
    for table, item in unknown.items():
        dynamodb.put_item(TableName=f"kaquan-{stack.stage}-{table}", Item=item)
    try:
        stack.buyer().buy("L039")
        wait_for(lambda: stack.waiting("relay-failures") >= 2, "the records to be set aside")
        aside = "".join(stack.messages("relay-failures"))
        assert "ord_unreadable" in aside
        assert "crd_unreadable" in aside
    finally:
        for table, item in unknown.items():
            key = {name: value for name, value in item.items() if name in {"order_id", "part", "card_id"}}
            dynamodb.delete_item(TableName=f"kaquan-{stack.stage}-{table}", Key=key)


@pytest.mark.parametrize("seed", range(SCALE))
def test_streams_may_lose_one_record_in_twenty_and_double_another(stack: Stack, seed: int) -> None:
    stack.stock("L041", 60)
    buyers = [stack.buyer() for _ in range(60)]
    with stack.weather.lossy_streams(drop=0.05, double=0.05, seed=seed) as lossy:
        orders = at_once(lambda buyer: buyer.place("L041"), buyers, 8)
        at_once(lambda pair: pair[0].pay(pair[1]), zip(buyers, orders, strict=True), 8)
        stack.all_delivered_in_time(orders)
    assert len(lossy.records) >= 180, "placed, paid and cleared are three records of each order"
    assert {0, 1, 2} == set(lossy.records)


def test_a_cleared_order_whose_record_is_lost_is_dispatched_by_the_deadline(stack: Stack) -> None:
    stack.stock("L041", 1)
    buyer = stack.buyer()
    with stack.weather.lossy_streams(drop=1, double=0, seed=1) as lossy:
        order = buyer.place("L041")
        buyer.pay(order)
        stack.until(order.order_id, "paid")
        wait_for(lambda: len(lossy.records) >= 2, "the records of placing and paying to be lost")
        stack.deadlines(3)
        stack.until(order.order_id, "cleared")
        wait_for(lambda: len(lossy.records) >= 3, "the record of the decision to be lost")
    stack.deadlines(6)
    stack.until(order.order_id, "delivered")
    assert len(buyer.reveal(order)) == 1


def test_conflicts_throttling_stale_indexes_and_half_done_batches_change_no_result(stack: Stack) -> None:
    count = 30 * SCALE
    stack.wholesale("L042")  # half of what is left would be more than the share of one contact
    codes = set(stack.stock("L042", 2 * count))
    buyers = [stack.buyer() for _ in range(count)]

    def buy(buyer: Buyer) -> Order:
        reference = buyer.contact["phone"].rjust(40, "0")
        order = order_in(persistently(lambda: buyer.try_to_place("L042", 2, client_ref=reference)))
        buyer.pay(order)
        return order

    with stack.impatient(3), stack.weather.storm(conflict=0.05, throttle=0.03, stale=0.3, unprocessed=0.3):
        orders = at_once(buy, buyers, 8)
        stack.all_delivered_in_time(orders)
        shown = at_once(lambda pair: pair[0].reveal(pair[1]), zip(buyers, orders, strict=True), 8)
    assert sorted(code for pair in shown for code in pair) == sorted(codes)


def test_a_delivery_that_meets_somebody_at_every_write_waits_for_its_turn(stack: Stack) -> None:
    stack.stock("L041", 1)
    buyer = stack.buyer()
    order = buyer.place("L041")
    looks = "kaquan-local-card-dispatch", "dynamodb:GetItem", "kaquan-local-orders"
    before = stack.weather.times(*looks)
    with stack.impatient(), stack.weather.storm("card-dispatch", conflict=1):
        buyer.pay(order)
        wait_for(lambda: stack.weather.times(*looks) > before, "the delivery to look who was there first")
        assert stack.status(order.order_id) == "cleared"
    stack.until(order.order_id, "delivered")
    assert len(buyer.reveal(order)) == 1


def test_an_order_that_nothing_moves_becomes_a_task_and_goes_on_when_the_step_does(stack: Stack) -> None:
    stack.stock("L040", 1)
    buyer = stack.buyer()
    order = buyer.place("L040")
    with stack.paused("risk-checks"):
        buyer.pay(order)
        stack.until(order.order_id, "paid")
        for times in range(7):
            stack.deadlines(200 * (times + 1))
        tasks = stack.console("GET", "/tasks", role="auditor").body["tasks"]
        (task,) = [task for task in tasks if task["order_id"] == order.order_id]
        assert task["kind"] == "order_stuck"
    stack.until(order.order_id, "delivered")
    assert stack.entries(order.order_id) == {"payment": 1, "delivery": 1}
