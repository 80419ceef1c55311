"""The most that we pay, kept by ourselves where a supplier takes no such number: his price is asked just before."""

from __future__ import annotations

from datetime import datetime

from shared.suppliers.errors import SupplierRefused, SupplierSilent
from shared.suppliers.refusal_words import CONFIGURATION
from shared.suppliers.supplier import Answer, Outcome, Purchase, Reason, Supplier


def speaks_against(supplier: Supplier, purchase: Purchase, now: datetime) -> Answer | None:
    """Why it may not be bought at the price of this moment; None where nothing speaks against it.

    Nothing was ordered then, so that all of it is definite.
    """
    try:
        product = supplier.product(purchase.product, now)
    except SupplierSilent:
        return Answer(Outcome.RETRY, Reason.SILENT)
    except SupplierRefused as refused:
        reason = Reason(str(refused.facts["reason"]))
        return Answer(Outcome.REFUSED if reason in CONFIGURATION else Outcome.FAILED, reason)
    if product is None or not product.on_sale:
        return Answer(Outcome.FAILED, Reason.OFF_SHELF)
    if product.cost_e6 > purchase.most_e6:
        return Answer(Outcome.FAILED, Reason.ABOVE_CEILING, said=f"price_e6={product.cost_e6}")
    return None
