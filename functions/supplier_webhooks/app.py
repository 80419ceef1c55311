"""HTTP: suppliers tell us that something became of an order, or of what they sell."""

from chalice import Response

from shared.kernel import clock
from shared.kernel.http import Caller, answers, door, entry
from shared.steps import supplier_callbacks
from shared.suppliers.errors import UnknownSupplier
from shared.suppliers.supplier import Ack

app = door("supplier_webhooks")


@app.route("/webhooks/suppliers/{supplier}", methods=["POST"])
@answers(refusals=(UnknownSupplier,), own_words=True)
def receive(supplier: str, raw: bytes, caller: Caller) -> Response:
    """Take a supplier's callback; the answer is the one that he waits for."""
    return _heard(supplier, raw, caller)


@app.route("/webhooks/suppliers/{supplier}", methods=["GET"])
@answers(refusals=(UnknownSupplier,), own_words=True)
def receive_by_query(supplier: str, raw: bytes, caller: Caller) -> Response:
    """Take the callback of a supplier that puts it into the query of a GET."""
    return _heard(supplier, raw, caller)


@app.route("/webhooks/suppliers/{supplier}/changes", methods=["POST"])
@answers(refusals=(UnknownSupplier,), own_words=True)
def receive_change(supplier: str) -> Response:
    """Take a supplier's notice that his products, prices or stock have changed: whatever it says, they are read."""
    return _said(supplier_callbacks.changed(supplier, clock.now()))


def _heard(supplier: str, raw: bytes, caller: Caller) -> Response:
    return _said(supplier_callbacks.receive(supplier, caller.headers, raw, clock.now()))


def _said(ack: Ack) -> Response:
    return Response(ack.body, headers={"Content-Type": ack.content_type}, status_code=ack.status)


handler = entry(app)
