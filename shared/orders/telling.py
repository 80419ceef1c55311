"""What the buyer of an order is told about it after delivery."""

from __future__ import annotations

from shared.kernel import records
from shared.orders.notices import Notice
from shared.orders.records import HEAD, Head


def tell(tx: records.Transaction, head: Head, notice: Notice) -> None:
    """Let the buyer read this with his order; the part that loses, as ``order``, is an order that has moved."""
    tx.update(
        "order",
        Head(head.order_id, HEAD),
        [Head.notice.set(notice), Head.version.add(1)],
        (Head.status == head.status) & (Head.version == head.version),
    )
