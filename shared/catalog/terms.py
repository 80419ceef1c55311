"""How a SKU's stock is shared out: what the operator sets, and no catalogue file says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

from shared.kernel.channel import SHOP


@dataclass(frozen=True, slots=True)
class Terms:
    """Pieces, unless it says otherwise; what is left out means no limit.

    floors: channel → cards kept back for it. quotas: channel → the most it may ever take. hidden: channels that do not
    see the SKU. safety: cards nobody is sold. low: below this many available cards somebody is told. min_days: days a
    card must still be good when it is sold. hold_percent: the share of the stock that one unpaid contact may hold.
    margin_percent: of the price must stay with us where it is bought for an order.
    """

    safety: int = 0
    low: int = 0
    min_days: int = 0
    hold_percent: int | None = None
    floors: Mapping[str, int] = field(default_factory=dict)
    quotas: Mapping[str, int] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()
    margin_percent: int = 0

    @property
    def shown(self) -> bool:
        """Whether our own shop shows the SKU."""
        return SHOP not in self.hidden

    def good_on(self, today: date) -> date:
        """The day on which a card sold today must still be good."""
        return today + timedelta(days=self.min_days)

    def aside(self, channel: str) -> str | None:
        """The name of the shelf kept for this channel, if there is one."""
        return channel if channel in self.floors else None
