"""Schedule: read what our suppliers sell, at what price, and what we have left with them."""

from shared.kernel import clock
from shared.kernel.events import on_schedule
from shared.steps import supplier_sync

# By our own clock, not by the schedule's: some suppliers believe what is signed for no longer than a minute.
handler = on_schedule(lambda _: supplier_sync.work(clock.now()))
