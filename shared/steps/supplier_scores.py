"""Folds what came of purchases into each supplier's score, moves his tier, and says why.

What ended is counted once: the moment up to which it was, is stored with what was made of it. Left half done, the next
run finishes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from statistics import median
from typing import Final

from shared.catalog import records as catalog
from shared.kernel import clock
from shared.kernel.errors import Busy, NotFound, Unfinished
from shared.kernel.records import Lost, Transaction
from shared.kernel.telemetry import logger
from shared.steps import supplier_tasks, supply
from shared.suppliers import accounts, offers, prices, purchases, scores, scoring
from shared.suppliers.accounts import Head
from shared.suppliers.admission import Standing
from shared.suppliers.attempts import AttemptState
from shared.suppliers.purchases import Attempt
from shared.suppliers.routing import Wanted
from shared.suppliers.score_contract import FactorsView, ScoreView, SupplierScores, TierChange
from shared.suppliers.scores import Kept
from shared.suppliers.scoring import (
    Because,
    Documents,
    Ended,
    Event,
    Facts,
    Record,
    Score,
    Tier,
    WentBad,
    explain,
    score,
    usual,
)
from shared.suppliers.supplier import Outcome, Reason

TIER_FELL: Final = "supplier_tier"
SETTLED: Final = timedelta(minutes=5)  # what ended before that is in the index: what is written late is not missed
FIRST_LOOK: Final = timedelta(days=7)
ATTEMPTS_MAX: Final = 5_000  # of one supplier in one run; the next run takes the others in
ENDING: Final = timedelta(days=7)
TRIES: Final = 4  # lost races against staff and other runs

_CAME = frozenset({AttemptState.DELIVERED, AttemptState.LATE})


Known = Mapping[str, Mapping[str, Kept]]
"""What is remembered of all suppliers, by family: it says what is usual there."""


@dataclass
class _New:
    """What ended in a family since the last look, in its order."""

    events: list[Event] = field(default_factory=list)
    skus: list[str] = field(default_factory=list)


def work(now: datetime) -> None:
    """Score all whom we buy from. What fails for one does not stop the others; then Unfinished is raised."""
    heads = [head for head in accounts.every() if head.standing == Standing.APPROVED]
    known = _known(heads)
    wrong = []
    for head in heads:
        try:
            look_at(str(head.code), known, now)
        except Exception as error:  # noqa: BLE001  # logged and raised below
            logger.error("a supplier could not be scored", supplier=str(head.code), error=type(error).__name__)
            wrong.append(str(head.code))
    if wrong:
        raise Unfinished(*wrong)


def look_at(code: str, known: Known, now: datetime) -> None:
    """Take in what ended of one supplier, and score him; Lost if somebody else did so meanwhile."""
    kept = scores.of(code)
    new, until = _ended(code, kept, now)
    for family in sorted({*kept, *new}):
        found = new.get(family, _New())

        def fold(record: Record, found: _New = found) -> Record:
            return record.after(*found.events)

        before = kept.get(family)
        reached = max(until, clock.parse(_since(before, now)))  # never back: what was counted is not counted again
        _rescore(code, family, before, fold, known, now, reached, found.skus)


def went_bad(code: str, family: str, cards: int, now: datetime) -> None:
    """Cards that he had delivered turned out to be void, or used before."""
    _change(code, family, lambda record: record.after(WentBad(cards)), now)


def issuer_told(code: str, family: str, now: datetime) -> None:
    """The issuer says that cards of his are void: nothing more is bought of him until a person has looked."""
    _change(code, family, lambda record: record, now, notice=True)


def cleared(code: str, family: str, now: datetime) -> None:
    """A person has looked at notice and case, and lets him go on."""
    _change(code, family, lambda record: record.cleared(), now, notice=False)


def shown(code: str) -> SupplierScores:
    """His scores, by family, with what has moved his tier; UnknownSupplier."""
    head = accounts.head_of(code)
    return SupplierScores(
        supplier=code,
        tier=str(head.tier),
        families=[_view(family, one) for family, one in sorted(scores.of(code).items())],
    )


def clear(code: str, family: str, by: str, now: datetime) -> SupplierScores:
    """As `cleared`, for a person; UnknownSupplier, NotFound where he has no score in the family, Busy."""
    accounts.head_of(code)
    if family not in scores.of(code):
        raise NotFound
    cleared(code, family, now)
    logger.info("a supplier's case was cleared", supplier=code, family=family, by=by)
    after = shown(code)
    if all(one.because == Because.POINTS for one in after.families):
        supplier_tasks.over(TIER_FELL, code, by, "cleared", now)
    return after


def _view(family: str, one: Kept) -> ScoreView:
    changes = [
        TierChange(at=it["at"], before=it["from"], tier=it["to"], zh=it["zh"], en=it["en"]) for it in one.changes
    ]
    return ScoreView(
        family=family,
        tier=str(one.now.tier),
        points=round(one.now.points),
        because=str(one.now.because),
        factors=FactorsView(**{name: round(100 * factor) for name, factor in vars(one.now.factors).items()}),
        since=changes[0].at,
        scored_until=str(one.until),
        noticed_at=one.noticed_at,
        changes=changes,
    )


def _change(
    code: str, family: str, fold: Callable[[Record], Record], now: datetime, notice: bool | None = None
) -> None:
    """Fold in what is told from elsewhere, at once; Busy after too many lost races."""
    known = _known(accounts.every())
    for _ in range(TRIES):
        kept = scores.of(code).get(family)
        until = clock.parse(str(kept.until)) if kept else now - FIRST_LOOK
        try:
            _rescore(code, family, kept, fold, known, now, until=until, notice=notice)
        except Lost:
            continue
        return
    raise Busy


def _rescore(
    code: str,
    family: str,
    kept: Kept | None,
    fold: Callable[[Record], Record],
    known: Known,
    now: datetime,
    until: datetime,
    skus: Sequence[str] = (),
    notice: bool | None = None,
) -> None:
    """Fold, score and store; raises Lost. The supplier's own tier is the worst of his families'."""
    head = accounts.head_of(code)
    record = fold(kept.seen if kept else Record())
    noticed_at = clock.parse(str(kept.noticed_at)) if kept and kept.noticed_at else None
    if notice is not None:
        noticed_at = (noticed_at or now) if notice else None
    failures, voids = usual(each[family].seen for each in known.values() if family in each)
    facts = Facts(
        price_z=_price_z(code, [*skus, *(kept.skus if kept else ())], now),
        documents=_documents(head, now),
        notice=noticed_at is not None,
        failures=failures,
        voids=voids,
    )
    began = Score.parse(kept.began) if kept else None
    after = score(record, facts, kept.now if kept else None)
    why = explain(began, after)
    if after.tier >= Tier.C and (began is None or after.tier > began.tier):
        supplier_tasks.call_somebody(TIER_FELL, code, now)  # first: were he moved and nobody told, nobody ever would be
    trusted = {**(head.trust or {}), family: list(scoring.trust(record, facts, after.tier))}
    with Transaction() as tx:
        scores.keep(tx, code, family, kept, record, after, why, until, now, skus, noticed_at)
        if trusted != head.trust:  # routing reads his head anyway: there it costs no call
            accounts.change(tx, head, trust=trusted, tier=max(tier for tier, _, _ in trusted.values()))
    if why:
        logger.info("a tier has changed", supplier=code, family=family, tier=str(after.tier), why=why.en)


def _known(heads: Iterable[Head]) -> Known:
    return {str(head.code): scores.of(str(head.code)) for head in heads if head.standing == Standing.APPROVED}


def _ended(code: str, kept: Mapping[str, Kept], now: datetime) -> tuple[dict[str, _New], datetime]:
    """By family, what ended since its last look, and until when."""
    first = min((clock.parse(str(each.until)) for each in kept.values()), default=now - FIRST_LOOK)
    attempts, until = purchases.ended(code, first, ATTEMPTS_MAX), now - SETTLED
    if len(attempts) == ATTEMPTS_MAX:  # of its last millisecond there may be more
        until = min(until, clock.parse(str(attempts[-1].ended_at)) - timedelta(milliseconds=1))
    families = {name: sku.category for name, sku in catalog.skus({str(one.sku) for one in attempts}).items()}
    claims = offers.some(code, sorted({str(one.product) for one in attempts}))
    claimed = {product for product, offer in claims.items() if offer.stock is not None}
    found: dict[str, _New] = {}
    for one in attempts:
        family = families.get(str(one.sku))
        if family is None or not _since(kept.get(family), now) < str(one.ended_at) <= clock.iso(until):
            continue
        new = found.setdefault(family, _New())
        new.events += _events(one, str(one.product) in claimed)
        new.skus.append(str(one.sku))
    return found, until


def _since(kept: Kept | None, now: datetime) -> str:
    return str(kept.until) if kept else clock.iso(now - FIRST_LOOK)


def _events(one: Attempt, claimed: bool) -> list[Event]:
    cards = int(one.delivered) or int(one.quantity)
    if one.state == AttemptState.REVERSED:
        return [WentBad(cards)]
    if one.state in _CAME:
        took = (clock.parse(str(one.ended_at)) - clock.parse(str(one.sent_at or one.created_at))).total_seconds()
        # How fast a person of ours bought, or found out, says nothing of him.
        came = Ended(Outcome.DELIVERED, Reason.NONE, None if one.settled_by else took, cards, claimed)
        return [came, WentBad(int(one.duplicates))] if one.duplicates else [came]
    if one.state == AttemptState.FAILED:
        return [Ended(Outcome.FAILED, Reason(str(one.reason)), claimed=claimed)]
    return []


def _price_z(code: str, names: Iterable[str], now: datetime) -> float | None:
    """How odd his prices are in the middle of what he sells of the family, by the measure of routing."""
    found = []
    for sku in catalog.skus(set(names)).values():
        market = supply.look(sku, Wanted(1, supply.most_e6(sku)), now)
        zs = prices.deviations(*supply.priced(market.candidates))
        found += [z for (supplier, _), z in zs.items() if supplier == code and z is not None]
    return median(found) if found else None


def _documents(head: Head, now: datetime) -> Documents:
    if not head.documents_until:
        return Documents.IN_ORDER
    left = date.fromisoformat(str(head.documents_until)) - clock.shanghai_day(now)
    if left <= timedelta():
        return Documents.OVER
    return Documents.ENDING if left <= ENDING else Documents.IN_ORDER
