"""Faults armed per route; each provider says which routes it has and what can go wrong there."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from typing import Any

from infra.local.sandbox.faults import SECONDS_MAX, TIMES_MAX, Fault

__all__ = ["Fault", "Faults"]

Kinds = Mapping[str, tuple[str, ...]]


class Faults:
    """Taken in the order in which they were armed; a restart forgets them."""

    def __init__(self, kinds: Kinds, seconds: Mapping[str, float]) -> None:
        self._kinds = kinds
        self._seconds = seconds
        self._turn = threading.Lock()
        self._armed: dict[str, deque[Fault]] = {route: deque() for route in kinds}

    def arm(self, wanted: Mapping[str, Any]) -> int:
        """Arm a fault and return how many the route now has; `times` 0 disarms the route. ValueError if it is odd."""
        route, kind, times = wanted.get("route"), wanted.get("fault"), wanted.get("times", 1)
        seconds = wanted.get("seconds", self._seconds.get(str(kind), 10))
        if route not in self._kinds or kind not in self._kinds[route]:
            raise ValueError(f"routes and faults are {dict(self._kinds)}")
        if type(times) is not int or not 0 <= times <= TIMES_MAX:
            raise ValueError(f"times is a whole number from 0 to {TIMES_MAX}")
        if type(seconds) not in (int, float) or not 0 <= seconds <= SECONDS_MAX:
            raise ValueError(f"seconds is a number from 0 to {SECONDS_MAX}")
        with self._turn:
            if times == 0:
                self._armed[route].clear()
            self._armed[route].extend([Fault(kind, seconds)] * times)
            return len(self._armed[route])

    def take(self, route: str) -> Fault | None:
        """The fault that this request suffers, if any."""
        with self._turn:
            return self._armed[route].popleft() if self._armed[route] else None
