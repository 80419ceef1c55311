"""A program that runs in the background: started once, found again, stopped cleanly."""

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path


class Failed(Exception):
    """Something could not be done; the text says what happened and what to do about it."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(ready: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Return as soon as `ready` says so, or fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise Failed(f"waited {seconds:.0f} s in vain until {what}")
        time.sleep(0.05)


def answers(url: str) -> bool:
    """Whether something at this address says 200."""
    with suppress(OSError), urllib.request.urlopen(url, timeout=2) as reply:
        return bool(reply.status == 200)
    return False


@dataclass
class Background:
    """One such program. Its process id and its log stay in `folder`, so that a later command finds it again."""

    name: str
    command: Sequence[str]
    folder: Path
    port: int
    health_url: str
    env: Mapping[str, str] = field(default_factory=dict)
    _child: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def _pid_file(self) -> Path:
        return self.folder / f"{self.name}.pid"

    def running(self) -> bool:
        return self._pid() is not None and answers(self.health_url)

    def start(self, *, seconds: float = 60) -> bool:
        """Start it and wait until it answers. False if it was running already."""
        if self.running():
            return False
        self.stop()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                raise Failed(
                    f"port {self.port} is taken by another program: stop that one. "
                    "A first run may also take another port: PORT=4700 make run"
                )
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            child = subprocess.Popen(
                self.command,
                env={**os.environ, **self.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal is meant for make, not for the cloud
            )
        self._child = child
        # The number alone may belong to somebody else after a restart of the machine: the command goes with it.
        self._pid_file.write_text(f"{child.pid} {' '.join(self.command[1:])}")
        try:
            wait_until(
                lambda: child.poll() is not None or answers(self.health_url),
                seconds=seconds,
                what=f"{self.name} answered at {self.health_url}; its log is {self.log}",
            )
        except Failed:
            self.stop()
            raise
        if child.poll() is not None:
            raise Failed(f"{self.name} ended at once; the last lines of {self.log}:\n{self.last_words()}")
        return True

    def stop(self, *, seconds: float = 30) -> bool:
        """Ask it to end and wait until it has: what it holds in memory is saved then. False if it was not running."""
        pid = self._pid()
        if pid is not None:
            with suppress(ProcessLookupError):  # it ended by itself this very moment
                os.kill(pid, signal.SIGTERM)
                try:
                    wait_until(lambda: self._pid() is None, seconds=seconds, what=f"{self.name} ended")
                except Failed:
                    os.kill(pid, signal.SIGKILL)
            with suppress(ProcessLookupError):  # it has left no children behind
                os.killpg(pid, signal.SIGKILL)
        self._pid_file.unlink(missing_ok=True)
        return pid is not None

    def last_words(self, lines: int = 20) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""

    def _pid(self) -> int | None:
        """The process id, if it is alive and still the program that was started here."""
        if self._child is not None and self._child.poll() is not None:
            return None
        try:
            pid, _, command = self._pid_file.read_text().partition(" ")
        except OSError:
            return None
        return int(pid) if command and command in _command_line(int(pid)) else None


def _command_line(pid: int) -> str:
    """What was typed to start this process; empty when it is gone."""
    if Path("/proc/self/cmdline").exists():
        with suppress(OSError):
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return ""
    shown = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout
