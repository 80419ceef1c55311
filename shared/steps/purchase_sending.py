"""Sends one attempt to its supplier, after it was written down as sent: whoever finds it so asks, and does not buy."""

from __future__ import annotations

from datetime import datetime

from cryptography.exceptions import InvalidTag

from shared.kernel import clock
from shared.steps import purchase_asking
from shared.steps.purchase_work import (
    CALL_WITHIN,
    SLOT_AGAIN,
    Wait,
    Work,
    chance,
    empty,
    fail,
    in_slot,
    offer_of,
    purchase_of,
    stop,
    stuck,
)
from shared.suppliers import accounts, attempts, pulses, purchases, registry
from shared.suppliers.attempts import AttemptState
from shared.suppliers.errors import SupplierRefused, SupplierSilent, UnknownSupplier
from shared.suppliers.offers import Offer
from shared.suppliers.purchases import Attempt
from shared.suppliers.supplier import Answer, Outcome, Purchase, Reason, Supplier


def buy(at: Work, attempt: Attempt, now: datetime) -> Wait:
    head = accounts.head_of(str(attempt.supplier))
    if not head.may_supply(at.sku.brand, clock.shanghai_day(now).isoformat()):
        fail(at, attempt, Reason.NOT_ALLOWED, now)
    try:
        supplier = registry.supplier(str(attempt.supplier))
        purchase = purchase_of(at, attempt, head, offer_of(attempt))
    except (UnknownSupplier, Offer.DoesNotExist):
        fail(at, attempt, Reason.OFF_SHELF, now)
    except InvalidTag:  # since the attempt was begun
        stuck(at, attempt, "purchase_altered", now)
        return None
    slot = pulses.take(supplier.code, supplier.traits.slots, now + CALL_WITHIN, now, chance)
    if slot is None:
        return SLOT_AGAIN
    with in_slot(supplier, slot, at.ticking):
        if not supplier.traits.ceiling and (said := _too_dear(supplier, purchase)):
            return _refused(at, attempt, said, at.ticking())
        # Whoever finds it sent and overdue finds it after a death, not beside us.
        sent = purchases.move_alone(attempt, AttemptState.SENT, now, now + CALL_WITHIN, sent_at=clock.iso(now))
        answer = supplier.place(purchase, clock.now())
    return _placed(at, sent, answer, supplier, at.ticking())


def _too_dear(supplier: Supplier, purchase: Purchase) -> Answer | None:
    """Where a supplier takes no ceiling, his price is asked right before; None where nothing speaks against it."""
    try:
        product = supplier.product(purchase.product, clock.now())
    except SupplierSilent:
        return Answer(Outcome.RETRY, Reason.SILENT)
    except SupplierRefused as refused:
        reason = Reason(str(refused.facts["reason"]))
        outcome = Outcome.REFUSED if reason in {Reason.BAD_SIGNATURE, Reason.NOT_ALLOWED} else Outcome.FAILED
        return Answer(outcome, reason)
    if product is None or not product.on_sale:
        return Answer(Outcome.FAILED, Reason.OFF_SHELF)
    above = product.cost_e6 > purchase.most_e6
    return Answer(Outcome.FAILED, Reason.ABOVE_CEILING, said=f"price_e6={product.cost_e6}") if above else None


def _placed(at: Work, sent: Attempt, answer: Answer, supplier: Supplier, now: datetime) -> Wait:
    """What becomes of an attempt by the answer to sending it."""
    if answer.outcome in {Outcome.RETRY, Outcome.REFUSED, Outcome.FAILED}:
        return _refused(at, sent, answer, now)
    return purchase_asking.told(at, sent, answer, supplier, "place", now)


def _refused(at: Work, attempt: Attempt, answer: Answer, now: datetime) -> Wait:
    """Nothing was bought: it is sent again a little later, or another supplier is asked."""
    sends = int(attempt.sends)
    if answer.outcome is Outcome.RETRY and sends < len(attempts.SEND_AGAIN):
        wait, said = attempts.SEND_AGAIN[sends], purchases.told(attempt, "place", answer, now)
        purchases.move_alone(attempt, AttemptState.CREATED, now, now + wait, sends=sends + 1, said=said)
        return wait
    if answer.outcome is Outcome.REFUSED:
        stop(str(attempt.supplier), answer.reason, now)
    if answer.reason is Reason.LOW_BALANCE:
        empty(str(attempt.supplier), now)
    return fail(at, attempt, answer.reason, now, answer)
