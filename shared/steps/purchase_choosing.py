"""Of whom a line is bought next, or why it is not: a new attempt, a price that a person must allow, or money back."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta

from cryptography.exceptions import InvalidTag

from shared.kernel import clock
from shared.kernel.records import Lost, Transaction
from shared.kernel.telemetry import count, logger
from shared.orders.notices import Notice
from shared.staff import records as staff
from shared.steps import purchase_settling, supply
from shared.steps.purchase_work import ALTERED, Again, Wait, Work, account_of
from shared.suppliers import attempts, pulses, purchases
from shared.suppliers.attempts import AttemptState
from shared.suppliers.purchases import Attempt
from shared.suppliers.routing import Choice, Decision, LeftOut, Wanted
from shared.suppliers.supplier import Delivers, Reason

LOST_MAX = 4  # attempts; who never gets what we send is not asked for ever
SHUT_AGAIN = timedelta(seconds=30)  # a supplier who fails is tried so often
SHUT_FOR = timedelta(minutes=10)  # so long a line waits for one who fails now; then its money goes back


def begin(at: Work, known: list[Attempt], now: datetime) -> Wait:
    """Decide of whom to buy what is still missing."""
    line = at.line
    try:
        account_of(at)
    except InvalidTag:
        _altered(at, now)
        return None
    if not line.got and any(one.reason == Reason.BAD_ACCOUNT for one in known):
        # What one supplier has looked for in vain is nowhere, and a less careful one would top up somebody else.
        # Where some of it has arrived the account is there, whatever another one says.
        count("WrongAccount")
        purchase_settling.give_up(at.order_id, line.number, len(known), now, Notice.WRONG_ACCOUNT)
        return None
    most_e6 = int(known[-1].most_e6) if known else int(line.most_e6)
    dear = [one for one in known if one.reason == Reason.ABOVE_CEILING]  # also those that nobody was asked for
    forgiven = [one for one in dear if int(one.most_e6) < most_e6]  # a person has allowed more since
    asked = [one for one in known if one.sent_at or one.reason]  # the others were overtaken before that
    tried = frozenset(
        str(one.supplier) for one in asked if one.supplier and not int(one.delivered) and one not in forgiven
    )
    decision = supply.look(at.sku, Wanted(at.missing, most_e6, tried), now).decision
    lost = frozenset(str(one.supplier) for one in known if one.reason == Reason.LOST)
    if not decision.choices and lost and len(known) < LOST_MAX:
        # He never knew of it: rather him again, under another number, than nobody.
        decision = supply.look(at.sku, Wanted(at.missing, most_e6, tried - lost), now).decision
    if len(known) < attempts.ATTEMPTS_MAX:
        for choice in decision.choices:
            if choice.probe and not pulses.probe(choice.supplier, at.sku.sku, now):
                continue
            with Transaction() as tx:
                purchases.insert(tx, _new(at, known, choice, most_e6, decision, now))
            raise Again
        jumped = decision.only_too_dear or any(one.supplier for one in dear if one not in forgiven)
        held_before = any(not one.supplier for one in dear if one not in forgiven)
        if jumped and not decision.choices and not held_before:
            _hold(at, _new(at, known, None, most_e6, decision, now), now)
            return None
        # Choices that are left are tried by another order at this very moment.
        shut = bool(decision.choices) or any(why is LeftOut.SHUT for _, _, why in decision.left_out)
        since = known[-1].ended_at if known else at.order.head.buying_at
        if shut and now - clock.parse(str(since)) < SHUT_FOR:
            return SHUT_AGAIN
    logger.warning("nobody sells it", order_id=at.order_id, sku=at.sku.sku, left_out=_reasons(decision.left_out))
    count("NobodySells")
    purchase_settling.give_up(at.order_id, line.number, len(known), now)
    return None


def _new(
    at: Work, known: list[Attempt], choice: Choice | None, most_e6: int, decision: Decision, now: datetime
) -> Attempt:
    """The next attempt: with whom was chosen, or held for a person, who may allow it to cost more."""
    chosen = {"supplier": choice.supplier, "product": choice.product, "landed_e6": choice.landed_e6} if choice else {}
    return purchases.new(
        at.order_id,
        at.line.number,
        len(known) + 1,
        AttemptState.CREATED if choice else AttemptState.HELD,
        at.sku.sku,
        Delivers.TOPUP if at.sku.account_fields else Delivers.CARDS,
        choice.quantity if choice else at.missing,
        most_e6,
        now if choice else now + attempts.HELD_FOR,
        now,
        choices=[one._asdict() for one in decision.choices],
        left_out=_reasons(decision.left_out),
        **chosen,
    )


def _hold(at: Work, attempt: Attempt, now: datetime) -> None:
    """Somebody sells it, but above what it may cost: a person decides."""
    with Transaction() as tx:
        purchases.insert(tx, attempt)
        staff.open_task(tx, "price_jump", str(attempt.number), at.order_id, now)
    count("TaskOpened")


def _altered(at: Work, now: datetime) -> None:
    """The account, or what it was agreed for, is not what was sealed when the order was placed: nothing is bought."""
    logger.error("a line has been altered", order_id=at.order_id, line=at.line.number)
    with suppress(Lost), Transaction() as tx:  # it may be open already
        staff.open_task(tx, ALTERED, f"{at.order_id}-{at.line.number}", at.order_id, now)
    count("TaskOpened")


def _reasons(left_out: Iterable[tuple[str, str, LeftOut]]) -> list[list[str]]:
    return [[supplier, product, str(why)] for supplier, product, why in left_out]
