"""The stand-in as one object, for tests, and as one command, for `make run`."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import threading
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import urlencode

from infra.local.counterparts.faults import Faults
from infra.local.counterparts.letters import SCHEMA, Courier, Letter, Letters, letters_json
from infra.local.counterparts.store import Store
from infra.local.counterparts.web import RefusedError, Reply, Request, Service, json_reply

# Local calls only: a proxy from the environment must not see them.
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


class Counterpart:
    """A provider on 127.0.0.1, running from `start` to `stop`; port 0 takes a free one. Also a context manager.

    A provider gives `answer`, `dress` and `accepts`, its tables, and what can go wrong on which of its routes
    (`notify` is always one). Own tables are written through `store.transaction()`; a letter that is put there with
    `letters.put` leaves after `wake`. Beside the provider's own addresses there are POST /faults, GET /letters
    (?about= narrows it) and GET /health.
    """

    schema: ClassVar[str] = ""
    fault_kinds: ClassVar[Mapping[str, tuple[str, ...]]] = {"notify": ("slow", "silent")}
    fault_seconds: ClassVar[Mapping[str, float]] = {}

    def __init__(
        self, state: Path, port: int = 0, retry_after: Sequence[float] = (1, 3, 10, 30), answer_within: float = 5
    ) -> None:
        self.state = state
        self.store = Store(state, SCHEMA + self.schema)
        self.faults = Faults(self.fault_kinds, self.fault_seconds)
        self.letters = Letters(self.store)
        self._courier = Courier(self.letters, self.dress, self.accepts, self.faults, retry_after, answer_within)
        try:
            self._service = Service(port, self._answer)
        except OSError:
            self.store.close()
            raise
        self._listening = threading.Thread(target=self._service.serve_forever, args=(0.02,), daemon=True)

    # -- what a provider gives -------------------------------------------------------------------------------------

    def answer(self, request: Request) -> Reply | None:
        """The reply to a request on the provider's own addresses; None hangs up without a word."""
        raise NotImplementedError

    def dress(self, letter: Letter, how: str) -> tuple[dict[str, str], bytes]:
        """Headers and body of the letter, signed now. how: the letter's own, or the armed fault, or ""."""
        raise NotImplementedError

    def accepts(self, status: int, body: bytes) -> bool:
        """True if this answer of the merchant ends the delivery."""
        raise NotImplementedError

    # -- running ---------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return self._service.url

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
        self.store.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wake(self) -> None:
        """Some letter may be due."""
        self._courier.wake()

    def wait(self, seconds: float) -> None:
        """Be slow, but not beyond the stop."""
        self._service.stopping.wait(seconds)

    def _answer(self, request: Request) -> Reply | None:
        match request.method, request.path:
            case "GET", "/health":
                return json_reply(200, {"ok": True})
            case "GET", "/letters":
                return Reply(200, letters_json(self.letters, request.query.get("about", "")))
            case "POST", "/faults":
                try:
                    wanted = json.loads(request.body)
                    return json_reply(200, {"route": wanted["route"], "armed": self.faults.arm(wanted)})
                except (ValueError, TypeError, KeyError) as odd:
                    raise RefusedError(400, "BAD_FAULT", str(odd)) from None
        return self.answer(request)

    # -- over HTTP, at any running counterpart ---------------------------------------------------------------------

    @staticmethod
    def pay(url: str, outcome: str = "paid", **more: object) -> dict[str, Any]:
        """Press a button of the pay page at `url`; HTTPError if it refuses."""
        form = {"outcome": outcome} | {name: str(value) for name, value in more.items()}
        return _post(url, urlencode(form).encode(), "application/x-www-form-urlencoded")

    @staticmethod
    def misbehave(base_url: str, route: str, fault: str, times: int = 1, **more: float) -> dict[str, Any]:
        """Arm a fault of the provider at `base_url`."""
        wanted = {"route": route, "fault": fault, "times": times, **more}
        return _post(f"{base_url}/faults", json.dumps(wanted).encode(), "application/json")

    @staticmethod
    def told(base_url: str, about: str = "") -> list[dict[str, Any]]:
        """What was notified, and the answers that came back."""
        with _open(f"{base_url}/letters?{urlencode({'about': about})}", timeout=30) as reply:
            letters: list[dict[str, Any]] = json.load(reply)["letters"]
            return letters


def _post(url: str, body: bytes, content_type: str) -> dict[str, Any]:
    headers = {"Content-Type": content_type, "Accept": "application/json"}
    with _open(urllib.request.Request(url, data=body, headers=headers), timeout=30) as reply:
        answer: dict[str, Any] = json.load(reply)
        return answer


def write_private(path: Path, content: Any) -> None:
    """Write JSON that only the owner may read, whole or not at all."""
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(content, file, ensure_ascii=False, indent=1)
    beside.replace(path)


def serve(argv: Sequence[str] | None, description: str, port: int, make: Callable[[Path, int], Counterpart]) -> int:
    """The command of a counterpart: run it until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, default=port)
    parser.add_argument("--state", type=Path, required=True, help="SQLite file; made if absent")
    wanted = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        counterpart = make(wanted.state, wanted.port)
    except OSError as problem:
        print(f"Cannot listen on 127.0.0.1:{wanted.port}: {problem.strerror}. Is it running already?", file=sys.stderr)
        return 1
    with counterpart:
        logging.info("%s on %s", description, counterpart.url)
        stop.wait()
    logging.info("stopped")
    return 0
