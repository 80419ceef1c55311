"""An acg-faka shop that shares its goods: signed forms, HTTP 200 to everything, and no way back to a lost answer."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar
from urllib.parse import parse_qsl

from infra.local.counterparts import RefusedError, Reply, Request, json_reply
from infra.local.suppliers import ledger
from infra.local.suppliers.common import BUY, COMMON_TRAITS, Fault, No, Order, Product, Supplier, Wanted, routes

SIGNED_BYTES_MAX = 64 * 1024
_ASKS_NEVER = 1_000_000_000
_PAID = 1  # the one status that is ever told: nothing says whether an order is delivered, but its text
_WORK = {
    "/shared/authentication/connect": "connect",
    "/shared/commodity/items": "items",
    "/shared/commodity/item": "item",
    "/shared/commodity/inventory": "inventory",
    "/shared/commodity/inventoryState": "inventory",
    "/shared/commodity/stock": "inventory",
    "/shared/commodity/valuation": "valuation",
    "/shared/commodity/trade": "trade",
    "/shared/commodity/draftCard": "draft",
    "/shared/commodity/draft": "draft",
    "/shared/commodity/query": "query",
}


class Acg(Supplier):
    """A shop of acg-faka, as it serves another shop.

    A product's `more` may have "category" (a name), "races" (kinds that a buyer must choose from), and "manual": true
    for goods that a person hands over, which wait for `Supplier.end`.
    """

    kind = "acg"
    label = "acg-faka shop"
    usual_port = 4594
    # What is not said of it is what its page says for certain: a repeated number is refused.
    traits_known: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "repeat": ("refuses",),
        "delivery": ("at_once",),
        "half_money": COMMON_TRAITS["half_money"],
    }
    fault_kinds: ClassVar = {
        route: kinds
        for route, kinds in routes(
            *dict.fromkeys(_WORK.values()),
            also=("refuse_key",),
            trade=tuple(kind for kind in BUY if kind != "callback_first"),
        ).items()
        if route not in ("callback", "notify")  # it tells nobody anything
    }
    words: ClassVar[Mapping[str, tuple[int, str, str]]] = {
        "product": (200, "500", "商品不存在"),
        "off_sale": (200, "500", "商品已下架"),
        "stock": (200, "500", "库存不足"),
        "balance": (200, "500", "余额不足"),
        "quantity": (200, "500", "购买数量不符合要求"),
        "ceiling": (200, "500", "价格已变动"),
        "account": (200, "500", "请填写必填项"),
        "repeated": (200, "500", "The request ID already exists"),
        "absent": (200, "500", "订单不存在"),
        "settled": (200, "500", "订单已完成"),
        "signature": (200, "500", "签名错误"),
        "address": (200, "500", "当前IP不在白名单"),
        "key": (200, "500", "商户ID不存在"),
        "account_closed": (200, "500", "账号已被封禁"),
        "contact": (200, "500", "请填写联系方式"),
        "race": (200, "500", "商品种类不存在"),
        "draft": (200, "500", "该商品不支持预选"),
        "body": (200, "500", "请求参数错误"),
    }

    @property
    def terms(self) -> dict[str, str]:
        return {"site": self.url, "app_id": str(10_000 + self.seed)}

    @property
    def keys(self) -> dict[str, str]:
        return {"app_key": self.secret("app_key", 16).upper()}

    def number(self, serial: int, now: float) -> str:
        return f"{int(now)}{serial:08d}"

    def find(self, request: Request) -> tuple[str, Callable[[Fault | None], Reply]]:
        work = _WORK.get(request.path)
        if request.method != "POST" or work is None:
            raise RefusedError(404, "404", "Not Found")  # of the web server, not of the shop
        return work, lambda fault: self._do(request, fault)

    def refusal(self, refused: RefusedError) -> Reply:
        code = int(refused.code) if refused.code.isdigit() else 500
        return json_reply(refused.status, {"code": code, "msg": refused.message})

    def accepts(self, status: int, body: bytes) -> bool:
        return False

    def _do(self, request: Request, fault: Fault | None) -> Reply:
        form = self._checked(request, fault)
        match request.path.rpartition("/")[2]:
            case "connect":
                told: Any = {"shopName": "异次元样板店", "balance": yuan(self.ledger.balance_e6())}
            case "items":
                told = self._items()
            case "item":
                told = _listed(self._product(form))
            case "inventory":
                product = self._product(form)
                told = _prices(product) | {"count": _stock(product), "delivery_way": _delivery_way(product)}
            case "inventoryState":
                told = self._in_stock(form)
            case "stock":
                told = {"stock": _stock(self._product(form))}
            case "valuation":
                told = {"price": yuan(self._product(form).cost_e6 * _whole(form, "num"))}
            case "trade":
                told = self._trade(form, fault)
            case "query":
                told = self._query(form)
            case _:
                raise self.no("draft")
        return json_reply(200, {"code": 200, "msg": "success", "data": told})

    def _checked(self, request: Request, fault: Fault | None) -> dict[str, str]:
        """The form, if it is signed by the shop's one customer."""
        if request.headers.get_content_type() != "application/x-www-form-urlencoded":
            raise self.no("body")
        form = php_form(request.body)
        if form.get("app_id") != self.terms["app_id"]:
            raise self.no("key")
        if not hmac.compare_digest(form.get("sign", "").encode(), signature(form, self.keys["app_key"]).encode()):
            raise self.no("signature")
        if fault and fault.kind == "refuse_key":
            raise self.no("account_closed")
        return form

    # -- the catalogue ---------------------------------------------------------------------------------------------

    def _product(self, form: Mapping[str, str]) -> Product:
        sku = next((form[name] for name in ("shared_code", "code", "sharedCode") if form.get(name)), "")
        product = self.ledger.product(sku)
        if form.get("race") and form["race"] not in product.more.get("races", ()):
            raise self.no("race")
        return product

    def _items(self) -> list[dict[str, Any]]:
        shelves: dict[str, list[dict[str, Any]]] = {}
        for product in self.ledger.products():
            if product.on_sale:
                shelves.setdefault(product.more.get("category", "虚拟商品"), []).append(_listed(product))
        return [
            {"id": number, "name": name, "children": goods} for number, (name, goods) in enumerate(shelves.items(), 1)
        ]

    def _in_stock(self, form: Mapping[str, str]) -> list[Any]:
        """Nothing, if the catalogue says that there are so many."""
        product = self._product(form)
        if not product.on_sale:
            raise No("off_sale")
        if product.listed_stock is not None and product.listed_stock < _whole(form, "num"):
            raise No("stock")
        return []

    # -- orders ----------------------------------------------------------------------------------------------------

    def _trade(self, form: Mapping[str, str], fault: Fault | None) -> dict[str, Any]:
        product, race, quantity = self._product(form), form.get("race", ""), _whole(form, "num")
        if not form.get("contact"):
            raise self.no("contact")
        if product.more.get("races") and not race:
            raise self.no("race")
        if int(form.get("card_id") or 0):
            raise self.no("draft")
        if quantity < product.quantity_min:
            raise RefusedError(200, "500", f"最低购买{product.quantity_min}件")
        if quantity > product.quantity_max:
            raise RefusedError(200, "500", f"最多购买{product.quantity_max}件")
        account = {field["key"]: form.get(field["key"], "") for field in product.fields}
        widget = {field["key"]: {"value": account[field["key"]], "cn": field["name"]} for field in product.fields}
        more = {"race": race, "widget": widget or None}
        wanted = Wanted(form.get("request_no", ""), product.sku, quantity, account, more=more)
        if product.more.get("manual") and fault is None:
            fault = Fault("late_asks", _ASKS_NEVER)
        order = self.buy(wanted, fault)
        return {
            "url": "",
            "amount": yuan(order.total_e6),
            "tradeNo": order.order_no,
            "secret": _secret(order),
            "leave_message": "",
            "stock": _stock(self.ledger.product(order.sku)),
        }

    def _query(self, form: Mapping[str, str]) -> dict[str, Any]:
        """By the shop's own number: it does not look for a request_no. Neither number nor price is told again."""
        found = self.ledger.ask(order_no=form.get("tradeNo", ""))
        if not found:
            raise No("absent")
        return {"secret": _secret(found[0]), "widget": found[0].more["widget"], "status": _PAID}


def php_form(body: bytes) -> dict[str, str]:
    """The form's fields as PHP would read and `http_build_query` name them again: a[]=x&a[]=y gives a[0] and a[1]."""
    fields: dict[str, str] = {}
    for name, value in parse_qsl(body[:SIGNED_BYTES_MAX].decode("utf-8", "replace"), keep_blank_values=True):
        if name.endswith("[]"):
            place = sum(1 for one in fields if re.fullmatch(re.escape(name[:-2]) + r"\[\d+\]", one))
            name = f"{name[:-2]}[{place}]"
        fields[name] = value
    return fields


def signature(form: Mapping[str, str], app_key: str) -> str:
    """MD5 of k=v joined with &, sorted by name, empty ones and `sign` left out, then &key= and the key."""
    # Sorted as PHP does: by the name before the bracket; what stands in brackets keeps its order.
    names = sorted(
        (name for name in form if name != "sign" and form[name] != ""), key=lambda name: name.partition("[")[0]
    )
    text = "&".join(f"{name}={form[name]}" for name in names) + f"&key={app_key}"
    return hashlib.md5(text.encode()).hexdigest()  # noqa: S324 - the protocol's own


def yuan(e6: int) -> float:
    """JSON numbers with two places, as PHP writes its floats."""
    return round(e6 / 1_000_000, 2)


def _whole(form: Mapping[str, str], name: str) -> int:
    text = form.get(name, "")
    if not re.fullmatch(r"[0-9]{1,6}", text) or int(text) < 1:
        raise RefusedError(200, "500", "购买数量不正确")
    return int(text)


def _stock(product: Product) -> int:
    return 10_000_000 if product.listed_stock is None else product.listed_stock


def _delivery_way(product: Product) -> int:
    return 1 if product.more.get("manual") else 0


def _prices(product: Product) -> dict[str, float]:
    """What a visitor pays, and what the customer does."""
    return {"price": yuan(product.cost_e6 * 11 // 10), "user_price": yuan(product.cost_e6)}


def _listed(product: Product) -> dict[str, Any]:
    widget = [
        {
            "name": field["key"],
            "cn": field["name"],
            "type": "text",
            "required": field.get("required", True),
            "placeholder": "",
        }
        for field in product.fields
    ]
    races = {race: yuan(product.cost_e6) for race in product.more.get("races", ())}
    return {
        "code": product.sku,
        "name": product.name,
        **_prices(product),
        "delivery_way": _delivery_way(product),
        "minimum": product.quantity_min,
        "maximum": product.quantity_max,
        "stock": _stock(product),
        "widget": widget,
        "config": {"category": races} if races else {},
    }


def _secret(order: Order) -> str:
    """The cards of an order, or what the shop's person writes when he has topped up."""
    if order.state not in (ledger.DELIVERED, ledger.REFUNDED):
        return ""
    if order.kind == ledger.TOP_UP:
        return "您好，已为您充值成功，请查收"
    return "\n".join(f"{card.card_no}----{card.password}" for card in order.cards)
