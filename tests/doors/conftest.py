from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.local.sandbox import SandboxProvider
from shared.inventory import opening
from shared.kernel import clock, keyring
from shared.steps import card_dispatch, insights
from tests import imported
from tests.shop import Inbox, Shop


@pytest.fixture
def shop(cloud: None, tmp_path: Path) -> Iterator[Shop]:
    """A shop with the sample catalogue, no cards, and a provider that answers."""
    with new_shop(tmp_path) as shop:
        yield shop


@contextmanager
def new_shop(folder: Path) -> Iterator[Shop]:
    card_dispatch._issuing_lot.cache_clear()
    insights._kept.clear()
    opening._plain.cache_clear()
    secret = keyring.text("SANDBOX_SECRET")
    with (
        SandboxProvider(folder / "sandbox.sqlite", secret) as provider,
        Inbox() as inbox,
        pytest.MonkeyPatch.context() as environment,
    ):
        environment.setenv("SANDBOX_URL", provider.url)
        environment.setenv("PUBLIC_URL", inbox.url)
        shop = Shop(provider, inbox)
        shop.done |= imported.sample_catalogue(clock.now())
        yield shop
