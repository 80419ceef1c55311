"""template.yaml and the code say the same: functions, handlers, routes, triggers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from chalice.app import Chalice

from infra import contract

TEMPLATE = contract.template()
FUNCTIONS = contract.functions()
DEFAULTS = TEMPLATE["Globals"]["Function"]
ROUTES = {(endpoint.path, endpoint.method): endpoint.door for endpoint in contract.endpoints()}


def events(folder: str, kind: str) -> list[dict[str, Any]]:
    _, properties = FUNCTIONS[folder]
    return [event["Properties"] for event in properties.get("Events", {}).values() if event["Type"] == kind]


def has(folder: str, kind: str) -> bool:
    return bool(events(folder, kind))


def test_every_function_has_its_folder_and_every_folder_its_function() -> None:
    assert set(FUNCTIONS) == set(contract.doors())


@pytest.mark.parametrize("folder", sorted(contract.doors()))
def test_a_function_is_called_everywhere_by_the_same_word(folder: str) -> None:
    logical_id, properties = FUNCTIONS[folder]

    assert logical_id == folder.replace("_", " ").title().replace(" ", "") + "Function"
    assert properties["CodeUri"] == f"functions/{folder}/"
    assert properties["FunctionName"] == {"Sub": f"kaquan-${{Stage}}-{folder.replace('_', '-')}"}


@pytest.mark.parametrize("folder", sorted(contract.doors()))
def test_a_handler_that_the_template_names_is_there(folder: str) -> None:
    module, name = FUNCTIONS[folder][1].get("Handler", DEFAULTS["Handler"]).split(".")

    assert module == "app"
    assert callable(getattr(contract.doors()[folder], name))


@pytest.mark.parametrize("folder", sorted(contract.doors()))
def test_a_function_folder_holds_its_door_and_nothing_else(folder: str) -> None:
    found = {path.name for path in (contract.ROOT / "functions" / folder).iterdir()} - {"__pycache__"}

    assert found == {"app.py"}


def test_every_route_is_in_the_gateway_with_its_own_function_and_nothing_else_is() -> None:
    wired = {
        (path, method.upper()): operation["x-amazon-apigateway-integration"]["uri"]["Fn::Sub"]
        for path, operations in contract.gateway()["paths"].items()
        for method, operation in operations.items()
    }

    assert set(wired) == set(ROUTES)
    for route, folder in ROUTES.items():
        name = FUNCTIONS[folder][1]["FunctionName"]["Sub"]
        alias = FUNCTIONS[folder][1].get("AutoPublishAlias")
        assert wired[route].endswith(f":function:{name}{f':{alias}' if alias else ''}/invocations")


def test_a_door_has_one_way_in() -> None:
    for folder, module in contract.doors().items():
        kinds = {event["Type"] for event in FUNCTIONS[folder][1].get("Events", {}).values()}
        if isinstance(getattr(module, "app", None), Chalice):
            assert kinds <= {"Api"}, folder
        else:
            assert "Api" not in kinds, folder
            assert len(kinds) == (0 if folder == "sign_in" else 1), folder


def test_an_api_event_in_the_template_is_a_route_of_that_door() -> None:
    for folder in FUNCTIONS:
        for event in events(folder, "Api"):
            route = (event["Path"], event["Method"].upper())
            assert event["Path"].endswith(("*", "{proxy+}")) or ROUTES.get(route) == folder


@pytest.mark.parametrize("folder", [folder for folder in sorted(FUNCTIONS) if has(folder, "SQS")])
def test_a_queue_trigger_reports_single_failures_and_keeps_its_workers_few(folder: str) -> None:
    for event in events(folder, "SQS"):
        assert event["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert 1 <= event["BatchSize"] <= 10
        assert event["ScalingConfig"]["MaximumConcurrency"] >= 2


@pytest.mark.parametrize("folder", [folder for folder in sorted(FUNCTIONS) if has(folder, "SQS")])
def test_a_queue_is_named_for_its_function_and_waits_for_it_and_has_a_place_for_what_is_hopeless(folder: str) -> None:
    logical_id, properties = FUNCTIONS[folder]
    queue = contract.template(contract.ROOT / "infra/queues.yaml")["Resources"][logical_id.removesuffix("Function")]

    assert logical_id.removesuffix("Function") in str(events(folder, "SQS")[0]["Queue"])
    assert queue["Properties"]["QueueName"] == properties["FunctionName"]
    assert queue["Properties"]["VisibilityTimeout"] >= 6 * properties.get("Timeout", DEFAULTS["Timeout"])
    assert "deadLetterTargetArn" in queue["Properties"]["RedrivePolicy"]


@pytest.mark.parametrize("folder", [folder for folder in sorted(FUNCTIONS) if has(folder, "DynamoDB")])
def test_a_stream_trigger_gives_up_on_nothing_that_is_young(folder: str) -> None:
    for event in events(folder, "DynamoDB"):
        assert event["StartingPosition"] == "TRIM_HORIZON"
        assert event["MaximumRecordAgeInSeconds"] >= 3_600
        assert "FunctionResponseTypes" not in event, "not honoured everywhere; a raised error brings the batch again"


@pytest.mark.parametrize("path", [contract.TEMPLATE, *contract.ROOT.glob("infra/*.yaml")], ids=lambda path: path.name)
def test_every_number_of_a_template_carries_its_reason(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    numbers = r"(Size|Timeout|Concurrency|Seconds|InDays|Limit|Attempts|Retries|Period|Periods|Threshold|Count)\w*: \d+"

    assert [line.strip() for line in lines if re.search(numbers, line) and "#" not in line] == []
