"""The provider's books: payments, charges, refunds, and the notifications still to be acknowledged."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

OUTCOMES = ("paid", "failed", "silent", "twice", "late", "wrong_amount", "forged")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS counter (n INTEGER NOT NULL);
INSERT INTO counter SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM counter);
CREATE TABLE IF NOT EXISTS payments (
    payment_id TEXT PRIMARY KEY, amount_minor INTEGER NOT NULL, currency TEXT NOT NULL, failed_at REAL);
CREATE TABLE IF NOT EXISTS charges (
    provider_no TEXT PRIMARY KEY, payment_id TEXT NOT NULL, amount_minor INTEGER NOT NULL, currency TEXT NOT NULL,
    charged_at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS charges_of_payment ON charges (payment_id);
CREATE TABLE IF NOT EXISTS refunds (
    refund_id TEXT PRIMARY KEY, provider_no TEXT NOT NULL, amount_minor INTEGER NOT NULL, currency TEXT NOT NULL,
    reason TEXT NOT NULL, provider_refund_no TEXT, error TEXT, settles_at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS refunds_of_charge ON refunds (provider_no);
CREATE TABLE IF NOT EXISTS letters (
    notification_id TEXT PRIMARY KEY, payment_id TEXT NOT NULL, provider_no TEXT NOT NULL, notify_url TEXT NOT NULL,
    body BLOB NOT NULL, forged INTEGER NOT NULL, round INTEGER NOT NULL, tries INTEGER NOT NULL,
    next_at REAL NOT NULL, state TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS letters_waiting ON letters (state, next_at);
CREATE INDEX IF NOT EXISTS letters_of_charge ON letters (provider_no);
"""


class TermsError(Exception):
    """The same number was used before with other terms."""


class ClosedError(Exception):
    """The books are closed; nothing was written."""


@dataclass(frozen=True)
class Bill:
    """What a merchant's pay link asks for."""

    merchant: str
    payment_id: str
    amount_minor: int
    currency: str
    subject: str
    notify_url: str
    return_url: str
    expires_at: datetime | None


@dataclass(frozen=True)
class Charge:
    provider_no: str
    amount_minor: int
    currency: str
    charged_at: float
    refunded_minor: int
    notice: str | None  # waiting, acknowledged, abandoned; None if nobody is to be told

    def is_made(self, now: float) -> bool:
        return self.charged_at <= now

    @property
    def paid_at(self) -> str:
        return iso(self.charged_at)


@dataclass(frozen=True)
class Pressed:
    """What pressing a button did."""

    outcome: str
    charges: tuple[str, ...]
    already_charged: bool


@dataclass(frozen=True)
class Refund:
    refund_id: str
    provider_no: str
    amount_minor: int
    currency: str
    reason: str


@dataclass(frozen=True)
class Letter:
    """One notification that is due to be sent, or sent again."""

    notification_id: str
    notify_url: str
    body: bytes
    forged: bool
    round: int
    tries: int
    next_at: float


def iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Book:
    """One SQLite file. Every public method is one transaction, and transactions wait for each other."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._turn = threading.Lock()
        self._open = True
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;" + _SCHEMA)

    def close(self) -> None:
        with self._turn:
            self._open = False
            self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
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

    # -- the pay page ----------------------------------------------------------------------------------------------

    def press(self, bill: Bill, outcome: str, now: float, delay_seconds: float = 5) -> Pressed:
        """Do what the button says. A payment is never charged a second time, except by `twice`, and never a third."""
        with self._transaction() as db:
            self._agree(db, bill)
            before = _charges(db, bill.payment_id)
            numbers = [charge.provider_no for charge in before]

            if outcome == "forged":
                self._write(db, bill, _number(db, "sbx", now), bill.amount_minor, now, now, status="paid", forged=True)
            elif outcome == "failed" and not before:
                db.execute("UPDATE payments SET failed_at = ? WHERE payment_id = ?", (now, bill.payment_id))
                self._write(db, bill, _number(db, "sbx", now), bill.amount_minor, None, now, status="failed")
            elif outcome != "failed":
                wanted = 2 if outcome == "twice" else 1
                charged_at = now + delay_seconds if outcome == "late" else now
                amount = off_by_one(bill.amount_minor) if outcome == "wrong_amount" else bill.amount_minor
                for _ in range(wanted - len(before)):
                    number = _number(db, "sbx", now)
                    db.execute(
                        "INSERT INTO charges VALUES (?, ?, ?, ?, ?)",
                        (number, bill.payment_id, amount, bill.currency, charged_at),
                    )
                    numbers.append(number)
                if outcome != "silent":
                    for charge in _charges(db, bill.payment_id):
                        self._tell(db, bill, charge, now)

            return Pressed(outcome, tuple(numbers), already_charged=bool(before))

    def _agree(self, db: sqlite3.Connection, bill: Bill) -> None:
        db.execute(
            "INSERT OR IGNORE INTO payments VALUES (?, ?, ?, NULL)",
            (bill.payment_id, bill.amount_minor, bill.currency),
        )
        known = db.execute("SELECT * FROM payments WHERE payment_id = ?", (bill.payment_id,)).fetchone()
        if (known["amount_minor"], known["currency"]) != (bill.amount_minor, bill.currency):
            raise TermsError(bill.payment_id)

    def _tell(self, db: sqlite3.Connection, bill: Bill, charge: Charge, now: float) -> None:
        """Notify the charge, or notify it again under its first notification id."""
        due = max(now, charge.charged_at)
        if charge.notice is None:
            self._write(db, bill, charge.provider_no, charge.amount_minor, charge.charged_at, due, status="paid")
        else:
            db.execute(
                "UPDATE letters SET notify_url = ?, round = round + 1, tries = 0, next_at = ?, state = 'waiting'"
                " WHERE provider_no = ?",
                (bill.notify_url, due, charge.provider_no),
            )

    def _write(
        self,
        db: sqlite3.Connection,
        bill: Bill,
        provider_no: str,
        amount_minor: int,
        paid_at: float | None,
        due: float,
        *,
        status: str,
        forged: bool = False,
    ) -> None:
        notification_id = _number(db, "sbn", due)
        body = {
            "notification_id": notification_id,
            "merchant": bill.merchant,
            "payment_id": bill.payment_id,
            "provider_no": provider_no,
            "amount_minor": amount_minor,
            "currency": bill.currency,
            "status": status,
            "paid_at": None if paid_at is None else iso(paid_at),
        }
        db.execute(
            "INSERT INTO letters VALUES (?, ?, ?, ?, ?, ?, 0, 0, ?, 'waiting')",
            (
                notification_id,
                bill.payment_id,
                provider_no,
                bill.notify_url,
                json.dumps(body, ensure_ascii=False).encode(),
                forged,
                due,
            ),
        )

    # -- queries and refunds ---------------------------------------------------------------------------------------

    def charges(self, payment_id: str) -> list[Charge]:
        """Every charge of the payment, those promised for later among them, oldest number first."""
        with self._transaction() as db:
            return _charges(db, payment_id)

    def payment(self, payment_id: str, now: float) -> dict[str, Any]:
        """What a merchant is told who asks."""
        with self._transaction() as db:
            known = db.execute("SELECT failed_at FROM payments WHERE payment_id = ?", (payment_id,)).fetchone()
            every = _charges(db, payment_id, now)
        made = [charge for charge in every if charge.is_made(now)]
        if made:
            status = "paid"
        elif every:
            status = "processing"
        elif known and known["failed_at"] is not None:
            status = "failed"
        else:
            status = "absent"
        return {
            "payment_id": payment_id,
            "status": status,
            "charges": [
                {
                    "provider_no": charge.provider_no,
                    "amount_minor": charge.amount_minor,
                    "currency": charge.currency,
                    "paid_at": charge.paid_at,
                    "refunded_minor": charge.refunded_minor,
                }
                for charge in made
            ],
        }

    def refund(self, wanted: Refund, now: float, settles_after_seconds: float = 0) -> dict[str, Any]:
        """Refund once per refund_id, or raise TermsError if it was used before for another refund."""
        with self._transaction() as db:
            known = db.execute("SELECT * FROM refunds WHERE refund_id = ?", (wanted.refund_id,)).fetchone()
            if known is None:
                error = self._objection(db, wanted, now)
                db.execute(
                    "INSERT INTO refunds VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        wanted.refund_id,
                        wanted.provider_no,
                        wanted.amount_minor,
                        wanted.currency,
                        wanted.reason,
                        None if error else _number(db, "sbr", now),
                        error,
                        now if error else now + settles_after_seconds,
                    ),
                )
                known = db.execute("SELECT * FROM refunds WHERE refund_id = ?", (wanted.refund_id,)).fetchone()
            elif wanted != Refund(*(known[name] for name in Refund.__dataclass_fields__)):
                raise TermsError(wanted.refund_id)
        return _refund_view(known, now)

    def refund_view(self, refund_id: str, now: float) -> dict[str, Any]:
        with self._transaction() as db:
            known = db.execute("SELECT * FROM refunds WHERE refund_id = ?", (refund_id,)).fetchone()
        return _refund_view(known, now) if known else {"refund_id": refund_id, "status": "absent"}

    def _objection(self, db: sqlite3.Connection, wanted: Refund, now: float) -> str | None:
        charge = db.execute(
            "SELECT amount_minor, currency FROM charges WHERE provider_no = ? AND charged_at <= ?",
            (wanted.provider_no, now),
        ).fetchone()
        if charge is None:
            return "unknown_charge"
        if charge["currency"] != wanted.currency:
            return "wrong_currency"
        # A refund still under way has its money set aside already.
        if wanted.amount_minor > charge["amount_minor"] - _refunded(db, wanted.provider_no):
            return "exceeds_charge"
        return None

    # -- notifications ---------------------------------------------------------------------------------------------

    def waiting_letters(self, number_max: int) -> list[Letter]:
        """Notifications not yet acknowledged or given up, the most urgent first."""
        with self._transaction() as db:
            rows = db.execute(
                "SELECT * FROM letters WHERE state = 'waiting' ORDER BY next_at LIMIT ?", (number_max,)
            ).fetchall()
        return [
            Letter(
                notification_id=row["notification_id"],
                notify_url=row["notify_url"],
                body=row["body"],
                forged=bool(row["forged"]),
                round=row["round"],
                tries=row["tries"],
                next_at=row["next_at"],
            )
            for row in rows
        ]

    def record_try(self, letter: Letter, acknowledged: bool, now: float, retry_after: Sequence[float]) -> str:
        """Note how a try ended and return the notification's state; a re-send asked for meanwhile stays due."""
        pauses = () if letter.forged else retry_after
        if acknowledged:
            state, next_at = "acknowledged", now
        elif letter.tries < len(pauses):
            state, next_at = "waiting", now + pauses[letter.tries]
        else:
            state, next_at = "abandoned", now
        with self._transaction() as db:
            db.execute(
                "UPDATE letters SET tries = tries + 1, state = ?, next_at = ? WHERE notification_id = ? AND round = ?",
                (state, next_at, letter.notification_id, letter.round),
            )
        return state


def off_by_one(amount_minor: int) -> int:
    """The amount that `wrong_amount` charges: one less, or one more where less would be nothing."""
    return amount_minor - 1 if amount_minor > 1 else amount_minor + 1


def _number(db: sqlite3.Connection, prefix: str, now: float) -> str:
    """Sortable by time. The counter keeps it unique for ever; the time also across a deleted state file."""
    n = db.execute("UPDATE counter SET n = n + 1 RETURNING n").fetchone()["n"]
    moment = datetime.fromtimestamp(now, UTC)
    return f"{prefix}{moment:%Y%m%d%H%M%S}{moment.microsecond // 1000:03d}{n:08d}"


def _charges(db: sqlite3.Connection, payment_id: str, now: float | None = None) -> list[Charge]:
    rows = db.execute(
        "SELECT charges.*, letters.state AS notice FROM charges LEFT JOIN letters USING (provider_no)"
        " WHERE charges.payment_id = ? ORDER BY provider_no",
        (payment_id,),
    ).fetchall()
    return [
        Charge(
            provider_no=row["provider_no"],
            amount_minor=row["amount_minor"],
            currency=row["currency"],
            charged_at=row["charged_at"],
            refunded_minor=_refunded(db, row["provider_no"], now),
            notice=row["notice"],
        )
        for row in rows
    ]


def _refunded(db: sqlite3.Connection, provider_no: str, now: float | None = None) -> int:
    """Money refunded by `now`, or with no moment given also what is on its way."""
    row = db.execute(
        "SELECT COALESCE(SUM(amount_minor), 0) AS total FROM refunds"
        " WHERE provider_no = ? AND error IS NULL AND settles_at <= ?",
        (provider_no, float("inf") if now is None else now),
    ).fetchone()
    return int(row["total"])


def _refund_view(row: sqlite3.Row, now: float) -> dict[str, Any]:
    done = "succeeded" if row["settles_at"] <= now else "processing"
    view = {
        "refund_id": row["refund_id"],
        "status": "failed" if row["error"] else done,
        "provider_refund_no": row["provider_refund_no"],
        "amount_minor": row["amount_minor"],
    }
    return view | {"error": row["error"]} if row["error"] else view
