"""A cloud of its own for each benchmark: ministack on a free port, with the tables of infra/tables.yaml."""

from __future__ import annotations

import base64
import importlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from infra.local.background import free_port
from infra.local.cloud import LocalCloud
from infra.local.sandbox import SandboxProvider
from shared.kernel import clock, ids, keyring, records, vault
from tests import conftest  # it sets the environment that `shared` reads when it is imported
from tests.shop import Inbox, Shop

ROOT = Path(__file__).parents[2]
SKU = "G020"  # of the sample catalogue: from stock


@contextmanager
def cloud() -> Iterator[LocalCloud]:
    """An empty cloud, whose address AWS_ENDPOINT_URL names while it lives; nothing of it is kept."""
    with tempfile.TemporaryDirectory(prefix="kaquan-bench-") as folder:
        running = LocalCloud(free_port(), Path(folder), env={"PERSIST_STATE": "0", "S3_PERSIST": "0"})
        records.Options.read_timeout_seconds = 120  # seconds; with 100,000 cards on a busy machine it may need them
        running.start()
        try:
            os.environ.pop("AWS_PROFILE", None)  # a developer's own account has no part in this
            os.environ |= conftest.ENVIRONMENT | {"AWS_ENDPOINT_URL": running.url, "NO_PROXY": "127.0.0.1"}
            _fill()
            yield running
        finally:
            running.stop()


@contextmanager
def shop() -> Iterator[Shop]:
    """A shop in such a cloud: the sample catalogue, no cards, and a payment provider that answers."""
    with tempfile.TemporaryDirectory(prefix="kaquan-bench-") as folder, cloud(), Inbox() as inbox:
        state = Path(folder) / "sandbox.sqlite"
        with SandboxProvider(state, keyring.text("SANDBOX_SECRET")) as provider:
            os.environ |= {"SANDBOX_URL": provider.url, "PUBLIC_URL": inbox.url}
            selling = Shop(provider, inbox)
            content = base64.b64encode((ROOT / "infra/local/sample/catalogue.csv").read_bytes()).decode()
            answer = selling.call("POST", "/console/catalogue", {"content": content}, groups="owner")
            assert answer.status == 200, answer
            yield selling


def stock(count: int) -> None:
    """Put cards on the shelf by batch writes of the real records: an import would take minutes for 100,000."""
    from shared.inventory import records as inventory

    now = clock.now()
    lot_id = ids.new("lot", now)
    key = vault.new_lot_key(lot_id)
    lot = inventory.new_lot(lot_id, "bench", "acme", "bench", key.wrapped, key.version, now)
    expires_on = clock.shanghai_day(now) + timedelta(days=90)
    with inventory.Card.batch_write() as batch:
        for _ in range(count):
            card_id = ids.new("crd", now)
            sealed = vault.seal(key, lot_id, card_id, vault.Secret(f"BENCH-{card_id[-16:].upper()}"))
            batch.save(inventory.new_card(card_id, SKU, lot, sealed, 91_000_000, expires_on, 1))


def plain(service: str) -> Any:
    """A boto3 client as anybody would make it."""
    return boto3.client(service, config=Config(retries={"max_attempts": 1}))


def door(name: str) -> Any:
    return importlib.import_module(f"functions.{name}.app").handler


def _fill() -> None:
    dynamodb = boto3.client("dynamodb")
    for definition in conftest.table_definitions():
        dynamodb.create_table(**definition)
    region = os.environ["AWS_DEFAULT_REGION"]
    boto3.client("s3").create_bucket(
        Bucket=os.environ["BUCKET"], CreateBucketConfiguration={"LocationConstraint": region}
    )
    os.environ["VAULT_KEY"] = boto3.client("kms").create_key()["KeyMetadata"]["Arn"]
    secrets = boto3.client("secretsmanager")
    for setting in conftest.SECRETS:
        ring = {"current": "1", "1": f"{setting}-".ljust(64, "x")}
        secrets.create_secret(Name=os.environ[setting], SecretString=json.dumps(ring))
    sqs = boto3.client("sqs")
    for queue in conftest.QUEUES:
        url = sqs.create_queue(QueueName=f"kaquan-test-{queue}")["QueueUrl"]
        os.environ[queue.upper().replace("-", "_") + "_QUEUE"] = url
