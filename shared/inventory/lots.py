"""Lots: cards that came together from one supplier, by one purchase, in one import; each with its own data key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from enum import StrEnum

from pynamodb.attributes import BinaryAttribute, JSONAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.expressions.condition import Condition
from pynamodb.indexes import GlobalSecondaryIndex, KeysOnlyProjection

from shared.kernel import clock, records, settings
from shared.kernel.errors import NotFound
from shared.kernel.vault import LotKey

PAGE = 100  # lots in one answer of a walk over all of them


class LotState(StrEnum):
    OPEN = "open"
    RECALLED = "recalled"
    UNDONE = "undone"  # the import that brought it was taken back
    DESTROYING = "destroying"  # its unsold cards are written off, before its keys go
    DESTROYED = "destroyed"  # its keys are gone: no card of it can be read again


class BySupplier(GlobalSecondaryIndex["Lot"]):
    class Meta(records.Options):
        index_name = "supplier"
        projection = KeysOnlyProjection()

    supplier = UnicodeAttribute(hash_key=True)
    received_at = UnicodeAttribute(range_key=True)


class ByPurchase(GlobalSecondaryIndex["Lot"]):
    class Meta(records.Options):
        index_name = "purchase"
        projection = KeysOnlyProjection()

    purchase_id = UnicodeAttribute(hash_key=True)
    lot_id = UnicodeAttribute(range_key=True)


class Lot(records.Record):
    class Meta(records.Options):
        table_name = settings.table("lots")

    lot_id = UnicodeAttribute(hash_key=True)
    label = UnicodeAttribute()
    supplier = UnicodeAttribute()
    purchase_id = UnicodeAttribute(null=True)
    source = UnicodeAttribute()  # the file or the process it came by
    job_id = UnicodeAttribute(null=True)  # the import that brought it
    documents: JSONAttribute = JSONAttribute(null=True)  # where its papers lie: names and addresses
    state = UnicodeAttribute(default=LotState.OPEN)
    received_at = UnicodeAttribute()
    recall_id = UnicodeAttribute(null=True)  # the first recall that found it bad
    key_version = NumberAttribute()  # the version that new cards are sealed with
    wrapped_key = BinaryAttribute(legacy_encoding=False, null=True)
    older_key = BinaryAttribute(
        legacy_encoding=False, null=True
    )  # version key_version - 1, while cards move to the new
    by_supplier = BySupplier()
    by_purchase = ByPurchase()

    def wrapped(self, version: int) -> bytes | None:
        """The wrapped data key of a version; None once it is destroyed."""
        key = {int(self.key_version): self.wrapped_key, int(self.key_version) - 1: self.older_key}.get(version)
        return None if key is None else bytes(key)


def new_lot(
    lot_id: str,
    label: str,
    supplier: str,
    source: str,
    wrapped: bytes,
    version: int,
    now: datetime,
    *,
    purchase_id: str | None = None,
    job_id: str | None = None,
    documents: Mapping[str, str] | None = None,
) -> Lot:
    """Insert a lot, or raise Lost if its id is taken."""
    lot = Lot(
        lot_id,
        label=label,
        supplier=supplier,
        source=source,
        purchase_id=purchase_id,
        job_id=job_id,
        documents=dict(documents) if documents else None,
        wrapped_key=wrapped,
        key_version=version,
        received_at=clock.iso(now),
    )
    records.insert(lot)
    return lot


def sealed_with(tx: records.Transaction, lot_id: str, version: int) -> None:
    """Insist that the lot takes cards, and seals them with this version of its key."""
    tx.check(f"lot {lot_id}", Lot, (lot_id,), (Lot.state == LotState.OPEN) & (Lot.key_version == version))


def lot_of(lot_id: str) -> Lot:
    """The lot as it is now, or NotFound; quotas lie in the same table, and one of those is none."""
    try:
        if lot_id.startswith("lot_"):
            return Lot.get(lot_id, consistent_read=True)
    except Lot.DoesNotExist:
        pass
    raise NotFound


def lots(lot_ids: Iterable[str]) -> dict[str, Lot]:
    wanted = sorted(set(lot_ids))
    if len(wanted) == 1:
        return {wanted[0]: Lot.get(wanted[0], consistent_read=True)}
    return {str(lot.lot_id): lot for lot in Lot.batch_get(wanted, consistent_read=True)}


def known(lot_ids: Iterable[str]) -> dict[str, Lot]:
    """Those of the lots that are there, by their ids."""
    return {str(lot.lot_id): lot for lot in Lot.batch_get(sorted(set(lot_ids)), consistent_read=True)}


def of_supplier(supplier: str, start: datetime, end: datetime) -> list[str]:
    """Ids of the lots that a supplier's deliveries brought from `start` until before `end`, in their order."""
    return [str(lot.lot_id) for lot in Lot.by_supplier.query(supplier, _within(start, end))]


def latest(
    supplier: str, start: datetime, end: datetime, limit: int, before: tuple[str, str] | None
) -> list[tuple[str, str]]:
    """(received_at, id) of a supplier's lots of a period, the latest first, those behind the one named `before`."""
    place = (
        {"received_at": {"S": before[0]}, "lot_id": {"S": before[1]}, "supplier": {"S": supplier}} if before else None
    )
    found = Lot.by_supplier.query(
        supplier,
        _within(start, end),
        scan_index_forward=False,
        limit=limit,
        page_size=limit,
        last_evaluated_key=place,
    )
    return [(str(lot.received_at), str(lot.lot_id)) for lot in found]


def of_purchase(purchase_id: str) -> list[str]:
    return [str(lot.lot_id) for lot in Lot.by_purchase.query(purchase_id)]


def undo(lot_id: str) -> bool:
    """Say that a lot was taken back, so that its codes may come in again; False if it was recalled or destroyed."""
    try:
        records.update(Lot(lot_id), [Lot.state.set(LotState.UNDONE)], Lot.state.is_in(LotState.OPEN, LotState.UNDONE))
    except records.Lost:
        return False
    return True


def recall(lot_id: str, recall_id: str) -> None:
    """Say that a lot was found bad. One that was undone or destroyed stays what it is; again changes nothing."""
    with suppress(records.Lost):
        records.update(
            Lot(lot_id),
            [Lot.state.set(LotState.RECALLED), Lot.recall_id.set(recall_id)],
            Lot.state == LotState.OPEN,
        )


def exchange_key(tx: records.Transaction, lot: Lot, key: LotKey) -> None:
    """Seal new cards with another key, and keep the one before for those that are there; the part is named ``lot``."""
    tx.update(
        "lot",
        Lot(lot.lot_id),
        [Lot.key_version.set(key.version), Lot.older_key.set(lot.wrapped_key), Lot.wrapped_key.set(key.wrapped)],
        Lot.state.is_in(LotState.OPEN, LotState.RECALLED, LotState.UNDONE)
        & (Lot.wrapped_key == lot.wrapped_key)
        & Lot.older_key.does_not_exist(),
    )


def drop_older_key(tx: records.Transaction, lot_id: str, version: int) -> None:
    """No card needs the key before this version any more."""
    tx.update("lot", Lot(lot_id), [Lot.older_key.remove()], Lot.key_version == version)


def rewrap(lot: Lot, wrapped: bytes, older: bytes | None) -> None:
    """Replace the wrapped keys of the lot as it was read, or raise Lost."""
    condition = Lot.wrapped_key == lot.wrapped_key
    actions = [Lot.wrapped_key.set(wrapped)]
    if older is None:
        condition &= Lot.older_key.does_not_exist()
    else:
        condition &= Lot.older_key == lot.older_key
        actions.append(Lot.older_key.set(older))
    records.update(Lot(lot.lot_id), actions, condition, "lot")


def give_up(tx: records.Transaction, lot_id: str) -> None:
    """Nothing comes into the lot any more: it is about to be destroyed; the part is named ``lot``."""
    tx.update("lot", Lot(lot_id), [Lot.state.set(LotState.DESTROYING)], Lot.state != LotState.DESTROYED)


def destroy(tx: records.Transaction, lot_id: str) -> None:
    """Forget the lot's keys: nobody can read a card of it again."""
    tx.update(
        "lot",
        Lot(lot_id),
        [Lot.state.set(LotState.DESTROYED), Lot.wrapped_key.remove(), Lot.older_key.remove()],
        Lot.state == LotState.DESTROYING,
    )


def keyed(after: str = "") -> Iterator[Lot]:
    """All lots that have keys, in the table's order, those behind `after`."""
    start = {"lot_id": {"S": after}} if after else None
    return iter(Lot.scan(Lot.wrapped_key.exists(), last_evaluated_key=start, page_size=PAGE))


def _within(start: datetime, end: datetime) -> Condition:
    """From `start` until before `end`; moments are written to the millisecond."""
    within: Condition = BySupplier.received_at.between(clock.iso(start), clock.iso(end - timedelta(milliseconds=1)))
    return within
