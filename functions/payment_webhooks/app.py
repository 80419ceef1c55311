"""HTTP: payment providers tell us that money came."""

from chalice import Response

from shared.kernel import clock
from shared.kernel.errors import Busy
from shared.kernel.http import Caller, answers, door, entry
from shared.payments.errors import BadNotification, UnknownPayment, UnknownProvider
from shared.steps import payment_webhooks

app = door("payment_webhooks")


@app.route("/webhooks/payments/{provider}", methods=["POST"])
@answers(refusals=(UnknownProvider, BadNotification, UnknownPayment, Busy))
def receive(provider: str, raw: bytes, caller: Caller) -> Response:
    """Take a signed notification; the answer is the text that the provider waits for."""
    ack = payment_webhooks.receive(provider, caller.headers, raw, clock.now())
    return Response(ack, headers={"Content-Type": "text/plain"})


handler = entry(app)
