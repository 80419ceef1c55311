"""What a site of the kashangwl family lists, and what it says of an order."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

from shared.suppliers import card_fields, wire
from shared.suppliers.supplier import Answer, Delivers, Outcome, Product, Reason, Wish

ACCOUNT = "recharge_account"
_FIELD = "recharge_template_input_items[{}]"
_KINDS = {1: Delivers.TOPUP, 2: Delivers.CARDS}  # 3 is pictures, 4 is by hand
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


def order(told: Mapping[str, Any], quantity: int, *, topped_up: bool = False) -> Answer:
    """topped_up: it is known to be a top-up. What is not in the documented form raises one of `wire.UNREADABLE`."""
    upstream_no = wire.text(told["order_id"] if "order_id" in told else told["id"])
    state = wire.whole(told["state"])
    cost_e6 = None if told.get("total_price") is None else wire.e6(told["total_price"])
    if cost_e6 is not None:
        cost_e6 = max(0, cost_e6 - wire.e6(told.get("refunded_amount") or 0))
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
    if state == _FAILED:
        return Answer(Outcome.FAILED, Reason.OTHER, upstream_no)
    if told.get("tickets"):
        raise ValueError("pictures")
    topped_up = topped_up or bool(
        told.get("recharge_account") or told.get("recharge_params") or told.get("recharge_info")
    )
    if wire.whole(told.get("product_type", 1 if topped_up else 2)) != 1:  # the cards are still being fetched
        return Answer(Outcome.ACCEPTED, upstream_no=upstream_no, cost_e6=cost_e6)
    return Answer(Outcome.DELIVERED, Reason.NONE, upstream_no, (), quantity, cost_e6, proof=upstream_no)


def _options(told: object) -> tuple[str, ...]:
    found = told.split(",") if isinstance(told, str) else told or ()
    return tuple(wire.text(one) for one in found if one) if isinstance(found, (list, tuple)) else ()
