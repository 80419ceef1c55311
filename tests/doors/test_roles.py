"""Who may call what: one table, a line for each route there is; a route that is not in it fails here."""

from __future__ import annotations

import json
import re

import pytest

from infra import contract
from shared.inventory import records as inventory
from shared.staff.permissions import MATRIX, ROLES
from tests.shop import Shop

OWNER = "owner"
AUDIT = "owner auditor"
SHOP = "owner operator"
MONEY = "owner finance"
FLOOR = "owner operator finance"
HELP = "owner operator support"
BOOKS = "owner finance auditor"
BUYS = "owner operator finance auditor"
STAFF = "owner operator finance auditor support"

TABLE = {
    # Everybody, with nothing to show for himself; what a link or a signature proves, the step checks.
    "GET /health": "anyone",
    "GET /imports/{job_id}/refused": "anyone",
    "GET /products": "anyone",
    "GET /products/{product_id}": "anyone",
    "POST /orders": "anyone",
    "POST /quotes": "anyone",
    "GET /payment-methods": "anyone",
    "GET /webhooks/payments/{provider}": "anyone",
    "POST /webhooks/payments/{provider}": "anyone",
    "GET /webhooks/suppliers/{supplier}": "anyone",
    "POST /webhooks/suppliers/{supplier}": "anyone",
    "POST /webhooks/suppliers/{supplier}/changes": "anyone",
    # Who holds the order's token.
    "GET /orders/{order_id}": "buyer",
    "POST /orders/{order_id}/cancel": "buyer",
    "POST /orders/{order_id}/payments": "buyer",
    "POST /orders/{order_id}/reveal": "buyer",
    # Who holds a channel's key.
    "GET /channel/reservations/{order_id}": "channel",
    "POST /channel/reservations": "channel",
    "POST /channel/reservations/{order_id}/confirm": "channel",
    "POST /channel/reservations/{order_id}/release": "channel",
    # Stock, as it may be seen by all: counts and masks.
    "GET /console/cards/{card_id}": STAFF,
    "GET /console/lots": STAFF,
    "GET /console/lots/{lot_id}": STAFF,
    "GET /console/lots/{lot_id}/cards": STAFF,
    "GET /console/orders/{order_id}/cards": STAFF,
    "GET /console/skus/{sku}/stock": STAFF,
    "GET /console/skus/{sku}/terms": STAFF,
    "GET /console/stock": STAFF,
    "GET /console/stock/near-expiry": STAFF,
    "POST /console/buyers/search": HELP,
    # Codes.
    "POST /console/cards/{card_id}/reveal": HELP,
    "GET /console/staff/{name}/views": AUDIT,
    "GET /console/exports": STAFF,
    "GET /console/exports/{export_id}": STAFF,
    "POST /console/exports": SHOP,
    "POST /console/exports/{export_id}/open": SHOP,
    "POST /console/exports/{export_id}/approve": OWNER,
    "POST /console/exports/{export_id}/refuse": OWNER,
    "POST /console/keys/rotate": OWNER,
    "POST /console/keys/rotations/{job_id}/retire": OWNER,
    "GET /console/keys/rotations/{job_id}": AUDIT,
    "POST /console/lots/{lot_id}/destroy": OWNER,
    "POST /console/destructions/{job_id}/approve": OWNER,
    "POST /console/destructions/{job_id}/refuse": OWNER,
    # Where buyers' money goes.
    "GET /console/merchants": "owner operator finance auditor",
    "PUT /console/merchants/{merchant}": OWNER,
    "POST /console/merchants/{merchant}/check": OWNER,
    "POST /console/merchants/{merchant}/keys": OWNER,
    "POST /console/merchants/{merchant}/keys/retire": OWNER,
    # Who sells to us.
    "GET /console/suppliers": BUYS,
    "GET /console/suppliers/{supplier}": BUYS,
    "PUT /console/suppliers/{supplier}": SHOP,
    "POST /console/suppliers/{supplier}/keys": SHOP,
    "POST /console/suppliers/{supplier}/keys/retire": SHOP,
    "POST /console/suppliers/{supplier}/check": SHOP,
    "POST /console/suppliers/{supplier}/pause": SHOP,
    "POST /console/suppliers/{supplier}/resume": SHOP,
    "POST /console/suppliers/{supplier}/documents": SHOP,
    "POST /console/suppliers/{supplier}/documents/{document_id}/received": SHOP,
    "POST /console/suppliers/{supplier}/documents/{document_id}/accept": SHOP,
    "POST /console/suppliers/{supplier}/documents/{document_id}/reject": SHOP,
    "POST /console/suppliers/{supplier}/review": SHOP,
    "POST /console/suppliers/{supplier}/suspend": SHOP,
    "GET /console/suppliers/{supplier}/scores": BUYS,
    "POST /console/suppliers/{supplier}/scores/clear": MONEY,
    "POST /console/suppliers/{supplier}/approve": MONEY,
    "POST /console/suppliers/{supplier}/refuse": MONEY,
    # What suppliers sell.
    "GET /console/offers": "owner operator finance auditor",
    "POST /console/offers/{supplier}/map": SHOP,
    "POST /console/offers/{supplier}/unmap": SHOP,
    "GET /console/procurement": BUYS,
    "POST /console/procurement/orders": SHOP,
    "POST /console/procurement/orders/{order}/close": SHOP,
    "GET /console/purchases": "owner operator finance auditor",
    "POST /console/purchases/{number}/account": SHOP,
    "POST /console/purchases/{number}/allow": SHOP,
    "POST /console/purchases/{number}/settle": SHOP,
    "POST /console/purchases/{number}/void": SHOP,
    "GET /console/skus/{sku}/offers": "owner operator finance auditor",
    "PUT /console/skus/{sku}/offers/order": SHOP,
    "POST /console/suppliers/{supplier}/sync": SHOP,
    "POST /console/suppliers/{supplier}/pricelist": SHOP,
    # Work on the stock.
    "GET /console/imports": STAFF,
    "GET /console/imports/{job_id}": STAFF,
    "POST /console/imports": SHOP,
    "POST /console/imports/{job_id}/check": SHOP,
    "POST /console/imports/{job_id}/run": SHOP,
    "POST /console/imports/{job_id}/cancel": SHOP,
    "POST /console/imports/{job_id}/undo": SHOP,
    "POST /console/skus/{sku}/terms": SHOP,
    "GET /console/recalls": STAFF,
    "GET /console/recalls/{recall_id}": STAFF,
    "GET /console/recalls/{recall_id}/cards": STAFF,
    "POST /console/recalls": SHOP,
    "GET /console/channels": STAFF,
    "POST /console/channels": OWNER,
    "POST /console/channels/{channel}/keys": OWNER,
    "POST /console/channels/{channel}/keys/{key_id}/revoke": OWNER,
    # Orders and what waits for a person.
    "GET /console/orders/{order_id}": STAFF,
    "GET /console/reviews": STAFF,
    "GET /console/tasks": STAFF,
    "POST /console/reviews/{review_id}/approve": SHOP,
    "POST /console/reviews/{review_id}/refuse": SHOP,
    "POST /console/lists": SHOP,
    "POST /console/tasks/{task_id}/close": FLOOR,
    "POST /console/orders/{order_id}/refunds": FLOOR,
    "POST /console/refunds/{refund_id}/paid-by-hand": MONEY,
    "GET /console/confirmations": STAFF,
    "GET /console/confirmations/{confirmation_id}": STAFF,
    "POST /console/orders/{order_id}/payments/confirmations": FLOOR,
    "POST /console/confirmations/{confirmation_id}/approve": MONEY,
    "POST /console/confirmations/{confirmation_id}/refuse": MONEY,
    "POST /console/money/{provider}/{provider_no}/refund": FLOOR,
    # The books.
    "GET /console/bills": BOOKS,
    "GET /console/bills/{merchant}/{day}": BOOKS,
    "GET /console/settlement/{day}": BOOKS,
    "POST /console/settlement/{day}/close": MONEY,
    "POST /console/settlement/{day}/entries/{entry_id}/reverse": MONEY,
}

ENDPOINTS = {f"{endpoint.method} {endpoint.path}": endpoint for endpoint in contract.endpoints()}
CONSOLE = sorted(route for route, who in TABLE.items() if OWNER in who)


def test_every_route_there_is_stands_in_the_table_and_no_other() -> None:
    assert sorted(ENDPOINTS) == sorted(TABLE)


@pytest.mark.parametrize("route", sorted(TABLE))
def test_a_route_is_open_to_those_whom_the_table_names_and_to_nobody_else(route: str) -> None:
    asked = ENDPOINTS[route].route

    if asked.permission is None:
        assert (asked.secured or "anyone") == TABLE[route]
    else:
        assert asked.secured == "operator"
        assert asked.permission.roles == set(TABLE[route].split())
        assert asked.permission.roles == MATRIX[asked.permission.name]


def test_nothing_under_the_console_is_open_to_anyone_but_staff() -> None:
    assert [route for route in TABLE if "/console" in route and route not in CONSOLE] == []
    assert {role for route in CONSOLE for role in TABLE[route].split()} == set(ROLES)


def test_every_route_lets_in_each_role_of_the_table_and_turns_every_other_away(shop: Shop) -> None:
    for route in CONSOLE:
        method, path = route.split()
        path = re.sub(r"{(\w+)}", "nobody-knows-it", path)
        body = {} if ENDPOINTS[route].sends_body else None

        unknown = shop.call(method, path, body)
        stranger = shop.call(method, path, body, groups="visitor")
        answers = {role: shop.call(method, path, body, groups=role) for role in ROLES}

        assert (unknown.status, stranger.status) == (401, 403), route
        let_in = {role for role, answer in answers.items() if answer.status != 403}
        assert let_in == set(TABLE[route].split()), route
        assert all(answer.status < 500 for answer in answers.values()), route


def test_no_page_of_the_console_shows_a_code_or_a_contact_to_any_role(shop: Shop) -> None:
    assert shop.stock("G020", [f"ROLES-CANARY-{n:04}" for n in range(3)]).body["accepted"] == 3
    order = shop.placed("G020", phone="13987654321")
    shop.pay(order)
    shop.pump()
    assert "CANARY" in json.dumps(shop.reveal(order).body)
    [card] = [card for card in inventory.Card.scan() if card.state == "sold"]
    ids = {"card_id": card.card_id, "lot_id": card.lot_id, "order_id": order.order_id, "sku": "G020", "name": "ann"}

    shown = 0
    for route in (route for route in CONSOLE if route.startswith("GET")):
        path = re.sub(r"{(\w+)}", lambda found: str(ids.get(found[1], "nobody-knows-it")), route.split()[1])
        for role in TABLE[route].split():
            answer = shop.call("GET", path, groups=role)
            shown += answer.status == 200
            assert "CANARY" not in json.dumps(answer.body), (route, role)
            assert "13987654321" not in json.dumps(answer.body), (route, role)
    assert shown > 40
