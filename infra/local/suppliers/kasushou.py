"""A kasushou 2.0 site (卡速售), or one of the many on the same code."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar
from urllib.parse import urlsplit

from infra.local.counterparts import RefusedError, Reply, Request, json_reply
from infra.local.suppliers import ledger
from infra.local.suppliers.common import BUY, COMMON_TRAITS, Fault, No, Order, Product, Supplier, Wanted, amount, routes

ROOT = "/api/v1/"
CLOCK_SKEW_SECONDS_MAX = 300
LIMIT_MAX = 100
ASKED_MAX = 50
DAYS_USUAL = 30
DAY_SECONDS = 86_400

_STATUS = {
    ledger.ACCEPTED: 2,
    ledger.UNKNOWN: 2,
    ledger.DELIVERED: 3,
    ledger.CANCELED: 4,
    ledger.REFUNDED: 5,
}
_HINTS = {2: "订单处理中", 3: "充值成功", 4: "订单已取消", 5: "订单已取消,资金已退回商城余额!"}


class Kasushou(Supplier):
    """Product.sku is the goods id. Everything is answered with HTTP 200; `code` 200 is the only yes."""

    kind = "kasushou"
    label = "kasushou 2.0"
    usual_port = 4592
    traits_known: ClassVar = COMMON_TRAITS | {
        # What its answer to buying never says, a question may learn: at the first, or after it was called waiting.
        "delivery": ("at_once", "first_ask"),
        # Whether an order can be asked after by our number: the documents say so.
        "asks_by_ours": ("yes", "no"),
        # The answer about orders that are not there.
        "absent": ("empty", "refused"),
        # What an order is called that was not delivered: its money is back, or it was canceled.
        "failed_status": ("5", "4"),
        # What an order is called of which a part was delivered.
        "partial": ("3", "5", "2"),
        # Whether a card has a number; the sample has only a password.
        "card_no": ("told", "empty"),
        # What a failed order of cards lists: the sample has a card whose password is "1".
        "failed_cards": ("none", "placeholder"),
        # Whether an order tells what it cost and what of that came back; the sample has neither.
        "order_money": ("not_told", "told"),
        # What stands around a list of goods.
        "goods_list": ("list", "plain"),
        # Whether the signature is compared with the bytes that came, or with the same content written as the documents
        # say: sorted, without spaces, slashes and characters as they are.
        "body": ("canonical", "as_sent"),
        # What ends the delivery of a notification, and where its signature stands.
        "ack": ("ok", "any_200", "success"),
        "callback_sign": ("headers", "body", "none"),
    }
    # Only 200 is published; these are the stand-in's.
    words: ClassVar = {
        "product": (200, "1001", "商品不存在"),
        "off_sale": (200, "1002", "商品已下架"),
        "stock": (200, "1003", "商品库存不足"),
        "balance": (200, "1004", "账户余额不足"),
        "quantity": (200, "1005", "购买数量不正确"),
        "ceiling": (200, "1006", "商品价格高于安全价格"),
        "account": (200, "1007", "请填写完整的充值信息"),
        "repeated": (200, "1008", "外部订单号已存在"),
        "absent": (200, "1009", "订单不存在"),
        "settled": (200, "1010", "订单已完结"),
        "signature": (200, "401", "签名错误"),
        "address": (200, "403", "IP不在白名单内"),
    }
    fault_kinds: ClassVar = routes("balance", "products", "product", "buy", "order", buy=BUY)

    @property
    def terms(self) -> dict[str, str]:
        return {"site": self.url, "user_id": str(10_000 + self.seed)}

    @property
    def keys(self) -> dict[str, str]:
        return {"api_key": self.secret("api_key", 32)}

    def number(self, serial: int, now: float) -> str:
        return f"D1{int(now * 1000):014d}{serial:08d}"

    def sign(self, timestamp: str, body: bytes) -> str:
        """Lower hex, over exactly these bytes."""
        message = timestamp.encode() + (body or b"{}") + self.keys["api_key"].encode()
        return hashlib.sha1(message).hexdigest()  # noqa: S324 - the protocol's own digest

    # -- the door --------------------------------------------------------------------------------------------------

    def find(self, request: Request) -> tuple[str, Callable[[Fault | None], Reply]]:
        doors: dict[str, tuple[str, Callable[[dict[str, Any], Fault | None], Any]]] = {
            "user/info": ("balance", lambda _, __: {"balance": amount(self.ledger.balance_e6())}),
            "goods/list": ("products", lambda asked, _: self._products(asked)),
            "goods/info": ("product", lambda asked, _: _told(self.ledger.product(_text(asked, "id")))),
            "order/buy": ("buy", self._buy),
            "order/info": ("order", lambda asked, _: self._orders(asked)),
        }
        door = doors.get(request.path.removeprefix(ROOT)) if request.path.startswith(ROOT) else None
        if door is None or request.method != "POST":
            raise RefusedError(404, "404", "接口不存在")
        route, do = door

        def checked(fault: Fault | None) -> Reply:
            self._check(request)
            return json_reply(200, {"code": 200, "msg": "成功", "data": do(_json_object(request.body), fault)})

        return route, checked

    def refusal(self, refused: RefusedError) -> Reply:
        code = int(refused.code) if refused.code.isdecimal() else refused.status
        return json_reply(refused.status, {"code": code, "msg": refused.message, "data": None})

    def _check(self, request: Request) -> None:
        sign, stamp, user = (request.headers.get(name, "") for name in ("Sign", "Timestamp", "UserId"))
        if user != self.terms["user_id"]:
            raise RefusedError(200, "402", "用户不存在")
        if not re.fullmatch(r"[0-9]{13}", stamp) or abs(time.time() - int(stamp) / 1000) > CLOCK_SKEW_SECONDS_MAX:
            raise RefusedError(200, "405", "时间戳错误")
        if not hmac.compare_digest(sign.encode(), self.sign(stamp, request.body).encode()):
            raise self.no("signature")
        if (
            request.body
            and self.traits["body"] == "canonical"
            and request.body != _canonical(_json_object(request.body))
        ):
            raise self.no("signature")

    # -- API -------------------------------------------------------------------------------------------------------

    def _products(self, asked: Mapping[str, Any]) -> Any:
        limit, page = _number(asked, "limit", LIMIT_MAX), _number(asked, "page", 1)
        if not 1 <= limit <= LIMIT_MAX or page < 1:
            raise _bad("limit 或 page 不正确")
        keyword = str(asked.get("keyword") or "")
        every = [one for one in self.ledger.products() if keyword in one.name]
        listed = [_told(one) for one in every[(page - 1) * limit : page * limit]]
        return listed if self.traits["goods_list"] == "plain" else {"total": len(every), "list": listed}

    def _buy(self, asked: dict[str, Any], fault: Fault | None) -> dict[str, Any]:
        url = asked.get("url") or ""
        if not isinstance(url, str) or (url and urlsplit(url).scheme not in ("http", "https")):
            raise _bad("回调地址不正确")
        order = self.buy(
            Wanted(
                ours=_text(asked, "external_orderno"),
                sku=_text(asked, "id"),
                quantity=_number(asked, "quantity", 1),
                account=_attached(asked.get("attach")),
                notify_url=url,
                more={"fields": list(self.ledger.product(_text(asked, "id")).fields)},
                ceiling_e6=_ceiling_e6(asked.get("safe_price")),
            ),
            fault,
        )
        return {"ordersn": order.order_no, "external_orderno": order.ours}

    def _orders(self, asked: dict[str, Any]) -> list[dict[str, Any]]:
        theirs, ours = _numbers(asked, "ordersn"), _numbers(asked, "external_orderno")
        day = _number(asked, "day", DAYS_USUAL)
        if not theirs + ours or len(theirs + ours) > ASKED_MAX or day < 0:
            raise _bad("请填写订单号")
        since = time.time() - day * DAY_SECONDS if day else 0
        found = [one for number in theirs for one in self.ledger.ask(order_no=number)]
        if self.traits["asks_by_ours"] == "yes":
            found += [one for number in ours for one in self.ledger.ask(ours=number)]
        found = [one for one in found if one.placed_at >= since]
        if not found and self.traits["absent"] == "refused":
            raise No("absent")
        return [self._told(one, one.state) for one in found]

    # -- what it says ----------------------------------------------------------------------------------------------

    def _status(self, order: Order, state: str) -> int:
        if state == ledger.FAILED:
            return int(self.traits["failed_status"])
        if state == ledger.DELIVERED == order.state and order.kind == ledger.CARD and len(order.cards) < order.quantity:
            called = int(self.traits["partial"])
            # The money of half of one piece may be kept, though nothing came: that much is no refund.
            return 3 if called == 5 and not order.cards and not order.returned_e6 else called
        return _STATUS[state]

    def _told(self, order: Order, state: str) -> dict[str, Any]:
        status = self._status(order, state)
        names = {one["key"]: one["name"] for one in order.more.get("fields", [])}
        money = {"total_price": amount(order.total_e6), "has_back_money": amount(order.returned_e6)}
        return {
            "ordersn": order.order_no,
            "external_orderno": order.ours,
            "recharge_info": [{"n": names.get(key, key), "v": value, "k": key} for key, value in order.account.items()],
            "recharge_hints": _HINTS[status],
            "status": status,
            "card_list": self._cards(order, state),
            **(money if self.traits["order_money"] == "told" else {}),
        }

    def _cards(self, order: Order, state: str) -> list[dict[str, Any]]:
        if state in (ledger.FAILED, ledger.CANCELED) and order.kind == ledger.CARD:
            placeholder = [{"card_no": "", "card_password": "1", "card_show_type": 1}]
            return placeholder if self.traits["failed_cards"] == "placeholder" else []
        if state not in (ledger.DELIVERED, ledger.REFUNDED):
            return []
        told = self.traits["card_no"] == "told"
        return [
            {"card_no": card.card_no if told else "", "card_password": card.password, "card_show_type": 1}
            for card in order.cards
        ]

    def notice(self, order: Order, state: str, how: str) -> tuple[dict[str, str], bytes]:
        told = self._told(order, state)
        body = _canonical(told)
        headers = {"Content-Type": "application/json"}
        if self.traits["callback_sign"] == "none":
            return headers, body
        late = 2 * CLOCK_SKEW_SECONDS_MAX if how == "stale_timestamp" else 0
        stamp = str(int((time.time() - late) * 1000))
        within = self.traits["callback_sign"] == "body"
        signed = {"time": stamp} | {name: value for name, value in told.items() if name != "card_list"}
        sign = self.sign(stamp, _canonical(signed) if within else body)
        sign = sign[::-1] if how == "wrong_signature" else sign
        if within:
            return headers, _canonical({**told, "time": stamp, "sign": sign})
        return headers | {"Sign": sign, "Timestamp": stamp, "UserId": self.terms["user_id"]}, body

    def accepts(self, status: int, body: bytes) -> bool:
        wanted = self.traits["ack"]
        return status == 200 and (wanted == "any_200" or body.strip().decode("utf-8", "replace") == wanted)


def _told(product: Product) -> dict[str, Any]:
    stock = product.listed_stock
    return {
        "id": int(product.sku),
        "goods_name": product.name,
        "goods_img": "",
        "goods_type": 1 if product.kind == ledger.CARD else 2,
        "face_value": amount(product.cost_e6),
        "goods_price": amount(product.cost_e6),
        "status": 1 if product.on_sale else 2,
        "stock_num": 9999 if stock is None else stock,
        "goods_info": "",
        "goods_notice": "",
        "start_count": product.quantity_min,
        "end_count": product.quantity_max,
        "can_buy": product.more.get("can_buy", ""),
        "can_no_buy": product.more.get("can_no_buy", ""),
        "can_price": amount(product.cost_e6),
        "can_back": 1,
        "need_balance": "0",
        "attach": [
            {"key": one["key"], "type": "text", "tip": one["name"], "name": one["name"]} for one in product.fields
        ],
    }


def _bad(message: str) -> RefusedError:
    return RefusedError(200, "400", message)


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body or b"{}")
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise _bad("参数格式错误")
    return content


def _canonical(content: Mapping[str, Any]) -> bytes:
    """As the documents write it; a site signs this that puts a body together again before it checks."""
    return json.dumps(dict(sorted(content.items())), ensure_ascii=False, separators=(",", ":")).encode()


def _text(asked: Mapping[str, Any], name: str) -> str:
    """A number or a text, as text."""
    value = asked.get(name, "")
    if type(value) not in (int, str):
        raise _bad(f"{name} 不正确")
    return str(value)


def _number(asked: Mapping[str, Any], name: str, usual: int) -> int:
    text = _text(asked, name) or str(usual)
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise _bad(f"{name} 不正确")
    return int(text)


def _numbers(asked: Mapping[str, Any], name: str) -> list[str]:
    return [one for one in _text(asked, name).split(",") if one]


def _attached(attach: Any) -> dict[str, str]:
    """An object of keys and values, or a list of {"key", "value"}: which of them is not published."""
    if isinstance(attach, list):
        attach = {one.get("key"): one.get("value") for one in attach if isinstance(one, dict)}
    if not isinstance(attach, dict | None):
        raise _bad("attach 不正确")
    return {str(key): str(value) for key, value in (attach or {}).items() if value not in (None, "")}


def _ceiling_e6(price: Any) -> int | None:
    """Of one unit; text or number with at most six decimals."""
    if price in (None, ""):
        return None
    whole, _, rest = str(price).partition(".")
    if not whole.isdecimal() or (rest and not rest.isdecimal()) or len(rest) > 6:
        raise _bad("safe_price 不正确")
    return int(whole) * 1_000_000 + int(rest.ljust(6, "0"))
