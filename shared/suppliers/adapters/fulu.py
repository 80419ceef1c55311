"""Fulu's (福禄) open platform: cards and direct top-ups, ordered now and delivered later, so each is asked for.

Not published, and so decided here, until the terms of an account say otherwise: a refusal is definite where its number
is one of six and its words are such as are said before anything is ordered (``definite_codes``, such as ``3001 3004``,
names numbers that are so whatever the words); it must be signed like any answer (``refusals`` is ``unsigned`` where he
does not sign them: what he covers of one is nothing but an empty text); a card that may be a cipher goes to nobody
(``card_cipher`` says ``none`` or ``aes``). Phone and data plans are ordered as the top-ups that they are listed as.

Terms: ``app_key``; ``site``, ``card_cipher``, ``definite_codes``, ``refusals``. Key: ``app_secret``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

from shared.kernel.clock import SHANGHAI
from shared.kernel.money import Money
from shared.suppliers import card_cipher, refusal_words, signing, wire
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
)

SITE = "https://openapi.fulu.com"
GATEWAY = "/api/getway"  # so spelt by the platform
TRAITS = Traits(asks_by_ours=True, calls_back=True, checks_account=True)
CALLBACK_MAX = 8192
_PHONE = "手机"  # in the label of a field
T = TypeVar("T")


@dataclass(frozen=True)
class Fulu:
    """keys: newest first; the newest signs, any verifies and deciphers."""

    account: Account
    keys: Sequence[Keys] = field(repr=False)

    def __post_init__(self) -> None:
        for term, values in (("card_cipher", ("", "none", "aes")), ("refusals", ("", "signed", "unsigned"))):
            if self.account.terms.get(term, "") not in values:
                raise ValueError(f"{term} of supplier {self.code} must be one of {values}")
        if not all(map(wire.is_number, self._definite_codes)):
            raise ValueError(f"definite_codes of supplier {self.code} must be numbers")

    @property
    def code(self) -> str:
        return self.account.code

    @property
    def traits(self) -> Traits:
        return traits(TRAITS, self.account.terms)

    def products(self, _cursor: str, now: datetime) -> Page:
        return Page(self._told("fulu.goods.list.get", {}, now, self._offered))

    def product(self, product: str, now: datetime) -> Product | None:
        wanted = {"product_id": _number(product)}
        found: Any = wire.or_none(lambda: self._told("fulu.goods.info.get", wanted, now, lambda found: found))
        offered = next(iter(self._offered([found])), None)
        if not offered or offered.delivers is Delivers.CARDS:
            return offered
        if not (template := found.get("template_id")):  # nobody can say what it must be told
            return None
        wishes = self._told("fulu.goods.template.get", {"template_id": template}, now, fulu_reading.wishes)
        return replace(offered, fields=wishes)

    def balance(self, now: datetime) -> Money:
        currency = self.account.currency
        return self._told("fulu.user.info.get", {}, now, lambda found: wire.balance(found["balance"], currency))

    def place(self, purchase: Purchase, now: datetime) -> Answer:
        method = "fulu.order.direct.add" if purchase.account else "fulu.order.card.add"
        order = {
            **purchase.account,
            "product_id": _number(purchase.product),
            "customer_order_no": purchase.number,
            "buy_num": purchase.quantity,
        }
        typed = tuple(purchase.account.values())

        def refusal(code: int, words: str) -> Answer:
            return fulu_reading.refusal(code, words, typed, str(code) in self._definite_codes)

        return wire.placed(
            lambda: self._call(method, order, now),
            lambda reply: self._read(reply, self._order(purchase.number), refusal),
            hide=typed,
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
            fields = wire.form(raw, CALLBACK_MAX)
            sign = fields.pop("sign")
            if not self._is_his(signing.php_json(fields), sign):
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

    @property
    def _definite_codes(self) -> list[str]:
        return self.account.terms.get("definite_codes", "").split()

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
        bare = code and not result and not said.get("sign")
        taken = bare and self.account.terms.get("refusals") == "unsigned"
        if not taken and not self._is_his(result, str(said.get("sign"))):
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
