"""The kinds of suppliers there are adapters for, what an account of each must give, and what may override a trait."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from types import MappingProxyType
from typing import Any, NamedTuple

from shared.suppliers.supplier import Repeat, Traits

TRAIT = "trait."


class Kind(NamedTuple):
    """adapter: module and class. terms and keys: what an account of this kind must give; those under `more_` it may."""

    adapter: tuple[str, str]
    zh: str
    en: str
    terms: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()
    more_terms: frozenset[str] = frozenset()
    more_keys: frozenset[str] = frozenset()


def _kind(module: str, name: str, zh: str, en: str, **asks: str) -> Kind:
    """asks: names, with blanks between them."""
    return Kind(
        (f"shared.suppliers.adapters.{module}", name),
        zh,
        en,
        **{field: frozenset(names.split()) for field, names in asks.items()},
    )


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "dujiao": _kind(
            "dujiao",
            "Dujiao",
            "独角数卡",
            "dujiao-next",
            terms="site",
            more_terms="callback_path",
            keys="api_key api_secret",
        ),
        "kasushou": _kind("kasushou", "Kasushou", "卡速售", "Kasushou", terms="site user_id", keys="api_key"),
        "acg": _kind("acg", "Acg", "异次元共享店铺", "acg-faka shared store", terms="site app_id", keys="app_key"),
        "fulu": _kind(
            "fulu",
            "Fulu",
            "福禄",
            "Fulu",
            terms="app_key",
            more_terms="site card_cipher definite_codes refusals",
            keys="app_secret",
        ),
        "kashangwl": _kind(
            "kashangwl", "Kashangwl", "卡商网", "Kashangwl", terms="customer_id", more_terms="site", keys="secret"
        ),
        "reloadly": _kind(
            "reloadly",
            "Reloadly",
            "Reloadly",
            "Reloadly",
            terms="client_id",
            more_terms="site auth_site line audience sender",
            keys="client_secret",
            more_keys="webhook_secret",
        ),
        "pricelist": _kind("pricelist", "Pricelist", "报价单（人工采购）", "price list, bought by hand"),
    }
)


def _flag(text: str) -> bool:
    return {"true": True, "false": False}[text]


def _positive(number: Callable[[str], Any], most: int) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        found = number(text)
        if not 0 < found <= most:  # also what is no number at all, such as nan
            raise ValueError
        return found

    return read


_READ: Mapping[str, Callable[[str], Any]] = {
    "Repeat": Repeat,
    "bool": _flag,
    "float": _positive(float, 1_000),
    "int": _positive(int, 1_000),
}
TRAITS: Mapping[str, Callable[[str], Any]] = MappingProxyType(
    {f"{TRAIT}{one.name}": _READ[str(one.type)] for one in fields(Traits)}
)
"""How the value of a term that overrides a trait is read; a text that is no value raises KeyError or ValueError."""


def wrong_traits(terms: Mapping[str, str]) -> list[tuple[str, str]]:
    """What is wrong with the terms that override traits: (term, ``unknown`` or ``not_a_value``)."""
    wrong = []
    for name, text in terms.items():
        if name.startswith(TRAIT) and name not in TRAITS:
            wrong.append((name, "unknown"))
        elif name in TRAITS and _read(name, text) is None:
            wrong.append((name, "not_a_value"))
    return wrong


def traits(defaults: Traits, terms: Mapping[str, str]) -> Traits:
    """An adapter's traits, as far as an account's terms do not say otherwise; a value that is none changes nothing."""
    said = {name.removeprefix(TRAIT): _read(name, text) for name, text in terms.items() if name in TRAITS}
    return replace(defaults, **{name: value for name, value in said.items() if value is not None})


def _read(name: str, text: str) -> Any:
    try:
        return TRAITS[name](text)
    except (KeyError, ValueError):
        return None
