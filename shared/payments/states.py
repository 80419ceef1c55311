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
