"""Processor time of POST /orders, over that of the bare boto3 calls it must make, measured in turns.

The requests of one order are recorded, then sent again for fresh keys by a plain boto3 client: what remains is Kaquan.
And that of the first order in a fresh process, imports included, over boto3 with the clients that it needs.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from statistics import median
from time import process_time
from typing import Any

from tests import shop as shops
from tests.bench import meter, world
from tests.bench.imports import fresh_process
from tests.bench.meter import Meter
from tests.bench.report import Facts, Part, Row
from tests.shop import CONTEXT, Shop

ORDERS = 400
ROUND = 10  # orders in a row before the other side has its turn
WARM = 20  # orders before it counts
STARTS = 7  # fresh processes on each side; the best counts, since whatever disturbs one only makes it longer

CLIENTS = "import boto3; [boto3.client(service) for service in ('dynamodb', 'secretsmanager')]"
FIRST = """
import json, types
from functions.order_intake.app import handler
assert handler(json.loads(sys.argv[1]), types.SimpleNamespace(**json.loads(sys.argv[2])))["statusCode"] == 201
"""


def measure(_: Facts) -> Part:
    meter.install()
    with world.shop() as shop:
        world.stock(2 * (ORDERS + 2 * WARM))
        ours, bare = _warm(shop)
        first, clients = _first()
    return Part(
        [
            Row("order.place.cpu", 1000 * median(ours), "ms CPU", 1000 * median(bare), "ratio ≤ 1.6",
                "floor: the same three requests by a plain boto3 client"),
            Row("order.place.first.cpu", 1000 * first, "ms CPU", 1000 * clients, "",
                "with imports, in a fresh process; floor: import boto3 and make two clients"),
        ]
    )  # fmt: skip


def _warm(shop: Shop) -> tuple[list[float], list[float]]:
    """Processor seconds of each order: by the door, and by the bare calls."""
    ours: list[float] = []
    bare: list[float] = []
    calls = _recorded(shop)
    names = {"BatchGetItem": "batch_get_item", "Query": "query", "TransactWriteItems": "transact_write_items"}
    client = world.plain("dynamodb")
    send = {call: getattr(client, name) for call, name in names.items()}
    handle = world.door("order_intake")
    cards = iter(_free_cards(ORDERS + 2 * WARM))
    for _ in range((ORDERS + WARM) // ROUND):
        events = [_event() for _ in range(ROUND)]
        ours += [_timed(lambda event=event: _placed(handle(event, CONTEXT))) for event in events]
        fresh = [_anew(calls, next(cards)) for _ in range(ROUND)]
        bare += [_timed(lambda one=one: [send[call](**asked) for call, asked in one]) for one in fresh]
    return ours[WARM:], bare[WARM:]


def _first() -> tuple[float, float]:
    """Processor seconds of a fresh process: that places one order, and that only makes clients."""
    context = json.dumps({name: value for name, value in vars(CONTEXT).items() if not callable(value)})
    taken = [(fresh_process(FIRST, json.dumps(_event()), context), fresh_process(CLIENTS)) for _ in range(STARTS)]
    return min(ours for ours, _ in taken), min(bare for _, bare in taken)


def _recorded(shop: Shop) -> list[tuple[str, dict[str, Any]]]:
    """What one order in a warm process asks of DynamoDB."""
    shop.placed(world.SKU)
    with meter.metered(Meter()) as watching:
        shop.placed(world.SKU)
    for _, asked in watching.requests:
        asked.pop("ClientRequestToken", None)  # botocore draws another one for each request
    return watching.requests


def _free_cards(count: int) -> list[str]:
    """Cards for the bare calls, taken off the shelf so that the door never meets them."""
    client = world.plain("dynamodb")
    found: list[str] = []
    table = "kaquan-test-cards"
    for page in client.get_paginator("scan").paginate(
        TableName=table, FilterExpression="#s = :s", ExpressionAttributeNames={"#s": "state"},
        ExpressionAttributeValues={":s": {"S": "available"}},
    ):  # fmt: skip
        found += [item["card_id"]["S"] for item in page["Items"]]
    for card_id in found[:count]:
        client.update_item(TableName=table, Key={"card_id": {"S": card_id}}, UpdateExpression="REMOVE shelf")
    return found[:count]


def _anew(calls: list[tuple[str, dict[str, Any]]], card_id: str) -> list[tuple[str, dict[str, Any]]]:
    """The same requests for another order and another card."""
    fresh = uuid.uuid4().hex
    written = [part for one in calls[-1][1]["TransactItems"] for part in one.values()]
    keys: dict[str, str] = {}
    for part in written:
        source = part.get("Key") or part["Item"]
        for name in ("order_id", "id", "card_id"):
            if name in source:
                old = source[name]["S"]
                keys[old] = card_id if name == "card_id" else old[: len(old) - len(fresh[:20])] + fresh[:20]
    return [(call, _replaced(asked, keys)) for call, asked in calls]


def _replaced(value: Any, keys: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _replaced(one, keys) for name, one in value.items()}
    if isinstance(value, list):
        return [_replaced(one, keys) for one in value]
    return keys.get(value, value) if isinstance(value, str) else value


def _event() -> dict[str, Any]:
    wanted = {
        "lines": [{"sku": world.SKU, "quantity": 1}],
        "contact": {"phone": "13800138000"},
        "payment_method": "sandbox",
        "client_ref": uuid.uuid4().hex,
    }
    event = shops.event("POST", "/orders", "/orders", wanted, {"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.8"})
    event["requestContext"]["identity"]["sourceIp"] = "1.2.3.4"
    return event


def _placed(answer: Mapping[str, Any]) -> None:
    assert answer["statusCode"] == 201, answer


def _timed(work: Callable[[], Any]) -> float:
    began = process_time()
    work()
    return process_time() - began
