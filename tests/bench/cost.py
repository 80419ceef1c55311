"""What Kaquan costs on AWS: a month without a single order, and a thousand delivered orders. Computed, not billed.

Resources are counted in the templates as stage prod has them; calls, units and durations are those just measured;
prices are the list prices of prices.json, without any free tier.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from tests.bench.orders import FUNCTION
from tests.bench.report import Facts, Part, Row, columns
from tests.conftest import _Template

ROOT = Path(__file__).parents[2]
PRICES = json.loads((Path(__file__).parent / "prices.json").read_text())
IDLE_AIM = 10  # US dollars
MONTH_DAYS = 365.25 / 12
MINUTES, SECONDS = MONTH_DAYS * 24 * 60, MONTH_DAYS * 86_400
NOT_ON_PROD = ("NotProd", "Sandbox")

ORDERS = 1_000
API_STEPS = ("place", "notification", "status", "reveal")
RELAYED = 4  # moves of the head that the relay is woken for, when no two of them share a batch


def measure(facts: Facts) -> Part:
    """facts: those of the orders and of a run of the deadlines with nothing to do."""
    templates = [
        yaml.load(path.read_text(), _Template) for path in (ROOT / "template.yaml", *ROOT.glob("infra/*.yaml"))
    ]
    resources = [
        resource
        for template in templates
        for resource in template["Resources"].values()
        if resource.get("Condition") not in NOT_ON_PROD
    ]
    memory = _memory(templates[0])
    snapshots = _snapshots(templates[0], memory) * SECONDS * PRICES["idle_per_month"]["snapstart_cache_gb_second"]
    idle, orders = _idle(resources, memory, facts), _orders(memory, facts)
    rows = [
        Row("cost.idle_month", sum(idle.values()), "USD", idle["keys"] + idle["secrets"], f"≤ {IDLE_AIM}",
            "floor: the key and the secrets alone"),
        Row("cost.1000_orders", sum(orders.values()), "USD", orders["write units"], "",
            "floor: the write units alone"),
    ]  # fmt: skip
    said = f"{PRICES['about']} {PRICES['region']}, {PRICES['as_of']}; free tier {PRICES['free_tier']}."
    more = f"""Not in it: SnapStart, off by default; switched on, it keeps snapshots for {snapshots:.2f} a month.
Nor the material that the key's yearly rotation adds: 1.00 a month after a year, 2.00 after two."""
    return Part(
        rows,
        "\n\n".join(
            [
                said,
                _shown("a month without orders", idle),
                more,
                _shown("1,000 orders, with one look at the status each, without quotes and browsing", orders),
            ]
        ),
    )


def _idle(resources: list[dict[str, Any]], memory: dict[str, int], facts: Facts) -> dict[str, float]:
    price, million, assumed = PRICES["idle_per_month"], PRICES["per_million"], PRICES["assumed"]

    def count(kind: str) -> int:
        return sum(resource["Type"] == kind for resource in resources)

    queues = sum("Queues.Outputs" in str(one["Properties"]["EventSourceArn"]) for one in resources
                 if one["Type"] == "AWS::Lambda::EventSourceMapping")  # fmt: skip
    run = facts["deadlines"]
    return {
        "keys": count("AWS::KMS::Key") * price["AWS::KMS::Key"],
        "secrets": count("AWS::SecretsManager::Secret") * price["AWS::SecretsManager::Secret"],
        "alarms": count("AWS::CloudWatch::Alarm") * price["AWS::CloudWatch::Alarm"],
        "dashboard": count("AWS::CloudWatch::Dashboard") * price["AWS::CloudWatch::Dashboard"],
        "metric of overdue orders": price["custom_metric"],
        "polling of queues": queues * assumed["polls_per_queue_and_minute"] * MINUTES * million["sqs_request"] / 1e6,
        "deadlines, each minute": MINUTES
        * (
            million["lambda_request"] / 1e6
            + million["schedule"] / 1e6
            + million["trace"] / 1e6
            + run["read"] * million["dynamodb_read_unit"] / 1e6
            + _gb_seconds("DeadlinesFunction", memory, run["seconds"], run["cpu_seconds"]) * PRICES["lambda_gb_second"]
            + (run["log_bytes"] + assumed["platform_log_bytes_per_invocation"]) / 1e9 * PRICES["log_gb"]
        ),
    }


def _orders(memory: dict[str, int], facts: Facts) -> dict[str, float]:
    million, assumed = PRICES["per_million"], PRICES["assumed"]
    times = {step: RELAYED if step == "relay" else 1 for step in FUNCTION}
    invocations = sum(times.values())
    messages = sum(facts["calls"]["relay"].values())
    sent = messages * (1 + assumed["sqs_requests_of_lambda_per_message"])
    seconds = sum(
        _gb_seconds(FUNCTION[step], memory, facts["seconds"][step], facts["cpu_seconds"][step]) for step in FUNCTION
    )
    logged = facts["log_bytes"] + invocations * assumed["platform_log_bytes_per_invocation"]
    return {
        "write units": ORDERS * facts["write"] * million["dynamodb_write_unit"] / 1e6,
        "read units": ORDERS * facts["read"] * million["dynamodb_read_unit"] / 1e6,
        "API requests": ORDERS * len(API_STEPS) * million["api_request"] / 1e6,
        "invocations": ORDERS * invocations * million["lambda_request"] / 1e6,
        "time of functions": ORDERS * seconds * PRICES["lambda_gb_second"],
        "messages": ORDERS * sent * million["sqs_request"] / 1e6,
        "logs": ORDERS * logged / 1e9 * PRICES["log_gb"],
        "traces": ORDERS * invocations * assumed["traces_sampled"] * million["trace"] / 1e6,
    }


def _gb_seconds(function: str, memory: dict[str, int], seconds: float, cpu_seconds: float) -> float:
    """As measured here, with the processor time stretched to the share of a processor that the memory buys."""
    share = min(1.0, memory[function] / PRICES["assumed"]["memory_mb_of_one_processor"])
    return memory[function] / 1024 * (cpu_seconds / share + max(0.0, seconds - cpu_seconds))


def _memory(template: dict[str, Any]) -> dict[str, int]:
    usual = template["Globals"]["Function"]["MemorySize"]
    return {
        name: resource["Properties"].get("MemorySize", usual)
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }


def _snapshots(template: dict[str, Any], memory: dict[str, int]) -> float:
    """GB of functions that start from a snapshot where that is switched on."""
    return sum(memory[name] for name, one in template["Resources"].items() if "SnapStart" in one["Properties"]) / 1024


def _shown(what: str, parts: dict[str, float]) -> str:
    lines = [(name, f"{value:.4f}") for name, value in [*parts.items(), ("together", sum(parts.values()))]]
    return f"US dollars for {what}:\n" + columns(lines, right=(1,))
