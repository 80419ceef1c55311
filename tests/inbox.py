"""A shop's webhook on 127.0.0.1: what a provider sends is given to our adapter, and answered as that says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from shared.kernel import clock
from shared.payments.errors import BadNotification
from shared.payments.provider import Charge, Provider, RefundNews

PATIENCE = 20  # seconds until what should happen counts as not happening

Said = Charge | RefundNews | type[BadNotification] | None


@dataclass(frozen=True)
class Heard:
    """One notification as it came, and what our adapter made of it."""

    payment_id: str  # which its address names
    headers: dict[str, str]
    raw: bytes
    said: Said


@dataclass
class Inbox:
    url: str
    provider: Provider | None = None
    refusing: bool = False  # answers that nothing was taken, whatever came
    everything: list[Heard] = field(default_factory=list)

    def address(self, payment_id: str) -> str:
        return f"{self.url}/{payment_id}"

    def heard(self, payment_id: str) -> list[Said]:
        return [heard.said for heard in list(self.everything) if heard.payment_id == payment_id]

    def wait(self, payment_id: str, number: int) -> list[Said]:
        """What so many notifications said, in the order in which they came."""
        eventually(lambda: len(self.heard(payment_id)) >= number)
        return self.heard(payment_id)

    def raw(self, payment_id: str) -> Heard:
        return next(heard for heard in self.everything if heard.payment_id == payment_id)


def eventually(happened: Callable[[], Any]) -> None:
    until = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.01)


@contextmanager
def opened() -> Iterator[Inbox]:
    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            assert inbox.provider is not None
            said: Said = BadNotification
            with suppress(BadNotification):
                said = inbox.provider.parse_notification(headers, raw, clock.now())
            ack = inbox.provider.ack(said is not BadNotification and not inbox.refusing)
            inbox.everything.append(Heard(self.path.rpartition("/")[2], headers, raw, said))
            self.send_response(ack.status)
            self.send_header("Content-Type", ack.content_type)
            self.end_headers()
            self.wfile.write(ack.body.encode())

        def log_message(self, *_: Any) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Door) as server:
        server.daemon_threads = True
        inbox = Inbox(f"http://127.0.0.1:{server.server_address[1]}/webhooks/payments")
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield inbox
        server.shutdown()
