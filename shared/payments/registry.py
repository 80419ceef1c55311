"""Which providers this deployment has: the merchants that its owner has set up, and the sandbox where its settings are.

The sandbox is never on stage prod.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.kernel import clock, keyring, settings
from shared.kernel.channel import SHOP
from shared.payments import merchant_keys, merchants
from shared.payments.adapters.on_account import OnAccount
from shared.payments.adapters.sandbox import Sandbox
from shared.payments.errors import MethodOut, UnknownMethod, UnknownProvider
from shared.payments.kinds import KINDS, SANDBOX
from shared.payments.merchants import Pulse
from shared.payments.provider import Keys, Merchant, Provider

_OWN = {OnAccount.code: OnAccount.fee_e6, Sandbox.code: Sandbox.fee_e6}

KNOWN_FOR = 15.0  # seconds: so long a warm process goes on with the merchants it has read


@dataclass(frozen=True)
class _Known:
    read_at: float
    merchants: tuple[Merchant, ...]
    pulses: dict[str, Pulse]


_known: dict[str, _Known] = {}


def methods(channel: str, now: datetime) -> tuple[str, ...]:
    """What buyers of a channel may choose now: the methods of the providers that answer."""
    own = (SANDBOX,) if _has_sandbox() else ()
    known = _now_known()
    offered = [
        method
        for merchant in known.merchants
        if _serves(merchant, channel) and not _is_out(known, merchant, now)
        for method in merchant.methods
    ]
    return (*own, *dict.fromkeys(offered))


def choose(method: str, channel: str, now: datetime) -> Provider:
    """The provider that a buyer of this channel pays through: the first of ours that has the method and answers.

    UnknownMethod if none has it, MethodOut if none of those that have it answers. A channel may pay on its account.
    """
    if method == OnAccount.code and channel != SHOP:
        return OnAccount()
    if method == SANDBOX and _has_sandbox():
        return provider(SANDBOX)
    known = _now_known()
    having = [one for one in known.merchants if method in one.methods and _serves(one, channel)]
    if not having:
        raise UnknownMethod(payment_method=method[:32])
    # A merchant that is kept for this channel comes before those that serve all.
    having.sort(key=lambda one: channel not in one.channels)
    for merchant in having:
        if not _is_out(known, merchant, now):
            return _made(merchant)
    raise MethodOut(payment_method=method)


def provider(code: str) -> Provider:
    """The provider of one of our merchants, also of one that is off, or UnknownProvider."""
    if code == OnAccount.code:
        return OnAccount()
    if code == SANDBOX and _has_sandbox():
        return Sandbox(
            settings.get("SANDBOX_URL"),
            settings.optional("SANDBOX_MERCHANT", "kaquan"),
            keyring.text("SANDBOX_SECRET").encode(),
        )
    for merchant in _now_known().merchants:
        if merchant.code == code:
            return _made(merchant)
    raise UnknownProvider


def fee_e6(code: str) -> int:
    """What a merchant's provider keeps of each payment, in millionths; no key is needed to know it. UnknownProvider."""
    if code in _OWN:
        return _OWN[code]
    for merchant in _now_known().merchants:
        if merchant.code == code:
            return merchant.fee_e6
    raise UnknownProvider


def silent(code: str) -> int:
    """How many calls in a row a provider had left unanswered when this process last looked."""
    pulse = _now_known().pulses.get(code)
    return int(pulse.silent) if pulse else 0


def is_ours(code: str) -> bool:
    """Whether a real provider stands behind it, whose behaviour is worth counting."""
    return code not in {SANDBOX, OnAccount.code}


def _has_sandbox() -> bool:
    return bool(settings.optional("SANDBOX_SECRET"))


def _serves(merchant: Merchant, channel: str) -> bool:
    return not merchant.off and (not merchant.channels or channel in merchant.channels)


def _is_out(known: _Known, merchant: Merchant, now: datetime) -> bool:
    pulse = known.pulses.get(merchant.code)
    return bool(pulse and pulse.out_until and str(pulse.out_until) > clock.iso(now))


def _now_known() -> _Known:
    table, moment = merchants.Listed.Meta.table_name, time.monotonic()
    known = _known.get(table)
    if known is None or moment - known.read_at >= KNOWN_FOR:
        found = merchants.listed()
        known = _known[table] = _Known(moment, found, merchants.pulses([one.code for one in found]))
    return known


def forget() -> None:
    """Read the merchants anew: they have just been changed."""
    _known.clear()


def made(merchant: Merchant, keys: Sequence[Keys]) -> Provider:
    """The adapter that speaks for a merchant; ValueError if its terms or keys are none that it can use."""
    module, name = KINDS[merchant.kind].adapter
    # Imported here: a door pays only for the adapters it uses, and some bring a library of their own.
    adapter: Provider = getattr(importlib.import_module(module), name)(merchant, keys)
    return adapter


def _made(merchant: Merchant) -> Provider:
    keys = merchant_keys.of(merchant.code)
    if not keys:
        raise UnknownProvider
    return made(merchant, keys)
