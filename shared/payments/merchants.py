"""The table `merchants`: our accounts with providers, and how well each of them answers; their keys lie elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from pynamodb.attributes import JSONAttribute, NumberAttribute, UnicodeAttribute

from shared.kernel import clock, records, settings
from shared.kernel.errors import Busy
from shared.payments import health
from shared.payments.errors import TooManyMerchants
from shared.payments.provider import Merchant

MERCHANTS_MAX = 40  # one item of the table holds them all, and every buyer's choice reads it
WINDOWS = 12  # the last hour

_LIST = "merchants"
_KEPT = timedelta(days=2)


class Listed(records.Record):
    """The one list of all merchants."""

    class Meta(records.Options):
        table_name = settings.table("merchants")

    id = UnicodeAttribute(hash_key=True, default=_LIST)
    merchants: JSONAttribute = JSONAttribute()
    version = NumberAttribute()


class Pulse(records.Record):
    """How a merchant's provider behaves now: `silent` counts the calls without an answer since the last answer."""

    class Meta(records.Options):
        table_name = settings.table("merchants")

    id = UnicodeAttribute(hash_key=True)  # pulse#{merchant}
    silent = NumberAttribute(default=0)
    out_until = UnicodeAttribute(null=True)
    notified_at = UnicodeAttribute(null=True)


class Window(records.Record):
    """What came of the calls of five minutes."""

    class Meta(records.Options):
        table_name = settings.table("merchants")

    id = UnicodeAttribute(hash_key=True)  # window#{merchant}#{start}
    answered = NumberAttribute(default=0)
    unanswered = NumberAttribute(default=0)
    spent_ms = NumberAttribute(default=0)  # waiting for answers
    expires = NumberAttribute()


class Behaviour(NamedTuple):
    """The last hour of a merchant's provider."""

    answered: int
    unanswered: int
    spent_ms: int


def listed() -> tuple[Merchant, ...]:
    """All merchants, in the order in which they are preferred."""
    return _merchants(_list())


def pulses(codes: Sequence[str]) -> dict[str, Pulse]:
    """How each behaves now; one that was never silent has none."""
    found = Pulse.batch_get([_pulse(code) for code in codes]) if codes else ()
    return {str(item.id).partition("#")[2]: item for item in found}


def save(merchant: Merchant) -> bool:
    """Add a merchant, or replace the one of its code; says whether it is new. Raises TooManyMerchants."""
    held = _list()
    known = {one.code: one for one in _merchants(held)}
    new = merchant.code not in known
    if new and len(known) >= MERCHANTS_MAX:
        raise TooManyMerchants(limit=MERCHANTS_MAX)
    known[merchant.code] = merchant
    version = int(held.version) if held else 0
    condition = Listed.version == version if held else Listed.id.does_not_exist()
    actions = [Listed.merchants.set([asdict(one) for one in known.values()]), Listed.version.set(version + 1)]
    try:
        records.update(Listed(), actions, condition)
    except records.Lost:
        raise Busy from None
    return new


def tell(code: str, answered: bool, spent_ms: int, streak: int, now: datetime) -> None:
    """Count a call; `streak` is how many were silent before it, as far as the caller knows."""
    start = health.window_of(now)
    Window(f"window#{code}#{clock.iso(start)}").update(
        [
            (Window.answered if answered else Window.unanswered).add(1),
            Window.spent_ms.add(spent_ms if answered else 0),
            Window.expires.set(int((start + _KEPT).timestamp())),
        ]
    )
    if not answered:
        pulse = Pulse(_pulse(code))
        pulse.update([Pulse.silent.add(1)])
        if out := health.out_for(int(pulse.silent)):
            pulse.update([Pulse.out_until.set(clock.iso(now + out))])
    elif streak:
        Pulse(_pulse(code)).update([Pulse.silent.set(0), Pulse.out_until.remove()])


def notified(code: str, now: datetime) -> None:
    Pulse(_pulse(code)).update([Pulse.notified_at.set(clock.iso(now))])


def behaviour(code: str, now: datetime) -> Behaviour:
    """What came of the calls of the last hour."""
    starts = [health.window_of(now) - health.WINDOW * back for back in range(WINDOWS)]
    seen = list(Window.batch_get([f"window#{code}#{clock.iso(start)}" for start in starts]))
    return Behaviour(
        sum(int(one.answered) for one in seen),
        sum(int(one.unanswered) for one in seen),
        sum(int(one.spent_ms) for one in seen),
    )


def _list() -> Listed | None:
    try:
        return Listed.get(_LIST, consistent_read=True)
    except Listed.DoesNotExist:
        return None


def _merchants(held: Listed | None) -> tuple[Merchant, ...]:
    members: list[dict[str, Any]] = held.merchants if held else []
    return tuple(
        Merchant(**{**one, "methods": tuple(one["methods"]), "channels": tuple(one["channels"])}) for one in members
    )


def _pulse(code: str) -> str:
    return f"pulse#{code}"
