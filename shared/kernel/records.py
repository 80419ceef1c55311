"""What all tables share: a base record, integer attributes, and one transaction that several capabilities can join."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import cache
from types import TracebackType
from typing import Any, Self

from pynamodb.connection import Connection, TableConnection
from pynamodb.exceptions import PutError, PynamoDBException, TransactWriteError, UpdateError
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action
from pynamodb.models import Model
from pynamodb.transactions import TransactWrite

from shared.kernel.errors import Busy

LIMIT = 100  # actions: the limit of TransactWriteItems
_REFUSED = "ConditionalCheckFailed"
_RACES = {_REFUSED, "TransactionConflict", "DuplicateItem"}
_THROTTLES = {"ThrottlingError", "ProvisionedThroughputExceeded", "RequestLimitExceeded"}


class Lost(Exception):
    """Somebody moved first. `failed` names the parts that lost.

    `refused` are those of them whose condition did not hold; the others only met another transaction, and the same
    thing tried again may succeed.
    """

    def __init__(self, *failed: str, refused: tuple[str, ...] = ()) -> None:
        super().__init__(*failed)
        self.failed, self.refused = failed, refused


class Options:
    """The Meta that every record inherits."""

    region = None
    connect_timeout_seconds = 2  # a healthy regional endpoint answers in milliseconds
    read_timeout_seconds = 5
    max_retry_attempts = 4


_sending = threading.local()


@cache
def _connection() -> Connection:
    connection = Connection(
        connect_timeout_seconds=Options.connect_timeout_seconds,
        read_timeout_seconds=Options.read_timeout_seconds,
        max_retry_attempts=Options.max_retry_attempts,
    )
    connection.client.meta.events.register("before-send.dynamodb.TransactWriteItems", _sent)
    return connection


def _sent(**_: Any) -> None:
    getattr(_sending, "tell", lambda: None)()


class Record(Model):
    """The base of every record: all tables share one client, because making one takes longer than forty calls."""

    @classmethod
    def _get_connection(cls) -> TableConnection:
        table = super()._get_connection()
        table.connection._client = _connection().client
        return table


class Transaction:
    """All or nothing. Each part has a name, so that a loser can say which part it lost.

    Committed on leaving the ``with`` block: raises Lost if a condition failed or another transaction was in the way,
    Busy if DynamoDB throttled.
    """

    def __init__(self, *, ready: bool = False, sent: Callable[[], None] = lambda: None) -> None:
        """ready: what is put is made ready for the wire when it is added, so that another thread can do that before.

        sent: called when the request goes out and only its answer is waited for.
        """
        self._ready, self._sent = ready, sent
        self._parts: dict[str, list[tuple[str, Callable[[TransactWrite], None]]]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._parts.values()))

    def insert(self, name: str, record: Model, or_if: Condition | None = None) -> None:
        """Put an item that must not exist yet, or of which `or_if` holds."""
        absent = getattr(type(record), str(record._hash_keyname)).does_not_exist()
        condition = absent if or_if is None else absent | or_if
        if self._ready:
            item = record.get_save_kwargs_from_instance(condition=condition)
            self._add("put", name, lambda tx: tx._put_items.append(item))
        else:
            self._add("put", name, lambda tx: tx.save(record, condition))

    def update(self, name: str, record: Model, actions: Sequence[Action], condition: Condition | None = None) -> None:
        self._add("update", name, lambda tx: tx.update(record, list(actions), condition))

    def delete(self, name: str, record: Model, condition: Condition) -> None:
        self._add("delete", name, lambda tx: tx.delete(record, condition))

    def check(self, name: str, kind: type[Model], key: tuple[str, ...], condition: Condition) -> None:
        """Insist on what must be true of an item that the transaction leaves as it is; once for each name."""
        if name not in [checked for checked, _ in self._parts.get("check", [])]:
            of, part = (*key, None)[:2]
            self._add("check", name, lambda tx: tx.condition_check(kind, of, part, condition))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._commit()

    def _add(self, verb: str, name: str, add: Callable[[TransactWrite], None]) -> None:
        self._parts.setdefault(verb, []).append((name, add))

    def _commit(self) -> None:
        # PynamoDB sends checks, deletes, puts, then updates, and reasons for failure come back in this order.
        ordered = [part for verb in ("check", "delete", "put", "update") for part in self._parts.get(verb, [])]
        _sending.tell = self._sent
        try:
            with TransactWrite(connection=_connection()) as tx:
                for _, add in ordered:
                    add(tx)
        except TransactWriteError as error:
            reasons = [reason.code if reason else None for reason in error.cancellation_reasons]
            named = [(name, code) for (name, _), code in zip(ordered, reasons, strict=False) if code in _RACES]
            if named:
                refused = tuple(name for name, code in named if code == _REFUSED)
                raise Lost(*(name for name, _ in named), refused=refused) from error
            if error.cause_response_code == "TransactionConflictException":
                raise Lost("transaction") from error
            if any(code in _THROTTLES for code in reasons) or error.cause_response_code in {
                "ThrottlingException",
                "ProvisionedThroughputExceededException",
                "TransactionInProgressException",
            }:
                raise Busy from error
            raise


def insert(record: Model, name: str = "item") -> None:
    """Put an item that must not exist yet, or raise Lost."""
    try:
        record.save(getattr(type(record), str(record._hash_keyname)).does_not_exist())
    except PutError as error:
        raise _translated(error, name) from error


def update(record: Model, actions: Sequence[Action], condition: Condition, name: str = "item") -> None:
    """Update one item if the condition holds, or raise Lost; the record then holds the new values."""
    try:
        record.update(list(actions), condition)
    except UpdateError as error:
        raise _translated(error, name) from error


def _translated(error: PynamoDBException, name: str) -> Exception:
    code = error.cause_response_code
    if code == "ConditionalCheckFailedException":
        return Lost(name, refused=(name,))
    if code == "TransactionConflictException":
        return Lost(name)
    if code in {"ThrottlingException", "ProvisionedThroughputExceededException"}:
        return Busy()
    return error
