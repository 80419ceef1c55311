"""A cloud for single-threaded tests: moto, with the tables that infra/tables.yaml describes."""

from __future__ import annotations

import json
import os

ENVIRONMENT = {
    "STAGE": "test",
    "AWS_DEFAULT_REGION": "ap-southeast-1",
    "AWS_REGION": "ap-southeast-1",
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_EC2_METADATA_DISABLED": "true",
    "POWERTOOLS_TRACE_DISABLED": "true",
    "POWERTOOLS_DEV": "false",
    "BUCKET": "kaquan-test-files",
    "PASSING_BUCKET": "kaquan-test-passing",
    "PEOPLE_SECRET": "kaquan-test-people",
    "PEPPER_SECRET": "kaquan-test-pepper",
    "SANDBOX_SECRET": "kaquan-test-sandbox",
    "SANDBOX_URL": "http://127.0.0.1:9",
    "API_URL": "http://127.0.0.1:9/api",
    "SUPPLIER_SYNC_FUNCTION": "kaquan-test-supplier-sync",
}
# Before `shared` is imported: records take their tables' names when they are defined.
os.environ.update(ENVIRONMENT)

import urllib.request  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from contextlib import contextmanager  # noqa: E402
from functools import cache  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import hypothesis  # noqa: E402
import pytest  # noqa: E402
import yaml  # noqa: E402
from moto import mock_aws  # noqa: E402
from pynamodb.models import Model  # noqa: E402

from infra.local.background import free_port  # noqa: E402
from infra.local.cloud import LocalCloud  # noqa: E402
from shared.kernel import aws, key_sets, keyring, records  # noqa: E402
from shared.payments import registry  # noqa: E402
from shared.suppliers import registry as suppliers  # noqa: E402

# Left to itself it fails an example that takes 200 ms, which says more of the machine than of the code.
hypothesis.settings.register_profile("kaquan", deadline=None)
hypothesis.settings.load_profile("kaquan")

ROOT = Path(__file__).parents[1]
QUEUES = ("risk-checks", "card-dispatch", "purchasing", "after-sales", "bulk-jobs", "vault-keeping", "relay-failures")
SECRETS = ("PEOPLE_SECRET", "PEPPER_SECRET", "SANDBOX_SECRET")
_OF_CREATE_TABLE = ("AttributeDefinitions", "KeySchema", "BillingMode", "GlobalSecondaryIndexes")


class _Template(yaml.SafeLoader):
    """Reads CloudFormation: a short tag such as !Sub becomes its value alone."""


def _value_of_tag(loader: _Template, _: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    assert isinstance(node, yaml.MappingNode)
    return loader.construct_mapping(node, deep=True)


_Template.add_multi_constructor("!", _value_of_tag)


@cache
def table_definitions() -> tuple[dict[str, Any], ...]:
    """What infra/tables.yaml says of each table, as arguments of CreateTable."""
    template = yaml.load((ROOT / "infra" / "tables.yaml").read_text(), _Template)
    definitions = []
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::DynamoDB::Table":
            properties = resource["Properties"]
            definition = {name: properties[name] for name in _OF_CREATE_TABLE if name in properties}
            definition["TableName"] = properties["TableName"].replace("${Stage}", os.environ["STAGE"])
            if "StreamSpecification" in properties:
                definition["StreamSpecification"] = {"StreamEnabled": True, **properties["StreamSpecification"]}
            definitions.append(definition)
    return tuple(definitions)


@pytest.fixture
def cloud() -> Iterator[None]:
    """Empty tables, a bucket, a vault key, secrets and queues; gone after the test."""
    with new_cloud():
        yield


@contextmanager
def new_cloud() -> Iterator[None]:
    with mock_aws(), pytest.MonkeyPatch.context() as environment:
        _forget_connections()
        fill(environment)
        yield
    _forget_connections()


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """A local cloud of this test run's own, without functions: its DynamoDB is atomic, moto's is not."""
    running = LocalCloud(free_port(), tmp_path_factory.mktemp("ministack"), {"PERSIST_STATE": "0", "S3_PERSIST": "0"})
    running.start()
    yield running
    running.stop()


@pytest.fixture
def atomic_cloud(ministack: LocalCloud) -> Iterator[None]:
    """The same as `cloud`, on ministack: for many threads and for many items."""
    request = urllib.request.Request(f"{ministack.url}/_ministack/reset", method="POST")
    urllib.request.urlopen(request, timeout=10).close()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", ministack.url)
        _forget_connections()
        fill(environment)
        yield
    _forget_connections()


def fill(environment: pytest.MonkeyPatch) -> None:
    """Make what the templates make, and name it in the environment."""
    dynamodb = aws.client("dynamodb")
    for definition in table_definitions():
        dynamodb.create_table(**definition)
    region = os.environ["AWS_DEFAULT_REGION"]
    for bucket in (os.environ["BUCKET"], os.environ["PASSING_BUCKET"]):
        aws.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": region})
    environment.setenv("VAULT_KEY", aws.client("kms").create_key()["KeyMetadata"]["Arn"])
    secrets = aws.client("secretsmanager")
    for setting in SECRETS:
        ring = {"current": "1", "1": f"{setting}-".ljust(64, "x")}
        secrets.create_secret(Name=os.environ[setting], SecretString=json.dumps(ring))
    sqs = aws.client("sqs")
    for queue in QUEUES:
        url = sqs.create_queue(QueueName=f"kaquan-test-{queue}")["QueueUrl"]
        environment.setenv(queue.upper().replace("-", "_") + "_QUEUE", url)


def _forget_connections() -> None:
    """A warm process keeps its clients and keys; the next test lives in another cloud."""
    aws.client.cache_clear()
    keyring._read.clear()
    keyring._text.cache_clear()
    key_sets.forget()
    registry.forget()
    suppliers.forget()
    records._connection.cache_clear()
    models = [Model]
    while models:
        model = models.pop()
        model._connection = None
        models += model.__subclasses__()
