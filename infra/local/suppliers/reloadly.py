"""Reloadly: tokens of OAuth, gift cards whose codes are fetched apart, top-ups of phones, signed webhooks."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.message import Message
from typing import Any, ClassVar

from infra.local.counterparts import RefusedError, Reply, Request, json_reply
from infra.local.suppliers import ledger
from infra.local.suppliers.called_back import CalledBack
from infra.local.suppliers.common import BUY, COMMON_TRAITS, Fault, No, Order, Product, Wanted, routes

GIFT_CARDS, TOP_UPS = "giftcards", "topups"
TOKEN_SECONDS = 24 * 3600
OUR_NUMBER_MAX = 150
SIZE_MAX = 200
CURRENCY = "USD"
_FIRST_TRANSACTION = 48_000
_DAY_SECONDS = 86_400
_E6 = 1_000_000
_STATES = {ledger.DELIVERED: "SUCCESSFUL", ledger.REFUNDED: "REFUNDED"}
_DIAL_CODES = {"CN": "86", "US": "1", "IN": "91", "NG": "234"}

Content = dict[str, Any]


class Reloadly(CalledBack):
    """Both lines, gift cards and top-ups, of one account in dollars; a product's kind tells the line it is of.

    Webhooks go to the address that `call_back` sets. A product's sku is its productId or operatorId; products whose
    skus are "{id}:{anything}" are the denominations of one. `more` must have "face" (text, what the card is worth or
    the phone gets) and may have "currency", "country", "fee_e6" (of one piece) and "discount" (percent); `cost_e6`
    is what is paid in the end, fee and discount in it.
    """

    kind = "reloadly"
    label = "Reloadly"
    usual_port = 4596
    traits_known: ClassVar[Mapping[str, tuple[str, ...]]] = {
        # A customIdentifier that was there before.
        "repeat": ("buys", "refuses", "replays"),
        "delivery": COMMON_TRAITS["delivery"],
        "half_money": COMMON_TRAITS["half_money"],
        # Which transactions the history lists for a customIdentifier: its own, or all that contain it.
        "history_filter": ("exact", "contains"),
        # What a transaction is called that failed, and whose money is back.
        "failed_state": ("FAILED", "REFUNDED"),
        # The answer to fetching cards that are not there yet.
        "cards_not_ready": ("refused", "empty"),
        # Which of number and pin a gift card has.
        "card_parts": ("both", "pin", "number"),
        # What a webhook's signature covers; older ones are said to have left the time out.
        "webhook_covers": ("body_and_time", "body"),
    }
    fault_kinds: ClassVar = routes(
        "token",
        "products",
        "buy",
        "cards",
        "history",
        "status",
        "balance",
        also=("refuse_key", "token_expired"),
        token=("short",),  # the token ends after so many seconds
        buy=BUY,
        cards=("absent",),  # says that the transaction is not there
        history=("absent",),
        status=("absent",),
    )
    fault_seconds: ClassVar = {**CalledBack.fault_seconds, "short": 1}
    words: ClassVar[Mapping[str, tuple[int, str, str]]] = {
        "product": (404, "PRODUCT_NOT_FOUND", "Product was not found"),
        "off_sale": (400, "PRODUCT_NOT_AVAILABLE", "Product is not available at the moment"),
        "stock": (400, "OUT_OF_STOCK", "Product is currently out of stock"),
        "balance": (400, "INSUFFICIENT_BALANCE", "Insufficient funds in the wallet to complete this transaction"),
        "quantity": (400, "INVALID_QUANTITY", "Quantity is out of bounds"),
        "ceiling": (400, "INVALID_UNIT_PRICE", "Price has changed"),
        "price": (400, "INVALID_UNIT_PRICE", "Unit price is none of the product's denominations"),
        "amount": (400, "INVALID_AMOUNT_FOR_OPERATOR", "Amount is none that the operator supports"),
        "account": (400, "INVALID_RECIPIENT_PHONE", "The recipient phone is not valid"),
        "repeated": (400, "DUPLICATE_CUSTOM_IDENTIFIER", "The custom identifier was used before"),
        "absent": (404, "TRANSACTION_NOT_FOUND", "Transaction was not found"),
        "settled": (400, "TRANSACTION_COMPLETED", "Transaction is completed"),
        "not_ready": (400, "CARDS_NOT_READY", "The cards are not available yet"),
        "signature": (401, "INVALID_TOKEN", "Full authentication is required to access this resource"),
        "expired": (401, "TOKEN_EXPIRED", "The token being used is expired. Request a new one"),
        "credentials": (401, "INVALID_CREDENTIALS", "Access denied"),
        "audience": (403, "INVALID_AUDIENCE", "The token was not issued for this service"),
        "address": (403, "IP_NOT_ALLOWED", "The address is not on the allow list"),
        "key": (403, "ACCOUNT_DISABLED", "The account is disabled"),
        "accept": (406, "NOT_ACCEPTABLE", "Accept does not name a version of this service"),
        "body": (400, "INVALID_REQUEST", "The request is malformed"),
        "busy": (429, "TOO_MANY_REQUESTS", "Too many requests"),
        "nowhere": (404, "NOT_FOUND", "Not Found"),
    }

    def __init__(self, *args: Any, **more: Any) -> None:
        self._tokens: dict[str, tuple[str, float]] = {}  # the line or "" for both, and when it ends
        super().__init__(*args, **more)

    @property
    def terms(self) -> dict[str, str]:
        return {"auth_site": self.url, "site": self.url, "line": GIFT_CARDS, "client_id": self.secret("client", 32)}

    @property
    def keys(self) -> dict[str, str]:
        return {"client_secret": self.secret("client_secret", 48), "webhook_secret": self.secret("webhook_secret", 40)}

    def number(self, serial: int, now: float) -> str:
        return str(_FIRST_TRANSACTION + serial)

    # -- the doors -------------------------------------------------------------------------------------------------

    def find(self, request: Request) -> tuple[str, Callable[[Fault | None], Reply]]:
        query = request.query
        match request.method, request.path.strip("/").split("/"):
            case "POST", ["oauth", "token"]:
                return "token", lambda fault: self._token(request, fault)
            case "GET", ["accounts", "balance"]:
                return "balance", self._on("", request, lambda _: self._balance())
            case "GET", ["products"]:
                return "products", self._on(GIFT_CARDS, request, lambda _: _page(self._gift_cards(), query, 200))
            case "GET", ["products", sku]:
                return "products", self._on(GIFT_CARDS, request, lambda _: _one(self._gift_cards(), "productId", sku))
            case "GET", ["operators"]:
                return "products", self._on(TOP_UPS, request, lambda _: _page(self._operators(), query, 200))
            case "GET", ["operators", sku]:
                return "products", self._on(TOP_UPS, request, lambda _: _one(self._operators(), "operatorId", sku))
            case "POST", ["orders"]:
                return "buy", self._on(GIFT_CARDS, request, lambda fault: self._order(_json(request), fault))
            case "POST", ["topups" | "topups-async" as how]:
                later = how == "topups-async"
                return "buy", self._on(TOP_UPS, request, lambda fault: self._top_up(_json(request), fault, later))
            case "GET", ["orders", "transactions", order, "cards"]:
                return "cards", self._on(GIFT_CARDS, request, lambda fault: self._cards(order, fault))
            case "GET", ["topups", order, "status"]:
                return "status", self._on(TOP_UPS, request, lambda fault: self._status(order, fault))
            case "GET", ["reports", "transactions", *rest]:
                return "history", self._on(GIFT_CARDS, request, lambda f: self._history(ledger.CARD, rest, query, f))
            case "GET", ["topups", "reports", "transactions", *rest]:
                return "history", self._on(TOP_UPS, request, lambda f: self._history(ledger.TOP_UP, rest, query, f))
        raise self.no("nowhere")

    def refusal(self, refused: RefusedError) -> Reply:
        status, code, message = refused.status, refused.code, refused.message
        if code == "too_many_requests":
            status, code, message = self.words["busy"]
        content = {"timeStamp": _moment(time.time()), "message": message, "path": None, "errorCode": code}
        return json_reply(status, content | {"infoLink": None, "details": []})

    def _on(self, line: str, request: Request, work: Callable[[Fault | None], Any]) -> Callable[[Fault | None], Reply]:
        """The work, for whoever has a token of that line; line "": of whichever line Accept names."""

        def do(fault: Fault | None) -> Reply:
            self._check_token(line or _line(request.headers), request, fault)
            return json_reply(200, work(fault))

        return do

    def _token(self, request: Request, fault: Fault | None) -> Reply:
        wanted = _json(request)
        line = self._line_of(wanted.get("audience"))
        known = hmac.compare_digest(str(wanted.get("client_secret")).encode(), self.keys["client_secret"].encode())
        if not known or wanted.get("client_id") != self.terms["client_id"] or (fault and fault.kind == "refuse_key"):
            raise self.no("credentials")
        if wanted.get("grant_type") != "client_credentials" or line is None:
            raise self.no("body")
        seconds = fault.seconds if fault and fault.kind == "short" else TOKEN_SECONDS
        token = secrets.token_urlsafe(24)
        self._tokens[token] = (line, time.time() + seconds)
        told = {"access_token": token, "token_type": "Bearer", "expires_in": int(seconds), "scope": "send-orders"}
        return json_reply(200, told)

    def _line_of(self, audience: object) -> str | None:
        """What an audience stands for: a line, "" for both, None if it is none."""
        if audience == self.url:
            return ""
        for line in (GIFT_CARDS, TOP_UPS):
            if audience in (f"https://{line}.reloadly.com", f"https://{line}-sandbox.reloadly.com"):
                return line
        return None

    def _check_token(self, line: str, request: Request, fault: Fault | None) -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or token not in self._tokens:
            raise self.no("signature")
        its_line, until = self._tokens[token]
        if until <= time.time() or (fault and fault.kind == "token_expired"):
            del self._tokens[token]
            raise self.no("expired")
        if fault and fault.kind == "refuse_key":
            raise self.no("key")
        if not line or _line(request.headers) != line:
            raise self.no("accept")
        if its_line not in ("", line):
            raise self.no("audience")

    # -- what it sells ---------------------------------------------------------------------------------------------

    def _balance(self) -> Content:
        return {
            "balance": _dollars(self.ledger.balance_e6()),
            "currencyCode": CURRENCY,
            "currencyName": "US Dollar",
            "updatedAt": _moment(time.time()),
        }

    def _of_kind(self, kind: str) -> dict[str, list[Product]]:
        """Denominations by the number of what they are of."""
        found: dict[str, list[Product]] = {}
        for product in self.ledger.products():
            if product.kind == kind and product.on_sale:
                found.setdefault(_number(product), []).append(product)
        return found

    def _gift_cards(self) -> list[Content]:
        # It tells no stock: what is sold out is not listed.
        return [
            {
                "productId": int(number),
                "productName": some[0].name,
                "global": False,
                "denominationType": "FIXED",
                "senderFee": _dollars(some[0].more.get("fee_e6", 0)),
                "discountPercentage": float(some[0].more.get("discount", 0)),
                "senderCurrencyCode": CURRENCY,
                "recipientCurrencyCode": some[0].more.get("currency", CURRENCY),
                "minSenderDenomination": None,
                "maxSenderDenomination": None,
                "minRecipientDenomination": None,
                "maxRecipientDenomination": None,
                "fixedRecipientDenominations": [_face(one) for one in some],
                "fixedSenderDenominations": [_dollars(_sender_e6(one)) for one in some],
                "fixedRecipientToSenderDenominationsMap": {
                    f"{_face(one):.2f}": _dollars(_sender_e6(one)) for one in some
                },
                "brand": {"brandId": int(number), "brandName": some[0].name},
                "country": {"isoName": some[0].more.get("country", "US"), "name": some[0].more.get("country", "US")},
            }
            for number, some in self._of_kind(ledger.CARD).items()
            if any(one.listed_stock != 0 for one in some)
        ]

    def _operators(self) -> list[Content]:
        return [
            {
                "operatorId": int(number),
                "name": some[0].name,
                "denominationType": "FIXED",
                "supportsLocalAmounts": True,
                "senderCurrencyCode": CURRENCY,
                "destinationCurrencyCode": some[0].more.get("currency", CURRENCY),
                "fixedAmounts": [_dollars(one.cost_e6) for one in some],
                "localFixedAmounts": [_face(one) for one in some],
                "country": {"isoName": some[0].more.get("country", "US"), "name": some[0].more.get("country", "US")},
                "status": "ACTIVE",
            }
            for number, some in self._of_kind(ledger.TOP_UP).items()
        ]

    def _denomination(self, kind: str, number: object, fits: Callable[[Product], bool], why: str) -> Product:
        """The product of that number that fits; No("off_sale") and RefusedError(`why`) tell what is wrong."""
        some = [one for one in self.ledger.products() if one.kind == kind and _number(one) == str(number)]
        if type(number) is not int or not some:
            raise No("product")
        if not any(one.on_sale for one in some):
            raise No("off_sale")
        for one in some:
            if one.on_sale and fits(one):
                return one
        raise self.no(why)

    # -- orders and top-ups ----------------------------------------------------------------------------------------

    def _order(self, wanted: Content, fault: Fault | None) -> Content:
        quantity, price = wanted.get("quantity"), wanted.get("unitPrice")
        if type(quantity) is not int or quantity < 1:
            raise No("quantity")
        email = wanted.get("recipientEmail")
        if not isinstance(wanted.get("senderName"), str) or not wanted["senderName"]:
            raise self.no("body")
        if email is not None and (not isinstance(email, str) or not re.fullmatch(r"[^@\s]+@[^@\s]+", email)):
            raise self.no("body")
        if type(price) not in (int, float):
            raise self.no("price")
        number = wanted.get("productId")
        product = self._denomination(ledger.CARD, number, lambda one: _face(one) == price, "price")
        account = {"recipientEmail": email} if email else {}
        order = self.buy(self._wanted(wanted, product, quantity, account), fault)
        return self._told_order(order, new=True)

    def _top_up(self, wanted: Content, fault: Fault | None, later: bool) -> Content:
        amount, phone = wanted.get("amount"), wanted.get("recipientPhone")
        if type(amount) not in (int, float) or not isinstance(wanted.get("useLocalAmount", False), bool):
            raise self.no("amount")
        if not isinstance(phone, dict):
            raise No("account")
        of = _face if wanted.get("useLocalAmount") else _paid
        number = wanted.get("operatorId")
        product = self._denomination(ledger.TOP_UP, number, lambda one: of(one) == amount, "amount")
        country, digits = str(phone.get("countryCode", "")), str(phone.get("number", ""))
        if country != product.more.get("country", "US") or not re.fullmatch(r"\+?[0-9]{7,15}", digits):
            raise No("account")
        account = {"countryCode": country, "number": digits}
        order = self.buy(self._wanted(wanted, product, 1, account), fault)
        return {"transactionId": int(order.order_no)} if later else self._told_top_up(order)

    def _wanted(self, wanted: Content, product: Product, quantity: int, account: Mapping[str, str]) -> Wanted:
        ours = wanted.get("customIdentifier") or ""
        if not isinstance(ours, str) or len(ours) > OUR_NUMBER_MAX:
            raise self.no("body")
        more = {
            "face": _face(product),
            "currency": product.more.get("currency", CURRENCY),
            "fee_e6": product.more.get("fee_e6", 0),
            "sender_e6": _sender_e6(product),
        }
        return Wanted(ours, product.sku, quantity, account, self.callback_url, more=more)

    def _asked(self, kind: str, number: str, fault: Fault | None) -> Order:
        found = [one for one in self.ledger.ask(order_no=number) if one.kind == kind]
        if not found or (fault and fault.kind == "absent"):
            raise No("absent")
        return found[0]

    def _cards(self, number: str, fault: Fault | None) -> list[Content]:
        order = self._asked(ledger.CARD, number, fault)
        if order.state not in _STATES and self.traits["cards_not_ready"] == "refused":
            raise self.no("not_ready")
        parts = self.traits["card_parts"]
        return [
            {
                "cardNumber": None if parts == "pin" else card.card_no,
                "pinCode": None if parts == "number" else card.password,
            }
            for card in order.cards
        ]

    def _status(self, number: str, fault: Fault | None) -> Content:
        order = self._asked(ledger.TOP_UP, number, fault)
        status = self._state(order.state)
        failed = {"code": "RECHARGE_FAILED", "message": "The top-up failed"} if status == "FAILED" else {}
        told = None if status == "PROCESSING" else self._told_top_up(order)
        return {"code": None, "message": None} | failed | {"status": status, "transaction": told}

    def _history(self, kind: str, number: Sequence[str], query: Mapping[str, str], fault: Fault | None) -> Content:
        told = self._told_order if kind == ledger.CARD else self._told_top_up
        if number:
            return told(self._asked(kind, "/".join(number), fault))
        ours = query.get("customIdentifier", "")
        if ours and self.traits["history_filter"] == "exact":
            found = self.ledger.ask(ours=ours)
        else:
            found = [one for one in self.ledger.orders() if ours in one.ours]
        if fault and fault.kind == "absent":
            found = []
        newest_first = sorted((one for one in found if one.kind == kind), key=lambda one: -one.serial)
        return _page([told(one) for one in newest_first], query, 50)

    def _state(self, state: str) -> str:
        if state in (ledger.FAILED, ledger.CANCELED):
            return self.traits["failed_state"]
        return _STATES.get(state, "PROCESSING")

    def _told_order(self, order: Order, *, new: bool = False) -> Content:
        status = self._state(order.state)
        fee_e6, face = order.more["fee_e6"] * order.quantity, order.more["face"]
        return {
            "transactionId": int(order.order_no),
            # What was taken from the account, and what that was made of.
            "amount": _dollars(order.total_e6),
            "discount": _dollars(max(0, order.more["sender_e6"] * order.quantity + fee_e6 - order.total_e6)),
            "currencyCode": CURRENCY,
            "fee": _dollars(fee_e6),
            "recipientEmail": order.account.get("recipientEmail"),
            "customIdentifier": order.ours or None,
            "status": "PENDING" if new and status == "PROCESSING" else status,
            "product": {
                "productId": _int(order.sku),
                "productName": order.name,
                "quantity": order.quantity,
                "unitPrice": face,
                "totalPrice": round(face * order.quantity, 2),
                "currencyCode": order.more["currency"],
            },
            "transactionCreatedTime": _moment(order.placed_at),
        }

    def _told_top_up(self, order: Order) -> Content:
        status = self._state(order.state)
        done = status == "SUCCESSFUL"
        return {
            "transactionId": int(order.order_no),
            "status": status,
            "operatorTransactionId": f"OP{order.serial:09d}" if done else None,
            "customIdentifier": order.ours or None,
            "recipientPhone": _with_dial_code(order.account),
            "countryCode": order.account["countryCode"],
            "operatorId": _int(order.sku),
            "operatorName": order.name,
            "discount": 0.0,
            "discountCurrencyCode": CURRENCY,
            "requestedAmount": _dollars(order.total_e6),
            "requestedAmountCurrencyCode": CURRENCY,
            "deliveredAmount": order.more["face"] if done else None,
            "deliveredAmountCurrencyCode": order.more["currency"],
            "transactionDate": _moment(order.placed_at),
            "pinDetail": None,
        }

    # -- webhooks --------------------------------------------------------------------------------------------------

    def notice(self, order: Order, state: str, how: str) -> tuple[dict[str, str], bytes]:
        line = "giftcard" if order.kind == ledger.CARD else "airtime"
        data = {
            "transactionId": int(order.order_no),
            "customIdentifier": order.ours or None,
            "status": self._state(state),
        }
        body = json.dumps({"type": f"{line}_transaction.status", "data": data}, separators=(",", ":")).encode()
        at = time.time() - (2 * _DAY_SECONDS if how == "stale_timestamp" else 0)
        stamp = str(int(at * 1000))
        secret = self.keys["webhook_secret"] + ("?" if how == "wrong_signature" else "")
        covered = body if self.traits["webhook_covers"] == "body" else timed(body, stamp)
        headers = {
            "Content-Type": "application/json",
            "X-Reloadly-Request-Timestamp": stamp,
            "X-Reloadly-Signature": signature(covered, secret),
        }
        return headers, body

    def accepts(self, status: int, body: bytes) -> bool:
        return status == 200


def timed(body: bytes, stamp: str) -> bytes:
    return body + b":" + stamp.encode()


def signature(message: bytes, secret: str) -> str:
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


def _json(request: Request) -> Content:
    """The body; RefusedError if it is no object of JSON."""
    try:
        content = json.loads(request.body)
    except ValueError:
        content = None
    if not isinstance(content, dict) or request.headers.get_content_type() != "application/json":
        raise RefusedError(*Reloadly.words["body"])
    return content


def _line(headers: Message) -> str:
    """The line that Accept names, or ""."""
    found = re.fullmatch(r"application/com\.reloadly\.(giftcards|topups)-v1\+json", headers.get("Accept", ""))
    return found[1] if found else ""


def _page(content: Sequence[Content], query: Mapping[str, str], usual_size: int) -> Content:
    """Pages are asked for from 1 and counted from 0."""
    page, size = (query.get(name, str(usual)) for name, usual in (("page", 1), ("size", usual_size)))
    if not (re.fullmatch(r"[1-9][0-9]{0,5}", page) and re.fullmatch(r"[1-9][0-9]{0,2}", size)) or int(size) > SIZE_MAX:
        raise RefusedError(*Reloadly.words["body"])
    number, length = int(page) - 1, int(size)
    pages = -(-len(content) // length)
    return {
        "content": list(content[number * length : (number + 1) * length]),
        "totalElements": len(content),
        "totalPages": pages,
        "number": number,
        "size": length,
        "first": number == 0,
        "last": number + 1 >= pages,
    }


def _one(content: Sequence[Content], name: str, number: str) -> Content:
    for one in content:
        if str(one[name]) == number:
            return one
    raise No("product")


def _dollars(e6: int) -> float:
    return round(e6 / _E6, 5)


def _number(product: Product) -> str:
    return product.sku.partition(":")[0]


def _int(sku: str) -> int:
    return int(sku.partition(":")[0])


def _face(product: Product) -> float:
    return float(product.more["face"])


def _paid(product: Product) -> float:
    return _dollars(product.cost_e6)


def _sender_e6(product: Product) -> int:
    """The denomination in dollars, of which the discount goes off and to which the fee comes."""
    paid = 1 - float(product.more.get("discount", 0)) / 100
    return round((product.cost_e6 - int(product.more.get("fee_e6", 0))) / paid)


def _with_dial_code(account: Mapping[str, str]) -> str:
    digits, code = account["number"].removeprefix("+"), _DIAL_CODES.get(account["countryCode"], "")
    return digits if digits.startswith(code) else code + digits


def _moment(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}"
