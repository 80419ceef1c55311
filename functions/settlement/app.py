"""Schedule: close the day."""

from shared.kernel.events import on_schedule
from shared.steps import settlement

handler = on_schedule(settlement.work)
