"""What waits for a person: reviews, exports and destructions to be decided, tasks to be done."""

from argparse import Namespace
from datetime import datetime

from infra.local.background import Failed
from infra.local.client import Shop, money
from infra.local.commands import terminal, vault
from infra.local.commands.terminal import Command, part
from shared.kernel import clock

NO_ORDER = "-"
TASKS = {
    "order_stuck": "an order that nothing moves; it is tried again once a day, or `refund` it",
    "payment_unknown": "nobody says whether an order that has ended was paid: look at its provider, confirm it if so",
    "refund_failed": "the provider refused a refund: pay it yourself, then `paid-by-hand`",
    "refund_stuck": "the provider does not say what became of a refund; it is asked on and on",
    "job_stuck": "an import, a recall or a change of keys does not get on; it is tried again",
    "low_stock": "a SKU is low: `import-cards`, or `terms` to be told later",
    "near_expiry": "cards will expire soon (`near-expiry`): sell them cheaper, or give them back",
    "make_good": "a recalled card could be neither replaced nor refunded: settle it with its buyer",
    "unknown_money": "money came for nothing we know of (来历不明的款项，可原路退回): `give-back` it",
    "supplier_document_ends": "a supplier's document ends soon: ask him for a new one; `dossier` shows which",
    "supplier_document_over": "a supplier's document is over: nothing that rests on it is bought (`dossier`)",
    "supplier_stopped": "nothing is bought from a supplier (`suppliers` says why): look, then `resume-supplier`",
    "supplier_balance_low": "our balance with a supplier is low (余额不足): fill it up",
    "supplier_not_synced": "a supplier gives no list: his offers stop selling. `sync-supplier` or `price-list` again",
    "offers_renamed": "what you mapped is called otherwise now: `supplier-offers NAME --renamed`, then `map-offer`",
    "supplier_tier": "a supplier is trusted less in a family of SKUs: `scores` says why",
    "price_jump": "nobody sells it for what it may cost (涨价): `allow` it within four hours, or its money goes back",
    "purchase_unknown": "nobody can say whether it was bought: ask the supplier, then `settle` it; never buy it anew",
    "buy_by_hand": "buy it yourself (人工采购) of whom `purchases` names (`account`: for whom), then `settle` it",
    "purchase_altered": "an account is not what its buyer gave: nothing is bought; `refund` it, and ask how it came",
    "purchase_duplicates": "a supplier sold codes that were sold before (重复卡密): claim the money back from him",
    "purchase_twice": "a top-up was done twice: claim the money back from the supplier",
    "purchase_reversed": "a supplier took back what he had delivered: `purchases` says what; settle it with its buyer",
    "recall_done": "a recall has ended: look at what it has come to with `recalls`",
}


def add(command: Command) -> None:
    command("reviews", _reviews, "list the doubtful orders that wait for a person")
    for decision, meaning in (
        ("approve", "let a doubtful order, an export, the destruction of a lot or a confirmed payment go on"),
        ("refuse", "send a doubtful order's money back, or stop an export, a destruction or a confirmed payment"),
    ):
        decide = command(decision, _decide, meaning)
        decide.add_argument("what", help="rev_…, exp_…, job_… or cfm_…, as it was shown to you")
        decide.add_argument("--note", default="", help="of a review: why")
    command("tasks", _tasks, "list what else needs a person")
    done = command("done", _done, "say that you have dealt with a task")
    done.add_argument("task", help="as `tasks` shows it")
    done.add_argument("--note", required=True, help="what you did")
    command("confirmations", _confirmations, "list the payments that wait for a second person")
    back = command("give-back", _give_back, "send money that came for nothing we know of back where it came from")
    back.add_argument("money", help="such as money#…#…, as its task shows it")
    back.add_argument("--note", required=True, help="what you found out about it")
    by_hand = command("paid-by-hand", _paid_by_hand, "record that you paid a refund which the provider refused")
    by_hand.add_argument("refund", help="such as ref_…")
    by_hand.add_argument("--note", required=True, help="how you paid it")


def _reviews(shop: Shop, _: Namespace) -> None:
    waiting = shop.call("GET", "/console/reviews")["reviews"]
    for one in waiting:
        due = datetime.fromisoformat(one["due_at"]).astimezone(clock.SHANGHAI)
        why = ", ".join(f"{reason['zh']} / {reason['en']}" for reason in one["reasons"])
        print(f"{one['review_id']}  {one['order_id']}  {why}; refunded at {due:%H:%M} if nobody decides")
    if not waiting:
        print("no order waits for a person")


def _decide(shop: Shop, wanted: Namespace) -> None:
    kind, approved = wanted.what.partition("_")[0], wanted.command == "approve"
    if kind not in ("rev", "exp", "job", "cfm"):
        raise Failed(
            f"{wanted.what} is nothing to decide: rev_… (`reviews`), exp_… (`exports`), job_… (`destroy-lot`) or"
            " cfm_… (`confirmations`)"
        )
    if kind != "rev" and wanted.note:
        raise Failed("only a review takes a note")
    if kind == "rev":
        decided = shop.call("POST", f"/console/reviews/{part(wanted.what)}/{wanted.command}", {"note": wanted.note})
        print(f"{decided['order_id']}: {decided['state']}")
    elif kind == "cfm":
        decided = shop.call("POST", f"/console/confirmations/{part(wanted.what)}/{wanted.command}")
        print(f"{decided['order_id']}: {decided['state']} {decided['use'] or ''}".rstrip())
    elif approved:
        (vault.approve_export if kind == "exp" else vault.approve_destruction)(shop, wanted.what)
    else:
        group = "exports" if kind == "exp" else "destructions"
        shop.call("POST", f"/console/{group}/{part(wanted.what)}/refuse")
        print(f"{wanted.what} refused: nothing has happened")


def _confirmations(shop: Shop, _: Namespace) -> None:
    waiting = shop.call("GET", "/console/confirmations")["confirmations"]
    for one in waiting:
        about = f"{one['order_id']}  {money(one['amount'])}  {one['provider']} {one['provider_no']}"
        print(f"{one['confirmation_id']}  {about}  {one['asked_by']}: {one['note']}")
    if not waiting:
        print("no payment waits for a second person")


def _give_back(shop: Shop, wanted: Namespace) -> None:
    _, provider, number = (*wanted.money.split("#", 2), "", "")[:3]
    if not number:
        raise Failed(f"{wanted.money} is no money: money#…#…, as its task shows it")
    refund = shop.call("POST", f"/console/money/{part(provider)}/{part(number)}/refund", {"note": wanted.note})
    print(f"{refund['refund_id']}: {money(refund['amount'])} {refund['state']}")


def _tasks(shop: Shop, _: Namespace) -> None:
    waiting = shop.call("GET", "/console/tasks")["tasks"]
    for task in waiting:
        of = f", {task['order_id']}" if task["order_id"] != NO_ORDER else ""
        said = TASKS.get(task["kind"], task["kind"])
        print(f"{task['task_id']}{of}  since {terminal.at(task['opened_at'])}: {said}")
    print("`done TASK --note WHAT` when you have dealt with one" if waiting else "no task waits for you")


def _done(shop: Shop, wanted: Namespace) -> None:
    shop.call("POST", f"/console/tasks/{part(wanted.task)}/close", {"note": wanted.note})
    print("done")


def _paid_by_hand(shop: Shop, wanted: Namespace) -> None:
    refund = shop.call("POST", f"/console/refunds/{part(wanted.refund)}/paid-by-hand", {"note": wanted.note})
    print(f"{refund['refund_id']}: {money(refund['amount'])} {refund['state']}")
