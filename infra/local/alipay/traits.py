"""Points on which what Alipay does is not certain: each can be played either way."""

from __future__ import annotations

from collections.abc import Mapping

# The first of each is the default: what its documents say, or else what is harder for a merchant.
TRAITS: Mapping[str, tuple[str, ...]] = {
    # How `/` stands in an answer; `mixed` takes turns.
    "slashes": ("mixed", "escaped", "plain"),
    # Whether `sign` stands behind or before what it signs.
    "sign_place": ("last", "first"),
    # What stands around an answer of the gateway itself: the method's own name, or `error_response`.
    "gateway_error": ("method", "error_response"),
    # Whether an answer 40004 is signed.
    "business_error": ("signed", "unsigned"),
    # What tells that a refund was made: refund_status with the amount, or the amount alone.
    "refund_query": ("status", "amount"),
    # fund_change when a refund is asked for again.
    "repeated_refund": ("N", "Y"),
    # Whether a refund is notified.
    "refund_notice": ("sent", "not_sent"),
    # Whether a trade that was paid and wholly refunded still says when it was paid.
    "closed_pay_date": ("kept", "dropped"),
    # Whether closing an unpaid trade is notified to the merchant who closed it.
    "close_notice": ("not_sent", "sent"),
    # The answer to closing what is paid, and what is closed.
    "close_paid": ("ACQ.TRADE_STATUS_ERROR", "ACQ.TRADE_HAS_SUCCESS", "ACQ.REASON_TRADE_STATUS_INVALID"),
    "close_again": ("ACQ.TRADE_HAS_CLOSE", "ACQ.TRADE_STATUS_ERROR", "ok"),
    # The answer to cancelling an order that nobody has scanned.
    "cancel_absent": ("ok", "ACQ.TRADE_NOT_EXIST"),
    # When an order for a QR code becomes a trade that can be asked after.
    "precreate_trade": ("when_scanned", "at_once"),
    # What a paid trade is called: one that can be refunded, or one that cannot.
    "paid_status": ("TRADE_SUCCESS", "TRADE_FINISHED"),
    # The bill of a day without money.
    "empty_day": ("isp.bill_not_exist", "bill_without_lines"),
    # The bill of the day that is not over; Alipay's is ready next morning, but nobody should have to wait for it.
    "bill_of_today": ("given", "isp.bill_not_exist"),
    # Whether a refund brings its part of the fee back.
    "refunded_fee": ("kept", "given_back"),
    # What is answered at a download address that is too old.
    "old_download": ("403", "page"),
    # How the second file of a bill is called.
    "summary_name": ("汇总", "业务明细(汇总)"),
    # Whether a subject may hold / = &, which the documents advise against.
    "subject_marks": ("taken", "refused"),
}


def checked(wanted: object) -> dict[str, str]:
    """The traits to be set; ValueError if there is no such trait or value."""
    if not isinstance(wanted, dict):
        raise ValueError("an object of traits is expected")
    for name, value in wanted.items():
        if name not in TRAITS or value not in TRAITS[name]:
            raise ValueError(f"traits are {dict(TRAITS)}")
    return wanted
