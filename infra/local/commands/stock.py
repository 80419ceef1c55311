"""What there is, how it is shared out, and who else sells it."""

from argparse import Namespace
from collections.abc import Iterator, Mapping
from typing import Any

from infra.local.background import Failed
from infra.local.client import Shop
from infra.local.commands import terminal
from infra.local.commands.terminal import Command, cards, part, table

STATES = ("available", "held", "sold", "frozen", "expired", "void")


def add(command: Command) -> None:
    stock = command("stock", _stock, "what there is: of all SKUs, of those that are low, or of one")
    stock.add_argument("sku", nargs="?")
    stock.add_argument("--low", action="store_true", help="only what is low")
    command("near-expiry", _near_expiry, "what will expire soon, as of last night")
    terms = command("terms", _terms, "show or change how a SKU's stock is shared out; the rest stays as it is")
    terms.add_argument("sku")
    terms.add_argument("--safety", type=int, metavar="N", help="cards that are never sold")
    terms.add_argument("--low", type=int, metavar="N", help="tell me when fewer are available")
    terms.add_argument("--min-days", type=int, metavar="N", help="days a card must still be good when it is sold")
    terms.add_argument(
        "--hold-percent", type=int, metavar="N", help="share that one unpaid buyer may hold; 0: the usual one"
    )
    terms.add_argument(
        "--margin",
        dest="margin_percent",
        type=int,
        metavar="N",
        help="percent of its price that must stay with us where it is bought from a supplier for an order",
    )
    share: dict[str, Any] = {"type": terminal.a_share, "action": "append", "default": []}
    terms.add_argument("--floor", **share, metavar="CHANNEL=N", help="cards kept for a channel; 0: none")
    terms.add_argument("--quota", **share, metavar="CHANNEL=N", help="the most that a channel may ever take")
    name: dict[str, Any] = {"action": "append", "default": [], "metavar": "CHANNEL"}
    terms.add_argument("--no-quota", **name, help="let a channel take what there is")
    terms.add_argument("--hide", **name, help="do not let a channel sell it; `shop` is the shop itself")
    terms.add_argument("--show", **name, help="let a channel sell it again")

    command("channels", _channels, "list who else sells from our stock, with their keys")
    one = command("add-channel", _add_channel, "let somebody sell from our stock; prints the key, once")
    one.add_argument("channel", help="a short name, such as partner")
    one.add_argument("name", help="a name for people, such as 'Partner Ltd.'")
    command("add-key", _add_key, "give a channel a second key, to take the place of the first").add_argument("channel")
    revoke = command("revoke-key", _revoke_key, "make a channel's key worthless within a minute")
    revoke.add_argument("channel")
    revoke.add_argument("key", help="as `channels` shows it")


# --- levels ----------------------------------------------------------------------------------------------------------


def _stock(shop: Shop, wanted: Namespace) -> None:
    if wanted.sku:
        if wanted.low:
            raise Failed("either one SKU, or --low")
        print("\n".join(stock_lines(shop.call("GET", f"/console/skus/{part(wanted.sku)}/stock"))))
        return
    found = terminal.pages(shop, "/console/stock", "skus", limit=100, low="true" if wanted.low else None)
    rows = [
        (
            line["sku"],
            *(line["levels"][state] for state in STATES),
            f"below {line['low_below']:,}" if line["low"] else "",
        )
        for line in found
    ]
    if rows:
        print(table(("SKU", *STATES, "low"), rows))
    else:
        print("nothing is low" if wanted.low else "no card has ever been taken in: `import-cards`")


def stock_lines(stock: Mapping[str, Any]) -> Iterator[str]:
    """One SKU's stock on a terminal."""
    low = f"; low: below {stock['low_below']:,}" if stock["low"] else ""
    yield f"{stock['sku']}, some seconds old{low}"
    yield table(STATES, [[stock["levels"][state] for state in STATES]])
    if stock["channels"]:
        rows = [(channel, level["held"], level["sold"]) for channel, level in stock["channels"].items()]
        yield table(("through", "held", "sold"), rows)
    for day in stock["near_expiry"]:
        yield f"  {cards(day['cards'])} will expire on {day['day']}"
    yield from terms_lines(stock["terms"])
    recounted = terminal.at(stock["recounted_at"])
    yield f"  recounted at {recounted}" if recounted else "  recounted each night; not yet"


def _near_expiry(shop: Shop, _: Namespace) -> None:
    rows = []
    for line in terminal.pages(shop, "/console/stock/near-expiry", "skus", limit=100):
        rows += [(line["sku"], day["day"], day["cards"], terminal.at(line["seen_at"])) for day in line["days"]]
    header = ("SKU", "expires on", "cards", "seen at (Shanghai)")
    print(table(header, rows) if rows else "nothing will expire soon, as of last night's count")


# --- terms -----------------------------------------------------------------------------------------------------------


def terms_lines(terms: Mapping[str, Any]) -> Iterator[str]:
    """How a SKU is shared out, in sentences; what is not limited is not named."""
    kept, short = terms.get("kept", {}), terms.get("short", {})

    def lies(name: str) -> str:
        there = f", {kept[name]:,} lie aside" if name in kept else ""
        return f"{there}, {short[name]:,} are lacking" if name in short else there

    if terms["safety"]:
        yield f"  never sold: {cards(terms['safety'])}{lies('safety')}"
    for channel, floor in terms["floors"].items():
        yield f"  kept for {channel}: {cards(floor)}{lies(channel)}"
    for name in sorted(kept.keys() - {"safety", *terms["floors"]}):
        yield f"  not yet given back from {name}: {cards(kept[name])}"
    for channel, quota in terms["quotas"].items():
        yield f"  {channel} may take {cards(quota)} in all"
    if terms["hidden"]:
        yield f"  not sold through: {', '.join(terms['hidden'])}"
    if terms["min_days"]:
        yield f"  sold only while good for {terms['min_days']:,} days more"
    if terms["low"]:
        yield f"  low below {terms['low']:,}"
    if terms["hold_percent"] is not None:
        yield f"  one unpaid buyer may hold {terms['hold_percent']} percent of it in quiet times"
    if terms["margin_percent"]:
        yield f"  bought from a supplier only where {terms['margin_percent']} % of its price stay with us"


def _terms(shop: Shop, wanted: Namespace) -> None:
    path = f"/console/skus/{part(wanted.sku)}/terms"
    before = shop.call("GET", path)
    changed = changed_terms(before, wanted)
    after = shop.call("POST", path, changed) if changed is not None else before
    lines = list(terms_lines(after)) or ["  no limit: all of it is sold to whoever comes first"]
    print("\n".join([after["sku"], *lines]))


def changed_terms(before: Mapping[str, Any], wanted: Namespace) -> dict[str, Any] | None:
    """All terms as they are to be, or None where nothing was asked to change; the API takes them as a whole."""
    numbers = {name: getattr(wanted, name) for name in ("safety", "low", "min_days", "hold_percent", "margin_percent")}
    shares = (wanted.floor, wanted.quota, wanted.no_quota, wanted.hide, wanted.show)
    if not any(shares) and all(number is None for number in numbers.values()):
        return None
    terms = {name: before[name] if number is None else number for name, number in numbers.items()}
    floors = {**before["floors"], **dict(wanted.floor)}
    quotas = {**before["quotas"], **dict(wanted.quota)}
    return {
        **{name: value for name, value in terms.items() if value},
        "floors": {channel: floor for channel, floor in floors.items() if floor},
        "quotas": {channel: quota for channel, quota in quotas.items() if channel not in wanted.no_quota},
        "hidden": sorted({*before["hidden"], *wanted.hide} - set(wanted.show)),
    }


# --- channels --------------------------------------------------------------------------------------------------------


def _channels(shop: Shop, _: Namespace) -> None:
    rows: list[tuple[object, ...]] = []
    for channel in shop.call("GET", "/console/channels")["channels"]:
        for key in channel["keys"] or [{"key_id": "none: it cannot sell", "created_at": None, "created_by": ""}]:
            since = (terminal.at(key["created_at"]), key["created_by"])
            rows.append((channel["channel"], channel["name"], key["key_id"], *since))
    header = ("channel", "name", "valid key", "since (Shanghai)", "by")
    print(table(header, rows) if rows else "nobody but the shop itself sells from this stock: `add-channel`")


def _add_channel(shop: Shop, wanted: Namespace) -> None:
    made = shop.call("POST", "/console/channels", {"channel": wanted.channel, "name": wanted.name})
    _show_key(made)
    print("  It reserves, confirms and releases cards with it at the API's /channel/reservations.")


def _add_key(shop: Shop, wanted: Namespace) -> None:
    made = shop.call("POST", f"/console/channels/{part(wanted.channel)}/keys")
    _show_key(made)
    print(f"  Once it is in use: `revoke-key {made['channel']}` with the old one's name, as `channels` shows it.")


def _show_key(made: Mapping[str, Any]) -> None:
    print(f"key {made['key_id']} of {made['channel']}, shown this once and kept nowhere:\n\n  {made['key']}\n")


def _revoke_key(shop: Shop, wanted: Namespace) -> None:
    key = shop.call("POST", f"/console/channels/{part(wanted.channel)}/keys/{part(wanted.key)}/revoke")
    print(f"key {key['key_id']} of {wanted.channel} is {key['state']}: it is worth nothing within a minute")
