"""A cloud of its own for each benchmark: ministack on a free port, with the tables of infra/tables.yaml."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from infra.local.background import free_port
from infra.local.cloud import LocalCloud
from infra.local.sandbox import SandboxProvider
from shared.kernel import clock, ids, keyring, records, vault
from tests import (
    conftest,  # it sets the environment that `shared` reads when it is imported
    imported,
)
from tests.shop import Inbox, Shop

ROOT = Path(__file__).parents[2]
SKU = "G020"  # of the sample catalogue: from stock


@contextmanager
def cloud() -> Iterator[pytest.MonkeyPatch]:
    """An empty cloud, named by the environment while it lives; nothing of it is kept."""
    with tempfile.TemporaryDirectory(prefix="kaquan-bench-") as folder, pytest.MonkeyPatch.context() as environment:
        environment.delenv("AWS_PROFILE", raising=False)  # a developer's own account has no part in this
        # Seconds; with 100,000 cards on a busy machine the local cloud may need them.
        environment.setattr(records.Options, "read_timeout_seconds", 120)
        running = LocalCloud(free_port(), Path(folder), env={"PERSIST_STATE": "0", "S3_PERSIST": "0"})
        running.start()
        try:
            environment.setenv("AWS_ENDPOINT_URL", running.url)
            conftest._forget_connections()  # a benchmark may want one cloud after the other
            conftest.fill(environment)
            yield environment
        finally:
            running.stop()


@contextmanager
def shop() -> Iterator[Shop]:
    """A shop in such a cloud: the sample catalogue, no cards, and a payment provider that answers."""
    with tempfile.TemporaryDirectory(prefix="kaquan-bench-") as folder, cloud() as environment, Inbox() as inbox:
        state = Path(folder) / "sandbox.sqlite"
        with SandboxProvider(state, keyring.text("SANDBOX_SECRET")) as provider:
            environment.setenv("SANDBOX_URL", provider.url)
            environment.setenv("PUBLIC_URL", inbox.url)
            selling = Shop(provider, inbox)
            seen = imported.catalogue((ROOT / "infra/local/sample/catalogue.csv").read_bytes(), clock.now())
            selling.done.add(seen.job_id)
            yield selling


def stock(count: int) -> None:
    """Put cards on the shelf by batch writes of the real records: an import would take minutes for 100,000."""
    from shared.inventory import records as inventory

    with inventory.Card.batch_write() as batch:
        for card in cards(count):
            batch.save(card)


def cards(count: int, shards: int = 1) -> Iterator[Any]:
    """Cards of one lot that are not stored yet."""
    from shared.inventory import lots
    from shared.inventory import records as inventory

    now = clock.now()
    lot_id = ids.new("lot", now)
    key = vault.new_lot_key(lot_id)
    lot = lots.new_lot(lot_id, "bench", "acme", "bench", key.wrapped, key.version, now)
    expires_on = clock.shanghai_day(now) + timedelta(days=90)
    for _ in range(count):
        card_id = ids.new("crd", now)
        sealed = vault.seal(key, lot_id, card_id, vault.Secret(f"BENCH-{card_id[-16:].upper()}"))
        yield inventory.new_card(card_id, SKU, lot, sealed, "••••", 91_000_000, expires_on, shards)


def plain(service: str) -> Any:
    """A boto3 client as anybody would make it."""
    return boto3.client(service, config=Config(retries={"max_attempts": 1}))


def door(name: str) -> Any:
    return importlib.import_module(f"functions.{name}.app").handler
