"""Our adapter of kashangwl against its stand-in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from infra.local.suppliers.common import Product as Goods
from infra.local.suppliers.kashangwl import Kashangwl
from shared.kernel.money import Money
from shared.suppliers.errors import BadCallback
from shared.suppliers.supplier import Delivers, Outcome, Reason, Supplier
from tests.paired import bought, ended, now, ours, outcome, wanted
from tests.supplied import eventually, shop

CARD, GAME = "1", "2"
GOODS = [
    Goods("1", "腾讯视频 月卡", 9_900_000, stock=100),
    Goods("2", "Q 币", 985_000, kind="topup", fields=[{"key": "qq", "name": "QQ 号"}]),
]


@pytest.fixture
def them(tmp_path: Path) -> Iterator[Kashangwl]:
    with Kashangwl(tmp_path / "kashangwl.sqlite", retry_after=(0.05, 0.1), balance_e6=1_000_000_000) as running:
        Kashangwl.put_products(running.url, GOODS)
        yield running


@pytest.fixture
def kashangwl(them: Kashangwl) -> Supplier:
    """Of a site that is known to be asked by our number."""
    Kashangwl.behave(them.url, asks_by_ours="yes")
    return ours(them, **{"trait.asks_by_ours": "true"})


def test_goods_balance_and_fields_are_understood(kashangwl: Supplier) -> None:
    listed = [(one.product, one.delivers, one.cost_e6) for one in kashangwl.products("", now()).products]
    assert listed == [(CARD, Delivers.CARDS, 9_900_000), (GAME, Delivers.TOPUP, 985_000)]
    game = kashangwl.product(GAME, now())
    assert game
    assert [wish.name for wish in game.fields] == ["qq"]
    assert kashangwl.product("9", now()) is None
    assert kashangwl.balance(now()) == Money(100_000)


def test_cards_and_topups_are_bought(kashangwl: Supplier, them: Kashangwl) -> None:
    cards, topup = wanted(CARD, 3), wanted(GAME, 2, {"qq": "123456"})

    delivered = ended(kashangwl, cards, kashangwl.place(cards, now()))
    topped_up = ended(kashangwl, topup, kashangwl.place(topup, now()))

    assert (delivered.delivered, delivered.cost_e6) == (3, 29_700_000)
    assert sorted(card.code.code for card in delivered.goods) == sorted(
        card["password"] for card in bought(them, cards)[0]["cards"]
    )
    assert (topped_up.outcome, topped_up.delivered, bool(topped_up.proof)) == (Outcome.DELIVERED, 2, True)
    assert bought(them, topup)[0]["account"] == {"qq": "123456"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"stock": 0}, Reason.NO_STOCK),
        ({"on_sale": False}, Reason.OFF_SHELF),
        ({"cost_e6": 10_500_000}, Reason.ABOVE_CEILING),
    ],
)
def test_a_definite_no_has_its_reason(
    kashangwl: Supplier, them: Kashangwl, change: dict[str, int | bool], reason: Reason
) -> None:
    Kashangwl.change_product(them.url, "1", **change)
    assert outcome(kashangwl.place(wanted(CARD, 2, most_e6=10_000_000), now())) == (Outcome.FAILED, reason)


def test_no_money_a_wrong_account_and_a_repeated_number_are_told_apart(kashangwl: Supplier, them: Kashangwl) -> None:
    Kashangwl.behave(them.url, repeat="refuses")
    assert outcome(kashangwl.place(wanted(GAME, 1, {"qqq": "1"}), now())) == (Outcome.FAILED, Reason.BAD_ACCOUNT)
    purchase = wanted(CARD)
    kashangwl.place(purchase, now())
    assert outcome(kashangwl.place(purchase, now())) == (Outcome.UNKNOWN, Reason.DUPLICATE)
    Kashangwl.set_balance(them.url, 0)
    assert outcome(kashangwl.place(wanted(CARD), now())) == (Outcome.FAILED, Reason.LOW_BALANCE)
    assert kashangwl.ask("0" * 30, "", now()).outcome is Outcome.ABSENT


@pytest.mark.parametrize(
    ("trait", "value"),
    [("delivery", "first_ask"), ("order_names", "order_id"), ("open_state", "101"), ("buy_cards", "not_told")],
)
def test_sites_differ_and_are_understood(kashangwl: Supplier, them: Kashangwl, trait: str, value: str) -> None:
    Kashangwl.behave(them.url, **{trait: value})
    purchase = wanted(CARD, 2)

    last = ended(kashangwl, purchase, kashangwl.place(purchase, now()))

    theirs = sorted(card["password"] for card in bought(them, purchase)[0]["cards"])
    assert sorted(card.code.code for card in last.goods) == theirs


def test_pictures_are_no_cards(kashangwl: Supplier, them: Kashangwl) -> None:
    Kashangwl.behave(them.url, codes_in="tickets")
    purchase = wanted(CARD)
    told = kashangwl.place(purchase, now())
    assert outcome(kashangwl.ask(purchase.number, told.upstream_no, now())) == (Outcome.UNKNOWN, Reason.UNREADABLE)


def test_where_he_does_not_know_our_number_a_lost_order_is_for_a_person(them: Kashangwl) -> None:
    kashangwl = ours(them)
    purchase = wanted(CARD)
    kashangwl.place(purchase, now())
    assert outcome(kashangwl.ask(purchase.number, "", now())) == (Outcome.UNKNOWN, Reason.SILENT)


@pytest.mark.parametrize("partial", ["200", "501"])
def test_half_of_an_order_is_never_taken_for_a_failure(kashangwl: Supplier, them: Kashangwl, partial: str) -> None:
    Kashangwl.behave(them.url, partial=partial)
    Kashangwl.misbehave(them.url, "buy", "half")
    purchase = wanted(CARD, 2)

    told = kashangwl.place(purchase, now())
    last = kashangwl.ask(purchase.number, told.upstream_no, now())

    assert (last.outcome, last.delivered) == ((Outcome.DELIVERED, 1) if partial == "200" else (Outcome.UNKNOWN, 0))


def test_callbacks_name_our_order_and_forged_ones_are_refused(kashangwl: Supplier, them: Kashangwl) -> None:
    with shop(kashangwl.ack(True).body.encode()) as box:
        purchase = replace(wanted(CARD), callback_url=box.url)
        told = ended(kashangwl, purchase, kashangwl.place(purchase, now()))
        eventually(lambda: box.notices)
        known = len(box.notices)
        order_no = bought(them, purchase)[0]["order_no"]
        for how in ("wrong_signature", "stale_timestamp"):
            Kashangwl.tell(them.url, order_no, how=how)
        notices = box.wait(known + 2)

    heard = []
    for notice in notices:
        with contextlib.suppress(BadCallback):
            heard.append(kashangwl.parse_callback({}, notice.raw, now()))
    assert [(news.number, news.upstream_no) for news in heard] == [(purchase.number, told.upstream_no)] * known
