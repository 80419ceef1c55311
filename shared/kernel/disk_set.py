"""A set of digests that takes no memory: in a file of this process, keyed anew each time, gone when it is closed."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import tempfile
from types import TracebackType
from typing import Self

_CACHE = -2_048  # kilobytes that SQLite may hold


class DiskSet:
    def __init__(self) -> None:
        self._file = tempfile.NamedTemporaryFile(prefix="kaquan-")  # noqa: SIM115  # closed on leaving the block
        self._key = os.urandom(32)
        self._base = sqlite3.connect(self._file.name, isolation_level=None)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", f"cache_size={_CACHE}"):
            self._base.execute(f"PRAGMA {pragma}")
        self._base.execute("CREATE TABLE seen (digest BLOB PRIMARY KEY) WITHOUT ROWID")
        self._base.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._base.close()
        self._file.close()

    def __contains__(self, digest: object) -> bool:
        assert isinstance(digest, bytes)  # noqa: S101  # the protocol of sets asks for any object
        return self._base.execute("SELECT 1 FROM seen WHERE digest = ?", (self._keyed(digest),)).fetchone() is not None

    def add(self, digest: bytes) -> None:
        self._base.execute("INSERT OR IGNORE INTO seen VALUES (?)", (self._keyed(digest),))

    def _keyed(self, digest: bytes) -> bytes:
        return hashlib.blake2b(digest, digest_size=16, key=self._key).digest()
