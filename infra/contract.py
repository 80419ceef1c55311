"""The API contract, produced from the doors: infra/openapi.json for people and clients, infra/gateway.json for AWS.

`python infra/contract.py` writes both, `--check` fails when they are stale. The first is OpenAPI 3.1 with every model
and refusal; the second is what API Gateway can import: 3.0.1, paths, parameters, security and integrations, no models.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")  # a door that makes a client while loading needs some region

import yaml  # noqa: E402  # after sys.path
from chalice.app import Chalice  # noqa: E402
from pydantic import BaseModel  # noqa: E402
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema  # noqa: E402

from shared.kernel.errors import (  # noqa: E402
    BodyTooLarge,
    Busy,
    InvalidRequest,
    MalformedBody,
    NotAllowed,
    NotFound,
    NotSignedIn,
    Refusal,
    TooManyTries,
    Unexpected,
    WrongMediaType,
)
from shared.kernel.http import IDEMPOTENCY_KEY_MAX, JSON, PATH_PART_MAX, PROBLEM, Route  # noqa: E402

Json = dict[str, Any]

OPENAPI, GATEWAY, TEMPLATE = ROOT / "infra/openapi.json", ROOT / "infra/gateway.json", ROOT / "template.yaml"
SIGN_IN_TTL = (
    60  # seconds the gateway believes a token again without asking: a console page makes a dozen calls at once
)
_REF = "#/components/schemas/{model}"
_PARAMETER = re.compile(r"{(\w+)}")


@dataclass(frozen=True)
class Endpoint:
    """One route of one door."""

    door: str
    path: str
    method: str
    name: str
    route: Route
    media: tuple[str, ...]
    wants: frozenset[str]

    @property
    def parameters(self) -> list[str]:
        return _PARAMETER.findall(self.path)

    @property
    def sends_body(self) -> bool:
        return self.route.takes is not None or ("raw" in self.wants and self.method != "GET")

    @property
    def refusals(self) -> list[type[Refusal]]:
        """What the view declares, and what the glue and the gateway may say before it is reached."""
        found = {*self.route.refusals, TooManyTries, Busy, Unexpected}
        if self.parameters or self.route.secured == "buyer":
            found.add(NotFound)
        if self.route.secured == "operator":
            found |= {NotSignedIn, NotAllowed}
        if self.sends_body:
            found |= {BodyTooLarge, MalformedBody, WrongMediaType}
        if self.route.takes or self.route.query or "idempotency_key" in self.wants:
            found.add(InvalidRequest)
        return sorted(found, key=lambda refusal: (refusal.status, refusal.code))


# --- the doors -------------------------------------------------------------------------------------------------------


@cache
def doors() -> Mapping[str, Any]:
    """The module of every function, by the name of its folder."""
    folders = sorted(path.parent.name for path in ROOT.glob("functions/*/app.py"))
    return {folder: importlib.import_module(f"functions.{folder}.app") for folder in folders}


@cache
def endpoints() -> Sequence[Endpoint]:
    return sorted(_routes(), key=lambda endpoint: (endpoint.path, endpoint.method))


def _routes() -> Iterator[Endpoint]:
    for folder, module in doors().items():
        app = getattr(module, "app", None)
        if not isinstance(app, Chalice):
            continue
        for path, methods in app.routes.items():
            for method, entry in methods.items():
                view = entry.view_function
                if not isinstance(route := getattr(view, "route", None), Route):
                    raise SystemExit(f"functions/{folder}/app.py: {method} {path} lacks @answers(…)")
                wants = frozenset(inspect.signature(view).parameters)
                yield Endpoint(folder, path, method, view.__name__, route, tuple(entry.content_types), wants)


@cache
def template(path: Path = TEMPLATE) -> Json:
    """A CloudFormation template, its short functions such as ``!Sub x`` read as ``{"Sub": "x"}``."""

    class Loader(yaml.SafeLoader):
        pass

    def short(loader: Loader, name: str, node: yaml.Node) -> Json:
        if isinstance(node, yaml.MappingNode):
            return {name: loader.construct_mapping(node, deep=True)}
        if isinstance(node, yaml.SequenceNode):
            return {name: loader.construct_sequence(node, deep=True)}
        return {name: node.value}

    Loader.add_multi_constructor("!", short)
    return dict(yaml.load(path.read_text("utf-8"), Loader))  # noqa: S506  # a SafeLoader


def functions() -> Json:
    """The functions of template.yaml: folder → (logical id, properties)."""
    return {
        Path(resource["Properties"]["CodeUri"]).name: (logical_id, resource["Properties"])
        for logical_id, resource in template()["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }


# --- infra/openapi.json ----------------------------------------------------------------------------------------------


class _Schemas(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:
        return False  # "title": "Sku" beside "sku" tells nobody anything

    def dict_schema(self, schema: Any) -> Json:
        described = super().dict_schema(schema)
        if "patternProperties" in described:  # names of another form are refused, which pydantic forgets to say
            described["additionalProperties"] = False
        return described


def openapi() -> Json:
    """The contract: OpenAPI 3.1."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    references, schemas = _schemas()
    paths: Json = {}
    for endpoint in endpoints():
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, references, schemas)
    for endpoint in endpoints():
        if endpoint.route.query:
            schemas.pop(_name_of(references[endpoint.route.query, "validation"]), None)  # it is spelt out as parameters
    used = sorted({endpoint.door for endpoint in endpoints()})
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Kaquan",
            "version": project["version"],
            "description": f"{project['description']}. Money is in integer minor units, time in UTC.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/api"}],
        "tags": [{"name": door, "description": _first_line(doors()[door])} for door in used],
        "paths": paths,
        "components": {
            "schemas": dict(sorted({**schemas, "Problem": _problem_schema()}.items())),
            "parameters": {
                "AcceptLanguage": {
                    "name": "Accept-Language",
                    "in": "header",
                    "description": "The language of sentences: zh (default) or en.",
                    "schema": {"type": "string"},
                    "example": "en",
                },
                "IdempotencyKey": {
                    "name": "Idempotency-Key",
                    "in": "header",
                    "description": "The same key with the same body gives the same answer, however often it is sent.",
                    "schema": {"type": "string", "maxLength": IDEMPOTENCY_KEY_MAX},
                },
            },
            "securitySchemes": {
                "buyer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The access_token given when the order was placed.",
                },
                "channel": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The key that was shown when the channel, or a further key of it, was created.",
                },
                "operator": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "An id or access token of the Cognito user pool; its groups are the roles.",
                },
            },
        },
    }


def _schemas() -> tuple[Mapping[tuple[type[BaseModel], JsonSchemaMode], Json], Json]:
    wanted: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {}
    for endpoint in endpoints():
        for model, mode in (
            (endpoint.route.takes, "validation"),
            (endpoint.route.query, "validation"),
            (endpoint.route.gives, "serialization"),
        ):
            if model:
                wanted[model, mode] = None  # type: ignore[index]  # the literals above are modes
    in_order = sorted(wanted, key=lambda one: (one[0].__module__, one[0].__qualname__, one[1]))
    references, definitions = models_json_schema(in_order, ref_template=_REF, schema_generator=_Schemas)
    return references, dict(definitions.get("$defs", {}))  # type: ignore[return-value]  # models only, no dataclasses


def _operation(endpoint: Endpoint, references: Mapping[Any, Json], schemas: Json) -> Json:
    route = endpoint.route
    operation: Json = {
        "operationId": f"{endpoint.door}_{endpoint.name}",
        "tags": [endpoint.door],
        "summary": route.summary,
        "parameters": [*_parameters(endpoint, references, schemas), {"$ref": "#/components/parameters/AcceptLanguage"}],
    }
    if "idempotency_key" in endpoint.wants:
        operation["parameters"].append({"$ref": "#/components/parameters/IdempotencyKey"})
    if route.secured:
        operation["security"] = [{route.secured: []}]
    if route.permission:
        operation["x-permission"] = {"name": route.permission.name, "roles": sorted(route.permission.roles)}
    if route.takes:
        reference = references[route.takes, "validation"]
        needed = bool(schemas[_name_of(reference)].get("required"))  # without a body every member has its default
        operation["requestBody"] = {"required": needed, "content": {JSON: {"schema": reference}}}
    elif endpoint.sends_body:
        operation["requestBody"] = {"required": True, "content": {media: {} for media in endpoint.media or ["*/*"]}}
    success: Json = {"description": "Done."}
    if route.gives:
        success["content"] = {JSON: {"schema": references[route.gives, "serialization"]}}
    operation["responses"] = {str(route.status): success, **_problems(endpoint.refusals)}
    if route.own_words:
        for status in (route.status, 204, 400):
            said = operation["responses"].setdefault(str(status), {"description": "As the caller's protocol has it."})
            said.setdefault("content", {}).update({media: {} for media in ("text/plain", JSON)})
    return operation


def _parameters(endpoint: Endpoint, references: Mapping[Any, Json], schemas: Json) -> Iterator[Json]:
    for name in endpoint.parameters:
        schema = {"type": "string", "minLength": 1, "maxLength": PATH_PART_MAX}
        yield {"name": name, "in": "path", "required": True, "schema": schema}
    if endpoint.route.query:
        query = schemas[_name_of(references[endpoint.route.query, "validation"])]
        for name, schema in query.get("properties", {}).items():
            described = {key: value for key, value in schema.items() if key != "description"}
            parameter: Json = {"name": name, "in": "query", "required": name in query.get("required", ())}
            if "description" in schema:
                parameter["description"] = schema["description"]
            yield {**parameter, "schema": described}


def _problems(refusals: Sequence[type[Refusal]]) -> Json:
    """One response per status: the codes it may carry, and what each says."""
    answers: Json = {}
    for status in sorted({refusal.status for refusal in refusals}):
        same = [refusal for refusal in refusals if refusal.status == status]
        answers[str(status)] = {
            "description": "\n".join(f"- `{refusal.code}`: {refusal.en} {refusal.zh}" for refusal in same),
            "content": {
                PROBLEM: {
                    "schema": {
                        "allOf": [{"$ref": _REF.format(model="Problem")}],
                        "properties": {"code": {"enum": [refusal.code for refusal in same]}},
                    }
                }
            },
        }
    return answers


def _problem_schema() -> Json:
    """RFC 9457, as shared.kernel.errors renders it; the facts of a refusal are further members."""
    text = {"type": "string"}
    return {
        "type": "object",
        "description": "A refusal (RFC 9457): `code` is its name, `detail` a sentence in the caller's language.",
        "properties": {
            "type": {"type": "string", "format": "uri"},
            "title": text,
            "status": {"type": "integer"},
            "code": text,
            "detail": text,
            "retryable": {"type": "boolean", "description": "Whether the same request may succeed later."},
            "request_id": text,
        },
        "required": ["type", "title", "status", "code", "detail", "retryable", "request_id"],
    }


def _name_of(reference: Json) -> str:
    return str(reference["$ref"]).rsplit("/", 1)[-1]


def _first_line(module: Any) -> str:
    return (inspect.getdoc(module) or "").split("\n")[0]


# --- infra/gateway.json ----------------------------------------------------------------------------------------------


def gateway() -> Json:
    """The body of AWS::Serverless::Api: what API Gateway can import."""
    paths: Json = {}
    for endpoint in endpoints():
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _gateway_operation(endpoint)
    return {
        "openapi": "3.0.1",
        "info": {"title": {"Fn::Sub": "kaquan-${Stage}"}, "version": "1"},
        "paths": paths,
        "components": {
            "securitySchemes": {
                "operator": {
                    "type": "apiKey",
                    "name": "Authorization",
                    "in": "header",
                    "x-amazon-apigateway-authtype": "custom",
                    "x-amazon-apigateway-authorizer": {
                        "type": "token",
                        "authorizerUri": _invocation("sign_in"),
                        "authorizerResultTtlInSeconds": SIGN_IN_TTL,
                        # What is no token at all is refused without waking the authorizer.
                        "identityValidationExpression": r"[Bb]earer +[-\w]+\.[-\w]+\.[-\w]+",
                    },
                }
            }
        },
        "x-amazon-apigateway-gateway-responses": gateway_responses(),
    }


def gateway_responses() -> Json:
    """What the gateway itself says, as problem documents too; it knows no Accept-Language, so it says it in both."""
    return {
        "ACCESS_DENIED": _gateway_problem(NotAllowed),
        "BAD_REQUEST_BODY": _gateway_problem(InvalidRequest),
        "BAD_REQUEST_PARAMETERS": _gateway_problem(InvalidRequest),
        "DEFAULT_4XX": _gateway_problem(Refusal, keep_status=True),
        "DEFAULT_5XX": _gateway_problem(Unexpected, keep_status=True),
        "INTEGRATION_FAILURE": _gateway_problem(Busy),
        "INTEGRATION_TIMEOUT": _gateway_problem(Busy),
        "MISSING_AUTHENTICATION_TOKEN": _gateway_problem(NotFound),  # its name for an unknown path or method
        "QUOTA_EXCEEDED": _gateway_problem(TooManyTries),
        "REQUEST_TOO_LARGE": _gateway_problem(BodyTooLarge),
        "RESOURCE_NOT_FOUND": _gateway_problem(NotFound),
        "THROTTLED": _gateway_problem(TooManyTries),
        "UNAUTHORIZED": _gateway_problem(NotSignedIn),
        "UNSUPPORTED_MEDIA_TYPE": _gateway_problem(WrongMediaType),
        "WAF_FILTERED": _gateway_problem(NotAllowed),
    }


def _gateway_operation(endpoint: Endpoint) -> Json:
    operation: Json = {}
    text = {"type": "string"}
    parameters = [{"name": name, "in": "path", "required": True, "schema": text} for name in endpoint.parameters]
    if endpoint.route.query:
        query = (field.alias or name for name, field in endpoint.route.query.model_fields.items())
        parameters += [{"name": name, "in": "query", "required": False, "schema": text} for name in query]
    if parameters:
        operation["parameters"] = parameters
    operation["responses"] = {str(endpoint.route.status): {"description": endpoint.route.summary}}
    if endpoint.route.secured == "operator":
        operation["security"] = [{"operator": []}]  # a buyer's token is checked by the function, not by the gateway
    operation["x-amazon-apigateway-integration"] = {
        "type": "aws_proxy",
        "httpMethod": "POST",
        "uri": _invocation(endpoint.door),
    }
    return operation


def _invocation(folder: str) -> Json:
    _, properties = functions().get(folder, ("", {}))
    alias = f":{properties['AutoPublishAlias']}" if "AutoPublishAlias" in properties else ""
    # By name, not by attribute: a function may then know of the API without the two needing each other to exist first.
    function = f"function:kaquan-${{Stage}}-{folder.replace('_', '-')}{alias}"
    service = "arn:${AWS::Partition}:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions"
    here = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}"
    return {"Fn::Sub": f"{service}/{here}:{function}/invocations"}


def _gateway_problem(refusal: type[Refusal], *, keep_status: bool = False) -> Json:
    document = {
        "type": f"urn:kaquan:problem:{refusal.code}",
        "title": refusal.code.replace("_", " "),
        "status": refusal.status,
        "code": refusal.code,
        "detail": f"{refusal.zh} {refusal.en}",
        "retryable": refusal.retryable,
        "request_id": "$context.requestId",
    }
    headers = {"gatewayresponse.header.Content-Type": f"'{PROBLEM}'"}
    if refusal is NotSignedIn:
        headers["gatewayresponse.header.WWW-Authenticate"] = "'Bearer'"
    if refusal.retryable:
        headers["gatewayresponse.header.Retry-After"] = "'1'"
    if keep_status:  # the status is the gateway's, which it cannot put into the body
        del document["status"]
    response: Json = {} if keep_status else {"statusCode": refusal.status}
    return {**response, "responseParameters": headers, "responseTemplates": {JSON: json.dumps(document)}}


# --- the command -----------------------------------------------------------------------------------------------------


def files() -> dict[Path, str]:
    return {
        path: json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        for path, document in ((OPENAPI, openapi()), (GATEWAY, gateway()))
    }


def stale() -> list[str]:
    return [path.name for path, text in files().items() if not path.exists() or path.read_text("utf-8") != text]


def main(arguments: list[str]) -> int:
    if arguments == ["--check"]:
        if names := stale():
            print(f"stale: {', '.join(names)} in infra/. Say: make contract")
        return bool(names)
    for path, text in files().items():
        path.write_text(text, "utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
