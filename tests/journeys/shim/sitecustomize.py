"""What the local cloud cannot show: who calls what of AWS, and processes, tables and streams that misbehave.

Python imports this module by itself at every start, because the journeys put its folder on the PYTHONPATH of their
cloud; only Lambda's workers take notice. tests/journeys/weather.py is the other end: it reads `calls.jsonl` and writes
`faults.json`, both in the folder that KAQUAN_SHIM names.
"""

import json
import os
import sys

FOLDER = os.environ.get("KAQUAN_SHIM", "")
FUNCTION = os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "")

# Which of the services' operations change something: a step may die after any of these.
WRITES = {
    *("PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems", "BatchWriteItem"),
    *("SendMessage", "SendMessageBatch", "PutObject", "DeleteObject", "DeleteObjects", "PutSecretValue"),
}
IN_TRANSACTION = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
}


class Invocation:
    """The one under way: a worker serves one event at a time."""

    text = ""
    writes = 0


class Faults:
    """What is armed for this function just now."""

    def __init__(self):
        self._path, self._stamp, self._armed = os.path.join(FOLDER, "faults.json"), None, []

    def of(self, kind):
        try:
            seen = os.stat(self._path)
        except FileNotFoundError:
            return []
        stamp = seen.st_mtime_ns, seen.st_ino
        if stamp != self._stamp:
            with open(self._path) as file:
                armed = json.load(file)
            self._stamp, self._armed = stamp, [one for one in armed if FUNCTION.endswith(one["function"])]
        return [one for one in self._armed if one["kind"] == kind and one.get("about", "") in Invocation.text]


def strike(fault):
    """True for the first process that comes here: a fault that strikes once, strikes once."""
    try:
        os.close(os.open(os.path.join(FOLDER, f"struck-{fault['id']}"), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def used(service, operation, given):
    """The permissions that IAM asks for this call: (action, resource) pairs."""
    if service == "dynamodb":
        if operation == "TransactWriteItems":
            parts = [(IN_TRANSACTION[verb], part) for item in given["TransactItems"] for verb, part in item.items()]
            return {(f"dynamodb:{verb}", part["TableName"]) for verb, part in parts}
        if operation in ("BatchGetItem", "BatchWriteItem"):
            return {(f"dynamodb:{operation}", table) for table in given["RequestItems"]}
        table, index = given.get("TableName", "-"), given.get("IndexName")
        return {(f"dynamodb:{operation}", f"{table}/index/{index}" if index else table)}
    if service == "sqs":
        action = {"SendMessageBatch": "SendMessage"}.get(operation, operation)
        return {(f"sqs:{action}", given["QueueUrl"].rpartition("/")[2])}
    if service == "s3":
        if operation == "DeleteObjects":
            return {("s3:DeleteObject", f"{given['Bucket']}/{one['Key']}") for one in given["Delete"]["Objects"]}
        action = {"HeadObject": "GetObject", "ListObjectsV2": "ListBucket"}.get(operation, operation)
        return {(f"s3:{action}", f"{given['Bucket']}/{given['Key']}" if "Key" in given else given["Bucket"])}
    if service == "secretsmanager":
        return {(f"secretsmanager:{operation}", given.get("SecretId") or given["Name"])}
    if service == "lambda":
        return {(f"lambda:{'InvokeFunction' if operation == 'Invoke' else operation}", given["FunctionName"])}
    if service == "kms":
        return {(f"kms:{operation}", given["KeyId"])}
    return {(f"{service}:{operation}", "-")}


def note(service, operation, given):
    lines = [
        json.dumps({"function": FUNCTION, "action": action, "resource": resource}) + "\n"
        for action, resource in sorted(used(service, operation, given))
    ]
    with open(os.path.join(FOLDER, "calls.jsonl"), "a") as file:
        file.write("".join(lines))


def wrap_calls():
    import random

    import botocore.client
    import botocore.signers
    from botocore.exceptions import ClientError

    faults, real = Faults(), botocore.client.BaseClient._make_api_call
    chance = random.Random(f"{FUNCTION} {os.getpid()}")
    pages = {}

    def refusal(code, operation, count=0):
        answer = {"Error": {"Code": code, "Message": f"{code} [by the shim]"}, "ResponseMetadata": {"HTTPHeaders": {}}}
        if count:
            loser = chance.randrange(count)
            answer["CancellationReasons"] = [
                {"Code": "TransactionConflict" if n == loser else "None"} for n in range(count)
            ]
        return ClientError(answer, operation)

    def storm(service, operation, given):
        for fault in faults.of("storm") if service == "dynamodb" else ():
            if operation == "TransactWriteItems" and chance.random() < fault.get("conflict", 0):
                raise refusal("TransactionCanceledException", operation, len(given["TransactItems"]))
            if operation in ("PutItem", "UpdateItem") and chance.random() < fault.get("conflict", 0):
                raise refusal("TransactionConflictException", operation)
            if chance.random() < fault.get("throttle", 0):
                raise refusal("ProvisionedThroughputExceededException", operation)

    def held_back(operation, given):
        """Part of a batch that DynamoDB will say it did not do."""
        for fault in faults.of("storm"):
            requests = given.get("RequestItems", {})
            table = next(iter(requests), None)
            if table and chance.random() < fault.get("unprocessed", 0):
                if operation == "BatchWriteItem" and len(requests[table]) > 1:
                    return {table: [requests[table].pop()]}
                if operation == "BatchGetItem" and len(requests[table]["Keys"]) > 1:
                    return {table: {**requests[table], "Keys": [requests[table]["Keys"].pop()]}}
        return None

    def stale(operation, given, answer):
        """Now and then the page of an index as it was the last time, as an eventually consistent read may give it."""
        if operation == "Query" and given.get("IndexName"):
            asked = json.dumps(given, sort_keys=True, default=str)
            before, pages[asked] = pages.get(asked), answer
            if before and any(chance.random() < fault.get("stale", 0) for fault in faults.of("storm")):
                return before
        return answer

    def call(self, operation, given):
        service = self.meta.service_model.service_name
        note(service, operation, given)
        storm(service, operation, given)
        rest = held_back(operation, given)
        if operation not in WRITES:
            answer = stale(operation, given, real(self, operation, given))
        else:
            for fault in faults.of("die"):
                if fault["after"] == Invocation.writes == 0 and strike(fault):
                    os._exit(1)
            Invocation.writes += 1
            try:
                answer = real(self, operation, given)
            finally:
                for fault in faults.of("die"):
                    if fault["after"] == Invocation.writes and strike(fault):
                        os._exit(1)
        if rest:
            name = "UnprocessedItems" if operation == "BatchWriteItem" else "UnprocessedKeys"
            answer = {**answer, name: rest}
        return answer

    def presign(self, ClientMethod, Params=None, *rest, **named):  # noqa: N803  # botocore's names
        operation = "".join(word.title() for word in ClientMethod.split("_"))
        note(self.meta.service_model.service_name, operation, Params or {})  # whoever follows the link acts for us
        return signed(self, ClientMethod, Params, *rest, **named)

    botocore.client.BaseClient._make_api_call = call
    signed = botocore.signers.generate_presigned_url
    botocore.signers.generate_presigned_url = presign
    return faults


def copies(record, fault):
    """0 for a lost record, 2 for a doubled one; which, hangs on the record alone: a retry sees the same weather."""
    import zlib

    number = zlib.crc32(f"{fault['seed']} {record.get('eventID')}".encode()) % 1000
    if number < fault["drop"] * 1000:
        return 0
    return 2 if number >= 1000 - fault["double"] * 1000 else 1


def wrap_handler(faults):
    import importlib

    real = importlib.import_module

    def import_module(name, package=None):
        module = real(name, package)
        if name == "app" and not hasattr(module, "shimmed"):
            inner, module.shimmed = module.handler, True

            def handler(event, context):
                Invocation.text, Invocation.writes = json.dumps(event), 0
                for fault in faults.of("streams"):
                    counts = [(record, copies(record, fault)) for record in event["Records"]]
                    with open(os.path.join(FOLDER, f"weather-{fault['id']}"), "a") as file:
                        file.write("".join(f"{count}\n" for _, count in counts))
                    event = {**event, "Records": [record for record, count in counts for _ in range(count)]}
                return inner(event, context)

            module.handler = handler
        return module

    importlib.import_module = import_module


if FOLDER and FUNCTION and "_LAMBDA_FUNCTION_ARN" in os.environ:
    sys.path[:] = [path for path in sys.path if path != os.path.dirname(__file__)]
    wrap_handler(wrap_calls())
