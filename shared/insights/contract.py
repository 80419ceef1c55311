"""What the console is told about the stock."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field

from shared.insights.levels import Level
from shared.kernel.http import Shape

SkuName = Annotated[str, Field(min_length=1, max_length=64)]


class LevelView(Shape):
    """How many cards are in each state; some seconds old."""

    available: int
    held: int
    sold: int
    frozen: int
    expired: int
    void: int

    @classmethod
    def of(cls, level: Level) -> Self:
        return cls(**{name: getattr(level, name) for name in cls.model_fields})


class ChannelLevelView(Shape):
    """What is held or was sold through one channel."""

    held: int
    sold: int


class NearDayView(Shape):
    """How many cards expire on a day, as the last stocktake saw it."""

    day: str
    cards: int


class StockTermsView(Shape):
    safety: int
    low: int
    min_days: int
    hold_percent: int | None
    margin_percent: int
    floors: dict[str, int]
    quotas: dict[str, int]
    hidden: list[str]


class StockView(Shape):
    """The stock of one SKU. `low` says that fewer cards are available than `low_below`.

    `recounted_at`: when the levels were last held to the cards; absent before the first night.
    """

    sku: str
    levels: LevelView
    channels: dict[str, ChannelLevelView]
    low_below: int
    low: bool
    terms: StockTermsView
    near_expiry: list[NearDayView]
    recounted_at: str | None = None


class StockQuery(Shape):
    """low: true shows only what is low. A page of those may be short, or empty, and yet have a next one."""

    low: bool = False
    cursor: SkuName | None = None
    limit: int = Field(50, ge=1, le=100)


class StockLine(Shape):
    sku: str
    levels: LevelView
    low_below: int
    low: bool


class StockPage(Shape):
    """SKUs that have or had cards, by name."""

    skus: list[StockLine]
    next_cursor: str | None = None


class NearQuery(Shape):
    cursor: SkuName | None = None
    limit: int = Field(50, ge=1, le=100)


class NearLine(Shape):
    sku: str
    cards: int
    days: list[NearDayView]
    seen_at: str


class NearPage(Shape):
    """SKUs with cards that expire soon, by name."""

    skus: list[NearLine]
    next_cursor: str | None = None
