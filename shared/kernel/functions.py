"""Wakes another function of ours, for work that nobody waits for and that a schedule does again where this is lost."""

from __future__ import annotations

import json
from collections.abc import Mapping

from shared.kernel import aws, settings


def wake(function: str, event: Mapping[str, str]) -> None:
    """Let a function, such as ``supplier-sync``, run with this event; returns before it does."""
    name = settings.get(function.upper().replace("-", "_") + "_FUNCTION")
    aws.client("lambda").invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(event))
