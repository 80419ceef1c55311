"""Setting up channels and their keys, and knowing a channel by its key."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from datetime import datetime

from shared.channels import credentials
from shared.channels import records as channels
from shared.channels.contract import ChannelList, ChannelView, CreateChannel, KeyView, NewKey
from shared.channels.credentials import Credential
from shared.channels.errors import BadCredential
from shared.channels.records import KeyState
from shared.kernel import people
from shared.kernel.errors import TooManyTries
from shared.kernel.http import Caller
from shared.kernel.telemetry import logger
from shared.risk import records as risk

KNOWN_FOR = 60  # seconds a process believes a key it has read: a revoked one is good for no longer than that
KNOWN_MAX = 1_000  # keys a process remembers: five times as many as there can be
WRONG_MAX = 30  # wrong keys per address in a quarter of an hour; see steps.access

_known: dict[str, tuple[float, str]] = {}  # digest of a key → until when, its channel


def create(wanted: CreateChannel, by: str, now: datetime) -> NewKey:
    """A new channel with its first key."""
    key = _new_key()
    channels.create(wanted.channel, wanted.name, key, by, now)
    logger.info("channel created", channel=wanted.channel, by=by)
    return NewKey(channel=wanted.channel, key_id=key.key_id, key=key.text)


def add_key(channel: str, by: str, now: datetime) -> NewKey:
    """A second key, so that the first can be given up without an hour of silence."""
    key = _new_key()
    channels.add_key(channel, key, by, now)
    logger.info("channel key created", channel=channel, key_id=key.key_id, by=by)
    return NewKey(channel=channel, key_id=key.key_id, key=key.text)


def revoke(channel: str, key_id: str, by: str, now: datetime) -> KeyView:
    """Make a key worthless, within a minute everywhere."""
    key = channels.revoke(channel, key_id, by, now)
    logger.info("channel key revoked", channel=channel, key_id=key_id, by=by)
    return _key_view(key)


def show_all() -> ChannelList:
    found = channels.channels()
    keys = channels.keys(key_id for channel in found for key_id in channel.keys)
    return ChannelList(
        channels=[
            ChannelView(
                channel=str(channel.channel),
                name=str(channel.name),
                created_by=str(channel.created_by),
                created_at=str(channel.created_at),
                keys=[_key_view(keys[key_id]) for key_id in channel.keys if key_id in keys],
            )
            for channel in found
        ]
    )


def known(caller: Caller, now: datetime) -> Caller:
    """The caller as the channel its key proves it to be.

    BadCredential, always the same, for any other; TooManyTries for an address that goes on trying.
    """
    credential = credentials.parsed(caller.token)
    channel = _channel_of(credential) if credential else None
    if channel is None:
        if risk.tries("channel_key", people.hashed("address", caller.address), now) > WRONG_MAX:
            raise TooManyTries
        raise BadCredential
    return replace(caller, channel=channel)


def _channel_of(credential: Credential) -> str | None:
    until, channel = _known.get(credential.digest, (0.0, ""))
    if time.monotonic() < until:
        return channel
    key = channels.key_of(credential.key_id)
    if key is None or not credential.proves(str(key.digest)) or key.state != KeyState.VALID:
        _known.pop(credential.digest, None)
        return None
    if len(_known) >= KNOWN_MAX:
        _known.clear()
    _known[credential.digest] = (time.monotonic() + KNOWN_FOR, str(key.channel))
    return str(key.channel)


def _new_key() -> Credential:
    return credentials.new(os.urandom(credentials.ID_LENGTH + credentials.SECRET_LENGTH))


def _key_view(key: channels.Key) -> KeyView:
    return KeyView(
        key_id=key.key_id,
        state=str(key.state),
        created_by=str(key.created_by),
        created_at=str(key.created_at),
        revoked_by=str(key.revoked_by) if key.revoked_by else None,
        revoked_at=str(key.revoked_at) if key.revoked_at else None,
    )
