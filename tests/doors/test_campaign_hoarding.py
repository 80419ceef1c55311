"""Scripts hoard while people buy, all at once: scripts get their share and no more, and every person gets a card."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

import pytest

from shared.kernel.people import hashed
from tests.conflicts import conflicts
from tests.crowd import SCALE, SEEDS, Crowd, Person, at_once, crowded

SKU = "V001"
CARDS = 10 * max(SCALE, 4)  # 200 in a soak
ROUND_TRIP = 0.004  # seconds


def hoard(crowd: Crowd, script: Person, chance: Random) -> None:
    """Take as much as it gets, and never pay."""
    for _ in range(3):
        crowd.place(script, SKU, chance.choice((1, 2, 5)))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_people_buy_while_scripts_hoard(seed: int, atomic_cloud: None, tmp_path: Path) -> None:
    with crowded(tmp_path) as crowd:
        crowd.stock(SKU, CARDS)
        crowd.shop.pump()
        people = [Person(number) for number in range(CARDS // 5)]
        # Of what there was at first, one address may hold a half, and one contact a quarter.
        scripts = [Person(100_000 + number, "1.2.3.4") for number in range(30)] + [Person(200_000, "1.2.3.5")] * 10
        bought: list[int] = []

        def come(person: Person) -> None:
            if person in scripts:
                hoard(crowd, person, Random(f"{seed} {person.number}"))
            elif order := crowd.place(person, SKU, 1):
                crowd.pay(order)
                bought.append(person.number)

        comers = people + scripts
        Random(seed).shuffle(comers)
        with conflicts(ROUND_TRIP):
            at_once(come, comers)

        owner = {item["order_id"]: item["address_hash"] for item in crowd.table("orders") if item["part"] == "head"}
        unpaid = {order_id for order_id, status in crowd.statuses().items() if status == "placed"}
        held = Counter(owner[card["order_id"]] for card in crowd.table("cards") if card.get("order_id") in unpaid)
        assert sorted(bought) == [person.number for person in people], crowd.said
        assert crowd.said["hold_limit"] > 0
        assert crowd.said.keys() <= {"hold_limit", "out_of_stock"}, "a script may want more at once than there is"

        assert held, "the scripts got nothing, which proves nothing"
        assert sorted(held.values())[-1] <= CARDS // 2
        assert held[hashed("address", "1.2.3.5")] <= CARDS // 4
        crowd.settle()
        crowd.let_run_out()
        assert crowd.states() == {"sold": len(people), "available": CARDS - len(people)}
        assert crowd.wrong() == []
