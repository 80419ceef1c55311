"""Buys what a paid order needs from suppliers, one line at a time, and asks what became of it; never twice.

A line has one open attempt at most. It is written down as sent before the supplier hears of it: whoever comes after a
death asks, and buys again only when it is sure that nothing was bought. Callbacks are reasons to ask, not more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import SystemRandom
from typing import Any, NoReturn

from cryptography.exceptions import InvalidTag

from shared.catalog import records as catalog
from shared.catalog.sku import Sku
from shared.kernel import clock, people, queues, settings
from shared.kernel.records import Lost, Transaction
from shared.kernel.telemetry import count, logger
from shared.orders import records as orders
from shared.orders.notices import Notice
from shared.orders.records import Line, Order
from shared.orders.status import LineState
from shared.staff import records as staff
from shared.steps import purchase_received, purchase_reversed, purchase_settling, supply
from shared.steps.relay import PURCHASES
from shared.suppliers import accounts, attempts, balances, prices, pulses, purchases, registry
from shared.suppliers.accounts import Head
from shared.suppliers.attempts import AttemptState
from shared.suppliers.errors import SupplierRefused, SupplierSilent, UnknownSupplier
from shared.suppliers.offers import Offer
from shared.suppliers.purchases import Attempt
from shared.suppliers.routing import Choice, Decision, LeftOut, Wanted
from shared.suppliers.supplier import Answer, Outcome, Purchase, Reason, Repeat, Supplier

MOVES_MAX = 40  # of one line in one message: twelve attempts of three moves
HOPS_MAX = 8  # a message that a function sends to its own queue is cut after some sixteen rounds
DELAY_MAX = timedelta(minutes=15)  # of a message
CALL_WITHIN = timedelta(seconds=30)  # a slot is free again after that, should its process die
LOST_MAX = 4  # attempts; who never gets what we send is not asked for ever
SLOT_AGAIN = timedelta(seconds=2)
SHUT_AGAIN = timedelta(seconds=30)  # a supplier who fails is tried so often
SHUT_FOR = timedelta(minutes=10)  # so long a line waits for one who fails now; then its money goes back
UNDECIDED = timedelta(days=1)  # what only a person can find out is named to him again after that
EARLY = timedelta(seconds=1)  # clocks differ by less

_chance = SystemRandom()

_Wait = timedelta | None
"""When the line is looked at again; None where nothing is waited for by message."""


@dataclass(frozen=True)
class _Work:
    order: Order
    line: Line
    sku: Sku
    ticking: clock.Ticking

    @property
    def order_id(self) -> str:
        return self.order.order_id

    @property
    def buying(self) -> bool:
        in_time = self.order.status in purchase_received.BUYING_IN
        return in_time and self.order.head.lines[self.line.number] == LineState.BUYING


class _Again(Exception):
    """The line has moved: look at it anew at once."""


def work(message: Mapping[str, str], now: datetime) -> None:
    """Take one line as far as it goes now. message: order_id, line, hops; hint: the attempt a supplier spoke of."""
    order_id, number, hint = message["order_id"], message["line"], message.get("hint", "")
    hops, ticking = int(message.get("hops", "0")), clock.since(now)
    for _ in range(MOVES_MAX):
        order = orders.outline_of(order_id)
        line = next(one for one in order.lines if one.number == number)
        sku = catalog.skus([str(line.sku)]).get(str(line.sku))
        if sku is None:
            logger.error("a SKU that is bought for an order is gone", order_id=order_id, sku=str(line.sku))
            return
        try:
            wait = _advance(_Work(order, line, sku, ticking), hint, ticking())
        except (_Again, Lost):
            hint = ""
            continue
        if wait is not None and wait < DELAY_MAX and hops < HOPS_MAX:
            again = {"order_id": order_id, "line": number, "hops": str(hops + 1)}
            queues.send(PURCHASES, [again], delay=wait)
        return
    logger.warning("a line moves without end", order_id=order_id, line=number)


def _advance(at: _Work, hint: str, now: datetime) -> _Wait:
    known = purchases.of_line(at.order_id, at.line.number)
    for late in known:
        if late.now_state is AttemptState.FAILED and late.sent_at and (_is_due(late, now) or hint == str(late.attempt)):
            _look_back(at, late, now)
    for done in known:
        if hint == str(done.attempt) and done.now_state in purchase_reversed.CAME:
            _ask_back(done, now)
    open_ = next((one for one in known if one.now_state in attempts.OPEN), None)
    if open_ is None:
        return _begin(at, known, now) if at.buying else None
    hinted = hint == str(open_.attempt) and open_.now_state in {AttemptState.UNKNOWN, AttemptState.ACCEPTED}
    if not (_is_due(open_, now) or hinted):
        return None
    if open_.now_state is AttemptState.HELD:
        _fail(at, open_, Reason.ABOVE_CEILING, now)
    if open_.now_state is AttemptState.CREATED:
        if not at.buying:
            _fail(at, open_, Reason.NONE, now)
        return _buy(at, open_, now)
    return _ask(at, open_, now)


# --- begin -----------------------------------------------------------------------------------------------------------


def _begin(at: _Work, known: list[Attempt], now: datetime) -> _Wait:
    """Decide of whom to buy what is still missing."""
    line, missing = at.line, int(at.line.quantity) - int(at.line.got or 0)
    try:
        _account(at)
    except InvalidTag:
        _altered(at, known, now)
        return None
    if not line.got and any(one.reason == Reason.BAD_ACCOUNT for one in known):
        # What one supplier has looked for in vain is nowhere, and a less careful one would top up somebody else.
        # Where some of it has arrived the account is there, whatever another one says.
        count("WrongAccount")
        purchase_settling.give_up(at.order_id, line.number, now, Notice.WRONG_ACCOUNT)
        return None
    most_e6 = int(known[-1].most_e6) if known else int(line.most_e6)
    dear = [one for one in known if one.reason == Reason.ABOVE_CEILING]  # also those that nobody was asked for
    forgiven = [one for one in dear if int(one.most_e6) < most_e6]  # a person has allowed more since
    tried = frozenset(
        str(one.supplier) for one in known if one.supplier and not int(one.delivered) and one not in forgiven
    )
    decision = supply.look(at.sku, Wanted(missing, most_e6, tried), now).decision
    lost = frozenset(str(one.supplier) for one in known if one.reason == Reason.LOST)
    if not decision.choices and lost and len(known) < LOST_MAX:
        # He never knew of it: rather him again, under another number, than nobody.
        decision = supply.look(at.sku, Wanted(missing, most_e6, tried - lost), now).decision
    if len(known) < attempts.ATTEMPTS_MAX:
        for choice in decision.choices:
            if choice.probe and not pulses.probe(choice.supplier, at.sku.sku, now):
                continue
            _insert(at, known, choice, most_e6, decision, now)
            raise _Again
        jumped = decision.only_too_dear or any(one.supplier for one in dear if one not in forgiven)
        held_before = any(not one.supplier for one in dear if one not in forgiven)
        if jumped and not decision.choices and not held_before:
            _hold(at, known, missing, most_e6, decision, now)
            return None
        waited = now - clock.parse(str(known[0].created_at if known else at.order.head.placed_at))
        if waited < SHUT_FOR and any(why is LeftOut.SHUT for _, _, why in decision.left_out):
            return SHUT_AGAIN
    logger.warning("nobody sells it", order_id=at.order_id, sku=at.sku.sku, left_out=_reasons(decision.left_out))
    count("NobodySells")
    purchase_settling.give_up(at.order_id, line.number, now)
    return None


def _insert(at: _Work, known: list[Attempt], choice: Choice, most_e6: int, decision: Decision, now: datetime) -> None:
    attempt = purchases.new(
        at.order_id,
        at.line.number,
        len(known) + 1,
        AttemptState.CREATED,
        at.sku.sku,
        "topup" if at.sku.account_fields else "cards",
        choice.quantity,
        most_e6,
        now,
        now,
        supplier=choice.supplier,
        product=choice.product,
        landed_e6=choice.landed_e6,
        **_why(decision),
    )
    with Transaction() as tx:
        purchases.insert(tx, attempt)


def _hold(at: _Work, known: list[Attempt], missing: int, most_e6: int, decision: Decision, now: datetime) -> None:
    """Somebody sells it, but above what it may cost: a person decides."""
    attempt = purchases.new(
        at.order_id,
        at.line.number,
        len(known) + 1,
        AttemptState.HELD,
        at.sku.sku,
        "topup" if at.sku.account_fields else "cards",
        missing,
        most_e6,
        now + attempts.HELD_FOR,
        now,
        **_why(decision),
    )
    with Transaction() as tx:
        purchases.insert(tx, attempt)
        staff.open_task(tx, "price_jump", _about(attempt), at.order_id, now)
    count("TaskOpened")


def _altered(at: _Work, known: list[Attempt], now: datetime) -> None:
    """The account, or what it was agreed for, is not what was sealed when the order was placed: nothing is bought."""
    logger.error("a line has been altered", order_id=at.order_id, line=at.line.number)
    about = attempts.number_of(at.order_id, at.line.number, len(known) + 1)
    with suppress(Lost), Transaction() as tx:  # it may be open already
        staff.open_task(tx, "purchase_altered", about, at.order_id, now)
    count("TaskOpened")


# --- buy -------------------------------------------------------------------------------------------------------------


def _buy(at: _Work, attempt: Attempt, now: datetime) -> _Wait:
    head = accounts.head_of(str(attempt.supplier))
    if not head.may_supply(at.sku.brand, clock.shanghai_day(now).isoformat()):
        _fail(at, attempt, Reason.NOT_ALLOWED, now)
    try:
        supplier = registry.supplier(str(attempt.supplier))
        purchase = _purchase(at, attempt, head, _offer(attempt))
    except (UnknownSupplier, Offer.DoesNotExist):
        _fail(at, attempt, Reason.OFF_SHELF, now)
    except InvalidTag:  # since the attempt was begun
        _stuck(at, attempt, "purchase_altered", now)
        return None
    slot = pulses.take(supplier.code, supplier.traits.slots, now + CALL_WITHIN, now, _chance)
    if slot is None:
        return SLOT_AGAIN
    with _slot(supplier, slot, at.ticking):
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


def _placed(at: _Work, sent: Attempt, answer: Answer, supplier: Supplier, now: datetime) -> _Wait:
    """What becomes of an attempt by the answer to sending it."""
    if answer.outcome in {Outcome.RETRY, Outcome.REFUSED, Outcome.FAILED}:
        return _refused(at, sent, answer, now)
    return _told(at, sent, answer, supplier, "place", now)


def _refused(at: _Work, attempt: Attempt, answer: Answer, now: datetime) -> _Wait:
    """Nothing was bought: it is sent again a little later, or another supplier is asked."""
    sends = int(attempt.sends)
    if answer.outcome is Outcome.RETRY and sends < len(attempts.SEND_AGAIN):
        wait, said = attempts.SEND_AGAIN[sends], purchases.told(attempt, "place", answer, now)
        purchases.move_alone(attempt, AttemptState.CREATED, now, now + wait, sends=sends + 1, said=said)
        return wait
    if answer.outcome is Outcome.REFUSED:
        _stop(str(attempt.supplier), answer.reason, now)
    if answer.reason is Reason.LOW_BALANCE:
        _empty(str(attempt.supplier), now)
    return _fail(at, attempt, answer.reason, now, answer)


# --- ask -------------------------------------------------------------------------------------------------------------


def _ask(at: _Work, attempt: Attempt, now: datetime) -> _Wait:
    """Ask what became of an attempt that the supplier may have."""
    try:
        supplier = registry.supplier(str(attempt.supplier))
    except UnknownSupplier:
        _stuck(at, attempt, "purchase_unknown", now)
        return None
    if supplier.traits.by_hand or not attempts.may_ask(supplier.traits, str(attempt.upstream_no or "")):
        return _undecided(at, attempt, now, "buy_by_hand" if supplier.traits.by_hand else "")
    slot = pulses.take(supplier.code, supplier.traits.slots, now + CALL_WITHIN, now, _chance)
    if slot is None:
        return SLOT_AGAIN
    try:
        with _slot(supplier, slot, at.ticking):
            answer = _asked(at, attempt, supplier)
    except (InvalidTag, Offer.DoesNotExist) as gone:  # the same order cannot be sent again
        kind = "purchase_altered" if isinstance(gone, InvalidTag) else "purchase_unknown"
        return _undecided(at, attempt, at.ticking(), kind)
    now = at.ticking()
    if answer.outcome is Outcome.FAILED:
        _fail(at, attempt, answer.reason, now, answer)
    if answer.outcome is Outcome.ABSENT:
        return _absent(at, attempt, answer, now)
    if answer.outcome is Outcome.REFUSED:
        _stop(str(attempt.supplier), answer.reason, now)
    return _told(at, attempt, answer, supplier, "ask", now)


def _asked(at: _Work, attempt: Attempt, supplier: Supplier) -> Answer:
    """By his number, by ours, or, where he answers a repeated order with the first one, by sending it again."""
    upstream_no, traits = str(attempt.upstream_no or ""), supplier.traits
    if upstream_no or traits.asks_by_ours:
        return supplier.ask(str(attempt.number), upstream_no, clock.now())
    assert traits.repeat is Repeat.REPLAYS  # noqa: S101  # may_ask has said so
    head = accounts.head_of(str(attempt.supplier))
    if not head.may_supply(at.sku.brand, clock.shanghai_day(at.ticking()).isoformat()):
        # It might be the first that he hears of it, and then he would sell.
        return Answer(Outcome.UNKNOWN, Reason.NOT_ALLOWED)
    answer = supplier.place(_purchase(at, attempt, head, _offer(attempt)), clock.now())
    # What is refused now was not there a moment ago, and the first request may still be on its way.
    unsure = {Outcome.FAILED: Outcome.ABSENT, Outcome.RETRY: Outcome.UNKNOWN}
    return replace(answer, outcome=unsure.get(answer.outcome, answer.outcome))


def _absent(at: _Work, attempt: Attempt, answer: Answer, now: datetime) -> _Wait:
    """He knows no such order. Told twice, some minutes apart, that is believed; yet he is asked once more later."""
    first = clock.parse(str(attempt.absent_at)) if attempt.absent_at else None
    if attempts.is_absent(first, now):
        _fail(at, attempt, Reason.LOST, now, answer, look_back=now + attempts.LOOK_BACK)
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


def _told(at: _Work, attempt: Attempt, answer: Answer, supplier: Supplier, what: str, now: datetime) -> _Wait:
    """Delivered, on its way, or unknown."""
    if answer.upstream_no and not attempt.upstream_no:
        purchases.name(str(attempt.supplier), answer.upstream_no, attempt)
    if answer.outcome is Outcome.DELIVERED:
        _take_in(at, attempt, answer, now)
        raise _Again
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
    return wait if wait is not None else _undecided(at, moved, now, "buy_by_hand" if supplier.traits.by_hand else "")


def _look_back(at: _Work, attempt: Attempt, now: datetime) -> None:
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
        again = now + attempts.LOOK_BACK if answer.outcome in {Outcome.ACCEPTED, Outcome.UNKNOWN} else None
        if again and now - clock.parse(str(attempt.sent_at)) > attempts.ASK_FOR:
            again = None
        purchases.rest(attempt, again)


def _ask_back(attempt: Attempt, now: datetime) -> None:
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


def _undecided(at: _Work, attempt: Attempt, now: datetime, kind: str = "") -> _Wait:
    """Nobody but a person can find out, or can do it; he is told, and told again."""
    _stuck(at, attempt, kind or "purchase_unknown", now)
    return None


# --- ends ------------------------------------------------------------------------------------------------------------


def _take_in(at: _Work, attempt: Attempt, answer: Answer, now: datetime) -> None:
    pieces = len(answer.goods) or answer.delivered
    landed_e6 = int(attempt.landed_e6) * pieces
    if answer.cost_e6 is not None:
        landed_e6 = prices.landed_e6(answer.cost_e6, int(accounts.head_of(str(attempt.supplier)).rate_e6))
    purchase_received.take_in(attempt, answer, at.sku.shards, landed_e6, now)


def _fail(
    at: _Work,
    attempt: Attempt,
    reason: Reason,
    now: datetime,
    answer: Answer | None = None,
    look_back: datetime | None = None,
) -> NoReturn:
    """This attempt brings nothing: the line looks for another supplier. Always raises _Again, or Lost."""
    said = purchases.told(attempt, "failed", answer, now) if answer else attempt.said
    purchases.move_alone(attempt, AttemptState.FAILED, now, look_back, reason=reason, said=said)
    if attempt.supplier and answer and reason not in attempts.HARMLESS:
        pulses.tell(str(attempt.supplier), at.sku.sku, False, 0, now)
    logger.info("attempt failed", order_id=at.order_id, part=str(attempt.part), reason=reason)
    raise _Again


def _stuck(at: _Work, attempt: Attempt, kind: str, now: datetime) -> None:
    purchases.look_again(attempt, now + UNDECIDED)
    with suppress(Lost), Transaction() as tx:  # it may be open since yesterday
        staff.open_task(tx, kind, _about(attempt), at.order_id, now)
    count("TaskOpened")


def _stop(supplier: str, why: str, now: datetime) -> None:
    """He refuses us, not the order: nobody's order goes to him until a person has looked."""
    with suppress(Lost), Transaction() as tx:
        staff.open_task(tx, "supplier_stopped", supplier, "-", now)
    if accounts.stop(supplier, why):
        logger.error("supplier stopped", supplier=supplier, why=why)
        count("SupplierStopped")


def _empty(supplier: str, now: datetime) -> None:
    """Our money with him is used up, whatever he said of it last: he is left alone until his balance is read again."""
    balances.show(supplier, 0, now)
    with suppress(Lost), Transaction() as tx:
        staff.open_task(tx, "supplier_balance_low", supplier, "-", now)


# --- parts -----------------------------------------------------------------------------------------------------------


@contextmanager
def _slot(supplier: Supplier, slot: int, ticking: clock.Ticking) -> Iterator[None]:
    """Call in a slot: so many slots, each used no more often than this, keep within the supplier's rate."""
    traits, began = supplier.traits, ticking()
    try:
        yield
    finally:
        pulses.give_back(supplier.code, slot, max(ticking(), began + timedelta(seconds=traits.slots / traits.rate)))


def _purchase(at: _Work, attempt: Attempt, head: Head, offer: Offer) -> Purchase:
    """What the supplier is asked for; InvalidTag if the account is not the one that the buyer gave."""
    given = _account(at)
    return Purchase(
        number=str(attempt.number),
        product=str(attempt.product),
        quantity=int(attempt.quantity),
        most_e6=int(attempt.most_e6) * 1_000_000 // int(head.rate_e6),
        callback_url=f"{settings.optional('PUBLIC_URL', '')}/webhooks/suppliers/{head.code}",
        account={theirs: given[ours] for theirs, ours in (offer.fills or {}).items() if ours in given},
    )


def _account(at: _Work) -> Mapping[str, str]:
    """Of a top-up, what the buyer filled in; InvalidTag unless it was sealed with this very line as it is now."""
    if not at.line.account_sealed:
        if at.sku.account_fields:
            raise InvalidTag
        return {}
    given: Mapping[str, str] = json.loads(people.unseal(bytes(at.line.account_sealed), at.line.agreed))
    return given


def _offer(attempt: Attempt) -> Offer:
    return Offer.get(str(attempt.supplier), str(attempt.product), consistent_read=True)


def _is_due(attempt: Attempt, now: datetime) -> bool:
    return bool(attempt.due_at) and str(attempt.due_at) <= clock.iso(now + EARLY)


def _about(attempt: Attempt) -> str:
    return str(attempt.number)


def _why(decision: Decision) -> dict[str, Any]:
    return {
        "choices": [one._asdict() for one in decision.choices],
        "left_out": _reasons(decision.left_out),
    }


def _reasons(left_out: Iterable[tuple[str, str, LeftOut]]) -> list[list[str]]:
    return [[supplier, product, str(why)] for supplier, product, why in left_out]
