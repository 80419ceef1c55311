"""What suppliers sell: read from them, said to be a SKU of ours, compared, put in order."""

import base64
import gzip
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.local import client
from infra.local.background import Failed
from infra.local.client import CNY, Shop
from infra.local.commands import terminal
from infra.local.commands.terminal import Command, part, price, table
from shared.suppliers.price_files import LIST_MAX
from shared.suppliers.routing import LeftOut

SUPPLIER = "our name for him, such as acme"
PRODUCT = "his own number of it, as `supplier-offers` shows it"
WHY = {
    LeftOut.NOT_ADMITTED: "he is not let in for this brand",
    LeftOut.TIER: "he is trusted too little (`scores {supplier}`)",
    LeftOut.OFF_SHELF: "he does not sell it now",
    LeftOut.STALE: "not heard of him for too long",
    LeftOut.RENAMED: "it was {mapped_title} when it was mapped: `map-offer` again, or `unmap-offer`",
    LeftOut.FIELDS: "what it asks for is not what our SKU asks for: `map-offer` anew",
    LeftOut.DOUBTFUL: "much too cheap (过低可疑): `offers-first` vouches for it",
    LeftOut.NO_STOCK: "he has none left",
    LeftOut.QUANTITY: "he does not sell a single one",
    LeftOut.TOO_DEAR: "it costs more than it may",
    LeftOut.NO_BALANCE: "our balance with him is too low",
    LeftOut.SHUT: "it has failed too often; it is tried again by itself",
}
PACKED_MAX = 45_000  # bytes: what fits into one request; some 3,000 rows
SUGGESTED = 3  # SKUs beside an offer that is none yet


def add(command: Command) -> None:
    command("offers", _offers, "compare who could sell us a SKU, and say why one would not be asked").add_argument(
        "sku"
    )
    first = command("offers-first", _first, "let some offers of a SKU come first, whatever they cost")
    first.add_argument("sku")
    first.add_argument(
        "offers", nargs="*", type=an_offer, metavar="SUPPLIER:PRODUCT", help="the first first; none: the price decides"
    )
    _of_one(command("sync-supplier", _sync, "read what a supplier sells now, without waiting for the ten minutes"))
    listed = _of_one(command("supplier-offers", _listed, "list what a supplier sells, and which SKU of ours it may be"))
    only = listed.add_mutually_exclusive_group()
    only.add_argument("--unmapped", action="store_true", help="only what is no SKU of ours yet")
    only.add_argument("--renamed", action="store_true", help="only what is called otherwise since it was mapped")
    mapped = _of_one(command("map-offer", _map, "say which SKU of ours an offer is: from then on it may be bought"))
    mapped.add_argument("product", help=PRODUCT)
    mapped.add_argument("sku")
    mapped.add_argument(
        "--fill",
        type=terminal.a_pair,
        action="append",
        default=[],
        metavar="HIS=OURS",
        help="of a top-up: which field of our SKU each of his fields takes; what is suggested without this",
    )
    unmapped = _of_one(command("unmap-offer", _unmap, "say that an offer is not this SKU: it is not bought any more"))
    unmapped.add_argument("product", help=PRODUCT)
    unmapped.add_argument("sku")
    prices = _of_one(command("price-list", _price_list, "take in a price list that a supplier sent: all that he sells"))
    prices.add_argument("file", type=Path, help="CSV, as he sent it")


def _of_one(command: ArgumentParser) -> ArgumentParser:
    command.add_argument("supplier", help=SUPPLIER)
    return command


def _offers(shop: Shop, wanted: Namespace) -> None:
    found = shop.call("GET", f"/console/skus/{part(wanted.sku)}/offers")
    print(f"{found['sku']}  {found['title']}")
    if not found["offers"]:
        print("  nobody sells it to us: `supplier-offers` and `map-offer` say which offer it is")
        return
    print(
        table(
            ("first", "supplier", "product", "costs us", "stock", "tier", "sells"),
            [_row(one) for one in found["offers"]],
        )
    )


def _row(one: Mapping[str, Any]) -> tuple[object, ...]:
    return (
        one["pinned"],
        one["supplier"],
        f"{one['product']} {one['title']}",
        price(one["landed_e6"]),
        _stock(one),
        one["tier"],
        _sells(one),
    )


def _stock(one: Mapping[str, Any]) -> object:
    return "no end" if one["stock"] == -1 else one["stock"]


def _sells(one: Mapping[str, Any]) -> str:
    if one["sells"]:
        return "yes, though much too cheap (过低可疑)" if one["doubtful"] else "yes"
    if one["why"] == LeftOut.NOT_ADMITTED and one["stopped"]:
        return "no: he is stopped"
    if one["why"] == LeftOut.NOT_ADMITTED and one["paused"]:
        return "no: he is paused"
    return f"no: {WHY[one['why']].format_map(one)}"


def _first(shop: Shop, wanted: Namespace) -> None:
    chosen = [{"supplier": supplier, "product": product} for supplier, product in wanted.offers]
    shop.call("PUT", f"/console/skus/{part(wanted.sku)}/offers/order", {"offers": chosen})
    _offers(shop, wanted)


def _sync(shop: Shop, wanted: Namespace) -> None:
    read = shop.call("POST", f"/console/suppliers/{part(wanted.supplier)}/sync")
    print(f"  {_read(read)}")


def _read(read: Mapping[str, Any]) -> str:
    odd = f", {read['unfit']} that cannot be kept" if read["unfit"] else ""
    changes = f"{read['new']} new, {read['changed']} changed, {read['gone']} gone{odd}"
    return f"{read['supplier']} sells {read['products']} products: {changes}"


def _price_list(shop: Shop, wanted: Namespace) -> None:
    content = client.content_of(wanted.file)
    packed = gzip.compress(content)
    if len(content) > LIST_MAX or len(packed) > PACKED_MAX:
        raise Failed(
            f"{wanted.file} is too long: a list may have {LIST_MAX:,} bytes, and {PACKED_MAX:,} as gzip packs them."
            " Leave out columns, or what you do not sell; do not split it: each file is all that he sells, and takes"
            " the rest off sale"
        )
    given = {"content": base64.b64encode(packed).decode()}
    read = shop.call("POST", f"/console/suppliers/{part(wanted.supplier)}/pricelist", given)
    print(f"  {_read(read)}")
    for row in read["refused"]:
        print(f"  line {row['line']}: {row['zh']} / {row['en']}")
    if read["refused_count"] > len(read["refused"]):
        print(f"  and {read['refused_count'] - len(read['refused'])} more lines")


def _listed(shop: Shop, wanted: Namespace) -> None:
    more = {"mapped": "no"} if wanted.unmapped else {"mapped": "renamed"} if wanted.renamed else {}
    found = terminal.pages(shop, "/console/offers", "offers", supplier=wanted.supplier, **more)
    rows = [(one["product"], one["title"], one["delivers"], _cost(one), _stock(one), _is(one)) for one in found]
    if rows:
        print(table(("product", "title", "delivers", "costs", "stock", "is"), rows))
    else:
        print(f"nothing; `sync-supplier {wanted.supplier}` asks him")


def _cost(one: Mapping[str, Any]) -> str:
    said = price(one["cost_e6"])
    return said if one["currency"] == CNY else f"{one['currency']} {said.removeprefix('¥')}"


def _is(one: Mapping[str, Any]) -> str:
    if one["sku"]:
        return f"{one['sku']}? it was {one['mapped_title']}" if one["renamed"] else str(one["sku"])
    likely = [f"{may['sku']} ({may['score_e6'] // 10_000} %)" for may in one["suggestions"][:SUGGESTED]]
    return "perhaps " + ", ".join(likely) if likely else ""


def _map(shop: Shop, wanted: Namespace) -> None:
    path = f"/console/offers/{part(wanted.supplier)}"
    fills = dict(wanted.fill) or _suggested(shop, wanted)
    one = shop.call("POST", f"{path}/map", {"product": wanted.product, "sku": wanted.sku, "fills": fills})
    print(f"  {one['supplier']}:{one['product']} is {one['sku']}: it may be bought while it is called {one['title']}")


def _suggested(shop: Shop, wanted: Namespace) -> dict[str, str]:
    """Which of our fields his take, where the offer's suggestion of this SKU says so."""
    for one in terminal.pages(shop, "/console/offers", "offers", supplier=wanted.supplier, mapped="no"):
        if one["product"] == wanted.product:
            likely = (may["fills"] for may in one["suggestions"] if may["sku"] == wanted.sku)
            return dict(next(likely, {}))
    return {}


def _unmap(shop: Shop, wanted: Namespace) -> None:
    body = {"product": wanted.product, "sku": wanted.sku}
    one = shop.call("POST", f"/console/offers/{part(wanted.supplier)}/unmap", body)
    print(f"  {one['supplier']}:{one['product']} is no SKU of ours: nothing more is bought by it")


def an_offer(text: str) -> tuple[str, str]:
    supplier, _, product = text.partition(":")
    if not supplier or not product:
        raise ArgumentTypeError(f"{text} is not like acme:1001")
    return supplier, product
