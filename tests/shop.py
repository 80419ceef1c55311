"""A whole shop in one process: real doors, moto's tables, streams and queues, and the sandbox provider over HTTP."""

from __future__ import annotations

import importlib
import json
import queue
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self
from urllib.parse import parse_qs

from chalice.app import Chalice

from infra.local.sandbox import SandboxProvider
from shared.kernel import aws, clock, settings
from tests import imported

CONTEXT = SimpleNamespace(
    function_name="test", memory_limit_in_mb=128, invoked_function_arn="arn:aws:lambda:::function:test",
    aws_request_id="test", get_remaining_time_in_millis=lambda: 30_000,
)  # fmt: skip
BASE = "https://shop.example/api"
ROOT = Path(__file__).parents[1]
STREAMS = {"orders": "relay", "payments": "relay", "purchases": "relay", "jobs": "relay", "cards": "insights"}


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any


@dataclass
class Placed:
    order_id: str
    token: str
    url: str
    payment_id: str


@cache
def http_doors() -> dict[str, list[str]]:
    """The paths of every HTTP door, by the name of its folder."""
    found = {}
    for folder in sorted(path.parent.name for path in ROOT.glob("functions/*/app.py")):
        app = getattr(importlib.import_module(f"functions.{folder}.app"), "app", None)
        if isinstance(app, Chalice):
            found[folder] = list(app.routes)
    return found


@cache
def workers() -> list[str]:
    """The doors behind a queue of the same name."""
    queues = ("risk_checks", "card_dispatch", "purchasing", "after_sales", "bulk_jobs", "vault_keeping")
    return [name for name in queues if (ROOT / "functions" / name).exists()]


def handler(door: str) -> Any:
    return importlib.import_module(f"functions.{door}.app").handler


def match(template: str, path: str) -> dict[str, str] | None:
    wanted, given = template.split("/"), path.split("/")
    if len(wanted) != len(given):
        return None
    parameters = {}
    for want, have in zip(wanted, given, strict=True):
        if want.startswith("{"):
            parameters[want[1:-1]] = have
        elif want != have:
            return None
    return parameters


def event(
    method: str, path: str, template: str, body: Any, headers: dict[str, str], groups: str = "", operator: str = "ann"
) -> dict[str, Any]:
    text = body if isinstance(body, str) or body is None else json.dumps(body)
    path, _, query = path.partition("?")
    return {
        "resource": template,
        "path": path,
        "httpMethod": method,
        "headers": {"Content-Type": "application/json", **headers},
        "multiValueHeaders": {},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": parse_qs(query, keep_blank_values=True) or None,
        "pathParameters": match(template, path) or None,
        "stageVariables": None,
        "body": text,
        "isBase64Encoded": False,
        "requestContext": {
            "resourcePath": template,
            "httpMethod": method,
            "requestId": "req-1",
            "domainName": "shop.example",
            "stage": "api",
            "identity": {"sourceIp": "198.51.100.7"},
            "authorizer": {"principalId": operator, "groups": groups} if groups else None,
        },
    }


class Inbox:
    """Where the provider's notifications arrive: they are kept, so that a test decides when they are handed in."""

    def __init__(self) -> None:
        self.notifications: queue.Queue[tuple[dict[str, str], bytes]] = queue.Queue()
        self.callbacks: queue.Queue[tuple[str, dict[str, str], bytes]] = queue.Queue()  # of suppliers, with their paths
        inbox = self

        class Receiver(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                inbox.take(self.path, dict(self.headers), raw)
                self.send_response(200)
                self.send_header("Content-Length", "7")
                self.end_headers()
                self.wfile.write(b"success")

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def take(self, path: str, headers: dict[str, str], raw: bytes) -> None:
        if path.startswith("/webhooks/suppliers/"):
            self.callbacks.put((path, headers, raw))
        else:
            self.notifications.put((headers, raw))

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Shop:
    provider: SandboxProvider
    inbox: Inbox
    seen: dict[str, str] = field(default_factory=dict)
    invoke: Callable[[Callable[[], Any]], Any] = field(default=lambda step: step())  # tests let steps die here
    last: tuple[dict[str, str], bytes] = ({}, b"")
    done: set[str] = field(default_factory=set)  # jobs that were played without their queue

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        token: str = "",
        groups: str = "",
        operator: str = "ann",
        **headers: str,
    ) -> Answer:
        plain = path.partition("?")[0]
        door, template = min(
            (
                (door, template)
                for door, templates in http_doors().items()
                for template in templates
                if match(template, plain) is not None
            ),
            key=lambda found: found[1].count("{"),
        )
        named = dict(headers)
        if token:
            named["Authorization"] = f"Bearer {token}"
        reply = handler(door)(event(method, path, template, body, named, groups, operator), CONTEXT)
        text = reply["body"]
        is_json = "json" in reply["headers"].get("Content-Type", "")
        return Answer(reply["statusCode"], json.loads(text) if is_json else text)

    def stock(self, sku: str = "G020", codes: list[str] | None = None, file_name: str = "cards.txt") -> Answer:
        text = "\n".join(codes if codes is not None else [f"TEST-{uuid.uuid4().hex[:12].upper()}"])
        seen = imported.take_in(text.encode(), file_name, clock.now(), sku, supplier="acme")
        self.done.add(seen.job_id)
        return Answer(200 if seen.state == "done" else 409, imported.report(seen))

    def place(self, sku: str = "G020", quantity: int = 1, phone: str = "13800138000", **more: Any) -> Answer:
        wanted = {
            "lines": [{"sku": sku, "quantity": quantity}],
            "contact": {"phone": phone},
            "payment_method": "sandbox",
            "client_ref": uuid.uuid4().hex,
            **more,
        }
        return self.call("POST", "/orders", wanted)

    def placed(self, sku: str = "G020", quantity: int = 1, **more: Any) -> Placed:
        answer = self.place(sku, quantity, **more)
        assert answer.status == 201, answer.body
        body = answer.body
        return Placed(
            body["order_id"], body["access_token"], body["payment"]["redirect_url"], body["payment"]["payment_id"]
        )

    def pay(self, order: Placed, outcome: str = "paid", notifications: int = 1, **more: int) -> list[Answer]:
        """Press a button of the pay page and hand in the notifications it causes."""
        self.provider.pay(order.url, outcome, **more)
        return [self.hand_in() for _ in range(notifications)]

    def hand_in(self, again: tuple[dict[str, str], bytes] | None = None) -> Answer:
        headers, raw = again or self.inbox.notifications.get(timeout=10)
        self.last = (headers, raw)
        return self.call("POST", "/webhooks/payments/sandbox", raw.decode(), **headers)

    def called_back(self) -> Answer:
        """Hand in the next callback of a supplier."""
        path, headers, raw = self.inbox.callbacks.get(timeout=10)
        return self.call("POST", path, raw.decode(), **headers)

    def status(self, order: Placed) -> str:
        return str(self.call("GET", f"/orders/{order.order_id}", token=order.token).body["status"])

    def reveal(self, order: Placed) -> Answer:
        return self.call("POST", f"/orders/{order.order_id}/reveal", token=order.token)

    def pump(self) -> int:
        """Play streams into the relay and queues into their workers until all is quiet; returns messages worked."""
        worked = 0
        while True:
            self._streams()
            messages = list(self._messages())
            done: dict[str, list[str]] = {}
            try:
                for worker, url, message in messages:
                    record = {
                        "messageId": message["MessageId"],
                        "body": message["Body"],
                        "eventSource": "aws:sqs",
                        "eventSourceARN": "arn",
                        "attributes": {},
                        "messageAttributes": {},
                        "md5OfBody": "",
                        "awsRegion": "x",
                        "receiptHandle": "x",
                    }
                    self.invoke(lambda: handler(worker)({"Records": [record]}, CONTEXT))  # noqa: B023  # called at once
                    done.setdefault(url, []).append(message["ReceiptHandle"])
            finally:
                for url, receipts in done.items():
                    named = [{"Id": str(n), "ReceiptHandle": receipt} for n, receipt in enumerate(receipts)]
                    aws.client("sqs").delete_message_batch(QueueUrl=url, Entries=named)
            worked += len(messages)
            if not messages:
                return worked

    def drop_streams(self) -> None:
        """Forget what the streams hold: lost records."""
        for _ in self._changes():
            pass

    def drop_messages(self) -> None:
        for _, url, message in self._messages():
            aws.client("sqs").delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    def deadlines(self, now: datetime) -> None:
        handler("deadlines")({"time": now.astimezone(UTC).isoformat()}, CONTEXT)

    def _streams(self) -> None:
        by_reader: dict[str, list[dict[str, Any]]] = {}
        for table, record in self._changes():
            by_reader.setdefault(STREAMS[table], []).append(record)
        for reader, records in by_reader.items():
            if (ROOT / "functions" / reader).exists():
                self.invoke(lambda: handler(reader)({"Records": records}, CONTEXT))  # noqa: B023  # called at once

    def _changes(self) -> Iterator[tuple[str, dict[str, Any]]]:
        streams = aws.client("dynamodbstreams")
        for name, arn, shard in self._shards:
            # Not by the iterator of the last answer: moto's is lost with the first transaction that fails.
            last = self.seen.get(arn)
            start = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": last} if last else {}
            iterator = streams.get_shard_iterator(
                StreamArn=arn, ShardId=shard, **{"ShardIteratorType": "TRIM_HORIZON", **start}
            )["ShardIterator"]
            for record in streams.get_records(ShardIterator=iterator)["Records"]:
                self.seen[arn] = record["dynamodb"]["SequenceNumber"]
                record["dynamodb"].pop("ApproximateCreationDateTime", None)
                yield name, record

    @cached_property
    def _shards(self) -> list[tuple[str, str, str]]:
        """(table, stream, shard): a stream of a local cloud has one shard, for good."""
        streams, dynamodb, found = aws.client("dynamodbstreams"), aws.client("dynamodb"), []
        for name in STREAMS:
            arn = dynamodb.describe_table(TableName=settings.table(name))["Table"]["LatestStreamArn"]
            [shard] = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
            found.append((name, arn, shard["ShardId"]))
        return found

    def _messages(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        sqs = aws.client("sqs")
        for worker in workers():
            url = settings.get(worker.upper() + "_QUEUE")
            for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
                if json.loads(message["Body"]).get("job_id") in self.done:
                    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                else:
                    yield worker, url, message
