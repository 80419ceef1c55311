"""Purchases as staff see them, and what only a person can decide about one."""

from __future__ import annotations

from datetime import date, datetime

from cryptography.exceptions import InvalidTag

from shared.catalog import records as catalog
from shared.inventory import codes, lots, views
from shared.jobs.contract import RecallView
from shared.kernel import clock, people
from shared.kernel.errors import Busy, InvalidRequest, NotFound
from shared.kernel.http import Amount, Caller
from shared.kernel.money import minor_from_e6
from shared.kernel.records import Lost, Transaction
from shared.kernel.telemetry import logger
from shared.kernel.vault import Secret
from shared.ledger import posting
from shared.ledger import records as ledger
from shared.orders import records as orders
from shared.staff import records as staff
from shared.steps import purchase_received, purchase_reversed, purchase_work, recalls, supplier_scores
from shared.steps.supply import MINOR_E6
from shared.suppliers import accounts, attempts, prices, purchases, voids
from shared.suppliers.attempts import AttemptState
from shared.suppliers.errors import AccountAltered, AttemptOver, NotByHand
from shared.suppliers.purchase_contract import (
    AccountToTopUp,
    AllowPrice,
    AttemptList,
    AttemptView,
    ChoiceView,
    LeftOutView,
    RevealAccount,
    SaidView,
    SettleAttempt,
    VoidPurchase,
)
from shared.suppliers.purchases import Attempt
from shared.suppliers.supplier import Answer, Delivers, Goods, Outcome, Reason


def of_order(order_id: str) -> AttemptList:
    """All attempts to buy what an order needs; NotFound without such an order."""
    orders.head_of(order_id)
    return AttemptList(attempts=[_view(one) for one in purchases.of_order(order_id)])


def allow(number: str, wanted: AllowPrice, by: str, now: datetime) -> AttemptView:
    """A line that waits for it may cost more this time, and is tried again. AttemptOver if it waits no more."""
    attempt = _attempt(number)
    most_e6 = wanted.most_minor * MINOR_E6
    if attempt.now_state is not AttemptState.HELD:
        if int(attempt.most_e6) != most_e6:
            raise AttemptOver(state=str(attempt.state))
    elif most_e6 <= int(attempt.most_e6):
        raise InvalidRequest(fields=[{"field": "most_minor", "reason": "not_more"}])
    else:
        try:
            purchases.move_alone(attempt, AttemptState.FAILED, now, None, most_e6=most_e6, reason=Reason.ABOVE_CEILING)
        except Lost:
            raise Busy from None
    # Also where it was said before: whoever said it first may have died here.
    staff.end_if_open("price_jump", number, by, wanted.note, now)
    purchases.hint(attempt, now, ask=False)
    return _view(_attempt(number))


def settle(number: str, wanted: SettleAttempt, by: str, now: datetime) -> AttemptView:
    """What a person has bought by hand, or has found out from the supplier. Saying so again changes nothing."""
    attempt = _attempt(number)
    if wanted.outcome == "reversed":
        return _reversed(attempt, wanted, by, now)
    done = {"delivered": purchase_reversed.CAME, "failed": {AttemptState.FAILED}}
    kept_e6 = (wanted.cost_minor or 0) * MINOR_E6 if wanted.outcome == "failed" else 0
    # Of one that was given up it may turn out that it was delivered, or paid for, all the same.
    found_out = wanted.outcome == "delivered" or (kept_e6 and not int(attempt.cost_e6))
    late = attempt.now_state is AttemptState.FAILED and attempt.sent_at and found_out
    if attempt.now_state in attempts.OUT or late:
        try:
            if wanted.outcome == "failed":
                _failed(attempt, kept_e6, now)
            else:
                _delivered(attempt, wanted, by, now)
        except Lost:
            raise Busy from None
        logger.info(
            "attempt settled", order_id=str(attempt.order_id), part=str(attempt.part), outcome=wanted.outcome, by=by
        )
    elif attempt.now_state not in done[wanted.outcome]:
        raise AttemptOver(state=str(attempt.state))
    # Also where it is so already: whoever said it first may have died here, or the supplier was quicker.
    for kind in ("purchase_unknown", "buy_by_hand", "purchase_altered"):
        staff.end_if_open(kind, number, by, wanted.note, now)
    # What a person has in his hands is not undone by what the supplier, asked once more, knows of it.
    nothing = wanted.outcome == "failed"
    purchases.hint(attempt, now, ask=nothing, gave_up=by if nothing else "")
    return _view(_attempt(number))


def reveal_account(number: str, wanted: RevealAccount, caller: Caller, now: datetime) -> AccountToTopUp:
    """The account of a top-up, for whoever is to buy it by hand; each look is written down before it is answered.

    NotByHand unless it waits for a person to buy it; AccountAltered.
    """
    attempt = _attempt(number)
    waits = attempt.now_state in attempts.OUT and attempt.delivers == Delivers.TOPUP
    if not waits or accounts.head_of(str(attempt.supplier)).kind != prices.BY_FILE:
        raise NotByHand
    order = orders.outline_of(str(attempt.order_id))
    line = next(one for one in order.lines if one.number == attempt.line)
    sku = catalog.skus([str(attempt.sku)])[str(attempt.sku)]
    address = people.hashed("address", caller.address)
    views.record([number], caller.name, address, wanted.reason, now, order_id=order.order_id, staff=True)
    try:
        given = purchase_work.account_of(purchase_work.Work(order, line, sku, clock.since(now)))
    except InvalidTag:
        logger.error("an account is not what its buyer gave", order_id=order.order_id, part=str(attempt.part))
        raise AccountAltered from None
    return AccountToTopUp(
        number=number, supplier=str(attempt.supplier), product=str(attempt.product), sku=sku.sku, account=dict(given)
    )


def void(number: str, wanted: VoidPurchase, by: str, now: datetime) -> RecallView:
    """Recall what a purchase brought, and hold it against its supplier. Saying so again changes nothing.

    NotFound where it brought no cards. An issuer's word needs no statistics: nothing more of the kind is bought of the
    supplier until a person has looked. A whole day is another recall: cards that the supplier took back before are made
    good by that of their purchase, which is started as well.
    """
    attempt = _attempt(number)
    supplier, sku, day = str(attempt.supplier), str(attempt.sku), None
    target = recalls.of_purchase(number)
    if wanted.whole_day and attempt.lot_id:
        received = clock.parse(str(lots.lot_of(str(attempt.lot_id)).received_at))
        day = clock.shanghai_day(received).isoformat()
        target = recalls.of_day(supplier, sku, clock.shanghai_day(received))
        if attempt.now_state is AttemptState.REVERSED:
            recalls.start(recalls.of_purchase(number), wanted.note, by, now)
    recall = recalls.start(target, wanted.note, by, now)
    source, notice_id = voids.Source(wanted.source), f"{sku}#{day}" if day else number
    cards = int(attempt.delivered)
    if found := catalog.skus([sku]).get(sku):
        if source is voids.Source.ISSUER:
            supplier_scores.issuer_told(supplier, found.category, now)
        elif attempt.now_state is not AttemptState.REVERSED and not voids.is_known(supplier, notice_id):
            supplier_scores.went_bad(supplier, found.category, cards, now)  # what is reversed it counts by itself
    # Noted last: whoever dies before it has it counted twice, and not never.
    voids.note(supplier, notice_id, source, sku, number, cards, day, recall.recall_id, wanted.note, by, now)
    staff.end_if_open(purchase_reversed.TASK, number, by, wanted.note, now)
    logger.info("a purchase was called void", supplier=supplier, number=number, source=source, by=by)
    return recall


def _reversed(attempt: Attempt, wanted: SettleAttempt, by: str, now: datetime) -> AttemptView:
    """The task stays open: what the buyer is to get is another decision."""
    if attempt.now_state in purchase_reversed.CAME:
        try:
            purchase_reversed.take_back(attempt, Answer(Outcome.FAILED, Reason.REVERSED, said=wanted.note), now)
        except Lost:
            raise Busy from None
        logger.info("attempt reversed", order_id=str(attempt.order_id), part=str(attempt.part), by=by)
    elif attempt.now_state is not AttemptState.REVERSED:
        raise AttemptOver(state=str(attempt.state))
    return _view(_attempt(str(attempt.number)))


def _failed(attempt: Attempt, kept_e6: int, now: datetime) -> None:
    """Nothing came; what the supplier keeps of our money all the same is our loss until he gives it back."""
    supplier, sku, order_id = str(attempt.supplier), str(attempt.sku), str(attempt.order_id)
    legs = posting.paid_for_nothing(supplier, sku, [kept_e6])
    with Transaction() as tx:
        purchases.move(tx, attempt, AttemptState.FAILED, now, None, reason=Reason.OTHER, cost_e6=kept_e6)
        if legs:
            channel = str(orders.head_of(order_id).channel)
            ledger.post(tx, "purchase", legs, now, order_id=order_id, channel=channel)


def _delivered(attempt: Attempt, wanted: SettleAttempt, by: str, now: datetime) -> None:
    cards = attempt.delivers == Delivers.CARDS
    pieces = len(wanted.cards) if cards else wanted.pieces
    if not 0 < pieces <= int(attempt.quantity) or bool(wanted.cards) is not cards:
        field = "cards" if cards else "pieces"
        raise InvalidRequest(fields=[{"field": field, "reason": "not_what_was_ordered"}])
    goods = [_goods(one.code, one.number, one.expires_on) for one in wanted.cards]
    answer = Answer(
        Outcome.DELIVERED,
        upstream_no=str(attempt.upstream_no or ""),
        goods=goods,
        delivered=pieces,
        proof=wanted.proof,
        said=f"settled by hand: {pieces}",
    )
    cost = wanted.cost_minor
    paid_e6 = purchase_received.cost_of(attempt, pieces) if cost is None else cost * MINOR_E6
    sku = catalog.skus([str(attempt.sku)])[str(attempt.sku)]
    purchase_received.take_in(attempt, answer, sku.shards, paid_e6, now, by)


def _goods(code: str, number: str | None, expires_on: str | None) -> Goods:
    if not codes.shown(code) or (number and not codes.shown(number)):
        raise InvalidRequest(fields=[{"field": "cards.code", "reason": "empty_code"}])
    try:
        return Goods(Secret(code, number), date.fromisoformat(expires_on) if expires_on else None)
    except ValueError:
        raise InvalidRequest(fields=[{"field": "cards.expires_on", "reason": "bad_date"}]) from None


def _attempt(number: str) -> Attempt:
    named = attempts.named_by(number)
    if named is None:
        raise NotFound
    return purchases.attempt_of(*named)


def _view(one: Attempt) -> AttemptView:
    return AttemptView(
        number=str(one.number),
        line=one.line,
        state=str(one.state),
        sku=str(one.sku),
        quantity=int(one.quantity),
        delivered=int(one.delivered),
        duplicates=int(one.duplicates),
        most=_amount(int(one.most_e6)),
        cost=_amount(int(one.cost_e6)),
        supplier=one.supplier,
        product=one.product,
        upstream_no=one.upstream_no,
        reason=str(one.reason),
        proof=str(one.proof),
        asks=int(one.asks),
        created_at=str(one.created_at),
        sent_at=one.sent_at,
        ended_at=one.ended_at,
        due_at=one.due_at,
        choices=[
            ChoiceView(
                supplier=choice["supplier"],
                product=choice["product"],
                quantity=choice["quantity"],
                landed=_amount(choice["landed_e6"]),
                probe=choice["probe"],
                capped=choice["capped"],
            )
            for choice in one.choices or ()
        ],
        left_out=[
            LeftOutView(supplier=supplier, product=product, reason=reason)
            for supplier, product, reason in one.left_out or ()
        ],
        messages=[SaidView(**said) for said in one.said or ()],
    )


def _amount(e6: int) -> Amount:
    return Amount(amount_minor=minor_from_e6(e6), currency="CNY")
