"""What an order would cost, and the fingerprint of everything that price rests on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from shared.kernel.money import Money, total


@dataclass(frozen=True)
class QuotedLine:
    """One line at today's terms: a value that steps fill from the catalogue."""

    sku: str
    title: str
    quantity: int
    unit_price: Money
    fulfilment: str
    version: int

    @property
    def amount(self) -> Money:
        return self.unit_price.times(self.quantity)


@dataclass(frozen=True)
class Quote:
    lines: Sequence[QuotedLine]
    channel: str

    @property
    def total(self) -> Money:
        return total(line.amount for line in self.lines)

    @property
    def hash(self) -> str:
        """Changes whenever price, terms or content change, so that a buyer never pays what they did not see."""
        terms = [
            [line.sku, line.quantity, line.unit_price.minor, line.unit_price.currency, line.version]
            for line in self.lines
        ]
        return hashlib.sha256(json.dumps([self.channel, terms]).encode()).hexdigest()[:32]
