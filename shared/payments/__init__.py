"""Payments: attempts to pay, money that came, refunds, and the providers behind them."""
