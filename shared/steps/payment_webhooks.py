"""A provider says that money came, or that a refund has ended."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime

from shared.kernel import queues
from shared.kernel.errors import Busy, NotFound
from shared.kernel.telemetry import count, logger
from shared.payments import merchants, registry
from shared.payments import records as payments
from shared.payments.errors import BadNotification
from shared.payments.provider import Ack, Charge, RefundNews
from shared.steps import payment_received
from shared.steps.relay import REFUNDS

NOTED_EVERY = 60.0  # seconds: who looks at a provider's health wants minutes, and each note is a write

_noted: dict[str, float] = {}


def receive(provider: str, headers: Mapping[str, str], raw: bytes, now: datetime) -> Ack:
    """Verify a notification, record and apply its money, and say what the provider waits to hear.

    What is forged or stale is refused in the provider's own words, and nothing is stored of it. A payment that failed
    is acknowledged and changes nothing: the order stays open to be paid another way. Nobody outside is asked meanwhile.
    """
    channel = registry.provider(provider)
    try:
        told = channel.parse_notification(headers, raw, now)
        if isinstance(told, Charge):
            payment_received.receive(told.payment_id, told, channel.code, now)
        elif isinstance(told, RefundNews):
            _ask_after(told.refund_id, channel.code)
    except BadNotification:
        count("NotificationRefused")
        logger.warning("a notification was refused", provider=channel.code)
        return channel.ack(False)
    except Busy:
        return channel.ack(False)  # it comes again
    _note(channel.code, now)
    return channel.ack(True)


def _ask_after(refund_id: str, provider: str) -> None:
    """News of a refund are a reason to ask; what is answered under our own question counts."""
    with suppress(NotFound):
        if payments.refund(refund_id).provider == provider:
            queues.send(REFUNDS, [{"refund_id": refund_id}])


def _note(provider: str, now: datetime) -> None:
    moment = time.monotonic()
    if registry.is_ours(provider) and moment - _noted.get(provider, -NOTED_EVERY) >= NOTED_EVERY:
        _noted[provider] = moment
        merchants.notified(provider, now)
