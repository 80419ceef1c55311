"""What commands have in common: how a person is shown something, and asked."""

import argparse
import os
import sys
import unicodedata
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlencode

from infra.local.background import Failed
from infra.local.client import Shop
from shared.kernel import clock

Act = Callable[[Shop, Namespace], None]


class Command(Protocol):
    """Adds a command; `login` is who does it unless `--as` says otherwise."""

    def __call__(self, name: str, act: Act, meaning: str, login: str = "owner") -> ArgumentParser: ...


def table(header: Sequence[str], rows: Sequence[Sequence[object]], indent: str = "  ") -> str:
    """Columns under their names, numbers to the right; Chinese characters count for the two columns they take."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(_width, column)) for column in zip(header, *cells, strict=True)]
    right = [bool(rows) and all(isinstance(row[place], int) for row in rows) for place in range(len(header))]
    lines = []
    for row in [list(header), *cells]:
        padded = [
            " " * (width - _width(cell)) + cell if to_right else cell + " " * (width - _width(cell))
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ]
        lines.append(indent + "  ".join(padded).rstrip())
    return "\n".join(lines)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else str(value)


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)


def at(moment: str | None) -> str:
    """A moment as the shop's own clock shows it."""
    return clock.parse(moment).astimezone(clock.SHANGHAI).strftime("%Y-%m-%d %H:%M") if moment else ""


def cards(count: int) -> str:
    return f"{count:,} card{'' if count == 1 else 's'}"


def price(cost_e6: int) -> str:
    """What one card costs: two decimals, or as many as there are."""
    whole, _, part = f"{Decimal(cost_e6) / 1_000_000:,.6f}".partition(".")
    return f"¥{whole}.{part.rstrip('0'):0<2}"


def part(text: str) -> str:
    """An id as a part of an address."""
    return quote(text, safe="")


def pages(shop: Shop, path: str, listed: str, **query: object) -> Iterator[dict[str, Any]]:
    """Whatever a list holds, page after page."""
    given = {name: value for name, value in query.items() if value is not None}
    while True:
        page = shop.call("GET", f"{path}?{urlencode(given)}" if given else path)
        yield from page[listed]
        if not page.get("next_cursor"):
            return
        given["cursor"] = page["next_cursor"]


def watching(said: Callable[[Mapping[str, Any]], str]) -> Callable[[Mapping[str, Any]], None]:
    """Shows on a terminal, in one line that is written over, how far something is."""

    def watch(view: Mapping[str, Any]) -> None:
        if sys.stdout.isatty():
            print(f"{said(view):<110.110}", end="\r", flush=True)

    return watch


def clear() -> None:
    """Make room where progress was shown."""
    if sys.stdout.isatty():
        print(" " * 110, end="\r", flush=True)


def ready_to_ask(yes: bool) -> None:
    """Failed where a question could not be answered; to be found out before anything is done."""
    if not yes and not sys.stdin.isatty():
        raise Failed("nobody is there to answer a question: look at it at a terminal, or add --yes")


def agreed(question: str, yes: bool) -> bool:
    return yes or input(f"{question} [y/N] ").strip().lower() in ("y", "yes", "是")


def save(file: Path, content: bytes) -> None:
    """Keep codes, or papers, in a new file that nobody else on this machine may read."""
    new_file(file)
    try:
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
            opened.write(content)
    except OSError as error:
        raise Failed(f"cannot write {file}: {error.strerror}") from None


def new_file(file: Path) -> None:
    if file.exists():
        raise Failed(f"{file} is there already: name another file, or move it away")
    if not file.absolute().parent.is_dir():
        raise Failed(f"there is no folder {file.absolute().parent}")


# --- what is typed ---------------------------------------------------------------------------------------------------


def a_day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no day such as 2026-11-21") from None


def a_cost(text: str) -> int:
    """Millionths of a yuan."""
    try:
        wanted = Decimal(text.removeprefix("¥")) * 1_000_000
    except InvalidOperation:
        wanted = Decimal(-1)
    if not wanted.is_finite() or wanted < 0 or wanted != int(wanted):
        raise argparse.ArgumentTypeError(f"{text} is no cost in yuan such as 93.5")
    return int(wanted)


def an_amount(text: str) -> int:
    """Cents."""
    minor, rest = divmod(a_cost(text), 10_000)
    if rest or not minor:
        raise argparse.ArgumentTypeError(f"{text} is no amount in yuan such as 12.50")
    return minor


def a_pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if not name or not value:
        raise argparse.ArgumentTypeError(f"{text} is not like phone=13800138000")
    return name, value


def a_share(text: str) -> tuple[str, int]:
    channel, _, number = text.partition("=")
    if not channel or not number.isascii() or not number.isdigit():
        raise argparse.ArgumentTypeError(f"{text} is not like partner=10")
    return channel, int(number)
