"""What a job keeps for a while: AES-256-GCM under a data key of the job's own, with the object's name bound in.

The key's encryption context says that it is a job's: who may open jobs' keys can open no lot's with the same right.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.kernel import aws, settings
from shared.kernel.vault import Tampered

_NONCE = 12  # bytes: the nonce size AES-GCM is specified for


@dataclass(frozen=True)
class JobKey:
    plain: bytes = field(repr=False)
    wrapped: bytes = field(repr=False)

    def seal(self, name: str, clear: bytes) -> bytes:
        nonce = os.urandom(_NONCE)
        return nonce + AESGCM(self.plain).encrypt(nonce, clear, name.encode())

    def unseal(self, name: str, sealed: bytes) -> bytes:
        """What was sealed under this name, or Tampered."""
        try:
            return AESGCM(self.plain).decrypt(sealed[:_NONCE], sealed[_NONCE:], name.encode())
        except InvalidTag:
            raise Tampered(name) from None


def new_key(job_id: str) -> JobKey:
    answer = aws.client("kms").generate_data_key(
        KeyId=settings.get("VAULT_KEY"), KeySpec="AES_256", EncryptionContext=_context(job_id)
    )
    return JobKey(answer["Plaintext"], answer["CiphertextBlob"])


def open_key(job_id: str, wrapped: bytes) -> JobKey:
    answer = aws.client("kms").decrypt(
        KeyId=settings.get("VAULT_KEY"), CiphertextBlob=wrapped, EncryptionContext=_context(job_id)
    )
    return JobKey(answer["Plaintext"], wrapped)


def _context(job_id: str) -> dict[str, str]:
    return {"purpose": "job", "job": job_id}
