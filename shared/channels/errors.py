"""How channels are told no, and those who set them up."""

from __future__ import annotations

from shared.kernel.errors import Refusal


class UnknownChannel(Refusal):
    """facts: channel."""

    code, status = "unknown_channel", 422
    zh = "没有渠道 {channel}。"
    en = "There is no channel {channel}."


class ChannelTaken(Refusal):
    """facts: channel. It exists, or the name has a meaning of its own."""

    code, status = "channel_taken", 409
    zh = "渠道名 {channel} 已被使用。"
    en = "The channel name {channel} is taken."


class TooManyChannels(Refusal):
    """facts: limit."""

    code, status = "too_many_channels", 409
    zh = "最多 {limit} 个渠道。"
    en = "There are at most {limit} channels."


class TooManyKeys(Refusal):
    """facts: limit. Revoke one first: two are for changing from one to the other."""

    code, status = "too_many_keys", 409
    zh = "该渠道已有 {limit} 个有效密钥，请先作废一个。"
    en = "The channel has {limit} valid keys already; revoke one of them first."


class BadCredential(Refusal):
    """Missing, unreadable, unknown, wrong or revoked: nobody learns which."""

    code, status = "bad_credential", 401
    zh = "渠道密钥无效。"
    en = "The channel credential is not valid."
