"""From the notification that an order is paid until its card can be read, on the deployed local cloud."""

from __future__ import annotations

import os
import tempfile
import time
import urllib.request
from pathlib import Path
from statistics import median, quantiles

from infra.local.background import free_port
from infra.local.cloud import LocalCloud
from infra.local.sandbox import SandboxProvider
from tests.bench.report import Facts, Part, Row
from tests.conftest import ENVIRONMENT
from tests.journeys.stack import Buyer, Stack
from tests.journeys.weather import Weather

ROOT = Path(__file__).parents[2]
SKU = "G020"
ORDERS, WARM = 40, 5


def measure(facts: Facts) -> Part:
    """facts: those of the orders, whose steps called one after the other are the floor."""
    for name in ENVIRONMENT:  # settings of tests in one process must not become the functions'
        os.environ.pop(name, None)
    with tempfile.TemporaryDirectory(prefix="kaquan-bench-") as folder:
        home = Path(folder)
        cloud = LocalCloud(free_port(), home / "cloud")
        cloud.start()
        try:
            took = sorted(_deployed(cloud, home)[WARM:])
        finally:
            cloud.stop()
    floor = sum(facts["seconds"][step] for step in ("notification", "relay", "risk", "dispatch", "reveal"))
    text = "floor: the same steps in one process, without streams and queues"
    return Part(
        [
            Row("paid_to_readable.median", 1000 * median(took), "ms", 1000 * floor, "", text),
            Row("paid_to_readable.p95", 1000 * quantiles(took, n=20)[-1], "ms", 1000 * floor, "", text),
        ]
    )


def _deployed(cloud: LocalCloud, home: Path) -> list[float]:
    port = free_port()
    cloud.deploy("kaquan-local", {"Stage": "local", "CloudUrl": cloud.url, "SandboxUrl": f"http://127.0.0.1:{port}"})
    outputs = cloud.outputs("kaquan-local")
    secret = cloud.client("secretsmanager").get_secret_value(SecretId=outputs["SandboxSecret"])["SecretString"]
    with SandboxProvider(home / "sandbox.sqlite", secret, port=port) as provider:
        stack = Stack(cloud, "local", outputs, Weather(home), provider, secret)
        assert stack.import_catalogue((ROOT / "infra/local/sample/catalogue.csv").read_bytes())["state"] == "done"
        stack.stock(SKU, WARM + ORDERS)
        return [_one(stack, f"139{number:08d}") for number in range(WARM + ORDERS)]


def _one(stack: Stack, phone: str) -> float:
    """Seconds from pressing "paid" until the card was shown."""
    buyer = Buyer(stack, {"phone": phone})
    order = buyer.place(SKU)
    raw, headers = stack.notification(order, f"bench-{phone}")
    request = urllib.request.Request(
        f"{stack.api}/webhooks/payments/sandbox", raw, {"Content-Type": "application/json", **headers}
    )
    began = time.perf_counter()
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.read() == b"success"
    while buyer.try_to_reveal(order).status != 200:
        time.sleep(0.005)
    return time.perf_counter() - began
