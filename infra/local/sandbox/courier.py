"""Brings notifications to the merchant until they are acknowledged or the plan of retries ends."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from infra.local.sandbox.book import Book, ClosedError, Letter
from infra.local.sandbox.faults import Faults
from infra.local.sandbox.signing import Signer, stamped

logger = logging.getLogger("sandbox")

RETRY_AFTER_SECONDS = (1, 3, 10, 30)
ANSWER_SECONDS_MAX = 10
ON_THE_ROAD_MAX = 32  # one merchant that hangs must not hold up the rest


class Courier:
    """One thread that watches the clock, and one more for each notification on the road."""

    def __init__(
        self,
        book: Book,
        signer: Signer,
        faults: Faults,
        retry_after: Sequence[float],
        at_once: int = ON_THE_ROAD_MAX,
        answer_within: float = ANSWER_SECONDS_MAX,
    ) -> None:
        self._book = book
        self._signer = signer
        self._faults = faults
        self._retry_after = retry_after
        self._at_once = at_once
        self._answer_within = answer_within
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._turn = threading.Lock()
        self._on_the_road: set[str] = set()
        self._watch = threading.Thread(target=self._run, name="courier", daemon=True)

    def start(self) -> None:
        self._watch.start()

    def wake(self) -> None:
        """Something new may be due."""
        self._wake.set()

    def stop(self) -> None:
        """Send nothing more. A try that is still on the road is made again after the next start."""
        self._stopping.set()
        self._wake.set()
        self._watch.join(timeout=5)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            self._wake.wait(self._send_due())

    def _send_due(self) -> float | None:
        """Send what is due; return the seconds until the next is, or None if only a call to `wake` can change that."""
        with self._turn:
            # Before the books are read: a try that ends in between would else be read as not yet made.
            away = set(self._on_the_road)
        for letter in self._book.waiting_letters(2 * self._at_once):  # so many, that not all can be away
            if letter.notification_id in away:
                continue
            pause = letter.next_at - time.time()
            if pause > 0:
                return pause
            with self._turn:
                if len(self._on_the_road) >= self._at_once:
                    return None
                self._on_the_road.add(letter.notification_id)
            threading.Thread(target=self._deliver, args=(letter,), daemon=True).start()
        return None

    def _deliver(self, letter: Letter) -> None:
        try:
            acknowledged = self._post(letter)
            state = self._book.record_try(letter, acknowledged, time.time(), self._retry_after)
            logger.info("notification %s try %d: %s", letter.notification_id, letter.tries + 1, state)
        except ClosedError:
            pass
        finally:
            with self._turn:
                self._on_the_road.discard(letter.notification_id)
            self._wake.set()

    def _post(self, letter: Letter) -> bool:
        fault = self._faults.take("notify")
        kind = fault.kind if fault else None
        if fault and kind == "slow":
            self._stopping.wait(fault.seconds)
        stamp = str(int(time.time()))
        wrong = letter.forged or kind == "bad_signature"
        sign = self._signer.forge if wrong else self._signer.sign
        headers = {
            "Content-Type": "application/json",
            "Sandbox-Timestamp": stamp,
            "Sandbox-Signature": sign(stamped(stamp, letter.body)),
        }
        return _accepts(letter.notify_url, letter.body, headers, self._answer_within) and kind not in (
            "drop_reply",
            "status_500",
        )


def _accepts(url: str, body: bytes, headers: dict[str, str], seconds: float) -> bool:
    """True only for 200 and the word `success`; redirects and proxies are not followed."""
    try:
        parts = urlsplit(url)
        scheme = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        with closing(scheme(parts.hostname or "", parts.port, timeout=seconds)) as connection:
            connection.request("POST", target, body, headers)
            reply = connection.getresponse()
            return reply.status == 200 and reply.read(64) == b"success"
    except (OSError, HTTPException, ValueError):  # the last for an address that cannot be called
        return False
