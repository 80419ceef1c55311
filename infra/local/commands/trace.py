"""Where cards came from and where they went; and recall, which follows them both ways."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from infra.local.background import Failed
from infra.local.client import Shop, money
from infra.local.commands import terminal
from infra.local.commands.terminal import Command, part, table, watching

LISTED = 100  # cards or lots on a terminal; more than that nobody reads
MADE_GOOD = {"open": "waits", "person": "left to you (`tasks`)", "skipped": "nothing is owed"}


def add(command: Command) -> None:
    lots = command("lots", _lots, "list a supplier's lots, or those of a purchase")
    _which(lots, lot=False)
    one = command("lot", _lot, "show where a lot came from and what has become of it")
    one.add_argument("lot", help="such as lot_…")
    one.add_argument("--cards", action="store_true", help="list its cards, too")
    command("card", _card, "show where a card is and who has looked at its code").add_argument("card", help="crd_…")
    buyer = command("buyer", _buyer, "find what a phone number or an e-mail address has ordered")
    buyer.add_argument("contact", help="such as 13800138000, or ann@example.com")
    recall = command("recall", _recall, "freeze bad cards, and make the sold ones good to their buyers")
    _which(recall, lot=True)
    recall.add_argument("--reason", required=True, help="why; kept with the recall")
    recall.add_argument("--yes", action="store_true", help="do not ask before it begins")
    recalls = command("recalls", _recalls, "list the recalls, or show one with what became of each sold card")
    recalls.add_argument("recall", nargs="?", help="such as rcl_…")


def _which(one: ArgumentParser, lot: bool) -> None:
    which = one.add_mutually_exclusive_group(required=True)
    if lot:
        which.add_argument("--lot", help="such as lot_…")
    which.add_argument("--purchase", help="the number of our purchase")
    which.add_argument("--supplier", help="such as acme; a period may go with it")
    one.add_argument("--from", dest="first", type=terminal.a_day, metavar="DAY", help="first day, in Shanghai")
    one.add_argument("--to", dest="last", type=terminal.a_day, metavar="DAY", help="last day, in Shanghai")


# --- trace -----------------------------------------------------------------------------------------------------------


def card_table(found: Iterable[Mapping[str, Any]]) -> str:
    """Cards between their suppliers and their buyers, masked."""
    rows = [
        (
            *(card["card_id"], card["sku"], card["mask"], card["state"], card["expires_on"]),
            *(card["supplier"], card["lot_id"], card["order_id"], card["replaced_by"]),
        )
        for card in found
    ]
    header = ("card", "SKU", "code", "state", "expires on", "supplier", "lot", "order", "replaced by")
    return _full(header, rows)


def _full(header: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    """A table without the columns in which nothing stands."""
    kept = [place for place in range(len(header)) if any(row[place] for row in rows)]
    return table([header[place] for place in kept], [[row[place] for place in kept] for row in rows])


def _lot_rows(found: Iterable[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    return [
        (
            *(lot["lot_id"], lot["label"], lot["supplier"], lot["purchase_id"], lot["state"]),
            *(terminal.at(lot["received_at"]), lot["recall_id"]),
        )
        for lot in found
    ]


LOT_HEADER = ("lot", "label", "supplier", "purchase", "state", "received (Shanghai)", "recall")


def _found_lots(shop: Shop, wanted: Namespace) -> Iterator[dict[str, Any]]:
    period = {"from": wanted.first, "to": wanted.last}
    return terminal.pages(
        shop, "/console/lots", "lots", supplier=wanted.supplier, purchase_id=wanted.purchase, **period
    )


def _lots(shop: Shop, wanted: Namespace) -> None:
    found = list(islice(_found_lots(shop, wanted), LISTED + 1))
    print(_full(LOT_HEADER, _lot_rows(found[:LISTED])) if found else "no such lot")
    if len(found) > LISTED:
        print("  … and older ones; narrow it with --from and --to")


def _lot(shop: Shop, wanted: Namespace) -> None:
    path = f"/console/lots/{part(wanted.lot)}"
    lot = shop.call("GET", path)
    print(_full(LOT_HEADER, _lot_rows([lot])))
    print(f"  came by {lot['source']}" + (f" ({lot['job_id']})" if lot["job_id"] else ""))
    for name, place in lot["documents"].items():
        print(f"  {name}: {place}")
    print(table(list(lot["cards"]), [list(lot["cards"].values())]))
    if wanted.cards:
        found = list(islice(terminal.pages(shop, f"{path}/cards", "cards"), LISTED + 1))
        print(card_table({**card, "lot_id": "", "supplier": ""} for card in found[:LISTED]))
        if len(found) > LISTED:
            print("  … and more")


def _card(shop: Shop, wanted: Namespace) -> None:
    path = f"/console/cards/{part(wanted.card)}"
    card = shop.call("GET", path)
    until = f", good until {card['expires_on']}" if card["expires_on"] else ""
    print(f"{card['card_id']}: {card['sku']} {card['mask'] or ''} {card['state']}{until}")
    lot = card["lot"]
    bought = f", purchase {lot['purchase_id']}" if lot["purchase_id"] else ""
    print(f"  from {lot['supplier']}{bought}, {lot['lot_id']} {lot['label']}, at {terminal.at(lot['received_at'])}")
    if card["order"]:
        order = card["order"]
        buyer = f"to {order['contact']} " if order["contact"] else ""
        print(f"  {buyer}by {order['order_id']} ({order['status']}), through {order['channel']}")
    if card["recall_id"]:
        print(f"  recalled by {card['recall_id']}")
    if card["replaced_by"]:
        print(f"  replaced by {card['replaced_by']}")
    looks = list(islice(terminal.pages(shop, path, "views"), LISTED))
    print(look_table(looks) if looks else "  nobody has looked at its code")


def look_table(looks: Iterable[Mapping[str, Any]]) -> str:
    """Who looked at which code, when and why."""
    rows = [
        (
            terminal.at(look["at"]),
            look["viewer"],
            look["card_id"],
            look["reason"],
            look["order_id"] or look["export_id"],
        )
        for look in looks
    ]
    return _full(("seen at (Shanghai)", "by", "card", "why", "with"), rows)


def _buyer(shop: Shop, wanted: Namespace) -> None:
    asked = {"email" if "@" in wanted.contact else "phone": wanted.contact}
    found = shop.call("POST", "/console/buyers/search", asked)
    if not found["orders"]:
        print(f"{found['contact']} has ordered nothing")
    while found["orders"]:
        for order in found["orders"]:
            placed = f"{terminal.at(order['placed_at'])}, through {order['channel']}"
            print(f"{order['order_id']}: {order['status']}, {money(order['total'])}, {placed}")
            if order["cards"]:
                print(card_table({**card, "order_id": ""} for card in order["cards"]))
        if not found["next_cursor"]:
            break
        found = shop.call("POST", "/console/buyers/search", {**asked, "cursor": found["next_cursor"]})


# --- recall ----------------------------------------------------------------------------------------------------------


def _recall(shop: Shop, wanted: Namespace) -> None:
    terminal.ready_to_ask(wanted.yes)
    if wanted.supplier and not (wanted.first and wanted.last):
        raise Failed("say which of its deliveries: --from and --to, days in Shanghai that both belong to it")
    lots = [shop.call("GET", f"/console/lots/{part(wanted.lot)}")] if wanted.lot else list(_found_lots(shop, wanted))
    if not lots:
        raise Failed("there is no such lot, so there is nothing to recall")
    if not wanted.yes:
        print(_full(LOT_HEADER, _lot_rows(lots[:LISTED])))
        which = "this lot" if len(lots) == 1 else f"these {len(lots)} lots"
        print(f"What is unsold of {which} will never be sold; what is sold is replaced, or its money goes back.")
        if not terminal.agreed("Recall?", wanted.yes):
            print("nothing was recalled")
            return
    asked = {"lot_id": wanted.lot, "purchase_id": wanted.purchase, "supplier": wanted.supplier}
    asked |= {"from": wanted.first, "to": wanted.last, "reason": wanted.reason}
    view = shop.call("POST", "/console/recalls", {name: value for name, value in asked.items() if value})
    try:
        view = shop.watched(
            f"/console/recalls/{view['recall_id']}",
            view,
            ("running",),
            watching(recall_line),
            ("frozen", "sold", "open"),
        )
    except KeyboardInterrupt:
        print(f"\nthe recall goes on without you: `recalls {view['recall_id']}` shows it")
        raise
    terminal.clear()
    _say(view)


def recall_line(view: Mapping[str, Any]) -> str:
    """What a recall has come to so far."""
    made = [f"{view['replaced']:,} replaced", f"{view['refunded']:,} refunded"]
    made += [
        f"{view[name]:,} {said}" for name, said in (("for_a_person", "left to you"), ("open", "to go")) if view[name]
    ]
    made += [f"{view['skipped']:,} owed nothing"] if view["skipped"] else []
    held = f", {view['held']:,} held by unpaid orders" if view["held"] else ""
    return f"{view['frozen']:,} frozen{held}, {view['sold']:,} sold: {', '.join(made)}"


def _say(view: Mapping[str, Any]) -> None:
    print(f"{view['recall_id']} {view['state']}: {recall_line(view)}")
    target = " ".join(f"{name} {value}" for name, value in view["target"].items())
    print(f"  {target}: {view['reason']} ({view['asked_by']}, {terminal.at(view['asked_at'])})")
    if view["state"] == "done":
        print(f"  the last unsold card was frozen after {view['frozen_after_ms'] / 1000:.1f} s")
    print(f"  claimed from the supplier: {money(view['claimed'])}")


def _recalls(shop: Shop, wanted: Namespace) -> None:
    if wanted.recall:
        _one_recall(shop, wanted.recall)
        return
    rows = [
        (
            *(view["recall_id"], view["state"], " ".join(view["target"].values())),
            *(view[name] for name in ("frozen", "sold", "replaced", "refunded", "for_a_person")),
            *(money(view["claimed"]), terminal.at(view["asked_at"])),
        )
        for view in shop.call("GET", "/console/recalls")["recalls"]
    ]
    done = ("frozen", "sold", "replaced", "refunded", "left to you")
    print(
        table(("recall", "state", "of", *done, "claimed", "at (Shanghai)"), rows)
        if rows
        else "nothing has been recalled yet"
    )


def _one_recall(shop: Shop, recall: str) -> None:
    path = f"/console/recalls/{part(recall)}"
    _say(shop.call("GET", path))
    found = list(islice(terminal.pages(shop, f"{path}/cards", "cards"), LISTED + 1))
    rows = [
        (
            *(card["card_id"], card["sku"], card["order_id"], MADE_GOOD.get(card["state"], card["state"])),
            *(card["replaced_by"] or card["refund_id"], card["reason"]),
        )
        for card in found[:LISTED]
    ]
    if rows:
        print(_full(("sold card", "SKU", "order", "became", "by", "why"), rows))
    if len(found) > LISTED:
        print("  … and more")
