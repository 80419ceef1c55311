"""The three Powertools objects, once. Codes, contacts and tokens are never given to any of them."""

from __future__ import annotations

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit

logger = Logger(service="kaquan")
tracer = Tracer(service="kaquan", auto_patch=False)  # patching every library would triple the import time
metrics = Metrics(namespace="Kaquan", service="kaquan")


def count(name: str, value: float = 1) -> None:
    """Add to a metric that an alarm or the dashboard of infra/alarms.yaml reads."""
    metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)
