"""HTTP: the operators' API of what is bought for stock: what should be, why, and what is on its way <- operators."""

from shared.catalog.errors import UnknownSku
from shared.jobs.errors import KeyReused
from shared.kernel import clock
from shared.kernel.errors import InvalidRequest, NotFound
from shared.kernel.http import Caller, answers, door, entry
from shared.staff.permissions import may
from shared.steps import procurement
from shared.suppliers.errors import NobodySells, TooMuchOnItsWay
from shared.suppliers.procurement_contract import OrderStock, Procurement, ProcurementQuery, StockOrderView

app = door("procurement_desk")


@app.route("/console/procurement")
@answers(Procurement, query=ProcurementQuery, permission=may("purchases.read"), refusals=(InvalidRequest,))
def list_procurement(query: ProcurementQuery) -> Procurement:
    """List what should be bought for stock, with the reasons and who sells it, and what is on its way."""
    return procurement.listed(query, clock.now())


@app.route("/console/procurement/orders", methods=["POST"])
@answers(
    StockOrderView,
    status=201,
    takes=OrderStock,
    permission=may("purchases.write"),
    refusals=(InvalidRequest, UnknownSku, NobodySells, TooMuchOnItsWay, KeyReused),
)
def order_stock(body: OrderStock, idempotency_key: str, caller: Caller) -> StockOrderView:
    """Order for stock: a person buys it, and imports the cards under the number of this order."""
    return procurement.order(body, idempotency_key, caller.name, clock.now())


@app.route("/console/procurement/orders/{order}/close", methods=["POST"])
@answers(StockOrderView, permission=may("purchases.write"), refusals=(NotFound,))
def close_stock_order(order: str, caller: Caller) -> StockOrderView:
    """Say that the rest of an order does not come any more."""
    return procurement.close(order, caller.name, clock.now())


handler = entry(app)
