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
_ITEM = re.compile(r"recharge_template_input_items\[([^\[\]]+)\]")


class Kashangwl(Supplier):
    """Product.sku is the product_id. A field `recharge_account` is that parameter; others are template items."""

    kind = "kashangwl"
    label = "kashangwl"
    usual_port = 4593
    traits_known: ClassVar = COMMON_TRAITS | {
        # Whether an order can be asked after by our number.
        "asks_by_ours": ("no", "yes"),
        # The code about an order that is not there, which is not published.
        "absent": ("order_not_found", "not_found"),
        # What an order is called that is on its way: waiting, or charging.
        "open_state": ("100", "101"),
        # What an order is called of which a part was delivered.
        "partial": ("200", "501"),
        # Whether the answer to buying brings the cards of what was delivered at once.
        "buy_cards": ("told", "not_told"),
        # Where codes without a number stand.
        "codes_in": ("cards", "tickets"),
    }
    # Only `ok` is published; these are the stand-in's.
    words: ClassVar = {
        "product": (200, "product_not_found", "商品不存在"),
        "off_sale": (200, "product_off_sale", "商品已下架"),
        "stock": (200, "stock_not_enough", "库存不足"),
        "balance": (200, "balance_not_enough", "余额不足"),
        "quantity": (200, "quantity_error", "购买数量不正确"),
        "ceiling": (200, "price_changed", "价格已变动"),  # cannot be: there is no such parameter
        "account": (200, "recharge_account_error", "充值账号不正确"),
        "repeated": (200, "outer_order_id_exists", "外部订单号已存在"),
        "absent": (200, "order_not_found", "订单不存在"),
        "settled": (200, "order_settled", "订单已完结"),
        "signature": (200, "sign_error", "签名错误"),
        "address": (200, "ip_not_allowed", "IP未授权"),
    }
    fault_kinds: ClassVar = routes(
        "balance", "product", "fields", "buy", "order", buy=(*BUY, "unknown", "unknown_fails")
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
            "product": ("product", lambda asked, _: _told(self.ledger.product(_asked(asked, "product_id")))),
            "product/recharge-params": ("fields", lambda asked, _: self._fields(asked)),
            "buy": ("buy", self._buy),
            "order": ("order", lambda asked, _: self._order(asked)),
        }
        door = doors.get(request.path.removeprefix(ROOT)) if request.path.startswith(ROOT) else None
        if door is None or request.method != "POST":
            raise RefusedError(404, "not_found", "接口不存在")
        route, do = door

        def checked(fault: Fault | None) -> Reply:
            return json_reply(200, {"code": "ok", "data": do(self._checked(request), fault)})

        return route, checked

    def refusal(self, refused: RefusedError) -> Reply:
        return json_reply(refused.status, {"code": refused.code, "message": refused.message})

    def no(self, reason: str) -> RefusedError:
        if reason == "absent":
            return RefusedError(200, self.traits["absent"], "订单不存在")
        return super().no(reason)

    def _checked(self, request: Request) -> Mapping[str, str]:
        if request.headers.get_content_type() != "application/x-www-form-urlencoded":
            raise RefusedError(200, "params_error", "请求必须是表单")
        pairs = parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True)
        fields = dict(pairs)
        if len(fields) < len(pairs):
            raise RefusedError(200, "params_error", "参数重复")
        if fields.get("customer_id") != self.terms["customer_id"]:
            raise RefusedError(200, "customer_error", "客户不存在")
        stamp = fields.get("timestamp", "")
        if not re.fullmatch(r"[0-9]{10}", stamp) or abs(time.time() - int(stamp)) > CLOCK_SKEW_SECONDS_MAX:
            raise RefusedError(200, "timestamp_error", "时间戳不正确")
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
            "recharge_params": [{"name": key, "label": name, "type": "text"} for key, name in named.items()],
        }

    def _buy(self, asked: Mapping[str, str], fault: Fault | None) -> dict[str, Any]:
        quantity, url = asked.get("quantity", ""), asked.get("notify_url", "")
        if not re.fullmatch(r"[0-9]{1,6}", quantity):
            raise No("quantity")
        if url and urlsplit(url).scheme not in ("http", "https"):
            raise RefusedError(200, "params_error", "回调地址不正确")
        account = {found[1]: value for name, value in asked.items() if (found := _ITEM.fullmatch(name))}
        if asked.get("recharge_account"):
            account["recharge_account"] = asked["recharge_account"]
        wanted = Wanted(asked.get("outer_order_id", ""), _asked(asked, "product_id"), int(quantity), account, url)
        return self._told(self.buy(wanted, fault), cards=self.traits["buy_cards"] == "told")

    def _order(self, asked: Mapping[str, str]) -> dict[str, Any]:
        found: list[Order] = []
        if asked.get("order_id"):
            found = self.ledger.ask(order_no=asked["order_id"])
        elif asked.get("outer_order_id") and self.traits["asks_by_ours"] == "yes":
            found = self.ledger.ask(ours=asked["outer_order_id"])
        if not found:
            raise No("absent")
        return self._told(found[0], cards=True)

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
        raise RefusedError(200, "params_error", f"{name} 不能为空")
    return asked[name]


def _told(product: Product) -> dict[str, Any]:
    return {
        "id": int(product.sku),
        "product_name": product.name,
        "price": amount(product.cost_e6),
        "type": 1 if product.kind == ledger.CARD else 2,
        "supply_state": 1 if product.on_sale else 2,
        "stock_state": 2 if product.listed_stock == 0 else 1,
        "quantity_min": product.quantity_min,
        "quantity_max": product.quantity_max,
    }


def _info(state: str) -> str:
    return {ledger.FAILED: "充值失败，已退款", ledger.CANCELED: "已取消", ledger.REFUNDED: "已退款"}.get(state, "")


def _moment(at: float) -> str:
    return f"{datetime.fromtimestamp(at, BEIJING):%Y-%m-%d %H:%M:%S}"
