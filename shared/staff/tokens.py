"""Proof of who an operator is: a Cognito token, believed only with the pool's signature, issuer, client and time."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from shared.staff.permissions import ROLES

LEEWAY = 30  # seconds by which two clocks may differ
REFETCH_AFTER = 60.0  # seconds: made-up key ids must not turn us into a flood on the pool
FETCH_TIMEOUT = 3  # seconds; the gateway waits for the whole sign-in
JWKS_MAX = 64 * 1024  # bytes; a pool publishes two keys

Fetch = Callable[[], Mapping[str, Any]]


class BadToken(Exception):
    """The token proves nothing; the message names why and never holds any of the token."""


class NoKeys(Exception):
    """The pool's keys cannot be read now: nobody can be let in, and it is not the caller's fault."""


@dataclass(frozen=True)
class Person:
    name: str
    roles: tuple[str, ...]


class Keys:
    """The public keys of a user pool: fetched when first needed, and again when a token names one that is unknown."""

    def __init__(self, fetch: Fetch, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch, self._clock = fetch, clock
        self._keys: dict[str, RSAPublicKey] = {}
        self._tried_at = 0.0

    def find(self, key_id: str) -> RSAPublicKey:
        """The key of that id, or BadToken; raises NoKeys while none could be fetched."""
        if key_id not in self._keys and (not self._keys or self._clock() - self._tried_at >= REFETCH_AFTER):
            self._tried_at = self._clock()
            self._keys = _signing_keys(self._fetch()) or self._keys
        if not self._keys:
            raise NoKeys("the pool publishes no signing key")
        try:
            return self._keys[key_id]
        except KeyError:
            raise BadToken("unknown key") from None


def read(token: str, keys: Keys, issuer: str, client_id: str) -> Person:
    """Who the bearer of an id or access token is, or BadToken."""
    try:
        header = jwt.get_unverified_header(token)
        if header.get("alg") != "RS256" or not isinstance(header.get("kid"), str):
            raise BadToken("not signed by the pool")
        claims = jwt.decode(
            token,
            keys.find(header["kid"]),
            algorithms=["RS256"],
            issuer=issuer,
            leeway=LEEWAY,
            options={"require": ["exp", "iat", "iss", "sub", "token_use"], "verify_aud": False},  # see _client_of
        )
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise BadToken(type(error).__name__) from None
    if _client_of(claims) != client_id:
        raise BadToken("another client's token")
    groups = claims.get("cognito:groups") or []
    return Person(
        name=str(claims.get("cognito:username") or claims.get("username") or claims["sub"]),
        roles=tuple(role for role in ROLES if isinstance(groups, list) and role in groups),
    )


def fetch(url: str) -> Mapping[str, Any]:
    """Read a JWKS document, or raise NoKeys."""
    try:
        with urllib.request.urlopen(url, timeout=FETCH_TIMEOUT) as answer:  # noqa: S310  # the template sets the address
            return dict(json.loads(answer.read(JWKS_MAX)))
    except (OSError, ValueError, TypeError) as error:
        raise NoKeys(type(error).__name__) from error


def _client_of(claims: Mapping[str, Any]) -> object:
    """An id token names its client as the audience, an access token as client_id; other uses are for no API."""
    return {"id": claims.get("aud"), "access": claims.get("client_id")}.get(str(claims["token_use"]))


def _signing_keys(document: Mapping[str, Any]) -> dict[str, RSAPublicKey]:
    found = {}
    for entry in document.get("keys") or []:
        if entry.get("kty") == "RSA" and entry.get("use", "sig") == "sig" and entry.get("alg", "RS256") == "RS256":
            with contextlib.suppress(jwt.PyJWTError):  # a key that cannot be read must not take the others with it
                key = jwt.PyJWK(entry, algorithm="RS256").key
                if isinstance(key, RSAPublicKey):
                    found[str(entry.get("kid"))] = key
    return found
