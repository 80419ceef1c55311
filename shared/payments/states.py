"""What money and a refund can be."""

from __future__ import annotations

from enum import StrEnum


class MoneyState(StrEnum):
    RECEIVED = "received"  # recorded, not yet acted on
    APPLIED = "applied"


class RefundState(StrEnum):
    REQUESTED = "requested"
    UNKNOWN = "unknown"  # sent, the answer did not come: ask before sending again
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class BillState(StrEnum):
    MISSING = "missing"  # not fetched, or not yet: there is no record of it
    FETCHED = "fetched"
    EMPTY = "empty"  # a day without money
    UNREADABLE = "unreadable"  # kept as it came; read again until it can be
