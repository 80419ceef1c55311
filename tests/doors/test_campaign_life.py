"""Weeks of a shop in a minute: imports, sales, recalls, new keys, and processes that die at any write of any of them.

Whatever died is done again by whoever asked, or left to the deadlines and the night; then all must agree.
"""

from __future__ import annotations

import json
import re
import threading
import urllib.error
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from botocore.client import BaseClient

from shared.kernel import aws, clock, passing, settings
from shared.steps import import_files
from tests.crowd import SCALE, SEEDS, Crowd, crowded
from tests.deaths import Died
from tests.journeys.test_afterwards import readings
from tests.shop import CONTEXT, Answer, Placed, handler

SKUS = ("V001", "V006")  # 25.00 and 19.80: no limit per order, and far below what a person looks at
DAYS = 20 if SCALE == 1 else 80  # things that happen
DYING = 0.4  # the share of steps that are to die
ROWS = (1, 5, 60, 100)  # of a file: less than a transaction, and some of them
WRITES = re.compile("Put|Update|Delete|Write|Send")
LATER = (4, 20, 60, 240, 1_000, 3_000, 10_000)  # minutes: a deadline comes back later each time
ENDS = {"done", "failed", "cancelled", "undone"}
UNASKED = {(kind, "created") for kind in ("lot_key", "wrapping", "pepper")}  # whoever asked died before it began
SETTLED = {"delivered", "refunded", "cancelled", "expired"}
CANARY = re.compile(rb"KQ-?CANARY-?[0-9A-F]{16}|199\d{8}", re.IGNORECASE)
STATES = ("available", "held", "sold", "frozen", "expired", "void")


@contextmanager
def dying(nth: int, *, before: bool) -> Iterator[None]:
    """The process ends at its n-th write, before AWS hears of it or after; it never makes another one."""
    original, lock, writes = BaseClient._make_api_call, threading.Lock(), 0

    def counted(client: BaseClient, operation: str, given: dict[str, Any]) -> Any:
        nonlocal writes
        if not WRITES.search(operation):
            return original(client, operation, given)
        with lock:
            writes += 1
            if writes > nth or (before and writes == nth):
                raise Died
            answer = original(client, operation, given)
            if writes == nth:
                raise Died
            return answer

    BaseClient._make_api_call = counted
    try:
        yield
    finally:
        BaseClient._make_api_call = original


@dataclass
class Life:
    """What happens in one shop, by chance; and what a person would remember of it."""

    crowd: Crowd
    chance: Random
    orders: list[Placed] = field(default_factory=list)
    imports: list[str] = field(default_factory=list)
    spare: list[str] = field(default_factory=list)  # codes that were in a file before
    phones: set[bytes] = field(default_factory=set)
    deaths: Counter[str] = field(default_factory=Counter)
    did: Counter[str] = field(default_factory=Counter)

    # --- how it dies ---

    def mortal(self, step: Callable[[], Any], name: str = "worker") -> Any:
        """Do it, or die on the way; then it is done again, or nobody comes back."""
        if self.chance.random() > DYING:
            return step()
        try:
            with dying(self.chance.choice((1, 1, 2, 3, 4, 6, 9)), before=self.chance.random() < 0.5):
                return step()
        except Died:
            self.deaths[name] += 1
            return step() if self.chance.random() < 0.5 else None

    def ask(self, method: str, path: str, body: Any = None, groups: str = "owner", **headers: str) -> Answer | None:
        name = re.sub(r"(?<=/)[a-z]+_[0-9a-z]{26}", "{id}", path)
        answer: Answer | None = self.mortal(
            lambda: self.crowd.shop.call(method, path, body, groups=groups, **headers), f"{method} {name}"
        )
        assert answer is None or answer.status < 500 or answer.body["code"] == "busy", answer
        return answer

    # --- what happens ---

    def bring(self) -> None:
        """A file comes in, some of it known before, some of it good for a day only; it may stop halfway, too."""
        fresh = [f"KQ-CANARY-{uuid.uuid4().hex[:16].upper()}" for _ in range(self.chance.choice(ROWS))]
        known = self.chance.sample(self.spare, min(len(self.spare), self.chance.choice((0, 3))))
        rows = fresh + known
        self.chance.shuffle(rows)
        self.spare += fresh
        options: dict[str, Any] = {"supplier": self.chance.choice(("acme", "bolt")), "cost_e6": 10_005_000}
        if self.chance.random() < 0.3:
            options["expires_on"] = clock.shanghai_day(clock.now()).isoformat()
        wanted = {"kind": "cards", "sku": self.chance.choice(SKUS), "file_name": "x.txt", "options": options}
        created = self.crowd.shop.call("POST", "/console/imports", wanted, groups="owner").body
        job = f"/console/imports/{created['job_id']}"
        self.imports.append(created["job_id"])
        passing.put(import_files.upload_name(created["job_id"]), "\n".join(rows).encode())
        self.ask("POST", f"{job}/check")
        self.crowd.shop.pump()
        self.ask("POST", f"{job}/run")
        if self.chance.random() < 0.1:
            self.ask("POST", f"{job}/cancel")
        self.crowd.shop.pump()

    def order(self) -> None:
        quantity = self.chance.choice((1, 1, 1, 2, 3, 5, 95))
        wanted = {
            "lines": [{"sku": self.chance.choice(SKUS), "quantity": quantity}],
            "contact": {"phone": self._phone()},
            "payment_method": "sandbox",
            "client_ref": f"{self.chance.getrandbits(160):040x}",
        }
        answer = self.ask("POST", "/orders", wanted, "")
        if answer and answer.status == 201 and answer.body.get("payment"):
            body = answer.body
            paid = body["payment"]
            order = Placed(body["order_id"], body["access_token"], paid["redirect_url"], paid["payment_id"])
            self.orders.append(order)
            if self.chance.random() < 0.6:
                self._pay(order)

    def _phone(self) -> str:
        phone = f"199{self.chance.randrange(10**8):08}"
        self.phones.add(phone.encode())
        return phone

    def pay_late(self) -> None:
        if self.orders:
            self._pay(self.chance.choice(self.orders[-5:]))

    def _pay(self, order: Placed) -> None:
        with suppress(urllib.error.HTTPError):  # it was paid for before
            self.crowd.shop.provider.pay(order.url)
            notification = self.crowd.shop.inbox.notifications.get(timeout=10)
            self.mortal(lambda: self.crowd.shop.hand_in(notification), "notification")

    def cancel(self) -> None:
        if self.orders:
            order = self.chance.choice(self.orders[-5:])
            path = f"/orders/{order.order_id}/cancel"
            self.mortal(lambda: self.crowd.shop.call("POST", path, token=order.token), "cancel")

    def recall(self) -> None:
        if lots := [item["lot_id"] for item in self.crowd.table("lots") if item["lot_id"].startswith("lot_")]:
            self.ask("POST", "/console/recalls", {"lot_id": self.chance.choice(sorted(lots)), "reason": "bad"})

    def new_key(self) -> None:
        what = self.chance.choice(("lot", "lot", "wrapping", "pepper"))
        lots = sorted(item["lot_id"] for item in self.crowd.table("lots") if item["lot_id"].startswith("lot_"))
        if what == "lot" and not lots:
            return
        wanted = {"what": what, **({"lot_id": self.chance.choice(lots)} if what == "lot" else {})}
        self.ask("POST", "/console/keys/rotate", wanted)

    def undo(self) -> None:
        if self.imports:
            self.ask("POST", f"/console/imports/{self.chance.choice(self.imports)}/undo")

    def wait(self) -> None:
        self.later(self.chance.choice((3, 16)))

    def night(self) -> None:
        day = self.chance.choice((0, 2))
        self.mortal(lambda: handler("stocktake")({"time": in_minutes(day * 24 * 60)}, CONTEXT), "stocktake")

    def happen(self) -> None:
        weights = {
            self.order: 8, self.bring: 4, self.pay_late: 2, self.cancel: 2, self.wait: 2, self.recall: 1,
            self.new_key: 2, self.undo: 1, self.night: 1,
        }  # fmt: skip
        [act] = self.chance.choices(list(weights), list(weights.values()))
        self.did[act.__name__] += 1
        act()
        if self.chance.random() < 0.7:
            self.crowd.shop.pump()

    def later(self, minutes: int) -> None:
        self.mortal(lambda: self.crowd.shop.deadlines(datetime.now(UTC) + timedelta(minutes=minutes)), "deadlines")

    # --- and how it recovers ---

    def recover(self) -> None:
        """From here on nobody dies, and time goes by."""
        self.crowd.shop.invoke = lambda step: step()
        self.chance = Random(1)
        for minutes in LATER:
            self._go_on()
            self.crowd.settle()
            self.crowd.shop.deadlines(datetime.now(UTC) + timedelta(minutes=minutes))
        self.crowd.settle()
        handler("stocktake")({"time": in_minutes(2 * 24 * 60)}, CONTEXT)
        self.crowd.settle()

    def _go_on(self) -> None:
        """What a person does about imports that wait for one."""
        for job_id in self.imports:
            path = f"/console/imports/{job_id}"
            state = self.crowd.shop.call("GET", path, groups="owner").body["state"]
            if wanted := {"created": "cancel", "checked": "run"}.get(state):
                self.crowd.shop.call("POST", f"{path}/{wanted}", groups="owner")


def in_minutes(minutes: float) -> str:
    return (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat()


def brought(crowd: Crowd) -> int:
    """The cards that the imports say are in."""
    heads = [item for item in crowd.table("jobs") if item["part"] == "head" and item["kind"] == "cards"]
    return sum(int(json.loads(head["counts"]).get("done", 0)) for head in heads)


def levels(crowd: Crowd) -> dict[str, Counter[str]]:
    """What the console says of each SKU."""
    found = {}
    for sku in SKUS:
        answer = crowd.shop.call("GET", f"/console/skus/{sku}/stock", groups="operator").body
        found[sku] = Counter({state: answer["levels"][state] for state in STATES if answer["levels"][state]})
    return found


def counted(crowd: Crowd) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {sku: Counter() for sku in SKUS}
    for card in crowd.table("cards"):
        found[card["sku"]][card["state"]] += 1
    return found


def stored(crowd: Crowd) -> Iterator[tuple[str, bytes]]:
    """Every item of every table, every object and every message there is."""
    for table in aws.client("dynamodb").list_tables()["TableNames"]:
        for page in aws.client("dynamodb").get_paginator("scan").paginate(TableName=table):
            for item in page["Items"]:
                yield table, repr(item).encode()
    s3 = aws.client("s3")
    for bucket in s3.list_buckets()["Buckets"]:
        for found in s3.list_objects_v2(Bucket=bucket["Name"]).get("Contents", []):
            yield found["Key"], s3.get_object(Bucket=bucket["Name"], Key=found["Key"])["Body"].read()
    for url in aws.client("sqs").list_queues().get("QueueUrls", []):
        for message in aws.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            yield url, message["Body"].encode()


def unread() -> int:
    """Stream records that nobody could read."""
    url, name = settings.get("RELAY_FAILURES_QUEUE"), "ApproximateNumberOfMessages"
    return int(aws.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"][name])


def leaks(crowd: Crowd, said: str, phones: Collection[bytes]) -> list[str]:
    """Codes, and the very telephones that buyers gave: in weeks of sums and times other numbers look like one."""
    return [
        f"{place}: {found.decode()[:14]}…"
        for place, content in [*stored(crowd), ("log", said.encode())]
        for text in readings(content)
        for found in CANARY.findall(text)
        if found in phones or not found.isdigit()
    ]


@pytest.mark.parametrize("seed", range(SEEDS))
def test_whatever_happens_and_whoever_dies_in_the_end_all_agree(
    seed: int,
    atomic_cloud: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("KEYRING_SECONDS", "0")  # a new number is known everywhere at once
    monkeypatch.setenv("SETTLE_SECONDS", "0")  # and a stream has told of every move
    with crowded(tmp_path) as crowd:
        life = Life(crowd, Random(seed))
        crowd.shop.invoke = life.mortal
        life.bring()
        for _ in range(DAYS):
            life.happen()

        life.recover()
        told = f"{dict(life.did)} {dict(life.deaths)}"
        crowd.stocked["all"] = brought(crowd)
        found = [one for one in crowd.wrong() if " of all came" not in one]
        assert found == [], told
        assert set(crowd.statuses().values()) <= SETTLED, told
        jobs = [item for item in crowd.table("jobs") if item["part"] == "head"]
        waiting = [job for job in jobs if job["state"] not in ENDS and (job["kind"], job["state"]) not in UNASKED]
        assert [(job["kind"], job["state"]) for job in waiting] == [], told
        assert levels(crowd) == counted(crowd), told
        assert unread() == 0, told
        codes = [
            card["code"]
            for order in life.orders
            if crowd.statuses()[order.order_id] == "delivered"
            for card in crowd.shop.reveal(order).body["cards"]
        ]
        assert len(codes) == len(set(codes)), told
        assert set(codes) <= set(life.spare), told
        assert life.deaths.total() > 0
        assert leaks(crowd, capsys.readouterr().out, life.phones) == []
