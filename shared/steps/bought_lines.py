"""What of an order is bought for it from suppliers: decided when it is placed, before anybody pays."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

from shared.catalog import kinds
from shared.catalog.kinds import Fulfilment
from shared.catalog.sku import Sku
from shared.inventory.errors import OutOfStock
from shared.kernel import clock, people
from shared.kernel.errors import InvalidRequest
from shared.orders.errors import TooManyCards
from shared.orders.records import Line
from shared.steps import supply
from shared.suppliers import registry
from shared.suppliers.errors import SupplierRefused, SupplierSilent, UnknownSupplier
from shared.suppliers.routing import Wanted

PIECES_MAX = 90  # of one line: what twelve attempts of at most thirty pieces can bring with some failing


def to_be_bought(line: Line, sku: Sku, account: Mapping[str, str], now: datetime) -> None:
    """Make it a line that is bought once it is paid; OutOfStock if nobody would sell it for what it may cost.

    account: what the buyer has filled in, of a top-up; it is sealed together with what was agreed. InvalidRequest if a
    supplier says that there is no such account. TooManyCards for more than can be bought at once.
    """
    if int(line.quantity) > PIECES_MAX:
        raise TooManyCards(limit=PIECES_MAX)
    most_e6 = supply.most_e6(sku)
    market = supply.look(sku, Wanted(int(line.quantity), most_e6), now)
    if not market.decision.choices:
        raise OutOfStock(sku=sku.sku)
    line.fulfilment, line.most_e6 = Fulfilment.PURCHASE, most_e6
    if sku.account_fields:
        clean = kinds.check_account(sku.account_fields, account)
        _check_there(clean, market)
        line.account_sealed = people.seal(json.dumps(clean, ensure_ascii=False), line.agreed)
        choices = {field.name for field in sku.account_fields if field.options}
        line.account_mask = {name: text if name in choices else _mask(text) for name, text in clean.items()}


def can_be_bought(sku: Sku, quantity: int, now: datetime) -> bool:
    return quantity <= PIECES_MAX and supply.can_buy(sku, quantity, supply.most_e6(sku), now)


def _check_there(account: Mapping[str, str], market: supply.Market) -> None:
    """Ask suppliers, the first first, until one says whether the account is there; silence says nothing."""
    for choice in market.decision.choices:
        offer, there = market.offers[choice.supplier, choice.product], None
        try:
            supplier = registry.supplier(choice.supplier)
            if supplier.traits.checks_account:
                filled = {theirs: account[ours] for theirs, ours in (offer.fills or {}).items()}
                there = supplier.check_account(choice.product, filled, clock.now())
        except SupplierSilent:
            return  # the buyer waits for one of them, not for several
        except (UnknownSupplier, SupplierRefused):
            continue
        if there is False:
            raise InvalidRequest(fields=[{"field": f"account.{name}", "reason": "unknown_account"} for name in account])
        if there:
            return


def _mask(text: str) -> str:
    return f"{text[:2]}****{text[-2:]}" if len(text) >= 8 else f"****{text[-1:]}"
