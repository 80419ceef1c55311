"""Queue: lines that must be bought -> suppliers asked, one at a time, until they are delivered or given up."""

from shared.kernel.events import each_message
from shared.steps import purchasing

handler = each_message(purchasing.work)
"""One line in a message: `order_id`, `line`; by hops and hint see `purchasing.work`."""
