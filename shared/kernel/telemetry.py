"""The three Powertools objects, once. Codes, contacts and tokens are never given to any of them."""

from __future__ import annotations

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit

from shared.kernel import settings

_SERVICE = settings.optional("POWERTOOLS_SERVICE_NAME", "kaquan")  # alarms look for the metrics of their own stage

logger = Logger(service=_SERVICE)
tracer = Tracer(service=_SERVICE, auto_patch=False)  # patching every library would triple the import time
metrics = Metrics(namespace="Kaquan", service=_SERVICE)


def count(name: str, value: float = 1) -> None:
    """Add to a metric that an alarm or the dashboard of infra/alarms.yaml reads."""
    metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)
