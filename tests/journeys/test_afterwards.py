"""Runs last: what all journeys have left behind, in tables, books, queues, files, logs and the record of calls."""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, time, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from shared.jobs.states import WORKED_ON
from shared.kernel import clock
from tests.journeys import books, stockroom
from tests.journeys.stack import SETTLED, Stack, wait_for

HERE = Path(__file__).parent

NOT_BY_US = {
    "sqs:ReceiveMessage": "Lambda polls the queue with the function's role",
    "sqs:DeleteMessage": "Lambda deletes what was worked with the function's role",
    "sqs:GetQueueAttributes": "Lambda reads the queue's settings with the function's role",
    "dynamodb:DescribeStream": "Lambda reads the stream with the function's role",
    "dynamodb:GetRecords": "Lambda reads the stream with the function's role",
    "dynamodb:GetShardIterator": "Lambda reads the stream with the function's role",
    "dynamodb:ListStreams": "Lambda attaches no stream to a function whose role lacks it",
    "s3:ListBucket": "S3 asks for it where an object is not there: without it the answer would be 403",
}
"""Permissions that a function needs and does not use by a call of its own."""


class Grant(NamedTuple):
    function: str
    action: str
    resource: str


@pytest.fixture(scope="module", autouse=True)
def everything_has_ended(stack: Stack) -> None:
    """Whatever a journey left open is expired, refunded or delivered by the owner of time."""
    minutes = 20

    def ended() -> bool:
        nonlocal minutes
        if SETTLED.issuperset(stack.statuses().values()):
            return True
        stack.deadlines(minutes)
        minutes += 20
        return False

    wait_for(ended, "every order to come to an end", seconds=60)
    wait_for(lambda: not jobs_under_way(stack), "every job to come to an end", seconds=60)


def jobs_under_way(stack: Stack) -> list[str]:
    heads = [item for item in stack.table("jobs") if item["part"] == "head"]
    return [head["job_id"] for head in heads if head["state"] in WORKED_ON]


@pytest.fixture
def whole(request: pytest.FixtureRequest) -> None:
    """Skips unless all journeys have run before: only then can something be missed."""
    ran = {item.path.name for item in request.session.items}
    if missing := {path.name for path in HERE.glob("test_*.py")} - ran:
        pytest.skip(f"without {', '.join(sorted(missing))} nothing can be said about all journeys")


def test_no_money_is_on_its_way_and_the_trial_balance_is_zero(stack: Stack) -> None:
    assert books.wrong(stack) == []
    charges = [charge for many in books.charges(stack).values() for charge in many]
    assert charges
    standing = books.balances(stack)
    assert sum(standing.values()) == 0
    assert standing["deposits"] == standing["suspense"] == standing["refunds_due"] == 0
    assert standing["bank"] < 0, "one refund was paid by hand"
    kept = sum(amount - back for _, amount, back in charges)
    fees = sum(
        int(leg[1])
        for entry in stack.table("ledger")
        if entry.get("provider") == "sandbox"
        for leg in json.loads(entry.get("legs", "[]"))
        if leg[0] == "fees"
    )
    assert standing["receivable:sandbox"] == kept - fees


def test_every_card_that_came_is_somewhere(stack: Stack) -> None:
    assert books.wrong(stack) == []
    cards = stack.table("cards")
    assert {card["state"] for card in cards} <= {"available", "sold", "frozen", "expired", "void"}
    marks = stack.table("fingerprints")
    of_card = Counter((mark["card_id"], mark["fingerprint"].split("#")[1]) for mark in marks)
    assert set(of_card.values()) == {1}, "one for each pepper"
    marked = {card_id for card_id, _ in of_card}
    assert marked <= {card["card_id"] for card in cards}
    # A card that was taken back with its import loses its fingerprints to the one that comes in its place.
    assert {card["state"] for card in cards if card["card_id"] not in marked} <= {"void"}


def test_the_levels_are_what_the_cards_say(stack: Stack) -> None:
    counted: dict[str, Counter[str]] = defaultdict(Counter)
    for card in stack.table("cards"):
        counted[card["sku"]][card["state"]] += 1
    for sku, states in counted.items():
        stockroom.until_levels(stack, sku, **states)


def test_the_day_is_closed_once_and_does_not_change(stack: Stack) -> None:
    today = clock.shanghai_day(datetime.now(UTC))
    night = datetime.combine(today + timedelta(days=1), time(0, 25), clock.SHANGHAI).isoformat()
    stack.invoke("settlement", {"time": night})
    first = books.statement(stack, today.isoformat())
    stack.invoke("settlement", {"time": night})
    second = books.statement(stack, today.isoformat())
    assert first["closed_at"] == second["closed_at"] is not None
    assert first["sha256"] == second["sha256"]
    assert [balance["amount_minor"] for balance in first["trial_balance"]] == [0]
    of_today = [item for item in stack.table("ledger") if "legs" in item and item["book"].startswith(today.isoformat())]
    assert first["entries"] == len(of_today)


# --- canaries --------------------------------------------------------------------------------------------------------

CANARY = re.compile(rb"KQ-?CANARY-?[0-9A-F]{16}|199\d{8}|kq-[0-9a-f]{16}@canary\.example", re.IGNORECASE)
OF_FILE = re.compile(  # the codes and numbers in tests/data, as they stand there or without what parts their groups
    rb"(?<![0-9A-Z])(?:JD[0-9]{12}|(?:[0-9A-Z]{4}[- ]?){2,3}[0-9A-Z]{4})(?![0-9A-Z])", re.IGNORECASE
)
BASE64 = re.compile(rb"[A-Za-z0-9+/]{24,}={0,2}|[A-Za-z0-9_\-]{24,}")


def test_no_code_and_no_contact_lies_anywhere_in_clear(stack: Stack) -> None:
    known = {bare(code) for code in stack.canaries.codes} | stack.canaries.contacts
    issued = [code for code in stack.canaries.codes if not CANARY.match(code.encode()) and not in_a_file(code)]
    ours = re.compile("|".join(re.escape(code) for code in issued).encode(), re.IGNORECASE) if issued else CANARY

    places, leaks = set(), []
    for place, content in everything_stored(stack):
        places.add(place)
        for text in readings(content):
            found = {one.decode() for form in (CANARY, OF_FILE, ours) for one in form.findall(text)}
            leaks += [(place, one) for one in found if {one, bare(one)} & known]
    assert leaks == []
    assert {place.partition(" ")[0] for place in places} >= {"table", "object", "log", "file"}
    tables = {place.removeprefix(f"table kaquan-{stack.stage}-") for place in places if place.startswith("table ")}
    assert tables >= {"cards", "fingerprints", "jobs", "ledger", "levels", "lots", "orders", "views"}
    # The scan would find them: this is what a supplier's file looks like in a request that was logged.
    file = base64.b64encode("\n".join(sorted(stack.canaries.codes)).encode())
    assert any(CANARY.search(text) for text in readings(b'{"content": "' + file + b'"}'))


def bare(code: str) -> str:
    return code.replace("-", "").replace(" ", "").upper()


def in_a_file(code: str) -> bool:
    return bool(OF_FILE.fullmatch(code.encode()))


def readings(content: bytes) -> Iterator[bytes]:
    """The content as it is, unpacked, and whatever in it is base 64."""
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    yield content
    for run in BASE64.findall(content):
        for decode in (base64.b64decode, base64.urlsafe_b64decode):
            try:
                yield decode(run + b"=" * (-len(run) % 4))
            except binascii.Error:
                continue


def everything_stored(stack: Stack) -> Iterator[tuple[str, bytes]]:
    """Every item, message, object and line of a log."""
    dynamodb = stack.client("dynamodb")
    for table in dynamodb.list_tables()["TableNames"]:
        for page in dynamodb.get_paginator("scan").paginate(TableName=table):
            for item in page["Items"]:
                yield f"table {table}", json.dumps(item, default=_text, ensure_ascii=False).encode()
    sqs = stack.client("sqs")
    for url in sqs.list_queues()["QueueUrls"]:
        for body in (
            stack.messages(url.rpartition("/")[2].removeprefix(f"kaquan-{stack.stage}-"))
            if (f"kaquan-{stack.stage}-" in url)
            else ()
        ):
            yield f"queue {url}", body.encode()
    s3 = stack.client("s3")
    for bucket in s3.list_buckets()["Buckets"]:
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket["Name"]):
            for version in page.get("Versions", []):
                found = s3.get_object(Bucket=bucket["Name"], Key=version["Key"], VersionId=version["VersionId"])
                yield f"object {bucket['Name']}/{version['Key']}", found["Body"].read()
    yield from log_lines(stack)
    for path in [stack.cloud.process.log, *stack.cloud.state_dir.glob("*.log"), *stack.weather.folder.iterdir()]:
        yield f"file {path.name}", path.read_bytes()


def log_lines(stack: Stack) -> Iterator[tuple[str, bytes]]:
    logs = stack.client("logs")
    for groups in logs.get_paginator("describe_log_groups").paginate():
        for group in groups["logGroups"]:
            name = group["logGroupName"]
            for page in logs.get_paginator("filter_log_events").paginate(logGroupName=name):
                for event in page["events"]:
                    yield f"log {name}", event["message"].encode()


def _text(value: Any) -> str:
    """Binary attributes both as text, where they are text, and as they are."""
    raw = bytes(value)
    return f"{raw.decode(errors='replace')} {base64.b64encode(raw).decode()}"


# --- permissions -----------------------------------------------------------------------------------------------------


def test_every_call_of_a_function_is_allowed_by_its_policy(stack: Stack) -> None:
    grants = deployed_grants(stack)
    seen = {call for call in stack.weather.calls() if call.function.startswith(f"kaquan-{stack.stage}-")}
    assert seen, "the shim has recorded nothing"
    refused = [
        call
        for call in sorted(seen)
        if not any(
            grant.function == call.function and grant.action == call.action and allows(grant, call.resource)
            for grant in grants
        )
    ]
    assert refused == []


@pytest.mark.usefixtures("whole")
def test_every_permission_of_a_function_was_used(stack: Stack) -> None:
    seen = stack.weather.calls()
    unused = [
        grant
        for grant in deployed_grants(stack)
        if grant.action not in NOT_BY_US
        and not any(
            grant.function == call.function and grant.action == call.action and allows(grant, call.resource)
            for call in seen
        )
    ]
    assert unused == []


def test_no_policy_has_a_wildcard_action_and_few_may_decrypt(stack: Stack) -> None:
    grants = deployed_grants(stack)
    assert [grant for grant in grants if "*" in grant.action or grant.resource == "*"] == []
    kms = {(grant.function.removeprefix("kaquan-local-"), grant.action) for grant in grants if "kms:" in grant.action}
    assert kms == {
        ("card-reveal", "kms:Decrypt"),
        ("vault-keeping", "kms:Decrypt"),
        ("vault-keeping", "kms:Encrypt"),
        ("vault-keeping", "kms:GenerateDataKey"),
        ("bulk-jobs", "kms:Decrypt"),
        ("bulk-jobs", "kms:GenerateDataKey"),
        ("card-dispatch", "kms:GenerateDataKey"),
        ("purchasing", "kms:GenerateDataKey"),
        ("purchase-desk", "kms:GenerateDataKey"),
    }
    opens = {
        function.removeprefix("kaquan-local-"): set(many(statement["Condition"]["StringEquals"][PURPOSE]))
        for function, statement in deployed_statements(stack)
        if "kms:Decrypt" in many(statement["Action"])
    }
    assert opens == {"card-reveal": {"card", "job"}, "vault-keeping": {"card"}, "bulk-jobs": {"job"}}


PURPOSE = "kms:EncryptionContext:purpose"


def deployed_grants(stack: Stack) -> list[Grant]:
    """What the deployed roles allow, one by one."""
    return [
        Grant(function, action, resource)
        for function, statement in deployed_statements(stack)
        for action in many(statement["Action"])
        for resource in many(statement["Resource"])
    ]


def deployed_statements(stack: Stack) -> Iterator[tuple[str, dict[str, Any]]]:
    """What the deployed roles allow, function by function."""
    iam, functions = stack.client("iam"), stack.client("lambda").get_paginator("list_functions").paginate()
    for function in (one for page in functions for one in page["Functions"]):
        name, role = function["FunctionName"], function["Role"].rpartition("/")[2]
        if not name.startswith(f"kaquan-{stack.stage}-"):
            continue
        for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]:
            document = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
            for statement in (json.loads(document) if isinstance(document, str) else document)["Statement"]:
                yield name, statement


def many(value: str | Iterable[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


BEFORE_THE_NAME = {
    "dynamodb": ":table/",
    "lambda": ":function:",
    "s3": ":::",
    "secretsmanager": ":secret:",
    "sqs": ":",
}


def allows(grant: Grant, used: str) -> bool:
    """Whether the resource of a call is one of those that the grant names."""
    service = grant.action.partition(":")[0]
    before = BEFORE_THE_NAME.get(service, "")
    resource = grant.resource if used.startswith("arn:") else grant.resource.partition(before)[2]
    if service == "sqs" and not used.startswith("arn:"):
        resource = grant.resource.rpartition(":")[2]
    return fnmatchcase(used, resource)
