"""template.yaml and the code say the same: functions, handlers, routes, triggers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chalice.app import Chalice

from infra import contract
from shared.risk.scoring import Outcome

TEMPLATE = contract.template()
FUNCTIONS = contract.functions()
DEFAULTS = TEMPLATE["Globals"]["Function"]
ROUTES = {(endpoint.path, endpoint.method): endpoint.door for endpoint in contract.endpoints()}


MAPPINGS = [
    (mapping["Properties"]["FunctionName"]["Ref"], mapping["Properties"])
    for mapping in TEMPLATE["Resources"].values()
    if mapping["Type"] == "AWS::Lambda::EventSourceMapping"
]
QUEUES = [(function, mapping) for function, mapping in MAPPINGS if "Queues." in str(mapping["EventSourceArn"])]
STREAMS = [(function, mapping) for function, mapping in MAPPINGS if "Tables." in str(mapping["EventSourceArn"])]


def by_name(value: object) -> str:
    return value if isinstance(value, str) else ""


def properties_of(logical_id: str) -> dict[str, Any]:
    return dict(TEMPLATE["Resources"][logical_id]["Properties"])


def called_by(folder: str) -> set[str]:
    """What wakes a function: the kinds of its events and mappings."""
    logical_id, properties = FUNCTIONS[folder]
    kinds = {event["Type"] for event in properties.get("Events", {}).values()}
    kinds |= {"Queue" for function, _ in QUEUES if function == logical_id}
    return kinds | {"Stream" for function, _ in STREAMS if function == logical_id}


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


@pytest.mark.parametrize("folder", sorted(contract.doors()))
def test_a_door_has_one_way_in(folder: str) -> None:
    if isinstance(getattr(contract.doors()[folder], "app", None), Chalice):
        assert called_by(folder) == {"Api"}
    else:
        assert "Api" not in called_by(folder)
        assert len(called_by(folder)) == (0 if folder == "sign_in" else 1)


def test_the_gateway_may_call_a_function_for_its_routes_and_for_no_others() -> None:
    allowed = {
        (event["Properties"]["Path"], event["Properties"]["Method"].upper()): folder
        for folder, (_, properties) in FUNCTIONS.items()
        for event in properties.get("Events", {}).values()
        if event["Type"] == "Api"
    }

    for route, folder in ROUTES.items():
        covering = {who for (path, method), who in allowed.items() if covers(path, method, *route)}
        assert covering == {folder}, route
    for (path, method), folder in allowed.items():
        assert any(covers(path, method, *route) for route, who in ROUTES.items() if who == folder), path


def covers(path: str, method: str, route: str, verb: str) -> bool:
    """Whether an Api event of the template speaks for a route: by the same path, or by a greedy one above it."""
    above = path.removesuffix("{proxy+}").removesuffix("*")
    return method in (verb, "ANY") and (path == route or (above != path and route.startswith(above)))


def test_two_functions_alone_can_decrypt_the_key_of_a_card() -> None:
    able: dict[str, set[str]] = {}
    for folder, (_, properties) in FUNCTIONS.items():
        for statement in statements_of(properties):
            if re.search(r"kms:(Decrypt|ReEncrypt\w*|\*)|'\*'|:\*'", str([statement["Action"]])):
                able.setdefault(folder, set()).update(purposes_of(statement))

    assert {folder for folder, purposes in able.items() if purposes != {"job"}} == {"card_reveal", "vault_keeping"}
    assert set(able) <= {"card_reveal", "vault_keeping", "bulk_jobs"}


def test_whoever_calls_suppliers_as_us_calls_from_the_one_address_where_there_is_one() -> None:
    keys = {
        folder for folder, (_, properties) in FUNCTIONS.items() if "SupplierSecrets" in str(statements_of(properties))
    }
    # Callbacks are only verified; whoever orders waits for no network of ours, and a supplier who refuses to say
    # whether an account is there is as one who cannot say.
    assert {folder for folder, (_, properties) in FUNCTIONS.items() if "VpcConfig" in properties} == keys - {
        "supplier_webhooks",
        "order_intake",
        "channel_gateway",
    }


def purposes_of(statement: dict[str, Any]) -> set[str]:
    """What the keys are for that a statement lets decrypt, by the encryption context that it insists on."""
    allowed = statement.get("Condition", {}).get("StringEquals", {}).get("kms:EncryptionContext:purpose", "anything")
    return {allowed} if isinstance(allowed, str) else set(allowed)


def statements_of(properties: dict[str, Any]) -> list[dict[str, Any]]:
    """Every statement of a function's policies; a policy that is only a name would hide its actions."""
    policies = properties.get("Policies", [])
    assert all(isinstance(policy, dict) and "Statement" in policy for policy in policies)

    def under(value: Any) -> Iterator[Any]:  # a statement may stand under an If
        if isinstance(value, dict):
            yield from [value] if "Action" in value else (one for v in value.values() for one in under(v))
        elif isinstance(value, list):
            yield from (one for item in value for one in under(item))

    return list(under(policies))


def test_there_is_a_trigger_for_every_queue_between_steps_and_for_every_stream() -> None:
    assert sorted(function for function, _ in QUEUES) == [
        "AfterSalesFunction",
        "BulkJobsFunction",
        "CardDispatchFunction",
        "PurchasingFunction",
        "RiskChecksFunction",
        "VaultKeepingFunction",
    ]
    assert [function for function, _ in STREAMS] == ["RelayFunction"] * 4 + ["InsightsFunction"]


@pytest.mark.parametrize(("function", "mapping"), QUEUES, ids=by_name)
def test_a_queue_trigger_reports_single_failures_and_keeps_its_workers_few(
    function: str, mapping: dict[str, Any]
) -> None:
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["BatchSize"] in range(1, 11)
    assert mapping["ScalingConfig"]["MaximumConcurrency"] in range(2, 33)


@pytest.mark.parametrize(("function", "mapping"), QUEUES, ids=by_name)
def test_a_queue_is_named_for_its_function_and_waits_for_it_and_has_a_place_for_what_is_hopeless(
    function: str, mapping: dict[str, Any]
) -> None:
    name = function.removesuffix("Function")
    queue = contract.template(contract.ROOT / "infra/queues.yaml")["Resources"][name]["Properties"]
    timeout = properties_of(function).get("Timeout", DEFAULTS["Timeout"])

    assert mapping["EventSourceArn"] == {"GetAtt": f"Queues.Outputs.{name}"}
    assert queue["QueueName"] == properties_of(function)["FunctionName"]
    assert queue["VisibilityTimeout"] >= 6 * timeout
    assert "deadLetterTargetArn" in queue["RedrivePolicy"]


@pytest.mark.parametrize(("function", "mapping"), STREAMS, ids=by_name)
def test_a_stream_trigger_gives_up_on_nothing_that_is_young(function: str, mapping: dict[str, Any]) -> None:
    assert mapping["StartingPosition"] == "TRIM_HORIZON"
    assert mapping["MaximumRecordAgeInSeconds"] >= 3_600
    assert "OnFailure" in mapping["DestinationConfig"]
    assert "FunctionResponseTypes" not in mapping, "not honoured everywhere; a raised error brings the batch again"


def test_whatever_is_counted_is_looked_at_and_nothing_else() -> None:
    sources = "\n".join(path.read_text("utf-8") for path in (contract.ROOT / "shared").rglob("*.py"))
    counted = {*re.findall(r'\bcount\("(\w+)"', sources), *(f"Risk{outcome.title()}" for outcome in Outcome)}

    alarms = (contract.ROOT / "infra/alarms.yaml").read_text("utf-8")
    looked_at = re.findall(r'Namespace: Kaquan\n +MetricName: (\w+)|\["Kaquan", "(\w+)"', alarms)
    assert counted == {alarm or shown for alarm, shown in looked_at}


@pytest.mark.parametrize("path", [contract.TEMPLATE, *contract.ROOT.glob("infra/*.yaml")], ids=lambda path: path.name)
def test_every_number_of_a_template_carries_its_reason(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    numbers = r"(Size|Timeout|Concurrency|Seconds|InDays|Limit|Attempts|Retries|Period|Periods|Threshold|Count)\w*: \d+"

    assert [line.strip() for line in lines if re.search(numbers, line) and "#" not in line] == []
