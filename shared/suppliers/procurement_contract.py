"""What crosses the HTTP edge about buying for stock: what should be bought and why, and what is on its way."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shared.kernel.http import Amount, Shape

SkuName = Annotated[str, Field(min_length=1, max_length=64)]


class ProcurementQuery(Shape):
    """A page may be short and yet have a next one: what was ordered meanwhile is left out."""

    cursor: Annotated[str, Field(pattern=r"^\d{1,6}$")] | None = None
    limit: int = Field(20, ge=1, le=50)


class OrderStock(Shape):
    """Without a supplier, the first of `offers` who sells so many."""

    sku: SkuName
    quantity: Annotated[int, Field(ge=1, le=100_000)]
    supplier: Annotated[str, Field(min_length=1, max_length=32)] | None = None


class ReasonView(Shape):
    zh: str
    en: str


class OfferToBuy(Shape):
    """`landed_e6`: of one piece, in millionths of a yuan. `stock`: null where he does not say."""

    supplier: str
    supplier_name: str
    product: str
    tier: str
    landed_e6: int
    least: int
    most: int | None
    stock: int | None


class AdviceView(Shape):
    """`wanted_e3`: pieces a day, in thousandths. `hours_left`: how long what is there will last.

    `sure_percent`: the chance aimed at of not running out before the goods come. `offers`: the cheapest first, and last
    those of tier C, whose cards rest a day between check and run of their import.
    """

    sku: str
    title: str
    quantity: int
    on_hand: int
    on_order: int
    reorder_at: int
    wanted_e3: int
    hours_left: int
    sure_percent: int
    reasons: list[ReasonView]
    offers: list[OfferToBuy]


class StockOrderView(Shape):
    """Its cards come into stock by an import whose `purchase_id` is `order`; `received` is counted each hour."""

    order: str
    sku: str
    supplier: str
    product: str
    quantity: int
    received: int
    state: str
    cost: Amount
    ordered_by: str
    ordered_at: str
    over_at: str | None
    closed_by: str | None


class Procurement(Shape):
    """`day`: the last one whose sales are known; null before the first. `advice`: what is worth most comes first."""

    day: str | None
    advice: list[AdviceView]
    next_cursor: str | None
    on_their_way: list[StockOrderView]
