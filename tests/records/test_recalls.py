"""A recall: frozen, listed, claimed, made good; once, whatever dies, and against people who go on selling."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta
from random import Random
from typing import Any

import pytest
from botocore.client import BaseClient

from shared.inventory import lots
from shared.inventory import records as inventory
from shared.inventory.errors import OutOfStock
from shared.inventory.records import Need
from shared.jobs import records as jobs
from shared.jobs.contract import AskRecall, RecallView
from shared.kernel import clock, ids
from shared.kernel.errors import InvalidRequest, NotFound
from shared.kernel.records import Lost, Transaction
from shared.ledger import records as ledger
from shared.orders import records as orders
from shared.staff import records as staff
from shared.steps import after_sales, recall_work, recalls
from tests import recalled
from tests.deaths import Died, dying_after
from tests.recalled import balance, lot_of, run, sell, sold_in

SCALE = int(os.environ.get("SCALE", "1"))
pytestmark = pytest.mark.usefixtures("atomic_cloud")


def ask(**target: object) -> RecallView:
    return recalls.ask(AskRecall.model_validate({"reason": "bad codes", **target}), "ann", clock.now())


def tasks() -> Counter[str]:
    return Counter(str(task.kind) for task in staff.open_tasks(100))


def sold_of(view: RecallView) -> dict[str, Counter[str]]:
    """What became of the listed cards, order by order."""
    found: dict[str, Counter[str]] = {}
    for card in recalls.cards(view.recall_id, None).cards:
        found.setdefault(card.order_id, Counter())[card.state] += 1
    return found


def kinds() -> Counter[str]:
    return Counter(str(entry.kind) for entry in ledger.entries_of(recalled.today()))


def test_a_lot_is_frozen_listed_claimed_and_made_good_as_far_as_there_is_stock() -> None:
    bad, cards = lot_of(300)
    _, sound = lot_of(110, "other")
    sold_in([1] * 120 + [4] * 20, cards[:200])
    mixed = sell([cards[200], sound[0]])
    named = recalled.owned().total()

    asked = ask(lot_id=bad)
    assert (asked.state, asked.sold) == ("running", 0)
    done = run(asked.recall_id)

    assert (done.state, done.lots, done.frozen, done.held, done.sold) == ("done", 1, 99, 0, 201)
    assert done.replaced == 109  # all that the other lot had
    assert done.refunded + done.for_a_person == 201 - 109
    assert (done.open, done.skipped) == (0, 0)
    assert recalled.states() == {"sold": 311, "frozen": 99}
    assert recalled.owned().total() == named
    assert max(recalled.owned().values()) == 1
    assert done.claimed.amount_minor == 300 * 1500
    assert balance("payable:acme") == 300 * 1500 - 300 * 15005 // 10  # nothing is owed but the odd cents
    assert balance("inventory") == recalled.worth() == 0
    assert recalled.books().trial_balance == {"CNY": 0}
    assert lots.lot_of(bad).state == "recalled"
    assert orders.head_of(mixed).status == "delivered"
    assert tasks()["recall_done"] == 1


def test_asked_for_again_it_changes_nothing() -> None:
    bad, cards = lot_of(40)
    lot_of(5, "other")
    sold_in([1] * 10 + [2] * 5, cards[:20])
    first = run(ask(lot_id=bad).recall_id)
    cards_before = sorted(card.to_dynamodb_dict()["card_id"]["S"] + str(card.state) for card in inventory.Card.scan())
    entries, opened = kinds(), tasks()

    asked = ask(lot_id=bad, reason="asked by another")
    assert (asked.recall_id, asked.state, asked.reason) == (first.recall_id, "running", "bad codes")
    assert asked.cards_per_second == 0  # of this run, which has not begun
    again = run(asked.recall_id)

    figures = {"frozen", "held", "sold", "replaced", "refunded", "for_a_person", "skipped", "claimed", "state"}
    assert again.model_dump(include=figures) == first.model_dump(include=figures)
    assert (kinds(), tasks()) == (entries, opened)
    assert cards_before == sorted(
        card.to_dynamodb_dict()["card_id"]["S"] + str(card.state) for card in inventory.Card.scan()
    )


def test_the_buyer_gets_another_card_in_the_very_place_and_the_old_one_says_which() -> None:
    bad, cards = lot_of(2)
    _, sound = lot_of(4, "other", cost_e6=16_000_000)
    order_id = sell([sound[0], cards[0], sound[1]])
    cost_before, sales_before = balance("cogs"), balance("revenue")

    done = run(ask(lot_id=bad).recall_id)

    order = orders.order_of(order_id)
    [new] = set(order.card_ids) & set(sound[2:])
    assert order.card_ids == [sound[0], new, sound[1]]
    assert (order.status, order.head.notice) == ("delivered", "replaced")
    old, other = inventory.Card.get(cards[0]), inventory.Card.get(new)
    assert (old.state, old.order_id, old.recall_id, old.replaced_by) == ("sold", order_id, done.recall_id, new)
    assert (other.state, other.order_id, other.shelf) == ("sold", order_id, None)
    assert balance("cogs") == cost_before - 1500 + 1600
    assert balance("revenue") == sales_before


def test_without_stock_the_money_goes_back_if_all_is_bad_and_a_person_is_asked_if_not() -> None:
    bad, cards = lot_of(6)
    _, sound = lot_of(1, "other")
    single, double, mixed = sell(cards[:1]), sell(cards[1:3]), sell([cards[3], sound[0]])

    done = run(ask(lot_id=bad).recall_id)

    assert sold_of(done) == {single: {"refunded": 1}, double: {"refunded": 2}, mixed: {"person": 1}}
    assert [orders.head_of(order_id).status for order_id in (single, double, mixed)] == [
        "refunding",
        "refunding",
        "delivered",
    ]
    assert orders.head_of(double).notice == "refunded_recall"
    assert {(task.kind, task.order_id) for task in staff.open_tasks(9)} == {("make_good", mixed), ("recall_done", "-")}
    assert balance("refunds_due") == -3 * recalled.PRICE
    assert recalled.books().trial_balance == {"CNY": 0}


def test_an_order_whose_money_went_back_before_is_owed_nothing() -> None:
    bad, cards = lot_of(2)
    lot_of(1, "other")
    order_id = sell(cards[:1])
    after_sales.request(orders.order_of(order_id), "complaint", "ann", clock.now())

    done = run(ask(lot_id=bad).recall_id)
    assert (done.state, done.skipped, done.replaced, done.refunded) == ("done", 1, 0, 0)
    assert recalls.cards(done.recall_id, None).cards[0].reason == "refunding"


def test_a_sold_card_whose_order_is_gone_does_not_stop_the_others() -> None:
    bad, cards = lot_of(2)
    lot_of(2, "other")
    lost, kept = sell(cards[:1]), sell(cards[1:])
    orders.head_of(lost).delete()

    done = run(ask(lot_id=bad).recall_id)
    assert (done.state, done.skipped, done.replaced) == ("done", 1, 1)
    assert orders.head_of(kept).notice == "replaced"


def test_an_order_on_its_way_to_its_buyer_is_waited_for() -> None:
    bad, cards = lot_of(2)
    lot_of(1, "other")
    order_id = sell(cards[:1])
    head = orders.head_of(order_id)
    head.update([orders.Head.status.set("cleared")])

    waiting = run(ask(lot_id=bad).recall_id)
    assert (waiting.state, waiting.frozen, waiting.open) == ("running", 1, 1)
    head.update([orders.Head.status.set("delivered")])
    done = run(waiting.recall_id)
    assert (done.state, done.replaced) == ("done", 1)


def test_of_a_large_order_as_much_is_replaced_as_there_is() -> None:
    bad, cards = lot_of(60)
    _, sound = lot_of(50, "other")
    order_id = sell(cards[:60])

    done = run(ask(lot_id=bad).recall_id)
    assert (done.replaced, done.for_a_person) == (50, 10)
    assert set(orders.order_of(order_id).card_ids) >= set(sound)


def test_no_card_of_another_bad_lot_is_given_in_place() -> None:
    bad, cards = lot_of(1)
    worse, _ = lot_of(3, "other")
    lots.recall(worse, "rcl_other")
    _, sound = lot_of(1, "third")
    order_id = sell(cards)

    run(ask(lot_id=bad).recall_id)
    assert orders.order_of(order_id).card_ids == sound


def test_a_held_card_is_marked_and_can_neither_be_sold_nor_go_back_to_the_shelf() -> None:
    bad, [card, _] = lot_of(2)
    with Transaction() as tx:
        inventory.hold(tx, card, recalled.SKU, "ord_1", "shop")

    done = run(ask(lot_id=bad).recall_id)
    assert (done.frozen, done.held, done.claimed.amount_minor) == (1, 1, 3000)
    for verb in (inventory.claim, inventory.release):
        with pytest.raises(Lost), Transaction() as tx:
            verb(tx, card, "ord_1")
    with Transaction() as tx:
        inventory.release_recalled(tx, card, "ord_1")
    assert recalled.states() == {"frozen": 2}


def test_a_supplier_and_a_period_of_shanghai_days_name_the_lots() -> None:
    def at(text: str) -> datetime:
        return clock.parse(text)

    inside = [
        lot_of(1, received_at=at("2026-05-01T16:00:00Z"))[0],  # midnight in Shanghai
        lot_of(1, received_at=at("2026-05-03T15:59:59.999Z"))[0],
    ]
    for when in ("2026-05-01T15:59:59.999Z", "2026-05-03T16:00:00Z"):
        lot_of(1, received_at=at(when))
    lot_of(1, "other", received_at=at("2026-05-02T12:00:00Z"))
    period = {"supplier": "acme", "from": date(2026, 5, 2), "to": date(2026, 5, 3)}

    first = run(ask(**period).recall_id)
    assert (first.lots, first.frozen) == (2, 2)
    assert {str(card.lot_id) for card in inventory.Card.scan() if card.state == "frozen"} == set(inside)

    lot_of(3, received_at=at("2026-05-02T12:00:00Z"))
    again = run(ask(**period).recall_id)
    assert (again.recall_id, again.lots, again.frozen) == (first.recall_id, 3, 5)
    assert again.claimed.amount_minor == 5 * 1500


def test_a_purchase_names_its_lots() -> None:
    lot_of(2, purchase_id="po-1")
    lot_of(3, sku="V001", purchase_id="po-1")
    lot_of(4, purchase_id="po-2")

    assert run(ask(purchase_id="po-1").recall_id).frozen == 5
    assert recalled.states() == {"frozen": 5, "available": 4}


def test_what_one_recall_has_taken_another_that_names_it_too_leaves_alone() -> None:
    bad, cards = lot_of(3, purchase_id="po-1")
    lot_of(1, "other")
    order_id = sell(cards[:1])
    first = run(ask(lot_id=bad).recall_id)
    more, _ = lot_of(2, purchase_id="po-1")
    wider = run(ask(purchase_id="po-1").recall_id)

    assert (first.frozen, first.sold, first.replaced) == (2, 1, 1)
    assert (wider.lots, wider.frozen, wider.sold, wider.claimed.amount_minor) == (2, 2, 0, 2 * 1500)
    assert {card.recall_id for card in inventory.known(cards)} == {first.recall_id}
    assert (lots.lot_of(bad).recall_id, lots.lot_of(more).recall_id) == (first.recall_id, wider.recall_id)
    assert len(orders.order_of(order_id).card_ids) == 1
    assert balance("inventory") == recalled.worth() == 0


@pytest.mark.parametrize(
    ("target", "refusal"),
    [
        ({"lot_id": "lot_unknown"}, NotFound),
        ({"purchase_id": "unknown"}, NotFound),
        ({"supplier": "nobody", "from": date(2026, 5, 1), "to": date(2026, 5, 1)}, NotFound),
        ({}, InvalidRequest),
        ({"supplier": "acme"}, InvalidRequest),
        ({"supplier": "acme", "from": date(2026, 5, 2), "to": date(2026, 5, 1)}, InvalidRequest),
        ({"lot_id": "lot_unknown", "purchase_id": "po-1"}, InvalidRequest),
    ],
)
def test_what_names_nothing_or_two_things_is_refused(target: dict[str, object], refusal: type[Exception]) -> None:
    with pytest.raises(refusal):
        ask(**target)


def test_a_worker_that_was_overtaken_has_lost_its_say() -> None:
    bad, _ = lot_of(3)
    recall_id = ask(lot_id=bad).recall_id
    slow = jobs.job_of(recall_id, "rcl")
    run(recall_id)

    recall_work.work(slow, clock.now())
    assert recalls.show(recall_id).state == "done"
    assert kinds()["supplier_claim"] == 1


def test_a_worker_stops_in_time_and_the_next_one_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    bad, cards = lot_of(6)
    lot_of(6, "other")
    sold_in([1] * 5, cards)
    monkeypatch.setattr(recall_work, "LISTED", 2)
    monkeypatch.setattr(recall_work, "ENOUGH", timedelta(0))

    seen = [run(ask(lot_id=bad).recall_id)]
    while seen[-1].state == "running":
        seen.append(run(seen[-1].recall_id))
    assert [view.replaced for view in seen] == [2, 4, 5, 5]
    assert kinds()["replacement"] == 5


def test_a_recall_survives_a_death_after_every_write() -> None:
    nth, died = 0, True
    while died:
        nth += 1
        sku = f"K{nth:03}"  # nothing is left over for the next round
        _, sound = lot_of(3, "other", sku=sku)
        first, cards = lot_of(6, sku=sku, purchase_id=f"po-{nth}")
        _, [scarce, gone] = lot_of(2, sku=f"{sku}X", purchase_id=f"po-{nth}")
        sell(cards[:2], sku)
        sell(cards[2:3], sku)
        sell([scarce], f"{sku}X")
        mixed = sell([gone], f"{sku}X")
        with Transaction() as tx:
            inventory.hold(tx, cards[3], sku, "ord_1", "shop")
        line = orders.order_of(mixed).lines[0]
        line.update([orders.Line.card_ids.set([gone, "crd_of_another_lot"])])
        recall_id = ask(purchase_id=f"po-{nth}").recall_id

        with dying_after(nth) as seen:
            try:
                run(recall_id)
            except Died:
                run(recall_id)
        died = len(seen) >= nth

        done = recalls.show(recall_id)
        assert (done.state, done.frozen, done.held, done.sold) == ("done", 2, 1, 5), f"after write {nth}"
        assert (done.replaced, done.refunded, done.for_a_person) == (3, 1, 1), f"after write {nth}"
        assert done.claimed.amount_minor == 8 * 1500
        assert lots.lot_of(first).state == "recalled"
        assert set(sound) <= set(recalled.owned())
        assert recalled.books().trial_balance == {"CNY": 0}
        assert balance("inventory") == recalled.worth() == 0
        assert balance("refunds_due") == -nth * recalled.PRICE
        assert tasks() == {"recall_done": nth, "make_good": nth}
    assert nth > 14


@pytest.mark.parametrize("move", ["claimed", "released"])
def test_a_held_card_that_moves_while_it_is_being_marked_is_dealt_with_as_what_it_has_become(
    monkeypatch: pytest.MonkeyPatch, move: str
) -> None:
    bad, [card] = lot_of(1)
    lot_of(1, "other")
    order_id = ids.new("ord", clock.now())
    with Transaction() as tx:
        inventory.hold(tx, card, recalled.SKU, order_id, "shop")
    recall_id = ask(lot_id=bad).recall_id
    original, overtaken = BaseClient._make_api_call, []

    def overtake(client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:
        if operation == "TransactWriteItems" and not overtaken:
            overtaken.append(True)
            if move == "claimed":
                sell([card], order_id=order_id, held=True)
            else:
                with Transaction() as tx:
                    inventory.release(tx, card, order_id)
        return original(client, operation, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", overtake)
    done = run(recall_id)
    assert (done.state, done.held) == ("done", 0)
    assert (done.sold, done.replaced, done.frozen) == ((1, 1, 0) if move == "claimed" else (0, 0, 1))


def test_nothing_bad_is_sold_any_more_however_many_are_selling() -> None:
    bad, cards = lot_of(60 * SCALE)
    _, sound = lot_of(120 * SCALE, "other")
    chance = Random(1)
    delivered: list[str] = []

    def buy() -> None:
        for _ in range(30 * SCALE):  # so that sound cards are left to replace bad ones, however slow the recall is
            order_id = ids.new("ord", clock.now())
            try:
                [card] = inventory.pick(Need(recalled.SKU, 1, 1, recalled.today()), chance)
                with Transaction() as tx:
                    inventory.hold(tx, card.card_id, recalled.SKU, order_id, "shop")
            except (Lost, OutOfStock):
                continue
            try:
                delivered.append(sell([card.card_id], order_id=order_id, held=True))
            except Lost:
                with Transaction() as tx:
                    inventory.release_recalled(tx, card.card_id, order_id)

    with ThreadPoolExecutor(3) as pool:
        buyers = [pool.submit(buy) for _ in range(3)]
        wait_until(lambda: len(delivered) > 10)
        done = run(ask(lot_id=bad).recall_id)
        bad_and_sold = {card.card_id for card in recalls.cards(done.recall_id, None).cards}
        for buyer in buyers:
            buyer.result()

    now = {str(card.card_id): card for card in inventory.Card.scan()}
    assert (done.state, done.frozen + done.held + done.sold) == ("done", len(cards))
    assert {card_id for card_id in cards if now[card_id].state == "sold"} == bad_and_sold
    assert all(now[card_id].recall_id and now[card_id].state in {"sold", "frozen"} for card_id in cards)
    assert not any(now[card_id].recall_id for card_id in sound)
    for order_id in delivered:
        order = orders.order_of(order_id)
        assert order.status == "refunding" or not any(now[card_id].recall_id for card_id in order.card_ids)
    assert max(recalled.owned().values()) == 1
    assert done.replaced > 0
    assert recalled.books().trial_balance == {"CNY": 0}
    assert balance("inventory") == recalled.worth()


def wait_until(true: Callable[[], bool]) -> None:
    limit = time.monotonic() + 30
    while not true():
        assert time.monotonic() < limit
        time.sleep(0.01)
