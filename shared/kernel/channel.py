"""The one channel that every deployment has."""

from __future__ import annotations

from typing import Final

SHOP: Final = "shop"  # our own storefront: the channel of callers without a credential
