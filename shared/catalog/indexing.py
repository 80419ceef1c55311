"""Making a snapshot: products in listing order, and everything a shopper may type to find them.

The sounds of Chinese names (full pinyin and initials, in every likely reading) are worked out here, once per change,
so that the door that searches never loads a dictionary.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from pypinyin import Style, lazy_pinyin, pinyin

from shared.catalog import search
from shared.catalog.search import (
    ASIDE,
    END,
    EXACT_SKU,
    GAP,
    NOWHERE,
    PART,
    SOUND,
    SOUND_ASIDE,
    SOUND_OF_TITLE,
    TITLE,
    WORD,
)
from shared.catalog.sku import Sku

READINGS_MAX = 2  # of one character, beside the one its phrase asks for: the dictionary has the common ones first
SOUNDS_MAX = 8  # of one name; past it the readings are varied one character at a time


def snapshot(skus: Iterable[Sku]) -> tuple[str, bytes]:
    """The version and the lines of a snapshot; the same SKUs give the same bytes, in whatever order they come."""
    products = _products(sku for sku in skus if sku.terms.shown)
    categories = sorted({product[0].category for product in products})
    number_of = {category: number for number, category in enumerate(categories)}
    wide, narrow = _Writing(), _Writing()
    for product in products:
        _index(product, wide, narrow)
    body = [_json(part) for text in (wide, narrow) for part in (text.letters(), text.marks())]
    body += [_json(_shown(product)) for product in products]
    head = {
        "categories": categories,
        "keys": [product[0].sku for product in products],
        "category_of": [number_of[product[0].category] for product in products],
        "product_ids": [product[0].product_id for product in products],
    }
    version = hashlib.sha256("\n".join([_json(head), *body]).encode()).hexdigest()[:16]
    return version, "\n".join([_json({"version": version} | head), *body]).encode()


def _products(skus: Iterable[Sku]) -> list[list[Sku]]:
    """SKUs by product; a product stands where its first SKU does, and in that SKU's category."""
    grouped: dict[str, list[Sku]] = {}
    for sku in sorted(skus, key=lambda one: one.sku):
        grouped.setdefault(sku.product_id, []).append(sku)
    return list(grouped.values())


def _shown(product: Sequence[Sku]) -> dict[str, object]:
    """What the world may see, in the shape of contract.Product, and beside it what only the door needs. No costs."""
    first = product[0]
    shown = {
        "product_id": first.product_id,
        "name": first.name,
        "brand": first.brand,
        "category": first.category,
        "tags": list(dict.fromkeys(tag for sku in product for tag in sku.tags)),
        "skus": [
            {
                "sku": sku.sku,
                "title": sku.title,
                "spec": sku.spec,
                "kind": sku.kind,
                "price": sku.price.json(),
                "face": sku.face.json() if sku.face else None,
                "for_sale": sku.on_sale,
                "limit_per_order": sku.limit_per_order,
                "validity_days": sku.validity_days,
                "account": [
                    {"name": field.name, "label": field.label, "options": list(field.options)}
                    for field in sku.account_fields
                ],
            }
            for sku in product
        ],
    }
    return {"product": shown, "shelves": {sku.sku: sku.shelf for sku in product}}


class _Writing:
    """A haystack in the making; see search."""

    def __init__(self) -> None:
        self._letters: list[str] = []
        self._marks: list[str] = []

    def begin(self) -> None:
        self._add(GAP, NOWHERE)

    def word(self, word: str, first: str, inside: str) -> None:
        self._add(word + GAP, first + inside * (len(word) - 1) + NOWHERE)

    def sound(self, syllables: Iterable[str], first: str, others: str) -> None:
        """Letters that are found only from the beginning of a syllable on."""
        mark = first
        for syllable in syllables:
            self._add(syllable, mark + NOWHERE * (len(syllable) - 1))
            mark = others
        self._add(GAP, NOWHERE)

    def end(self) -> None:
        self._add(END, NOWHERE)

    def letters(self) -> str:
        return "".join(self._letters)

    def marks(self) -> str:
        return "".join(self._marks)

    def _add(self, letters: str, marks: str) -> None:
        self._letters.append(letters)
        self._marks.append(marks)


def _index(product: Sequence[Sku], wide: _Writing, narrow: _Writing) -> None:
    first = product[0]
    wide.begin()
    narrow.begin()
    for sku in product:
        narrow.word(search.normal(sku.sku), EXACT_SKU, PART)
    for place, term in enumerate(search.terms(first.name)):
        (narrow if term.isascii() else wide).word(term, WORD if place else TITLE, PART)
    for text, mark, inside in (
        (" ".join([first.brand, *(sku.spec for sku in product)]), WORD, PART),
        (" ".join([first.category, *(tag for sku in product for tag in sku.tags)]), ASIDE, ASIDE),
    ):
        for term in dict.fromkeys(search.terms(text)):
            (narrow if term.isascii() else wide).word(term, mark, inside)
    for syllables in _sounds(first.name):
        narrow.sound(syllables, SOUND_OF_TITLE, SOUND)
    for text, mark in ((first.brand, SOUND), (first.category, SOUND_ASIDE)):
        for syllables in _sounds(text):
            narrow.sound(syllables, mark, mark)
    wide.end()
    narrow.end()


@lru_cache(maxsize=100_000)
def _sounds(text: str) -> tuple[tuple[str, ...], ...]:
    """Every likely way to type a text in Latin letters, whole and by initials; none if it is in Latin letters."""
    terms = search.terms(text)
    if all(term.isascii() for term in terms):
        return ()
    choices: list[tuple[str, ...]] = []
    short: list[int | None] = []  # how many letters an initial keeps: a Latin word is typed whole either way
    for term in terms:
        readings = [(term,)] if term.isascii() else list(_readings(term))
        choices += readings
        short += [None if term.isascii() else 1] * len(readings)
    whole = list(_ways(choices))
    initials = [tuple(syllable[:kept] for syllable, kept in zip(way, short, strict=True)) for way in whole]
    return tuple(dict.fromkeys([*whole, *initials]))


def _readings(word: str) -> Iterator[tuple[str, ...]]:
    """For each character its readings, the one its phrase asks for first; characters without any are passed over."""
    at = 0
    for syllable in lazy_pinyin(word):
        if word.startswith(syllable, at):  # a run without readings comes back as it is
            at += len(syllable)
            continue
        readings = tuple(one for one in dict.fromkeys([syllable, *_alone(word[at])]) if one.isascii())
        if readings:
            yield readings
        at += 1


@lru_cache(maxsize=20_000)
def _alone(letter: str) -> list[str]:
    found = pinyin(letter, style=Style.NORMAL, heteronym=True, errors="ignore")
    return found[0][:READINGS_MAX] if found else []


def _ways(choices: Sequence[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    if math.prod(map(len, choices)) <= SOUNDS_MAX:
        yield from itertools.product(*choices)
        return
    usual = tuple(choice[0] for choice in choices)
    yield usual
    for place, choice in enumerate(choices):
        for other in choice[1:]:
            yield (*usual[:place], other, *usual[place + 1 :])


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
