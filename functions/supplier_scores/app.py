"""Schedule: score whom we buy from by what came of it, and say what should be bought for stock."""

from datetime import datetime

from shared.kernel.events import on_schedule
from shared.steps import procurement, supplier_scores


def each_hour(now: datetime) -> None:
    """Neither waits for the other to succeed."""
    try:
        supplier_scores.work(now)
    finally:
        procurement.work(now)


handler = on_schedule(each_hour)
