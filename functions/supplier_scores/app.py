"""Schedule: score whom we buy from by what came of it, and say what should be bought for stock."""

from shared.kernel.events import on_schedule
from shared.steps import supplier_scores

handler = on_schedule(supplier_scores.run)
