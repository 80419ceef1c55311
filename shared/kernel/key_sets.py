"""The secrets of our accounts with outside systems, one in Secrets Manager for each: up to two sets of keys, both valid
while one replaces the other. The newest signs; what the other side signs is right if either knows it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass

from shared.kernel import aws, keyring, settings

SETS_MAX = 2

Keys = Mapping[str, str]

_read: dict[str, tuple[float, tuple[Keys, ...]]] = {}


@dataclass(frozen=True)
class KeySets:
    """The keys of all accounts of one kind, such as ``merchant``: the word stands in the names of their secrets."""

    whose: str

    def of(self, code: str) -> tuple[Keys, ...]:
        """The sets of keys, the newest first; none where none have been given yet."""
        read_at, known = _read.get(self._name(code), (0.0, ()))
        if not known or time.monotonic() - read_at >= keyring.max_age():
            known = self.fresh(code)
            _read[self._name(code)] = (time.monotonic(), known)
        return known

    def fresh(self, code: str) -> tuple[Keys, ...]:
        """As they are now, for who is about to change them."""
        client = aws.client("secretsmanager")
        try:
            text = client.get_secret_value(SecretId=self._name(code))["SecretString"]
        except client.exceptions.ResourceNotFoundException:
            return ()
        return tuple(json.loads(text)["sets"])

    def add(self, code: str, keys: Keys) -> int:
        """The new keys sign from now on, those that signed before stay valid; the same keys again change nothing.

        Returns how many sets are valid. Other processes see them within `keyring.max_age()`.
        """
        known = self.fresh(code)
        sets = known if known and known[0] == keys else (keys, *known[: SETS_MAX - 1])
        self._write(code, sets, new=not known)
        return len(sets)

    def retire(self, code: str) -> None:
        """Only the newest keys stay valid."""
        self._write(code, self.fresh(code)[:1], new=False)

    def _write(self, code: str, sets: tuple[Keys, ...], *, new: bool) -> None:
        client, text = aws.client("secretsmanager"), json.dumps({"sets": sets})
        if new:
            client.create_secret(Name=self._name(code), SecretString=text)
        else:
            client.put_secret_value(SecretId=self._name(code), SecretString=text)
        _read.pop(self._name(code), None)

    def _name(self, code: str) -> str:
        return f"kaquan-{settings.stage()}-{self.whose}-{code}"


def forget() -> None:
    """Read all keys anew."""
    _read.clear()
