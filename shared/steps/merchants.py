"""Our accounts with payment providers, as an owner sets them up and staff see them."""

from __future__ import annotations

import time
from datetime import datetime

from shared.kernel import clock, ids
from shared.kernel.errors import NotFound
from shared.kernel.http import Caller
from shared.kernel.money import MILLION, Money
from shared.payments import merchant_keys, registry
from shared.payments import merchants as records
from shared.payments.contract import (
    GiveKeys,
    HealthView,
    MerchantChecked,
    MerchantList,
    MerchantView,
    SaveMerchant,
)
from shared.payments.errors import ProviderRefused, UnknownProvider
from shared.payments.kinds import KINDS
from shared.payments.merchants import Pulse
from shared.payments.provider import Attempt, Keys, Merchant, Outcome
from shared.steps import provider_calls
from shared.steps.partner_terms import NAME, Wrong, insist, wrong_names


def every(caller: Caller, now: datetime) -> MerchantList:
    """All of them, in the order in which buyers are sent to them."""
    found = records.listed()
    pulses = records.pulses([one.code for one in found])
    return MerchantList(merchants=[_view(one, pulses.get(one.code), caller, now) for one in found])


def save(code: str, wanted: SaveMerchant, caller: Caller, now: datetime) -> MerchantView:
    """Add an account, or change the terms of one; its provider and its currency stay what they are."""
    before = next((one for one in records.listed() if one.code == code), None)
    kind = KINDS[wanted.kind]
    merchant = Merchant(
        code=code,
        kind=wanted.kind,
        methods=tuple(wanted.methods),
        fee_e6=wanted.fee_e6,
        currency=wanted.currency,
        channels=tuple(wanted.channels),
        terms=wanted.terms,
        off=wanted.off,
    )
    wrong = [
        *([("merchant", "not_a_name")] if not NAME.fullmatch(code) else []),
        *([("merchant", "reserved")] if not registry.is_ours(code) else []),
        *[("methods", "unknown") for method in wanted.methods if method not in kind.methods],
        *wrong_names("terms", wanted.terms, kind.terms, kind.more),
        *([("kind", "cannot_change")] if before and before.kind != wanted.kind else []),
        *([("currency", "cannot_change")] if before and before.currency != wanted.currency else []),
    ]
    insist(wrong)
    keys = merchant_keys.fresh(code)
    if keys:
        insist(_unfit(merchant, keys[0], "terms"))
    records.save(merchant)
    registry.forget()
    return _view(merchant, records.pulses([code]).get(code), caller, now)


def give_keys(code: str, given: GiveKeys, caller: Caller, now: datetime) -> MerchantView:
    """New keys: they sign from now on, and what is signed with those before stays right until they are retired."""
    merchant = _merchant(code)
    insist(wrong_names("keys", given.keys, KINDS[merchant.kind].keys))
    insist(_unfit(merchant, given.keys, "keys"))
    merchant_keys.add(code, given.keys)
    return _view(merchant, records.pulses([code]).get(code), caller, now)


def retire_keys(code: str, caller: Caller, now: datetime) -> MerchantView:
    """Only the newest keys stay valid; saying so again changes nothing."""
    merchant = _merchant(code)
    if len(merchant_keys.fresh(code)) > 1:
        merchant_keys.retire(code)
    return _view(merchant, records.pulses([code]).get(code), caller, now)


def check(code: str, now: datetime) -> MerchantChecked:
    """Ask the provider for a payment that does not exist: a signed answer proves address, terms and keys."""
    _merchant(code)
    try:
        provider = registry.provider(code)
    except UnknownProvider:
        raise NotFound from None  # it has no keys yet
    attempt = Attempt(ids.new("pay", now), "", Money(1), "", now, reference="pi_nothing")
    began = time.monotonic()
    try:
        answered = provider_calls.counted(provider, lambda: provider.query(attempt, now), now).outcome
    except ProviderRefused:
        answered = Outcome.UNKNOWN
    return MerchantChecked(
        merchant=code, answers=answered is not Outcome.UNKNOWN, took_ms=round((time.monotonic() - began) * 1000)
    )


def _merchant(code: str) -> Merchant:
    for merchant in records.listed():
        if merchant.code == code:
            return merchant
    raise NotFound


def _unfit(merchant: Merchant, keys: Keys, field: str) -> Wrong:
    """What the adapter says against these terms and keys, before a buyer finds out."""
    try:
        registry.made(merchant, (keys,))
    except ValueError:
        return [(field, "unfit")]
    return []


def _view(merchant: Merchant, pulse: Pulse | None, caller: Caller, now: datetime) -> MerchantView:
    key_sets = len(merchant_keys.fresh(merchant.code))
    return MerchantView(
        merchant=merchant.code,
        kind=merchant.kind,
        methods=list(merchant.methods),
        fee_e6=merchant.fee_e6,
        currency=merchant.currency,
        channels=list(merchant.channels),
        terms=dict(merchant.terms),
        off=merchant.off,
        key_sets=key_sets,
        notify_url=f"{caller.base_url}/webhooks/payments/{merchant.code}",
        health=_health(merchant, pulse, key_sets, now),
    )


def _health(merchant: Merchant, pulse: Pulse | None, key_sets: int, now: datetime) -> HealthView:
    hour = records.behaviour(merchant.code, now)
    calls = hour.answered + hour.unanswered
    silent = int(pulse.silent) if pulse else 0
    out_until = str(pulse.out_until) if pulse and pulse.out_until and str(pulse.out_until) > clock.iso(now) else None
    states = {"off": merchant.off, "no_keys": not key_sets, "out": bool(out_until), "silent": silent > 0}
    return HealthView.model_validate(
        {
            "state": next((name for name, holds in states.items() if holds), "answering"),
            "calls": calls,
            "answered_e6": hour.answered * MILLION // calls if calls else None,
            "average_ms": hour.spent_ms // hour.answered if hour.answered else None,
            "silent_in_a_row": silent,
            "out_until": out_until,
            "last_notification_at": str(pulse.notified_at) if pulse and pulse.notified_at else None,
        }
    )
