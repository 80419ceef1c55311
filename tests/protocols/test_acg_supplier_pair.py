"""Our adapter of acg-faka's shared store against its stand-in, with every fault that it knows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.suppliers.acg import Acg
from infra.local.suppliers.common import Product as Goods
from shared.kernel.money import Money
from shared.suppliers.errors import SupplierRefused, SupplierSilent
from shared.suppliers.supplier import Delivers, Outcome, Reason, Supplier
from tests.paired import bought, ended, lost_nothing, now, ours, outcome, wanted

CARD, GAME, MEMBER = "KA100", "QB10", "KB"
GOODS = [
    Goods(CARD, "样板卡 100 点", 9_500_000, stock=20, quantity_max=5, more={"category": "点卡"}),
    Goods(GAME, "样板游戏币", 9_000_000, kind="topup", fields=[{"key": "qq", "name": "QQ 号"}], more={"manual": True}),
    Goods(MEMBER, "样板会员", 20_000_000, stock=20, more={"races": ["月卡", "年卡"]}),
]


@pytest.fixture
def them(tmp_path: Path) -> Iterator[Acg]:
    with Acg(tmp_path / "acg.sqlite", balance_e6=1_000_000_000) as running:
        Acg.put_products(running.url, GOODS)
        yield running


@pytest.fixture
def acg(them: Acg) -> Supplier:
    return ours(them)


def test_goods_and_balance_are_understood(acg: Supplier) -> None:
    assert {(one.product, one.delivers, one.cost_e6, one.stock) for one in acg.products("", now()).products} == {
        (CARD, Delivers.CARDS, 9_500_000, 20),
        (GAME, Delivers.TOPUP, 9_000_000, None),
        (f"{MEMBER}|月卡", Delivers.CARDS, 20_000_000, None),
        (f"{MEMBER}|年卡", Delivers.CARDS, 20_000_000, None),
    }
    assert acg.balance(now()) == Money(100_000)


@pytest.mark.parametrize(("product", "quantity"), [(CARD, 1), (CARD, 5), (f"{MEMBER}|年卡", 2)])
def test_cards_are_bought_whole_and_shown_again_by_their_number(
    acg: Supplier, them: Acg, product: str, quantity: int
) -> None:
    purchase = wanted(product, quantity)

    told = acg.place(purchase, now())
    again = acg.ask(purchase.number, told.upstream_no, now())

    (order,) = bought(them, purchase)
    for answer in (told, again):
        assert (answer.outcome, answer.delivered) == (Outcome.DELIVERED, quantity)
        assert [card.code.code for card in answer.goods] == [card["password"] for card in order["cards"]]
        assert [card.code.number for card in answer.goods] == [card["card_no"] for card in order["cards"]]
    assert told.cost_e6 == order["unit_e6"] * quantity


def test_a_topup_carries_its_field_and_is_done_when_a_person_there_says_so(acg: Supplier, them: Acg) -> None:
    purchase = wanted(GAME, 1, {"qq": "123456"})

    told = acg.place(purchase, now())
    waits = acg.ask(purchase.number, told.upstream_no, now())
    Acg.end(them.url, told.upstream_no)
    done = acg.ask(purchase.number, told.upstream_no, now())

    assert bought(them, purchase)[0]["account"] == {"qq": "123456"}
    assert (told.outcome, waits.outcome) == (Outcome.ACCEPTED,) * 2
    assert (done.outcome, done.delivered, done.goods, done.proof) == (Outcome.DELIVERED, 1, (), told.upstream_no)


@pytest.mark.parametrize("fault", Acg.fault_kinds["trade"])
@pytest.mark.usefixtures("impatient")
def test_no_fault_makes_us_believe_what_is_not_so(acg: Supplier, them: Acg, fault: str) -> None:
    purchase = wanted(CARD, 2)
    Acg.misbehave(them.url, "trade", fault, seconds=2 if fault in ("slow", "before_slow", "late_asks") else 0.2)

    told = acg.place(purchase, now())
    lost_nothing(them, acg, purchase, told)

    if fault in ("silent", "slow", "500", "403", "garbage", "cut_short"):  # bought, and nothing can find it again
        assert (told.outcome, len(bought(them, purchase))) == (Outcome.UNKNOWN, 1)
        assert acg.ask(purchase.number, "", now()).outcome is Outcome.UNKNOWN
        assert outcome(acg.place(purchase, now())) == (Outcome.UNKNOWN, Reason.DUPLICATE)
        assert len(bought(them, purchase)) == 1
    if fault == "half":
        assert told.delivered == 1
    if fault.startswith("refuse_"):
        assert told.outcome is Outcome.REFUSED


@pytest.mark.parametrize("fault", Acg.fault_kinds["query"])
@pytest.mark.usefixtures("impatient")
def test_no_fault_of_a_question_ends_an_order_that_is_there(acg: Supplier, them: Acg, fault: str) -> None:
    purchase = wanted(CARD)
    told = acg.place(purchase, now())
    Acg.misbehave(them.url, "query", fault, seconds=2)

    assert acg.ask(purchase.number, told.upstream_no, now()).outcome in (Outcome.UNKNOWN, Outcome.REFUSED)
    assert acg.ask(purchase.number, told.upstream_no, now()).outcome is Outcome.DELIVERED


@pytest.mark.parametrize("fault", Acg.fault_kinds["items"])
@pytest.mark.usefixtures("impatient")
def test_a_list_or_a_price_that_does_not_come_whole_is_none(acg: Supplier, them: Acg, fault: str) -> None:
    Acg.misbehave(them.url, "items", fault, seconds=2)
    Acg.misbehave(them.url, "item", fault, seconds=2)

    with pytest.raises((SupplierSilent, SupplierRefused)):
        acg.products("", now())
    with pytest.raises((SupplierSilent, SupplierRefused)):
        acg.product(CARD, now())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"stock": 0}, Reason.NO_STOCK),
        ({"stock": 1, "shown": 9}, Reason.NO_STOCK),
        ({"on_sale": False}, Reason.OFF_SHELF),
        ({"quantity_min": 3}, Reason.BAD_QUANTITY),
    ],
)
def test_a_definite_no_has_its_reason(acg: Supplier, them: Acg, change: dict[str, int | bool], reason: Reason) -> None:
    Acg.change_product(them.url, CARD, **change)

    assert outcome(acg.place(wanted(CARD, 2), now())) == (Outcome.FAILED, reason)


def test_without_money_nothing_is_bought(acg: Supplier, them: Acg) -> None:
    Acg.set_balance(them.url, 0)

    assert outcome(acg.place(wanted(CARD), now())) == (Outcome.FAILED, Reason.LOW_BALANCE)


def test_a_wrong_key_stops_the_supplier(them: Acg) -> None:
    stranger = ours(them, keys={"app_key": "another"})

    with pytest.raises(SupplierRefused) as refused:
        stranger.balance(now())
    assert refused.value.facts["reason"] == Reason.BAD_SIGNATURE
    assert outcome(stranger.place(wanted(CARD), now())) == (Outcome.REFUSED, Reason.BAD_SIGNATURE)


def test_what_a_person_there_delivers_late_comes_in_the_end(acg: Supplier, them: Acg) -> None:
    purchase = wanted(CARD, 2)
    Acg.misbehave(them.url, "trade", "late", seconds=0.2)

    told = acg.place(purchase, now())

    assert told.outcome is Outcome.ACCEPTED
    assert ended(acg, purchase, told).delivered == 2
