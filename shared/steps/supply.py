"""Who could sell us a SKU now, at what price, and whether a line can be bought at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime

from shared.catalog.sku import Sku
from shared.kernel import clock
from shared.kernel.money import MILLION
from shared.suppliers import accounts, attempts, breaker, kinds, offers, prices, pulses, routing
from shared.suppliers.accounts import Head
from shared.suppliers.offers import Offer
from shared.suppliers.pulses import Doing
from shared.suppliers.routing import Candidate, Decision, Wanted
from shared.suppliers.supplier import Delivers, Traits

CHANCES = {"A": 0.99, "B": 0.96, "C": 0.85, "D": 0.0}  # of delivery, by newcomers to a family, as tiers stand for it
SECONDS = 30.0  # within which a newcomer delivers, as `scoring` believes before it has seen him
SHARED_FROM = 20_000  # thousandths of pieces: of fewer, a share says nothing
MINOR_E6 = MILLION // 100  # a minor unit of a currency, in millionths of its unit


@dataclass(frozen=True)
class Market:
    """What was found for a SKU, and the decision."""

    decision: Decision
    candidates: Sequence[Candidate]
    offers: Mapping[tuple[str, str], Offer]
    heads: Mapping[str, Head]


def look(
    sku: Sku, wanted: Wanted, now: datetime, *, by_hand: bool = False, found: Sequence[Offer] | None = None
) -> Market:
    """Compare the offers that a person has said to be this SKU.

    by_hand: a person buys, who can take what a supplier sells at least, however many that are, and pay him then.
    found: the offers, where they are known better than the index shows them.
    """
    found = offers.of_sku(sku.sku) if found is None else found
    heads = accounts.heads(str(offer.supplier) for offer in found)
    doing = pulses.of(sku.sku, heads, now)
    landed = {
        (str(offer.supplier), str(offer.product)): prices.landed_e6(int(offer.cost_e6), int(head.rate_e6))
        for offer in found
        if (head := heads.get(str(offer.supplier)))
    }
    whole = sum(one.pieces_e3 for one in doing.values())
    candidates = [
        _candidate(sku, offer, heads[str(offer.supplier)], doing.get(str(offer.supplier)), landed, whole, now)
        for offer in found
        if str(offer.supplier) in heads
    ]
    doubtful = prices.doubtful(*priced(candidates))
    candidates = [replace(one, doubtful=(one.supplier, one.product) in doubtful) for one in candidates]
    if by_hand:
        candidates = [replace(one, at_once=max(one.at_once, one.least), balance_e6=None) for one in candidates]
    return Market(routing.decide(candidates, wanted), candidates, {_key(offer): offer for offer in found}, heads)


def priced(candidates: Iterable[Candidate]) -> tuple[dict[tuple[str, str], int], dict[tuple[str, str], int]]:
    """What each costs us that could be bought but for who sells it; and what the admitted ones ask, who alone are a
    measure of what is usual. An old price, or one of something else, is none."""
    now = {(one.supplier, one.product): one for one in candidates if one.on_sale and one.fresh and not one.renamed}
    beside = {key: one.landed_e6 for key, one in now.items() if one.admitted}
    return {key: one.landed_e6 for key, one in now.items()}, beside


def tier_in(sku: Sku, head: Head) -> str:
    """How far a supplier is trusted in the SKU's family; a newcomer to it as in the family in which he is worst."""
    known = head.trust_in(sku.category)
    return str(known.tier if known else head.tier)


def can_buy(sku: Sku, quantity: int, most_e6: int, now: datetime) -> bool:
    """Whether somebody would sell us so many, or at least some of them; the rest comes from the next."""
    return bool(look(sku, Wanted(quantity, most_e6), now).decision.choices)


def most_e6(sku: Sku) -> int:
    """What a piece may cost us: its price without the margin that is set for it, in millionths of a yuan."""
    return sku.price_minor * MINOR_E6 * (100 - sku.terms.margin_percent) // 100


def fillable(offer: Offer, fields: AbstractSet[str]) -> bool:
    """Whether he can be told all that he asks by what our buyers fill in; of cards, whether both ask nothing."""
    fills: Mapping[str, str] = offer.fills or {}
    # A top-up that is told no account tops up nobody, or somebody.
    return (
        (offer.delivers == Delivers.TOPUP) == bool(fields) == bool(fills)
        and all(wish["name"] in fills for wish in offer.fields or ())
        and set(fills.values()) <= fields
    )


def _candidate(
    sku: Sku,
    offer: Offer,
    head: Head,
    doing: Doing | None,
    landed: Mapping[tuple[str, str], int],
    whole_e3: int,
    now: datetime,
) -> Candidate:
    synced_at = clock.parse(str(head.synced_at)) if head.synced_at else None
    known = head.trust_in(sku.category)
    balance = None if head.balance_minor is None else int(head.balance_minor) * MINOR_E6
    return Candidate(
        supplier=str(offer.supplier),
        product=str(offer.product),
        landed_e6=landed[_key(offer)],
        stock=None if offer.stock is None else int(offer.stock),
        least=int(offer.least),
        most=None if offer.most is None else int(offer.most),
        at_once=min(kinds.traits(Traits(), head.terms).quantity_max, attempts.PIECES_MAX),
        admitted=head.may_supply(sku.brand, clock.shanghai_day(now).isoformat()),
        fresh=not prices.stale(str(head.kind), synced_at, now),
        on_sale=bool(offer.on_sale),
        renamed=offers.renamed(offer),
        fillable=fillable(offer, {field.name for field in sku.account_fields}),
        balance_e6=None if balance is None else prices.landed_e6(balance, int(head.rate_e6)),
        gate=breaker.gate(doing.pulse, now) if doing else breaker.Gate.OPEN,
        tier=tier_in(sku, head),
        chance=known.chance if known else CHANCES[str(head.tier)],
        seconds=known.seconds if known else SECONDS,
        share=doing.pieces_e3 / whole_e3 if doing and whole_e3 >= SHARED_FROM else 0.0,
        pin=None if offer.pin is None else int(offer.pin),
    )


def _key(offer: Offer) -> tuple[str, str]:
    return str(offer.supplier), str(offer.product)
