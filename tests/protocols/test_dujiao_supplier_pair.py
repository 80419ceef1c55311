"""Our adapter of dujiao-next against its stand-in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from infra.local.suppliers.common import Product as Goods
from infra.local.suppliers.dujiao import Dujiao
from shared.kernel.money import Money
from shared.suppliers.errors import BadCallback
from shared.suppliers.supplier import Delivers, Outcome, Reason, Supplier
from tests.paired import bought, ended, now, ours, outcome, wanted
from tests.supplied import eventually, shop

CARD, GAME = "70-1", "80-2"
GOODS = [
    Goods("1", "腾讯视频 月卡", 9_900_000, stock=100, more={"product_id": 70}),
    Goods("2", "Q 币", 985_000, kind="topup", fields=[{"key": "qq", "name": "QQ 号"}], more={"product_id": 80}),
]


@pytest.fixture
def them(tmp_path: Path) -> Iterator[Dujiao]:
    with Dujiao(tmp_path / "dujiao.sqlite", retry_after=(0.05, 0.1), balance_e6=1_000_000_000) as running:
        Dujiao.put_products(running.url, GOODS)
        yield running


@pytest.fixture
def dujiao(them: Dujiao) -> Supplier:
    return ours(them)


def test_goods_balance_and_fields_are_understood(dujiao: Supplier) -> None:
    assert [(one.product, one.delivers, one.cost_e6, one.stock) for one in dujiao.products("", now()).products] == [
        (CARD, Delivers.CARDS, 9_900_000, 100),
        (GAME, Delivers.TOPUP, 985_000, -1),
    ]
    game = dujiao.product(GAME, now())
    assert game
    assert [wish.name for wish in game.fields] == ["qq"]
    assert dujiao.product("9-9", now()) is None
    assert dujiao.balance(now()) == Money(100_000)


def test_cards_and_topups_are_bought(dujiao: Supplier, them: Dujiao) -> None:
    cards, topup = wanted(CARD, 3), wanted(GAME, 2, {"qq": "123456"})

    delivered = ended(dujiao, cards, dujiao.place(cards, now()))
    topped_up = ended(dujiao, topup, dujiao.place(topup, now()))

    assert (delivered.delivered, delivered.cost_e6) == (3, 29_700_000)
    assert sorted(card.code.code for card in delivered.goods) == sorted(
        card["password"] for card in bought(them, cards)[0]["cards"]
    )
    assert (topped_up.outcome, topped_up.delivered, bool(topped_up.proof)) == (Outcome.DELIVERED, 2, True)
    assert bought(them, topup)[0]["account"] == {"qq": "123456"}


@pytest.mark.parametrize(
    ("change", "reason"), [({"stock": 0}, Reason.NO_STOCK), ({"on_sale": False}, Reason.OFF_SHELF)]
)
def test_a_definite_no_has_its_reason(
    dujiao: Supplier, them: Dujiao, change: dict[str, int | bool], reason: Reason
) -> None:
    Dujiao.change_product(them.url, "1", **change)
    assert outcome(dujiao.place(wanted(CARD), now())) == (Outcome.FAILED, reason)


@pytest.mark.parametrize("poor", ["insufficient_balance", "payment_failed"])
def test_no_money_and_a_wrong_account_are_definite(dujiao: Supplier, them: Dujiao, poor: str) -> None:
    assert outcome(dujiao.place(wanted(GAME, 1, {"qqq": "1"}), now())) == (Outcome.FAILED, Reason.BAD_ACCOUNT)
    Dujiao.behave(them.url, poor=poor)
    Dujiao.set_balance(them.url, 0)
    assert outcome(dujiao.place(wanted(CARD), now())) == (Outcome.FAILED, Reason.LOW_BALANCE)


def test_a_lost_answer_is_found_by_placing_again(dujiao: Supplier, them: Dujiao) -> None:
    purchase = wanted(CARD)
    first = dujiao.place(purchase, now())
    Dujiao.change_product(them.url, "1", stock=0, on_sale=False, cost_e6=99_000_000)

    assert dujiao.place(purchase, now()).upstream_no == first.upstream_no
    assert len(bought(them, purchase)) == 1
    assert dujiao.ask(purchase.number, "999999", now()).outcome is Outcome.ABSENT


def test_a_shop_that_refuses_a_repeated_order_does_not_say_that_there_is_none(dujiao: Supplier, them: Dujiao) -> None:
    Dujiao.behave(them.url, repeat="refuses")
    purchase = wanted(CARD)
    dujiao.place(purchase, now())
    assert outcome(dujiao.place(purchase, now())) == (Outcome.UNKNOWN, Reason.DUPLICATE)
    assert len(bought(them, purchase)) == 1


@pytest.mark.parametrize(
    ("trait", "value"),
    [
        ("create_says", "as_it_is"),
        ("delivery", "first_ask"),
        ("done_status", "delivered"),
        ("open_status", "fulfilling"),
        ("payload", "pairs"),
    ],
)
def test_shops_differ_and_are_understood(dujiao: Supplier, them: Dujiao, trait: str, value: str) -> None:
    Dujiao.behave(them.url, **{trait: value})
    purchase = wanted(CARD, 2)

    last = ended(dujiao, purchase, dujiao.place(purchase, now()))

    # A number and a code with a blank between them stay one text: a blank may be part of a printed code.
    theirs = sorted(card["password"] for card in bought(them, purchase)[0]["cards"])
    assert sorted(card.code.code.split()[-1] for card in last.goods) == theirs


def test_a_part_is_the_whole_once_it_is_final(dujiao: Supplier, them: Dujiao) -> None:
    Dujiao.behave(them.url, partial="partially_delivered")
    Dujiao.misbehave(them.url, "buy", "half")
    purchase = wanted(CARD, 2)
    told = dujiao.place(purchase, now())
    assert dujiao.ask(purchase.number, told.upstream_no, now()).outcome is Outcome.ACCEPTED


@pytest.mark.parametrize(
    ("signs", "terms"), [("constant", {}), ("of_the_url", {"callback_path": "/supplier/callback"})]
)
def test_callbacks_name_our_order_and_forged_ones_are_refused(them: Dujiao, signs: str, terms: dict[str, str]) -> None:
    dujiao = ours(them, **terms)
    Dujiao.behave(them.url, callback_path=signs)
    with shop(dujiao.ack(True).body.encode()) as box:
        purchase = replace(wanted(CARD), callback_url=box.url)
        told = ended(dujiao, purchase, dujiao.place(purchase, now()))
        eventually(lambda: box.notices)
        known = len(box.notices)
        order_no = bought(them, purchase)[0]["order_no"]
        for how in ("wrong_signature", "stale_timestamp"):
            Dujiao.tell(them.url, order_no, how=how)
        notices = box.wait(known + 2)

    heard = []
    for notice in notices:
        headers = {name.lower(): value for name, value in notice.headers.items()}
        with contextlib.suppress(BadCallback):
            heard.append(dujiao.parse_callback(headers, notice.raw, now()))
    assert [(news.number, news.upstream_no) for news in heard] == [(purchase.number, told.upstream_no)] * known
