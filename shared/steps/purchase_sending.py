"""Sends one attempt to its supplier, after it was written down as sent: whoever finds it so asks, and does not buy."""

from __future__ import annotations

from datetime import datetime

from cryptography.exceptions import InvalidTag

from shared.kernel import clock
from shared.steps import purchase_asking, supplier_tasks
from shared.steps.purchase_work import (
    ALTERED,
    CALL_WITHIN,
    SLOT_AGAIN,
    Unmapped,
    Wait,
    Work,
    chance,
    empty,
    fail,
    in_slot,
    offer_of,
    purchase_of,
    undecided,
)
from shared.suppliers import accounts, attempts, ceiling, pulses, purchases, registry
from shared.suppliers.attempts import AttemptState
from shared.suppliers.errors import UnknownSupplier
from shared.suppliers.purchases import Attempt
from shared.suppliers.supplier import Answer, Outcome, Reason, Supplier


def buy(at: Work, attempt: Attempt, now: datetime) -> Wait:
    head = accounts.head_of(str(attempt.supplier))
    if not head.may_supply(at.sku.brand, clock.shanghai_day(now).isoformat()):
        fail(at, attempt, Reason.NOT_ALLOWED, now)
    try:
        supplier, offer = registry.supplier(str(attempt.supplier)), offer_of(attempt)
        purchase = purchase_of(at, attempt, head, offer)
    except (UnknownSupplier, Unmapped):
        fail(at, attempt, Reason.OFF_SHELF, now)
    except InvalidTag:  # since the attempt was begun
        return undecided(at, attempt, ALTERED, now)
    if not offer.on_sale:
        fail(at, attempt, Reason.OFF_SHELF, now)
    slot = pulses.take(supplier.code, supplier.traits.slots, now + CALL_WITHIN, now, chance)
    if slot is None:
        return SLOT_AGAIN
    with in_slot(supplier, slot, at.ticking):
        if not supplier.traits.ceiling and (said := ceiling.speaks_against(supplier, purchase, clock.now())):
            return _refused(at, attempt, said, at.ticking())
        now = at.ticking()  # the question may have taken its time
        # Whoever finds it sent and overdue finds it after a death, not beside us.
        sent = purchases.move_alone(attempt, AttemptState.SENT, now, now + CALL_WITHIN, sent_at=clock.iso(now))
        answer = supplier.place(purchase, clock.now())
    return _placed(at, sent, answer, supplier, at.ticking())


def _placed(at: Work, sent: Attempt, answer: Answer, supplier: Supplier, now: datetime) -> Wait:
    """What becomes of an attempt by the answer to sending it."""
    if answer.outcome in {Outcome.RETRY, Outcome.REFUSED, Outcome.FAILED}:
        return _refused(at, sent, answer, now)
    if answer.outcome is Outcome.UNKNOWN and answer.reason is Reason.NOT_ALLOWED:
        # It is for who we are; what became of the order it does not say.
        supplier_tasks.stop(str(sent.supplier), answer.reason, now)
    return purchase_asking.told(at, sent, answer, supplier, "place", now)


def _refused(at: Work, attempt: Attempt, answer: Answer, now: datetime) -> Wait:
    """Nothing was bought: it is sent again a little later, or another supplier is asked."""
    sends = int(attempt.sends)
    if answer.outcome is Outcome.RETRY and sends < len(attempts.SEND_AGAIN):
        wait, said = attempts.SEND_AGAIN[sends], purchases.told(attempt, "place", answer, now)
        purchases.move_alone(attempt, AttemptState.CREATED, now, now + wait, sends=sends + 1, said=said)
        return wait
    if answer.outcome is Outcome.REFUSED:
        supplier_tasks.stop(str(attempt.supplier), answer.reason, now)
    if answer.reason is Reason.LOW_BALANCE:
        empty(str(attempt.supplier), now)
    return fail(at, attempt, answer.reason, now, answer)
