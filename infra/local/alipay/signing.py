"""RSA2 as Alipay's gateway signs: PKCS#1 v1.5 with SHA-256 over sorted `k=v` joined by `&`, in base64."""

from __future__ import annotations

import base64
import binascii
import functools
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from infra.local.counterparts.counterpart import write_private

_BITS = 2048


def canonical(fields: Mapping[str, str], without: tuple[str, ...]) -> bytes:
    """What is signed: the raw values of the non-empty fields, sorted by name."""
    return "&".join(
        f"{name}={fields[name]}" for name in sorted(fields) if fields[name] and name not in without
    ).encode()


@dataclass(frozen=True, repr=False)
class Identity:
    """The one merchant's account with Alipay, and both pairs of keys; kept in a file that only its owner can read."""

    app_id: str
    seller_id: str
    merchant_key: rsa.RSAPrivateKey
    alipay_key: rsa.RSAPrivateKey

    def __repr__(self) -> str:
        return f"Identity({self.app_id}, ••••)"

    @classmethod
    def at(cls, path: Path) -> Self:
        """The identity that the file holds; a new one is made and kept where there is none yet."""
        if path.exists():
            held = json.loads(path.read_text())
            return cls(held["app_id"], held["seller_id"], _private(held["merchant_key"]), _private(held["alipay_key"]))
        path.parent.mkdir(parents=True, exist_ok=True)
        made = cls(
            # Numbers of the shape that Alipay's sandbox gives.
            app_id=f"9021{_digits(12)}",
            seller_id=f"2088{_digits(12)}",
            merchant_key=rsa.generate_private_key(65537, _BITS),
            alipay_key=rsa.generate_private_key(65537, _BITS),
        )
        write_private(
            path,
            {
                "app_id": made.app_id,
                "seller_id": made.seller_id,
                "merchant_key": _pem(made.merchant_key),
                "alipay_key": _pem(made.alipay_key),
            },
        )
        return made

    @property
    def keys(self) -> dict[str, str]:
        """What a merchant holds: its own private key, and Alipay's public one."""
        return {"private_key": _pem(self.merchant_key), "alipay_key": _public_pem(self.alipay_key)}

    def request_holds(self, fields: Mapping[str, str]) -> bool:
        """True if the merchant signed every field but `sign`; an empty field is not signed."""
        return _holds(self.merchant_key.public_key(), canonical(fields, ("sign",)), fields.get("sign", ""))

    def sign(self, message: bytes) -> str:
        return _sign(self.alipay_key, message)

    def sign_sha1(self, message: bytes) -> str:
        """What Alipay did before RSA2; nobody should accept it any more."""
        return _sign(self.alipay_key, message, hashes.SHA1())  # noqa: S303

    def forge(self, message: bytes) -> str:
        """A signature of the right shape by a key that is not Alipay's."""
        return _sign(_stranger(), message)


@functools.cache
def _stranger() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, _BITS)


def _sign(key: rsa.RSAPrivateKey, message: bytes, digest: hashes.HashAlgorithm | None = None) -> str:
    return base64.b64encode(key.sign(message, padding.PKCS1v15(), digest or hashes.SHA256())).decode()


def _holds(key: rsa.RSAPublicKey, message: bytes, signature: str) -> bool:
    try:
        key.verify(base64.b64decode(signature, validate=True), message, padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def _private(pem: str) -> rsa.RSAPrivateKey:
    key = load_pem_private_key(pem.encode(), None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError("not an RSA key")
    return key


def _pem(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _public_pem(key: rsa.RSAPrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _digits(number: int) -> str:
    return "".join(secrets.choice("0123456789") for _ in range(number))
