"""The port to suppliers: what each adapter must be able to do, in words of our own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import NamedTuple, Protocol

from shared.kernel.money import Money
from shared.kernel.vault import Secret


class Outcome(StrEnum):
    """What came of an order at a supplier. Nothing was bought if it is FAILED, RETRY, or REFUSED when it was placed.

    ABSENT is believed when it is said twice, minutes apart; nothing else lets anybody buy again.
    """

    ACCEPTED = "accepted"  # theirs to deliver; ask again
    DELIVERED = "delivered"
    FAILED = "failed"  # definite: nothing is, or will be, bought under this number; another supplier may be asked
    RETRY = "retry"  # it never arrived, or they are busy: the same number may be tried again
    REFUSED = "refused"  # for who we are (signature, address, key): nobody's order will get through
    ABSENT = "absent"  # they know no order of this number, now
    UNKNOWN = "unknown"  # no trustworthy answer: ask, never buy again


class Reason(StrEnum):
    """Why a supplier did not deliver; what staff read, and what the breaker counts by."""

    NONE = ""
    NO_STOCK = "no_stock"
    OFF_SHELF = "off_shelf"
    ABOVE_CEILING = "above_ceiling"
    BAD_ACCOUNT = "bad_account"
    LOW_BALANCE = "low_balance"
    BAD_QUANTITY = "bad_quantity"
    DUPLICATE = "duplicate_number"
    BUSY = "busy"
    NOT_SENT = "not_sent"
    SILENT = "silent"
    UNREADABLE = "unreadable"
    BAD_SIGNATURE = "bad_signature"  # theirs on the answer, or ours as they see it
    NOT_ALLOWED = "not_allowed"  # our address, or our key
    LOST = "lost"  # they never knew of it, as it turned out
    REVERSED = "reversed"  # delivered, and taken back
    OTHER = "other"


class Repeat(StrEnum):
    """What a supplier does with a second order under the same number."""

    REPLAYS = "replays"  # answers with the first one
    REFUSES = "refuses"
    BUYS = "buys"  # or nobody knows: then it buys twice


@dataclass(frozen=True)
class Traits:
    """What may be relied on; a default is the answer that is safe where nothing is known.

    repeat: see Repeat. asks_by_ours: an order can be asked after by our own number. calls_back: it tells us of an end.
    ceiling: he sells nothing above the most that we name; without it, his price is asked right before.
    rate: calls a second. slots: calls at once. checks_account: it says before the purchase whether an account is there.
    quantity_max: pieces in one purchase. by_hand: there is nobody to call: a person of ours buys.
    """

    repeat: Repeat = Repeat.BUYS
    asks_by_ours: bool = False
    calls_back: bool = False
    ceiling: bool = False
    checks_account: bool = False
    rate: float = 5.0
    slots: int = 2
    quantity_max: int = 30
    by_hand: bool = False


class Delivers(StrEnum):
    CARDS = "cards"
    TOPUP = "topup"


class Wish(NamedTuple):
    """A field that a supplier wants filled for a top-up; with options it is a choice."""

    name: str
    label: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Product:
    """What a supplier sells. cost_e6: of one piece, in millionths of a unit of the currency.

    stock: pieces, None where he does not say, and `ENDLESS`. fields: what a top-up must be told.
    """

    product: str
    title: str
    delivers: Delivers
    cost_e6: int
    currency: str = "CNY"
    stock: int | None = None
    on_sale: bool = True
    least: int = 1
    most: int | None = None
    fields: tuple[Wish, ...] = ()


ENDLESS = -1


class Page(NamedTuple):
    """Some of a supplier's products, and where to go on, or nothing."""

    products: Sequence[Product]
    cursor: str = ""


@dataclass(frozen=True)
class Purchase:
    """One order of ours to a supplier.

    number: ours, 30 lower-case letters and digits. account: by the supplier's own names, of a top-up. most_e6: what one
    piece may cost, in millionths of the supplier's currency.
    """

    number: str
    product: str
    quantity: int
    most_e6: int
    callback_url: str
    account: Mapping[str, str] = field(default_factory=dict, repr=False)


class Goods(NamedTuple):
    """One card, as it is used, and what is printed beside it where there is such a thing."""

    code: Secret
    expires_on: date | None = None


@dataclass(frozen=True)
class Answer:
    """What a supplier says of one order.

    delivered: pieces, of a top-up also a part of them. cost_e6: what all of it cost us, None where it is not said.
    proof: of a top-up, what shows that it was done. said: the message, redacted, fit to be stored.
    """

    outcome: Outcome
    reason: Reason = Reason.NONE
    upstream_no: str = ""
    goods: Sequence[Goods] = ()
    delivered: int = 0
    cost_e6: int | None = None
    proof: str = ""
    said: str = ""


class News(NamedTuple):
    """A supplier says that something happened to an order: a reason to ask him, not more. One number is given.

    taken_back: he says that the money is back of what he had delivered, which not every answer of his tells.
    """

    number: str = ""
    upstream_no: str = ""
    taken_back: bool = False


class Ack(NamedTuple):
    """What a supplier wants to hear when he has called back."""

    status: int = 200
    body: str = ""
    content_type: str = "text/plain"


@dataclass(frozen=True)
class Account:
    """One account of ours with a supplier.

    code: our name for him, which stands in callback addresses and in the books. kind: the adapter that speaks for him.
    terms: what is no secret, such as his address; ``trait.{name}`` overrides a trait where his answer is known.
    """

    code: str
    kind: str
    terms: Mapping[str, str] = field(default_factory=dict)
    currency: str = "CNY"


Keys = Mapping[str, str]
"""The secrets of one account, by the names its adapter gives them."""


class Supplier(Protocol):
    """Made of an Account and its sets of keys (newest first). Times are passed in; no method sleeps or tries twice.

    What reads raises SupplierSilent without a trustworthy answer, SupplierRefused with a refusal.
    """

    @property
    def code(self) -> str: ...
    @property
    def traits(self) -> Traits: ...

    def products(self, cursor: str, now: datetime) -> Page:
        """All he sells, page by page; begins with an empty cursor."""

    def product(self, product: str, now: datetime) -> Product | None:
        """One of them as it is now, with its fields; None if there is none."""

    def balance(self, now: datetime) -> Money:
        """What we have left with him."""

    def place(self, purchase: Purchase, now: datetime) -> Answer:
        """Buy. Never raises: what cannot be known is UNKNOWN."""

    def ask(self, number: str, upstream_no: str, now: datetime) -> Answer:
        """What became of an order, by his number where it is known, else by ours. Never raises."""

    def check_account(self, product: str, account: Mapping[str, str], now: datetime) -> bool | None:
        """Whether an account is there; None where he cannot say."""

    def parse_callback(self, headers: Mapping[str, str], raw: bytes, now: datetime) -> News:
        """Verified on the raw bytes; raises BadCallback. Makes no call. headers: by lower-case name."""

    def ack(self, ok: bool) -> Ack:
        """Taken, or not: then it comes again."""
