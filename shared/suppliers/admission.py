"""Who may sell to us: what a supplier must show, until when it holds, and how he is let in and set aside. Pure.

A paper counts where it names his company: a bank account in another name proves nothing. What proves that he may sell a
brand is a chain of authorisations from the brand's owner down to him, which holds as long as its weakest link.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from types import MappingProxyType

ENDLESS = date.max
WARNED = (30, 7, 0)  # days before a document that decides is over on which a person is told, each once


class Standing(StrEnum):
    APPLIED = "applied"
    REVIEWED = "reviewed"
    APPROVED = "approved"
    SUSPENDED = "suspended"
    REFUSED = "refused"


MOVES: Mapping[Standing, frozenset[Standing]] = MappingProxyType(
    {
        Standing.APPLIED: frozenset({Standing.REVIEWED, Standing.REFUSED}),
        Standing.REVIEWED: frozenset({Standing.APPLIED, Standing.APPROVED, Standing.REFUSED}),
        Standing.APPROVED: frozenset({Standing.APPLIED, Standing.SUSPENDED}),
        Standing.SUSPENDED: frozenset({Standing.APPLIED, Standing.REVIEWED, Standing.REFUSED}),
        Standing.REFUSED: frozenset({Standing.APPLIED}),
    }
)
"""Back to *applied* leads whatever changes what was looked at; to *approved* only what two people have looked at."""


class Paper(StrEnum):
    LICENCE = "licence"  # 营业执照
    TAX = "tax"
    BANK = "bank"  # whose account our money goes to
    CONTRACT = "contract"
    DEPOSIT = "deposit"  # what shows that it was paid
    AUTHORISATION = "authorisation"  # 品牌授权, one link of a chain


@dataclass(frozen=True)
class Shown:
    """A document that a person has accepted.

    until: the first day on which it is over, or `ENDLESS`. issued_to: whom it names. Of an authorisation, brand is what
    it is for, issued_by who gives it, and from_owner says that this is the owner of the brand.
    """

    document_id: str
    paper: Paper
    issued_to: str
    until: date = ENDLESS
    brand: str = ""
    issued_by: str = ""
    from_owner: bool = False


@dataclass(frozen=True)
class Dossier:
    """What a supplier has shown. company: who he is, as his licence says it. deposit: whether he has to leave one."""

    company: str
    deposit: bool
    shown: Sequence[Shown]

    @property
    def needed(self) -> tuple[Paper, ...]:
        """Without these nothing at all is bought from him; authorisations are needed for their brands alone."""
        always = (Paper.LICENCE, Paper.TAX, Paper.BANK, Paper.CONTRACT)
        return (*always, Paper.DEPOSIT) if self.deposit else always

    def holding(self, paper: Paper) -> Shown | None:
        """The one among all of this kind that holds longest."""
        fit = [one for one in self.shown if one.paper == paper and same(one.issued_to) == same(self.company)]
        return max(fit, key=lambda one: one.until, default=None)

    def missing(self, today: date) -> list[Paper]:
        """What is needed and not there, or over."""
        held = {paper: self.holding(paper) for paper in self.needed}
        return [paper for paper, one in held.items() if one is None or one.until <= today]

    def until(self, today: date) -> date:
        """The first day on which something that is needed is over; today where something is not there."""
        return min(one.until if one else today for one in map(self.holding, self.needed))

    def weakest(self, brand: str) -> Shown | None:
        """The link that breaks first in the chain that holds longest; None where no chain is whole."""
        links: list[Shown] = []
        mine = [one for one in self.shown if one.paper == Paper.AUTHORISATION and same(one.brand) == same(brand)]
        for link in sorted(mine, key=lambda one: one.until, reverse=True):
            links.append(link)
            if self._reaches_owner(links):
                return link
        return None

    def brands(self) -> dict[str, date]:
        """What he may sell: `same` of a brand → the first day on which he may not any more."""
        weakest = {same(one.brand): self.weakest(one.brand) for one in self.shown if one.brand}
        return {brand: link.until for brand, link in sorted(weakest.items()) if link}

    def deciding(self) -> list[Shown]:
        """The documents whose end closes something: those that a person is told of in time."""
        held = [self.holding(paper) for paper in self.needed] + [self.weakest(brand) for brand in self.brands()]
        return list(dict.fromkeys(one for one in held if one))

    def _reaches_owner(self, links: Sequence[Shown]) -> bool:
        names, above = set[str](), {same(self.company)}
        while above - names:
            names |= above
            reached = [link for link in links if same(link.issued_to) in names]
            if any(link.from_owner for link in reached):
                return True
            above = {same(link.issued_by) for link in reached}
        return False


def warning(until: date, told: int | None, today: date) -> int | None:
    """Which of `WARNED` is to be told today of what is over from `until` on; told: the last one that was told.

    Where days went by without a look, only the nearest one is told.
    """
    reached = [days for days in WARNED if (until - today).days <= days]
    return min(reached) if reached and (told is None or min(reached) < told) else None


def same(name: str) -> str:
    """A name as it is compared: without its width, its case and its blanks, which people write as they like."""
    return "".join(unicodedata.normalize("NFKC", name).casefold().split())
