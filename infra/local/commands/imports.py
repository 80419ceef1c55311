"""Files come in: looked at first, then run, stopped, taken back, mended."""

import urllib.request
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infra.local.background import Failed
from infra.local.client import Refused, Shop, money
from infra.local.commands import terminal
from infra.local.commands.terminal import Command, cards, part, table, watching

HINTS = {  # what a refused line asks for, as this command says it
    "unknown_sku": "a file that does not name its SKUs needs --sku, such as --sku G020",
    "ambiguous": "state the shape: --shape code, or --shape number_password",
    "mixed_shape": "state the shape: --shape code, or --shape number_password",
    "bad_header": "the columns are sku, number, code, expires_on, cost and lot, or 商品编码 卡号 卡密 到期日 成本 批次",
}
SHOWN = 8  # rows of a preview: enough to see that the columns are what they should be
WAITS = ("created", "checking", "checked", "running", "undoing")  # states that are no end


def add(command: Command) -> None:
    command("import-catalogue", _import_catalogue, "take a catalogue file in and publish it").add_argument(
        "file", type=Path
    )
    one = command("import-cards", _import_cards, "check a supplier's card file, show what is in it, take it in")
    one.add_argument("file", type=Path, help="TXT, CSV or XLSX")
    one.add_argument("--sku", help="what the cards are of, where the file does not say it itself")
    one.add_argument("--supplier", default="unnamed", help="who sold them to us, such as acme")
    one.add_argument("--purchase", help="the number of our purchase")
    one.add_argument("--lot", help="what their supplier calls the lot, where the file does not say it")
    one.add_argument("--cost", type=terminal.a_cost, help="of one card, in yuan, where the file does not say it")
    one.add_argument("--expires-on", type=terminal.a_day, help="where the file does not say it, such as 2027-06-30")
    one.add_argument("--shape", choices=["code", "number_password"], help="what a line is, where it is ambiguous")
    one.add_argument("--yes", action="store_true", help="do not ask before they are taken in")
    command("imports", _imports, "list the latest imports")
    _job(command("import", _import, "show how far an import is, and what it has found"))
    _job(command("run", _run, "take in what a check has found and you left open, or what had to rest"))
    _job(command("cancel", _cancel, "stop an import at once"))
    _job(command("undo", _undo, "take a whole import back while none of it is held or sold"))
    refused = command("refused", _refused, "save the refused rows of an import, to mend and import them again")
    _job(refused)
    refused.add_argument("file", type=Path, help="such as mend.csv")


def _job(one: Any) -> None:
    one.add_argument("job", help="as `imports` shows it")


# --- what is said ----------------------------------------------------------------------------------------------------


def progress(view: Mapping[str, Any]) -> str:
    """How far an import is."""
    counts = view["counts"]
    if view["state"] in ("checking", "checked"):
        return f"checking {view['file_name']}: {counts['lines']:,} lines"
    if view["state"] in ("undoing", "undone"):
        return f"{view['file_name']}: {counts['undone']:,} of {counts['done']:,} are taken back"
    if not counts["new"]:
        return f"{view['file_name']}: nothing new"
    speed = f", {view['rows_per_second']:,} a second" if view["rows_per_second"] else ""
    left = f", {view['eta_seconds']} s left" if view["eta_seconds"] else ""
    return f"{view['file_name']}: {counts['done']:,} of {counts['new']:,} are in{speed}{left}"


def catalogue_report(counts: Mapping[str, int]) -> str:
    """What an import of the catalogue has come to."""
    return f"{counts['new']} new, {counts['changed']} changed, {counts['unchanged']} as before"


def card_report(view: Mapping[str, Any]) -> str:
    """What an import of cards has found or has come to, in one line."""
    counts = view["counts"]
    known, refused = counts["duplicates"], counts["refused"] - counts["duplicates"]
    rest = f"{known:,} known already, {refused:,} refused"
    if view["state"] in ("created", "checking", "checked"):
        passed_over = f", {counts['skipped']:,} empty or remarks" if counts["skipped"] else ""
        return f"{counts['lines']:,} lines: {counts['new']:,} new, {rest}{passed_over}"
    taken_back = f", {counts['undone']:,} taken back" if counts["undone"] else ""
    return f"taken in: {counts['done']:,} of {counts['lines'] - counts['skipped']:,}, {rest}{taken_back}"


def preview(view: Mapping[str, Any]) -> Iterator[str]:
    """The first rows, masked, and what the file would bring."""
    rows = [
        (row["line"], row["sku"], row["number"], row["code"], row["expires_on"], _cost(row), row["lot"])
        for row in view["preview"][:SHOWN]
    ]
    if rows:
        yield table(("line", "SKU", "number", "code", "expires on", "cost", "lot"), rows)
    if view["counts"]["new"] > len(rows):
        yield f"  … and {view['counts']['new'] - len(rows):,} more"
    if view["by_sku"]:
        each = ", ".join(f"{count:,} × {sku}" for sku, count in view["by_sku"].items())
        yield f"  {each}; together they cost {money(view['total_cost'])}" if view["total_cost"] else f"  {each}"


def refusals(view: Mapping[str, Any]) -> Iterator[str]:
    for one in view["refused"]:
        yield f"  {one['rows']:,} × {one['zh']} / {one['en']}"
    for line in view["refused_lines"]:
        yield f"  line {line['line']}: {line['zh']} / {line['en']}"
    for hint in dict.fromkeys(HINTS[one["reason"]] for one in view["refused"] if one["reason"] in HINTS):
        yield f"  {hint}"
    if view["refused_url"] and view["counts"]["refused"] > view["counts"]["duplicates"]:
        yield f"  to mend them, within the hour: `refused {view['job_id']} mend.csv`, then import that as you did this"
    if view["reason"]:
        yield f"  {view['reason']['zh']} / {view['reason']['en']}"


def _cost(row: Mapping[str, Any]) -> str:
    return terminal.price(row["cost_e6"]) if row["cost_e6"] else ""


def _say(view: Mapping[str, Any], shown: Sequence[str] = ()) -> None:
    """What it has come to, without the lines that are on the screen already."""
    terminal.clear()
    said = card_report(view) if view["kind"] == "cards" else catalogue_report(view["counts"])
    print(f"{view['job_id']} {view['state']}: {said}")
    for line in refusals(view):
        if line not in shown:
            print(line)
    whole = view["state"] == "done" and view["counts"]["done"] == sum(lot["cards"] for lot in view["lots"])
    for lot in view["lots"]:
        brought = cards(lot["cards"]) if whole else f"`lot {lot['lot_id']}` shows what there is of it"
        print(f"  {lot['lot_id']} {lot['label']}".rstrip() + f": {brought}")


# --- what is done ----------------------------------------------------------------------------------------------------


def _import_catalogue(shop: Shop, wanted: Namespace) -> None:
    view = shop.import_file("catalogue", wanted.file, watch=watching(progress))
    _say(view)
    _must_not_have_failed(view)


def _import_cards(shop: Shop, wanted: Namespace) -> None:
    terminal.ready_to_ask(wanted.yes)
    options = {
        "supplier": wanted.supplier,
        "purchase_id": wanted.purchase,
        "lot": wanted.lot,
        "cost_e6": wanted.cost,
        "expires_on": wanted.expires_on,
        "shape": wanted.shape,
    }
    job = shop.upload("cards", wanted.file, wanted.sku, **options)
    with _goes_on(job):
        view = shop.move_import(job, "check", watching(progress))
    shown: list[str] = []
    if view["state"] == "checked":
        if view["counts"]["new"]:
            terminal.clear()
            print(f"{wanted.file.name}: {card_report(view)}")
            shown = [*preview(view), *refusals(view)]
            print("\n".join(shown))
            if not _wanted(view, wanted.yes):
                shop.call("POST", f"/console/imports/{job}/cancel")
                print("cancelled: nothing was taken in")
                return
        view = _taken_in(shop, job)  # also one that brings nothing: so it has an end, and its refused rows
    _say(view, shown)
    _must_not_have_failed(view)


def _wanted(view: Mapping[str, Any], yes: bool) -> bool:
    try:
        return terminal.agreed(f"Take {cards(view['counts']['new'])} in?", yes)
    except KeyboardInterrupt:
        print(f"\nit waits for you: `run {view['job_id']}` takes it in, `cancel {view['job_id']}` forgets it")
        raise


def _imports(shop: Shop, _: Namespace) -> None:
    found = shop.call("GET", "/console/imports")["imports"]
    rows = [
        (
            *(view["job_id"], view["state"], view["kind"], view["file_name"]),
            *(view["counts"][name] for name in ("lines", "done", "refused")),
            *(view["asked_by"], terminal.at(view["asked_at"])),
        )
        for view in found
    ]
    header = ("job", "state", "kind", "file", "lines", "taken in", "refused", "by", "at (Shanghai)")
    print(table(header, rows, indent="") if rows else "nothing has been imported yet")


def _import(shop: Shop, wanted: Namespace) -> None:
    view = shop.call("GET", _path(wanted))
    asked = f"{view['file_name']}, by {view['asked_by']} at {terminal.at(view['asked_at'])}"
    print(f"{asked}; {progress(view)}" if view["state"] in ("checking", "running", "undoing") else asked)
    _say(view)
    if view["state"] == "checked":
        for line in preview(view):
            print(line)
        print(f"  it waits for you: `run {view['job_id']}` takes it in, `cancel {view['job_id']}` forgets it")


def _run(shop: Shop, wanted: Namespace) -> None:
    view = _taken_in(shop, part(wanted.job))
    _say(view)
    _must_not_have_failed(view)


def _taken_in(shop: Shop, job: str) -> dict[str, Any]:
    try:
        with _goes_on(job):
            return shop.move_import(job, "run", watching(progress))
    except Refused as no:
        if no.problem.get("code") in ("cards_rest", "not_taken_from_him"):
            raise Failed(f"{no}; it waits: `run {job}` takes it in then, `cancel {job}` forgets it") from None
        raise


def _cancel(shop: Shop, wanted: Namespace) -> None:
    view = shop.call("POST", f"{_path(wanted)}/cancel")
    done = view["counts"]["done"]
    back = f"; `undo {view['job_id']}` takes them back" if done and view["kind"] == "cards" else ""
    print(f"{view['job_id']} cancelled: {done:,} of {view['counts']['new']:,} rows are in{back}")


def _undo(shop: Shop, wanted: Namespace) -> None:
    with _goes_on(wanted.job):
        view = shop.move_import(part(wanted.job), "undo", watching(progress))
    terminal.clear()
    left = f", {view['counts']['left']:,} were left: held or sold meanwhile" if view["counts"]["left"] else ""
    print(f"{view['job_id']} {view['state']}: {cards(view['counts']['undone'])} taken back{left}")


def _refused(shop: Shop, wanted: Namespace) -> None:
    terminal.new_file(wanted.file)
    view = shop.call("GET", _path(wanted))
    if not view["refused_url"]:
        if view["state"] in WAITS and view["state"] != "checked":
            raise Failed(f"{view['job_id']} is {view['state']}: ask again when it has ended")
        if not view["counts"]["refused"]:
            raise Failed(f"{view['job_id']} has refused nothing")
        raise Failed(f"the refused rows of {view['job_id']} are kept for an hour only: import the file again")
    try:
        with urllib.request.urlopen(view["refused_url"], timeout=60) as answer:
            terminal.save(wanted.file, answer.read())
    except OSError as error:
        raise Failed(f"the refused rows cannot be read ({error})") from None
    rows = f"{view['counts']['refused']:,} refused rows"
    print(f"{wanted.file} holds {rows}, with codes in clear unless we have them already.")
    print("Mend it, import it, and delete it.")


def _path(wanted: Namespace) -> str:
    return f"/console/imports/{part(wanted.job)}"


def _must_not_have_failed(view: Mapping[str, Any]) -> None:
    if view["state"] == "failed":
        raise Failed(f"{view['file_name']} was not taken in")


@contextmanager
def _goes_on(job: str) -> Iterator[None]:
    """Whoever stops waiting should know that the import does not stop with him."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"\nthe import goes on without you: `import {job}` shows it, `cancel {job}` stops it")
        raise
