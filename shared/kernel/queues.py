"""The only SQS producer: used by the owners of the outbox and of time, and by who waits for less than 15 minutes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from datetime import timedelta

from shared.kernel import aws, settings

BATCH = 10  # messages: the limit of SendMessageBatch

Message = Mapping[str, str]


class NotSent(Exception):
    """SQS took only part of a batch; sending all of it again is safe, consumers are idempotent."""


def send(queue: str, messages: Iterable[Message], delay: timedelta = timedelta(0)) -> None:
    """Send messages to the queue of a step, such as ``risk-checks``; raises NotSent if any was not taken.

    delay: before they can be received; less than a quarter of an hour.
    """
    url = settings.get(queue.upper().replace("-", "_") + "_QUEUE")
    later = {"DelaySeconds": math.ceil(delay.total_seconds())} if delay else {}
    bodies = [json.dumps(message, separators=(",", ":")) for message in messages]
    for start in range(0, len(bodies), BATCH):
        entries = [{"Id": str(n), "MessageBody": body, **later} for n, body in enumerate(bodies[start : start + BATCH])]
        answer = aws.client("sqs").send_message_batch(QueueUrl=url, Entries=entries)
        if answer.get("Failed"):
            raise NotSent(queue)
