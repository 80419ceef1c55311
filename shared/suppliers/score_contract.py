"""What crosses the HTTP edge about scores: how far a supplier is trusted, in which family, and why."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shared.kernel.http import Shape


class FactorsView(Shape):
    """Each from 0 to 100; a bad one cannot be outweighed by the others."""

    delivery: int
    voids: int
    latency: int
    price: int
    operations: int


class TierChange(Shape):
    """`before` is null where nothing had been bought of him until then."""

    at: str
    before: str | None
    tier: str
    zh: str
    en: str


class ScoreView(Shape):
    """`because`: what decides the tier, ``points`` or what points do not outweigh. `since`: when he came into the tier.

    `noticed_at`: since when a notice of the issuer is open. `changes` of the tier, the latest first.
    """

    family: str
    tier: str
    points: int
    because: str
    factors: FactorsView
    since: str
    scored_until: str
    noticed_at: str | None
    changes: list[TierChange]


class SupplierScores(Shape):
    supplier: str
    tier: str
    families: list[ScoreView]


class ClearScore(Shape):
    """A person has looked at what stands against a supplier in this family, notice or case, and lets him go on."""

    family: Annotated[str, Field(min_length=1, max_length=64)]
