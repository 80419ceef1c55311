"""What the outbox forwards, and that one bad record never stops the others."""

from __future__ import annotations

import json
import os
from typing import Any

import boto3
import pytest

from shared.orders.status import Status
from tests.conftest import QUEUES
from tests.shop import CONTEXT, handler

pytestmark = pytest.mark.usefixtures("cloud")


def forward(records: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    """What lies in the queues after the relay has seen these records."""
    handler("relay")({"Records": records}, CONTEXT)
    sqs, found = boto3.client("sqs"), []
    for queue in QUEUES:
        url = os.environ[queue.upper().replace("-", "_") + "_QUEUE"]
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            found += [(queue, json.loads(message["Body"])) for message in messages]
    return found


def change(old: str | None, new: str, part: str = "head") -> dict[str, Any]:
    def image(status: str) -> dict[str, Any]:
        return {
            "order_id": {"S": "ord_1"},
            "part": {"S": part},
            "status": {"S": status},
            "lines": {"S": '{"1":"waiting"}'},
        }

    record = {"Keys": {"order_id": {"S": "ord_1"}}, "NewImage": image(new)}
    if old:
        record["OldImage"] = image(old)
    return {"eventID": "1", "eventName": "MODIFY" if old else "INSERT", "dynamodb": record}


@pytest.mark.parametrize("status", Status)
def test_a_changed_status_goes_to_the_queue_of_its_next_step_and_nowhere_else(status: Status) -> None:
    sent = forward([change("other", status)])
    queue = {"paid": "risk-checks", "cleared": "card-dispatch", "refused": "after-sales"}.get(status)
    assert sent == ([(queue, {"order_id": "ord_1"})] if queue else [])


def test_what_did_not_change_its_status_is_not_forwarded() -> None:
    assert forward([change("paid", "paid"), change(None, "placed"), change(None, "paid", part="line#1")]) == []
    assert forward([{"eventID": "2", "eventName": "REMOVE", "dynamodb": {}}]) == []


def test_a_line_that_must_be_bought_is_sent_on_once() -> None:
    bought = change("cleared", "cleared")
    bought["dynamodb"]["NewImage"]["lines"] = {"S": '{"1":"buying","2":"buying"}'}
    again = change("cleared", "cleared")
    for image in ("NewImage", "OldImage"):
        again["dynamodb"][image]["lines"] = bought["dynamodb"]["NewImage"]["lines"]

    assert forward([bought, again]) == [("purchasing", {"order_id": "ord_1", "line": number}) for number in "12"]


def test_what_a_supplier_spoke_of_is_asked_after_once_and_what_a_person_did_is_not() -> None:
    image = {"order_id": {"S": "ord_1"}, "part": {"S": "02#03"}, "hinted": {"S": "yes"}, "hinted_at": {"S": "1"}}
    gone_on = {**image, "hinted_at": {"S": "2"}, "hinted_why": {"S": "go_on"}}
    records = [
        {"eventID": "1", "eventName": "MODIFY", "dynamodb": {"NewImage": new, "OldImage": old}}
        for new, old in ((image, {}), (image, image), (gone_on, image))
    ]

    assert forward(records) == [
        ("purchasing", {"order_id": "ord_1", "line": "2", "hint": "3"}),
        ("purchasing", {"order_id": "ord_1", "line": "2"}),
    ]


def test_a_new_refund_is_sent_on_once() -> None:
    refund = {"id": {"S": "ref_1"}, "state": {"S": "requested"}}
    moved = {"NewImage": {**refund, "state": {"S": "succeeded"}}, "OldImage": refund}
    sent = forward(
        [
            {"eventID": "1", "eventName": "INSERT", "dynamodb": {"NewImage": refund}},
            {"eventID": "2", "eventName": "MODIFY", "dynamodb": moved},
        ]
    )
    assert sent == [("after-sales", {"refund_id": "ref_1"})]


def test_a_record_that_cannot_be_read_goes_aside_and_the_others_go_on() -> None:
    broken: list[dict[str, Any]] = [
        change("placed", "no-such-status"),
        {"eventID": "7", "eventName": "MODIFY", "dynamodb": {"Keys": {"id": {"S": "x"}}}},
        {"eventID": "8"},
    ]
    sent = forward([*broken, change("placed", "paid")])
    assert [queue for queue, _ in sent] == ["risk-checks"] + ["relay-failures"] * 3
    assert ("relay-failures", {"event_id": "1", "keys": "order_id=ord_1"}) in sent
