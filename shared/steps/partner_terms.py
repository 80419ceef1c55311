"""What holds for each account of ours with an outside system, be it a payment provider's or a supplier's."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from shared.kernel.errors import InvalidRequest

NAME = re.compile(r"[a-z][a-z0-9-]{1,31}")  # it stands in addresses, in the books and in a secret's name

Wrong = list[tuple[str, str]]


def wrong_names(field: str, given: Collection[str], needed: Iterable[str], more: Collection[str] = ()) -> Wrong:
    """The names among `given` that its kind does not know, and those that it needs and that are not there."""
    needed = set(needed)
    return [
        *[(f"{field}.{name}", "required") for name in needed - set(given)],
        *[(f"{field}.{name}", "unknown") for name in set(given) - needed - set(more)],
    ]


def insist(wrong: Wrong) -> None:
    """Raise InvalidRequest if anything is wrong."""
    if wrong:
        raise InvalidRequest(fields=[{"field": field, "reason": reason} for field, reason in sorted(set(wrong))])
