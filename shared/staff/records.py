"""What waits for a person: one task per thing and kind, opened once, closed once."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from pynamodb.attributes import UnicodeAttribute
from pynamodb.expressions.update import Action
from pynamodb.indexes import GlobalSecondaryIndex, KeysOnlyProjection

from shared.kernel import clock, records, settings
from shared.kernel.errors import NotFound

OPEN = "open#task"
NO_ORDER = "-"


class OpenTasks(GlobalSecondaryIndex["Task"]):
    class Meta(records.Options):
        index_name = "open"
        projection = KeysOnlyProjection()

    open = UnicodeAttribute(hash_key=True)
    opened_at = UnicodeAttribute(range_key=True)


class Task(records.Record):
    class Meta(records.Options):
        table_name = settings.table("tasks")

    id = UnicodeAttribute(hash_key=True)  # {kind}.{about}
    kind = UnicodeAttribute()
    about = UnicodeAttribute()
    order_id = UnicodeAttribute()
    opened_at = UnicodeAttribute()
    open = UnicodeAttribute(null=True)
    done_by = UnicodeAttribute(null=True)
    done_at = UnicodeAttribute(null=True)
    note = UnicodeAttribute(null=True)
    by_open = OpenTasks()


def open_task(tx: records.Transaction, kind: str, about: str, order_id: str | None, now: datetime) -> None:
    """Ask a person to look at something, anew if it was done before; it loses, as ``task``, if it is open already.

    order_id: None for what is of no order.
    """
    tx.update(
        "task",
        Task(_id(kind, about)),
        [
            Task.kind.set(kind),
            Task.about.set(about),
            Task.order_id.set(order_id or NO_ORDER),
            Task.opened_at.set(clock.iso(now)),
            Task.open.set(OPEN),
        ],
        Task.open.does_not_exist(),
    )


def close_task(task_id: str, by: str, note: str, now: datetime) -> None:
    """A person has dealt with it; closing again is a success, an unknown task NotFound."""
    try:
        with records.Transaction() as tx:
            _close(tx, task_id, by, note, now)
    except records.Lost:
        raise NotFound from None


def end_task(tx: records.Transaction, kind: str, about: str, by: str, note: str, now: datetime) -> None:
    """Close a task together with what a person did about it; the part that loses is named ``task``."""
    _close(tx, _id(kind, about), by, note, now)


def end_if_open(kind: str, about: str, by: str, note: str, now: datetime) -> None:
    """Close a task that is over by itself; one that a person has closed stays as he left it."""
    with suppress(records.Lost):
        records.update(Task(_id(kind, about)), _done(by, note, now), Task.open.exists())


def open_tasks(limit: int) -> list[Task]:
    """The open tasks, the oldest first."""
    found = [str(item.id) for item in Task.by_open.query(OPEN, limit=limit, page_size=limit)]
    by_id = {str(item.id): item for item in Task.batch_get(found)} if found else {}
    return [by_id[task_id] for task_id in found if task_id in by_id]


def _close(tx: records.Transaction, task_id: str, by: str, note: str, now: datetime) -> None:
    tx.update("task", Task(task_id), _done(by, note, now), Task.id.exists())


def _done(by: str, note: str, now: datetime) -> list[Action]:
    return [Task.done_by.set(by), Task.done_at.set(clock.iso(now)), Task.note.set(note), Task.open.remove()]


def _id(kind: str, about: str) -> str:
    return f"{kind}.{about}"
