"""dujiao-next, upstream API 1.0: a shop sells to other shops, paid at once out of our wallet there.

The best protocol of its kind: everything is signed with a time, both ways, and the same order placed again answers
with the first one, which is how a lost answer is found again. What it lacks: a ceiling; a question by our number;
signed answers; any word on how a manual form is described. A text that a person wrote for a top-up and a card are the
same field: goods are what looks like cards in it.

A product of ours is ``{product}-{sku}``. Terms: ``site``; ``callback_path`` where a fork signs its callbacks over
another path than the usual one. Keys: ``api_key``, ``api_secret``.
"""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from shared.kernel.money import Money, minor_from_e6
from shared.suppliers import kinds, signing, wire
from shared.suppliers.adapters import dujiao_reading
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
    Repeat,
    Traits,
)

TRAITS = Traits(repeat=Repeat.REPLAYS, calls_back=True)
BASE = "/api/v1/upstream"
CALLBACK_PATH = f"{BASE}/callback"  # what they sign over, wherever they were told to call
WINDOW = 60  # seconds a signed message stays fresh
CALLBACK_MAX = 2**20
PAGE_SIZE = 100
_STAMP = re.compile(r"[0-9]{10}")

_REFUSED = {
    "missing_auth_headers": Reason.BAD_SIGNATURE,
    "invalid_timestamp": Reason.BAD_SIGNATURE,
    "timestamp_expired": Reason.BAD_SIGNATURE,
    "invalid_signature": Reason.BAD_SIGNATURE,
    "invalid_api_key": Reason.NOT_ALLOWED,
    "user_disabled": Reason.NOT_ALLOWED,
    "ip_not_allowed": Reason.NOT_ALLOWED,
    "invalid_callback_url": Reason.NOT_ALLOWED,  # our own address, and so the same for every order
}
_FAILED = {
    "bad_request": Reason.OTHER,
    "sku_unavailable": Reason.OFF_SHELF,
    "product_unavailable": Reason.OFF_SHELF,
    "product_not_found": Reason.OFF_SHELF,
    "insufficient_balance": Reason.LOW_BALANCE,
    "insufficient_stock": Reason.NO_STOCK,
    "payment_failed": Reason.LOW_BALANCE,  # the order was made, and cancelled at once
}

T = TypeVar("T")


@dataclass(frozen=True)
class Dujiao:
    """keys: newest first; the newest sign, and any of them may have signed a callback."""

    account: Account
    keys: Sequence[Keys] = field(repr=False)

    def __post_init__(self) -> None:
        wire.fit(self.account, self.keys, ["site"], ["api_key", "api_secret"])

    @property
    def code(self) -> str:
        return self.account.code

    @property
    def traits(self) -> Traits:
        return kinds.traits(TRAITS, self.account.terms)

    def products(self, cursor: str, now: datetime) -> Page:
        page = int(cursor or 1)

        def read(answer: Mapping[str, Any]) -> Page:
            items, size = answer["items"], wire.whole(answer.get("page_size", PAGE_SIZE))
            more = bool(items) and page * size < wire.whole(answer["total"])
            offers = wire.readable(items, lambda item: dujiao_reading.offers(item, self.account.currency))
            return Page(offers, str(page + 1) if more else "")

        return self._told("GET", f"/products?page={page}&page_size={PAGE_SIZE}", now, read)

    def product(self, product: str, now: datetime) -> Product | None:
        item, _, sku = product.partition("-")
        if not (wire.is_number(item) and wire.is_number(sku)):
            return None
        path = f"/products/{item}"
        try:
            offers = self._told(
                "GET", path, now, lambda answer: list(dujiao_reading.offers(answer["product"], self.account.currency))
            )
        except SupplierRefused as refused:
            if refused.facts["reason"] == Reason.OFF_SHELF:
                return None
            raise
        return next((offer for offer in offers if offer.product == product), None)

    def balance(self, now: datetime) -> Money:
        def read(answer: Mapping[str, Any]) -> Money:
            return Money(minor_from_e6(wire.e6(answer["balance"])), wire.text(answer["currency"]))

        return self._told("POST", "/ping", now, read)

    def place(self, purchase: Purchase, now: datetime) -> Answer:
        sku = purchase.product.partition("-")[2]
        if not wire.is_number(sku):
            return Answer(Outcome.FAILED, Reason.OFF_SHELF)
        order: dict[str, object] = {
            "sku_id": int(sku),
            "quantity": purchase.quantity,
            "downstream_order_no": purchase.number,
        }
        if purchase.account:
            order["manual_form_data"] = dict(purchase.account)
        if purchase.callback_url:
            order["callback_url"] = purchase.callback_url
        body = json.dumps(order, ensure_ascii=False, separators=(",", ":")).encode()

        def read(reply: wire.Reply) -> Answer:
            answer = wire.json_object(reply.body)
            if answer["ok"] is True:
                return dujiao_reading.order(answer, wire.text(answer["order_id"]), self.account.currency)
            code = answer["error_code"]
            if code == "bad_request" and purchase.account:
                return Answer(Outcome.FAILED, Reason.BAD_ACCOUNT)
            return _refusal(code, Outcome.FAILED)

        return wire.placed(lambda: self._call("POST", "/orders", now, body), read)

    def ask(self, _number: str, upstream_no: str, now: datetime) -> Answer:
        """By his number only; without it `place` again tells."""
        if not wire.is_number(upstream_no):
            return Answer(Outcome.UNKNOWN, Reason.SILENT)

        def read(reply: wire.Reply) -> Answer:
            answer = wire.json_object(reply.body)
            if answer["ok"] is True:
                return dujiao_reading.order(answer, upstream_no, self.account.currency)
            absent = answer["error_code"] == "order_not_found"
            return Answer(Outcome.ABSENT) if absent else _refusal(answer["error_code"], Outcome.UNKNOWN)

        return wire.asked(lambda: self._call("GET", f"/orders/{upstream_no}", now), read)

    def check_account(self, _product: str, _account: Mapping[str, str], _now: datetime) -> bool | None:
        return None

    def parse_callback(self, headers: Mapping[str, str], raw: bytes, now: datetime) -> News:
        stamp = headers.get("dujiao-next-timestamp", "")
        fresh = _STAMP.fullmatch(stamp) and abs(int(stamp) - now.timestamp()) <= WINDOW
        path = self.account.terms.get("callback_path") or CALLBACK_PATH
        named = [keys for keys in self.keys if keys.get("api_key") == headers.get("dujiao-next-api-key")]
        secrets = [keys["api_secret"] for keys in named if keys.get("api_secret")]
        signatures = [signing.dujiao("POST", path, stamp, raw, secret) for secret in secrets]
        given = headers.get("dujiao-next-signature", "")
        if not fresh or len(raw) > CALLBACK_MAX or not signing.is_signed(given, signatures):
            raise BadCallback
        try:
            news = wire.json_object(raw)
            return News(wire.text(news["downstream_order_no"]), wire.text(news["order_id"]))
        except wire.UNREADABLE:
            raise BadCallback from None

    def ack(self, ok: bool) -> Ack:
        if ok:
            return Ack(200, '{"ok":true,"message":"received"}', "application/json")
        return Ack(400, '{"ok":false,"message":"rejected"}', "application/json")

    def _call(self, method: str, path: str, now: datetime, body: bytes | None = None) -> wire.Reply:
        url = self.account.terms["site"].rstrip("/") + BASE + path
        stamp, keys = str(int(now.timestamp())), self.keys[0]
        signed = signing.dujiao(method, urllib.parse.urlsplit(url).path, stamp, body or b"", keys["api_secret"])
        headers = {
            "Dujiao-Next-Api-Key": keys["api_key"],
            "Dujiao-Next-Timestamp": stamp,
            "Dujiao-Next-Signature": signed,
            "Content-Type": "application/json",
        }
        most = wire.LIST_MAX if "?" in path else wire.ANSWER_MAX
        return wire.call(method, url, b"" if method == "POST" and body is None else body, headers, answer_max=most)

    def _told(self, method: str, path: str, now: datetime, read: Callable[[Mapping[str, Any]], T]) -> T:
        def checked(reply: wire.Reply) -> T:
            answer = wire.json_object(reply.body)
            if answer["ok"] is not True:
                raise SupplierRefused(supplier=self.code, reason=_refusal(answer["error_code"], Outcome.UNKNOWN).reason)
            return read(answer)

        return wire.told(self.code, lambda: self._call(method, path, now), checked)


def _refusal(code: object, otherwise: Outcome) -> Answer:
    """otherwise: what a definite refusal is; one that is not known is UNKNOWN."""
    if code in _REFUSED:
        return Answer(Outcome.REFUSED, _REFUSED[str(code)])
    if code in _FAILED:
        return Answer(otherwise, _FAILED[str(code)])
    return Answer(Outcome.UNKNOWN, Reason.OTHER)
