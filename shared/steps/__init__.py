"""What each function does: the only place where capabilities meet."""
