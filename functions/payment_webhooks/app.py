"""HTTP: payment providers tell us that money came."""

from chalice import Response

from shared.kernel import clock
from shared.kernel.http import Caller, answers, door, entry
from shared.payments.errors import UnknownProvider
from shared.steps import payment_webhooks

app = door("payment_webhooks")


@app.route("/webhooks/payments/{provider}", methods=["POST"])
@answers(refusals=(UnknownProvider,), own_words=True)
def receive(provider: str, raw: bytes, caller: Caller) -> Response:
    """Take a signed notification; the answer is the one that the provider waits for."""
    return _heard(provider, raw, caller)


@app.route("/webhooks/payments/{provider}", methods=["GET"])
@answers(refusals=(UnknownProvider,), own_words=True)
def receive_by_query(provider: str, raw: bytes, caller: Caller) -> Response:
    """Take the notification of a provider that puts it into the query of a GET."""
    return _heard(provider, raw, caller)


def _heard(provider: str, raw: bytes, caller: Caller) -> Response:
    ack = payment_webhooks.receive(provider, caller.headers, raw, clock.now())
    return Response(ack.body, headers={"Content-Type": ack.content_type}, status_code=ack.status)


handler = entry(app)
