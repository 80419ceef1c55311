"""A payment that its provider has not told us of: one person says that it came, another one lets it count."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from datetime import datetime

from shared.jobs import parts
from shared.jobs import records as jobs
from shared.jobs.errors import WrongJobState
from shared.jobs.records import Job
from shared.jobs.states import JobKind, JobState
from shared.kernel import clock, ids
from shared.kernel.errors import InvalidRequest
from shared.kernel.http import Amount
from shared.kernel.money import Money
from shared.kernel.records import Lost
from shared.orders import records as orders
from shared.orders.errors import AmountDiffers
from shared.payments import records as payments
from shared.payments.by_hand import MoneyElsewhere
from shared.payments.contract import AskConfirmation, ConfirmationList, ConfirmationView
from shared.payments.errors import UnknownMoney, UnknownPayment
from shared.payments.provider import Charge
from shared.steps import payment_received, two_people

PREFIX = "cfm"
LOOKED_AT = 100  # the latest, among which those that wait for a decision are


def ask(order_id: str, wanted: AskConfirmation, key: str, by: str, now: datetime) -> ConfirmationView:
    """A confirmation that waits for a second person; the same Idempotency-Key gives the same one.

    UnknownPayment if the order has no attempt with this provider, AmountDiffers if it is not the order's price: money
    that would go back at once is no payment, and whoever has mistyped it should hear of it now.
    """
    head = orders.head_of(order_id)
    payment_id = _attempt(head, wanted.provider)
    if head.total != Money(wanted.amount_minor, wanted.currency):
        raise AmountDiffers(total_minor=head.total.minor, currency=head.total.currency)
    paid_at = _moment(wanted.paid_at)
    if not clock.parse(str(head.placed_at)) <= paid_at <= now:
        raise InvalidRequest(fields=[{"field": "paid_at", "reason": "before_the_order_or_in_the_future"}])
    _not_elsewhere(wanted.provider, wanted.provider_no, order_id)
    said = {**wanted.model_dump(), "order_id": order_id}
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
    spec = {**said, "payment_id": payment_id, "paid_at": clock.iso(paid_at)}
    return show(parts.ask_once(ids.new(PREFIX, now), JobKind.CONFIRMATION, spec, by, key, digest, now))


def show(confirmation_id: str) -> ConfirmationView:
    return _view(_confirmation(confirmation_id))


def waiting() -> ConfirmationList:
    """Those that wait for a decision or, approved, for their money to be taken in, the latest first."""
    latest = jobs.latest(JobKind.CONFIRMATION, LOOKED_AT)
    return ConfirmationList(confirmations=[_view(job) for job in latest if not job.ended_at])


def approve(confirmation_id: str, by: str, now: datetime) -> ConfirmationView:
    """Let the money count and take it in; OwnRequest for the asker. Again finishes what a death has left unfinished."""
    job = _confirmation(confirmation_id)
    _not_elsewhere(str(job.spec["provider"]), str(job.spec["provider_no"]), str(job.spec["order_id"]))
    two_people.approve(job, by, now)
    if job.state == JobState.CANCELLED:  # by the same person, who has thought better of it
        raise WrongJobState(state=job.state)
    return finish(confirmation_id, now)


def refuse(confirmation_id: str, by: str, now: datetime) -> ConfirmationView:
    job = _confirmation(confirmation_id)
    two_people.refuse(job, by, now)
    return _view(job)


def finish(confirmation_id: str, now: datetime) -> ConfirmationView:
    """Take the money of an approved confirmation in, as if its provider had told us of it; again changes nothing.

    The provider's number makes it the same money when the provider does tell us, so that it never counts twice.
    """
    job = _confirmation(confirmation_id)
    if job.state != JobState.RUNNING:
        return _view(job)
    spec = job.spec
    said = {name: spec[name] for name in ("note", "provider_no")}
    charge = Charge(
        str(spec["payment_id"]),
        str(spec["provider_no"]),
        Money(int(spec["amount_minor"]), str(spec["currency"])),
        clock.parse(str(spec["paid_at"])),
        json.dumps({**said, "confirmation": job.job_id, "asked_by": job.asked_by, "approved_by": job.approved_by}),
    )
    payment_received.receive(charge.payment_id, charge, str(spec["provider"]), now)
    money = payments.received(payments.money_id(str(spec["provider"]), charge.provider_no))
    ours = money.order_id == spec["order_id"]  # else somebody has put it elsewhere between the last look and now
    with suppress(Lost):  # somebody else has finished it at the same moment
        jobs.move(job, JobState.DONE if ours else JobState.FAILED, now, found={"use": str(money.use) if ours else None})
    return show(confirmation_id)


def _attempt(head: orders.Head, provider: str) -> str:
    """The order's latest attempt with this provider."""
    for payment_id in reversed(head.payments):
        if payments.payment(str(payment_id)).provider == provider:
            return str(payment_id)
    raise UnknownPayment


def _moment(text: str) -> datetime:
    try:
        return clock.parse(text)
    except ValueError:
        raise InvalidRequest(fields=[{"field": "paid_at", "reason": "not_a_moment"}]) from None


def _not_elsewhere(provider: str, provider_no: str, order_id: str) -> None:
    with suppress(UnknownMoney):
        whose = str(payments.received(payments.money_id(provider, provider_no)).order_id)
        if whose != order_id:
            raise MoneyElsewhere(provider_no=provider_no, order_id=whose)


def _confirmation(confirmation_id: str) -> Job:
    return jobs.job_of(confirmation_id, PREFIX)


def _view(job: Job) -> ConfirmationView:
    spec = job.spec
    return ConfirmationView(
        confirmation_id=str(job.job_id),
        order_id=str(spec["order_id"]),
        state=str(job.state),
        provider=str(spec["provider"]),
        provider_no=str(spec["provider_no"]),
        amount=Amount(amount_minor=int(spec["amount_minor"]), currency=str(spec["currency"])),
        paid_at=str(spec["paid_at"]),
        note=str(spec["note"]),
        asked_by=str(job.asked_by),
        asked_at=str(job.asked_at),
        decided_by=job.approved_by,
        ended_at=job.ended_at,
        use=(job.found or {}).get("use"),
    )
