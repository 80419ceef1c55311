"""Accounts with payment providers: where buyers' money goes, and how well each provider answers."""

import json
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.local.background import Failed
from infra.local.client import Shop
from infra.local.commands import terminal
from infra.local.commands.terminal import Command, part, table

IS = {
    "answering": "answers",
    "silent": "did not answer last time",
    "out": "does not answer: not offered to buyers until",
    "off": "takes no new payments",
    "no_keys": "has no keys yet",
}
EXAMPLE = '{"kind": "wechat", "methods": ["wechat_native"], "fee_e6": 6000, "terms": {"appid": …}, "keys": {…}}'


def add(command: Command) -> None:
    command("merchants", _merchants, "list the accounts with payment providers, and how well each provider answers")
    one = command("merchant", _merchant, "set an account up, or change it; asks its provider whether all is right")
    one.add_argument("merchant", help="our name for it, such as wechat or wechat-2")
    one.add_argument("file", type=Path, help=f"JSON such as {EXAMPLE}; without keys those that are there stay")
    check = command(
        "check-merchant", _check, "ask an account's provider something harmless: are address and keys right?"
    )
    check.add_argument("merchant")
    retire = command("retire-merchant-keys", _retire, "let only the newest keys of an account be valid")
    retire.add_argument("merchant")


def _merchants(shop: Shop, _: Namespace) -> None:
    found = shop.call("GET", "/console/merchants")["merchants"]
    if not found:
        print("no account with a payment provider yet: `merchant` sets one up; the sandbox needs none")
        return
    header = ("account", "provider", "methods", "fee", "asked", "answered", "ms", "last notification", "")
    print(table(header, [_row(one) for one in found]))


def _row(one: Mapping[str, Any]) -> tuple[object, ...]:
    health = one["health"]
    answered = health["answered_e6"]
    state = f"{IS[health['state']]} {terminal.at(health['out_until'])}".strip()
    return (
        one["merchant"],
        one["kind"],
        " ".join(one["methods"]),
        f"{one['fee_e6'] / 10_000:g} %",
        health["calls"],
        "" if answered is None else f"{answered / 10_000:.1f} %",
        health["average_ms"],
        terminal.at(health["last_notification_at"]),
        state,
    )


def _merchant(shop: Shop, wanted: Namespace) -> None:
    try:
        given = json.loads(wanted.file.read_text(encoding="utf-8"))
        keys = given.pop("keys", None)
    except OSError as error:
        raise Failed(f"cannot read {wanted.file}: {error.strerror}") from None
    except (ValueError, AttributeError):
        raise Failed(f"{wanted.file} is not JSON such as {EXAMPLE}") from None
    path = f"/console/merchants/{part(wanted.merchant)}"
    saved = shop.call("PUT", path, given)
    if keys:
        saved = shop.call("POST", f"{path}/keys", {"keys": keys})
        print(f"{wanted.merchant} has new keys; {wanted.file} is not needed any more: delete it, or lock it away")
    print(f"  tell the provider to notify {saved['notify_url']}")
    if saved["key_sets"]:
        _check(shop, wanted)
    else:
        print(f"  it has no keys yet: name a file with keys, then say `merchant {wanted.merchant} FILE` again")


def _check(shop: Shop, wanted: Namespace) -> None:
    said = shop.call("POST", f"/console/merchants/{part(wanted.merchant)}/check")
    if not said["answers"]:
        raise Failed(
            f"the provider of {wanted.merchant} gave no answer that can be trusted: is its gateway right, are its keys"
            " those of this account, and does it know this machine's address?"
        )
    print(f"  {wanted.merchant} answers after {said['took_ms']} ms, under the right keys")


def _retire(shop: Shop, wanted: Namespace) -> None:
    shop.call("POST", f"/console/merchants/{part(wanted.merchant)}/keys/retire")
    print(f"  only the newest keys of {wanted.merchant} are valid")
