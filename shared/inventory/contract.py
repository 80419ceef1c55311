"""What crosses the HTTP edge about stock."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Base64Bytes, Field

from shared.kernel.http import Shape


class ImportCards(Shape):
    """A card file as it came from the supplier; `content` is its bytes in base 64."""

    file_name: Annotated[str, Field(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f/\\]+$")]
    content: Base64Bytes
    sku: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    supplier: Annotated[str, Field(pattern=r"^[a-z0-9_\-]{1,32}$")] = "unnamed"
    shape: Literal["code", "number_password"] | None = None


class RefusedRow(Shape):
    line: int
    reason: str
    zh: str
    en: str


class CardImportReport(Shape):
    """refused holds the first thousand refused rows; refused_count counts all."""

    accepted: int
    by_sku: dict[str, int]
    refused_count: int
    refused: list[RefusedRow]
    skipped: int
    lots: list[str]
