"""Signature × provider × order × amount × currency × age × repetition × state of the order: what each cell comes to."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count, product
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.kernel import clock
from shared.kernel.records import Transaction
from shared.ledger import posting
from shared.ledger import records as ledger
from shared.orders import records as orders
from shared.payments import records as payments
from shared.payments import registry
from shared.payments.provider import Charge
from shared.staff import records as staff
from tests.crowd import SCALE
from tests.doors.conftest import new_shop
from tests.notified import BY_QUERY, MAKERS, ONE_CURRENCY, REFUSED, TAKEN, TIMELESS, Message, Told, open_accounts
from tests.shop import CONTEXT, Placed, Shop, event, handler

PRICE = 9700
SIGNATURES = ("right", "of another key", "missing", "of another message")
AGES = {"fresh": 0, "a little old": -290, "a little early": 290, "too old": -310, "too early": 310}  # seconds
FRESH = {"fresh", "a little old", "a little early"}
AMOUNTS = {"exact": PRICE, "less": PRICE - 1, "more": PRICE + 1}
CURRENCIES = ("CNY", "USD")
STATES = ("placed", "cancelled", "cancelled, sold out", "delivered", "refunded")
SIGNED_WITHIN = {"alipay", "epay"}  # whose signature lies in the message itself
TOLD_FOR = ("ours", "of another provider", "nobody's", "of another merchant")

# What money in full and in our currency does, by the state it finds the order in.
EXACT = {
    "placed": "order",
    "cancelled": "late",
    "cancelled, sold out": "late_without_stock",
    "delivered": "paid_twice",
    "refunded": "after_refund",
}
# What becomes of the order then: no provider pays back a charge that a test made up. Money that is not its price leaves
# the order where it was.
BECOMES = {"placed": "delivered", "cancelled": "delivered", "cancelled, sold out": "refunding"}
STANDS = {"cancelled, sold out": "cancelled"}


_people = count()


class Counts(NamedTuple):
    money: int
    refunds: int
    entries: int
    tasks: int


@pytest.fixture
def shop(atomic_cloud: None, tmp_path: Path) -> Iterator[Shop]:
    with new_shop(tmp_path) as shop:
        open_accounts()
        yield shop


def counts() -> Counts:
    ids = [str(item.id) for item in payments.Received.scan()]
    return Counts(
        sum(one.startswith("money#") for one in ids),
        sum(one.startswith("ref_") for one in ids),
        sum(1 for _ in ledger.Entry.scan()),
        len(staff.open_tasks(1000)),
    )


def attempt(shop: Shop, order: Placed, provider: str) -> str:
    """Another attempt to pay the order, through this provider; its number is made up, as it would be."""
    if provider == "sandbox":
        return order.payment_id
    payment_id = f"pay_{provider}{order.payment_id[-18:]}"
    head = orders.head_of(order.order_id)
    with Transaction() as tx:
        methods = {"wechat": "wechat_native", "alipay": "alipay_qr", "epay": "epay_alipay"}
        method = methods.get(provider, provider)
        expires_at = clock.parse(str(head.expires_at))
        payments.open_payment(tx, payment_id, order.order_id, provider, method, head.total, "Steam", expires_at)
        orders.add_payment(tx, head, payment_id, provider)
    return payment_id


def hand_in(shop: Shop, provider: str, message: Message, door: str = "", *, by_query: bool = True) -> tuple[int, Any]:
    headers, raw = message
    path = f"/webhooks/payments/{door or provider}"
    if provider in BY_QUERY and by_query:
        answer = shop.call("GET", f"{path}?{raw.decode()}", **headers)
    else:
        answer = shop.call("POST", path, raw.decode(), **headers)
    return answer.status, answer.body


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def bring_to(shop: Shop, order: Placed, state: str) -> None:
    if state in {"delivered", "refunded"}:
        shop.pay(order)
        shop.pump()
    if state == "refunded":
        shop.call("POST", f"/console/orders/{order.order_id}/refunds", {}, groups="operator")
        shop.pump()
    if state.startswith("cancelled"):
        assert shop.call("POST", f"/orders/{order.order_id}/cancel", token=order.token).status == 200


@pytest.mark.parametrize("provider", MAKERS)
def test_only_what_is_rightly_signed_and_fresh_is_taken(shop: Shop, provider: str) -> None:
    for signature, age in product(SIGNATURES, AGES):
        order = an_order(shop)
        cell = (provider, signature, age)
        at = now() + timedelta(seconds=AGES[age])
        told = Told(attempt(shop, order, provider), f"4200{order.order_id[-12:]}", PRICE, at)
        before = counts()

        answer = hand_in(shop, provider, signed_so(provider, told, signature))
        shop.pump()

        # Alipay's messages carry no time to hold them to: repeats come for a day, and their number is the guard. Those
        # of epay carry none at all: however old they are, what they tell of is paid when we hear of it.
        if signature == "right" and (age in FRESH or provider in TIMELESS):
            assert (answer, shop.status(order)) == (TAKEN[provider], "delivered"), cell
            said_at = clock.parse(str(recorded(provider, told.provider_no).paid_at))
            assert abs(said_at - (now() if provider == "epay" else at)) < timedelta(seconds=30), cell
        else:
            assert (answer, shop.status(order)) == (REFUSED[provider], "placed"), cell
            assert counts() == before, cell
            cancel(shop, order)


@pytest.mark.parametrize("provider", MAKERS)
def test_money_does_what_the_table_says_and_the_same_money_again_does_nothing(shop: Shop, provider: str) -> None:
    for state, amount, currency in product(STATES, AMOUNTS, CURRENCIES):
        cell = (provider, state, amount, currency)
        order = an_order(shop)
        payment_id = attempt(shop, order, provider)
        bring_to(shop, order, state)
        sold_out = sell_out(shop) if state.endswith("sold out") else []
        number = f"4200{order.order_id[-12:]}"
        message = MAKERS[provider](Told(payment_id, number, AMOUNTS[amount], now(), currency))

        assert hand_in(shop, provider, message) == TAKEN[provider], cell
        shop.pump()

        foreign = currency != "CNY" and provider not in ONE_CURRENCY
        odd = "other_currency" if foreign else {"less": "too_little", "more": "too_much"}.get(amount)
        assert recorded(provider, number).use == (odd or EXACT[state]), cell
        wanted = STANDS.get(state, state) if odd else BECOMES.get(state, state)
        assert shop.status(order) == wanted, cell
        assert balance("suspense", order) == {}, cell

        before = counts()
        assert hand_in(shop, provider, message) == TAKEN[provider], cell
        shop.pump()
        assert (counts(), shop.status(order)) == (before, wanted), cell
        for other in [order, *sold_out]:
            cancel(shop, other)
    assert trial_balance() == {}


@pytest.mark.parametrize("provider", MAKERS)
def test_money_for_what_is_not_this_providers_is_kept_apart_or_refused(shop: Shop, provider: str) -> None:
    for told_for, times in product(TOLD_FOR, [1, 2]):
        cell = (provider, told_for, times)
        order = an_order(shop)
        other = "wechat" if provider != "wechat" else "alipay"
        payment_id = {
            "of another provider": lambda: attempt(shop, order, other),  # noqa: B023  # called at once
            "nobody's": lambda: f"pay_nobodys{order.payment_id[-16:]}",  # noqa: B023
        }.get(told_for, lambda: attempt(shop, order, provider))()  # noqa: B023
        number = f"4300{order.order_id[-12:]}"
        whose = "another" if told_for == "of another merchant" else ""
        message = MAKERS[provider](Told(payment_id, number, PRICE, now(), whose=whose))
        before = counts()

        answers = [hand_in(shop, provider, message) for _ in range(times)]
        shop.pump()

        after = counts()
        if told_for == "ours":
            assert (answers, shop.status(order)) == ([TAKEN[provider]] * times, "delivered"), cell
        elif told_for == "of another merchant":
            assert (answers, shop.status(order)) == ([REFUSED[provider]] * times, "placed"), cell
            assert after == before, cell
        else:
            assert (answers, shop.status(order)) == ([TAKEN[provider]] * times, "placed"), cell
            assert after == before._replace(
                money=before.money + 1, entries=before.entries + 1, tasks=before.tasks + 1
            ), cell
            assert recorded(provider, number).use == "unknown_payment", cell
        cancel(shop, order)
    assert trial_balance() == {}


def test_money_of_one_payment_never_pays_another(shop: Shop) -> None:
    for provider in MAKERS:
        one, other = an_order(shop), an_order(shop)
        number = f"4500{one.order_id[-12:]}"
        paid = payments.payment(attempt(shop, one, provider))
        told = Told(str(paid.id), number, PRICE, now())
        heard = registry.provider(provider).parse_notification(*named(MAKERS[provider](told)), now())
        assert isinstance(heard, Charge)
        payments.record(paid, heard, now())  # and then the process died

        again = MAKERS[provider](told.with_(payment_id=attempt(shop, other, provider)))
        assert hand_in(shop, provider, again) == TAKEN[provider]
        shop.pump()
        assert (shop.status(one), shop.status(other)) == ("placed", "placed"), provider

        assert hand_in(shop, provider, MAKERS[provider](told)) == TAKEN[provider]
        shop.pump()
        assert (shop.status(one), shop.status(other)) == ("delivered", "placed"), provider
        cancel(shop, other)


def test_the_same_query_in_the_body_of_a_post_is_the_same_money(shop: Shop) -> None:
    for provider in BY_QUERY:
        order = an_order(shop)
        told = Told(attempt(shop, order, provider), f"46{order.order_id[-12:]}", PRICE, now())
        message = MAKERS[provider](told)

        assert hand_in(shop, provider, message, by_query=False) == TAKEN[provider]
        shop.pump()
        before = counts()
        assert hand_in(shop, provider, message) == TAKEN[provider]
        shop.pump()

        assert (shop.status(order), counts()) == ("delivered", before), provider


@pytest.mark.parametrize("status", ["TRADE_CLOSED", "WAIT_BUYER_PAY", "trade_success", "1", ""])
def test_what_epay_does_not_call_a_success_is_heard_and_pays_nothing(shop: Shop, status: str) -> None:
    order = an_order(shop)
    told = Told(attempt(shop, order, "epay"), f"47{order.order_id[-12:]}", PRICE, now(), status=status)
    before = counts()

    assert hand_in(shop, "epay", MAKERS["epay"](told)) == TAKEN["epay"]
    shop.pump()

    assert (shop.status(order), counts()) == ("placed", before)


def test_a_message_at_another_providers_door_is_refused(shop: Shop) -> None:
    for provider, door in product(MAKERS, MAKERS):
        if provider != door:
            order = an_order(shop)
            message = MAKERS[provider](Told(attempt(shop, order, provider), f"44{order.order_id[-12:]}", PRICE, now()))

            assert hand_in(shop, provider, message, door) == REFUSED[door], (provider, door)
            assert shop.status(order) == "placed", (provider, door)
            cancel(shop, order)


def test_no_bytes_at_any_webhook_are_more_than_a_refusal(shop: Shop) -> None:
    order = an_order(shop)
    before = counts()
    names = st.sampled_from([*MAKERS, "on_account", "nobody", "%00", "x" * 200])
    anything = st.binary(max_size=2000) | st.text(max_size=500).map(lambda text: text.encode("utf-8", "surrogatepass"))
    named = st.dictionaries(
        st.sampled_from(["Wechatpay-Serial", "Wechatpay-Timestamp", "Wechatpay-Nonce", "Wechatpay-Signature",
                         "Stripe-Signature", "Sandbox-Signature", "Sandbox-Timestamp", "Content-Type"]),
        st.text(st.characters(codec="latin-1"), max_size=60),
    )  # fmt: skip

    @hypothesis.settings(max_examples=150 * SCALE)
    @given(name=names, raw=anything, headers=named, method=st.sampled_from(["POST", "GET"]))
    def tried(name: str, raw: bytes, headers: dict[str, str], method: str) -> None:
        request = event(method, f"/webhooks/payments/{name}", "/webhooks/payments/{provider}", None, headers)
        if method == "POST":
            request |= {"body": base64.b64encode(raw).decode(), "isBase64Encoded": True}
        else:
            request["multiValueQueryStringParameters"] = {raw.decode("latin-1"): [raw.decode("latin-1")]}

        answer = handler("payment_webhooks")(request, CONTEXT)

        assert answer["statusCode"] < 500, answer
        assert answer["body"] != "success"

    tried()
    assert (shop.status(order), counts()) == ("placed", before)


def an_order(shop: Shop) -> Placed:
    """Of somebody who has never bought before, for a card that has just come."""
    shop.stock("G020")
    return shop.placed("G020", phone=f"139{next(_people):08d}")


def cancel(shop: Shop, order: Placed) -> None:
    """So that its card is back, and nobody's share of the shelf is used up; what has ended stays as it is."""
    shop.call("POST", f"/orders/{order.order_id}/cancel", token=order.token)


def named(message: Message) -> Message:
    return {name.lower(): value for name, value in message[0].items()}, message[1]


def recorded(provider: str, number: str) -> payments.Received:
    return payments.received(payments.money_id(provider, f"pi_{number}" if provider == "stripe" else number))


def signed_so(provider: str, told: Told, signature: str) -> Message:
    message = MAKERS[provider](told)
    if signature == "of another key":
        return MAKERS[provider](told.with_(signer="somebody-else"))
    if signature == "missing":
        return without_signature(provider, message)
    if signature == "of another message":
        other = MAKERS[provider](told.with_(minor=PRICE + 5))[1]
        return message[0], same_signature(provider, message[1], other)
    return message


def without_signature(provider: str, message: Message) -> Message:
    headers, raw = message
    if provider in SIGNED_WITHIN:
        return headers, raw[: min(raw.index(b"&sign_type="), raw.index(b"&sign="))]
    return {name: value for name, value in headers.items() if "signature" not in name.lower()}, raw


def same_signature(provider: str, signed: bytes, other: bytes) -> bytes:
    """Another message under the signature of the first."""
    if provider not in SIGNED_WITHIN:
        return other
    return other[: other.index(b"&sign=")] + signed[signed.index(b"&sign=") :]


def sell_out(shop: Shop) -> list[Placed]:
    """Hold every card that is left; the orders that do."""
    holding = []
    while (answer := shop.place("G020", phone=f"138{next(_people):08d}")).status == 201:
        body = answer.body
        holding.append(Placed(body["order_id"], body["access_token"], "", body["payment"]["payment_id"]))
    assert answer.body["code"] == "out_of_stock", answer.body
    return holding


def trial_balance() -> dict[str, int]:
    legs = [leg for entry in ledger.Entry.scan() for leg in entry.legs]
    return {currency: net for currency, net in posting.trial_balance(legs).items() if net}


def balance(account: str, order: Placed) -> dict[str, int]:
    """What stands on an account because of one order."""
    legs = [
        leg
        for entry in ledger.Entry.scan()
        if entry.order_id == order.order_id
        for leg in entry.legs
        if leg.account == account
    ]
    return {currency: net for currency, net in posting.trial_balance(legs).items() if net}
