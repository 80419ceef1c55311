"""Parts of the table `suppliers`: how orders for a SKU go at a supplier, and how many calls he has at once."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from random import Random
from typing import NamedTuple

from pynamodb.attributes import NumberAttribute, UnicodeAttribute

from shared.kernel import clock, records, settings
from shared.suppliers import breaker
from shared.suppliers.breaker import Pulse

TRIES = 3  # lost races over one pulse: it is a hint, and one order more or less does not change it

_KEPT = timedelta(days=30)


class Beat(records.Record):
    class Meta(records.Options):
        table_name = settings.table("suppliers")

    code = UnicodeAttribute(hash_key=True)
    part = UnicodeAttribute(range_key=True)  # pulse#{sku}
    version = NumberAttribute(default=0)
    row = NumberAttribute(default=0)
    good = NumberAttribute(default=0)
    bad = NumberAttribute(default=0)
    since = UnicodeAttribute(null=True)
    shut_at = UnicodeAttribute(null=True)
    probed_at = UnicodeAttribute(null=True)
    pieces_e3 = NumberAttribute(default=0)  # delivered lately: older ones count less and less
    pieces_at = UnicodeAttribute(null=True)
    expires = NumberAttribute()

    @property
    def pulse(self) -> Pulse:
        return Pulse(
            int(self.row),
            int(self.good),
            int(self.bad),
            *(clock.parse(str(at)) if at else None for at in (self.since, self.shut_at, self.probed_at)),
        )


class Slot(records.Record):
    """The right to make one call: taken until `free_at`, also by a process that has died."""

    class Meta(records.Options):
        table_name = settings.table("suppliers")

    code = UnicodeAttribute(hash_key=True)
    part = UnicodeAttribute(range_key=True)  # slot#{n}
    free_at = UnicodeAttribute()


class Doing(NamedTuple):
    """pieces: delivered lately, in thousandths."""

    pulse: Pulse
    pieces_e3: int


def of(sku: str, suppliers: Iterable[str], now: datetime) -> dict[str, Doing]:
    """How each of the suppliers does with a SKU; one that nothing was bought of has none."""
    keys = [(code, f"pulse#{sku}") for code in sorted(set(suppliers))]
    found = Beat.batch_get(keys) if keys else ()
    return {str(beat.code): Doing(beat.pulse, _faded(beat, now)) for beat in found}


def tell(supplier: str, sku: str, good: bool, pieces: int, now: datetime) -> None:
    """An order for so many pieces has ended well, or has not."""
    for _ in range(TRIES):
        beat = _beat(supplier, sku)
        pulse = breaker.after(beat.pulse if beat else Pulse(), good, now)
        if _put(supplier, sku, beat, pulse, now, pieces if good else 0):
            return


def probe(supplier: str, sku: str, now: datetime) -> bool:
    """Let one order through to a supplier that is left alone; False if another one has just gone."""
    beat = _beat(supplier, sku)
    if beat is None or breaker.gate(beat.pulse, now) is not breaker.Gate.PROBE:
        return beat is None or breaker.gate(beat.pulse, now) is breaker.Gate.OPEN
    return _put(supplier, sku, beat, breaker.probing(beat.pulse, now), now)


def take(supplier: str, slots: int, until: datetime, now: datetime, chance: Random) -> int | None:
    """One of the supplier's slots, which is free again at `until` at the latest; None where all are taken."""
    for number in chance.sample(range(slots), slots):
        free = Slot.free_at.does_not_exist() | (Slot.free_at <= clock.iso(now))
        try:
            records.update(Slot(supplier, f"slot#{number}"), [Slot.free_at.set(clock.iso(until))], free)
        except records.Lost:
            continue
        return number
    return None


def give_back(supplier: str, slot: int, at: datetime) -> None:
    """The call is over; the slot is free from a moment on, which keeps the supplier's rate."""
    Slot(supplier, f"slot#{slot}").update([Slot.free_at.set(clock.iso(at))])


def _beat(supplier: str, sku: str) -> Beat | None:
    try:
        return Beat.get(supplier, f"pulse#{sku}", consistent_read=True)
    except Beat.DoesNotExist:
        return None


def _faded(beat: Beat, now: datetime) -> int:
    if not beat.pieces_at:
        return 0
    days = max(0.0, (now - clock.parse(str(beat.pieces_at))) / timedelta(days=1))
    return int(int(beat.pieces_e3) * 0.5**days)


def _put(supplier: str, sku: str, before: Beat | None, pulse: Pulse, now: datetime, pieces: int = 0) -> bool:
    values = {
        "row": pulse.row,
        "good": pulse.good,
        "bad": pulse.bad,
        "since": pulse.since and clock.iso(pulse.since),
        "shut_at": pulse.shut_at and clock.iso(pulse.shut_at),
        "probed_at": pulse.probed_at and clock.iso(pulse.probed_at),
        "pieces_e3": (_faded(before, now) if before else 0) + 1000 * pieces,
        "pieces_at": clock.iso(now),
    }
    actions = [getattr(Beat, key).set(value) for key, value in values.items() if value is not None]
    actions += [getattr(Beat, key).remove() for key, value in values.items() if value is None]
    actions += [Beat.version.add(1), Beat.expires.set(int((now + _KEPT).timestamp()))]
    condition = Beat.version == before.version if before else Beat.code.does_not_exist()
    try:
        records.update(Beat(supplier, f"pulse#{sku}"), actions, condition)
    except records.Lost:
        return False
    return True
