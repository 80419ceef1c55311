"""What a benchmark finds: rows with their floors, the table people read, and the file that programs read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from unicodedata import east_asian_width

Facts = dict[str, Any]  # what earlier benchmarks found that later ones start from


@dataclass(frozen=True)
class Row:
    """One figure. `floor` is the least it could be, found in the same run; `aim` is what we want, never enforced."""

    name: str
    value: float
    unit: str
    floor: float | None = None
    aim: str = ""
    text: str = ""  # what the floor is

    @property
    def ratio(self) -> float | None:
        return self.value / self.floor if self.floor else None


@dataclass(frozen=True)
class Part:
    """What one benchmark found; `facts` are for the benchmarks after it."""

    rows: list[Row]
    text: str = ""
    facts: Facts = field(default_factory=dict)

    def dump(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> Part:
        members = json.loads(text)
        return cls([Row(**row) for row in members["rows"]], members["text"], members["facts"])


def save(rows: Iterable[Row], path: Path) -> None:
    found = [
        {"name": row.name, "value": row.value, "unit": row.unit, "floor": row.floor, "ratio": row.ratio, "aim": row.aim}
        for row in rows
    ]
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def table(rows: Iterable[Row]) -> str:
    """Figures that have a floor or an aim, and in words what the floor is; the file has the others, too."""
    lines = [("figure", "value", "unit", "floor", "ratio", "aim", "")]
    for row in rows:
        if row.floor is None and not row.aim:
            continue
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        lines.append((row.name, _short(row.value), row.unit, _short(row.floor), ratio, row.aim, row.text))
    return columns(lines, right=(1, 3, 4))


def columns(lines: Sequence[tuple[str, ...]], right: Sequence[int] = ()) -> str:
    widths = [max(_width(line[place]) for line in lines) for place in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            (" " * (width - _width(text)) + text) if place in right else text + " " * (width - _width(text))
            for place, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _width(text: str) -> int:
    """Columns of a terminal: Chinese characters take two."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def _short(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.4g}" if value < 100 else f"{value:,.1f}"
