"""Money back in parts: by line, by amount, never more than came, whatever is raced, repeated or killed."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.inventory import records as inventory
from shared.inventory import views
from shared.kernel import clock
from shared.kernel.errors import Busy, Refusal
from shared.ledger import records as ledger
from shared.orders import records as orders
from shared.orders.errors import MoreThanPaid
from shared.payments import records as payments
from shared.payments.contract import RequestRefund
from shared.steps import console, settlement
from tests.deaths import dying_after, retried
from tests.doors.conftest import new_shop
from tests.shop import Answer, Placed, Shop

TWO = [{"sku": "G020", "quantity": 1}, {"sku": "C060", "quantity": 2}]  # 97.00 and two of 19.80 or so


def bought(shop: Shop, lines: list[dict[str, Any]] | None = None) -> Placed:
    shop.stock()
    order = shop.placed(lines=lines or TWO)
    shop.pay(order)
    shop.pump()
    assert shop.status(order) == "delivered"
    return order


def back(shop: Shop, order: Placed, key: str = "", **wanted: Any) -> Answer:
    headers = {"Idempotency-Key": key} if key else {}
    return shop.call("POST", f"/console/orders/{order.order_id}/refunds", wanted, groups="finance", **headers)


def amounts(order: Placed) -> list[int]:
    """What each line of an order costs, in minor units."""
    return [line.amount.minor for line in orders.order_of(order.order_id).lines]


def refunds() -> list[payments.Refund]:
    found = [payments.refund(str(item.id)) for item in payments.Refund.scan() if str(item.id).startswith("ref_")]
    return sorted(found, key=lambda refund: str(refund.requested_at))


def legs(account: str) -> dict[str | None, int]:
    """What stands on an account today, by SKU."""
    sums: Counter[str | None] = Counter()
    for entry in ledger.entries_of(clock.shanghai_day(clock.now())):
        for leg in entry.legs:
            if leg.account == account:
                sums[leg.sku] += leg.amount_minor
    return dict(sums)


def net(account: str) -> int:
    return sum(legs(account).values())


def sound() -> bool:
    return settlement.running(clock.now()).trial_balance == {"CNY": 0} and net("refunds_due") == net("suspense") == 0


def test_one_line_goes_back_and_the_order_stays_delivered(shop: Shop) -> None:
    order = bought(shop)
    stock, costs = net("inventory"), net("cogs")
    of_line = amounts(order)[1]

    answer = back(shop, order, "k1", lines=[2], reason="the second did not work")
    shop.pump()

    assert (answer.status, answer.body["amount"]["amount_minor"]) == (201, of_line)
    [refund] = refunds()
    assert (refund.state, refund.of_order, refund.charged_minor) == ("succeeded", None, sum(amounts(order)))
    assert shop.status(order) == "delivered"
    assert [card["sku"] for card in shop.reveal(order).body["cards"]] == ["G020"]
    assert legs("refunds") == {"C060": of_line}
    assert (net("inventory"), net("cogs")) == (stock, costs)
    assert Counter(str(card.state) for card in inventory.Card.scan()) == {"sold": 3}
    shown = shop.call("GET", f"/console/orders/{order.order_id}", groups="auditor").body
    assert (shown["status"], shown["refund_id"], shown["refunded"]["amount_minor"]) == ("delivered", None, of_line)
    assert sound()


def line_states(shop: Shop, order: Placed) -> list[str]:
    """As the buyer is told them."""
    lines = shop.call("GET", f"/orders/{order.order_id}", token=order.token).body["lines"]
    return [line["state"] for line in lines]


def shown(shop: Shop, order: Placed) -> list[str]:
    """The SKUs of the codes that the buyer can read."""
    return [card["sku"] for card in shop.reveal(order).body["cards"]]


def test_the_codes_of_a_line_cannot_be_read_from_the_moment_on_that_its_refund_is_asked_for(shop: Shop) -> None:
    order = bought(shop)
    codes = {card["sku"]: card["code"] for card in shop.reveal(order).body["cards"]}
    assert line_states(shop, order) == ["delivered", "delivered"]

    back(shop, order, "k1", lines=[1])

    answer = shop.reveal(order)
    assert [card["sku"] for card in answer.body["cards"]] == ["C060", "C060"]
    assert codes["G020"] not in str(answer.body)
    assert line_states(shop, order) == ["refunded", "delivered"]
    of_line = [str(card.card_id) for card in inventory.Card.scan() if card.sku == "G020"]
    assert [look.card_id for look in views.View.scan()].count(of_line[0]) == 1, "of the first look alone"
    shop.pump()
    assert shown(shop, order) == ["C060", "C060"]
    in_the_console = shop.call("GET", f"/console/orders/{order.order_id}", groups="auditor").body["lines"]
    assert [line["state"] for line in in_the_console] == ["refunded", "delivered"]


def test_a_line_is_read_until_the_last_cent_of_it_has_gone_back(shop: Shop) -> None:
    order = bought(shop)
    first, second = amounts(order)

    back(shop, order, "k1", amount_minor=first + second - 1)  # all but one cent, which is of one of the lines
    left = orders.order_of(order.order_id).left

    assert sorted(left.values()) == [0, 1]
    one = "G020" if left["1"] else "C060"
    assert set(shown(shop, order)) == {one}
    assert line_states(shop, order) == (["delivered", "refunded"] if left["1"] else ["refunded", "delivered"])
    assert back(shop, order, "k2", amount_minor=1).status == 201
    assert shop.reveal(order).body["code"] == "order_not_open"
    assert line_states(shop, order) == ["refunded", "refunded"]


def test_amounts_that_come_to_a_whole_line_end_it_as_the_line_itself_does(shop: Shop) -> None:
    order = bought(shop)
    back(shop, order, "k1", amount_minor=1000)
    assert shown(shop, order) == ["G020", "C060", "C060"]

    back(shop, order, "k2", lines=[2])

    assert shown(shop, order) == ["G020"]
    assert line_states(shop, order) == ["delivered", "refunded"]


def test_a_card_that_was_read_and_given_back_is_on_no_shelf(shop: Shop) -> None:
    order = bought(shop)
    shop.reveal(order)

    back(shop, order, "k1", lines=[1])
    shop.pump()

    assert Counter(str(card.state) for card in inventory.Card.scan()) == {"sold": 3}
    assert all(card.shelf is None for card in inventory.Card.scan())
    assert shop.place("G020", phone="13900000001").body["code"] == "out_of_stock"


def test_an_amount_is_taken_from_every_line_in_proportion(shop: Shop) -> None:
    order = bought(shop)
    first, second = amounts(order)

    assert back(shop, order, "k1", amount_minor=1001).body["amount"]["amount_minor"] == 1001
    shop.pump()

    taken = legs("refunds")
    assert sum(taken.values()) == 1001
    assert abs(taken["G020"] - 1001 * first / (first + second)) < 1
    assert shop.status(order) == "delivered"
    assert sound()


def test_the_same_key_gives_the_same_refund_and_another_body_is_refused(shop: Shop) -> None:
    order = bought(shop)

    first, again = back(shop, order, "k1", amount_minor=500), back(shop, order, "k1", amount_minor=500)
    other = back(shop, order, "k1", amount_minor=501)
    shop.pump()

    assert first.body["refund_id"] == again.body["refund_id"]
    assert (other.status, other.body["code"]) == (422, "idempotency_key_reused")
    assert [int(refund.amount_minor) for refund in refunds()] == [500]
    assert net("refunds") == 500


@pytest.mark.parametrize(
    ("key", "wanted", "field"),
    [
        ("", {"amount_minor": 100}, "Idempotency-Key"),
        ("k", {"amount_minor": 100, "lines": [1]}, ""),
        ("k", {"lines": [3]}, "lines"),
        ("k", {"lines": []}, "lines"),
        ("k", {"amount_minor": 0}, "amount_minor"),
    ],
)
def test_a_part_that_is_not_well_named_is_refused(shop: Shop, key: str, wanted: dict[str, Any], field: str) -> None:
    order = bought(shop)
    answer = back(shop, order, key, **wanted)
    assert (answer.status, answer.body["code"]) == (422, "invalid_request")
    assert [one["field"] for one in answer.body["fields"]] == [field]
    assert refunds() == []


@pytest.mark.parametrize("order_id", ["ord_" + "0" * 26, "ord_!", "nobody-knows-it"])
def test_a_part_of_no_order_is_not_found(shop: Shop, order_id: str) -> None:
    answer = back(shop, Placed(order_id, "", "", ""), "k", lines=[1])
    assert (answer.status, answer.body["code"]) == (404, "not_found")


def test_never_more_than_was_paid_in_all_nor_than_a_line_for_a_line(shop: Shop) -> None:
    order = bought(shop)
    first, second = amounts(order)

    too_much = back(shop, order, "k1", amount_minor=first + second + 1)
    assert (too_much.status, too_much.body["code"]) == (409, "more_than_paid")
    assert too_much.body["left_minor"] == first + second
    assert back(shop, order, "k2", lines=[2]).status == 201
    again = back(shop, order, "k3", lines=[2])
    assert (again.body["code"], again.body["left_minor"]) == ("more_than_paid", 0)
    assert back(shop, order, "k4", amount_minor=first + 1).body["left_minor"] == first
    assert back(shop, order, "k5", amount_minor=first - 1).status == 201
    assert back(shop, order, "k6", lines=[1]).body["amount"]["amount_minor"] == 1
    shop.pump()

    assert legs("refunds") == {"G020": first, "C060": second}
    assert shop.status(order) == "refunded"
    assert sound()


@pytest.mark.parametrize("last", [{}, {"lines": [1]}], ids=["all-that-is-left", "the-last-line"])
def test_what_gives_the_last_of_the_money_back_ends_the_order(shop: Shop, last: dict[str, Any]) -> None:
    order = bought(shop)
    first, second = amounts(order)
    back(shop, order, "k1", lines=[2])
    shop.pump()
    assert shop.status(order) == "delivered"

    ending = back(shop, order, "k2", **last)
    assert (ending.status, ending.body["amount"]["amount_minor"]) == (201, first)
    assert shop.status(order) == "refunding"
    shop.pump()

    assert shop.status(order) == "refunded"
    assert [refund.of_order for refund in refunds()] == [None, order.order_id]
    assert legs("refunds") == {"G020": first, "C060": second}
    assert back(shop, order, "k2", **last).body["refund_id"] == ending.body["refund_id"]
    assert back(shop, order).body["refund_id"] == ending.body["refund_id"]
    assert back(shop, order, "k3", lines=[2]).body["code"] == "order_not_open"
    assert shop.reveal(order).status == 409
    assert sound()


def test_what_is_not_delivered_yet_goes_back_whole_or_not_at_all(shop: Shop) -> None:
    shop.stock()
    order = shop.placed(lines=TWO)
    assert back(shop, order, "k1", lines=[1]).body["code"] == "order_not_open"
    shop.pay(order)
    head = orders.head_of(order.order_id)
    head.update([orders.Head.status.set("cleared"), orders.Head.decision.set("cleared")])

    refused = back(shop, order, "k2", lines=[1])
    assert (refused.status, refused.body["code"], refused.body["order_status"]) == (409, "only_whole_refund", "cleared")

    half = {"1": "delivered", "2": "waiting"}
    head.update([orders.Head.status.set("partly_delivered"), orders.Head.lines.set(half)])
    assert back(shop, order, "k3", lines=[2]).body["code"] == "only_whole_refund"
    first, second = amounts(order)
    assert back(shop, order, "k4", amount_minor=first + 1).body["left_minor"] == first
    assert back(shop, order, "k5", lines=[1]).body["amount"]["amount_minor"] == first
    assert shop.status(order) == "partly_delivered"
    assert shop.reveal(order).body["code"] == "not_delivered", "nothing is left but what is still to come"
    assert back(shop, order).body["amount"]["amount_minor"] == second
    assert (legs("refunds"), net("deposits")) == ({"G020": first}, -first)  # nobody has posted the sale here


def test_a_part_the_provider_refuses_stays_reserved_until_a_person_has_paid_it(shop: Shop) -> None:
    order = bought(shop)
    first, second = amounts(order)
    money = payments.received(str(orders.head_of(order.order_id).paid_by))
    number = str(money.provider_no)
    money.update([payments.Received.provider_no.set("sbx-unknown")])
    back(shop, order, "k1", lines=[2])
    shop.pump()
    money.update([payments.Received.provider_no.set(number)])

    [task] = shop.call("GET", "/console/tasks", groups="owner").body["tasks"]
    assert (task["kind"], task["order_id"]) == ("refund_failed", order.order_id)
    assert back(shop, order, "k2", amount_minor=first + 1).body["left_minor"] == first
    path = f"/console/refunds/{task['about']}/paid-by-hand"
    assert shop.call("POST", path, {"note": "bank"}, groups="finance").body["state"] == "succeeded"
    assert (shop.status(order), net("bank")) == ("delivered", -second)
    assert sound()


def test_the_bad_line_of_a_mixed_order_is_refunded_by_the_person_who_was_told(shop: Shop) -> None:
    bad = shop.stock("G020", ["BAD-CODE-0001"]).body["lots"][0]
    order = shop.placed(lines=TWO)
    shop.pay(order)
    shop.pump()
    shop.call("POST", "/console/recalls", {"lot_id": bad, "reason": "bad"}, groups="operator")
    shop.pump()
    tasks = shop.call("GET", "/console/tasks", groups="owner").body["tasks"]
    assert ("make_good", order.order_id) in [(task["kind"], task["order_id"]) for task in tasks]

    assert back(shop, order, "k1", lines=[1], reason="recalled").status == 201
    shop.pump()

    assert shop.status(order) == "delivered"
    assert legs("refunds") == {"G020": amounts(order)[0]}
    assert sound()


@pytest.mark.parametrize("spare", [True, False], ids=["with-a-spare", "without"])
def test_a_recall_owes_nothing_for_a_line_that_went_back(shop: Shop, spare: bool) -> None:
    bad = shop.stock("G020", ["BAD-CODE-0001"]).body["lots"][0]
    order = shop.placed(lines=TWO)
    shop.pay(order)
    shop.pump()
    back(shop, order, "k1", lines=[1])
    shop.pump()
    if spare:
        shop.stock("G020", ["GOOD-CODE-0002"])

    recall = shop.call("POST", "/console/recalls", {"lot_id": bad, "reason": "bad"}, groups="operator").body
    shop.pump()

    seen = shop.call("GET", f"/console/recalls/{recall['recall_id']}", groups="operator").body
    assert (seen["state"], seen["skipped"], seen["replaced"], seen["for_a_person"]) == ("done", 1, 0, 0)
    assert shop.status(order) == "delivered"


def test_a_part_survives_a_death_after_every_write(shop: Shop) -> None:
    order = bought(shop)
    total, nth, died = sum(amounts(order)), 0, True
    shop.invoke = retried
    while died:
        nth += 1
        with dying_after(nth) as seen:
            answer = retried(lambda: back(shop, order, f"k{nth}", amount_minor=100 + nth))  # noqa: B023  # at once
            shop.pump()
            for _ in range(2):
                retried(lambda: shop.deadlines(datetime.now(UTC) + timedelta(minutes=4)))
                shop.pump()
        died = len(seen) >= nth
        assert (answer.status, shop.status(order)) == (201, "delivered"), f"after write {nth}"
        assert [str(refund.state) for refund in refunds()] == ["succeeded"] * nth, f"after write {nth}"

    gone = sum(100 + n for n in range(1, nth + 1))
    assert nth > 2
    assert (net("refunds"), sum(orders.order_of(order.order_id).left.values())) == (gone, total - gone)
    assert sound()


@pytest.fixture
def atomic(atomic_cloud: None, tmp_path: Path) -> Any:
    with new_shop(tmp_path) as shop:
        yield shop


def asked_at_once(order: Placed, wanted: list[tuple[str, RequestRefund]]) -> list[str]:
    """What came of each of many refunds that are asked for at the same time."""

    def ask(one: tuple[str, RequestRefund]) -> str:
        key, body = one
        for _ in range(40):
            try:
                return console.refund(order.order_id, body, "ann", key, clock.now()).refund_id
            except Busy:
                continue
            except Refusal as refused:
                return refused.code
        return "busy"

    with ThreadPoolExecutor(len(wanted)) as hands:
        return list(hands.map(ask, wanted))


def test_parts_that_are_raced_never_give_back_more_than_came(atomic: Shop) -> None:
    order = bought(atomic)
    first, second = amounts(order)
    total = first + second
    fifth = total // 5 + 1  # four of these fit, five do not

    said = asked_at_once(order, [(f"k{n}", RequestRefund(amount_minor=fifth)) for n in range(8)])
    atomic.pump()

    assert Counter(said)[MoreThanPaid.code] == 4
    assert sum(int(refund.amount_minor) for refund in refunds()) == 4 * fifth == net("refunds")
    assert atomic.status(order) == "delivered"
    assert sound()


def test_a_line_a_whole_and_an_amount_that_are_raced_give_back_what_came(atomic: Shop) -> None:
    order = bought(atomic)
    first, second = amounts(order)
    wanted = [RequestRefund(lines=[1]), RequestRefund(lines=[2]), RequestRefund(amount_minor=700), RequestRefund()]

    asked_at_once(order, [(f"k{n}", body) for n, body in enumerate(wanted * 2)])
    atomic.pump()

    found = refunds()
    assert sum(int(refund.amount_minor) for refund in found) == first + second
    assert [refund.of_order for refund in found].count(order.order_id) == 1
    assert atomic.status(order) == "refunded"
    assert legs("refunds") == {"G020": first, "C060": second}
    assert sound()


def test_one_key_that_is_raced_makes_one_refund(atomic: Shop) -> None:
    order = bought(atomic)

    said = asked_at_once(order, [("same", RequestRefund(amount_minor=333))] * 8)
    atomic.pump()

    assert len(set(said)) == 1
    assert [int(refund.amount_minor) for refund in refunds()] == [333]
    assert (net("refunds"), atomic.status(order)) == (333, "delivered")
    assert sound()
