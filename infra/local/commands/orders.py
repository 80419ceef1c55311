"""Orders and the day's results."""

import time
import uuid
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from infra.local.background import Failed
from infra.local.client import Refused, Shop, money
from infra.local.commands import terminal
from infra.local.commands.terminal import Command, part
from infra.local.commands.trace import card_table
from shared.kernel import clock

FIGURES = ("sales", "refunds", "fees", "cost", "write_offs", "profit")
SETTLED = ("delivered", "partly_delivered", "refunded", "expired", "cancelled")


def add(command: Command) -> None:
    buy = command("buy", _buy, "buy cards yourself, on their pay page")
    buy.add_argument("sku")
    buy.add_argument("quantity", type=int, nargs="?", default=1)
    buy.add_argument("--pay", metavar="METHOD", default="sandbox", help="such as wechat_native or alipay_qr")
    buy.add_argument(
        "--account",
        type=terminal.a_pair,
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="of a top-up: what it is for, such as phone=13800138000",
    )
    command("order", _order, "show one order, with its cards masked").add_argument("order", help="such as ord_…")
    refund = command("refund", _refund, "give the money of a delivered order back, or a part of it")
    refund.add_argument("order", help="such as ord_…")
    some = refund.add_mutually_exclusive_group()
    some.add_argument(
        "--lines", type=int, nargs="+", metavar="N", help="only these lines, as `order` lists them: the first is 1"
    )
    some.add_argument("--amount", type=terminal.an_amount, metavar="YUAN", help="only so much, such as 12.50")
    refund.add_argument("--key", default="", help="of a part: what you had been told when no answer came")
    refund.add_argument("--note", default="operator", help="why")
    statement = command("statement", _statement, "a day's results, so far or closed")
    statement.add_argument("day", type=terminal.a_day, nargs="?", help="such as 2026-11-21")


def statement_lines(statement: Mapping[str, Any]) -> list[str]:
    """A day on a terminal, readable at a glance."""
    state = "closed" if statement["closed_at"] else "so far"
    lines = [f"  {statement['day']}, Shanghai time, {state}"]
    lines += [_row("SKU", "through", "units", [name.replace("_", " ") for name in FIGURES])]
    for row in [*statement["rows"], *(total | {"sku": "total"} for total in statement["totals"])]:
        figures = [money(row[name]) for name in FIGURES]
        lines.append(_row(row["sku"] or "other", row["channel"], f"{row['units']:,}", figures))
    lines += [
        f"  in transit  {one['account']:<24}{money(one['net']):>14}"
        for one in statement["in_transit"]
        if one["net"]["amount_minor"]
    ]
    balance = ", ".join(money(amount) for amount in statement["trial_balance"]) or "nothing posted"
    return [*lines, f"  trial balance {balance}"]


def _row(sku: str, channel: str, units: str, figures: list[str]) -> str:
    return f"  {sku:<8}{channel:<10}{units:>6}" + "".join(f"{figure:>12}" for figure in figures)


def _buy(shop: Shop, wanted: Namespace) -> None:
    """Place an order that a person pays in a browser, and say what becomes of it."""
    shop = Shop(shop.api_url)  # a buyer is nobody here
    placed = shop.place(wanted.sku, wanted.quantity, wanted.pay, dict(wanted.account))
    payment = placed["payment"]
    if payment["problem"]:
        raise Failed(f"{placed['order_id']} is placed, but cannot be paid: {payment['problem']['en']}")
    order, proof, status = f"/orders/{placed['order_id']}", placed["access_token"], placed["status"]
    print(f"{placed['order_id']} for {money(placed['total'])}. Open this and choose what happens:\n")
    page = payment["redirect_url"] or payment["qr_url"]
    print(f"  {page}\n\nwaiting for it; Ctrl-C ends the waiting, not the order", flush=True)
    while status not in SETTLED:
        time.sleep(1)
        before, status = status, shop.call("GET", order, bearer=proof)["status"]
        if status != before:
            hint = "; `reviews` lists it for a person to decide" if status == "review" else ""
            print(f"  {status}{hint}", flush=True)
    if status in ("delivered", "partly_delivered"):
        for line in shop.call("GET", order, bearer=proof)["lines"]:
            _print_account(line)
        for card in shop.call("POST", f"{order}/reveal", bearer=proof)["cards"]:
            print("  " + "  ".join(filter(None, (card["sku"], card["number"], card["code"]))))


def _order(shop: Shop, wanted: Namespace) -> None:
    path = f"/console/orders/{part(wanted.order)}"
    order = shop.call("GET", path)
    placed = f"{terminal.at(order['placed_at'])}, through {order['channel']}"
    head = (order["status"], money(order["total"]), order["contact"], placed)
    print(f"{order['order_id']}: {', '.join(filter(None, head))}")
    for line in order["lines"]:
        print(f"  {line['quantity']} × {line['sku']} {line['title']}  {money(line['amount'])}  {line['state']}")
        _print_account(line)
    for name, said in (
        ("why", ", ".join(order["reasons"])),
        ("review", order["review_id"]),
        ("refund", order["refund_id"]),
        ("given back", money(order["refunded"]) if order["refunded"]["amount_minor"] else ""),
    ):
        if said:
            print(f"  {name}: {said}")
    if found := list(terminal.pages(shop, f"{path}/cards", "cards")):
        print(card_table({**card, "order_id": ""} for card in found))


def _print_account(line: Mapping[str, Any]) -> None:
    """Of a top-up: whose account it is, masked, how much has arrived there, and what shows it."""
    if line["account"]:
        whose = ", ".join(f"{name} {masked}" for name, masked in line["account"].items())
        proof = f", {line['proof']}" if line["proof"] else ""
        print(f"  {line['got'] or 0} of {line['quantity']} arrived at {whose}{proof}")


def _refund(shop: Shop, wanted: Namespace) -> None:
    """All of it is given back once, whoever asks; a part is named by a key, so that asking again gives it once."""
    path, asked = f"/console/orders/{part(wanted.order)}/refunds", {"reason": wanted.note}
    if wanted.lines is None and wanted.amount is None:
        refund = shop.call("POST", path, asked)
    else:
        some = {"lines": wanted.lines} if wanted.lines is not None else {"amount_minor": wanted.amount}
        key = wanted.key or uuid.uuid4().hex
        try:
            refund = shop.call("POST", path, {**asked, **some}, key=key)
        except Refused:
            raise
        except Failed as failure:
            raise Failed(f"{failure}\nTo ask again without giving back twice, add: --key {key}") from None
    print(f"{refund['refund_id']}: {money(refund['amount'])} {refund['state']}")


def _statement(shop: Shop, wanted: Namespace) -> None:
    today = clock.shanghai_day(clock.now()).isoformat()
    statement = shop.call("GET", f"/console/settlement/{wanted.day or today}")
    print("\n".join(statement_lines(statement)))
    for url in filter(None, (statement["csv_url"], statement["xlsx_url"])):
        print(f"\n  for five minutes at {url}")
