"""What the tests of suppliers' stand-ins share: a bare HTTP call, and a shop on 127.0.0.1 that takes notifications."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from infra.local.suppliers.common import Supplier

PATIENCE = 10  # seconds until what should happen counts as not happening
HANG_UPS = (OSError, http.client.HTTPException)


def eventually(happened: Callable[[], Any]) -> None:
    until = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.005)


def send(
    method: str, url: str, body: bytes = b"", headers: Mapping[str, str] | None = None, timeout: float = PATIENCE
) -> tuple[int, bytes]:
    """Status and body; one of HANG_UPS where no answer came."""
    parts = urlsplit(url)
    with closing(http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)) as connection:
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request(method, target, body or None, dict(headers or {}))
        reply = connection.getresponse()
        return reply.status, reply.read()


@dataclass(frozen=True)
class Notice:
    path: str
    headers: Mapping[str, str]
    raw: bytes


@dataclass
class Shop:
    """Takes what is posted to `url`, and answers as it says; that may be changed while it runs."""

    url: str
    answer: bytes
    status: int = 200
    notices: list[Notice] = field(default_factory=list)

    def wait(self, number: int = 1) -> list[Notice]:
        eventually(lambda: len(self.notices) >= number)
        return list(self.notices)


@contextmanager
def shop(answer: bytes) -> Iterator[Shop]:
    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            one.notices.append(Notice(self.path, dict(self.headers.items()), raw))
            self.send_response(one.status)
            self.send_header("Content-Length", str(len(one.answer)))
            self.end_headers()
            self.wfile.write(one.answer)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    one = Shop(f"http://127.0.0.1:{server.server_port}/supplier/callback", answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield one
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def pass_a_minute(supplier: Supplier) -> None:
    """What was to happen within a minute is due now."""
    with supplier.store.transaction() as db:
        db.execute("UPDATE orders SET due = due - 60")
        db.execute("UPDATE letters SET next_at = next_at - 60")
    supplier.wake()
