"""What a piece of work asks of AWS, counted at the wire's edge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore.client import BaseClient


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Calls by the name of their operation, from here to the end of the block."""
    original, seen = BaseClient._make_api_call, Counter[str]()

    def counting(client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:
        seen[operation] += 1
        return original(client, operation, parameters)

    BaseClient._make_api_call = counting  # type: ignore[method-assign]
    try:
        yield seen
    finally:
        BaseClient._make_api_call = original  # type: ignore[method-assign]
