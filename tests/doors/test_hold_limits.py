"""What is held unpaid is limited: a script cannot empty a shelf, and honest buyers do not notice."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.kernel import clock
from shared.kernel.channel import SHOP
from shared.kernel.http import Caller
from shared.orders import records as orders
from shared.risk import records as risk
from shared.risk.records import Hold
from shared.steps import order_intake, risk_checks
from tests.crowd import Crowd, Person, at_once, crowded
from tests.shop import Answer, Placed, Shop

SKU = "V001"
OFFICE = "1.2.3.4"


def counters(shop_or_crowd: Crowd) -> Counter[str]:
    """All numbers of today's counters, summed over contacts and addresses."""
    found: Counter[str] = Counter()
    for item in shop_or_crowd.table("counters"):
        if item["counter"].startswith("vel#"):
            kind = item["counter"].split("#")[1]
            for name, value in item.items():
                if name.startswith(("held#", "order#", "lapsed")):
                    found[f"{kind} {name.partition('#')[0]}"] += int(value)
    return found


@pytest.mark.usefixtures("atomic_cloud")
def test_a_script_holds_no_more_than_its_share_and_a_normal_buyer_gets_through(tmp_path: Path) -> None:
    with crowded(tmp_path) as crowd:
        crowd.stock(SKU, 100)
        crowd.shop.pump()
        one = Person(1, OFFICE)
        at_once(lambda _: crowd.place(one, SKU, 1), range(40))
        assert crowd.states() == {"available": 75, "held": 25}
        assert crowd.said == {"hold_limit": 15}

        fifty = [Person(100 + number, OFFICE) for number in range(50)]
        at_once(lambda person: [crowd.place(person, SKU, 2) for _ in range(2)], fifty)
        assert 40 <= crowd.states()["held"] <= 50

        crowd.shop.pump()
        crowd.said.clear()
        at_once(lambda person: crowd.place(person, SKU, 1), fifty)
        assert crowd.said["hold_limit"] >= 49, "the address has its share; it has shrunk if half of the stock is held"
        assert crowd.states()["held"] <= 50

        buyer = Person(999)
        order = crowd.place(buyer, SKU, 3)
        assert order, crowd.said
        crowd.pay(order)
        crowd.settle()
        assert crowd.statuses()[order.order_id] == "delivered"

        crowd.let_run_out()
        assert crowd.states() == {"available": 97, "sold": 3}
        held = counters(crowd)
        assert (held["contact held"], held["address held"]) == (0, 0)
        assert (held["contact order"], held["address order"]) == (0, 0)
        assert held["address lapsed"] > 30
        assert crowd.wrong() == []


@pytest.mark.usefixtures("atomic_cloud")
def test_many_buyers_behind_one_office_address_all_get_their_cards(tmp_path: Path) -> None:
    with crowded(tmp_path) as crowd:
        crowd.stock(SKU, 100)
        crowd.shop.pump()
        colleagues = [Person(number, OFFICE) for number in range(30)]

        def buy(person: Person) -> Placed | None:
            if order := crowd.place(person, SKU, 1):
                crowd.pay(order)
            return order

        bought = at_once(buy, colleagues)
        crowd.settle()
        bought += at_once(buy, colleagues)
        crowd.settle()
        assert all(bought), crowd.said
        assert crowd.states() == {"available": 40, "sold": 60}
        held = counters(crowd)
        assert (held["contact held"], held["address held"], held["address order"]) == (0, 0, 0)


def stocked(shop: Shop, count: int) -> None:
    assert shop.stock(SKU, [f"HOLD-{number:06}" for number in range(count)]).body["accepted"] == count
    shop.pump()


def place(shop: Shop, quantity: int, **more: Any) -> Answer:
    return shop.place(SKU, quantity, **more)


def as_placed(answer: Answer) -> Placed:
    assert answer.status == 201, answer.body
    payment = answer.body["payment"]
    return Placed(answer.body["order_id"], answer.body["access_token"], payment["redirect_url"], payment["payment_id"])


def test_too_much_at_once_is_refused_in_both_languages_and_less_is_sold(shop: Shop) -> None:
    stocked(shop, 30)
    refused = place(shop, 8)
    assert (refused.status, refused.body["code"], refused.body["retryable"]) == (429, "hold_limit", True)
    assert "未付款" in refused.body["detail"]
    lines = [{"sku": SKU, "quantity": 8}]
    english = shop.call(
        "POST",
        "/orders",
        {"lines": lines, "contact": {"phone": "13800138000"}, "payment_method": "sandbox", "client_ref": "e" * 32},
        **{"Accept-Language": "en"},
    )
    assert "cancel your open orders" in english.body["detail"]
    assert place(shop, 7).status == 201


def test_cancelling_gives_the_share_back_and_so_does_paying(shop: Shop) -> None:
    stocked(shop, 12)
    order = as_placed(place(shop, 5))
    assert place(shop, 1).body["code"] == "hold_limit"
    assert shop.call("POST", f"/orders/{order.order_id}/cancel", token=order.token).status == 200

    order = as_placed(place(shop, 5))
    assert place(shop, 1).body["code"] == "hold_limit"
    shop.pay(order)
    shop.pump()
    assert shop.status(order) == "delivered"
    assert place(shop, 5).status == 201


def test_three_orders_that_ran_out_are_enough_for_a_day_unless_one_is_paid(shop: Shop) -> None:
    stocked(shop, 12)
    for _ in range(3):
        assert place(shop, 1).status == 201
        shop.deadlines(datetime.now(UTC) + timedelta(minutes=16))
    assert place(shop, 1).body["code"] == "hold_limit"
    assert place(shop, 1, phone="13900139000").status == 201

    for _ in range(2):
        assert place(shop, 1, phone="13700137000").status == 201
        shop.deadlines(datetime.now(UTC) + timedelta(minutes=16))
    paid = as_placed(place(shop, 1, phone="13700137000"))
    shop.pay(paid)
    shop.pump()
    for _ in range(2):
        assert place(shop, 1, phone="13700137000").status == 201
        shop.deadlines(datetime.now(UTC) + timedelta(minutes=16))
    assert place(shop, 1, phone="13700137000").body["code"] == "hold_limit"


def test_a_message_that_comes_twice_gives_back_once(shop: Shop) -> None:
    stocked(shop, 12)
    paid, open_order = as_placed(place(shop, 2)), as_placed(place(shop, 3))
    shop.pay(paid)
    order = orders.order_of(paid.order_id)
    for _ in range(2):  # as two processes would, each before the other has moved the order
        risk_checks._features(order, clock.now())

    [counter] = list(risk.Counter.scan())
    assert (int(counter.orders), int(counter.lapsed)) == (1, -1)
    assert place(shop, 3).body["code"] == "hold_limit", f"{open_order.order_id} still holds three of five"
    assert place(shop, 2).status == 201


@pytest.mark.usefixtures("cloud")
def test_what_was_placed_before_midnight_is_given_back_to_that_day() -> None:
    from shared.kernel.records import Lost, Transaction

    before, after = datetime(2026, 5, 1, 15, 59, tzinfo=UTC), datetime(2026, 5, 1, 16, 1, tzinfo=UTC)  # 24:00 Shanghai
    taken = Hold("ord_" + "0" * 26, before, {"A.b": 5})
    another = Hold("ord_" + "1" * 26, before, {"A.b": 1})
    with Transaction() as tx:
        risk.hold(tx, "contact", "x", taken, {"A.b": 5}, 3)
    with pytest.raises(Lost, match="hold contact"), Transaction() as tx:
        risk.hold(tx, "contact", "x", another, {"A.b": 5}, 3)

    counted = risk.count("contact", "x", "event", 700, after, taken)
    assert (counted.orders, counted.amount_minor) == (1, 700)
    with Transaction() as tx:
        risk.hold(tx, "contact", "x", another, {"A.b": 1}, 3)
    assert risk.count("contact", "x", "event", 700, after, taken) == counted


def test_an_order_that_the_counters_have_forgotten_can_still_be_closed(shop: Shop) -> None:
    stocked(shop, 3)
    order = as_placed(place(shop, 2))
    for counter in risk.Counter.scan():
        counter.delete()
    assert shop.call("POST", f"/orders/{order.order_id}/cancel", token=order.token).body["status"] == "cancelled"
    assert place(shop, 3).status == 201


def test_a_channel_answers_for_its_orders_by_its_quota_alone(shop: Shop) -> None:
    stocked(shop, 12)
    from shared.orders.contract import Contact, PlaceOrder, WantedLine

    for number in range(3):
        wanted = PlaceOrder(
            lines=[WantedLine(sku=SKU, quantity=4)],
            contact=Contact(phone="13800138000"),
            payment_method="on_account",
            client_ref=f"T-{number}",
        )
        order_intake.place(wanted, Caller("1.2.3.4", channel="taobao"), clock.now())
    assert SHOP != "taobao"
    assert list(risk.Counter.scan()) == []
