"""Calls to payment providers, and what is learnt from each about how well it answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from shared.kernel.http import Caller
from shared.payments import merchants, registry
from shared.payments import records as payments
from shared.payments.errors import ProviderRefused
from shared.payments.provider import Intent, Outcome, PaymentRequest, PaymentStatus, Provider

T = TypeVar("T")


def begin(payment: payments.Payment, caller: Caller, return_url: str, payer: str, now: datetime) -> Intent:
    """How the buyer pays this attempt; asked again, the provider says the same. ProviderSilent or ProviderRefused."""
    provider = registry.provider(str(payment.provider))
    request = PaymentRequest(
        payment.attempt,
        notify_url=f"{caller.base_url}/webhooks/payments/{provider.code}",
        return_url=return_url,
        address=caller.address,
        payer=payer,
    )
    intent = counted(provider, lambda: provider.create(request, now), now)
    if intent.reference and intent.reference != payment.reference:
        payments.refer(str(payment.id), intent.reference)
    return intent


def counted(provider: Provider, call: Callable[[], T], now: datetime) -> T:
    """Make a call, and write down whether an answer came that can be trusted."""
    if not registry.is_ours(provider.code):
        return call()
    began, answered = time.monotonic(), False
    try:
        result = call()
        answered = (result.outcome if isinstance(result, PaymentStatus) else result) is not Outcome.UNKNOWN
    except ProviderRefused:
        answered = True
        raise
    finally:
        spent_ms = round((time.monotonic() - began) * 1000)
        merchants.tell(provider.code, answered, spent_ms, registry.silent(provider.code), now)
    return result
