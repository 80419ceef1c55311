"""What is kept back for channels is filled again, large reservations are whole, and recalled cards never come back."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from botocore.client import BaseClient

from shared.channels import credentials
from shared.inventory import records as inventory
from shared.inventory import shelf
from shared.inventory.states import CardState
from shared.kernel import clock
from shared.kernel.records import Transaction
from shared.orders.records import CARDS_MAX, PIECES_MAX
from shared.steps import channels as channel_keys
from tests.doors.conftest import new_shop
from tests.doors.test_channels import CODES, SKU, Seller, states, terms
from tests.shop import CONTEXT, Shop, handler


@pytest.fixture
def taobao(shop: Shop) -> Seller:
    channel_keys._known.clear()
    return Seller(shop, "taobao")


def kept() -> Counter[str]:
    return Counter(str(card.home) for card in inventory.Card.scan() if card.state == CardState.AVAILABLE)


def test_each_night_what_was_sold_of_the_cards_kept_back_is_filled_again(
    shop: Shop, taobao: Seller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SETTLE_SECONDS", "0")
    shop.stock(codes=CODES[:3])
    terms(shop, floors={"taobao": 3})
    taobao.reserved(2)
    shop.stock(codes=CODES[3:8])
    for card in inventory.Card.scan(inventory.Card.state == CardState.AVAILABLE):
        with Transaction() as tx:  # as if they had come by a way that fills nothing
            inventory.set_aside(tx, str(card.card_id), f"{SKU}#0")
    assert kept() == {f"{SKU}#0": 6}

    handler("stocktake")({"time": clock.iso(clock.now())}, CONTEXT)
    assert kept() == {shelf.aside(SKU, "taobao"): 3, f"{SKU}#0": 3}


def test_terms_that_are_set_by_two_at_once_forget_no_shelf(
    shop: Shop, taobao: Seller, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.stock(codes=CODES[:3])
    original, overtaken = BaseClient._make_api_call, []

    def overtake(client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:
        """Just before the first one's terms are written, a second one keeps cards back."""
        if operation == "UpdateItem" and not overtaken:
            overtaken.append(True)
            assert terms(shop, floors={"taobao": 3}).body["kept"] == {"taobao": 3}
        return original(client, operation, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", overtake)
    assert terms(shop, low=5).body["kept"] == {}
    assert kept() == {f"{SKU}#0": 3}


def test_an_import_fills_what_is_kept_back_before_it_says_that_it_is_done(shop: Shop, taobao: Seller) -> None:
    assert terms(shop, floors={"taobao": 3}, safety=1).body["short"] == {"taobao": 3, "safety": 1}

    shop.stock(codes=CODES[:5])

    assert kept() == {shelf.aside(SKU, "taobao"): 3, shelf.aside(SKU, shelf.SAFETY): 1, f"{SKU}#0": 1}


def test_a_large_reservation_counts_against_the_quota_whole_or_not_at_all(atomic_cloud: None, tmp_path: Path) -> None:
    with new_shop(tmp_path) as shop:
        taobao = Seller(shop, "taobao")
        many = PIECES_MAX + 4
        shop.stock("V013", [f"MANY-{n:06}" for n in range(many + 1)])
        terms(shop, "V013", quotas={"taobao": many})
        assert taobao.reserve(many + 1, "V013").body["code"] == "quota_used_up"
        assert taobao.reserve(CARDS_MAX + 1, "V013").status == 422

        order = taobao.reserved(many, "V013")
        assert states() == {CardState.HELD: many, CardState.AVAILABLE: 1}
        assert taobao.reserve(1, "V013").body["code"] == "quota_used_up"
        taobao.release(order)

        assert states() == {CardState.AVAILABLE: many + 1}
        assert taobao.confirm(taobao.reserved(many, "V013")).body["status"] == "paid"


def test_a_recalled_card_goes_from_a_released_reservation_into_the_ice(shop: Shop, taobao: Seller) -> None:
    shop.stock(codes=CODES[:3])
    one, two = taobao.reserved(1), taobao.reserved(2)
    for card in inventory.Card.scan():
        with Transaction() as tx:
            inventory.mark_recalled(tx, str(card.card_id), "rcl_1", CardState.HELD)

    for order in (one, two):
        assert taobao.release(order).body["status"] == "cancelled"
    assert states() == {CardState.FROZEN: 3}


def test_a_key_is_found_by_its_first_part_and_proved_by_its_second() -> None:
    key, other = credentials.new(bytes(range(48))), credentials.new(bytes(range(1, 49)))

    assert credentials.parsed(key.text) == key
    assert key.proves(key.digest)
    assert not key._replace(secret=other.secret).proves(key.digest)
    assert not other._replace(secret=key.secret).proves(key.digest)
    assert [credentials.parsed(text) for text in ("", key.text[:-1], key.text + "0", key.text.upper())] == [None] * 4
