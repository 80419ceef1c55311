"""What a supplier sells and what was really bought from it, in one SQLite file."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from infra.local.counterparts.faults import Fault
from infra.local.counterparts.letters import Letters
from infra.local.counterparts.store import Store

SCHEMA = """
PRAGMA synchronous = OFF;
CREATE TABLE IF NOT EXISTS products (
    sku TEXT PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, cost_e6 INTEGER NOT NULL, stock INTEGER,
    shown INTEGER, fields TEXT NOT NULL, quantity_min INTEGER NOT NULL, quantity_max INTEGER NOT NULL,
    on_sale INTEGER NOT NULL, more TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS orders (
    serial INTEGER PRIMARY KEY AUTOINCREMENT, order_no TEXT NOT NULL UNIQUE, ours TEXT NOT NULL, sku TEXT NOT NULL,
    kind TEXT NOT NULL, name TEXT NOT NULL, quantity INTEGER NOT NULL, unit_e6 INTEGER NOT NULL,
    returned_e6 INTEGER NOT NULL, account TEXT NOT NULL, notify_url TEXT NOT NULL, state TEXT NOT NULL,
    ending TEXT NOT NULL, due REAL, asks_left INTEGER, placed_at REAL NOT NULL, ended_at REAL, more TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS orders_by_ours ON orders (ours);
CREATE INDEX IF NOT EXISTS orders_open ON orders (state, due);
CREATE TABLE IF NOT EXISTS cards (
    serial INTEGER PRIMARY KEY AUTOINCREMENT, order_no TEXT NOT NULL, card_no TEXT NOT NULL, password TEXT NOT NULL,
    voided INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS cards_by_order ON cards (order_no);
CREATE TABLE IF NOT EXISTS purse (only_one INTEGER PRIMARY KEY CHECK (only_one = 1), balance_e6 INTEGER NOT NULL);
"""

CARD = "card"
TOP_UP = "topup"

# A product keeps its place in the catalogue when it changes.
_PUT_PRODUCT = """
INSERT INTO products VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (sku) DO UPDATE SET
    kind = excluded.kind, name = excluded.name, cost_e6 = excluded.cost_e6, stock = excluded.stock,
    shown = excluded.shown, fields = excluded.fields, quantity_min = excluded.quantity_min,
    quantity_max = excluded.quantity_max, on_sale = excluded.on_sale, more = excluded.more
"""

# The life of an order here; every supplier has its own words for these.
ACCEPTED = "accepted"
UNKNOWN = "unknown"
DELIVERED = "delivered"
FAILED = "failed"
CANCELED = "canceled"
REFUNDED = "refunded"  # after it was delivered
HALF = "half"  # delivered, but not all
SAME_CODE = "same_code"  # delivered, but codes that another order has
# What a fault makes of an order in the end.
ENDINGS = {
    "fails_late": FAILED,
    "unknown_fails": FAILED,
    "unpaid": CANCELED,
    "half": HALF,
    "same_code": SAME_CODE,
}
OPEN = (ACCEPTED, UNKNOWN)
GIVEN_BACK = (FAILED, CANCELED, REFUNDED)

# So that a notification does not by chance overtake the answer that says the same.
NOTICE_SECONDS = 0.05

# Why a supplier says no; each has its own words for these, too.
REASONS = ("product", "off_sale", "stock", "balance", "quantity", "ceiling", "account", "repeated", "absent", "settled")


@dataclass(frozen=True)
class Product:
    """sku: the supplier's number. cost_e6: millionths of the currency's unit. stock: None = endless.

    shown: the stock that the catalogue claims where it lies. fields: what a top-up must say, each
    {"key", "name", "required"}. more: whatever else a protocol lists.
    """

    sku: str
    name: str
    cost_e6: int
    kind: str = CARD
    stock: int | None = None
    shown: int | None = None
    fields: Sequence[Mapping[str, Any]] = ()
    quantity_min: int = 1
    quantity_max: int = 100
    on_sale: bool = True
    more: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if type(self.cost_e6) is not int or self.cost_e6 < 0:
            raise ValueError("cost_e6 is a whole number of millionths")
        if self.kind not in (CARD, TOP_UP):
            raise ValueError(f"kind is {CARD} or {TOP_UP}")

    @property
    def listed_stock(self) -> int | None:
        """What the catalogue says."""
        return self.stock if self.shown is None else self.shown

    @property
    def sellable(self) -> bool:
        return self.on_sale and self.listed_stock != 0


@dataclass(frozen=True)
class Card:
    card_no: str
    password: str
    voided: bool = False


@dataclass(frozen=True)
class Order:
    """One purchase. ours: the buyer's number. replayed: it was there before, and is only told again."""

    serial: int
    order_no: str
    ours: str
    sku: str
    kind: str
    name: str
    quantity: int
    unit_e6: int
    returned_e6: int
    account: Mapping[str, str]
    notify_url: str
    state: str
    placed_at: float
    ended_at: float | None
    due: float | None
    more: Mapping[str, Any]
    cards: tuple[Card, ...] = ()
    replayed: bool = False

    @property
    def total_e6(self) -> int:
        return self.unit_e6 * self.quantity

    @property
    def ends_by_itself_at(self) -> float | None:
        """The time that was set when it was placed; None if it ended at once, or ends at an ask."""
        return self.due if self.due is not None and self.due > self.placed_at else None


class No(Exception):
    """The supplier refuses for one of REASONS, and nothing was bought."""

    def __init__(self, reason: str, order: Order | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.order = order


@dataclass(frozen=True)
class Wanted:
    """What a buyer asks for. ceiling_e6: the most that one unit may cost. more: kept with the order, for its kind."""

    ours: str
    sku: str
    quantity: int
    account: Mapping[str, str]
    notify_url: str = ""
    ceiling_e6: int | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


class Ledger:
    """Every verb is one transaction. `traits` is read at each call: `repeat`, `delivery`, `half_money`.

    number: gives the order's number from its serial and the time. callback_fault: what goes wrong with the next
    notification: `none`, `twice`, `reordered`, `forged`, `stale`, or "". A letter holds {"order_no", "says"}; its body
    is made when it leaves.
    """

    def __init__(
        self,
        store: Store,
        traits: Mapping[str, str],
        seed: int,
        number: Callable[[int, float], str],
        balance_e6: int,
        callback_fault: Callable[[], str],
    ) -> None:
        self._store = store
        self._traits = traits
        self._seed = seed
        self._number = number
        self._callback_fault = callback_fault
        with store.transaction() as db:
            db.execute("INSERT OR IGNORE INTO purse VALUES (1, ?)", (balance_e6,))

    # -- the catalogue and the purse -------------------------------------------------------------------------------

    def put_products(self, products: Sequence[Product], *, instead: bool) -> None:
        """Add products or replace those of the same sku; instead: of all that were there."""
        with self._store.transaction() as db:
            if instead:
                db.execute("DELETE FROM products")
            db.executemany(
                _PUT_PRODUCT,
                [
                    (
                        one.sku,
                        one.kind,
                        one.name,
                        one.cost_e6,
                        one.stock,
                        one.shown,
                        json.dumps([dict(field) for field in one.fields]),
                        one.quantity_min,
                        one.quantity_max,
                        int(one.on_sale),
                        json.dumps(dict(one.more)),
                    )
                    for one in products
                ],
            )

    def change_product(self, sku: str, **values: Any) -> Product:
        """Set fields of Product; No("product") if it is not there."""
        self.put_products([replace(self.product(sku), **values)], instead=False)
        return self.product(sku)

    def products(self) -> list[Product]:
        """In the order in which they were made."""
        with self._store.transaction() as db:
            return [_product(row) for row in db.execute("SELECT * FROM products ORDER BY rowid")]

    def product(self, sku: str) -> Product:
        with self._store.transaction() as db:
            return _product_of(db, sku)

    def balance_e6(self) -> int:
        with self._store.transaction() as db:
            return _balance(db)

    def set_balance(self, balance_e6: int) -> None:
        with self._store.transaction() as db:
            db.execute("UPDATE purse SET balance_e6 = ?", (balance_e6,))

    # -- orders ----------------------------------------------------------------------------------------------------

    def buy(self, wanted: Wanted, fault: Fault | None = None) -> Order:
        """Take the money, and deliver now or later. No for each of REASONS but `settled`.

        fault: `late` (after its seconds), `late_asks` (at the ask of that number), `unknown` (late, and called so
        until then), `unknown_fails`, `fails_late`, `half`, `dearer` (at twice the price), `same_code`,
        `callback_first` (delivered at once), `unpaid` (kept, and canceled at once).
        """
        now = time.time()
        kind = fault.kind if fault else ""
        with self._store.transaction() as db:
            before = self._repeated(db, wanted)
            if before:
                return replace(before, replayed=True)
            product = _product_of(db, wanted.sku)
            unit_e6 = product.cost_e6 * (2 if kind == "dearer" else 1)
            _check(db, product, wanted, unit_e6, unpaid=kind == "unpaid")
            serial = _next_serial(db)
            order_no = self._number(serial, now)
            ending = ENDINGS.get(kind, DELIVERED)
            due, asks_left = self._plan(fault, now)
            db.execute("UPDATE purse SET balance_e6 = balance_e6 - ?", (unit_e6 * wanted.quantity,))
            db.execute("UPDATE products SET stock = stock - ? WHERE sku = ?", (wanted.quantity, wanted.sku))
            db.execute(
                "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, NULL, ?)",
                (
                    serial,
                    order_no,
                    wanted.ours,
                    product.sku,
                    product.kind,
                    product.name,
                    wanted.quantity,
                    unit_e6,
                    json.dumps(dict(wanted.account), ensure_ascii=False),
                    wanted.notify_url,
                    UNKNOWN if kind in ("unknown", "unknown_fails") else ACCEPTED,
                    ending,
                    due,
                    asks_left,
                    now,
                    json.dumps(dict(wanted.more), ensure_ascii=False),
                ),
            )
            if due is not None and due > now:
                self._tell(db, _order_of(db, order_no), ending, due)  # its body ends the order
            else:
                self._advance(db, order_no, now)
            return _order_of(db, order_no)

    def ask(self, *, order_no: str = "", serial: int = 0, ours: str = "", silently: bool = False) -> list[Order]:
        """The orders of that number, as they are now; an order that waits for asks counts this one, unless silently."""
        now = time.time()
        with self._store.transaction() as db:
            found = db.execute(
                "SELECT order_no, asks_left FROM orders WHERE (? != '' AND order_no = ?) OR serial = ?"
                " OR (? != '' AND ours = ?) ORDER BY serial",
                (order_no, order_no, serial, ours, ours),
            ).fetchall()
            for row in found:
                if row["asks_left"] and not silently:
                    db.execute("UPDATE orders SET asks_left = asks_left - 1 WHERE order_no = ?", (row["order_no"],))
                self._advance(db, row["order_no"], now)
            return [_order_of(db, row["order_no"]) for row in found]

    def orders(self, *, ours: str = "", state: str = "") -> list[Order]:
        """For whoever watches the supplier: nothing moves by it except what is due."""
        now = time.time()
        with self._store.transaction() as db:
            due = "SELECT order_no FROM orders WHERE state IN ('accepted', 'unknown') AND due <= ?"
            for row in db.execute(due, (now,)).fetchall():
                self._advance(db, row["order_no"], now)
            # Two questions, so that the one by number finds its index.
            question = "SELECT * FROM orders WHERE ours = ?" if ours else "SELECT * FROM orders WHERE ? = ''"
            rows = db.execute(question + " AND ? IN ('', state) ORDER BY serial", (ours, state)).fetchall()
            return [_order(db, row) for row in rows]

    def bought_twice(self) -> list[str]:
        """The buyer's numbers under which more than one order holds money."""
        with self._store.transaction() as db:
            rows = db.execute(
                f"SELECT ours FROM orders WHERE ours != '' AND state NOT IN {GIVEN_BACK}"  # noqa: S608 - our own words
                " GROUP BY ours HAVING COUNT(*) > 1 ORDER BY ours"
            )
            return [row["ours"] for row in rows]

    def end(self, order_no: str, outcome: str, told: bool = True) -> Order:
        """End an open order now: delivered, failed, canceled, half or same_code. No("absent"), No("settled")."""
        with self._store.transaction() as db:
            order = _order_of(db, order_no)
            if order.state not in OPEN:
                raise No("settled", order)
            self._end(db, order, outcome, time.time(), told=told)
            return _order_of(db, order_no)

    def void(self, order_no: str, *, refund: bool) -> Order:
        """The issuer voids the order's cards; refund: the supplier gives the money back and says so. No("absent")."""
        with self._store.transaction() as db:
            order = _order_of(db, order_no)
            db.execute("UPDATE cards SET voided = 1 WHERE order_no = ?", (order_no,))
            if refund and order.state == DELIVERED:
                _give_back(db, order, order.total_e6 - order.returned_e6)
                db.execute("UPDATE orders SET state = ? WHERE order_no = ?", (REFUNDED, order_no))
                _write(db, order, time.time())
            return _order_of(db, order_no)

    def tell(self, order_no: str, says: str, how: str) -> None:
        """Send one more notification about an order. says: the state it claims, or "" for what it is.

        No("absent"); ValueError if the order has no notify_url.
        """
        with self._store.transaction() as db:
            if not _write(db, _order_of(db, order_no), time.time(), says, how):
                raise ValueError("the order was placed without an address for notifications")

    # -- inside a transaction --------------------------------------------------------------------------------------

    def _repeated(self, db: sqlite3.Connection, wanted: Wanted) -> Order | None:
        if not wanted.ours or self._traits["repeat"] == "buys":
            return None
        row = db.execute("SELECT * FROM orders WHERE ours = ? ORDER BY serial LIMIT 1", (wanted.ours,)).fetchone()
        if row and self._traits["repeat"] == "refuses":
            raise No("repeated", _order(db, row))
        return _order(db, row) if row else None

    def _plan(self, fault: Fault | None, now: float) -> tuple[float | None, int | None]:
        """When the order ends: at a time, or at the ask of a number."""
        if fault and fault.kind in ("late", "unknown", "unknown_fails", "fails_late"):
            return now + fault.seconds, None
        if fault and fault.kind in ("callback_first", "unpaid"):
            return now, None
        if fault and fault.kind == "late_asks":
            return None, max(1, int(fault.seconds))
        return (now, None) if self._traits["delivery"] == "at_once" else (None, 1)

    def _advance(self, db: sqlite3.Connection, order_no: str, now: float) -> None:
        row = db.execute("SELECT * FROM orders WHERE order_no = ?", (order_no,)).fetchone()
        over = row["asks_left"] == 0 if row["due"] is None else row["due"] <= now
        if row["state"] in OPEN and over:
            self._end(db, _order(db, row), row["ending"], now)

    def _end(self, db: sqlite3.Connection, order: Order, ending: str, now: float, *, told: bool = True) -> None:
        state = ending if ending in GIVEN_BACK else DELIVERED
        if state == DELIVERED:
            number = order.quantity // 2 if ending == HALF else order.quantity
            if order.kind == CARD:
                self._deliver(db, order, number, same=ending == SAME_CODE)
            if ending == HALF and self._traits["half_money"] == "given_back":
                _give_back(db, order, order.unit_e6 * (order.quantity - number))
        else:
            _give_back(db, order, order.total_e6)
            db.execute("UPDATE products SET stock = stock + ? WHERE sku = ?", (order.quantity, order.sku))
        db.execute("UPDATE orders SET state = ?, ended_at = ? WHERE order_no = ?", (state, now, order.order_no))
        if order.ends_by_itself_at is None:
            if told:
                self._tell(db, order, state, now + NOTICE_SECONDS)
            return
        # Its letters were written when it was placed.
        waiting = "about = ? AND state = 'waiting' AND tries = 0"
        if told:
            db.execute(f"UPDATE letters SET next_at = MIN(next_at, ?) WHERE {waiting}", (now, order.order_no))  # noqa: S608
        else:
            db.execute(f"DELETE FROM letters WHERE {waiting}", (order.order_no,))  # noqa: S608 - no value is in it

    def _tell(self, db: sqlite3.Connection, order: Order, ending: str, at: float) -> None:
        """Write the letter about the order's end, and what goes wrong with it."""
        kind = self._callback_fault() if order.notify_url else "none"
        if kind == "none":
            return
        if kind == "forged":
            lie = DELIVERED if ending in GIVEN_BACK else FAILED
            _write(db, order, at, lie, "wrong_signature")
        if kind == "stale":
            _write(db, order, at, "", "stale_timestamp")
        true_one = _write(db, order, at)
        if kind == "twice":
            _write(db, order, at, after=true_one)
        if kind == "reordered":
            _write(db, order, at, ACCEPTED, after=true_one)

    def _deliver(self, db: sqlite3.Connection, order: Order, number: int, *, same: bool) -> None:
        # Of the same product: a code of another would be seen to be wrong at once.
        old = db.execute(
            "SELECT card_no, password FROM cards JOIN orders USING (order_no) WHERE sku = ? AND order_no != ?"
            " ORDER BY cards.serial DESC LIMIT ?",
            (order.sku, order.order_no, number if same else 0),
        ).fetchall()
        for row in old:
            db.execute(
                "INSERT INTO cards (order_no, card_no, password) VALUES (?, ?, ?)",
                (order.order_no, row["card_no"], row["password"]),
            )
        for _ in range(number - len(old)):
            serial = db.execute("SELECT COALESCE(MAX(serial), 0) + 1 FROM cards").fetchone()[0]
            word = hashlib.sha256(f"{self._seed}:{serial}".encode()).hexdigest().upper()
            db.execute(
                "INSERT INTO cards VALUES (?, ?, ?, ?, 0)",
                (serial, order.order_no, f"{serial:06d}{word[:6]}", "-".join(word[i : i + 4] for i in range(8, 24, 4))),
            )


def _check(db: sqlite3.Connection, product: Product, wanted: Wanted, unit_e6: int, *, unpaid: bool) -> None:
    if not product.on_sale:
        raise No("off_sale")
    if not product.quantity_min <= wanted.quantity <= product.quantity_max:
        raise No("quantity")
    if any(field.get("required", True) and not wanted.account.get(field["key"]) for field in product.fields):
        raise No("account")
    if wanted.ceiling_e6 is not None and unit_e6 > wanted.ceiling_e6:
        raise No("ceiling")
    if product.stock is not None and product.stock < wanted.quantity:
        raise No("stock")
    if not unpaid and _balance(db) < unit_e6 * wanted.quantity:
        raise No("balance")


def _give_back(db: sqlite3.Connection, order: Order, amount_e6: int) -> None:
    db.execute("UPDATE purse SET balance_e6 = balance_e6 + ?", (amount_e6,))
    db.execute("UPDATE orders SET returned_e6 = returned_e6 + ? WHERE order_no = ?", (amount_e6, order.order_no))


def _write(
    db: sqlite3.Connection,
    order: Order,
    due: float,
    says: str = "",
    how: str = "",
    after: str | None = None,
) -> str:
    """Put a letter, if there is an address to send it to; a false one is sent once."""
    if not order.notify_url:
        return ""
    return Letters.put(
        db,
        about=order.order_no,
        notify_url=order.notify_url,
        content=json.dumps({"order_no": order.order_no, "says": says}).encode(),
        due=due,
        how=how,
        once=bool(how or says),
        after=after,
    )


def _next_serial(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT COALESCE(MAX(serial), 0) + 1 FROM orders").fetchone()[0])


def _balance(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT balance_e6 FROM purse").fetchone()[0])


def _product_of(db: sqlite3.Connection, sku: str) -> Product:
    row = db.execute("SELECT * FROM products WHERE sku = ?", (sku,)).fetchone()
    if row is None:
        raise No("product")
    return _product(row)


def _product(row: sqlite3.Row) -> Product:
    values = {name: row[name] for name in Product.__dataclass_fields__}
    return Product(
        **values
        | {"fields": json.loads(row["fields"]), "more": json.loads(row["more"]), "on_sale": bool(row["on_sale"])}
    )


def _order_of(db: sqlite3.Connection, order_no: str) -> Order:
    row = db.execute("SELECT * FROM orders WHERE order_no = ?", (order_no,)).fetchone()
    if row is None:
        raise No("absent")
    return _order(db, row)


def _order(db: sqlite3.Connection, row: sqlite3.Row) -> Order:
    cards = db.execute(
        "SELECT card_no, password, voided FROM cards WHERE order_no = ? ORDER BY serial", (row["order_no"],)
    ).fetchall()
    values = {name: row[name] for name in Order.__dataclass_fields__ if name not in ("cards", "replayed")}
    return Order(
        **values | {"account": json.loads(row["account"]), "more": json.loads(row["more"])},
        cards=tuple(Card(card["card_no"], card["password"], bool(card["voided"])) for card in cards),
    )
