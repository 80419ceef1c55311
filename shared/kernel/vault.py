"""Card codes at rest: a KMS data key per lot, AES-256-GCM with the card's identity bound in, keyed fingerprints.

There is no fallback: a wrong key or an altered ciphertext raises Tampered, and nothing is shown.
"""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass, field

from botocore.exceptions import ClientError
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.kernel import aws, keyring, settings

_WRONG_KEY = {"InvalidCiphertextException", "IncorrectKeyException", "NotFoundException", "AccessDeniedException"}
_NONCE = 12  # bytes: the nonce size AES-GCM is specified for


class Tampered(Exception):
    """The ciphertext does not open under its own key and identity."""


@dataclass(frozen=True)
class Secret:
    """What a buyer paid for. Its representation shows nothing."""

    code: str = field(repr=False)
    number: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class LotKey:
    plain: bytes = field(repr=False)
    wrapped: bytes = field(repr=False)
    version: int = 1


def new_lot_key(lot_id: str, version: int = 1) -> LotKey:
    """A fresh data key; only a holder of kms:Decrypt can get it back from its wrapped form."""
    answer = aws.client("kms").generate_data_key(
        KeyId=settings.get("VAULT_KEY"), KeySpec="AES_256", EncryptionContext=_context(lot_id)
    )
    return LotKey(answer["Plaintext"], answer["CiphertextBlob"], version)


def unwrap(lot_id: str, wrapped: bytes) -> bytes:
    """The lot's data key in clear, or Tampered if it was not wrapped by the vault's key for this lot."""
    try:
        answer = aws.client("kms").decrypt(
            KeyId=settings.get("VAULT_KEY"), CiphertextBlob=wrapped, EncryptionContext=_context(lot_id)
        )
    except ClientError as error:
        if error.response["Error"]["Code"] in _WRONG_KEY:
            raise Tampered(lot_id) from None
        raise
    return bytes(answer["Plaintext"])


def wrap(lot_id: str, plain: bytes) -> bytes:
    """The lot's data key, wrapped by the vault's key as it is now."""
    answer = aws.client("kms").encrypt(
        KeyId=settings.get("VAULT_KEY"), Plaintext=plain, EncryptionContext=_context(lot_id)
    )
    return bytes(answer["CiphertextBlob"])


def seal(key: LotKey, lot_id: str, card_id: str, secret: Secret) -> bytes:
    nonce = os.urandom(_NONCE)
    clear = json.dumps({"code": secret.code, "number": secret.number}, ensure_ascii=False).encode()
    return nonce + AESGCM(key.plain).encrypt(nonce, clear, _identity(card_id, lot_id, key.version))


def unseal(plain_key: bytes, lot_id: str, card_id: str, version: int, sealed: bytes) -> Secret:
    """The secret, or Tampered."""
    try:
        clear = AESGCM(plain_key).decrypt(sealed[:_NONCE], sealed[_NONCE:], _identity(card_id, lot_id, version))
    except InvalidTag:
        raise Tampered(card_id) from None
    return Secret(**json.loads(clear))


def fingerprints(text: str, normal_form: int) -> list[str]:
    """``fp#{pepper}#{normal form}#{hmac}`` of what must be unique for ever, under every pepper, the current one first.

    A new card writes all of them and is refused by any: while a pepper is exchanged, two processes that do not know the
    same ones yet still share one, and so cannot both take the same card.
    """
    peppers = keyring.ring("PEPPER_SECRET")
    return [_fingerprint(peppers, number, text, normal_form) for number in peppers.numbers]


def peppers() -> int:
    """How many fingerprints a card has now."""
    return len(keyring.ring("PEPPER_SECRET").numbers)


def fingerprint_under(number: str, text: str, normal_form: int) -> str:
    """The fingerprint under one pepper; an unknown number raises KeyError."""
    return _fingerprint(keyring.ring("PEPPER_SECRET"), number, text, normal_form)


def _fingerprint(peppers: keyring.Ring, number: str, text: str, normal_form: int) -> str:
    digest = base64.urlsafe_b64encode(peppers.mac("fingerprint", text.encode(), number)).decode().rstrip("=")
    return f"fp#{number}#{normal_form}#{digest}"


def _context(lot_id: str) -> dict[str, str]:
    return {"purpose": "card", "lot": lot_id}


def _identity(card_id: str, lot_id: str, version: int) -> bytes:
    return f"{card_id}|{lot_id}|{version}".encode()
