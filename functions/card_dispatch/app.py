"""Queue: cleared orders -> held cards bound, delivered."""

from shared.kernel.events import each_message
from shared.steps import card_dispatch

handler = each_message(card_dispatch.dispatch)
