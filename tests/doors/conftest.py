from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.sandbox import SandboxProvider
from shared.kernel import keyring
from shared.steps import card_dispatch, card_reveal
from tests.shop import Inbox, Shop

ROOT = Path(__file__).parents[2]


@pytest.fixture
def shop(cloud: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """A shop with the sample catalogue, no cards, and a provider that answers."""
    card_dispatch._issuing_lot.cache_clear()
    card_reveal._key.cache_clear()
    secret = keyring.text("SANDBOX_SECRET")
    with SandboxProvider(tmp_path / "sandbox.sqlite", secret) as provider, Inbox() as inbox:
        monkeypatch.setenv("SANDBOX_URL", provider.url)
        monkeypatch.setenv("PUBLIC_URL", inbox.url)
        shop = Shop(provider, inbox)
        content = base64.b64encode((ROOT / "infra/local/sample/catalogue.csv").read_bytes()).decode()
        assert shop.call("POST", "/console/catalogue", {"content": content}, groups="owner").body["created"] == 73
        yield shop
