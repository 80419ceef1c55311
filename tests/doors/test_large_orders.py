"""Orders of up to a thousand cards: all or nothing, and nothing is left lying when a process dies half-way."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.insights import records as insights
from shared.inventory import records as inventory
from shared.inventory.states import CardState
from shared.kernel import clock
from shared.kernel.records import Transaction
from shared.ledger import records as ledger
from shared.orders import records as orders
from shared.orders.status import Status
from shared.steps import card_dispatch, large_orders, settlement
from tests.crowd import SCALE, Crowd, Person, at_once, crowded
from tests.deaths import Died, Step, abandoned, dying_after, retried
from tests.shop import Answer, Placed, Shop

SKU, OTHER, MADE = "V001", "V002", "C060"
LATER = timedelta(minutes=4)


@pytest.fixture
def big(atomic_cloud: None, tmp_path: Path) -> Iterator[Crowd]:
    """A shop on a cloud that is quick with many cards."""
    with crowded(tmp_path) as crowd:
        yield crowd


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three cards are a large order, so that each of its writes can be the last."""
    monkeypatch.setattr(orders, "PIECES_MAX", 3)
    monkeypatch.setattr(orders, "CHUNK", 2)
    monkeypatch.setattr(orders, "MADE_CHUNK", 2)


def ask(shop: Shop, *lines: tuple[str, int], ref: str = "", phone: str = "13800138000") -> Answer:
    wanted = [{"sku": sku, "quantity": quantity} for sku, quantity in lines]
    return shop.place(lines=wanted, client_ref=ref or uuid.uuid4().hex, phone=phone)


def as_placed(answer: Answer) -> Placed:
    assert answer.status == 201, answer.body
    payment = answer.body["payment"]
    return Placed(answer.body["order_id"], answer.body["access_token"], payment["redirect_url"], payment["payment_id"])


def states() -> dict[str, int]:
    found: dict[str, int] = {}
    for card in inventory.Card.scan():
        found[str(card.state)] = found.get(str(card.state), 0) + 1
    return found


def parts(kind: str) -> int:
    return sum(1 for item in orders.Ref.scan() if str(item.part).startswith(kind))


def entries(order_id: str) -> list[str]:
    today = clock.shanghai_day(clock.now())
    return sorted(str(entry.kind) for entry in ledger.entries_of(today) if entry.order_id == order_id)


def balanced() -> None:
    assert settlement.running(clock.now()).trial_balance == {"CNY": 0}


def test_a_thousand_cards_of_several_kinds_are_sold_in_one_order(big: Crowd) -> None:
    shop, most = big.shop, 700 if SCALE > 1 else 150
    big.stock(SKU, most)
    big.stock(OTHER, 100)
    order = as_placed(ask(shop, (SKU, most), (OTHER, 100), (MADE, 40)))
    assert states() == {"held": most + 100}
    shop.pay(order)
    shop.pump()
    [review] = shop.call("GET", "/console/reviews", groups="operator").body["reviews"]
    assert shop.call("POST", f"/console/reviews/{review['review_id']}/approve", {}, groups="operator").status == 200
    shop.pump()

    assert shop.status(order) == "delivered"
    revealed = shop.reveal(order).body["cards"]
    assert [card["sku"] for card in revealed] == [SKU] * most + [OTHER] * 100 + [MADE] * 40
    assert {card["code"] for card in revealed[: most + 100]} == set(big.codes)
    assert len({card["code"] for card in revealed}) == most + 140
    assert states() == {"sold": most + 140}
    assert entries(order.order_id) == ["delivery", "payment"]
    balanced()

    path, key = f"/console/orders/{order.order_id}/refunds", {"Idempotency-Key": "k1"}
    assert shop.call("POST", path, {"lines": [1]}, groups="finance", **key).status == 201
    assert [card["sku"] for card in shop.reveal(order).body["cards"]] == [OTHER] * 100 + [MADE] * 40
    balanced()


def test_more_than_a_thousand_cards_are_refused_and_a_short_shelf_leaves_nothing_behind(big: Crowd) -> None:
    big.stock(SKU, 100)
    refused = ask(big.shop, (SKU, 600), (OTHER, 401))
    assert (refused.status, refused.body["code"], refused.body["limit"]) == (422, "too_many_cards", 1000)
    assert ask(big.shop, (SKU, 101)).body["code"] == "out_of_stock"
    assert ask(big.shop, (SKU, 100), (OTHER, 1)).body["code"] == "out_of_stock"
    assert states() == {"available": 100}
    assert list(orders.Ref.scan()) == []


def test_the_same_reference_gives_the_same_large_order(big: Crowd) -> None:
    big.stock(SKU, 120)
    first, again = (ask(big.shop, (SKU, 100), ref="r" * 32) for _ in range(2))
    assert (first.status, first.body) == (again.status, again.body)
    assert ask(big.shop, (SKU, 101), ref="r" * 32).body["code"] == "reference_reused"
    assert states() == {"available": 20, "held": 100}


def test_a_shelf_that_runs_empty_half_way_is_out_of_stock_and_gives_everything_back(
    big: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    big.stock(SKU, 200)
    hold_chunk = large_orders._hold_chunk

    def overtaken(order: orders.Order, line: orders.Line, number: int, *more: Any) -> None:
        if number == 2:  # two chunks are held; now others empty the shelf
            for person in range(100, 105):
                assert big.place(Person(person), SKU, 4)
        hold_chunk(order, line, number, *more)

    monkeypatch.setattr(large_orders, "_hold_chunk", overtaken)
    refused = ask(big.shop, (SKU, 190), ref="r" * 32)
    assert (refused.status, refused.body["code"]) == (409, "out_of_stock")
    assert states() == {"available": 180, "held": 20}
    assert (parts("cards#"), parts("ref")) == (0, 5)

    monkeypatch.undo()
    assert ask(big.shop, (SKU, 170), ref="r" * 32).status == 201, "the reference is free for another try"


@pytest.mark.parametrize("seed", range(max(2, SCALE)))
def test_large_orders_that_race_for_one_shelf_get_all_or_nothing(seed: int, big: Crowd) -> None:
    cards, wanted = 220, 100
    big.stock(SKU, cards)
    won = [order for order in at_once(lambda n: big.place(Person(n), SKU, wanted), range(6), 6) if order]
    assert len(won) <= cards // wanted
    assert states() == {state: count for state, count in (
        ("available", cards - wanted * len(won)), ("held", wanted * len(won))) if count}  # fmt: skip
    statuses = big.statuses()
    assert set(statuses.values()) <= {"placed", "cancelled"}
    for order in won:
        held = inventory.cards(orders.order_of(order.order_id).card_ids)
        assert {(card.state, card.order_id) for card in held} == {("held", order.order_id)}
        assert len({card.card_id for card in held}) == wanted
    assert parts("cards#") == 2 * len(won)
    assert big.wrong() == []


@pytest.mark.parametrize("how", ["cancel", "expire", "refuse"])
def test_a_large_order_that_ends_gives_all_its_cards_back(big: Crowd, how: str) -> None:
    shop = big.shop
    big.stock(SKU, 100)
    order = as_placed(ask(shop, (SKU, 100)))
    if how == "cancel":
        assert shop.call("POST", f"/orders/{order.order_id}/cancel", token=order.token).body["status"] == "cancelled"
    elif how == "expire":
        shop.deadlines(datetime.now(UTC) + timedelta(minutes=16))
    else:
        shop.pay(order)
        shop.pump()
        [review] = shop.call("GET", "/console/reviews", groups="operator").body["reviews"]
        shop.call("POST", f"/console/reviews/{review['review_id']}/refuse", {}, groups="operator")
        shop.pump()
        shop.deadlines(clock.now())
    assert shop.status(order) == {"cancel": "cancelled", "expire": "expired", "refuse": "refunded"}[how]
    assert states() == {"available": 100}
    assert parts("cards#") == 0
    due_at = orders.head_of(order.order_id).due_at
    assert (due_at is None) == (how == "refuse"), "its provider is still to be asked for late money"
    balanced()


def test_late_money_for_a_large_order_goes_back(big: Crowd) -> None:
    shop = big.shop
    big.stock(SKU, 100)
    order = as_placed(ask(shop, (SKU, 100)))
    shop.call("POST", f"/orders/{order.order_id}/cancel", token=order.token)
    shop.pay(order)
    shop.pump()
    assert shop.status(order) == "refunded"
    assert states() == {"available": 100}
    balanced()


# --- dying ---


def stocked(shop: Shop, count: int, name: str) -> None:
    assert shop.stock(SKU, [f"{name}-{n:06}" for n in range(count)]).body["accepted"] == count


def let_time_pass(shop: Shop) -> None:
    for _ in range(3):
        retried(lambda: shop.deadlines(datetime.now(UTC) + LATER))
        shop.pump()


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("again", [retried, abandoned], ids=["retried", "left-to-the-deadlines"])
def test_placing_a_large_order_survives_a_death_after_every_write(shop: Shop, again: Callable[[Step], Any]) -> None:
    stocked(shop, 3, "PLACING")
    nth, died = 0, True
    while died:
        nth += 1
        ref, phone = f"{nth:032}", f"138{nth:08}"
        with dying_after(nth) as seen:
            answer = again(lambda: ask(shop, (SKU, 3), (MADE, 2), ref=ref, phone=phone))  # noqa: B023  # called at once
        died = len(seen) >= nth
        shop.deadlines(datetime.now(UTC) + timedelta(minutes=1, seconds=1))
        if answer is not None:
            order = as_placed(answer)
            assert shop.status(order) == "placed", f"after write {nth}"
            assert states() == {"held": 3}
            shop.call("POST", f"/orders/{order.order_id}/cancel", token=order.token)
        [status] = {str(head.status) for head in heads(phone)}
        if status == "placed":  # it died with the answer on its lips
            shop.deadlines(datetime.now(UTC) + timedelta(minutes=16))
        assert states() == {"available": 3}, f"after write {nth}, a {seen[nth - 1] if died else 'none'}"
        assert parts("cards#") == 0
        if answer is None:
            repeated = ask(shop, (SKU, 3), (MADE, 2), ref=ref, phone=phone)
            assert repeated.status == 201
            if repeated.body["status"] == "placed":
                path = f"/orders/{repeated.body['order_id']}/cancel"
                assert shop.call("POST", path, token=repeated.body["access_token"]).status == 200
    assert nth > 4


def heads(phone: str) -> list[orders.Head]:
    masked = f"{phone[:3]}****{phone[-4:]}"
    found = [item for item in orders.Ref.scan() if item.part == "head"]
    return [head for item in found if (head := orders.head_of(str(item.order_id))).contact_mask == masked]


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("invoke", [retried, abandoned], ids=["retried", "left-to-the-deadlines"])
def test_delivering_a_large_order_survives_a_death_after_every_write(shop: Shop, invoke: Callable[[Step], Any]) -> None:
    shop.invoke, nth, died = invoke, 0, True
    while died:
        nth += 1
        stocked(shop, 3, f"DELIVERING-{nth:03}")
        order = as_placed(ask(shop, (SKU, 3), (MADE, 2), phone=f"138{nth:08}"))
        shop.pay(order)
        with dying_after(nth) as seen:
            shop.pump()
            let_time_pass(shop)
            answer = retried(lambda: shop.reveal(order))  # noqa: B023  # called at once
        died = len(seen) >= nth
        assert shop.status(order) == "delivered", f"after write {nth}, a {seen[nth - 1]}"
        assert len({card["code"] for card in answer.body["cards"]}) == 5
        assert entries(order.order_id) == ["delivery", "payment"], f"after write {nth}"
        assert states() == {"sold": 5 * nth}
    assert nth > 10
    balanced()


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("how", ["cancel", "expire", "refuse"])
def test_ending_a_large_order_survives_a_death_after_every_write(shop: Shop, how: str) -> None:
    stocked(shop, 3, "ENDING")
    shop.invoke, nth, died = abandoned, 0, True
    while died:
        nth += 1
        phone = f"138{nth:08}"
        if how == "refuse":
            deny = {"kind": "phone", "value": phone, "verdict": "deny", "reason": "test", "days": 3}
            assert shop.call("POST", "/console/lists", deny, groups="owner").status == 201
        order = as_placed(ask(shop, (SKU, 3), phone=phone))
        if how == "refuse":
            shop.pay(order)
        with dying_after(nth) as seen:
            if how == "cancel":
                path = f"/orders/{order.order_id}/cancel"
                abandoned(lambda: shop.call("POST", path, token=order.token))  # noqa: B023  # called at once
            elif how == "expire":
                abandoned(lambda: shop.deadlines(datetime.now(UTC) + timedelta(minutes=16)))
            else:
                shop.pump()
            let_time_pass(shop)
            shop.deadlines(datetime.now(UTC) + timedelta(minutes=20))
        died = len(seen) >= nth
        assert shop.status(order) == {"cancel": "cancelled", "expire": "expired", "refuse": "refunded"}[how]
        assert states() == {"available": 3}, f"after write {nth}, a {seen[nth - 1] if died else 'none'}"
        assert parts("cards#") == 0
    assert nth > 3
    balanced()


# --- recalled cards ---


def recall(card_ids: list[str]) -> None:
    with Transaction() as tx:
        for card_id in card_ids:
            inventory.mark_recalled(tx, card_id, "rec_1", CardState.HELD)


@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
def test_a_recalled_card_is_never_delivered_but_replaced(
    shop: Shop, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        monkeypatch.setattr(orders, "PIECES_MAX", 4)
        monkeypatch.setattr(orders, "CHUNK", 2)
    stocked(shop, 8, "RECALLED")
    order = as_placed(ask(shop, (SKU, 5)))
    shop.pay(order)
    bad = orders.order_of(order.order_id).card_ids[1:4]
    recall(bad)
    shop.pump()
    assert shop.status(order) == "delivered"
    assert not {card.card_id for card in inventory.cards(orders.order_of(order.order_id).card_ids)} & set(bad)
    assert states() == {"sold": 5, "frozen": 3}
    assert len(shop.reveal(order).body["cards"]) == 5


@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
def test_where_nothing_can_replace_a_recalled_card_the_money_goes_back(
    shop: Shop, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        monkeypatch.setattr(orders, "PIECES_MAX", 4)
        monkeypatch.setattr(orders, "CHUNK", 2)
    stocked(shop, 6, "RECALLED")
    order = as_placed(ask(shop, (SKU, 5)))
    shop.pay(order)
    recall(orders.order_of(order.order_id).card_ids[1:3])
    shop.pump()
    assert shop.status(order) == "refunded"
    shop.deadlines(clock.now())
    assert states() == {"available": 4, "frozen": 2}
    assert orders.head_of(order.order_id).due_at is None
    balanced()


@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
def test_a_recalled_card_of_an_unpaid_order_goes_into_the_ice(
    shop: Shop, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        monkeypatch.setattr(orders, "PIECES_MAX", 4)
        monkeypatch.setattr(orders, "CHUNK", 2)
    stocked(shop, 5, "RECALLED")
    order = as_placed(ask(shop, (SKU, 5)))
    recall(orders.order_of(order.order_id).card_ids[:2])
    assert shop.call("POST", f"/orders/{order.order_id}/cancel", token=order.token).body["status"] == "cancelled"
    assert states() == {"available": 3, "frozen": 2}


def test_a_large_order_that_is_refunded_half_delivered_has_its_cost_in_the_books(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders, "PIECES_MAX", 4)
    monkeypatch.setattr(orders, "CHUNK", 2)
    stocked(shop, 5, "HALF")
    order = as_placed(ask(shop, (SKU, 5)))
    shop.pay(order)
    claim_chunk, claimed = orders.claim_chunk, []

    def dying(tx: Transaction, chunk: orders.Chunk) -> None:
        if claimed:
            raise Died
        claimed.append(chunk.part)
        claim_chunk(tx, chunk)

    monkeypatch.setattr(orders, "claim_chunk", dying)
    shop.invoke = abandoned
    shop.pump()
    monkeypatch.undo()
    assert orders.head_of(order.order_id).status == Status.CLEARED
    assert states() == {"held": 3, "sold": 2}

    assert shop.call("POST", f"/console/orders/{order.order_id}/refunds", {}, groups="finance").status == 201
    shop.pump()
    assert shop.status(order) == "refunded"
    shop.deadlines(clock.now())
    shop.pump()
    assert states() == {"available": 3, "sold": 2}
    in_stock = sum(
        leg.quantity or 0
        for entry in ledger.entries_of(clock.shanghai_day(clock.now()))
        for leg in entry.legs
        if leg.account == "inventory"
    )
    assert in_stock == 3
    balanced()
    assert insights.levels([SKU])[SKU].available == 3
    card_dispatch.dispatch({"order_id": order.order_id}, clock.now())
    assert states() == {"available": 3, "sold": 2}
