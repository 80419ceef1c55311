"""Fulu's (福禄) open platform: cards and direct top-ups, ordered now and delivered later, so each is asked for.

Not published, and so decided here: six numbers of refusals mean that nothing was ordered, why is read from the words,
and whatever else comes is unknown. Whether cards come enciphered is not known either: ``card_cipher`` of the terms says
``none`` or ``aes``; without it, a text that may be a cipher goes to nobody. Phone and data plans are
ordered as the top-ups that they are listed as; the calls of their own are not used.

Terms: ``app_key``; ``site``, ``card_cipher``. Key: ``app_secret``.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

from shared.kernel.clock import SHANGHAI
from shared.kernel.money import Money, minor_from_e6
from shared.suppliers import card_cipher, ceiling, refusal_words, signing, wire
from shared.suppliers.adapters import fulu_reading
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
    Traits,
    Wish,
)

SITE = "https://openapi.fulu.com"
GATEWAY = "/api/getway"  # so spelt by the platform
TRAITS = Traits(asks_by_ours=True, calls_back=True, checks_account=True, rate=5.0, ceiling=True)
CALLBACK_MAX = 8192
_PHONE = "手机"  # in the label of a field
T = TypeVar("T")


@dataclass(frozen=True)
class Fulu:
    """keys: newest first; the newest signs, any verifies and deciphers."""

    account: Account
    keys: Sequence[Keys] = field(repr=False)

    def __post_init__(self) -> None:
        if not self.account.terms.get("app_key") or self.account.terms.get("card_cipher", "") not in (
            "",
            "none",
            "aes",
        ):
            raise ValueError(f"the terms of supplier {self.code} need app_key, and a card_cipher of none or aes")
        if not self._secrets:
            raise ValueError(f"supplier {self.code} needs app_secret")

    @property
    def code(self) -> str:
        return self.account.code

    @property
    def traits(self) -> Traits:
        return traits(TRAITS, self.account.terms)

    def products(self, _cursor: str, now: datetime) -> Page:
        return Page(self._told("fulu.goods.list.get", {}, now, self._offered))

    def product(self, product: str, now: datetime) -> Product | None:
        try:
            found = self._told("fulu.goods.info.get", {"product_id": _number(product)}, now, lambda found: found)
        except SupplierRefused as refused:
            if refused.facts["reason"] == Reason.OFF_SHELF:
                return None
            raise
        if not (offered := self._offered([found])):
            return None
        fields: tuple[Wish, ...] = ()
        if offered[0].delivers is Delivers.TOPUP:
            wanted = {"template_id": found["template_id"]}
            fields = self._told("fulu.goods.template.get", wanted, now, fulu_reading.wishes)
        return replace(offered[0], fields=fields)

    def balance(self, now: datetime) -> Money:
        balance_e6 = self._told("fulu.user.info.get", {}, now, lambda found: wire.e6(found["balance"]))
        return Money(minor_from_e6(balance_e6), self.account.currency)

    def place(self, purchase: Purchase, now: datetime) -> Answer:
        product = ceiling.product_for(self, purchase, now)
        if isinstance(product, Answer):
            return product
        method, order = "fulu.order.card.add", dict[str, Any]()
        if product.delivers is Delivers.TOPUP:
            method, order = "fulu.order.direct.add", dict(purchase.account)
            if purchase.buyer_address:
                order["charge_ip"] = purchase.buyer_address
        order |= {
            "product_id": _number(purchase.product),
            "customer_order_no": purchase.number,
            "buy_num": purchase.quantity,
        }
        return wire.placed(
            lambda: self._call(method, order, now),
            lambda reply: self._read(reply, self._order(purchase.number), fulu_reading.refusal),
        )

    def ask(self, number: str, _upstream_no: str, now: datetime) -> Answer:
        return wire.asked(
            lambda: self._call("fulu.order.info.get", {"customer_order_no": number}, now),
            lambda reply: self._read(reply, self._order(number), fulu_reading.not_found),
        )

    def check_account(self, product: str, account: Mapping[str, str], now: datetime) -> bool | None:
        """Of phones only: the platform can be asked where one is at home."""
        offered = self.product(product, now)
        wishes = offered.fields if offered else ()
        phones = [account[wish.name] for wish in wishes if _PHONE in wish.label and wish.name in account]
        try:
            for phone in phones:
                self._told("fulu.mobile.info.get", {"phone": phone}, now, lambda found: found)
        except SupplierRefused as refused:
            if refused.facts["reason"] == Reason.BAD_ACCOUNT:
                return False
            raise
        return True if phones else None

    def parse_callback(self, _headers: Mapping[str, str], raw: bytes, _now: datetime) -> News:
        """raw: the form, or the query of a GET, of an order or of a refund. There is no time in it."""
        try:
            if len(raw) > CALLBACK_MAX:
                raise ValueError
            pairs = urllib.parse.parse_qsl(
                raw.decode(), keep_blank_values=True, strict_parsing=True, max_num_fields=32, errors="strict"
            )
            fields = dict(pairs)
            sign = fields.pop("sign")
            if len(pairs) != len(fields) + 1 or not self._is_his(signing.php_json(fields), sign):
                raise ValueError
            # The refund's is the only word of it where the order goes on to be called a success.
            return News(wire.text(fields["customer_order_no"]), taken_back=fields.get("refund_status") == "success")
        except (ValueError, KeyError):
            raise BadCallback from None

    def ack(self, ok: bool) -> Ack:
        return Ack(200, "success") if ok else Ack(400, "fail")

    @property
    def _secrets(self) -> list[str]:
        return [secret for held in self.keys if (secret := held.get("app_secret"))]

    def _is_his(self, text: str, sign: str) -> bool:
        return signing.is_signed(sign, [signing.fulu(text, secret) for secret in self._secrets])

    def _call(self, method: str, content: Mapping[str, Any], now: datetime) -> wire.Reply:
        params = {
            "app_key": self.account.terms["app_key"],
            "method": method,
            "timestamp": now.astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M:%S"),
            "version": "2.0",
            "format": "json",
            "charset": "utf-8",
            "sign_type": "md5",
            "app_auth_token": "",
            "biz_content": signing.php_json(content),
        }
        params["sign"] = signing.fulu_request(params, self._secrets[0])
        body, headers = signing.php_json(params).encode(), {"Content-Type": "application/json"}
        most = wire.LIST_MAX if method == "fulu.goods.list.get" else wire.ANSWER_MAX
        address = (self.account.terms.get("site") or SITE).rstrip("/") + GATEWAY
        return wire.call("POST", address, body, headers, answer_max=most)

    def _read(self, reply: wire.Reply, good: Callable[[Any], T], bad: Callable[[int, str], T]) -> T | Answer:
        """What his signed result says; what `bad` makes of a refusal, by its number and its words."""
        said = wire.json_object(reply.body)
        code, words, result = wire.whole(said["code"]), str(said.get("message")), str(said.get("result") or "")
        if not self._is_his(result, str(said.get("sign"))):
            # Whoever does not know us cannot sign for us.
            reason = refusal_words.reason(words)
            if code and code not in fulu_reading.DEFINITE and reason in refusal_words.CONFIGURATION:
                return Answer(Outcome.REFUSED, reason)
            return Answer(Outcome.UNKNOWN, Reason.BAD_SIGNATURE)
        # Some results are lists.
        return bad(code, words) if code else good(wire.json_object('{"result":' + result + "}")["result"])

    def _told(self, method: str, content: Mapping[str, Any], now: datetime, read: Callable[[Any], T]) -> T:
        def refuse(_code: int, words: str) -> T:
            raise SupplierRefused(supplier=self.code, reason=refusal_words.reason(words))

        def trusted(reply: wire.Reply) -> T:
            found = self._read(reply, read, refuse)
            if isinstance(found, Answer):
                if found.outcome is Outcome.REFUSED:
                    raise SupplierRefused(supplier=self.code, reason=found.reason)
                raise ValueError
            return found

        return wire.told(self.code, lambda: self._call(method, content, now), trusted)

    def _offered(self, found: Any) -> list[Product]:
        return fulu_reading.products(found, self.account.currency)

    def _order(self, number: str) -> Callable[[Any], Answer]:
        return lambda found: fulu_reading.order(found, number, self._clear)

    def _clear(self, text: str) -> str:
        """What is printed on a card; ValueError where it is a cipher that does not open, or may be one."""
        match self.account.terms.get("card_cipher", ""):
            case "aes" if text:
                return card_cipher.opened(text, self._secrets)
            case "" if card_cipher.may_be_one(text):
                raise ValueError
        return text


def _number(product: str) -> int | str:
    return int(product) if product.isdecimal() and product.isascii() else product
