"""A provider says that money came, or did not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from shared.kernel.telemetry import count, logger
from shared.payments import registry
from shared.payments.errors import UnknownPayment
from shared.steps import payment_received


def receive(provider: str, headers: Mapping[str, str], raw: bytes, now: datetime) -> str:
    """Verify a notification, record and apply its money, and return the acknowledgement the provider waits for.

    Refuses what is forged or stale with BadNotification: nothing is stored of it. A payment that failed is
    acknowledged and changes nothing: the order stays open to be paid another way.
    """
    channel = registry.provider(provider)
    charge = channel.parse_notification(headers, raw, now)
    if charge:
        try:
            payment_received.receive(charge.payment_id, charge, channel.code, now)
        except UnknownPayment:
            # Its signature is good, so there is money that our books know nothing of: a person has to find out why.
            count("UnknownMoney")
            logger.error("money for an unknown payment", provider=channel.code, provider_no=charge.provider_no)
            raise
    return channel.ack
