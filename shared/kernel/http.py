"""The glue to Chalice: what a door takes, what it answers, and how a refusal becomes a problem document.

A view declares what it takes by the names of its arguments: `caller`, `body` (the parsed model), `raw` (the body's
bytes), `query` (the parsed model), `idempotency_key` (the header of that name, or "") and the path's own parameters.
`Route` is what the contract is generated from.
"""

from __future__ import annotations

import functools
import inspect
import ipaddress
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast
from urllib.parse import urlencode

from aws_lambda_powertools.utilities.typing import LambdaContext
from chalice.app import Chalice, Request, Response
from pydantic import BaseModel, ConfigDict, ValidationError

from shared.kernel import settings
from shared.kernel.channel import SHOP as SHOP
from shared.kernel.errors import (
    BodyTooLarge,
    InvalidRequest,
    MalformedBody,
    NotAllowed,
    NotFound,
    NotSignedIn,
    Refusal,
    Unexpected,
    WrongMediaType,
    WrongMethod,
)
from shared.kernel.telemetry import logger, metrics, tracer

BODY_MAX = 64 * 1024  # bytes of a JSON request; files do not come this way
PATH_PART_MAX = 128  # characters; every id is shorter, and DynamoDB refuses keys of 2,048 bytes with a fault of its own
IDEMPOTENCY_KEY_MAX = 128  # characters: room for any UUID or hash, and no room for a document
DIGITS_MAX = 18  # of an integer: what a DynamoDB number and an int64 of any client both hold exactly
JSON, PROBLEM = "application/json", "application/problem+json"

Handler = Callable[[dict[str, Any], LambdaContext], dict[str, Any]]


class Shape(BaseModel):
    """The base of what crosses the HTTP edge: nothing is coerced, nothing unknown is let in."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        hide_input_in_errors=True,
        json_schema_serialization_defaults_required=True,
        defer_build=True,  # a cold start builds only the shapes that its first request uses
    )


class Amount(Shape):
    amount_minor: int
    currency: str


@dataclass(frozen=True)
class Caller:
    """Who is asking, from where, in which language, and under which address of ours (`base_url`).

    `groups` and `name` are an operator's, proved by `sign_in`; `channel` is proved by a credential, or our own shop.
    """

    address: str
    language: str = "zh"
    token: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    name: str = ""
    groups: frozenset[str] = frozenset()
    base_url: str = ""
    channel: str = SHOP


class Permission(Protocol):
    """What a route asks of an operator: the name of an act, and the roles that may do it."""

    @property
    def name(self) -> str: ...
    @property
    def roles(self) -> frozenset[str]: ...


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
    permission: Permission | None = None
    own_words: bool = False


def door(name: str) -> Chalice:
    """A Chalice application for one Lambda function; Chalice is used as the HTTP runtime only."""
    logger.append_keys(door=name)
    app = Chalice(app_name=name, configure_logs=False)
    app.log = cast(logging.Logger, logger)  # Chalice's own lines about a view that failed become structured, too
    return app


def answers(
    gives: type[BaseModel] | None = None,
    *,
    status: int = 200,
    takes: type[BaseModel] | None = None,
    query: type[BaseModel] | None = None,
    secured: str | None = None,
    permission: Permission | None = None,
    refusals: tuple[type[Refusal], ...] = (),
    own_words: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Response]]:
    """Turn a function of plain values into a Chalice view.

    secured: None, ``buyer`` (Bearer access token) or ``channel`` (Bearer key), both checked by the step, or
    ``operator`` (proved by the authorizer).
    permission: who of the operators may call; it implies ``operator``.
    own_words: what the view answers goes out as it is, also where it is a refusal: its caller wants to hear just that.
    """
    secured = "operator" if permission else secured

    def decorate(view: Callable[..., Any]) -> Callable[..., Response]:
        wanted = set(inspect.signature(view).parameters)

        @functools.wraps(view)
        def answer(**path: str) -> Response:
            request = cast(Request, _current.app.current_request)
            caller = caller_of(request.to_original_event())
            arguments: dict[str, Any] = dict(path)
            try:
                if secured == "operator":
                    _check_operator(caller, permission)
                if any(len(part) > PATH_PART_MAX for part in path.values()):
                    raise NotFound
                if "caller" in wanted:
                    arguments["caller"] = caller
                if "idempotency_key" in wanted:
                    arguments["idempotency_key"] = _idempotency_key(caller)
                if takes or "raw" in wanted:
                    raw = _raw_body(request)
                    if len(raw) > BODY_MAX:
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
                _current.in_own_words = own_words
                return result
            text = result.model_dump_json() if isinstance(result, BaseModel) else json.dumps(result)
            return Response(text, headers={"Content-Type": JSON, "Cache-Control": "no-store"}, status_code=status)

        summary = (inspect.getdoc(view) or view.__name__.replace("_", " ").capitalize() + ".").split("\n")[0]
        answer.route = Route(gives, status, takes, query, secured, refusals, summary, permission, own_words)  # type: ignore[attr-defined]
        return answer

    return decorate


def csv_file(text: str, file_name: str) -> Response:
    """A file that a spreadsheet opens as UTF-8."""
    headers = {
        "Content-Type": "text/csv; charset=utf-8",
        "Content-Disposition": f'attachment; filename="{file_name}"',
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return Response("\ufeff" + text, headers=dict(headers), status_code=200)


def entry(app: Chalice) -> Handler:
    """The Lambda handler of an HTTP door: whatever goes wrong leaves as a problem document, never as a bare 500."""

    for methods in app.routes.values():
        for route in methods.values():
            if not (declared := getattr(route.view_function, "route", None)) or not declared.takes:
                route.content_types = []  # where no JSON is read, nothing can be of a wrong type

    @tracer.capture_lambda_handler(capture_response=False)  # responses may hold codes
    def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
        _current.app, _current.request_id = app, (event.get("requestContext") or {}).get("requestId", "")
        _current.in_own_words = False
        logger.append_keys(request_id=_current.request_id)
        try:
            answer: dict[str, Any] = app(event, context)
        except Exception:  # noqa: BLE001  # logged: an event that is not an API's, or a defect of the glue itself
            logger.exception("a request failed before its view")
            return _problem(Unexpected(), "zh").to_dict()
        finally:
            if metrics.metric_set:
                metrics.flush_metrics()
        headers = {name.lower(): value for name, value in (answer.get("headers") or {}).items()}
        if answer["statusCode"] >= 400 and headers.get("content-type") != PROBLEM and not _current.in_own_words:
            refusal = _OF_CHALICE.get(answer["statusCode"], Unexpected)()
            return _problem(refusal, caller_of(event).language, allow=headers.get("allow", "")).to_dict()
        return answer

    return cast(Handler, handler)


def sends_body(view: Callable[..., Any]) -> bool:
    """Whether the view reads what was sent with the request."""
    route = getattr(view, "route", None)
    return bool(route and route.takes) or "raw" in inspect.signature(view).parameters


def caller_of(event: Mapping[str, Any]) -> Caller:
    """The caller of an API Gateway event; X-Forwarded-For counts only as far as listed proxies wrote it."""
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    context = event.get("requestContext") or {}
    authorizer = context.get("authorizer") or {}
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return Caller(
        address=_address((context.get("identity") or {}).get("sourceIp") or "", headers.get("x-forwarded-for", "")),
        language=_language(headers.get("accept-language", "")),
        token=token.strip() if scheme.lower() == "bearer" else "",
        headers=headers,
        name=str(authorizer.get("principalId", "")),
        groups=frozenset(filter(None, str(authorizer.get("groups", "")).split(","))),
        base_url=_base_url(context),
    )


def _language(accepted: str) -> str:
    """``en`` if the header prefers it to Chinese, else ``zh``: the first of the best weighted wins."""
    best, chosen = 0.0, "zh"
    for choice in accepted.lower().split(",")[:20]:
        tag, _, rest = choice.strip().partition(";")
        weight = rest.strip().removeprefix("q=") if rest else "1"
        language = tag.strip()[:2]
        if language in ("zh", "en") and weight.replace(".", "", 1).isdecimal() and float(weight) > best:
            best, chosen = float(weight), language
    return chosen


def _base_url(context: Mapping[str, Any]) -> str:
    """The public address of this API: told by the request, since API and function cannot name each other at deploy."""
    if public := settings.optional("PUBLIC_URL"):
        return public
    if settings.on_local_cloud():
        return f"{settings.get('AWS_ENDPOINT_URL')}/_aws/execute-api/{context.get('apiId')}/{context.get('stage')}"
    return f"https://{context.get('domainName')}/{context.get('stage')}"


def _address(source: str, forwarded: str) -> str:
    """The nearest address that is no listed proxy's: each proxy appends its caller, so only the right end is proved."""
    address = source
    for hop in reversed(forwarded.split(",")[-20:]):
        if not _listed(address):
            break
        try:
            address = str(ipaddress.ip_address(hop.strip()))
        except ValueError:
            break
    return address


def _listed(address: str) -> bool:
    if settings.on_local_cloud():
        return True  # tests are many buyers behind one address
    proxies = settings.optional("TRUSTED_PROXIES").split(",")
    try:
        return any(ipaddress.ip_address(address) in ipaddress.ip_network(proxy.strip()) for proxy in proxies if proxy)
    except ValueError:
        return False


def _check_operator(caller: Caller, permission: Permission | None) -> None:
    if not caller.name:
        raise NotSignedIn  # the gateway asks sign_in first; a gateway set up wrongly must not open the console
    if permission and permission.roles.isdisjoint(caller.groups):
        raise NotAllowed


def _idempotency_key(caller: Caller) -> str:
    key = caller.headers.get("idempotency-key", "")
    if len(key) > IDEMPOTENCY_KEY_MAX or not key.isascii():
        raise InvalidRequest(fields=[{"field": "Idempotency-Key", "reason": "string_too_long_or_not_ascii"}])
    return key


def _raw_body(request: Request) -> bytes:
    """The body as it came; of a GET, whose message is its query, the query."""
    if request.method == "GET":
        sent = request.query_params
        return urlencode([(name, value) for name in sent for value in sent.getlist(name)]).encode() if sent else b""
    try:
        raw = request.raw_body
        return raw.encode() if isinstance(raw, str) else raw
    except ValueError:  # broken base64, or half a surrogate pair
        raise MalformedBody from None


def _parsed(model: type[BaseModel], raw: bytes) -> BaseModel:
    try:
        json.loads(raw.decode() or "{}", object_pairs_hook=_unique, parse_constant=_refused, parse_int=_whole)
        return model.model_validate_json(raw or b"{}")
    except ValidationError as error:
        if error.errors(include_url=False, include_input=False)[0]["type"] == "json_invalid":
            raise MalformedBody from None
        raise _invalid(error) from None
    except (ValueError, RecursionError):
        raise MalformedBody from None


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON leaves open which of two equal names counts; whoever checked the other one was deceived."""
    found = dict(members)
    if len(found) < len(members):
        raise ValueError("a name is given twice")
    return found


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _whole(digits: str) -> int:
    if len(digits.lstrip("-")) > DIGITS_MAX:
        raise InvalidRequest(fields=[{"field": "", "reason": "number_too_large"}])
    return int(digits)


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


def _problem(refusal: Refusal, language: str, allow: str = "") -> Response:
    if refusal.status >= 500:
        logger.warning("refused", code=refusal.code)
    document = refusal.problem(language, _current.request_id)
    headers: dict[str, str | list[str]] = {"Content-Type": PROBLEM, "Cache-Control": "no-store"}
    if refusal.retryable:
        headers["Retry-After"] = "1"
    if refusal.status == NotSignedIn.status:
        headers["WWW-Authenticate"] = "Bearer"
    if allow:
        headers["Allow"] = allow
    return Response(json.dumps(document, ensure_ascii=False, default=str), headers=headers, status_code=refusal.status)


class _Current:
    """The invocation under way: a Lambda process serves one at a time."""

    app: Chalice
    request_id: str = ""
    in_own_words: bool = False


_current = _Current()
_OF_CHALICE: Mapping[int, type[Refusal]] = {
    400: MalformedBody,
    403: NotFound,
    404: NotFound,
    405: WrongMethod,
    415: WrongMediaType,
}
