"""A small door stands for all of them: whatever a caller sends, the glue answers with a document that has a name."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from chalice.app import Response
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from shared.kernel.errors import Refusal
from shared.kernel.http import BODY_MAX, JSON, PROBLEM, Amount, Caller, Shape, answers, caller_of, door, entry


class SoldOut(Refusal):
    code, status = "sold_out", 409
    zh, en = "{name} 已售罄。", "{name} is sold out."


class Wish(Shape):
    sku: str = Field(max_length=64)
    quantity: int = Field(ge=1, le=100)
    gift: bool = False


class Page(Shape):
    limit: int = Field(default=10, ge=1, le=50)


class Echo(Shape):
    sku: str
    total: Amount
    note: str | None = None


@dataclass(frozen=True)
class Buying:
    name: str = "toys.buy"
    roles: frozenset[str] = frozenset({"owner"})


app = door("toys")


@app.route("/toys", methods=["POST"])
@answers(Echo, takes=Wish, status=201, refusals=(SoldOut,))
def buy(body: Wish) -> Echo:
    """Buy a toy."""
    if body.sku == "gone":
        raise SoldOut(name=body.sku)
    return Echo(sku=body.sku, total=Amount(amount_minor=100 * body.quantity, currency="CNY"))


@app.route("/toys/{toy}", methods=["GET"])
@answers(query=Page)
def look(toy: str, query: Page, caller: Caller) -> dict[str, Any]:
    if toy == "broken":
        raise RuntimeError("the key is sk-123")
    return {"toy": toy, "limit": query.limit, "from": caller.address, "token": caller.token}


@app.route("/raw", methods=["POST"], content_types=["application/json", "text/plain"])
@answers()
def keep(raw: bytes) -> Response:
    return Response("success", headers={"Content-Type": "text/plain"}, status_code=200 if raw else 400)


@app.route("/keys", methods=["POST"])
@answers()
def once(idempotency_key: str) -> dict[str, str]:
    return {"key": idempotency_key}


@app.route("/desk", methods=["POST"])
@answers(takes=Wish, permission=Buying())
def desk(caller: Caller, body: Wish) -> dict[str, Any]:
    return {"name": caller.name, "sku": body.sku}


handler = entry(app)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    text: str = field(repr=False)

    @property
    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.text))


def send(
    method: str,
    path: str,
    body: str | bytes | None = None,
    *,
    resource: str | None = None,
    query: dict[str, str] | None = None,
    source: str = "203.0.113.9",
    signed_in: dict[str, str] | None = None,
    parameters: dict[str, str] | None = None,
    **headers: str,
) -> Answer:
    """What API Gateway would hand to the function for this request, and the function's answer."""
    event = {
        "resource": resource or path,
        "path": path,
        "httpMethod": method,
        "headers": {name.replace("_", "-"): value for name, value in headers.items()},
        "multiValueQueryStringParameters": {name: [value] for name, value in query.items()} if query else None,
        "queryStringParameters": query,
        "pathParameters": parameters,
        "stageVariables": None,
        "requestContext": {
            "resourcePath": resource or path,
            "httpMethod": method,
            "requestId": "req-1",
            "identity": {"sourceIp": source},
            **({"authorizer": signed_in} if signed_in else {}),
        },
        "body": base64.b64encode(body).decode() if isinstance(body, bytes) else body,
        "isBase64Encoded": isinstance(body, bytes),
    }
    answer = handler(json.loads(json.dumps(event)), LambdaContext())
    return Answer(answer["statusCode"], {n.lower(): v for n, v in answer["headers"].items()}, answer["body"])


def look_at(toy: str = "bear", **more: Any) -> Answer:
    return send("GET", f"/toys/{toy}", resource="/toys/{toy}", parameters={"toy": toy}, **more)


def is_problem(answer: Answer, status: int, code: str) -> bool:
    assert answer.headers["content-type"] == PROBLEM
    assert answer.json["status"] == status == answer.status
    assert answer.json["code"] == code
    assert answer.json["request_id"] == "req-1"
    return answer.json["detail"] != "" and answer.json["type"] == f"urn:kaquan:problem:{code}"


def test_a_good_request_is_answered_with_the_promised_status_and_every_promised_member() -> None:
    answer = send("POST", "/toys", '{"sku": "bear", "quantity": 2}')

    assert answer.status == 201
    assert answer.headers["content-type"] == JSON
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json == {"sku": "bear", "total": {"amount_minor": 200, "currency": "CNY"}, "note": None}


@pytest.mark.parametrize(
    "body",
    [
        "{",
        "nothing",
        '{"sku": "bear", "quantity": 1,}',
        '{"sku": "bear", "quantity": NaN}',
        '{"sku": "bear", "quantity": -Infinity}',
        '{"sku": "bear", "quantity": 1, "quantity": 100}',
        '{"sku": "\\ud800", "quantity": 1}',
        "[" * 30_000,
        '{"a":' * 9_000,
        '\ufeff{"sku": "bear", "quantity": 1}',
        b'{"sku": "\xc3\x28", "quantity": 1}',
        b"\xff\xfe\x00",
        '{"sku": "bear", "quantity": 1}'.encode("utf-16"),
        "\ud800",
    ],
    ids=lambda body: ascii(body[:24]),
)
def test_what_is_not_json_is_refused_as_malformed(body: str | bytes) -> None:
    assert is_problem(send("POST", "/toys", body), 400, "malformed_body")


@pytest.mark.parametrize(
    ("wish", "field_name"),
    [
        ({"sku": 7, "quantity": 1}, "sku"),
        ({"sku": None, "quantity": 1}, "sku"),
        ({"sku": ["bear"], "quantity": 1}, "sku"),
        ({"sku": "x" * 10_000, "quantity": 1}, "sku"),
        ({"sku": "🎁" * 2_500, "quantity": 1}, "sku"),
        ({"sku": "bear", "quantity": True}, "quantity"),
        ({"sku": "bear", "quantity": 1.5}, "quantity"),
        ({"sku": "bear", "quantity": 1.0}, "quantity"),
        ({"sku": "bear", "quantity": "1"}, "quantity"),
        ({"sku": "bear", "quantity": 0}, "quantity"),
        ({"sku": "bear", "quantity": -1}, "quantity"),
        ({"sku": "bear", "quantity": 10**9}, "quantity"),
        ({"sku": "bear", "quantity": 10**17}, "quantity"),
        ({"sku": "bear"}, "quantity"),
        ({"sku": "bear", "quantity": 1, "gift": 1}, "gift"),
        ({"sku": "bear", "quantity": 1, "price": 1}, "price"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_a_wrong_field_is_named_and_its_value_is_not_repeated(wish: dict[str, Any], field_name: str) -> None:
    answer = send("POST", "/toys", json.dumps(wish))

    assert is_problem(answer, 422, "invalid_request")
    assert [one["field"] for one in answer.json["fields"]] == [field_name]
    assert "xxxx" not in answer.text
    assert "🎁" not in answer.text


@pytest.mark.parametrize("body", ["[]", "7", '"text"', "null", "true", ""])
def test_json_that_is_no_object_is_refused(body: str) -> None:
    assert is_problem(send("POST", "/toys", body), 422, "invalid_request")


@pytest.mark.parametrize("digits", ["1" + "0" * 18, "-" + "9" * 19, "9" * 5_000])
def test_an_integer_that_no_client_and_no_table_holds_exactly_is_refused(digits: str) -> None:
    answer = send("POST", "/toys", f'{{"sku": "bear", "quantity": {digits}}}')

    assert is_problem(answer, 422, "invalid_request")


def test_a_body_over_the_limit_is_refused_unread() -> None:
    assert is_problem(send("POST", "/toys", "{" + " " * BODY_MAX + "}"), 413, "body_too_large")


def test_emoji_and_chinese_come_back_as_they_were_sent() -> None:
    for body in ('{"sku": "🎁王者", "quantity": 1}', '{"sku": "🎁王者", "quantity": 1}'.encode()):
        assert send("POST", "/toys", body).json["sku"] == "🎁王者"


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_no_json_value_leads_to_a_server_fault(value: Any) -> None:
    for body in (json.dumps(value), json.dumps({"sku": value, "quantity": value}), json.dumps({str(value): value})):
        assert 400 <= send("POST", "/toys", body).status < 500


@given(st.binary(max_size=64))
def test_no_bytes_lead_to_a_server_fault(body: bytes) -> None:
    assert 400 <= send("POST", "/toys", body).status < 500


@pytest.mark.parametrize("media", ["text/xml", "application/x-www-form-urlencoded", "multipart/form-data", "🎁"])
def test_a_content_type_that_is_not_taken_is_refused(media: str) -> None:
    answer = send("POST", "/toys", '{"sku": "bear", "quantity": 1}', Content_Type=media)

    assert is_problem(answer, 415, "unsupported_media_type")


def test_a_content_type_with_parameters_is_taken() -> None:
    answer = send("POST", "/toys", '{"sku": "bear", "quantity": 1}', Content_Type="application/json; charset=utf-8")

    assert answer.status == 201


def test_a_wrong_method_is_refused_and_the_right_ones_are_told() -> None:
    answer = send("DELETE", "/toys")

    assert is_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"


def test_an_unknown_address_is_refused() -> None:
    assert send("GET", "/nowhere").status in (404, 405)


def test_a_path_part_longer_than_any_id_is_not_found() -> None:
    assert look_at("b" * 128).status == 200
    assert is_problem(look_at("b" * 129), 404, "not_found")
    assert is_problem(look_at("🎁" * 10_000), 404, "not_found")


@pytest.mark.parametrize("limit", ["0", "51", "-1", "1.5", "many", "🎁", "9" * 5_000, ""])
def test_a_wrong_query_value_is_refused(limit: str) -> None:
    assert is_problem(look_at(query={"limit": limit}), 422, "invalid_request")


def test_a_query_value_is_read_as_the_type_it_has() -> None:
    assert look_at(query={"limit": "7"}).json["limit"] == 7
    assert look_at().json["limit"] == 10


def test_an_unknown_query_name_is_refused() -> None:
    assert is_problem(look_at(query={"limitt": "7"}), 422, "invalid_request")


def test_a_refusal_carries_its_facts_and_speaks_the_callers_language() -> None:
    body = '{"sku": "gone", "quantity": 1}'

    assert send("POST", "/toys", body).json["detail"] == "gone 已售罄。"
    assert send("POST", "/toys", body, Accept_Language="en-GB").json["detail"] == "gone is sold out."
    assert send("POST", "/toys", body).json["name"] == "gone"
    assert is_problem(send("POST", "/toys", body), 409, "sold_out")


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "zh"),
        ("*", "zh"),
        ("fr", "zh"),
        ("en", "en"),
        ("EN-us", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-US,en;q=0.9,zh-CN;q=0.8", "en"),
        ("fr, en;q=0.5", "en"),
        ("zh;q=0.1, en;q=0.9", "en"),
        ("en;q=0", "zh"),
        ("en;q=nan", "zh"),
        ("en;q=", "zh"),
        (";;,,;q=²", "zh"),
        ("en;q=²", "zh"),
        ("," * 10_000, "zh"),
    ],
)
def test_the_language_is_the_best_weighted_of_ours_and_chinese_by_default(accepted: str, language: str) -> None:
    assert caller_of({"headers": {"accept-language": accepted}}).language == language


def test_an_unexpected_fault_is_a_problem_that_gives_nothing_away() -> None:
    answer = look_at("broken")

    assert is_problem(answer, 500, "unexpected")
    assert answer.json["retryable"] is True
    assert answer.headers["retry-after"] == "1"
    assert "sk-123" not in answer.text
    assert "RuntimeError" not in answer.text


@pytest.mark.parametrize(
    "event", [{}, {"Records": []}, {"requestContext": None}, {"requestContext": {"resourcePath": "/"}}]
)
def test_an_event_that_is_no_request_is_answered_with_a_problem(event: dict[str, Any]) -> None:
    answer = handler(event, LambdaContext())

    assert answer["statusCode"] == 500
    assert json.loads(answer["body"])["code"] == "unexpected"


def test_an_answer_of_its_own_passes_through_unless_it_is_an_error_without_a_name() -> None:
    assert send("POST", "/raw", b"\xff\x00", Content_Type="text/plain").text == "success"
    assert is_problem(send("POST", "/raw", Content_Type="text/plain"), 400, "malformed_body")


def test_an_idempotency_key_is_handed_over_as_it_came() -> None:
    assert send("POST", "/keys", Idempotency_Key="k-1").json == {"key": "k-1"}
    assert send("POST", "/keys").json == {"key": ""}


@pytest.mark.parametrize("key", ["k" * 129, "键", "🎁"])
def test_an_idempotency_key_that_is_no_key_is_refused(key: str) -> None:
    answer = send("POST", "/keys", Idempotency_Key=key)

    assert is_problem(answer, 422, "invalid_request")
    assert key not in answer.text


def test_a_bearer_token_is_read_and_other_schemes_are_not() -> None:
    assert look_at(Authorization="Bearer  abc").json["token"] == "abc"
    assert look_at(authorization="bearer abc").json["token"] == "abc"
    assert look_at(Authorization="Basic abc").json["token"] == ""
    assert look_at(Authorization="").json["token"] == ""


def test_without_listed_proxies_the_forwarded_address_is_not_believed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STAGE", "prod")

    assert look_at(X_Forwarded_For="198.51.100.1").json["from"] == "203.0.113.9"


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("198.51.100.1", "198.51.100.1"),
        ("6.6.6.6, 198.51.100.1", "198.51.100.1"),
        ("6.6.6.6, 198.51.100.1, 203.0.113.200", "198.51.100.1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("unknown", "203.0.113.9"),
        ("", "203.0.113.9"),
        ("203.0.113.1, 203.0.113.2", "203.0.113.1"),
        ("," * 10_000, "203.0.113.9"),
    ],
)
def test_behind_listed_proxies_the_nearest_address_that_is_not_theirs_counts(
    monkeypatch: pytest.MonkeyPatch, forwarded: str, address: str
) -> None:
    monkeypatch.setenv("STAGE", "prod")
    monkeypatch.setenv("TRUSTED_PROXIES", "192.0.2.1/32, 203.0.113.0/24")

    assert look_at(X_Forwarded_For=forwarded).json["from"] == address


def test_a_proxy_list_that_cannot_be_read_trusts_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAGE", "prod")
    monkeypatch.setenv("TRUSTED_PROXIES", "everyone")

    assert look_at(X_Forwarded_For="198.51.100.1").json["from"] == "203.0.113.9"


def test_on_the_local_cloud_a_test_may_be_any_buyer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAGE", "local")
    assert look_at(X_Forwarded_For="198.51.100.1").json["from"] == "203.0.113.9", "on AWS the name of a stage is no key"

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
    assert look_at(X_Forwarded_For="198.51.100.1").json["from"] == "198.51.100.1"
    assert look_at(X_Forwarded_For="198.51.100.1, 127.0.0.1").json["from"] == "198.51.100.1"
    assert look_at().json["from"] == "203.0.113.9"


def test_an_operator_route_is_closed_when_nobody_proved_who_is_calling() -> None:
    answer = send("POST", "/desk", "{", Authorization="Bearer a.b.c")

    assert is_problem(answer, 401, "not_signed_in")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("groups", ["", "operator", "owners", "owner2,auditor", " owner"])
def test_an_operator_without_the_role_is_refused_before_the_body_is_read(groups: str) -> None:
    answer = send("POST", "/desk", "{", signed_in={"principalId": "wang", "groups": groups})

    assert is_problem(answer, 403, "not_allowed")


def test_an_operator_with_the_role_is_let_in() -> None:
    body = '{"sku": "bear", "quantity": 1}'

    assert (
        send("POST", "/desk", body, signed_in={"principalId": "wang", "groups": "auditor,owner"}).json["name"] == "wang"
    )


def test_a_caller_never_shows_tokens_or_headers_in_a_log() -> None:
    caller = caller_of({"headers": {"Authorization": "Bearer secret-token"}})

    assert "secret-token" not in repr(caller)
