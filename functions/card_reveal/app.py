"""HTTP: the only door that can decrypt a code."""

from shared.inventory.errors import CodeUnreadable
from shared.kernel import clock
from shared.kernel.errors import NotFound, TooManyTries
from shared.kernel.http import Caller, answers, door, entry
from shared.orders.contract import RevealView
from shared.orders.errors import NotDelivered, NotOpen
from shared.steps import access, card_reveal

app = door("card_reveal")


@app.route("/orders/{order_id}/reveal", methods=["POST"])
@answers(RevealView, secured="buyer", refusals=(NotFound, TooManyTries, NotDelivered, NotOpen, CodeUnreadable))
def reveal(order_id: str, caller: Caller) -> RevealView:
    """Show the codes of a delivered order; each look is recorded."""
    now = clock.now()
    access.check(order_id, caller, now)
    return card_reveal.reveal(order_id, caller, now)


handler = entry(app)
