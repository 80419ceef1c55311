"""Keys of the one merchant and of the platform, and what is done with them."""

from __future__ import annotations

import base64
import json
import secrets
import string
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from infra.local.counterparts.counterpart import write_private

_ALPHABET = string.ascii_letters + string.digits


def word(length: int, alphabet: str = _ALPHABET) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))


@dataclass(frozen=True, repr=False)
class Identity:
    """What WeChat and its merchant know of each other. Made once and then read again from its file of mode 600."""

    appid: str
    mchid: str
    serial: str
    private_key: str
    apiv3_key: str
    platform_key_id: str
    platform_private_key: str

    @classmethod
    def kept_in(cls, path: Path) -> Identity:
        if path.exists():
            return cls(**json.loads(path.read_text("utf-8")))
        made = cls(
            appid="wx" + secrets.token_hex(8),
            mchid="19" + word(8, string.digits),
            serial=secrets.token_hex(20).upper(),
            private_key=_new_key(),
            apiv3_key=word(32),
            platform_key_id="PUB_KEY_ID_01" + word(30, string.digits),
            platform_private_key=_new_key(),
        )
        write_private(path, vars(made))
        return made

    def __repr__(self) -> str:
        return f"Identity({self.mchid})"

    @property
    def merchants_keys(self) -> dict[str, str]:
        """What the merchant downloads and uploads at the merchant platform."""
        return {
            "serial": self.serial,
            "private_key": self.private_key,
            "apiv3_key": self.apiv3_key,
            "platform_key_id": self.platform_key_id,
            "platform_key": _pem(self._platform.public_key()),
        }

    @cached_property
    def _platform(self) -> rsa.RSAPrivateKey:
        return _key(self.platform_private_key)

    @cached_property
    def _merchant(self) -> rsa.RSAPublicKey:
        return _key(self.private_key).public_key()

    @cached_property
    def _stranger(self) -> rsa.RSAPrivateKey:
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def sign(self, message: bytes) -> str:
        return _signature(self._platform, message)

    def forge(self, message: bytes) -> str:
        """A signature of the right shape by a key that nobody knows."""
        return _signature(self._stranger, message)

    def merchant_signed(self, message: bytes, signature: str) -> bool:
        try:
            self._merchant.verify(
                base64.b64decode(signature, validate=True), message, padding.PKCS1v15(), hashes.SHA256()
            )
        except (InvalidSignature, ValueError):
            return False
        return True

    def resource(self, content: dict[str, Any], kind: str) -> dict[str, str]:
        """The encrypted part of a notification."""
        nonce = word(12)
        sealed = AESGCM(self.apiv3_key.encode()).encrypt(
            nonce.encode(), json.dumps(content, ensure_ascii=False).encode(), kind.encode()
        )
        return {
            "original_type": kind,
            "algorithm": "AEAD_AES_256_GCM",
            "ciphertext": base64.b64encode(sealed).decode(),
            "associated_data": kind,
            "nonce": nonce,
        }


def _new_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _key(pem: str) -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key(pem.encode(), None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError("not an RSA key")
    return key


def _pem(key: rsa.RSAPublicKey) -> str:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def _signature(key: rsa.RSAPrivateKey, message: bytes) -> str:
    return base64.b64encode(key.sign(message, padding.PKCS1v15(), hashes.SHA256())).decode()
