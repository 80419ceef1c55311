"""Schedule: each minute whatever is overdue makes its next move."""

from shared.kernel.events import on_schedule
from shared.steps import deadlines

handler = on_schedule(deadlines.run)
