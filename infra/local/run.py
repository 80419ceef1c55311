"""`make run`, `make stop` and `make reset`: the whole platform on this machine, step by step."""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from infra.local import client, cloud, supply
from infra.local.background import Background, Failed, answers, wait_until
from infra.local.cloud import LocalCloud
from infra.local.commands import imports, orders
from infra.local.logins import logins
from shared.inventory import codes
from shared.kernel import clock

STAGE = "local"
STACK = f"kaquan-{STAGE}"
HOME = cloud.ROOT / ".local"
SAMPLE = cloud.ROOT / "infra" / "local" / "sample"
WIDTH = 110  # characters of a line that is written over
FIRST_SOLD = "V006"  # a membership of ¥19.80, far below every limit


@dataclass
class Run:
    """What the steps share. `outputs` becomes .local/outputs.json."""

    cloud: LocalCloud
    sandbox_port: int
    outputs: dict[str, Any] = field(default_factory=dict)
    doing: str = "…"  # beside the running seconds
    statement: dict[str, Any] = field(default_factory=dict)

    @property
    def sandbox_url(self) -> str:
        return f"http://127.0.0.1:{self.sandbox_port}"

    @property
    def providers(self) -> list[Background]:
        """Stand-ins of real payment providers, which pretend to take money."""
        return [_stand_in(self, kind, self.sandbox_port + n) for n, kind in enumerate(MERCHANTS, 1)]

    @property
    def suppliers(self) -> list[Background]:
        """Stand-ins of suppliers, which pretend to sell."""
        first = self.sandbox_port + 1 + len(MERCHANTS)
        return [_supplier(self, one, first + n) for n, one in enumerate(supply.SUPPLIERS)]

    def watch(self, view: dict[str, Any]) -> None:
        self.doing = imports.progress(view)


MERCHANTS: dict[str, dict[str, Any]] = {
    "wechat": {"methods": ["wechat_native", "wechat_h5", "wechat_jsapi"], "fee_e6": 6_000},
    "alipay": {"methods": ["alipay_qr", "alipay_page", "alipay_wap"], "fee_e6": 6_000},
}
"""What the local shop can be paid through beside the sandbox: kinds of providers, each with an account of ours."""

Step = Callable[[Run], str]


def start_cloud(run: Run) -> str:
    if os.environ.get("PORT", str(run.cloud.port)) != str(run.cloud.port):
        raise Failed(
            f"the local cloud of this folder was made for port {run.cloud.port} and cannot move: leave PORT out,"
            " or start afresh on another port with `make reset`, which forgets everything"
        )
    started = run.cloud.start()
    (run.cloud.state_dir / "port").write_text(str(run.cloud.port))
    return f"started at {run.cloud.url}" if started else f"is running at {run.cloud.url}"


def build_and_deploy(run: Run) -> str:
    parameters = {"Stage": STAGE, "CloudUrl": run.cloud.url, "SandboxUrl": run.sandbox_url}
    changed = run.cloud.deploy(STACK, parameters)
    stack = run.cloud.outputs(STACK)
    run.outputs |= {
        "api_url": stack["ApiUrl"],
        "user_pool_id": stack["UserPool"],
        "console_client_id": stack["ConsoleClient"],
        "sandbox_url": run.sandbox_url,
        "stack_name": STACK,
        "stage": STAGE,
        "region": cloud.REGION,
        "cloud_port": run.cloud.port,
    }
    return f"{STACK} is deployed" if changed else "nothing has changed"


def check_health(run: Run) -> str:
    url = f"{run.outputs['api_url']}/health"
    wait_until(lambda: answers(url), seconds=30, what=f"{url} answered 200; see {run.cloud.process.log}")
    return url


def make_logins(run: Run) -> str:
    run.outputs["logins"] = [asdict(login) for login in logins(run.cloud, run.outputs["user_pool_id"])]
    return ", ".join(login["role"] for login in run.outputs["logins"])


def start_sandbox(run: Run) -> str:
    secret = run.cloud.outputs(STACK)["SandboxSecret"]
    secret = run.cloud.client("secretsmanager").get_secret_value(SecretId=secret)["SecretString"]
    provider = _sandbox(run, secret)
    provider.stop()  # one from before a `make reset` would have another secret
    provider.start()
    return f"started at {run.sandbox_url}"


def start_providers(run: Run) -> str:
    owner = client.operator(run.cloud, run.outputs)
    for kind, provider in zip(MERCHANTS, run.providers, strict=True):
        provider.start()
        given = json.loads((run.cloud.state_dir / f"{kind}.sqlite.merchant.json").read_text())
        path = f"/console/merchants/{kind}"
        owner.call("PUT", path, {"kind": kind, "terms": given["terms"], **MERCHANTS[kind]})
        owner.call("POST", f"{path}/keys", {"keys": given["keys"]})
        if not owner.call("POST", f"{path}/check")["answers"]:
            raise Failed(f"the {kind} stand-in does not answer as it should; its log is {provider.log}")
    return ", ".join(f"{kind} answers" for kind in MERCHANTS)


def import_samples(run: Run) -> str:
    owner = client.operator(run.cloud, run.outputs)
    catalogue = owner.import_file("catalogue", SAMPLE / "catalogue.csv", watch=run.watch)["counts"]
    views = [
        owner.import_file("cards", SAMPLE / file, sku, run.watch, supplier="sample")
        for file, sku in [("steam_100.txt", "G020"), ("jd_100_gbk.txt", "C055"), ("memberships.csv", None)]
    ]
    failed = next((view for view in views if view["state"] != "done"), None)
    if failed:
        raise Failed(f"{failed['file_name']}: {failed['state']}, {failed['reason']}")
    total = sum(view["counts"]["done"] for view in views)
    speed = max(view["rows_per_second"] or 0 for view in views)
    skus = catalogue["done"]
    return f"{skus} SKUs, {total} new cards at up to {speed} a second" if total else f"{skus} SKUs, all cards are in"


def let_suppliers_in(run: Run) -> str:
    owner, operator = (client.operator(run.cloud, run.outputs, who) for who in ("owner", "operator"))
    for one, stand_in in zip(supply.SUPPLIERS, run.suppliers, strict=True):
        run.doing = one.code
        stand_in.start()
        given = json.loads((run.cloud.state_dir / f"{one.code}.sqlite.supplier.json").read_text())
        supply.let_in(one, f"http://127.0.0.1:{stand_in.port}", given, owner, operator)
    skus = sorted({sku for one in supply.SUPPLIERS for sku in one.sells})
    return f"{', '.join(one.code for one in supply.SUPPLIERS)} sell {', '.join(skus)}"


def sell_a_card(run: Run) -> str:
    sold = client.Shop(run.outputs["api_url"]).sell_one(FIRST_SOLD)
    return f"{sold['sku']} for {client.money(sold['total'])}, code {codes.mask(sold['code'])}"


def state_the_day(run: Run) -> str:
    today = clock.shanghai_day(clock.now()).isoformat()
    run.statement = client.operator(run.cloud, run.outputs).call("GET", f"/console/settlement/{today}")
    if any(amount["amount_minor"] for amount in run.statement["trial_balance"]):
        raise Failed("the trial balance is not 0: " + "; ".join(orders.statement_lines(run.statement)))
    return f"{today} in Shanghai, trial balance 0"


STEPS: list[tuple[str, Step]] = [
    ("local cloud", start_cloud),
    ("build and deploy", build_and_deploy),
    ("health", check_health),
    ("operators", make_logins),
    ("sandbox payments", start_sandbox),
    ("WeChat Pay and Alipay stand-ins", start_providers),
    ("sample catalogue and cards", import_samples),
    ("supplier stand-ins", let_suppliers_in),
    ("sell a card", sell_a_card),
    ("today's statement", state_the_day),
]


def start() -> None:
    began = time.monotonic()
    run = _run()
    for number, (title, step) in enumerate(STEPS, 1):
        run.doing = "…"
        with _progress(f"[{number}/{len(STEPS)}] {title}", lambda: run.doing) as done:
            done(step(run))
    (HOME / "outputs.json").write_text(json.dumps(run.outputs, indent=2, ensure_ascii=False) + "\n")
    print("\n" + "\n".join(orders.statement_lines(run.statement)))
    print(f"\nKaquan is ready after {time.monotonic() - began:.1f} s\n")
    print(f"  API       {run.outputs['api_url']}")
    print(f"  products  {run.outputs['api_url']}/products")
    print(f"  sandbox   {run.outputs['sandbox_url']}")
    print("\n  logins of the console API, which has no pages yet:")
    for login in run.outputs["logins"]:
        print(f"  {login['role']:<9} {login['username']:<22} {login['password']}")
    print(f"\n  To buy a card yourself, say: .venv/bin/python -m infra.local.shop buy {FIRST_SOLD}")
    print("  and to pay it through a WeChat or Alipay stand-in, add: --pay wechat_native, or --pay alipay_qr")
    print("  What is bought from a supplier stand-in when somebody orders it: buy V013,")
    print("  or a top-up: buy M014 --account phone=13800138000; then look with: purchases ORDER")
    print("  All that an operator can do: .venv/bin/python -m infra.local.shop --help")
    print("  All this is in .local/outputs.json. `make stop` keeps the state, `make reset` forgets it.")


def stop() -> None:
    run = _run()
    _stop_providers(run)
    print("stopped; its state is kept" if run.cloud.stop() else "was not running")


def reset() -> None:
    run = _run()
    _stop_providers(run)
    run.cloud.reset()
    (HOME / "outputs.json").unlink(missing_ok=True)
    print("the local cloud is empty")


def _run() -> Run:
    port = _port()
    return Run(LocalCloud(port, HOME / "cloud"), sandbox_port=port + 14)  # 4580, what the provider chooses itself


def _port() -> int:
    """The port that this cloud lives on since it was started first."""
    memory = HOME / "cloud" / "port"
    return int(memory.read_text() if memory.exists() else os.environ.get("PORT", 4566))


def _sandbox(run: Run, secret: str = "") -> Background:
    state = run.cloud.state_dir / "sandbox.sqlite"
    return Background(
        name="sandbox",
        command=[
            *(sys.executable, str(cloud.ROOT / "infra/local/sandbox_pay.py")),
            *("--port", str(run.sandbox_port), "--state", str(state)),
        ],
        folder=run.cloud.state_dir,
        port=run.sandbox_port,
        health_url=f"{run.sandbox_url}/health",
        env={"SANDBOX_SECRET": secret},
    )


def _stand_in(run: Run, kind: str, port: int) -> Background:
    state = run.cloud.state_dir / f"{kind}.sqlite"
    script = cloud.ROOT / "infra" / "local" / f"{kind}_pay.py"
    return Background(
        name=kind,
        command=[sys.executable, str(script), "--port", str(port), "--state", str(state)],
        folder=run.cloud.state_dir,
        port=port,
        health_url=f"http://127.0.0.1:{port}/health",
    )


def _supplier(run: Run, one: supply.Local, port: int) -> Background:
    state = run.cloud.state_dir / f"{one.code}.sqlite"
    script = cloud.ROOT / "infra" / "local" / "supplier_shop.py"
    return Background(
        name=one.code,
        command=[
            *(sys.executable, str(script), "--kind", one.kind, "--seed", str(one.seed)),
            *("--port", str(port), "--state", str(state)),
        ],
        folder=run.cloud.state_dir,
        port=port,
        health_url=f"http://127.0.0.1:{port}/health",
    )


def _stop_providers(run: Run) -> None:
    for provider in (_sandbox(run), *run.providers, *run.suppliers):
        provider.stop()


@contextmanager
def _progress(title: str, doing: Callable[[], str]) -> Iterator[Callable[[str], None]]:
    """Print one line for a step: its title, its time, what it says; on a terminal it says meanwhile what it does."""
    began, finished, said = time.monotonic(), threading.Event(), [""]

    def line(text: str) -> str:
        return f"{title:<34} {time.monotonic() - began:6.1f} s  {text}"

    def tick() -> None:
        while not finished.wait(0.2):
            print(f"{line(doing()):<{WIDTH}.{WIDTH}}", end="\r", flush=True)

    clock = threading.Thread(target=tick, daemon=True)
    if sys.stdout.isatty():
        clock.start()
    try:
        yield lambda text: said.__setitem__(0, text)
    except BaseException:
        said[0] = "failed"
        raise
    finally:
        finished.set()
        if clock.ident:
            clock.join()
        print(f"{line(said[0]):<{WIDTH}}" if clock.ident else line(said[0]), flush=True)


def main(command: str = "start") -> int:
    try:
        {"start": start, "stop": stop, "reset": reset}[command]()
    except Failed as failure:
        print(f"\n{failure}", file=sys.stderr)
        print("\nThe state is kept, and `make run` tries again. If nothing else helps: `make reset`", file=sys.stderr)
        print("starts afresh, but forgets every card and order of the local cloud.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
