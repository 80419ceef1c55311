"""The table `purchases`: each attempt to buy what a line of an order needs, under its own number."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pynamodb.attributes import JSONAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.indexes import GlobalSecondaryIndex, IncludeProjection, KeysOnlyProjection

from shared.kernel import clock, records, settings
from shared.kernel.errors import NotFound
from shared.kernel.states import check_move
from shared.suppliers.attempts import MOVES, OPEN, OUT, AttemptState, number_of
from shared.suppliers.supplier import Answer

DUE = "due#purchase#0"  # one shard: what is overdue is rare
SAID_MAX = 12  # messages that are kept of an attempt, the first ones and the last


class Due(GlobalSecondaryIndex["Attempt"]):
    """Sparse: only attempts that wait for something."""

    class Meta(records.Options):
        index_name = "due"
        projection = IncludeProjection(["state", "supplier"])

    due = UnicodeAttribute(hash_key=True)
    due_at = UnicodeAttribute(range_key=True)


class BySupplier(GlobalSecondaryIndex["Attempt"]):
    """Sparse: only attempts that have ended; what ends once more, as by a reversal, moves to its later place."""

    class Meta(records.Options):
        index_name = "supplier"
        projection = KeysOnlyProjection()

    supplier = UnicodeAttribute(hash_key=True)
    ended_at = UnicodeAttribute(range_key=True)


class Attempt(records.Record):
    """One attempt. most_e6: what one piece may cost, in millionths of a yuan; cost_e6: what all of it did cost.
    told_e6: the same in millionths of a unit of his currency, as he said it before it came, which some never say again.

    choices: what routing found, the best first, and left_out whom it did not ask, with the reason. asks: how often the
    supplier was asked what became of it; sends: how often it was sent in vain. said: the messages, redacted.
    """

    class Meta(records.Options):
        table_name = settings.table("purchases")

    order_id = UnicodeAttribute(hash_key=True)
    part = UnicodeAttribute(range_key=True)  # line#attempt, two digits each
    version = NumberAttribute(default=1)
    state = UnicodeAttribute()
    sku = UnicodeAttribute()
    delivers = UnicodeAttribute()
    quantity = NumberAttribute()
    most_e6 = NumberAttribute()
    supplier = UnicodeAttribute(null=True)  # of one that is held, nobody yet
    product = UnicodeAttribute(null=True)
    landed_e6 = NumberAttribute(null=True)  # of one piece, as the offer said
    choices: JSONAttribute = JSONAttribute(null=True)
    left_out: JSONAttribute = JSONAttribute(null=True)
    number = UnicodeAttribute()
    upstream_no = UnicodeAttribute(null=True)
    reason = UnicodeAttribute(default="")
    delivered = NumberAttribute(default=0)
    ordered = NumberAttribute(default=0)  # of what came, what its order took
    duplicates = NumberAttribute(default=0)  # codes that somebody had before
    cost_e6 = NumberAttribute(default=0)
    told_e6 = NumberAttribute(null=True)
    proof = UnicodeAttribute(default="")
    settled_by = UnicodeAttribute(null=True)  # the person in whose hands it came, or who says that it did not
    lot_id = UnicodeAttribute(null=True)  # that its cards lie in, beside others of the day
    asks = NumberAttribute(default=0)
    sends = NumberAttribute(default=0)
    absent_at = UnicodeAttribute(null=True)
    said: JSONAttribute = JSONAttribute(default=list)
    created_at = UnicodeAttribute()
    sent_at = UnicodeAttribute(null=True)
    ended_at = UnicodeAttribute(null=True)
    hinted = UnicodeAttribute(null=True)  # ``yes`` until somebody has looked: the outbox sends these on
    hinted_at = UnicodeAttribute(null=True)
    hinted_why = UnicodeAttribute(null=True)  # ``go_on`` where nobody is to be asked what became of it
    due = UnicodeAttribute(null=True)
    due_at = UnicodeAttribute(null=True)
    by_due = Due()
    by_supplier = BySupplier()

    @property
    def line(self) -> str:
        return str(int(str(self.part).partition("#")[0]))

    @property
    def attempt(self) -> int:
        return int(str(self.part).partition("#")[2])

    @property
    def now_state(self) -> AttemptState:
        return AttemptState(self.state)


class Named(records.Record):
    """Which attempt a supplier means by a number of his own."""

    class Meta(records.Options):
        table_name = settings.table("purchases")

    order_id = UnicodeAttribute(hash_key=True)  # upstream#{supplier}#{number}
    part = UnicodeAttribute(range_key=True, default="name")
    refers_to = UnicodeAttribute()
    refers_part = UnicodeAttribute()


def part_of(line: str, attempt: int) -> str:
    return f"{int(line):02d}#{attempt:02d}"


def new(
    order_id: str,
    line: str,
    attempt: int,
    state: AttemptState,
    sku: str,
    delivers: str,
    quantity: int,
    most_e6: int,
    due_at: datetime,
    now: datetime,
    **chosen: Any,
) -> Attempt:
    """An attempt that is not stored yet. chosen: supplier, product, landed_e6, choices, left_out."""
    return Attempt(
        order_id,
        part_of(line, attempt),
        state=state,
        sku=sku,
        delivers=delivers,
        quantity=quantity,
        most_e6=most_e6,
        number=number_of(order_id, line, attempt),
        created_at=clock.iso(now),
        due=DUE,
        due_at=clock.iso(due_at),
        **chosen,
    )


def insert(tx: records.Transaction, attempt: Attempt) -> None:
    """Begin an attempt; the part that loses, as somebody has begun it, is named ``attempt``."""
    tx.insert("attempt", attempt)


def insist(tx: records.Transaction, order_id: str, line: str, attempts: int) -> None:
    """Go on only while a line has so many attempts, and no more; the part that loses is named ``attempt``."""
    tx.check("attempt", Attempt, (order_id, part_of(line, attempts + 1)), Attempt.order_id.does_not_exist())


def attempt_of(order_id: str, line: str, attempt: int) -> Attempt:
    """The attempt as it is now, or NotFound."""
    try:
        return Attempt.get(order_id, part_of(line, attempt), consistent_read=True)
    except (Attempt.DoesNotExist, ValueError):
        raise NotFound from None


def of_line(order_id: str, line: str) -> list[Attempt]:
    """All attempts for one line, the first first."""
    found = Attempt.query(order_id, Attempt.part.startswith(f"{int(line):02d}#"), consistent_read=True)
    return list(found)


def of_order(order_id: str) -> list[Attempt]:
    return list(Attempt.query(order_id, consistent_read=True))


def overdue(now: datetime, limit: int) -> list[tuple[str, str]]:
    """(order, line) of attempts whose time has come, the longest overdue first."""
    found = Attempt.by_due.query(DUE, Due.due_at <= clock.iso(now), limit=limit, page_size=limit)
    return [(str(one.order_id), one.line) for one in found]


def ended(supplier: str, after: datetime, limit: int) -> list[Attempt]:
    """What ended with a supplier after a moment, the first first; at most so many."""
    later = BySupplier.ended_at > clock.iso(after)
    found = Attempt.by_supplier.query(supplier, later, limit=limit, page_size=limit)
    keys = [(str(one.order_id), str(one.part)) for one in found]
    by_key = {(str(one.order_id), str(one.part)): one for one in Attempt.batch_get(keys)} if keys else {}
    return [by_key[key] for key in keys if key in by_key]


def out_with(supplier: str) -> bool:
    """Whether a supplier has orders of ours of which nobody knows the end; may be a moment behind."""
    his = (Attempt.supplier == supplier) & Attempt.state.is_in(*OUT)
    return any(True for _ in Attempt.by_due.query(DUE, filter_condition=his))


def move(
    tx: records.Transaction, attempt: Attempt, state: AttemptState, now: datetime, due_at: datetime | None, **also: Any
) -> None:
    """Take the attempt to a state, if nobody moved it first; the part that loses is named ``attempt``.

    due_at: when it is looked at again; None where nothing is waited for any more.
    """
    actions, condition = _move(attempt, state, now, due_at, also)
    tx.update("attempt", Attempt(attempt.order_id, attempt.part), actions, condition)


def move_alone(attempt: Attempt, state: AttemptState, now: datetime, due_at: datetime | None, **also: Any) -> Attempt:
    """The same move where no other record has a part in it; raises Lost. Returns the attempt as it is then."""
    actions, condition = _move(attempt, state, now, due_at, also)
    moved = Attempt(attempt.order_id, attempt.part)
    records.update(moved, actions, condition, "attempt")
    return moved


def look_again(attempt: Attempt, due_at: datetime | None) -> None:
    """Nothing has come of it: say only when it is looked at next, or that it never is; raises Lost."""
    wait = [Attempt.due.set(DUE), Attempt.due_at.set(clock.iso(due_at))] if due_at else []
    unmoved = (Attempt.version == attempt.version) & (Attempt.state == attempt.state)
    actions = wait or [Attempt.due.remove(), Attempt.due_at.remove()]
    records.update(Attempt(attempt.order_id, attempt.part), actions, unmoved, "attempt")


def hint(attempt: Attempt, now: datetime, *, ask: bool = True, upstream_no: str = "", gave_up: str = "") -> None:
    """The supplier spoke of it, or a person decided about it: whoever is to look is told by the outbox.

    ask: the supplier is asked what became of it; without that its line only goes on. upstream_no: his number, which is
    kept where none is known. gave_up: the person who says that nothing came.
    """
    why = Attempt.hinted_why.remove() if ask else Attempt.hinted_why.set("go_on")
    number = [Attempt.upstream_no.set(Attempt.upstream_no | upstream_no)] if upstream_no else []
    person = [Attempt.settled_by.set(gave_up)] if gave_up else []
    Attempt(attempt.order_id, attempt.part).update(
        [Attempt.hinted.set("yes"), Attempt.hinted_at.set(clock.iso(now)), why, *number, *person],
        Attempt.order_id.exists(),
    )


def name(supplier: str, upstream_no: str, attempt: Attempt) -> None:
    """Remember which attempt a supplier's own number names; the first one it named stays."""
    try:
        records.insert(
            Named(f"upstream#{supplier}#{upstream_no}", refers_to=attempt.order_id, refers_part=attempt.part), "name"
        )
    except records.Lost:
        return


def named(supplier: str, upstream_no: str) -> tuple[str, str, int] | None:
    """(order, line, attempt) that a supplier's own number names."""
    try:
        found = Named.get(f"upstream#{supplier}#{upstream_no}", "name", consistent_read=True)
    except Named.DoesNotExist:
        return None
    line, _, attempt = str(found.refers_part).partition("#")
    return str(found.refers_to), str(int(line)), int(attempt)


def told(attempt: Attempt, what: str, answer: Answer, now: datetime) -> list[dict[str, str]]:
    """The messages of an attempt with one more; of very many the first four and the last are kept."""
    new = {"at": clock.iso(now), "what": what, "outcome": answer.outcome, "reason": answer.reason, "said": answer.said}
    said = [*attempt.said, new]
    return said if len(said) <= SAID_MAX else [*said[:4], *said[4 - SAID_MAX :]]


def _move(
    attempt: Attempt, state: AttemptState, now: datetime, due_at: datetime | None, also: Mapping[str, Any]
) -> tuple[list[Any], Any]:
    check_move(MOVES, attempt.now_state, state)
    values = {"state": state, **also}
    actions = [getattr(Attempt, key).set(value) for key, value in values.items() if value is not None]
    actions += [getattr(Attempt, key).remove() for key, value in values.items() if value is None]
    actions += [Attempt.version.add(1), Attempt.hinted.remove()]
    if state not in OPEN:  # also where it is looked back at
        actions.append(Attempt.ended_at.set(clock.iso(now)))
    if due_at is None:
        actions += [Attempt.due.remove(), Attempt.due_at.remove()]
    else:
        actions += [Attempt.due.set(DUE), Attempt.due_at.set(clock.iso(due_at))]
    return actions, (Attempt.version == attempt.version) & (Attempt.state == attempt.state)
