"""One file per payment provider; none of them knows our tables."""
