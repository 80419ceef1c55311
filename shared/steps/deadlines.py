"""The owner of time: whatever is overdue makes its next move, and lost steps are sent again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from shared.jobs import records as jobs
from shared.kernel import clock, queues
from shared.kernel.errors import Refusal
from shared.kernel.records import Lost, Transaction
from shared.kernel.telemetry import count, logger
from shared.orders import records as orders
from shared.orders.deadlines import STEP_WITHIN, TRIES_MAX, next_look
from shared.orders.records import Head
from shared.orders.status import CLOSED, GIVING_BACK, Status
from shared.payments import records as payments
from shared.payments import registry
from shared.payments.errors import UnknownProvider
from shared.payments.provider import Outcome
from shared.payments.states import RefundState
from shared.staff import records as staff
from shared.steps import after_sales, order_closing, payment_received, risk_checks
from shared.steps.relay import JOBS, NEXT, REFUNDS

AT_ONCE = 200  # overdue things in one run: a minute's run stays within its time limit
LATE = timedelta(minutes=5)  # overdue by more than this means that this very step does not keep up


def run(now: datetime) -> None:
    """Make the next move of everything overdue; one that fails is logged and does not stop the others."""
    late = clock.iso(now - LATE)
    found = [orders.head_of(order_id) for order_id in orders.overdue(now, AT_ONCE)]
    count("OverdueOrders", sum(1 for head in found if head.due_at and str(head.due_at) < late))
    silent: set[str] = set()
    for head in found:
        _guarded(str(head.order_id), _order, head, silent, now)
    for refund_id in payments.overdue_refunds(now, AT_ONCE):
        _guarded(refund_id, _refund, payments.refund(refund_id), now)
    for job_id in jobs.overdue(now, AT_ONCE):
        _guarded(job_id, _job, job_id, now)


def _guarded(about: str, move: Callable[..., None], *record_and_now: object) -> None:
    try:
        move(*record_and_now)
    except (Lost, Refusal) as lost:
        logger.info("moved meanwhile", about=about, why=str(lost))
    except Exception:  # noqa: BLE001  # logged and counted: the other deadlines must not wait for this one
        logger.exception("a deadline failed", about=about)
        count("DeadlineFailed")


def _order(head: Head, silent: set[str], now: datetime) -> None:
    status = Status(head.status)
    if not head.due_at or str(head.due_at) > clock.iso(now):
        return  # the index was a moment behind
    if head.chunks and status in GIVING_BACK and order_closing.finish(str(head.order_id), now):
        return
    if status is Status.HOLDING:
        order_closing.close(orders.order_of(str(head.order_id)), Status.CANCELLED, now)
    elif status is Status.PLACED:
        _unpaid(head, silent, now)
    elif status in CLOSED:
        _closed(head, silent, now)
    elif status is Status.REVIEW:
        risk_checks.overdue(head, now)
    elif status in NEXT:
        _send_again(head, NEXT[status], now)
    else:
        _tell_a_person(head, now)


def _unpaid(head: Head, silent: set[str], now: datetime) -> None:
    """Ask whether a notification was lost; if nothing was paid, wait on or expire."""
    _all_answered(head, silent, now)
    latest = orders.outline_of(str(head.order_id))
    if latest.status is not Status.PLACED:
        return
    expires_at = clock.parse(str(head.expires_at))
    if expires_at <= now:
        order_closing.close(latest, Status.EXPIRED, now)
    else:
        orders.look_again(head, next_look(clock.parse(str(head.placed_at)), expires_at, now), 0)


def _closed(head: Head, silent: set[str], now: datetime) -> None:
    """Ask once more whether money came unnoticed; if none did, the order rests. A silent provider is asked again."""
    if _all_answered(head, silent, now):
        orders.rest(head)
    else:
        tries = int(head.tries) + 1
        orders.look_again(head, now + STEP_WITHIN * 2 ** min(tries, TRIES_MAX), tries)


def _all_answered(head: Head, silent: set[str], now: datetime) -> bool:
    """Take in whatever money the order's attempts to pay have brought; False if a provider cannot say yet."""
    answered = [_answered(payment_id, silent, now) for payment_id in map(str, head.payments)]
    return all(answered)


def _answered(payment_id: str, silent: set[str], now: datetime) -> bool:
    """silent: the providers that did not answer in this run; waiting for them again would make all others late."""
    attempt = payments.payment(payment_id)
    name = str(attempt.provider)
    try:
        provider = registry.provider(name)
    except UnknownProvider:
        return True  # it has been taken out of this deployment; money it still reports will come as late money
    if name in silent:
        return False
    answer = provider.query(payment_id, clock.now())  # signed with the time it is, however late this run is
    if answer.outcome is Outcome.UNKNOWN:
        silent.add(name)
        logger.warning("provider does not answer", provider=name)
    for charge in answer.charges if answer.outcome is Outcome.SUCCEEDED else ():
        payment_received.receive(payment_id, charge, name, now)
    return answer.outcome not in {Outcome.UNKNOWN, Outcome.PROCESSING}


def _send_again(head: Head, queue: str, now: datetime) -> None:
    tries = int(head.tries) + 1
    if tries > TRIES_MAX:
        _tell_a_person(head, now)
    else:
        orders.look_again(head, now + STEP_WITHIN * 2 ** (tries - 1), tries)
    queues.send(queue, [{"order_id": str(head.order_id)}])
    count("StepSentAgain")


def _tell_a_person(head: Head, now: datetime) -> None:
    with suppress(Lost), Transaction() as tx:  # it may be open since yesterday
        staff.open_task(tx, "order_stuck", str(head.order_id), str(head.order_id), now)
    count("TaskOpened")
    orders.look_again(head, now + timedelta(days=1), int(head.tries))


def _refund(refund: payments.Refund, now: datetime) -> None:
    after_sales.wait(refund, RefundState(refund.state), now)
    queues.send(REFUNDS, [{"refund_id": str(refund.id)}])


def _job(job_id: str, now: datetime) -> None:
    """Its worker has died, or its message was lost: another one takes it up where it was left."""
    job = jobs.job_of(job_id, job_id.partition("_")[0])
    if not job.due_at or str(job.due_at) > clock.iso(now):
        return  # the index was a moment behind
    tries = int(job.tries) + 1
    jobs.look_again(job, now + jobs.BEAT_WITHIN * 2 ** min(tries, TRIES_MAX), tries)
    if tries == TRIES_MAX:
        with suppress(Lost), Transaction() as tx:
            staff.open_task(tx, "job_stuck", job_id, "-", now)
        count("TaskOpened")
    queues.send(JOBS[str(job.kind)], [{"job_id": job_id}])
    count("StepSentAgain")
