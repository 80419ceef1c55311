"""What crosses the HTTP edge about risk."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shared.kernel.http import Shape
from shared.risk.records import ReviewState


class Decide(Shape):
    note: Annotated[str, Field(max_length=500)] = ""


class ReasonView(Shape):
    reason: str
    zh: str
    en: str


class ReviewView(Shape):
    review_id: str
    order_id: str
    state: ReviewState
    reasons: list[ReasonView]
    opened_at: str
    due_at: str
    decided_by: str | None
    decided_at: str | None
    note: str | None


class ReviewList(Shape):
    reviews: list[ReviewView]


class ListContact(Shape):
    """Put a contact or an address on the deny or the allow list; only its keyed hash is stored."""

    kind: Literal["phone", "email", "address"]
    value: Annotated[str, Field(min_length=3, max_length=254)]
    verdict: Literal["deny", "allow"]
    reason: Annotated[str, Field(min_length=1, max_length=200)]
    days: Annotated[int, Field(ge=1, le=90)] = 30


class Listed(Shape):
    kind: str
    verdict: str
    mask: str
    expires_at: str
