"""Stage prod, deployed beside the other: it sells for real money only, and knows no sandbox."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from infra.local.cloud import ROOT, LocalCloud
from tests.journeys.stack import Http, Stack

STACK = "kaquan-prod"


@pytest.fixture(scope="module")
def prod(stack: Stack) -> Mapping[str, str]:
    """The outputs of the stack. A sandbox provider is offered to it, too: it must not take it."""
    cloud: LocalCloud = stack.cloud
    cloud.deploy(STACK, {"Stage": "prod", "CloudUrl": cloud.url, "SandboxUrl": stack.provider.url})
    return cloud.outputs(STACK)


def test_prod_refuses_sandbox_payments(prod: Mapping[str, str]) -> None:
    wanted = {
        "lines": [{"sku": "G020", "quantity": 1}],
        "contact": {"phone": "13800138000"},
        "payment_method": "sandbox",
        "client_ref": "0123456789abcdef0123456789abcdef",
    }
    reply = Http().call("POST", f"{prod['ApiUrl']}/orders", wanted)
    assert (reply.status, reply.code) == (422, "unknown_payment_method")


def test_prod_has_no_webhook_of_the_sandbox(prod: Mapping[str, str], stack: Stack) -> None:
    url = f"{prod['ApiUrl']}/webhooks/payments/sandbox"
    reply = Http().call("POST", url, {"status": "paid"})
    assert (reply.status, reply.code) == (404, "unknown_provider")


def test_prod_has_no_secret_no_setting_and_no_permission_of_the_sandbox(prod: Mapping[str, str], stack: Stack) -> None:
    secrets = [one["Name"] for one in stack.client("secretsmanager").list_secrets()["SecretList"]]
    assert "kaquan-local-sandbox" in secrets
    of_prod = {name for name in secrets if name.startswith("kaquan-prod-")}
    assert of_prod == {"kaquan-prod-people", "kaquan-prod-pepper"}
    assert "SandboxSecret" not in prod
    functions = [
        one
        for page in stack.client("lambda").get_paginator("list_functions").paginate()
        for one in page["Functions"]
        if one["FunctionName"].startswith("kaquan-prod-")
    ]
    folders = {path.name for path in (ROOT / "functions").iterdir() if (path / "app.py").exists()}
    assert {one["FunctionName"] for one in functions} == {f"kaquan-prod-{name.replace('_', '-')}" for name in folders}
    for function in functions:
        settings = function["Environment"]["Variables"]
        assert not [name for name in settings if name.startswith("SANDBOX")], function["FunctionName"]
        assert "sandbox" not in json.dumps(_policies(stack, function["Role"]))


def _policies(stack: Stack, role_arn: str) -> list[Any]:
    iam, role = stack.client("iam"), role_arn.rpartition("/")[2]
    return [
        iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]
    ]
