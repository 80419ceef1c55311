"""A supplier for the tests of adapters: it keeps what it was sent, and answers what the test has laid ready."""

from __future__ import annotations

import socket
import struct
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Sent:
    """A request as it came. headers: by lower-case name."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        return dict(urllib.parse.parse_qsl(self.target.partition("?")[2], keep_blank_values=True))

    @property
    def form(self) -> dict[str, str]:
        return dict(urllib.parse.parse_qsl(self.body.decode(), keep_blank_values=True, strict_parsing=True))


RESET = "reset"  # the request is read, and the line cut
SILENT = "silent"  # the request is read, and nothing ever comes
SHORT = "short"  # half of the answer comes

Told = tuple[int, bytes] | str


@dataclass
class Door:
    """answer: what to say to a request; `faults`: what is done instead, request by request, None for nothing."""

    answer: Callable[[Sent], Told]
    url: str = ""
    sent: list[Sent] = field(default_factory=list)
    faults: list[Told | None] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def last(self) -> Sent:
        return self.sent[-1]


@contextmanager
def door(answer: Callable[[Sent], Told]) -> Iterator[Door]:
    here = Door(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            sent = Sent(self.command, self.path, headers, body)
            here.sent.append(sent)
            told = (here.faults.pop(0) if here.faults else None) or here.answer(sent)
            self.close_connection = True
            if told == RESET:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
            elif told == SILENT:
                here.over.wait(30)
            elif told == SHORT:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
            elif not isinstance(told, str):
                self.send_response(told[0])
                self.send_header("Content-Length", str(len(told[1])))
                if told[0] in range(300, 400):
                    self.send_header("Location", f"{here.url}/elsewhere")
                self.end_headers()
                self.wfile.write(told[1])

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:  # lines that a test has cut
            pass

    with Server(("127.0.0.1", 0), Handler) as server:
        here.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield here
        here.over.set()
        server.shutdown()


def closed_url() -> str:
    """An address on this machine where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"
