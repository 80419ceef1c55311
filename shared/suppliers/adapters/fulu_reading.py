"""What Fulu's answers say of orders, products and refusals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from shared.suppliers import card_fields, refusal_words, wire
from shared.suppliers.supplier import Answer, Delivers, Goods, Outcome, Product, Reason, Wish

DEFINITE = frozenset({3001, 3002, 3003, 3004, 3005, 3008})
"""Numbers of refusals after which a client that is in use orders elsewhere; what each means is not published."""

_DELIVERS = {"卡密": Delivers.CARDS, "直充": Delivers.TOPUP}
_CARDS = 3  # an order_type; the others are top-ups
_NO_STOCK = "断货"  # the other words for stock are no numbers
_STATES = {
    "success": Outcome.DELIVERED,
    "processing": Outcome.ACCEPTED,
    "untreated": Outcome.ACCEPTED,
    "failed": Outcome.FAILED,
}


def order(found: Mapping[str, Any], number: str, clear: Callable[[str], str]) -> Answer:
    """What an order is like. number: ours. clear: makes what is printed on a card of what came."""
    if found["customer_order_no"] != number:
        raise ValueError
    upstream_no = wire.text(found["order_id"])
    return wire.order_known(upstream_no, lambda: _order(found, upstream_no, clear))


def _order(found: Mapping[str, Any], upstream_no: str, clear: Callable[[str], str]) -> Answer:
    outcome, reason = _STATES.get(found["order_state"], Outcome.UNKNOWN), Reason.NONE
    if outcome in (Outcome.FAILED, Outcome.UNKNOWN):
        reason = refusal_words.reason(str(found.get("recharge_description")))
    # What has failed costs nothing, whatever its price was; of a part that came nobody says what it costs.
    cost_e6 = None if outcome is Outcome.FAILED else wire.cost_e6(found.get("order_price"))
    goods = [_card(card, clear) for card in found.get("cards") or ()]
    if goods and len(goods) > wire.whole(found.get("buy_num") or len(goods)):
        raise ValueError  # nobody can say which of them are the cards
    if goods and outcome is Outcome.FAILED:  # the others have
        outcome, reason = Outcome.DELIVERED, Reason.OTHER
    delivered = 0
    if outcome is Outcome.DELIVERED:
        delivered = len(goods) if goods or wire.whole(found["order_type"]) == _CARDS else wire.whole(found["buy_num"])
        if not delivered:  # says that it is done, and does not show it yet
            outcome = Outcome.ACCEPTED
    return Answer(
        outcome,
        reason,
        upstream_no,
        goods=goods if outcome is Outcome.DELIVERED else (),
        delivered=delivered,
        cost_e6=cost_e6,
        proof=str(found.get("operator_serial_number") or "")[:64],
    )


def _card(card: Mapping[str, Any], clear: Callable[[str], str]) -> Goods:
    number, code = (clear(str(card.get(name) or "")) for name in ("card_number", "card_pwd"))
    return card_fields.card(number, code, card.get("card_deadline"))


def products(found: Any, currency: str) -> list[Product]:
    """Those that can be read, and that this adapter can order."""
    return wire.readable(found, lambda one: _product(one, currency))


def _product(one: Mapping[str, Any], currency: str) -> Iterator[Product]:
    yield Product(
        product=wire.text(one["product_id"], 64),
        title=wire.text(one["product_name"], 200),
        delivers=_DELIVERS[one["product_type"]],
        cost_e6=wire.e6(one["purchase_price"]),
        currency=currency,
        stock=0 if one["stock_status"] == _NO_STOCK else None,
        on_sale=one["sales_status"] == "上架",
    )


def wishes(found: Any) -> tuple[Wish, ...]:
    return tuple(
        Wish(wire.text(one["name"]), wire.text(one["title"]), tuple(map(str, one.get("options") or ())))
        for one in found["fields"]
    )


def refusal(code: int, words: str, typed: Sequence[str], nothing_ordered: bool) -> Answer:
    """typed: by the buyer. nothing_ordered: this number says so, whatever the words are.

    An order that is there already may be this one: then the words win.
    """
    reason = refusal_words.reason(words, typed)
    if nothing_ordered and reason is not Reason.DUPLICATE:
        return Answer(Outcome.FAILED, reason if reason in refusal_words.BEFORE_BUYING else Reason.OTHER)
    return refusal_words.refused(reason, Outcome.FAILED if code in DEFINITE else Outcome.UNKNOWN, typed)


def not_found(_code: int, words: str) -> Answer:
    if refusal_words.no_such_order(words):
        return Answer(Outcome.ABSENT)
    return refusal_words.refused(refusal_words.reason(words), Outcome.UNKNOWN)
