"""A supplier without an API: his prices come as files (`price_files`), and a person buys from him.

No call is made. An order is at once his to deliver, and stays so until a person has settled it by hand. What he sells
is what his last file said, which its importer has written down: here nothing can be read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from shared.kernel.money import Money
from shared.suppliers.errors import BadCallback, SupplierRefused
from shared.suppliers.supplier import Account, Ack, Answer, Keys, News, Outcome, Page, Product, Purchase, Repeat, Traits


@dataclass(frozen=True)
class Pricelist:
    """keys: none are needed."""

    account: Account
    keys: Sequence[Keys] = field(default=(), repr=False)

    # To place nothing a second time places nothing twice; the person sees one task for each of our numbers.
    traits = Traits(repeat=Repeat.REPLAYS, asks_by_ours=True, ceiling=True, by_hand=True)

    @property
    def code(self) -> str:
        return self.account.code

    def products(self, _cursor: str, _now: datetime) -> Page:
        """Nothing, which does not mean that he sells nothing."""
        return Page(())

    def product(self, _product: str, _now: datetime) -> Product | None:
        raise SupplierRefused(supplier=self.code, reason="by_hand")

    def balance(self, _now: datetime) -> Money:
        raise SupplierRefused(supplier=self.code, reason="by_hand")

    def place(self, _purchase: Purchase, _now: datetime) -> Answer:
        return Answer(Outcome.ACCEPTED)

    def ask(self, _number: str, _upstream_no: str, _now: datetime) -> Answer:
        return Answer(Outcome.ACCEPTED)

    def check_account(self, _product: str, _account: Mapping[str, str], _now: datetime) -> bool | None:
        return None

    def parse_callback(self, _headers: Mapping[str, str], _raw: bytes, _now: datetime) -> News:
        raise BadCallback

    def ack(self, _ok: bool) -> Ack:
        return Ack(400)
