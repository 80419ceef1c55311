"""Our Alipay adapter against the simulator of Alipay's gateway, which was written without it: over HTTP, unchanged.

What is asserted throughout: whatever is lost, refused or forged between the two, and however Alipay behaves where its
documents leave it open, the adapter never says that nobody can pay what can still be paid, that a refund failed that
was made, or that money came that did not.
"""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from infra.local.alipay import AlipayGateway
from infra.local.alipay.traits import TRAITS
from shared.kernel import clock, ids
from shared.kernel.money import Money
from shared.payments.adapters import alipay
from shared.payments.adapters.alipay import Alipay, Traits
from shared.payments.errors import BadBill, BadNotification, BillNotReady, ProviderRefused, ProviderSilent
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
SUBJECT = '王者荣耀 点券/648=豪华&"双十一", 🎮'
DONE = ("silent", "500", "wrong_signature", "unsigned", "garbage", "system_error", "slow")
NOT_DONE = ("silent_before", "unavailable")
METHODS = ("alipay_qr", "alipay_page", "alipay_wap")
ENDED = {Outcome.FAILED, Outcome.ABSENT}  # what asking says of an attempt that nobody can pay any more
CLOSED = {Outcome.SUCCEEDED, Outcome.ABSENT}  # what closing says of it
_days = count(30)
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


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

    @property
    def page(self) -> str:
        return self.intent.qr_url or self.intent.redirect_url or ""


@dataclass
class Shop:
    gateway: AlipayGateway
    adapter: Alipay
    inbox: Inbox

    def wanted(
        self, method: str = "alipay_qr", amount: Money = PRICE, lasts: timedelta = timedelta(minutes=30)
    ) -> PaymentRequest:
        now = clock.now()
        attempt = Attempt(ids.new("pay", now), method, amount, SUBJECT, now + lasts)
        return PaymentRequest(attempt, self.inbox.address(attempt.payment_id), "https://shop.test/return?a=1")

    def order(self, method: str = "alipay_qr", amount: Money = PRICE, **more: Any) -> Order:
        wanted = self.wanted(method, amount, **more)
        return Order(wanted, self.adapter.create(wanted, clock.now()))

    def scanned(self, method: str = "alipay_qr") -> Order:
        order = self.order(method)
        with _open(order.page, timeout=10):
            return order

    def pay(self, order: Order, outcome: str = "silent", **more: object) -> None:
        AlipayGateway.pay(order.page, outcome, **more)

    def can_be_paid(self, order: Order) -> bool:
        try:
            self.pay(order)
        except HTTPError:
            return False
        return True

    def paid(self, amount: Money = PRICE) -> Charge:
        order = self.order(amount=amount)
        self.pay(order)
        return self.charge_of(order)

    def charge_of(self, order: Order) -> Charge:
        [charge] = self.asked(order).charges
        return charge

    def asked(self, order: Order) -> PaymentStatus:
        return self.adapter.query(order.attempt, clock.now())

    def close(self, order: Order) -> Outcome:
        return self.adapter.close(order.attempt, clock.now())

    def refund(self, request: RefundRequest) -> Outcome:
        return self.adapter.refund(request, clock.now())

    def query_refund(self, request: RefundRequest) -> Outcome:
        return self.adapter.query_refund(request, clock.now())

    def bill(self, day: date) -> list[BillLine]:
        return self.adapter.bill_lines(self.adapter.bill(day, clock.now()))

    def misbehave(self, route: str, fault: str) -> None:
        more = {"seconds": 0.4} if fault == "slow" else {}
        AlipayGateway.misbehave(self.gateway.url, route, fault, 1, **more)

    def given_back(self, charge: Charge, refund_id: str = "%") -> int:
        """By the simulator's own books."""
        with self.gateway.store.transaction() as db:
            [total] = db.execute(
                "SELECT COALESCE(SUM(amount_minor), 0) FROM refunds WHERE out_trade_no = ? AND out_request_no LIKE ?",
                (charge.payment_id, refund_id),
            ).fetchone()
        return int(total)

    def lets_pass(self, time: timedelta, order: Order) -> Order:
        """The order after that time: in the simulator's books all of it happened, and ends, so much earlier."""
        passed = {"passed": time.total_seconds(), "number": order.payment_id}
        moments = {
            "orders": ("expires_at",),
            "trades": ("created_at", "expires_at", "pays_at", "paid_at", "closed_at"),
            "refunds": ("refunded_at",),
        }
        with self.gateway.store.transaction() as db:
            for table, names in moments.items():
                moved = ", ".join(f"{name} = {name} - :passed" for name in names)
                db.execute(f"UPDATE {table} SET {moved} WHERE out_trade_no = :number", passed)
        attempt = replace(order.attempt, expires_at=order.attempt.expires_at - time)
        return replace(order, request=replace(order.request, attempt=attempt))

    def letters(self, payment_id: str = "") -> list[str]:
        return [str(letter["state"]) for letter in AlipayGateway.told(self.gateway.url, payment_id)]

    def heard(self, order: Order) -> list[object]:
        """What the notifications said once none of them is on its way."""
        eventually(lambda: "waiting" not in self.letters(order.payment_id))
        return kinds(self.inbox.heard(order.payment_id))


def kinds(heard: list[inboxes.Said]) -> list[object]:
    return [said if said in (BadNotification, None) else type(said) for said in heard]


def keys_file(state: Path) -> Path:
    return Path(f"{state}.keys.json")


def refund_of(charge: Charge, minor: int | None = None) -> RefundRequest:
    amount = charge.amount if minor is None else Money(minor, charge.amount.currency)
    number = ids.new("ref", clock.now())
    return RefundRequest(number, charge.payment_id, charge.provider_no, charge.amount, amount, "买家不想要了")


def adapter_of(running: AlipayGateway, *keys: dict[str, str], traits: Traits | None = None) -> Alipay:
    merchant = Merchant("alipay", "alipay", METHODS, 6000, terms=running.terms)
    return Alipay(merchant, keys or [running.keys], traits or Traits())


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("alipay") / "a.sqlite"


@pytest.fixture(scope="module")
def running(state: Path) -> Iterator[Shop]:
    with (
        inboxes.opened() as inbox,
        AlipayGateway(state, retry_after=RETRY_AFTER, answer_within=PATIENCE) as gateway,
    ):
        inbox.provider = adapter_of(gateway)
        yield Shop(gateway, adapter_of(gateway), inbox)


@pytest.fixture
def shop(running: Shop) -> Iterator[Shop]:
    yield running
    eventually(lambda: "waiting" not in running.letters())  # it would take the fault that the next test arms
    AlipayGateway.behave(running.gateway.url, **{name: values[0] for name, values in TRAITS.items()})


# -- paying ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_what_the_buyer_is_given_leads_to_a_payment_of_which_both_sides_say_the_same(shop: Shop, method: str) -> None:
    order = shop.order(method)
    assert shop.asked(order).outcome is Outcome.PROCESSING

    began = clock.now()
    shop.pay(order, "paid")

    [charge] = shop.inbox.wait(order.payment_id, 1)
    assert isinstance(charge, Charge)
    assert (charge.payment_id, charge.amount) == (order.payment_id, PRICE)
    assert began - timedelta(seconds=1) <= charge.paid_at <= clock.now()
    assert "buyer" not in charge.raw
    status = shop.asked(order)
    assert status.outcome is Outcome.SUCCEEDED
    assert [replace(told, raw=charge.raw) for told in status.charges] == [charge]
    eventually(lambda: shop.letters(order.payment_id) == ["acknowledged"])


@pytest.mark.parametrize("method", METHODS)
def test_an_order_created_twice_is_one_order(shop: Shop, method: str) -> None:
    first = shop.order(method)
    again = replace(first, intent=shop.adapter.create(first.request, clock.now() + timedelta(seconds=2)))

    pages = []
    for order in (first, again):
        with _open(order.page, timeout=10) as page:
            pages.append(page.geturl())
    assert pages[0] == pages[1]


def test_a_paid_order_is_not_ordered_again_and_a_closed_one_is_refused(shop: Shop) -> None:
    paid, closed = shop.order(), shop.scanned()
    shop.pay(paid)
    shop.close(closed)

    with pytest.raises(ProviderSilent):  # there is money: it is to be asked about
        shop.adapter.create(paid.request, clock.now())
    with pytest.raises(ProviderRefused) as refused:
        shop.adapter.create(closed.request, clock.now())
    assert refused.value.facts["reason"] == "ACQ.TRADE_HAS_CLOSE"


def test_other_terms_under_the_same_number_are_no_refusal_of_the_payment(shop: Shop) -> None:
    order = shop.order()
    other = replace(order.request, attempt=replace(order.attempt, amount=Money(2600)))

    with pytest.raises(ProviderSilent):
        shop.adapter.create(other, clock.now())
    assert shop.can_be_paid(order)


@dataclass(frozen=True)
class Told:
    """outcome: what asking says in the end, with the amounts; heard: what the notifications said, in their order."""

    outcome: Outcome
    charged: tuple[Money, ...] = ()
    heard: tuple[object, ...] = ()


PAID = Told(Outcome.SUCCEEDED, (PRICE,), (Charge,))
OUTCOMES = {
    "paid": PAID,
    "failed": Told(Outcome.FAILED, heard=(None,)),  # Alipay closes the trade, and says so
    "silent": Told(Outcome.SUCCEEDED, (PRICE,)),
    "twice": Told(Outcome.SUCCEEDED, (PRICE,), (Charge, Charge)),
    "out_of_order": Told(Outcome.SUCCEEDED, (PRICE,), (Charge, None)),
    "late": PAID,
    "wrong_amount": Told(Outcome.SUCCEEDED, (Money(2499),), (Charge,)),
    "wrong_currency": Told(Outcome.SUCCEEDED, (Money(2500, "USD"),), (Charge,)),
    "other_order": Told(Outcome.PROCESSING, heard=(Charge,)),
    "forged": Told(Outcome.PROCESSING, heard=(BadNotification,)),
    "sha1": Told(Outcome.SUCCEEDED, (PRICE,), (BadNotification,) * (1 + len(RETRY_AFTER))),
    "success_then_refund": Told(Outcome.SUCCEEDED, (PRICE,), (Charge, RefundNews)),
}


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_whatever_the_buyer_does_asking_and_closing_tell_the_truth(shop: Shop, outcome: str) -> None:
    order, told = shop.order(), OUTCOMES[outcome]
    shop.pay(order, outcome, seconds=1)
    if outcome == "late":
        assert shop.asked(order).outcome is Outcome.PROCESSING
    heard = shop.inbox.wait(order.payment_id, len(told.heard))

    status = shop.asked(order)
    assert (status.outcome, tuple(charge.amount for charge in status.charges)) == (told.outcome, told.charged)
    assert kinds(heard) == list(told.heard)
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


def test_notifications_of_one_payment_are_of_one_charge(shop: Shop) -> None:
    order = shop.order()
    shop.pay(order, "twice")

    first, again = shop.inbox.wait(order.payment_id, 2)

    assert isinstance(first, Charge)
    assert isinstance(again, Charge)
    assert replace(again, raw=first.raw) == first


def test_a_notification_that_names_another_order_is_a_charge_of_that_one(shop: Shop) -> None:
    order = shop.order()
    shop.pay(order, "other_order")

    [charge] = shop.inbox.wait(order.payment_id, 1)

    assert isinstance(charge, Charge)
    assert charge.payment_id != order.payment_id
    assert shop.asked(order).charges == ()


def test_late_money_does_not_come_after_closing(shop: Shop) -> None:
    order = shop.order()
    shop.pay(order, "late", seconds=60)

    assert shop.close(order) is Outcome.SUCCEEDED

    later = shop.lets_pass(timedelta(minutes=2), order)
    assert shop.asked(later).outcome is Outcome.FAILED
    assert shop.heard(order) == []


def test_a_refund_in_alipays_console_is_told_under_a_number_that_is_not_ours(shop: Shop) -> None:
    order = shop.order()
    shop.pay(order, "success_then_refund")

    charge, news = shop.inbox.wait(order.payment_id, 2)

    assert isinstance(charge, Charge)
    assert isinstance(news, RefundNews)
    assert shop.query_refund(replace(refund_of(charge), refund_id=news.refund_id)) is Outcome.SUCCEEDED
    # Nothing is left to give back.
    assert shop.refund(refund_of(charge, 1)) is Outcome.FAILED


@pytest.mark.parametrize("fault", ["wrong_signature", "unsigned", "sha1"])
def test_a_notification_spoiled_on_its_way_is_refused_and_comes_again(shop: Shop, fault: str) -> None:
    order = shop.order()
    shop.misbehave("notify", fault)
    shop.pay(order, "paid")

    assert shop.heard(order) == [BadNotification, Charge]
    [letter] = AlipayGateway.told(shop.gateway.url, order.payment_id)
    assert letter["state"] == "acknowledged"
    assert [answer["body"] for answer in letter["answers"]] == ["fail", "success"]


def test_a_notification_whose_answer_is_lost_comes_again_and_is_of_the_same_charge(shop: Shop) -> None:
    order = shop.order()
    shop.misbehave("notify", "silent")
    shop.pay(order, "paid")

    first, again = shop.inbox.wait(order.payment_id, 2)

    assert isinstance(first, Charge)
    assert isinstance(again, Charge)
    assert replace(again, raw=first.raw) == first


# -- asking and closing ------------------------------------------------------------------------------------------------


def test_a_code_nobody_scanned_can_be_paid_until_its_time_is_over(shop: Shop) -> None:
    order = shop.order()
    assert (shop.asked(order).outcome, shop.close(order)) == (Outcome.PROCESSING, Outcome.PROCESSING)
    assert shop.can_be_paid(order)  # though it was to be closed

    gone = shop.lets_pass(timedelta(hours=1), shop.order())
    assert (shop.asked(gone).outcome, shop.close(gone)) == (Outcome.ABSENT, Outcome.ABSENT)
    assert not shop.can_be_paid(gone)


def test_a_page_nobody_opened_can_be_paid_until_its_time_is_over(shop: Shop) -> None:
    orders = [shop.order(method, lasts=timedelta(seconds=2)) for method in ("alipay_page", "alipay_wap")]
    for order in orders:
        assert (shop.asked(order).outcome, shop.close(order)) == (Outcome.PROCESSING, Outcome.PROCESSING)
    eventually(lambda: clock.now() >= orders[-1].attempt.expires_at)

    for order in orders:
        assert (shop.asked(order).outcome, shop.close(order)) == (Outcome.ABSENT, Outcome.ABSENT)
        assert not shop.can_be_paid(order)


@pytest.mark.parametrize("method", METHODS)
def test_what_a_buyer_has_opened_ends_with_its_time_or_when_it_is_closed(shop: Shop, method: str) -> None:
    closed, gone = shop.scanned(method), shop.scanned(method)
    assert [shop.asked(order).outcome for order in (closed, gone)] == [Outcome.PROCESSING] * 2

    assert [shop.close(closed), shop.close(closed)] == [Outcome.SUCCEEDED] * 2
    gone = shop.lets_pass(timedelta(hours=1), gone)

    for order in (closed, gone):
        assert (shop.asked(order).outcome, shop.close(order)) == (Outcome.FAILED, Outcome.SUCCEEDED)
        assert not shop.can_be_paid(order)


def test_money_that_came_before_the_time_was_over_is_found_after_it(shop: Shop) -> None:
    order = shop.order()
    shop.pay(order)
    order = shop.lets_pass(timedelta(hours=1), order)

    assert (shop.asked(order).outcome, shop.close(order)) == (Outcome.SUCCEEDED, Outcome.FAILED)


def test_what_was_never_ordered_counts_as_open_until_its_time_is_over(shop: Shop) -> None:
    order = Order(shop.wanted(), Intent())
    assert (shop.asked(order).outcome, shop.close(order)) == (Outcome.PROCESSING, Outcome.PROCESSING)
    order = shop.lets_pass(timedelta(hours=1), order)
    assert (shop.asked(order).outcome, shop.close(order)) == (Outcome.ABSENT, Outcome.ABSENT)


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
    assert shop.close(order) is Outcome.FAILED
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


@pytest.mark.parametrize("reason", ["", "原因" * 300, "/=&\"'\n"])
def test_whatever_the_reason_is_the_money_goes_back(shop: Shop, reason: str) -> None:
    charge = shop.paid()
    assert shop.refund(replace(refund_of(charge), reason=reason)) is Outcome.SUCCEEDED


@pytest.mark.parametrize("outcome", ["wrong_amount", "wrong_currency"])
def test_money_that_is_not_what_was_asked_for_goes_back_as_it_came(shop: Shop, outcome: str) -> None:
    order = shop.order()
    shop.pay(order, outcome)
    charge = shop.charge_of(order)
    request = refund_of(charge)

    assert [shop.refund(request), shop.query_refund(request)] == [Outcome.SUCCEEDED] * 2
    assert shop.given_back(charge) == charge.amount.minor


def test_what_alipay_was_never_paid_is_not_given_back(shop: Shop) -> None:
    charge, unpaid = shop.paid(), shop.scanned()
    with shop.gateway.store.transaction() as db:
        [number] = db.execute("SELECT trade_no FROM trades WHERE out_trade_no = ?", (unpaid.payment_id,)).fetchone()

    for wrong in ("2026112222001000000000000000", number):
        request = replace(refund_of(charge), provider_no=wrong)
        assert shop.refund(request) is Outcome.FAILED
        assert shop.query_refund(request) is Outcome.ABSENT
    assert shop.given_back(charge) == 0


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

    for order in [shop.scanned() for _ in range(6)]:
        with ThreadPoolExecutor(2) as pool:
            paying, closing = pool.submit(pays, order), pool.submit(shop.close, order)
        assert closing.result() is (Outcome.FAILED if paying.result() else Outcome.SUCCEEDED)
        assert shop.asked(order).outcome is (Outcome.SUCCEEDED if paying.result() else Outcome.FAILED)


# -- when answers are lost or spoiled ----------------------------------------------------------------------------------


ANY_FAULT = pytest.mark.parametrize("fault", [*DONE, *NOT_DONE])


@contextmanager
def spoiled(shop: Shop, route: str, fault: str) -> Iterator[None]:
    """The next answer on this route; one that is slow is not waited for."""
    with pytest.MonkeyPatch.context() as patch:
        if fault == "slow":
            patch.setattr(alipay, "TIMEOUT", 0.2)
            patch.setattr(alipay, "DOWNLOAD_TIMEOUT", 0.2)
        shop.misbehave(route, fault)
        yield


@ANY_FAULT
def test_an_order_without_a_sound_answer_is_silence_and_asking_again_finds_it(shop: Shop, fault: str) -> None:
    wanted = shop.wanted()

    with spoiled(shop, "precreate", fault), pytest.raises(ProviderSilent):
        shop.adapter.create(wanted, clock.now())

    assert shop.adapter.query(wanted.attempt, clock.now()).outcome is Outcome.PROCESSING
    order = Order(wanted, shop.adapter.create(wanted, clock.now()))
    shop.pay(order, "paid")
    assert isinstance(shop.inbox.wait(order.payment_id, 1)[0], Charge)


@pytest.mark.parametrize("method", ["alipay_page", "alipay_wap"])
@pytest.mark.parametrize("fault", ["silent_before", "500"])
def test_a_page_that_does_not_open_can_be_opened_again(shop: Shop, method: str, fault: str) -> None:
    order = shop.order(method)
    shop.misbehave(method.removeprefix("alipay_"), fault)

    with pytest.raises((URLError, ConnectionError)):
        shop.pay(order)
    assert shop.asked(order).outcome is Outcome.PROCESSING

    shop.pay(order)
    assert shop.asked(order).outcome is Outcome.SUCCEEDED


@ANY_FAULT
@pytest.mark.parametrize("paid", [True, False])
def test_an_unsound_answer_about_a_payment_says_nothing(shop: Shop, fault: str, paid: bool) -> None:
    order = shop.scanned()
    if paid:
        shop.pay(order)

    with spoiled(shop, "query", fault):
        assert shop.asked(order).outcome is Outcome.UNKNOWN
    assert shop.asked(order).outcome is (Outcome.SUCCEEDED if paid else Outcome.PROCESSING)


@ANY_FAULT
@pytest.mark.parametrize("paid", [True, False])
def test_an_unsound_answer_to_closing_ends_nothing(shop: Shop, fault: str, paid: bool) -> None:
    order = shop.scanned()
    if paid:
        shop.pay(order)

    with spoiled(shop, "close", fault):
        assert shop.close(order) is Outcome.UNKNOWN
    if not paid:
        eventually(lambda: shop.asked(order).outcome is (Outcome.PROCESSING if fault in NOT_DONE else Outcome.FAILED))
    assert shop.close(order) is (Outcome.FAILED if paid else Outcome.SUCCEEDED)
    assert shop.asked(order).outcome is (Outcome.SUCCEEDED if paid else Outcome.FAILED)


@ANY_FAULT
@pytest.mark.parametrize("paid", [True, False])
def test_closing_what_has_moved_on_says_nothing_while_it_cannot_be_asked_about(
    shop: Shop, fault: str, paid: bool
) -> None:
    order = shop.scanned()
    if paid:
        shop.pay(order)
    else:
        shop.close(order)

    with spoiled(shop, "query", fault):
        assert shop.close(order) is Outcome.UNKNOWN


@ANY_FAULT
def test_an_unsound_answer_to_a_refund_leaves_it_open_and_it_is_made_once(shop: Shop, fault: str) -> None:
    charge = shop.paid()
    request = refund_of(charge, 1000)

    with spoiled(shop, "refund", fault):
        assert shop.refund(request) is Outcome.UNKNOWN
    eventually(lambda: fault != "slow" or shop.query_refund(request) is Outcome.SUCCEEDED)
    assert shop.query_refund(request) is (Outcome.ABSENT if fault in NOT_DONE else Outcome.SUCCEEDED)
    assert shop.refund(request) is Outcome.SUCCEEDED
    assert shop.given_back(charge) == 1000


@ANY_FAULT
def test_an_unsound_answer_about_a_refund_says_nothing(shop: Shop, fault: str) -> None:
    charge = shop.paid()
    request, too_much = refund_of(charge), refund_of(charge, 1)
    shop.refund(request)

    for asking in (shop.query_refund, shop.refund):  # a repeat changes no funds, and asks
        with spoiled(shop, "refund_query", fault):
            assert asking(request) is Outcome.UNKNOWN
        assert asking(request) is Outcome.SUCCEEDED
    with spoiled(shop, "refund_query", fault):
        assert shop.refund(too_much) is Outcome.UNKNOWN
    assert shop.refund(too_much) is Outcome.FAILED


def test_a_signature_of_ours_that_alipay_does_not_know_decides_nothing(shop: Shop) -> None:
    order, charge = shop.scanned(), shop.paid()
    request = refund_of(charge)
    strange = replace(shop, adapter=adapter_of(shop.gateway, {**shop.gateway.keys, "private_key": new_key()}))

    for played in TRAITS["gateway_error"]:
        AlipayGateway.behave(shop.gateway.url, gateway_error=played)
        assert [strange.asked(order).outcome, strange.close(order)] == [Outcome.UNKNOWN] * 2
        assert [strange.refund(request), strange.query_refund(request)] == [Outcome.UNKNOWN] * 2
        with pytest.raises(ProviderSilent):
            strange.order()
        with pytest.raises(ProviderSilent):
            strange.bill(day_ago(2))


def test_with_a_clock_that_is_wrong_nothing_is_decided(shop: Shop) -> None:
    order = shop.scanned()
    for wrong in (timedelta(hours=-1), timedelta(hours=1)):
        assert shop.adapter.query(order.attempt, clock.now() + wrong).outcome is Outcome.UNKNOWN
        assert shop.adapter.close(order.attempt, clock.now() + wrong) is Outcome.UNKNOWN
    assert shop.asked(order).outcome is Outcome.PROCESSING


# -- bills -------------------------------------------------------------------------------------------------------------


def day_ago(days: int) -> date:
    return (clock.now() - timedelta(days=days)).astimezone(clock.SHANGHAI).date()


def since_noon_of(day: date) -> timedelta:
    return clock.now() - datetime.combine(day, datetime.min.time(), clock.SHANGHAI) - timedelta(hours=12)


@dataclass
class Business:
    day: date
    charges: list[Charge]
    refunds: list[RefundRequest]


def business_of_a_past_day(shop: Shop) -> Business:
    """Three payments, of which one was given back in two parts; one order that nobody paid."""
    day = day_ago(next(_days))
    orders = [shop.order(amount=Money(minor)) for minor in (1, 2500, 123456)]
    for order in orders:
        shop.pay(order)
    charges = [shop.charge_of(order) for order in orders]
    refunds = [refund_of(charges[1], 999), refund_of(charges[1], 1)]
    assert [shop.refund(request) for request in refunds] == [Outcome.SUCCEEDED] * 2
    for order in [*orders, shop.scanned()]:
        shop.lets_pass(since_noon_of(day), order)
    return Business(day, charges, refunds)


def test_the_bill_of_a_past_day_sums_up_to_what_was_paid_and_given_back(shop: Shop) -> None:
    business = business_of_a_past_day(shop)

    lines = shop.bill(business.day)

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
    assert sorted(line.fee_e6 for line in of(LineKind.CHARGE)) == [0, 150_000, 7_410_000]  # 0.6 %, to the fen
    assert {line.fee_e6 for line in of(LineKind.REFUND)} == {0}


def test_money_that_a_buyer_paid_on_a_past_day_stands_in_its_bill(shop: Shop) -> None:
    day = day_ago(next(_days))
    order = shop.order()
    shop.pay(order, "paid", paid_at=datetime.combine(day, datetime.min.time(), clock.SHANGHAI).isoformat())
    [charge] = shop.inbox.wait(order.payment_id, 1)
    assert isinstance(charge, Charge)

    [line] = shop.bill(day)

    assert (line.payment_id, line.provider_no, line.at) == (charge.payment_id, charge.provider_no, charge.paid_at)


def test_a_day_without_money_has_an_empty_bill(shop: Shop) -> None:
    for played in TRAITS["empty_day"]:
        AlipayGateway.behave(shop.gateway.url, empty_day=played)
        assert shop.bill(day_ago(1000)) == []


def test_a_day_that_is_not_over_has_no_bill(shop: Shop) -> None:
    shop.paid()
    for played in TRAITS["bill_of_today"]:
        AlipayGateway.behave(shop.gateway.url, bill_of_today=played)
        for early in (day_ago(0), day_ago(-1)):
            with pytest.raises(BillNotReady):
                shop.bill(early)


def test_a_bill_that_does_not_exist_yet_is_not_ready_until_it_must_have_been_made(shop: Shop) -> None:
    """Played with a merchant who waits longer: at what hour this runs must not matter."""
    waiting = adapter_of(shop.gateway, traits=Traits(bill_settled_hour=24 * 2000))
    with pytest.raises(BillNotReady):
        waiting.bill(day_ago(1000), clock.now())
    business = business_of_a_past_day(shop)
    assert waiting.bill(business.day, clock.now()).content.startswith(b"PK")


@pytest.mark.parametrize(("route", "fault"), [
    *(("bill", fault) for fault in (*DONE, *NOT_DONE)),
    *(("download", fault) for fault in ("slow", "silent_before", "500", "garbage", "expired")),
])  # fmt: skip
def test_a_bill_that_does_not_come_is_asked_for_again(shop: Shop, route: str, fault: str) -> None:
    business = business_of_a_past_day(shop)
    for played in TRAITS["old_download"]:
        AlipayGateway.behave(shop.gateway.url, old_download=played)
        with spoiled(shop, route, fault), pytest.raises(ProviderSilent):
            shop.bill(business.day)

    assert len(shop.bill(business.day)) == len(business.charges) + len(business.refunds)


def test_a_part_of_a_bill_is_none(shop: Shop) -> None:
    whole = shop.adapter.bill(business_of_a_past_day(shop).day, clock.now())

    for length in range(1, len(whole.content), 97):
        with pytest.raises(BadBill):
            shop.adapter.bill_lines(Bill(whole.content[:length], whole.form))


# -- keys --------------------------------------------------------------------------------------------------------------


def new_key() -> str:
    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def test_keys_are_rotated_in_daylight(tmp_path: Path, state: Path, shop: Shop) -> None:
    """A payment under the old keys is notified again under the new ones."""
    own = tmp_path / "a.sqlite"
    shutil.copy(keys_file(state), keys_file(own))
    with inboxes.opened() as inbox:
        with AlipayGateway(own, retry_after=(30,)) as gateway:
            old = dict(gateway.keys)
            here = Shop(gateway, adapter_of(gateway), inbox)
            inbox.provider, inbox.refusing = here.adapter, True
            order = here.order()
            here.pay(order, "paid")
            inbox.wait(order.payment_id, 1)
            eventually(lambda: AlipayGateway.told(gateway.url, order.payment_id)[0]["tries"] == 1)
        rotated = json.loads(keys_file(own).read_text()) | {"merchant_key": new_key(), "alipay_key": new_key()}
        keys_file(own).write_text(json.dumps(rotated))
        with AlipayGateway(own, retry_after=RETRY_AFTER) as gateway:
            new = dict(gateway.keys)
            here = Shop(gateway, adapter_of(gateway, new, old), inbox)
            inbox.provider, inbox.refusing = here.adapter, False
            with gateway.store.transaction() as db:
                db.execute("UPDATE letters SET next_at = 0")
            gateway.wake()

            assert isinstance(inbox.wait(order.payment_id, 2)[1], Charge)
            # What the old keys signed is still good; what is no longer known is not.
            first, later = inbox.everything
            only_new, only_old = adapter_of(gateway, new), adapter_of(gateway, old)
            assert isinstance(here.adapter.parse_notification(first.headers, first.raw, clock.now()), Charge)
            for strange, heard in ((only_new, first), (only_old, later)):
                with pytest.raises(BadNotification):
                    strange.parse_notification(heard.headers, heard.raw, clock.now())
            # The newest signs.
            assert here.refund(refund_of(here.charge_of(order))) is Outcome.SUCCEEDED
            assert only_old.query(order.attempt, clock.now()).outcome is Outcome.UNKNOWN
            here.pay(here.order("alipay_page"))


def test_an_answer_under_the_key_before_is_good_while_both_are_valid(shop: Shop) -> None:
    ours = shop.gateway.keys
    both = adapter_of(shop.gateway, {**ours, "alipay_key": public_of(new_key())}, ours)
    order = shop.scanned()

    assert both.query(order.attempt, clock.now()).outcome is Outcome.PROCESSING
    strange = adapter_of(shop.gateway, {**both.keys[0]})
    assert strange.query(order.attempt, clock.now()).outcome is Outcome.UNKNOWN


def public_of(private_pem: str) -> str:
    key = serialization.load_pem_private_key(private_pem.encode(), None).public_key()
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


# -- where Alipay's documents leave it open ----------------------------------------------------------------------------

SUCCEEDED, FAILED, PROCESSING, ABSENT, UNKNOWN = (
    Outcome.SUCCEEDED, Outcome.FAILED, Outcome.PROCESSING, Outcome.ABSENT, Outcome.UNKNOWN,
)  # fmt: skip

# What the adapter says of a standard life as the simulator plays it by default.
STANDARD: dict[str, object] = {
    "not seen: ask, close": [PROCESSING, PROCESSING],
    "not seen, time over: ask, close": [ABSENT, ABSENT],
    "seen: ask, close, close again, ask": [PROCESSING, SUCCEEDED, SUCCEEDED, FAILED],
    "seen: heard": [],
    "seen, time over: ask, close": [FAILED, SUCCEEDED],
    "closed: order again": "ACQ.TRADE_HAS_CLOSE",
    "paid: ask, close": [SUCCEEDED, FAILED],
    "part: ask, refund, again, ask": [ABSENT, SUCCEEDED, SUCCEEDED, SUCCEEDED],
    "too much: refund, ask": [FAILED, ABSENT],
    "rest: refund, ask": [SUCCEEDED, SUCCEEDED],
    "all back: ask, close": [SUCCEEDED, FAILED],
    "paid: heard": [Charge, RefundNews, RefundNews],
    "given back": 2500,
    "bill": [("charge", 2500, 150_000), ("refund", -1500, 0), ("refund", -1000, 0)],
    "empty day": [],
    "today": BillNotReady,
    "download too late": ProviderSilent,
}
# And what is otherwise where the simulator plays a trait otherwise. Doubt is all that may come of it.
OTHERWISE: dict[tuple[str, str], dict[str, object]] = {
    # An answer that is not signed is none, also where it would have been the truth.
    ("business_error", "unsigned"): {
        "not seen: ask, close": [UNKNOWN, UNKNOWN],
        "not seen, time over: ask, close": [UNKNOWN, UNKNOWN],
        "seen: ask, close, close again, ask": [PROCESSING, SUCCEEDED, UNKNOWN, FAILED],
        "seen, time over: ask, close": [FAILED, UNKNOWN],
        "closed: order again": ProviderSilent,
        "paid: ask, close": [SUCCEEDED, UNKNOWN],
        "too much: refund, ask": [UNKNOWN, ABSENT],
        "all back: ask, close": [SUCCEEDED, UNKNOWN],
        "empty day": ProviderSilent,
    },
    ("refund_query", "amount"): {
        "part: ask, refund, again, ask": [ABSENT, SUCCEEDED, UNKNOWN, UNKNOWN],
        "rest: refund, ask": [SUCCEEDED, UNKNOWN],
    },
    ("refund_notice", "not_sent"): {"paid: heard": [Charge]},
    ("closed_pay_date", "dropped"): {"all back: ask, close": [UNKNOWN, UNKNOWN]},
    ("close_notice", "sent"): {"seen: heard": [None]},
    ("precreate_trade", "at_once"): {
        "not seen: ask, close": [PROCESSING, SUCCEEDED],
        "not seen, time over: ask, close": [FAILED, SUCCEEDED],
    },
    ("paid_status", "TRADE_FINISHED"): {
        "part: ask, refund, again, ask": [ABSENT, FAILED, FAILED, ABSENT],
        "rest: refund, ask": [FAILED, ABSENT],
        "paid: heard": [Charge],
        "given back": 0,
        "bill": [("charge", 2500, 150_000)],
    },
    ("refunded_fee", "given_back"): {
        "bill": [("charge", 2500, 150_000), ("refund", -1500, -90_000), ("refund", -1000, -60_000)]
    },
}


@pytest.mark.parametrize(("trait", "played"), [(trait, played) for trait in TRAITS for played in TRAITS[trait]])
def test_however_alipay_behaves_the_adapter_tells_the_truth_or_that_it_does_not_know(
    shop: Shop, trait: str, played: str
) -> None:
    AlipayGateway.behave(shop.gateway.url, **{trait: played})

    assert life(shop) == STANDARD | OTHERWISE.get((trait, played), {})


def life(shop: Shop) -> dict[str, object]:
    """A standard life of orders; what is said of each is held against the simulator's books on the way."""
    said: dict[str, object] = {}

    unseen = shop.order()
    said["not seen: ask, close"] = asked_and_closed(shop, unseen)
    said["not seen, time over: ask, close"] = asked_and_closed(shop, shop.lets_pass(timedelta(hours=1), shop.order()))
    seen = shop.scanned()
    first, again = asked_and_closed(shop, seen), asked_and_closed(shop, seen)
    said["seen: ask, close, close again, ask"] = [*first, again[1], again[0]]
    said["seen: heard"] = shop.heard(seen)
    said["seen, time over: ask, close"] = asked_and_closed(shop, shop.lets_pass(timedelta(hours=1), shop.scanned()))
    try:
        shop.adapter.create(seen.request, clock.now())
    except ProviderRefused as refused:
        said["closed: order again"] = refused.facts["reason"]
    except ProviderSilent:
        said["closed: order again"] = ProviderSilent

    day = day_ago(next(_days))
    paid = shop.order()
    shop.pay(paid, "paid")
    [charge] = shop.inbox.wait(paid.payment_id, 1)
    assert isinstance(charge, Charge)
    said["paid: ask, close"] = asked_and_closed(shop, paid)
    part, too_much, rest = refund_of(charge, 1000), refund_of(charge, 2000), refund_of(charge, 1500)
    said["part: ask, refund, again, ask"] = refunded(shop, charge, part, "ask", "refund", "refund", "ask")
    said["too much: refund, ask"] = refunded(shop, charge, too_much, "refund", "ask")
    said["rest: refund, ask"] = refunded(shop, charge, rest, "refund", "ask")
    said["all back: ask, close"] = asked_and_closed(shop, paid)
    said["paid: heard"] = shop.heard(paid)
    said["given back"] = shop.given_back(charge)

    shop.lets_pass(since_noon_of(day), paid)
    said["bill"] = sorted_bill(shop, day)
    shop.misbehave("download", "expired")
    said["download too late"] = sorted_bill(shop, day)
    said["empty day"] = sorted_bill(shop, day_ago(1000))
    said["today"] = sorted_bill(shop, day_ago(0))
    return said


def asked_and_closed(shop: Shop, order: Order) -> list[Outcome]:
    asked, closed = shop.asked(order), shop.close(order)
    with shop.gateway.store.transaction() as db:
        row = db.execute("SELECT paid_at FROM trades WHERE out_trade_no = ?", (order.payment_id,)).fetchone()
    is_paid = bool(row and row["paid_at"])
    assert is_paid == bool(asked.charges) or asked.outcome is UNKNOWN
    assert not is_paid or (asked.outcome not in ENDED and closed not in CLOSED)
    if asked.outcome in ENDED or closed in CLOSED:
        assert not shop.can_be_paid(order)
    return [asked.outcome, closed]


def refunded(shop: Shop, charge: Charge, request: RefundRequest, *steps: str) -> list[Outcome]:
    outcomes = []
    for step in steps:
        outcomes.append(shop.query_refund(request) if step == "ask" else shop.refund(request))
        made = shop.given_back(charge, request.refund_id)
        assert made in (0, request.amount.minor)
        assert outcomes[-1] is not SUCCEEDED or made
        assert outcomes[-1] not in {FAILED, ABSENT} or not made
    return outcomes


def sorted_bill(shop: Shop, day: date) -> object:
    try:
        return sorted((line.kind.value, line.gross.minor, line.fee_e6) for line in shop.bill(day))
    except (BillNotReady, ProviderSilent) as none:
        return type(none)


def test_a_refund_told_by_its_amount_has_succeeded_for_a_merchant_who_knows_that_alipay_means_it(shop: Shop) -> None:
    AlipayGateway.behave(shop.gateway.url, refund_query="amount")
    trusting = replace(shop, adapter=adapter_of(shop.gateway, traits=Traits(refund_query_tells_success_by_amount=True)))
    charge = shop.paid()
    part, too_much = refund_of(charge, 1000), refund_of(charge, 2000)

    assert refunded(trusting, charge, part, "ask", "refund", "refund", "ask") == [
        ABSENT,
        SUCCEEDED,
        SUCCEEDED,
        SUCCEEDED,
    ]
    assert refunded(trusting, charge, too_much, "refund", "ask") == [FAILED, ABSENT]


def test_a_merchant_who_does_not_trust_a_change_of_funds_asks_for_each_refund(shop: Shop) -> None:
    doubting = replace(shop, adapter=adapter_of(shop.gateway, traits=Traits(fund_change_proves_refund=False)))
    charge = shop.paid()
    assert refunded(doubting, charge, refund_of(charge), "refund", "refund", "ask") == [SUCCEEDED] * 3


@pytest.mark.parametrize("product", ["QUICK_WAP_PAY", "QUICK_WAP_WAY"])
def test_a_mobile_page_opens_under_either_name_of_its_product(shop: Shop, product: str) -> None:
    named = replace(shop, adapter=adapter_of(shop.gateway, traits=Traits(wap_product=product)))
    assert named.can_be_paid(named.order("alipay_wap"))
