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
    "PEOPLE_SECRET": "kaquan-test-people",
    "PEPPER_SECRET": "kaquan-test-pepper",
    "SANDBOX_SECRET": "kaquan-test-sandbox",
    "SANDBOX_URL": "http://127.0.0.1:9",
    "API_URL": "http://127.0.0.1:9/api",
}
# Before `shared` is imported: records take their tables' names when they are defined.
os.environ.update(ENVIRONMENT)

from collections.abc import Iterator  # noqa: E402
from functools import cache  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import boto3  # noqa: E402
import pytest  # noqa: E402
import yaml  # noqa: E402
from moto import mock_aws  # noqa: E402

from shared.kernel import aws, keyring  # noqa: E402

ROOT = Path(__file__).parents[1]
QUEUES = ("risk-checks", "card-dispatch", "after-sales", "relay-failures")
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
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Empty tables, a bucket, a vault key, secrets and queues; gone after the test."""
    aws.client.cache_clear()
    keyring._read.clear()
    with mock_aws():
        dynamodb = boto3.client("dynamodb")
        for definition in table_definitions():
            dynamodb.create_table(**definition)
        region = os.environ["AWS_DEFAULT_REGION"]
        boto3.client("s3").create_bucket(
            Bucket=os.environ["BUCKET"], CreateBucketConfiguration={"LocationConstraint": region}
        )
        monkeypatch.setenv("VAULT_KEY", boto3.client("kms").create_key()["KeyMetadata"]["Arn"])
        secrets = boto3.client("secretsmanager")
        for setting in SECRETS:
            ring = {"current": "1", "1": f"{setting}-".ljust(64, "x")}
            secrets.create_secret(Name=os.environ[setting], SecretString=json.dumps(ring))
        sqs = boto3.client("sqs")
        for queue in QUEUES:
            url = sqs.create_queue(QueueName=f"kaquan-test-{queue}")["QueueUrl"]
            monkeypatch.setenv(queue.upper().replace("-", "_") + "_QUEUE", url)
        yield
    aws.client.cache_clear()
    keyring._read.clear()
