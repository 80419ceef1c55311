"""A payment provider for people and tests: it charges pretended money and keeps its own books.

It shares no code with Kaquan: the two meet only at the wire, as with a real provider.
"""

from infra.local.sandbox.provider import SandboxProvider

__all__ = ["SandboxProvider"]
