"""acg-faka (异次元) shared store: a shop sells to other shops of its kind, at once and out of our balance there.

What the protocol lacks, and no adapter can mend: no time in a request; MD5; answers are not signed; a request whose
answer was lost can neither be repeated (its number is refused, the order is not shown) nor looked up: only a person
can, in the shop's console. Its own client sends the key along in every request; the shop signs whatever it gets, so
we do not. Of a product with several kinds each kind is one of ours, as ``code|kind``; what is sold by several
specifications at once has no one price, and is left out.

Terms: ``site``, ``app_id``. Key: ``app_key``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from shared.kernel.money import Money, minor_from_e6
from shared.suppliers import card_text, ceiling, refusal_words, signing, wire
from shared.suppliers.adapters import acg_items
from shared.suppliers.errors import BadCallback, SupplierRefused
from shared.suppliers.kinds import traits
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
    Repeat,
    Traits,
)

TRAITS = Traits(repeat=Repeat.REFUSES, asks_by_ours=False, rate=2.0, ceiling=True)
_DONE = 200
_IS_DONE = re.compile(r"(充值|开通|发货|交付|处理)(成功|完成)|已(充值|开通|到账|完成)")
T = TypeVar("T")


@dataclass(frozen=True)
class Acg:
    """keys: newest first; the newest signs, and nobody signs to us."""

    account: Account
    keys: Sequence[Keys] = field(repr=False)

    def __post_init__(self) -> None:
        if not self.account.terms.get("site") or not self.account.terms.get("app_id"):
            raise ValueError(f"the terms of supplier {self.code} need site and app_id")
        if not self.keys or not self.keys[0].get("app_key"):
            raise ValueError(f"supplier {self.code} needs app_key")

    @property
    def code(self) -> str:
        return self.account.code

    @property
    def traits(self) -> Traits:
        return traits(TRAITS, self.account.terms)

    def products(self, _cursor: str, _now: datetime) -> Page:
        return Page(self._products("items", {}))

    def product(self, product: str, _now: datetime) -> Product | None:
        code, _, _ = product.partition(acg_items.KIND)
        try:
            # Versions differ in what they call the code; each ignores the name that it does not know.
            offered = self._products("item", {"code": code, "sharedCode": code})
        except SupplierRefused as refused:
            if refused.facts["reason"] == Reason.OFF_SHELF:
                return None
            raise
        return next((one for one in offered if one.product == product), None)

    def balance(self, _now: datetime) -> Money:
        balance_e6 = self._told("/shared/authentication/connect", {}, lambda data: wire.e6(data["balance"]))
        return Money(minor_from_e6(balance_e6), self.account.currency)

    def place(self, purchase: Purchase, now: datetime) -> Answer:
        product = ceiling.product_for(self, purchase, now)
        if isinstance(product, Answer):
            return product
        code, _, kind = purchase.product.partition(acg_items.KIND)
        order: dict[str, signing.Php] = {wish.name: purchase.account.get(wish.name, "") for wish in product.fields}
        order |= {
            "shared_code": code,
            "contact": purchase.number,  # by which a person finds the order again in the shop's console
            "num": purchase.quantity,
            "card_id": 0,
            "device": 0,
            "password": "",
            "race": kind,
            "request_no": purchase.number,
        }
        topped_up = product.delivers is Delivers.TOPUP
        return wire.placed(
            lambda: self._call("/shared/commodity/trade", order),
            lambda reply: _order(reply, purchase.quantity, topped_up=topped_up),
        )

    def ask(self, _number: str, upstream_no: str, _now: datetime) -> Answer:
        if not upstream_no:
            return Answer(Outcome.UNKNOWN, Reason.SILENT)
        return wire.asked(
            lambda: self._call("/shared/commodity/query", {"tradeNo": upstream_no}),
            lambda reply: _order(reply, upstream_no=upstream_no),
        )

    def check_account(self, _product: str, _account: Mapping[str, str], _now: datetime) -> bool | None:
        return None

    def parse_callback(self, _headers: Mapping[str, str], _raw: bytes, _now: datetime) -> News:
        """A shop never calls back."""
        raise BadCallback

    def ack(self, _ok: bool) -> Ack:
        return Ack(404)

    def _call(self, path: str, fields: Mapping[str, signing.Php]) -> wire.Reply:
        signed = {**fields, "app_id": self.account.terms["app_id"]}
        signed["sign"] = signing.acg(signed, self.keys[0]["app_key"])
        return wire.call(
            "POST",
            self.account.terms["site"].rstrip("/") + path,
            signing.php_query(signed).encode(),
            {"Content-Type": "application/x-www-form-urlencoded"},
            answer_max=wire.LIST_MAX if path.endswith("items") else wire.ANSWER_MAX,
        )

    def _told(self, path: str, fields: Mapping[str, signing.Php], read: Callable[[Any], T]) -> T:
        def data(reply: wire.Reply) -> T:
            answer = wire.json_object(reply.body)
            if wire.whole(answer["code"]) != _DONE:
                raise SupplierRefused(supplier=self.code, reason=refusal_words.reason(str(answer.get("msg"))))
            return read(answer["data"])

        return wire.told(self.code, lambda: self._call(path, fields), data)

    def _products(self, path: str, fields: Mapping[str, signing.Php]) -> list[Product]:
        items = self._told(f"/shared/commodity/{path}", fields, acg_items.leaves)
        return [product for item in items for product in acg_items.offers(item, self.account.currency)]


def _order(reply: wire.Reply, quantity: int = 0, upstream_no: str = "", *, topped_up: bool = False) -> Answer:
    """What the shop says of an order. quantity: how many pieces it was for, 0 where that is not known here."""
    said = wire.json_object(reply.body)
    if wire.whole(said["code"]) != _DONE:
        return _refusal(str(said.get("msg")), asked=bool(upstream_no))
    data = said["data"]
    number = upstream_no or wire.text(data["tradeNo"])
    cost_e6 = wire.e6(data["amount"]) if data.get("amount") is not None else None
    secret = str(data.get("secret") or "")
    topped_up = topped_up or bool(data.get("widget"))
    cards = [] if topped_up else card_text.goods(secret)
    if topped_up and _IS_DONE.search(secret):
        return Answer(Outcome.DELIVERED, upstream_no=number, delivered=quantity or 1, cost_e6=cost_e6, proof=number)
    if not cards:  # a person delivers, and until then the shop says so, or nothing
        return Answer(Outcome.ACCEPTED, upstream_no=number, cost_e6=cost_e6)
    if quantity and len(cards) > quantity:  # nobody can say which of the lines are the cards
        return Answer(Outcome.UNKNOWN, Reason.UNREADABLE, upstream_no=number, cost_e6=cost_e6)
    return Answer(Outcome.DELIVERED, upstream_no=number, goods=cards, delivered=len(cards), cost_e6=cost_e6)


def _refusal(message: str, *, asked: bool) -> Answer:
    reason = refusal_words.reason(message)
    if asked and refusal_words.no_such_order(message):
        return Answer(Outcome.ABSENT)
    if reason in refusal_words.CONFIGURATION:
        return Answer(Outcome.REFUSED, reason)
    # Words that we do not know may hide that the shop bought, and failed after that.
    definite = reason in refusal_words.BEFORE_BUYING and not asked
    return Answer(Outcome.FAILED if definite else Outcome.UNKNOWN, reason)
