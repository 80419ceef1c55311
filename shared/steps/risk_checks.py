"""A paid order is cleared, held for review, or refused; and what a person decides about one held."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from shared.kernel import clock, ids, settings
from shared.kernel.errors import Busy
from shared.kernel.records import Lost, Transaction
from shared.kernel.telemetry import count, logger
from shared.orders import records as orders
from shared.orders.deadlines import STEP_WITHIN, step_due
from shared.orders.records import Head, Order
from shared.orders.status import Decision, Status
from shared.risk import records as risk
from shared.risk.errors import ReviewDecided
from shared.risk.records import ReviewState
from shared.risk.scoring import Features, Limits, Outcome, Verdict, decide
from shared.steps import hold_limits

REVIEW_WITHIN = timedelta(minutes=30)
"""Buyers of instant goods wait no longer; then the money goes back by itself, the code never does."""


def check(message: Mapping[str, str], now: datetime) -> None:
    """Decide about a paid order; one that has been decided is left alone."""
    order = orders.outline_of(message["order_id"])
    head = order.head
    if order.status is not Status.PAID:
        return
    verdict = decide(_features(order, now), limits())
    try:
        if verdict.outcome is Outcome.REVIEW:
            _open_review(head, verdict, now)
        else:
            also = {"reasons": list(verdict.reasons)} if verdict.reasons else None
            orders.move_alone(
                head, due_at=step_due(clock.parse(str(head.due_at)), now), decision=Decision(verdict.outcome), also=also
            )
    except Lost:
        return  # somebody moved it first, which this message may have done itself in an earlier delivery
    count(f"Risk{verdict.outcome.title()}")
    logger.info("checked", order_id=str(head.order_id), outcome=verdict.outcome, reasons=verdict.reasons)


def approve(review_id: str, by: str, note: str, now: datetime) -> risk.Review:
    """A person lets the order go on; repeating it is a success, deciding otherwise after that is ReviewDecided."""
    return _decide(review_id, ReviewState.APPROVED, by, note, now)


def refuse(review_id: str, by: str, note: str, now: datetime) -> risk.Review:
    """A person sends the money back."""
    return _decide(review_id, ReviewState.REFUSED, by, note, now)


def overdue(head: Head, now: datetime) -> None:
    """Nobody decided in time: the order is refused."""
    _decide(str(head.review_id), ReviewState.OVERDUE, "system", "review_overdue", now)


def limits() -> Limits:
    defaults = Limits()
    return Limits(
        order_minor=settings.whole("RISK_ORDER_MINOR", defaults.order_minor),
        contact_orders_per_day=settings.whole("RISK_CONTACT_ORDERS_PER_DAY", defaults.contact_orders_per_day),
        contact_minor_per_day=settings.whole("RISK_CONTACT_MINOR_PER_DAY", defaults.contact_minor_per_day),
        address_orders_per_day=settings.whole("RISK_ADDRESS_ORDERS_PER_DAY", defaults.address_orders_per_day),
    )


def _features(order: Order, now: datetime) -> Features:
    head = order.head
    order_id, amount, hold = order.order_id, int(head.total_minor), hold_limits.taken(head, order.lines)
    known = [("contact", head.contact_hash), ("address", head.address_hash)]
    keys = [(what, str(hashed)) for what, hashed in known if hashed]
    counts = {what: risk.count(what, hashed, order_id, amount, now, hold) for what, hashed in keys}
    lists = risk.listed(keys, now)
    return Features(
        total_minor=amount,
        contact_orders=counts["contact"].orders if "contact" in counts else 0,
        contact_minor=counts["contact"].amount_minor if "contact" in counts else 0,
        address_orders=counts["address"].orders if "address" in counts else 0,
        contact_listed=lists.get("contact"),
        address_listed=lists.get("address"),
    )


def _open_review(head: Head, verdict: Verdict, now: datetime) -> None:
    review_id, due_at = ids.new("rev", now), now + REVIEW_WITHIN
    with Transaction() as tx:
        orders.move(
            tx,
            head,
            due_at=due_at,
            decision=Decision.REVIEW,
            also={"review_id": review_id, "reasons": list(verdict.reasons)},
        )
        risk.open_review(tx, review_id, str(head.order_id), verdict.reasons, due_at, now)


def _decide(review_id: str, state: ReviewState, by: str, note: str, now: datetime) -> risk.Review:
    review = risk.review(review_id)
    head = orders.head_of(str(review.order_id))
    if review.state == ReviewState.OPEN and head.status == Status.REVIEW:
        decision = Decision.CLEARED if state is ReviewState.APPROVED else Decision.REFUSED
        try:
            with Transaction() as tx:
                orders.move(tx, head, due_at=now + STEP_WITHIN, decision=decision)
                risk.close_review(tx, review_id, state, by, note, now)
        except Lost:
            pass  # two people pressed at once; the first one's word is looked at below
    review = risk.review(review_id)
    if review.state == ReviewState.OPEN:
        raise Busy
    if review.state != state:
        raise ReviewDecided(state=str(review.state))
    return review
