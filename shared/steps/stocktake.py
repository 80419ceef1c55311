"""Each night: the levels are held to the cards, expired cards leave the shelf, and what will soon expire is named.

What is kept back for a channel, or as safety stock, is filled again from what came in or was left over.

Whatever it does may be done again or be left half done: the next run comes to the same.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import chain

from shared.catalog import records as catalog
from shared.catalog.terms import Terms
from shared.insights import levels
from shared.insights import records as insights
from shared.insights.levels import STATES, Key, Level, Seen, Verdict
from shared.inventory import records as inventory
from shared.inventory import stocktaking
from shared.inventory.states import CardState
from shared.kernel import clock, records, settings
from shared.kernel.errors import Busy
from shared.kernel.records import Lost, Transaction
from shared.kernel.telemetry import count, logger
from shared.ledger import posting
from shared.ledger import records as ledger
from shared.staff import records as staff
from shared.steps import supplier_admission
from shared.steps.insights import tell_low
from shared.steps.stock_terms import keep_aside

NEAR_EXPIRY = "near_expiry"
NEAR_DAYS = 14  # two weeks are enough to sell cards cheaper, or to give them back
CHUNK = records.LIMIT - 1  # cards taken from the shelf together, beside their entry in the books
ATTEMPTS = 6  # lost races of one chunk
COUNTS = 3  # of all cards, while levels move too much to be compared
COUNTING = 300  # seconds after which nothing is counted again: a third of the function's time, the rest is for shelves
SETTLE = 5  # seconds in which the stream has told of every move made before; it takes one or two


@dataclass
class Stocktake:
    """What there is to do tonight. `until`: the last day that is near; some SKUs have their own."""

    today: date
    now: datetime
    near_days: int
    terms: dict[str, Terms]  # of those SKUs that have any
    cards: int = 0
    soon: dict[str, set[str]] = field(default_factory=dict)  # SKU → shelves with cards that expire soon, or have

    def until(self, sku: str) -> date:
        """What is too old for its SKU's terms can be sold no more: it is near, too."""
        least = self.terms[sku].min_days if sku in self.terms else 0
        return self.today + timedelta(days=max(self.near_days, least))


def run(now: datetime) -> None:
    """Take stock, as of the Shanghai day of `now`; what fails for one SKU is logged and does not stop the others."""
    _guarded("suppliers", supplier_admission.look, now)
    with_terms = {sku.sku: sku for sku in catalog.everything() if sku.terms != Terms()}
    tonight = Stocktake(
        clock.shanghai_day(now),
        now,
        settings.whole("NEAR_EXPIRY_DAYS", NEAR_DAYS),
        {name: sku.terms for name, sku in with_terms.items()},
    )
    _recount(tonight)
    for name in sorted({*tonight.soon, *(str(near.part) for near in insights.all_near())}):
        _guarded(name, _look_through, name, tonight)
    for name, sku in sorted(with_terms.items()):
        _guarded(name, keep_aside, sku, sku.terms, now)
        _guarded(name, tell_low, {name: sku.terms.low}, now)
    _guarded("near", _tell_near, tonight)


def _guarded(about: str, work: Callable[..., object], *arguments: object) -> None:
    try:
        work(*arguments)
    except Exception:  # noqa: BLE001  # logged and counted: the other SKUs must not wait for this one
        logger.exception("a part of the stocktake failed", about=about)
        count("StocktakeFailed")


# --- the levels are held to the cards ---


def _recount(tonight: Stocktake) -> None:
    """Compare each level with the cards, and set it right if it is wrong beyond what moved meanwhile."""
    started = time.monotonic()
    drifted: set[Key] = set()
    rest: set[Key] | None = None  # all of them
    for _ in range(COUNTS):
        before = {key: level.moves for key, level in insights.everything() if rest is None or key in rest}
        numbers = _count(tonight, rest)
        time.sleep(settings.whole("SETTLE_SECONDS", SETTLE))
        rest, wrong = _compare(numbers, before, rest, tonight.now)
        drifted |= wrong
        if not rest or time.monotonic() - started > COUNTING:
            break
    if drifted:
        count("LevelDrift", len(drifted))
    if rest:
        logger.warning("levels that moved too much are left to the next night", levels=len(rest))
    insights.save_recount(tonight.cards, len(drifted), len(rest or ()), tonight.now)


def _count(tonight: Stocktake, wanted: Collection[Key] | None) -> dict[Key, list[int]]:
    """Walk past all cards; a card leaves nothing behind but numbers, so memory is by levels and not by cards."""
    numbers: dict[Key, list[int]] = {}
    tonight.cards = 0
    for card in stocktaking.every_card():
        tonight.cards += 1
        if card.state not in STATES:
            logger.error("a card cannot be counted", state=card.state)
            count("StocktakeFailed")
            continue
        state = STATES.index(card.state)
        for key in Seen(card.sku, card.lot_id, card.state, card.channel).keys:
            if wanted is None or key in wanted:
                numbers.setdefault(key, [0] * len(STATES))[state] += 1
        if card.place and card.expires_on <= tonight.until(card.sku).isoformat():
            tonight.soon.setdefault(card.sku, set()).add(card.place)
    return numbers


def _compare(
    numbers: dict[Key, list[int]], before: dict[Key, int], wanted: Collection[Key] | None, now: datetime
) -> tuple[set[Key], set[Key]]:
    """Set right what is wrong and has not moved; returns what has to be counted again, and what was wrong."""
    again, wrong = set(), set()
    for key, level in chain(insights.everything(), _unknown(numbers)):
        if wanted is not None and key not in wanted:
            continue
        counted = numbers.pop(key, [0] * len(STATES))
        found = levels.verdict(counted, level, before.get(key, 0))
        if found is Verdict.RIGHT:
            continue
        if found is Verdict.DRIFT:
            wrong.add(key)
            logger.error("a level has drifted", of=key.of, part=key.part, counted=counted, level=level.numbers)
        try:
            if level.moves != before.get(key, 0):
                raise Lost("level")
            insights.set_right(key, counted, level.moves, now)
        except Lost:
            again.add(key)
    return again, wrong


def _unknown(numbers: dict[Key, list[int]]) -> Iterable[tuple[Key, Level]]:
    """The levels that should be there and are not; asked for when all others have been taken out."""
    while numbers:
        yield next(iter(numbers)), Level()


# --- what expires ---


def _look_through(sku: str, tonight: Stocktake) -> None:
    """Take what has expired from the SKU's shelves, and count what will soon, by its day."""
    days: Counter[str] = Counter()
    for place in sorted(tonight.soon.get(sku, ())):
        gone: list[str] = []
        for card in stocktaking.expiring(place, tonight.until(sku)):
            if card.expires_on >= tonight.today.isoformat():
                days[card.expires_on] += 1
            else:
                gone.append(card.card_id)
            if len(gone) == CHUNK:
                _expire(sku, gone, tonight)
                gone = []
        _expire(sku, gone, tonight)
    insights.save_near(sku, dict(sorted(days.items())), tonight.now)


def _expire(sku: str, card_ids: list[str], tonight: Stocktake) -> None:
    """Take these cards from the shelf together with their entry in the books: what they cost is our loss."""
    for _ in range(ATTEMPTS):
        expired = [card for card in inventory.known(card_ids) if _over(card, tonight.today)]
        if not expired:
            return
        with suppress(Lost):  # somebody moved one of them first: look again
            with Transaction() as tx:
                for card in expired:
                    inventory.expire(tx, str(card.card_id), tonight.today)
                ledger.post(
                    tx, "expired", posting.written_off(sku, [int(card.cost_e6) for card in expired]), tonight.now
                )
            count("CardsExpired", len(expired))
            logger.info("cards expired", sku=sku, cards=len(expired))
            return
    raise Busy


def _over(card: inventory.Card, today: date) -> bool:
    return card.state == CardState.AVAILABLE and str(card.shelf_order) < today.isoformat()


def _tell_near(tonight: Stocktake) -> None:
    """Ask a person, once a day, to look at what will soon expire."""
    cards = sum(sum(near.days.values()) for near in insights.all_near())
    count("NearExpiry", cards)
    if cards:
        with suppress(Lost), Transaction() as tx:  # it may be open from an earlier run
            staff.open_task(tx, NEAR_EXPIRY, tonight.today.isoformat(), None, tonight.now)
