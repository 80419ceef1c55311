"""Schedule: hold the levels to the cards, take expired cards from the shelf, say what will soon expire."""

from shared.kernel.events import on_schedule
from shared.steps import stocktake

handler = on_schedule(stocktake.run)
