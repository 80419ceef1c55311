"""HTTP: suppliers call back. None is connected yet, so every name is refused in the form that the contract promises."""

from shared.kernel.http import answers, door, entry
from shared.suppliers.errors import UnknownSupplier

app = door("supplier_webhooks")


@app.route("/webhooks/suppliers/{supplier}", methods=["POST"])
@answers(refusals=(UnknownSupplier,))
def receive(supplier: str) -> None:  # noqa: ARG001  # the path's own parameter
    """Take a supplier's callback."""
    raise UnknownSupplier


handler = entry(app)
