"""WeChat's books: payments, refunds, the merchant's nonces, bills made; and the notifications that follow from them."""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from infra.local.counterparts.letters import Letters
from infra.local.counterparts.store import Store
from infra.local.counterparts.web import RefusedError
from infra.local.wechat.bill import Line
from infra.local.wechat.checks import BEIJING, CLOCK_SKEW_SECONDS_MAX, Order, RefundOrder
from infra.local.wechat.keys import Identity, word

SCHEMA = """
CREATE TABLE IF NOT EXISTS nonces (nonce TEXT PRIMARY KEY, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS payments (
    out_trade_no TEXT PRIMARY KEY, prepay_id TEXT NOT NULL UNIQUE, terms TEXT NOT NULL, trade_type TEXT NOT NULL,
    description TEXT NOT NULL, total INTEGER NOT NULL, currency TEXT NOT NULL, notify_url TEXT NOT NULL,
    attach TEXT NOT NULL, openid TEXT NOT NULL, expires_at REAL NOT NULL, state TEXT NOT NULL,
    transaction_id TEXT UNIQUE, paid_at REAL, notice BLOB);
CREATE TABLE IF NOT EXISTS refunds (
    out_refund_no TEXT PRIMARY KEY, refund_id TEXT NOT NULL UNIQUE, terms TEXT NOT NULL, out_trade_no TEXT NOT NULL,
    refund INTEGER NOT NULL, created_at REAL NOT NULL, settles_at REAL NOT NULL, ends_as TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS refunds_of_payment ON refunds (out_trade_no);
CREATE TABLE IF NOT EXISTS bills (token TEXT PRIMARY KEY, content BLOB NOT NULL, until REAL NOT NULL);
"""
OUTCOMES = (
    "paid",
    "failed",
    "silent",
    "twice",
    "out_of_order",
    "late",
    "wrong_amount",
    "wrong_currency",
    "other_order",
    "forged",
    "signtest",
    "success_then_refund",
)
_STATES = {
    "SUCCESS": "支付成功",
    "REFUND": "转入退款",
    "NOTPAY": "订单未支付",
    "CLOSED": "已关闭",
    "USERPAYING": "用户支付中",
    "PAYERROR": "支付失败",
}
_REFUND_SUMMARIES = {"SUCCESS": "退款成功", "CLOSED": "退款关闭", "ABNORMAL": "退款异常"}

# What is said of a payment: state, amount and the like replaced in the true answer.
Told = dict[str, Any]


@dataclass(frozen=True)
class Press:
    """A button of the pay page, with what its form says beside it.

    paid_at: another moment to be paid at, for a bill of a past day. anyway: after time_expire, as a payer who was
    typing when it passed. other_no: the order that `other_order` names.
    """

    outcome: str
    seconds: float = 5
    paid_at: float | None = None
    anyway: bool = False
    other_no: str = ""


class Book:
    """Every public method is one transaction. Refusals are RefusedError, and leave no trace."""

    def __init__(
        self, store: Store, letters: Letters, identity: Identity, refund_after: float, traits: Mapping[str, str]
    ) -> None:
        self._store = store
        self._letters = letters
        self._identity = identity
        self._refund_after = refund_after
        self._traits = traits  # as they are played at the moment

    def use_nonce(self, nonce: str, now: float) -> bool:
        """False if it was used before, as long as a timestamp could let it pass."""
        with self._store.transaction() as db:
            db.execute("DELETE FROM nonces WHERE at < ?", (now - 3 * CLOCK_SKEW_SECONDS_MAX,))
            return db.execute("INSERT OR IGNORE INTO nonces VALUES (?, ?)", (nonce, now)).rowcount == 1

    # -- orders ----------------------------------------------------------------------------------------------------

    def create(self, order: Order) -> str:
        """The prepay id of the order, which stays the same when it is asked for again."""
        with self._store.transaction() as db:
            self._expire(db)
            known = _payment(db, order.out_trade_no)
            if known is None:
                prepay_id = "wx" + datetime.now(BEIJING).strftime("%d%H%M%S") + secrets.token_hex(13)
                db.execute(
                    "INSERT INTO payments VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'NOTPAY', NULL, NULL, NULL)",
                    (
                        order.out_trade_no,
                        prepay_id,
                        order.terms,
                        order.trade_type,
                        order.description,
                        order.total,
                        order.currency,
                        order.notify_url,
                        order.attach,
                        order.openid or "o" + word(27),
                        order.expires_at,
                    ),
                )
                return prepay_id
        if known["state"] == "SUCCESS":
            raise RefusedError(400, "ORDERPAID", "该订单已支付")
        if known["state"] == "CLOSED":
            raise RefusedError(400, "ORDER_CLOSED", "该订单已关闭")
        if known["terms"] != order.terms:
            raise RefusedError(400, "OUT_TRADE_NO_USED", "商户订单号重复，且参数与原单不一致")
        return str(known["prepay_id"])

    def close(self, out_trade_no: str) -> None:
        """Closed once is closed for ever; closing again changes nothing."""
        with self._store.transaction() as db:
            self._expire(db)
            known = _payment(db, out_trade_no)
            if known is None:
                raise self._no_order()
            if known["state"] == "SUCCESS":
                raise RefusedError(400, self._traits["close_paid"], "该订单已支付，不能关闭")
            if known["state"] == "CLOSED" and self._traits["close_again"] != "204":
                raise RefusedError(400, self._traits["close_again"], "该订单已关闭")
            db.execute("UPDATE payments SET state = 'CLOSED' WHERE out_trade_no = ?", (out_trade_no,))

    def query(self, *, out_trade_no: str = "", transaction_id: str = "") -> Told:
        with self._store.transaction() as db:
            self._expire(db)
            known = _payment(db, out_trade_no, transaction_id)
            if known is None:
                raise self._no_order()
            return self._transaction(db, known)

    def to_pay(self, prepay_id: str) -> sqlite3.Row:
        """The payment behind a pay page."""
        with self._store.transaction() as db:
            row: sqlite3.Row | None = db.execute("SELECT * FROM payments WHERE prepay_id = ?", (prepay_id,)).fetchone()
        if row is None:
            raise RefusedError(404, "NO_SUCH_CODE", "没有这个付款码")
        return row

    # -- the pay page ----------------------------------------------------------------------------------------------

    def press(self, prepay_id: str, press: Press, now: float) -> dict[str, Any]:
        """Do what the button says. Nothing is charged twice: on a paid order only the notifications go again."""
        with self._store.transaction() as db:
            self._expire(db)
            row = db.execute("SELECT * FROM payments WHERE prepay_id = ?", (prepay_id,)).fetchone()
            if row is None:
                raise RefusedError(404, "NO_SUCH_CODE", "没有这个付款码")
            paid_before = row["state"] == "SUCCESS"
            if press.outcome == "forged":
                pretended = {**self._transaction(db, row), **_as_paid(row, _transaction_id(now), now, row["total"])}
                self._tell(db, row, "TRANSACTION.SUCCESS", self._envelope(pretended, now), now, how="forged", once=True)
            elif row["state"] == "CLOSED":
                raise RefusedError(400, "ORDER_CLOSED", "该订单已关闭，不能支付")
            elif not paid_before and row["expires_at"] <= now and not press.anyway:
                raise RefusedError(400, "EXPIRED", "已过支付截止时间，不能支付")
            elif press.outcome == "failed":
                if not paid_before:
                    failed = (self._traits["failed_state"], prepay_id)
                    db.execute("UPDATE payments SET state = ? WHERE prepay_id = ?", failed)
            else:
                if not paid_before:
                    self._charge(db, row, press, now)
                    row = db.execute("SELECT * FROM payments WHERE prepay_id = ?", (prepay_id,)).fetchone()
                self._notify(db, row, press, now)
            row = db.execute("SELECT * FROM payments WHERE prepay_id = ?", (prepay_id,)).fetchone()
            return {
                "outcome": press.outcome,
                "out_trade_no": row["out_trade_no"],
                "transaction_id": row["transaction_id"],
                "trade_state": self._state(db, row),
                "already_paid": paid_before,
            }

    def _charge(self, db: sqlite3.Connection, row: sqlite3.Row, press: Press, now: float) -> None:
        total = row["total"]
        if press.outcome == "wrong_amount":
            total += -1 if total > 1 else 1
        currency = "USD" if press.outcome == "wrong_currency" else row["currency"]
        paid_at = now if press.paid_at is None else press.paid_at
        db.execute(
            "UPDATE payments SET state = 'SUCCESS', transaction_id = ?, paid_at = ?, total = ?, currency = ?"
            " WHERE prepay_id = ?",
            (_transaction_id(paid_at), paid_at, total, currency, row["prepay_id"]),
        )
        told = self._transaction(db, _payment(db, row["out_trade_no"]))
        db.execute("UPDATE payments SET notice = ? WHERE prepay_id = ?", (self._envelope(told, now), row["prepay_id"]))

    def _notify(self, db: sqlite3.Connection, row: sqlite3.Row, press: Press, now: float) -> None:
        def tell(content: bytes, **more: Any) -> str:
            return self._tell(db, row, "TRANSACTION.SUCCESS", content, now, **more)

        notice: bytes = row["notice"]
        match press.outcome:
            case "silent":
                pass
            case "twice":
                tell(notice, after=tell(notice))
            case "late":
                self._tell(db, row, "TRANSACTION.SUCCESS", notice, now + press.seconds)
            case "out_of_order":
                # As a message that was written while the payer was typing, and overtook nothing.
                stale = {**self._transaction(db, row), "trade_state": "USERPAYING"}
                stale["trade_state_desc"] = _STATES["USERPAYING"]
                for name in ("transaction_id", "success_time", "bank_type"):
                    stale.pop(name, None)
                tell(notice, after=tell(self._envelope(stale, now)))
            case "other_order":
                other = press.other_no or row["out_trade_no"][:-1] + ("Z" if row["out_trade_no"][-1] != "Z" else "Y")
                tell(self._envelope({**self._transaction(db, row), "out_trade_no": other}, now))
            case "signtest":
                # The probe is refused by a sound merchant, and the true notification follows.
                tell(notice, after=tell(notice, how="signtest", once=True))
            case "success_then_refund":
                first = tell(notice)
                if not self._refunded(db, row["out_trade_no"], now):
                    self._refund(db, row, "R" + word(31), row["total"], "", "SUCCESS", now, self._refund_after, first)
            case _:
                tell(notice)

    def _tell(
        self, db: sqlite3.Connection, row: sqlite3.Row, event: str, content: bytes, due: float, **more: Any
    ) -> str:
        url = more.pop("notify_url", "") or row["notify_url"]
        return self._letters.put(
            db, about=row["out_trade_no"], notify_url=url, content=content, due=due, event=event, **more
        )

    def _envelope(
        self, content: Told, now: float, event: str = "TRANSACTION.SUCCESS", summary: str = "支付成功"
    ) -> bytes:
        kind = "refund" if event.startswith("REFUND.") else "transaction"
        return json.dumps(
            {
                "id": str(uuid.uuid4()),
                "create_time": rfc3339(now),
                "resource_type": "encrypt-resource",
                "event_type": event,
                "summary": summary,
                "resource": self._identity.resource(content, kind),
            },
            ensure_ascii=False,
            separators=(",", ":"),
        ).encode()

    def _transaction(self, db: sqlite3.Connection, row: sqlite3.Row) -> Told:
        """What is said of a payment, when asked and when telling."""
        state = self._state(db, row)
        told = {
            "appid": self._identity.appid,
            "mchid": self._identity.mchid,
            "out_trade_no": row["out_trade_no"],
            "trade_type": row["trade_type"],
            "trade_state": state,
            "trade_state_desc": _STATES[state],
            "attach": row["attach"],
            "amount": {"total": row["total"], "currency": row["currency"]},
        }
        if row["paid_at"] is not None:
            told |= _as_paid(row, row["transaction_id"], row["paid_at"], row["total"], state)
        return told

    def _state(self, db: sqlite3.Connection, row: sqlite3.Row) -> str:
        """REFUND from the first refund on that did not come to nothing, however small."""
        refunded = self._refunded(db, row["out_trade_no"], time.time()) if row["state"] == "SUCCESS" else 0
        if refunded:
            return "REFUND" if refunded == row["total"] else self._traits["partly_refunded_state"]
        return str(row["state"])

    def _expire(self, db: sqlite3.Connection) -> None:
        if self._traits["expired_state"] == "CLOSED":
            db.execute(
                "UPDATE payments SET state = 'CLOSED' WHERE state IN ('NOTPAY', 'PAYERROR') AND expires_at <= ?",
                (time.time(),),
            )

    def _no_order(self) -> RefusedError:
        return RefusedError(404, self._traits["order_absent"], "订单不存在")

    # -- refunds ---------------------------------------------------------------------------------------------------

    def refund(self, wanted: RefundOrder, settles_after: float | None, ends_as: str) -> Told:
        """Refund once per out_refund_no; the same request again is told how the first one stands."""
        with self._store.transaction() as db:
            now = time.time()  # here, where nobody else has his turn: what settled before this has settled
            payment = _payment(db, wanted.out_trade_no, wanted.transaction_id)
            known = _refund(db, wanted.out_refund_no)
            if known is not None:
                if known["terms"] != wanted.terms or self._traits["repeated_refund"] != "told":
                    raise _invalid("商户退款单号重复，且参数与原退款不一致")
            else:
                if payment is None:
                    raise RefusedError(404, "RESOURCE_NOT_EXISTS", "订单不存在")
                if payment["state"] != "SUCCESS":
                    raise _invalid("订单未支付，不能退款")
                if (wanted.total, wanted.currency) != (payment["total"], payment["currency"]):
                    raise _invalid("订单金额或币种与支付时不一致")
                if wanted.refund > payment["total"] - self._refunded(db, payment["out_trade_no"], now):
                    raise _invalid("退款金额大于可退金额")
                pause = self._refund_after if settles_after is None else settles_after
                self._refund(
                    db,
                    payment,
                    wanted.out_refund_no,
                    wanted.refund,
                    wanted.terms,
                    ends_as,
                    now,
                    pause,
                    notify_url=wanted.notify_url,
                )
            return self._refund_told(db, wanted.out_refund_no, now)

    def refund_query(self, out_refund_no: str) -> Told:
        with self._store.transaction() as db:
            if _refund(db, out_refund_no) is None:
                raise RefusedError(404, self._traits["refund_absent"], "退款单不存在")
            return self._refund_told(db, out_refund_no, time.time())

    def _refund(
        self,
        db: sqlite3.Connection,
        payment: sqlite3.Row,
        out_refund_no: str,
        refund: int,
        terms: str,
        ends_as: str,
        now: float,
        pause: float,
        after: str | None = None,
        notify_url: str = "",
    ) -> None:
        refund_id = f"50{datetime.fromtimestamp(now, BEIJING):%Y%m%d}{secrets.randbelow(10**19):019d}"
        db.execute(
            "INSERT INTO refunds VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (out_refund_no, refund_id, terms, payment["out_trade_no"], refund, now, now + pause, ends_as),
        )
        told = {
            "mchid": self._identity.mchid,
            "out_trade_no": payment["out_trade_no"],
            "transaction_id": payment["transaction_id"],
            "out_refund_no": out_refund_no,
            "refund_id": refund_id,
            "refund_status": ends_as,
            "user_received_account": "支付用户零钱",
            "amount": {
                "total": payment["total"],
                "refund": refund,
                "payer_total": payment["total"],
                "payer_refund": refund,
            },
        }
        if ends_as == "SUCCESS":
            told["success_time"] = rfc3339(now + pause)
        if not notify_url and self._traits["refund_notice"] != "sent":
            return
        event = f"REFUND.{ends_as}"
        content = self._envelope(told, now + pause, event, _REFUND_SUMMARIES[ends_as])
        self._tell(db, payment, event, content, now + pause, after=after, notify_url=notify_url)

    def _refund_told(self, db: sqlite3.Connection, out_refund_no: str, now: float) -> Told:
        row = _refund(db, out_refund_no)
        payment = _payment(db, row["out_trade_no"])
        status = row["ends_as"] if row["settles_at"] <= now else "PROCESSING"
        told = {
            "refund_id": row["refund_id"],
            "out_refund_no": out_refund_no,
            "transaction_id": payment["transaction_id"],
            "out_trade_no": payment["out_trade_no"],
            "channel": "ORIGINAL",
            "user_received_account": "支付用户零钱",
            "create_time": rfc3339(row["created_at"]),
            "status": status,
            "funds_account": "AVAILABLE",
            "amount": {
                "total": payment["total"],
                "refund": row["refund"],
                "payer_total": payment["total"],
                "payer_refund": row["refund"],
                "settlement_refund": row["refund"],
                "settlement_total": payment["total"],
                "discount_refund": 0,
                "currency": payment["currency"],
            },
        }
        if status == "SUCCESS":
            told["success_time"] = rfc3339(row["settles_at"])
        return told

    def _refunded(self, db: sqlite3.Connection, out_trade_no: str, now: float) -> int:
        """What is given back or set aside for it; a refund that was closed frees its money."""
        total: int = db.execute(
            "SELECT COALESCE(SUM(refund), 0) AS n FROM refunds WHERE out_trade_no = ?"
            " AND NOT (ends_as = 'CLOSED' AND settles_at <= ?)",
            (out_trade_no, now),
        ).fetchone()["n"]
        return total

    # -- bills -----------------------------------------------------------------------------------------------------

    def lines(self, day: date, kind: str, now: float) -> list[Line]:
        """The payments and refunds of a day in Beijing; only what has succeeded by now."""
        begin = datetime(day.year, day.month, day.day, tzinfo=BEIJING).timestamp()
        until = min(begin + 86_400, now + 1)
        common = ("transaction_id", "out_trade_no", "openid", "trade_type", "currency", "description", "attach")
        lines = []
        with self._store.transaction() as db:
            if kind != "REFUND":
                lines += [
                    Line(at=row["paid_at"], total=row["total"], **{name: row[name] for name in common})
                    for row in db.execute(
                        "SELECT * FROM payments WHERE paid_at >= ? AND paid_at < ?", (begin, begin + 86_400)
                    )
                ]
            if kind != "SUCCESS":
                lines += [
                    Line(
                        at=row["settles_at"],
                        refund_id=row["refund_id"],
                        out_refund_no=row["out_refund_no"],
                        refund=row["refund"],
                        fee_comes_back=self._traits["refunded_fee"] == "given_back",
                        **{name: row[name] for name in common},
                    )
                    for row in db.execute(
                        "SELECT * FROM refunds JOIN payments USING (out_trade_no)"
                        " WHERE ends_as = 'SUCCESS' AND settles_at >= ? AND settles_at < ?",
                        (begin, until),
                    )
                ]
        return lines

    def keep_bill(self, content: bytes, now: float, seconds: float) -> str:
        """The token under which the bill can be fetched for so long."""
        token = secrets.token_urlsafe(24)
        with self._store.transaction() as db:
            db.execute("DELETE FROM bills WHERE until < ?", (now,))
            db.execute("INSERT INTO bills VALUES (?, ?, ?)", (token, content, now + seconds))
        return token

    def kept_bill(self, token: str, now: float) -> bytes | None:
        with self._store.transaction() as db:
            row = db.execute("SELECT content FROM bills WHERE token = ? AND until >= ?", (token, now)).fetchone()
        return row["content"] if row else None


def rfc3339(moment: float) -> str:
    return datetime.fromtimestamp(moment, BEIJING).isoformat(timespec="seconds")


def _as_paid(row: sqlite3.Row, transaction_id: str, at: float, total: int, state: str = "SUCCESS") -> Told:
    return {
        "transaction_id": transaction_id,
        "trade_state": state,
        "trade_state_desc": _STATES[state],
        "bank_type": "OTHERS",
        "success_time": rfc3339(at),
        "payer": {"openid": row["openid"]},
        "amount": {
            "total": total,
            "payer_total": total,
            "currency": row["currency"],
            "payer_currency": row["currency"],
        },
    }


def _transaction_id(moment: float) -> str:
    day = datetime.fromtimestamp(moment, BEIJING)
    return f"4200{secrets.randbelow(10**6):06d}{day:%Y%m%d}{secrets.randbelow(10**10):010d}"


def _payment(db: sqlite3.Connection, out_trade_no: str, transaction_id: str = "") -> Any:
    return db.execute(
        "SELECT * FROM payments WHERE out_trade_no = ? OR (transaction_id = ? AND ? != '')",
        (out_trade_no, transaction_id, transaction_id),
    ).fetchone()


def _refund(db: sqlite3.Connection, out_refund_no: str) -> Any:
    return db.execute("SELECT * FROM refunds WHERE out_refund_no = ?", (out_refund_no,)).fetchone()


def _invalid(message: str) -> RefusedError:
    return RefusedError(400, "INVALID_REQUEST", message)
