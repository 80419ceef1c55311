"""Our adapter of kasushou against its stand-in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from infra.local.suppliers.common import Product as Goods
from infra.local.suppliers.kasushou import Kasushou
from shared.kernel.money import Money
from shared.suppliers.errors import BadCallback
from shared.suppliers.supplier import Answer, Delivers, Outcome, Reason, Supplier
from tests.paired import bought, ended, now, ours, outcome, wanted
from tests.supplied import eventually, shop

CARD, GAME = "1", "2"
GOODS = [
    Goods("1", "腾讯视频 月卡", 9_900_000, stock=100),
    Goods("2", "Q 币", 985_000, kind="topup", fields=[{"key": "qq", "name": "QQ 号"}]),
]


@pytest.fixture
def them(tmp_path: Path) -> Iterator[Kasushou]:
    with Kasushou(tmp_path / "kasushou.sqlite", retry_after=(0.05, 0.1), balance_e6=1_000_000_000) as running:
        Kasushou.put_products(running.url, GOODS)
        yield running


@pytest.fixture
def kasushou(them: Kasushou) -> Supplier:
    return ours(them)


def test_goods_balance_and_fields_are_understood(kasushou: Supplier) -> None:
    listed = [(one.product, one.delivers, one.cost_e6) for one in kasushou.products("", now()).products]
    assert listed == [(CARD, Delivers.CARDS, 9_900_000), (GAME, Delivers.TOPUP, 985_000)]
    game = kasushou.product(GAME, now())
    assert game
    assert [wish.name for wish in game.fields] == ["qq"]
    assert kasushou.product("9", now()) is None
    assert kasushou.balance(now()) == Money(100_000)


def test_cards_and_topups_are_bought(kasushou: Supplier, them: Kasushou) -> None:
    cards, topup = wanted(CARD, 3), wanted(GAME, 1, {"qq": "123456"})

    delivered = ended(kasushou, cards, kasushou.place(cards, now()))
    topped_up = ended(kasushou, topup, kasushou.place(topup, now()))

    assert (delivered.delivered, delivered.cost_e6) == (3, None)  # which most do not tell
    Kasushou.behave(them.url, order_money="told")
    assert ended(kasushou, cards, Answer(Outcome.UNKNOWN)).cost_e6 == 29_700_000
    assert sorted(card.code.code for card in delivered.goods) == sorted(
        card["password"] for card in bought(them, cards)[0]["cards"]
    )
    assert (topped_up.outcome, topped_up.delivered, bool(topped_up.proof)) == (Outcome.DELIVERED, 1, True)
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
    kasushou: Supplier, them: Kasushou, change: dict[str, int | bool], reason: Reason
) -> None:
    Kasushou.change_product(them.url, "1", **change)
    assert outcome(kasushou.place(wanted(CARD, 2, most_e6=10_000_000), now())) == (Outcome.FAILED, reason)


def test_no_money_is_definite_and_words_that_we_do_not_know_are_not(kasushou: Supplier, them: Kasushou) -> None:
    wrong = wanted(GAME, 1, {"qqq": "1"})
    assert kasushou.place(wrong, now()).outcome in (Outcome.FAILED, Outcome.UNKNOWN)
    assert kasushou.ask(wrong.number, "", now()).outcome is Outcome.ABSENT
    Kasushou.set_balance(them.url, 0)
    assert outcome(kasushou.place(wanted(CARD), now())) == (Outcome.FAILED, Reason.LOW_BALANCE)


def test_what_a_repeated_number_does_is_not_believed_to_be_harmless(kasushou: Supplier, them: Kasushou) -> None:
    Kasushou.behave(them.url, repeat="refuses")
    purchase = wanted(CARD)
    kasushou.place(purchase, now())
    assert outcome(kasushou.place(purchase, now())) == (Outcome.UNKNOWN, Reason.DUPLICATE)
    assert ended(kasushou, purchase, Answer(Outcome.UNKNOWN)).delivered == 1

    Kasushou.behave(them.url, repeat="buys")
    kasushou.place(purchase, now())
    assert kasushou.ask(purchase.number, "", now()).outcome is Outcome.UNKNOWN  # two of one number: for a person


@pytest.mark.parametrize(
    ("trait", "value"),
    [
        ("delivery", "first_ask"),
        ("card_no", "empty"),
        ("goods_list", "plain"),
        ("body", "as_sent"),
        ("absent", "refused"),
    ],
)
def test_sites_differ_and_are_understood(kasushou: Supplier, them: Kasushou, trait: str, value: str) -> None:
    Kasushou.behave(them.url, **{trait: value})
    purchase = wanted(CARD, 2)

    assert kasushou.ask(purchase.number, "", now()).outcome is Outcome.ABSENT
    last = ended(kasushou, purchase, kasushou.place(purchase, now()))

    assert len(kasushou.products("", now()).products) == len(GOODS)
    theirs = sorted(card["password"] for card in bought(them, purchase)[0]["cards"])
    assert sorted(card.code.code for card in last.goods) == theirs


@pytest.mark.parametrize("status", ["4", "5"])
@pytest.mark.parametrize("cards", ["none", "placeholder"])
def test_an_order_that_fails_late_has_failed_or_is_for_a_person(
    kasushou: Supplier, them: Kasushou, status: str, cards: str
) -> None:
    Kasushou.behave(them.url, failed_status=status, failed_cards=cards)
    Kasushou.misbehave(them.url, "buy", "fails_late", seconds=0.05)
    purchase = wanted(CARD)
    told = kasushou.place(purchase, now())
    eventually(lambda: kasushou.ask(purchase.number, told.upstream_no, now()).outcome is not Outcome.ACCEPTED)

    last = kasushou.ask(purchase.number, told.upstream_no, now())
    assert last.outcome in ((Outcome.FAILED,) if cards == "none" else (Outcome.FAILED, Outcome.UNKNOWN))
    assert not last.goods


@pytest.mark.parametrize("partial", ["3", "5", "2"])
@pytest.mark.parametrize("money", ["kept", "given_back"])
def test_half_of_an_order_is_never_taken_for_a_failure(
    kasushou: Supplier, them: Kasushou, partial: str, money: str
) -> None:
    Kasushou.behave(them.url, partial=partial, half_money=money, order_money="told")
    Kasushou.misbehave(them.url, "buy", "half")
    purchase = wanted(CARD, 2)

    told = kasushou.place(purchase, now())
    last = kasushou.ask(purchase.number, told.upstream_no, now())

    fine = {"3": (Outcome.DELIVERED,), "5": (Outcome.DELIVERED, Outcome.UNKNOWN), "2": (Outcome.ACCEPTED,)}
    assert last.outcome in fine[partial]
    assert last.delivered == (last.outcome is Outcome.DELIVERED)


@pytest.mark.parametrize("signs", ["headers", "body", "none"])
def test_callbacks_name_our_order_and_forged_ones_are_refused(kasushou: Supplier, them: Kasushou, signs: str) -> None:
    Kasushou.behave(them.url, callback_sign=signs)
    with shop(kasushou.ack(True).body.encode()) as box:
        purchase = replace(wanted(CARD), callback_url=box.url)
        ended(kasushou, purchase, kasushou.place(purchase, now()))
        eventually(lambda: box.notices)
        known = len(box.notices)
        order_no = bought(them, purchase)[0]["order_no"]
        for how in ("wrong_signature", "stale_timestamp"):
            Kasushou.tell(them.url, order_no, how=how)
        notices = box.wait(known + 2)

    heard = []
    for notice in notices:
        headers = {name.lower(): value for name, value in notice.headers.items()}
        with contextlib.suppress(BadCallback):
            heard.append(kasushou.parse_callback(headers, notice.raw, now()).number)
    # One that nobody signs cannot be forged, and is a hint at most.
    assert heard == [purchase.number] * (len(notices) if signs == "none" else known)
