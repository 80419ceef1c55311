"""A dujiao-next shop that lets others resell: its upstream API 1.0, seen from the outside."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import urlsplit

from infra.local.counterparts import RefusedError, Reply, Request, json_reply
from infra.local.suppliers import ledger
from infra.local.suppliers.common import BUY, COMMON_TRAITS, Fault, No, Order, Product, Supplier, Wanted, amount, routes

ROOT = "/api/v1/upstream"
CALLBACK_PATH = "/api/v1/upstream/callback"
PRODUCT_ID = 1000  # so much above its first SKU's, so that nobody takes one for the other
CLOCK_SKEW_SECONDS_MAX = 60
PAGE_SIZE_MAX = 100
CURRENCY = "CNY"
DELIVERED_BY_HAND = "充值成功"

_STATUS = {
    ledger.FAILED: "canceled",
    ledger.CANCELED: "canceled",
    ledger.REFUNDED: "canceled",  # it has no other word
}


class Dujiao(Supplier):
    """Product.sku is the sku_id; a card is fulfilled `auto`, a top-up `manual` with its fields as the form.

    SKUs whose `more` names the same product_id are one product; otherwise each is its own.
    """

    kind = "dujiao"
    label = "dujiao-next upstream"
    usual_port = 4591
    traits_known: ClassVar = COMMON_TRAITS | {
        "repeat": ("replays", "refuses", "buys"),
        # What an order is called in the answer that makes it: the sample says `paid`, whatever it already is.
        "create_says": ("paid", "as_it_is"),
        # What a balance that is too low brings: nothing, or an order that is canceled (HTTP 200, ok false).
        "poor": ("insufficient_balance", "payment_failed"),
        # The code of 404, which is not published.
        "absent": ("order_not_found", "not_found"),
        # What an order is called that is not delivered yet, and one that is.
        "open_status": ("paid", "fulfilling"),
        "done_status": ("completed", "delivered"),
        # What an order is called of which a part was delivered.
        "partial": ("completed", "partially_delivered"),
        # How an order of several codes is told, or a code with a number.
        "payload": ("codes", "pairs"),
        # Whether what is paid and not yet delivered can be canceled.
        "cancel": ("allowed", "refused"),
        # The path in the signature of a callback: always the same, or that of its address.
        "callback_path": ("constant", "of_the_url"),
        # dujiao-next refuses callbacks to private addresses; here there is no other.
        "callback_address": ("any", "public_only"),
    }
    words: ClassVar = {
        "product": (400, "sku_unavailable", "sku is not available"),
        "off_sale": (400, "product_unavailable", "product is not available"),
        "stock": (409, "insufficient_stock", "insufficient stock"),
        "balance": (402, "insufficient_balance", "insufficient balance"),
        "quantity": (400, "bad_request", "quantity is out of range"),
        "ceiling": (400, "bad_request", "price is above the ceiling"),  # cannot be: there is no such parameter
        "account": (400, "bad_request", "manual_form_data is incomplete"),
        "repeated": (400, "bad_request", "downstream_order_no exists"),
        "absent": (404, "order_not_found", "order not found"),
        "settled": (409, "cancel_not_allowed", "order cannot be canceled"),
        "signature": (401, "invalid_signature", "invalid signature"),
        "address": (403, "user_disabled", "user is disabled"),
    }
    fault_kinds: ClassVar = routes(
        "ping", "categories", "products", "product", "buy", "order", "cancel", buy=(*BUY, "payment_failed")
    )

    @property
    def terms(self) -> dict[str, str]:
        return {"site": self.url}

    @property
    def keys(self) -> dict[str, str]:
        return {"api_key": self.secret("api_key", 32), "api_secret": self.secret("api_secret", 64)}

    def number(self, serial: int, now: float) -> str:
        return f"DJ{datetime.fromtimestamp(now, UTC):%Y%m%d%H%M%S}{serial:04X}"

    def sign(self, method: str, path: str, timestamp: str, body: bytes) -> str:
        """Lower hex."""
        message = f"{method}\n{path}\n{timestamp}\n{_md5(body)}"
        return hmac.new(self.keys["api_secret"].encode(), message.encode(), hashlib.sha256).hexdigest()

    # -- the door --------------------------------------------------------------------------------------------------

    def find(self, request: Request) -> tuple[str, Callable[[Fault | None], Reply]]:
        route, do = self._route(request)

        def checked(fault: Fault | None) -> Reply:
            self._check(request)
            return do(fault)

        return route, checked

    def _route(self, request: Request) -> tuple[str, Callable[[Fault | None], Reply]]:
        parts = request.path.removeprefix(ROOT).strip("/").split("/") if request.path.startswith(ROOT + "/") else [""]
        match request.method, parts:
            case "POST", ["ping"]:
                return "ping", lambda _: self._ping()
            case "GET", ["categories"]:
                return "categories", lambda _: self._categories()
            case "GET", ["products"]:
                return "products", lambda _: self._products(request.query)
            case "GET", ["products", number]:
                return "product", lambda _: self._product(number)
            case "POST", ["orders"]:
                return "buy", lambda fault: self._buy(request.body, fault)
            case "GET", ["orders", number]:
                return "order", lambda _: json_reply(200, self._detail(self._asked(number)))
            case "POST", ["orders", number, "cancel"]:
                return "cancel", lambda _: self._cancel(number)
        raise RefusedError(404, "not_found", "not found")

    def refusal(self, refused: RefusedError) -> Reply:
        return json_reply(refused.status, {"ok": False, "error_code": refused.code, "error_message": refused.message})

    def no(self, reason: str) -> RefusedError:
        if reason == "absent":
            return RefusedError(404, self.traits["absent"], "order not found")
        return super().no(reason)

    def _check(self, request: Request) -> None:
        key, stamp, signature = (
            request.headers.get(f"Dujiao-Next-{name}", "") for name in ("Api-Key", "Timestamp", "Signature")
        )
        if not (key and stamp and signature):
            raise RefusedError(401, "missing_auth_headers", "missing auth headers")
        if not re.fullmatch(r"[0-9]{1,12}", stamp):
            raise RefusedError(401, "invalid_timestamp", "invalid timestamp")
        if abs(time.time() - int(stamp)) > CLOCK_SKEW_SECONDS_MAX:
            raise RefusedError(401, "timestamp_expired", "timestamp expired")
        if not hmac.compare_digest(key.encode(), self.keys["api_key"].encode()):
            raise RefusedError(401, "invalid_api_key", "invalid api key")
        right = self.sign(request.method, request.path, stamp, request.body)
        if not hmac.compare_digest(signature.encode(), right.encode()):
            raise self.no("signature")

    # -- API -------------------------------------------------------------------------------------------------------

    def _ping(self) -> Reply:
        level = {"id": 1, "name": {"zh-CN": "黄金会员", "en": "Gold"}, "slug": "gold", "icon": ""}
        return json_reply(
            200,
            {
                "ok": True,
                "site_name": "独角小店",
                "protocol_version": "1.0",
                "user_id": 42,
                "balance": amount(self.ledger.balance_e6()),
                "currency": CURRENCY,
                "member_level": level,
            },
        )

    def _categories(self) -> Reply:
        listed = [{"id": 1, "parent_id": 0, "slug": "cards", "name": {"zh-CN": "卡券", "en": "Cards"}}]
        return json_reply(200, {"ok": True, "categories": listed})

    def _products(self, query: Mapping[str, str]) -> Reply:
        page, size = query.get("page", "1"), query.get("page_size", "20")
        if not (_counts(page) and _counts(size) and int(size) <= PAGE_SIZE_MAX):
            raise _bad("page or page_size is out of range")
        every = self._every()
        first = (int(page) - 1) * int(size)
        return json_reply(
            200,
            {
                "ok": True,
                "items": every[first : first + int(size)],
                "total": len(every),
                "page": int(page),
                "page_size": int(size),
            },
        )

    def _product(self, number: str) -> Reply:
        for product in self._every():
            if str(product["id"]) == number:
                if not product["is_active"]:
                    raise RefusedError(404, "product_unavailable", "product is not available")
                return json_reply(200, {"ok": True, "product": product})
        raise RefusedError(404, "product_not_found", "product not found")

    def _every(self) -> list[dict[str, Any]]:
        together: dict[int, list[Product]] = {}
        for one in self.ledger.products():
            together.setdefault(_product_id(one), []).append(one)
        return [_listed(product_id, skus) for product_id, skus in together.items()]

    def _buy(self, body: bytes, fault: Fault | None) -> Reply:
        wanted = self._wanted(body)
        if fault and fault.kind == "payment_failed":
            return self._unpaid(wanted)
        try:
            order = self.buy(wanted, fault)
        except No as no:
            if no.reason == "balance" and self.traits["poor"] == "payment_failed":
                return self._unpaid(wanted)
            raise
        as_it_is = order.replayed or self.traits["create_says"] == "as_it_is"
        return json_reply(200, self._head(order, self._status(order) if as_it_is else "paid"))

    def _unpaid(self, wanted: Wanted) -> Reply:
        order = self.ledger.buy(wanted, Fault("unpaid", 0))
        return json_reply(
            200,
            self._head(order, self._status(order))
            | {
                "ok": False,
                "error_code": "payment_failed",
                "error_message": "wallet payment failed: insufficient balance",
            },
        )

    def _wanted(self, body: bytes) -> Wanted:
        asked = _json_object(body)
        sku_id, quantity = asked.get("sku_id"), asked.get("quantity")
        form, ours = asked.get("manual_form_data") or {}, asked.get("downstream_order_no", "")
        callback = asked.get("callback_url") or ""
        if type(sku_id) is not int or type(quantity) is not int or quantity < 1:
            raise _bad("sku_id and quantity are whole numbers")
        if not isinstance(form, dict) or not isinstance(ours, str) or not isinstance(asked.get("trace_id", ""), str):
            raise _bad("manual_form_data, downstream_order_no or trace_id is malformed")
        if not isinstance(callback, str) or (callback and not self._callable(callback)):
            raise RefusedError(400, "invalid_callback_url", "invalid callback url")
        product_id = _product_id(self.ledger.product(str(sku_id)))
        account = {name: str(value) for name, value in form.items()}
        return Wanted(ours, str(sku_id), quantity, account, callback, more={"product_id": product_id})

    def _callable(self, url: str) -> bool:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            return False
        if self.traits["callback_address"] == "any":
            return True
        try:
            return ipaddress.ip_address(parts.hostname).is_global
        except ValueError:
            return parts.hostname != "localhost"

    def _asked(self, number: str) -> Order:
        found = self.ledger.ask(serial=int(number)) if _counts(number) else []
        if not found:
            raise No("absent")
        return found[0]

    def _cancel(self, number: str) -> Reply:
        found = self.ledger.ask(serial=int(number), silently=True) if _counts(number) else []
        if not found:
            raise No("absent")
        if self.traits["cancel"] == "refused":
            raise No("settled")
        order = self.ledger.end(found[0].order_no, ledger.CANCELED)
        return json_reply(200, self._head(order, self._status(order)))

    # -- what it says ----------------------------------------------------------------------------------------------

    def _status(self, order: Order) -> str:
        if order.state == ledger.DELIVERED and order.kind == ledger.CARD and len(order.cards) < order.quantity:
            return self.traits["partial"]
        return self._called(order.state)

    def _called(self, state: str) -> str:
        if state in ledger.OPEN:
            return self.traits["open_status"]
        return self.traits["done_status"] if state == ledger.DELIVERED else _STATUS[state]

    def _head(self, order: Order, status: str) -> dict[str, Any]:
        return {
            "ok": True,
            "order_id": order.serial,
            "order_no": order.order_no,
            "status": status,
            "amount": amount(order.total_e6),
            "currency": CURRENCY,
        }

    def _detail(self, order: Order) -> dict[str, Any]:
        item = {
            "product_id": order.more["product_id"],
            "sku_id": int(order.sku),
            "title": {"zh-CN": order.name},
            "quantity": order.quantity,
            "unit_price": amount(order.unit_e6),
            "total_price": amount(order.total_e6),
            "fulfillment_type": "auto" if order.kind == ledger.CARD else "manual",
        }
        told = self._head(order, self._status(order)) | {"items": [item]}
        return told | ({"fulfillment": self._fulfillment(order)} if order.state == ledger.DELIVERED else {})

    def _fulfillment(self, order: Order) -> dict[str, Any]:
        pairs = self.traits["payload"] == "pairs"
        lines = [f"{card.card_no} {card.password}" if pairs else card.password for card in order.cards]
        by_hand = order.kind != ledger.CARD
        ended = datetime.fromtimestamp(order.ended_at or order.placed_at, UTC)
        return {
            "type": "manual" if by_hand else "auto",
            "status": "delivered",
            "payload": DELIVERED_BY_HAND if by_hand else "\n".join(lines),
            "delivery_data": None,
            "delivered_at": f"{ended:%Y-%m-%dT%H:%M:%SZ}",
        }

    def notice(self, order: Order, state: str, how: str) -> tuple[dict[str, str], bytes]:
        now = int(time.time())
        status = self._status(order) if state == order.state else self._called(state)
        told = {
            "event": "order.status_changed",
            "order_id": order.serial,
            "order_no": order.order_no,
            "downstream_order_no": order.ours,
            "status": status,
            "fulfillment": self._fulfillment(order) if state == ledger.DELIVERED else None,
            "timestamp": now,
        }
        body = json.dumps(told, ensure_ascii=False).encode()
        stamp = str(now - (10 * CLOCK_SKEW_SECONDS_MAX if how == "stale_timestamp" else 0))
        path = CALLBACK_PATH if self.traits["callback_path"] == "constant" else urlsplit(order.notify_url).path or "/"
        signature = self.sign("POST", path, stamp, body)
        return {
            "Content-Type": "application/json",
            "Dujiao-Next-Api-Key": self.keys["api_key"],
            "Dujiao-Next-Timestamp": stamp,
            "Dujiao-Next-Signature": signature[::-1] if how == "wrong_signature" else signature,
        }, body

    def accepts(self, status: int, body: bytes) -> bool:
        try:
            answer = json.loads(body)
        except ValueError:
            return False
        return status == 200 and isinstance(answer, dict) and answer.get("ok") is True


def _product_id(sku: Product) -> int:
    return int(sku.more.get("product_id", PRODUCT_ID + int(sku.sku)))


def _listed(product_id: int, skus: list[Product]) -> dict[str, Any]:
    first = skus[0]
    by_hand = first.kind == ledger.TOP_UP
    schema = [
        {"key": one["key"], "label": {"zh-CN": one["name"]}, "type": "text", "required": one.get("required", True)}
        for one in first.fields
    ]
    return {
        "id": product_id,
        "category_id": 1,
        "title": {"zh-CN": first.name},
        "currency": CURRENCY,
        "fulfillment_type": "manual" if by_hand else "auto",
        "manual_form_schema": {"fields": schema} if by_hand else None,
        "is_active": any(one.on_sale for one in skus),
        "skus": [
            {
                "id": int(one.sku),
                "sku_code": f"SKU-{one.sku}",
                "spec_values": one.more.get("spec_values", {}),
                "price_amount": amount(one.cost_e6),
                "stock_quantity": -1 if one.listed_stock is None else one.listed_stock,
                "is_active": one.on_sale,
            }
            for one in skus
        ],
    }


def _md5(body: bytes) -> str:
    return hashlib.md5(body).hexdigest()  # noqa: S324 - the protocol's own digest


def _counts(text: str) -> bool:
    return bool(re.fullmatch(r"[1-9][0-9]{0,9}", text))


def _bad(message: str) -> RefusedError:
    return RefusedError(400, "bad_request", message)


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise _bad("a JSON object is expected")
    return content
