"""The doors behind a gateway of one process: what API Gateway makes of a request, done to a WSGI request."""

from __future__ import annotations

import base64
import itertools
import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from functions.sign_in.app import handler as sign_in
from infra import contract
from shared.staff.permissions import ROLES
from tests.shop import CONTEXT, event, handler, match

ISSUER, CLIENT = "https://cognito-idp.ap-southeast-1.amazonaws.com/pool", "client-1"
ARN = "arn:aws:execute-api:ap-southeast-1:123456789012:abc123/api"
BASE = "/api"


class Pool:
    """A user pool: it publishes its key over HTTP, and signs the tokens of operators."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key())), "kid": "k1", "use": "sig"}
        keys = json.dumps({"keys": [public]}).encode()

        class Published(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(keys)))
                self.end_headers()
                self.wfile.write(keys)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Published)

    @contextmanager
    def open(self) -> Iterator[None]:
        """While open, `sign_in` believes this pool."""
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("ISSUER", ISSUER)
            environment.setenv("CLIENT_ID", CLIENT)
            environment.setenv("JWKS_URL", f"http://127.0.0.1:{self._server.server_port}/jwks.json")
            yield
        self._server.shutdown()
        self._server.server_close()

    def token(self, *groups: str) -> str:
        now = int(time.time())
        claims = {
            "iss": ISSUER, "sub": "0b7e", "aud": CLIENT, "token_use": "id", "iat": now, "exp": now + 3600,
            "cognito:username": "ann", "cognito:groups": list(groups or ROLES),
        }  # fmt: skip
        return jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": "k1"})


class Gateway:
    """A WSGI application: routes, signs operators in by the real authorizer, and hands on the event.

    It is milder than AWS, so that the doors see more: no limit on headers and bodies, methods without a route reach
    the door of their path (AWS says 404), and each request comes from an address of its own.
    """

    def __init__(self) -> None:
        self._routes = {endpoint.path: endpoint.door for endpoint in contract.endpoints()}
        self._guarded = {
            (endpoint.method, endpoint.path)
            for endpoint in contract.endpoints()
            if endpoint.route.secured == "operator"
        }
        self._believable = re.compile(
            contract.gateway()["components"]["securitySchemes"]["operator"]["x-amazon-apigateway-authorizer"][
                "identityValidationExpression"
            ]
        )
        self._visitors = itertools.count(1)

    def __call__(self, environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        answer = self.answer(environ)
        body = answer["body"]
        raw = base64.b64decode(body) if answer.get("isBase64Encoded") else body.encode()
        headers = [*answer["headers"].items()]
        headers += [(name, value) for name, values in answer.get("multiValueHeaders", {}).items() for value in values]
        start_response(f"{answer['statusCode']} -", [*headers, ("Content-Length", str(len(raw)))])
        return [raw]

    def answer(self, environ: Mapping[str, Any]) -> dict[str, Any]:
        method = environ["REQUEST_METHOD"]
        path = environ["REQUEST_URI"].partition("?")[0].removeprefix(BASE)
        query = parse_qs(environ["QUERY_STRING"], keep_blank_values=True)
        template = next((one for one in sorted(self._routes, key=_openness) if _fits(one, path)), None)
        if template is None:
            return self._say("MISSING_AUTHENTICATION_TOKEN")
        headers = _headers(environ)
        raw = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        asked = event(method, path, template, None, {})
        asked["headers"] = headers
        asked["multiValueHeaders"] = {name: [value] for name, value in headers.items()}
        asked["pathParameters"] = {k: unquote(v) for k, v in (asked["pathParameters"] or {}).items()} or None
        asked["multiValueQueryStringParameters"] = query or None
        asked["isBase64Encoded"], asked["body"] = _body(raw)
        visitor = next(self._visitors)
        asked["requestContext"]["identity"]["sourceIp"] = f"10.{visitor >> 16}.{visitor >> 8 & 255}.{visitor & 255}"
        if (method, template) in self._guarded:
            presented = headers.get("Authorization", "")
            if not self._believable.fullmatch(presented):
                return self._say("UNAUTHORIZED")
            try:
                allowed = sign_in({"authorizationToken": presented, "methodArn": f"{ARN}/{method}{path}"}, CONTEXT)
            except Exception as error:
                if str(error) != "Unauthorized":
                    raise
                return self._say("UNAUTHORIZED")
            asked["requestContext"]["authorizer"] = {"principalId": allowed["principalId"], **allowed["context"]}
        return dict(handler(self._routes[template])(json.loads(json.dumps(asked)), CONTEXT))

    def _say(self, kind: str) -> dict[str, Any]:
        """What the gateway itself answers, as infra/gateway.json tells it to."""
        response = contract.gateway_responses()[kind]
        headers = {
            name.removeprefix("gatewayresponse.header."): value.strip("'")
            for name, value in response["responseParameters"].items()
        }
        body = response["responseTemplates"]["application/json"].replace("$context.requestId", "req-1")
        return {"statusCode": response["statusCode"], "headers": headers, "body": body}


def _fits(template: str, path: str) -> bool:
    found = match(template, path)
    return found is not None and all(found.values())


def _openness(template: str) -> int:
    return template.count("{")


def _headers(environ: Mapping[str, Any]) -> dict[str, str]:
    named = {key.removeprefix("HTTP_"): value for key, value in environ.items() if key.startswith("HTTP_")}
    if "CONTENT_TYPE" in environ:
        named["CONTENT_TYPE"] = environ["CONTENT_TYPE"]
    return {name.replace("_", "-").title(): value for name, value in named.items()}


def _body(raw: bytes) -> tuple[bool, str | None]:
    """Text as text; what is no UTF-8 in base 64, as API Gateway does for binary media: nothing of it is lost."""
    try:
        return False, raw.decode() or None
    except UnicodeDecodeError:
        return True, base64.b64encode(raw).decode()
