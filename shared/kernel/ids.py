"""Ids that sort by time and say what they name: a prefix, 48 bits of milliseconds, 80 bits of chance."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no look-alikes
_BODY = re.compile(f"[{_ALPHABET}]{{26}}")


def new(prefix: str, now: datetime, chance: bytes | None = None) -> str:
    """An id such as ``ord_01jd…``; later ids sort after earlier ones, to the millisecond.

    chance: ten random bytes; drawn from the system when left out.
    """
    number = int(now.timestamp() * 1000) << 80 | int.from_bytes(chance or os.urandom(10), "big")
    return prefix + "_" + "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


def moment(text: str) -> datetime:
    """When an id was made, to the millisecond."""
    number = 0
    for letter in text.partition("_")[2]:
        number = number << 5 | _ALPHABET.index(letter)
    return datetime.fromtimestamp((number >> 80) / 1000, UTC)


def is_id(prefix: str, text: str) -> bool:
    head, _, body = text.partition("_")
    return head == prefix and _BODY.fullmatch(body) is not None
