"""A site of the 卡商网 family (kashangwl, 866ka, cqmeihu)."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode, urlsplit

from infra.local.counterparts import RefusedError, Reply, Request, json_reply
from infra.local.suppliers import ledger
from infra.local.suppliers.common import BUY, COMMON_TRAITS, Fault, No, Order, Product, Supplier, Wanted, amount, routes

ROOT = "/api/"
CLOCK_SKEW_SECONDS_MAX = 600
BEIJING = timezone(timedelta(hours=8))
CODES_EXPIRE = "2036-12-31 00:00:00"
UNSIGNED = ("sign", "cards", "tickets")

_STATE = {
    ledger.ACCEPTED: 100,
    ledger.UNKNOWN: 501,
    ledger.DELIVERED: 200,
    ledger.FAILED: 500,
    ledger.CANCELED: 500,
    ledger.REFUNDED: 500,
}
_SERVER_ERRORS = ("before_server_error", "server_error")  # nothing was done, or it was
_TYPE = {ledger.TOP_UP: 1, ledger.CARD: 2}
_ITEM = re.compile(r"recharge_template_input_items\[([^\[\]]+)\]")


class Kashangwl(Supplier):
    """Product.sku is the product_id. A field `recharge_account` is that parameter; others are template items."""

    kind = "kashangwl"
    label = "kashangwl"
    usual_port = 4593
    traits_known: ClassVar = COMMON_TRAITS | {
        # Whether an order can be asked after by our number, or is then said not to be there.
        "asks_by_ours": ("no", "yes"),
        # How a question after an order is answered: with `id` and cards of `no`, or in the words of buying.
        "order_names": ("id", "order_id"),
        # What an order is called that is on its way: waiting, or charging.
        "open_state": ("100", "101"),
        # What an order is called of which a part was delivered.
        "partial": ("200", "501"),
        # Whether the answer to buying brings the cards of what was delivered at once.
        "buy_cards": ("told", "not_told"),
        # Where codes without a number stand.
        "codes_in": ("cards", "tickets"),
    }
    # What is wrong with an order is told in a sentence alone.
    words: ClassVar = {
        "product": (200, "error", "商品不存在"),
        "off_sale": (200, "error", "商品已下架"),
        "stock": (200, "error", "库存不足"),
        "balance": (200, "error", "余额不足"),
        "quantity": (200, "error", "购买数量不正确"),
        "ceiling": (200, "error", "商品价格高于安全价格"),
        "account": (200, "error", "充值账号不正确"),
        "repeated": (200, "error", "外部订单号已存在"),
        "absent": (200, "error", "订单不存在"),
        "settled": (200, "error", "订单已完结"),
        "signature": (200, "invalid_sign", "签名错误"),
        "address": (200, "error", "IP未授权"),
    }
    fault_kinds: ClassVar = routes(
        "balance",
        "products",
        "product",
        "fields",
        "buy",
        "order",
        also=_SERVER_ERRORS,
        buy=(*BUY, "unknown", "unknown_fails"),
    )
    fault_seconds: ClassVar = {**Supplier.fault_seconds, "unknown_fails": 2}

    def __init__(self, *args: Any, **named: Any) -> None:
        # Ten seconds later, three times in all.
        super().__init__(*args, **{"retry_after": (10, 10)} | named)

    @property
    def terms(self) -> dict[str, str]:
        return {"site": self.url, "customer_id": str(10_000 + self.seed)}

    @property
    def keys(self) -> dict[str, str]:
        return {"secret": self.secret("secret", 32)}

    def number(self, serial: int, now: float) -> str:
        return str(700_000_000_000 + serial)

    def sign(self, fields: Mapping[str, str]) -> str:
        """Lower hex, over all fields but `sign`, `cards` and `tickets` (and what stands within these)."""
        text = "".join(f"{k}{fields[k]}" for k in sorted(fields) if k.partition("[")[0] not in UNSIGNED)
        return hashlib.md5((self.keys["secret"] + text).encode()).hexdigest()  # noqa: S324 - the protocol's own digest

    # -- the door --------------------------------------------------------------------------------------------------

    def find(self, request: Request) -> tuple[str, Callable[[Fault | None], Reply]]:
        doors: dict[str, tuple[str, Callable[[Mapping[str, str], Fault | None], Any]]] = {
            "customer": ("balance", lambda _, __: self._customer()),
            "product-list": ("products", lambda _, __: [_told(one) for one in self.ledger.products()]),
            "product": ("product", lambda asked, _: _told(self.ledger.product(_asked(asked, "product_id")))),
            "product/recharge-params": ("fields", lambda asked, _: self._fields(asked)),
            "buy": ("buy", self._buy),
            "order": ("order", lambda asked, _: self._order(_asked(asked, "order_id"))),
            "outer-order": ("order", lambda asked, _: self._outer_order(_asked(asked, "outer_order_id"))),
        }
        door = doors.get(request.path.removeprefix(ROOT)) if request.path.startswith(ROOT) else None
        if door is None or request.method != "POST":
            raise RefusedError(404, "not_found", "接口不存在")
        route, do = door

        def checked(fault: Fault | None) -> Reply:
            asked = self._checked(request)
            if fault and fault.kind == "before_server_error":
                raise _server_error()
            data = do(asked, fault)
            if fault and fault.kind == "server_error":
                raise _server_error()
            return json_reply(200, {"code": "ok", "data": data})

        return route, checked

    def refusal(self, refused: RefusedError) -> Reply:
        code = "request_frequency" if refused.status == 429 else refused.code
        return json_reply(refused.status, {"code": code, "message": refused.message})

    def _checked(self, request: Request) -> Mapping[str, str]:
        if request.headers.get_content_type() != "application/x-www-form-urlencoded":
            raise RefusedError(200, "invalid_parameters", "请求必须是表单")
        pairs = parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True)
        fields = dict(pairs)
        if len(fields) < len(pairs):
            raise RefusedError(200, "invalid_parameters", "参数重复")
        if fields.get("customer_id") != self.terms["customer_id"]:
            raise RefusedError(200, "disabled_customer", "客户不存在")
        stamp = fields.get("timestamp", "")
        if not re.fullmatch(r"[0-9]{10}", stamp) or abs(time.time() - int(stamp)) > CLOCK_SKEW_SECONDS_MAX:
            raise RefusedError(200, "invalid_parameters", "时间戳不正确")
        if not hmac.compare_digest(fields.get("sign", "").encode(), self.sign(fields).encode()):
            raise self.no("signature")
        return fields

    # -- API -------------------------------------------------------------------------------------------------------

    def _customer(self) -> dict[str, Any]:
        return {"id": int(self.terms["customer_id"]), "name": "测试客户", "balance": amount(self.ledger.balance_e6())}

    def _fields(self, asked: Mapping[str, str]) -> dict[str, Any]:
        product = self.ledger.product(_asked(asked, "product_id"))
        named = {one["key"]: one["name"] for one in product.fields}
        return {
            "recharge_account_label": named.pop("recharge_account", ""),
            "recharge_params": [
                {"name": key, "label": name, "type": "text", "options": ""} for key, name in named.items()
            ],
        }

    def _buy(self, asked: Mapping[str, str], fault: Fault | None) -> dict[str, Any]:
        quantity, url = asked.get("quantity", ""), asked.get("notify_url", "")
        if not re.fullmatch(r"[0-9]{1,6}", quantity):
            raise No("quantity")
        if url and urlsplit(url).scheme not in ("http", "https"):
            raise RefusedError(200, "invalid_parameters", "回调地址不正确")
        account = {found[1]: value for name, value in asked.items() if (found := _ITEM.fullmatch(name))}
        if asked.get("recharge_account"):
            account["recharge_account"] = asked["recharge_account"]
        wanted = Wanted(
            asked.get("outer_order_id", ""),
            _asked(asked, "product_id"),
            int(quantity),
            account,
            url,
            _ceiling_e6(asked.get("safe_cost", "")),
        )
        return self._told(self.buy(wanted, fault), cards=self.traits["buy_cards"] == "told")

    def _order(self, order_id: str) -> dict[str, Any]:
        return self._answered(self.ledger.ask(order_no=order_id))

    def _outer_order(self, outer_order_id: str) -> dict[str, Any]:
        return self._answered(self.ledger.ask(ours=outer_order_id) if self.traits["asks_by_ours"] == "yes" else [])

    def _answered(self, found: list[Order]) -> dict[str, Any]:
        if not found:
            raise No("absent")
        told = self._told(found[0], cards=True) | _recharged(found[0])
        if self.traits["order_names"] == "order_id":
            return told
        cards = [
            {"no": card["card_no"], "password": card["card_password"], "expired_at": card["expired_at"]}
            for card in told["cards"]
        ]
        return {"id": told.pop("order_id")} | told | {"cards": cards}

    # -- what it says ----------------------------------------------------------------------------------------------

    def _state(self, order: Order, state: str) -> int:
        if state == ledger.ACCEPTED:
            return int(self.traits["open_state"])
        if state == ledger.DELIVERED == order.state and order.kind == ledger.CARD and len(order.cards) < order.quantity:
            return int(self.traits["partial"])
        return _STATE[state]

    def _told(self, order: Order, *, cards: bool) -> dict[str, Any]:
        return {
            "order_id": order.order_no,
            "outer_order_id": order.ours,
            "product_id": int(order.sku),
            "product_name": order.name,
            "product_price": amount(order.unit_e6),
            "quantity": order.quantity,
            "total_price": amount(order.total_e6),
            "state": self._state(order, order.state),
            "state_info": _info(order.state),
            "created_at": _moment(order.placed_at),
            **self._codes(order, order.state if cards else ""),
        }

    def _codes(self, order: Order, state: str) -> dict[str, list[dict[str, str]]]:
        shown = order.cards if state == ledger.DELIVERED else ()
        if self.traits["codes_in"] == "tickets":
            return {"cards": [], "tickets": [{"no": card.card_no, "ticket": card.password} for card in shown]}
        listed = [
            {"card_no": card.card_no, "card_password": card.password, "expired_at": CODES_EXPIRE} for card in shown
        ]
        return {"cards": listed, "tickets": []}

    def notice(self, order: Order, state: str, how: str) -> tuple[dict[str, str], bytes]:
        late = 2 * CLOCK_SKEW_SECONDS_MAX if how == "stale_timestamp" else 0
        fields = {
            "order_id": order.order_no,
            "outer_order_id": order.ours,
            "product_id": order.sku,
            "customer_id": self.terms["customer_id"],
            "quantity": str(order.quantity),
            "state": str(self._state(order, state)),
            "state_info": _info(state),
            "created_at": _moment(order.placed_at),
            "timestamp": str(int(time.time()) - late),
        }
        sign = self.sign(fields)
        fields["sign"] = sign[::-1] if how == "wrong_signature" else sign
        for name, rows in self._codes(order, state).items():
            for at, row in enumerate(rows):
                fields |= {f"{name}[{at}][{key}]": value for key, value in row.items()}
        return {"Content-Type": "application/x-www-form-urlencoded"}, urlencode(fields).encode()

    def accepts(self, status: int, body: bytes) -> bool:
        return status == 200 and body.strip() == b"ok"


def _asked(asked: Mapping[str, str], name: str) -> str:
    if not asked.get(name):
        raise RefusedError(200, "invalid_parameters", f"{name} 不能为空")
    return asked[name]


def _told(product: Product) -> dict[str, Any]:
    return {
        "id": int(product.sku),
        "product_name": product.name,
        "price": amount(product.cost_e6),
        "type": _TYPE[product.kind],
        "supply_state": 1 if product.on_sale else 2,
        "stock_state": 2 if product.listed_stock == 0 else 1,
        "valid_purchasing_quantity": f"{product.quantity_min}-{product.quantity_max}",
    }


def _recharged(order: Order) -> dict[str, Any]:
    """What the answer about an order says of its product and, for a top-up, of the account."""
    if order.kind == ledger.CARD:
        return {"product_type": _TYPE[order.kind]}
    account = dict(order.account)
    return {
        "product_type": _TYPE[order.kind],
        "recharge_account": account.pop("recharge_account", ""),
        "recharge_params": account,
        "recharge_info": "充值成功" if order.state == ledger.DELIVERED else "",
    }


def _info(state: str) -> str:
    return {ledger.FAILED: "充值失败，已退款", ledger.CANCELED: "已取消", ledger.REFUNDED: "已退款"}.get(state, "")


def _moment(at: float) -> str:
    return f"{datetime.fromtimestamp(at, BEIJING):%Y-%m-%d %H:%M:%S}"


def _server_error() -> RefusedError:
    return RefusedError(200, "server_error", "服务器错误")


def _ceiling_e6(price: str) -> int | None:
    """Of one piece, with at most six decimals."""
    if not price:
        return None
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", price):
        raise RefusedError(200, "invalid_parameters", "safe_cost 不正确")
    whole, _, rest = price.partition(".")
    return int(whole) * 1_000_000 + int(rest.ljust(6, "0"))
