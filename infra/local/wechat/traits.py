"""Points on which what WeChat Pay does is not certain: each can be played either way."""

from __future__ import annotations

from collections.abc import Mapping

# The first of each is the default: what its documents say, or else what is harder for a merchant.
TRAITS: Mapping[str, tuple[str, ...]] = {
    # What an order is called whose payer tried in vain: its pages name PAYERROR, for payments by code only.
    "failed_state": ("PAYERROR", "NOTPAY"),
    # What an order is called that nobody paid until time_expire.
    "expired_state": ("NOTPAY", "CLOSED"),
    # What an order is called of which a part was refunded.
    "partly_refunded_state": ("REFUND", "SUCCESS"),
    # Whether an answer 4xx is signed.
    "refusals": ("signed", "unsigned"),
    # How codes are spelt: its pages have some of them both ways.
    "codes": ("underscored", "joined"),
    # The answer about an order, and about a refund, that is not there.
    "order_absent": ("ORDER_NOT_EXIST", "RESOURCE_NOT_EXISTS"),
    "refund_absent": ("RESOURCE_NOT_EXISTS", "REFUND_NOT_EXISTS"),
    # The answer to closing what is paid, and what is closed.
    "close_paid": ("ORDERPAID", "INVALID_REQUEST"),
    "close_again": ("204", "ORDER_CLOSED"),
    # The answer to the same refund asked for again.
    "repeated_refund": ("told", "INVALID_REQUEST"),
    # Whether a refund is notified where it was asked for without an address of its own.
    "refund_notice": ("sent", "not_sent"),
    # The bill of a day without money.
    "empty_day": ("NO_STATEMENT_EXIST", "bill_without_lines"),
    # The layout of the bill: today's, and one that was before.
    "bill_columns": ("27", "24"),
    # Whether a refund brings its part of the fee back.
    "refunded_fee": ("given_back", "kept"),
}


def checked(wanted: object) -> dict[str, str]:
    """The traits to be set; ValueError if there is no such trait or value."""
    if not isinstance(wanted, dict):
        raise ValueError("an object of traits is expected")
    for name, value in wanted.items():
        if name not in TRAITS or value not in TRAITS[name]:
            raise ValueError(f"traits are {dict(TRAITS)}")
    return wanted
