"""One pool, several channels: each by its own key and on its own terms, all at once."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.journeys import stockroom
from tests.journeys.stack import Reply, Stack, at_once, order_in, persistently, wait_for

SKU = "C057"
CARDS, QUOTA, FLOOR = 40, 12, 10
SELLERS = 8  # at once


@dataclass(eq=False)
class Channel:
    """A marketplace that holds its key."""

    stack: Stack
    name: str
    key: str = field(default="", repr=False)
    references: Any = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        made = self.stack.console("POST", "/channels", {"channel": self.name, "name": self.name.title()})
        assert made.status == 201, made.body
        self.key = made.body["key"]

    def call(self, method: str, path: str = "", body: Any = None) -> Reply:
        return persistently(lambda: self.stack.call(method, f"/channel/reservations{path}", body, self.key))

    def reserve(self, quantity: int = 1) -> Reply:
        wanted = {"lines": [{"sku": SKU, "quantity": quantity}], "client_ref": f"{self.name}-{next(self.references)}"}
        return self.call("POST", "", wanted)

    def act(self, order_id: str, verb: str) -> Reply:
        return self.call("POST", f"/{order_id}/{verb}", {} if verb == "confirm" else None)


@pytest.fixture(scope="module", autouse=True)
def busy_shop(stack: Stack) -> None:
    """Before the rush: as many workers as sellers, or this machine would spend the rush on starting them."""
    unknown = {"lines": [{"sku": "NONE", "quantity": 1}]}
    at_once(lambda _: stack.call("POST", "/quotes", unknown), range(16), SELLERS)
    at_once(lambda _: stack.call("POST", "/webhooks/payments/nobody", {}), range(16), SELLERS)


def test_two_channels_and_the_shop_sell_one_pool_at_once_and_nothing_twice(stack: Stack) -> None:
    _, codes = stockroom.lot(stack, SKU, CARDS, cost_minor=4_000)
    taobao, douyin = Channel(stack, "taobao"), Channel(stack, "douyin")
    terms = {"quotas": {"taobao": QUOTA}, "floors": {"douyin": FLOOR}, "hold_percent": 100}
    kept = stack.console("POST", f"/skus/{SKU}/terms", terms, role="operator")
    assert (kept.status, kept.body["kept"]) == (200, {"douyin": FLOOR}), kept.body

    def sell(seller: str) -> tuple[str, str, str]:
        """Seller, the order's id, and what shows its codes; or why there is none."""
        if seller == "shop":
            buyer = stack.buyer()
            reply = persistently(lambda: buyer.try_to_place(SKU))
            if reply.status != 201:
                return seller, "", reply.code
            buyer.pay(order_in(reply))
            return seller, reply.body["order_id"], reply.body["access_token"]
        channel = taobao if seller == "taobao" else douyin
        reply = channel.reserve()
        if reply.status != 201:
            return seller, "", reply.code
        assert channel.act(reply.body["order_id"], "confirm").status == 200
        return seller, reply.body["order_id"], reply.body["access_token"]

    shared = CARDS - FLOOR
    tried = at_once(sell, ["shop", "taobao"] * (shared - QUOTA), SELLERS)
    tried += at_once(sell, ["shop", "douyin"] * (FLOOR + 3), SELLERS)
    sold = [one for one in tried if one[1]]
    by_seller = Counter(seller for seller, *_ in sold)
    refused = Counter((seller, why) for seller, order_id, why in tried if not order_id)
    assert by_seller == {"shop": shared - QUOTA, "taobao": QUOTA, "douyin": FLOOR}
    beyond = refused.pop(("taobao", "quota_used_up"), 0) + refused.pop(("taobao", "out_of_stock"), 0)
    assert (beyond, refused) == (
        shared - 2 * QUOTA,
        {("shop", "out_of_stock"): FLOOR + 3, ("douyin", "out_of_stock"): 3},
    )

    assert set(stack.all_settled([order_id for _, order_id, _ in sold], seconds=90).values()) == {"delivered"}
    shown = at_once(lambda one: _codes(stack, one[1], one[2]), sold, SELLERS)
    assert sorted(code for one in shown for code in one) == sorted(codes)
    channels = stockroom.until_levels(stack, SKU, available=0, held=0, sold=CARDS)["channels"]
    assert {name: level["sold"] for name, level in channels.items()} == by_seller


def test_what_a_channel_releases_or_lets_lapse_is_everybodys_again(stack: Stack) -> None:
    stockroom.lot(stack, "A064", 2)
    stack.wholesale("A064")
    jd = Channel(stack, "jingdong")
    wanted = {"lines": [{"sku": "A064", "quantity": 2}], "client_ref": "first", "hold_seconds": 60}
    first = jd.call("POST", "", wanted)
    assert (first.status, first.body["status"]) == (201, "placed"), first.body
    assert jd.call("POST", "", wanted).body["order_id"] == first.body["order_id"]
    assert stack.buyer().try_to_place("A064").code == "out_of_stock"
    for _ in range(2):
        assert jd.act(first.body["order_id"], "release").body["status"] == "cancelled"

    second = jd.call("POST", "", {**wanted, "client_ref": "second"})
    stack.deadlines(2)
    assert stack.status(second.body["order_id"]) == "expired"
    assert jd.act(second.body["order_id"], "release").status == 200
    buyer = stack.buyer()
    assert len(buyer.reveal(buyer.buy("A064", 2))) == 2

    stranger = stack.call("GET", f"/channel/reservations/{first.body['order_id']}", bearer="kqc_nobody.x")
    assert stranger.status == 401
    listed = stack.console("GET", "/channels", role="auditor").body["channels"]
    (key,) = next(one["keys"] for one in listed if one["channel"] == "jingdong")
    path = f"/channels/jingdong/keys/{key['key_id']}/revoke"
    assert stack.console("POST", path).body["state"] == "revoked"


def test_a_channel_reserves_more_than_one_transaction_moves_and_gives_back_what_was_recalled_into_the_ice(
    stack: Stack,
) -> None:
    lot_id, _ = stockroom.lot(stack, "A064", 98)
    suning = Channel(stack, "suning")

    def reserved(quantity: int) -> str:
        wanted = {"lines": [{"sku": "A064", "quantity": quantity}], "client_ref": f"of-{quantity}"}
        reply = suning.call("POST", "", wanted)
        assert (reply.status, reply.body["status"]) == (201, "placed"), reply.body
        return str(reply.body["order_id"])

    assert suning.act(reserved(95), "release").body["status"] == "cancelled"
    stockroom.until_levels(stack, "A064", held=0, available=98)

    one, two = reserved(1), reserved(2)
    stockroom.recall(stack, lot_id=lot_id)
    for order_id in (one, two):
        assert suning.act(order_id, "release").body["status"] == "cancelled"
    stockroom.until_levels(stack, "A064", held=0, available=0, frozen=98)


def test_what_is_hidden_from_the_shop_is_not_there_until_it_is_shown_again(stack: Stack) -> None:
    def shown() -> bool:
        products = stack.call("GET", "/products?q=A064").body["products"]
        return any(sku["sku"] == "A064" for product in products for sku in product["skus"])

    for hidden in (["shop"], []):
        terms = {"hidden": hidden, "hold_percent": 100}
        assert stack.console("POST", "/skus/A064/terms", terms, role="operator").status == 200
        wait_for(lambda: shown() is not bool(hidden), "the shop to see what it may see")  # noqa: B023  # asked at once
        said = stack.buyer().try_to_place("A064").code
        assert said == ("unknown_sku" if hidden else "out_of_stock")


def _codes(stack: Stack, order_id: str, token: str) -> list[str]:
    reply = persistently(lambda: stack.call("POST", f"/orders/{order_id}/reveal", {}, token))
    assert reply.status == 200, reply.body
    return [card["code"] for card in reply.body["cards"]]
