"""Schedule, and a supplier's notice: read what our suppliers sell, at what price, and what we have left with them."""

from shared.kernel import clock
from shared.kernel.events import Event, measured
from shared.steps import supplier_sync


@measured
def handler(event: Event, _: object) -> None:
    # By our own clock, not by the schedule's: some suppliers believe what is signed for no longer than a minute.
    if code := event.get("supplier"):
        supplier_sync.read_again(code, clock.now())
    else:
        supplier_sync.work(clock.now())
