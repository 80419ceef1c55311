"""The channels table: each channel, its keys, and the list of all channels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from pynamodb.attributes import ListAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.expressions.condition import size

from shared.channels.credentials import Credential
from shared.channels.errors import ChannelTaken, TooManyChannels, TooManyKeys
from shared.kernel import clock, records, settings
from shared.kernel.channel import SHOP
from shared.kernel.errors import Busy, NotFound

CHANNELS_MAX = 100  # a list of their names is one small item; BatchGetItem reads as many at once
KEYS_MAX = 2  # valid at once: the one in use, and the one that takes its place
RESERVED = frozenset({SHOP, "safety", "anonymous"})  # our own shop, nobody's shelf, callers without a name

_LIST = "channels"


class KeyState(StrEnum):
    VALID = "valid"
    REVOKED = "revoked"


class Channel(records.Record):
    class Meta(records.Options):
        table_name = settings.table("channels")

    id = UnicodeAttribute(hash_key=True)  # channel#{channel}
    channel = UnicodeAttribute()
    name = UnicodeAttribute()
    keys: ListAttribute[Any] = ListAttribute(of=UnicodeAttribute)  # ids of the valid ones, the oldest first
    version = NumberAttribute(default=1)
    created_by = UnicodeAttribute()
    created_at = UnicodeAttribute()


class Key(records.Record):
    class Meta(records.Options):
        table_name = settings.table("channels")

    id = UnicodeAttribute(hash_key=True)  # key#{key_id}
    channel = UnicodeAttribute()
    digest = UnicodeAttribute()  # of the whole key; the secret itself is nowhere
    state = UnicodeAttribute()
    created_by = UnicodeAttribute()
    created_at = UnicodeAttribute()
    revoked_by = UnicodeAttribute(null=True)
    revoked_at = UnicodeAttribute(null=True)

    @property
    def key_id(self) -> str:
        return str(self.id).partition("#")[2]


class Names(records.Record):
    """The one list of all channels."""

    class Meta(records.Options):
        table_name = settings.table("channels")

    id = UnicodeAttribute(hash_key=True, default=_LIST)
    names: ListAttribute[Any] = ListAttribute(of=UnicodeAttribute)


def create(channel: str, name: str, key: Credential, by: str, now: datetime) -> None:
    """A new channel and its first key, or ChannelTaken."""
    if channel in RESERVED:
        raise ChannelTaken(channel=channel)
    try:
        with records.Transaction() as tx:
            tx.insert(
                "channel",
                Channel(
                    _id(channel),
                    channel=channel,
                    name=name,
                    keys=[key.key_id],
                    created_by=by,
                    created_at=clock.iso(now),
                ),
            )
            tx.insert("key", _new_key(channel, key, by, now))
            room = Names.names.does_not_exist() | (size(Names.names) < CHANNELS_MAX)
            tx.update("list", Names(_LIST), [Names.names.set((Names.names | []).append([channel]))], room)
    except records.Lost as lost:
        if "channel" in lost.refused:
            raise ChannelTaken(channel=channel) from None
        if "list" in lost.refused:
            raise TooManyChannels(limit=CHANNELS_MAX) from None
        raise Busy from None


def add_key(channel: str, key: Credential, by: str, now: datetime) -> None:
    """Another key beside the one in use; TooManyKeys if there are two already."""
    found = channel_of(channel)
    if len(found.keys) >= KEYS_MAX:
        raise TooManyKeys(limit=KEYS_MAX)
    try:
        with records.Transaction() as tx:
            tx.insert("key", _new_key(channel, key, by, now))
            _set_keys(tx, found, [*found.keys, key.key_id])
    except records.Lost:
        raise Busy from None


def revoke(channel: str, key_id: str, by: str, now: datetime) -> Key:
    """The key is good for nothing from now on; again is a success. NotFound if it is not this channel's."""
    key = key_of(key_id)
    if key is None or key.channel != channel:
        raise NotFound
    if key.state == KeyState.VALID:
        found = channel_of(channel)
        try:
            with records.Transaction() as tx:
                tx.update(
                    "key",
                    Key(key.id),
                    [Key.state.set(KeyState.REVOKED), Key.revoked_by.set(by), Key.revoked_at.set(clock.iso(now))],
                    Key.state == KeyState.VALID,
                )
                _set_keys(tx, found, [other for other in found.keys if other != key_id])
        except records.Lost:
            key = key_of(key_id)
            if key is None or key.state == KeyState.VALID:
                raise Busy from None
            return key
        key.refresh(consistent_read=True)
    return key


def channel_of(channel: str) -> Channel:
    """The channel, or NotFound."""
    try:
        return Channel.get(_id(channel), consistent_read=True)
    except Channel.DoesNotExist:
        raise NotFound from None


def key_of(key_id: str) -> Key | None:
    try:
        return Key.get(f"key#{key_id}", consistent_read=True)
    except Key.DoesNotExist:
        return None


def channels() -> list[Channel]:
    """All channels by name."""
    try:
        names = list(Names.get(_LIST, consistent_read=True).names)
    except Names.DoesNotExist:
        return []
    return sorted(Channel.batch_get([_id(name) for name in names]), key=lambda found: str(found.channel))


def keys(key_ids: Iterable[str]) -> dict[str, Key]:
    found = Key.batch_get([f"key#{key_id}" for key_id in key_ids])
    return {key.key_id: key for key in found}


def missing(names: Sequence[str]) -> list[str]:
    """Those of the names under which there is no channel."""
    wanted = sorted(set(names))
    found = {str(known.channel) for known in Channel.batch_get([_id(name) for name in wanted], consistent_read=True)}
    return [name for name in wanted if name not in found]


def _new_key(channel: str, key: Credential, by: str, now: datetime) -> Key:
    return Key(
        f"key#{key.key_id}",
        channel=channel,
        digest=key.digest,
        state=KeyState.VALID,
        created_by=by,
        created_at=clock.iso(now),
    )


def _set_keys(tx: records.Transaction, found: Channel, key_ids: Sequence[str]) -> None:
    tx.update(
        "channel",
        Channel(found.id),
        [Channel.keys.set(list(key_ids)), Channel.version.add(1)],
        Channel.version == found.version,
    )


def _id(channel: str) -> str:
    return f"channel#{channel}"
