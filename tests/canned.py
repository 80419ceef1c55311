"""Epay and Stripe in as little as a campaign needs: a page to pay on, questions, refunds, notifications and faults.

Written from what they publish, and never from our adapters; unlike localstripe they live by the clock of the test.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import sqlite3
import time
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlencode

from infra.local.counterparts import Counterpart, Letter, RefusedError, Reply, Request, json_reply

BEIJING = timezone(timedelta(hours=8))
LOST = ("silent", "before_silent", "500", "before_500", "garbage")  # what does not begin with `before` was done


class Canned(Counterpart):
    """Faults are taken before or after the work of a route; see LOST."""

    keys: Mapping[str, str]
    terms: Mapping[str, str]

    def __init__(self, state: Path) -> None:
        super().__init__(state, retry_after=(15, 60, 300))

    def answer(self, request: Request) -> Reply | None:
        route = self.route(request)
        fault = self.faults.take(route) if route in self.fault_kinds else None
        kind = fault.kind if fault else ""
        if not kind.startswith("before_"):
            with self.store.transaction() as db:
                said = self.work(db, route, request, kind)
            self.wake()
        if kind.endswith("silent"):
            return None
        if kind.endswith("500"):
            return json_reply(500, {"error": {"message": "armed", "type": "api_error"}})
        return Reply(200, b"<html>\xff", "text/html") if kind == "garbage" else said

    def accepts(self, status: int, body: bytes) -> bool:
        return status == 200

    def route(self, request: Request) -> str:
        raise NotImplementedError

    def work(self, db: sqlite3.Connection, route: str, request: Request, kind: str) -> Reply:
        raise NotImplementedError


class CannedEpay(Canned):
    """A V1 gateway. An order is there once its page was opened, and can be paid for ever; nothing is ever closed."""

    schema = """
    CREATE TABLE IF NOT EXISTS trades (trade_no TEXT PRIMARY KEY, payment_id TEXT, minor INT, page TEXT, added_at REAL,
        paid_at REAL);
    CREATE TABLE IF NOT EXISTS refunds (number INTEGER PRIMARY KEY, trade_no TEXT, minor INT, at REAL);
    """
    fault_kinds: ClassVar[Mapping[str, tuple[str, ...]]] = {"order": LOST, "refund": LOST, "notify": ("slow", "silent")}
    outcomes = ("paid", "silent", "twice", "left")

    def __init__(self, state: Path) -> None:
        super().__init__(state)
        self.keys = {"key": secrets.token_hex(20)}
        self.terms = {"pid": "1001", "gateway": self.url, "allowed": "yes"}

    def sign(self, fields: Mapping[str, str]) -> str:
        named = sorted((name, value) for name, value in fields.items() if value and name not in ("sign", "sign_type"))
        message = "&".join(f"{name}={value}" for name, value in named) + self.keys["key"]
        return hashlib.md5(message.encode()).hexdigest()

    def route(self, request: Request) -> str:
        return "page" if request.path == "/submit.php" else request.query.get("act", "")

    def work(self, db: sqlite3.Connection, route: str, request: Request, kind: str) -> Reply:
        if route == "page":
            return self._page(db, request.query, request.form)
        fields = {**request.query, **request.form}
        if (fields.get("pid"), fields.get("key")) != (self.terms["pid"], self.keys["key"]):
            return json_reply(200, {"code": -3, "msg": "商户密钥错误"})
        return self._refund(db, fields) if route == "refund" else self._order(db, fields)

    def dress(self, letter: Letter, how: str) -> tuple[dict[str, str], bytes]:
        """The query; who keeps the mail hands it in as the GET that it is."""
        return {}, letter.content

    def _page(self, db: sqlite3.Connection, page: Mapping[str, str], form: Mapping[str, str]) -> Reply:
        if page.get("sign") != self.sign(page) or page.get("pid") != self.terms["pid"]:
            raise RefusedError(400, "SIGN", "签名校验失败")
        trades = db.execute("SELECT * FROM trades WHERE payment_id = ?", (page["out_trade_no"],)).fetchall()
        if any(trade["paid_at"] for trade in trades):
            raise RefusedError(409, "PAID", "已支付")
        if not trades:
            self._open(db, page)
        outcome, now = form["outcome"], time.time()
        if outcome == "twice":  # two people in front of two phones: a trade for each
            self._open(db, page)
        if outcome != "left":
            rows = "SELECT * FROM trades WHERE payment_id = ? ORDER BY rowid"
            for trade in db.execute(rows, (page["out_trade_no"],)).fetchall():
                db.execute("UPDATE trades SET paid_at = ? WHERE trade_no = ?", (now, trade["trade_no"]))
                if outcome != "silent":
                    self._notify(db, trade["trade_no"], page, now + float(form.get("seconds", "0")))
        return json_reply(200, {"outcome": outcome})

    def _open(self, db: sqlite3.Connection, page: Mapping[str, str]) -> None:
        units, _, cents = page["money"].partition(".")
        db.execute(
            "INSERT INTO trades VALUES (?, ?, ?, ?, ?, NULL)",
            (
                f"{time.time_ns()}{secrets.randbelow(1000):03d}",
                page["out_trade_no"],
                int(units) * 100 + int(cents),
                json.dumps(dict(page)),
                time.time(),
            ),
        )

    def _notify(self, db: sqlite3.Connection, trade_no: str, page: Mapping[str, str], due: float) -> None:
        fields = {name: page[name] for name in ("pid", "out_trade_no", "type", "name", "money")}
        fields |= {"trade_no": trade_no, "trade_status": "TRADE_SUCCESS"}
        content = urlencode({**fields, "sign": self.sign(fields), "sign_type": "MD5"}).encode()
        self.letters.put(db, about=page["out_trade_no"], notify_url=page["notify_url"], content=content, due=due)

    def _order(self, db: sqlite3.Connection, fields: Mapping[str, str]) -> Reply:
        """Of several trades the first, as a table without a second look gives it."""
        found = "SELECT * FROM trades WHERE payment_id = ? ORDER BY rowid LIMIT 1"
        trade = db.execute(found, (fields["out_trade_no"],)).fetchone()
        if trade is None:
            return json_reply(200, {"code": -1, "msg": "订单号不存在"})
        page = json.loads(trade["page"])
        told = {name: page[name] for name in ("out_trade_no", "type", "name", "money")}
        return json_reply(
            200,
            {
                **told,
                "code": 1,
                "msg": "查询订单号成功！",
                "trade_no": trade["trade_no"],
                "pid": int(page["pid"]),
                "addtime": _beijing(trade["added_at"]),
                "endtime": _beijing(trade["paid_at"]) if trade["paid_at"] else None,
                "status": 1 if trade["paid_at"] else 0,
            },
        )

    def _refund(self, db: sqlite3.Connection, fields: Mapping[str, str]) -> Reply:
        """Every call is a refund of its own, as long as there is money left."""
        units, _, cents = fields["money"].partition(".")
        number, minor = fields["trade_no"], int(units) * 100 + int(cents)
        trade = db.execute("SELECT * FROM trades WHERE trade_no = ? AND paid_at IS NOT NULL", (number,)).fetchone()
        gone = db.execute("SELECT COALESCE(SUM(minor), 0) FROM refunds WHERE trade_no = ?", (number,)).fetchone()[0]
        if trade is None or gone + minor > trade["minor"]:
            return json_reply(200, {"code": -1, "msg": "退款金额大于订单金额"})
        db.execute("INSERT INTO refunds (trade_no, minor, at) VALUES (?, ?, ?)", (number, minor, time.time()))
        return json_reply(200, {"code": 1, "msg": "退款成功"})


class CannedStripe(Canned):
    """Payment intents, their refunds, balance transactions, and idempotency keys.

    `notify_url` is what its dashboard has been told; `fee_e6` what it keeps of a charge, which no refund brings back.
    """

    schema = """
    CREATE TABLE IF NOT EXISTS intents (id TEXT PRIMARY KEY, payment_id TEXT, minor INT, currency TEXT, status TEXT,
        created INT, paid_at REAL);
    CREATE TABLE IF NOT EXISTS refunds (id TEXT PRIMARY KEY, refund_id TEXT, payment_id TEXT, intent TEXT, minor INT,
        ends_as TEXT, settles_at REAL);
    CREATE TABLE IF NOT EXISTS said (key TEXT PRIMARY KEY, body TEXT, status INT, content BLOB);
    """
    fault_kinds: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "create": LOST,
        "query": LOST,
        "close": LOST,
        "refund": (*LOST, "processing", "failed"),
        "refund_query": LOST,
        "bill": LOST,
        "notify": ("slow", "silent"),
    }
    outcomes = ("paid", "silent", "twice", "declined")
    notify_url = ""
    page_size = 100
    fee_e6 = 6_000

    def __init__(self, state: Path) -> None:
        super().__init__(state)
        self.keys = {"api_key": "sk_test_" + secrets.token_hex(16), "webhook_secret": "whsec_" + secrets.token_hex(16)}
        self.terms = {"publishable_key": "pk_test_1", "gateway": self.url}

    def page(self, params: Mapping[str, str]) -> str:
        """Where our own page would lead, with what it was given."""
        return f"{self.url}/pay?{urlencode(params)}"

    def route(self, request: Request) -> str:
        if request.path == "/pay":
            return "pay"
        if request.path == "/v1/refunds":
            return "refund" if request.method == "POST" else "refund_query"
        if request.path == "/v1/balance_transactions":
            return "bill"
        if request.path.endswith("/cancel"):
            return "close"
        return "create" if request.method == "POST" else "query"

    def work(self, db: sqlite3.Connection, route: str, request: Request, kind: str) -> Reply:
        if route == "pay":
            return self._pay(db, request.query["client_secret"].partition("_secret_")[0], request.form)
        if request.headers.get("Authorization") != f"Bearer {self.keys['api_key']}":
            return _error(401, "invalid_api_key")
        key, body = request.headers.get("Idempotency-Key"), json.dumps(request.form, sort_keys=True)
        if key and (before := db.execute("SELECT * FROM said WHERE key = ?", (key,)).fetchone()):
            return Reply(before["status"], before["content"]) if before["body"] == body else _error(400, "other_body")
        said = self._did(db, route, request, kind)
        if key:
            db.execute("INSERT INTO said VALUES (?, ?, ?, ?)", (key, body, said.status, said.body))
        return said

    def dress(self, letter: Letter, how: str) -> tuple[dict[str, str], bytes]:
        stamp = int(time.time())
        message = f"{stamp}.".encode() + letter.content
        sign = hmac.new(self.keys["webhook_secret"].encode(), message, hashlib.sha256).hexdigest()
        return {"Stripe-Signature": f"t={stamp},v1={sign}", "Content-Type": "application/json"}, letter.content

    def _did(self, db: sqlite3.Connection, route: str, request: Request, kind: str) -> Reply:
        form = request.form
        if route == "create":
            name = f"pi_{secrets.token_hex(12)}"
            db.execute(
                "INSERT INTO intents VALUES (?, ?, ?, ?, 'requires_payment_method', ?, NULL)",
                (name, form["metadata[payment_id]"], int(form["amount"]), form["currency"], int(time.time())),
            )
            return json_reply(200, _intent(_row(db, "intents", name)))
        if route == "refund":
            return self._refund(db, form, kind)
        if route == "bill":
            return json_reply(200, self._balance(db, request.query))
        if route == "refund_query":
            intent = request.query["payment_intent"]
            rows = db.execute("SELECT * FROM refunds WHERE intent = ?", (intent,)).fetchall()
            return json_reply(200, {"object": "list", "data": [_refund(row) for row in rows], "has_more": False})
        name = request.path.split("/")[3]
        intent = _row(db, "intents", name)
        if intent is None:
            return _error(404, "resource_missing")
        if route == "close":
            if intent["status"] != "requires_payment_method":
                return _error(400, "payment_intent_unexpected_state")
            db.execute("UPDATE intents SET status = 'canceled' WHERE id = ?", (name,))
        return json_reply(200, _intent(_row(db, "intents", name)))

    def _refund(self, db: sqlite3.Connection, form: Mapping[str, str], kind: str) -> Reply:
        intent, minor, now = _row(db, "intents", form["payment_intent"]), int(form["amount"]), time.time()
        if intent is None:
            return _error(404, "resource_missing")
        sums = "SELECT COALESCE(SUM(minor), 0) FROM refunds WHERE intent = ? AND ends_as = 'succeeded'"
        if not intent["paid_at"] or db.execute(sums, (intent["id"],)).fetchone()[0] + minor > intent["minor"]:
            return _error(400, "charge_already_refunded")
        name, ends_as = f"re_{secrets.token_hex(12)}", "failed" if kind == "failed" else "succeeded"
        settles_at = now + (90 if kind in ("processing", "failed") else 0)
        ours = form["metadata[refund_id]"], form["metadata[payment_id]"]
        values = (name, *ours, intent["id"], minor, ends_as, settles_at)
        db.execute("INSERT INTO refunds VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        refund = _row(db, "refunds", name)
        self._tell(db, "refund.updated", {**_refund(refund), "status": ends_as}, settles_at + 1)
        return json_reply(200, _refund(refund))

    def _pay(self, db: sqlite3.Connection, name: str, form: Mapping[str, str]) -> Reply:
        outcome, now = form["outcome"], time.time()
        if paid_at := form.get("paid_at"):  # a charge of a past day
            now = datetime.fromisoformat(paid_at).timestamp()
        if _row(db, "intents", name)["status"] != "requires_payment_method":
            raise RefusedError(409, "payment_intent_unexpected_state")
        if outcome != "declined":
            db.execute("UPDATE intents SET status = 'succeeded', paid_at = ? WHERE id = ?", (now, name))
        intent = {**_intent(_row(db, "intents", name)), "latest_charge": f"ch_{name[3:]}"}
        kind = "payment_intent.payment_failed" if outcome == "declined" else "payment_intent.succeeded"
        for _ in range({"silent": 0, "twice": 2}.get(outcome, 1)):  # one event may come twice
            self._tell(db, kind, intent, now + float(form.get("seconds", "0")))
        return json_reply(200, {"outcome": outcome})

    def _balance(self, db: sqlite3.Connection, query: Mapping[str, str]) -> dict[str, Any]:
        """What moved in a span of time, newest first, in pages; what it was for only where that is asked for."""
        moved = []
        for row in db.execute("SELECT * FROM intents WHERE paid_at IS NOT NULL").fetchall():
            fee = round(row["minor"] * self.fee_e6 / 1_000_000)
            source = {
                **_intent(row)["latest_charge"],
                "object": "charge",
                "metadata": {"payment_id": row["payment_id"]},
            }
            moved.append(
                ("charge", row["id"][3:], row["minor"], fee, row["currency"], row["paid_at"], row["id"], source)
            )
        for row in db.execute("SELECT * FROM refunds WHERE ends_as = 'succeeded'").fetchall():
            currency, about = _row(db, "intents", row["intent"])["currency"], _refund(row)
            moved.append(("refund", row["id"], -row["minor"], 0, currency, row["settles_at"], row["intent"], about))
        ends = int(query["created[gte]"]), int(query["created[lt]"])
        lines = [
            {
                "id": f"txn_{name}",
                "object": "balance_transaction",
                "amount": amount,
                "fee": fee,
                "net": amount - fee,
                "currency": currency,
                "created": int(at),
                "exchange_rate": None,
                "reporting_category": kind,
                "type": kind,
                "source": {**source, "amount": abs(amount), "currency": currency, "payment_intent": intent}
                if query.get("expand[0]") == "data.source"
                else source["id"],
            }
            for kind, name, amount, fee, currency, at, intent, source in sorted(moved, key=lambda one: -one[5])
            if ends[0] <= int(at) < ends[1]
        ]
        names = [line["id"] for line in lines]
        start = names.index(query["starting_after"]) + 1 if "starting_after" in query else 0
        page = lines[start : start + min(self.page_size, int(query["limit"]))]
        return {"object": "list", "data": page, "has_more": start + len(page) < len(lines)}

    def _tell(self, db: sqlite3.Connection, kind: str, about: Mapping[str, Any], due: float) -> None:
        event = {
            "id": f"evt_{secrets.token_hex(8)}",
            "type": kind,
            "livemode": False,
            "created": int(time.time()),
            "data": {"object": about},
        }
        content = json.dumps(event).encode()
        self.letters.put(db, about=about["id"], notify_url=self.notify_url, content=content, due=due, event=kind)


def _row(db: sqlite3.Connection, table: str, name: str) -> Any:
    return db.execute(f"SELECT * FROM {table} WHERE id = ?", (name,)).fetchone()


def _intent(row: Any) -> dict[str, Any]:
    paid = row["status"] == "succeeded"
    return {
        "id": row["id"],
        "object": "payment_intent",
        "amount": row["minor"],
        "amount_received": row["minor"] if paid else 0,
        "currency": row["currency"],
        "status": row["status"],
        "client_secret": f"{row['id']}_secret_{hashlib.sha256(row['id'].encode()).hexdigest()[:24]}",
        "livemode": False,
        "created": row["created"],
        "latest_charge": {"id": f"ch_{row['id'][3:]}", "created": int(row["paid_at"])} if paid else None,
        "metadata": {"payment_id": row["payment_id"]},
    }


def _refund(row: Any) -> dict[str, Any]:
    return {
        "id": row["id"],
        "object": "refund",
        "amount": row["minor"],
        "payment_intent": row["intent"],
        "status": "pending" if row["settles_at"] > time.time() else row["ends_as"],
        "metadata": {"refund_id": row["refund_id"], "payment_id": row["payment_id"]},
    }


def _error(status: int, code: str) -> Reply:
    return json_reply(status, {"error": {"type": "invalid_request_error", "code": code, "message": code}})


def _beijing(moment: float) -> str:
    return datetime.fromtimestamp(moment, BEIJING).strftime("%Y-%m-%d %H:%M:%S")
