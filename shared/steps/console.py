"""What operators ask for: reviews, refunds, lists, tasks, one order at a time."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from shared.kernel import clock, people
from shared.kernel.errors import InvalidRequest
from shared.kernel.http import Amount
from shared.ledger.contract import EntryView
from shared.orders import records as orders
from shared.orders.contract import ConsoleOrderView
from shared.payments import records as payments
from shared.payments.contract import RefundView, RequestRefund
from shared.payments.states import RefundState
from shared.risk import records as risk
from shared.risk.contract import ListContact, Listed, ReasonView, ReviewList, ReviewView
from shared.risk.scoring import REASONS
from shared.settlement.contract import StatementView
from shared.settlement.errors import NotClosed
from shared.staff import records as staff
from shared.staff.contract import TaskClosed, TaskList, TaskView
from shared.steps import after_sales, settlement
from shared.steps.order_views import order_view

PAGE = 100  # reviews or tasks at once: more open ones than this need more people, not a longer page


def order(order_id: str) -> ConsoleOrderView:
    found = orders.order_of(order_id)
    head = found.head
    return ConsoleOrderView(
        **order_view(found).model_dump(),
        version=int(head.version),
        provider=str(head.provider),
        payment_ids=[str(payment_id) for payment_id in head.payments],
        reasons=list(head.reasons or []),
        review_id=str(head.review_id) if head.review_id else None,
        refund_id=str(head.refund_id) if head.refund_id else None,
        refunded=_refunded(found),
        due_at=str(head.due_at) if head.due_at else None,
        card_ids=found.card_ids,
    )


def _refunded(order: orders.Order) -> Amount:
    """What goes back or has gone back of what was paid, all told."""
    minor = order.head.total.minor - (0 if order.head.refund else sum(order.left.values()))
    return Amount(amount_minor=minor, currency=order.head.total.currency)


def refund(order_id: str, wanted: RequestRefund, by: str, key: str, now: datetime) -> RefundView:
    """Request the refund of some lines, of an amount, or of all that is left; asking again gives the same refund."""
    if wanted.lines is None and wanted.amount_minor is None:
        return _refund_view(after_sales.request(orders.order_of(order_id), wanted.reason, by, now))
    if wanted.lines is not None and wanted.amount_minor is not None:
        raise InvalidRequest(fields=[{"field": "", "reason": "lines_or_amount_minor"}])
    if not key:
        raise InvalidRequest(fields=[{"field": "Idempotency-Key", "reason": "required"}])
    return _refund_view(after_sales.request_part(order_id, wanted, by, key, now))


def give_unknown_back(provider: str, provider_no: str, note: str, by: str, now: datetime) -> RefundView:
    """Send money that nobody asked for back where it came from."""
    return _refund_view(after_sales.give_unknown_back(provider, provider_no, by, note, now))


def paid_by_hand(refund_id: str, note: str, by: str, now: datetime) -> RefundView:
    """Record that a person gave the money of a refused refund back."""
    after_sales.paid_by_hand(refund_id, by, note, now)
    return _refund_view(refund_id)


def _refund_view(refund_id: str) -> RefundView:
    asked = payments.refund(refund_id)
    return RefundView(
        refund_id=refund_id,
        order_id=str(asked.order_id),
        state=RefundState(asked.state),
        amount=Amount(amount_minor=asked.amount.minor, currency=asked.amount.currency),
        reason=str(asked.reason),
        requested_at=str(asked.requested_at),
        requested_by=str(asked.requested_by),
    )


def reviews() -> ReviewList:
    return ReviewList(reviews=[review_view(review) for review in risk.open_reviews(PAGE)])


def review_view(review: risk.Review) -> ReviewView:
    return ReviewView(
        review_id=str(review.id),
        order_id=str(review.order_id),
        state=risk.ReviewState(review.state),
        reasons=[ReasonView(reason=reason, **REASONS[reason]._asdict()) for reason in review.reasons],
        opened_at=str(review.opened_at),
        due_at=str(review.due_at),
        decided_by=review.decided_by,
        decided_at=review.decided_at,
        note=review.note,
    )


def put_on_list(wanted: ListContact, by: str, now: datetime) -> Listed:
    if wanted.kind == "address":
        what, text, mask = "address", people.address(wanted.value), "•••"
    else:
        contact = people.contact(wanted.kind, wanted.value)
        what, text, mask = "contact", contact.text if contact else None, contact.mask if contact else ""
    if text is None:
        raise InvalidRequest(fields=[{"field": "value", "reason": f"not_a_{wanted.kind}"}])
    risk.put_on_list(what, people.hashed(wanted.kind, text), wanted.verdict, wanted.reason, by, now, wanted.days)
    expires_at = clock.iso(now + timedelta(days=wanted.days))
    return Listed(kind=wanted.kind, verdict=wanted.verdict, mask=mask, expires_at=expires_at)


def tasks() -> TaskList:
    return TaskList(
        tasks=[
            TaskView(
                task_id=str(task.id),
                kind=str(task.kind),
                about=str(task.about),
                order_id=str(task.order_id),
                opened_at=str(task.opened_at),
            )
            for task in staff.open_tasks(PAGE)
        ]
    )


def close_task(task_id: str, by: str, note: str, now: datetime) -> TaskClosed:
    staff.close_task(task_id, by, note, now)
    return TaskClosed(task_id=task_id)


def statement(day: str, now: datetime) -> StatementView:
    """A closed day as it was closed, or today so far."""
    wanted = day_of(day)
    try:
        return StatementView.of(*settlement.statement(wanted))
    except NotClosed:
        if wanted != clock.shanghai_day(now):
            raise
        return StatementView.of(settlement.running(now))


def close_day(day: str, now: datetime) -> StatementView:
    wanted = day_of(day)
    settlement.close(wanted, now)
    return StatementView.of(*settlement.statement(wanted))


def reverse_entry(day: str, entry_id: str, by: str, now: datetime) -> EntryView:
    """Undo one entry by another of today."""
    return EntryView.of(settlement.reverse_entry(day_of(day), entry_id, now, by))


def day_of(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidRequest(fields=[{"field": "day", "reason": "not_a_date"}]) from None
