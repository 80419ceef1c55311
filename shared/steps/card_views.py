"""What staff may see of a card without seeing its code, and who has looked at codes."""

from __future__ import annotations

from shared.inventory import lots as lot_records
from shared.inventory import records as inventory
from shared.inventory import views
from shared.inventory.contract import CardLot, CardOrder, CardView, LookList, LookView
from shared.inventory.records import Card
from shared.kernel import clock, ids
from shared.kernel.errors import NotFound
from shared.orders import records as orders

PAGE = 50  # looks in one answer


def card(card_id: str, before: str | None) -> CardView:
    """The card, its lot, its order, and who has looked at its code; NotFound if there is none."""
    if not ids.is_id("crd", card_id):
        raise NotFound
    try:
        [found] = inventory.cards([card_id])
    except Card.DoesNotExist:
        raise NotFound from None
    lot = lot_records.lot_of(str(found.lot_id))
    looks = views.of_card(card_id, before, PAGE)
    return CardView(
        card_id=card_id,
        sku=str(found.sku),
        state=str(found.state),
        mask=found.mask,
        expires_on=found.expires_on,
        channel=found.channel,
        recall_id=found.recall_id,
        replaced_by=found.replaced_by,
        lot=CardLot(
            lot_id=str(lot.lot_id),
            label=str(lot.label),
            supplier=str(lot.supplier),
            purchase_id=lot.purchase_id,
            state=str(lot.state),
            received_at=str(lot.received_at),
        ),
        order=_order(str(found.order_id)) if found.order_id else None,
        views=[_look(look) for look in looks],
        next_cursor=_next(looks),
    )


def seen_by(name: str, before: str | None) -> LookList:
    """What a member of staff has looked at, the latest first."""
    looks = views.of_staff(name, before, PAGE)
    return LookList(views=[_look(look) for look in looks], next_cursor=_next(looks))


def _order(order_id: str) -> CardOrder:
    head = orders.head_of(order_id)
    return CardOrder(
        order_id=order_id, status=str(head.status), contact=str(head.contact_mask), channel=str(head.channel)
    )


def _look(look: views.View) -> LookView:
    return LookView(
        view_id=str(look.view_id),
        card_id=str(look.card_id),
        viewer=str(look.viewer),
        at=clock.iso(ids.moment(str(look.view_id))),
        reason=str(look.reason),
        order_id=look.order_id,
        export_id=look.export_id,
    )


def _next(looks: list[views.View]) -> str | None:
    return str(looks[-1].view_id) if len(looks) == PAGE else None
