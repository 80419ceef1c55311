"""How a SKU's stock is shared out: what the operator sets, and the cards that are set aside because of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice

from shared.catalog import records as catalog
from shared.catalog import snapshots
from shared.catalog.contract import SetTerms, TermsView
from shared.catalog.errors import FloorAboveQuota, NoStockToShare, UnknownSku
from shared.catalog.kinds import Fulfilment
from shared.catalog.sku import Sku
from shared.catalog.terms import Terms
from shared.channels import records as channels
from shared.channels.errors import UnknownChannel
from shared.inventory import records as inventory
from shared.inventory import sharing, shelf
from shared.inventory.sharing import COMMON
from shared.inventory.shelf import OnShelf
from shared.kernel import clock, records
from shared.kernel.channel import SHOP
from shared.kernel.records import Lost, Transaction
from shared.kernel.telemetry import logger
from shared.steps import catalogue_import

MOVES_MAX = 10_000  # cards in one run: some 100 transactions, well inside a request; the next run goes on
ATTEMPTS = 6  # lost races of one transaction against buyers
ROUNDS = 6  # of moving what buyers did not take meanwhile, and looking for others instead


@dataclass(frozen=True)
class Aside:
    """What lies aside after a run, and what is lacking, by channel and as ``safety``."""

    kept: Mapping[str, int]
    short: Mapping[str, int]


def show(sku: str) -> TermsView:
    """How the SKU's stock is shared out, and what lies aside now."""
    found = _sku(sku)
    kept = {one.name: len(one.cards) for one in _kept(found, found.terms)}
    targets = _targets(found.terms)
    return _view(found, Aside(kept, {name: max(0, targets[name] - count) for name, count in kept.items()}))


def set_terms(sku: str, wanted: SetTerms, by: str, now: datetime) -> TermsView:
    """Share the SKU's stock out as wanted, at once: cards are set aside or given back, the shop shows it or not.

    The same again finishes what a run that died left undone.
    """
    _check(_sku(sku), wanted)
    found = catalog.change_terms(sku, lambda before: _terms(wanted, before), now)
    logger.info("terms set", sku=sku, by=by)
    aside = keep_aside(found, found.terms, now)
    if _published(found) != _shown(found):
        catalogue_import.publish()
    return _view(found, aside)


def keep_aside(sku: Sku, terms: Terms, now: datetime) -> Aside:
    """Fill what is kept back from the cards that are good the longest, and give back what is too much.

    It may be repeated and interrupted at will, and buyers go on meanwhile: a card they take first is theirs.
    """
    if sku.fulfilment is not Fulfilment.STOCK:
        return Aside({}, {})
    good_on = terms.good_on(clock.shanghai_day(now))
    kept, wanted = _kept(sku, terms), sum(_targets(terms).values())
    spare = wanted + shelf.WINDOW if wanted else 0  # cards beyond what is needed, instead of those that buyers take
    common = inventory.last_to_expire(sku.sku, sku.shards, good_on, spare) if spare else []
    moved = 0
    for _ in range(ROUNDS):
        plan = sharing.plan(kept, common, good_on)
        moves = dict(islice(plan.moves.items(), MOVES_MAX - moved))
        if not moves:
            break
        gone = _carry_out(sku, moves)
        moved += len(moves) - len(gone)
        kept, common = _after(kept, common, moves, gone)
    short = sharing.plan(kept, common, good_on).short
    if moved:
        logger.info("cards set aside", sku=sku.sku, moved=moved, short=dict(short))
    return Aside({one.name: len(one.cards) for one in kept}, short)


def _terms(wanted: SetTerms, before: Terms) -> Terms:
    # A channel that has no floor any more keeps its shelf, empty: cards that come back from holds may still lie there.
    emptied = dict.fromkeys(before.floors, 0)
    return Terms(
        safety=wanted.safety,
        low=wanted.low,
        min_days=wanted.min_days,
        hold_percent=wanted.hold_percent,
        floors={**emptied, **wanted.floors},
        quotas=dict(wanted.quotas),
        hidden=tuple(sorted(set(wanted.hidden))),
        margin_percent=wanted.margin_percent,
    )


def _carry_out(sku: Sku, moves: Mapping[str, str]) -> set[str]:
    """Move the cards; returns those that somebody else had first."""
    gone: set[str] = set()
    card_ids = list(moves)
    for start in range(0, len(card_ids), records.LIMIT):
        rest = card_ids[start : start + records.LIMIT]
        for _ in range(ATTEMPTS):
            try:
                with Transaction() as tx:
                    for card_id in rest:
                        inventory.set_aside(tx, card_id, _place(sku, card_id, moves[card_id]))
                rest = []
            except Lost as lost:
                rest = [card_id for card_id in rest if card_id not in lost.failed]
                gone |= set(lost.failed)
            if not rest:
                break
        gone |= set(rest)
    return gone


def _after(
    kept: Sequence[sharing.Kept], common: Sequence[OnShelf], moves: Mapping[str, str], gone: set[str]
) -> tuple[list[sharing.Kept], list[OnShelf]]:
    """Where the cards lie now; the index may take a moment to say the same."""
    lies = [(one.name, card) for one in kept for card in one.cards] + [(COMMON, card) for card in common]
    now = [(moves.get(card.card_id, name), card) for name, card in lies if card.card_id not in gone]
    return (
        [replace(one, cards=[card for name, card in now if name == one.name]) for one in kept],
        [card for name, card in now if name == COMMON],
    )


def _kept(sku: Sku, terms: Terms) -> list[sharing.Kept]:
    return [
        sharing.Kept(name, inventory.shelved(shelf.aside(sku.sku, name)), target)
        for name, target in _targets(terms).items()
    ]


def _targets(terms: Terms) -> dict[str, int]:
    """Channels before safety: what can be sold is worth more than what cannot."""
    return {**dict(sorted(terms.floors.items())), shelf.SAFETY: terms.safety}


def _place(sku: Sku, card_id: str, name: str) -> str:
    return shelf.place(sku.sku, card_id, sku.shards) if name == COMMON else shelf.aside(sku.sku, name)


def _sku(name: str) -> Sku:
    found = catalog.skus([name])
    if name not in found:
        raise UnknownSku(sku=name)
    return found[name]


def _check(sku: Sku, wanted: SetTerms) -> None:
    if sku.fulfilment is not Fulfilment.STOCK and (wanted.safety or wanted.min_days or any(wanted.floors.values())):
        raise NoStockToShare(sku=sku.sku)
    named = {*wanted.floors, *wanted.quotas, *wanted.hidden} - {SHOP}
    for channel in channels.missing(sorted(named)):
        raise UnknownChannel(channel=channel)
    for channel, floor in wanted.floors.items():
        if floor > wanted.quotas.get(channel, floor):
            raise FloorAboveQuota(channel=channel)


def _shown(sku: Sku) -> list[object] | None:
    return sku.shelf if sku.terms.shown else None


def _published(sku: Sku) -> list[object] | None:
    """What the snapshot says of the SKU at this moment, if it shows it."""
    product = snapshots.current(fresh=True).product(sku.product_id)
    return product["shelves"].get(sku.sku) if product else None


def _view(sku: Sku, aside: Aside) -> TermsView:
    terms = sku.terms
    return TermsView(
        sku=sku.sku,
        safety=terms.safety,
        low=terms.low,
        min_days=terms.min_days,
        hold_percent=terms.hold_percent,
        floors={channel: floor for channel, floor in terms.floors.items() if floor},
        quotas=dict(terms.quotas),
        hidden=list(terms.hidden),
        margin_percent=terms.margin_percent,
        kept={name: count for name, count in aside.kept.items() if count},
        short={name: count for name, count in aside.short.items() if count},
    )
