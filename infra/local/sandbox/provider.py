"""The whole provider as one object, for tests, and as one command, for `make run`."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import threading
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

from infra.local.sandbox.book import Book
from infra.local.sandbox.courier import ANSWER_SECONDS_MAX, ON_THE_ROAD_MAX, RETRY_AFTER_SECONDS, Courier
from infra.local.sandbox.faults import Faults
from infra.local.sandbox.service import Service
from infra.local.sandbox.signing import Signer

# Local calls only: a proxy from the environment must not see them.
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


class SandboxProvider:
    """A provider on 127.0.0.1, running from `start` to `stop`; port 0 takes a free one. Also a context manager."""

    def __init__(
        self,
        state: Path,
        secret: str,
        merchant: str = "kaquan",
        port: int = 0,
        retry_after: Sequence[float] = RETRY_AFTER_SECONDS,
        at_once: int = ON_THE_ROAD_MAX,
        answer_within: float = ANSWER_SECONDS_MAX,
    ) -> None:
        signer, faults = Signer(secret), Faults()
        self._book = Book(state)
        self._courier = Courier(self._book, signer, faults, retry_after, at_once, answer_within)
        self._service = Service(port, merchant, signer, self._book, self._courier, faults)
        self._listening = threading.Thread(target=self._service.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._service.server_address[1]}"

    def start(self) -> Self:
        self._courier.start()
        self._listening.start()
        return self

    def stop(self) -> None:
        """Answer and send nothing more. What is still to be notified waits in the state file for the next start."""
        self._service.stopping.set()
        self._service.shutdown()
        self._service.server_close()
        self._courier.stop()
        self._book.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @staticmethod
    def pay(url: str, outcome: str = "paid", delay_seconds: int | None = None) -> dict[str, Any]:
        """Press a button of the pay page at `url`, of any running provider; HTTPError if it refuses."""
        form = {"outcome": outcome} | ({} if delay_seconds is None else {"delay_seconds": str(delay_seconds)})
        return _post(url, urlencode(form).encode(), "application/x-www-form-urlencoded")

    @staticmethod
    def misbehave(provider_url: str, route: str, fault: str, times: int = 1, **more: float) -> dict[str, Any]:
        """Arm a fault of the provider at `provider_url`."""
        wanted = {"route": route, "fault": fault, "times": times, **more}
        return _post(f"{provider_url}/faults", json.dumps(wanted).encode(), "application/json")


def _post(url: str, body: bytes, content_type: str) -> dict[str, Any]:
    headers = {"Content-Type": content_type, "Accept": "application/json"}
    with _open(urllib.request.Request(url, data=body, headers=headers), timeout=30) as reply:
        answer: dict[str, Any] = json.load(reply)
        return answer


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Sandbox payment provider; its secret comes from SANDBOX_SECRET.")
    parser.add_argument("--port", type=int, default=4580)
    parser.add_argument("--state", type=Path, required=True, help="SQLite file; made if absent")
    parser.add_argument("--merchant", default="kaquan")
    wanted = parser.parse_args(argv)
    # Taken out of the environment, where any later child or crash report would find it.
    secret = os.environ.pop("SANDBOX_SECRET", "")
    if not secret:
        print("SANDBOX_SECRET is not set: give the secret that the payment adapter has.", file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        provider = SandboxProvider(wanted.state, secret, wanted.merchant, wanted.port)
    except OSError as problem:
        print(f"Cannot listen on 127.0.0.1:{wanted.port}: {problem.strerror}. Is it running already?", file=sys.stderr)
        return 1
    with provider:
        logging.info("sandbox payment provider on %s", provider.url)
        stop.wait()
    logging.info("stopped")
    return 0
