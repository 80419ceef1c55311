"""What became of an attempt: the supplier is asked until he knows, by policy, and what he has delivered is taken in.

Nothing here buys, save where he answers a repeated order with the first one.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from cryptography.exceptions import InvalidTag

from shared.kernel import clock
from shared.steps import purchase_received, purchase_reversed, supplier_tasks
from shared.steps.purchase_work import (
    ALTERED,
    BY_HAND,
    CALL_WITHIN,
    SLOT_AGAIN,
    UNKNOWN,
    Again,
    Unmapped,
    Wait,
    Work,
    call_somebody,
    chance,
    fail,
    found_out,
    in_slot,
    offer_of,
    purchase_of,
    undecided,
)
from shared.suppliers import accounts, attempts, ceiling, pulses, purchases, registry
from shared.suppliers.attempts import AttemptState
from shared.suppliers.errors import UnknownSupplier
from shared.suppliers.purchases import Attempt
from shared.suppliers.supplier import Answer, Outcome, Reason, Repeat, Supplier


def ask(at: Work, attempt: Attempt, now: datetime) -> Wait:
    """Ask what became of an attempt that the supplier may have."""
    try:
        supplier = registry.supplier(str(attempt.supplier))
    except UnknownSupplier:  # until somebody gives him keys again
        return undecided(at, attempt, UNKNOWN, now, attempts.ASK_AFTER[-1])
    if not _can_say(attempt, supplier):
        return undecided(at, attempt, BY_HAND if supplier.traits.by_hand else UNKNOWN, now)
    slot = pulses.take(supplier.code, supplier.traits.slots, now + CALL_WITHIN, now, chance)
    if slot is None:
        return SLOT_AGAIN
    try:
        with in_slot(supplier, slot, at.ticking):
            answer = _asked(at, attempt, supplier)
    except (InvalidTag, Unmapped) as gone:  # the same order cannot be sent again
        return undecided(at, attempt, ALTERED if isinstance(gone, InvalidTag) else UNKNOWN, at.ticking())
    now = at.ticking()
    if answer.outcome is Outcome.FAILED:
        fail(at, attempt, answer.reason, now, answer)
    if answer.outcome is Outcome.ABSENT:
        return _absent(at, attempt, answer, now)
    if answer.outcome is Outcome.REFUSED:
        supplier_tasks.stop(str(attempt.supplier), answer.reason, now)
    return told(at, attempt, answer, supplier, "ask", now)


def _can_say(attempt: Attempt, supplier: Supplier) -> bool:
    """Whether he can be asked; for a supplier by hand there is nobody but the person who buys there."""
    return not supplier.traits.by_hand and attempts.may_ask(supplier.traits, str(attempt.upstream_no or ""))


def _asked(at: Work, attempt: Attempt, supplier: Supplier) -> Answer:
    """By his number, by ours, or, where he answers a repeated order with the first one, by sending it again."""
    upstream_no, traits = str(attempt.upstream_no or ""), supplier.traits
    if upstream_no or traits.asks_by_ours:
        return supplier.ask(str(attempt.number), upstream_no, clock.now())
    assert traits.repeat is Repeat.REPLAYS  # noqa: S101  # may_ask has said so
    head = accounts.head_of(str(attempt.supplier))
    if not head.may_supply(at.sku.brand, clock.shanghai_day(at.ticking()).isoformat()):
        # It might be the first that he hears of it, and then he would sell.
        return Answer(Outcome.UNKNOWN, Reason.NOT_ALLOWED)
    purchase = purchase_of(at, attempt, head, offer_of(attempt))
    said = None if traits.ceiling else ceiling.speaks_against(supplier, purchase, clock.now())
    if said and said.reason is not Reason.OFF_SHELF:  # he may be out of it by what was bought, and sells nothing then
        return said if said.outcome is Outcome.REFUSED else replace(said, outcome=Outcome.UNKNOWN)
    answer = supplier.place(purchase, clock.now())
    # What is refused now was not there a moment ago, and the first request may still be on its way.
    unsure = {Outcome.FAILED: Outcome.ABSENT, Outcome.RETRY: Outcome.UNKNOWN}
    return replace(answer, outcome=unsure.get(answer.outcome, answer.outcome))


def _absent(at: Work, attempt: Attempt, answer: Answer, now: datetime) -> Wait:
    """He knows no such order. Told twice, some minutes apart, that is believed; yet he is asked for a day more."""
    first = clock.parse(str(attempt.absent_at)) if attempt.absent_at else None
    if attempts.is_absent(first, now):
        fail(at, attempt, Reason.LOST, now, answer, look_back=now + attempts.LOOK_BACK)
    wait = attempts.ABSENT_APART
    accepted = attempt.now_state is AttemptState.ACCEPTED
    purchases.move_alone(
        attempt,
        AttemptState.ACCEPTED if accepted else AttemptState.UNKNOWN,
        now,
        now + wait,
        asks=int(attempt.asks) + 1,
        absent_at=str(attempt.absent_at or clock.iso(now)),
        said=purchases.told(attempt, "ask", answer, now),
    )
    return wait


def told(at: Work, attempt: Attempt, answer: Answer, supplier: Supplier, what: str, now: datetime) -> Wait:
    """Delivered, on its way, or unknown."""
    answer = _read(attempt, answer)
    if answer.upstream_no and not attempt.upstream_no:
        purchases.name(str(attempt.supplier), answer.upstream_no, attempt)
    if answer.outcome is Outcome.DELIVERED:
        _take_in(at, attempt, answer, now)
        raise Again
    accepted = answer.outcome is Outcome.ACCEPTED
    if not accepted and attempt.now_state is AttemptState.SENT:
        pulses.tell(str(attempt.supplier), at.sku.sku, False, 0, now)
    # Once it was accepted, silence does not make it unknown again.
    state = AttemptState.ACCEPTED if accepted or attempt.now_state is AttemptState.ACCEPTED else AttemptState.UNKNOWN
    asks = int(attempt.asks) + (what == "ask")
    wait = attempts.ask_after(asks, clock.parse(str(attempt.sent_at)), now)
    moved = purchases.move_alone(
        attempt,
        state,
        now,
        now + (wait or timedelta(0)),
        asks=asks,
        absent_at=None,
        reason=answer.reason,
        said=purchases.told(attempt, what, answer, now),
        # Left alone where it is not said: a callback may have brought it meanwhile, and he may say it but once.
        **({"upstream_no": answer.upstream_no} if answer.upstream_no else {}),
        **({"told_e6": answer.cost_e6} if answer.cost_e6 is not None else {}),
    )
    if wait is not None and _can_say(moved, supplier):
        return wait
    return undecided(at, moved, BY_HAND if supplier.traits.by_hand else UNKNOWN, now)


def _read(attempt: Attempt, answer: Answer) -> Answer:
    """What says *delivered* and shows nothing, or more than was ordered, was not understood: nobody buys it again."""
    believed = 0 < purchase_received.pieces_of(attempt, answer) <= int(attempt.quantity)
    if believed or answer.outcome is not Outcome.DELIVERED:
        return answer
    return replace(answer, outcome=Outcome.UNKNOWN, reason=Reason.UNREADABLE)


def look_back(at: Work, attempt: Attempt, supplier: Supplier, now: datetime) -> Wait:
    """An attempt that was given up may have been delivered after all: what came is ours. Raises Again then, or Lost."""
    if supplier.traits.by_hand or not _by_question(attempt, supplier):
        purchases.look_again(attempt, None)
        return None
    slot = pulses.take(supplier.code, supplier.traits.slots, now + CALL_WITHIN, now, chance)
    if slot is None:
        purchases.look_again(attempt, now)  # should the message get lost
        return SLOT_AGAIN
    with in_slot(supplier, slot, at.ticking):
        answer = supplier.ask(str(attempt.number), str(attempt.upstream_no or ""), clock.now())
    answer, now = _read(attempt, answer), at.ticking()
    if answer.upstream_no and not attempt.upstream_no:
        purchases.name(supplier.code, answer.upstream_no, attempt)
    if answer.outcome is Outcome.DELIVERED:
        _take_in(at, attempt, answer, now)
        raise Again
    if answer.outcome is Outcome.REFUSED:
        supplier_tasks.stop(supplier.code, answer.reason, now)
    # Who denied it for an hour may find it in the next.
    again = None if answer.outcome is Outcome.FAILED else now + attempts.LOOK_BACK
    if again and now - clock.parse(str(attempt.sent_at)) > attempts.ASK_FOR:
        if answer.outcome is not Outcome.ABSENT and not attempt.settled_by:  # who has said it is not asked again
            call_somebody(at, attempt, UNKNOWN, now)
        again = None
    purchases.look_again(attempt, again)
    return None


def ask_back(at: Work, attempt: Attempt, supplier: Supplier, now: datetime) -> Wait:
    """The supplier spoke of what he has delivered: he may have taken it back."""
    if not _by_question(attempt, supplier):
        return None
    slot = pulses.take(supplier.code, supplier.traits.slots, now + CALL_WITHIN, now, chance)
    if slot is None:
        purchases.look_again(attempt, now)  # should the message get lost
        return SLOT_AGAIN
    with in_slot(supplier, slot, at.ticking):
        answer = supplier.ask(str(attempt.number), str(attempt.upstream_no or ""), clock.now())
    now = at.ticking()
    if answer.outcome is Outcome.FAILED and not attempt.settled_by:
        purchase_reversed.take_back(attempt, answer, now)
        return None
    if answer.outcome is Outcome.FAILED or answer.reason is Reason.REVERSED:
        # Some of the money is back, or nobody can say how much, or a person has it in his hands.
        purchase_reversed.call_somebody(attempt, now)
    if attempt.due_at:
        purchases.look_again(attempt, None)
    return None


def _by_question(attempt: Attempt, supplier: Supplier) -> bool:
    """Whether he can be asked by a question: to send it again might buy."""
    return bool(attempt.upstream_no) or supplier.traits.asks_by_ours


def _take_in(at: Work, attempt: Attempt, answer: Answer, now: datetime) -> None:
    cost_e6 = purchase_received.cost_of(attempt, purchase_received.pieces_of(attempt, answer), answer.cost_e6)
    found_out(attempt, now)  # first: who dies between comes again
    purchase_received.take_in(attempt, answer, at.sku.shards, cost_e6, now)
