"""Top-ups: an account instead of a card, sealed with what was agreed, and told to nobody but who tops it up."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from infra.local.suppliers.common import Product
from infra.local.suppliers.common import Supplier as StandIn
from shared.kernel import clock
from shared.orders import records as orders
from shared.orders.records import Line
from shared.staff import records as staff
from shared.steps import purchasing, settlement
from shared.suppliers import attempts, purchases
from shared.suppliers.accounts import Head
from shared.suppliers.admission import Standing, same
from shared.suppliers.attempts import AttemptState
from shared.suppliers.offers import Offer
from tests.hub import FOR_EVER, Selling, entries, pump_until, selling
from tests.shop import Answer, Placed, Shop
from tests.supplied import eventually

VIDEO, MUSIC = "V004", "M014"
QQ, PHONE = "847362915", "13900139123"
FIELDS = {
    "dujiao": [{"key": "qq_number", "name": "QQ号"}],
    "kashangwl": [{"key": "recharge_account", "name": "QQ号"}],
    "fulu": [{"key": "charge_account", "name": "QQ号"}],
    "kasushou": [{"key": "QQ号码", "name": "QQ号"}],
}


def phone(cost_e6: int = 11_000_000) -> Product:
    fields = [{"key": "charge_account", "name": "手机号"}]
    return Product("14", "网易云音乐黑胶VIP 月", cost_e6, kind="topup", fields=fields)


def top_up(kind: str = "dujiao", number: str = "4", cost_e6: int = 6_500_000, **more: Any) -> Product:
    values = {"kind": "topup", "fields": FIELDS[kind], "stock": 50} | more
    return Product(number, f"腾讯视频VIP直充 7天 {number}", cost_e6, **values)


@pytest.fixture
def cheap(shop: Shop, tmp_path: Path) -> Iterator[Selling]:
    with selling(tmp_path, "cheap", "dujiao", {VIDEO: top_up()}) as found:
        yield found


@pytest.fixture
def dear(shop: Shop, tmp_path: Path) -> Iterator[Selling]:
    with selling(tmp_path, "dear", "dujiao", {VIDEO: top_up(number="7", cost_e6=7_000_000)}) as found:
        yield found


def place(shop: Shop, quantity: int = 1, account: str = QQ, **more: Any) -> Answer:
    return shop.place(lines=[{"sku": VIDEO, "quantity": quantity, "account": {"qq": account}}], **more)


def placed(shop: Shop, quantity: int = 1, **more: Any) -> Placed:
    answer = place(shop, quantity, **more)
    assert answer.status == 201, answer.body
    body = answer.body
    return Placed(
        body["order_id"], body["access_token"], body["payment"]["redirect_url"], body["payment"]["payment_id"]
    )


def paid(shop: Shop, quantity: int = 1, **more: Any) -> Placed:
    order = placed(shop, quantity, **more)
    shop.pay(order)
    return order


def seen(shop: Shop, order: Placed) -> Any:
    return shop.call("GET", f"/orders/{order.order_id}", token=order.token).body


def tried(order: Placed) -> list[tuple[str, str, str]]:
    return [(str(one.supplier), str(one.state), str(one.reason)) for one in purchases.of_order(order.order_id)]


def brought(order: Placed) -> list[tuple[str, int]]:
    found = purchases.of_order(order.order_id)
    return [(str(one.supplier), int(one.delivered)) for one in found if one.delivered]


def open_tasks() -> list[str]:
    return [str(task.kind) for task in staff.open_tasks(50)]


def trial_balance() -> dict[str, int]:
    return settlement.running(clock.now()).trial_balance


def line_of(order: Placed) -> Line:
    return orders.order_of(order.order_id).lines[0]


def everything() -> str:
    """All that any table holds."""
    dynamodb = boto3.client("dynamodb")
    return "".join(
        str(page["Items"])
        for name in dynamodb.list_tables()["TableNames"]
        for page in dynamodb.get_paginator("scan").paginate(TableName=name)
    )


def messages() -> str:
    """All that waits in any queue."""
    sqs = boto3.client("sqs")
    return "".join(
        str(sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0).get("Messages", []))
        for url in sqs.list_queues()["QueueUrls"]
    )


# --- the account ---


@pytest.mark.parametrize("kind", FIELDS)
def test_a_top_up_is_bought_for_the_account_that_the_buyer_gave(shop: Shop, tmp_path: Path, kind: str) -> None:
    with selling(tmp_path, "them", kind, {VIDEO: top_up(kind)}) as them:
        order = paid(shop)
        pump_until(shop, order, "delivered")

        [attempt] = purchases.of_order(order.order_id)
        [bought] = them.bought(str(attempt.number))
        assert bought["account"] == {FIELDS[kind][0]["key"]: QQ}
        assert (attempt.delivers, attempt.state, int(attempt.delivered)) == ("topup", "delivered", 1)
        [line] = seen(shop, order)["lines"]
        assert (line["got"], line["state"], line["account"]) == (1, "delivered", {"qq": "84****15"})
        assert line["proof"]
        assert line["proof"] == attempt.proof
        assert (shop.reveal(order).status, shop.reveal(order).body["cards"]) == (200, [])  # there are no codes of it
        [total] = settlement.running(clock.now()).totals
        assert (total.units, total.sales, total.cost) == (1, 990, 650)
        assert trial_balance() == {"CNY": 0}


def test_an_account_is_nowhere_in_clear(shop: Shop, cheap: Selling, capsys: pytest.CaptureFixture[str]) -> None:
    order = paid(shop)
    in_queues = messages()
    pump_until(shop, order, "delivered")
    console = shop.call("GET", f"/console/orders/{order.order_id}", groups="owner").body
    attempts = shop.call("GET", f"/console/purchases?order_id={order.order_id}", groups="owner").body

    kept = everything()
    assert str(line_of(order).account_mask) in kept.replace("\\'", "'") or "84****15" in kept
    for what in (kept, in_queues, messages(), str(console), str(attempts), *capsys.readouterr()):
        assert QQ not in what
    assert console["lines"][0]["account"] == {"qq": "84****15"}


def test_an_account_that_is_none_is_refused_before_anybody_pays(shop: Shop, cheap: Selling) -> None:
    answer = place(shop, account="not a number")

    assert (answer.status, answer.body["fields"]) == (422, [{"field": "account.qq", "reason": "bad_qq"}])
    assert shop.place(VIDEO).status == 422


def test_the_mask_hides_a_short_account_and_shows_a_choice(shop: Shop, cheap: Selling) -> None:
    assert line_of(placed(shop, account="10001")).account_mask == {"qq": "****1"}


# --- the account is asked for before anybody pays ---


def test_a_phone_that_a_supplier_does_not_know_is_refused_before_anybody_pays(shop: Shop, tmp_path: Path) -> None:
    with selling(tmp_path, "them", "fulu", {MUSIC: phone()}) as them:
        wrong, right = (
            shop.place(lines=[{"sku": MUSIC, "quantity": 1, "account": {"phone": number}}])
            for number in ("12900139123", PHONE)
        )

        assert (wrong.status, wrong.body["code"]) == (422, "invalid_request")
        assert wrong.body["fields"] == [{"field": "account.phone", "reason": "unknown_account"}]
        assert right.status == 201
        assert them.bought() == []


@pytest.mark.parametrize("fault", ["before_silent", "garbage", "before_429", "refuse_key", "wrong_signature"])
def test_who_cannot_say_now_whether_an_account_is_there_stops_nobody(shop: Shop, tmp_path: Path, fault: str) -> None:
    with selling(tmp_path, "them", "fulu", {MUSIC: phone()}) as them:
        them.misbehave("mobile", fault)
        answer = shop.place(lines=[{"sku": MUSIC, "quantity": 1, "account": {"phone": "12900139123"}}])

        assert answer.status == 201


def test_who_is_not_trusted_to_know_accounts_is_not_asked(shop: Shop, tmp_path: Path) -> None:
    with selling(tmp_path, "them", "fulu", {MUSIC: phone()}, **{"trait.checks_account": "false"}):
        answer = shop.place(lines=[{"sku": MUSIC, "quantity": 1, "account": {"phone": "12900139123"}}])

        assert answer.status == 201


# --- the account turns out to be wrong after that ---


def test_an_account_that_is_found_wrong_later_is_tried_with_nobody_else_and_paid_back(
    shop: Shop, tmp_path: Path, dear: Selling
) -> None:
    fields = [{"key": "charge_account", "name": "QQ号", "pattern": "[0-9]{5}"}]
    with selling(tmp_path, "first", "fulu", {VIDEO: top_up(number="9", cost_e6=6_000_000, fields=fields)}) as first:
        order = paid(shop)
        pump_until(shop, order, "refunded")

        assert tried(order) == [("first", "failed", "bad_account")]
        assert (first.bought(), dear.bought()) == ([], [])
        notice = seen(shop, order)["notice"]
        assert notice["code"] == "wrong_account"
        assert "账号" in notice["zh"]
        assert "account" in notice["en"]
        assert trial_balance() == {"CNY": 0}


def test_an_account_that_was_topped_up_before_is_there_whatever_the_next_supplier_says(
    shop: Shop, tmp_path: Path, dear: Selling
) -> None:
    fields = [{"key": "charge_account", "name": "QQ号", "pattern": "[0-9]{5}"}]
    with (
        selling(tmp_path, "few", "dujiao", {VIDEO: top_up(number="5", cost_e6=5_500_000, stock=1)}),
        selling(tmp_path, "strict", "fulu", {VIDEO: top_up(number="9", cost_e6=6_000_000, fields=fields)}),
    ):
        order = paid(shop, 2)
        pump_until(shop, order, "delivered")

    assert tried(order)[0] == ("few", "delivered", "")
    assert tried(order)[-2:] == [("strict", "failed", "bad_account"), ("dear", "delivered", "")]
    assert seen(shop, order)["lines"][0]["got"] == 2


# --- bought by hand ---


@pytest.fixture
def by_hand(shop: Shop) -> Placed:
    """A top-up that only one with a price list sells."""
    now = clock.iso(clock.now())
    terms = {"kind": "pricelist", "terms": {}, "standing": Standing.APPROVED, "tier": "A", "synced_at": now}
    Head("list", name="list", currency="CNY", rate_e6=1_000_000, brands={same("腾讯视频"): FOR_EVER}, **terms).save()
    field = {"name": "qq", "label": "QQ", "options": []}
    wanted = {"delivers": "topup", "cost_e6": 6_500_000, "fields": [field], "fills": {"qq": "qq"}, "changed_at": now}
    Offer("list", "A1", title="腾讯视频 7天", sku=VIDEO, **wanted).save()
    order = paid(shop)
    shop.pump()
    assert open_tasks() == ["buy_by_hand"]
    return order


def look(shop: Shop, order: Placed, groups: str = "operator") -> Answer:
    number = purchases.of_order(order.order_id)[-1].number
    body = {"reason": "I buy it of him now"}
    return shop.call("POST", f"/console/purchases/{number}/account", body, groups=groups)


def test_who_buys_by_hand_sees_the_account_and_is_written_down(
    shop: Shop, by_hand: Placed, capsys: pytest.CaptureFixture[str]
) -> None:
    number = str(purchases.of_order(by_hand.order_id)[0].number)
    answer = look(shop, by_hand)
    seen_by = shop.call("GET", "/console/staff/ann/views", groups="owner").body["views"]

    assert (answer.status, answer.body["account"], answer.body["supplier"]) == (200, {"qq": QQ}, "list")
    assert [(one["card_id"], one["order_id"], one["reason"]) for one in seen_by] == [
        (number, by_hand.order_id, "I buy it of him now")
    ]
    for what in (everything(), *capsys.readouterr()):
        assert QQ not in what


def test_the_account_of_what_is_done_or_was_altered_is_shown_to_nobody(shop: Shop, by_hand: Placed) -> None:
    line_of(by_hand).update([Line.quantity.set(2)])
    assert look(shop, by_hand).body["code"] == "account_altered"
    line_of(by_hand).update([Line.quantity.set(1)])
    number = purchases.of_order(by_hand.order_id)[0].number
    said = {"outcome": "delivered", "note": "bought", "pieces": 1, "proof": "his receipt"}
    assert shop.call("POST", f"/console/purchases/{number}/settle", said, groups="operator").status == 200

    assert (look(shop, by_hand).status, look(shop, by_hand).body["code"]) == (409, "not_by_hand")


def test_the_account_of_what_a_supplier_tops_up_by_himself_is_shown_to_nobody(shop: Shop, cheap: Selling) -> None:
    cheap.misbehave("buy", "late", seconds=60)
    order = paid(shop)
    shop.pump()

    assert (look(shop, order).status, look(shop, order).body["code"]) == (409, "not_by_hand")


# --- altered ---


@pytest.mark.parametrize(
    "altered",
    [
        {"quantity": 5},
        {"unit_minor": 100},
        {"sku": "V005"},
        {"currency": "USD"},
        {"account_sealed": b"1.another account, as it may have been sealed for another order"},
        {"account_sealed": None},
    ],
    ids=str,
)
def test_what_was_altered_since_it_was_agreed_is_not_bought(
    shop: Shop, tmp_path: Path, cheap: Selling, altered: dict[str, Any]
) -> None:
    month = Product("8", "腾讯视频VIP直充 月", 6_000_000, kind="topup", fields=FIELDS["dujiao"])
    with selling(tmp_path, "month", "dujiao", {"V005": month}) as other:
        order = placed(shop)
        line = line_of(order)
        line.update([
            getattr(Line, name).remove() if value is None else getattr(Line, name).set(value)
            for name, value in altered.items()
        ])  # fmt: skip
        shop.pay(order)
        shop.pump()

        assert (cheap.bought(), other.bought(), tried(order)) == ([], [], [])
        assert open_tasks() == ["purchase_altered"]
        assert shop.status(order) == "cleared"


def test_an_account_that_is_sealed_for_one_order_is_worth_nothing_in_another(shop: Shop, cheap: Selling) -> None:
    thief, victim = placed(shop, account="10001"), placed(shop)
    line_of(victim).update([Line.account_sealed.set(line_of(thief).account_sealed)])
    shop.pay(victim)
    shop.pump()

    assert cheap.bought() == []
    assert open_tasks() == ["purchase_altered"]


def test_what_is_altered_after_an_answer_was_lost_is_not_sent_again(shop: Shop, cheap: Selling) -> None:
    cheap.misbehave("buy", "before_silent")
    order = paid(shop)
    shop.pump()
    assert tried(order) == [("cheap", "unknown", "silent")]
    line_of(order).update([Line.quantity.set(2)])
    purchasing.work({"order_id": order.order_id, "line": "1"}, clock.now() + timedelta(minutes=1))

    assert cheap.bought() == []
    assert open_tasks() == ["purchase_altered"]


# --- some of it ---


def test_what_one_supplier_has_too_few_of_comes_from_the_next(shop: Shop, tmp_path: Path, dear: Selling) -> None:
    with selling(tmp_path, "few", "dujiao", {VIDEO: top_up(number="5", stock=2)}) as few:
        order = paid(shop, 3)
        pump_until(shop, order, "delivered")

        accounts = [one["account"] for who in (few, dear) for one in who.bought()]
    assert accounts == [{"qq_number": QQ}] * 2
    assert brought(order) == [("few", 2), ("dear", 1)]
    [line] = seen(shop, order)["lines"]
    assert (line["got"], line["state"]) == (3, "delivered")
    assert trial_balance() == {"CNY": 0}


def test_money_goes_back_for_what_nobody_has(shop: Shop, tmp_path: Path) -> None:
    with selling(tmp_path, "few", "dujiao", {VIDEO: top_up(number="5", stock=2)}):
        order = paid(shop, 3)
        pump_until(shop, order, "delivered")

    told = seen(shop, order)
    assert (told["lines"][0]["got"], told["notice"]["code"]) == (2, "no_supply")
    assert orders.head_of(order.order_id).refunded == {"1": 990}
    assert trial_balance() == {"CNY": 0}


def test_a_buyer_sees_how_far_it_is(shop: Shop, tmp_path: Path, cheap: Selling) -> None:
    with selling(tmp_path, "few", "dujiao", {VIDEO: top_up(number="5", cost_e6=6_000_000, stock=2)}):
        cheap.misbehave("buy", "late", seconds=60)
        order = paid(shop, 3)

        def two_came() -> bool:
            shop.pump()
            return brought(order) == [("few", 2)] and tried(order)[-1][:2] == ("cheap", "accepted")

        eventually(two_came)

    told = seen(shop, order)
    [line] = told["lines"]
    assert (told["status"], line["state"], line["got"], line["quantity"]) == ("cleared", "buying", 2, 3)
    assert line["proof"]


def test_a_supplier_of_whom_nobody_knows_what_he_must_be_told_is_not_bought_from(shop: Shop, cheap: Selling) -> None:
    [offer] = Offer.query(cheap.code)
    offer.update([Offer.fields.remove(), Offer.fills.remove()])
    answer = place(shop)

    assert (answer.status, answer.body["code"]) == (409, "out_of_stock")


# --- the same order twice ---


def test_placed_twice_it_is_one_order_and_with_another_account_it_is_refused(shop: Shop, cheap: Selling) -> None:
    ref = "a" * 32
    first, again = place(shop, client_ref=ref), place(shop, client_ref=ref)
    other = place(shop, client_ref=ref, account="847362916")

    assert again.body["order_id"] == first.body["order_id"]
    assert (other.status, other.body["code"]) == (422, "reference_reused")


def test_a_message_that_comes_again_and_a_question_that_is_asked_again_top_nothing_up_twice(
    shop: Shop, cheap: Selling
) -> None:
    cheap.misbehave("buy", "silent")
    order = paid(shop)
    message = {"order_id": order.order_id, "line": "1"}
    for _ in range(3):
        shop.pump()
        purchasing.work(message, clock.now())
    pump_until(shop, order, "delivered")
    for hint in ("", "1"):
        purchasing.work({**message, "hint": hint}, clock.now())

    [attempt] = purchases.of_order(order.order_id)
    assert len(cheap.bought()) == 1
    assert StandIn.bought_twice(cheap.url) == []
    assert (attempt.state, int(line_of(order).got)) == ("delivered", 1)
    assert trial_balance() == {"CNY": 0}


# --- too late ---


def test_a_top_up_that_arrives_after_the_next_supplier_did_it_is_a_loss_and_a_person_claims_it(
    shop: Shop, tmp_path: Path, dear: Selling
) -> None:
    with selling(tmp_path, "slow", "kasushou", {VIDEO: top_up("kasushou", cost_e6=6_000_000)}) as slow:
        slow.misbehave("buy", "silent")
        order, message = paid(shop), {"line": "1"}
        message["order_id"] = order.order_id
        shop.pump()
        [attempt] = purchases.of_order(order.order_id)
        now = clock.now()
        # As if he had said twice that he knows no such order, and did know it.
        purchases.move_alone(attempt, AttemptState.FAILED, now, now + attempts.LOOK_BACK)
        purchasing.work(message, now)
        pump_until(shop, order, "delivered")
        for _ in range(2):
            purchasing.work({**message, "hint": "1"}, clock.now())

        assert tried(order) == [("slow", "late", "silent"), ("dear", "delivered", "")]
        assert entries("purchase") == [
            {"cogs": 700, "payable:dear": -700, "deposits": 990, "revenue": -990},
            {"write_offs": 600, "payable:slow": -600},
        ]
        assert (open_tasks(), int(line_of(order).got), trial_balance()) == (["purchase_twice"], 1, {"CNY": 0})

        # A person has claimed it back.
        StandIn.void(slow.url, str(purchases.of_order(order.order_id)[0].upstream_no), refund=True)
        slow.rested()
        purchasing.work({**message, "hint": "1"}, clock.now())
        assert tried(order)[0] == ("slow", "reversed", "reversed")
        assert entries("supplier_claim") == [{"payable:slow": 600, "write_offs": -600}]
        assert trial_balance() == {"CNY": 0}


def test_a_top_up_that_arrives_after_its_money_went_back_is_a_loss(shop: Shop, tmp_path: Path) -> None:
    with selling(tmp_path, "slow", "kasushou", {VIDEO: top_up("kasushou", cost_e6=6_000_000)}) as slow:
        slow.misbehave("buy", "late", seconds=60)
        order = paid(shop)
        shop.pump()
        [attempt] = purchases.of_order(order.order_id)
        purchases.move_alone(attempt, AttemptState.FAILED, clock.now(), clock.now() + attempts.LOOK_BACK)
        message = {"order_id": order.order_id, "line": "1", "hint": "1"}
        Head(slow.code).update([Head.standing.set(Standing.SUSPENDED)])
        purchasing.work(message, clock.now())
        pump_until(shop, order, "refunded")
        StandIn.end(slow.url, str(purchases.of_order(order.order_id)[0].upstream_no))
        slow.rested()
        purchasing.work(message, clock.now())

        assert tried(order)[0][:2] == ("slow", "late")
        assert entries("purchase") == [{"write_offs": 600, "payable:slow": -600}]
        assert (open_tasks(), shop.status(order), trial_balance()) == (["purchase_twice"], "refunded", {"CNY": 0})
