"""Our adapter of Reloadly against its stand-in, with every fault that it knows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from infra.local.suppliers.common import Product as Goods
from infra.local.suppliers.reloadly import Reloadly
from shared.kernel.money import Money
from shared.suppliers.errors import BadCallback, SupplierRefused, SupplierSilent
from shared.suppliers.supplier import Delivers, Outcome, Reason, Supplier
from tests.paired import bought, ended, lost_nothing, now, ours, outcome, wanted
from tests.supplied import shop

TEN, TWENTY_FIVE, PHONE = "7-10.00", "7-25.00", "535-7.25-CN"
GOODS = [
    Goods("7:10", "Sample card", 9_700_000, stock=20, more={"face": "10.00", "fee_e6": 500_000, "discount": 8}),
    Goods("7:25", "Sample card", 23_500_000, stock=20, more={"face": "25.00", "fee_e6": 500_000, "discount": 8}),
    Goods("535", "Sample mobile", 7_250_000, kind="topup", more={"face": "50.00", "currency": "CNY", "country": "CN"}),
]


@pytest.fixture
def them(tmp_path: Path) -> Iterator[Reloadly]:
    with Reloadly(tmp_path / "reloadly.sqlite", retry_after=(0.05, 0.1), balance_e6=1_000_000_000) as running:
        Reloadly.put_products(running.url, GOODS)
        yield running


@pytest.fixture
def reloadly(them: Reloadly) -> Supplier:
    return ours(them, "USD")


@pytest.fixture
def phones(them: Reloadly) -> Supplier:
    return ours(them, "USD", line="topups")


def test_goods_and_balance_are_understood(reloadly: Supplier, phones: Supplier) -> None:
    assert [(one.product, one.delivers, one.cost_e6) for one in reloadly.products("", now()).products] == [
        (TEN, Delivers.CARDS, 9_700_000),
        (TWENTY_FIVE, Delivers.CARDS, 23_500_000),
    ]
    assert [(one.product, one.cost_e6) for one in phones.products("", now()).products] == [(PHONE, 7_250_000)]
    assert reloadly.balance(now()) == Money(100_000, "USD")


def test_a_long_catalogue_is_read_page_by_page(reloadly: Supplier, them: Reloadly) -> None:
    many = [Goods(f"{number}:10", f"Card {number}", 9_000_000, more={"face": "10.00"}) for number in range(1, 231)]
    Reloadly.put_products(them.url, many, instead=True)

    found, cursor = [], ""
    while True:
        page = reloadly.products(cursor, now())
        found += [one.product for one in page.products]
        if not (cursor := page.cursor):
            break

    assert sorted(found) == sorted(f"{number}-10.00" for number in range(1, 231))


def test_cards_are_bought_and_found_again_either_way(reloadly: Supplier, them: Reloadly) -> None:
    purchase = wanted(TEN, 3)

    told = reloadly.place(purchase, now())

    (order,) = bought(them, purchase)
    assert (told.outcome, told.cost_e6) == (Outcome.ACCEPTED, order["unit_e6"] * 3)
    for number in (told.upstream_no, ""):
        answer = reloadly.ask(purchase.number, number, now())
        assert (answer.outcome, answer.delivered) == (Outcome.DELIVERED, 3)
        assert [card.code.code for card in answer.goods] == [card["password"] for card in order["cards"]]


@pytest.mark.parametrize("parts", ["pin", "number"])
def test_a_card_of_one_part_is_that_part(reloadly: Supplier, them: Reloadly, parts: str) -> None:
    Reloadly.behave(them.url, card_parts=parts)

    purchase = wanted(TEN)
    (card,) = ended(reloadly, purchase, reloadly.place(purchase, now())).goods

    assert card.code.code
    assert card.code.number is None


def test_credit_reaches_the_phone(phones: Supplier, them: Reloadly) -> None:
    purchase = wanted(PHONE, 1, {"phone": "13800000000"})

    told = phones.place(purchase, now())
    by_theirs, by_ours = ended(phones, purchase, told), phones.ask(purchase.number, "", now())

    assert told.outcome is Outcome.ACCEPTED
    assert (by_theirs.delivered, by_ours.delivered, by_ours.upstream_no) == (1, 1, told.upstream_no)
    assert len(bought(them, purchase)) == 1
    assert "13800000000" in str(bought(them, purchase)[0]["account"])


@pytest.mark.parametrize("line", ["giftcards", "topups"])
@pytest.mark.parametrize("fault", Reloadly.fault_kinds["buy"])
@pytest.mark.usefixtures("impatient")
def test_no_fault_makes_us_believe_what_is_not_so(them: Reloadly, line: str, fault: str) -> None:
    supplier = ours(them, "USD", line=line)
    purchase = wanted(TEN, 2) if line == "giftcards" else wanted(PHONE, 1, {"phone": "13800000000"})
    Reloadly.misbehave(them.url, "buy", fault, seconds=2 if fault in ("slow", "before_slow", "late_asks") else 0.2)

    last = lost_nothing(them, supplier, purchase, supplier.place(purchase, now()))

    assert last.outcome is not Outcome.UNKNOWN


@pytest.mark.parametrize("by", ["ours", "theirs"])
@pytest.mark.parametrize("fault", Reloadly.fault_kinds["history"])
@pytest.mark.usefixtures("impatient")
def test_no_fault_of_a_question_ends_an_order_that_is_there(
    reloadly: Supplier, them: Reloadly, fault: str, by: str
) -> None:
    purchase = wanted(TEN)
    number = reloadly.place(purchase, now()).upstream_no if by == "theirs" else ""
    if by == "ours":
        reloadly.place(purchase, now())
    Reloadly.misbehave(them.url, "history", fault, seconds=2)

    asked = reloadly.ask(purchase.number, number, now())

    if fault == "absent":  # a lie, which is why one such answer is not believed
        assert asked.outcome is Outcome.ABSENT
    else:
        assert asked.outcome in (Outcome.UNKNOWN, Outcome.REFUSED)
    assert reloadly.ask(purchase.number, number, now()).outcome is Outcome.DELIVERED


@pytest.mark.parametrize("fault", Reloadly.fault_kinds["cards"])
@pytest.mark.usefixtures("impatient")
def test_cards_that_do_not_come_now_come_later(reloadly: Supplier, them: Reloadly, fault: str) -> None:
    purchase = wanted(TEN)
    told = reloadly.place(purchase, now())
    Reloadly.misbehave(them.url, "cards", fault, seconds=2)

    assert reloadly.ask(purchase.number, told.upstream_no, now()).outcome is Outcome.ACCEPTED
    assert ended(reloadly, purchase, told).delivered == 1


@pytest.mark.parametrize("fault", sorted({*Reloadly.fault_kinds["token"]} - {"token_expired", "short"}))
@pytest.mark.usefixtures("impatient")
def test_without_a_token_nothing_is_ordered(reloadly: Supplier, them: Reloadly, fault: str) -> None:
    purchase = wanted(TEN)
    Reloadly.misbehave(them.url, "token", fault, times=9, seconds=2)

    answer = reloadly.place(purchase, now())

    assert bought(them, purchase) == []
    assert outcome(answer) == (Outcome.RETRY, Reason.NOT_SENT) or answer.outcome is Outcome.REFUSED


@pytest.mark.parametrize("fault", Reloadly.fault_kinds["products"])
@pytest.mark.usefixtures("impatient")
def test_no_fault_of_a_price_or_a_list_is_taken_for_one(reloadly: Supplier, them: Reloadly, fault: str) -> None:
    Reloadly.misbehave(them.url, "products", fault, times=9, seconds=2)

    with pytest.raises((SupplierSilent, SupplierRefused)):
        reloadly.product(TEN, now())
    with pytest.raises((SupplierSilent, SupplierRefused)):
        reloadly.products("", now())


def test_a_token_is_renewed_before_it_ends(reloadly: Supplier, them: Reloadly) -> None:
    reloadly.balance(now())
    Reloadly.misbehave(them.url, "token", "refuse_key")

    with pytest.raises(SupplierRefused):  # a new token was asked for
        reloadly.balance(now() + timedelta(days=90))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"stock": 0}, {Reason.NO_STOCK, Reason.OFF_SHELF}),
        ({"stock": 1, "shown": 9}, {Reason.NO_STOCK}),
        ({"on_sale": False}, {Reason.OTHER}),  # a price that is none of what they sell
    ],
)
def test_a_definite_no_has_its_reason(
    reloadly: Supplier, them: Reloadly, change: dict[str, int | bool], reason: set[Reason]
) -> None:
    Reloadly.change_product(them.url, "7:10", **change)

    answer = reloadly.place(wanted(TEN, 2), now())

    assert answer.outcome is Outcome.FAILED
    assert answer.reason in reason


def test_without_money_nothing_is_bought(reloadly: Supplier, them: Reloadly) -> None:
    Reloadly.set_balance(them.url, 0)

    assert outcome(reloadly.place(wanted(TEN), now())) == (Outcome.FAILED, Reason.LOW_BALANCE)


@pytest.mark.parametrize(
    ("repeat", "expected"),
    [("refuses", (Outcome.UNKNOWN, Reason.DUPLICATE)), ("replays", (Outcome.ACCEPTED, Reason.NONE))],
)
def test_a_repeated_number_is_answered_as_they_please(
    reloadly: Supplier, them: Reloadly, repeat: str, expected: tuple[Outcome, Reason]
) -> None:
    Reloadly.behave(them.url, repeat=repeat)
    purchase = wanted(TEN)
    reloadly.place(purchase, now())

    assert outcome(reloadly.place(purchase, now())) == expected
    assert len(bought(them, purchase)) == 1


def test_what_was_bought_twice_is_for_a_person(reloadly: Supplier, them: Reloadly) -> None:
    purchase = wanted(TEN)
    for _ in range(2):  # as nobody must: they buy again
        reloadly.place(purchase, now())

    assert Reloadly.bought_twice(them.url) == [purchase.number]
    assert outcome(reloadly.ask(purchase.number, "", now())) == (Outcome.UNKNOWN, Reason.DUPLICATE)


@pytest.mark.parametrize("state", ["FAILED", "REFUNDED"])
def test_an_order_that_fails_late_has_failed(reloadly: Supplier, them: Reloadly, state: str) -> None:
    Reloadly.behave(them.url, failed_state=state)
    purchase = wanted(TEN)
    Reloadly.misbehave(them.url, "buy", "fails_late", seconds=0.1)

    assert ended(reloadly, purchase, reloadly.place(purchase, now())).outcome is Outcome.FAILED
    assert bought(them, purchase) == []


def test_a_history_that_searches_loosely_does_not_give_us_anothers_order(reloadly: Supplier, them: Reloadly) -> None:
    Reloadly.behave(them.url, history_filter="contains")
    purchase = wanted(TEN)
    reloadly.place(purchase, now())

    assert reloadly.ask(purchase.number[:-1], "", now()).outcome is Outcome.ABSENT
    assert reloadly.ask(purchase.number, "", now()).outcome is Outcome.DELIVERED


def test_webhooks_name_our_order_and_others_are_refused(reloadly: Supplier, them: Reloadly) -> None:
    with shop(b"") as box:
        Reloadly.call_back(them.url, box.url)
        purchase = wanted(TEN)
        order_no = reloadly.place(purchase, now()).upstream_no
        box.wait(1)
        for how in ("wrong_signature", "stale_timestamp", "garbage"):
            Reloadly.tell(them.url, order_no, how=how)
        box.wait(4)
        Reloadly.behave(them.url, webhook_covers="body")  # as some say that it does: wrong, or old
        Reloadly.tell(them.url, order_no)
        notices = box.wait(5)

    heard = []
    for notice in notices:
        with contextlib.suppress(BadCallback):
            headers = {name.lower(): value for name, value in notice.headers.items()}
            heard.append(reloadly.parse_callback(headers, notice.raw, now()).number)
    assert heard == [purchase.number]


def test_a_wrong_secret_stops_the_supplier(them: Reloadly) -> None:
    stranger = ours(them, "USD", keys={"client_secret": "another"})

    assert outcome(stranger.place(wanted(TEN), now())) == (Outcome.REFUSED, Reason.NOT_ALLOWED)
    with pytest.raises(SupplierRefused):
        stranger.balance(now())


def test_what_they_do_not_sell_is_none(reloadly: Supplier, phones: Supplier) -> None:
    assert reloadly.product("999-10.00", now()) is None
    assert phones.product("999-10.00-CN", now()) is None


def test_an_order_that_nobody_knows_is_absent(reloadly: Supplier, phones: Supplier) -> None:
    for supplier in (reloadly, phones):
        assert supplier.ask(wanted(TEN).number, "", now()).outcome is Outcome.ABSENT
    assert reloadly.ask(wanted(TEN).number, "999999", now()).outcome is Outcome.ABSENT
