"""Who works here: the roles of operators, what each may do, and the proof of who is calling."""
