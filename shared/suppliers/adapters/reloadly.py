"""Reloadly: gift cards and phone credit of many countries, behind a token that lives for hours.

An account serves one line: ``line`` of its terms is ``giftcards`` (as without it) or ``topups``, which come later.
What we call an order is looked up in the history by its ``customIdentifier``; whether a second order under the same one
is refused is not documented, so it is thought to buy again. Cards are not in the answer to an order: they are fetched
when it is asked after. Products of fixed values only, and only those that are paid in the account's currency. Webhooks
are set up at Reloadly's; they may repeat for a day.

Terms: ``client_id``; ``line``, ``site``, ``auth_site``, ``audience``, ``sender``. Keys: ``client_secret``, and
``webhook_secret`` where webhooks come.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar

from shared.kernel.money import Money
from shared.suppliers import signing, wire
from shared.suppliers.adapters import reloadly_reading
from shared.suppliers.adapters.reloadly_session import Session
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
    Traits,
)

TRAITS = Traits(asks_by_ours=True, calls_back=True)
LINES = ("giftcards", "topups")
PAGE = 100
WINDOW = 24 * 3600  # seconds
CALLBACK_MAX = 65536

T = TypeVar("T")


@dataclass(frozen=True)
class Reloadly:
    """keys: newest first; the newest signs in, any verifies."""

    account: Account
    keys: Sequence[Keys] = field(repr=False)

    def __post_init__(self) -> None:
        if self._session.line not in LINES:
            raise ValueError(f"line of supplier {self.code} must be one of {LINES}")

    @property
    def code(self) -> str:
        return self.account.code

    @property
    def traits(self) -> Traits:
        return traits(TRAITS, self.account.terms)

    def products(self, cursor: str, now: datetime) -> Page:
        page = int(cursor or 1)

        def read(found: Any) -> Page:
            more = found["content"] and not found.get("last") and page < wire.whole(found["totalPages"])
            return Page(self._listed(found["content"]), str(page + 1) if more else "")

        return self._told(f"/{self._catalogue}?size={PAGE}&page={page}", now, read)

    def product(self, product: str, now: datetime) -> Product | None:
        number = urllib.parse.quote(product.split("-")[0], safe="")
        path = f"/{self._catalogue}/{number}"
        offered = wire.or_none(lambda: self._told(path, now, lambda found: self._listed([found]))) or ()
        return next((one for one in offered if one.product == product), None)

    def balance(self, now: datetime) -> Money:
        def read(found: Any) -> Money:
            return wire.balance(found["balance"], wire.text(found["currencyCode"]))

        return self._told("/accounts/balance", now, read)

    def place(self, purchase: Purchase, now: datetime) -> Answer:
        if self._topups and purchase.quantity > 1:
            return Answer(Outcome.FAILED, Reason.BAD_QUANTITY)
        try:
            path, order = reloadly_reading.order(purchase, self.account.terms.get("sender", "Kaquan"))
        except ValueError:
            return Answer(Outcome.FAILED, Reason.OFF_SHELF)

        def read(found: Any) -> Answer:
            if self._topups:
                return Answer(Outcome.ACCEPTED, upstream_no=wire.text(found["transactionId"]))
            answer = reloadly_reading.transaction(found, purchase.number, self.account.currency)
            delivered = answer.outcome is Outcome.DELIVERED
            return replace(answer, outcome=Outcome.ACCEPTED) if delivered else answer

        return wire.placed(
            lambda: self._session.send("POST", path, now, order),
            lambda reply: _read(reply, read, asked=False),
            hide=purchase.account.values(),
        )

    def ask(self, number: str, upstream_no: str, now: datetime) -> Answer:
        path = f"{self._history}?customIdentifier={number}&size={PAGE}&page=1"
        if upstream_no:
            path = f"{self._history}/{urllib.parse.quote(upstream_no, safe='')}"

        def read(found: Any) -> Answer:
            if upstream_no:
                return self._whole(found, number, now)
            ours = [one for one in found["content"] if one.get("customIdentifier") == number]
            if len(ours) > 1:  # bought twice
                return Answer(Outcome.UNKNOWN, Reason.DUPLICATE)
            if ours:
                return self._whole(ours[0], number, now)
            if wire.whole(found["totalElements"]) > len(found["content"]):  # it may be on another page
                raise ValueError
            return Answer(Outcome.ABSENT)

        return wire.asked(lambda: self._session.send("GET", path, now), lambda reply: _read(reply, read, asked=True))

    def check_account(self, _product: str, _account: Mapping[str, str], _now: datetime) -> bool | None:
        return None

    def parse_callback(self, headers: Mapping[str, str], raw: bytes, now: datetime) -> News:
        given, sent_at = headers.get("x-reloadly-signature", ""), headers.get("x-reloadly-request-timestamp", "")
        secrets = [secret for held in self.keys if (secret := held.get("webhook_secret"))]
        if len(raw) > CALLBACK_MAX or not secrets:
            raise BadCallback
        signed = signing.is_signed(given.lower(), [signing.reloadly(raw, sent_at, secret) for secret in secrets])
        if not signed or not signing.is_fresh(sent_at, now, WINDOW):
            raise BadCallback
        try:
            data = wire.json_object(raw)["data"]
            if data.get("customIdentifier"):
                return News(number=wire.text(data["customIdentifier"]))
            return News(upstream_no=wire.text(data["transactionId"]))
        except wire.UNREADABLE:
            raise BadCallback from None

    def ack(self, ok: bool) -> Ack:
        return Ack(200 if ok else 400)

    @cached_property
    def _session(self) -> Session:
        return Session(self.account, self.keys)

    @property
    def _topups(self) -> bool:
        return self._session.line == "topups"

    @property
    def _catalogue(self) -> str:
        return "operators" if self._topups else "products"

    @property
    def _history(self) -> str:
        return "/topups/reports/transactions" if self._topups else "/reports/transactions"

    def _listed(self, content: Any) -> list[Product]:
        return reloadly_reading.listed(content, self.account.currency)

    def _whole(self, found: Any, number: str, now: datetime) -> Answer:
        """A transaction with its cards, which are another call; without them it is not delivered yet."""
        answer = reloadly_reading.transaction(found, number, self.account.currency)
        if answer.outcome is not Outcome.DELIVERED:
            return answer
        if self._topups:
            return replace(answer, delivered=1)
        try:
            path = f"/orders/transactions/{urllib.parse.quote(answer.upstream_no, safe='')}/cards"
            reply = self._session.send("GET", path, now)
            goods = reloadly_reading.cards(_json(reply)) if reply.status == 200 else []
        except (wire.NotSent, wire.NoAnswer, *wire.UNREADABLE):
            goods = []
        if not goods:
            return replace(answer, outcome=Outcome.ACCEPTED)
        if len(goods) > (reloadly_reading.pieces(found) or len(goods)):  # nobody can say which of them are ours
            return replace(answer, outcome=Outcome.UNKNOWN, reason=Reason.UNREADABLE)
        return replace(answer, goods=goods, delivered=len(goods))

    def _told(self, path: str, now: datetime, read: Callable[[Any], T]) -> T:
        def trusted(reply: wire.Reply) -> T:
            if reply.status in range(400, 500):
                reason = reloadly_reading.refusal(reply, asked=False).reason
                raise SupplierRefused(supplier=self.code, reason=reason)
            return read(_json(reply))

        return wire.told(self.code, lambda: self._session.send("GET", path, now), trusted)


def _json(reply: wire.Reply) -> Any:
    """Some answers are lists."""
    if reply.status not in range(200, 300):
        raise ValueError("no answer of this kind")
    return wire.json_object(b'{"found":' + reply.body + b"}")["found"]


def _read(reply: wire.Reply, read: Callable[[Any], Answer], *, asked: bool) -> Answer:
    return read(_json(reply)) if reply.status < 400 else reloadly_reading.refusal(reply, asked=asked)
