"""Which providers this deployment has. The sandbox exists only where its settings do: never on stage prod."""

from __future__ import annotations

from shared.kernel import keyring, settings
from shared.payments.adapters.on_account import OnAccount
from shared.payments.adapters.sandbox import Sandbox
from shared.payments.errors import UnknownMethod, UnknownProvider
from shared.payments.provider import Provider


def methods() -> tuple[str, ...]:
    """What buyers may choose from."""
    return ("sandbox",) if settings.optional("SANDBOX_SECRET") else ()


def provider(code: str) -> Provider:
    """The provider that notifies us under this name, or UnknownProvider."""
    if code == OnAccount.code:
        return OnAccount()
    if code not in methods():
        raise UnknownProvider
    return Sandbox(
        settings.get("SANDBOX_URL"),
        settings.optional("SANDBOX_MERCHANT", "kaquan"),
        keyring.text("SANDBOX_SECRET").encode(),
    )


def method(name: str, *, on_account: bool = False) -> Provider:
    """The provider of a chosen payment method, or UnknownMethod; `on_account` is for callers whose account it is."""
    if on_account and name == OnAccount.code:
        return OnAccount()
    if name not in methods():
        raise UnknownMethod(payment_method=name[:32])
    return provider(name)
