"""What Fulu's answers say of orders, products and refusals."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from shared.kernel.vault import Secret
from shared.suppliers import refusal_words, wire
from shared.suppliers.supplier import Answer, Delivers, Goods, Outcome, Product, Reason, Wish

DEFINITE = frozenset({3001, 3002, 3003, 3004, 3005, 3008})
"""Numbers of refusals after which nothing was ordered; what each means is not published."""

_DELIVERS = {"卡密": Delivers.CARDS, "直充": Delivers.TOPUP}
_CARDS = 3  # an order_type; the others are top-ups
_NO_STOCK = "断货"  # the other words for stock are no numbers
_STATES = {
    "success": Outcome.DELIVERED,
    "processing": Outcome.ACCEPTED,
    "untreated": Outcome.ACCEPTED,
    "failed": Outcome.FAILED,
}
_DAY = re.compile(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}")


def order(found: Mapping[str, Any], number: str, clear: Callable[[str], str]) -> Answer:
    """What an order is like. number: ours. clear: makes what is printed on a card of what came."""
    if found["customer_order_no"] != number:
        raise ValueError
    outcome, reason = _STATES.get(found["order_state"], Outcome.UNKNOWN), Reason.NONE
    if outcome in (Outcome.FAILED, Outcome.UNKNOWN):
        reason = refusal_words.reason(str(found.get("recharge_description")))
    goods = [_card(card, clear) for card in found.get("cards") or ()]
    delivered = 0
    if outcome is Outcome.DELIVERED:
        delivered = len(goods) if wire.whole(found["order_type"]) == _CARDS else wire.whole(found["buy_num"])
        if not delivered:  # says that it is done, and does not show it yet
            outcome = Outcome.ACCEPTED
    # What has failed costs nothing, whatever its price was.
    costs = outcome is not Outcome.FAILED and found.get("order_price") is not None
    return Answer(
        outcome,
        reason,
        upstream_no=wire.text(found["order_id"]),
        goods=goods if outcome is Outcome.DELIVERED else (),
        delivered=delivered,
        cost_e6=wire.e6(found["order_price"]) if costs else None,
        proof=str(found.get("operator_serial_number") or "")[:64],
    )


def _card(card: Mapping[str, Any], clear: Callable[[str], str]) -> Goods:
    number, code = (clear(str(card.get(name) or "")) for name in ("card_number", "card_pwd"))
    if not number and not code:
        raise ValueError
    day = _DAY.match(str(card.get("card_deadline") or ""))
    expires_on = date.fromisoformat(day[0]) if day else None
    return Goods(Secret(code), number or None, expires_on) if code else Goods(Secret(number), None, expires_on)


def products(found: Any, currency: str) -> list[Product]:
    """Those that can be read, and that this adapter can order."""
    offered = []
    for one in found:
        with contextlib.suppress(*wire.UNREADABLE):
            offered.append(
                Product(
                    product=wire.text(one["product_id"], 64),
                    title=wire.text(one["product_name"], 200),
                    delivers=_DELIVERS[one["product_type"]],
                    cost_e6=wire.e6(one["purchase_price"]),
                    currency=currency,
                    stock=0 if one["stock_status"] == _NO_STOCK else None,
                    on_sale=one["sales_status"] == "上架",
                )
            )
    return offered


def wishes(found: Any) -> tuple[Wish, ...]:
    return tuple(
        Wish(wire.text(one["name"]), wire.text(one["title"]), tuple(map(str, one.get("options") or ())))
        for one in found["fields"]
    )


def refusal(code: int, words: str) -> Answer:
    reason = refusal_words.reason(words)
    if code in DEFINITE:
        return Answer(Outcome.FAILED, Reason.OTHER if reason in refusal_words.CONFIGURATION else reason)
    return Answer(Outcome.REFUSED if reason in refusal_words.CONFIGURATION else Outcome.UNKNOWN, reason)


def not_found(code: int, words: str) -> Answer:
    if refusal_words.no_such_order(words):
        return Answer(Outcome.ABSENT)
    reason = refusal_words.reason(words)
    refused = code not in DEFINITE and reason in refusal_words.CONFIGURATION
    return Answer(Outcome.REFUSED if refused else Outcome.UNKNOWN, reason)
