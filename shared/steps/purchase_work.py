"""What all who work at a purchase share: the line they are at, a slot at a supplier, how an attempt ends in vain."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import SystemRandom
from typing import NoReturn

from cryptography.exceptions import InvalidTag

from shared.catalog.sku import Sku
from shared.kernel import clock, people, settings
from shared.kernel.records import Lost, Transaction
from shared.kernel.telemetry import count, logger
from shared.orders.records import Line, Order
from shared.orders.status import LineState
from shared.staff import records as staff
from shared.steps import purchase_received, supplier_tasks, supply
from shared.suppliers import attempts, balances, offers, pulses, purchases
from shared.suppliers.accounts import Head
from shared.suppliers.attempts import AttemptState
from shared.suppliers.offers import Offer
from shared.suppliers.purchases import Attempt
from shared.suppliers.supplier import Answer, Purchase, Reason, Supplier

CALL_WITHIN = timedelta(seconds=30)  # a slot is free again after that, should its process die
SLOT_AGAIN = timedelta(seconds=2)
UNDECIDED = timedelta(days=1)  # what only a person can find out is named to him again after that
EARLY = timedelta(seconds=1)  # clocks differ by less

UNKNOWN, ALTERED, BY_HAND = "purchase_unknown", "purchase_altered", "buy_by_hand"
"""Tasks, each about an attempt: see README."""

chance = SystemRandom()

Wait = timedelta | None
"""When the line is looked at again; None where nothing is waited for by message."""


@dataclass(frozen=True)
class Work:
    """A line, and what it is part of. order: without the cards of a large one."""

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

    @property
    def missing(self) -> int:
        """Pieces that are still to come."""
        return int(self.line.quantity) - int(self.line.got or 0)


class Again(Exception):
    """The line has moved: look at it anew at once."""


class Unmapped(Exception):
    """The offer is gone, or our SKU no more, or something else now, or wants to be told what no buyer was asked."""


@contextmanager
def in_slot(supplier: Supplier, slot: int, ticking: clock.Ticking) -> Iterator[None]:
    """Call in a slot: so many slots, each used no more often than this, keep within the supplier's rate."""
    traits, began = supplier.traits, ticking()
    try:
        yield
    finally:
        pulses.give_back(supplier.code, slot, max(ticking(), began + timedelta(seconds=traits.slots / traits.rate)))


def purchase_of(at: Work, attempt: Attempt, head: Head, offer: Offer) -> Purchase:
    """What the supplier is asked for. Raises Unmapped; InvalidTag if the account is not the one that the buyer gave."""
    given = account_of(at)
    if offer.sku != at.sku.sku or offers.renamed(offer) or not supply.fillable(offer, given.keys()):
        raise Unmapped
    return Purchase(
        number=str(attempt.number),
        product=str(attempt.product),
        quantity=int(attempt.quantity),
        most_e6=int(attempt.most_e6) * 1_000_000 // int(head.rate_e6),
        callback_url=f"{settings.optional('PUBLIC_URL', '')}/webhooks/suppliers/{head.code}",
        account={theirs: given[ours] for theirs, ours in (offer.fills or {}).items()},
    )


def account_of(at: Work) -> Mapping[str, str]:
    """Of a top-up, what the buyer filled in; InvalidTag unless it was sealed with this very line as it is now."""
    if not at.line.account_sealed:
        if at.sku.account_fields:
            raise InvalidTag
        return {}
    given: Mapping[str, str] = json.loads(people.unseal(bytes(at.line.account_sealed), at.line.agreed))
    return given


def offer_of(attempt: Attempt) -> Offer:
    try:
        return Offer.get(str(attempt.supplier), str(attempt.product), consistent_read=True)
    except Offer.DoesNotExist:
        raise Unmapped from None


def is_due(attempt: Attempt, now: datetime) -> bool:
    return bool(attempt.due_at) and str(attempt.due_at) <= clock.iso(now + EARLY)


def fail(
    at: Work,
    attempt: Attempt,
    reason: Reason,
    now: datetime,
    answer: Answer | None = None,
    look_back: datetime | None = None,
) -> NoReturn:
    """This attempt brings nothing: the line looks for another supplier. Always raises Again, or Lost."""
    if reason is Reason.BAD_ACCOUNT and not at.sku.account_fields:
        reason = Reason.OTHER  # ours with him is meant: the buyer gave none
    # First: who dies between comes again.
    if attempt.now_state is AttemptState.HELD:
        staff.end_if_open("price_jump", str(attempt.number), "system", "nobody waits for it any more", now)
    else:
        found_out(attempt, now)
    said = purchases.told(attempt, "failed", answer, now) if answer else attempt.said
    purchases.move_alone(attempt, AttemptState.FAILED, now, look_back, reason=reason, said=said)
    if attempt.supplier and answer and reason not in attempts.HARMLESS:
        pulses.tell(str(attempt.supplier), at.sku.sku, False, 0, now)
    logger.info("attempt failed", order_id=at.order_id, part=str(attempt.part), reason=reason)
    raise Again


def found_out(attempt: Attempt, now: datetime) -> None:
    """The supplier knows after all what became of it: a person who was asked need not look any more."""
    if attempt.now_state is AttemptState.SENT and now - clock.parse(str(attempt.sent_at)) <= CALL_WITHIN:
        return  # by the first answer: nobody was asked
    if attempt.sent_at:
        staff.end_if_open(UNKNOWN, str(attempt.number), "system", "the supplier knows after all", now)


def undecided(at: Work, attempt: Attempt, kind: str, now: datetime, again: timedelta = UNDECIDED) -> Wait:
    """Nobody but a person can find out, or can do it; he is told, and told again."""
    call_somebody(at, attempt, kind, now)  # first: were it put off and nobody told, nobody would be for so long
    purchases.look_again(attempt, now + again)
    return None


def call_somebody(at: Work, attempt: Attempt, kind: str, now: datetime) -> None:
    """Ask a person about an attempt; asked before, it is the same question."""
    with suppress(Lost), Transaction() as tx:
        staff.open_task(tx, kind, str(attempt.number), at.order_id, now)
    count("TaskOpened")


def empty(supplier: str, now: datetime) -> None:
    """Our money with him is used up, whatever he said of it last: he is left alone until his balance is read again."""
    balances.show(supplier, 0, now)
    supplier_tasks.call_somebody(supplier_tasks.BALANCE_LOW, supplier, now)
