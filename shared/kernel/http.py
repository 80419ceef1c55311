"""The glue to Chalice: what a door takes, what it answers, and how a refusal becomes a problem document.

A view declares what it takes by the names of its arguments: `caller`, `body` (the parsed model), `raw` (the body's
bytes), `query` (the parsed model) and the path's own parameters. `Route` is what the contract is generated from.
"""

from __future__ import annotations

import functools
import inspect
import ipaddress
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from chalice import Chalice, Response
from pydantic import BaseModel, ConfigDict, ValidationError

from shared.kernel import settings
from shared.kernel.errors import (
    BodyTooLarge,
    InvalidRequest,
    MalformedBody,
    NotFound,
    Refusal,
    Unexpected,
    WrongMediaType,
    WrongMethod,
)
from shared.kernel.telemetry import logger, metrics, tracer

BODY_MAX = 64 * 1024  # bytes of a JSON request; files have their own limit
JSON, PROBLEM = "application/json", "application/problem+json"

Handler = Callable[[dict[str, Any], LambdaContext], dict[str, Any]]


class Shape(BaseModel):
    """The base of what crosses the HTTP edge: nothing is coerced, nothing unknown is let in."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Amount(Shape):
    amount_minor: int
    currency: str


@dataclass(frozen=True)
class Caller:
    """Who is asking, from where, in which language. `groups` and `name` are an operator's, proved by `sign_in`."""

    address: str
    language: str = "zh"
    token: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    name: str = ""
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Route:
    """What a view promises: the source of the OpenAPI contract."""

    gives: type[BaseModel] | None
    status: int
    takes: type[BaseModel] | None
    query: type[BaseModel] | None
    secured: str | None
    refusals: tuple[type[Refusal], ...]
    summary: str


def door(name: str) -> Chalice:
    """A Chalice application for one Lambda function; Chalice is used as the HTTP runtime only."""
    logger.append_keys(door=name)
    return Chalice(app_name=name, configure_logs=False)


def answers(
    gives: type[BaseModel] | None = None,
    *,
    status: int = 200,
    takes: type[BaseModel] | None = None,
    query: type[BaseModel] | None = None,
    secured: str | None = None,
    refusals: tuple[type[Refusal], ...] = (),
    body_max: int = BODY_MAX,
) -> Callable[[Callable[..., Any]], Callable[..., Response]]:
    """Turn a function of plain values into a Chalice view.

    secured: None, ``buyer`` (Bearer access token, checked by the step) or ``operator`` (proved by the authorizer).
    """

    def decorate(view: Callable[..., Any]) -> Callable[..., Response]:
        wanted = set(inspect.signature(view).parameters)

        @functools.wraps(view)
        def answer(**path: str) -> Response:
            request = _current.app.current_request
            caller = caller_of(request.to_original_event())
            arguments: dict[str, Any] = dict(path)
            try:
                if "caller" in wanted:
                    arguments["caller"] = caller
                if takes or "raw" in wanted:
                    raw = bytes(request.raw_body or b"")
                    if len(raw) > body_max:
                        raise BodyTooLarge
                    if "raw" in wanted:
                        arguments["raw"] = raw
                    if takes:
                        arguments["body"] = _parsed(takes, raw)
                if query:
                    arguments["query"] = _valid(query, dict(request.query_params or {}))
                result = view(**arguments)
            except Refusal as refusal:
                return _problem(refusal, caller.language)
            if isinstance(result, Response):
                return result
            text = result.model_dump_json(exclude_none=True) if isinstance(result, BaseModel) else json.dumps(result)
            return Response(text, headers={"Content-Type": JSON, "Cache-Control": "no-store"}, status_code=status)

        summary = (inspect.getdoc(view) or view.__name__.replace("_", " ").capitalize() + ".").split("\n")[0]
        answer.route = Route(gives, status, takes, query, secured, refusals, summary)  # type: ignore[attr-defined]
        return answer

    return decorate


def entry(app: Chalice) -> Handler:
    """The Lambda handler of an HTTP door: whatever goes wrong leaves as a problem document, never as a bare 500."""

    @tracer.capture_lambda_handler(capture_response=False)  # responses may hold codes
    def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
        _current.app, _current.request_id = app, event.get("requestContext", {}).get("requestId", "")
        logger.append_keys(request_id=_current.request_id)
        try:
            answer: dict[str, Any] = app(event, context)
        finally:
            if metrics.metric_set:
                metrics.flush_metrics()
        headers = {name.lower(): value for name, value in (answer.get("headers") or {}).items()}
        if answer["statusCode"] >= 400 and headers.get("content-type") != PROBLEM:
            return _problem(_OF_CHALICE.get(answer["statusCode"], Unexpected)(), caller_of(event).language).to_dict()
        return answer

    return handler


def caller_of(event: Mapping[str, Any]) -> Caller:
    """The caller of an API Gateway event; X-Forwarded-For counts only when it comes from a listed proxy."""
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    context = event.get("requestContext") or {}
    authorizer = context.get("authorizer") or {}
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return Caller(
        address=_address((context.get("identity") or {}).get("sourceIp") or "", headers.get("x-forwarded-for", "")),
        language="en" if headers.get("accept-language", "").lower().startswith("en") else "zh",
        token=token.strip() if scheme.lower() == "bearer" else "",
        headers=headers,
        name=str(authorizer.get("principalId", "")),
        groups=frozenset(filter(None, str(authorizer.get("groups", "")).split(","))),
    )


def _address(source: str, forwarded: str) -> str:
    first = forwarded.split(",")[0].strip()
    if first and _listed(source):
        try:
            return str(ipaddress.ip_address(first))
        except ValueError:
            return source
    return source


def _listed(source: str) -> bool:
    if settings.stage() == "local":
        return True  # tests are many buyers behind one address
    proxies = settings.optional("TRUSTED_PROXIES").split(",")
    try:
        return any(ipaddress.ip_address(source) in ipaddress.ip_network(proxy.strip()) for proxy in proxies if proxy)
    except ValueError:
        return False


def _parsed(model: type[BaseModel], raw: bytes) -> BaseModel:
    try:
        return model.model_validate_json(raw or b"{}")
    except ValidationError as error:
        if error.errors(include_url=False, include_input=False)[0]["type"] == "json_invalid":
            raise MalformedBody from None
        raise _invalid(error) from None


def _valid(model: type[BaseModel], values: Mapping[str, str]) -> BaseModel:
    try:
        return model.model_validate(values, strict=False)
    except ValidationError as error:
        raise _invalid(error) from None


def _invalid(error: ValidationError) -> InvalidRequest:
    found = error.errors(include_url=False, include_input=False, include_context=False)[:20]
    return InvalidRequest(
        fields=[{"field": ".".join(str(part)[:64] for part in one["loc"]), "reason": one["type"]} for one in found]
    )


def _problem(refusal: Refusal, language: str) -> Response:
    if refusal.status >= 500:
        logger.warning("refused", code=refusal.code)
    document = refusal.problem(language, _current.request_id)
    headers = {"Content-Type": PROBLEM, "Cache-Control": "no-store"}
    if refusal.retryable:
        headers["Retry-After"] = "1"
    return Response(json.dumps(document, ensure_ascii=False), headers=headers, status_code=refusal.status)


class _Current:
    """The invocation under way: a Lambda process serves one at a time."""

    app: Chalice
    request_id: str = ""


_current = _Current()
_OF_CHALICE: Mapping[int, type[Refusal]] = {
    400: MalformedBody,
    403: NotFound,
    404: NotFound,
    405: WrongMethod,
    415: WrongMediaType,
}
