"""The deployed stack as buyers, operators and the clock see it, over HTTP and AWS's own interfaces."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, TypeVar

import urllib3
from boto3.dynamodb.types import TypeDeserializer

from infra.local.cloud import ROOT, LocalCloud
from infra.local.logins import logins, make_login, token
from infra.local.sandbox import SandboxProvider
from tests.journeys.weather import Weather

CATALOGUE = ROOT / "infra/local/sample/catalogue.csv"
SCALE = int(os.environ.get("SCALE", "1"))
CONNECTIONS = 32  # more only make more workers of 70 MB each
TOKEN_LIFE = 600  # seconds: below the quarter of an hour that Cognito gives
SETTLED = frozenset({"delivered", "refunded", "cancelled", "expired"})
STEPS = ("risk-checks", "card-dispatch", "after-sales")
WORKERS = (*STEPS, "bulk-jobs", "vault-keeping")

Item = dict[str, Any]
Input = TypeVar("Input")
Output = TypeVar("Output")

_plain = TypeDeserializer().deserialize


@dataclass(frozen=True)
class Reply:
    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def code(self) -> str:
        return str(self.body.get("code", "")) if isinstance(self.body, dict) else ""


class Http:
    """A client that keeps its connections, as browsers and providers do."""

    def __init__(self) -> None:
        self._pool = urllib3.PoolManager(maxsize=CONNECTIONS, block=True, retries=False, timeout=150)

    def call(self, method: str, url: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Reply:
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        reply = self._pool.request(
            method, url, body=raw, headers={"Content-Type": "application/json", **(headers or {})}, redirect=False
        )
        is_json = "json" in reply.headers.get("Content-Type", "")
        return Reply(reply.status, json.loads(reply.data) if is_json else reply.data, reply.headers)


def wait_for(ready: Callable[[], Output], what: str, seconds: float = 60) -> Output:
    """The first answer of `ready` that is true; an AssertionError that says what was waited for otherwise."""
    began = time.monotonic()
    while True:
        asked = time.monotonic()
        if found := ready():
            return found
        assert asked < began + seconds, f"waited {seconds:.0f} s in vain for {what}"
        time.sleep(max(0.05, time.monotonic() - asked))  # a question that costs much is asked less often


def at_once(work: Callable[[Input], Output], inputs: Iterable[Input], connections: int = CONNECTIONS) -> list[Output]:
    """Do all of it over that many connections at once; the first exception is raised."""
    with ThreadPoolExecutor(connections) as pool:
        return list(pool.map(work, inputs))


def in_minutes(minutes: float) -> str:
    return (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat()


def persistently(ask: Callable[[], Reply], tries: int = 20) -> Reply:
    """What a client does about answers that say that a retry helps: too many at once, busy, or a process that died."""
    for _ in range(tries):
        reply = ask()
        if reply.status < 500 and reply.status != 429:
            return reply
        time.sleep(float(reply.headers.get("Retry-After", 0)) / 4)  # who comes back too early is told so again
    return reply


@dataclass
class Canaries:
    """Everything that must be found nowhere in clear: each can be told from chance by its form."""

    codes: set[str] = field(default_factory=set)
    contacts: set[str] = field(default_factory=set)

    def code(self) -> str:
        code = f"KQ-CANARY-{secrets.token_hex(8).upper()}"
        self.codes.add(code)
        return code

    def phone(self) -> str:
        phone = f"199{secrets.randbelow(10**8):08}"
        self.contacts.add(phone)
        return phone

    def email(self) -> str:
        email = f"kq-{secrets.token_hex(8)}@canary.example"
        self.contacts.add(email)
        return email


@dataclass(eq=False)
class Stack:
    """One stage on one local cloud."""

    cloud: LocalCloud
    stage: str
    outputs: Mapping[str, str]
    weather: Weather
    provider: SandboxProvider
    secret: str = field(repr=False)  # what the provider signs with
    http: Http = field(default_factory=Http)
    canaries: Canaries = field(default_factory=Canaries)
    stocked: Counter[str] = field(default_factory=Counter)
    _tokens: dict[str, tuple[float, str]] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    # --- over HTTP ---

    @property
    def api(self) -> str:
        return self.outputs["ApiUrl"]

    def call(self, method: str, path: str, body: Any = None, bearer: str = "", **headers: str) -> Reply:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if bearer:
            named["Authorization"] = f"Bearer {bearer}"
        return self.http.call(method, self.api + path, body, named)

    def console(self, method: str, path: str, body: Any = None, role: str = "owner", **headers: str) -> Reply:
        return self.call(method, f"/console{path}", body, self.token(role), **headers)

    def second_owner(self) -> str:
        """The access token of another owner than the first."""
        with self._lock:
            got_at, text = self._tokens.get("second owner", (0.0, ""))
            if time.monotonic() - got_at > TOKEN_LIFE or not text:
                login = make_login(self.cloud, self.outputs["UserPool"], "owner", "second-owner")
                text = token(self.cloud, self.outputs["ConsoleClient"], login)
                self._tokens["second owner"] = (time.monotonic(), text)
            return text

    def token(self, role: str) -> str:
        """The access token of the operator with this role."""
        with self._lock:
            got_at, text = self._tokens.get(role, (0.0, ""))
            if time.monotonic() - got_at > TOKEN_LIFE or not text:
                login = next(one for one in logins(self.cloud, self.outputs["UserPool"]) if one.role == role)
                text = token(self.cloud, self.outputs["ConsoleClient"], login)
                self._tokens[role] = (time.monotonic(), text)
            return text

    def stock(self, sku: str, count: int) -> list[str]:
        """Import that many new cards; their codes."""
        codes = [self.canaries.code() for _ in range(count)]
        view = self.import_file("\n".join(codes).encode(), f"{sku}.txt", sku, supplier="acme")
        assert (view["state"], view["counts"]["done"]) == ("done", count), view
        self.stocked[sku] += count
        return codes

    def import_catalogue(self, content: bytes) -> Any:
        """What an import of the catalogue shows at its end."""
        return self.import_file(content, "catalogue.csv", kind="catalogue")

    def import_file(self, content: bytes, file_name: str, sku: str = "", kind: str = "cards", **options: Any) -> Any:
        """Upload, check and run; what the import shows at its end, or after a check that failed."""
        job_id = self.upload(content, file_name, sku, kind, **options)
        for verb in ("check", "run"):
            self.move_import(job_id, verb)
            view = self.until_import(job_id, "checked" if verb == "check" else "done", "failed")
            if view["state"] == "failed":
                break
        return view

    def upload(self, content: bytes, file_name: str, sku: str = "", kind: str = "cards", **options: Any) -> str:
        """Ask for an import and upload its file; its job."""
        wanted: dict[str, Any] = {"kind": kind, "file_name": file_name}
        wanted |= ({"sku": sku} if sku else {}) | ({"options": options} if options else {})
        reply = persistently(lambda: self.console("POST", "/imports", wanted, "operator"))
        assert reply.status == 201, reply.body
        put = self.http.call("PUT", reply.body["upload_url"], content, {"Content-Type": "application/octet-stream"})
        assert put.status == 200, put.body
        return str(reply.body["job_id"])

    def move_import(self, job_id: str, verb: str) -> Any:
        """check, run, cancel or undo; it must be allowed."""
        reply = persistently(lambda: self.console("POST", f"/imports/{job_id}/{verb}", role="operator"))
        assert reply.status == 200, reply.body
        return reply.body

    def shown_import(self, job_id: str) -> Any:
        reply = persistently(lambda: self.console("GET", f"/imports/{job_id}", role="operator"))
        assert reply.status == 200, reply.body
        return reply.body

    def until_import(self, job_id: str, *states: str, seconds: float = 60) -> Any:
        """What an import shows as soon as it is in one of these states."""
        last: dict[str, Any] = {}

        def there() -> bool:
            last.update(self.shown_import(job_id))
            return last["state"] in states

        try:
            wait_for(there, f"{job_id} to be {' or '.join(states)}", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {last}") from None
        return last

    def wholesale(self, sku: str) -> None:
        """Let anybody hold as much of it as there is: otherwise one buyer's share of a small shelf is a few cards."""
        reply = self.console("POST", f"/skus/{sku}/terms", {"hold_percent": 100}, role="operator")
        assert reply.status == 200, reply.body

    def notification(self, order: Order, provider_no: str) -> tuple[bytes, dict[str, str]]:
        """What the provider sends when this charge was made, as its protocol has it."""
        raw = json.dumps(
            {
                "notification_id": f"sbn-{uuid.uuid4().hex}",
                "merchant": "kaquan",
                "payment_id": order.payment_id,
                "provider_no": provider_no,
                "amount_minor": order.total,
                "currency": "CNY",
                "status": "paid",
                "paid_at": in_minutes(0),
            }
        ).encode()
        stamp = str(int(time.time()))
        sign = hmac.new(self.secret.encode(), f"{stamp}.".encode() + raw, hashlib.sha256).hexdigest()
        return raw, {"Sandbox-Timestamp": stamp, "Sandbox-Signature": sign}

    def buyer(self, **contact: str) -> Buyer:
        return Buyer(self, contact or {"phone": self.canaries.phone()})

    # --- the clock ---

    def deadlines(self, minutes: float = 0) -> Any:
        """What the schedule does each minute, as if it were that many minutes later."""
        return self.invoke("deadlines", {"time": in_minutes(minutes)})

    def invoke(self, function: str, event: Mapping[str, Any]) -> Any:
        answer = self.client("lambda").invoke(
            FunctionName=f"kaquan-{self.stage}-{function}", Payload=json.dumps(event).encode()
        )
        said = json.loads(answer["Payload"].read() or "null")
        return {"error": said} if answer.get("FunctionError") else said

    @cache  # noqa: B019  # a session has two of these
    def client(self, service: str) -> Any:
        return self.cloud.client(service, max_pool_connections=CONNECTIONS)

    # --- behind the scenes ---

    def table(self, name: str, **more: Any) -> list[Item]:
        """Every item of a table, or with IndexName of an index."""
        pages = (
            self.client("dynamodb")
            .get_paginator("scan")
            .paginate(TableName=f"kaquan-{self.stage}-{name}", ConsistentRead="IndexName" not in more, **more)
        )
        return [{key: _plain(value) for key, value in item.items()} for page in pages for item in page["Items"]]

    def head(self, order_id: str) -> Item:
        answer = self.client("dynamodb").get_item(
            TableName=f"kaquan-{self.stage}-orders",
            Key={"order_id": {"S": order_id}, "part": {"S": "head"}},
            ConsistentRead=True,
        )
        return {key: _plain(value) for key, value in answer["Item"].items()}

    def status(self, order_id: str) -> str:
        return str(self.head(order_id)["status"])

    def statuses(self) -> dict[str, str]:
        heads = self.table(
            "orders",
            FilterExpression="part = :head",
            ExpressionAttributeValues={":head": {"S": "head"}},
            ProjectionExpression="order_id, #status",
            ExpressionAttributeNames={"#status": "status"},
        )
        return {head["order_id"]: head["status"] for head in heads}

    def entries(self, order_id: str) -> Counter[str]:
        """How many entries of each kind the books have about an order."""
        return Counter(entry["kind"] for entry in self.table("ledger") if entry.get("order_id") == order_id)

    def queue_url(self, name: str) -> str:
        return str(self.client("sqs").get_queue_url(QueueName=f"kaquan-{self.stage}-{name}")["QueueUrl"])

    def send(self, queue: str, *bodies: str) -> None:
        for body in bodies:
            self.client("sqs").send_message(QueueUrl=self.queue_url(queue), MessageBody=body)

    def waiting(self, queue: str) -> int:
        """Messages that wait there or are being worked on."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.client("sqs").get_queue_attributes(QueueUrl=self.queue_url(queue), AttributeNames=names)
        return sum(map(int, answer["Attributes"].values()))

    def messages(self, queue: str) -> list[str]:
        """The bodies of what waits there; they stay."""
        found: dict[str, str] = {}
        sqs, url = self.client("sqs"), self.queue_url(queue)
        while batch := sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=30, AttributeNames=["All"]
        ).get("Messages"):
            found |= {message["MessageId"]: message["Body"] for message in batch}
        return list(found.values())

    @contextmanager
    def impatient(self, seconds: int = 1, queues: Sequence[str] = WORKERS) -> Iterator[None]:
        """Failed messages come again after a second, where the template waits for minutes."""
        sqs = self.client("sqs")
        before = {}
        for name in queues:
            url = self.queue_url(name)
            known = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])
            before[url] = known["Attributes"]["VisibilityTimeout"]
            sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": str(seconds)})
        try:
            yield
        finally:
            for url, value in before.items():
                sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": value})

    @contextmanager
    def paused(self, step: str) -> Iterator[None]:
        """The step's messages wait: its function is not woken."""
        functions = self.client("lambda")
        (mapping,) = functions.list_event_source_mappings(FunctionName=f"kaquan-{self.stage}-{step}")[
            "EventSourceMappings"
        ]
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
        try:
            yield
        finally:
            functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)

    def until(self, order_id: str, *wanted: str, seconds: float = 60) -> str:
        """Wait until an order has one of these statuses."""
        last = ""

        def there() -> bool:
            nonlocal last
            last = self.status(order_id)
            return last in wanted

        try:
            wait_for(there, f"{order_id} to be {' or '.join(wanted)}", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {last}") from None
        return last

    def all_settled(self, order_ids: Sequence[str], seconds: float = 60) -> dict[str, str]:
        """Wait until each of these orders has come to an end."""
        found: dict[str, str] = {}

        def there() -> bool:
            known = self.statuses()
            found.update({order_id: known[order_id] for order_id in order_ids})
            return SETTLED.issuperset(found.values())

        try:
            wait_for(there, "orders to come to an end", seconds)
        except AssertionError as error:
            stuck = {order_id: status for order_id, status in found.items() if status not in SETTLED}
            raise AssertionError(f"{error}: {stuck}") from None
        return found

    def all_delivered_in_time(self, orders: Sequence[Order], seconds: float = 180 * SCALE) -> None:
        """Wait for all these; whenever nothing moves any more, three minutes pass and the owner of time looks."""
        deadline, minutes, before = time.monotonic() + seconds, 0, {"": ""}
        while before:
            known = self.statuses()
            now = {order.order_id: known[order.order_id] for order in orders if known[order.order_id] != "delivered"}
            assert time.monotonic() < deadline, f"after {minutes} minutes {now} are not delivered"
            if now == before and not any(map(self.waiting, STEPS)):
                minutes += 3
                self.deadlines(minutes)
            before = now
            time.sleep(0.3)


@dataclass
class Order:
    order_id: str
    token: str
    url: str
    payment_id: str
    total: int


@dataclass
class Buyer:
    """Somebody with a contact and an address of their own."""

    stack: Stack
    contact: Mapping[str, str]
    address: str = field(default_factory=lambda: ".".join(["11", *(str(secrets.randbelow(256)) for _ in range(3))]))

    def call(self, method: str, path: str, body: Any = None, bearer: str = "", **headers: str) -> Reply:
        return self.stack.call(method, path, body, bearer, X_Forwarded_For=self.address, **headers)

    def try_to_place(self, sku: str, quantity: int = 1, **more: Any) -> Reply:
        wanted = {
            "lines": [{"sku": sku, "quantity": quantity}],
            "contact": self.contact,
            "payment_method": "sandbox",
            "client_ref": uuid.uuid4().hex,
            **more,
        }
        return self.call("POST", "/orders", wanted)

    def place(self, sku: str, quantity: int = 1, **more: Any) -> Order:
        more = {"client_ref": uuid.uuid4().hex, **more}
        reply = persistently(lambda: self.try_to_place(sku, quantity, **more))
        assert reply.status == 201, reply.body
        return order_in(reply)

    def pay(self, order: Order, outcome: str = "paid", **more: int) -> dict[str, Any]:
        """Press a button of the pay page; the provider notifies the API by itself."""
        return SandboxProvider.pay(order.url, outcome, **more)

    def buy(self, sku: str, quantity: int = 1) -> Order:
        """Place, pay, and wait for the cards."""
        order = self.place(sku, quantity)
        self.pay(order)
        self.stack.until(order.order_id, "delivered")
        return order

    def status(self, order: Order) -> str:
        return str(self.call("GET", f"/orders/{order.order_id}", bearer=order.token).body["status"])

    def cancel(self, order: Order) -> Reply:
        return self.call("POST", f"/orders/{order.order_id}/cancel", {}, order.token)

    def try_to_reveal(self, order: Order) -> Reply:
        return self.call("POST", f"/orders/{order.order_id}/reveal", {}, order.token)

    def reveal(self, order: Order) -> list[str]:
        reply = persistently(lambda: self.try_to_reveal(order))
        assert reply.status == 200, reply.body
        codes = [card["code"] for card in reply.body["cards"]]
        self.stack.canaries.codes.update(codes)  # among them those that we have made ourselves
        return codes


def order_in(reply: Reply) -> Order:
    body = reply.body
    payment = body["payment"]
    return Order(
        body["order_id"],
        body["access_token"],
        payment["redirect_url"],
        payment["payment_id"],
        body["total"]["amount_minor"],
    )
