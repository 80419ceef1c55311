"""What the contract promises, the doors keep: both files are fresh, sound, and every refusal in them has its words."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import string
from collections import Counter
from collections.abc import Iterator
from typing import Any

import openapi_spec_validator
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

import shared
from infra import contract
from shared.kernel.errors import Refusal
from shared.staff.permissions import MATRIX, ROLES

OPENAPI, GATEWAY = contract.openapi(), contract.gateway()
OPERATORS = [endpoint for endpoint in contract.endpoints() if endpoint.route.secured == "operator"]
ONLY_IN_31 = {
    "$defs", "$dynamicRef", "$schema", "const", "contains", "contentEncoding", "contentMediaType", "dependentRequired",
    "dependentSchemas", "else", "examples", "if", "jsonSchemaDialect", "patternProperties", "prefixItems",
    "propertyNames", "then", "unevaluatedItems", "unevaluatedProperties", "webhooks",
}  # fmt: skip


def walked(value: Any) -> Iterator[tuple[str, Any]]:
    """Every member of a document, however deep."""
    if isinstance(value, dict):
        for name, member in value.items():
            yield name, member
            yield from walked(member)
    elif isinstance(value, list):
        for item in value:
            yield from walked(item)


def substituted(value: Any) -> Any:
    """The document as CloudFormation would hand it to API Gateway."""
    if isinstance(value, dict):
        return value["Fn::Sub"] if set(value) == {"Fn::Sub"} else {k: substituted(v) for k, v in value.items()}
    return [substituted(item) for item in value] if isinstance(value, list) else value


def refusals() -> list[type[Refusal]]:
    """Every refusal that the library can make."""
    for module in pkgutil.walk_packages(shared.__path__, "shared."):
        importlib.import_module(module.name)

    def under(kind: type[Refusal]) -> Iterator[type[Refusal]]:
        yield kind
        for child in kind.__subclasses__():
            yield from under(child)

    return [kind for kind in under(Refusal) if kind.__module__.startswith("shared.")]


REFUSALS = refusals()


def test_the_committed_files_are_what_the_doors_give() -> None:
    assert contract.stale() == [], "say: make contract"


def test_the_contract_is_valid_openapi_3_1() -> None:
    openapi_spec_validator.OpenAPIV31SpecValidator(OPENAPI).validate()


def test_the_gateway_file_is_valid_openapi_3_0() -> None:
    openapi_spec_validator.OpenAPIV30SpecValidator(substituted(GATEWAY)).validate()


def test_the_gateway_file_holds_nothing_that_api_gateway_cannot_import() -> None:
    assert GATEWAY["openapi"] == "3.0.1"
    for name, value in walked(GATEWAY):
        assert name not in ONLY_IN_31
        assert name not in ("schemas", "requestBody", "oneOf", "anyOf", "allOf", "$ref", "content"), "it has no models"
        assert not (name == "type" and (isinstance(value, list) or value == "null"))
        assert not (name.startswith("exclusiveM") and not isinstance(value, bool))


def test_the_gateway_file_names_no_partition_region_account_or_stage() -> None:
    text = json.dumps(GATEWAY)

    assert "arn:aws:" not in text
    assert not re.search(r"\d{12}", text)
    assert not re.search(r"kaquan-(?!\$\{Stage\})", text)


def test_what_the_gateway_says_itself_is_a_problem_document_too() -> None:
    codes = {refusal.code for refusal in REFUSALS}
    for response in GATEWAY["x-amazon-apigateway-gateway-responses"].values():
        problem = json.loads(response["responseTemplates"]["application/json"])
        assert problem["code"] in codes
        assert problem["detail"]
        assert problem.get("status") == response.get("statusCode")
        assert response["responseParameters"]["gatewayresponse.header.Content-Type"] == "'application/problem+json'"


def test_operations_have_names_of_their_own() -> None:
    names = Counter(operation["operationId"] for path in OPENAPI["paths"].values() for operation in path.values())

    assert names.most_common(1)[0][1] == 1


def test_every_schema_is_used_and_every_reference_leads_somewhere() -> None:
    referred = {str(value).rsplit("/", 1)[-1] for name, value in walked(OPENAPI) if name == "$ref"}
    there = {name for kind in ("schemas", "parameters") for name in OPENAPI["components"][kind]}

    assert there - referred <= {"IdempotencyKey"}
    assert referred <= there


def test_nothing_in_the_contract_is_a_floating_number() -> None:
    assert [name for name, value in walked(OPENAPI) if name == "type" and value == "number"] == []


@pytest.mark.parametrize(
    "route",
    [
        "GET /products",
        "GET /products/{product_id}",
        "POST /quotes",
        "POST /orders",
        "GET /orders/{order_id}",
        "POST /orders/{order_id}/payments",
        "POST /orders/{order_id}/cancel",
        "POST /orders/{order_id}/reveal",
        "POST /webhooks/payments/{provider}",
        "POST /webhooks/suppliers/{supplier}",
        "POST /webhooks/suppliers/{supplier}/changes",
        "GET /health",
        "POST /console/reviews/{review_id}/approve",
        "POST /console/reviews/{review_id}/refuse",
        "POST /console/orders/{order_id}/refunds",
        "POST /console/settlement/{day}/close",
    ],
)
def test_an_address_that_others_rely_on_keeps_its_name(route: str) -> None:
    method, path = route.split(" ")

    assert method.lower() in OPENAPI["paths"][path]


def test_the_console_is_for_operators_and_nothing_else_is() -> None:
    for endpoint in contract.endpoints():
        assert (endpoint.route.secured == "operator") == endpoint.path.startswith("/console/"), endpoint


def test_what_belongs_to_one_order_asks_for_its_token() -> None:
    for endpoint in contract.endpoints():
        assert (endpoint.route.secured == "buyer") == endpoint.path.startswith("/orders/{order_id}"), endpoint


def test_the_gateway_asks_sign_in_for_every_operator_route_and_for_no_other() -> None:
    for path, operations in GATEWAY["paths"].items():
        for method, operation in operations.items():
            assert ("security" in operation) == path.startswith("/console/"), (method, path)


@pytest.mark.parametrize("endpoint", OPERATORS, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_an_operator_route_states_who_may_call_and_lets_nobody_else_in(endpoint: contract.Endpoint) -> None:
    permission = endpoint.route.permission
    assert permission is not None, "state it: @answers(permission=may(…))"
    assert permission.roles == MATRIX[permission.name]

    assert refused_with(endpoint, None) == 401
    assert refused_with(endpoint, "") == 403
    for role in set(ROLES) - permission.roles:
        assert refused_with(endpoint, role) == 403


def test_a_route_that_changes_something_is_not_open_to_those_who_only_read() -> None:
    for endpoint in OPERATORS:
        if endpoint.method != "GET" and endpoint.route.permission:
            assert not endpoint.route.permission.name.endswith(".read"), endpoint


def refused_with(endpoint: contract.Endpoint, groups: str | None) -> int:
    """The status a caller of these groups gets; None is a caller whom the authorizer has not seen."""
    event = {
        "headers": {},
        "multiValueQueryStringParameters": None,
        "pathParameters": dict.fromkeys(endpoint.parameters, "x") or None,
        "stageVariables": None,
        "requestContext": {
            "resourcePath": endpoint.path,
            "httpMethod": endpoint.method,
            "authorizer": {} if groups is None else {"principalId": "wang", "groups": groups},
        },
        "body": None,
    }
    return int(contract.doors()[endpoint.door].handler(event, LambdaContext())["statusCode"])


def test_no_two_refusals_have_the_same_name() -> None:
    assert [name for name, count in Counter(refusal.code for refusal in REFUSALS).items() if count > 1] == []


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.code)
def test_a_refusal_has_a_name_a_status_and_a_sentence_in_both_languages(refusal: type[Refusal]) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", refusal.code)
    assert refusal.status in range(400, 600)
    assert re.search(r"[\u4e00-\u9fff]", refusal.zh)
    assert re.fullmatch(r"[\x20-\x7e]*[a-z][\x20-\x7e]*[.!?)]", refusal.en)
    assert gaps(refusal.zh) == gaps(refusal.en)
    if refusal is not Refusal:
        assert {"code", "zh", "en"} <= set(vars(refusal)), "its own words, not its parent's"


def gaps(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name}
