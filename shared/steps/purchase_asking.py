"""What became of an attempt: the supplier is asked until he knows, by policy, and what he has delivered is taken in.

This is the only place where an answer after sending is read: nothing here buys, save where he answers a repeated order
with the first one.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from cryptography.exceptions import InvalidTag

from shared.kernel import clock
from shared.kernel.records import Lost
from shared.steps import purchase_received, purchase_reversed
from shared.steps.purchase_work import (
    CALL_WITHIN,
    SLOT_AGAIN,
    Again,
    Wait,
    Work,
    call_somebody,
    chance,
    fail,
    in_slot,
    offer_of,
    purchase_of,
    stop,
    stuck,
    undecided,
)
from shared.suppliers import accounts, attempts, prices, pulses, purchases, registry
from shared.suppliers.attempts import AttemptState
from shared.suppliers.errors import UnknownSupplier
from shared.suppliers.offers import Offer
from shared.suppliers.purchases import Attempt
from shared.suppliers.supplier import Answer, Outcome, Reason, Repeat, Supplier


def ask(at: Work, attempt: Attempt, now: datetime) -> Wait:
    """Ask what became of an attempt that the supplier may have."""
    try:
        supplier = registry.supplier(str(attempt.supplier))
    except UnknownSupplier:
        stuck(at, attempt, "purchase_unknown", now)
        return None
    if supplier.traits.by_hand or not attempts.may_ask(supplier.traits, str(attempt.upstream_no or "")):
        return undecided(at, attempt, now, "buy_by_hand" if supplier.traits.by_hand else "")
    slot = pulses.take(supplier.code, supplier.traits.slots, now + CALL_WITHIN, now, chance)
    if slot is None:
        return SLOT_AGAIN
    try:
        with in_slot(supplier, slot, at.ticking):
            answer = _asked(at, attempt, supplier)
    except (InvalidTag, Offer.DoesNotExist) as gone:  # the same order cannot be sent again
        kind = "purchase_altered" if isinstance(gone, InvalidTag) else "purchase_unknown"
        return undecided(at, attempt, at.ticking(), kind)
    now = at.ticking()
    if answer.outcome is Outcome.FAILED:
        fail(at, attempt, answer.reason, now, answer)
    if answer.outcome is Outcome.ABSENT:
        return _absent(at, attempt, answer, now)
    if answer.outcome is Outcome.REFUSED:
        stop(str(attempt.supplier), answer.reason, now)
    return told(at, attempt, answer, supplier, "ask", now)


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
    answer = supplier.place(purchase_of(at, attempt, head, offer_of(attempt)), clock.now())
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
    upstream_no = answer.upstream_no or attempt.upstream_no
    asks = int(attempt.asks) + (what == "ask")
    wait = attempts.ask_after(asks, clock.parse(str(attempt.sent_at)), now)
    if supplier.traits.by_hand or not attempts.may_ask(supplier.traits, str(upstream_no or "")):
        wait = None
    moved = purchases.move_alone(
        attempt,
        state,
        now,
        now + (wait or timedelta(0)),
        asks=asks,
        upstream_no=upstream_no,
        absent_at=None,
        reason=answer.reason,
        said=purchases.told(attempt, what, answer, now),
    )
    return wait if wait is not None else undecided(at, moved, now, "buy_by_hand" if supplier.traits.by_hand else "")


def look_back(at: Work, attempt: Attempt, now: datetime) -> None:
    """An attempt that was given up may have been delivered after all: what came is ours."""
    with suppress(UnknownSupplier, Lost):
        supplier = registry.supplier(str(attempt.supplier))
        if not (attempt.upstream_no or supplier.traits.asks_by_ours):  # to send it again might buy
            purchases.rest(attempt, None)
            return
        answer = supplier.ask(str(attempt.number), str(attempt.upstream_no or ""), clock.now())
        if answer.outcome is Outcome.DELIVERED:
            _take_in(at, attempt, answer, now)
            return
        # Who denied it for an hour may find it in the next.
        unsure = {Outcome.ABSENT, Outcome.ACCEPTED, Outcome.UNKNOWN}
        again = now + attempts.LOOK_BACK if answer.outcome in unsure else None
        if again and now - clock.parse(str(attempt.sent_at)) > attempts.ASK_FOR:
            if answer.outcome is not Outcome.ABSENT:
                call_somebody(at, attempt, "purchase_unknown", now)
            again = None
        purchases.rest(attempt, again)


def ask_back(attempt: Attempt, now: datetime) -> None:
    """The supplier spoke of what he has delivered: he may have taken it back."""
    with suppress(UnknownSupplier, Lost):
        supplier = registry.supplier(str(attempt.supplier))
        if not (attempt.upstream_no or supplier.traits.asks_by_ours):
            return
        answer = supplier.ask(str(attempt.number), str(attempt.upstream_no or ""), clock.now())
        if answer.outcome is Outcome.FAILED:
            purchase_reversed.take_back(attempt, answer, now)
        elif answer.reason is Reason.REVERSED:  # some of the money is back, or nobody can say how much
            purchase_reversed.call_somebody(attempt, now)


def _take_in(at: Work, attempt: Attempt, answer: Answer, now: datetime) -> None:
    pieces = len(answer.goods) or answer.delivered
    landed_e6 = int(attempt.landed_e6) * pieces
    if answer.cost_e6 is not None:
        landed_e6 = prices.landed_e6(answer.cost_e6, int(accounts.head_of(str(attempt.supplier)).rate_e6))
    purchase_received.take_in(attempt, answer, at.sku.shards, landed_e6, now)
