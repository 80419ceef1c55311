"""An order whose cards were recalled: other cards in their place, and a word to the buyer."""

from __future__ import annotations

from collections.abc import Mapping

from shared.kernel import records
from shared.orders.notices import Notice
from shared.orders.records import HEAD, Head, Line, Order


def exchange(tx: records.Transaction, order: Order, by: Mapping[str, str]) -> None:
    """Put other cards in the place of some: old → new. Parts ``order`` and ``cards …`` lose if the order has moved.

    The lines stay delivered; each counts how many of its cards were replaced.
    """
    for line in order.lines:
        old = [str(card_id) for card_id in line.card_ids]
        new = [by.get(card_id, card_id) for card_id in old]
        if new != old:
            exchanged = sum(1 for before, after in zip(old, new, strict=True) if before != after)
            tx.update(
                f"cards {line.part}",
                Line(line.order_id, line.part),
                [Line.card_ids.set(new), Line.replaced.add(exchanged)],
                Line.card_ids == old,
            )
    tx.update(
        "order",
        Head(order.head.order_id, HEAD),
        [Head.notice.set(Notice.REPLACED), Head.version.add(1)],
        (Head.status == order.head.status) & (Head.version == order.head.version),
    )


def tell(tx: records.Transaction, order_id: str, notice: Notice) -> None:
    """Let the buyer read this with his order."""
    tx.update("notice", Head(order_id, HEAD), [Head.notice.set(notice)], Head.status.exists())
