"""Cards that a supplier hands over in fields of their own."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import date

from shared.kernel.vault import Secret
from shared.suppliers import wire
from shared.suppliers.supplier import Goods

CODE_MAX = 1024
_DAY = re.compile(r"20[0-9]{2}[-/][0-9]{2}[-/][0-9]{2}")  # some write year 1 or 1970 where there is no end


def card(number: object, code: object, expires: object = None) -> Goods:
    """One card; ValueError where there is neither. What has a number alone is used by it.

    expires: a day, with or without a time behind it, as ``2026-12-31 00:00:00``; what is no day is no end.
    """
    printed, secret = (wire.text(told, CODE_MAX) if told not in (None, "") else "" for told in (number, code))
    if not printed and not secret:
        raise ValueError("no card")
    return Goods(Secret(secret or printed, printed if secret and printed else None), _day(expires))


def _day(told: object) -> date | None:
    if not _DAY.match(str(told)):
        return None
    with suppress(ValueError):
        return date.fromisoformat(str(told)[:10].replace("/", "-"))
    return None
