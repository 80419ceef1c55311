"""What an operator does in a day, as commands that need no program of their own:

python -m infra.local.shop import-catalogue FILE
python -m infra.local.shop import-cards FILE [--sku G020] [--supplier acme] [--shape code|number_password]
python -m infra.local.shop undo-import JOB
python -m infra.local.shop stock SKU
python -m infra.local.shop recall LOT [--note WHY]
python -m infra.local.shop statement [YYYY-MM-DD]
python -m infra.local.shop buy SKU [QUANTITY]
python -m infra.local.shop reviews
python -m infra.local.shop approve|refuse REVIEW [--note WHY]
python -m infra.local.shop order ORDER
python -m infra.local.shop refund ORDER [--note WHY]
python -m infra.local.shop tasks
python -m infra.local.shop done TASK --note WHAT
python -m infra.local.shop paid-by-hand REFUND --note HOW
python -m infra.local.shop token [ROLE]
"""

import argparse
import json
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from infra.local import cloud
from infra.local.background import Failed
from infra.local.client import Shop, money, operator
from infra.local.cloud import LocalCloud
from infra.local.logins import ROLES
from shared.kernel import clock

OUTPUTS = cloud.ROOT / ".local" / "outputs.json"
TASKS = {
    "order_stuck": "an order that nothing moves; it is tried again once a day, or `refund` it",
    "refund_failed": "the provider refused a refund: pay it yourself, then `paid-by-hand`",
    "refund_stuck": "the provider does not say what became of a refund; it is asked on and on",
    "job_stuck": "an import, a recall or a change of keys does not get on; it is tried again",
    "low_stock": "a SKU is low: `import-cards`",
    "near_expiry": "cards will expire soon: sell them cheaper, or give them back",
    "make_good": "a recalled card could be neither replaced nor refunded: settle it with its buyer",
    "recall_done": "a recall has ended: look at what it has come to",
}
SETTLED = ("delivered", "partly_delivered", "refunded", "expired", "cancelled")
HINTS = {  # what a refused line asks for, as this command says it
    "unknown_sku": "a file that does not name its SKUs needs --sku, such as --sku G020",
    "ambiguous": "state the shape: --shape code, or --shape number_password",
    "mixed_shape": "state the shape: --shape code, or --shape number_password",
    "bad_header": "the columns are sku, number, code, expires_on, cost and lot, or 商品编码 卡号 卡密 到期日 成本 批次",
}


def card_report(view: Mapping[str, Any]) -> str:
    """What an import of cards has come to, in one line."""
    counts = view["counts"]
    said = f"taken in: {counts['done']} of {counts['lines'] - counts['skipped']}, {counts['duplicates']} known before"
    return f"{said}, {counts['refused'] - counts['duplicates']} refused"


def catalogue_report(counts: Mapping[str, int]) -> str:
    """What an import of the catalogue has come to."""
    return f"{counts['new']} new, {counts['changed']} changed, {counts['unchanged']} as before"


def progress(view: Mapping[str, Any]) -> str:
    """How far an import is."""
    counts = view["counts"]
    if view["state"] in ("checking", "checked"):
        return f"checking {view['file_name']}: {counts['lines']} lines"
    speed = f", {view['rows_per_second']} a second" if view["rows_per_second"] else ""
    left = f", {view['eta_seconds']} s left" if view["eta_seconds"] else ""
    return f"{view['file_name']}: {counts['done']} of {counts['new']} are in{speed}{left}"


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


def _print_refused(view: Mapping[str, Any]) -> None:
    for one in view["refused"]:
        print(f"  {one['rows']} × {one['zh']} / {one['en']}")
    for hint in [HINTS[one["reason"]] for one in view["refused"] if one["reason"] in HINTS]:
        print(f"  {hint}")
    if view["refused_url"]:
        print("  the refused rows, to be mended and imported again; the link lives a quarter of an hour:")
        print(f"  {view['refused_url']}")
    if view["reason"]:
        print(f"  {view['reason']['zh']} / {view['reason']['en']}")


def _watch(view: Mapping[str, Any]) -> None:
    if sys.stdout.isatty():
        print(f"{progress(view):<100}", end="\r", flush=True)


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


def _import_catalogue(shop: Shop, wanted: Namespace) -> None:
    view = shop.import_file("catalogue", wanted.file, watch=_watch)
    counts = view["counts"]
    print(f"{view['job_id']} {view['state']}: {catalogue_report(counts)}")
    _print_refused(view)


def _import_cards(shop: Shop, wanted: Namespace) -> None:
    shape = {"shape": wanted.shape} if wanted.shape else {}
    view = shop.import_file("cards", wanted.file, wanted.sku, _watch, supplier=wanted.supplier, **shape)
    print(f"{view['job_id']} {view['state']}: {card_report(view)}")
    _print_refused(view)
    for lot in view["lots"]:
        print(f"  {lot['lot_id']}: {lot['cards']} cards {lot['label']}".rstrip())


def _undo_import(shop: Shop, wanted: Namespace) -> None:
    path = f"/console/imports/{quote(wanted.job, safe='')}"
    view = shop.call("POST", f"{path}/undo")
    while view["state"] == "undoing":
        time.sleep(0.3)
        view = shop.call("GET", path)
    print(f"{view['job_id']} {view['state']}: {view['counts']['undone']} cards taken back")


def _stock(shop: Shop, wanted: Namespace) -> None:
    stock = shop.call("GET", f"/console/skus/{quote(wanted.sku, safe='')}/stock")
    print("  ".join(f"{state} {count}" for state, count in stock["levels"].items()))


def _recall(shop: Shop, wanted: Namespace) -> None:
    view = shop.call("POST", "/console/recalls", {"lot_id": wanted.lot, "reason": wanted.note})
    while view["state"] == "running":
        time.sleep(0.3)
        view = shop.call("GET", f"/console/recalls/{view['recall_id']}")
    made = f"{view['replaced']} replaced, {view['refunded']} refunded, {view['for_a_person']} left to you (`tasks`)"
    print(f"{view['recall_id']} {view['state']}: {view['frozen']} frozen, {view['sold']} sold: {made}")
    print(f"  claimed from the supplier: {money(view['claimed'])}")


def _statement(shop: Shop, wanted: Namespace) -> None:
    today = clock.shanghai_day(clock.now()).isoformat()
    statement = shop.call("GET", f"/console/settlement/{wanted.day or today}")
    print("\n".join(statement_lines(statement)))
    for url in filter(None, (statement["csv_url"], statement["xlsx_url"])):
        print(f"\n  for five minutes at {url}")


def _order(shop: Shop, wanted: Namespace) -> None:
    order = shop.call("GET", f"/console/orders/{quote(wanted.order, safe='')}")
    print(f"{order['order_id']}: {order['status']}, {money(order['total'])}, {order['contact']}, {order['placed_at']}")
    for line in order["lines"]:
        print(f"  {line['quantity']} × {line['sku']} {line['title']}  {money(line['amount'])}  {line['state']}")
    for name, said in (
        ("why", ", ".join(order["reasons"])),
        ("review", order["review_id"]),
        ("refund", order["refund_id"]),
    ):
        if said:
            print(f"  {name}: {said}")


def _decide(shop: Shop, wanted: Namespace) -> None:
    path = f"/console/reviews/{quote(wanted.review, safe='')}/{wanted.command}"
    decided = shop.call("POST", path, {"note": wanted.note})
    print(f"{decided['order_id']}: {decided['state']}")


def _refund(shop: Shop, wanted: Namespace) -> None:
    path = f"/console/orders/{quote(wanted.order, safe='')}/refunds"
    refund = shop.call("POST", path, {"reason": wanted.note})
    print(f"{refund['refund_id']}: {money(refund['amount'])} {refund['state']}")


def _paid_by_hand(shop: Shop, wanted: Namespace) -> None:
    path = f"/console/refunds/{quote(wanted.refund, safe='')}/paid-by-hand"
    refund = shop.call("POST", path, {"note": wanted.note})
    print(f"{refund['refund_id']}: {money(refund['amount'])} {refund['state']}")


def _tasks(shop: Shop, _: Namespace) -> None:
    waiting = shop.call("GET", "/console/tasks")["tasks"]
    for task in waiting:
        print(f"{task['task_id']}  since {task['opened_at']}: {TASKS.get(task['kind'], task['kind'])}")
    if not waiting:
        print("no task waits for you")


def _done(shop: Shop, wanted: Namespace) -> None:
    shop.call("POST", f"/console/tasks/{quote(wanted.task, safe='')}/close", {"note": wanted.note})
    print("done")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m infra.local.shop", description="What an operator does, as commands."
    )
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, act: Callable[[Shop, Namespace], None], meaning: str) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=meaning)
        one.set_defaults(act=act)
        return one

    command("import-catalogue", _import_catalogue, "take a catalogue file in and publish it").add_argument(
        "file", type=Path
    )
    cards = command("import-cards", _import_cards, "take a supplier's card file into stock")
    cards.add_argument("file", type=Path)
    cards.add_argument("--sku", help="what the cards are of, where the file does not say it itself")
    cards.add_argument("--supplier", default="unnamed")
    cards.add_argument("--shape", choices=["code", "number_password"], help="what a line is, where it is ambiguous")
    undo = command("undo-import", _undo_import, "take a whole import back while none of it is held or sold")
    undo.add_argument("job", help="as `import-cards` shows it")
    command("stock", _stock, "what there is of a SKU").add_argument("sku")
    recall = command("recall", _recall, "freeze a bad lot and make it good to its buyers")
    recall.add_argument("lot", help="as `import-cards` shows it")
    recall.add_argument("--note", default="bad lot", help="why")
    statement = command("statement", _statement, "a day's results")
    statement.add_argument("day", nargs="?", help="such as 2026-11-21")
    buy = command("buy", lambda shop, wanted: _buy(Shop(shop.api_url), wanted.sku, wanted.quantity), "buy a card")
    buy.add_argument("sku")
    buy.add_argument("quantity", type=int, nargs="?", default=1)
    command("order", _order, "show one order").add_argument("order", help="such as ord_…")
    command("reviews", lambda shop, _: _reviews(shop), "list the doubtful orders that wait for a person")
    for decision, meaning in (("approve", "let a doubtful order go on"), ("refuse", "send its money back")):
        decide = command(decision, _decide, meaning)
        decide.add_argument("review", help="as `reviews` shows it")
        decide.add_argument("--note", default="")
    refund = command("refund", _refund, "give the money of a delivered order back")
    refund.add_argument("order", help="such as ord_…")
    refund.add_argument("--note", default="operator", help="why")
    command("tasks", _tasks, "list what else needs a person")
    done = command("done", _done, "say that you have dealt with a task")
    done.add_argument("task", help="as `tasks` shows it")
    done.add_argument("--note", required=True, help="what you did")
    by_hand = command("paid-by-hand", _paid_by_hand, "record that you paid a refund which the provider refused")
    by_hand.add_argument("refund", help="such as ref_…")
    by_hand.add_argument("--note", required=True, help="how you paid it")
    bearer = command("token", lambda shop, _: print(shop.bearer), "sign in and print the bearer token")
    bearer.add_argument("role", choices=ROLES, nargs="?", default="owner")
    return parser


def main(argv: list[str]) -> int:
    wanted = _parser().parse_args(argv)
    try:
        if not OUTPUTS.exists():
            raise Failed("nothing is running here yet: `make run` first")
        outputs = json.loads(OUTPUTS.read_text())
        here = LocalCloud(int(outputs["cloud_port"]), cloud.ROOT / ".local" / "cloud")
        wanted.act(operator(here, outputs, getattr(wanted, "role", "owner")), wanted)
    except Failed as failure:
        print(failure, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
