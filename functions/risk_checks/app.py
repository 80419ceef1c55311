"""Queue: paid orders -> cleared | held for review | refused."""

from shared.kernel.events import each_message
from shared.steps import risk_checks

handler = each_message(risk_checks.check)
