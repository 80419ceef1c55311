"""What a kasushou site lists, and what it says of an order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shared.suppliers import card_fields, refusal_words, wire
from shared.suppliers.supplier import Answer, Delivers, Outcome, Product, Reason, Wish

_CARDS = 1
_ON_SALE = 1
_OPEN, _SUCCESS, _CANCELLED, _REFUNDED, _UNPAID = (1, 2), 3, 4, 5, -1


def product(goods: Mapping[str, Any], currency: str) -> Product:
    """What is not in the documented form raises one of `wire.UNREADABLE`."""
    cards = wire.whole(goods["goods_type"]) == _CARDS
    most = wire.whole(goods.get("end_count") or 0) or None
    return Product(
        product=str(wire.whole(goods["id"])),
        title=wire.text(goods["goods_name"], 300),
        delivers=Delivers.CARDS if cards else Delivers.TOPUP,
        cost_e6=wire.e6(goods["goods_price"]),
        currency=currency,
        stock=wire.whole(goods["stock_num"]),
        on_sale=wire.whole(goods["status"]) == _ON_SALE,
        least=wire.whole(goods.get("start_count") or 1),
        most=most if cards else 1,
        fields=tuple(_wishes(goods.get("attach") or ())),
    )


def order(told: Mapping[str, Any]) -> Answer:
    """One order as order/info tells it; without his number it raises one of `wire.UNREADABLE`."""
    upstream_no = wire.text(told["ordersn"])
    return wire.order_known(upstream_no, lambda: _order(told, upstream_no))


def _order(told: Mapping[str, Any], upstream_no: str) -> Answer:
    status = wire.whole(told["status"])
    if status in _OPEN:
        return Answer(Outcome.ACCEPTED, upstream_no=upstream_no)
    if status == _UNPAID:
        return Answer(Outcome.UNKNOWN, Reason.LOW_BALANCE, upstream_no)
    if status not in (_SUCCESS, _CANCELLED, _REFUNDED):
        raise ValueError("no status that we know")
    goods = [card_fields.card(card.get("card_no"), card["card_password"]) for card in told.get("card_list") or ()]
    total_e6, back_e6 = (wire.cost_e6(told.get(name)) for name in ("total_price", "has_back_money"))
    kept_e6 = None if total_e6 is None or back_e6 is None else max(0, total_e6 - back_e6)
    cost_e6 = total_e6 if kept_e6 is None else kept_e6
    topped_up = bool(told.get("recharge_info"))
    if status == _SUCCESS and not goods:
        if not topped_up:  # the cards are still being fetched
            return Answer(Outcome.ACCEPTED, upstream_no=upstream_no, cost_e6=cost_e6)
        return Answer(Outcome.DELIVERED, Reason.NONE, upstream_no, (), 1, cost_e6, proof=upstream_no)
    if status == _SUCCESS:
        return Answer(Outcome.DELIVERED, Reason.NONE, upstream_no, goods, len(goods), cost_e6)
    reason = Reason.OTHER if status == _CANCELLED else Reason.REVERSED
    if topped_up and refusal_words.reason(str(told.get("recharge_hints"))) is Reason.BAD_ACCOUNT:
        reason = Reason.BAD_ACCOUNT  # which it is with every supplier
    if not goods or kept_e6 == 0:
        return Answer(Outcome.FAILED, reason, upstream_no)
    if kept_e6 is None:
        return Answer(Outcome.UNKNOWN, reason, upstream_no)
    return Answer(Outcome.DELIVERED, reason, upstream_no, goods, len(goods), kept_e6)


def _wishes(attach: Sequence[Mapping[str, Any]]) -> Iterator[Wish]:
    for one in attach:
        yield Wish(wire.text(one["key"]), wire.text(one.get("name") or one["key"], 300))
