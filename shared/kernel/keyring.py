"""Numbered secret keys from Secrets Manager, and the keys derived from them for one purpose each.

A secret is JSON ``{"current": "1", "1": "<64 random characters>"}``: a rotation adds a number and moves `current`;
whatever was made with an older number carries that number and stays verifiable.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import string
import time
from dataclasses import dataclass, field
from functools import lru_cache

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.kernel import aws, settings

LENGTH = 64  # characters of a secret: see infra/vault.yaml
MAX_AGE = 900  # seconds, unless KEYRING_SECONDS says otherwise

_read: dict[str, tuple[float, Ring | None]] = {}


@dataclass(frozen=True, repr=False)
class Ring:
    current: str
    secrets: tuple[tuple[str, bytes], ...] = field(repr=False)

    @property
    def numbers(self) -> list[str]:
        """The current number, then the others, the newest first."""
        return [self.current, *sorted({number for number, _ in self.secrets} - {self.current}, key=int, reverse=True)]

    def added(self) -> Ring:
        """With one more number, the largest; the current one stays."""
        letters = string.ascii_letters + string.digits
        secret = "".join(secrets.choice(letters) for _ in range(LENGTH)).encode()
        return Ring(self.current, (*self.secrets, (str(max(map(int, self.numbers)) + 1), secret)))

    def key(self, purpose: str, number: str | None = None) -> bytes:
        """32 bytes for one purpose; an unknown number raises KeyError."""
        return _derived(dict(self.secrets)[number or self.current], purpose)

    def mac(self, purpose: str, message: bytes, number: str | None = None) -> bytes:
        return hmac.new(self.key(purpose, number), message, hashlib.sha256).digest()


def max_age() -> int:
    """Seconds that a warm process may go on with keys it has read: a new number is known everywhere after that."""
    return settings.whole("KEYRING_SECONDS", MAX_AGE)


def ring(setting: str) -> Ring:
    """The keys of the secret that a setting such as ``PEOPLE_SECRET`` names."""
    name, clock = settings.get(setting), time.monotonic()
    read_at, known = _read.get(name, (0.0, None))
    if known is None or clock - read_at >= max_age():
        known = _parsed(aws.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"])
        _read[name] = (clock, known)
    return known


def fresh(setting: str) -> Ring:
    """The keys as they are now, for who is about to change them."""
    _read.pop(settings.get(setting), None)
    return ring(setting)


def change(setting: str, changed: Ring) -> None:
    """Write the ring down; other processes see it within `max_age`."""
    members = {"current": changed.current} | {number: secret.decode() for number, secret in changed.secrets}
    aws.client("secretsmanager").put_secret_value(SecretId=settings.get(setting), SecretString=json.dumps(members))
    _read.pop(settings.get(setting), None)


def text(setting: str) -> str:
    """A secret that is one text, not a ring of keys."""
    return _text(settings.get(setting))


@lru_cache(maxsize=8)
def _text(name: str) -> str:
    return str(aws.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"])


def _parsed(text: str) -> Ring:
    members = json.loads(text)
    current = members.pop("current")
    return Ring(current, tuple((number, secret.encode()) for number, secret in members.items()))


@lru_cache(maxsize=64)
def _derived(secret: bytes, purpose: str) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=f"kaquan:{purpose}".encode()).derive(secret)
