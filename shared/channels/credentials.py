"""What a channel's key looks like: a public part that finds it, and a secret that proves it."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import NamedTuple

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # no look-alikes
ID_LENGTH = 16  # characters of 5 bits: 80 bits never meet by chance
SECRET_LENGTH = 32  # characters: 160 bits, which no one guesses, so that a plain hash keeps them
_KEY = re.compile(f"kq_live_([{_ALPHABET}]{{{ID_LENGTH}}})_([{_ALPHABET}]{{{SECRET_LENGTH}}})")


class Credential(NamedTuple):
    key_id: str
    secret: str

    @property
    def text(self) -> str:
        """What its channel is shown once and sends with every request."""
        return f"kq_live_{self.key_id}_{self.secret}"

    @property
    def digest(self) -> str:
        """What is stored of it; the id is in it, so that no secret serves under another key's id."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def proves(self, digest: str) -> bool:
        return hmac.compare_digest(self.digest, digest)


def new(chance: bytes) -> Credential:
    """A credential out of 48 random bytes."""
    letters = "".join(_ALPHABET[byte & 31] for byte in chance)
    return Credential(letters[:ID_LENGTH], letters[ID_LENGTH : ID_LENGTH + SECRET_LENGTH])


def parsed(text: str) -> Credential | None:
    """The credential that a text is, or None."""
    found = _KEY.fullmatch(text)
    return Credential(found[1], found[2]) if found else None
