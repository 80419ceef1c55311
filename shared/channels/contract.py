"""What crosses the HTTP edge about channels."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shared.kernel.http import Shape


class CreateChannel(Shape):
    channel: Annotated[str, Field(min_length=2, max_length=32, pattern=r"^[a-z][a-z0-9-]*$")]
    name: Annotated[str, Field(min_length=1, max_length=64)]


class NewKey(Shape):
    """`key` is shown this once and is stored nowhere."""

    channel: str
    key_id: str
    key: str


class KeyView(Shape):
    key_id: str
    state: str
    created_by: str
    created_at: str
    revoked_by: str | None
    revoked_at: str | None


class ChannelView(Shape):
    """`keys`: those that are valid."""

    channel: str
    name: str
    created_by: str
    created_at: str
    keys: list[KeyView]


class ChannelList(Shape):
    channels: list[ChannelView]
