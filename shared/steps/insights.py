"""Counts the moves of cards as the stream tells them, and says when a SKU runs low."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from shared.catalog import records as catalog
from shared.insights import levels
from shared.insights import records as insights
from shared.insights.levels import Seen
from shared.kernel import queues
from shared.kernel.events import keys_of
from shared.kernel.records import Lost, Transaction
from shared.kernel.telemetry import count, logger
from shared.staff import records as staff

LOW_STOCK = "low_stock"
TERMS_KEPT = 60  # seconds: a new threshold is heeded after a minute, and a busy SKU's is not read for each sale


def count_moves(stream_records: Iterable[Mapping[str, Any]], now: datetime) -> None:
    """Add a batch to the levels, once, however often it comes; a record that cannot be read goes aside.

    A transient error is raised, and the whole batch comes again.
    """
    changes, unreadable = {}, []
    for record in stream_records:
        try:
            changes[str(record["eventID"])] = _change(record)
        except (AttributeError, KeyError, TypeError, ValueError):
            logger.error("a stream record cannot be read", event_id=str(record.get("eventID")))
            count("InsightsUnreadable")
            unreadable.append({"event_id": str(record.get("eventID")), "keys": keys_of(record)})
    if unreadable:
        queues.send("relay-failures", unreadable)
    sums = levels.sums(changes.values())
    if not sums:
        return
    insights.add(sums, ",".join(sorted(changes)), now)
    shifted = {key.sku for key, more in sums.items() if key.sku and more.numbers.get("available")}
    tell_low(_thresholds({sku for sku in shifted if sku}), now)


def tell_low(thresholds: Mapping[str, int], now: datetime) -> None:
    """Open a person's task for each SKU that is below its threshold, once until it has been above it."""
    watched = {sku: low for sku, low in thresholds.items() if low}
    for sku, (level, told) in insights.latest(watched).items():
        low = level.available < watched[sku]
        if low and not told:
            with suppress(Lost), Transaction() as tx:  # it may still be open from the last time
                staff.open_task(tx, LOW_STOCK, sku, None, now)
            count("LowStock")
            logger.info("stock is low", sku=sku, available=level.available, low=watched[sku])
        if low != told:
            insights.set_told(sku, now if low else None)


_kept: dict[str, tuple[float, int]] = {}


def _thresholds(skus: Collection[str]) -> dict[str, int]:
    """The thresholds of these SKUs, at most a minute old."""
    fresh = time.monotonic() - TERMS_KEPT
    unknown = [sku for sku in sorted(skus) if _kept.get(sku, (-TERMS_KEPT, 0))[0] <= fresh]
    if unknown:
        found = catalog.skus(unknown)
        read_at = time.monotonic()
        _kept.update({sku: (read_at, found[sku].terms.low if sku in found else 0) for sku in unknown})
    return {sku: _kept[sku][1] for sku in skus}


def _change(record: Mapping[str, Any]) -> tuple[Seen | None, Seen | None]:
    """The card before and after."""
    images, name = record["dynamodb"], record["eventName"]
    old = None if name == "INSERT" else Seen.of(images["OldImage"])
    return old, None if name == "REMOVE" else Seen.of(images["NewImage"])
