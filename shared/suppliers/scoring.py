"""How far each supplier is trusted in a family of SKUs: five factors, their points, a tier, and a reason. Pure.

A weighted geometric mean, so that one bad factor cannot be averaged away. What was seen is folded into a `Record`, one
event after the other; what is so at the moment comes as `Facts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from itertools import accumulate
from math import ceil, exp, inf, log, sqrt
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from shared.suppliers.attempts import HARMLESS
from shared.suppliers.detectors import USUAL, Alarm, Counted, Ewma, Prior, Ring, Watch, ring_of, wilson
from shared.suppliers.prices import TOO_CHEAP
from shared.suppliers.supplier import Outcome, Reason


class Tier(StrEnum):
    """How much of what is bought in a family may come from one supplier."""

    A = "A"
    B = "B"
    C = "C"
    D = "D"  # nothing


REST: Mapping[Tier, timedelta] = MappingProxyType({Tier.C: timedelta(hours=24)})
"""How long cards that are imported from a doubtful supplier rest before they come into stock; what share of purchases
he may have is said by `routing.CAPS`."""

FLOORS: Mapping[Tier, float] = MappingProxyType({Tier.A: 85.0, Tier.B: 70.0, Tier.C: 50.0, Tier.D: 0.0})
CLIMB = 3.0  # points above its floor at which a tier is won: it is lost at the floor, so that noise moves nobody twice

WEIGHTS: Mapping[str, float] = MappingProxyType(
    {"delivery": 0.35, "voids": 0.35, "latency": 0.10, "price": 0.10, "operations": 0.10}
)

DELIVERY_PRIOR = Prior(rate=0.03, strength=50)  # of orders that fail
VOID_PRIOR = Prior(rate=USUAL, strength=5_000)
"""Much stronger than that of deliveries: what is asked of voids is a few in a thousand, of which fewer orders than this
say nothing; with 50 a newcomer without a single void would stand at 0 points. The detectors are who is quick."""

VOID_SCALE = 0.005
AGAIN_HONEST = 1.0  # standard deviations above the line of what is too cheap
SECONDS_MOST = 86_400.0

_OURS = HARMLESS | {Reason.DUPLICATE, Reason.LOW_BALANCE, Reason.NOT_ALLOWED}
"""Why an order failed that no supplier could have delivered."""

_STEPS = 34  # of the histogram, each √2 of the one before: a day lies in the last
_LATENCIES = 1_000  # then all counts are halved: the newest weigh most
_PRIOR_LATENCIES = 10  # deliveries: the first one weighs little, and a hundred speak for themselves
_CLAIMS = 200  # orders after which older ones count for a third
_HONEST = Prior(rate=0.0, strength=20)
_LEAST = 0.05  # of price and latency: who is far too cheap, or slow, is bought of less, and is cut off by neither alone


class Documents(StrEnum):
    """What the worst of the documents is that he needs for the family."""

    IN_ORDER = "in_order"
    ENDING = "ending"  # within a week, and the next one is not here
    OVER = "over"  # or missing


@dataclass(frozen=True)
class Ended:
    """A purchase came to an end. outcome: DELIVERED or FAILED. cards: of its goods.

    seconds: from sending it to its goods; None where that says nothing of him, since a person bought. claimed: whether
    he said that he had the goods in stock.
    """

    outcome: Outcome
    reason: Reason = Reason.NONE
    seconds: float | None = None
    cards: int = 1
    claimed: bool = True


@dataclass(frozen=True)
class WentBad:
    """Cards that had been delivered turned out to be void, used before, or delivered to somebody else, too."""

    cards: int = 1


Event = Ended | WentBad


@dataclass(frozen=True)
class Latency:
    """How long deliveries take. steps: of the last ones, how many took up to 1, 1.4, 2, 2.8, 4 … seconds.

    recent: the average of the logarithm of seconds; it follows a sudden change before the steps do.
    """

    steps: tuple[int, ...] = (0,) * _STEPS
    recent: Ewma | None = None

    def after(self, seconds: float) -> Latency:
        seconds = min(max(seconds, 0.001), SECONDS_MOST)
        step = min(_STEPS - 1, max(0, ceil(2 * log(seconds, 2))))
        steps = [count + (at == step) for at, count in enumerate(self.steps)]
        if sum(steps) >= _LATENCIES:
            steps = [count // 2 for count in steps]
        recent = self.recent.after(log(seconds)) if self.recent else Ewma(log(seconds), 0.1)
        return Latency(tuple(steps), recent)

    def slow(self, usual: float) -> float:
        """Seconds within which 95 % are delivered, read off the steps; of few deliveries, drawn to what is usual."""
        if self.recent is None:
            return usual
        seen = max(log(self._read(0.95)), self.recent.value)
        mine = sum(self.steps) / (sum(self.steps) + _PRIOR_LATENCIES)
        return exp((1 - mine) * log(usual) + mine * seen)

    def _read(self, share: float) -> float:
        """Seconds within which this share of the steps lies."""
        wanted = share * sum(self.steps)
        at, until = next(found for found in enumerate(accumulate(self.steps)) if wanted <= found[1])
        edge = sqrt(2) ** at
        return edge - (edge - edge / sqrt(2)) * (until - wanted) / self.steps[at]


@dataclass(frozen=True)
class Record:
    """All that is remembered of one supplier in one family.

    claims: orders for what he said to have, and how many of them he refused for want of stock.
    """

    deliveries: Ring = field(default_factory=Ring)
    voids: Watch = field(default_factory=Watch)
    latency: Latency = field(default_factory=Latency)
    claims: Counted = field(default_factory=Counted)

    def after(self, *events: Event) -> Record:
        """With what happened since, in its order."""
        record = self
        for event in events:
            record = record._after(event)
        return record

    def _after(self, event: Event) -> Record:
        match event:
            case WentBad(cards):
                return replace(self, voids=self.voids.after(0, cards))
            case Ended(Outcome.DELIVERED):
                return replace(
                    self,
                    deliveries=self.deliveries.after(1),
                    voids=self.voids.after(event.cards),
                    latency=self.latency if event.seconds is None else self.latency.after(event.seconds),
                    claims=self.claims.faded(1, 0, _CLAIMS) if event.claimed else self.claims,
                )
            case Ended(Outcome.FAILED, reason) if reason not in _OURS:
                return replace(
                    self,
                    deliveries=self.deliveries.after(1, 1),
                    claims=self.claims.faded(1, reason is Reason.NO_STOCK, _CLAIMS) if event.claimed else self.claims,
                )
        return self

    def cleared(self) -> Record:
        """A person has looked at what stands against him, and lets him go on.

        What was seen stays, unless it makes him worse than a newcomer: then he begins as one. For of whom nothing is
        bought, nothing new is ever seen.
        """
        kept = replace(self, voids=self.voids.cleared())
        kept_points, new_points = (factors_of(record, Facts()).points for record in (kept, Record()))
        return kept if kept_points >= new_points else Record()

    def json(self) -> dict[str, Any]:
        return {
            "deliveries": [self.deliveries.filled, *self.deliveries.bad],
            "voids": self.voids.json(),
            "steps": list(self.latency.steps),
            "recent": self.latency.recent.value if self.latency.recent else None,
            "claims": list(self.claims),
        }

    @classmethod
    def parse(cls, stored: Mapping[str, Any]) -> Self:
        """What `json` gave."""
        recent = stored["recent"]
        return cls(
            ring_of(stored["deliveries"]),
            Watch.parse(stored["voids"]),
            Latency(
                tuple(int(count) for count in stored["steps"]), None if recent is None else Ewma(float(recent), 0.1)
            ),
            Counted(*(float(number) for number in stored["claims"])),
        )


@dataclass(frozen=True)
class Facts:
    """What is so at the moment. slo: seconds within which the family should be delivered.

    price_z: how odd his prices are, see `prices.deviation`; None where too few sell the same. notice: the issuer has
    told that cards of his are void, and the case is open. failures, voids: what is usual in the family.
    """

    slo: float = 60.0
    price_z: float | None = None
    documents: Documents = Documents.IN_ORDER
    notice: bool = False
    failures: Prior = DELIVERY_PRIOR
    voids: Prior = VOID_PRIOR


class Because(StrEnum):
    """What decided the tier."""

    POINTS = "points"
    NOTICE = "void_notice"
    VOIDS = "voids_confirmed"
    CASE = "voids_case"
    CHEAP = "too_cheap"
    DOCUMENTS = "documents"


@dataclass(frozen=True)
class Factors:
    """Each from 0 to 1."""

    delivery: float
    voids: float
    latency: float
    price: float
    operations: float

    @property
    def points(self) -> float:
        """0 to 100."""
        product = 100.0
        for name, weight in WEIGHTS.items():
            product *= float(getattr(self, name)) ** weight
        return product


@dataclass(frozen=True)
class Score:
    """earned: the tier by points. limit: the best tier that is allowed, for a reason that points do not outweigh."""

    factors: Factors
    earned: Tier
    limit: Tier = Tier.A
    because: Because = Because.POINTS

    @property
    def points(self) -> float:
        return self.factors.points

    @property
    def tier(self) -> Tier:
        return max(self.earned, self.limit)

    def json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def parse(cls, stored: Mapping[str, Any]) -> Self:
        """What `json` gave."""
        factors = Factors(**{name: float(stored["factors"][name]) for name in WEIGHTS})
        return cls(factors, Tier(stored["earned"]), Tier(stored["limit"]), Because(stored["because"]))


def score(record: Record, facts: Facts, before: Score | None = None) -> Score:
    """What he is worth now. before: at the last look; None for a newcomer, who begins in B at best."""
    factors = factors_of(record, facts)
    earned = tier_of(factors.points, before.earned if before else None)
    limits = {
        Because.NOTICE: Tier.D if facts.notice else Tier.A,
        Because.DOCUMENTS: Tier.D if facts.documents is Documents.OVER else Tier.A,
        Because.VOIDS: Tier.D if record.voids.alarm is Alarm.CONFIRMED else Tier.A,
        Because.CASE: Tier.C if record.voids.alarm is Alarm.CASE else Tier.A,
        Because.CHEAP: Tier.C if _too_cheap(facts, before) else Tier.A,
    }
    because, limit = max(limits.items(), key=lambda one: one[1])
    return Score(factors, earned, limit, because if limit >= earned and limit is not Tier.A else Because.POINTS)


def factors_of(record: Record, facts: Facts) -> Factors:
    failed = wilson(facts.failures.and_then(record.deliveries.over()))
    void = wilson(facts.voids.and_then(record.voids.lasting))
    slow = record.latency.slow(facts.slo / 2)
    papers = {Documents.IN_ORDER: 1.0, Documents.ENDING: 0.8, Documents.OVER: 0.0}[facts.documents]
    return Factors(
        delivery=1 - failed.high,
        voids=exp(-void.high / VOID_SCALE),
        latency=max(_LEAST, 1 / (1 + (slow / facts.slo) ** 2)),
        price=max(_LEAST, exp(min(0.0, (facts.price_z or 0.0) - TOO_CHEAP))),
        operations=(1 - _HONEST.and_then(record.claims).rate) * papers,
    )


def usual(records: Iterable[Record]) -> tuple[Prior, Prior]:
    """What is usual in a family, of failures and of voids. Never worse than where nothing is known: a newcomer does not
    answer for what others did, and begins in tier B."""
    seen = [(record.deliveries.over(), record.voids.lasting) for record in records]
    return (
        _mean(DELIVERY_PRIOR, [deliveries for deliveries, _ in seen]),
        _mean(VOID_PRIOR, [voids for _, voids in seen]),
    )


class Trust(NamedTuple):
    """What routing asks of a score. chance: that an order is delivered, 0 to 1. seconds: in which 95 % of them are."""

    tier: Tier
    chance: float
    seconds: float


def trust(record: Record, facts: Facts, tier: Tier) -> Trust:
    """In the middle of what is believed, and not at its bound, as the factors are: this is what an order is expected to
    cost, and who has delivered once must not look worse than who never did."""
    failed = facts.failures.and_then(record.deliveries.over()).rate
    return Trust(tier, round(1 - failed, 3), round(record.latency.slow(facts.slo / 2), 1))


class Said(NamedTuple):
    zh: str
    en: str


NAMES: Mapping[str, Said] = MappingProxyType(
    {
        "delivery": Said("发货成功率", "delivery"),
        "voids": Said("废卡率", "void cards"),
        "latency": Said("发货速度", "speed"),
        "price": Said("价格", "price"),
        "operations": Said("运营（库存真实性、证照）", "operations (honest stock, documents)"),
    }
)

_LIMITS: Mapping[Because, Said] = MappingProxyType(
    {
        Because.NOTICE: Said("发卡方通知其卡密作废", "the issuer has told that cards of his are void"),
        Because.VOIDS: Said("废卡率上升已确认", "more of his cards are void than before; this is confirmed"),
        Because.CASE: Said("废卡率疑似上升，已立案待查", "more of his cards seem to be void; a case is open"),
        Because.CHEAP: Said(
            "价格远低于同行，来源存疑",
            "his prices are so far below all others that the origin of his goods is in doubt",
        ),
        Because.DOCUMENTS: Said("证照已到期或缺失", "a document that he needs is over or missing"),
    }
)


def explain(old: Score | None, new: Score) -> Said | None:
    """Why the tier is another one than before, in a sentence that names what moved it; None where it is the same.

    old: the score with which the tier began that he has had until now.
    """
    if old and old.tier == new.tier:
        return None
    if not old:
        begins = Said(f"新供应商从 {new.tier} 级开始", f"A new supplier begins in tier {new.tier}")
        return _sentence(begins, _by_level(new))
    return _sentence(Said(f"{old.tier} 级 → {new.tier} 级", f"Tier {old.tier} to {new.tier}"), _moved_by(old, new))


def _moved_by(old: Score, new: Score) -> Said:
    if new.because is not Because.POINTS:
        return _by_level(new)
    if old.because is not Because.POINTS and new.tier < old.tier:
        over = _LIMITS[old.because]
        points = _points(new)
        return Said(f"“{over.zh}”已解除，{points.zh}", f"this is over: {over.en}; {points.en}")
    sign = 1 if new.tier < old.tier else -1
    moves = {
        name: sign * WEIGHTS[name] * (_log(getattr(new.factors, name)) - _log(getattr(old.factors, name)))
        for name in WEIGHTS
    }
    name = max(moves, key=lambda one: moves[one])
    was, now = (round(100 * float(getattr(one.factors, name))) for one in (old, new))
    change = Said(
        f"主要因为{NAMES[name].zh}从 {was} 变为 {now}（满分 100）",
        f"mostly by {NAMES[name].en}, from {was} to {now} of 100",
    )
    points = _points(new)
    return Said(f"{change.zh}，{points.zh}", f"{change.en}; {points.en}")


def _by_level(new: Score) -> Said:
    points = _points(new)
    if new.because is Because.POINTS:
        return points
    limit = _LIMITS[new.because]
    return Said(f"{limit.zh}，{points.zh}", f"{limit.en}; {points.en}")


def _points(new: Score) -> Said:
    return Said(f"总分 {new.points:.0f}", f"{new.points:.0f} points")


def _sentence(what: Said, why: Said) -> Said:
    return Said(f"{what.zh}：{why.zh}。", f"{what.en}: {why.en}.")


def tier_of(points: float, tier: Tier | None) -> Tier:
    """The tier of so many points for somebody who has this one: down at a floor, up only somewhat above one."""
    reached = next(one for one, floor in FLOORS.items() if points >= floor)
    if tier is None:
        return max(reached, Tier.B)  # nobody is trusted fully on the word of others
    if reached >= tier:
        return reached
    return next(one for one, floor in FLOORS.items() if one == tier or points >= floor + CLIMB)


def _too_cheap(facts: Facts, before: Score | None) -> bool:
    """Also a little above the line, for who was below it: prices waver."""
    line = TOO_CHEAP + (AGAIN_HONEST if before and before.because is Because.CHEAP else 0.0)
    return facts.price_z is not None and facts.price_z < line


def _mean(prior: Prior, seen: Iterable[Counted]) -> Prior:
    counted = Counted(*(sum(numbers) for numbers in zip(*seen, (0.0, 0.0), strict=True)))
    return prior._replace(rate=min(prior.rate, prior.and_then(counted).rate))


def _log(factor: float) -> float:
    return log(factor) if factor > 0 else -inf
