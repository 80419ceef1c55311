"""Fulu's open platform: one gateway of many methods, answers signed as well, orders that end some time later."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, ClassVar
from urllib.parse import urlencode

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from infra.local.counterparts import RefusedError, Reply, Request, json_reply
from infra.local.suppliers import ledger
from infra.local.suppliers.called_back import CalledBack
from infra.local.suppliers.common import BUY, COMMON_TRAITS, Fault, No, Order, Product, Wanted, routes

GATEWAY = "/api/getway"  # spelt so by Fulu
CLOCK_SKEW_SECONDS_MAX = 600
OUR_NUMBER_MAX = 50
STOCK_LOW = 10
_BEIJING = timezone(timedelta(hours=8))
_DAY_SECONDS = 86_400

_ROUTES = {
    "fulu.goods.list.get": "goods",
    "fulu.goods.info.get": "goods",
    "fulu.goods.template.get": "goods",
    "fulu.goods.stock.check": "stock",
    "fulu.user.info.get": "balance",
    "fulu.order.direct.add": "buy",
    "fulu.order.card.add": "buy",
    "fulu.order.mobile.add": "buy",
    "fulu.order.data.add": "buy",
    "fulu.order.info.get": "query",
    "fulu.mobile.info.get": "mobile",
}
_REQUIRED = ("app_key", "method", "timestamp", "biz_content", "sign")
_FIXED = {"version": "2.0", "format": "json", "charset": "utf-8", "sign_type": "md5"}
_PHONE_ORDER_TYPES = {"mobile": 1, "data": 2}
_CARD_ORDER_TYPE, _DIRECT_ORDER_TYPE = 3, 4
# What an order is called that is not over: at once, and whenever it is asked after.
_NEW, _RUNNING = "untreated", "processing"
_FINAL = {ledger.DELIVERED: "success", ledger.FAILED: "failed", ledger.CANCELED: "failed"}

Content = dict[str, Any]


class Fulu(CalledBack):
    """The platform for one customer, whose callback address is set with `call_back`.

    A product's `more` may have "face" (text), "maintenance": true, and for 话费 and 流量 "order_type" 1 or 2 with
    "value" (whole yuan or MB). A field of a top-up may have "options" (what it must be one of) and "pattern".
    """

    kind = "fulu"
    label = "Fulu"
    usual_port = 4595
    traits_known: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "repeat": ("refuses", "replays", "buys"),
        "delivery": COMMON_TRAITS["delivery"],
        "half_money": COMMON_TRAITS["half_money"],
        # Whether numbers and passwords of cards are enciphered: AES-256-ECB, PKCS7, the secret as key, base64.
        "card_cipher": ("none", "aes"),
        # Whether a refusal is signed like any answer, or has no signature.
        "refusals": ("signed", "unsigned"),
        # The answer about an order that is not there: a code, or code 0 with an empty result.
        "absent": ("refused", "empty"),
        # What an order is called whose money was given back after it was delivered.
        "refunded_state": ("success", "failed"),
    }
    fault_kinds: ClassVar = routes(
        "gateway",
        *dict.fromkeys(_ROUTES.values()),
        also=("refuse_key", "wrong_signature", "unsigned", "system_error"),  # system_error: done, and says code 2000
        buy=BUY,
        query=("absent",),  # says that the order is not there
    )
    words: ClassVar[Mapping[str, tuple[int, str, str]]] = {
        "app_key": (200, "1001", "app_key不存在"),
        "signature": (200, "1002", "签名错误"),
        "timestamp": (200, "1003", "时间戳超出范围"),
        "address": (200, "1004", "IP未加入白名单"),
        "method": (200, "1005", "接口方法或版本不存在"),
        "body": (200, "1006", "请求参数错误"),
        "quantity": (200, "1006", "购买数量不符合要求"),
        "busy": (429, "1007", "请求过于频繁"),
        "key": (200, "1008", "商户已被禁用"),
        "system": (200, "2000", "系统异常"),
        "product": (200, "3001", "商品不存在"),
        "off_sale": (200, "3002", "商品已下架"),
        "maintenance": (200, "3003", "商品维护中"),
        "stock": (200, "3004", "商品库存不足"),
        "balance": (200, "3005", "商户余额不足"),
        "ceiling": (200, "3005", "价格已变动"),
        "account": (200, "3008", "充值账号不符合要求"),
        "repeated": (200, "4001", "外部订单号已存在"),
        "absent": (200, "4002", "订单不存在"),
        "settled": (200, "4003", "订单已完成"),
    }

    @property
    def terms(self) -> dict[str, str]:
        return {"site": self.url, "app_key": self.secret("app_key", 40)}

    @property
    def keys(self) -> dict[str, str]:
        return {"app_secret": self.secret("app_secret", 32)}

    def number(self, serial: int, now: float) -> str:
        return f"{datetime.fromtimestamp(now, _BEIJING):%y%m%d%H%M%S}{serial:08d}"

    # -- the gateway -----------------------------------------------------------------------------------------------

    def find(self, request: Request) -> tuple[str, Callable[[Fault | None], Reply]]:
        if request.method != "POST" or request.path != GATEWAY:
            raise RefusedError(404, "1005", "Not Found")
        try:
            params = json.loads(request.body)
            method = str(params["method"])
        except (ValueError, TypeError, KeyError):
            params, method = {}, ""
        return _ROUTES.get(method, "gateway"), lambda fault: self._do(params, fault)

    def refusal(self, refused: RefusedError) -> Reply:
        status, code = refused.status, refused.code
        if code == "too_many_requests":
            status, code, _ = self.words["busy"]
        return json_reply(status, {"code": int(code), "message": refused.message, "result": ""})

    def seal(self, reply: Reply, how: str) -> Reply:
        try:
            content = json.loads(reply.body)
        except ValueError:  # a page of the web server
            return reply
        bare = content["code"] and self.traits["refusals"] == "unsigned"
        content["sign"] = None if bare else self._sign(content["result"], how)
        return json_reply(reply.status, content)

    def _spoilt(self, fault: Fault | None, reply: Reply) -> Reply | None:
        spoilt = super()._spoilt(fault, reply)
        if spoilt and fault and fault.kind == "unsigned":
            content = json.loads(spoilt.body)
            del content["sign"]
            spoilt.body = json.dumps(content, ensure_ascii=False).encode()
        return spoilt

    def _sign(self, text: str, how: str = "") -> str:
        return signature(text, self.keys["app_secret"] + ("?" if how == "wrong_signature" else ""))

    def _do(self, params: Content, fault: Fault | None) -> Reply:
        self._check(params)
        kind = fault.kind if fault else ""
        if kind == "refuse_key":
            raise self.no("key")
        try:
            biz = json.loads(params["biz_content"] or "{}")
        except ValueError:
            raise self.no("body") from None
        if not isinstance(biz, dict):
            raise self.no("body")
        told = self._work(params["method"], biz, fault)
        if kind == "system_error":
            raise self.no("system")
        result = "" if told is None else encoded(told)
        return json_reply(200, {"code": 0, "message": "接口调用成功", "result": result})

    def _check(self, params: Content) -> None:
        """That the request is this customer's, whole and new, and is one of this protocol; else RefusedError."""
        if not all(
            isinstance(params.get(name), str) for name in ("app_key", "method", "timestamp", "sign", "biz_content")
        ):
            raise self.no("body")
        if params["app_key"] != self.terms["app_key"]:
            raise self.no("app_key")
        unsigned = {name: value for name, value in params.items() if name != "sign"}
        if not hmac.compare_digest(params["sign"].encode(), self._sign(encoded(unsigned)).encode()):
            raise self.no("signature")
        try:
            sent_at = datetime.strptime(params["timestamp"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=_BEIJING)
        except ValueError:
            raise self.no("timestamp") from None
        if abs(sent_at.timestamp() - time.time()) > CLOCK_SKEW_SECONDS_MAX:
            raise self.no("timestamp")
        if params["method"] not in _ROUTES or any(params.get(name) != value for name, value in _FIXED.items()):
            raise self.no("method")

    def _work(self, method: str, biz: Content, fault: Fault | None) -> Any:
        match method.split("."):
            case [_, "goods", "list", _]:
                wanted = str(biz.get("product_id", ""))
                return [_listed(one) for one in self.ledger.products() if wanted in ("", one.sku)]
            case [_, "goods", "info", _]:
                return _listed(self._product(biz))
            case [_, "goods", "template", _]:
                return self._template(str(biz.get("template_id", "")))
            case [_, "goods", "stock", _]:
                return self._stock(biz)
            case [_, "user", *_]:
                return {"name": "样板商户", "balance": yuan(self.ledger.balance_e6()), "is_open": 1}
            case [_, "order", "info", _]:
                return self._asked(biz, fault)
            case [_, "mobile", *_]:
                return {"phone": self._phone(biz, "phone"), "province": "湖北", "city": "武汉", "sp": "移动"}
        return self._order(method.split(".")[2], biz, fault)

    # -- goods -----------------------------------------------------------------------------------------------------

    def _product(self, biz: Content) -> Product:
        sku = biz.get("product_id")
        if type(sku) not in (int, str) or sku == "":
            raise self.no("body")
        return self.ledger.product(str(sku))

    def _template(self, template_id: str) -> Content:
        for product in self.ledger.products():
            if product.kind == ledger.TOP_UP and _template_id(product) == template_id:
                return {
                    "template_id": template_id,
                    "template_name": product.name,
                    "fields": [
                        {
                            "name": field["key"],
                            "title": field["name"],
                            "type": "select" if field.get("options") else "text",
                            "required": field.get("required", True),
                            "options": field.get("options", []),
                        }
                        for field in _fields(product)
                    ],
                }
        raise No("product")

    def _stock(self, biz: Content) -> Content:
        product, number = self._product(biz), self._whole(biz, "buy_num")
        listed = product.listed_stock
        status = "断货" if listed is not None and listed < number else _stock_status(product)
        return {"product_id": _id(product), "stock_status": status, "stock": listed}

    # -- orders ----------------------------------------------------------------------------------------------------

    def _order(self, how: str, biz: Content, fault: Fault | None) -> Content:
        """The order, which says only that it was taken."""
        ours = biz.get("customer_order_no")
        if not isinstance(ours, str) or not 0 < len(ours) <= OUR_NUMBER_MAX:
            raise self.no("body")
        if how in _PHONE_ORDER_TYPES:
            product, order_type, number = self._phone_product(how, biz), _PHONE_ORDER_TYPES[how], 1
            account = {"charge_phone": self._phone(biz, "charge_phone")}
        else:
            product, number = self._product(biz), self._whole(biz, "buy_num")
            order_type = _CARD_ORDER_TYPE if how == "card" else _DIRECT_ORDER_TYPE
            if (product.kind == ledger.CARD) != (how == "card"):
                raise No("product")
            account = {} if how == "card" else self._account(product, biz)
        if product.more.get("maintenance"):
            raise self.no("maintenance")
        wanted = Wanted(ours, product.sku, number, account, self.callback_url, more={"order_type": order_type})
        return self._told(self.buy(wanted, fault), new=True)

    def _account(self, product: Product, biz: Content) -> dict[str, str]:
        """What goes with a top-up; No("account") if the template's fields are not filled as it says."""
        account = {name: str(value) for name, value in biz.items() if name.startswith("charge_") and value != ""}
        for field in _fields(product):
            value = account.get(field["key"], "")
            if not value and field.get("required", True):
                raise No("account")
            if value and field.get("options") and value not in field["options"]:
                raise No("account")
            if value and field.get("pattern") and not re.fullmatch(field["pattern"], value):
                raise No("account")
        return account

    def _phone_product(self, how: str, biz: Content) -> Product:
        value = self._whole(biz, "charge_value")
        for product in self.ledger.products():
            if (product.more.get("order_type"), product.more.get("value")) == (_PHONE_ORDER_TYPES[how], value):
                return product
        raise No("product")

    def _asked(self, biz: Content, fault: Fault | None) -> Content | None:
        ours = biz.get("customer_order_no")
        found = self.ledger.ask(ours=ours) if isinstance(ours, str) and ours else []
        if found and not (fault and fault.kind == "absent"):
            return self._told(found[-1])
        if self.traits["absent"] == "empty":
            return None
        raise No("absent")

    def _told(self, order: Order, *, new: bool = False) -> Content:
        state = _NEW if new else self._state(order.state)
        over = state in _FINAL.values()
        cards = [self._card(card) for card in order.cards] if over and order.kind == ledger.CARD else None
        return {
            "order_id": order.order_no,
            "customer_order_no": order.ours,
            "product_id": _number(order.sku),
            "product_name": order.name,
            "order_type": order.more["order_type"],
            "order_state": state,
            "order_price": yuan(order.total_e6),
            "price": yuan(order.unit_e6),
            "buy_num": order.quantity,
            "charge_account": order.account.get("charge_account") or order.account.get("charge_phone", ""),
            "cards": cards,
            "create_time": _moment(order.placed_at),
            "finish_time": _moment(order.ended_at) if over and order.ended_at else "",
            "operator_serial_number": _serial_number(order) if over else "",
            "recharge_description": _description(state) if over else "",
        }

    def _state(self, state: str) -> str:
        if state == ledger.REFUNDED:
            return self.traits["refunded_state"]
        return _FINAL.get(state, _RUNNING)

    def _card(self, card: ledger.Card) -> Content:
        hide = self._ciphered if self.traits["card_cipher"] == "aes" else str
        return {
            "card_number": hide(card.card_no),
            "card_pwd": hide(card.password),
            "card_type": 0,
            "card_deadline": "2099-12-31 23:59:59",
        }

    def _ciphered(self, text: str) -> str:
        padder = PKCS7(128).padder()
        padded = padder.update(text.encode()) + padder.finalize()
        aes = Cipher(algorithms.AES(self.keys["app_secret"].encode()), modes.ECB()).encryptor()  # noqa: S305 - theirs
        return base64.b64encode(aes.update(padded) + aes.finalize()).decode()

    def _whole(self, biz: Content, name: str) -> int:
        value = str(biz.get(name, ""))
        if not re.fullmatch(r"[1-9][0-9]{0,5}", value):
            raise self.no("body")
        return int(value)

    def _phone(self, biz: Content, name: str) -> str:
        value = str(biz.get(name, ""))
        if not re.fullmatch(r"1[3-9][0-9]{9}", value):
            raise No("account")
        return value

    # -- callbacks -------------------------------------------------------------------------------------------------

    def notice(self, order: Order, state: str, how: str) -> tuple[dict[str, str], bytes]:
        """The callback of an order, or of a refund; it bears no time of sending, so that a stale one is an old one."""
        at = (order.ended_at or time.time()) - (_DAY_SECONDS if how == "stale_timestamp" else 0)
        fields = {
            "order_id": order.order_no,
            "customer_order_no": order.ours,
            "product_id": order.sku,
            "price": f"{yuan(order.unit_e6):.4f}",
            "buy_num": str(order.quantity),
        }
        if state == ledger.REFUNDED:
            fields |= {"refund_time": _moment(at), "refund_status": "success", "refund_description": "退款成功"}
        else:
            said = self._state(state)
            fields |= {
                "charge_finish_time": _moment(at),
                "order_status": said,
                "recharge_description": _description(said),
                "operator_serial_number": _serial_number(order),
            }
        fields["sign"] = self._sign(encoded(fields), how)
        return {"Content-Type": "application/x-www-form-urlencoded"}, urlencode(fields).encode()

    def accepts(self, status: int, body: bytes) -> bool:
        return status == 200 and body.strip() == b"success"


def encoded(content: object) -> str:
    """JSON as Fulu writes it: no spaces, slashes and characters as they are."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def signature(text: str, secret: str) -> str:
    """MD5 of the text's characters, sorted by code point, and the secret."""
    return hashlib.md5(("".join(sorted(text)) + secret).encode()).hexdigest()  # noqa: S324 - the protocol's own


def yuan(e6: int) -> float:
    return round(e6 / 1_000_000, 4)


def _moment(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC).astimezone(_BEIJING):%Y-%m-%d %H:%M:%S}"


def _number(sku: str) -> int | str:
    return int(sku) if sku.isdigit() else sku


def _id(product: Product) -> int | str:
    return _number(product.sku)


def _fields(product: Product) -> list[Mapping[str, Any]]:
    account = {"key": "charge_account", "name": "充值账号"}
    named = any(field["key"] == "charge_account" for field in product.fields)
    return [*([] if named else [account]), *product.fields]


def _template_id(product: Product) -> str:
    return f"t{product.sku}"


def _stock_status(product: Product) -> str:
    listed = product.listed_stock
    if listed is None or listed > STOCK_LOW:
        return "充足"
    return "警报" if listed else "断货"


def _listed(product: Product) -> Content:
    direct = product.kind == ledger.TOP_UP
    status = "上架" if product.on_sale else "下架"
    return {
        "product_id": _id(product),
        "product_name": product.name,
        "product_type": "直充" if direct else "卡密",
        "face_value": float(product.more.get("face", yuan(product.cost_e6))),
        "purchase_price": yuan(product.cost_e6),
        "template_id": _template_id(product) if direct else "",
        "sales_status": "维护中" if product.more.get("maintenance") else status,
        "stock_status": _stock_status(product),
    }


def _description(state: str) -> str:
    return {"success": "充值成功", "failed": "充值失败"}.get(state, "处理中")


def _serial_number(order: Order) -> str:
    return f"9{order.serial:017d}"
