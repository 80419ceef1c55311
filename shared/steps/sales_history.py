"""How much of each SKU was sold on each day, and for how long there was something to sell: what demand is read from."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Final

from shared.catalog import records as catalog
from shared.insights import history
from shared.insights import records as insights
from shared.insights.history import Day
from shared.kernel import clock
from shared.settlement import records as settlement
from shared.steps import bought_lines

FIRST_FOLD: Final = timedelta(weeks=12)  # closed days that are read when there is no history yet: what advice looks at


def look(now: datetime) -> None:
    """Note of every SKU that has or had cards whether there is something to sell now: on its shelf, or of suppliers."""
    for number, names in enumerate(pages()):
        levels = insights.levels(names)
        stocked = {name: name in levels and levels[name].available > 0 for name in names}
        for name, sku in catalog.skus(name for name in names if not stocked[name]).items():
            stocked[name] = bought_lines.can_be_bought(sku, 1, now)
        history.look(number, stocked, now)


def fold(since: date | None, now: datetime) -> date | None:
    """Add the closed days after `since` to the histories; returns the last day that is in them now.

    Yesterday is the last that is closed, and before it all days that had entries: those that are not had none. While
    it is open nothing is added. The same days again change nothing.
    """
    yesterday = clock.shanghai_day(now) - timedelta(days=1)
    if since == yesterday or settlement.closed(yesterday) is None:
        return since
    first = max(since or date.min, yesterday - FIRST_FOLD) + timedelta(days=1)
    days = [first + timedelta(days=at) for at in range((yesterday - first).days + 1)]
    new: defaultdict[str, dict[date, Day]] = defaultdict(dict)
    for day in days:
        sold, hours = _sold(day), history.hours_of(day)
        for name in {*sold, *hours}:
            new[name][day] = Day(max(0, sold[name]), hours.get(name))
    history.keep(new, yesterday)
    return yesterday


def _sold(day: date) -> Counter[str]:
    """Pieces of each SKU that the statement of a closed day tells of."""
    sold: Counter[str] = Counter()
    if record := settlement.closed(day):
        for row in settlement.statement(record).rows:
            if row.units:
                sold[row.sku] += row.units
    return sold


def pages() -> Iterator[list[str]]:
    """The SKUs that have or had cards, in the order of their names."""
    after = ""
    while names := insights.listed(after, history.PAGE):
        yield names
        after = names[-1]
