"""One SQLite file, in which everything that must outlive a restart is kept."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.local.sandbox.book import ClosedError

__all__ = ["ClosedError", "Store"]


class Store:
    """Transactions wait for each other; after `close` they raise ClosedError and write nothing."""

    def __init__(self, path: Path, schema: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._turn = threading.Lock()
        self._open = True
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;" + schema)

    def close(self) -> None:
        with self._turn:
            self._open = False
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing; never to be nested, since it would wait for itself."""
        with self._turn:
            if not self._open:
                raise ClosedError
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
