"""HTTP: payment providers tell us that money came."""

from chalice import Response

from shared.kernel import clock
from shared.kernel.http import Caller, answers, door, entry
from shared.payments.errors import UnknownProvider
from shared.steps import payment_webhooks

app = door("payment_webhooks")


@app.route("/webhooks/payments/{provider}", methods=["GET", "POST"])
@answers(refusals=(UnknownProvider,))
def receive(provider: str, raw: bytes, caller: Caller) -> Response:
    """Take a signed notification; the answer is the one that the provider waits for."""
    ack = payment_webhooks.receive(provider, caller.headers, raw, clock.now())
    return Response(ack.body, headers={"Content-Type": ack.content_type}, status_code=ack.status)


handler = entry(app)
