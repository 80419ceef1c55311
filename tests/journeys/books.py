"""Whether money, cards and books agree with each other and with the provider's books, told from the tables alone."""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from tests.journeys.stack import SETTLED, Item, Stack

OF_MONEY = {
    *("payment", "late_money", "paid_twice", "after_refund", "too_little", "too_much", "other_currency"),
    "unknown_payment",
}
"""The entries that say what became of a charge: each charge has one of them."""

HOLDING = {"holding", "placed", "paid", "review", "cleared", "refused", "partly_delivered"}
"""An order in one of these may hold cards that are not sold."""


def wrong(stack: Stack) -> list[str]:
    """Everything that does not agree, in sentences; what is still under way counts as agreeing."""
    return [*_entries(stack), *_money(stack), *_cards(stack), *_purchases(stack)]


def balances(stack: Stack) -> Counter[str]:
    """What stands on each account, in minor units."""
    sums: Counter[str] = Counter()
    for entry in _of_ledger(stack):
        for account, amount, *_ in json.loads(entry["legs"]):
            sums[account] += amount
    return sums


def charges(stack: Stack) -> dict[str, list[tuple[str, int, int]]]:
    """By payment: the provider's number, what was charged, what was given back of it, as the provider has it."""
    with sqlite3.connect(stack.cloud.state_dir / "sandbox.sqlite") as db:
        refunded: Counter[str] = Counter()
        for provider_no, amount in db.execute(
            "SELECT provider_no, amount_minor FROM refunds WHERE error IS NULL AND settles_at <= ?", (time.time(),)
        ):
            refunded[provider_no] += amount
        found = defaultdict(list)
        for payment_id, provider_no, amount in db.execute(
            "SELECT payment_id, provider_no, amount_minor FROM charges WHERE charged_at <= ?", (time.time(),)
        ):
            found[payment_id].append((provider_no, amount, refunded[provider_no]))
    return dict(found)


def _of_ledger(stack: Stack) -> list[Item]:
    return [item for item in stack.table("ledger") if "legs" in item]


def _entries(stack: Stack) -> Iterator[str]:
    per_order: dict[tuple[str, str], int] = Counter()
    per_refund: dict[tuple[str, str], int] = Counter()
    for entry in _of_ledger(stack):
        if sum(leg[1] for leg in json.loads(entry["legs"])):
            yield f"entry {entry['entry_id']} does not balance"
        kind = str(entry["kind"])
        if kind in {"payment", "late_money", "delivery"}:
            per_order[kind, entry["order_id"]] += 1
        if entry.get("refund_id") and not entry.get("reverses"):
            per_refund["sent" if kind == "refund_sent" else "requested", entry["refund_id"]] += 1
    for (kind, about), times in [*per_order.items(), *per_refund.items()]:
        if times != 1:
            yield f"{about} has {times} postings of {kind}"


def _money(stack: Stack) -> Iterator[str]:
    heads = {item["order_id"]: item for item in stack.table("orders") if item["part"] == "head"}
    payments = stack.table("payments")
    received = {item["id"]: item for item in payments if item["id"].startswith("money#")}
    refunds = {item["id"]: item for item in payments if item["id"].startswith("ref_")}
    under_way = {item["order_id"] for item in refunds.values() if item["state"] not in {"succeeded", "failed"}}
    entries = _of_ledger(stack)
    uses = Counter(entry.get("order_id", "-") for entry in entries if entry["kind"] in OF_MONEY)
    sent = Counter(entry["refund_id"] for entry in entries if entry["kind"] == "refund_sent")

    applied = Counter(item["order_id"] for item in received.values() if item["state"] == "applied")
    for order_id in uses.keys() | applied.keys():
        if uses[order_id] != applied[order_id]:
            yield f"{order_id}: {applied[order_id]} charges applied, {uses[order_id]} posted"
    for refund_id, refund in refunds.items():
        if sent[refund_id] != (refund["state"] == "succeeded"):
            yield f"{refund_id} is {refund['state']} and was posted {sent[refund_id]} times"
    asked_back, unpaid = Counter[str](), Counter[str]()  # by money; by order, what waits to be paid by hand
    for refund in refunds.values():
        asked_back[f"money#{refund['provider']}#{refund['provider_no']}"] += int(refund["amount_minor"])
        unpaid[refund["order_id"]] += int(refund["amount_minor"]) if refund["state"] == "failed" else 0
    for money_id, money in received.items():
        if asked_back[money_id] > int(money["amount_minor"]):
            yield f"{money_id} is {money['amount_minor']}, and {asked_back[money_id]} of it go back"

    charged = charges(stack)
    elsewhere = Counter(
        item["order_id"] for item in payments if item["id"].startswith("pay_") and item["provider"] != "sandbox"
    )
    by_hand = Counter[str]()  # what went back past the provider
    for entry in entries:
        legs = json.loads(entry["legs"])
        by_hand[str(entry.get("order_id"))] -= sum(int(leg[1]) for leg in legs if leg[0] == "bank")
    for order_id, head in heads.items():
        if (
            head["status"] not in SETTLED
            or order_id in under_way
            or elsewhere[order_id]
            or head["provider"] != "sandbox"
        ):
            continue  # what is sold on account is charged by nobody, and other providers have books of their own
        of_order = [charge for payment_id in head["payments"] for charge in charged.get(payment_id, [])]
        if any(f"money#sandbox#{provider_no}" not in received for provider_no, *_ in of_order):
            continue  # a charge that nobody has told us of yet
        kept = sum(amount - back for _, amount, back in of_order) - by_hand[order_id]
        given_back = sum(json.loads(head.get("refunded") or "{}").values())
        owed = int(head["total_minor"]) - given_back if head["status"] == "delivered" else 0
        if kept != owed + unpaid[order_id]:
            yield f"{order_id} is {head['status']}, and we keep {kept} where it should be {owed}: {of_order}"


def _cards(stack: Stack) -> Iterator[str]:
    parts = stack.table("orders")
    status = {item["order_id"]: item["status"] for item in parts if item["part"] == "head"}
    lines: dict[str, list[Item]] = defaultdict(list)
    of_order: dict[str, set[str]] = defaultdict(set)
    for item in parts:
        if item["part"].startswith("line#"):
            lines[item["order_id"]].append(item)
        if item["part"].startswith(("line#", "cards#")):
            of_order[item["order_id"]].update(item["card_ids"])
    cards = stack.table("cards")
    order_of = {card["card_id"]: card.get("order_id") for card in cards}
    sold: Counter[str] = Counter()
    for card in cards:
        order_id = card.get("order_id")
        told = f"card {card['card_id']} is {card['state']} for {order_id}, which is {status.get(order_id)}"
        if card["state"] == "available":
            if order_id or card.get("shelf") != card["home"]:
                yield f"card {card['card_id']} is available and not on its shelf"
            continue
        if "shelf" in card:
            yield f"card {card['card_id']} is {card['state']} and on a shelf"
        if card["state"] in {"frozen", "expired", "void"}:
            if order_id:
                yield told
            continue
        if replaced := card.get("replaced_by"):
            if card["card_id"] in of_order[order_id] or order_of.get(replaced) != order_id:
                yield f"{told}, and {replaced} is not in its place"
            continue
        if card["card_id"] not in of_order[order_id]:
            yield f"{told}, but not in its lines"
        if card["state"] == "held" and status.get(order_id) not in HOLDING:
            yield told
        if card["state"] == "sold":
            sold[order_id] += 1
            if status.get(order_id) not in {"delivered", "refunding", "refunded"}:
                yield told
    for order_id, many in lines.items():
        wanted = sum(map(_cards_of, many))
        if status[order_id] == "delivered" and sold[order_id] != wanted:
            yield f"{order_id} is delivered with {sold[order_id]} of {wanted} cards"

    shown = {item["card_id"] for item in stack.table("cards", IndexName="shelf")}
    available = {card["card_id"] for card in cards if card["state"] == "available"}
    if shown != available:
        yield f"the shelf shows {len(shown)} cards where {len(available)} are available"
    # What is recalled is its supplier's again, what has expired or is void is nobody's.
    kept = [card for card in cards if card["state"] in {"available", "held"} and "recall_id" not in card]
    in_stock = Counter(card["sku"] for card in kept)
    known = Counter(card["sku"] for card in cards)
    booked = _booked(stack)
    for sku in booked.keys() | in_stock.keys():
        if booked[sku] != in_stock[sku]:
            yield f"the books have {booked[sku]} cards of {sku} in stock, the shelf and the holds {in_stock[sku]}"
    bought = Counter[str]()
    for attempt in _attempts(stack):
        bought[attempt["sku"]] += int(attempt.get("delivered", 0)) if attempt["delivers"] == "cards" else 0
    for sku, count in stack.stocked.items():
        if known[sku] != count + bought[sku]:
            yield f"{count + bought[sku]} cards of {sku} came, {known[sku]} are known"


def _cards_of(line: Item) -> int:
    """How many cards a line has once its order is delivered; what nobody sold to us was paid back."""
    if line.get("account_sealed"):
        return 0  # a top-up
    return int(line.get("got") or 0) if line["fulfilment"] == "purchase" else int(line["quantity"])


def _attempts(stack: Stack) -> list[Item]:
    return [item for item in stack.table("purchases") if "delivers" in item]


def _purchases(stack: Stack) -> Iterator[str]:
    """What came of purchases stands as a debt to each supplier, once, less what he was held to."""
    cost, rounded = Counter[str](), Counter[str]()
    lines = {
        (item["order_id"], f"{int(item['part'][5:]):02}"): item
        for item in stack.table("orders")
        if item["part"].startswith("line#")
    }
    got = Counter[tuple[str, str]]()
    for attempt in _attempts(stack):
        if attempt["state"] not in {"delivered", "late", "reversed"}:
            if int(attempt.get("delivered", 0)):
                yield f"{attempt['number']} is {attempt['state']} and delivered something"
            continue
        cost[attempt["supplier"]] += int(attempt["cost_e6"])
        rounded[attempt["supplier"]] += 1 + int(attempt.get("duplicates", 0))
        if attempt["state"] != "late":
            got[attempt["order_id"], attempt["part"].partition("#")[0]] += int(attempt["delivered"])
    for key, count in got.items():
        pieces, ordered = int(lines[key].get("got") or 0), int(lines[key]["quantity"])
        if pieces > min(ordered, count):
            yield f"{key} has {pieces} pieces, where {count} came and {ordered} were ordered"
    owed = Counter[str]()
    for entry in _of_ledger(stack):
        if entry["kind"] == "purchase":
            for account, amount, *_ in json.loads(entry["legs"]):
                if account.startswith("payable:"):
                    owed[account.removeprefix("payable:")] -= int(amount)
    for supplier in cost.keys() | owed.keys():
        # Each is rounded to the cent, so that many may differ by many halves.
        if abs(owed[supplier] * 10_000 - cost[supplier]) > 5_000 * rounded[supplier]:
            yield f"{owed[supplier]} fen are owed to {supplier}, whose deliveries cost {cost[supplier]} millionths"


def _booked(stack: Stack) -> Counter[str]:
    stock: Counter[str] = Counter()
    for entry in _of_ledger(stack):
        for leg in json.loads(entry["legs"]):
            account, _, sku, quantity = [*leg, None, None][:4]
            if account == "inventory":
                stock[str(sku)] += int(quantity or 0)
    return stock


def statement(stack: Stack, day: str) -> Any:
    return stack.console("GET", f"/settlement/{day}", role="finance").body
