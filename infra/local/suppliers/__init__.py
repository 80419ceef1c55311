"""Stand-ins for real suppliers: each speaks one supplier's published protocol and keeps the books of what it sold.

They share no code with Kaquan and meet it only at the wire. What all have in common is in common.py and ledger.py.
"""
