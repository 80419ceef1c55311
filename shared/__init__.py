"""Kaquan's library: kernel, capabilities, and the steps that bring them together; it knows nothing of `functions/`."""
