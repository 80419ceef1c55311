"""Codes and keys: who may see the first, and how the second are exchanged and forgotten."""

import urllib.request
from argparse import Namespace
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from infra.local.background import Failed
from infra.local.client import Shop, Waiting
from infra.local.commands import terminal
from infra.local.commands.terminal import Command, cards, part, table, watching
from infra.local.commands.trace import LISTED, look_table

PATIENCE = 8  # seconds without news: then a change of keys waits for its time, and a person need not
KEYS = {
    "lot_key": "a new key for a lot",
    "wrapping": "all keys wrapped anew",
    "pepper": "new fingerprints",
    "destruction": "destruction of a lot",
}


def add(command: Command) -> None:
    reveal = command("reveal", _reveal, "show one code to yourself; counted, and written down for ever")
    reveal.add_argument("card", help="such as crd_…")
    reveal.add_argument("--reason", required=True, help="why you have to see it")
    views = command("views", _views, "list which codes a member of staff has looked at")
    views.add_argument("name", help="such as operator@kaquan.local")

    ask = command("export", _export, "ask for a file of codes; another person has to approve it", "operator")
    which = ask.add_mutually_exclusive_group(required=True)
    which.add_argument("--lot", help="all cards of it, such as lot_…")
    which.add_argument("--sku", help="its cards in one state")
    ask.add_argument("--state", choices=("available", "held", "sold", "frozen", "expired", "void"), default="available")
    ask.add_argument("--reason", required=True, help="what the file is for")
    command("exports", _exports, "list the exports: who asked, who decided, what waits for a decision")
    opened = command("open-export", _open_export, "save an export's file and print its password, once", "operator")
    opened.add_argument("export", help="as `exports` shows it")
    opened.add_argument("file", type=Path, nargs="?", help="where to save it; EXPORT.zip without this")

    rotate = command("rotate-keys", _rotate_keys, "exchange a lot's key, the vault's key, or the fingerprints' pepper")
    rotate.add_argument("what", choices=("lot", "wrapping", "pepper"))
    rotate.add_argument("lot", nargs="?", help="with `lot`: which one")
    retire = command("retire-pepper", _retire_pepper, "forget the peppers before the one that a job has brought in")
    retire.add_argument("job", help="as `rotate-keys pepper` shows it")
    destroy = command(
        "destroy-lot", _destroy_lot, "ask that no code of a lot can be read again; another owner approves"
    )
    destroy.add_argument("lot", help="such as lot_…")
    destroy.add_argument("--reason", required=True, help="why; kept for ever")
    command("keys", _keys, "show how far a change of keys or a destruction is").add_argument(
        "job", help="such as job_…"
    )


# --- codes -----------------------------------------------------------------------------------------------------------


def _reveal(shop: Shop, wanted: Namespace) -> None:
    card = shop.call("POST", f"/console/cards/{part(wanted.card)}/reveal", {"reason": wanted.reason})
    print("  ".join(filter(None, (card["sku"], card["number"], card["code"], card["expires_on"]))))
    print(f"  written down with your name: `card {card['card_id']}`")


def _views(shop: Shop, wanted: Namespace) -> None:
    looks = list(islice(terminal.pages(shop, f"/console/staff/{part(wanted.name)}/views", "views"), LISTED))
    print(look_table(looks) if looks else f"{wanted.name} has looked at no code")


def _export(shop: Shop, wanted: Namespace) -> None:
    asked = {"lot_id": wanted.lot} if wanted.lot else {"sku": wanted.sku, "state": wanted.state}
    view = shop.call("POST", "/console/exports", {**asked, "reason": wanted.reason})
    print(f"{view['export_id']} waits for another person: an owner says `approve {view['export_id']}`, or `refuse`.")
    print(f"Then {view['asked_by']} alone can say `open-export {view['export_id']}`.")


def _exports(shop: Shop, _: Namespace) -> None:
    rows = [
        (
            *(view["export_id"], _export_state(view), view["lot_id"] or f"{view['sku']} {view['card_state']}"),
            *(view["cards"] or 0, view["asked_by"], view["decided_by"], terminal.at(view["asked_at"]), view["reason"]),
        )
        for view in shop.call("GET", "/console/exports")["exports"]
    ]
    header = ("export", "state", "of", "cards", "asked by", "decided by", "at (Shanghai)", "why")
    print(table(header, rows) if rows else "nobody has asked for an export yet")


def _export_state(view: Mapping[str, Any]) -> str:
    if view["opened"]:
        return "opened"
    return "waits" if view["state"] == "created" else str(view["state"])


def approve_export(shop: Shop, export: str) -> None:
    """Let the file be made, and wait for it."""
    path = f"/console/exports/{part(export)}"
    view = shop.watched(path, shop.call("POST", f"{path}/approve"), ("running",), watching(_being_made), ("cards",))
    terminal.clear()
    if view["failed"]:
        raise Failed(f"{view['export_id']} {view['state']}: {view['failed']['zh']} / {view['failed']['en']}")
    print(f"{view['export_id']} {view['state']}: {cards(view['cards'] or 0)} in a ZIP that its password opens")
    until = f"until {terminal.at(view['file_until'])}, Shanghai time" if view["file_until"] else "no more"
    print(f"  {view['asked_by']} may say `open-export {view['export_id']}` {until}")


def _being_made(view: Mapping[str, Any]) -> str:
    return f"{view['export_id']} is being made"


def _open_export(shop: Shop, wanted: Namespace) -> None:
    file = wanted.file or Path(f"{wanted.export}.zip")
    terminal.new_file(file)  # the password is shown once: what can fail fails before
    secret = shop.call("POST", f"/console/exports/{part(wanted.export)}/open")
    print(f"password, shown this once: {secret['password']}")
    try:
        with urllib.request.urlopen(secret["url"], timeout=60) as answer:
            terminal.save(file, answer.read())
    except OSError as error:
        until = terminal.at(secret["url_until"])
        raise Failed(f"the file did not come ({error}); until {until} it is at\n{secret['url']}") from None
    print(f"{file.absolute()}: a ZIP under AES-256; 7-Zip opens it with the password, Windows itself does not")


# --- keys ------------------------------------------------------------------------------------------------------------


def _rotate_keys(shop: Shop, wanted: Namespace) -> None:
    if (wanted.what == "lot") != (wanted.lot is not None):
        raise Failed("`rotate-keys lot` needs the lot, such as lot_…; the others take none")
    asked = {"what": wanted.what, **({"lot_id": wanted.lot} if wanted.lot else {})}
    _wait(shop, shop.call("POST", "/console/keys/rotate", asked))


def _retire_pepper(shop: Shop, wanted: Namespace) -> None:
    _wait(shop, shop.call("POST", f"/console/keys/rotations/{part(wanted.job)}/retire"))


def _destroy_lot(shop: Shop, wanted: Namespace) -> None:
    view = shop.call("POST", f"/console/lots/{part(wanted.lot)}/destroy", {"reason": wanted.reason})
    print(f"{view['job_id']} waits for another owner, who says `approve {view['job_id']}`, or `refuse`.")
    print("Then what is unsold of it is written off, and nobody can ever read a code of it: there is no way back.")


def approve_destruction(shop: Shop, job: str) -> None:
    """Let a lot's keys be forgotten, and wait for it."""
    _wait(shop, shop.call("POST", f"/console/destructions/{part(job)}/approve"))


def _keys(shop: Shop, wanted: Namespace) -> None:
    _say(shop.call("GET", f"/console/keys/rotations/{part(wanted.job)}"))


def _wait(shop: Shop, view: dict[str, Any]) -> None:
    path = f"/console/keys/rotations/{view['job_id']}"
    try:
        view = shop.watched(path, view, ("running",), watching(_line), patience=PATIENCE)
    except Waiting:
        terminal.clear()
        print(_line(shop.call("GET", path)))
        print("  it waits for some minutes, until no process uses what was before and no order holds what it needs;")
        print(f"  it goes on by itself: `keys {view['job_id']}` shows it")
        return
    except KeyboardInterrupt:
        print(f"\nit goes on without you: `keys {view['job_id']}` shows it")
        raise
    terminal.clear()
    _say(view)


def _line(view: Mapping[str, Any]) -> str:
    what = KEYS.get(view["what"], view["what"])
    done = ", ".join(f"{name.replace('_', ' ')} {number:,}" for name, number in view["counts"].items())
    return f"{view['job_id']} {view['state']}: {what}" + (f" ({done})" if done else "")


def _say(view: Mapping[str, Any]) -> None:
    print(_line(view))
    if view["failed"]:
        raise Failed(f"  {view['failed']['zh']} / {view['failed']['en']}")
    if view["what"] == "pepper" and view["state"] == "done":
        print(f"  the older ones still count; `retire-pepper {view['job_id']}` forgets them")
