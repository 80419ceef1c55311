"""A stand-in for WeChat Pay APIv3 on 127.0.0.1, written from its published protocol.

It shares no code with Kaquan: the two meet only at the wire, as with WeChat itself.
"""

from infra.local.wechat.simulator import WeChatPay

__all__ = ["WeChatPay"]
