"""Product kinds are data: what a kind asks of the buyer, over one of the five ways to fulfil a line."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import date
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from shared.kernel.errors import InvalidRequest


class Fulfilment(StrEnum):
    STOCK = "stock"  # our own cards
    PURCHASE = "purchase"  # bought from a supplier per order
    ISSUE = "issue"  # codes we make ourselves
    TASK = "task"  # a person delivers
    SLOT = "slot"  # a booking


OPEN: Final = frozenset({Fulfilment.STOCK, Fulfilment.ISSUE, Fulfilment.PURCHASE})
"""What this release delivers; the others are only shown."""

KINDS: Final[Mapping[str, Fulfilment]] = MappingProxyType(
    {
        "card": Fulfilment.STOCK,
        "issued": Fulfilment.ISSUE,
        "topup": Fulfilment.PURCHASE,
        "link": Fulfilment.PURCHASE,
        "manual": Fulfilment.TASK,
        "booking": Fulfilment.SLOT,
    }
)

FIELDS_MAX = 8  # what a person fills in before giving up
ANSWER_MAX = 120  # characters; an address fits
_NAME = re.compile(r"[a-z][a-z0-9_]{0,19}")
_FORMATS: Final[Mapping[str, re.Pattern[str]]] = MappingProxyType(
    {
        "phone": re.compile(r"\+?\d{6,15}", re.ASCII),
        "qq": re.compile(r"[1-9]\d{4,11}", re.ASCII),
        "uid": re.compile(r"[A-Za-z0-9_.-]{1,40}"),
        "email": re.compile(r"[^@\s]{1,64}@[^@\s.]+(\.[^@\s.]+)+"),
    }
)


class Field(NamedTuple):
    """One thing a buyer is asked for; with options it is a choice."""

    name: str
    label: str
    options: tuple[str, ...] = ()


def account_fields(text: str) -> tuple[Field, ...]:
    """Read ``qq:QQ号,region:大区=安卓QQ|安卓微信``; whatever is not of this form raises ValueError."""
    fields = tuple(_field(part) for part in text.split(",")) if text.strip() else ()
    if len(fields) > FIELDS_MAX or len({field.name for field in fields}) < len(fields):
        raise ValueError("too many fields, or one name twice")
    return fields


def check_account(fields: Sequence[Field], account: Mapping[str, str]) -> dict[str, str]:
    """The account in normal form, in the order of its fields; InvalidRequest names each field that does not fit."""
    wrong = [{"field": f"account.{name}", "reason": "not_asked"} for name in _extra(fields, account)]
    clean = {}
    for field in fields:
        answer = unicodedata.normalize("NFKC", account.get(field.name, "")).strip()
        if reason := _misfit(field, answer):
            wrong.append({"field": f"account.{field.name}", "reason": reason})
        clean[field.name] = answer
    if wrong:
        raise InvalidRequest(fields=wrong)
    return clean


def _field(text: str) -> Field:
    name, colon, rest = text.strip().partition(":")
    label, equals, choice = rest.partition("=")
    options = tuple(option.strip() for option in choice.split("|")) if equals else ()
    if not (_NAME.fullmatch(name) and colon and label.strip() and all(options)) or len(set(options)) < len(options):
        raise ValueError(f"not an account field: {text[:40]!r}")
    return Field(name, label.strip(), options)


def _extra(fields: Sequence[Field], account: Mapping[str, str]) -> list[str]:
    return sorted(name[:20] for name in account.keys() - {field.name for field in fields})[:FIELDS_MAX]


def _misfit(field: Field, answer: str) -> str | None:
    if not answer:
        return "missing"
    if len(answer) > ANSWER_MAX:
        return "too_long"
    if any(unicodedata.category(letter) in {"Cc", "Cf", "Cs", "Co"} for letter in answer):
        return "bad_character"
    if field.options:
        known = {unicodedata.normalize("NFKC", option) for option in field.options}
        return None if answer in known else "not_an_option"
    if field.name == "date":
        return None if _is_date(answer) else "bad_date"
    form = _FORMATS.get(field.name)
    return None if form is None or form.fullmatch(answer) else f"bad_{field.name}"


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
