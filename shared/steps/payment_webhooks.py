"""A provider says that money came, or did not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from shared.payments import registry
from shared.steps import payment_received


def receive(provider: str, headers: Mapping[str, str], raw: bytes, now: datetime) -> str:
    """Verify a notification, record and apply its money, and return the acknowledgement the provider waits for.

    Refuses what is forged or stale with BadNotification: nothing is stored of it. A payment that failed is
    acknowledged and changes nothing: the order stays open to be paid another way.
    """
    channel = registry.provider(provider)
    charge = channel.parse_notification(headers, raw, now)
    if charge:
        payment_received.receive(charge.payment_id, charge, channel.code, now)
    return channel.ack
