"""Our WeChat Pay adapter against the simulator of WeChat Pay, which was written without it: over HTTP, both unchanged.

What is asserted throughout: whatever is lost, refused or forged between the two, the adapter never says that nobody can
pay what can still be paid, that a refund failed that was made, or that money came that did not.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from infra.local.wechat import WeChatPay
from infra.local.wechat.traits import TRAITS
from shared.kernel import clock, ids
from shared.kernel.money import Money
from shared.payments.adapters import wechat
from shared.payments.adapters.wechat import WeChat
from shared.payments.errors import BadBill, BadNotification, BillNotReady, NoPayer, ProviderRefused, ProviderSilent
from shared.payments.provider import (
    Attempt,
    Bill,
    BillLine,
    Charge,
    Intent,
    LineKind,
    Merchant,
    Outcome,
    PaymentRequest,
    PaymentStatus,
    RefundNews,
    RefundRequest,
)
from tests import inbox as inboxes
from tests.inbox import PATIENCE, Inbox, eventually

RETRY_AFTER = (0.05, 0.1, 0.2)
PRICE = Money(2500)
SUBJECT = "王者荣耀 点券 648，`双十一`"
LOST = ("silent", "500", "wrong_signature", "unsigned", "garbage", "stale_timestamp", "unknown_serial")
NOT_DONE = ("before_silent", "before_500", "before_429")


@dataclass(frozen=True)
class Order:
    request: PaymentRequest
    intent: Intent

    @property
    def attempt(self) -> Attempt:
        return self.request.attempt

    @property
    def payment_id(self) -> str:
        return self.attempt.payment_id


@dataclass
class Shop:
    wechat: WeChatPay
    adapter: WeChat
    inbox: Inbox

    def wanted(self, method: str = "wechat_native", amount: Money = PRICE) -> PaymentRequest:
        now = clock.now()
        attempt = Attempt(ids.new("pay", now), method, amount, SUBJECT, now + timedelta(minutes=30))
        return PaymentRequest(
            attempt,
            self.inbox.address(attempt.payment_id),
            "https://shop.test/return",
            address="203.0.113.7",
            payer="oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
        )

    def order(self, method: str = "wechat_native", amount: Money = PRICE) -> Order:
        wanted = self.wanted(method, amount)
        return Order(wanted, self.adapter.create(wanted, clock.now()))

    def page(self, order: Order) -> str:
        intent = order.intent
        if intent.client_params:
            return WeChatPay.jsapi_page(self.wechat.url, intent.client_params)
        return intent.qr_url or intent.redirect_url or ""

    def pay(self, order: Order, outcome: str = "silent", **more: object) -> None:
        WeChatPay.pay(self.page(order), outcome, **more)

    def can_be_paid(self, order: Order) -> bool:
        try:
            self.pay(order, "silent", anyway=1)
        except HTTPError:
            return False
        return True

    def paid(self, amount: Money = PRICE) -> Charge:
        order = self.order(amount=amount)
        self.pay(order)
        charge: Charge = self.asked(order).charges[0]
        return charge

    def asked(self, order: Order) -> PaymentStatus:
        return self.adapter.query(order.attempt, clock.now())

    def close(self, order: Order) -> Outcome:
        return self.adapter.close(order.attempt, clock.now())

    def refund(self, request: RefundRequest) -> Outcome:
        return self.adapter.refund(request, clock.now())

    def query_refund(self, request: RefundRequest) -> Outcome:
        return self.adapter.query_refund(request, clock.now())

    def misbehave(self, route: str, fault: str, times: int = 1, **more: float) -> None:
        WeChatPay.misbehave(self.wechat.url, route, fault, times, **more)

    def given_back(self, charge: Charge) -> int:
        """By the simulator's own books."""
        with self.wechat.store.transaction() as db:
            [total] = db.execute(
                "SELECT COALESCE(SUM(refund), 0) FROM refunds WHERE out_trade_no = ? AND ends_as = 'SUCCESS'",
                (charge.payment_id,),
            ).fetchone()
        return int(total)

    def lets_pass(self, time: timedelta) -> None:
        """Everything in the simulator's books happened, and ends, that much earlier."""
        seconds = time.total_seconds()
        with self.wechat.store.transaction() as db:
            db.execute("UPDATE payments SET expires_at = expires_at - ?, paid_at = paid_at - ?", (seconds, seconds))
            db.execute("UPDATE refunds SET created_at = created_at - ?, settles_at = settles_at - ?", (seconds,) * 2)
            db.execute("UPDATE letters SET next_at = next_at - ? WHERE state = 'waiting'", (seconds,))
        self.wechat.wake()

    def letters(self, payment_id: str = "") -> list[str]:
        return [str(letter["state"]) for letter in WeChatPay.told(self.wechat.url, payment_id)]


def keys_file(state: Path) -> Path:
    return state.with_name(state.name + ".keys.json")


def refund_of(charge: Charge, minor: int | None = None) -> RefundRequest:
    amount = charge.amount if minor is None else Money(minor, charge.amount.currency)
    number = ids.new("ref", clock.now())
    return RefundRequest(number, charge.payment_id, charge.provider_no, charge.amount, amount, "买家不想要了")


def adapter_of(running: WeChatPay, *keys: dict[str, str]) -> WeChat:
    merchant = Merchant("wechat", "wechat", ("wechat_native", "wechat_jsapi", "wechat_h5"), 6000, terms=running.terms)
    return WeChat(merchant, keys or [running.keys])


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("wechat") / "w.sqlite"


@pytest.fixture
def shop(running: Shop) -> Iterator[Shop]:
    yield running
    eventually(lambda: "waiting" not in running.letters())  # it would take the fault that the next test arms
    WeChatPay.behave(running.wechat.url, **{name: values[0] for name, values in TRAITS.items()})


@pytest.fixture(scope="module")
def running(state: Path) -> Iterator[Shop]:
    with (
        inboxes.opened() as inbox,
        WeChatPay(state, retry_after=RETRY_AFTER, refund_after=0, answer_within=PATIENCE) as running,
    ):
        inbox.provider = adapter_of(running)
        yield Shop(running, adapter_of(running), inbox)


# -- paying ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["wechat_native", "wechat_jsapi", "wechat_h5"])
def test_what_the_buyer_is_given_leads_to_a_payment_of_which_both_sides_say_the_same(shop: Shop, method: str) -> None:
    order = shop.order(method)
    assert shop.asked(order).outcome is Outcome.PROCESSING

    began = clock.now()
    shop.pay(order, "paid")

    [charge] = shop.inbox.wait(order.payment_id, 1)
    assert isinstance(charge, Charge)
    assert (charge.payment_id, charge.amount) == (order.payment_id, PRICE)
    assert began - timedelta(seconds=1) <= charge.paid_at <= clock.now()
    assert "openid" not in charge.raw
    status = shop.asked(order)
    assert status.outcome is Outcome.SUCCEEDED
    assert [replace(told, raw=charge.raw) for told in status.charges] == [charge]
    eventually(lambda: shop.letters(order.payment_id) == ["acknowledged"])


def test_an_order_created_twice_is_one_order(shop: Shop) -> None:
    first = shop.order()
    again = shop.adapter.create(first.request, clock.now() + timedelta(seconds=2))

    assert again == first.intent


def test_a_paid_order_is_not_ordered_again_and_a_closed_one_is_refused(shop: Shop) -> None:
    paid, closed = shop.order(), shop.order()
    shop.pay(paid)
    shop.close(closed)

    with pytest.raises(ProviderSilent):  # there may be money: it is to be asked about
        shop.adapter.create(paid.request, clock.now())
    with pytest.raises(ProviderRefused) as refused:
        shop.adapter.create(closed.request, clock.now())
    assert refused.value.facts["reason"] == "ORDER_CLOSED"


def test_inside_wechat_the_buyer_must_be_known(shop: Shop) -> None:
    with pytest.raises(NoPayer):
        shop.adapter.create(replace(shop.wanted("wechat_jsapi"), payer=""), clock.now())


@dataclass(frozen=True)
class Told:
    """outcome: what asking says after it, with the amounts; heard: what the notifications said, in their order."""

    outcome: Outcome
    charged: tuple[Money, ...] = ()
    heard: tuple[object, ...] = ()


PAID = Told(Outcome.SUCCEEDED, (PRICE,), (Charge,))
OUTCOMES = {
    "paid": PAID,
    "failed": Told(Outcome.PROCESSING),  # the same code can still be paid
    "silent": Told(Outcome.SUCCEEDED, (PRICE,)),
    "twice": Told(Outcome.SUCCEEDED, (PRICE,), (Charge, Charge)),
    "late": PAID,
    "wrong_amount": Told(Outcome.SUCCEEDED, (Money(2499),), (Charge,)),
    "wrong_currency": Told(Outcome.SUCCEEDED, (Money(2500, "USD"),), (Charge,)),
    "other_order": PAID,
    "forged": Told(Outcome.PROCESSING, heard=(BadNotification,)),
    "signtest": Told(Outcome.SUCCEEDED, (PRICE,), (BadNotification, Charge)),
    "success_then_refund": Told(Outcome.SUCCEEDED, (PRICE,), (Charge, RefundNews)),
}


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_whatever_the_buyer_does_asking_and_closing_tell_the_truth(shop: Shop, outcome: str) -> None:
    order, told = shop.order(), OUTCOMES[outcome]
    shop.pay(order, outcome, seconds=0.2)

    status = shop.asked(order)
    assert (status.outcome, tuple(charge.amount for charge in status.charges)) == (told.outcome, told.charged)
    heard = shop.inbox.wait(order.payment_id, len(told.heard))
    assert [said if said is BadNotification else type(said) for said in heard] == list(told.heard)
    assert shop.close(order) is (Outcome.FAILED if told.charged else Outcome.SUCCEEDED)
    assert shop.asked(order).outcome is (Outcome.SUCCEEDED if told.charged else Outcome.FAILED)
    assert told.charged or not shop.can_be_paid(order)


def test_the_amount_and_currency_that_came_are_what_the_notification_says(shop: Shop) -> None:
    for outcome, amount in (("wrong_amount", Money(2499)), ("wrong_currency", Money(2500, "USD"))):
        order = shop.order()
        shop.pay(order, outcome)
        [charge] = shop.inbox.wait(order.payment_id, 1)
        assert isinstance(charge, Charge)
        assert charge.amount == amount


def test_a_payment_that_failed_can_still_be_made(shop: Shop) -> None:
    order = shop.order()
    shop.pay(order, "failed")
    assert shop.asked(order).outcome is Outcome.PROCESSING

    shop.pay(order, "paid")

    assert isinstance(shop.inbox.wait(order.payment_id, 1)[0], Charge)
    assert shop.asked(order).outcome is Outcome.SUCCEEDED


def test_a_stale_notification_that_comes_first_is_no_payment(shop: Shop) -> None:
    order = shop.order()
    shop.pay(order, "out_of_order")

    eventually(lambda: any(isinstance(said, Charge) for said in shop.inbox.heard(order.payment_id)))
    first, *later = shop.inbox.heard(order.payment_id)
    assert first is BadNotification  # an event of success whose state is none
    assert len({said.provider_no for said in later if isinstance(said, Charge)}) == 1


def test_a_notification_that_names_another_order_is_a_charge_of_that_one(shop: Shop) -> None:
    ours, other = shop.order(), shop.order()
    shop.pay(ours, "other_order", other_no=other.payment_id)

    [charge] = shop.inbox.wait(ours.payment_id, 1)

    assert isinstance(charge, Charge)
    assert charge.payment_id == other.payment_id
    assert shop.asked(other).outcome is Outcome.PROCESSING  # who asks before acting is not deceived


def test_a_refund_at_wechats_side_is_told_under_a_number_that_is_not_ours(shop: Shop) -> None:
    order = shop.order()
    shop.pay(order, "success_then_refund")

    charge, news = shop.inbox.wait(order.payment_id, 2)

    assert isinstance(charge, Charge)
    assert isinstance(news, RefundNews)
    assert shop.query_refund(replace(refund_of(charge), refund_id=news.refund_id)) is Outcome.SUCCEEDED
    # Nothing is left to give back.
    assert shop.refund(refund_of(charge, 1)) is Outcome.FAILED


@pytest.mark.parametrize("fault", ["wrong_signature", "stale_timestamp", "unknown_serial", "tampered", "garbage"])
def test_a_notification_spoiled_on_its_way_is_refused_and_comes_again(shop: Shop, fault: str) -> None:
    order = shop.order()
    shop.misbehave("notify", fault)
    shop.pay(order, "paid")

    spoiled, sound = shop.inbox.wait(order.payment_id, 2)

    assert spoiled is BadNotification
    assert isinstance(sound, Charge)
    eventually(lambda: shop.letters(order.payment_id) == ["acknowledged"])
    [letter] = WeChatPay.told(shop.wechat.url, order.payment_id)
    refusal, taking = letter["answers"]
    assert refusal["status"] in range(400, 600)
    assert refusal["body"] == '{"code":"FAIL","message":"失败"}'
    assert (taking["status"], taking["body"]) == (204, "")


def test_a_notification_whose_answer_is_lost_comes_again_and_says_the_same(shop: Shop) -> None:
    order = shop.order()
    shop.misbehave("notify", "silent")
    shop.pay(order, "paid")

    first, again = shop.inbox.wait(order.payment_id, 2)

    assert first == again


# -- asking and closing ------------------------------------------------------------------------------------------------


def test_a_code_whose_time_is_over_can_be_paid_by_who_was_typing_until_it_is_closed(shop: Shop) -> None:
    typing, gone = shop.order(), shop.order()
    shop.lets_pass(timedelta(hours=1))

    # Ours is the later clock: neither attempt has ended only because it should have.
    assert shop.asked(typing).outcome is Outcome.PROCESSING
    shop.pay(typing, "paid", anyway=1)
    assert shop.asked(typing).outcome is Outcome.SUCCEEDED
    assert shop.close(gone) is Outcome.SUCCEEDED
    assert shop.asked(gone).outcome is Outcome.FAILED
    assert not shop.can_be_paid(gone)


def test_closing_says_whether_anybody_can_still_pay(shop: Shop) -> None:
    unpaid, paid, unseen = shop.order(), shop.order(), Order(shop.wanted(), Intent())
    shop.pay(paid)

    assert shop.close(unpaid) is Outcome.SUCCEEDED
    assert shop.close(unpaid) is Outcome.SUCCEEDED
    assert not shop.can_be_paid(unpaid)
    assert shop.close(paid) is Outcome.FAILED
    assert shop.close(unseen) is Outcome.ABSENT
    assert shop.asked(unseen).outcome is Outcome.ABSENT


# -- giving back -------------------------------------------------------------------------------------------------------


def test_all_is_given_back_and_told(shop: Shop) -> None:
    order = shop.order()
    shop.pay(order, "paid")
    [charge] = shop.inbox.wait(order.payment_id, 1)
    assert isinstance(charge, Charge)
    request = refund_of(charge)
    assert shop.query_refund(request) is Outcome.ABSENT

    assert shop.refund(request) is Outcome.SUCCEEDED

    assert shop.query_refund(request) is Outcome.SUCCEEDED
    assert shop.inbox.wait(order.payment_id, 2)[1] == RefundNews(request.refund_id)
    assert shop.asked(order).outcome is Outcome.SUCCEEDED  # it was paid, whatever came after
    assert shop.given_back(charge) == PRICE.minor


def test_parts_are_given_back_each_once_and_never_more_than_was_paid(shop: Shop) -> None:
    charge = shop.paid()
    part, rest, too_much = refund_of(charge, 1000), refund_of(charge, 1500), refund_of(charge, 1)

    assert [shop.refund(part), shop.refund(part), shop.refund(rest)] == [Outcome.SUCCEEDED] * 3
    assert shop.refund(too_much) is Outcome.FAILED

    assert shop.query_refund(too_much) is Outcome.ABSENT
    assert shop.refund(part) is Outcome.SUCCEEDED  # said again after all is gone
    assert shop.given_back(charge) == PRICE.minor


def test_another_amount_under_a_number_that_was_used_is_no_failure_of_it(shop: Shop) -> None:
    charge = shop.paid()
    request = refund_of(charge, 1000)
    shop.refund(request)

    other = replace(request, amount=Money(900))
    assert [shop.refund(other), shop.query_refund(other)] == [Outcome.UNKNOWN] * 2
    assert shop.given_back(charge) == 1000


def test_another_reason_under_a_number_that_was_used_finds_the_refund_that_was_made(shop: Shop) -> None:
    charge = shop.paid()
    request = refund_of(charge)
    shop.refund(request)

    assert shop.refund(replace(request, reason="another")) is Outcome.SUCCEEDED
    assert shop.given_back(charge) == PRICE.minor


@pytest.mark.parametrize("reason", ["", "原因" * 80, "`\ud800\n"])
def test_whatever_the_reason_is_the_money_goes_back(shop: Shop, reason: str) -> None:
    charge = shop.paid()
    assert shop.refund(replace(refund_of(charge), reason=reason)) is Outcome.SUCCEEDED


@pytest.mark.parametrize("outcome", ["wrong_amount", "wrong_currency"])
def test_money_that_is_not_what_was_asked_for_goes_back_as_it_came(shop: Shop, outcome: str) -> None:
    order = shop.order()
    shop.pay(order, outcome)
    [charge] = shop.asked(order).charges
    request = refund_of(charge)

    assert [shop.refund(request), shop.query_refund(request)] == [Outcome.SUCCEEDED] * 2
    assert shop.given_back(charge) == charge.amount.minor


def test_what_wechat_was_never_paid_is_not_given_back(shop: Shop) -> None:
    charge = shop.paid()
    for wrong in (
        replace(refund_of(charge), provider_no="4200000000202611220000000000"),
        replace(refund_of(charge), charged=Money(9999)),
    ):
        assert shop.refund(wrong) is Outcome.FAILED
        assert shop.query_refund(wrong) is Outcome.ABSENT
    assert shop.given_back(charge) == 0


def test_a_refund_under_way_is_so_until_it_ends(shop: Shop) -> None:
    charge = shop.paid()
    request = refund_of(charge)
    shop.misbehave("refunds", "processing", seconds=60)

    assert [shop.refund(request), shop.query_refund(request)] == [Outcome.PROCESSING] * 2

    shop.lets_pass(timedelta(minutes=2))
    assert [shop.query_refund(request), shop.refund(request)] == [Outcome.SUCCEEDED] * 2


@pytest.mark.parametrize("fault", ["abnormal", "closed"])
def test_a_refund_that_came_to_nothing_has_failed(shop: Shop, fault: str) -> None:
    charge = shop.paid()
    request = refund_of(charge)
    shop.misbehave("refunds", fault)

    assert [shop.refund(request), shop.query_refund(request), shop.refund(request)] == [Outcome.FAILED] * 3
    assert shop.given_back(charge) == 0
    assert RefundNews(request.refund_id) in shop.inbox.wait(charge.payment_id, 1)


def test_a_refund_that_our_balance_does_not_bear_has_failed_and_can_be_asked_for_again(shop: Shop) -> None:
    charge = shop.paid()
    request = refund_of(charge)
    shop.misbehave("refunds", "not_enough")

    assert shop.refund(request) is Outcome.FAILED
    assert shop.given_back(charge) == 0
    assert shop.refund(request) is Outcome.SUCCEEDED


def test_a_refund_asked_for_from_many_sides_at_once_is_made_once(shop: Shop) -> None:
    charge = shop.paid()
    request = refund_of(charge, 1000)

    with ThreadPoolExecutor(6) as pool:
        said = set(pool.map(shop.refund, [request] * 6))

    assert said == {Outcome.SUCCEEDED}
    assert shop.given_back(charge) == 1000


def test_paying_and_closing_at_once_end_in_one_of_the_two(shop: Shop) -> None:
    def pays(order: Order) -> bool:
        try:
            shop.pay(order)
        except HTTPError:
            return False
        return True

    for order in [shop.order() for _ in range(6)]:
        with ThreadPoolExecutor(2) as pool:
            paying, closing = pool.submit(pays, order), pool.submit(shop.close, order)
        assert closing.result() is (Outcome.FAILED if paying.result() else Outcome.SUCCEEDED)
        assert shop.asked(order).outcome is (Outcome.SUCCEEDED if paying.result() else Outcome.FAILED)


# -- when answers are lost or spoiled ----------------------------------------------------------------------------------


SLOW = ("slow", "before_slow")
ANY_FAULT = pytest.mark.parametrize("fault", [*LOST, *NOT_DONE, *SLOW])


@contextmanager
def spoiled(shop: Shop, route: str, fault: str) -> Iterator[None]:
    """The next answer on this route; one that is slow is not waited for."""
    with pytest.MonkeyPatch.context() as patch:
        if fault in SLOW:
            patch.setattr(wechat, "TIMEOUT", 0.2)
            shop.misbehave(route, fault, seconds=0.4)
        else:
            shop.misbehave(route, fault)
        yield


@ANY_FAULT
def test_an_order_without_a_sound_answer_is_silence_and_asking_again_finds_it(shop: Shop, fault: str) -> None:
    wanted = shop.wanted()

    with spoiled(shop, "pay", fault), pytest.raises(ProviderSilent):
        shop.adapter.create(wanted, clock.now())

    order = Order(wanted, shop.adapter.create(wanted, clock.now()))
    shop.pay(order, "paid")
    assert isinstance(shop.inbox.wait(order.payment_id, 1)[0], Charge)


@ANY_FAULT
@pytest.mark.parametrize("paid", [True, False])
def test_an_unsound_answer_about_a_payment_says_nothing(shop: Shop, fault: str, paid: bool) -> None:
    order = shop.order()
    if paid:
        shop.pay(order)

    with spoiled(shop, "query", fault):
        assert shop.asked(order).outcome is Outcome.UNKNOWN
    assert shop.asked(order).outcome is (Outcome.SUCCEEDED if paid else Outcome.PROCESSING)


@ANY_FAULT
@pytest.mark.parametrize("paid", [True, False])
def test_an_unsound_answer_to_closing_ends_nothing(shop: Shop, fault: str, paid: bool) -> None:
    order = shop.order()
    if paid:
        shop.pay(order)

    with spoiled(shop, "close", fault):
        assert shop.close(order) is Outcome.UNKNOWN
    if not paid and fault in NOT_DONE:
        assert shop.asked(order).outcome is Outcome.PROCESSING
    assert shop.close(order) is (Outcome.FAILED if paid else Outcome.SUCCEEDED)
    assert shop.asked(order).outcome is (Outcome.SUCCEEDED if paid else Outcome.FAILED)


@ANY_FAULT
def test_an_unsound_answer_to_a_refund_leaves_it_open_and_it_is_made_once(shop: Shop, fault: str) -> None:
    charge = shop.paid()
    request = refund_of(charge, 1000)

    with spoiled(shop, "refunds", fault):
        assert shop.refund(request) is Outcome.UNKNOWN
    eventually(lambda: fault not in SLOW or shop.query_refund(request) is Outcome.SUCCEEDED)
    assert shop.query_refund(request) is (Outcome.ABSENT if fault in NOT_DONE else Outcome.SUCCEEDED)
    assert shop.refund(request) is Outcome.SUCCEEDED
    assert shop.given_back(charge) == 1000


@ANY_FAULT
def test_an_unsound_answer_about_a_refund_says_nothing(shop: Shop, fault: str) -> None:
    request = refund_of(shop.paid())
    shop.refund(request)

    with spoiled(shop, "refund_query", fault):
        assert shop.query_refund(request) is Outcome.UNKNOWN
    assert shop.query_refund(request) is Outcome.SUCCEEDED


@ANY_FAULT
def test_a_refused_refund_is_open_while_it_is_not_known_if_it_was_made(shop: Shop, fault: str) -> None:
    charge = shop.paid()
    made = refund_of(charge)
    shop.refund(made)

    with spoiled(shop, "refund_query", fault):
        assert shop.refund(replace(made, reason="amiss")) is Outcome.UNKNOWN


def test_a_signature_of_ours_that_wechat_does_not_know_decides_nothing(shop: Shop) -> None:
    charge = shop.paid()
    order, request = shop.order(), refund_of(charge)
    shop = replace(shop, adapter=adapter_of(shop.wechat, {**shop.wechat.keys, "private_key": new_key()}))

    assert [shop.asked(order).outcome, shop.close(order), shop.refund(request), shop.query_refund(request)] == [
        Outcome.UNKNOWN
    ] * 4
    with pytest.raises(ProviderRefused) as refused:
        shop.order()
    assert refused.value.facts["reason"] == "SIGN_ERROR"


def test_with_a_clock_that_is_wrong_nothing_is_decided(shop: Shop) -> None:
    order = shop.order()
    assert shop.adapter.query(order.attempt, clock.now() - timedelta(minutes=10)).outcome is Outcome.UNKNOWN
    assert shop.adapter.close(order.attempt, clock.now() + timedelta(minutes=10)) is Outcome.UNKNOWN
    assert shop.asked(order).outcome is Outcome.PROCESSING


# -- bills -------------------------------------------------------------------------------------------------------------


def day_ago(days: int) -> date:
    return (clock.now() - timedelta(days=days)).astimezone(clock.SHANGHAI).date()


@dataclass
class Business:
    shop: Shop
    day: date
    charges: list[Charge]
    refunds: list[RefundRequest]

    def bill(self) -> Bill:
        return self.shop.adapter.bill(self.day, clock.now())


@pytest.fixture(scope="module")
def business(tmp_path_factory: pytest.TempPathFactory, running: Shop, state: Path) -> Iterator[Business]:
    """A past day: three payments, of which one was given back in two parts, and one not, though it was asked for."""
    own = tmp_path_factory.mktemp("bills") / "w.sqlite"
    shutil.copy(keys_file(state), keys_file(own))
    with WeChatPay(own, retry_after=RETRY_AFTER, refund_after=0) as wechat_pay:
        there = Shop(wechat_pay, adapter_of(wechat_pay), running.inbox)
        charges = [there.paid(Money(minor)) for minor in (1, 2500, 123456)]
        refunds = [refund_of(charges[1], 999), refund_of(charges[1], 1)]
        assert [there.refund(request) for request in refunds] == [Outcome.SUCCEEDED] * 2
        there.misbehave("refunds", "closed")
        assert there.refund(refund_of(charges[2])) is Outcome.FAILED
        there.order()  # never paid
        day = day_ago(3)
        there.lets_pass(clock.now() - datetime.combine(day, datetime.min.time(), clock.SHANGHAI) - timedelta(hours=12))
        yield Business(there, day, charges, refunds)


def test_the_bill_of_a_past_day_sums_up_to_what_was_paid_and_given_back(business: Business) -> None:
    lines = business.shop.adapter.bill_lines(business.bill())

    def of(kind: LineKind) -> list[BillLine]:
        return [line for line in lines if line.kind is kind]

    assert {(line.payment_id, line.provider_no, line.gross) for line in of(LineKind.CHARGE)} == {
        (charge.payment_id, charge.provider_no, charge.amount) for charge in business.charges
    }
    assert {(line.refund_id, line.payment_id, line.gross) for line in of(LineKind.REFUND)} == {
        (request.refund_id, request.payment_id, Money(-request.amount.minor)) for request in business.refunds
    }
    assert len(lines) == len(business.charges) + len(business.refunds)
    assert {line.at.astimezone(clock.SHANGHAI).date() for line in lines} == {business.day}
    # WeChat keeps 0.6 % and gives it back with what is refunded, to five places.
    assert all(line.fee_e6 == line.gross.minor * 60 for line in lines)


def test_a_bill_that_lost_a_line_is_none(business: Business) -> None:
    first, _, *others = business.bill().content.split(b"\r\n")

    with pytest.raises(BadBill, match="disagrees"):
        business.shop.adapter.bill_lines(Bill(b"\r\n".join([first, *others]), "csv"))


def test_a_day_without_money_has_an_empty_bill(business: Business) -> None:
    bill = business.shop.adapter.bill(day_ago(6), clock.now())

    assert bill.content == b""
    assert business.shop.adapter.bill_lines(bill) == []


def test_a_bill_that_wechat_has_not_made_yet_is_not_ready(business: Business) -> None:
    business.shop.misbehave("bill", "statement_creating")

    with pytest.raises(BillNotReady):
        business.bill()
    for early in (day_ago(0), day_ago(-1)):
        with pytest.raises(BillNotReady):
            business.shop.adapter.bill(early, clock.now())
    assert business.bill().content


@pytest.mark.parametrize(("route", "fault"), [
    *(("bill", fault) for fault in (*LOST, *NOT_DONE, *SLOW, "wrong_hash")),
    *(("download", fault) for fault in ("slow", "silent", "500", "garbage", "cut_short")),
])  # fmt: skip
def test_a_bill_that_does_not_come_whole_is_asked_for_again(business: Business, route: str, fault: str) -> None:
    with spoiled(business.shop, route, fault), pytest.raises(ProviderSilent):
        business.bill()

    assert len(business.shop.adapter.bill_lines(business.bill())) == len(business.charges) + len(business.refunds)


# -- keys --------------------------------------------------------------------------------------------------------------


def new_key() -> str:
    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with inboxes.opened() as inbox:
        yield inbox


def test_keys_are_rotated_in_daylight(tmp_path: Path, state: Path, shop: Shop, inbox: Inbox) -> None:
    """A payment under the old keys is notified under the new ones, with its content still sealed by the old one."""
    own = tmp_path / "w.sqlite"
    file = keys_file(own)
    shutil.copy(keys_file(state), file)
    with WeChatPay(own, retry_after=(30,), refund_after=0) as running:
        old = dict(running.keys)
        shop = Shop(running, adapter_of(running), inbox)
        inbox.provider, inbox.refusing = shop.adapter, True
        order = shop.order()
        shop.pay(order, "paid")
        inbox.wait(order.payment_id, 1)
        eventually(lambda: WeChatPay.told(running.url, order.payment_id)[0]["tries"] == 1)
    file.write_text(
        json.dumps(
            json.loads(file.read_text())
            | {
                "serial": "5" * 40,
                "private_key": new_key(),
                "apiv3_key": "k" * 32,
                "platform_key_id": "PUB_KEY_ID_01" + "7" * 30,
                "platform_private_key": new_key(),
            }
        )
    )
    with WeChatPay(own, retry_after=RETRY_AFTER, refund_after=0) as running:
        new = dict(running.keys)
        assert not new.keys() & {name for name, value in new.items() if old[name] == value}
        shop = Shop(running, adapter_of(running, new, old), inbox)
        inbox.provider, inbox.refusing = shop.adapter, False
        with running.store.transaction() as db:
            db.execute("UPDATE letters SET next_at = 0")
        running.wake()

        assert isinstance(inbox.wait(order.payment_id, 2)[1], Charge)
        # What the old keys signed is still good; what is no longer known is not.
        first, later = inbox.everything[0], inbox.everything[1]
        only_new, only_old = adapter_of(running, new), adapter_of(running, old)
        assert isinstance(shop.adapter.parse_notification(first.headers, first.raw, clock.now()), Charge)
        for strange, heard in ((only_new, first), (only_new, later), (only_old, later)):
            with pytest.raises(BadNotification):
                strange.parse_notification(heard.headers, heard.raw, clock.now())
        # The newest signs and is answered under.
        [charge] = shop.asked(order).charges
        assert shop.refund(refund_of(charge)) is Outcome.SUCCEEDED
        assert only_old.query(order.attempt, clock.now()).outcome is Outcome.UNKNOWN
        shop.pay(shop.order("wechat_jsapi"), "paid")


def test_until_wechat_knows_the_new_keys_the_old_ones_decide(shop: Shop) -> None:
    new = {**shop.wechat.keys, "serial": "5" * 40, "private_key": new_key(), "apiv3_key": "k" * 32}
    early = adapter_of(shop.wechat, new, shop.wechat.keys)
    order = shop.order()
    shop.pay(order, "paid")
    shop.inbox.wait(order.payment_id, 1)
    heard = shop.inbox.raw(order.payment_id)

    assert isinstance(early.parse_notification(heard.headers, heard.raw, clock.now()), Charge)
    # A set given too early signs in vain, and says nothing wrong.
    assert early.query(order.attempt, clock.now()).outcome is Outcome.UNKNOWN


# -- where WeChat's documents leave it open ----------------------------------------------------------------------------

SUCCEEDED, FAILED, PROCESSING, ABSENT, UNKNOWN = (
    Outcome.SUCCEEDED, Outcome.FAILED, Outcome.PROCESSING, Outcome.ABSENT, Outcome.UNKNOWN,
)  # fmt: skip
ENDED = {FAILED, ABSENT}  # what asking says of an attempt that nobody can pay any more
CLOSED = {SUCCEEDED, ABSENT}  # what closing says of it
_days = count(10)

# What the adapter says of a standard life as the simulator plays it by default.
STANDARD: dict[str, object] = {
    "never ordered: ask, close": [ABSENT, ABSENT],
    "unpaid: ask, close, close again, ask": [PROCESSING, SUCCEEDED, SUCCEEDED, FAILED],
    "time over: ask, close": [PROCESSING, SUCCEEDED],
    "tried in vain: ask": PROCESSING,
    "tried in vain, then paid: ask, close": [SUCCEEDED, FAILED],
    "tried in vain, then closed: ask, close": [PROCESSING, SUCCEEDED],
    "closed: order again": "ORDER_CLOSED",
    "paid: order again": ProviderSilent,
    "paid: ask, close": [SUCCEEDED, FAILED],
    "part: ask, refund, again, ask": [ABSENT, SUCCEEDED, SUCCEEDED, SUCCEEDED],
    "part back: ask, close": [SUCCEEDED, FAILED],
    "too much: refund, ask": [FAILED, ABSENT],
    "rest: refund, again, ask": [SUCCEEDED, SUCCEEDED, SUCCEEDED],
    "all back: ask, close": [SUCCEEDED, FAILED],
    "paid: heard": [Charge, RefundNews, RefundNews],
    "bill": [("charge", 2500, 150_000), ("refund", -1500, -90_000), ("refund", -1000, -60_000)],
    "empty day": [],
}
# And what is otherwise where the simulator plays a trait otherwise. Doubt is all that may come of it.
OTHERWISE: dict[tuple[str, str], dict[str, object]] = {
    ("expired_state", "CLOSED"): {"time over: ask, close": [FAILED, SUCCEEDED]},
    # An answer that is not signed is none, also where it would have been the truth.
    ("refusals", "unsigned"): {
        "never ordered: ask, close": [UNKNOWN, UNKNOWN],
        "tried in vain, then paid: ask, close": [SUCCEEDED, UNKNOWN],
        "closed: order again": ProviderSilent,
        "paid: ask, close": [SUCCEEDED, UNKNOWN],
        "part: ask, refund, again, ask": [UNKNOWN, SUCCEEDED, SUCCEEDED, SUCCEEDED],
        "part back: ask, close": [SUCCEEDED, UNKNOWN],
        "too much: refund, ask": [UNKNOWN, UNKNOWN],
        "all back: ask, close": [SUCCEEDED, UNKNOWN],
        "empty day": ProviderSilent,
    },
    ("codes", "joined"): {"closed: order again": "ORDERCLOSED"},
    # A code that closing shares with mistakes of ours ends nothing: asking does.
    ("close_paid", "INVALID_REQUEST"): {
        "tried in vain, then paid: ask, close": [SUCCEEDED, UNKNOWN],
        "paid: ask, close": [SUCCEEDED, UNKNOWN],
        "part back: ask, close": [SUCCEEDED, UNKNOWN],
        "all back: ask, close": [SUCCEEDED, UNKNOWN],
    },
    ("refund_notice", "not_sent"): {"paid: heard": [Charge]},
    ("refunded_fee", "kept"): {"bill": [("charge", 2500, 150_000), ("refund", -1500, 0), ("refund", -1000, 0)]},
}


@pytest.mark.parametrize(("trait", "played"), [(trait, played) for trait in TRAITS for played in TRAITS[trait]])
def test_however_wechat_behaves_the_adapter_tells_the_truth_or_that_it_does_not_know(
    shop: Shop, trait: str, played: str
) -> None:
    WeChatPay.behave(shop.wechat.url, **{trait: played})

    assert life(shop) == STANDARD | OTHERWISE.get((trait, played), {})


def life(shop: Shop) -> dict[str, object]:
    """A standard life of orders; what is said of each is held against the simulator's books on the way."""
    said: dict[str, object] = {}

    said["never ordered: ask, close"] = asked_and_closed(shop, Order(shop.wanted(), Intent()))
    unpaid = shop.order()
    first, again = asked_and_closed(shop, unpaid), asked_and_closed(shop, unpaid)
    said["unpaid: ask, close, close again, ask"] = [*first, again[1], again[0]]
    late = shop.order()
    shop.lets_pass(timedelta(hours=1))
    said["time over: ask, close"] = asked_and_closed(shop, late)
    paid_then, closed_then = shop.order(), shop.order()
    for order in (paid_then, closed_then):
        shop.pay(order, "failed")
    said["tried in vain: ask"] = shop.asked(paid_then).outcome
    shop.pay(paid_then)
    said["tried in vain, then paid: ask, close"] = asked_and_closed(shop, paid_then)
    said["tried in vain, then closed: ask, close"] = asked_and_closed(shop, closed_then)

    paid = shop.order()
    shop.pay(paid, "paid")
    [charge] = shop.inbox.wait(paid.payment_id, 1)
    assert isinstance(charge, Charge)
    said["closed: order again"], said["paid: order again"] = ordered_again(shop, unpaid), ordered_again(shop, paid)
    said["paid: ask, close"] = asked_and_closed(shop, paid)
    part, too_much, rest = refund_of(charge, 1000), refund_of(charge, 2000), refund_of(charge, 1500)
    said["part: ask, refund, again, ask"] = refunded(shop, part, "ask", "refund", "refund", "ask")
    said["part back: ask, close"] = asked_and_closed(shop, paid)
    said["too much: refund, ask"] = refunded(shop, too_much, "refund", "ask")
    said["rest: refund, again, ask"] = refunded(shop, rest, "refund", "refund", "ask")
    said["all back: ask, close"] = asked_and_closed(shop, paid)
    eventually(lambda: "waiting" not in shop.letters(paid.payment_id))
    said["paid: heard"] = [type(one) for one in shop.inbox.heard(paid.payment_id)]

    day = day_ago(next(_days))
    noon = datetime.combine(day, datetime.min.time(), clock.SHANGHAI) + timedelta(hours=12)
    with shop.wechat.store.transaction() as db:
        db.execute("UPDATE payments SET paid_at = ? WHERE out_trade_no = ?", (noon.timestamp(), paid.payment_id))
        db.execute("UPDATE refunds SET settles_at = ? WHERE out_trade_no = ?", (noon.timestamp(), paid.payment_id))
    said["bill"], said["empty day"] = sorted_bill(shop, day), sorted_bill(shop, day_ago(80))
    return said


def ordered_again(shop: Shop, order: Order) -> object:
    try:
        return shop.adapter.create(order.request, clock.now())
    except ProviderRefused as refused:
        return refused.facts["reason"]
    except ProviderSilent:
        return ProviderSilent


def asked_and_closed(shop: Shop, order: Order) -> list[Outcome]:
    asked, closed = shop.asked(order), shop.close(order)
    with shop.wechat.store.transaction() as db:
        row = db.execute("SELECT paid_at FROM payments WHERE out_trade_no = ?", (order.payment_id,)).fetchone()
    is_paid = bool(row and row["paid_at"])
    assert is_paid == bool(asked.charges) or asked.outcome is UNKNOWN
    assert not is_paid or (asked.outcome not in ENDED and closed not in CLOSED)
    if shop.page(order) and (asked.outcome in ENDED or closed in CLOSED):
        assert not shop.can_be_paid(order)
    return [asked.outcome, closed]


def refunded(shop: Shop, request: RefundRequest, *steps: str) -> list[Outcome]:
    outcomes = []
    for step in steps:
        outcomes.append(shop.query_refund(request) if step == "ask" else shop.refund(request))
        with shop.wechat.store.transaction() as db:
            row = db.execute("SELECT refund FROM refunds WHERE out_refund_no = ?", (request.refund_id,)).fetchone()
        assert row is None or row["refund"] == request.amount.minor
        assert outcomes[-1] is not SUCCEEDED or row
        assert outcomes[-1] not in ENDED or not row
    return outcomes


def sorted_bill(shop: Shop, day: date) -> object:
    try:
        lines = shop.adapter.bill_lines(shop.adapter.bill(day, clock.now()))
    except ProviderSilent:
        return ProviderSilent
    return sorted((line.kind.value, line.gross.minor, line.fee_e6) for line in lines)


# -- a second opinion: the Python library that merchants use -----------------------------------------------------------


def test_the_library_of_others_says_what_our_adapter_says(shop: Shop) -> None:
    core = library(shop)
    order = shop.order("wechat_jsapi")
    given = order.intent.client_params or {}
    assert given["paySign"] == core.sign([given["appId"], given["timeStamp"], given["nonceStr"], given["package"]])
    shop.pay(order, "paid")
    [charge] = shop.inbox.wait(order.payment_id, 1)
    heard = shop.inbox.raw(order.payment_id)
    assert isinstance(charge, Charge)

    read = core.callback(heard.headers, heard.raw.decode())["resource"]
    code, answer = core.request(
        f"/v3/pay/transactions/out-trade-no/{order.payment_id}?mchid={shop.wechat.terms['mchid']}"
    )

    assert code == 200
    for message in (read, json.loads(answer)):
        assert json.loads(charge.raw).items() <= {
            **message, "amount": {name: message["amount"][name] for name in ("total", "currency")}
        }.items()  # fmt: skip
        assert (message["out_trade_no"], message["transaction_id"]) == (charge.payment_id, charge.provider_no)
        assert clock.parse(message["success_time"]) == charge.paid_at


def test_the_library_of_others_and_our_adapter_see_what_the_other_did(shop: Shop) -> None:
    core, posting = library(shop), pytest.importorskip("wechatpayv3.type").RequestType.POST
    closed, charge = shop.order(), shop.paid()
    request = refund_of(charge, 1000)
    wanted = {
        "transaction_id": request.provider_no,
        "out_refund_no": request.refund_id,
        "reason": request.reason,
        "amount": {"refund": 1000, "total": 2500, "currency": "CNY"},
    }

    code, _ = core.request(
        f"/v3/pay/transactions/out-trade-no/{closed.payment_id}/close",
        method=posting,
        data={"mchid": shop.wechat.terms["mchid"]},
    )
    assert code == 204
    assert (shop.asked(closed).outcome, shop.close(closed)) == (Outcome.FAILED, Outcome.SUCCEEDED)
    code, told = core.request("/v3/refund/domestic/refunds", method=posting, data=wanted)
    assert (code, json.loads(told)["status"]) == (200, "SUCCESS")
    assert [shop.query_refund(request), shop.refund(request)] == [Outcome.SUCCEEDED] * 2
    assert shop.given_back(charge) == 1000


def test_the_library_of_others_refuses_what_our_adapter_refuses(shop: Shop) -> None:
    core = library(shop)
    for outcome in ("forged", "signtest"):
        order = shop.order()
        shop.pay(order, outcome)
        assert shop.inbox.wait(order.payment_id, 1)[0] is BadNotification
        heard = shop.inbox.raw(order.payment_id)
        assert core.callback(heard.headers, heard.raw.decode()) is None


def library(shop: Shop) -> Any:
    core = pytest.importorskip("wechatpayv3.core")
    keys = shop.wechat.keys
    made = core.Core(
        shop.wechat.terms["mchid"],
        keys["serial"],
        keys["private_key"],
        keys["apiv3_key"],
        public_key=keys["platform_key"],
        public_key_id=keys["platform_key_id"],
    )
    made._gate_way = shop.wechat.url
    return made
