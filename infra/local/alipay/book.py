"""What Alipay has on its books: orders asked for, the trades that came of them, and refunds."""

from __future__ import annotations

import json
import secrets
import sqlite3
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, timedelta, timezone

from infra.local.counterparts.letters import Letters
from infra.local.counterparts.store import Store

BEIJING = timezone(timedelta(hours=8))
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
    "sha1",
    "success_then_refund",
)
BUYER_ID = "2088000000004701"
BUYER_LOGON = "kaq***@sandbox.com"
OTHER_CURRENCY = "USD"
_ORDER_SECONDS_MAX = 15 * 86_400  # how long a trade may wait for its buyer where the merchant sets no time

SCHEMA = """
CREATE TABLE IF NOT EXISTS counter (n INTEGER NOT NULL);
INSERT INTO counter SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM counter);
CREATE TABLE IF NOT EXISTS orders (
    out_trade_no TEXT PRIMARY KEY, token TEXT NOT NULL UNIQUE, method TEXT NOT NULL, amount_minor INTEGER NOT NULL,
    subject TEXT NOT NULL, notify_url TEXT NOT NULL, return_url TEXT NOT NULL, passback TEXT NOT NULL,
    expires_at REAL NOT NULL, void INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS trades (
    out_trade_no TEXT PRIMARY KEY, trade_no TEXT NOT NULL UNIQUE, method TEXT NOT NULL, amount_minor INTEGER NOT NULL,
    currency TEXT NOT NULL, subject TEXT NOT NULL, notify_url TEXT NOT NULL, passback TEXT NOT NULL,
    status TEXT NOT NULL, created_at REAL NOT NULL, expires_at REAL NOT NULL, pays_at REAL, pays_as TEXT,
    paid_at REAL, closed_at REAL);
CREATE INDEX IF NOT EXISTS trades_paid ON trades (pays_at);
CREATE TABLE IF NOT EXISTS refunds (
    out_trade_no TEXT NOT NULL, out_request_no TEXT NOT NULL, amount_minor INTEGER NOT NULL,
    total_minor INTEGER NOT NULL, refunded_at REAL NOT NULL, PRIMARY KEY (out_trade_no, out_request_no));
CREATE INDEX IF NOT EXISTS refunds_made ON refunds (refunded_at);
CREATE TABLE IF NOT EXISTS traits (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


class BusinessError(Exception):
    """Alipay will not do it, for the reason that `sub_code` names; nothing was written."""

    def __init__(self, sub_code: str, sub_msg: str) -> None:
        super().__init__(sub_code)
        self.sub_code = sub_code
        self.sub_msg = sub_msg


@dataclass(frozen=True)
class Order:
    """What a merchant asks a buyer to pay."""

    out_trade_no: str
    method: str  # precreate, page, wap
    amount_minor: int
    subject: str
    notify_url: str
    return_url: str = ""
    passback: str = ""
    expires_at: float | None = None
    token: str = ""  # of the pay page
    void: bool = False

    @property
    def terms(self) -> tuple[str, int, str]:
        """What may not differ when the same number is used again."""
        return self.method, self.amount_minor, self.subject


@dataclass(frozen=True)
class Named:
    """How a merchant names a trade: by its own number, by Alipay's, or by both."""

    out_trade_no: str
    trade_no: str = ""


@dataclass(frozen=True)
class Trade:
    out_trade_no: str
    trade_no: str
    method: str
    amount_minor: int
    currency: str
    subject: str
    notify_url: str
    passback: str
    status: str
    created_at: float
    expires_at: float
    pays_at: float | None = None  # may lie ahead: the money comes then
    pays_as: str | None = None
    paid_at: float | None = None
    closed_at: float | None = None

    @property
    def is_paid(self) -> bool:
        """True once money came, whatever became of it."""
        return self.paid_at is not None


@dataclass(frozen=True)
class Refund:
    out_trade_no: str
    out_request_no: str
    amount_minor: int
    total_minor: int  # given back of this trade, this refund included
    refunded_at: float


@dataclass(frozen=True)
class Cashier:
    """What a pay page shows; there is no trade if the order can no longer be paid."""

    order: Order
    trade: Trade | None


@dataclass(frozen=True)
class Pressed:
    """What pressing a button did."""

    outcome: str
    order: Order
    trade: Trade
    already_paid: bool


def yuan(minor: int) -> str:
    sign = "-" if minor < 0 else ""
    return f"{sign}{abs(minor) // 100}.{abs(minor) % 100:02d}"


def beijing(moment: float) -> str:
    return datetime.fromtimestamp(moment, BEIJING).strftime("%Y-%m-%d %H:%M:%S")


def day_stamp(moment: float) -> str:
    return datetime.fromtimestamp(moment, BEIJING).strftime("%Y%m%d")


class Notices:
    """Words notifications for one merchant, and keeps each within the transaction that gives rise to it."""

    def __init__(self, app_id: str, seller_id: str) -> None:
        self._app_id = app_id
        self._seller_id = seller_id

    def of_trade(
        self, db: sqlite3.Connection, trade: Trade, due: float, how: str = "", after: str | None = None
    ) -> str | None:
        return self._put(db, trade, self._fields(trade, due), trade.status, due, how, after)

    def of_refund(
        self, db: sqlite3.Connection, trade: Trade, refund: Refund, due: float, after: str | None = None
    ) -> str | None:
        fields = self._fields(trade, due) | {
            "refund_fee": yuan(refund.total_minor),
            "out_biz_no": refund.out_request_no,
            "gmt_refund": f"{beijing(refund.refunded_at)}.000",
        }
        return self._put(db, trade, fields, "REFUND", due, "", after)

    @staticmethod
    def _put(
        db: sqlite3.Connection,
        trade: Trade,
        fields: dict[str, str],
        event: str,
        due: float,
        how: str,
        after: str | None,
    ) -> str | None:
        if not trade.notify_url:
            return None
        return Letters.put(
            db,
            about=trade.out_trade_no,
            notify_url=trade.notify_url,
            content=json.dumps(fields, ensure_ascii=False).encode(),
            due=due,
            event=event,
            how=how,
            once=how == "forged",
            after=after,
        )

    def _fields(self, trade: Trade, now: float) -> dict[str, str]:
        """All but the moment of sending and the signature. None is empty: if an empty one is signed is nowhere said."""
        amount = yuan(trade.amount_minor)
        fields = {
            "notify_type": "trade_status_sync",
            "notify_id": f"{day_stamp(now)}0122{_digits(22)}",
            "charset": "utf-8",
            "version": "1.0",
            "app_id": self._app_id,
            "auth_app_id": self._app_id,
            "seller_id": self._seller_id,
            "trade_no": trade.trade_no,
            "out_trade_no": trade.out_trade_no,
            "trade_status": trade.status,
            "total_amount": amount,
            "subject": trade.subject,
            "gmt_create": beijing(trade.created_at),
        }
        if trade.paid_at is not None:
            fields |= {
                "buyer_id": BUYER_ID,
                "buyer_logon_id": BUYER_LOGON,
                "gmt_payment": beijing(trade.paid_at),
                "receipt_amount": amount,
                "invoice_amount": amount,
                "buyer_pay_amount": amount,
                "point_amount": "0.00",
                "fund_bill_list": json.dumps(
                    [{"amount": amount, "fundChannel": "ALIPAYACCOUNT"}], separators=(",", ":")
                ),
            }
        if trade.closed_at is not None:
            fields["gmt_close"] = beijing(trade.closed_at)
        if trade.currency != "CNY":
            fields |= {"trans_currency": trade.currency, "settle_currency": trade.currency}
        if trade.passback:
            fields["passback_params"] = trade.passback
        return fields


class Book:
    """Every public method is one transaction."""

    def __init__(self, store: Store, notices: Notices) -> None:
        self._store = store
        self._notices = notices

    # -- orders and their pay page -----------------------------------------------------------------------------------

    def order(self, wanted: Order, now: float, *, trade_at_once: bool = False) -> str:
        """Note what a buyer is to pay and return the token of its pay page: the first one if it is asked for again."""
        with self._store.transaction() as db:
            known = _order(db, "out_trade_no", wanted.out_trade_no)
            trade = _trade(db, wanted.out_trade_no, now)
            if trade and trade.is_paid and trade.status != "TRADE_CLOSED":
                raise BusinessError("ACQ.TRADE_HAS_SUCCESS", "交易已被支付")
            if known and known.terms != wanted.terms:
                raise BusinessError("ACQ.CONTEXT_INCONSISTENT", "交易信息被篡改")
            if (known and known.void) or (trade and trade.status == "TRADE_CLOSED"):
                raise BusinessError("ACQ.TRADE_HAS_CLOSE", "交易已经关闭")
            if known is None:
                known = replace(
                    wanted,
                    token=secrets.token_hex(10),
                    expires_at=wanted.expires_at or now + _ORDER_SECONDS_MAX,
                )
                _insert(db, "orders", known)
            if trade_at_once:
                _opened(db, known, now)
            return known.token

    def open(self, token: str, now: float) -> Cashier | None:
        """A buyer opens the pay page, and only now the trade comes into being. None if there is no such page."""
        with self._store.transaction() as db:
            order = _order(db, "token", token)
            return Cashier(order, _opened(db, order, now)) if order else None

    def press(
        self, token: str, outcome: str, now: float, pays_at: float | None = None, pays_as: str = "TRADE_SUCCESS"
    ) -> Pressed | None:
        """Do what the button says. A trade is paid once and no more, whatever is pressed; None if it cannot be.

        pays_at: when the money comes, or, for the bill of a past day, came; now if it is not said.
        """
        with self._store.transaction() as db:
            order = _order(db, "token", token)
            trade = _opened(db, order, now) if order else None
            if trade is None or order is None:
                return None
            already_paid = trade.is_paid
            if outcome == "forged":
                self._notices.of_trade(db, _as_paid(trade, now), now, how="forged")
            elif outcome == "other_order":
                self._notices.of_trade(db, _another(db, trade, now), now)
            elif outcome == "failed":
                if trade.status == "WAIT_BUYER_PAY":
                    trade = _shut(db, trade, now)
                    self._notices.of_trade(db, trade, now)
            elif trade.status == "TRADE_CLOSED" and not trade.is_paid:
                return None
            else:
                trade = self._pay(db, trade, outcome, now, now if pays_at is None else pays_at, pays_as)
            return Pressed(outcome, order, trade, already_paid)

    def _pay(
        self,
        db: sqlite3.Connection,
        before: Trade,
        outcome: str,
        now: float,
        pays_at: float,
        pays_as: str,
    ) -> Trade:
        """Take the money, unless it was taken, and notify; an outcome that is pressed again is notified again."""
        trade = before
        if trade.pays_at is None:
            amount_minor = off_by_one(trade.amount_minor) if outcome == "wrong_amount" else trade.amount_minor
            currency = OTHER_CURRENCY if outcome == "wrong_currency" else trade.currency
            db.execute(
                "UPDATE trades SET amount_minor = ?, currency = ?, pays_at = ?, pays_as = ?,"
                " created_at = min(created_at, ?) WHERE out_trade_no = ?",
                (amount_minor, currency, pays_at, pays_as, pays_at, trade.out_trade_no),
            )
            trade = _sure_trade(db, trade.out_trade_no, now)
        if outcome == "silent":
            return trade
        due = max(now, trade.pays_at or now)
        first = self._notices.of_trade(db, _as_paid(trade, due), due, how="sha1" if outcome == "sha1" else "")
        if outcome == "twice":
            self._notices.of_trade(db, trade, due)
        if outcome == "out_of_order":
            # What Alipay could have said before the money came.
            waiting = replace(before, status="WAIT_BUYER_PAY", paid_at=None, closed_at=None)
            self._notices.of_trade(db, waiting, due, after=first)
        left = trade.amount_minor - _refunded(db, trade.out_trade_no)
        if outcome == "success_then_refund" and trade.status == "TRADE_SUCCESS" and left:
            # By a person in the merchant's own console at Alipay: its number is none that the merchant's system gave.
            refund = _give_back(db, trade, f"console{_counted(db):08d}", left, now)
            trade = _sure_trade(db, trade.out_trade_no, now)
            self._notices.of_refund(db, trade, refund, due, after=first)
        return trade

    # -- what a merchant asks ----------------------------------------------------------------------------------------

    def trade(self, named: Named, now: float) -> Trade:
        with self._store.transaction() as db:
            return _named(db, named, now)

    def shut(self, named: Named, now: float, *, paid: str, again: str, notify: bool) -> Trade:
        """Close a trade that nobody has paid.

        paid: the sub_code for one that somebody has. again: that for one which is closed already, or `ok`.
        """
        with self._store.transaction() as db:
            trade = _named(db, named, now)
            if trade.is_paid:
                raise BusinessError(paid, "交易状态不合法")
            if trade.status == "TRADE_CLOSED" and again != "ok":
                raise BusinessError(again, "交易已经关闭")
            if trade.status != "TRADE_CLOSED":
                trade = _shut(db, trade, now)
                if notify:
                    self._notices.of_trade(db, trade, now)
            return trade

    def cancel(self, named: Named, now: float) -> tuple[Trade | None, str]:
        """Undo a trade, paid or not, and say how: `close`, `refund`, or "" where there is none.

        A code that nobody has scanned yet cannot be paid any more either.
        """
        with self._store.transaction() as db:
            db.execute("UPDATE orders SET void = 1 WHERE out_trade_no = ?", (named.out_trade_no,))
            trade = _find(db, named, now)
            if trade is None:
                return None, ""
            if not trade.is_paid:
                return (trade if trade.status == "TRADE_CLOSED" else _shut(db, trade, now)), "close"
            left = trade.amount_minor - _refunded(db, trade.out_trade_no)
            if left:
                _give_back(db, trade, f"cancel{trade.trade_no}", left, now)
            return _sure_trade(db, trade.out_trade_no, now), "refund"

    def refund(
        self, named: Named, out_request_no: str, amount_minor: int, now: float, *, currency: str = "", notify: bool
    ) -> tuple[Trade, Refund, bool]:
        """Give money back once per `out_request_no`, and say if this call did it.

        Without such a number it is a refund of the whole trade. The currency may be named where it is a foreign one.
        """
        with self._store.transaction() as db:
            trade = _named(db, named, now)
            if currency and (currency != trade.currency or currency == "CNY"):
                raise BusinessError("ACQ.INVALID_PARAMETER", "参数无效：refund_currency")
            number = out_request_no or trade.out_trade_no
            known = _refund(db, trade.out_trade_no, number)
            if known and known.amount_minor != amount_minor:
                raise BusinessError("ACQ.DISCORDANT_REPEAT_REQUEST", "不一致的请求")
            if known:
                return trade, known, False
            if not trade.is_paid:
                raise BusinessError("ACQ.TRADE_STATUS_ERROR", "交易状态不合法")
            if trade.status == "TRADE_FINISHED":
                raise BusinessError("ACQ.TRADE_HAS_FINISHED", "交易已完结")
            if not out_request_no and amount_minor != trade.amount_minor:
                raise BusinessError("ACQ.INVALID_PARAMETER", "参数无效：部分退款时out_request_no必传")
            if amount_minor > trade.amount_minor - _refunded(db, trade.out_trade_no):
                raise BusinessError("ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", "退款金额超限")
            made = _give_back(db, trade, number, amount_minor, now)
            trade = _sure_trade(db, trade.out_trade_no, now)
            if notify:
                self._notices.of_refund(db, trade, made, now)
            return trade, made, True

    def refund_made(self, named: Named, out_request_no: str, now: float) -> tuple[Trade, Refund | None]:
        with self._store.transaction() as db:
            trade = _named(db, named, now)
            return trade, _refund(db, trade.out_trade_no, out_request_no)

    def day(self, day: date, now: float) -> tuple[list[Trade], list[tuple[Trade, Refund]]]:
        """What was paid and what was given back on a day in Beijing, each in the order in which it happened."""
        begins = datetime(day.year, day.month, day.day, tzinfo=BEIJING).timestamp()
        span = (begins, begins + 86_400)
        with self._store.transaction() as db:
            paid = db.execute(
                "SELECT out_trade_no FROM trades WHERE pays_at >= ? AND pays_at < ? ORDER BY pays_at, trade_no", span
            ).fetchall()
            back = db.execute(
                "SELECT * FROM refunds WHERE refunded_at >= ? AND refunded_at < ? ORDER BY refunded_at, rowid", span
            ).fetchall()
            trades = [_sure_trade(db, row["out_trade_no"], now) for row in paid]
            return (
                [trade for trade in trades if trade.is_paid],
                [(_sure_trade(db, row["out_trade_no"], now), Refund(**dict(row))) for row in back],
            )

    # -- traits ------------------------------------------------------------------------------------------------------

    def traits(self) -> dict[str, str]:
        """Those that were ever set."""
        with self._store.transaction() as db:
            return {row["name"]: row["value"] for row in db.execute("SELECT * FROM traits")}

    def set_traits(self, wanted: dict[str, str]) -> None:
        with self._store.transaction() as db:
            db.executemany("INSERT OR REPLACE INTO traits VALUES (?, ?)", sorted(wanted.items()))


def off_by_one(amount_minor: int) -> int:
    """The amount that `wrong_amount` charges: one less, or one more where less would be nothing."""
    return amount_minor - 1 if amount_minor > 1 else amount_minor + 1


def _as_paid(trade: Trade, paid_at: float) -> Trade:
    """The trade as it will be when its money comes; unchanged if it came."""
    return trade if trade.is_paid else replace(trade, status=trade.pays_as or "TRADE_SUCCESS", paid_at=paid_at)


def _another(db: sqlite3.Connection, trade: Trade, now: float) -> Trade:
    """A paid trade under a number that the merchant never gave, as if another system of its used the same account."""
    number = f"other{_counted(db):08d}x{trade.out_trade_no}"[:64]
    other = replace(
        trade,
        out_trade_no=number,
        trade_no=_trade_number(db, now),
        status="TRADE_SUCCESS",
        created_at=now,
        pays_at=now,
        pays_as="TRADE_SUCCESS",
        paid_at=now,
        closed_at=None,
    )
    _insert(db, "trades", other)
    return other


def _opened(db: sqlite3.Connection, order: Order, now: float) -> Trade | None:
    """The order's trade, made if there is none and the order can still be paid."""
    trade = _trade(db, order.out_trade_no, now)
    if trade or order.void or (order.expires_at or 0) <= now:
        return trade
    trade = Trade(
        out_trade_no=order.out_trade_no,
        trade_no=_trade_number(db, now),
        method=order.method,
        amount_minor=order.amount_minor,
        currency="CNY",
        subject=order.subject,
        notify_url=order.notify_url,
        passback=order.passback,
        status="WAIT_BUYER_PAY",
        created_at=now,
        expires_at=order.expires_at or 0,
    )
    _insert(db, "trades", trade)
    return trade


def _order(db: sqlite3.Connection, column: str, value: str) -> Order | None:
    row = db.execute(f"SELECT * FROM orders WHERE {column} = ?", (value,)).fetchone()  # noqa: S608
    return Order(**{**dict(row), "void": bool(row["void"])}) if row else None


def _trade(db: sqlite3.Connection, out_trade_no: str, now: float) -> Trade | None:
    """The trade as it stands now: money that was on its way has come, and what nobody paid in time is closed."""
    db.execute(
        "UPDATE trades SET status = pays_as, paid_at = pays_at"
        " WHERE out_trade_no = ? AND status = 'WAIT_BUYER_PAY' AND pays_at <= ?",
        (out_trade_no, now),
    )
    db.execute(
        "UPDATE trades SET status = 'TRADE_CLOSED', closed_at = expires_at"
        " WHERE out_trade_no = ? AND status = 'WAIT_BUYER_PAY' AND pays_at IS NULL AND expires_at <= ?",
        (out_trade_no, now),
    )
    row = db.execute("SELECT * FROM trades WHERE out_trade_no = ?", (out_trade_no,)).fetchone()
    return Trade(**dict(row)) if row else None


def _sure_trade(db: sqlite3.Connection, out_trade_no: str, now: float) -> Trade:
    trade = _trade(db, out_trade_no, now)
    if trade is None:
        raise LookupError(out_trade_no)
    return trade


def _find(db: sqlite3.Connection, named: Named, now: float) -> Trade | None:
    """Alipay's own number decides where both are given."""
    number = named.out_trade_no
    if named.trade_no:
        row = db.execute("SELECT out_trade_no FROM trades WHERE trade_no = ?", (named.trade_no,)).fetchone()
        number = row["out_trade_no"] if row else ""
    return _trade(db, number, now)


def _named(db: sqlite3.Connection, named: Named, now: float) -> Trade:
    trade = _find(db, named, now)
    if trade is None:
        raise BusinessError("ACQ.TRADE_NOT_EXIST", "交易不存在")
    return trade


def _shut(db: sqlite3.Connection, trade: Trade, now: float) -> Trade:
    """Close a trade that is not paid; money that was on its way does not come."""
    db.execute(
        "UPDATE trades SET status = 'TRADE_CLOSED', pays_at = NULL, closed_at = ? WHERE out_trade_no = ?",
        (now, trade.out_trade_no),
    )
    db.execute("UPDATE letters SET state = 'abandoned' WHERE about = ? AND state = 'waiting'", (trade.out_trade_no,))
    return _sure_trade(db, trade.out_trade_no, now)


def _give_back(db: sqlite3.Connection, trade: Trade, number: str, amount_minor: int, now: float) -> Refund:
    made = Refund(
        trade.out_trade_no, number, amount_minor, _refunded(db, trade.out_trade_no) + amount_minor, refunded_at=now
    )
    _insert(db, "refunds", made)
    if made.total_minor == trade.amount_minor:
        db.execute(
            "UPDATE trades SET status = 'TRADE_CLOSED', closed_at = ? WHERE out_trade_no = ?",
            (now, trade.out_trade_no),
        )
    return made


def _refund(db: sqlite3.Connection, out_trade_no: str, out_request_no: str) -> Refund | None:
    row = db.execute(
        "SELECT * FROM refunds WHERE out_trade_no = ? AND out_request_no = ?", (out_trade_no, out_request_no)
    ).fetchone()
    return Refund(**dict(row)) if row else None


def _refunded(db: sqlite3.Connection, out_trade_no: str) -> int:
    row = db.execute(
        "SELECT COALESCE(SUM(amount_minor), 0) AS total FROM refunds WHERE out_trade_no = ?", (out_trade_no,)
    ).fetchone()
    return int(row["total"])


def _insert(db: sqlite3.Connection, table: str, record: Order | Trade | Refund) -> None:
    values = asdict(record)
    names, marks = ", ".join(values), ", ".join("?" * len(values))
    db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(values.values()))  # noqa: S608


def _counted(db: sqlite3.Connection) -> int:
    return int(db.execute("UPDATE counter SET n = n + 1 RETURNING n").fetchone()["n"])


def _trade_number(db: sqlite3.Connection, now: float) -> str:
    """28 digits as Alipay's: the day, a business code, then what makes it unique, also across a deleted state file."""
    return f"{day_stamp(now)}22001{_digits(7)}{_counted(db):08d}"


def _digits(number: int) -> str:
    return "".join(secrets.choice("0123456789") for _ in range(number))
