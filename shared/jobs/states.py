"""The kinds of jobs and the states they go through."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class JobKind(StrEnum):
    CARDS = "cards"  # a card file comes in
    CATALOGUE = "catalogue"  # a catalogue file comes in
    RECALL = "recall"
    EXPORT = "export"
    LOT_KEY = "lot_key"  # a lot gets a new data key
    WRAPPING = "wrapping"  # all data keys are wrapped anew by the vault's key
    PEPPER = "pepper"  # all cards get fingerprints under a new pepper
    DESTRUCTION = "destruction"  # a lot's keys are forgotten
    CONFIRMATION = "confirmation"  # money that its provider has not told us of; done by the request that approves it


class JobState(StrEnum):
    CREATED = "created"  # waits for its file, or for a second person
    CHECKING = "checking"
    CHECKED = "checked"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNDOING = "undoing"
    UNDONE = "undone"


MOVES: Mapping[JobState, frozenset[JobState]] = MappingProxyType(
    {
        JobState.CREATED: frozenset({JobState.CHECKING, JobState.RUNNING, JobState.CANCELLED}),
        JobState.CHECKING: frozenset({JobState.CHECKED, JobState.FAILED, JobState.CANCELLED}),
        JobState.CHECKED: frozenset({JobState.RUNNING, JobState.CANCELLED}),
        JobState.RUNNING: frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED}),
        JobState.DONE: frozenset({JobState.RUNNING, JobState.UNDOING}),  # a recall that is asked for again runs again
        JobState.FAILED: frozenset({JobState.UNDOING}),
        JobState.CANCELLED: frozenset({JobState.UNDOING}),
        JobState.UNDOING: frozenset({JobState.UNDONE}),
        JobState.UNDONE: frozenset({JobState.UNDOING}),  # what was held the first time may be free by now
    }
)

WORKED_ON = frozenset({JobState.CHECKING, JobState.RUNNING, JobState.UNDOING})
"""A worker is at it, or its message is on the way."""
