"""Suppliers: who sells to us. None is connected yet; the supplier hub brings the adapters."""
