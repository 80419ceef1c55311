"""Buys what a paid order needs from suppliers, one line at a time, and asks what became of it; never twice.

A line has one open attempt at most. It is written down as sent before the supplier hears of it: whoever comes after a
death asks, and buys again only when it is sure that nothing was bought. Callbacks are reasons to ask, not more.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from shared.catalog import records as catalog
from shared.kernel import clock, queues
from shared.kernel.records import Lost
from shared.kernel.telemetry import logger
from shared.orders import records as orders
from shared.steps import purchase_asking, purchase_choosing, purchase_reversed, purchase_sending
from shared.steps.purchase_work import Again, Wait, Work, fail, is_due
from shared.steps.relay import PURCHASES
from shared.suppliers import attempts, purchases, registry
from shared.suppliers.attempts import AttemptState
from shared.suppliers.errors import UnknownSupplier
from shared.suppliers.purchases import Attempt
from shared.suppliers.supplier import Reason

MOVES_MAX = 40  # of one line in one message: twelve attempts of three moves
HOPS_MAX = 8  # a message that a function sends to its own queue is cut after some sixteen rounds
DELAY_MAX = timedelta(minutes=15)  # of a message
ENOUGH = timedelta(seconds=20)  # after that no call is begun: the function may take a minute, a call half of it


def work(message: Mapping[str, str], now: datetime) -> None:
    """Take one line as far as it goes now. message: order_id, line, hops; hint: the attempt a supplier spoke of."""
    order_id, number, hint = message["order_id"], message["line"], message.get("hint", "")
    hops, ticking = int(message.get("hops", "0")), clock.since(now)
    for _ in range(MOVES_MAX):
        known = purchases.of_line(order_id, number)  # first: what they have brought is in the order then
        order = orders.outline_of(order_id)
        line = next(one for one in order.lines if one.number == number)
        sku = catalog.skus([str(line.sku)]).get(str(line.sku))
        if sku is None:
            logger.error("a SKU that is bought for an order is gone", order_id=order_id, sku=str(line.sku))
            return
        try:
            wait = _advance(Work(order, line, sku, ticking), known, hint, ticking())
        except (Again, Lost):
            hint = ""
            if ticking() - now < ENOUGH:
                continue
            wait = timedelta(0)
        if wait is not None and wait < DELAY_MAX and hops < HOPS_MAX:
            again = {"order_id": order_id, "line": number, "hops": str(hops + 1)}
            queues.send(PURCHASES, [again], delay=wait)
        return
    logger.warning("a line moves without end", order_id=order_id, line=number)


def _advance(at: Work, known: list[Attempt], hint: str, now: datetime) -> Wait:
    waits = [_look_back(at, done, now) for done in known if is_due(done, now) or hint == str(done.attempt)]
    waits.append(_go_on(at, known, hint, now))
    return min((wait for wait in waits if wait is not None), default=None)


def _look_back(at: Work, done: Attempt, now: datetime) -> Wait:
    """Ask about what has ended: it may have come after all, or have been taken back."""
    given_up = done.now_state is AttemptState.FAILED and done.sent_at
    if not given_up and done.now_state not in purchase_reversed.CAME:
        return None
    try:
        supplier = registry.supplier(str(done.supplier))
    except UnknownSupplier:  # somebody may give him keys again
        in_time = now - clock.parse(str(done.sent_at)) < attempts.ASK_FOR
        purchases.look_again(done, now + attempts.LOOK_BACK if in_time else None)
        return None
    return (purchase_asking.look_back if given_up else purchase_asking.ask_back)(at, done, supplier, now)


def _go_on(at: Work, known: list[Attempt], hint: str, now: datetime) -> Wait:
    open_ = next((one for one in known if one.now_state in attempts.OPEN), None)
    if open_ is None:
        return purchase_choosing.begin(at, known, now) if at.buying else None
    if open_.now_state not in attempts.OUT and (not at.buying or int(open_.quantity) > at.missing):
        fail(at, open_, Reason.NONE, now)  # what was given up has come after all
    hinted = hint == str(open_.attempt) and open_.now_state in {AttemptState.UNKNOWN, AttemptState.ACCEPTED}
    if not (is_due(open_, now) or hinted):
        return None
    if open_.now_state is AttemptState.HELD:
        fail(at, open_, Reason.ABOVE_CEILING, now)
    if open_.now_state is AttemptState.CREATED:
        return purchase_sending.buy(at, open_, now)
    return purchase_asking.ask(at, open_, now)
