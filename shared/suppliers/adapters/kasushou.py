"""卡速售 kasushou 2.0, and the many sites that run the same code: cards and top-ups out of our balance there.

Requests are signed with a time over the very bytes that travel. What the protocol lacks: answers are not signed, and
refusals are sentences without numbers that mean anything; an order never comes with its cards, which asking brings; it
does not say how many pieces it was for, so top-ups are bought one at a time. Not documented, and so taken at its worst
unless the terms say otherwise: what a second order under the same number does (``trait.repeat``); whether
``safe_price``, which is always sent, is kept (``trait.ceiling``); whether they call back (``trait.calls_back``), and
how: a callback is verified where it is signed, over its bytes with headers or inside of its own JSON, and believed in
no case: it is a reason to ask. A cancelled order may still show a card: it is goods where some of the money stayed with
him, and where he does not say, a person must look.

Terms: ``site``, ``user_id``. Key: ``api_key``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from shared.kernel.money import Money
from shared.suppliers import kinds, refusal_words, signing, wire
from shared.suppliers.adapters import kasushou_reading
from shared.suppliers.errors import BadCallback, SupplierRefused
from shared.suppliers.supplier import (
    Account,
    Ack,
    Answer,
    Keys,
    News,
    Outcome,
    Page,
    Product,
    Purchase,
    Reason,
    Traits,
)

TRAITS = Traits(asks_by_ours=True)
WINDOW = 600  # seconds a signed callback stays fresh; they repeat it for longer, and asking goes on without it
CALLBACK_MAX = 2**20
PAGE_SIZE = 100
_DONE = 200
_UNSIGNED = ("sign", "card_list", "express_list")
_NUMBER = re.compile(r"[0-9a-z]{30}")

T = TypeVar("T")


@dataclass(frozen=True)
class Kasushou:
    """keys: newest first; the newest sign, and any of them may have signed a callback."""

    account: Account
    keys: Sequence[Keys] = field(repr=False)

    @property
    def code(self) -> str:
        return self.account.code

    @property
    def traits(self) -> Traits:
        return kinds.traits(TRAITS, self.account.terms)

    def products(self, cursor: str, now: datetime) -> Page:
        page, currency = int(cursor or 1), self.account.currency

        def read(data: Any) -> Page:
            goods = data.get("list", data.get("data")) if isinstance(data, Mapping) else data
            more = str(page + 1) if len(goods) >= PAGE_SIZE else ""
            return Page(wire.readable(goods, lambda one: [kasushou_reading.product(one, currency)]), more)

        return self._told("goods/list", {"cate_id": 0, "keyword": "", "limit": PAGE_SIZE, "page": page}, now, read)

    def product(self, product: str, now: datetime) -> Product | None:
        if not wire.is_number(product):
            return None
        wanted, currency = {"id": int(product)}, self.account.currency
        return wire.or_none(
            lambda: self._told("goods/info", wanted, now, lambda data: kasushou_reading.product(data, currency))
        )

    def balance(self, now: datetime) -> Money:
        return self._told("user/info", {}, now, lambda data: wire.balance(data["balance"], self.account.currency))

    def place(self, purchase: Purchase, now: datetime) -> Answer:
        if not wire.is_number(purchase.product):
            return Answer(Outcome.FAILED, Reason.OFF_SHELF)
        order: dict[str, object] = {
            "id": int(purchase.product),
            "external_orderno": purchase.number,
            "quantity": purchase.quantity,
            "safe_price": wire.decimal(purchase.most_e6, 4),  # of one piece; read as the sum it is lower still
        }
        if purchase.callback_url:
            order["url"] = purchase.callback_url
        if purchase.account:
            order["attach"] = dict(purchase.account)

        def read(reply: wire.Reply) -> Answer:
            answer = wire.json_object(reply.body)
            if wire.whole(answer["code"]) == _DONE:
                return Answer(Outcome.ACCEPTED, upstream_no=wire.text(answer["data"]["ordersn"]))
            return _refusal(answer, Outcome.FAILED, purchase.account.values())

        return wire.placed(lambda: self._call("order/buy", order, now), read, purchase.account.values())

    def ask(self, number: str, upstream_no: str, now: datetime) -> Answer:
        wanted = {"ordersn": upstream_no} if upstream_no else {"external_orderno": number}

        def read(reply: wire.Reply) -> Answer:
            answer = wire.json_object(reply.body)
            if wire.whole(answer["code"]) != _DONE:
                absent = refusal_words.no_such_order(str(answer.get("msg")))
                return Answer(Outcome.ABSENT) if absent else _refusal(answer, Outcome.UNKNOWN)
            if answer["data"] == []:
                return Answer(Outcome.ABSENT)
            [order] = answer["data"]  # of more than one, nobody can say which is ours
            # Some sites leave ours empty; then his must say that it is this one.
            ours = order.get("external_orderno") or (number if upstream_no else "")
            if ours != number or (upstream_no and order["ordersn"] != upstream_no):
                raise ValueError("another order")
            return kasushou_reading.order(order)

        return wire.asked(lambda: self._call("order/info", {"day": 0, **wanted}, now), read)

    def check_account(self, _product: str, _account: Mapping[str, str], _now: datetime) -> bool | None:
        return None

    def parse_callback(self, headers: Mapping[str, str], raw: bytes, now: datetime) -> News:
        try:
            if len(raw) > CALLBACK_MAX:
                raise ValueError
            news = wire.json_object(raw)
            if "sign" in headers:
                stamp = headers.get("timestamp", "")
                self._check(headers["sign"], stamp, raw, now)
            elif "sign" in news:
                stamp = wire.text(news["time"])
                plain = {name: value for name, value in news.items() if name not in _UNSIGNED}
                self._check(wire.text(news["sign"]), stamp, _written(plain), now)
            number = wire.text(news["external_orderno"])
            if not _NUMBER.fullmatch(number):  # nobody guesses one of ours, which is all that an unsigned one shows
                raise ValueError
            return News(number)
        except wire.UNREADABLE:
            raise BadCallback from None

    def ack(self, ok: bool) -> Ack:
        return Ack(200, "ok") if ok else Ack(400, "fail")

    def _check(self, given: str, stamp: str, signed: bytes, now: datetime) -> None:
        """Raise ValueError of what is forged or stale."""
        keys = [keys["api_key"] for keys in self.keys if keys.get("api_key")]
        signatures = [signing.kasushou(stamp, signed, key) for key in keys]
        if not (signing.is_fresh(stamp, now, WINDOW) and signing.is_signed(given, signatures)):
            raise ValueError

    def _call(self, path: str, fields: Mapping[str, object], now: datetime) -> wire.Reply:
        body, stamp = _written(fields), str(int(now.timestamp() * 1000))
        headers = {
            "Sign": signing.kasushou(stamp, body, self.keys[0]["api_key"]),
            "Timestamp": stamp,
            "UserId": self.account.terms["user_id"],
            "Content-Type": "application/json",
        }
        url = f"{self.account.terms['site'].rstrip('/')}/api/v1/{path}"
        most = wire.LIST_MAX if path == "goods/list" else wire.ANSWER_MAX
        return wire.call("POST", url, body, headers, answer_max=most)

    def _told(self, path: str, fields: Mapping[str, object], now: datetime, read: Callable[[Any], T]) -> T:
        def data(reply: wire.Reply) -> T:
            answer = wire.json_object(reply.body)
            if wire.whole(answer["code"]) != _DONE:
                raise SupplierRefused(supplier=self.code, reason=_refusal(answer, Outcome.UNKNOWN).reason)
            return read(answer["data"])

        return wire.told(self.code, lambda: self._call(path, fields, now), data)


def _written(fields: Mapping[str, object]) -> bytes:
    """As it is signed and sent: names in order, slashes and characters as they are, a fraction as PHP writes it."""
    return json.dumps(fields, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=float).encode()


def _refusal(answer: Mapping[str, Any], definite: Outcome, account: Iterable[str] = ()) -> Answer:
    """definite: what a refusal is that is said before anything is bought. account: what the buyer has typed."""
    return refusal_words.refused(refusal_words.reason(str(answer.get("msg")), account), definite, account)
