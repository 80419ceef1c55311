"""What is new in a supplier's list since it was last read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, field
from typing import Final, NamedTuple

from shared.suppliers.supplier import Product

PRODUCT_MAX: Final = 256  # characters of his name for a product; DynamoDB takes 1,024 bytes in a key
TITLE_MAX: Final = 300  # characters
AMOUNT_MAX: Final = 10**15  # a thousand million of any currency: more is a fault of theirs


class Line(NamedTuple):
    """What is known of one product without reading it. digest: of all he says of it; empty while it is being written,
    when nobody can tell which of two states the table holds.
    """

    digest: str
    cost_e6: int


UNSURE: Final = Line("", 0)


@dataclass(frozen=True)
class Listing:
    """A whole list. number: grows with each round of writing, so that a writer who was left behind writes no more.

    read_at: when the supplier was first asked for it, in milliseconds.
    """

    number: int = 0
    lines: Mapping[str, Line] = field(default_factory=dict)
    read_at: int = 0


@dataclass(frozen=True)
class Changes:
    """new: never seen. priced: their price is another one, or nobody knows what is stored. other: all else."""

    new: list[Product] = field(default_factory=list)
    priced: list[Product] = field(default_factory=list)
    other: list[Product] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.new) + len(self.priced) + len(self.other) + len(self.gone)

    def touched(self) -> list[str]:
        return [*(one.product for one in (*self.new, *self.priced, *self.other)), *self.gone]


def fit(product: Product) -> bool:
    """Whether it can be stored at all: what a supplier calls his products, and asks for them, is not ours to choose."""
    return (
        0 < len(product.product) <= PRODUCT_MAX
        and len(product.title) <= TITLE_MAX
        and 0 <= product.cost_e6 <= AMOUNT_MAX
        and abs(product.stock or 0) <= AMOUNT_MAX
    )


def line_of(product: Product) -> Line:
    said = json.dumps(astuple(product), ensure_ascii=False)
    return Line(hashlib.blake2b(said.encode(), digest_size=8).hexdigest(), product.cost_e6)


def compare(before: Listing, products: Iterable[Product]) -> tuple[Changes, dict[str, Line]]:
    """What has to be written, and the lines as they are then."""
    changes, after = Changes(), {}
    for product in {one.product: one for one in products}.values():
        line, known = line_of(product), before.lines.get(product.product)
        after[product.product] = line
        if known is None:
            changes.new.append(product)
        elif known == UNSURE or known.cost_e6 != line.cost_e6:
            changes.priced.append(product)
        elif known != line:
            changes.other.append(product)
    changes.gone.extend(before.lines.keys() - after.keys())
    return changes, after
