"""More buyers than cards, all at once: whoever pays gets cards, no card goes to two, and none is left lying."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.conflicts import conflicts
from tests.crowd import SCALE, SEEDS, Crowd, Person, at_once, crowded

SKU = "V001"
BUYERS, CARDS = 25 * max(SCALE, 4), 5 * max(SCALE, 4)  # 500 on 100 in a soak
ROUND_TRIP = 0.004  # seconds
WAVES = 8  # times that people come again before something must be wrong
LOSING = {"out_of_stock", "hold_limit", "busy", "order_not_open"}  # the last: paid before it could be cancelled


def come(crowd: Crowd, person: Person, chance: Random, *, decided: bool) -> None:
    """Order some cards, then pay, cancel, walk away, or think better of it after cancelling."""
    quantity = 1 if decided else chance.choice((1, 1, 1, 2, 3, 4, 5))
    order = crowd.place(person, SKU, quantity)
    fate = "pay" if decided else chance.choice(("pay", "pay", "pay", "cancel", "leave", "cancel and pay"))
    if order is None or fate == "leave":
        return
    if fate.startswith("cancel"):
        crowd.cancel(order)
    if fate.endswith("pay"):
        crowd.pay(order)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_more_buyers_than_cards_buy_every_card_and_each_of_them_once(
    seed: int, atomic_cloud: None, tmp_path: Path
) -> None:
    with crowded(tmp_path) as crowd:
        crowd.stock(SKU, CARDS)
        people = [Person(number) for number in range(BUYERS)]

        for wave in range(WAVES):

            def visit(person: Person | None, wave: int = wave) -> None:
                if person is None:
                    crowd.let_run_out()
                else:
                    come(crowd, person, Random(f"{seed} {wave} {person.number}"), decided=wave > 1)

            coming: list[Person | None] = [*people, None, None]
            Random(f"{seed} {wave}").shuffle(coming)
            with conflicts(ROUND_TRIP):
                at_once(visit, coming)
            crowd.settle()
            crowd.let_run_out()
            crowd.settle()
            assert crowd.wrong() == []
            if not crowd.states()["available"]:
                break

        assert crowd.states() == {"sold": CARDS}
        assert set(crowd.statuses().values()) <= {"delivered", "cancelled", "expired", "refunded"}
        assert crowd.said["out_of_stock"] > 0
        assert crowd.said.keys() <= LOSING
