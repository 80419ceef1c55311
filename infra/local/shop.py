"""A shop seen from outside: what storefronts, buyers and operators do over HTTP. `make run` sells its card with it.

Also a command, so that an operator needs no program of their own:
  python -m infra.local.shop import-catalogue FILE
  python -m infra.local.shop import-cards FILE [--sku G020] [--supplier acme] [--shape code|number_password]
  python -m infra.local.shop statement [YYYY-MM-DD]
"""

import argparse
import base64
import json
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.local import cloud
from infra.local.background import Failed, wait_until
from infra.local.cloud import LocalCloud
from infra.local.logins import Login, token
from infra.local.sandbox import SandboxProvider
from shared.kernel import clock

OUTPUTS = cloud.ROOT / ".local" / "outputs.json"
SHOWN = 10  # refused lines on the terminal; more do not help a person who has the file open
CNY = "CNY"


class Refused(Failed):
    """The platform said no; the text is its own sentence."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(f"{problem.get('detail', 'refused')} ({status} {problem.get('code', '')})")
        self.status, self.problem = status, problem


@dataclass(frozen=True)
class Shop:
    """One deployment's API; `bearer` is an operator's token, or an order's."""

    api_url: str
    bearer: str = ""

    def call(self, method: str, path: str, body: object = None, bearer: str = "") -> Any:
        headers = {"Content-Type": "application/json", "Accept-Language": "en"}
        if proof := bearer or self.bearer:
            headers["Authorization"] = f"Bearer {proof}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.api_url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            try:
                problem = json.load(error)
            except ValueError:
                problem = {}
            raise Refused(error.code, problem) from None
        except OSError as error:
            raise Failed(f"{self.api_url} does not answer ({error}): is it running? `make run` starts it") from None

    def import_catalogue(self, file: Path) -> dict[str, Any]:
        return dict(self.call("POST", "/console/catalogue", {"content": _encoded(file)}))

    def import_cards(self, file: Path, sku: str | None, supplier: str, shape: str | None = None) -> dict[str, Any]:
        wanted = {
            "file_name": file.name,
            "content": _encoded(file),
            "sku": sku,
            "supplier": supplier,
            "shape": shape,
        }
        return dict(self.call("POST", "/console/cards", wanted))

    def sell_one(self, sku: str) -> dict[str, Any]:
        """Place an order, pay it on the sandbox's page, wait for delivery, and read the card."""
        placed = self.call(
            "POST",
            "/orders",
            {
                "lines": [{"sku": sku, "quantity": 1}],
                "contact": {"email": f"{uuid.uuid4().hex[:12]}@example.com"},
                "payment_method": "sandbox",
                "client_ref": uuid.uuid4().hex,
            },
        )
        order, proof = f"/orders/{placed['order_id']}", placed["access_token"]
        SandboxProvider.pay(placed["payment"]["redirect_url"])
        wait_until(
            lambda: self.call("GET", order, bearer=proof)["status"] == "delivered",
            seconds=60,
            what=f"{placed['order_id']} was delivered; `make stop`, then read .local/cloud/cloud.log",
        )
        (card,) = self.call("POST", f"{order}/reveal", bearer=proof)["cards"]
        return {"order_id": placed["order_id"], "total": placed["total"], **card}


def operator(run: LocalCloud, outputs: Mapping[str, Any], role: str = "owner") -> Shop:
    """The shop as an operator of this role sees it."""
    login = next(Login(**login) for login in outputs["logins"] if login["role"] == role)
    return Shop(outputs["api_url"], token(run, outputs["console_client_id"], login))


def money(amount: Mapping[str, Any]) -> str:
    sign = "¥" if amount["currency"] == CNY else f"{amount['currency']} "
    return f"{sign}{amount['amount_minor'] / 100:,.2f}"


def card_report(report: Mapping[str, Any]) -> str:
    by_sku = ", ".join(f"{sku} {count}" for sku, count in report["by_sku"].items())
    return f"{report['accepted']} cards in ({by_sku or 'none new'}), {report['refused_count']} refused"


def statement_lines(statement: Mapping[str, Any]) -> list[str]:
    """A day on a terminal, readable at a glance."""
    lines = [f"  {'SKU':<8}{'units':>6}{'sales':>12}{'refunds':>12}{'fees':>10}{'cost':>12}{'profit':>12}"]
    for row in [*statement["rows"], *(total | {"sku": "total"} for total in statement["totals"])]:
        figures = [money(row[name]) for name in ("sales", "refunds", "fees", "cost", "profit")]
        lines.append(
            f"  {row['sku'] or '-':<8}{row['units']:>6}"
            + "".join(f"{figure:>{width}}" for figure, width in zip(figures, (12, 12, 10, 12, 12), strict=True))
        )
    lines += [f"  in transit  {one['account']:<24}{money(one['net']):>14}" for one in statement["in_transit"]]
    balance = ", ".join(money(amount) for amount in statement["trial_balance"]) or "nothing posted"
    return [*lines, f"  trial balance {balance}"]


def _encoded(file: Path) -> str:
    try:
        return base64.b64encode(file.read_bytes()).decode()
    except OSError as error:
        raise Failed(f"cannot read {file}: {error.strerror}") from None


def _print_refused(report: Mapping[str, Any]) -> None:
    for row in report["refused"][:SHOWN]:
        print(f"  line {row['line']}: {row['zh']} / {row['en']}")
    if report["refused_count"] > SHOWN:
        print(f"  … and {report['refused_count'] - SHOWN} more")


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m infra.local.shop", description="What an operator does, as commands."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    catalogue = commands.add_parser("import-catalogue", help="take a catalogue file in and publish it")
    catalogue.add_argument("file", type=Path)
    cards = commands.add_parser("import-cards", help="take a supplier's card file into stock")
    cards.add_argument("file", type=Path)
    cards.add_argument("--sku", help="what the cards are of, where the file does not say it itself")
    cards.add_argument("--supplier", default="unnamed")
    cards.add_argument("--shape", choices=["code", "number_password"], help="what a line is, where it is ambiguous")
    commands.add_parser("statement", help="a day's results").add_argument("day", nargs="?")
    wanted = parser.parse_args(argv)
    try:
        if not OUTPUTS.exists():
            raise Failed("nothing is running here yet: `make run` first")
        outputs = json.loads(OUTPUTS.read_text())
        shop = operator(LocalCloud(int(outputs["cloud_port"]), cloud.ROOT / ".local" / "cloud"), outputs)
        if wanted.command == "import-catalogue":
            report = shop.import_catalogue(wanted.file)
            print(f"{report['created']} new, {report['changed']} changed, {report['unchanged']} as before")
            _print_refused(report)
        elif wanted.command == "import-cards":
            report = shop.import_cards(wanted.file, wanted.sku, wanted.supplier, wanted.shape)
            print(card_report(report))
            _print_refused(report)
        else:
            today = clock.shanghai_day(clock.now()).isoformat()
            print("\n".join(statement_lines(shop.call("GET", f"/console/settlement/{wanted.day or today}"))))
    except Failed as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
