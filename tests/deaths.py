"""Processes that die: right after their n-th write, whichever that is, so that a write that is added is covered."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from typing import Any

from botocore.client import BaseClient

Step = Callable[[], Any]
WRITES: Set[str] = {
    *("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems"),
    *("SendMessageBatch", "PutObject", "DeleteObject", "DeleteObjects", "PutSecretValue"),
}


class Died(BaseException):
    """The process is gone: not an Exception, so that no handler of ours can catch it."""


@contextmanager
def dying_after(nth: int, of: Set[str] = WRITES) -> Iterator[list[str]]:
    """Kill once, right after the n-th write, which is counted as it happens; yields the writes seen."""
    original, seen = BaseClient._make_api_call, []

    def counted(client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:
        answer = original(client, operation, parameters)
        if operation in of:
            seen.append(operation)
            if len(seen) == nth:
                raise Died
        return answer

    BaseClient._make_api_call = counted
    try:
        yield seen
    finally:
        BaseClient._make_api_call = original


def retried(step: Step) -> Any:
    """A caller, a provider or a queue that gets no answer comes again."""
    try:
        return step()
    except Died:
        return step()


def abandoned(step: Step) -> Any:
    """Nobody comes again: the message is lost with the process."""
    try:
        return step()
    except Died:
        return None
