"""What a site of the kashangwl family lists, and what it says of an order."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

from shared.suppliers import card_fields, refusal_words, wire
from shared.suppliers.supplier import Answer, Delivers, Outcome, Product, Reason, Wish

ACCOUNT = "recharge_account"
_FIELD = "recharge_template_input_items[{}]"
_TOPUP = 1
_KINDS = {_TOPUP: Delivers.TOPUP, 2: Delivers.CARDS}  # 3 is pictures, 4 is by hand
_RANGE = re.compile(r"([0-9]{1,9})-([0-9]{1,9})")
_OPEN, _SUCCESS, _FAILED, _UNKNOWN = (100, 101), 200, 500, 501


def offers(listed: Mapping[str, Any], currency: str) -> Iterator[Product]:
    """The product, or nothing where it is of a kind that we cannot sell. Of its stock he says only whether it is."""
    kind = _KINDS.get(wire.whole(listed["type"]))
    if kind is None:
        return
    names = (str(listed.get(name) or "").strip() for name in ("product_name", "name"))
    bounds = _RANGE.fullmatch(str(listed.get("valid_purchasing_quantity") or ""))
    allowed = all(wire.whole(listed.get(state, 1)) == 1 for state in ("supply_state", "hold_state"))
    yield Product(
        product=str(wire.whole(listed["id"])),
        title=wire.text(" ".join(name for name in names if name), 300),
        delivers=kind,
        cost_e6=wire.e6(listed["price"]),
        currency=currency,
        stock=None if wire.whole(listed["stock_state"]) == 1 else 0,
        on_sale=allowed,
        least=int(bounds[1]) if bounds else wire.whole(listed.get("quantity_min") or 1),
        most=int(bounds[2]) if bounds else wire.whole(listed.get("quantity_max") or 0) or None,
    )


def filled(product: Product, params: Mapping[str, Any]) -> Product:
    """The product with what must be told for its top-up: fields of its own, or else one account."""
    wishes = [
        Wish(wire.text(one["name"]), wire.text(one.get("label") or one["name"], 300), _options(one.get("options")))
        for one in params.get("recharge_params") or ()
    ]
    label = str(params.get("recharge_account_label") or "").strip()
    account = [Wish(ACCOUNT, label or "充值账号")] if label or not wishes else []
    return dataclasses.replace(product, fields=(*account, *wishes))


def account_fields(account: Mapping[str, str]) -> dict[str, str]:
    """As the form names what a buyer has told of an account."""
    return {name if name == ACCOUNT else _FIELD.format(name): value for name, value in account.items()}


def order(told: Mapping[str, Any], quantity: int = 0, *, topped_up: bool = False) -> Answer:
    """quantity: what it was for, 0 where he must say so. topped_up: it is known to be a top-up.

    Without his number it raises one of `wire.UNREADABLE`.
    """
    upstream_no = wire.text(told["order_id"] if "order_id" in told else told["id"])
    return wire.order_known(upstream_no, lambda: _order(told, upstream_no, quantity, topped_up))


def _order(told: Mapping[str, Any], upstream_no: str, quantity: int, topped_up: bool) -> Answer:
    state = wire.whole(told["state"])
    total_e6, back_e6 = wire.cost_e6(told.get("total_price")), wire.cost_e6(told.get("refunded_amount") or 0)
    cost_e6 = None if total_e6 is None or back_e6 is None else max(0, total_e6 - back_e6)
    if state in _OPEN:
        return Answer(Outcome.ACCEPTED, upstream_no=upstream_no, cost_e6=cost_e6)
    if state == _UNKNOWN:
        return Answer(Outcome.UNKNOWN, Reason.OTHER, upstream_no, cost_e6=cost_e6)
    if state not in (_SUCCESS, _FAILED):
        raise ValueError("no state that we know")
    goods = [
        card_fields.card(card.get("card_no", card.get("no")), card.get("card_password", card.get("password")), ends)
        for card in told.get("cards") or ()
        for ends in [card.get("expired_at")]
    ]
    if goods:
        reason = Reason.NONE if state == _SUCCESS else Reason.OTHER
        return Answer(Outcome.DELIVERED, reason, upstream_no, goods, len(goods), cost_e6)
    topped_up = topped_up or any(told.get(name) for name in ("recharge_account", "recharge_params", "recharge_info"))
    topped_up = wire.whole(told.get("product_type", _TOPUP if topped_up else 0)) == _TOPUP
    if state == _FAILED:
        why = refusal_words.reason(f"{told.get('recharge_info')} {told.get('state_info')}")
        reason = Reason.BAD_ACCOUNT if topped_up and why is Reason.BAD_ACCOUNT else Reason.OTHER
        return Answer(Outcome.FAILED, reason, upstream_no)
    if told.get("tickets"):
        raise ValueError("pictures")
    if not topped_up:  # the cards are still being fetched
        return Answer(Outcome.ACCEPTED, upstream_no=upstream_no, cost_e6=cost_e6)
    pieces, rest = quantity or wire.whole(told["quantity"]), 0
    if back_e6 != 0:  # a part of it did not come
        if not total_e6 or back_e6 is None:
            raise ValueError("nobody can say how much of it is paid")
        pieces, rest = divmod(pieces * (total_e6 - back_e6), total_e6)
    if rest or pieces <= 0:
        return Answer(Outcome.UNKNOWN, Reason.REVERSED, upstream_no, cost_e6=cost_e6)
    reason = Reason.REVERSED if back_e6 else Reason.NONE
    return Answer(Outcome.DELIVERED, reason, upstream_no, (), pieces, cost_e6, proof=upstream_no)


def _options(told: object) -> tuple[str, ...]:
    found = told.split(",") if isinstance(told, str) else told or ()
    return tuple(wire.text(one) for one in found if one) if isinstance(found, (list, tuple)) else ()
