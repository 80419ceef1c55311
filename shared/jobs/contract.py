"""What crosses the HTTP edge about imports and recalls."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from shared.kernel.http import Amount, Shape

_PRINTABLE = r"^[^\x00-\x1f\x7f]+$"
_LABEL = r"^[^\x00-\x1f\x7f=+\-@][^\x00-\x1f\x7f]*$"


class ImportOptions(Shape):
    """What holds for every row that does not say otherwise itself.

    cost_e6: of one card, in millionths of the currency's unit; or cost_minor: the same in minor units.
    expires_on: YYYY-MM-DD. documents: name → where the lot's papers lie.
    """

    supplier: Annotated[str, Field(pattern=r"^[a-z0-9_\-]{1,32}$")] = "unnamed"
    purchase_id: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_\-.:]+$")] | None = None
    shape: Literal["code", "number_password"] | None = None
    currency: Literal["CNY"] = "CNY"
    cost_minor: Annotated[int, Field(ge=0, le=100_000_000_000)] | None = None
    cost_e6: Annotated[int, Field(ge=0, le=1_000_000_000_000_000)] | None = None
    expires_on: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")] | None = None
    lot: (
        Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f=+\-@][^\x00-\x1f\x7f]*$")] | None
    ) = None
    documents: Annotated[
        dict[
            Annotated[str, Field(min_length=1, max_length=64, pattern=_PRINTABLE)],
            Annotated[str, Field(min_length=1, max_length=500, pattern=_PRINTABLE)],
        ],
        Field(max_length=10),
    ] = Field(default_factory=dict)


class CreateImport(Shape):
    """sku: of all rows; without it each row names its own. A catalogue takes no sku and no options."""

    kind: Literal["cards", "catalogue"]
    sku: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    file_name: Annotated[str, Field(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f/\\]+$")]
    options: ImportOptions = ImportOptions()


class ImportCreated(Shape):
    """PUT the file to `upload_url` before `upload_until`, then ask for the check."""

    job_id: str
    upload_url: str
    upload_until: str
    upload_bytes_max: int


class ImportCounts(Shape):
    """duplicates are among the refused; done: cards that are in, or SKUs saved; left: what an undo had to leave."""

    lines: int
    new: int
    duplicates: int
    refused: int
    skipped: int
    done: int
    undone: int
    left: int
    changed: int
    unchanged: int


class MaskedRow(Shape):
    line: int
    sku: str
    number: str | None
    code: str
    expires_on: str | None
    cost_e6: int
    lot: str | None


class RefusedReason(Shape):
    reason: str
    zh: str
    en: str
    rows: int


class RefusedLine(Shape):
    line: int
    reason: str
    zh: str
    en: str


class LotMade(Shape):
    lot_id: str
    label: str
    cards: int


class JobReason(Shape):
    code: str
    zh: str
    en: str


class ImportView(Shape):
    """refused_url lives for a quarter of an hour, what it shows for at most an hour after the check or the run.

    refused_lines: the first lines of a catalogue that were refused; those of a card file lie behind refused_url.
    """

    job_id: str
    kind: Literal["cards", "catalogue"]
    state: str
    sku: str | None
    file_name: str
    asked_by: str
    asked_at: str
    started_at: str | None
    ended_at: str | None
    counts: ImportCounts
    by_sku: dict[str, int]
    preview: list[MaskedRow]
    refused: list[RefusedReason]
    refused_lines: list[RefusedLine]
    total_cost: Amount | None
    rows_per_second: int | None
    eta_seconds: int | None
    refused_url: str | None
    lots: list[LotMade]
    snapshot: str | None
    reason: JobReason | None


class RefusedQuery(Shape):
    """What makes a link to refused rows one of ours."""

    expires: Annotated[int, Field(ge=0, le=10_000_000_000)]
    signature: Annotated[str, Field(min_length=1, max_length=100)]


class ImportList(Shape):
    imports: list[ImportView]


class AskRecall(Shape):
    """One of: lot_id; purchase_id; supplier with from and to, business days in Shanghai that both belong to it."""

    lot_id: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    purchase_id: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_\-.:]+$")] | None = None
    supplier: Annotated[str, Field(pattern=r"^[a-z0-9_\-]{1,32}$")] | None = None
    from_: date | None = Field(None, alias="from")
    to: date | None = None
    reason: Annotated[str, Field(min_length=1, max_length=500)]


class RecallView(Shape):
    """What has become of a recall so far, in cards; `claimed` is what its suppliers are to give back.

    open: sold cards that are still to be made good. frozen_after_ms: from its start to the last unsold card.
    """

    recall_id: str
    state: str
    target: dict[str, str]
    reason: str
    asked_by: str
    asked_at: str
    started_at: str
    ended_at: str | None
    lots: int
    frozen: int
    held: int
    sold: int
    open: int
    replaced: int
    refunded: int
    for_a_person: int
    skipped: int
    claimed: Amount
    frozen_after_ms: int
    cards_per_second: int


class RecallList(Shape):
    recalls: list[RecallView]


class RecalledCard(Shape):
    """A sold card of a recall. reason: why a person has to settle it, or why nothing is owed for it."""

    card_id: str
    order_id: str
    sku: str
    state: Literal["open", "replaced", "refunded", "person", "skipped"]
    replaced_by: str | None
    refund_id: str | None
    reason: str | None


class RecalledCards(Shape):
    cards: list[RecalledCard]
    next_cursor: str | None


class RecalledCardsQuery(Shape):
    cursor: Annotated[str, Field(max_length=40, pattern=r"^[a-z0-9_]+$")] | None = None
