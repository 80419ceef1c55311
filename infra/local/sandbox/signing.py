"""Signatures: lower-case hex HMAC-SHA256 of the message."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from urllib.parse import urlencode

CLOCK_SKEW_SECONDS_MAX = 300


class Signer:
    """Signs and checks for one merchant; the secret never leaves it."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    def __repr__(self) -> str:
        return "Signer(••••)"

    def sign(self, message: bytes) -> str:
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()

    def forge(self, message: bytes) -> str:
        """A signature of the right shape that only a holder of another secret would make."""
        return hmac.new(secrets.token_bytes(32), message, hashlib.sha256).hexdigest()

    def holds(self, message: bytes, signature: str) -> bool:
        return hmac.compare_digest(self.sign(message).encode(), signature.encode())

    def link_holds(self, fields: Mapping[str, str]) -> bool:
        """True if `sign` covers exactly the other fields of a pay link."""
        signed = sorted((name, value) for name, value in fields.items() if name != "sign")
        return self.holds(urlencode(signed).encode(), fields.get("sign", ""))

    def request_holds(self, method: str, path: str, body: bytes, stamp: str, signature: str, now: float) -> bool:
        """True if the request is signed and was stamped within the allowed skew of `now`."""
        if not (stamp.isascii() and stamp.isdigit() and abs(now - int(stamp)) <= CLOCK_SKEW_SECONDS_MAX):
            return False
        return self.holds(stamped(stamp, f"{method} {path}.".encode() + body), signature)


def stamped(stamp: str, body: bytes) -> bytes:
    """The message that is signed for a body sent at a moment."""
    return stamp.encode() + b"." + body
