"""The shop window over HTTP, with the events that API Gateway sends."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.catalog.app import handler
from shared.catalog import importing, indexing, snapshots
from shared.catalog.contract import Product, ProductPage
from shared.catalog.search import Snapshot
from shared.inventory import records as inventory
from shared.inventory import shelf
from shared.kernel import clock
from tests.imported import catalogue

FILE = (Path(__file__).parents[2] / "infra" / "local" / "sample" / "catalogue.csv").read_bytes()
NOON = datetime(2026, 5, 1, 4, tzinfo=UTC)


@pytest.fixture
def window() -> Iterator[None]:
    """A warm door that has just loaded the catalogue: for questions that need no cloud."""
    lines = indexing.snapshot(importing.read(FILE).skus)[1].split(b"\n")
    snapshots._held[os.environ["BUCKET"]] = (time.monotonic() + 3600, "", Snapshot(lines))
    yield
    snapshots._held.clear()


@pytest.fixture
def shop(cloud: None) -> Iterator[None]:
    snapshots._held.clear()
    catalogue(FILE, NOON)
    yield
    snapshots._held.clear()


def get(resource: str, language: str = "zh-CN", query: dict[str, str] | None = None, **path: str) -> tuple[int, Any]:
    event = {
        "resource": resource,
        "path": resource.format_map(path),
        "httpMethod": "GET",
        "headers": {"Accept": "application/json", "Accept-Language": language, "Host": "shop.example"},
        "multiValueHeaders": {"Accept": ["application/json"]},
        "queryStringParameters": query,
        "multiValueQueryStringParameters": {name: [value] for name, value in query.items()} if query else None,
        "pathParameters": path or None,
        "stageVariables": None,
        "requestContext": {
            "resourceId": "abc",
            "resourcePath": resource,
            "httpMethod": "GET",
            "path": f"/api{resource.format_map(path)}",
            "stage": "api",
            "requestId": "req-1",
            "identity": {"sourceIp": "203.0.113.9", "userAgent": "test"},
        },
        "body": None,
        "isBase64Encoded": False,
    }
    answer = handler(json.loads(json.dumps(event)), LambdaContext())
    return answer["statusCode"], json.loads(answer["body"])


def search(**query: str) -> dict[str, Any]:
    status, page = get("/products", query=query or None)
    assert status == 200
    ProductPage.model_validate_json(json.dumps(page))
    return dict(page)


def product_of(text: str) -> dict[str, Any]:
    return dict(search(q=text)["products"][0])


def stock(sku: str, expires_on: date | None = None, shard: int = 0) -> None:
    inventory.Card(
        "card_1",
        state="available",
        sku=sku,
        lot_id="lot_1",
        lot_shard="lot_1#0",
        sealed=b"-",
        key_version=1,
        cost_e6=0,
        home=f"{sku}#{shard}",
        shelf=f"{sku}#{shard}",
        shelf_order=shelf.order_key(expires_on, "card_1"),
    ).save()


def test_a_list_shows_products_with_their_skus_and_prices(window: None) -> None:
    page = search()

    assert len(page["products"]) == 20
    assert len(page["categories"]) == 10
    steam = product_of("steam钱包")
    assert [(sku["sku"], sku["price"], sku["for_sale"]) for sku in steam["skus"]] == [
        ("G019", {"amount_minor": 4900, "currency": "CNY"}, True),
        ("G020", {"amount_minor": 9700, "currency": "CNY"}, True),
        ("G021", {"amount_minor": 19400, "currency": "CNY"}, True),
    ]
    assert steam["skus"][0]["limit_per_order"] == 5


@pytest.mark.parametrize("text", ["王者", "wzry", "wangzhe", "G024"])
def test_the_search_of_the_issue_finds_its_game_with_what_to_fill_in(window: None, text: str) -> None:
    [found] = search(q=text)["products"]

    assert found["name"] == "王者荣耀点券"
    assert [field["name"] for field in found["skus"][0]["account"]] == ["qq", "region"]
    assert found["skus"][0]["for_sale"] is True


def test_a_category_and_a_cursor_walk_through_its_products(window: None) -> None:
    seen: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(4):
        page = search(category="游戏点卡", limit="2", **cursor)
        assert {product["category"] for product in page["products"]} == {"游戏点卡"}
        seen += [product["product_id"] for product in page["products"]]
        cursor = {"cursor": page.get("next_cursor")}

    assert cursor == {"cursor": None}
    assert len(seen) == len(set(seen)) == 7


def test_a_product_tells_what_can_be_had_now(shop: None) -> None:
    stock("V002")

    status, product = get("/products/{product_id}", product_id=product_of("腾讯视频VIP")["product_id"])

    assert status == 200
    assert {sku["sku"]: sku["available"] for sku in product["skus"]} == {"V001": False, "V002": True, "V003": False}
    Product.model_validate_json(json.dumps(product))


def test_what_expired_yesterday_in_shanghai_is_not_available(shop: None, monkeypatch: pytest.MonkeyPatch) -> None:
    product_id = product_of("腾讯视频VIP")["product_id"]
    stock("V001", expires_on=date(2026, 5, 1))

    def available_at(moment: datetime) -> bool:
        monkeypatch.setattr(clock, "now", lambda: moment)
        return bool(get("/products/{product_id}", product_id=product_id)[1]["skus"][0]["available"])

    assert available_at(datetime(2026, 5, 1, 15, 59, tzinfo=UTC)) is True
    assert available_at(datetime(2026, 5, 1, 16, 0, tzinfo=UTC)) is False


def test_a_code_of_our_own_is_available_and_a_top_up_that_no_supplier_sells_is_not(shop: None) -> None:
    stock("G024")
    shown = {}
    for text in ("商城礼品卡", "王者"):
        _, product = get("/products/{product_id}", product_id=product_of(text)["product_id"])
        shown |= {sku["sku"]: (sku["for_sale"], sku["available"]) for sku in product["skus"]}

    assert shown["C060"] == (True, True)
    assert shown["G024"] == (True, False)


def test_costs_never_leave_the_shop(shop: None) -> None:
    status, product = get("/products/{product_id}", product_id=product_of("腾讯视频VIP")["product_id"])

    assert status == 200
    assert "cost" not in json.dumps([product, search()])


@pytest.mark.parametrize(("language", "sentence"), [("zh-CN", "没有这个商品。"), ("en", "There is no such product.")])
def test_an_unknown_product_is_a_named_404(window: None, language: str, sentence: str) -> None:
    for product_id in ("prd_nothing", "💥", "V001"):
        status, problem = get("/products/{product_id}", language, product_id=product_id)
        assert (status, problem["code"], problem["detail"]) == (404, "unknown_product", sentence)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "-1"}, "limit"),
        ({"limit": "1000000000"}, "limit"),
        ({"limit": "1.5"}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"q": "王" * 65}, "q"),
        ({"category": "x" * 10_000}, "category"),
        ({"cursor": "💥"}, "cursor"),
        ({"cursor": "bm90IGpzb24="}, "cursor"),
        ({"cursor": "WzFd"}, "cursor"),
        ({"cursor": "WyIxIiwiQSJd"}, "cursor"),
        ({"cursor": "e30="}, "cursor"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_bad_question_is_a_422_that_names_the_field(window: None, query: dict[str, str], field: str) -> None:
    status, problem = get("/products", query=query)

    assert (status, problem["code"]) == (422, "invalid_request")
    assert [one["field"] for one in problem["fields"]] == [field]


@pytest.mark.parametrize(
    "text", ["💥", "\x00", "' or 1=1", "%", ".*", "\\", "\ud800".encode("utf-8", "replace").decode()]
)
def test_odd_text_finds_nothing_and_harms_nothing(window: None, text: str) -> None:
    assert search(q=text)["products"] == []


def test_health_says_ok_without_a_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERSION", "1.2.3")

    assert get("/health") == (200, {"status": "ok", "stage": "test", "version": "1.2.3"})
