"""The sold cards of a recall, beside its head: what each buyer is owed for them, and what he got."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType

from pynamodb.attributes import UnicodeAttribute

from shared.kernel import records, settings
from shared.kernel.states import check_move

_PREFIX = "sold#"


class GoodState(StrEnum):
    OPEN = "open"
    REPLACED = "replaced"
    REFUNDED = "refunded"
    PERSON = "person"  # a person has to settle it with the buyer
    SKIPPED = "skipped"  # nothing is owed: the money had gone back before


MOVES: Mapping[GoodState, frozenset[GoodState]] = MappingProxyType(
    {
        GoodState.OPEN: frozenset({GoodState.REPLACED, GoodState.REFUNDED, GoodState.PERSON, GoodState.SKIPPED}),
        GoodState.REPLACED: frozenset(),
        GoodState.REFUNDED: frozenset(),
        GoodState.PERSON: frozenset(),
        GoodState.SKIPPED: frozenset(),
    }
)


class Good(records.Record):
    class Meta(records.Options):
        table_name = settings.table("jobs")

    job_id = UnicodeAttribute(hash_key=True)
    part = UnicodeAttribute(range_key=True)  # sold#{card_id}
    state = UnicodeAttribute(default=GoodState.OPEN)
    order_id = UnicodeAttribute()
    sku = UnicodeAttribute()
    replaced_by = UnicodeAttribute(null=True)
    refund_id = UnicodeAttribute(null=True)
    reason = UnicodeAttribute(null=True)

    @property
    def card_id(self) -> str:
        return str(self.part).removeprefix(_PREFIX)


def owe(tx: records.Transaction, job_id: str, card_id: str, order_id: str, sku: str) -> None:
    """Put a sold card on the list; the part that loses is named ``owed {card_id}``."""
    tx.insert(f"owed {card_id}", Good(job_id, _PREFIX + card_id, order_id=order_id, sku=sku))


def settle(
    tx: records.Transaction,
    job_id: str,
    card_id: str,
    state: GoodState,
    *,
    replaced_by: str | None = None,
    refund_id: str | None = None,
    reason: str | None = None,
) -> None:
    """Say what became of an open one; the part that loses is named ``owed {card_id}``."""
    check_move(MOVES, GoodState.OPEN, state)
    actions = [Good.state.set(state)]
    told = {"replaced_by": replaced_by, "refund_id": refund_id, "reason": reason}
    actions += [getattr(Good, name).set(value) for name, value in told.items() if value is not None]
    tx.update(f"owed {card_id}", Good(job_id, _PREFIX + card_id), actions, Good.state == GoodState.OPEN)


def page(job_id: str, after: str, limit: int) -> list[Good]:
    """At most so many of a recall, in the order of their cards' ids, those behind the card `after`."""
    behind = Good.part.between(f"{_PREFIX}{after}", f"{_PREFIX}~")
    found = Good.query(job_id, behind, consistent_read=True, limit=limit + 1, page_size=limit + 1)
    return [good for good in found if good.card_id != after][:limit]


def of_cards(job_id: str, card_ids: Iterable[str]) -> list[Good]:
    """Those of the cards that are on the list, in no order."""
    return list(Good.batch_get([(job_id, _PREFIX + card_id) for card_id in card_ids], consistent_read=True))
