"""The stock: cards, the lots they came in, and the files they come from."""
