"""AWS refuses a transaction that meets another on an item; the local cloud lets it wait. Here it is refused, too."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError


@contextmanager
def conflicts(round_trip: float = 0) -> Iterator[list[int]]:
    """While it lasts, transactions of this process that overlap in time and in an item do not both succeed.

    round_trip: seconds that every call takes in addition, as on the way to AWS; the longer, the more of them meet.
    Yields a list with one number for each refusal: how many items were met.
    """
    original, under_way, lock, refused = BaseClient._make_api_call, set[str](), threading.Lock(), list[int]()

    def meet(client: BaseClient, operation: str, given: dict[str, Any]) -> Any:
        time.sleep(round_trip / 2)
        items = _items(given) if operation == "TransactWriteItems" else []
        mine = {item for item in items if item}
        with lock:
            met = mine & under_way
            if met:
                refused.append(len(met))
            else:
                under_way.update(mine)
        try:
            time.sleep(round_trip / 2)
            if met:
                codes = [{"Code": "TransactionConflict" if item in met else "None"} for item in items]
                error = {"Error": {"Code": "TransactionCanceledException", "Message": ""}, "CancellationReasons": codes}
                raise ClientError(error, operation)
            return original(client, operation, given)
        finally:
            if not met:
                with lock:
                    under_way.difference_update(mine)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", meet)
        yield refused


def _items(given: dict[str, Any]) -> list[str]:
    """The item of each action. One that is put is a new one: nobody else knows its key."""
    actions = [action for one in given["TransactItems"] for action in one.values()]
    return [f"{action['TableName']} {action['Key']}" if "Key" in action else "" for action in actions]
