"""What a supplier has delivered comes to the order it was bought for, or into stock where nobody waits for it any more.

Cards, their fingerprints, the attempt, the order's line and the books move in one transaction: nothing that was paid
for is lost, and nothing comes twice, whoever dies and whoever tells it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import NamedTuple

from shared.inventory import codes, lots
from shared.inventory import records as inventory
from shared.inventory.states import CardState
from shared.kernel import clock, ids, vault
from shared.kernel.errors import Busy
from shared.kernel.money import Money
from shared.kernel.records import Lost, Transaction
from shared.kernel.telemetry import count, logger
from shared.kernel.vault import LotKey, Secret
from shared.ledger import posting
from shared.ledger import records as ledger
from shared.orders import records as orders
from shared.orders.records import Line, Order
from shared.orders.status import LineState, Status
from shared.staff import records as staff
from shared.suppliers import accounts, prices, pulses, purchases
from shared.suppliers.attempts import AttemptState
from shared.suppliers.purchases import Attempt
from shared.suppliers.supplier import Answer, Delivers, Goods

ATTEMPTS = 12  # lost races against other lines of the order, and codes that turn out to be known
BUYING_IN = frozenset({Status.CLEARED, Status.PARTLY_DELIVERED})


@dataclass(frozen=True)
class Piece:
    """One card, ready to be stored."""

    card: inventory.Card
    fingerprints: Sequence[str]
    wholes: Sequence[str]


class Split(NamedTuple):
    """What a delivery is used for: pieces of a top-up, or cards."""

    ordered: int
    extra: int


def pieces_of(attempt: Attempt, answer: Answer) -> int:
    """How many an answer delivers: of cards those that it shows, whatever else it says."""
    return len(answer.goods) if attempt.delivers == Delivers.CARDS else answer.delivered


def cost_of(attempt: Attempt, pieces: int, said_e6: int | None = None) -> int:
    """What all of a delivery costs us, in millionths of a yuan: as he says it now, or has said it, else by his offer.

    said_e6: in millionths of a unit of his currency; None where he does not say it.
    """
    his_e6 = attempt.told_e6 if said_e6 is None else said_e6
    return (
        int(attempt.landed_e6) * pieces
        if his_e6 is None
        else prices.landed_e6(int(his_e6), int(accounts.head_of(str(attempt.supplier)).rate_e6))
    )


def take_in(
    attempt: Attempt, answer: Answer, shards: int, cost_e6: int, now: datetime, by: str | None = None
) -> AttemptState:
    """Take in what came of an attempt; a code that somebody had before is not taken. Raises Lost if somebody else did.

    It is the order's as far as that still waits for it, also where the attempt had been given up; the rest is stock.
    shards: of the SKU's shelf. cost_e6: of all of it, in millionths of a yuan. by: the person who says so, if one does.
    Returns the state of the attempt then.
    """
    cards = attempt.delivers == Delivers.CARDS
    pieces = pieces_of(attempt, answer)
    costs = posting.split(cost_e6, [1] * pieces) if pieces else []
    known: frozenset[int] = frozenset()
    for _ in range(ATTEMPTS):
        order = orders.order_of(str(attempt.order_id))
        made = _made(attempt, answer.goods, costs, known, shards, now) if cards else {}
        try:
            return _store(attempt, answer, order, made, costs, now, by)
        except Lost as lost:
            if "attempt" in lost.failed and "attempt" in lost.refused:
                raise
            if any(part.startswith("lot ") for part in lost.refused):
                _lot_of_the_day.cache_clear()  # it was recalled, or has another key now
            known |= {n for n, piece in made.items() if str(piece.card.card_id) in lost.refused}
    raise Busy


def _store(
    attempt: Attempt,
    answer: Answer,
    order: Order,
    made: dict[int, Piece],
    costs: Sequence[int],
    now: datetime,
    by: str | None,
) -> AttemptState:
    line = next(one for one in order.lines if one.number == attempt.line)
    cards = attempt.delivers == Delivers.CARDS
    usable = len(made) if cards else len(costs)
    useless = [costs[n] for n in range(len(costs)) if cards and n not in made]  # somebody had these codes before
    waits = order.status in BUYING_IN and order.head.lines[line.number] == LineState.BUYING
    wanted = int(line.quantity) - int(line.got or 0) if waits else 0
    split = Split(min(usable, wanted), max(0, usable - wanted))
    on_time = attempt.now_state is not AttemptState.FAILED
    state = AttemptState.DELIVERED if split.ordered or (not usable and on_time) else AttemptState.LATE
    sku, supplier = str(line.sku), str(attempt.supplier)
    fine = [costs[n] for n in sorted(made)] if cards else list(costs)
    legs: list[posting.Leg] = list(posting.paid_for_nothing(supplier, sku, useless))
    if kept := posting.paid_for_nothing(supplier, sku, [int(attempt.cost_e6)]):  # given up, and written off then
        legs += posting.reversal(kept)
    # In turn, so that the parts add up to what all of it has cost, to the cent.
    before_e6, stays = sum(useless), fine if cards else fine[: split.ordered]
    if stays:
        legs += posting.lot_bought(supplier, sku, stays, before_e6=before_e6)
    legs += posting.paid_for_nothing(supplier, sku, fine[len(stays) :], before_e6=before_e6 + sum(stays))
    if split.ordered:
        legs += posting.delivered([_sold(line, fine[: split.ordered])])
    delivered = None
    with Transaction() as tx:
        purchases.move(
            tx,
            attempt,
            state,
            now,
            None,
            delivered=usable,
            ordered=split.ordered,
            settled_by=by,
            duplicates=len(useless),
            cost_e6=sum(costs),
            proof=answer.proof,
            lot_id=str(next(iter(made.values())).card.lot_id) if made else None,
            said=purchases.told(attempt, "delivered", answer, now),
            reason=answer.reason if state is AttemptState.DELIVERED else attempt.reason,
            # Left alone where it is not said: a callback may have brought it meanwhile.
            **({"upstream_no": answer.upstream_no} if answer.upstream_no else {}),
        )
        for place, n in enumerate(sorted(made)):
            piece = made[n]
            if place < split.ordered:
                piece.card.state, piece.card.order_id, piece.card.shelf = CardState.SOLD, order.order_id, None
                piece.card.channel = order.head.channel
            inventory.stock(tx, piece.card, piece.fingerprints, piece.wholes)
        if split.ordered:
            sold = [str(made[n].card.card_id) for n in sorted(made)][: split.ordered]
            orders.take_in(tx, line, sold, split.ordered, answer.proof)
            delivered = _move_order(tx, order, line, int(line.got or 0) + split.ordered, now)
        if legs:
            ledger.post(
                tx,
                "purchase",
                legs,
                now,
                order_id=order.order_id,
                channel=str(order.head.channel),
                provider=str(order.head.provider) if split.ordered else None,
            )
        trouble = _trouble(attempt, split, useless)
        if trouble:
            staff.open_task(tx, trouble, f"{attempt.order_id}.{attempt.part}".replace("#", "-"), order.order_id, now)
    if trouble:
        count("TaskOpened")
    if delivered is Status.DELIVERED:
        count("Delivered")
    count("Purchased")
    pulses.tell(supplier, sku, bool(usable), usable, now)
    logger.info("bought", order_id=order.order_id, supplier=supplier, pieces=usable, spare=split.extra, state=state)
    return state


def _trouble(attempt: Attempt, split: Split, useless: Sequence[int]) -> str | None:
    """What a person must claim from the supplier, if anything."""
    if useless:
        return "purchase_duplicates"
    return "purchase_twice" if split.extra and attempt.delivers == Delivers.TOPUP else None


def _move_order(tx: Transaction, order: Order, line: Line, got: int, now: datetime) -> Status:
    """The line is delivered once all of it is there; else the order only says that it was touched.

    Where it was the last one that anybody waited for, the money of those that failed is due at once.
    """
    states = {number: LineState(state) for number, state in order.head.lines.items()}
    if got >= int(line.quantity):
        states[line.number] = LineState.DELIVERED
    done = all(state is LineState.DELIVERED for state in states.values())
    also = {"delivered_at": clock.iso(now)} if done else {}
    failed = LineState.FAILED in states.values() and not {LineState.WAITING, LineState.BUYING} & set(states.values())
    return orders.move(tx, order.head, lines=list(states.values()), due_at=now if failed else None, also=also)


def _sold(line: Line, costs: Sequence[int]) -> posting.Line:
    total = Money(int(line.unit_minor) * len(costs), str(line.currency))
    return posting.Line(str(line.sku), len(costs), total, list(costs))


def _made(
    attempt: Attempt, goods: Sequence[Goods], costs: Sequence[int], known: frozenset[int], shards: int, now: datetime
) -> dict[int, Piece]:
    """Cards of the goods that nobody had before, by their places; a code that comes twice in one delivery is one."""
    lot, key = _lot_of_the_day(str(attempt.supplier), str(attempt.sku), clock.shanghai_day(now).isoformat())
    made: dict[int, Piece] = {}
    seen: set[str] = set()
    for n, one in enumerate(goods):
        code, number = codes.shown(one.code.code), one.code.number
        normal, normal_number = _normal(code), _normal(number) if number else None
        identity = codes.identity(normal, normal_number)
        if n in known or identity in seen:
            continue
        seen.add(identity)
        card_id = ids.new("crd", now)
        sealed = vault.seal(key, str(lot.lot_id), card_id, Secret(code, codes.shown(number) if number else None))
        card = inventory.new_card(
            card_id,
            str(attempt.sku),
            lot,
            sealed,
            codes.mask(code),
            costs[n],
            one.expires_on,
            shards,
            purchase_id=str(attempt.number),
        )
        whole = codes.whole(normal, normal_number)
        made[n] = Piece(
            card,
            vault.fingerprints(identity, codes.NORMAL_FORM),
            vault.fingerprints(whole, codes.NORMAL_FORM),
        )
    return made


def _normal(text: str) -> str:
    """The form that is compared; what is no code as our own files have them, such as a link, is taken as it came."""
    try:
        return codes.normal(text)
    except codes.Unfit:
        return f"as it came:{codes.shown(text)}"


@cache
def _lot_of_the_day(supplier: str, sku: str, day: str) -> tuple[lots.Lot, LotKey]:
    """The lot of supplier × SKU × day that this process fills: it knows that lot's key, and may decrypt no other's."""
    now = clock.now()
    lot_id = ids.new("lot", now)
    key = vault.new_lot_key(lot_id)
    return lots.new_lot(lot_id, f"{supplier} {sku} {day}", supplier, "purchasing", key.wrapped, key.version, now), key
