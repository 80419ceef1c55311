"""What is bought: one SKU of a product, as the catalogue file says it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

from shared.catalog import kinds
from shared.catalog.kinds import KINDS, OPEN, Field, Fulfilment
from shared.catalog.terms import Terms
from shared.kernel.channel import SHOP
from shared.kernel.money import Money

_LIMITED = re.compile(r"限量\s*(\d{1,9})")


@dataclass(frozen=True, slots=True)
class Sku:
    sku: str
    category: str
    brand: str
    name: str
    spec: str
    kind: str
    face_minor: int | None
    price_minor: int
    cost_e6: int
    account: str  # as account_fields reads it
    validity_days: int | None
    limit_per_order: int | None
    tags: tuple[str, ...]
    terms: Terms = field(default_factory=Terms)
    shards: int = 1  # of its shelf; more where many buy at once
    version: int = 0  # grows with every change that is stored; 0 is not stored yet

    @property
    def product_id(self) -> str:
        """The same for all SKUs of one brand and name, in every import."""
        digest = hashlib.sha256(f"{self.brand}\n{self.name}".encode()).hexdigest()
        return f"prd_{digest[:20]}"  # 80 bits: no two products of one shop will meet

    @property
    def title(self) -> str:
        return f"{self.name} {self.spec}".rstrip()

    @property
    def fulfilment(self) -> Fulfilment:
        return KINDS[self.kind]

    @property
    def on_sale(self) -> bool:
        return self.fulfilment in OPEN

    @property
    def price(self) -> Money:
        return Money(self.price_minor)

    @property
    def face(self) -> Money | None:
        return None if self.face_minor is None else Money(self.face_minor)

    @property
    def quota(self) -> int | None:
        """How many there will ever be, where the specification says so: ``限量1000``."""
        limited = _LIMITED.search(self.spec)
        return int(limited[1]) if limited else None

    @property
    def shelf(self) -> list[object]:
        """What the door that shows the SKU needs to know to say whether it can be had; see steps.catalog."""
        return [self.fulfilment, self.shards, self.terms.min_days, self.terms.aside(SHOP)]

    @property
    def account_fields(self) -> tuple[Field, ...]:
        return kinds.account_fields(self.account)
