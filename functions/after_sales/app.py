"""Queue: refused orders and requested refunds -> money back."""

from shared.kernel.events import each_message
from shared.steps import after_sales

handler = each_message(after_sales.work)
