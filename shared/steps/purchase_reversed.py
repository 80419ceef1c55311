"""What a supplier takes back after he has delivered it: the books say that he owes it, and a person looks at the buyer.

The order stays as it is: the buyer may have used what he got, or may have a right to it all the same. Cards that are
still unsold are sold to nobody, and sold ones are marked, so that a recall of the purchase, which is a person's to
start, makes them good.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from shared.inventory import records as inventory
from shared.inventory.records import Card
from shared.inventory.states import CardState
from shared.kernel.errors import Busy
from shared.kernel.money import minor_from_e6
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
        for card in cards:
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
    """What he has given back, out of where it stands: what no card bears was our loss, as codes that came twice are."""
    supplier, sku = str(attempt.supplier), str(attempt.sku)
    pieces, cost_e6 = int(attempt.delivered), int(attempt.cost_e6)
    if attempt.delivers == Delivers.CARDS:
        stands: dict[bool, list[int]] = defaultdict(list)
        for card in cards:
            stands[card.state == CardState.SOLD].append(int(card.cost_e6))
        return list(posting.supplier_claim(supplier, [(sku, stands[False])], [(sku, stands[True])]))
    costs = posting.split(cost_e6, [1] * pieces) if pieces else []
    if attempt.now_state is AttemptState.LATE:
        lost = posting.paid_for_nothing(supplier, sku, costs)
        return list(posting.reversal(lost)) if lost else []
    return list(posting.supplier_claim(supplier, [], [(sku, costs)])) if any(map(minor_from_e6, costs)) else []


def _cards(attempt: Attempt) -> list[Card]:
    """Those of the purchase that nobody has recalled yet; Busy while the index does not show all that it brought."""
    seen = inventory.known(inventory.of_lot(str(attempt.lot_id)), SEEN)
    found = [card for card in seen if card.purchase_id == attempt.number]
    if len(found) < int(attempt.delivered):
        raise Busy
    return [card for card in found if recalls.unsettled(card)]


def _recall_id(attempt: Attempt) -> str:
    return recalls.recall_id_of(recalls.within(str(attempt.lot_id), str(attempt.number)))
