"""What a shopper sees: the snapshot, and for one product whether each of its SKUs can be had now."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

from shared.catalog import snapshots
from shared.catalog.contract import Health, Product, ProductPage, ProductQuery, cursor_place, cursor_text
from shared.catalog.errors import UnknownProduct
from shared.catalog.kinds import Fulfilment
from shared.inventory import records as inventory
from shared.kernel import clock, settings
from shared.suppliers import offers


def products(query: ProductQuery) -> ProductPage:
    """A page of what is shown, the best answers to the query first."""
    snapshot = snapshots.current()
    found = snapshot.search(query.q, query.category, cursor_place(query.cursor), query.limit)
    return ProductPage(
        products=[Product.model_validate(json.loads(line)["product"]) for line in found.products],
        categories=snapshot.categories,
        next_cursor=cursor_text(found.last),
    )


def product(product_id: str, now: datetime) -> Product:
    """One product, each SKU with whether it can be had at this moment: a hint, placing an order decides."""
    found = snapshots.current().product(product_id)
    if found is None:
        raise UnknownProduct
    shown = Product.model_validate(found["product"])
    today = clock.shanghai_day(now)

    def available(sku: str) -> bool:
        # A snapshot made by the version before this one says no more than the first two.
        fulfilment, shards, min_days, aside = [*found["shelves"][sku], 0, None][:4]
        need = inventory.Need(sku, 1, shards, today + timedelta(days=min_days), aside)
        if fulfilment == Fulfilment.ISSUE:
            return True
        stocked = fulfilment == Fulfilment.STOCK and inventory.has_stock(need)
        return stocked or any(offer.on_sale and offer.stock != 0 for offer in offers.of_sku(sku))

    skus = [sku.model_copy(update={"available": sku.for_sale and available(sku.sku)}) for sku in shown.skus]
    return shown.model_copy(update={"skus": skus})


def health() -> Health:
    return Health(status="ok", stage=settings.stage(), version=settings.optional("VERSION", "dev"))
