"""The orders table: a head that moves, lines that are snapshots, and client references that make placing repeatable.

The cards of a small order stand in its lines. Those of a large one stand in parts of their own, each held, claimed and
released in one transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

from pynamodb.attributes import (
    BinaryAttribute,
    BooleanAttribute,
    JSONAttribute,
    ListAttribute,
    NumberAttribute,
    UnicodeAttribute,
)
from pynamodb.indexes import GlobalSecondaryIndex, KeysOnlyProjection
from pynamodb.models import Model

from shared.kernel import clock, records, settings
from shared.kernel.errors import NotFound
from shared.kernel.money import Money
from shared.kernel.states import check_move
from shared.orders.status import MOVES, NO_DEADLINE, Decision, Facts, LineState, Refund, Status, status_of

HEAD, REF, CARDS = "head", "ref", "cards"
DUE = "due#order#0"  # one shard: a due order is a rare one
PIECES_MAX = 91  # lines and cards: with head, reference, payment and what is held below 100 actions, and so later
CARDS_MAX = 1_000  # pieces of one order, however it is written
CHUNK = 90  # cards of a large order that move in one transaction
MADE_CHUNK = (
    30  # codes of our own: each is written with its fingerprints, of which it has two while a pepper is changed
)


class Due(GlobalSecondaryIndex["Head"]):
    """Sparse: only orders that still wait for something."""

    class Meta(records.Options):
        index_name = "due"
        projection = KeysOnlyProjection()

    due = UnicodeAttribute(hash_key=True)
    due_at = UnicodeAttribute(range_key=True)


class ByBuyer(GlobalSecondaryIndex["Head"]):
    class Meta(records.Options):
        index_name = "buyer"
        projection = KeysOnlyProjection()

    contact_hash = UnicodeAttribute(hash_key=True)
    order_id = UnicodeAttribute(range_key=True)


class Head(records.Record):
    class Meta(records.Options):
        table_name = settings.table("orders")

    order_id = UnicodeAttribute(hash_key=True)
    part = UnicodeAttribute(range_key=True, default=HEAD)
    status = UnicodeAttribute()
    version = NumberAttribute()
    channel = UnicodeAttribute()
    total_minor = NumberAttribute()
    currency = UnicodeAttribute()
    placed_at = UnicodeAttribute()
    expires_at = UnicodeAttribute()
    due = UnicodeAttribute(null=True)
    due_at = UnicodeAttribute(null=True)
    tries = NumberAttribute(default=0)
    contact_hash = UnicodeAttribute(null=True)  # a channel may keep its buyers to itself
    contact_mask = UnicodeAttribute()
    contact_sealed = BinaryAttribute(legacy_encoding=False, null=True)  # absent once erased
    address_hash = UnicodeAttribute()  # empty: it says nothing of the buyer
    provider = UnicodeAttribute()
    payments: ListAttribute[Any] = ListAttribute(of=UnicodeAttribute)  # ids of all attempts, the current one last
    chunks = NumberAttribute(null=True)  # of a large order: how many parts its cards stand in once they are all held
    ref = UnicodeAttribute(null=True)  # of a large order: its client reference, which is free again if it is not placed
    closed = UnicodeAttribute(null=True)
    paid_by = UnicodeAttribute(null=True)  # id of the money that pays for it
    decision = UnicodeAttribute(null=True)
    reasons = JSONAttribute(null=True)
    lines = JSONAttribute()  # line number → LineState
    review_id = UnicodeAttribute(null=True)
    refund = UnicodeAttribute(null=True)
    refund_id = UnicodeAttribute(null=True)
    refunded = JSONAttribute(null=True)  # line number → minor units given back of it while the order stood
    buying_at = UnicodeAttribute(null=True)  # since when suppliers are asked
    delivered_at = UnicodeAttribute(null=True)
    notice = UnicodeAttribute(null=True)  # what the buyer is told about it
    by_due = Due()
    by_buyer = ByBuyer()

    @property
    def total(self) -> Money:
        return Money(int(self.total_minor), str(self.currency))

    @property
    def facts(self) -> Facts:
        return Facts(
            closed=Status(self.closed) if self.closed else None,
            holding=not self.payments,  # an order can be paid from the moment it has all its cards
            paid=bool(self.paid_by),
            decision=Decision(self.decision) if self.decision else None,
            lines=tuple(LineState(state) for state in self.lines.values()),
            refund=Refund(self.refund) if self.refund else None,
        )


class Line(records.Record):
    """What was agreed for one line, and the very cards held for it."""

    class Meta(records.Options):
        table_name = settings.table("orders")

    order_id = UnicodeAttribute(hash_key=True)
    part = UnicodeAttribute(range_key=True)
    sku = UnicodeAttribute()
    title = UnicodeAttribute()
    quantity = NumberAttribute()
    unit_minor = NumberAttribute()
    currency = UnicodeAttribute()
    fulfilment = UnicodeAttribute()
    cost_e6 = NumberAttribute(default=0)  # per piece, for what has no card of its own yet
    validity_days = NumberAttribute(null=True)
    quota = NumberAttribute(null=True)  # how many of the SKU there will ever be
    channel_quota = NumberAttribute(null=True)  # how many of the SKU the order's channel may ever take
    # Where late money has to look for other cards: the SKU's shelf, how long they must last, the channel's own shelf.
    shards = NumberAttribute(default=1)
    min_days = NumberAttribute(null=True)
    aside = UnicodeAttribute(null=True)
    card_ids: ListAttribute[Any] = ListAttribute(of=UnicodeAttribute)
    # Of what is bought for the order: the most a piece may cost us, how much has come, and of a top-up whose account.
    most_e6 = NumberAttribute(null=True)
    got = NumberAttribute(null=True)
    account_mask: JSONAttribute = JSONAttribute(null=True)
    account_sealed = BinaryAttribute(legacy_encoding=False, null=True)
    proof = UnicodeAttribute(null=True)

    @property
    def agreed(self) -> str:
        """What the sealed account is bound to: altered, it does not open any more."""
        return "|".join(
            str(part)
            for part in (self.order_id, self.part, self.sku, int(self.quantity), int(self.unit_minor), self.currency)
        )

    @property
    def amount(self) -> Money:
        return Money(int(self.unit_minor) * int(self.quantity), str(self.currency))

    @property
    def number(self) -> str:
        return str(self.part).partition("#")[2]


class Chunk(records.Record):
    """Some cards of one line of a large order, in the table as long as the order holds or owns them."""

    class Meta(records.Options):
        table_name = settings.table("orders")

    order_id = UnicodeAttribute(hash_key=True)
    part = UnicodeAttribute(range_key=True)  # cards#{line}#{n}
    card_ids: ListAttribute[Any] = ListAttribute(of=UnicodeAttribute)
    claimed = BooleanAttribute(default=False)

    @property
    def line(self) -> str:
        return str(self.part).split("#")[1]

    @property
    def number(self) -> int:
        return int(str(self.part).split("#")[2])


class Ref(records.Record):
    """One caller's own name for an order: the same body again gives the same order, another body is refused."""

    class Meta(records.Options):
        table_name = settings.table("orders")

    order_id = UnicodeAttribute(hash_key=True)  # ref#{caller}#{sha256(client_ref)}
    part = UnicodeAttribute(range_key=True, default=REF)
    refers_to = UnicodeAttribute()
    body_hash = UnicodeAttribute()


@dataclass(frozen=True)
class Order:
    """A whole order; the lines of a large one have been told which cards their chunks hold."""

    head: Head
    lines: Sequence[Line]
    chunks: Sequence[Chunk] = ()

    @property
    def order_id(self) -> str:
        return str(self.head.order_id)

    @property
    def status(self) -> Status:
        return Status(self.head.status)

    @property
    def card_ids(self) -> list[str]:
        return [str(card_id) for line in self.lines for card_id in line.card_ids]

    @property
    def held_card_ids(self) -> list[str]:
        """The cards that are still to be delivered: what a supplier has delivered for the order is sold already."""
        waiting = {number for number, state in self.head.lines.items() if state == LineState.WAITING}
        return [str(card_id) for line in self.lines if line.number in waiting for card_id in line.card_ids]

    @property
    def left(self) -> dict[str, int]:
        """What has not been given back of each line, in minor units, by the line's number."""
        so_far = self.head.refunded or {}
        return {line.number: line.amount.minor - int(so_far.get(line.number, 0)) for line in self.lines}

    @property
    def given_back(self) -> set[str]:
        """The numbers of the lines whose money goes back, or has gone back, in full: their codes are nobody's now."""
        if self.head.refund:
            return {line.number for line in self.lines}
        left = self.left
        return {line.number for line in self.lines if left[line.number] == 0 < line.amount.minor}


class Limited(NamedTuple):
    """What an order takes of what is limited: `of` names a SKU, or a SKU in a channel, as ``{sku}@{channel}``."""

    of: str
    quantity: int
    limit: int


def limited(lines: Iterable[Line], channel: str) -> list[Limited]:
    """What the lines take of what is limited, each once: a transaction may touch its count only once."""
    taken: dict[str, Limited] = {}
    for line in lines:
        for of, limit in ((str(line.sku), line.quota), (f"{line.sku}@{channel}", line.channel_quota)):
            if limit is not None:
                before = taken[of].quantity if of in taken else 0
                taken[of] = Limited(of, before + int(line.quantity), int(limit))
    return list(taken.values())


def ref_key(caller: str, client_ref: str) -> str:
    return f"ref#{caller}#{hashlib.sha256(client_ref.encode()).hexdigest()}"


def place(tx: records.Transaction, head: Head, lines: Sequence[Line], ref: Ref) -> None:
    """Insert a new order; the reference, if it loses, is named ``ref``."""
    tx.insert("order", head)
    for line in lines:
        tx.insert(str(line.part), line)
    tx.insert("ref", ref)


def referred(key: str) -> Ref | None:
    try:
        return Ref.get(key, REF, consistent_read=True)
    except Ref.DoesNotExist:
        return None


def head_of(order_id: str) -> Head:
    """The head as it is now, or NotFound."""
    try:
        return Head.get(order_id, HEAD, consistent_read=True)
    except Head.DoesNotExist:
        raise NotFound from None


def order_of(order_id: str) -> Order:
    """The whole order as it is now, in one read, or NotFound."""
    return _order(list(_Part.query(order_id, consistent_read=True)))


def outline_of(order_id: str) -> Order:
    """The same without the cards of a large order, of which there may be a thousand."""
    return _order(list(_Part.query(order_id, _Part.part >= HEAD, consistent_read=True)))


def insist(tx: records.Transaction, order_id: str, status: Status) -> None:
    """Go on only while the order has this status; the part that loses is named ``order``."""
    tx.check("order", Head, (order_id, HEAD), Head.status == status)


def touch(tx: records.Transaction, order_id: str, status: Status) -> None:
    """The same, and whoever has read the order before this must read it again to move it."""
    tx.update("order", Head(order_id, HEAD), [Head.version.add(1)], Head.status == status)


def add_chunk(
    tx: records.Transaction, order_id: str, line: Line, number: int, card_ids: Sequence[str], *, claimed: bool
) -> None:
    """Say which cards a large order has got; the part that loses, as somebody got them before, is named ``chunk``."""
    part = f"{CARDS}#{line.number}#{number}"
    tx.insert("chunk", Chunk(order_id, part, card_ids=list(card_ids), claimed=claimed))


def claim_chunk(tx: records.Transaction, chunk: Chunk) -> None:
    tx.update("chunk", _same(chunk), [Chunk.claimed.set(True)], _unclaimed(chunk))


def drop_chunk(tx: records.Transaction, chunk: Chunk) -> None:
    tx.delete("chunk", _same(chunk), _unclaimed(chunk))


def drop_ref(tx: records.Transaction, key: str) -> None:
    """Forget a client's reference: what it named was never placed, so the client may use it for another try."""
    tx.delete("ref", Ref(key, REF), Ref.order_id.exists())


def exchange(tx: records.Transaction, order: Order, by: Mapping[str, str]) -> None:
    """Put other cards in the place of some: old card → new card; the parts that lose are named by their sort keys."""
    for part in order.chunks or order.lines:
        if by.keys() & set(part.card_ids):
            kind, now = type(part), [by.get(card_id, card_id) for card_id in part.card_ids]
            tx.update(
                str(part.part),
                kind(part.order_id, part.part),
                [kind.card_ids.set(now)],
                kind.card_ids == list(part.card_ids),
            )


def _order(parts: Sequence[Model]) -> Order:
    head = next((part for part in parts if isinstance(part, Head)), None)
    if head is None:
        raise NotFound
    lines = sorted((part for part in parts if isinstance(part, Line)), key=lambda line: int(line.number))
    chunks = [part for part in parts if isinstance(part, Chunk)]
    chunks.sort(key=lambda chunk: (int(chunk.line), chunk.number))
    for line in lines if chunks else ():
        line.card_ids = [card_id for chunk in chunks if chunk.line == line.number for card_id in chunk.card_ids]
    return Order(head, lines, chunks)


def _same(chunk: Chunk) -> Chunk:
    return Chunk(chunk.order_id, chunk.part)


def _unclaimed(chunk: Chunk) -> Any:
    return (Chunk.claimed == False) & (Chunk.card_ids == list(chunk.card_ids))  # noqa: E712  # builds a condition


def move(
    tx: records.Transaction,
    head: Head,
    *,
    due_at: datetime | None = None,
    also: Mapping[str, Any] | None = None,
    **facts: Any,
) -> Status:
    """Add to the transaction: learn new facts, and take the status they amount to, if nobody moved the order first.

    due_at: when to look again; left out, a status that waits for nothing clears it and any other keeps it. So does an
    order with several attempts to pay it: those that are still open must be closed, and asked after.
    The part that loses is named ``order``.
    """
    actions, condition, status = _move(head, due_at, dict(also or {}), facts)
    tx.update("order", Head(head.order_id, HEAD), actions, condition)
    return status


def move_alone(
    head: Head, *, due_at: datetime | None = None, also: Mapping[str, Any] | None = None, **facts: Any
) -> Status:
    """The same move where no other record has a part in it; raises Lost."""
    actions, condition, status = _move(head, due_at, dict(also or {}), facts)
    records.update(Head(head.order_id, HEAD), actions, condition, "order")
    return status


def look_again(head: Head, due_at: datetime, tries: int) -> None:
    """Set the next deadline without a move; raises Lost if the order moved meanwhile."""
    records.update(
        Head(head.order_id, HEAD),
        [Head.due_at.set(clock.iso(due_at)), Head.tries.set(tries)],
        (Head.version == head.version) & (Head.due_at == head.due_at),
        "order",
    )


def rest(head: Head) -> None:
    """Nothing more is waited for; raises Lost if the order moved meanwhile."""
    records.update(
        Head(head.order_id, HEAD),
        [Head.due.remove(), Head.due_at.remove()],
        (Head.version == head.version) & (Head.due_at == head.due_at),
        "order",
    )


def add_payment(tx: records.Transaction, head: Head, payment_id: str, provider: str) -> None:
    """Make another attempt the current one of an order that is still to be paid; the loser is named ``order``."""
    tx.update(
        "order",
        Head(head.order_id, HEAD),
        [
            Head.payments.set(Head.payments.append([payment_id])),
            Head.provider.set(provider),
            Head.version.add(1),
        ],
        (Head.status == Status.PLACED) & (Head.version == head.version),
    )


def take_in(tx: records.Transaction, line: Line, card_ids: Sequence[str], pieces: int, proof: str) -> None:
    """Add what a supplier has delivered to a line that it is bought for; the part that loses is named ``line``."""
    so_far = int(line.got or 0)
    actions = [Line.got.set(so_far + pieces), Line.card_ids.set([*line.card_ids, *card_ids])]
    actions += [Line.proof.set(proof)] if proof else []
    unchanged = Line.got == so_far if line.got is not None else Line.got.does_not_exist()
    tx.update("line", Line(line.order_id, line.part), actions, unchanged)


def refund_parts(tx: records.Transaction, head: Head, parts: Mapping[str, int]) -> None:
    """Add to what has gone back of the lines: line number → minor units; the order stays what it is.

    The part that loses is named ``order``: whoever moved the order, or gave something back, was first.
    """
    so_far = {str(number): int(minor) for number, minor in (head.refunded or {}).items()}
    for number, minor in parts.items():
        so_far[number] = so_far.get(number, 0) + minor
    tx.update(
        "order",
        Head(head.order_id, HEAD),
        [Head.refunded.set(so_far), Head.version.add(1)],
        (Head.status == head.status) & (Head.version == head.version),
    )


def hold_anew(tx: records.Transaction, line: Line, card_ids: Sequence[str]) -> None:
    """Late money: the line's first cards went back to the shelf, these take their place."""
    tx.update(str(line.part), Line(line.order_id, line.part), [Line.card_ids.set(list(card_ids))], Line.sku == line.sku)


def overdue(now: datetime, limit: int) -> list[str]:
    """Ids of orders whose deadline has passed, the longest overdue first."""
    passed = Due.due_at <= clock.iso(now)
    found = Head.by_due.query(DUE, passed, limit=limit, page_size=limit)
    return [str(item.order_id) for item in found]


def of_buyer(contact_hash: str, before: str | None, limit: int) -> list[str]:
    """Ids of a contact's orders, the latest first, those older than `before`."""
    older = ByBuyer.order_id < before if before else None
    found = Head.by_buyer.query(contact_hash, older, scan_index_forward=False, limit=limit, page_size=limit)
    return [str(item.order_id) for item in found]


class _Part(records.Record):
    """Any item of an order: reads come back as what they are."""

    class Meta(records.Options):
        table_name = settings.table("orders")

    order_id = UnicodeAttribute(hash_key=True)
    part = UnicodeAttribute(range_key=True)

    @classmethod
    def from_raw_data(cls, data: dict[str, Any]) -> Model:  # type: ignore[override]
        kinds: Mapping[str, type[Model]] = {HEAD: Head, CARDS: Chunk}
        return kinds.get(data["part"]["S"].partition("#")[0], Line).from_raw_data(data)


def _move(
    head: Head, due_at: datetime | None, also: dict[str, Any], facts: Mapping[str, Any]
) -> tuple[list[Any], Any, Status]:
    status = status_of(replace(head.facts, **{**facts, **({"paid": True} if also.get("paid_by") else {})}))
    check_move(MOVES, Status(head.status), status)
    values: dict[str, Any] = {"status": status, **also}
    for name in ("closed", "decision", "refund"):
        if name in facts:
            values[name] = facts[name]
    if "lines" in facts:
        values["lines"] = dict(zip(head.lines, facts["lines"], strict=True))
    actions = [getattr(Head, name).set(value) for name, value in values.items()]
    actions.append(Head.version.add(1))
    if due_at:
        actions += [Head.due.set(DUE), Head.due_at.set(clock.iso(due_at)), Head.tries.set(0)]
    elif status in NO_DEADLINE and head.status != Status.REFUNDING and len(head.payments) < 2:
        # What waits in that, waits to its end.
        actions += [Head.due.remove(), Head.due_at.remove()]
    return actions, (Head.status == head.status) & (Head.version == head.version), status
