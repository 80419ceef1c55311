"""卡商网 kashangwl, and the sites of its family (866ka, cqmeihu): cards and top-ups out of our balance there.

What the protocol lacks: MD5; answers are not signed; of a callback ``cards`` and ``tickets`` are not in the signature;
tickets are pictures, and what is sold as such is left out. State 501 is *unknown* in their own words, as is
``server_error``. Not documented for the whole family, and so taken at its worst unless the terms say otherwise: what a
second order under the same number does (``trait.repeat``); asking by our number (``trait.asks_by_ours``), which some
sites have as outer-order; whether ``safe_cost``, which is always sent, is kept (``trait.ceiling``).

Term: ``customer_id``, and ``site`` where it is another one than kashangwl itself. Key: ``secret``.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from shared.kernel.money import Money
from shared.suppliers import kinds, refusal_words, signing, wire
from shared.suppliers.adapters import kashangwl_reading
from shared.suppliers.errors import BadCallback, SupplierRefused
from shared.suppliers.supplier import (
    Account,
    Ack,
    Answer,
    Delivers,
    Keys,
    News,
    Outcome,
    Page,
    Product,
    Purchase,
    Reason,
    Traits,
)

SITE = "https://www.kashangwl.com"
TRAITS = Traits(calls_back=True, rate=2.0)  # they allow 120 a minute from one address
WINDOW = 600  # seconds a signed callback stays fresh
CALLBACK_MAX = 2**18
_UNSIGNED = re.compile(r"(sign|cards|tickets)(\[.*\])?")

# The others, `error` above all, come with a sentence.
_REASONS = {
    "invalid_sign": Reason.BAD_SIGNATURE,
    "disabled_customer": Reason.NOT_ALLOWED,
    "request_frequency": Reason.BUSY,
    "server_error": Reason.SILENT,
}

T = TypeVar("T")


@dataclass(frozen=True)
class Kashangwl:
    """keys: newest first; the newest sign, and any of them may have signed a callback."""

    account: Account
    keys: Sequence[Keys] = field(repr=False)

    @property
    def code(self) -> str:
        return self.account.code

    @property
    def traits(self) -> Traits:
        return kinds.traits(TRAITS, self.account.terms)

    def products(self, _cursor: str, now: datetime) -> Page:
        """All of them, in one page, without the fields of top-ups."""

        def read(data: Any) -> Page:
            return Page(wire.readable(data, lambda one: kashangwl_reading.offers(one, self.account.currency)))

        return self._told("product-list", {}, now, read)

    def product(self, product: str, now: datetime) -> Product | None:
        if not wire.is_number(product):
            return None
        wanted, currency = {"product_id": product}, self.account.currency
        found = wire.or_none(
            lambda: self._told("product", wanted, now, lambda data: [*kashangwl_reading.offers(data, currency)])
        )
        if not found or found[0].delivers is not Delivers.TOPUP:
            return next(iter(found or ()), None)
        return wire.or_none(
            lambda: self._told(
                "product/recharge-params", wanted, now, lambda data: kashangwl_reading.filled(found[0], data)
            )
        )

    def balance(self, now: datetime) -> Money:
        return self._told("customer", {}, now, lambda data: wire.balance(data["balance"], self.account.currency))

    def place(self, purchase: Purchase, now: datetime) -> Answer:
        if not wire.is_number(purchase.product):
            return Answer(Outcome.FAILED, Reason.OFF_SHELF)
        order = {
            "product_id": purchase.product,
            "quantity": str(purchase.quantity),
            "outer_order_id": purchase.number,
            "safe_cost": wire.decimal(purchase.most_e6, 4),  # of one piece
        }
        if purchase.callback_url:
            order["notify_url"] = purchase.callback_url
        order |= kashangwl_reading.account_fields(purchase.account)

        def read(reply: wire.Reply) -> Answer:
            answer = wire.json_object(reply.body)
            if answer["code"] == "ok":
                return kashangwl_reading.order(answer["data"], purchase.quantity, topped_up=bool(purchase.account))
            return _refusal(answer, Outcome.FAILED, purchase.account.values())

        return wire.placed(lambda: self._call("buy", order, now), read, purchase.account.values())

    def ask(self, number: str, upstream_no: str, now: datetime) -> Answer:
        if not upstream_no and not self.traits.asks_by_ours:
            return Answer(Outcome.UNKNOWN, Reason.SILENT)
        path, wanted = (
            ("order", {"order_id": upstream_no}) if upstream_no else ("outer-order", {"outer_order_id": number})
        )

        def read(reply: wire.Reply) -> Answer:
            answer = wire.json_object(reply.body)
            if answer["code"] == "ok":
                if (answer["data"].get("outer_order_id") or number) != number:
                    raise ValueError("another order")
                got = kashangwl_reading.order(answer["data"])
                if upstream_no and got.upstream_no != upstream_no:
                    raise ValueError("another order")
                return got
            absent = answer["code"] not in _REASONS and refusal_words.no_such_order(str(answer.get("message")))
            return Answer(Outcome.ABSENT) if absent else _refusal(answer, Outcome.UNKNOWN)

        return wire.asked(lambda: self._call(path, wanted, now), read)

    def check_account(self, _product: str, _account: Mapping[str, str], _now: datetime) -> bool | None:
        return None

    def parse_callback(self, _headers: Mapping[str, str], raw: bytes, now: datetime) -> News:
        try:
            fields = wire.form(raw, CALLBACK_MAX)
            signed = {name: value for name, value in fields.items() if not _UNSIGNED.fullmatch(name)}
            signatures = [signing.kashangwl(signed, secret) for keys in self.keys if (secret := keys.get("secret"))]
            is_his = signing.is_fresh(fields["timestamp"], now, WINDOW) and signing.is_signed(
                fields["sign"], signatures
            )
            if fields["customer_id"] != self.account.terms["customer_id"] or not is_his:
                raise ValueError
            ours = fields.get("outer_order_id", "")
            return News(wire.text(ours) if ours else "", wire.text(fields["order_id"]))
        except wire.UNREADABLE:
            raise BadCallback from None

    def ack(self, ok: bool) -> Ack:
        return Ack(200, "ok") if ok else Ack(400, "fail")

    def _call(self, path: str, fields: Mapping[str, str], now: datetime) -> wire.Reply:
        site = (self.account.terms.get("site") or SITE).rstrip("/")
        signed = {**fields, "customer_id": self.account.terms["customer_id"], "timestamp": str(int(now.timestamp()))}
        signed["sign"] = signing.kashangwl(signed, self.keys[0]["secret"])
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        most = wire.LIST_MAX if path == "product-list" else wire.ANSWER_MAX
        return wire.call(
            "POST", f"{site}/api/{path}", urllib.parse.urlencode(signed).encode(), headers, answer_max=most
        )

    def _told(self, path: str, fields: Mapping[str, str], now: datetime, read: Callable[[Any], T]) -> T:
        def data(reply: wire.Reply) -> T:
            answer = wire.json_object(reply.body)
            if answer["code"] != "ok":
                reason = _refusal(answer, Outcome.UNKNOWN).reason
                if reason in (Reason.BUSY, Reason.SILENT):
                    raise ValueError("no answer to this")
                raise SupplierRefused(supplier=self.code, reason=reason)
            return read(answer["data"])

        return wire.told(self.code, lambda: self._call(path, fields, now), data)


def _refusal(answer: Mapping[str, Any], definite: Outcome, account: Iterable[str] = ()) -> Answer:
    """definite: what a refusal is that is said before anything is bought. account: what the buyer has typed."""
    reason = _REASONS.get(answer["code"]) or refusal_words.reason(str(answer.get("message")), account)
    return refusal_words.refused(reason, definite, account)
