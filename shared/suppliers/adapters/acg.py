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

from shared.kernel.money import Money
from shared.suppliers import card_text, refusal_words, signing, wire
from shared.suppliers.adapters import acg_items
from shared.suppliers.errors import BadCallback, SupplierRefused
from shared.suppliers.kinds import traits
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

TRAITS = Traits(repeat=Repeat.REFUSES, asks_by_ours=False, rate=2.0)
_DONE = 200
_IS_DONE = re.compile(r"(充值|开通|发货|交付|处理)(成功|完成)|已(充值|开通|到账|完成)")
T = TypeVar("T")


@dataclass(frozen=True)
class Acg:
    """keys: newest first; the newest signs, and nobody signs to us."""

    account: Account
    keys: Sequence[Keys] = field(repr=False)

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
        # Versions differ in what they call the code; each ignores the name that it does not know.
        offered = wire.or_none(lambda: self._products("item", {"code": code, "sharedCode": code})) or ()
        return next((one for one in offered if one.product == product), None)

    def balance(self, _now: datetime) -> Money:
        currency = self.account.currency
        return self._told("/shared/authentication/connect", {}, lambda data: wire.balance(data["balance"], currency))

    def place(self, purchase: Purchase, _now: datetime) -> Answer:
        code, _, kind = purchase.product.partition(acg_items.KIND)
        order: dict[str, signing.Php] = {
            **purchase.account,
            "shared_code": code,
            "contact": purchase.number,  # by which a person finds the order again in the shop's console
            "num": purchase.quantity,
            "card_id": 0,
            "device": 0,
            "password": "",
            "race": kind,
            "request_no": purchase.number,
        }
        return wire.placed(
            lambda: self._call("/shared/commodity/trade", order),
            lambda reply: _order(reply, purchase),
            hide=purchase.account.values(),
        )

    def ask(self, _number: str, upstream_no: str, _now: datetime) -> Answer:
        if not upstream_no:
            return Answer(Outcome.UNKNOWN, Reason.SILENT)
        return wire.asked(
            lambda: self._call("/shared/commodity/query", {"tradeNo": upstream_no}),
            lambda reply: _order(reply, None, upstream_no),
        )

    def check_account(self, _product: str, _account: Mapping[str, str], _now: datetime) -> bool | None:
        return None

    def parse_callback(self, _headers: Mapping[str, str], _raw: bytes, _now: datetime) -> News:
        """A shop never calls back."""
        raise BadCallback

    def ack(self, _ok: bool) -> Ack:
        return Ack(400)

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


def _order(reply: wire.Reply, purchase: Purchase | None, upstream_no: str = "") -> Answer:
    """What the shop says of a purchase, or of an order of which only its number is known."""
    said = wire.json_object(reply.body)
    if wire.whole(said["code"]) != _DONE:
        return _refusal(str(said.get("msg")), purchase)
    data = said["data"]
    number = upstream_no or wire.text(data["tradeNo"])
    cost_e6 = wire.cost_e6(data.get("amount"))
    secret = str(data.get("secret") or "")
    topped_up = bool(purchase.account if purchase else data.get("widget"))
    cards = [] if topped_up else card_text.goods(secret)
    if topped_up and _IS_DONE.search(secret):
        pieces = purchase.quantity if purchase else 1
        return Answer(Outcome.DELIVERED, upstream_no=number, delivered=pieces, cost_e6=cost_e6, proof=number)
    if not cards:  # a person delivers, and until then the shop says so, or nothing
        return Answer(Outcome.ACCEPTED, upstream_no=number, cost_e6=cost_e6)
    if purchase and len(cards) > purchase.quantity:  # nobody can say which of the lines are the cards
        return Answer(Outcome.UNKNOWN, Reason.UNREADABLE, upstream_no=number, cost_e6=cost_e6)
    return Answer(Outcome.DELIVERED, upstream_no=number, goods=cards, delivered=len(cards), cost_e6=cost_e6)


def _refusal(message: str, purchase: Purchase | None) -> Answer:
    if purchase:
        typed = tuple(purchase.account.values())
        return refusal_words.refused(refusal_words.reason(message, typed), Outcome.FAILED, typed)
    if refusal_words.no_such_order(message):
        return Answer(Outcome.ABSENT)
    return refusal_words.refused(refusal_words.reason(message), Outcome.UNKNOWN)
