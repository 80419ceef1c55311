"""What was tried to buy for an order, and what only a person can decide about one attempt."""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.local import client
from infra.local.background import Failed
from infra.local.client import Shop, money
from infra.local.commands import terminal
from infra.local.commands.terminal import Command, part
from shared.suppliers import card_text

STATES = {
    "held": "waits for a person: nobody sells it for what it may cost (`allow` it, or its money goes back)",
    "created": "about to be sent",
    "sent": "sent",
    "unknown": "nobody knows yet whether it was bought: he is asked, and nothing is bought again",
    "accepted": "he has it, and has not delivered yet",
    "delivered": "delivered",
    "failed": "nothing was bought",
    "late": "delivered after it was given up: what came lies in stock, or is claimed back",
    "reversed": "delivered, and taken back by him",
}
NUMBER = "our number of the attempt, as `purchases` and its task show it"


def add(command: Command) -> None:
    command("purchases", _purchases, "show what was tried to buy for an order, of whom, and why").add_argument(
        "order", help="such as ord_…"
    )
    allow = command("allow", _allow, "let a purchase that waits for it cost more this time")
    allow.add_argument("number", help=NUMBER)
    allow.add_argument("most", type=terminal.an_amount, metavar="AMOUNT", help="what one piece may cost, such as 93.50")
    allow.add_argument("--note", required=True, help="why that is right; kept")
    settle = command("settle", _settle, "say what you have bought by hand, or have found out about an attempt")
    settle.add_argument("number", help=NUMBER)
    settle.add_argument(
        "outcome",
        choices=("delivered", "failed", "reversed"),
        help="failed: you are sure that nothing was bought; reversed: he took back what he had delivered",
    )
    settle.add_argument("--note", required=True, help="how you know; kept")
    settle.add_argument("--cards", type=Path, metavar="FILE", help="of cards that came: a code, or number,code, a line")
    settle.add_argument("--pieces", type=int, default=0, help="of a top-up: how many were done")
    settle.add_argument("--cost", type=terminal.an_amount, metavar="AMOUNT", help="what all of it cost, such as 182")
    settle.add_argument("--proof", default="", help="of a top-up: what shows that it was done")


def _purchases(shop: Shop, wanted: Namespace) -> None:
    found = shop.call("GET", f"/console/purchases?order_id={part(wanted.order)}")["attempts"]
    if not found:
        print("nothing was bought for it: it came from own stock, or nobody has paid yet")
    for one in found:
        print("\n".join(_lines(one)))


def _lines(one: Mapping[str, Any]) -> list[str]:
    of = f" of {one['supplier']} ({one['product']})" if one["supplier"] else ""
    why = f" ({one['reason']})" if one["reason"] else ""
    lines = [
        f"{one['number']}  {one['quantity']} × {one['sku']}{of}, at most {money(one['most'])} each",
        f"  {one['state']}{why}: {STATES[one['state']]}{_came(one)}",
    ]
    lines += [f"  could sell: {_choice(choice)}" for choice in one["choices"]]
    lines += [f"  left out: {left['supplier']} ({left['product']}): {left['reason']}" for left in one["left_out"]]
    lines += [_message(message) for message in one["messages"]]
    return lines


def _choice(one: Mapping[str, Any]) -> str:
    share = ", as far as his tier's share goes" if one["capped"] else ""
    probe = ", tried again after he had failed" if one["probe"] else ""
    return f"{one['supplier']} ({one['product']}) {one['quantity']} for {money(one['landed'])} each{share}{probe}"


def _came(one: Mapping[str, Any]) -> str:
    if not one["delivered"]:
        return ""
    twice = f", {one['duplicates']} of them known before" if one["duplicates"] else ""
    proof = f", {one['proof']}" if one["proof"] else ""
    return f"; {one['delivered']} came for {money(one['cost'])}{twice}{proof}"


def _message(one: Mapping[str, Any]) -> str:
    said = " ".join(filter(None, (one["outcome"], one["reason"], one["said"])))
    return f"  {terminal.at(one['at'])}  {one['what']}: {said}"


def _allow(shop: Shop, wanted: Namespace) -> None:
    body = {"most_minor": wanted.most, "note": wanted.note}
    one = shop.call("POST", f"/console/purchases/{part(wanted.number)}/allow", body)
    print(f"  a piece may cost {money(one['most'])}: it is tried again now")


def _settle(shop: Shop, wanted: Namespace) -> None:
    body = {
        "outcome": wanted.outcome,
        "note": wanted.note,
        "cards": _cards(wanted.cards) if wanted.cards else [],
        "pieces": wanted.pieces,
        "cost_minor": wanted.cost,
        "proof": wanted.proof,
    }
    one = shop.call("POST", f"/console/purchases/{part(wanted.number)}/settle", body)
    print(f"  {one['number']} is {one['state']}{_came(one)}")


def _cards(file: Path) -> list[dict[str, str | None]]:
    """Codes come in a file: what is typed stays in the shell's memory."""
    try:
        found = card_text.goods(client.content_of(file).decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise Failed(f"{file} is not in UTF-8") from None
    if not found:
        raise Failed(f"{file} has no cards, or lines that are none: a code, or number,code, in each line")
    return [{"code": one.code.code, "number": one.number or None} for one in found]
