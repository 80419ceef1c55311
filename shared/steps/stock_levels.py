"""What there is of each SKU, in which state and through which channel, and what of it will soon expire."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from shared.catalog import records as catalog
from shared.catalog.errors import UnknownSku
from shared.catalog.terms import Terms
from shared.insights import records as insights
from shared.insights.contract import (
    ChannelLevelView,
    LevelView,
    NearDayView,
    NearLine,
    NearPage,
    NearQuery,
    StockLine,
    StockPage,
    StockQuery,
    StockTermsView,
    StockView,
)
from shared.insights.levels import Level, of_sku

LOOKED_AT = 1_000  # SKUs in one request, while looking for those that are low: some twenty calls


def of(sku: str) -> StockView:
    """The stock of one SKU, or UnknownSku; one that never had a card has none of anything."""
    found = catalog.skus([sku])
    if sku not in found:
        raise UnknownSku(sku=sku)
    terms, parts, recount = found[sku].terms, insights.parts(sku), insights.last_recount()
    level = parts.get(of_sku(sku), Level())
    return StockView(
        sku=sku,
        levels=LevelView.of(level),
        channels={
            key.channel: ChannelLevelView(held=part.held, sold=part.sold)
            for key, part in sorted(parts.items())
            if key.channel
        },
        low_below=terms.low,
        low=_low(level, terms),
        terms=StockTermsView(
            safety=terms.safety,
            low=terms.low,
            min_days=terms.min_days,
            hold_percent=terms.hold_percent,
            margin_percent=terms.margin_percent,
            floors={channel: floor for channel, floor in terms.floors.items() if floor},
            quotas=dict(terms.quotas),
            hidden=list(terms.hidden),
        ),
        near_expiry=_days(insights.near_of(sku)),
        recounted_at=str(recount.ended_at) if recount else None,
    )


def page(query: StockQuery) -> StockPage:
    """The next SKUs that have or had cards."""
    lines: list[StockLine] = []
    after, looked_at = query.cursor or "", 0
    while looked_at < LOOKED_AT:
        names = insights.listed(after, query.limit)
        for line in _lines(names):
            after = line.sku
            if line.low or not query.low:
                lines.append(line)
            if len(lines) == query.limit:
                return StockPage(skus=lines, next_cursor=after)
        looked_at += len(names)
        if len(names) < query.limit:
            return StockPage(skus=lines)
    return StockPage(skus=lines, next_cursor=after)


def near_expiry(query: NearQuery) -> NearPage:
    """The next SKUs with cards that expire soon, as the last stocktake saw them."""
    found = insights.near(query.cursor or "", query.limit)
    lines = [
        NearLine(sku=str(one.part), cards=sum(one.days.values()), days=_days(one.days), seen_at=str(one.seen_at))
        for one in found
    ]
    return NearPage(skus=lines, next_cursor=lines[-1].sku if len(lines) == query.limit else None)


def _lines(names: Iterable[str]) -> Iterable[StockLine]:
    names = list(names)
    found, known = insights.levels(names), catalog.skus(names) if names else {}
    for sku in names:
        level, terms = found.get(sku, Level()), known[sku].terms if sku in known else Terms()
        yield StockLine(sku=sku, levels=LevelView.of(level), low_below=terms.low, low=_low(level, terms))


def _low(level: Level, terms: Terms) -> bool:
    return level.available < terms.low


def _days(days: Mapping[str, int]) -> list[NearDayView]:
    return [NearDayView(day=day, cards=cards) for day, cards in sorted(days.items())]
