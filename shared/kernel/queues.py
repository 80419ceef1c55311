"""The only SQS producer; used by the owners of the outbox and of time, by nobody else."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from shared.kernel import aws, settings

BATCH = 10  # messages: the limit of SendMessageBatch

Message = Mapping[str, str]


class NotSent(Exception):
    """SQS took only part of a batch; sending all of it again is safe, consumers are idempotent."""


def send(queue: str, messages: Iterable[Message]) -> None:
    """Send messages to the queue of a step, such as ``risk-checks``; raises NotSent if any was not taken."""
    url = settings.get(queue.upper().replace("-", "_") + "_QUEUE")
    bodies = [json.dumps(message, separators=(",", ":")) for message in messages]
    for start in range(0, len(bodies), BATCH):
        entries = [{"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies[start : start + BATCH])]
        answer = aws.client("sqs").send_message_batch(QueueUrl=url, Entries=entries)
        if answer.get("Failed"):
            raise NotSent(queue)
