"""Misbehaviour on request: what a real provider does on a bad day."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

ROUTES = ("refunds", "payments", "notify")
FAULTS = ("drop_reply", "status_500", "slow", "bad_signature", "processing")
TIMES_MAX = 1000
SECONDS_MAX = 60


@dataclass(frozen=True)
class Fault:
    kind: str
    seconds: float


class Faults:
    """Faults armed per route, taken in the order in which they were armed; a restart forgets them."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._armed: dict[str, deque[Fault]] = {route: deque() for route in ROUTES}

    def arm(self, wanted: dict[str, Any]) -> int:
        """Arm a fault and return how many the route now has; `times` 0 disarms the route. ValueError if it is odd."""
        route, kind, times = wanted.get("route"), wanted.get("fault"), wanted.get("times", 1)
        seconds = wanted.get("seconds", 2 if kind == "processing" else 10)
        if route not in ROUTES or kind not in FAULTS or (kind == "processing" and route != "refunds"):
            raise ValueError("no such route or fault")
        if type(times) is not int or not 0 <= times <= TIMES_MAX:
            raise ValueError(f"times is a whole number from 0 to {TIMES_MAX}")
        if type(seconds) not in (int, float) or not 0 <= seconds <= SECONDS_MAX:
            raise ValueError(f"seconds is a number from 0 to {SECONDS_MAX}")
        with self._turn:
            if times == 0:
                self._armed[route].clear()
            self._armed[route].extend([Fault(kind, seconds)] * times)
            return len(self._armed[route])

    def take(self, route: str, *, reading: bool = False) -> Fault | None:
        """The fault that this request suffers, if any. A question cannot be left processing, so it passes that by."""
        with self._turn:
            for fault in self._armed[route]:
                if not (reading and fault.kind == "processing"):
                    self._armed[route].remove(fault)
                    return fault
        return None
