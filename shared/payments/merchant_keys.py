"""The secrets of our merchants, one in Secrets Manager for each: up to two sets of keys, both valid while one replaces
the other. The newest signs; what the provider signs is right if either knows it."""

from __future__ import annotations

import json
import time

from shared.kernel import aws, keyring, settings
from shared.payments.provider import Keys

SETS_MAX = 2

_read: dict[str, tuple[float, tuple[Keys, ...]]] = {}


def of(code: str) -> tuple[Keys, ...]:
    """The sets of keys, the newest first; none where none have been given yet."""
    read_at, known = _read.get(code, (0.0, ()))
    if not known or time.monotonic() - read_at >= keyring.max_age():
        known = fresh(code)
        _read[code] = (time.monotonic(), known)
    return known


def fresh(code: str) -> tuple[Keys, ...]:
    """As they are now, for who is about to change them."""
    client = aws.client("secretsmanager")
    try:
        text = client.get_secret_value(SecretId=_name(code))["SecretString"]
    except client.exceptions.ResourceNotFoundException:
        return ()
    return tuple(json.loads(text)["sets"])


def add(code: str, keys: Keys) -> int:
    """The new keys sign from now on, those that signed before stay valid; the same keys again change nothing.

    Returns how many sets are valid. Other processes see them within `keyring.max_age()`.
    """
    known = fresh(code)
    sets = known if known and known[0] == keys else (keys, *known[: SETS_MAX - 1])
    _write(code, sets, new=not known)
    return len(sets)


def retire(code: str) -> None:
    """Only the newest keys stay valid."""
    _write(code, fresh(code)[:1], new=False)


def _write(code: str, sets: tuple[Keys, ...], *, new: bool) -> None:
    client, text = aws.client("secretsmanager"), json.dumps({"sets": sets})
    if new:
        client.create_secret(Name=_name(code), SecretString=text)
    else:
        client.put_secret_value(SecretId=_name(code), SecretString=text)
    _read.pop(code, None)


def _name(code: str) -> str:
    return f"kaquan-{settings.stage()}-merchant-{code}"
