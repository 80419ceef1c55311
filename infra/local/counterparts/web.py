"""A small HTTP server on 127.0.0.1 that hands every request to one function."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

logger = logging.getLogger("counterpart")

BODY_BYTES_MAX = 64 * 1024
IDLE_SECONDS_MAX = 60


@dataclass(frozen=True)
class Request:
    """target: path and query as they were sent. headers: found by any spelling of their name."""

    method: str
    target: str
    headers: Message
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))

    @property
    def wants_json(self) -> bool:
        return "application/json" in self.headers.get("Accept", "")


@dataclass
class Reply:
    """Header names leave in the spelling given here."""

    status: int
    body: bytes = b""
    content_type: str = "application/json; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)


class RefusedError(Exception):
    """The request is answered with this status and code, and nothing was done."""

    def __init__(self, status: int, code: str, message: str = "") -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message or code


def json_reply(status: int, content: Any) -> Reply:
    return Reply(status, json.dumps(content, ensure_ascii=False).encode())


def html_reply(status: int, page: bytes, nonce: str) -> Reply:
    """The page may use only the styles that carry the nonce, and no script."""
    policy = f"default-src 'none'; style-src 'nonce-{nonce}'; img-src data:; base-uri 'none'; frame-ancestors 'none'"
    return Reply(
        status, page, "text/html; charset=utf-8", {"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"}
    )


class Service(ThreadingHTTPServer):
    """`answer` gives the reply, or None to hang up without a word."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, port: int, answer: Callable[[Request], Reply | None]) -> None:
        self.answer = answer
        self.stopping = threading.Event()
        super().__init__(("127.0.0.1", port), _Door)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: Any) -> None:
        logger.debug("connection lost", exc_info=True)


class _Door(BaseHTTPRequestHandler):
    server: Service
    server_version = "counterpart"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS_MAX
    wbufsize = -1  # head and body leave in one packet
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        began = time.perf_counter()
        try:
            reply = self.server.answer(Request(self.command, self.path, self.headers, self._body()))
        except RefusedError as refused:
            reply = json_reply(refused.status, {"code": refused.code, "message": refused.message})
        except Exception:
            logger.exception("%s %s failed", self.command, urlsplit(self.path).path)
            reply = json_reply(500, {"code": "SYSTEM_ERROR", "message": "the simulator failed, see its log"})
        if reply is None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self._send(reply)
        # The path only: a query may hold a signature.
        spent_ms = (time.perf_counter() - began) * 1000
        status = reply.status if reply else "dropped"
        logger.info("%s %s %s %.0f ms", self.command, urlsplit(self.path).path, status, spent_ms)

    def _body(self) -> bytes:
        """All of the body, so that the next request on this connection begins where it should."""
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not (length.isascii() and length.isdigit()):
            self.close_connection = True
            raise RefusedError(411, "LENGTH_REQUIRED")
        if int(length) > BODY_BYTES_MAX:
            self.close_connection = True
            raise RefusedError(413, "TOO_LARGE")
        return self.rfile.read(int(length))

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        if reply.status != 204:
            self.send_header("Content-Type", reply.content_type)
            self.send_header("Content-Length", str(len(reply.body)))
        self.send_header("Cache-Control", "no-cache, must-revalidate")
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(reply.body)

    def log_request(self, *_: Any) -> None:
        """Replaced by the line that `_answer` writes: the standard one shows whole URLs."""

    def log_message(self, *_: Any) -> None:
        """Dropped, as it may quote a request line."""
