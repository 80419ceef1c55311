"""dujiao-next, upstream API 1.0: a shop sells to other shops, paid at once out of our wallet there.

The best protocol of its kind: everything is signed with a time, both ways, and the same order placed again answers
with the first one, which is how a lost answer is found again, for as long as the key is the same. What it lacks: a
ceiling; a question by our number; signed answers; any word on how a manual form is described, or on what is wrong with
an order. A text that a person wrote for a top-up and a card are the same field: goods are what looks like cards in it.

A product of ours is ``{product}-{sku}``. Terms: ``site``; ``callback_path`` where a fork signs its callbacks over
another path than the usual one. Keys: ``api_key``, ``api_secret``.
"""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

from shared.kernel.money import Money
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

T = TypeVar("T")


@dataclass(frozen=True)
class Dujiao:
    """keys: newest first; the newest sign, and any of them may have signed a callback."""

    account: Account
    keys: Sequence[Keys] = field(repr=False)

    @property
    def code(self) -> str:
        return self.account.code

    @property
    def traits(self) -> Traits:
        """It is the same key that is answered with the first order: under another one, it is a second order."""
        said = kinds.traits(TRAITS, self.account.terms)
        changing = len({keys.get("api_key") for keys in self.keys}) > 1
        return replace(said, repeat=Repeat.BUYS) if changing and said.repeat is Repeat.REPLAYS else said

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
        offers = wire.or_none(
            lambda: self._told(
                "GET",
                f"/products/{item}",
                now,
                lambda answer: list(dujiao_reading.offers(answer["product"], self.account.currency)),
            )
        )
        return next((offer for offer in offers or () if offer.product == product), None)

    def balance(self, now: datetime) -> Money:
        return self._told(
            "POST", "/ping", now, lambda answer: wire.balance(answer["balance"], wire.text(answer["currency"]))
        )

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
                return dujiao_reading.order(answer, str(wire.whole(answer["order_id"])), self.account.currency)
            if answer["error_code"] == "payment_failed" and answer.get("status") != "canceled":  # it may be paid later
                return Answer(Outcome.UNKNOWN, Reason.LOW_BALANCE, str(wire.whole(answer["order_id"])))
            return dujiao_reading.refusal(answer, Outcome.FAILED, purchase.account.values())

        return wire.placed(lambda: self._call("POST", "/orders", now, body), read, purchase.account.values())

    def ask(self, _number: str, upstream_no: str, now: datetime) -> Answer:
        """By his number only; without it `place` again tells."""
        if not wire.is_number(upstream_no):
            return Answer(Outcome.UNKNOWN, Reason.SILENT)

        def read(reply: wire.Reply) -> Answer:
            answer = wire.json_object(reply.body)
            if answer["ok"] is True:
                return dujiao_reading.order(answer, upstream_no, self.account.currency)
            absent = answer["error_code"] == "order_not_found"
            return Answer(Outcome.ABSENT) if absent else dujiao_reading.refusal(answer, Outcome.UNKNOWN)

        return wire.asked(lambda: self._call("GET", f"/orders/{upstream_no}", now), read)

    def check_account(self, _product: str, _account: Mapping[str, str], _now: datetime) -> bool | None:
        return None

    def parse_callback(self, headers: Mapping[str, str], raw: bytes, now: datetime) -> News:
        stamp = headers.get("dujiao-next-timestamp", "")
        path = self.account.terms.get("callback_path") or CALLBACK_PATH
        named = [keys for keys in self.keys if keys.get("api_key") == headers.get("dujiao-next-api-key")]
        secrets = [keys["api_secret"] for keys in named if keys.get("api_secret")]
        signatures = [signing.dujiao("POST", path, stamp, raw, secret) for secret in secrets]
        given = headers.get("dujiao-next-signature", "")
        if len(raw) > CALLBACK_MAX or not (
            signing.is_fresh(stamp, now, WINDOW) and signing.is_signed(given, signatures)
        ):
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
                raise SupplierRefused(supplier=self.code, reason=dujiao_reading.refusal(answer, Outcome.UNKNOWN).reason)
            return read(answer)

        return wire.told(self.code, lambda: self._call(method, path, now), checked)
