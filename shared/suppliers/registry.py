"""The suppliers of this deployment, as adapters that can be called."""

from __future__ import annotations

import importlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

from shared.suppliers import supplier_keys, wire
from shared.suppliers.accounts import head_of
from shared.suppliers.errors import UnknownSupplier
from shared.suppliers.kinds import KINDS
from shared.suppliers.supplier import Account, Keys, Supplier

KNOWN_FOR = 15.0  # seconds: so long a warm process goes on with the account it has read


@dataclass(frozen=True)
class _Known:
    read_at: float
    account: Account
    keys: tuple[Keys, ...]
    supplier: Supplier


_known: dict[str, _Known] = {}


def supplier(code: str) -> Supplier:
    """The supplier of that code, also one from whom nothing may be bought; UnknownSupplier, also while he has no keys.

    One adapter goes on for as long as its account is the same: it may hold a token that is worth keeping.
    """
    known, moment = _known.get(code), time.monotonic()
    if known and moment - known.read_at < KNOWN_FOR:
        return known.supplier
    account, keys = head_of(code).account, supplier_keys.of(code)
    if not keys and KINDS[account.kind].keys:
        raise UnknownSupplier
    same = known and known.account == account and known.keys == keys
    found = known.supplier if known and same else made(account, keys)
    _known[code] = _Known(moment, account, keys, found)
    return found


def made(account: Account, keys: Sequence[Keys]) -> Supplier:
    """The adapter that speaks for an account; ValueError if its terms or keys are none that it can use."""
    kind = KINDS[account.kind]
    wire.fit(account, keys, kind.terms, kind.keys)
    module, name = kind.adapter
    # Imported here: a door pays only for the adapters it uses.
    adapter: Supplier = getattr(importlib.import_module(module), name)(account, keys)
    return adapter


def forget() -> None:
    """Read the accounts anew: they have just been changed."""
    _known.clear()
