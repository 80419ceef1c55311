"""Cards that a supplier hands over as one text, a line for each."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

from shared.kernel.vault import Secret
from shared.suppliers.supplier import Goods

_NUMBER_LABEL: Final = re.compile(r"(?:卡号|账号|帐号|序列号|card ?(?:number|no)\.?|number)\s*[:：]\s*", re.IGNORECASE)
_CODE_LABEL: Final = re.compile(r"(?:卡密码|卡密|密码|兑换码|激活码|password|pin|code)\s*[:：]\s*", re.IGNORECASE)
_SEPARATOR: Final = re.compile(r"\s*(?:-{3,}|—{2,}|\t|[,;|、])\s*")  # a blank alone may be inside of a printed code
_BETWEEN_COLUMNS: Final = re.compile(r"\s*(?:-{3,}|—{2,}|\t|\|)\s*")  # which no sentence has
_PART: Final = re.compile(r"[!-~](?:[ -~]{0,254}[!-~])?")  # a code is ASCII; whatever else is a sentence
_WORD: Final = re.compile(r"[A-Za-z]?[a-z]+[.,:!]?")


def goods(text: str) -> list[Goods] | None:
    """The cards of a text; None if any line is none that we understand: nothing is then taken for a card."""
    lines = [line.strip() for line in unicodedata.normalize("NFKC", text).splitlines() if line.strip()]
    if _are_rows(lines):
        return [Goods(Secret(line)) for line in lines]
    cards = []
    for line in lines:
        card = _card(line)
        if card is None:
            return None
        cards.append(card)
    return cards


def _are_rows(lines: Sequence[str]) -> bool:
    """Whether each has as many parts, three or more, as accounts have with what belongs to them: they stay together."""
    rows = [_BETWEEN_COLUMNS.split(line) for line in lines]
    return (
        len({len(row) for row in rows}) == 1
        and len(rows[0]) > 2
        and all(_is_part(part) for row in rows for part in row)
    )


def _card(line: str) -> Goods | None:
    number, code = _NUMBER_LABEL.search(line), _CODE_LABEL.search(line)
    bare = _CODE_LABEL.sub("\t", _NUMBER_LABEL.sub("\t", line))
    parts = [part for part in _SEPARATOR.split(bare.strip()) if part]
    if not parts or not all(map(_is_part, parts)):
        return None
    if len(parts) == 2 and bool(number) == bool(code):
        if number and code and code.start() < number.start():
            parts.reverse()
        return Goods(Secret(parts[1], parts[0]))
    return Goods(Secret(parts[0])) if len(parts) == 1 and not number else None


def _is_part(text: str) -> bool:
    words = text.split()
    sentence = len(words) > 1 and any(map(_WORD.fullmatch, words))
    return bool(_PART.fullmatch(text)) and any(map(str.isalnum, text)) and not sentence
