"""A supplier calls back: a reason to ask him what became of an order, or what he sells, and never more than that."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from shared.kernel import functions
from shared.kernel.errors import NotFound
from shared.kernel.telemetry import count, logger
from shared.steps import purchase_reversed
from shared.suppliers import accounts, attempts, purchases, registry
from shared.suppliers.errors import BadCallback
from shared.suppliers.prices import BY_FILE
from shared.suppliers.purchases import Attempt
from shared.suppliers.supplier import Ack, News

CHANGES_APART = timedelta(minutes=2)  # whoever can call makes us read a list no more often; ten are the schedule's


def receive(code: str, headers: Mapping[str, str], raw: bytes, now: datetime) -> Ack:
    """Remember that he spoke of an order of his, and say so in his own words; makes no call. UnknownSupplier."""
    supplier = registry.supplier(code)
    try:
        news = supplier.parse_callback(headers, raw, now)
    except BadCallback:
        count("BadCallback")
        logger.warning("a callback failed verification", supplier=code)
        return supplier.ack(False)
    attempt = _meant(code, news)
    if attempt is None:
        logger.info("a callback about nothing of ours", supplier=code)
    else:
        if news.taken_back and attempt.now_state in purchase_reversed.CAME:
            purchase_reversed.call_somebody(attempt, now)
        if news.upstream_no and not attempt.upstream_no:  # he may speak by this alone from now on
            purchases.name(code, news.upstream_no, attempt)
        purchases.hint(attempt, now, upstream_no=news.upstream_no)
        logger.info("called back", supplier=code, order_id=str(attempt.order_id), part=str(attempt.part))
    return supplier.ack(True)


def changed(code: str, now: datetime) -> Ack:
    """His list has changed, says whoever calls, and nothing else of it is read: it is looked at now. UnknownSupplier.

    What changes so soon after another notice that it is left alone is read by the schedule.
    """
    supplier, head = registry.supplier(code), accounts.head_of(code)
    if head.syncs and head.kind != BY_FILE and accounts.changed(code, now, CHANGES_APART):
        functions.wake("supplier-sync", {"supplier": code})
        logger.info("a list is said to have changed", supplier=code)
    return supplier.ack(True)


def _meant(code: str, news: News) -> Attempt | None:
    named = attempts.named_by(news.number) if news.number else purchases.named(code, news.upstream_no)
    try:
        attempt = purchases.attempt_of(*named) if named else None
    except NotFound:
        return None
    return attempt if attempt and attempt.supplier == code else None
