"""Searching a snapshot in memory: a few long strings, scanned by the interpreter's own C code.

A snapshot is lines of JSON: a head, the two texts with their marks, then one product a line, in listing order. What a
term finds is decided by the mark under its first letter, so the whole of ranking is prepared when a snapshot is made.
This module reads; `indexing` writes. It needs the standard library only: the door that searches starts with it.
"""

from __future__ import annotations

import json
import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

# What a hit is worth by the place where it begins, best first; a page is sorted by the sum over its terms.
EXACT_SKU, TITLE, WORD, PART, SOUND_OF_TITLE, SOUND, ASIDE, SOUND_ASIDE, NOWHERE = "012345679"

TERMS_MAX = 6  # of a query; more words than that no shopper types
SHORT = 2  # letters: a term this short counts only where a word begins, it is inside of almost everything
GAP, END = " ", "\n"  # between the words of a product, between products

_TERM = re.compile(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?|[^\x00-\x7f]+")


def normal(text: str) -> str:
    """NFKC, without case; whatever is no letter, digit or . _ - parts words."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return "".join(letter if letter.isalnum() or letter in "._-" else " " for letter in folded)


def terms(text: str) -> list[str]:
    """The words of a text; where Latin letters or digits meet other scripts a new word begins."""
    return _TERM.findall(normal(text))


class Place(NamedTuple):
    """Where a page ends: the worth and the first SKU of its last product. It holds in the next snapshot too."""

    worth: int
    key: str


@dataclass(frozen=True)
class Found:
    products: Sequence[bytes]  # as JSON
    last: Place | None  # None: nothing follows


class _Text:
    """One haystack: every product's words, and under each letter what a hit beginning there is worth."""

    def __init__(self, letters: str, marks: str) -> None:
        self._letters, self._marks = letters, marks
        self._starts = [0, *(end.end() for end in re.finditer(END, letters))]

    def worth(self, term: str) -> dict[int, int]:
        """The products that hold the term, by number, and what their best hit is worth."""
        find, marks, starts = self._letters.find, self._marks, self._starts
        lead = 1 if term.isascii() and len(term) <= SHORT else 0
        needle = GAP * lead + term
        best: dict[int, str] = {}
        at = find(needle)
        while at >= 0:
            mark = marks[at + lead]
            if mark == EXACT_SKU and self._letters[at + len(needle)] not in (GAP, END):
                mark = WORD
            if mark != NOWHERE:
                product = bisect_right(starts, at) - 1
                if mark < best.get(product, NOWHERE):
                    best[product] = mark
            at = find(needle, at + 1)
        return {product: int(mark) for product, mark in best.items()}


class Snapshot:
    """The catalogue at one moment."""

    def __init__(self, lines: Sequence[bytes]) -> None:
        head = json.loads(lines[0])
        self.version: str = head["version"]
        self.categories: list[str] = head["categories"]
        self._keys: list[str] = head["keys"]
        self._category_of: list[int] = head["category_of"]
        self._number_of: dict[str, int] = {product_id: n for n, product_id in enumerate(head["product_ids"])}
        wide, wide_marks, narrow, narrow_marks = map(json.loads, lines[1:5])
        self._wide, self._narrow = _Text(wide, wide_marks), _Text(narrow, narrow_marks)
        self._products = lines[5 : 5 + len(self._keys)]

    def product(self, product_id: str) -> Any | None:
        """The product and its SKUs, or None."""
        number = self._number_of.get(product_id)
        return None if number is None else json.loads(self._products[number])

    def search(self, text: str, category: str | None, after: Place | None, limit: int) -> Found:
        """A page of products that hold every word of the text, the worthiest first; an empty text lists all."""
        ranked = self._ranked(text)
        if category is not None:
            wanted = self.categories.index(category) if category in self.categories else -1
            ranked = [(worth, number) for worth, number in ranked if self._category_of[number] == wanted]
        start = bisect_left(ranked, (after.worth, bisect_right(self._keys, after.key))) if after else 0
        page = ranked[start : start + limit]
        more = start + limit < len(ranked)
        last = Place(page[-1][0], self._keys[page[-1][1]]) if more else None
        return Found([self._products[number] for _, number in page], last)

    def _ranked(self, text: str) -> list[tuple[int, int]]:
        if not text.strip():
            return [(0, number) for number in range(len(self._keys))]
        found: dict[int, int] | None = None
        for term in list(dict.fromkeys(terms(text)))[:TERMS_MAX]:
            worth = (self._narrow if term.isascii() else self._wide).worth(term)
            found = worth if found is None else {n: found[n] + worth[n] for n in found.keys() & worth.keys()}
            if not found:
                break
        return sorted((worth, number) for number, worth in (found or {}).items())
