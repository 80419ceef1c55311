"""Schedule: fetch the bills of our payment providers."""

from shared.kernel.events import on_schedule
from shared.steps import bills

handler = on_schedule(bills.work)
