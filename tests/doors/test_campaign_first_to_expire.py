"""Whatever lies on the shelves: who buys gets the cards that expire first among those that are good for long enough."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from shared.catalog import records as catalog
from shared.catalog.terms import Terms
from shared.inventory import lots, shelf
from shared.inventory import records as inventory
from shared.inventory.lots import Lot
from shared.kernel import clock, ids
from tests.crowd import SCALE, Crowd, Person, crowded

SKU = "V001"
PARTS = max(2, SCALE)
CASES = 50  # of a part: 1,000 in a soak; moto copies its tables at every transaction, so no part grows large
NEVER = 10_000  # days


class Lying(NamedTuple):
    """A card, the days from now until it expires, and the shelf it lies on: common, or kept for somebody."""

    card_id: str
    days: int
    place: str


def shelved(chance: Random, lot: Lot, today: date, shards: int) -> list[Lying]:
    """Some cards, few or many of a day, some of them over already."""
    far = chance.choice((2, 12, 60))
    lying = []
    with inventory.Card.batch_write() as batch:
        for _ in range(chance.choice((0, 3, 8, 30))):
            days = chance.choice((NEVER, *range(-3, far)))
            expires_on = None if days == NEVER else today + timedelta(days=days)
            card = inventory.new_card(ids.new("crd", clock.now()), SKU, lot, b"-", "", 1_000_000, expires_on, shards)
            kept_for = chance.choice(("", "", "", "shop", "taobao", shelf.SAFETY))
            if kept_for:
                card.home = card.shelf = shelf.aside(SKU, kept_for)
            lying.append(Lying(str(card.card_id), days, str(card.home)))
            batch.save(card)
    return lying


def sell(crowd: Crowd, buyer: int, quantity: int) -> set[str] | None:
    """The cards that a buyer gets; None if there are not enough."""
    order = crowd.place(Person(buyer), SKU, quantity)
    return order and {str(card.card_id) for card in inventory.Card.scan() if card.order_id == order.order_id}


def clear() -> None:
    with inventory.Card.batch_write() as batch:
        for card in inventory.Card.scan():
            batch.delete(card)


@pytest.mark.parametrize("part", range(PARTS))
def test_the_first_to_expire_of_those_that_are_good_for_long_enough_go_first(
    part: int, cloud: None, tmp_path: Path
) -> None:
    today = clock.shanghai_day(clock.now())
    refused = 0
    with crowded(tmp_path) as crowd:
        lot = lots.new_lot(ids.new("lot", clock.now()), "", "acme", "", b"-", 1, clock.now())
        for case in range(part * CASES, (part + 1) * CASES):
            chance = Random(case)
            shards, min_days, quantity = chance.choice((1, 1, 3)), chance.choice((0, 0, 1, 5, 30)), chance.randint(1, 5)
            floors = chance.choice(({}, {"shop": 3}))
            catalog.set_terms(SKU, Terms(min_days=min_days, floors=floors), clock.now())
            catalog.StoredSku(f"sku#{SKU}").update([catalog.StoredSku.shards.set(shards)])
            lying = shelved(chance, lot, today, shards)
            ours = {f"{SKU}#{shard}" for shard in range(shards)} | ({shelf.aside(SKU, "shop")} if floors else set())
            good = [one for one in lying if one.place in ours and one.days >= min_days]

            got = sell(crowd, case, quantity)

            told = f"case {case}: {quantity} of {good}, {got}"
            if got is None:
                assert len(good) < quantity, told
                refused += 1
            else:
                assert len(got) == quantity, told
                assert got <= {one.card_id for one in good}, told
                # Buyers who come at once look at different shards: the first to expire is the first of its own.
                for place in ours if shards > 1 else {""}:
                    here = [one for one in good if one.place == place or not place]
                    taken = sorted(one.days for one in here if one.card_id in got)
                    assert taken == sorted(one.days for one in here)[: len(taken)], told
            clear()

    assert 0 < refused < CASES
    assert crowd.said == Counter(out_of_stock=refused)
