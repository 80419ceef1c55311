"""A shop seen from outside: what storefronts, buyers and operators do over HTTP. `make run` sells its card with it.

Also a command, so that an operator needs no program of their own:
  python -m infra.local.shop import-catalogue FILE
  python -m infra.local.shop import-cards FILE [--sku G020] [--supplier acme] [--shape code|number_password]
  python -m infra.local.shop statement [YYYY-MM-DD]
  python -m infra.local.shop buy SKU [QUANTITY]
  python -m infra.local.shop reviews
  python -m infra.local.shop approve|refuse REVIEW [--note WHY]
  python -m infra.local.shop token [ROLE]
"""

import argparse
import base64
import json
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from botocore.exceptions import BotoCoreError, ClientError

from infra.local import cloud
from infra.local.background import Failed, wait_until
from infra.local.cloud import LocalCloud
from infra.local.logins import ROLES, Login, token
from infra.local.sandbox import SandboxProvider
from shared.kernel import clock

OUTPUTS = cloud.ROOT / ".local" / "outputs.json"
SHOWN = 10  # refused lines on the terminal; more do not help a person who has the file open
CNY = "CNY"
SETTLED = ("delivered", "partly_delivered", "refunded", "expired", "cancelled")
HINTS = {  # what a refused line asks for, as this command says it
    "unknown_sku": "a file that does not name its SKUs needs --sku, such as --sku G020",
    "ambiguous": "state the shape: --shape code, or --shape number_password",
    "mixed_shape": "state the shape: --shape code, or --shape number_password",
    "bad_header": "the columns are sku, number, code, expires_on, cost and lot, or 商品编码 卡号 卡密 到期日 成本 批次",
}


class Refused(Failed):
    """The platform said no; the text is its own sentence."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        fields = ", ".join(f"{one['field']} is {one['reason']}" for one in problem.get("fields", []))
        said = f"{problem.get('detail', 'refused')} {fields}".strip()
        super().__init__(f"{said} ({status} {problem.get('code', '')})")
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

    def place(self, sku: str, quantity: int = 1) -> dict[str, Any]:
        wanted = {
            "lines": [{"sku": sku, "quantity": quantity}],
            "contact": {"email": f"{uuid.uuid4().hex[:12]}@example.com"},
            "payment_method": "sandbox",
            "client_ref": uuid.uuid4().hex,
        }
        return dict(self.call("POST", "/orders", wanted))

    def sell_one(self, sku: str) -> dict[str, Any]:
        """Place an order, pay it on the sandbox's page, wait for delivery, and read the card."""
        placed = self.place(sku)
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
    try:
        return Shop(outputs["api_url"], token(run, outputs["console_client_id"], login))
    except (BotoCoreError, ClientError):
        raise Failed(f"no local cloud of this folder answers at {run.url}: `make run` starts it") from None


def money(amount: Mapping[str, Any]) -> str:
    sign = "¥" if amount["currency"] == CNY else f"{amount['currency']} "
    return f"{'-' if amount['amount_minor'] < 0 else ''}{sign}{abs(amount['amount_minor']) / 100:,.2f}"


def card_report(report: Mapping[str, Any]) -> str:
    by_sku = ", ".join(f"{sku}: {count}" for sku, count in report["by_sku"].items())
    return f"taken in: {report['accepted']} ({by_sku or 'none new'}); refused: {report['refused_count']}"


def statement_lines(statement: Mapping[str, Any]) -> list[str]:
    """A day on a terminal, readable at a glance."""
    state = "closed" if statement["closed_at"] else "so far"
    lines = [f"  {statement['day']}, Shanghai time, {state}"]
    lines += [f"  {'SKU':<8}{'units':>6}{'sales':>12}{'refunds':>12}{'fees':>10}{'cost':>12}{'profit':>12}"]
    for row in [*statement["rows"], *(total | {"sku": "total"} for total in statement["totals"])]:
        figures = [money(row[name]) for name in ("sales", "refunds", "fees", "cost", "profit")]
        lines.append(
            f"  {row['sku'] or 'other':<8}{row['units']:>6}"
            + "".join(f"{figure:>{width}}" for figure, width in zip(figures, (12, 12, 10, 12, 12), strict=True))
        )
    lines += [
        f"  in transit  {one['account']:<24}{money(one['net']):>14}"
        for one in statement["in_transit"]
        if one["net"]["amount_minor"]
    ]
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
    for hint in dict.fromkeys(HINTS[row["reason"]] for row in report["refused"] if row["reason"] in HINTS):
        print(f"  {hint}")


def _buy(shop: Shop, sku: str, quantity: int) -> None:
    """Place an order that a person pays in a browser, and say what becomes of it."""
    placed = shop.place(sku, quantity)
    order, proof, status = f"/orders/{placed['order_id']}", placed["access_token"], placed["status"]
    print(f"{placed['order_id']} for {money(placed['total'])}. Open this and choose what happens:\n")
    print(
        f"  {placed['payment']['redirect_url']}\n\nwaiting for it; Ctrl-C ends the waiting, not the order", flush=True
    )
    while status not in SETTLED:
        time.sleep(1)
        before, status = status, shop.call("GET", order, bearer=proof)["status"]
        if status != before:
            hint = "; `reviews` lists it for a person to decide" if status == "review" else ""
            print(f"  {status}{hint}", flush=True)
    if status in ("delivered", "partly_delivered"):
        for card in shop.call("POST", f"{order}/reveal", bearer=proof)["cards"]:
            print("  " + "  ".join(filter(None, (card["sku"], card["number"], card["code"]))))


def _reviews(shop: Shop) -> None:
    waiting = shop.call("GET", "/console/reviews")["reviews"]
    for one in waiting:
        due = datetime.fromisoformat(one["due_at"]).astimezone(clock.SHANGHAI)
        why = ", ".join(f"{reason['zh']} / {reason['en']}" for reason in one["reasons"])
        print(f"{one['review_id']}  {one['order_id']}  {why}; refunded at {due:%H:%M} if nobody decides")
    if not waiting:
        print("no order waits for a person")


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
    commands.add_parser("statement", help="a day's results").add_argument("day", nargs="?", help="such as 2026-11-21")
    buy = commands.add_parser("buy", help="place an order, pay it in the browser, see what becomes of it")
    buy.add_argument("sku")
    buy.add_argument("quantity", type=int, nargs="?", default=1)
    commands.add_parser("reviews", help="list the doubtful orders that wait for a person")
    for decision, meaning in (("approve", "let a doubtful order go on"), ("refuse", "send its money back")):
        decide = commands.add_parser(decision, help=meaning)
        decide.add_argument("review", help="as `reviews` shows it")
        decide.add_argument("--note", default="")
    bearer = commands.add_parser("token", help="sign in and print the bearer token, for a program of your own")
    bearer.add_argument("role", choices=ROLES, nargs="?", default="owner")
    wanted = parser.parse_args(argv)
    try:
        if not OUTPUTS.exists():
            raise Failed("nothing is running here yet: `make run` first")
        outputs = json.loads(OUTPUTS.read_text())
        here = LocalCloud(int(outputs["cloud_port"]), cloud.ROOT / ".local" / "cloud")
        shop = operator(here, outputs, getattr(wanted, "role", "owner"))
        if wanted.command == "import-catalogue":
            report = shop.import_catalogue(wanted.file)
            print(f"{report['created']} new, {report['changed']} changed, {report['unchanged']} as before")
            _print_refused(report)
        elif wanted.command == "import-cards":
            report = shop.import_cards(wanted.file, wanted.sku, wanted.supplier, wanted.shape)
            print(card_report(report))
            _print_refused(report)
        elif wanted.command == "buy":
            _buy(Shop(shop.api_url), wanted.sku, wanted.quantity)
        elif wanted.command == "reviews":
            _reviews(shop)
        elif wanted.command in ("approve", "refuse"):
            path = f"/console/reviews/{quote(wanted.review, safe='')}/{wanted.command}"
            decided = shop.call("POST", path, {"note": wanted.note})
            print(f"{decided['order_id']}: {decided['state']}")
        elif wanted.command == "token":
            print(shop.bearer)
        else:
            today = clock.shanghai_day(clock.now()).isoformat()
            statement = shop.call("GET", f"/console/settlement/{wanted.day or today}")
            print("\n".join(statement_lines(statement)))
            for url in filter(None, (statement["csv_url"], statement["xlsx_url"])):
                print(f"\n  for five minutes at {url}")
    except Failed as failure:
        print(failure, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
