"""What an operator does in a day, as commands that need no program of their own: `-m infra.local.shop --help`."""

import argparse
import json
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable

from infra.local import cloud
from infra.local.background import Failed
from infra.local.client import Shop, operator
from infra.local.cloud import LocalCloud
from infra.local.commands import (
    imports,
    merchants,
    offers,
    orders,
    purchases,
    stock,
    suppliers,
    trace,
    vault,
    waiting,
)
from infra.local.commands.terminal import Act
from infra.local.logins import ROLES, add_login

OUTPUTS = cloud.ROOT / ".local" / "outputs.json"
GROUPS = [
    ("take cards in", imports),
    ("the stock and who sells it", stock),
    ("follow a card, make bad ones good", trace),
    ("orders and results", orders),
    ("how money comes in", merchants),
    ("who sells to us", suppliers),
    ("what they sell, and which SKU it is", offers),
    ("what is bought of them, for orders and for stock", purchases),
    ("what waits for a person", waiting),
    ("codes and keys", vault),
]
SignIn = Callable[[str], Shop]


def parser() -> ArgumentParser:
    found = ArgumentParser(
        prog="python -m infra.local.shop",
        description="What an operator does in a day. Say COMMAND --help for what a command takes.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s COMMAND …",
    )
    commands = found.add_subparsers(
        dest="command", required=True, metavar="COMMAND", help=argparse.SUPPRESS, prog=found.prog
    )
    listed: list[str] = []

    def command(name: str, act: Act, meaning: str, login: str = "owner") -> ArgumentParser:
        one = commands.add_parser(name, description=f"{meaning[0].upper()}{meaning[1:]}.")
        one.add_argument(
            "--as", dest="login", default=login, metavar="LOGIN", help=f"who does it; {login} without this"
        )
        one.set_defaults(act=act)
        listed.append(f"  {name:<20} {meaning}")
        return one

    for title, group in [*GROUPS, ("logins", None)]:
        listed.append(f"\n{title}")
        if group:
            group.add(command)
    add = command("add-login", _add_login, "make another person's login, such as a second owner")
    add.add_argument("role", choices=ROLES)
    add.add_argument("name", help="such as bea; then --as bea")
    command("token", lambda shop, _: print(shop.bearer), "sign in and print the bearer token").add_argument(
        "login", metavar="LOGIN", nargs="?", default=argparse.SUPPRESS, help="a role or a name; owner without this"
    )
    found.epilog = "\n".join(listed)
    return found


def _add_login(_: Shop, wanted: Namespace) -> None:
    here, outputs = _running()
    login = add_login(here, outputs["user_pool_id"], wanted.role, wanted.name)
    print(f"{login.role}  {login.username}  {login.password}\n  for these commands: --as {wanted.name}")


def _running() -> tuple[LocalCloud, dict[str, str]]:
    if not OUTPUTS.exists():
        raise Failed("nothing is running here yet: `make run` first")
    outputs = json.loads(OUTPUTS.read_text())
    return LocalCloud(int(outputs["cloud_port"]), cloud.ROOT / ".local" / "cloud"), outputs


def _sign_in(login: str) -> Shop:
    return operator(*_running(), login)


def main(argv: list[str], sign_in: SignIn = _sign_in) -> int:
    wanted = parser().parse_args(argv)
    try:
        wanted.act(sign_in(wanted.login), wanted)
    except Failed as failure:
        print(failure, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read it, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
