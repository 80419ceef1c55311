"""The authorizer, asked as API Gateway asks it, with a pool whose keys are read over HTTP."""

from __future__ import annotations

import fnmatch
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from cryptography.hazmat.primitives.asymmetric import rsa

from functions.sign_in.app import handler
from shared.kernel.http import caller_of
from shared.staff.tokens import NoKeys

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ISSUER, CLIENT = "https://cognito-idp.cn-north-1.amazonaws.com.cn/pool", "client-1"
ARN = "arn:aws-cn:execute-api:cn-north-1:123456789012:abc123/api"


class Pool(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        public = {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key())), "kid": "k1", "use": "sig"}
        body = json.dumps({"keys": [public]}).encode() if self.path == "/jwks.json" else b"<html>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class names it so
        pass


@pytest.fixture(scope="module")
def pool() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pool)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def settings(pool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ISSUER": ISSUER, "CLIENT_ID": CLIENT, "JWKS_URL": f"{pool}/jwks.json"}.items():
        monkeypatch.setenv(name, value)


def token(**changes: Any) -> str:
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "sub": "0b7e",
        "aud": CLIENT,
        "token_use": "id",
        "iat": now,
        "exp": now + 600,
        "cognito:username": "wang",
        "cognito:groups": ["operator", "owner"],
        **changes,
    }
    return jwt.encode(claims, KEY, algorithm="RS256", headers={"kid": "k1"})


def ask(authorization: str, path: str = "GET/console/orders") -> dict[str, Any]:
    event = {"type": "TOKEN", "authorizationToken": authorization, "methodArn": f"{ARN}/{path}"}
    return dict(handler(event, LambdaContext()))


def test_an_operator_is_let_in_with_a_name_and_roles_that_the_doors_read() -> None:
    answer = ask(f"Bearer {token()}")

    authorizer = {"principalId": answer["principalId"], **answer["context"]}  # as API Gateway hands it on
    caller = caller_of({"headers": {}, "requestContext": {"authorizer": authorizer}})
    assert caller.name == "wang"
    assert caller.groups == {"owner", "operator"}


def test_the_policy_fits_every_route_of_the_stage_and_of_no_other_since_the_gateway_keeps_it() -> None:
    statement = ask(f"Bearer {token()}", "POST/console/reviews/rev_1/approve")["policyDocument"]["Statement"][0]

    assert statement["Effect"] == "Allow"
    assert statement["Action"] == "execute-api:Invoke"
    assert fnmatch.fnmatchcase(f"{ARN}/GET/console/orders", statement["Resource"])
    assert not fnmatch.fnmatchcase(f"{ARN}2/GET/console/orders", statement["Resource"])
    assert statement["Resource"].startswith("arn:aws-cn:")


def test_what_the_context_holds_is_text_as_the_gateway_demands() -> None:
    assert all(isinstance(value, str) for value in ask(f"Bearer {token()}")["context"].values())


def test_an_operator_without_groups_is_known_and_may_do_nothing() -> None:
    assert ask(f"Bearer {token(**{'cognito:groups': []})}")["context"]["groups"] == ""


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer ", "Basic d2FuZw==", "Bearer a.b.c", "🎁", "x" * 10_000]
)
def test_rubbish_is_unauthorized_by_the_very_word_that_the_gateway_turns_into_401(authorization: str) -> None:
    with pytest.raises(Exception, match=r"^Unauthorized$"):
        ask(authorization)


def test_a_token_without_its_scheme_is_unauthorized() -> None:
    with pytest.raises(Exception, match=r"^Unauthorized$"):
        ask(token())


def test_an_expired_token_is_unauthorized_and_does_not_appear_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    expired = token(exp=int(time.time()) - 60)
    with pytest.raises(Exception, match=r"^Unauthorized$"):
        ask(f"Bearer {expired}")

    assert expired not in capsys.readouterr().out


@pytest.mark.parametrize("path", ["/nothing-here", ""])
def test_when_the_keys_cannot_be_read_it_is_not_the_callers_fault(
    path: str, pool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JWKS_URL", pool + path if path else "http://127.0.0.1:9/jwks.json")

    with pytest.raises(NoKeys):
        ask(f"Bearer {token()}")
