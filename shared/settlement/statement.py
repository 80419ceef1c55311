"""A day's statement, from the entries of its books. Pure; the same entries give the same statement in any order."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from functools import cached_property
from typing import Any, Protocol, Self


class Leg(Protocol):
    @property
    def account(self) -> str: ...
    @property
    def amount_minor(self) -> int: ...
    @property
    def currency(self) -> str: ...
    @property
    def sku(self) -> str | None: ...
    @property
    def quantity(self) -> int | None: ...


class Entry(Protocol):
    """What a statement reads of an entry."""

    @property
    def entry_id(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def channel(self) -> str | None: ...
    @property
    def provider(self) -> str | None: ...
    @property
    def legs(self) -> Sequence[Leg]: ...


class Account(Protocol):
    """What a statement asks of the chart of accounts."""

    @property
    def zh(self) -> str: ...
    @property
    def en(self) -> str: ...
    @property
    def column(self) -> str | None: ...
    @property
    def in_transit(self) -> bool: ...


Chart = Callable[[str], Account]
FIGURES = ("units", "sales", "refunds", "fees", "cost", "rounding", "write_offs")
_SINCE = frozenset({"write_offs"})  # figures that statements closed before they came do not have


@dataclass(frozen=True)
class Row:
    """The result of one SKU in one channel through one provider; amounts in minor units, costs as positive numbers."""

    currency: str
    sku: str = ""
    channel: str = ""
    provider: str = ""
    units: int = 0
    sales: int = 0
    refunds: int = 0
    fees: int = 0
    cost: int = 0
    rounding: int = 0
    write_offs: int = 0

    @property
    def profit(self) -> int:
        return self.sales - self.refunds - self.fees - self.cost - self.rounding - self.write_offs


@dataclass(frozen=True)
class Movement:
    """What the day did to one account; both sides as positive numbers."""

    account: str
    currency: str
    debit: int
    credit: int
    in_transit: bool

    @property
    def net(self) -> int:
        return self.debit - self.credit


@dataclass(frozen=True)
class Statement:
    day: date
    entries: int
    entries_sha256: str
    rows: tuple[Row, ...]
    movements: tuple[Movement, ...]

    @cached_property
    def totals(self) -> tuple[Row, ...]:
        """One row per currency."""
        rows: defaultdict[str, list[Row]] = defaultdict(list)
        for row in self.rows:
            rows[row.currency].append(row)
        return tuple(
            Row(currency, **{name: sum(getattr(row, name) for row in rows[currency]) for name in FIGURES})
            for currency in sorted(rows)
        )

    @property
    def in_transit(self) -> tuple[Movement, ...]:
        """Money that has come or must go and is not ours to keep yet."""
        return tuple(movement for movement in self.movements if movement.in_transit)

    @cached_property
    def trial_balance(self) -> dict[str, int]:
        """Per currency; anything but 0 means that the books are broken."""
        sums: Counter[str] = Counter()
        for movement in self.movements:
            sums[movement.currency] += movement.net
        return dict(sums)

    @cached_property
    def text(self) -> str:
        """The canonical form, of which the hash is taken."""
        members = {**asdict(self), "day": self.day.isoformat(), "trial_balance": self.trial_balance}
        members["rows"] = [
            {name: figure for name, figure in asdict(row).items() if figure or name not in _SINCE} for row in self.rows
        ]
        return json.dumps(members, ensure_ascii=False, sort_keys=True, separators=(",", ":"))

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    @classmethod
    def parse(cls, text: str) -> Self:
        """The statement whose canonical form this is."""
        members = json.loads(text)
        return cls(
            date.fromisoformat(members["day"]),
            members["entries"],
            members["entries_sha256"],
            tuple(Row(**row) for row in members["rows"]),
            tuple(Movement(**movement) for movement in members["movements"]),
        )


def statement_of(day: date, entries: Iterable[Entry], chart: Chart) -> Statement:
    """Add up the entries; `chart` says in which column an account stands and whether it is money in transit."""
    rows: defaultdict[tuple[str, str, str, str], Counter[str]] = defaultdict(Counter)
    sides: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    seen = []
    for entry in entries:
        seen.append((entry.entry_id, _digest(entry)))
        for leg in entry.legs:
            sides[leg.account, leg.currency][leg.amount_minor < 0] += abs(leg.amount_minor)
            column = chart(leg.account).column
            if column:
                row = rows[leg.currency, leg.sku or "", entry.channel or "", entry.provider or ""]
                row[column] += -leg.amount_minor if column == "sales" else leg.amount_minor
                if column == "sales":
                    row["units"] += leg.quantity or 0
    return Statement(
        day=day,
        entries=len(seen),
        entries_sha256=_sha256(sorted(seen)),
        rows=tuple(Row(*key, *(rows[key][figure] for figure in FIGURES)) for key in sorted(rows)),
        movements=tuple(
            Movement(account, currency, debit, credit, chart(account).in_transit)
            for (account, currency), (debit, credit) in sorted(sides.items())
        ),
    )


def _digest(entry: Entry) -> str:
    legs = [[leg.account, leg.amount_minor, leg.currency, leg.sku, leg.quantity] for leg in entry.legs]
    return _sha256([entry.kind, entry.channel, entry.provider, legs])


def _sha256(content: list[Any]) -> str:
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()
