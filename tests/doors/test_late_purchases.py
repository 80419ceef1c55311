"""What comes late, garbled, or while somebody else looks: nothing is bought twice, and no line is given up for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.client import BaseClient

from infra.local.suppliers.common import Product
from infra.local.suppliers.common import Supplier as StandIn
from shared.catalog import records as catalog
from shared.inventory import records as inventory
from shared.inventory.states import CardState
from shared.kernel import clock
from shared.orders import records as orders
from shared.staff import records as staff
from shared.steps import purchasing, settlement, supply
from shared.steps.purchase_work import Again, Work, fail
from shared.suppliers import attempts, pulses, purchases, registry
from shared.suppliers.accounts import Head
from shared.suppliers.admission import Standing
from shared.suppliers.attempts import AttemptState
from shared.suppliers.breaker import IN_A_ROW, PROBE_EVERY
from shared.suppliers.offers import Offer
from shared.suppliers.purchases import Attempt
from shared.suppliers.routing import Wanted
from shared.suppliers.supplier import Reason
from tests.canned_supplier import Sent, door
from tests.deaths import Died, dying_after
from tests.hub import Selling, pump_until, selling
from tests.shop import Placed, Shop
from tests.supplied import send

SKU, OTHER, VIDEO = "G020", "G021", "V004"
DEAR_E6, TOO_DEAR_E6 = 93_000_000, 98_000_000
QQ = {"qq": "847362915"}


def card(number: str = "1", cost_e6: int = 91_000_000, stock: int | None = 50) -> Product:
    return Product(number, f"Steam 充值卡 100 元 {number}", cost_e6, stock=stock)


@pytest.fixture
def asked(shop: Shop, tmp_path: Path) -> Iterator[Selling]:
    """The cheapest, who can be asked by our own numbers."""
    with selling(tmp_path, "asked", "kasushou", {SKU: card("5", 90_000_000)}, seed=2) as found:
        yield found


@pytest.fixture
def dear(shop: Shop, tmp_path: Path) -> Iterator[Selling]:
    with selling(tmp_path, "dear", "dujiao", {SKU: card("7", DEAR_E6)}) as found:
        yield found


def paid(shop: Shop, quantity: int = 1) -> Placed:
    order = shop.placed(SKU, quantity)
    shop.pay(order)
    return order


def tried(order: Placed) -> list[tuple[str, str, str]]:
    return [(str(one.supplier), str(one.state), str(one.reason)) for one in purchases.of_order(order.order_id)]


def first(order: Placed) -> Attempt:
    return purchases.of_order(order.order_id)[0]


def open_tasks() -> list[str]:
    return [str(task.kind) for task in staff.open_tasks(50)]


def spare() -> int:
    return len(list(inventory.Card.scan(inventory.Card.state == CardState.AVAILABLE)))


def balanced() -> bool:
    return settlement.running(clock.now()).trial_balance == {"CNY": 0}


def work(order: Placed, hint: str = "", **later: float) -> None:
    purchasing.work({"order_id": order.order_id, "line": "1", "hint": hint}, clock.now() + timedelta(**later))


def given_up(order: Placed, **until: float) -> None:
    """As a person does who has waited long enough; he is asked after once more."""
    now = clock.now()
    purchases.move_alone(first(order), AttemptState.FAILED, now, now + timedelta(**until), reason="other")


@contextmanager
def meanwhile(before: Callable[[str, dict[str, Any]], bool], do: Callable[[], object]) -> Iterator[None]:
    """Let something happen just before the first such call."""
    original, done = BaseClient._make_api_call, list[str]()

    def interrupted(client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:
        if not done and before(operation, parameters):
            done.append(operation)
            do()
        return original(client, operation, parameters)

    BaseClient._make_api_call = interrupted  # type: ignore[method-assign]
    try:
        yield
    finally:
        BaseClient._make_api_call = original  # type: ignore[method-assign]
    assert done


@contextmanager
def reworded(change: Callable[[dict[str, Any]], object]) -> Iterator[tuple[str, list[str]]]:
    """A door before a supplier, whose address comes into the list; what it answers is changed on the way."""
    behind = list[str]()

    def answer(sent: Sent) -> tuple[int, bytes]:
        headers = {name: value for name, value in sent.headers.items() if name not in ("host", "content-length")}
        status, body = send(sent.method, behind[0] + sent.target, sent.body, headers)
        told = json.loads(body)
        for one in dicts(told):
            change(one)
        return status, json.dumps(told).encode()

    with door(answer) as found:
        yield found.url, behind


def dicts(told: object) -> Iterator[dict[str, Any]]:
    if isinstance(told, dict):
        yield told
    for one in told.values() if isinstance(told, dict) else told if isinstance(told, list) else ():
        yield from dicts(one)


# --- garbled ---


def in_a_sentence(told: dict[str, Any]) -> None:
    if "payload" in told:
        told |= {"type": "manual", "payload": "您的卡密为 ABCD-1234-EFGH，请尽快使用"}


def and_another(told: dict[str, Any]) -> None:
    if told.get("card_list"):
        told["card_list"] += [{**told["card_list"][0], "card_password": "SOME-THING-ELSE"}]


@pytest.mark.parametrize(
    ("kind", "change"), [("dujiao", in_a_sentence), ("kasushou", and_another)], ids=["no card", "too many"]
)
def test_a_delivery_that_shows_not_what_was_ordered_is_a_persons_and_bought_nowhere_else(
    shop: Shop, tmp_path: Path, dear: Selling, kind: str, change: Callable[[dict[str, Any]], None]
) -> None:
    with (
        reworded(change) as (url, behind),
        selling(tmp_path, "odd", kind, {SKU: card("5", 90_000_000)}, seed=2) as odd,
    ):
        behind.append(odd.url)
        Head("odd").update([Head.terms.set({**odd.head.terms, "site": url})])
        registry.forget()
        order = paid(shop)
        shop.pump()
        work(order, seconds=10)

        assert [(supplier, reason) for supplier, _, reason in tried(order)] == [("odd", "unreadable")]
        assert first(order).upstream_no
        assert (dear.bought(), spare()) == ([], 0)
        work(order, hours=25)
        assert (open_tasks(), shop.status(order)) == (["purchase_unknown"], "cleared")


# --- late ---


@pytest.mark.parametrize("waits", ["for a price", "for an end", "to be sent"])
def test_what_comes_before_anything_else_was_bought_fills_its_order(
    shop: Shop, asked: Selling, dear: Selling, waits: str
) -> None:
    asked.misbehave("buy", "silent")
    order = paid(shop)
    shop.pump()
    given_up(order, hours=1)
    if waits == "for a price":
        [offer] = Offer.query(dear.code)
        offer.update([Offer.cost_e6.set(TOO_DEAR_E6)])
    elif waits == "for an end":
        for _ in range(IN_A_ROW):
            pulses.tell(dear.code, SKU, False, 0, clock.now())
    else:
        dear.misbehave("buy", "before_429")
    work(order)
    assert [state for _, state, _ in tried(order)][1:] == {
        "for a price": ["held"],
        "for an end": [],
        "to be sent": ["created"],
    }[waits]

    work(order, hint="1")
    assert tried(order)[0] == ("asked", "delivered", "")
    assert (shop.status(order), len(shop.reveal(order).body["cards"])) == ("delivered", 1)
    assert [state for _, state, _ in tried(order)][1:] in ([], ["failed"])
    work(order, hours=5)
    assert (dear.bought(), spare(), open_tasks()) == ([], 0, [])
    assert balanced()


def test_who_knows_after_all_what_became_of_it_ends_the_task(shop: Shop, asked: Selling, dear: Selling) -> None:
    asked.misbehave("buy", "silent")
    order = paid(shop)
    shop.pump()
    asked.misbehave("order", "500", times=1)
    work(order, hours=25)
    assert open_tasks() == ["purchase_unknown"]

    work(order, hint="1", hours=26)
    assert (tried(order), open_tasks()) == ([("asked", "delivered", "")], [])


def test_a_person_who_has_said_that_nothing_came_is_not_asked_about_it_again(
    shop: Shop, asked: Selling, dear: Selling
) -> None:
    asked.misbehave("buy", "silent")
    order = paid(shop)
    shop.pump()
    asked.misbehave("order", "500", times=3)
    work(order, hours=25)
    assert open_tasks() == ["purchase_unknown"]

    path = f"/console/purchases/{first(order).number}/settle"
    assert shop.call("POST", path, {"outcome": "failed", "note": "they say no"}, groups="operator").status == 200
    pump_until(shop, order, "delivered")
    asked.rested()
    work(order, hint="1", hours=26)
    assert (open_tasks(), first(order).state, first(order).due_at) == ([], "failed", None)

    asked.rested()
    work(order, hint="1", hours=27)
    assert [state for _, state, _ in tried(order)] == ["late", "delivered"]
    assert (spare(), open_tasks(), first(order).settled_by) == (1, [], None)
    assert balanced()


def test_who_has_no_account_any_more_is_asked_once_he_has_one_again(shop: Shop, asked: Selling) -> None:
    asked.misbehave("buy", "silent")
    order = paid(shop)
    shop.pump()
    head = asked.head
    head.delete()
    registry.forget()
    work(order, seconds=10)
    assert open_tasks() == ["purchase_unknown"]

    head.save()
    work(order, minutes=31)
    assert (shop.status(order), open_tasks()) == ("delivered", [])


def test_who_refuses_us_when_he_is_asked_back_is_asked_on(shop: Shop, asked: Selling, dear: Selling) -> None:
    asked.misbehave("buy", "silent")
    order = paid(shop)
    shop.pump()
    given_up(order, hours=1)
    pump_until(shop, order, "delivered")
    asked.misbehave("order", "refuse_signature")
    work(order, hint="1")

    due_at = clock.parse(str(first(order).due_at))
    assert timedelta(minutes=59) < due_at - clock.now() <= attempts.LOOK_BACK
    assert (asked.head.stopped, open_tasks()) == ("bad_signature", ["supplier_stopped"])
    work(order, hours=2)
    assert [state for _, state, _ in tried(order)] == ["late", "delivered"]


def test_who_bears_no_more_questions_is_asked_back_later(shop: Shop, asked: Selling, dear: Selling) -> None:
    asked.misbehave("buy", "silent")
    order = paid(shop)
    shop.pump()
    given_up(order, hours=1)
    pump_until(shop, order, "delivered")
    now, late = clock.now(), clock.now() + timedelta(minutes=10)
    for slot in range(2):
        pulses.give_back(asked.code, slot, late)
    work(order, hint="1")
    assert tried(order)[0][:2] == ("asked", "failed")
    assert clock.parse(str(first(order).due_at)) - now < timedelta(minutes=2)

    work(order, minutes=11)
    assert tried(order)[0][:2] == ("asked", "late")


def test_a_hint_waits_until_its_supplier_bears_a_question(shop: Shop, asked: Selling) -> None:
    order = paid(shop)
    pump_until(shop, order, "delivered")
    [bought] = asked.bought()
    StandIn.void(asked.url, bought["order_no"], refund=True)
    for slot in range(2):
        pulses.give_back(asked.code, slot, clock.now() + timedelta(seconds=50))
    work(order, hint="1")
    assert open_tasks() == []

    work(order, minutes=2)
    assert (open_tasks(), first(order).due_at) == (["purchase_reversed"], None)


def test_what_a_person_did_not_get_by_hand_is_asked_of_nobody(shop: Shop, dear: Selling) -> None:
    brands, now = dear.head.brands, clock.iso(clock.now())
    shown = {"kind": "pricelist", "terms": {}, "standing": Standing.APPROVED, "tier": "A", "brands": brands}
    Head("list", name="list", synced_at=now, **shown).save()
    Offer("list", "1", title="Steam", delivers="cards", cost_e6=80_000_000, changed_at=now, sku=SKU, fills={}).save()
    order = paid(shop)
    shop.pump()
    assert (tried(order), open_tasks()) == ([("list", "accepted", "")], ["buy_by_hand"])
    path = f"/console/purchases/{first(order).number}/settle"
    assert shop.call("POST", path, {"outcome": "failed", "note": "he has none"}, groups="operator").status == 200
    pump_until(shop, order, "delivered")

    assert [state for _, state, _ in tried(order)] == ["failed", "delivered"]
    assert (first(order).due_at, open_tasks()) == (None, [])


# --- at once with somebody else ---


def test_what_comes_while_another_worker_looks_is_not_bought_again(shop: Shop, tmp_path: Path, dear: Selling) -> None:
    with selling(tmp_path, "few", "kasushou", {SKU: card("5", 90_000_000, stock=3)}, seed=2) as few:
        few.misbehave("buy", "silent")
        order = paid(shop, 5)
        shop.pump()
        off_sale(next(iter(Offer.query(few.code))))  # the next one has as many as may be wanted
        looks = iter(range(2))
        with meanwhile(lambda operation, _: operation == "Query" and next(looks) == 1, lambda: taken_in(order)):
            work(order, seconds=10)
        for seconds in (40, 80):
            work(order, seconds=seconds)
        assert shop.status(order) == "delivered"

    pieces = [int(one.delivered) for one in purchases.of_order(order.order_id)]
    assert (sum(pieces), spare()) == (5, 0)
    assert balanced()


def taken_in(order: Placed) -> None:
    """Another worker's turn, up to where it has taken in what came."""
    with suppress(Died), dying_after(1, of={"TransactWriteItems"}):
        work(order, seconds=10)


def test_a_line_that_is_being_bought_is_not_given_up(shop: Shop, asked: Selling) -> None:
    order = paid(shop)
    Head(asked.code).update([Head.standing.set(Standing.SUSPENDED)])

    def another() -> None:
        Head(asked.code).update([Head.standing.set(Standing.APPROVED)])
        asked.misbehave("buy", "silent")
        work(order)

    with meanwhile(lambda _, given: "no_supply" in str(given), another):
        shop.pump()
    assert shop.status(order) == "cleared"
    pump_until(shop, order, "delivered")
    assert (len(asked.bought()), balanced()) == (1, True)


def test_who_is_tried_by_another_order_is_waited_for(shop: Shop, asked: Selling) -> None:
    before = clock.now() - PROBE_EVERY
    for _ in range(IN_A_ROW):
        pulses.tell(asked.code, SKU, False, 0, before)
    order = paid(shop)
    with meanwhile(
        lambda operation, given: "probed_at" in str(given), lambda: pulses.probe(asked.code, SKU, clock.now())
    ):
        shop.pump()
    assert (tried(order), shop.status(order)) == ([], "cleared")

    pulses.tell(asked.code, SKU, True, 1, clock.now())
    for seconds in (30, 40):
        work(order, seconds=seconds)
    assert shop.status(order) == "delivered"


def test_a_supplier_who_fails_is_waited_for_from_the_first_look(shop: Shop, asked: Selling) -> None:
    order = shop.placed(SKU)
    orders.Head(order.order_id, "head").update([orders.Head.placed_at.set(clock.iso(clock.now() - timedelta(hours=2)))])
    for _ in range(IN_A_ROW):
        pulses.tell(asked.code, SKU, False, 0, clock.now())
    shop.pay(order)
    shop.pump()
    assert shop.status(order) == "cleared"

    Head(asked.code).update([Head.standing.set(Standing.SUSPENDED)])
    work(order, minutes=11)
    pump_until(shop, order, "refunded")


# --- what is sent, and to whom ---


def unmapped(offer: Offer) -> None:
    offer.update([Offer.sku.remove(), Offer.fills.remove()])


def another_now(offer: Offer) -> None:
    offer.update([Offer.sku.set("V005")])


def off_sale(offer: Offer) -> None:
    offer.update([Offer.on_sale.set(False)])


def asks_more(offer: Offer) -> None:
    offer.update([Offer.fields.set([*offer.fields, {"name": "zone", "label": "大区", "options": []}])])


def told_nothing(offer: Offer) -> None:
    offer.update([Offer.fills.remove()])


@pytest.mark.parametrize(
    "change", [unmapped, another_now, off_sale, asks_more, told_nothing], ids=lambda one: one.__name__
)
def test_an_offer_that_was_changed_before_it_was_sent_is_not_bought(
    shop: Shop, tmp_path: Path, change: Callable[[Offer], None]
) -> None:
    fields = [{"key": "qq_number", "name": "QQ号"}]
    one, two = (
        Product(number, f"腾讯视频VIP直充 7天 {number}", cost_e6, kind="topup", fields=fields)
        for number, cost_e6 in (("4", 6_000_000), ("7", 7_000_000))
    )
    with (
        selling(tmp_path, "cheap", "dujiao", {VIDEO: one}) as cheap,
        selling(tmp_path, "next", "dujiao", {VIDEO: two}) as following,
    ):
        cheap.misbehave("buy", "before_429")
        order = shop.placed(lines=[{"sku": VIDEO, "quantity": 1, "account": QQ}])
        shop.pay(order)
        shop.pump()
        assert tried(order) == [("cheap", "created", "")]
        [offer] = Offer.query(cheap.code)
        change(offer)
        pump_until(shop, order, "delivered")

        assert tried(order)[0] == ("cheap", "failed", "off_shelf")
        assert (cheap.bought(), [one["account"] for one in following.bought()]) == ([], [{"qq_number": QQ["qq"]}])


def test_an_order_is_not_repeated_above_what_it_may_cost(shop: Shop, tmp_path: Path) -> None:
    with selling(tmp_path, "cheap", "dujiao", {SKU: card()}) as cheap:
        cheap.misbehave("buy", "before_silent")
        order = paid(shop)
        shop.pump()
        StandIn.change_product(cheap.url, "1", cost_e6=TOO_DEAR_E6)
        work(order, seconds=10)
        assert (tried(order), cheap.bought()) == ([("cheap", "unknown", "above_ceiling")], [])

        StandIn.change_product(cheap.url, "1", cost_e6=91_000_000)
        for seconds in (30, 60):
            work(order, seconds=seconds)
        assert (tried(order), len(cheap.bought())) == ([("cheap", "delivered", "")], 1)


def test_the_last_piece_whose_answer_was_lost_is_found_though_he_has_no_more(shop: Shop, tmp_path: Path) -> None:
    with selling(tmp_path, "cheap", "dujiao", {SKU: card(stock=1)}) as cheap:
        cheap.misbehave("buy", "silent")
        order = paid(shop)
        shop.pump()
        StandIn.change_product(cheap.url, "1", on_sale=False)
        pump_until(shop, order, "delivered")
        assert len(cheap.bought()) == 1


def test_no_more_is_bought_at_once_than_can_be_taken_in_at_once(shop: Shop, tmp_path: Path) -> None:
    with selling(tmp_path, "many", "kasushou", {SKU: card(stock=90)}, **{"trait.quantity_max": "90"}):
        market = supply.look(catalog.skus([SKU])[SKU], Wanted(80, 95_000_000), clock.now())
    assert [one.quantity for one in market.decision.choices] == [attempts.PIECES_MAX]


def test_an_order_is_sent_from_when_its_price_was_told(shop: Shop, tmp_path: Path) -> None:
    with selling(tmp_path, "slow", "dujiao", {SKU: card()}) as slow:
        slow.misbehave("product", "slow", seconds=0.5)
        order = paid(shop)
        shop.pump()
        one = first(order)
        assert clock.parse(str(one.sent_at)) - clock.parse(str(one.created_at)) >= timedelta(seconds=0.5)


def test_who_has_worked_long_enough_leaves_the_next_move_to_another_message(
    shop: Shop, asked: Selling, dear: Selling, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked.misbehave("buy", "silent")
    order = paid(shop)
    shop.pump()
    given_up(order, hours=1)
    monkeypatch.setattr(purchasing, "ENOUGH", timedelta(0))
    work(order)
    assert [state for _, state, _ in tried(order)] == ["failed", "created"]

    pump_until(shop, order, "delivered")
    assert [state for _, state, _ in tried(order)] == ["failed", "delivered"]


def test_a_wrong_account_is_ours_where_the_buyer_gave_none(shop: Shop, asked: Selling, dear: Selling) -> None:
    asked.misbehave("buy", "silent")
    order = paid(shop)
    shop.pump()
    whole = orders.outline_of(order.order_id)
    at = Work(whole, whole.lines[0], catalog.skus([SKU])[SKU], clock.now)
    with pytest.raises(Again):
        fail(at, first(order), Reason.BAD_ACCOUNT, clock.now())
    pump_until(shop, order, "delivered")
    assert tried(order) == [("asked", "failed", "other"), ("dear", "delivered", "")]


# --- the money of a line that failed ---


def test_the_money_of_a_failed_line_goes_back_with_the_delivery_of_the_last(
    shop: Shop, tmp_path: Path, dear: Selling
) -> None:
    with selling(tmp_path, "slow", "kasushou", {OTHER: Product("8", "Steam 200", 150_000_000)}, seed=2) as slow:
        slow.misbehave("buy", "silent")
        order = shop.placed(lines=[{"sku": SKU, "quantity": 1}, {"sku": OTHER, "quantity": 1}])
        Head(dear.code).update([Head.standing.set(Standing.SUSPENDED)])
        shop.pay(order)
        shop.pump()
        head = orders.head_of(order.order_id)
        assert list(head.lines.values()) == ["failed", "buying"]
        orders.look_again(head, clock.now() + timedelta(days=1), 24)  # a person has been called
        purchasing.work({"order_id": order.order_id, "line": "2"}, clock.now() + timedelta(hours=3))
        assert shop.status(order) == "partly_delivered"

        shop.deadlines(clock.now() + timedelta(hours=3, minutes=1))
        assert shop.status(order) == "delivered"
        assert list(orders.head_of(order.order_id).refunded) == ["1"]
