"""Many buyers at once in one process, on a cloud whose transactions are atomic, and what must be true afterwards.

They ask the steps behind the doors: a door serves one request at a time, as in Lambda, where each has its own process.
"""

from __future__ import annotations

import os
import queue
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

from boto3.dynamodb.types import TypeDeserializer

from shared.kernel import aws, clock, settings
from shared.kernel.errors import Refusal
from shared.kernel.http import Caller
from shared.orders.contract import Contact, PlaceOrder, WantedLine
from shared.steps import order_intake, payment_webhooks
from tests.doors.conftest import new_shop
from tests.journeys import books
from tests.shop import Placed, Shop

SCALE = int(os.environ.get("SCALE", "1"))
SEEDS = max(3, SCALE)
HANDS = 16  # buyers at once in one process

Item = dict[str, Any]
Input = TypeVar("Input")
Output = TypeVar("Output")

_plain = TypeDeserializer().deserialize


@dataclass(frozen=True)
class Person:
    """Somebody with a telephone and an address of their own."""

    number: int
    address: str = ""

    @property
    def caller(self) -> Caller:
        high, low = divmod(self.number, 256)
        return Caller(self.address or f"1.{high >> 8 & 255}.{high & 255}.{low}", base_url=os.environ["PUBLIC_URL"])

    @property
    def phone(self) -> str:
        return f"199{self.number:08d}"


@dataclass
class Crowd:
    """The people of one shop, whose provider keeps its books in `folder`; and what was brought into stock."""

    shop: Shop
    folder: Path
    stocked: Counter[str] = field(default_factory=Counter)
    codes: list[str] = field(default_factory=list)
    said: Counter[str] = field(default_factory=Counter)  # refusals
    awaited: int = 0  # notifications of what was paid
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def stock(self, sku: str, count: int) -> None:
        codes = [f"KQ-CANARY-{uuid.uuid4().hex[:16].upper()}" for _ in range(count)]
        answer = self.shop.stock(sku, codes)
        assert (answer.status, answer.body["accepted"]) == (200, count), answer.body
        self.stocked[sku] += count
        self.codes += codes

    def place(self, person: Person, sku: str, quantity: int) -> Placed | None:
        """An order, or None if it was refused; whoever is told to come again for being many at once does."""
        wanted = PlaceOrder(
            lines=[WantedLine(sku=sku, quantity=quantity)],
            contact=Contact(phone=person.phone),
            payment_method="sandbox",
            client_ref=uuid.uuid4().hex,
        )
        placed = self.asked(lambda: order_intake.place(wanted, person.caller, clock.now()))
        if placed is None:
            return None
        return Placed(placed.order_id, placed.access_token, str(placed.payment.redirect_url), placed.payment.payment_id)

    def cancel(self, order: Placed) -> None:
        self.asked(lambda: order_intake.cancel(order.order_id, clock.now()))

    def pay(self, order: Placed) -> None:
        """Pay, and hand in a notification: one's own or that of somebody who pays at the same time."""
        self.shop.provider.pay(order.url)
        with self._lock:
            self.awaited += 1
        self._hand_in()

    def settle(self) -> None:
        """Let all that is under way come to its end. Of money that nobody told us of, the deadlines ask."""
        while self.awaited > 0:
            assert self._hand_in(within=20), f"{self.awaited} notifications did not come"
        while self._hand_in():  # also of those that paid by themselves
            pass
        self.shop.pump()

    def let_run_out(self) -> None:
        """A quarter of an hour passes, as far as unpaid orders know."""
        self.shop.deadlines(datetime.now(UTC) + timedelta(minutes=16))

    def asked(self, ask: Callable[[], Output], tries: int = 20) -> Output | None:
        """The answer, or None for a refusal, which is counted; busy means to ask again."""
        for _ in range(tries):
            try:
                return ask()
            except Refusal as refusal:
                code = refusal.code
                if code != "busy":
                    break
        with self._lock:
            self.said[code] += 1
        return None

    def _hand_in(self, within: float = 0.3) -> bool:
        """within: seconds; the provider sends a notification at once, but the machine may be busy."""
        try:
            headers, raw = self.shop.inbox.notifications.get(timeout=within)
        except queue.Empty:
            return False
        with self._lock:
            self.awaited -= 1
        named = {name.lower(): value for name, value in headers.items()}
        ack = self.asked(lambda: payment_webhooks.receive("sandbox", named, raw, clock.now()))
        assert ack
        assert ack.body == "success"
        return True

    # --- what is true ---

    def table(self, name: str, **more: Any) -> list[Item]:
        """Every item of a table, or with IndexName of an index."""
        pages = aws.client("dynamodb").get_paginator("scan").paginate(
            TableName=settings.table(name), ConsistentRead="IndexName" not in more, **more
        )  # fmt: skip
        return [{key: _plain(value) for key, value in item.items()} for page in pages for item in page["Items"]]

    @cached_property
    def cloud(self) -> SimpleNamespace:
        return SimpleNamespace(state_dir=self.folder)

    def states(self) -> Counter[str]:
        return Counter(str(card["state"]) for card in self.table("cards"))

    def statuses(self) -> dict[str, str]:
        return {item["order_id"]: str(item["status"]) for item in self.table("orders") if item["part"] == "head"}

    def wrong(self) -> list[str]:
        """Everything that does not agree among cards, orders, money and books, in sentences."""
        found = books.wrong(self)  # type: ignore[arg-type]  # it asks for no more of a stack than there is here
        states = self.states()
        if unknown := states.keys() - {"available", "held", "sold", "frozen", "expired", "void"}:
            found.append(f"no such states: {sorted(unknown)}")
        if states.total() != self.stocked.total():
            found.append(f"{self.stocked.total()} cards came, there are {dict(states)}")
        return found


def at_once(work: Callable[[Input], Output], inputs: Iterable[Input], hands: int = HANDS) -> list[Output]:
    """Do all of it with that many hands at once; the first exception is raised."""
    with ThreadPoolExecutor(hands) as pool:
        return list(pool.map(work, inputs))


@contextmanager
def crowded(folder: Path) -> Iterator[Crowd]:
    """An open shop with the sample catalogue and nothing on its shelves."""
    with new_shop(folder) as shop:
        yield Crowd(shop, folder)
