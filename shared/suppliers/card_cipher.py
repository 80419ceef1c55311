"""Cards that come enciphered with AES-256-ECB, as base64, under the characters of a secret that both sides know."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from typing import Final

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

_BLOCK: Final = 16  # bytes
_BASE64: Final = re.compile(r"(?:[A-Za-z0-9+/]{4})+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


def may_be_one(text: str) -> bool:
    """Whether a text has the form of such a cipher: a buyer can do nothing with it."""
    return bool(_BASE64.fullmatch(text)) and len(base64.b64decode(text)) % _BLOCK == 0


def opened(text: str, secrets: Iterable[str]) -> str:
    """What the text says under the first secret that opens it; ValueError under none."""
    if not may_be_one(text):
        raise ValueError("no cipher")
    for secret in secrets:
        try:
            # ECB and the secret's own characters as the key are the supplier's choice.
            opener = Cipher(algorithms.AES(secret.encode()), modes.ECB()).decryptor()  # noqa: S305
            strip = padding.PKCS7(_BLOCK * 8).unpadder()
            plain = strip.update(opener.update(base64.b64decode(text)) + opener.finalize()) + strip.finalize()
            found = plain.decode()
        except ValueError:
            continue
        if found and found.isprintable():
            return found
    raise ValueError("it does not open")
