"""What is bought: for an order, attempt by attempt, with what only a person can decide; and for stock."""

import uuid
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.local import client
from infra.local.background import Failed
from infra.local.client import Refused, Shop, money
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
    "late": "delivered when its order needed it no more: what came lies in stock, or is claimed back",
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
    account = command(
        "account", _account, "show yourself whose account you are to top up by hand; written down for ever"
    )
    account.add_argument("number", help=NUMBER)
    account.add_argument("--reason", required=True, help="why you have to see it")
    settle = command("settle", _settle, "say what you have bought by hand, or have found out about an attempt")
    settle.add_argument("number", help=NUMBER)
    settle.add_argument(
        "outcome",
        choices=("delivered", "failed", "reversed"),
        help="failed: you are sure that nothing comes of it; reversed: he took back what he had delivered",
    )
    settle.add_argument("--note", required=True, help="how you know; kept")
    settle.add_argument("--cards", type=Path, metavar="FILE", help="of cards that came: a code, or number,code, a line")
    settle.add_argument("--pieces", type=int, default=0, help="of a top-up: how many were done")
    settle.add_argument(
        "--cost",
        type=terminal.an_amount,
        metavar="AMOUNT",
        help="what all of it cost, such as 182; of a failed one, what he keeps all the same",
    )
    settle.add_argument("--proof", default="", help="of a top-up: what shows that it was done")
    void = command("void", _void, "recall what a purchase brought, because it is said to be void")
    void.add_argument("number", help=NUMBER)
    void.add_argument("--by", choices=("issuer", "supplier"), required=True, help="who says so")
    void.add_argument("--note", required=True, help="his words; kept")
    void.add_argument("--whole-day", action="store_true", help="all of that SKU that he delivered on that day")
    command("to-buy", _to_buy, "list what should be bought for stock, and why, and what is on its way")
    order = command("order-stock", _order_stock, "say that you order for stock; its cards come by import-cards")
    order.add_argument("sku")
    order.add_argument("quantity", type=int)
    order.add_argument("--supplier", help="without this, the first of `to-buy` who sells so many")
    order.add_argument("--key", default="", help="what you had been told when no answer came")
    close = command("close-stock-order", _close, "say that the rest of an order for stock does not come any more")
    close.add_argument("order", help="as `to-buy` shows it")


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


def _account(shop: Shop, wanted: Namespace) -> None:
    found = shop.call("POST", f"/console/purchases/{part(wanted.number)}/account", {"reason": wanted.reason})
    print(f"  {found['sku']} of {found['supplier']} ({found['product']}), for")
    for name, value in found["account"].items():
        print(f"  {name}: {value}")


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


def _void(shop: Shop, wanted: Namespace) -> None:
    body = {"source": wanted.by, "note": wanted.note, "whole_day": wanted.whole_day}
    recall = shop.call("POST", f"/console/purchases/{part(wanted.number)}/void", body)
    print(f"  {recall['recall_id']} is {recall['state']}: `recalls` shows how far it is")


def _to_buy(shop: Shop, _: Namespace) -> None:
    advised = list(terminal.pages(shop, "/console/procurement", "advice"))
    for one in advised:
        lasts = f"{one['on_hand']} there, {one['on_order']} on their way, for {one['hours_left']} h"
        print(f"{one['sku']}  {one['title']}: buy {one['quantity']} ({lasts})")
        for why in one["reasons"]:
            print(f"  {why['zh']} / {why['en']}")
        for offer in one["offers"]:
            print(f"  {offer['supplier']} ({offer['product']}) for {terminal.price(offer['landed_e6'])} each")
    if not advised:
        print("nothing should be bought for stock; it is looked at after each closed day")
    for order in shop.call("GET", "/console/procurement")["on_their_way"]:
        print(_on_its_way(order))


def _on_its_way(one: Mapping[str, Any]) -> str:
    came = f"{one['received']} of {one['quantity']} × {one['sku']} of {one['supplier']} have come"
    return f"{one['order']}  {came}, {money(one['cost'])}, {one['state']}"


def _order_stock(shop: Shop, wanted: Namespace) -> None:
    body = {"sku": wanted.sku, "quantity": wanted.quantity} | ({"supplier": wanted.supplier} if wanted.supplier else {})
    key = wanted.key or uuid.uuid4().hex
    try:
        one = shop.call("POST", "/console/procurement/orders", body, key=key)
    except Refused:
        raise
    except Failed as failure:
        raise Failed(f"{failure}\nTo ask again without ordering twice, add: --key {key}") from None
    print(f"  {_on_its_way(one)}")
    print(
        f"  buy it; then: import-cards FILE --sku {one['sku']} --supplier {one['supplier']} --purchase {one['order']}"
    )


def _close(shop: Shop, wanted: Namespace) -> None:
    one = shop.call("POST", f"/console/procurement/orders/{part(wanted.order)}/close")
    print(f"  {_on_its_way(one)}")


def _cards(file: Path) -> list[dict[str, str | None]]:
    """Codes come in a file: what is typed stays in the shell's memory."""
    try:
        found = card_text.goods(client.content_of(file).decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise Failed(f"{file} is not in UTF-8") from None
    if not found:
        raise Failed(f"{file} has no cards, or lines that are none: a code, or number,code, in each line")
    return [{"code": one.code.code, "number": one.code.number} for one in found]
