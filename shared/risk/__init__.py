"""Risk: whether a paid order may be delivered, must wait for a person, or is refused."""
