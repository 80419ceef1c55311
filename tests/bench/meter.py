"""Counts what a piece of work asks of AWS: calls, and the capacity units of each item, table and index.

Units come from DynamoDB's answers (ReturnConsumedCapacity=INDEXES). An answer states one sum for a table: it is shared
out over the items by their sizes, and the shares must add up to what was stated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import boto3
import botocore.handlers

WRITE_UNIT, READ_UNIT = 1024, 4096  # bytes
READS = ("GetItem", "BatchGetItem", "Query")

KINDS = {
    "all": "level",
    "cards": "cards of a large order",
    "crd": "card",
    "ent": "ledger entry",
    "head": "order head",
    "line": "order line",
    "lot": "lot",
    "money": "money received",
    "pay": "payment attempt",
    "name": "supplier's number of an attempt",
    "pulse": "breaker",
    "ref": "client reference",
    "sku": "SKU",
    "slot": "supplier's slot",
    "task": "task",
    "vel": "velocity counter",
    "view": "reveal event",
}


@dataclass(frozen=True)
class Use:
    """Units that items of one table, or one index, took in one call."""

    call: str
    where: str
    what: str
    write: float = 0
    read: float = 0
    least: float = 0  # what it would take if every item were tiny


@dataclass
class Meter:
    calls: list[str] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)  # DynamoDB's, as they were asked

    @property
    def write(self) -> float:
        return sum(use.write for use in self.uses)

    @property
    def read(self) -> float:
        return sum(use.read for use in self.uses)


_running: list[Meter] = []


def install() -> None:
    """Watch every client made from now on, boto3's and PynamoDB's alike."""
    botocore.handlers.BUILTIN_HANDLERS += [("before-parameter-build", _asked), ("after-call", _answered)]


@contextmanager
def metered(meter: Meter) -> Iterator[Meter]:
    """Count into this meter until the block ends."""
    _running.append(meter)
    try:
        yield meter
    finally:
        _running.pop()


def _asked(params: dict[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
    if not _running:
        return
    context["metered"] = copied(params)
    if model.service_model.service_name == "dynamodb":
        _running[-1].requests.append((model.name, context["metered"]))
        params["ReturnConsumedCapacity"] = "INDEXES"


def _answered(parsed: dict[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
    if not _running or "metered" not in context:
        return
    service = model.service_model.service_name
    _running[-1].calls.append(f"{service}.{model.name}")
    if service == "dynamodb" and "Error" not in parsed:
        uses = _read if model.name in READS else _written
        _running[-1].uses += uses(model.name, context["metered"], parsed)


def _read(call: str, asked: Mapping[str, Any], answer: Mapping[str, Any]) -> Iterator[Use]:
    if call == "BatchGetItem":  # the one answer in which the local cloud states nothing
        for table, wanted in asked["RequestItems"].items():
            found = answer["Responses"].get(table, [])
            rate = 1 if wanted.get("ConsistentRead") else 0.5
            units = sum(_units(size(item), READ_UNIT) for item in found) + len(wanted["Keys"]) - len(found)
            yield Use(
                call,
                _short(table),
                names(found) or f"{len(wanted['Keys'])} × nothing there",
                read=rate * units,
                least=rate * len(wanted["Keys"]),
            )
        return
    table, stated = asked["TableName"], answer["ConsumedCapacity"]["CapacityUnits"]
    found = [answer["Item"]] if "Item" in answer else answer.get("Items", [])
    rate = 1 if asked.get("ConsistentRead") else 0.5
    units = rate * _units(sum(map(size, found)), READ_UNIT)
    assert units >= stated, (call, asked, stated)  # the local cloud states one unit, however much was read
    where = f"{_short(table)}/{asked['IndexName']}" if "IndexName" in asked else _short(table)
    yield Use(call, where, names(found) or "nothing there", read=units, least=rate)


def _written(call: str, asked: Mapping[str, Any], answer: Mapping[str, Any]) -> Iterator[Use]:
    stated = answer["ConsumedCapacity"]
    for capacity in stated if isinstance(stated, list) else [stated]:
        table = capacity["TableName"]
        indexes = {name: one["CapacityUnits"] for name, one in capacity.get("GlobalSecondaryIndexes", {}).items()}
        items = list(_left_behind(table, call, asked))
        times = 2 if call == "TransactWriteItems" else 1
        shares = [times * _units(size(item), WRITE_UNIT) for item in items]
        assert sum(shares) == capacity["CapacityUnits"] - sum(indexes.values()), (call, table, shares, capacity)
        for item, share in zip(items, shares, strict=True):
            yield Use(call, _short(table), names([item]), write=share, least=times)
        for name, units in indexes.items():
            yield Use(call, f"{_short(table)}/{name}", "index entry", write=units, least=units)


def _left_behind(table: str, call: str, asked: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The written items as they lie in the table now."""
    if call == "TransactWriteItems":
        actions = [action for one in asked["TransactItems"] for action in one.values()]
    elif call == "BatchWriteItem":
        actions = [{"TableName": table, **request["PutRequest"]} for request in asked["RequestItems"].get(table, [])]
    else:
        actions = [asked]
    for action in actions:
        if action["TableName"] == table:
            source = action.get("Key") or action["Item"]
            key = {name: source[name] for name in _key_names(table)}
            yield _unwatched().get_item(TableName=table, Key=key, ConsistentRead=True)["Item"]


@cache
def _key_names(table: str) -> list[str]:
    return [part["AttributeName"] for part in _unwatched().describe_table(TableName=table)["Table"]["KeySchema"]]


@cache
def _unwatched() -> Any:
    client = boto3.client("dynamodb")
    client.meta.events.unregister("before-parameter-build", _asked)
    client.meta.events.unregister("after-call", _answered)
    return client


def _short(table: str) -> str:
    return table.split("-", 2)[2]


def names(items: Sequence[Mapping[str, Any]]) -> str:
    """What kinds of items these are, and how many of each."""
    kinds = Counter(map(_kind, items))
    return ", ".join(kind if count == 1 else f"{count} × {kind}" for kind, count in kinds.items())


def _kind(item: Mapping[str, Any]) -> str:
    if "part" in item and item["part"]["S"][:2].isdecimal():
        return "attempt to buy"
    if "product" in item:
        return "offer"
    name = next(name for name in ("part", "view_id", "card_id", "entry_id", "id", "counter", "lot_id") if name in item)
    return KINDS.get(item[name]["S"].split("#")[0].split("_")[0], "other")


def _units(amount: int, unit: int) -> int:
    return max(1, -(-amount // unit))


def size(item: Mapping[str, Any]) -> int:
    """Bytes of an item as DynamoDB counts them."""
    return sum(len(name.encode()) + _size(value) for name, value in item.items())


def _size(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    if kind == "S":
        return len(content.encode())
    if kind == "B":
        return len(content)
    if kind == "N":
        return len(content.lstrip("-").replace(".", "").strip("0")) // 2 + 2
    if kind == "L":
        return 3 + sum(1 + _size(one) for one in content)
    if kind == "M":
        return 3 + sum(1 + len(name.encode()) + _size(one) for name, one in content.items())
    return 1


def copied(value: Any) -> Any:
    """A deep copy of a request."""
    if isinstance(value, dict):
        return {name: copied(one) for name, one in value.items()}
    return [copied(one) for one in value] if isinstance(value, list) else value


def counts(calls: Sequence[str]) -> dict[str, int]:
    return dict(Counter(calls))
