"""What the shop looks like from above: how many cards are in which state, per SKU, per channel and per lot."""
