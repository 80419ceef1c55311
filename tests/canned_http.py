"""An HTTP server on 127.0.0.1 that says what it is told to say, also what no server should."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Heard(NamedTuple):
    """headers: by lower-case name."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Said:
    """promised: the length that is announced, where it is not the body's."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    promised: int | None = None


class Reset(NamedTuple):
    """The connection breaks when all is read."""


class Silence(NamedTuple):
    """Nothing is said until the other side gives up."""


class Drip(NamedTuple):
    """A byte at a time, for ever."""

    every: float


Script = Said | Reset | Silence | Drip


def said(value: object, status: int = 200) -> Said:
    """JSON, as PHP and Go write it."""
    return Said(status, json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


@dataclass
class Canned:
    address: str
    heard: list[Heard] = field(default_factory=list)
    says: Callable[[Heard], Script] = lambda _: Said()

    @property
    def last(self) -> Heard:
        return self.heard[-1]


@contextlib.contextmanager
def canned(says: Script | Callable[[Heard], Script] | None = None) -> Iterator[Canned]:
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            heard = Heard(self.command, self.path, headers, body)
            server.heard.append(heard)
            self._play(server.says(heard))

        do_GET = do_POST  # noqa: N815  # the standard library's name

        def _play(self, script: Script) -> None:
            self.close_connection = True
            match script:
                case Reset():
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.connection.close()
                case Silence():
                    with contextlib.suppress(OSError):
                        self.connection.recv(1)
                case Drip():
                    with contextlib.suppress(OSError):
                        self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
                        while not over.wait(script.every):
                            self.wfile.write(b"x")
                case Said():
                    self.send_response(script.status)
                    for name, value in script.headers.items():
                        self.send_header(name, value)
                    promised = len(script.body) if script.promised is None else script.promised
                    self.send_header("Content-Length", str(promised))
                    self.end_headers()
                    with contextlib.suppress(OSError):
                        self.wfile.write(script.body)

        def log_message(self, *_: Any) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            pass

        def shutdown_request(self, request: Any) -> None:
            with contextlib.suppress(OSError):
                super().shutdown_request(request)

    http = Quiet(("127.0.0.1", 0), Handler)
    server = Canned(f"http://127.0.0.1:{http.server_port}")
    if says is not None:
        server.says = says if callable(says) else lambda _: says
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        over.set()
        http.shutdown()
        http.server_close()
        thread.join()


def refusing() -> str:
    """An address where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"
