"""Orders and payments as their buyers see them."""

from __future__ import annotations

from datetime import datetime

from shared.kernel import tokens
from shared.kernel.errors import Refusal
from shared.kernel.http import Amount, Caller
from shared.kernel.money import Money
from shared.orders import records as orders
from shared.orders.contract import (
    LineView,
    NoticeView,
    OrderView,
    PaymentView,
    PlacedOrder,
    PlaceOrder,
    ProblemView,
)
from shared.orders.notices import NOTICES, Notice
from shared.payments import records as payments
from shared.steps import provider_calls


def order_view(order: orders.Order) -> OrderView:
    head, given_back = order.head, order.given_back
    return OrderView(
        order_id=order.order_id,
        status=str(head.status),
        total=amount_of(head.total),
        channel=str(head.channel),
        contact=str(head.contact_mask),
        placed_at=str(head.placed_at),
        expires_at=str(head.expires_at),
        lines=[
            LineView(
                sku=str(line.sku),
                title=str(line.title),
                quantity=int(line.quantity),
                amount=amount_of(line.amount),
                state="refunded" if line.number in given_back else head.lines[line.number],
                got=None if line.got is None else int(line.got),
                account=line.account_mask,
                proof=line.proof,
            )
            for line in order.lines
        ],
        delivered_at=str(head.delivered_at) if head.delivered_at else None,
        notice=NoticeView(code=head.notice, **NOTICES[Notice(head.notice)]._asdict()) if head.notice else None,
    )


def placed_view(
    head: orders.Head, payment: payments.Payment, caller: Caller, wanted: PlaceOrder, now: datetime
) -> PlacedOrder:
    """The order and how to pay it; where its provider has not said how, the reason why, for the order is placed."""
    try:
        view = payment_view(payment, caller, wanted.return_url or "", wanted.payer or "", now)
    except Refusal as said:
        why = ProblemView(code=said.code, zh=said.sentence("zh"), en=said.sentence("en"), retryable=said.retryable)
        view = PaymentView(provider=str(payment.provider), payment_id=str(payment.id), problem=why)
    return PlacedOrder(
        order_id=str(head.order_id),
        status=str(head.status),
        total=amount_of(head.total),
        expires_at=str(head.expires_at),
        access_token=tokens.access_token(str(head.order_id)),
        payment=view,
    )


def payment_view(payment: payments.Payment, caller: Caller, return_url: str, payer: str, now: datetime) -> PaymentView:
    """How to pay an attempt; raises what its provider refuses it with."""
    intent = provider_calls.begin(payment, caller, return_url, payer, now)
    return PaymentView(
        provider=str(payment.provider),
        payment_id=str(payment.id),
        redirect_url=intent.redirect_url,
        qr_url=intent.qr_url,
        client_params=dict(intent.client_params) if intent.client_params else None,
    )


def amount_of(money: Money) -> Amount:
    return Amount(amount_minor=money.minor, currency=money.currency)
