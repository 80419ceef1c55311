"""HTTP: the operators' API of what suppliers sell: which SKU it is, how it compares, who comes first <- operators."""

from shared.catalog.errors import UnknownSku
from shared.kernel import clock
from shared.kernel.errors import Busy, InvalidRequest
from shared.kernel.http import Caller, answers, door, entry
from shared.staff.permissions import may
from shared.steps import offers
from shared.suppliers.errors import (
    ListTooLong,
    MappedOtherwise,
    SupplierRefused,
    SupplierSilent,
    UnknownOffer,
    UnknownSupplier,
)
from shared.suppliers.offer_contract import (
    Comparison,
    ListTaken,
    MapOffer,
    OfferList,
    OfferQuery,
    OfferView,
    OrderOffers,
    PriceList,
    SyncView,
    UnmapOffer,
)

app = door("offer_desk")


@app.route("/console/offers")
@answers(OfferList, query=OfferQuery, permission=may("offers.read"), refusals=(InvalidRequest, UnknownSupplier))
def list_offers(query: OfferQuery) -> OfferList:
    """List what a supplier sells; beside what is no SKU of ours yet, which it may be."""
    return offers.listed(query)


# Products are named in the body: what suppliers call theirs may hold any character.
@app.route("/console/offers/{supplier}/map", methods=["POST"])
@answers(
    OfferView,
    takes=MapOffer,
    permission=may("offers.write"),
    refusals=(
        InvalidRequest,
        UnknownSupplier,
        UnknownOffer,
        UnknownSku,
        MappedOtherwise,
        SupplierSilent,
        SupplierRefused,
    ),
)
def map_offer(supplier: str, body: MapOffer, caller: Caller) -> OfferView:
    """Say which SKU of ours an offer is: from then on it may be bought for it."""
    return offers.map_to(supplier, body, caller.name, clock.now())


@app.route("/console/offers/{supplier}/unmap", methods=["POST"])
@answers(OfferView, takes=UnmapOffer, permission=may("offers.write"), refusals=(UnknownOffer, MappedOtherwise))
def unmap_offer(supplier: str, body: UnmapOffer, caller: Caller) -> OfferView:
    """Say that an offer is not this SKU: nothing more is bought by it."""
    return offers.unmap(supplier, body, caller.name)


@app.route("/console/skus/{sku}/offers")
@answers(Comparison, permission=may("offers.read"), refusals=(UnknownSku,))
def compare_offers(sku: str) -> Comparison:
    """Compare the offers of a SKU: what each costs us, whether it sells, and what is odd about it."""
    return offers.compared(sku, clock.now())


@app.route("/console/skus/{sku}/offers/order", methods=["PUT"])
@answers(
    Comparison,
    takes=OrderOffers,
    permission=may("offers.write"),
    refusals=(InvalidRequest, UnknownSku, UnknownOffer, MappedOtherwise, Busy),
)
def order_offers(sku: str, body: OrderOffers, caller: Caller) -> Comparison:
    """Let some offers of a SKU come first, whatever they cost; an empty list leaves it to the price."""
    return offers.put_in_order(sku, body, caller.name, clock.now())


@app.route("/console/suppliers/{supplier}/sync", methods=["POST"])
@answers(
    SyncView,
    permission=may("offers.write"),
    refusals=(InvalidRequest, UnknownSupplier, SupplierSilent, SupplierRefused, ListTooLong),
)
def sync_supplier(supplier: str) -> SyncView:
    """Read what a supplier sells now, without waiting for the schedule."""
    return offers.sync(supplier, clock.now())


@app.route("/console/suppliers/{supplier}/pricelist", methods=["POST"])
@answers(ListTaken, takes=PriceList, permission=may("offers.write"), refusals=(InvalidRequest, UnknownSupplier))
def take_price_list(supplier: str, body: PriceList) -> ListTaken:
    """Take in a price list that a supplier has sent: it is the whole of what he sells."""
    return offers.take_list(supplier, body, clock.now())


handler = entry(app)
