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


# By default links are signed in version 2, which S3 refuses for every bucket made since 2020.
_OF_SERVICE = {"s3": Config(signature_version="s3v4")}


@cache
def client(service: str) -> Any:
    config = _CONFIG.merge(_OF_SERVICE.get(service, Config()))
    return boto3.client(service, config=config)  # type: ignore[call-overload]
