"""Every look at a code, or at the account of a top-up that is bought by hand: written before it is shown, never
changed, found by card and by member of staff."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

from pynamodb.attributes import UnicodeAttribute
from pynamodb.indexes import GlobalSecondaryIndex, KeysOnlyProjection

from shared.kernel import ids, records, settings


class ByStaff(GlobalSecondaryIndex["View"]):
    """Sparse: what a member of staff has seen. A buyer's own looks are found by his cards."""

    class Meta(records.Options):
        index_name = "staff"
        projection = KeysOnlyProjection()

    staff = UnicodeAttribute(hash_key=True)
    view_id = UnicodeAttribute(range_key=True)


class View(records.Record):
    class Meta(records.Options):
        table_name = settings.table("views")

    card_id = UnicodeAttribute(hash_key=True)  # or, of an account, the number of its attempt to buy
    view_id = UnicodeAttribute(range_key=True)
    order_id = UnicodeAttribute(null=True)
    export_id = UnicodeAttribute(null=True)
    viewer = UnicodeAttribute()  # ``buyer``, or the name of a member of staff
    staff = UnicodeAttribute(null=True)
    address = UnicodeAttribute()  # keyed hash
    reason = UnicodeAttribute()
    by_staff = ByStaff()


def record(
    card_ids: Sequence[str],
    viewer: str,
    address: str,
    reason: str,
    now: datetime,
    *,
    order_id: str | None = None,
    export_id: str | None = None,
    staff: bool = False,
) -> None:
    """Write down who is about to see these codes; only after this returns may they be shown.

    The looks of an export are the same ones when they are written again with the same `now`.
    """
    looks = [
        View(
            card_id,
            ids.new("view", now, _of_export(export_id, card_id) if export_id else None),
            order_id=order_id,
            export_id=export_id,
            viewer=viewer,
            staff=viewer if staff else None,
            address=address,
            reason=reason,
        )
        for card_id in card_ids
    ]
    if len(looks) == 1 and not export_id:
        looks[0].save()
        return
    with View.batch_write() as batch:
        for look in looks:
            batch.save(look)


def of_card(card_id: str, before: str | None, limit: int) -> list[View]:
    """Who saw this card, the latest look first; with `before`, the looks older than that one."""
    older = View.view_id < before if before else None
    return list(View.query(card_id, older, scan_index_forward=False, limit=limit, page_size=limit))


def of_staff(name: str, before: str | None, limit: int) -> list[View]:
    """What this person saw, the latest look first."""
    older = ByStaff.view_id < before if before else None
    found = View.by_staff.query(name, older, scan_index_forward=False, limit=limit, page_size=limit)
    keys = [(str(look.card_id), str(look.view_id)) for look in found]
    by_key = {(str(look.card_id), str(look.view_id)): look for look in View.batch_get(keys)} if keys else {}
    return [by_key[key] for key in keys if key in by_key]


def _of_export(export_id: str, card_id: str) -> bytes:
    return hashlib.sha256(f"{export_id}|{card_id}".encode()).digest()[:10]
