"""The glue to Lambda's event sources: queues with partial failures, schedules, and streams."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from aws_lambda_powertools.utilities.typing import LambdaContext

from shared.kernel import clock
from shared.kernel.telemetry import logger, metrics, tracer

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

Event = dict[str, Any]
Result = TypeVar("Result")


def measured(handler: Callable[[Event, LambdaContext], Result]) -> Callable[[Event, LambdaContext], Result]:
    """Trace the invocation and flush the metrics it counted."""

    @functools.wraps(handler)
    @tracer.capture_lambda_handler(capture_response=False)
    def measuring(event: Event, context: LambdaContext) -> Result:
        try:
            return handler(event, context)
        finally:
            if metrics.metric_set:
                metrics.flush_metrics()

    return measuring


def each_message(work: Callable[[Mapping[str, str], datetime], None]) -> Callable[[Event, LambdaContext], Any]:
    """A queue door: `work` is called with each message; those that raise come again, the others are done."""
    # Here, because it loads the classes of every event source there is, which the other doors can do without.
    from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response

    processor = BatchProcessor(EventType.SQS)

    def one(record: SQSRecord) -> None:
        try:
            work(json.loads(record.body), clock.now())
        except Exception:
            logger.exception("a message failed", message_id=record.message_id)
            raise

    def handler(event: Event, context: LambdaContext) -> Any:
        return process_partial_response(event, one, processor, context)

    return measured(handler)


def on_schedule(work: Callable[[datetime], None]) -> Callable[[Event, LambdaContext], None]:
    """A schedule door: `work` is called with the moment the schedule names, so that a late run knows when it is."""

    def handler(event: Event, _: LambdaContext) -> None:
        work(clock.parse(event["time"]) if event.get("time") else clock.now())

    return measured(handler)


def keys_of(record: Mapping[str, Any]) -> str:
    """Enough of a stream record to find its item; the contents stay in the table."""
    keys = (record.get("dynamodb") or {}).get("Keys") or {}
    return ",".join(f"{name}={next(iter(value.values()), '')}" for name, value in sorted(keys.items()))
