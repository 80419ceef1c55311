"""The payments table: our attempts, the money that providers say came, and refunds. Money is never rejected."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta

from pynamodb.attributes import NumberAttribute, UnicodeAttribute
from pynamodb.indexes import GlobalSecondaryIndex, KeysOnlyProjection

from shared.kernel import clock, ids, records, settings
from shared.kernel.errors import NotFound
from shared.kernel.money import Money
from shared.payments.errors import UnknownMoney, UnknownPayment
from shared.payments.provider import Attempt, Charge, RefundRequest
from shared.payments.states import MoneyState, RefundState

DUE = "due#refund#0"

NO_ORDER = "-"
"""Where the order's id would stand: money that came for nothing we know of."""

UNKNOWN_PAYMENT = "unknown_payment"

REFUND_WITHIN = timedelta(minutes=2)
"""A refund is sent within seconds of being requested; later than this its message is lost and sent again."""


class Due(GlobalSecondaryIndex["Refund"]):
    class Meta(records.Options):
        index_name = "due"
        projection = KeysOnlyProjection()

    due = UnicodeAttribute(hash_key=True)
    due_at = UnicodeAttribute(range_key=True)


class Payment(records.Record):
    """One attempt to pay one order: our own record of what a notification must match.

    Whether it was paid is said by the money that came for it, and by the order's `paid_by`. `provider` is the code of
    the merchant whose provider it is for.
    """

    class Meta(records.Options):
        table_name = settings.table("payments")

    id = UnicodeAttribute(hash_key=True)
    order_id = UnicodeAttribute()
    provider = UnicodeAttribute()
    method = UnicodeAttribute(null=True)  # not said where the provider has but one
    amount_minor = NumberAttribute()
    currency = UnicodeAttribute()
    subject = UnicodeAttribute()
    expires_at = UnicodeAttribute()
    reference = UnicodeAttribute(null=True)  # the provider's own name for it

    @property
    def amount(self) -> Money:
        return Money(int(self.amount_minor), str(self.currency))

    @property
    def attempt(self) -> Attempt:
        return Attempt(
            str(self.id),
            str(self.method or self.provider),
            self.amount,
            str(self.subject),
            clock.parse(str(self.expires_at)),
            str(self.reference) if self.reference else None,
        )


class Received(records.Record):
    """Money, as its own fact, under the provider's own number: the same money can be recorded only once."""

    class Meta(records.Options):
        table_name = settings.table("payments")

    id = UnicodeAttribute(hash_key=True)  # money#{provider}#{provider_no}
    order_id = UnicodeAttribute()
    payment_id = UnicodeAttribute()
    provider = UnicodeAttribute()
    provider_no = UnicodeAttribute()
    amount_minor = NumberAttribute()
    currency = UnicodeAttribute()
    paid_at = UnicodeAttribute()
    received_at = UnicodeAttribute()
    raw = UnicodeAttribute()
    state = UnicodeAttribute()
    use = UnicodeAttribute(null=True)  # what was done with it

    @property
    def amount(self) -> Money:
        return Money(int(self.amount_minor), str(self.currency))


class Refund(records.Record):
    """Money on its way back to one buyer by the way it came."""

    class Meta(records.Options):
        table_name = settings.table("payments")

    id = UnicodeAttribute(hash_key=True)
    order_id = UnicodeAttribute()
    provider = UnicodeAttribute()
    provider_no = UnicodeAttribute()
    payment_id = UnicodeAttribute()
    charged_minor = NumberAttribute()  # all of the charge
    amount_minor = NumberAttribute()  # what of it goes back
    currency = UnicodeAttribute()
    reason = UnicodeAttribute()
    of_order = UnicodeAttribute(null=True)  # set where the order itself waits for this refund
    asked = UnicodeAttribute(null=True)  # a digest of the request, where its key names the refund
    state = UnicodeAttribute()
    requested_at = UnicodeAttribute()
    requested_by = UnicodeAttribute()
    tries = NumberAttribute(default=0)
    due = UnicodeAttribute(null=True)
    due_at = UnicodeAttribute(null=True)
    by_due = Due()

    @property
    def amount(self) -> Money:
        return Money(int(self.amount_minor), str(self.currency))

    @property
    def request(self) -> RefundRequest:
        """What its provider is told about it."""
        return RefundRequest(
            str(self.id),
            str(self.payment_id),
            str(self.provider_no),
            Money(int(self.charged_minor), str(self.currency)),
            self.amount,
            str(self.reason),
        )


def open_payment(
    tx: records.Transaction,
    payment_id: str,
    order_id: str,
    provider: str,
    method: str,
    amount: Money,
    subject: str,
    expires_at: datetime,
) -> None:
    """Insert an attempt; the part that loses is named ``payment``."""
    tx.insert(
        "payment",
        Payment(
            payment_id,
            order_id=order_id,
            provider=provider,
            method=None if method == provider else method,
            amount_minor=amount.minor,
            currency=amount.currency,
            subject=subject,
            expires_at=clock.iso(expires_at),
        ),
    )


def payment(payment_id: str) -> Payment:
    """The attempt, or UnknownPayment; money and refunds lie in the same table, and one of those is none."""
    try:
        if payment_id.startswith("pay_"):
            return Payment.get(payment_id, consistent_read=True)
    except Payment.DoesNotExist:
        pass
    raise UnknownPayment


def refer(payment_id: str, reference: str) -> None:
    """Keep the provider's own name for an attempt; it gives the same name each time it is asked."""
    Payment(payment_id).update([Payment.reference.set(reference)])


def money_id(provider: str, provider_no: str) -> str:
    return f"money#{provider}#{provider_no}"


def record(paid: Payment, charge: Charge, now: datetime) -> Received:
    """Write the money down before anything is done about it; the same money again gives the first record."""
    money = Received(
        money_id(str(paid.provider), charge.provider_no),
        order_id=paid.order_id,
        payment_id=paid.id,
        provider=paid.provider,
        provider_no=charge.provider_no,
        amount_minor=charge.amount.minor,
        currency=charge.amount.currency,
        paid_at=clock.iso(charge.paid_at),
        received_at=clock.iso(now),
        raw=charge.raw[:4096],  # bytes enough for any channel's message
        state=MoneyState.RECEIVED,
    )
    try:
        records.insert(money)
    except records.Lost:
        return received(str(money.id))
    return money


def record_unknown(tx: records.Transaction, provider: str, charge: Charge, now: datetime) -> Received:
    """Money for a payment that we never asked this provider for; the part that loses is named ``money``."""
    money = Received(
        money_id(provider, charge.provider_no),
        order_id=NO_ORDER,
        payment_id=charge.payment_id,
        provider=provider,
        provider_no=charge.provider_no,
        amount_minor=charge.amount.minor,
        currency=charge.amount.currency,
        paid_at=clock.iso(charge.paid_at),
        received_at=clock.iso(now),
        raw=charge.raw[:4096],
        state=MoneyState.APPLIED,
        use=UNKNOWN_PAYMENT,
    )
    tx.insert("money", money)
    return money


def received(money_id: str) -> Received:
    """The money, or UnknownMoney."""
    try:
        return Received.get(money_id, consistent_read=True)
    except Received.DoesNotExist:
        raise UnknownMoney from None


def use_otherwise(tx: records.Transaction, money: Received, use: str) -> None:
    """A person has decided what becomes of money in suspense, once; the part that loses is named ``money``."""
    tx.update("money", Received(money.id), [Received.use.set(use)], Received.use == money.use)


def apply(tx: records.Transaction, money: Received, use: str) -> None:
    """Say what the money was used for, once; the part that loses is named ``money``."""
    tx.update(
        "money",
        Received(money.id),
        [Received.state.set(MoneyState.APPLIED), Received.use.set(use)],
        Received.state == MoneyState.RECEIVED,
    )


def request_refund(
    tx: records.Transaction,
    refund_id: str,
    money: Received,
    reason: str,
    by: str,
    now: datetime,
    *,
    of_order: bool,
    amount: Money | None = None,
    asked: str | None = None,
) -> None:
    """Insert a refund of this money, or of an amount of it; the part that loses is named ``refund``."""
    amount = amount or money.amount
    tx.insert(
        "refund",
        Refund(
            refund_id,
            order_id=money.order_id,
            provider=money.provider,
            provider_no=money.provider_no,
            payment_id=money.payment_id,
            charged_minor=money.amount_minor,
            amount_minor=amount.minor,
            currency=amount.currency,
            reason=reason,
            of_order=str(money.order_id) if of_order else None,
            asked=asked,
            state=RefundState.REQUESTED,
            requested_at=clock.iso(now),
            requested_by=by,
            due=DUE,
            due_at=clock.iso(now + REFUND_WITHIN),
        ),
    )


def refund(refund_id: str) -> Refund:
    """The refund as it is now, or NotFound."""
    if ids.is_id("ref", refund_id):
        with suppress(Refund.DoesNotExist):
            return Refund.get(refund_id, consistent_read=True)
    raise NotFound


def end_refund(tx: records.Transaction, asked: Refund, state: RefundState) -> None:
    """The refund has its final answer; the part that loses is named ``refund``."""
    tx.update(
        "refund",
        Refund(asked.id),
        [Refund.state.set(state), Refund.due.remove(), Refund.due_at.remove()],
        Refund.state == asked.state,
    )


def wait_for_refund(tx: records.Transaction, asked: Refund, state: RefundState, due_at: datetime) -> None:
    """Not final yet: look again at `due_at`; the part that loses is named ``refund``."""
    tx.update(
        "refund",
        Refund(asked.id),
        [Refund.state.set(state), Refund.due_at.set(clock.iso(due_at)), Refund.tries.add(1)],
        (Refund.state == asked.state) & (Refund.tries == asked.tries),
    )


def overdue_refunds(now: datetime, limit: int) -> list[str]:
    passed = Due.due_at <= clock.iso(now)
    found = Refund.by_due.query(DUE, passed, limit=limit, page_size=limit)
    return [str(item.id) for item in found]
