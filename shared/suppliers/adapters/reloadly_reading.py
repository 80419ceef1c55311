"""What Reloadly's answers say of products, transactions and refusals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING, Decimal
from typing import Any

from shared.kernel.money import MILLION
from shared.suppliers import card_fields, wire
from shared.suppliers.supplier import Answer, Delivers, Goods, Outcome, Product, Purchase, Reason, Wish

PHONE = "phone"

_STATES = {
    "PENDING": (Outcome.ACCEPTED, Reason.NONE),
    "PROCESSING": (Outcome.ACCEPTED, Reason.NONE),
    "SUCCESSFUL": (Outcome.DELIVERED, Reason.NONE),
    "FAILED": (Outcome.FAILED, Reason.OTHER),
    "REFUNDED": (Outcome.FAILED, Reason.REVERSED),
}
# Said before anything is bought; all other names are no promise.
_NO = {
    "PRODUCT_NOT_FOUND": Reason.OFF_SHELF,
    "OPERATOR_NOT_FOUND": Reason.OFF_SHELF,
    "OUT_OF_STOCK": Reason.NO_STOCK,
    "INSUFFICIENT_BALANCE": Reason.LOW_BALANCE,
    "INVALID_QUANTITY": Reason.BAD_QUANTITY,
    "INVALID_RECIPIENT_PHONE": Reason.BAD_ACCOUNT,
    "INVALID_UNIT_PRICE": Reason.OTHER,
    "INVALID_AMOUNT_FOR_OPERATOR": Reason.OTHER,
}
_PERCENT = 100


def cards_offered(item: Mapping[str, Any], currency: str) -> list[Product]:
    """A gift card, once for each of its fixed values, as ``{product}-{value}``; none of what we cannot price."""
    if item["denominationType"] != "FIXED" or item["senderCurrencyCode"] != currency:
        return []
    number, name = wire.whole(item["productId"]), wire.text(item["productName"], 160)
    off = _exact(item.get("discountPercentage") or 0)
    fee_e6 = _up_e6(item.get("senderFee") or 0)
    values = zip(item["fixedRecipientDenominations"], item["fixedSenderDenominations"], strict=True)
    return [
        Product(
            product=f"{number}-{amount(value)}",
            title=f"{name} {amount(value)} {item['recipientCurrencyCode']}",
            delivers=Delivers.CARDS,
            cost_e6=_up_e6(_exact(ours) * (_PERCENT - off) / _PERCENT) + fee_e6,
            currency=currency,
        )
        for value, ours in values
    ]


def topups_offered(item: Mapping[str, Any], currency: str) -> list[Product]:
    """An operator, once for each of its fixed amounts, as ``{operator}-{amount}-{country}``.

    The price is the amount: what Reloadly takes off it is not promised anywhere.
    """
    if item["denominationType"] != "FIXED" or item["senderCurrencyCode"] != currency:
        return []
    number, name = wire.whole(item.get("operatorId") or item["id"]), wire.text(item["name"], 160)
    country = wire.text(item["country"]["isoName"], 2)
    return [
        Product(
            product=f"{number}-{amount(value)}-{country}",
            title=f"{name} {amount(value)} {currency}",
            delivers=Delivers.TOPUP,
            cost_e6=_up_e6(value),
            currency=currency,
            most=1,
            fields=(Wish(PHONE, "手机号"),),
        )
        for value in item["fixedAmounts"]
    ]


def listed(content: Any, currency: str) -> list[Product]:
    """The products of a page, of whichever line; none of what cannot be read."""
    return wire.readable(
        content, lambda item: (cards_offered if "productId" in item else topups_offered)(item, currency)
    )


def order(purchase: Purchase, sender: str) -> tuple[str, dict[str, Any]]:
    """Where a purchase of one of the products above goes, and what is said there; ValueError if it is none of them."""
    number, value, *country = purchase.product.split("-")
    if country:
        phone = {"countryCode": country[0], "number": purchase.account.get(PHONE, "")}
        of_operator = {"operatorId": int(number), "amount": float(value), "useLocalAmount": False}
        return "/topups-async", of_operator | {"customIdentifier": purchase.number, "recipientPhone": phone}
    return "/orders", {
        "productId": int(number),
        "quantity": purchase.quantity,
        "unitPrice": float(value),
        "customIdentifier": purchase.number,
        "senderName": sender,
    }


def transaction(found: Mapping[str, Any], number: str, currency: str) -> Answer:
    """A transaction without its cards; ValueError if it is another's. number: ours."""
    if found.get("customIdentifier", number) != number:
        raise ValueError("of another order")
    outcome, reason = _STATES.get(str(found.get("status")), (Outcome.UNKNOWN, Reason.UNREADABLE))
    costs = outcome is not Outcome.FAILED and found.get("currencyCode") == currency
    return Answer(
        outcome,
        reason,
        upstream_no=wire.text(found["transactionId"]),
        cost_e6=_cost_e6(found.get("amount")) if costs else None,
        proof=str(found.get("operatorTransactionId") or "")[:64],
    )


def pieces(found: Mapping[str, Any]) -> int | None:
    """How many cards a transaction is of; None where it does not say."""
    product = found.get("product")
    told = product.get("quantity") if isinstance(product, dict) else None
    return told if type(told) is int else None


def cards(found: Sequence[Mapping[str, Any]]) -> list[Goods]:
    return [card_fields.card(card.get("cardNumber"), card.get("pinCode")) for card in found]


def refusal(reply: wire.Reply, *, asked: bool) -> Answer:
    """What a reply of 4xx says of an order that is placed, or asked after."""
    if reply.status == 401:  # at the door: nobody has looked at what was ordered
        return Answer(Outcome.REFUSED, Reason.NOT_ALLOWED)
    name = wire.json_object(reply.body).get("errorCode")  # a page is not their word
    if reply.status == 403:
        return Answer(Outcome.REFUSED, Reason.NOT_ALLOWED)
    if asked:
        return Answer(Outcome.ABSENT) if name == "TRANSACTION_NOT_FOUND" else Answer(Outcome.UNKNOWN, Reason.OTHER)
    if name in ("DUPLICATE_CUSTOM_IDENTIFIER", "PHONE_RECENTLY_RECHARGED"):  # by an order of ours, it may be this one
        return Answer(Outcome.UNKNOWN, Reason.DUPLICATE)
    return Answer(Outcome.FAILED, _NO[name]) if name in _NO else Answer(Outcome.UNKNOWN, Reason.OTHER)


def amount(value: object) -> str:
    """As it stands in the name of a product, such as ``25.00``."""
    return wire.decimal(wire.e6(value))


def _exact(value: object) -> Decimal:
    if type(value) not in (int, str, Decimal):
        raise ValueError("not an amount")
    number = Decimal(str(value))
    if not 0 <= number < MILLION * MILLION:
        raise ValueError("not an amount")
    return number


def _cost_e6(value: object) -> int | None:
    """What a transaction costs; None where it cannot be read."""
    try:
        return _up_e6(value)
    except wire.UNREADABLE:
        return None


def _up_e6(value: object) -> int:
    """Millionths of it, rounded up: what we pay is never told too low."""
    return int((_exact(value) * MILLION).to_integral_value(ROUND_CEILING))
