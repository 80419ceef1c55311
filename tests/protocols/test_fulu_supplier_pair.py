"""Our adapter of Fulu against Fulu's stand-in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.suppliers.common import Product as Goods
from infra.local.suppliers.fulu import Fulu
from shared.kernel.money import Money
from shared.suppliers.errors import BadCallback, SupplierRefused
from shared.suppliers.supplier import Answer, Delivers, Outcome, Reason, Supplier
from tests.paired import bought, ended, now, ours, outcome, wanted
from tests.supplied import shop

CARD, GAME = "10000001", "10000002"
GOODS = [
    Goods(CARD, "样板卡/100 点", 9_512_500, stock=100, more={"face": "10.00"}),
    Goods(
        GAME,
        "样板游戏",
        8_800_000,
        kind="topup",
        fields=[{"key": "charge_account", "name": "账号", "pattern": "[0-9]{5,}"}],
    ),
]


@pytest.fixture
def them(tmp_path: Path) -> Iterator[Fulu]:
    with Fulu(tmp_path / "fulu.sqlite", retry_after=(0.05, 0.1), balance_e6=1_000_000_000) as running:
        Fulu.put_products(running.url, GOODS)
        yield running


@pytest.fixture
def fulu(them: Fulu) -> Supplier:
    return ours(them)


def test_goods_balance_and_fields_are_understood(fulu: Supplier) -> None:
    assert [(one.product, one.delivers, one.cost_e6) for one in fulu.products("", now()).products] == [
        (CARD, Delivers.CARDS, 9_512_500),
        (GAME, Delivers.TOPUP, 8_800_000),
    ]
    game = fulu.product(GAME, now())
    assert game
    assert [(wish.name, wish.label) for wish in game.fields] == [("charge_account", "账号")]
    assert fulu.balance(now()) == Money(100_000)


def test_cards_and_topups_are_bought(fulu: Supplier, them: Fulu) -> None:
    cards, topup = wanted(CARD, 3), wanted(GAME, 1, {"charge_account": "123456"})

    delivered = ended(fulu, cards, fulu.place(cards, now()))
    topped_up = ended(fulu, topup, fulu.place(topup, now()))

    assert (delivered.delivered, delivered.cost_e6) == (3, 28_537_500)
    assert sorted(card.code.code for card in delivered.goods) == sorted(
        card["password"] for card in bought(them, cards)[0]["cards"]
    )
    assert (topped_up.delivered, bool(topped_up.proof)) == (1, True)
    assert bought(them, topup)[0]["account"] == {"charge_account": "123456"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"stock": 0}, Reason.NO_STOCK),
        ({"on_sale": False}, Reason.OFF_SHELF),
    ],
)
@pytest.mark.parametrize("refusals", ["signed", "unsigned"])
def test_a_definite_no_has_its_reason_also_where_we_know_that_it_is_not_signed(
    fulu: Supplier, them: Fulu, change: dict[str, int | bool], reason: Reason, refusals: str
) -> None:
    Fulu.change_product(them.url, CARD, **change)
    Fulu.behave(them.url, refusals=refusals)

    assert outcome(ours(them, refusals=refusals).place(wanted(CARD), now())) == (Outcome.FAILED, reason)
    assert ours(them, refusals=refusals).ask(wanted(CARD).number, "", now()).outcome is Outcome.ABSENT
    if refusals == "unsigned":
        assert outcome(fulu.place(wanted(CARD), now())) == (Outcome.UNKNOWN, Reason.BAD_SIGNATURE)
        assert fulu.ask(wanted(CARD).number, "", now()).outcome is Outcome.UNKNOWN


def test_no_money_and_a_wrong_account_are_definite(fulu: Supplier, them: Fulu) -> None:
    assert outcome(fulu.place(wanted(GAME, 1, {"charge_account": "1"}), now())) == (Outcome.FAILED, Reason.BAD_ACCOUNT)
    Fulu.set_balance(them.url, 0)
    assert outcome(fulu.place(wanted(CARD), now())) == (Outcome.FAILED, Reason.LOW_BALANCE)


def test_a_repeated_number_is_left_to_a_question(fulu: Supplier, them: Fulu) -> None:
    purchase = wanted(CARD)
    fulu.place(purchase, now())

    assert outcome(fulu.place(purchase, now())) == (Outcome.UNKNOWN, Reason.DUPLICATE)
    assert ended(fulu, purchase, Answer(Outcome.UNKNOWN)).delivered == 1


def test_ciphers_are_opened_only_where_we_know_of_them(fulu: Supplier, them: Fulu) -> None:
    Fulu.behave(them.url, card_cipher="aes")
    purchase = wanted(CARD)
    fulu.place(purchase, now())

    assert (
        ended(ours(them, card_cipher="aes"), purchase, Answer(Outcome.UNKNOWN)).goods[0].code.code
        == (bought(them, purchase)[0]["cards"][0]["password"])
    )
    assert outcome(fulu.ask(purchase.number, "", now())) == (Outcome.UNKNOWN, Reason.UNREADABLE)


def test_an_order_that_fails_late_has_failed(fulu: Supplier, them: Fulu) -> None:
    purchase = wanted(CARD)
    Fulu.misbehave(them.url, "buy", "fails_late", seconds=0.1)

    assert ended(fulu, purchase, fulu.place(purchase, now())).outcome is Outcome.FAILED
    assert bought(them, purchase) == []


def test_callbacks_of_orders_and_refunds_name_our_order_and_forged_ones_are_refused(fulu: Supplier, them: Fulu) -> None:
    with shop(fulu.ack(True).body.encode()) as box:
        Fulu.call_back(them.url, box.url)
        purchase = wanted(CARD)
        fulu.place(purchase, now())
        ended(fulu, purchase, Answer(Outcome.UNKNOWN))
        order_no = bought(them, purchase)[0]["order_no"]
        Fulu.void(them.url, order_no, refund=True)
        Fulu.tell(them.url, order_no, how="wrong_signature")
        notices = box.wait(3)

    heard = []
    for notice in notices:
        with contextlib.suppress(BadCallback):
            heard.append(fulu.parse_callback({}, notice.raw, now()).number)
    assert heard == [purchase.number] * 2  # the third is the forged one


@pytest.mark.parametrize("label", ["手机号", "账号"])
def test_a_phone_is_asked_after_and_no_other_account(fulu: Supplier, them: Fulu, label: str) -> None:
    fields = [{"key": "charge_account", "name": label}]
    Fulu.put_products(them.url, [Goods("10000003", "样板会员", 8_800_000, kind="topup", fields=fields)])
    said = [fulu.check_account("10000003", {"charge_account": text}, now()) for text in ("13800000000", "12800000000")]

    assert fulu.traits.checks_account
    assert said == ([True, False] if label == "手机号" else [None, None])
    assert fulu.check_account("10000003", {}, now()) is None
    assert fulu.check_account("10000009", {"charge_account": "12800000000"}, now()) is None


def test_who_may_not_ask_after_a_phone_is_told_nothing_of_it(fulu: Supplier, them: Fulu) -> None:
    fields = [{"key": "charge_account", "name": "手机号"}]
    Fulu.put_products(them.url, [Goods("10000003", "样板会员", 8_800_000, kind="topup", fields=fields)])
    Fulu.misbehave(them.url, "mobile", "refuse_key")

    with pytest.raises(SupplierRefused):
        fulu.check_account("10000003", {"charge_account": "12800000000"}, now())
