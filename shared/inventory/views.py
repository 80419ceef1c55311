"""Every look at a code: written before the code is shown, never changed, found by card and by member of staff."""

from __future__ import annotations

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

    card_id = UnicodeAttribute(hash_key=True)
    view_id = UnicodeAttribute(range_key=True)
    order_id = UnicodeAttribute(null=True)
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
    staff: bool = False,
) -> None:
    """Write down who is about to see these codes; only after this returns may they be shown."""
    looks = [
        View(
            card_id,
            ids.new("view", now),
            order_id=order_id,
            viewer=viewer,
            staff=viewer if staff else None,
            address=address,
            reason=reason,
        )
        for card_id in card_ids
    ]
    if len(looks) == 1:
        looks[0].save()
        return
    with View.batch_write() as batch:
        for look in looks:
            batch.save(look)
