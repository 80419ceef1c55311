"""What a dujiao-next shop lists, what it says of an order, and why it refuses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from shared.suppliers import card_text, refusal_words, wire
from shared.suppliers.supplier import Answer, Delivers, Outcome, Product, Reason, Wish

_TAKEN = re.compile(r"(?<!not )(?<!n't )exist|duplicate|重复|已存在", re.IGNORECASE)
_FORM = re.compile(r"manual[_ ]?form|form (data|field)|表单|充值|账号", re.IGNORECASE)

_REASONS = {
    "missing_auth_headers": Reason.BAD_SIGNATURE,
    "invalid_timestamp": Reason.BAD_SIGNATURE,
    "timestamp_expired": Reason.BAD_SIGNATURE,
    "invalid_signature": Reason.BAD_SIGNATURE,
    "invalid_api_key": Reason.NOT_ALLOWED,
    "user_disabled": Reason.NOT_ALLOWED,
    "ip_not_allowed": Reason.NOT_ALLOWED,
    "invalid_callback_url": Reason.NOT_ALLOWED,  # our own address, and so the same for every order
    "sku_unavailable": Reason.OFF_SHELF,
    "product_unavailable": Reason.OFF_SHELF,
    "product_not_found": Reason.OFF_SHELF,
    "insufficient_balance": Reason.LOW_BALANCE,
    "insufficient_stock": Reason.NO_STOCK,
    "payment_failed": Reason.LOW_BALANCE,  # the order was made, and usually cancelled at once
}
_LIKE_A_CODE = re.compile(r"[!-~]{5,}")
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
    return wire.order_known(upstream_no, lambda: _order(told, upstream_no, currency))


def _order(told: Mapping[str, Any], upstream_no: str, currency: str) -> Answer:
    status, handed = told["status"], told.get("fulfillment") or {}
    cost_e6 = wire.cost_e6(told.get("amount")) if told.get("currency", currency) == currency else None
    if status in _OPEN or (status in ("delivered", "completed") and not handed):
        return Answer(Outcome.ACCEPTED, upstream_no=upstream_no, cost_e6=cost_e6)
    if status not in ("delivered", "completed", "canceled", "refunded"):
        raise ValueError("no status that we know")
    back, payload, pieces = status in ("canceled", "refunded"), handed.get("payload") or "", _pieces(told)
    cards = card_text.goods(payload) or ()
    by_hand = handed.get("type") == "manual" and not back
    reason = Reason.REVERSED if status == "refunded" else Reason.OTHER if back else Reason.NONE
    if back and not cards and not _LIKE_A_CODE.search(payload):  # at most a word why
        return Answer(Outcome.FAILED, reason, upstream_no)
    delivered = pieces if by_hand else len(cards)
    if not delivered or len(cards) > (pieces or len(cards)):  # nobody can say which of it is a card
        return Answer(Outcome.UNKNOWN, Reason.UNREADABLE, upstream_no, cost_e6=cost_e6)
    proof = str(told.get("order_no", ""))[:64] if by_hand else ""
    return Answer(Outcome.DELIVERED, reason, upstream_no, cards, delivered, cost_e6, proof)


def refusal(answer: Mapping[str, Any], definite: Outcome, account: Iterable[str] = ()) -> Answer:
    """definite: what a refusal is that is known to be one. account: what the buyer has typed of a top-up."""
    code, words = answer["error_code"], str(answer.get("error_message"))
    if code != "bad_request":
        return refusal_words.refused(_REASONS.get(code, Reason.OTHER), definite)
    if _TAKEN.search(words):
        return Answer(Outcome.UNKNOWN, Reason.DUPLICATE)
    # One word for whatever is wrong with an order; only of its form it may be said that the account is.
    of_form = _FORM.search(words) or refusal_words.reason(words, account) is Reason.BAD_ACCOUNT
    return Answer(definite, Reason.BAD_ACCOUNT if of_form and any(account) else Reason.OTHER)


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
