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
from shared.steps import purchase_received
from shared.suppliers import accounts, attempts, balances, pulses, purchases
from shared.suppliers.accounts import Head
from shared.suppliers.attempts import AttemptState
from shared.suppliers.offers import Offer
from shared.suppliers.purchases import Attempt
from shared.suppliers.supplier import Answer, Purchase, Reason, Supplier

CALL_WITHIN = timedelta(seconds=30)  # a slot is free again after that, should its process die
SLOT_AGAIN = timedelta(seconds=2)
UNDECIDED = timedelta(days=1)  # what only a person can find out is named to him again after that
EARLY = timedelta(seconds=1)  # clocks differ by less

chance = SystemRandom()

Wait = timedelta | None
"""When the line is looked at again; None where nothing is waited for by message."""


@dataclass(frozen=True)
class Work:
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


class Again(Exception):
    """The line has moved: look at it anew at once."""


@contextmanager
def in_slot(supplier: Supplier, slot: int, ticking: clock.Ticking) -> Iterator[None]:
    """Call in a slot: so many slots, each used no more often than this, keep within the supplier's rate."""
    traits, began = supplier.traits, ticking()
    try:
        yield
    finally:
        pulses.give_back(supplier.code, slot, max(ticking(), began + timedelta(seconds=traits.slots / traits.rate)))


def purchase_of(at: Work, attempt: Attempt, head: Head, offer: Offer) -> Purchase:
    """What the supplier is asked for; InvalidTag if the account is not the one that the buyer gave."""
    given = account_of(at)
    return Purchase(
        number=str(attempt.number),
        product=str(attempt.product),
        quantity=int(attempt.quantity),
        most_e6=int(attempt.most_e6) * 1_000_000 // int(head.rate_e6),
        callback_url=f"{settings.optional('PUBLIC_URL', '')}/webhooks/suppliers/{head.code}",
        account={theirs: given[ours] for theirs, ours in (offer.fills or {}).items() if ours in given},
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
    return Offer.get(str(attempt.supplier), str(attempt.product), consistent_read=True)


def is_due(attempt: Attempt, now: datetime) -> bool:
    return bool(attempt.due_at) and str(attempt.due_at) <= clock.iso(now + EARLY)


def about(attempt: Attempt) -> str:
    return str(attempt.number)


def fail(
    at: Work,
    attempt: Attempt,
    reason: Reason,
    now: datetime,
    answer: Answer | None = None,
    look_back: datetime | None = None,
) -> NoReturn:
    """This attempt brings nothing: the line looks for another supplier. Always raises Again, or Lost."""
    said = purchases.told(attempt, "failed", answer, now) if answer else attempt.said
    purchases.move_alone(attempt, AttemptState.FAILED, now, look_back, reason=reason, said=said)
    if attempt.supplier and answer and reason not in attempts.HARMLESS:
        pulses.tell(str(attempt.supplier), at.sku.sku, False, 0, now)
    logger.info("attempt failed", order_id=at.order_id, part=str(attempt.part), reason=reason)
    raise Again


def undecided(at: Work, attempt: Attempt, now: datetime, kind: str = "") -> Wait:
    """Nobody but a person can find out, or can do it; he is told, and told again."""
    stuck(at, attempt, kind or "purchase_unknown", now)
    return None


def stuck(at: Work, attempt: Attempt, kind: str, now: datetime) -> None:
    purchases.look_again(attempt, now + UNDECIDED)
    call_somebody(at, attempt, kind, now)


def call_somebody(at: Work, attempt: Attempt, kind: str, now: datetime) -> None:
    """Ask a person about an attempt; asked before, it is the same question."""
    with suppress(Lost), Transaction() as tx:
        staff.open_task(tx, kind, about(attempt), at.order_id, now)
    count("TaskOpened")


def stop(supplier: str, why: str, now: datetime) -> None:
    """He refuses us, not the order: nobody's order goes to him until a person has looked."""
    with suppress(Lost), Transaction() as tx:
        staff.open_task(tx, "supplier_stopped", supplier, "-", now)
    if accounts.stop(supplier, why):
        logger.error("supplier stopped", supplier=supplier, why=why)
        count("SupplierStopped")


def empty(supplier: str, now: datetime) -> None:
    """Our money with him is used up, whatever he said of it last: he is left alone until his balance is read again."""
    balances.show(supplier, 0, now)
    with suppress(Lost), Transaction() as tx:
        staff.open_task(tx, "supplier_balance_low", supplier, "-", now)
