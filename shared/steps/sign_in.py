"""Let an operator through the gateway, with a name and roles, or say that nobody is known by this token."""

from __future__ import annotations

from functools import cache
from typing import Any

from shared.kernel import settings
from shared.kernel.telemetry import logger
from shared.staff import tokens


class Unauthorized(Exception):
    """API Gateway answers 401 to an authorizer's error of exactly this message, and 500 to any other."""

    def __init__(self) -> None:
        super().__init__("Unauthorized")


def admit(authorization: str, method_arn: str) -> dict[str, Any]:
    """The policy for the bearer of an ``Authorization`` header, or Unauthorized."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthorized
    try:
        person = tokens.read(
            token.strip(), _keys(settings.get("JWKS_URL")), settings.get("ISSUER"), settings.get("CLIENT_ID")
        )
    except tokens.BadToken as error:
        logger.info("a token was refused", reason=str(error))
        raise Unauthorized from None
    return {
        "principalId": person.name,
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [{"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": _stage_of(method_arn)}],
        },
        "context": {"groups": ",".join(person.roles), "name": person.name},
    }


def _stage_of(method_arn: str) -> str:
    # The gateway keeps this policy for the token's next requests, which are for other methods; roles are checked there.
    api, stage, *_ = method_arn.split("/")
    return f"{api}/{stage}/*"


@cache
def _keys(url: str) -> tokens.Keys:
    return tokens.Keys(lambda: tokens.fetch(url))
