"""What a dujiao-next shop lists: each SKU of a product is one of ours, as ``{product}-{sku}``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from shared.suppliers import wire
from shared.suppliers.supplier import Delivers, Product, Wish


def offers(item: Mapping[str, Any], currency: str) -> Iterator[Product]:
    """Its SKUs; what is not in the documented form raises one of `wire.UNREADABLE`."""
    fields = tuple(_wishes(item.get("manual_form_schema") or {})) if item["fulfillment_type"] == "manual" else ()
    for sku in item["skus"]:
        kind = " ".join(str(value) for value in (sku.get("spec_values") or {}).values())
        yield Product(
            product=f"{wire.whole(item['id'])}-{wire.whole(sku['id'])}",
            title=f"{_in_chinese(item['title'])} {kind}".strip(),
            delivers=Delivers.TOPUP if fields else Delivers.CARDS,
            cost_e6=wire.e6(sku["price_amount"]),
            currency=currency,
            stock=wire.whole(sku["stock_quantity"]),  # -1 has no end here as with us
            on_sale=item.get("is_active", True) is True and sku.get("is_active", True) is True,
            fields=fields,
        )


def _wishes(schema: Mapping[str, Any]) -> Iterator[Wish]:
    for one in schema.get("fields") or ():
        options = one.get("options") or ()
        told = (option.get("value") if isinstance(option, Mapping) else option for option in options)
        yield Wish(wire.text(one["key"]), _in_chinese(one.get("label") or one["key"]), tuple(map(_in_chinese, told)))


def _in_chinese(title: object) -> str:
    """Of a text in several languages the Chinese one, or any."""
    if isinstance(title, Mapping):
        title = title.get("zh-CN") or next(iter(title.values()), "")
    return wire.text(title, 300)
