"""Alipay's OpenAPI v2 gateway, for people and tests: signs and checks as it does, and keeps its own books.

Written from what is published about the protocol. It shares no code with Kaquan: the two meet only at the wire.
"""

from infra.local.alipay.gateway import AlipayGateway

__all__ = ["AlipayGateway"]
