"""Stripe for tests: localstripe in a process of its own, and a door before it that does what else Stripe documents."""

from __future__ import annotations

import http.client
import json
import subprocess
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from infra.local.background import free_port

PYTHON = Path(__file__).parents[1] / ".local/tools/localstripe/bin/python"
TEST_KEY = "_".join(("sk", "test", "made-here"))


@dataclass
class Seen:
    method: str
    path: str
    headers: dict[str, str]
    fields: dict[str, str]


@dataclass
class Door:
    """What stands between the adapter and localstripe: it writes down, misbehaves when told to, and does what Stripe
    documents and localstripe leaves out: idempotency keys, amount_received, what a charge has of its intent, and
    days of balance transactions.
    """

    behind: int
    seen: list[Seen] = field(default_factory=list)
    faults: list[str | int] = field(default_factory=list)
    page: int = 100
    remembered: dict[str, tuple[dict[str, str], int, bytes]] = field(default_factory=dict)
    url: str = ""

    def answer(self, request: Seen) -> tuple[int, bytes] | None:
        self.seen.append(request)
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, int):
            return fault, json.dumps({"error": {"message": "armed", "type": "api_error", "code": "armed"}}).encode()
        if fault == "nonsense":
            return 200, b"<html>\xff"
        if fault == "list":
            return 200, b"[]"
        key = request.headers.get("idempotency-key")
        if key and key in self.remembered:
            fields, status, body = self.remembered[key]
            if fields != request.fields:
                return 400, json.dumps({"error": {"type": "idempotency_error", "message": "other fields"}}).encode()
            return status, body
        status, body = self.forward(request)
        if key:
            self.remembered[key] = (request.fields, status, body)
        return None if fault == "drop" else (status, body)

    def forward(self, request: Seen) -> tuple[int, bytes]:
        unknown = {"automatic_payment_methods[enabled]", "description", "created[gte]", "created[lt]"}
        fields = {name: value for name, value in request.fields.items() if name not in unknown}
        if request.method == "GET" and "limit" in fields:
            fields["limit"] = str(self.page)
        status, told = self.ask(request.method, request.path, fields)
        if status == 200:
            for line in told["data"] if request.path == "/v1/balance_transactions" else ():
                line["source"] = self.complete(line["source"])
            if request.path == "/v1/balance_transactions":
                ends = int(request.fields["created[gte]"]), int(request.fields["created[lt]"])
                told["data"] = [line for line in told["data"] if ends[0] <= line["created"] < ends[1]]
            told = self.complete(told)
        return status, json.dumps(told).encode()

    def complete(self, thing: dict[str, Any]) -> dict[str, Any]:
        if thing.get("object") == "payment_intent":
            thing["amount_received"] = thing["amount"] if thing["status"] == "succeeded" else 0
        if thing.get("object") == "charge":
            thing["metadata"] = self.ask("GET", f"/v1/payment_intents/{thing['payment_intent']}", {})[1]["metadata"]
        return thing

    def ask(self, method: str, path: str, fields: dict[str, str]) -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.behind, timeout=10)
        encoded = urllib.parse.urlencode(fields)
        headers = {"Authorization": f"Bearer {TEST_KEY}", "Content-Type": "application/x-www-form-urlencoded"}
        target = path if method == "POST" else f"{path}?{encoded}"
        connection.request(method, target, encoded if method == "POST" else None, headers)
        answer = connection.getresponse()
        told = json.loads(answer.read())
        connection.close()
        return answer.status, told

    def pay(self, reference: str, number: str = "4242424242424242") -> None:
        card = {"card[number]": number, "card[exp_month]": "12", "card[exp_year]": "2040", "card[cvc]": "123"}
        _, method = self.ask("POST", "/v1/payment_methods", {"type": "card", **card})
        self.ask("POST", f"/v1/payment_intents/{reference}", {"payment_method": method["id"]})
        self.ask("POST", f"/v1/payment_intents/{reference}/confirm", {})

    def sent(self, path: str) -> list[Seen]:
        return [request for request in self.seen if request.method == "POST" and request.path == path]


@contextmanager
def listening(door: Door) -> Iterator[Door]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            text = query or self.rfile.read(int(self.headers.get("content-length", 0))).decode()
            fields = dict(urllib.parse.parse_qsl(text, keep_blank_values=True))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = door.answer(Seen(self.command, path, headers, fields))
            if answer is None:
                self.close_connection = True
                return
            self.send_response(answer[0])
            self.send_header("Content-Length", str(len(answer[1])))
            self.send_header("Request-Id", "req_1")
            self.end_headers()
            self.wfile.write(answer[1])

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        door.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield door
        server.shutdown()


@contextmanager
def localstripe() -> Iterator[int]:
    """The port of a Stripe that has forgotten everything."""
    assert PYTHON.exists(), "make setup installs localstripe"
    port = free_port()
    command = [PYTHON, "-u", "-m", "localstripe", "--from-scratch", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout
        assert b"Running on" in process.stdout.readline()
        yield port
        process.terminate()
