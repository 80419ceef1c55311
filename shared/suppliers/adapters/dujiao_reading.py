"""What a dujiao-next shop lists, and what it says of an order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from shared.suppliers import card_text, wire
from shared.suppliers.supplier import Answer, Delivers, Outcome, Product, Reason, Wish

_OPEN = ("pending_payment", "paid", "fulfilling", "partially_delivered")


def offers(item: Mapping[str, Any], currency: str) -> Iterator[Product]:
    """Its SKUs, each as ``{product}-{sku}``; what is not in the documented form raises one of `wire.UNREADABLE`."""
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


def order(told: Mapping[str, Any], upstream_no: str, currency: str) -> Answer:
    """upstream_no: his number of the order that was asked after; currency: of our account."""
    if wire.text(told["order_id"]) != upstream_no:
        raise ValueError("another order")
    status, handed = told["status"], told.get("fulfillment") or {}
    ours = told.get("currency", currency) == currency
    cost_e6 = wire.e6(told["amount"]) if ours and "amount" in told else None
    if status in _OPEN or (status in ("delivered", "completed") and not handed):
        return Answer(Outcome.ACCEPTED, upstream_no=upstream_no, cost_e6=cost_e6)
    if status not in ("delivered", "completed", "canceled", "refunded"):
        raise ValueError("no status that we know")
    back = status in ("canceled", "refunded")
    cards, pieces = card_text.goods(handed.get("payload") or ""), _pieces(told)
    by_hand = handed.get("type") == "manual" and not back
    reason = Reason.REVERSED if status == "refunded" else Reason.OTHER if back else Reason.NONE
    if back and not handed.get("payload"):
        return Answer(Outcome.FAILED, reason, upstream_no)
    if not by_hand and (not cards or len(cards) > (pieces or len(cards))):  # nobody can say which of it is a card
        return Answer(Outcome.UNKNOWN, Reason.UNREADABLE, upstream_no, cost_e6=cost_e6)
    goods = cards or ()
    delivered = pieces if by_hand else len(goods)
    proof = str(told.get("order_no", ""))[:64] if by_hand else ""
    return Answer(Outcome.DELIVERED, reason, upstream_no, goods, delivered, cost_e6, proof)


def _pieces(order: Mapping[str, Any]) -> int:
    return sum(wire.whole(item["quantity"]) for item in order.get("items") or ())


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
