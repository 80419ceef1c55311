"""The other end of the shim: which calls were seen, and which faults are armed."""

from __future__ import annotations

import json
import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple


class Call(NamedTuple):
    function: str
    action: str
    resource: str


@dataclass(frozen=True)
class Fault:
    """One armed fault; `struck` says whether it has come to pass."""

    folder: Path
    id: str

    @property
    def struck(self) -> bool:
        return (self.folder / f"struck-{self.id}").exists()

    @property
    def records(self) -> list[int]:
        """Of streams: how often each record that came was handed on."""
        path = self.folder / f"weather-{self.id}"
        return [int(count) for count in path.read_text().split()] if path.exists() else []


@dataclass
class Weather:
    folder: Path
    _armed: dict[str, dict[str, Any]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def env(self) -> dict[str, str]:
        """What the cloud's process is given, so that its workers import the shim."""
        return {"PYTHONPATH": str(Path(__file__).parent / "shim"), "KAQUAN_SHIM": str(self.folder)}

    def calls(self) -> set[Call]:
        """Every kind of call seen so far."""
        return {Call(**json.loads(line)) for line in set(self._lines())}

    def times(self, *call: str) -> int:
        """How often this function has called this action on this resource."""
        return sum(tuple(json.loads(line).values()) == call for line in self._lines())

    def _lines(self) -> list[str]:
        path = self.folder / "calls.jsonl"
        return path.read_text().splitlines() if path.exists() else []

    @contextmanager
    def death(self, function: str, after: int, about: str = "") -> Iterator[Fault]:
        """The first process of `function` that makes its n-th write for an event that mentions `about` ends there."""
        with self._arm("die", function, after=after, about=about) as fault:
            yield fault

    @contextmanager
    def storm(self, function: str = "", **chances: float) -> Iterator[Fault]:
        """Chances from 0 to 1: conflict, throttle, stale, unprocessed."""
        with self._arm("storm", function, **chances) as fault:
            yield fault

    @contextmanager
    def lossy_streams(self, drop: float, double: float, seed: int) -> Iterator[Fault]:
        with self._arm("streams", "relay", drop=drop, double=double, seed=seed) as fault:
            yield fault

    @contextmanager
    def _arm(self, kind: str, function: str, **more: Any) -> Iterator[Fault]:
        fault = Fault(self.folder, uuid.uuid4().hex)
        self._publish(fault.id, {"id": fault.id, "kind": kind, "function": function, **more})
        try:
            yield fault
        finally:
            self._publish(fault.id, None)

    def _publish(self, fault_id: str, wanted: dict[str, Any] | None) -> None:
        with self._lock:
            self._armed.pop(fault_id, None)
            if wanted:
                self._armed[fault_id] = wanted
            scratch = self.folder / "faults.json.new"
            scratch.write_text(json.dumps(list(self._armed.values())))
            os.replace(scratch, self.folder / "faults.json")
