"""Notifications: kept until they are acknowledged or given up, with every answer that came back."""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from infra.local.counterparts.faults import Faults
from infra.local.counterparts.store import Store
from infra.local.sandbox import courier

SCHEMA = """
CREATE TABLE IF NOT EXISTS letters (
    notification_id TEXT PRIMARY KEY, about TEXT NOT NULL, event TEXT NOT NULL, notify_url TEXT NOT NULL,
    content BLOB NOT NULL, how TEXT NOT NULL, once INTEGER NOT NULL, after TEXT, tries INTEGER NOT NULL,
    next_at REAL NOT NULL, state TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS letters_waiting ON letters (state, next_at);
CREATE TABLE IF NOT EXISTS answers (
    notification_id TEXT NOT NULL, at REAL NOT NULL, status INTEGER, body TEXT NOT NULL, problem TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS answers_to_letter ON answers (notification_id);
"""
_KEPT_CHARACTERS = 2000

Dress = Callable[["Letter", str], tuple[dict[str, str], bytes]]
Accepts = Callable[[int, bytes], bool]


@dataclass(frozen=True)
class Letter:
    """One notification that is due. how: the provider's own word for how it is signed, "" for soundly."""

    notification_id: str
    about: str
    event: str
    notify_url: str
    content: bytes
    how: str
    once: bool
    tries: int
    next_at: float


class Letters:
    """`waiting_letters` and `record_try` are what the courier asks of a book."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @staticmethod
    def put(
        db: sqlite3.Connection,
        *,
        about: str,
        notify_url: str,
        content: bytes,
        due: float,
        event: str = "",
        how: str = "",
        once: bool = False,
        after: str | None = None,
    ) -> str:
        """Keep a letter within the caller's transaction; wake the courier when that has ended.

        once: a refusal is final. after: not before that other letter has been tried.
        """
        notification_id = secrets.token_hex(12)
        db.execute(
            "INSERT INTO letters VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, 'waiting')",
            (notification_id, about, event, notify_url, content, how, once, after, due),
        )
        return notification_id

    def waiting_letters(self, number_max: int) -> list[Letter]:
        with self._store.transaction() as db:
            rows = db.execute(
                "SELECT * FROM letters WHERE state = 'waiting' AND (after IS NULL OR EXISTS (SELECT 1 FROM letters"
                " AS earlier WHERE earlier.notification_id = letters.after AND earlier.tries > 0))"
                " ORDER BY next_at LIMIT ?",
                (number_max,),
            ).fetchall()
        return [
            Letter(
                **{name: row[name] for name in Letter.__dataclass_fields__ if name != "once"}, once=bool(row["once"])
            )
            for row in rows
        ]

    def record_answer(self, letter: Letter, status: int | None, body: bytes, problem: str, now: float) -> None:
        with self._store.transaction() as db:
            db.execute(
                "INSERT INTO answers VALUES (?, ?, ?, ?, ?)",
                (letter.notification_id, now, status, body.decode("utf-8", "replace"), problem),
            )

    def record_try(self, letter: Letter, acknowledged: bool, now: float, retry_after: Sequence[float]) -> str:
        """Note how a try ended and return the letter's state."""
        pauses = () if letter.once else retry_after
        if acknowledged:
            state, next_at = "acknowledged", now
        elif letter.tries < len(pauses):
            state, next_at = "waiting", now + pauses[letter.tries]
        else:
            state, next_at = "abandoned", now
        with self._store.transaction() as db:
            db.execute(
                "UPDATE letters SET tries = tries + 1, state = ?, next_at = ? WHERE notification_id = ?",
                (state, next_at, letter.notification_id),
            )
        return state

    def told(self, about: str = "") -> list[dict[str, Any]]:
        """Every letter, oldest first, or those about one payment; each with the answers that came back."""
        with self._store.transaction() as db:
            letters = db.execute(
                "SELECT * FROM letters WHERE ? IN ('', about) ORDER BY rowid",
                (about,),
            ).fetchall()
            answers = db.execute("SELECT * FROM answers ORDER BY rowid").fetchall()
        return [
            {
                **{name: row[name] for name in ("notification_id", "about", "event", "notify_url", "how", "tries")},
                "state": row["state"],
                "content": row["content"].decode("utf-8", "replace"),
                "answers": [
                    {name: answer[name] for name in ("at", "status", "body", "problem")}
                    for answer in answers
                    if answer["notification_id"] == row["notification_id"]
                ],
            }
            for row in letters
        ]


class Courier(courier.Courier):
    """The sandbox's courier, which here carries what `dress` gives and keeps every answer.

    `dress` signs at the moment of sending and returns headers and body; `accepts` tells an acknowledgement.
    """

    def __init__(
        self,
        letters: Letters,
        dress: Dress,
        accepts: Accepts,
        faults: Faults,
        retry_after: Sequence[float],
        answer_within: float,
    ) -> None:
        super().__init__(letters, None, faults, retry_after, answer_within=answer_within)  # it asks no more of a book
        self._letters = letters
        self._dress = dress
        self._accepts = accepts

    def _post(self, letter: Letter) -> bool:
        fault = self._faults.take("notify")
        kind = fault.kind if fault else ""
        if fault and kind == "slow":
            self._stopping.wait(fault.seconds)
        headers, body = self._dress(letter, letter.how or kind)
        status, answer, problem = _post(letter.notify_url, body, headers, self._answer_within)
        self._letters.record_answer(letter, status, answer, problem, time.time())
        # `silent` here: the merchant's answer is lost on its way back.
        return status is not None and kind != "silent" and self._accepts(status, answer)


def _post(url: str, body: bytes, headers: dict[str, str], seconds: float) -> tuple[int | None, bytes, str]:
    """Status, body and what went wrong; redirects and proxies are not followed."""
    began = time.monotonic()
    try:
        parts = urlsplit(url)
        scheme = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        with closing(scheme(parts.hostname or "", parts.port, timeout=seconds)) as connection:
            connection.request("POST", target, body, headers)
            reply = connection.getresponse()
            answer = reply.read(_KEPT_CHARACTERS)
    except (OSError, HTTPException, ValueError) as problem:  # the last for an address that cannot be called
        return None, b"", type(problem).__name__
    if time.monotonic() - began > seconds:
        return None, answer, "answered too late"
    return reply.status, answer, ""


def letters_json(letters: Letters, about: str) -> bytes:
    return json.dumps({"letters": letters.told(about)}, ensure_ascii=False).encode()
