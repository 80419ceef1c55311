"""The owner of time: whatever is overdue makes its next move, and lost steps are sent again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from shared.jobs import records as jobs
from shared.jobs.states import JobKind
from shared.kernel import clock, queues
from shared.kernel.errors import Refusal
from shared.kernel.records import Lost, Transaction
from shared.kernel.telemetry import count, logger
from shared.orders import records as orders
from shared.orders.deadlines import LAST_LOOK, STEP_WITHIN, TRIES_MAX, next_look
from shared.orders.records import Head
from shared.orders.status import CLOSED, GIVING_BACK, NO_DEADLINE, LineState, Status
from shared.payments import records as payments
from shared.payments import registry
from shared.payments.errors import UnknownPayment, UnknownProvider
from shared.payments.provider import Outcome, PaymentStatus, Provider
from shared.payments.states import RefundState
from shared.staff import records as staff
from shared.steps import (
    after_sales,
    confirmations,
    order_closing,
    payment_received,
    provider_calls,
    purchase_settling,
    risk_checks,
)
from shared.steps.relay import JOBS, NEXT, PURCHASES, REFUNDS
from shared.suppliers import purchases

AT_ONCE = 300  # overdue things in one run: a minute's run stays within its time limit
CLOSED_LONG_AGO = timedelta(days=1)  # some providers can close nothing: what still comes there comes as late money
SIDE_BY_SIDE = 8  # questions to providers: each takes a few tenths of a second of waiting
ENDED = CLOSED | NO_DEADLINE  # nothing is to be paid any more; the latter are overdue only with several attempts
BUYING_AGAIN = timedelta(minutes=5)
BUYING_TRIES = 24  # two hours of buying, then a person looks at the order, too
LATE = timedelta(minutes=5)  # overdue by more than this means that this very step does not keep up


class Answer(NamedTuple):
    """What a provider says of one attempt to pay."""

    provider: Provider
    payment: payments.Payment
    status: PaymentStatus


Told = Mapping[str, Answer | None]


def run(now: datetime) -> None:
    """Make the next move of everything overdue; one that fails is logged and does not stop the others."""
    late = clock.iso(now - LATE)
    found = [orders.head_of(order_id) for order_id in orders.overdue(now, AT_ONCE)]
    count("OverdueOrders", sum(1 for head in found if head.due_at and str(head.due_at) < late))
    asking = [head for head in found if Status(head.status) in {Status.PLACED, *ENDED}]
    told = _asked([payment_id for head in asking for payment_id in map(str, head.payments)])
    for head in found:
        _guarded(str(head.order_id), _order, head, told, now)
    for refund_id in payments.overdue_refunds(now, AT_ONCE):
        _guarded(refund_id, _refund, payments.refund(refund_id), now)
    for order_id, line in purchases.overdue(now, AT_ONCE):
        _guarded(order_id, _purchase, order_id, line)
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


def _order(head: Head, told: Told, now: datetime) -> None:
    status = Status(head.status)
    if not head.due_at or str(head.due_at) > clock.iso(now):
        return  # the index was a moment behind
    if head.chunks and status in GIVING_BACK and order_closing.finish(str(head.order_id), now):
        return
    if status is Status.HOLDING:
        order_closing.close(orders.order_of(str(head.order_id)), Status.CANCELLED, now)
    elif status is Status.PLACED:
        _unpaid(head, told, now)
    elif status in ENDED:
        _ended(head, told, now)
    elif LineState.FAILED in head.lines.values() and purchase_settling.settle(str(head.order_id), now):
        return
    elif LineState.BUYING in head.lines.values():
        _buying(head, now)
    elif status is Status.REVIEW:
        risk_checks.overdue(head, now)
    elif status in NEXT:
        _send_again(head, NEXT[status], now)
    else:
        _tell_a_person(head, now)


def _unpaid(head: Head, told: Told, now: datetime) -> None:
    """Take in the money whose notification was lost; if there is none, wait on or expire."""
    _take_in(head, told, now)
    latest = orders.outline_of(str(head.order_id))
    if latest.status is not Status.PLACED:
        return
    expires_at = clock.parse(str(head.expires_at))
    if expires_at <= now:
        order_closing.close(latest, Status.EXPIRED, now)
    else:
        orders.look_again(head, next_look(clock.parse(str(head.placed_at)), expires_at, now), 0)


def _ended(head: Head, told: Told, now: datetime) -> None:
    """See that nobody can pay the order any more, ask once more when its pay pages have ended, then let it rest.

    A provider that is silent, or says nothing that can be trusted, is asked again for a day; then a person is told.
    """
    attempts = [str(payment_id) for payment_id in head.payments]
    last = clock.parse(str(head.expires_at)) + LAST_LOOK
    answered = _take_in(head, told, now)
    if answered and all(_shut(told[payment_id]) for payment_id in attempts):
        if now < last:
            orders.look_again(head, last, 0)
            return
        if not any(_can_be_paid(told[payment_id]) for payment_id in attempts):
            orders.rest(head)
            return
    if now > last + CLOSED_LONG_AGO and (answered or int(head.tries) >= TRIES_MAX):
        if not answered:
            with suppress(Lost), Transaction() as tx:  # whoever died here has opened it before
                staff.open_task(tx, "payment_unknown", str(head.order_id), str(head.order_id), now)
            count("TaskOpened")
        orders.rest(head)
        return
    tries = int(head.tries) + 1
    orders.look_again(head, now + STEP_WITHIN * 2 ** min(tries, TRIES_MAX), tries)


def _asked(payment_ids: Sequence[str]) -> Told:
    """Ask the providers of these attempts, side by side; one that does not answer is asked once in this run."""
    by_provider: dict[str, list[payments.Payment]] = {}
    told: dict[str, Answer | None] = {}
    for payment_id in payment_ids:
        try:
            attempt = payments.payment(payment_id)
        except UnknownPayment:
            # Nothing takes an attempt away, so somebody must look; the other orders must not wait for that.
            logger.error("an attempt to pay is gone", payment_id=payment_id)
            count("DeadlineFailed")
            told[payment_id] = None
            continue
        by_provider.setdefault(str(attempt.provider), []).append(attempt)
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        for code, (first, *others) in by_provider.items():
            try:
                provider = registry.provider(code)
            except UnknownProvider:
                # It has been taken out of this deployment; money it still reports will come as late money.
                told |= {str(attempt.id): None for attempt in (first, *others)}
                continue
            said = [_ask(provider, first)]
            silent = said[0].status.outcome is Outcome.UNKNOWN
            if silent:
                logger.warning("provider does not answer", provider=code)
            said += [said[0]._replace(payment=other) for other in others] if silent else []
            said += pool.map(partial(_ask, provider), [] if silent else others)
            told |= {str(answer.payment.id): answer for answer in said}
    return told


def _ask(provider: Provider, payment: payments.Payment) -> Answer:
    now = clock.now()  # signed with the time it is, however late this run is
    try:
        status = provider_calls.counted(provider, lambda: provider.query(payment.attempt, now), now)
    except Exception:  # noqa: BLE001  # logged and counted: the other deadlines must not wait for this one
        logger.exception("a provider cannot be asked", provider=provider.code)
        count("DeadlineFailed")
        status = PaymentStatus(Outcome.UNKNOWN)
    return Answer(provider, payment, status)


def _take_in(head: Head, told: Told, now: datetime) -> bool:
    """Take in whatever money the order's attempts to pay have brought; False if a provider cannot say yet."""
    answers = [answer for payment_id in map(str, head.payments) if (answer := told[payment_id])]
    for answer in answers:
        for charge in answer.status.charges if answer.status.outcome is Outcome.SUCCEEDED else ():
            payment_received.receive(str(answer.payment.id), charge, answer.provider.code, now)
    return all(answer.status.outcome is not Outcome.UNKNOWN for answer in answers)


def _shut(answer: Answer | None) -> bool:
    """Close an attempt at its provider; False where that is not sure, or where somebody has just paid it."""
    if answer is None or answer.status.outcome in {Outcome.SUCCEEDED, Outcome.FAILED}:
        return True
    provider, attempt, now = answer.provider, answer.payment.attempt, clock.now()
    closed = provider_calls.counted(provider, lambda: provider.close(attempt, now), now)
    return closed in {Outcome.SUCCEEDED, Outcome.ABSENT}


def _can_be_paid(answer: Answer | None) -> bool:
    return answer is not None and answer.status.outcome is Outcome.PROCESSING


def _send_again(head: Head, queue: str, now: datetime) -> None:
    tries = int(head.tries) + 1
    if tries > TRIES_MAX:
        _tell_a_person(head, now)
    else:
        orders.look_again(head, now + STEP_WITHIN * 2 ** (tries - 1), tries)
    queues.send(queue, [{"order_id": str(head.order_id)}])
    count("StepSentAgain")


def _buying(head: Head, now: datetime) -> None:
    """Its lines go on by themselves; here only what got lost on the way to their first step is sent again."""
    tries = int(head.tries) + 1
    if tries > BUYING_TRIES:
        _tell_a_person(head, now)
    else:
        orders.look_again(head, now + BUYING_AGAIN, tries)
    lines = [number for number, state in head.lines.items() if state == LineState.BUYING]
    queues.send(PURCHASES, [{"order_id": str(head.order_id), "line": number} for number in lines])


def _purchase(order_id: str, line: str) -> None:
    queues.send(PURCHASES, [{"order_id": order_id, "line": line}])


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
    if job.kind == JobKind.CONFIRMATION:
        confirmations.finish(job_id, now)
        return
    tries = int(job.tries) + 1
    jobs.look_again(job, now + jobs.BEAT_WITHIN * 2 ** min(tries, TRIES_MAX), tries)
    if tries == TRIES_MAX:
        with suppress(Lost), Transaction() as tx:
            staff.open_task(tx, "job_stuck", job_id, None, now)
        count("TaskOpened")
    queues.send(JOBS[str(job.kind)], [{"job_id": job_id}])
    count("StepSentAgain")
