"""Quote, place, look up, cancel, pay another way: what storefronts ask of us."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta
from random import Random, SystemRandom

from shared.catalog.kinds import Fulfilment
from shared.catalog.sku import Sku
from shared.inventory import records as inventory
from shared.inventory.errors import OutOfStock, QuotaUsedUp
from shared.inventory.records import Need
from shared.kernel import clock, ids, people, settings
from shared.kernel.channel import SHOP
from shared.kernel.errors import Busy, Refusal
from shared.kernel.http import Caller
from shared.kernel.records import Lost, Transaction
from shared.orders import records as orders
from shared.orders.contract import (
    ChangePayment,
    Contact,
    MethodList,
    MethodView,
    OrderView,
    PaymentView,
    PlacedOrder,
    PlaceOrder,
    QuotedLineView,
    QuoteRequest,
    QuoteView,
)
from shared.orders.deadlines import next_look
from shared.orders.errors import (
    NoContact,
    NotOpen,
    PriceChanged,
    ReferenceReused,
    TooManyCards,
    TooManyPayments,
    WeakReference,
)
from shared.orders.quoting import Quote, QuotedLine
from shared.orders.status import LineState, Status
from shared.payments import records as payments
from shared.payments import registry
from shared.payments.errors import NoPayer
from shared.payments.kinds import METHODS
from shared.payments.provider import Provider
from shared.risk.errors import HoldLimit
from shared.steps import bought_lines, hold_limits, large_orders, order_closing, quoting
from shared.steps.order_views import amount_of, order_view, payment_view, placed_view

REFERENCE_MIN = 22  # characters: 128 bits in base 64
HOLD_SECONDS = 900  # unless set: long enough to pay by phone, short enough not to starve the shelf
PAYMENTS_MAX = 10  # attempts to pay one order: they are listed in its head, which stays small
ATTEMPTS = 25  # lost races before we say busy: on a shelf of 50, 32 buyers at once need about 8

_chance: Random = SystemRandom()


def quote(wanted: QuoteRequest, now: datetime) -> QuoteView:
    """Today's price and whether there is stock, with the hash that placing can insist on."""
    quoted, skus = quoting.quote(wanted, SHOP)
    today = clock.shanghai_day(now)
    return QuoteView(
        lines=[
            QuotedLineView(
                sku=line.sku,
                title=line.title,
                quantity=line.quantity,
                unit_price=amount_of(line.unit_price),
                amount=amount_of(line.amount),
                available=_available(skus[line.sku], line.quantity, quoted.channel, today, now),
            )
            for line in quoted.lines
        ],
        total=amount_of(quoted.total),
        channel=quoted.channel,
        quote_hash=quoted.hash,
    )


def place(wanted: PlaceOrder, caller: Caller, now: datetime, hold_seconds: int | None = None) -> PlacedOrder:
    """Place an order and hold its very cards, all or nothing; the same reference gives the same order again.

    hold_seconds: how long to hold them, where it is not for the shop to say. A channel's references are its own, so
    they need not be random, and whom it sells to is its own affair, so a contact may be missing.
    """
    own = caller.channel != SHOP
    contact = None if own and wanted.contact == Contact() else _contact(wanted.contact)
    if not own and len(wanted.client_ref) < REFERENCE_MIN:
        raise WeakReference
    said = wanted.model_dump_json() + (f"|{hold_seconds}" if hold_seconds else "")
    ref = orders.Ref(
        orders.ref_key(f"channel:{caller.channel}" if own else "anonymous", wanted.client_ref),
        refers_to=ids.new("ord", now),
        body_hash=hashlib.sha256(said.encode()).hexdigest(),
    )
    try:
        return _place_new(wanted, caller, contact, ref, now, hold_seconds)
    except Lost:
        placed = orders.referred(str(ref.order_id))
        if placed is None:
            raise Busy from None
        return _placed_before(placed, ref, caller, wanted, now)
    except Refusal:
        # What is refused today may have been placed by an earlier try whose answer was lost.
        placed = orders.referred(str(ref.order_id))
        if placed is None:
            raise
        return _placed_before(placed, ref, caller, wanted, now)


def look_up(order_id: str) -> OrderView:
    return order_view(orders.outline_of(order_id))


def cancel(order_id: str, now: datetime) -> OrderView:
    """Cancel an unpaid order and free its cards; cancelling again is a success."""
    order = orders.outline_of(order_id)
    if order.status is not Status.CANCELLED:
        order_closing.close(order, Status.CANCELLED, now)
    return look_up(order_id)


def payment_methods(caller: Caller, now: datetime) -> MethodList:
    """What this caller's buyers may choose now; a provider that does not answer is left out until it does."""
    offered = [(name, METHODS[name]) for name in registry.methods(caller.channel, now)]
    return MethodList(
        methods=[
            MethodView(payment_method=name, zh=method.zh, en=method.en, needs_payer=method.needs_payer)
            for name, method in offered
        ]
    )


def change_payment(order_id: str, wanted: ChangePayment, caller: Caller, key: str, now: datetime) -> PaymentView:
    """Another attempt to pay; the same key, or without one the same method, gives the same attempt again."""
    method = wanted.payment_method
    head = orders.head_of(order_id)
    if Status(head.status) is not Status.PLACED:
        raise NotOpen(order_status=head.status)
    provider = _chosen(method, wanted.payer, str(head.channel), now)
    payment_id = _payment_id(order_id, key or _way(provider.code, method))
    if payment_id not in head.payments:
        if len(head.payments) >= PAYMENTS_MAX:
            raise TooManyPayments(limit=PAYMENTS_MAX)
        first = payments.payment(str(head.payments[0]))
        try:
            with Transaction() as tx:
                expires_at = clock.parse(str(head.expires_at))
                payments.open_payment(
                    tx, payment_id, order_id, provider.code, method, head.total, str(first.subject), expires_at
                )
                orders.add_payment(tx, head, payment_id, provider.code)
        except Lost as lost:
            if "payment" not in lost.refused:
                latest = Status(orders.head_of(order_id).status)
                raise (Busy() if latest is Status.PLACED else NotOpen(order_status=latest)) from None
    return payment_view(payments.payment(payment_id), caller, wanted.return_url or "", wanted.payer or "", now)


def _place_new(
    wanted: PlaceOrder,
    caller: Caller,
    contact: people.Contact | None,
    ref: orders.Ref,
    now: datetime,
    hold_seconds: int | None,
) -> PlacedOrder:
    provider = _chosen(wanted.payment_method, wanted.payer, caller.channel, now)
    quoted, skus = quoting.quote(wanted, caller.channel)
    if wanted.quote_hash and wanted.quote_hash != quoted.hash:
        raise PriceChanged(quote_hash=quoted.hash)
    order_id = str(ref.refers_to)
    payment_id = _payment_id(order_id, _way(provider.code, wanted.payment_method))
    expires_at = now + timedelta(seconds=hold_seconds or settings.whole("HOLD_SECONDS", HOLD_SECONDS))
    head = _new_head(order_id, quoted, provider.code, payment_id, contact, caller, now, expires_at)
    subject = quoted.lines[0].title[:60]
    lines = [
        _new_line(order_id, number, line, skus[line.sku], quoted.channel) for number, line in enumerate(quoted.lines, 1)
    ]
    for line, asked in zip(lines, wanted.lines, strict=True):
        if line.fulfilment == Fulfilment.PURCHASE:
            bought_lines.to_be_bought(line, skus[str(line.sku)], asked.account or {}, now)
    large = quoting.is_large(lines)
    if large:
        if any(line.fulfilment == Fulfilment.PURCHASE for line in lines):
            raise TooManyCards(limit=bought_lines.PIECES_MAX)
        head.status, head.payments, head.ref = Status.HOLDING, [], str(ref.order_id)
        head.due_at = clock.iso(now + large_orders.HOLD_WITHIN)
        head.chunks = sum(len(large_orders.chunks_of(line)) for line in lines)

    today = clock.shanghai_day(now)
    passed_over = frozenset[str]()
    hold, allowed = hold_limits.taken(head, lines), None
    for attempt in range(ATTEMPTS):
        picked = _pick(lines, skus, passed_over, large, today, now)
        for line in lines:
            line.card_ids = [] if large else picked.get(line.number, [])
        if allowed is None or hold_limits.taken(head, lines) != hold:
            hold = hold_limits.taken(head, lines)
            allowed = hold_limits.allowed(hold, skus)
        try:
            with Transaction() as tx:
                orders.place(tx, head, lines, ref)
                if not large:
                    payments.open_payment(
                        tx,
                        payment_id,
                        order_id,
                        provider.code,
                        wanted.payment_method,
                        quoted.total,
                        subject,
                        expires_at,
                    )
                for line in lines:
                    for card_id in line.card_ids:
                        inventory.hold(tx, card_id, str(line.sku), order_id, quoted.channel)
                for taken in orders.limited(lines, quoted.channel):
                    inventory.reserve_quota(tx, *taken)
                hold_limits.take(tx, head, hold, allowed)
            break
        except Lost as lost:
            if "ref" in lost.failed and orders.referred(str(ref.order_id)):
                raise
            for line in lines:
                if f"quota {line.sku}" in lost.refused:
                    raise OutOfStock(sku=line.sku) from None
                if f"quota {line.sku}@{quoted.channel}" in lost.refused:
                    raise QuotaUsedUp(sku=line.sku) from None
            if any(part.startswith("hold ") for part in lost.refused):
                raise HoldLimit from None
            passed_over |= {part for part in lost.refused if ids.is_id("crd", part)}
            time.sleep(_chance.uniform(0, 0.02 * min(attempt + 1, 10)))  # seconds: spreads buyers who collided
    else:
        raise Busy
    if large:
        return _complete(order_id, caller, wanted, now)
    placed = payments.Payment(payment_id, amount_minor=quoted.total.minor, currency=quoted.total.currency)
    placed.provider, placed.subject, placed.expires_at = provider.code, subject, head.expires_at
    placed.method = wanted.payment_method
    return placed_view(head, placed, caller, wanted, now)


def _pick(
    lines: Sequence[orders.Line],
    skus: Mapping[str, Sku],
    passed_over: frozenset[str],
    large: bool,
    today: date,
    now: datetime,
) -> dict[str, list[str]]:
    """Cards for the lines that come from stock, by their numbers; what the shelf has not becomes a line to be bought.

    OutOfStock where nobody sells it either, and always for a large order.
    """
    while True:
        stocked = [line for line in lines if line.fulfilment == Fulfilment.STOCK]
        try:
            picked = inventory.pick_all([quoting.need(line, today) for line in stocked], _chance, passed_over)
        except OutOfStock as out:
            if large:
                raise
            for line in stocked:
                if line.sku == out.facts["sku"]:
                    bought_lines.to_be_bought(line, skus[str(line.sku)], {}, now)
        else:
            return {line.number: card_ids for line, card_ids in zip(stocked, picked, strict=True)}


def _complete(order_id: str, caller: Caller, wanted: PlaceOrder, now: datetime) -> PlacedOrder:
    """Hold all the cards of a large order, then let it be paid; or give everything back and say why."""
    order = orders.order_of(order_id)
    for _ in range(ATTEMPTS):
        if order.status is not Status.HOLDING:
            break
        head = order.head
        placed_at, expires_at = clock.parse(str(head.placed_at)), clock.parse(str(head.expires_at))
        payment_id = _payment_id(order_id, _way(str(head.provider), wanted.payment_method))
        try:
            large_orders.hold(order, now)
            with Transaction() as tx:
                orders.move(
                    tx,
                    head,
                    holding=False,
                    due_at=next_look(placed_at, expires_at, now),
                    also={"payments": [payment_id], "ref": None},
                )
                subject = str(order.lines[0].title)[:60]
                payments.open_payment(
                    tx,
                    payment_id,
                    order_id,
                    str(head.provider),
                    wanted.payment_method,
                    head.total,
                    subject,
                    expires_at,
                )
        except Lost:
            pass  # another try for the same order was faster, or it was given up: look again
        except (OutOfStock, Busy):
            with suppress(NotOpen, Busy):  # another process has ended it, or `deadlines` will
                order_closing.close(orders.order_of(order_id), Status.CANCELLED, now)
            raise
        order = orders.order_of(order_id)
    if not order.head.payments:
        raise Busy  # it was given up, so the next try begins anew
    return placed_view(order.head, payments.payment(str(order.head.payments[-1])), caller, wanted, now)


def _placed_before(
    placed: orders.Ref, ref: orders.Ref, caller: Caller, wanted: PlaceOrder, now: datetime
) -> PlacedOrder:
    if placed.body_hash != ref.body_hash:
        raise ReferenceReused
    head = orders.head_of(str(placed.refers_to))
    if not head.payments:
        return _complete(str(head.order_id), caller, wanted, now)
    return placed_view(head, payments.payment(str(head.payments[-1])), caller, wanted, now)


def _contact(given: Contact) -> people.Contact:
    wanted = ("phone", given.phone) if given.phone else ("email", given.email)
    contact = people.contact(wanted[0], wanted[1]) if wanted[1] else None
    if contact is None:
        raise NoContact
    return contact


def _new_head(
    order_id: str,
    quoted: Quote,
    provider: str,
    payment_id: str,
    contact: people.Contact | None,
    caller: Caller,
    now: datetime,
    expires_at: datetime,
) -> orders.Head:
    address = people.address(caller.address) if quoted.channel == SHOP else None  # a channel's own is no buyer's
    return orders.Head(
        order_id,
        orders.HEAD,
        status=Status.PLACED,
        version=1,
        channel=quoted.channel,
        total_minor=quoted.total.minor,
        currency=quoted.total.currency,
        placed_at=clock.iso(now),
        expires_at=clock.iso(expires_at),
        due=orders.DUE,
        due_at=clock.iso(next_look(now, expires_at, now)),
        contact_hash=people.hashed(contact.kind, contact.text) if contact else None,
        contact_mask=contact.mask if contact else "",
        contact_sealed=people.seal(f"{contact.kind}:{contact.text}", order_id) if contact else None,
        address_hash=people.hashed("address", address) if address else "",
        provider=provider,
        payments=[payment_id],
        lines={str(number): LineState.WAITING for number in range(1, len(quoted.lines) + 1)},
    )


def _new_line(order_id: str, number: int, line: QuotedLine, sku: Sku, channel: str) -> orders.Line:
    made = line.fulfilment == Fulfilment.ISSUE
    return orders.Line(
        order_id,
        f"line#{number}",
        sku=line.sku,
        title=line.title,
        quantity=line.quantity,
        unit_minor=line.unit_price.minor,
        currency=line.unit_price.currency,
        fulfilment=line.fulfilment,
        cost_e6=sku.cost_e6 if made else 0,
        validity_days=sku.validity_days if made else None,
        quota=sku.quota if made else None,
        channel_quota=sku.terms.quotas.get(channel),
        shards=sku.shards,
        min_days=sku.terms.min_days or None,
        aside=sku.terms.aside(channel),
        card_ids=[],
    )


def _available(sku: Sku, quantity: int, channel: str, today: date, now: datetime) -> bool:
    if sku.fulfilment == Fulfilment.ISSUE:
        return True
    if sku.fulfilment == Fulfilment.PURCHASE:
        return bought_lines.can_be_bought(sku, quantity, now)
    try:
        inventory.pick(Need(sku.sku, quantity, sku.shards, sku.terms.good_on(today), sku.terms.aside(channel)), _chance)
    except OutOfStock:
        return bought_lines.can_be_bought(sku, quantity, now)
    return True


def _chosen(method: str, payer: str | None, channel: str, now: datetime) -> Provider:
    if method in METHODS and METHODS[method].needs_payer and not payer:
        raise NoPayer(payment_method=method)
    return registry.choose(method, channel, now)


def _way(provider: str, method: str) -> str:
    """A method of one merchant: the same method of another one is another attempt."""
    return method if method == provider else f"{provider}.{method}"


def _payment_id(order_id: str, key: str) -> str:
    """An attempt's id follows from its order and a key (the caller's, else the way): trying twice is trying once.

    30 characters, because WeChat takes no longer number than 32.
    """
    return ids.new("pay", ids.moment(order_id), hashlib.sha256(f"{order_id}|{key}".encode()).digest()[:10])
