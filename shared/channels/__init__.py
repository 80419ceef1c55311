"""Channels: who else sells from our stock, and how each proves who it is."""
