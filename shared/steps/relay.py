"""The outbox: a record that changed is forwarded to the queue of its next step."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from shared.jobs.states import WORKED_ON, JobKind, JobState
from shared.kernel import queues
from shared.kernel.events import keys_of
from shared.kernel.telemetry import count, logger
from shared.orders.status import LineState, Status
from shared.payments.states import RefundState

NEXT: Mapping[str, str] = {
    Status.PAID: "risk-checks",
    Status.CLEARED: "card-dispatch",
    Status.REFUSED: "after-sales",
}
"""What each status waits for; a status that is not here waits for a person, for time, or for nothing."""

REFUNDS = "after-sales"

PURCHASES = "purchasing"

JOBS: Mapping[str, str] = {
    JobKind.CARDS: "bulk-jobs",
    JobKind.CATALOGUE: "bulk-jobs",
    JobKind.RECALL: "bulk-jobs",
    JobKind.EXPORT: "vault-keeping",
    JobKind.LOT_KEY: "vault-keeping",
    JobKind.WRAPPING: "vault-keeping",
    JobKind.PEPPER: "vault-keeping",
    JobKind.DESTRUCTION: "vault-keeping",
}
"""Who works at a job of each kind: those that touch codes in clear lie apart from those that do not."""


def forward(stream_records: Iterable[Mapping[str, Any]]) -> None:
    """Send each change on; a record that cannot be read goes to the failure queue, so that it never stops the others.

    A transient error of SQS is raised: the whole batch comes again, which is safe, because consumers are idempotent.
    """
    outgoing: dict[str, list[dict[str, str]]] = defaultdict(list)
    for record in stream_records:
        try:
            for queue, message in _next(record):
                outgoing[queue].append(message)
        except (KeyError, TypeError, ValueError):
            logger.error("a stream record cannot be read", event_id=str(record.get("eventID")))
            count("RelayUnreadable")
            outgoing["relay-failures"].append({"event_id": str(record.get("eventID")), "keys": keys_of(record)})
    for queue, messages in outgoing.items():
        queues.send(queue, messages)


def _next(record: Mapping[str, Any]) -> list[tuple[str, dict[str, str]]]:
    if record["eventName"] == "REMOVE":
        return []
    new, old = record["dynamodb"]["NewImage"], record["dynamodb"].get("OldImage") or {}
    if "job_id" in new:
        if new["part"]["S"] != "head":
            return []
        moved = new["state"]["S"] != (old.get("state") or {}).get("S")
        wanted = moved and JobState(new["state"]["S"]) in WORKED_ON and new["kind"]["S"] != JobKind.CONFIRMATION
        return [(JOBS[new["kind"]["S"]], {"job_id": new["job_id"]["S"]})] if wanted else []
    if new.get("part", {}).get("S") == "head":
        status = new["status"]["S"]
        changed = old.get("status", {}).get("S") != Status(status)
        about = {"order_id": new["order_id"]["S"]}
        step = [(NEXT[status], about)] if changed and status in NEXT else []
        before = json.loads(old["lines"]["S"]) if old else {}
        return step + [
            (PURCHASES, {**about, "line": number})
            for number, state in json.loads(new["lines"]["S"]).items()
            if state == LineState.BUYING and before.get(number) != state
        ]
    if new.get("hinted", {}).get("S") == "yes":
        if new["hinted_at"] == old.get("hinted_at"):
            return []
        line, _, attempt = new["part"]["S"].partition("#")
        about = {"order_id": new["order_id"]["S"], "line": str(int(line))}
        if new.get("hinted_why", {}).get("S") != "go_on":
            about["hint"] = str(int(attempt))
        return [(PURCHASES, about)]
    if new.get("id", {}).get("S", "").startswith("ref_") and not old:
        RefundState(new["state"]["S"])
        return [(REFUNDS, {"refund_id": new["id"]["S"]})]
    return []
