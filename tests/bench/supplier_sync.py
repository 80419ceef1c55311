"""What it takes to keep a supplier's list of 10,000 products: the first time, with nothing new, and with 1 % new."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import botocore.handlers

from tests.bench import world
from tests.bench.meter import READ_UNIT, size
from tests.bench.report import Facts, Part, Row

# isort: split
# Only now: the world names the tables, and records take their names when they are imported.

from shared.kernel import clock
from shared.steps import supplier_sync
from shared.suppliers import supplier_keys
from shared.suppliers.accounts import Head
from shared.suppliers.admission import Standing
from shared.suppliers.kinds import KINDS
from shared.suppliers.supplier import Delivers, Product

PRODUCTS = 10_000
SOME = PRODUCTS // 100  # whose price changes
CODE, BARE = "acme", "bare"
TABLE = "kaquan-test-offers"


@dataclass
class Asked:
    """What was asked of AWS. calls: by service and operation."""

    calls: Counter[str] = field(default_factory=Counter)
    writes: float = 0
    reads: float = 0
    seconds: float = 0

    @property
    def text(self) -> str:
        calls = ", ".join(f"{count:,} {name}" for name, count in sorted(self.calls.items()))
        return f"{calls}; {self.writes:,.0f} write and {self.reads:,.0f} read units; {self.seconds:.1f} s"


def measure(given: Facts) -> Part:
    """given: products, for a look at fewer."""
    count = int(given.get("products", PRODUCTS))
    some = max(1, count * SOME // PRODUCTS)
    botocore.handlers.BUILTIN_HANDLERS += [("before-parameter-build", _asked), ("after-call", _answered)]
    rows: list[Row] = []
    texts: list[str] = []
    products = [
        Product(f"{number}-{number}", f"商品 {number} 月卡", Delivers.CARDS, 1_000_000 + number, stock=number)
        for number in range(1, count + 1)
    ]
    with world.cloud(), Canned(products) as wire:
        terms = {"site": wire.url, "trait.rate": "1000"}  # the pauses between his pages are no work
        Head(CODE, name="Acme", kind="dujiao", terms=terms, standing=Standing.APPROVED).save()
        supplier_keys.add(CODE, dict.fromkeys(sorted(KINDS["dujiao"].keys), "bench"))
        changed = [replace(one, cost_e6=one.cost_e6 + 1) for one in products[:some]]
        rounds: list[tuple[str, str, Sequence[Product], Callable[[Product], dict[str, Any]]]] = [
            ("first", "a first list", products, _whole),
            ("same", "nothing new", [], _price),
            ("some", f"{some:,} new prices", changed, _price),
        ]
        for name, about, written, update in rounds:
            if name == "some":
                wire.sell([*changed, *products[some:]])
            did = _metered(lambda: supplier_sync.sync(CODE, clock.now()))
            floor = _metered(partial(_bare, written, update))
            text = f"{about}; floor: a bare UpdateItem for each changed one"
            rows += [
                Row(f"supplier_sync.{name}.calls", did.calls.total(), "calls", floor.calls.total(), "", text),
                Row(f"supplier_sync.{name}.writes", did.writes, "units", floor.writes, "", text),
                Row(f"supplier_sync.{name}.reads", did.reads, "units"),
                Row(f"supplier_sync.{name}.seconds", did.seconds, "s", floor.seconds or None, "", text),
            ]
            texts.append(f"  {about}: {did.text}")
    return Part(rows, "\n".join([f"A supplier's list of {count:,} products.", *texts]))


class Canned:
    """A dujiao-next shop that knows its list by heart: the stand-in that the tests use would be most of the time."""

    def __init__(self, products: Sequence[Product]) -> None:
        self.sell(products)
        shop = self

        class Door(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._say(shop.pages[int(parse_qs(urlsplit(self.path).query)["page"][0]) - 1])

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self._say(b'{"ok":true,"balance":"9000.00","currency":"CNY"}')

            def _say(self, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def sell(self, products: Sequence[Product]) -> None:
        items = [_item(one) for one in products]
        self.pages = [
            json.dumps(
                {"ok": True, "items": items[start : start + 100], "total": len(items), "page": 1, "page_size": 100}
            ).encode()
            for start in range(0, len(items), 100)
        ]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _item(product: Product) -> dict[str, Any]:
    number = int(product.product.partition("-")[0])
    sku = {
        "id": number,
        "sku_code": f"S{number}",
        "spec_values": {},
        "price_amount": f"{product.cost_e6 // 10**6}.{product.cost_e6 % 10**6:06}",
        "stock_quantity": product.stock,
        "is_active": True,
    }
    return {
        "id": number,
        "title": {"zh-CN": product.title},
        "fulfillment_type": "auto",
        "manual_form_schema": None,
        "is_active": True,
        "skus": [sku],
    }


def _whole(product: Product) -> dict[str, Any]:
    """All that is said of a product, and its first price as the history."""
    said = {
        "title": {"S": product.title},
        "delivers": {"S": "cards"},
        "cost_e6": {"N": str(product.cost_e6)},
        "currency": {"S": "CNY"},
        "stock": {"N": str(product.stock)},
        "on_sale": {"BOOL": True},
        "least": {"N": "1"},
        "round": {"N": "1763900000000"},
        "changed_at": {"S": "2026-11-23T00:00:00.000Z"},
        "history": {"S": f'[["2026-11-23T00:00:00.000Z", {product.cost_e6}]]'},
    }
    return _setting(said)


def _price(product: Product) -> dict[str, Any]:
    return _setting({"cost_e6": {"N": str(product.cost_e6)}})


def _setting(said: dict[str, Any]) -> dict[str, Any]:
    return {
        "UpdateExpression": "SET " + ", ".join(f"#{name} = :{name}" for name in said),
        "ExpressionAttributeNames": {f"#{name}": name for name in said},
        "ExpressionAttributeValues": {f":{name}": value for name, value in said.items()},
    }


def _bare(products: Sequence[Product], update: Callable[[Product], dict[str, Any]]) -> None:
    client = world.plain("dynamodb")

    def write(product: Product) -> None:
        key = {"supplier": {"S": BARE}, "product": {"S": product.product}}
        client.update_item(TableName=TABLE, Key=key, **update(product))

    with ThreadPoolExecutor(supplier_sync.SIDE_BY_SIDE) as pool:
        list(pool.map(write, products))


def _metered(work: Callable[[], object]) -> Asked:
    with _counting(Asked()) as asked:
        began = time.perf_counter()
        work()
        asked.seconds = time.perf_counter() - began
    return asked


_running: list[Asked] = []


@contextmanager
def _counting(asked: Asked) -> Iterator[Asked]:
    _running.append(asked)
    yield asked
    _running.pop()


def _asked(params: dict[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
    if _running and model.service_model.service_name == "dynamodb":
        context["consistent"] = "ConsistentRead': True" in str(params) if "Get" in model.name else False
        params["ReturnConsumedCapacity"] = "TOTAL"


def _answered(parsed: dict[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
    if not _running:
        return
    asked = _running[-1]
    asked.calls[f"{model.service_model.service_name}.{model.name}"] += 1
    if model.service_model.service_name != "dynamodb":
        return
    if model.name in {"GetItem", "BatchGetItem", "Query"}:  # for which the local cloud states one unit, or nothing
        found = [parsed["Item"]] if "Item" in parsed else parsed.get("Items", [])
        found += [item for items in parsed.get("Responses", {}).values() for item in items]
        rate = 1 if context["consistent"] else 0.5
        asked.reads += rate * max(1, sum(-(-size(item) // READ_UNIT) for item in found))
    else:
        stated = parsed.get("ConsumedCapacity", [])
        asked.writes += sum(one["CapacityUnits"] for one in (stated if isinstance(stated, list) else [stated]))
