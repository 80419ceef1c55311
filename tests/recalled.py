"""Stock and sales as a recall finds them, written straight into the tables: lots, cards, delivered orders, books."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime
from itertools import islice

from shared.inventory import lots
from shared.inventory import records as inventory
from shared.inventory.states import CardState
from shared.jobs import records as jobs
from shared.jobs.contract import RecallView
from shared.kernel import clock, ids
from shared.kernel.money import Money
from shared.kernel.records import Transaction
from shared.ledger import posting
from shared.ledger import records as ledger
from shared.orders import records as orders
from shared.orders.status import Decision, LineState, Status
from shared.payments import records as payments
from shared.payments.states import MoneyState
from shared.settlement.statement import Statement
from shared.steps import recall_work, recalls, settlement

COST_E6 = 15_005_000  # 15.005: rounded, each card by itself, to 15.00
PRICE = 1980
SKU = "G020"


def lot_of(
    count: int,
    supplier: str = "acme",
    *,
    sku: str = SKU,
    cost_e6: int = COST_E6,
    purchase_id: str | None = None,
    received_at: datetime | None = None,
) -> tuple[str, list[str]]:
    """A lot of available cards with its purchase in the books; returns its id and theirs."""
    now = clock.now()
    lot_id = ids.new("lot", now)
    lot = lots.new_lot(lot_id, "", supplier, "file.txt", b"-", 1, received_at or now, purchase_id=purchase_id)
    made = [
        inventory.new_card(ids.new("crd", now), sku, lot, b"-", "••••0000", cost_e6, None, 1, purchase_id)
        for _ in range(count)
    ]
    with inventory.Card.batch_write() as batch:
        for card in made:
            batch.save(card)
    with Transaction() as tx:
        ledger.post(tx, "stock_in", posting.lot_bought(supplier, sku, [cost_e6] * count), now, lot_id=lot_id)
    return lot_id, [str(card.card_id) for card in made]


def sell(
    card_ids: Sequence[str],
    sku: str = SKU,
    cost_e6: int = COST_E6,
    *,
    order_id: str | None = None,
    held: bool = False,
) -> str:
    """A delivered and paid order of these cards, for which they may have been held; returns its id."""
    now, total = clock.now(), Money(PRICE * len(card_ids))
    order_id = order_id or ids.new("ord", now)
    head = orders.Head(
        order_id,
        orders.HEAD,
        status=Status.DELIVERED,
        version=5,
        channel="shop",
        total_minor=total.minor,
        currency="CNY",
        placed_at=clock.iso(now),
        expires_at=clock.iso(now),
        contact_hash="1.contact",
        contact_mask="138****8000",
        address_hash="",
        provider="sandbox",
        payments=[ids.new("pay", now)],
        paid_by=f"money#{order_id}",
        decision=Decision.CLEARED,
        lines={"1": LineState.DELIVERED},
        delivered_at=clock.iso(now),
    )
    line = orders.Line(
        order_id,
        "line#1",
        sku=sku,
        title=sku,
        quantity=len(card_ids),
        unit_minor=PRICE,
        currency="CNY",
        fulfilment="stock",
        card_ids=list(card_ids),
    )
    money = payments.Received(
        f"money#{order_id}",
        order_id=order_id,
        payment_id=str(head.payments[0]),
        provider="sandbox",
        provider_no=order_id,
        amount_minor=total.minor,
        currency="CNY",
        paid_at=clock.iso(now),
        received_at=clock.iso(now),
        raw="{}",
        state=MoneyState.APPLIED,
    )
    with Transaction() as tx:
        for card_id in card_ids:
            if held:
                inventory.claim(tx, card_id, order_id)
            else:
                inventory.sell(tx, card_id, sku, order_id, "shop")
        tx.insert("order", head)
        tx.insert("line", line)
        tx.insert("money", money)
        paid = posting.payment_received("sandbox", total, 0, [(sku, total.minor)])
        handed = posting.delivered([posting.Line(sku, len(card_ids), total, [cost_e6] * len(card_ids))])
        ledger.post(tx, "delivery", [*paid, *handed], now, order_id=order_id)
    return order_id


def sold_in(sizes: Sequence[int], card_ids: Sequence[str]) -> list[str]:
    """Orders of so many cards each."""
    rest = iter(card_ids)
    return [sell(list(islice(rest, size))) for size in sizes]


def run(recall_id: str) -> RecallView:
    """What the queue's worker does with the job's message."""
    recall_work.work(jobs.job_of(recall_id, "rcl"), clock.now())
    return recalls.show(recall_id)


def states() -> Counter[str]:
    return Counter(str(card.state) for card in inventory.Card.scan())


def owned() -> Counter[str]:
    """How many orders name each card."""
    return Counter(str(card_id) for line in orders.Line.scan() if line.card_ids for card_id in line.card_ids)


def books() -> Statement:
    return settlement.running(clock.now())


def balance(account: str) -> int:
    return sum(move.net for move in books().movements if move.account == account)


def worth() -> int:
    """What the cards that are still ours to sell stand at, card by card."""
    kept = (CardState.AVAILABLE, CardState.HELD)
    cards = [card for card in inventory.Card.scan() if card.state in kept and not card.recall_id]
    return sum(posting.minor_from_e6(int(card.cost_e6)) for card in cards)


def today() -> date:
    return clock.shanghai_day(clock.now())
