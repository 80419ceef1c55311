"""One boto3 client per service and process: creating one costs more than a call."""

from __future__ import annotations

from functools import cache
from typing import Any

import boto3
from botocore.config import Config

_CONFIG = Config(
    connect_timeout=2,  # seconds; a healthy regional endpoint answers in milliseconds
    read_timeout=10,  # seconds; below every function's own time limit
    retries={"mode": "standard", "max_attempts": 3},
)


@cache
def client(service: str) -> Any:
    return boto3.client(service, config=_CONFIG)  # type: ignore[call-overload]
