"""What each method of the API does and answers."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from infra.local.alipay.bills import bill_zip
from infra.local.alipay.book import (
    BEIJING,
    BUYER_ID,
    BUYER_LOGON,
    Book,
    BusinessError,
    Named,
    Order,
    Trade,
    beijing,
    yuan,
)
from infra.local.alipay.protocol import Wanted
from infra.local.alipay.signing import Identity

DOWNLOAD_SECONDS = 30
_PRODUCTS = {
    "precreate": ("FACE_TO_FACE_PAYMENT", "QR_CODE_OFFLINE"),
    "page": ("FAST_INSTANT_TRADE_PAY",),
    "wap": ("QUICK_WAP_WAY", "QUICK_WAP_PAY"),  # both are written about; contracts say the first
}

Content = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """One request that passed the gateway."""

    route: str
    wanted: Wanted
    notify_url: str
    return_url: str
    traits: Mapping[str, str]
    now: float


class Methods:
    """`content` is what an answer holds beside code and msg."""

    def __init__(self, book: Book, identity: Identity, address: Callable[[], str]) -> None:
        self._book = book
        self._identity = identity
        self._address = address
        self._turn = threading.Lock()
        self._downloads: dict[str, tuple[date, float]] = {}
        self._does: dict[str, Callable[[Call], Content]] = {
            "precreate": self._precreate,
            "query": self._query,
            "close": self._close,
            "cancel": self._cancel,
            "refund": self._refund,
            "refund_query": self._refund_query,
            "bill": self._bill,
        }

    def content(self, call: Call) -> Content:
        return self._does[call.route](call)

    def order(self, call: Call) -> str:
        """The address of the pay page for what is wanted: the first one, if it was wanted before."""
        wanted = call.wanted
        out_trade_no = wanted.number("out_trade_no", needed=True)
        amount_minor = wanted.amount_minor("total_amount")
        subject = wanted.text("subject", 256, needed=True)
        if not subject.isprintable() or (call.traits["subject_marks"] == "refused" and set(subject) & set("/=&")):
            raise BusinessError("ACQ.INVALID_PARAMETER", "参数无效：subject")
        wanted.one_of("product_code", _PRODUCTS[call.route], needed=call.route != "precreate")
        wanted.one_of("seller_id", (self._identity.seller_id,))
        wanted.one_of("trans_currency", ("CNY",))
        spans = ("timeout_express", "qr_code_timeout_express") if call.route == "precreate" else ("timeout_express",)
        order = Order(
            out_trade_no=out_trade_no,
            method=call.route,
            amount_minor=amount_minor,
            subject=subject,
            notify_url=call.notify_url,
            return_url=call.return_url if call.route != "precreate" else "",
            passback=wanted.text("passback_params", 512),
            expires_at=wanted.expires_at(call.now, *spans),
        )
        at_once = call.route == "precreate" and call.traits["precreate_trade"] == "at_once"
        return f"{self._address()}/pay/{self._book.order(order, call.now, trade_at_once=at_once)}"

    def _precreate(self, call: Call) -> Content:
        # The real one is https://qr.alipay.com/…, which only Alipay's app opens; here it is the pay page itself.
        return {"out_trade_no": call.wanted.content["out_trade_no"], "qr_code": self.order(call)}

    def _query(self, call: Call) -> Content:
        trade = self._book.trade(_named(call.wanted), call.now)
        paid = yuan(trade.amount_minor) if trade.is_paid else "0.00"
        content = _numbers(trade) | {
            "buyer_logon_id": BUYER_LOGON,
            "buyer_user_id": BUYER_ID,
            "trade_status": trade.status,
            "total_amount": yuan(trade.amount_minor),
            "subject": trade.subject,
            "buyer_pay_amount": paid,
            "receipt_amount": paid,
            "invoice_amount": paid,
            "point_amount": "0.00",
        }
        if trade.is_paid:
            content["fund_bill_list"] = [{"amount": paid, "fund_channel": "ALIPAYACCOUNT"}]
        dropped = trade.status == "TRADE_CLOSED" and call.traits["closed_pay_date"] == "dropped"
        if trade.paid_at is not None and not dropped:
            content["send_pay_date"] = beijing(trade.paid_at)
        if trade.currency != "CNY":
            content |= {"trans_currency": trade.currency, "settle_currency": trade.currency}
        return content

    def _close(self, call: Call) -> Content:
        traits = call.traits
        return _numbers(
            self._book.shut(
                _named(call.wanted),
                call.now,
                paid=traits["close_paid"],
                again=traits["close_again"],
                notify=traits["close_notice"] == "sent",
            )
        )

    def _cancel(self, call: Call) -> Content:
        named = _named(call.wanted)
        trade, action = self._book.cancel(named, call.now)
        if trade is None and call.traits["cancel_absent"] != "ok":
            raise BusinessError("ACQ.TRADE_NOT_EXIST", "交易不存在")
        said = _numbers(trade) | {"action": action} if trade else {"out_trade_no": named.out_trade_no}
        return said | {"retry_flag": "N"}

    def _refund(self, call: Call) -> Content:
        wanted = call.wanted
        amount_minor = wanted.amount_minor("refund_amount")
        wanted.text("refund_reason", 256)
        trade, refund, made_now = self._book.refund(
            _named(wanted),
            wanted.number("out_request_no"),
            amount_minor,
            call.now,
            currency=wanted.text("refund_currency", 8),
            notify=call.traits["refund_notice"] == "sent",
        )
        return _numbers(trade) | {
            "buyer_logon_id": BUYER_LOGON,
            "buyer_user_id": BUYER_ID,
            "fund_change": "Y" if made_now else call.traits["repeated_refund"],
            "gmt_refund_pay": beijing(refund.refunded_at),
            "refund_fee": yuan(refund.total_minor),
            "send_back_fee": yuan(refund.amount_minor),
            "refund_detail_item_list": [{"amount": yuan(refund.amount_minor), "fund_channel": "ALIPAYACCOUNT"}],
        }

    def _refund_query(self, call: Call) -> Content:
        trade, refund = self._book.refund_made(
            _named(call.wanted), call.wanted.number("out_request_no", needed=True), call.now
        )
        if refund is None:
            return {}  # success, and not a word about the refund
        content = _numbers(trade) | {
            "out_request_no": refund.out_request_no,
            "total_amount": yuan(trade.amount_minor),
            "refund_amount": yuan(refund.amount_minor),
        }
        if call.traits["refund_query"] == "status":
            content |= {"refund_status": "REFUND_SUCCESS", "gmt_refund_pay": beijing(refund.refunded_at)}
        return content

    # -- bills -------------------------------------------------------------------------------------------------------

    def _bill(self, call: Call) -> Content:
        # The other kind, `signcustomer`, is the account's statement; only trades are simulated.
        call.wanted.one_of("bill_type", ("trade",), needed=True)
        try:
            day = datetime.strptime(call.wanted.text("bill_date", 10, needed=True), "%Y-%m-%d").date()  # noqa: DTZ007
        except ValueError:
            raise BusinessError("isv.invalid-arguments", "入参bill_date格式错误") from None
        today = datetime.fromtimestamp(call.now, BEIJING).date()
        is_ready = day < today or (day == today and call.traits["bill_of_today"] == "given")
        has_lines = is_ready and any(self._book.day(day, call.now))
        if not is_ready or (not has_lines and call.traits["empty_day"] == "isp.bill_not_exist"):
            raise BusinessError("isp.bill_not_exist", "账单不存在")
        token = secrets.token_urlsafe(18)
        with self._turn:
            self._downloads = {key: held for key, held in self._downloads.items() if held[1] > call.now}
            self._downloads[token] = (day, call.now + DOWNLOAD_SECONDS)
        return {"bill_download_url": f"{self._address()}/downloadBillFile.resource?bizType=trade&token={token}"}

    def download(self, token: str, traits: Mapping[str, str], now: float) -> tuple[str, bytes] | None:
        """Name and content of a bill's file; None if the address is unknown or too old."""
        with self._turn:
            day, until = self._downloads.get(token, (None, 0.0))
        if day is None or until <= now:
            return None
        paid, back = self._book.day(day, now)
        content = bill_zip(
            self._identity.seller_id,
            day,
            paid,
            back,
            now,
            fee_comes_back=traits["refunded_fee"] == "given_back",
            summary_name=traits["summary_name"],
        )
        return f"{self._identity.seller_id}0156_{day:%Y%m%d}.csv.zip", content


def _named(wanted: Wanted) -> Named:
    named = Named(wanted.number("out_trade_no"), wanted.text("trade_no", 64))
    if not (named.out_trade_no or named.trade_no):
        raise BusinessError("ACQ.INVALID_PARAMETER", "参数无效：out_trade_no和trade_no不能同时为空")
    return named


def _numbers(trade: Trade) -> Content:
    return {"trade_no": trade.trade_no, "out_trade_no": trade.out_trade_no}
