"""What a shop of acg-faka sells, as its versions tell it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from shared.suppliers import wire
from shared.suppliers.supplier import Delivers, Product, Wish

KIND = "|"
"""Between the code of an item and the name of one of its kinds."""

_SECTION = re.compile(r"\[(\w+)\]")


def offers(item: Mapping[str, Any], currency: str) -> list[Product]:
    """One for each kind of an item; none of an item that cannot be read or has no one price."""
    try:
        config = _config(item.get("config"))
        if config.get("sku"):
            return []
        # What we in particular pay comes first; the others are the prices of the shop's own pages.
        prices = config.get("category_factory") or config.get("category")
        if not prices:
            return [_offer(item, "", _price(item), currency)]
        return [_offer(item, f"{KIND}{kind}", wire.e6(price), currency) for kind, price in prices.items()]
    except (*wire.UNREADABLE, StopIteration):
        return []


def leaves(data: Any) -> list[Mapping[str, Any]]:
    """The items of a list of categories, or of the one item that some versions give."""
    if isinstance(data, dict):
        return [data]
    return [item for category in data for item in category.get("children") or []]


def _offer(item: Mapping[str, Any], kind: str, cost_e6: int, currency: str) -> Product:
    stock, wishes = item.get("stock"), _wishes(item.get("widget"))
    counted = not kind and not wire.whole(item.get("delivery_way", 0)) and str(stock).isdecimal()
    return Product(
        product=wire.text(item["code"], 64) + kind,
        title=f"{wire.text(item['name'], 200)} {kind.removeprefix(KIND)}".strip(),
        delivers=Delivers.TOPUP if wishes else Delivers.CARDS,
        cost_e6=cost_e6,
        currency=currency,
        stock=wire.whole(stock) if counted else None,
        least=max(1, wire.whole(item.get("minimum") or 0)),
        # What is told of a top-up later does not say of how many pieces it was.
        most=1 if wishes else wire.whole(item.get("maximum") or 0) or None,
        fields=wishes,
    )


def _price(item: Mapping[str, Any]) -> int:
    told = (wire.e6(item.get(name) or 0) for name in ("factory_price", "user_price", "price"))
    return next(price for price in told if price)


def _config(config: Any) -> dict[str, dict[str, Any]]:
    """A table, or the INI text that older shops give."""
    if not isinstance(config, str):
        return dict(config or {})
    sections: dict[str, dict[str, Any]] = {}
    here: dict[str, Any] = {}
    for line in config.splitlines():
        name, _, value = line.partition("=")
        if found := _SECTION.fullmatch(line.strip()):
            here = sections.setdefault(found[1], {})
        elif value:
            here[name.strip()] = value.strip()
    return sections


def _wishes(widget: Any) -> tuple[Wish, ...]:
    fields = json.loads(widget or "[]") if isinstance(widget, str) else widget or []
    return tuple(
        Wish(
            wire.text(one["name"]),
            wire.text(one.get("cn") or one["name"]),
            tuple(option.partition("=")[0].strip() for option in str(one.get("dict") or "").split(",") if option),
        )
        for one in fields
    )
