"""Orders: what was agreed, how far it has come, and the only moves it can make."""
