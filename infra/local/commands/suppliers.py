"""Who sells to us: set up with their keys, let in by two people on what they have shown, set aside."""

import json
import urllib.request
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.local import client
from infra.local.background import Failed
from infra.local.client import Shop, money
from infra.local.commands.terminal import Command, a_day, at, part, save, table

PAPERS = {
    "licence": "营业执照 / licence",
    "tax": "税务登记 / tax registration",
    "bank": "对公账户 / bank account in his name",
    "contract": "合同 / contract",
    "deposit": "保证金凭证 / receipt of the deposit",
    "authorisation": "品牌授权 / authorisation for a brand",
}
STOPPED = {
    "bad_signature": "his answers or ours are wrongly signed: look at the keys",
    "not_allowed": "he does not let us in: look at the keys, and at the addresses that he allows",
    "low_balance": "our balance with him is used up",
    "other_currency": "he answers in another currency than his account's: set him up anew, under another code",
}
EXAMPLE = (
    '{"code": "acme", "kind": "dujiao", "name": "好卡", "company": "杭州好卡科技有限公司",'
    ' "terms": {"site": "https://…"}, "keys": {…}}'
)


def add(command: Command) -> None:
    command("suppliers", _suppliers, "list who sells to us, and whether anything is bought from each now")
    one = command("supplier", _supplier, "set a supplier up, or change him; asks him for our balance")
    one.add_argument("file", type=Path, help=f"JSON such as {EXAMPLE}; without keys those that are there stay")
    for name, act, meaning, login in (
        ("check-supplier", _check, "ask a supplier for our balance: are address and keys right?", "owner"),
        ("scores", _scores, "show how far a supplier is trusted in each family of SKUs, and why", "owner"),
        ("dossier", _dossier, "show what a supplier has shown, and what is missing", "owner"),
        ("review-supplier", _move, "say, as the first of two, that a supplier can be let in", "operator"),
        ("approve-supplier", _move, "let a supplier in, as the second of two", "owner"),
        ("pause-supplier", _move, "buy nothing more from a supplier for now", "owner"),
        ("resume-supplier", _move, "take a pause, or a stop of the platform's own, away", "owner"),
        ("retire-supplier-keys", _retire, "let only the newest keys of a supplier be valid", "owner"),
    ):
        command(name, act, meaning, login).add_argument("supplier", help="our name for him, such as acme")
    for name, meaning in (
        ("refuse-supplier", "do not let a supplier in"),
        ("suspend-supplier", "buy nothing more from a supplier until two people have let him in again"),
    ):
        closed = command(name, _move, meaning)
        closed.add_argument("supplier", help="our name for him, such as acme")
        closed.add_argument("--reason", required=True, help="why; kept")
    clear = command("clear-score", _clear, "say that you have looked at what stands against a supplier in a family")
    clear.add_argument("supplier", help="our name for him, such as acme")
    clear.add_argument("family", help="as `scores` shows it")
    bring = command("supplier-document", _document, "bring a document of a supplier; another person accepts it")
    bring.add_argument("supplier", help="our name for him, such as acme")
    bring.add_argument("paper", choices=PAPERS)
    bring.add_argument("file", type=Path, help="a scan")
    bring.add_argument("--to", required=True, help="whom it names: only his own company counts")
    bring.add_argument("--until", type=a_day, help="the last day on which it holds; without this it does not end")
    bring.add_argument("--brand", help="of an authorisation: what it is for")
    bring.add_argument("--by", help="of an authorisation: who gives it")
    bring.add_argument("--owner", action="store_true", help="of an authorisation: who gives it owns the brand")
    opened = command("open-document", _open_document, "save a supplier's document, to look at it", "operator")
    opened.add_argument("supplier", help="our name for him, such as acme")
    opened.add_argument("document", help="as `dossier` shows it")
    opened.add_argument("file", type=Path, nargs="?", help="where to save it; as it was called without this")
    for name, meaning in (
        ("accept-document", "say that a supplier's document is what it says"),
        ("reject-document", "say that a supplier's document proves nothing, or not any more"),
    ):
        decide = command(name, _decide, meaning, "operator")
        decide.add_argument("supplier", help="our name for him, such as acme")
        decide.add_argument("document", help="as `dossier` shows it")
        if name == "reject-document":
            decide.add_argument("--reason", required=True, help="why; kept")


def _suppliers(shop: Shop, _: Namespace) -> None:
    found = shop.call("GET", "/console/suppliers")["suppliers"]
    if not found:
        print("nobody sells to us yet: `supplier FILE` sets one up")
        return
    header = ("supplier", "kind", "name", "is", "tier", "balance", "papers until", "buys")
    print(table(header, [_row(one) for one in found]))


def _row(one: Mapping[str, Any]) -> tuple[object, ...]:
    return (
        one["supplier"],
        one["kind"],
        one["name"],
        one["standing"],
        one["tier"],
        money(one["balance"]) if one["balance"] else "",
        one["over_on"] or "",
        _buys(one),
    )


def _buys(one: Mapping[str, Any]) -> str:
    if one["buys"]:
        return "yes" if one["brands"] else "yes, but he may sell no brand yet: `supplier-document … authorisation`"
    if one["stopped"]:
        return f"no, stopped: {STOPPED.get(one['stopped'], one['stopped'])}; then `resume-supplier`"
    if one["paused_by"]:
        return f"no, paused by {one['paused_by']}"
    return "no" if one["standing"] == "approved" else "no, not let in"


def _supplier(shop: Shop, wanted: Namespace) -> None:
    try:
        given = json.loads(wanted.file.read_text(encoding="utf-8"))
        code, keys = str(given.pop("code")), given.pop("keys", None)
    except OSError as error:
        raise Failed(f"cannot read {wanted.file}: {error.strerror}") from None
    except (ValueError, AttributeError, KeyError):
        raise Failed(f"{wanted.file} is not JSON such as {EXAMPLE}") from None
    path = f"/console/suppliers/{part(code)}"
    saved = shop.call("PUT", path, given)
    if keys:
        saved = shop.call("POST", f"{path}/keys", {"keys": keys})
        print(f"{code} has new keys; {wanted.file} is not needed any more: delete it, or lock it away")
    if given.get("kind") != "pricelist":
        address = saved["supplier"]["callback_url"]
        print(f"  he may call back at {address}")
        print(f"  and say at {address}/changes that his products or prices have changed: they are read at once then")
    if saved["supplier"]["standing"] != "approved":
        print(f"  two people have to let him in: `dossier {code}` shows what is missing")
    if saved["key_sets"]:
        _ask(shop, code)
    elif given.get("kind") != "pricelist":
        print(f"  he has no keys yet: name them in the file, then say `supplier {wanted.file}` again")


def _check(shop: Shop, wanted: Namespace) -> None:
    _ask(shop, wanted.supplier)


def _ask(shop: Shop, code: str) -> None:
    said = shop.call("POST", f"/console/suppliers/{part(code)}/check")
    if said["refused"] == "by_hand":
        print(f"  {code} has no address to be asked at: a person buys from him")
    elif said["refused"] == "other_currency":
        raise Failed(f"{code}: {STOPPED['other_currency']}")
    elif said["refused"]:
        raise Failed(
            f"{code} refused ({said['refused']}): are the keys those of this account, does he know our address?"
        )
    elif not said["answers"]:
        raise Failed(f"{code} gave no answer that can be trusted: is his site right?")
    else:
        print(f"  {code} answers after {said['took_ms']} ms, under the right keys: we have {money(said['balance'])}")


def _dossier(shop: Shop, wanted: Namespace) -> None:
    found = shop.call("GET", f"/console/suppliers/{part(wanted.supplier)}")
    one = found["supplier"]
    print(f"{one['supplier']}  {one['name']}  {one['company']}: {one['standing']}, buys: {_buys(one)}")
    if found["documents"]:
        header = ("document", "paper", "names", "brand", "until", "is", "holds")
        print(table(header, [_document_row(document) for document in found["documents"]]))
    for paper in found["missing"]:
        print(f"  missing, or over: {PAPERS[paper]}")
    for brand in one["brands"]:
        until = f", not from {brand['over_on']} on" if brand["over_on"] else ""
        print(f"  may sell {brand['brand']}{until}")


def _document_row(one: Mapping[str, Any]) -> tuple[object, ...]:
    holds = "yes" if one["holds"] else ""
    return (
        one["document_id"],
        one["paper"],
        one["issued_to"],
        one["brand"],
        one["ends_on"] or "no end",
        one["state"],
        holds,
    )


def _document(shop: Shop, wanted: Namespace) -> None:
    content = client.content_of(wanted.file)
    given = {
        "paper": wanted.paper,
        "file_name": wanted.file.name,
        "issued_to": wanted.to,
        "issued_by": wanted.by,
        "brand": wanted.brand,
        "from_owner": wanted.owner,
        "ends_on": wanted.until,
    }
    path = f"/console/suppliers/{part(wanted.supplier)}/documents"
    asked = shop.call("POST", path, {name: value for name, value in given.items() if value is not None})
    client.put(asked["upload_url"], content)
    shop.call("POST", f"{path}/{asked['document_id']}/received")
    print(f"  {asked['document_id']} is here; another person looks at it and says `accept-document`:")
    print(f"  `open-document {wanted.supplier} {asked['document_id']}`")


def _open_document(shop: Shop, wanted: Namespace) -> None:
    found = shop.call("GET", f"/console/suppliers/{part(wanted.supplier)}")["documents"]
    one = next((one for one in found if one["document_id"] == wanted.document), None)
    if not one or not one["file_url"]:
        raise Failed(f"there is no file of {wanted.document}: `dossier {wanted.supplier}` shows what there is")
    try:
        with urllib.request.urlopen(one["file_url"], timeout=60) as answer:
            content, called = answer.read(), answer.headers.get_filename()
    except OSError as error:
        raise Failed(f"the file did not come ({error})") from None
    file = wanted.file or Path(Path(called or wanted.document).name)
    save(file, content)
    print(f"{file.absolute()}: {one['paper']} of {one['issued_to']}")


def _decide(shop: Shop, wanted: Namespace) -> None:
    verb = wanted.command.partition("-")[0]
    path = f"/console/suppliers/{part(wanted.supplier)}/documents/{part(wanted.document)}/{verb}"
    found = shop.call("POST", path, {"said": wanted.reason} if verb == "reject" else None)
    missing = ", ".join(PAPERS[paper] for paper in found["missing"])
    print(f"  still missing: {missing}" if missing else "  all papers are there")


def _move(shop: Shop, wanted: Namespace) -> None:
    verb = wanted.command.partition("-")[0]
    body = {"said": wanted.reason} if verb in ("refuse", "suspend") else None
    one = shop.call("POST", f"/console/suppliers/{part(wanted.supplier)}/{verb}", body)["supplier"]
    print(f"  {wanted.supplier} is {one['standing']}, buys: {_buys(one)}")


def _retire(shop: Shop, wanted: Namespace) -> None:
    shop.call("POST", f"/console/suppliers/{part(wanted.supplier)}/keys/retire")
    print(f"  only the newest keys of {wanted.supplier} are valid")


def _scores(shop: Shop, wanted: Namespace) -> None:
    _show_scores(shop.call("GET", f"/console/suppliers/{part(wanted.supplier)}/scores"))


def _clear(shop: Shop, wanted: Namespace) -> None:
    path = f"/console/suppliers/{part(wanted.supplier)}/scores/clear"
    _show_scores(shop.call("POST", path, {"family": wanted.family}))


def _show_scores(found: Mapping[str, Any]) -> None:
    print(f"{found['supplier']}: tier {found['tier']}")
    if not found["families"]:
        print("  nothing that was bought of him has been counted yet: it is, ten past each hour")
        return
    factors = ("delivery", "voids", "latency", "price", "operations")
    rows = [
        (one["family"], one["tier"], one["points"], *(one["factors"][name] for name in factors), at(one["since"]))
        for one in found["families"]
    ]
    print(table(("family", "tier", "points", *factors, "since"), rows))
    for one in found["families"]:
        for change in one["changes"]:
            before = f"{change['before']} → " if change["before"] else ""
            moved = f"{one['family']}, {at(change['at'])}: {before}{change['tier']}"
            print(f"  {moved}: {change['zh']} / {change['en']}")
