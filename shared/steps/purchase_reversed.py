"""What a supplier takes back after he has delivered it: the books say that he owes it, and a person looks at the buyer.

The order stays as it is: the buyer may have used what he got, or may have a right to it all the same. Cards that are
still unsold are sold to nobody, and sold ones are marked, so that a recall of the purchase, which is a person's to
start, makes them good.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from shared.inventory import records as inventory
from shared.inventory.records import Card
from shared.inventory.states import CardState
from shared.kernel.errors import Busy
from shared.kernel.records import Lost, Transaction
from shared.kernel.telemetry import count, logger
from shared.ledger import posting
from shared.ledger import records as ledger
from shared.orders import records as orders
from shared.staff import records as staff
from shared.steps import recalls
from shared.suppliers import purchases
from shared.suppliers.attempts import AttemptState
from shared.suppliers.purchases import Attempt
from shared.suppliers.supplier import Answer, Delivers, Reason

TASK = "purchase_reversed"
ATTEMPTS = 12  # lost races over its cards, which may be sold at this very moment
SEEN = ("card_id", "state", "sku", "cost_e6", "order_id", "recall_id", "purchase_id")
CAME = frozenset({AttemptState.DELIVERED, AttemptState.LATE})


def take_back(attempt: Attempt, answer: Answer, now: datetime) -> None:
    """He says that it is his again, and our money ours; raises Lost if somebody wrote it down first, or Busy.

    attempt: one that came, see CAME.
    """
    call_somebody(attempt, now)  # first: were it written down and nobody told, nobody ever would be
    for _ in range(ATTEMPTS):
        try:
            _store(attempt, answer, _cards(attempt) if attempt.lot_id else [], now)
            return
        except Lost as lost:
            if "attempt" in lost.refused:
                raise
    raise Busy


def _store(attempt: Attempt, answer: Answer, cards: Sequence[Card], now: datetime) -> None:
    head = orders.outline_of(str(attempt.order_id)).head
    legs = _claim(attempt, cards)
    with Transaction() as tx:
        said = purchases.told(attempt, "reversed", answer, now)
        purchases.move(tx, attempt, AttemptState.REVERSED, now, None, reason=Reason.REVERSED, said=said)
        for card in filter(recalls.unsettled, cards):
            recalls.mark(tx, _recall_id(attempt), card)
        if legs:
            order_id, channel = str(attempt.order_id), str(head.channel)
            ledger.post(tx, "supplier_claim", legs, now, order_id=order_id, channel=channel)
    logger.warning("a supplier took it back", order_id=str(attempt.order_id), part=str(attempt.part))


def call_somebody(attempt: Attempt, now: datetime) -> None:
    """Ask a person what its buyer is to get; asked before, it is the same question."""
    with suppress(Lost):
        with Transaction() as tx:
            staff.open_task(tx, TASK, str(attempt.number), str(attempt.order_id), now)
        count("TaskOpened")


def _claim(attempt: Attempt, cards: Sequence[Card]) -> list[posting.Leg]:
    """What he has given back, out of where it stands: in stock, in the cost of goods, or, as codes that came twice and
    what came beyond the order, in our losses. Cards that were recalled before were claimed then."""
    supplier, sku = str(attempt.supplier), str(attempt.sku)
    pieces = int(attempt.delivered) + int(attempt.duplicates)
    costs = posting.split(int(attempt.cost_e6), [1] * pieces) if pieces else []
    stocked, sold, lost = list[int](), costs[: int(attempt.ordered)], costs[int(attempt.ordered) :]
    if attempt.delivers == Delivers.CARDS:
        here = [card for card in cards if recalls.unsettled(card)]
        stocked = [int(card.cost_e6) for card in here if card.state != CardState.SOLD]
        sold = [int(card.cost_e6) for card in here if card.state == CardState.SOLD]
        lost = list((Counter(costs) - Counter(int(card.cost_e6) for card in cards)).elements())
    written_off = posting.paid_for_nothing(supplier, sku, lost)
    claimed = posting.supplier_claim(supplier, [(sku, stocked)], [(sku, sold)])
    return [*claimed, *(posting.reversal(written_off) if written_off else ())]


def _cards(attempt: Attempt) -> list[Card]:
    """Those of the purchase; Busy while the index does not show all that it brought."""
    seen = inventory.known(inventory.of_lot(str(attempt.lot_id)), SEEN)
    found = [card for card in seen if card.purchase_id == attempt.number]
    if len(found) < int(attempt.delivered):
        raise Busy
    return found


def _recall_id(attempt: Attempt) -> str:
    return recalls.recall_id_of(recalls.within(str(attempt.lot_id), str(attempt.number)))
