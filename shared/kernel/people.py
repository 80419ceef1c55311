"""Personal data: contacts and addresses. Clear only in the caller's hands; stored as keyed hash, mask and seal."""

from __future__ import annotations

import base64
import ipaddress
import os
import re
import unicodedata
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.kernel import keyring

_PHONE = re.compile(r"\+?\d{6,15}", re.ASCII)  # other digits would be another person
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s.]+(\.[^@\s.]+)+")
_NONCE = 12  # bytes: the nonce size AES-GCM is specified for


@dataclass(frozen=True, repr=False)
class Contact:
    """A reachable person; `kind` is ``phone`` or ``email``, `text` is in normal form."""

    kind: str
    text: str

    @property
    def mask(self) -> str:
        if self.kind == "phone":
            return f"{self.text[:3]}****{self.text[-4:]}" if len(self.text) >= 11 else f"****{self.text[-2:]}"
        name, _, domain = self.text.partition("@")
        return f"{name[0]}***@{domain}"


def contact(kind: str, text: str) -> Contact | None:
    """The contact in normal form (NFKC, no blanks or hyphens in numbers, lower case), or None if it cannot be one."""
    text = unicodedata.normalize("NFKC", text).strip()
    if kind == "phone":
        text = re.sub(r"[\s\-()]", "", text)
        text = text.removeprefix("+86") if text.startswith("+86") and len(text) == 14 else text
        return Contact(kind, text) if _PHONE.fullmatch(text) else None
    text = text.lower()
    return Contact(kind, text) if len(text) <= 254 and _EMAIL.fullmatch(text) else None


def hashed(what: str, text: str) -> str:
    """A keyed hash fit for keys and counters: ``1.`` and 22 characters; `what` keeps kinds of data apart."""
    people = keyring.ring("PEOPLE_SECRET")
    digest = people.mac(f"hash:{what}", text.encode())[:16]
    return f"{people.current}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def seal(text: str, about: str) -> bytes:
    """Encrypt personal data; `about`, the id of the record that holds it, is bound in."""
    people = keyring.ring("PEOPLE_SECRET")
    nonce = os.urandom(_NONCE)
    sealed = AESGCM(people.key("seal")).encrypt(nonce, text.encode(), about.encode())
    return f"{people.current}.".encode() + nonce + sealed


def unseal(sealed: bytes, about: str) -> str:
    """The text again; raises InvalidTag if it was altered or belongs to another record."""
    number, _, rest = sealed.partition(b".")
    key = keyring.ring("PEOPLE_SECRET").key("seal", number.decode())
    return AESGCM(key).decrypt(rest[:_NONCE], rest[_NONCE:], about.encode()).decode()


def address(text: str) -> str | None:
    """An IP address in its one form, or None if it says nothing about who calls: many share a private one."""
    try:
        found = ipaddress.ip_address(text.strip())
    except ValueError:
        return None
    return str(found) if found.is_global else None
