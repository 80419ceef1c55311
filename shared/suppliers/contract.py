"""What crosses the HTTP edge about suppliers: their accounts, their documents, and who lets them in."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shared.kernel.http import Amount, Shape

TermName = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[a-z0-9_.]+$")]
Term = Annotated[str, Field(min_length=1, max_length=300)]
Key = Annotated[str, Field(min_length=1, max_length=8192)]
Name = Annotated[str, Field(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f]*\S[^\x00-\x1f\x7f]*$")]
Minor = Annotated[int, Field(ge=0, le=100_000_000_000)]
Day = Annotated[str, Field(pattern=r"^20\d{2}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$")]
Said = Annotated[str, Field(min_length=1, max_length=500)]


class SaveSupplier(Shape):
    """`company` is who he is, as his licence says it. `terms` are what is no secret, such as site; `trait.{name}` says
    what is known of how he behaves. `rate_e6`: what one unit of another currency than yuan costs, in millionths of a
    yuan. `low_minor` and `deposit_minor` stay as they are where they are not named; null takes them away.
    """

    kind: Literal["dujiao", "kasushou", "acg", "fulu", "kashangwl", "reloadly", "pricelist"]
    name: Name
    company: Name
    terms: Annotated[dict[TermName, Term], Field(max_length=20, default_factory=dict)]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "CNY"
    rate_e6: Annotated[int, Field(ge=1, le=1_000_000_000_000)] | None = None
    low_minor: Minor | None = None
    deposit_minor: Minor | None = None


class GiveSupplierKeys(Shape):
    """The secrets of our account with him, by the names that his kind asks for; they are never shown again."""

    keys: Annotated[dict[TermName, Key], Field(min_length=1, max_length=12)]


class AskDocument(Shape):
    """`issued_to` is whom it names, `ends_on` the last day on which it holds. An authorisation needs its brand and who
    gives it, and says whether this is the brand's owner.
    """

    paper: Literal["licence", "tax", "bank", "contract", "deposit", "authorisation"]
    file_name: Name
    issued_to: Name
    issued_by: Name | None = None
    brand: Annotated[Name, Field(max_length=30)] | None = None
    from_owner: bool = False
    ends_on: Day | None = None


class SayWhy(Shape):
    said: Said


class DocumentView(Shape):
    """`holds`: whether it is what decides that its paper, or its brand, is there."""

    document_id: str
    paper: str
    state: str
    issued_to: str
    issued_by: str | None
    brand: str | None
    from_owner: bool
    ends_on: str | None
    holds: bool
    sha256: str | None
    size: int | None
    asked_by: str
    asked_at: str
    received_at: str | None
    reviewed_by: str | None
    reviewed_at: str | None
    said: str | None
    file_url: str | None


class DocumentAsked(Shape):
    document_id: str
    upload_url: str
    upload_until: str
    upload_bytes_max: int


class BrandView(Shape):
    """`over_on`: the first day on which nothing of this brand may be bought; null where that does not come."""

    brand: str
    over_on: str | None


class SupplierView(Shape):
    """`buys`: new purchases go to him. `stopped`: why they do not until a person has looked. `over_on`: the first day
    on which a paper that is needed is over; null where that does not come.
    """

    supplier: str
    kind: str
    name: str
    company: str
    terms: dict[str, str]
    currency: str
    rate_e6: int
    standing: str
    tier: str
    buys: bool
    stopped: str | None
    paused_by: str | None
    balance: Amount | None
    balance_at: str | None
    low: Amount | None
    deposit: Amount
    over_on: str | None
    brands: list[BrandView]
    synced_at: str | None
    reviewed_by: str | None
    approved_by: str | None
    resumed_by: str | None
    said: str | None
    callback_url: str


class SupplierList(Shape):
    suppliers: list[SupplierView]


class SupplierDossier(Shape):
    """A supplier with what he has shown; `missing` are the papers that are needed and not there, or over."""

    supplier: SupplierView
    key_sets: int
    missing: list[str]
    documents: list[DocumentView]


class SupplierChecked(Shape):
    """What came of asking for our balance: a signed answer proves address, terms and keys."""

    supplier: str
    answers: bool
    refused: str | None
    balance: Amount | None
    took_ms: int
