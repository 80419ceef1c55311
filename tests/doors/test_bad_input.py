"""Whatever comes in by any route: a named 4xx that the contract lists, or an answer as promised; never a 5xx."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from infra import contract
from shared.kernel import clock, tokens
from shared.kernel.http import PROBLEM
from shared.staff.permissions import ROLES
from tests import imported

OPENAPI = contract.openapi()
ENDPOINTS = contract.endpoints()
CATALOGUE = (contract.ROOT / "infra/local/sample/catalogue.csv").read_bytes()
CARDS = "\n".join(f"SAMPLE-{n:04d}-{n * 7919:08d}" for n in range(20)).encode()
ORDER = "ord_" + "0" * 26
# What makes a body good enough to get past the first check of a step.
KNOWN = {
    "client_ref": "5f1c" * 8,
    "file_name": "cards.txt",
    "payment_method": "sandbox",
    "phone": "13800138000",
    "return_url": "https://shop.test/",
    "sku": "V001",
}
OPTIONAL = {"account", "channel", "email", "quote_hash", "shape"}  # left out of a good body
HOSTILE: list[Any] = [
    None, True, 0, -1, 10**9, 10**17, 1.5, 1e300, "", " ", "0", "-1", "x" * 10_000, "🎁", "🎁" * 200, "王者" * 2_000,
    "\u0000", "\u202e", "../../etc/passwd", "'; drop table orders; --", "{{7*7}}", "1e999", [], [[]], ["x"] * 200, {},
    {"": {}}, {"sku": None},
]  # fmt: skip
PARTS = [
    "x",
    " ",
    "0",
    "-1",
    "..",
    "🎁",
    "x" * 128,
    "x" * 5_000,
    "\u0000",
    "null",
    ORDER,
    "ord_",
    "2026-02-30",
    "money#x",
]


def operation(endpoint: contract.Endpoint) -> dict[str, Any]:
    return dict(OPENAPI["paths"][endpoint.path][endpoint.method.lower()])


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        return dict(OPENAPI["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]])
    return next((resolved(one) for one in schema.get("anyOf", ()) if one != {"type": "null"}), schema)


def sample(schema: dict[str, Any], name: str = "") -> Any:
    """A value of the form that a schema describes."""
    schema = resolved(schema)
    if "enum" in schema or "const" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    if schema.get("type") == "object":
        return {key: sample(member, key) for key, member in schema.get("properties", {}).items() if key not in OPTIONAL}
    if schema.get("type") == "array":
        return [sample(schema["items"], name)]
    if schema.get("type") in ("integer", "number"):
        return schema.get("minimum", 1)
    if schema.get("type") == "boolean":
        return False
    return KNOWN.get(name, "x" * schema.get("minLength", 1))


def spoilt(value: Any) -> Iterator[Any]:
    """The value with one member, however deep, made hostile, left out or added."""
    if isinstance(value, dict):
        yield {**value, "surprise": 1}
        for name, member in value.items():
            yield {key: other for key, other in value.items() if key != name}
            for worse in spoilt(member):
                yield {**value, name: worse}
    elif isinstance(value, list):
        yield value * 101
        for worse in spoilt(value[0]) if value else ():
            yield [worse]
    yield from HOSTILE


def ask(
    endpoint: contract.Endpoint, *, body: str | None = None, part: str = "x", query: str = "", token: str = ""
) -> None:
    """Send a request, and hold the answer to the contract."""
    names = [parameter["name"] for parameter in operation(endpoint)["parameters"] if parameter.get("in") == "query"]
    event = {
        "headers": {"authorization": f"Bearer {token}", "accept-language": "en"},
        "multiValueQueryStringParameters": {name: [query] for name in names} if query else None,
        "pathParameters": dict.fromkeys(endpoint.parameters, part) or None,
        "stageVariables": None,
        "requestContext": {
            "resourcePath": endpoint.path,
            "httpMethod": endpoint.method,
            "requestId": "req-1",
            "identity": {"sourceIp": "203.0.113.9"},
            "authorizer": {"principalId": "wang", "groups": ",".join(ROLES)},
        },
        "body": body,
    }
    answer = contract.doors()[endpoint.door].handler(event, LambdaContext())
    sent = f"{endpoint.method} {endpoint.path} {part[:40]!a} {query[:40]!a} {(body or '')[:400]!a}"
    what = f"{sent} → {answer['body'][:400]}"

    assert answer["statusCode"] < 500, what
    promised = operation(endpoint)["responses"].get(str(answer["statusCode"]))
    assert promised, f"a status that the contract does not list: {answer['statusCode']} {what}"
    if answer["statusCode"] >= 400:
        assert answer["headers"]["Content-Type"] == PROBLEM, what
        schema = promised["content"][PROBLEM]["schema"]
    elif "content" in promised:
        schema = promised["content"]["application/json"]["schema"]
    else:
        return int(answer["statusCode"])
    validator = jsonschema.Draft202012Validator({**schema, "components": OPENAPI["components"]})
    assert [error.message for error in validator.iter_errors(json.loads(answer["body"]))] == [], what
    return int(answer["statusCode"])


def the(route: str) -> contract.Endpoint:
    return next(endpoint for endpoint in ENDPOINTS if of(endpoint) == route)


@pytest.fixture
def shop(cloud: None) -> None:
    """A shop with the sample catalogue and twenty cards."""
    imported.catalogue(CATALOGUE, clock.now())
    assert imported.take_in(CARDS, "cards.txt", clock.now(), "V001").counts.done == 20


def of(endpoint: contract.Endpoint) -> str:
    return f"{endpoint.method} {endpoint.path}"


def test_the_body_that_the_other_tests_spoil_is_a_good_one(shop: None) -> None:
    for route, status in (("POST /quotes", 200), ("POST /orders", 201)):
        assert ask(the(route), body=json.dumps(sample(resolved_body(the(route))))) == status


@pytest.mark.parametrize("endpoint", [one for one in ENDPOINTS if one.parameters], ids=of)
def test_a_hostile_path_is_refused_by_name(endpoint: contract.Endpoint, shop: None) -> None:
    body = json.dumps(sample(resolved_body(endpoint))) if endpoint.route.takes else None
    for part in PARTS:
        ask(endpoint, part=part, body=body)
        ask(endpoint, part=part, body=body, token=tokens.access_token(part))


@pytest.mark.parametrize("endpoint", [one for one in ENDPOINTS if one.route.secured == "buyer"], ids=of)
def test_a_hostile_token_is_refused_by_name(endpoint: contract.Endpoint, shop: None) -> None:
    body = json.dumps(sample(resolved_body(endpoint))) if endpoint.route.takes else None
    for token in ("", ".", "1.", "2.x", "🎁", "x" * 10_000, "1." + "A" * 43, tokens.access_token("ord_" + "1" * 26)):
        ask(endpoint, part=ORDER, token=token, body=body)


@pytest.mark.parametrize("endpoint", [one for one in ENDPOINTS if one.sends_body], ids=of)
def test_a_hostile_body_is_refused_by_name(endpoint: contract.Endpoint, shop: None) -> None:
    token = tokens.access_token(ORDER)
    for text in ("", "{", "[]", "null", "1", "🎁", "[" * 30_000, '{"a":NaN}', "\ud800", '"' + "x" * 70_000 + '"'):
        ask(endpoint, part=ORDER, token=token, body=text)
    if endpoint.route.takes:
        for body in spoilt(sample(resolved_body(endpoint))):
            ask(endpoint, part=ORDER, token=token, body=json.dumps(body))


@pytest.mark.parametrize("endpoint", [one for one in ENDPOINTS if one.route.query], ids=of)
def test_a_hostile_query_is_refused_by_name(endpoint: contract.Endpoint, shop: None) -> None:
    for value in HOSTILE:
        ask(endpoint, query=value if isinstance(value, str) else json.dumps(value))


def resolved_body(endpoint: contract.Endpoint) -> dict[str, Any]:
    return resolved(operation(endpoint)["requestBody"]["content"]["application/json"]["schema"])
