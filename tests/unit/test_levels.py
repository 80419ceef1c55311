"""What a move of a card adds to which levels, and when a level is said to be wrong."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra import contract
from shared.insights import levels
from shared.insights.levels import STATES, Level, Seen, Verdict, of_channel, of_lot, of_sku, sums, verdict
from shared.inventory.states import MOVES, CardState

IMAGES = ("OldImage", "NewImage")


def card(state: str, channel: str | None = None) -> Seen:
    return Seen("A", "lot_1", state, channel)


def test_the_states_that_are_counted_are_those_of_a_card() -> None:
    assert tuple(CardState) == levels.STATES


def test_a_new_card_counts_in_its_sku_and_its_lot_and_one_that_is_removed_no_longer_does() -> None:
    added = sums([(None, card("available"))])
    taken = sums([(card("available"), None)])

    assert {key: (one.numbers, one.moves) for key, one in added.items()} == {
        of_sku("A"): ({"available": 1}, 1),
        of_lot("lot_1"): ({"available": 1}, 1),
    }
    assert taken[of_sku("A")].numbers == {"available": -1}


def test_what_is_held_or_sold_counts_in_its_channel_too_and_leaves_it_when_it_comes_back() -> None:
    held, sold = card("held", "shop"), card("sold", "shop")

    assert sums([(card("available"), held)])[of_channel("A", "shop")].numbers == {"held": 1}
    assert sums([(held, sold)])[of_channel("A", "shop")].numbers == {"held": -1, "sold": 1}
    assert sums([(held, card("available"))])[of_channel("A", "shop")].numbers == {"held": -1}


def test_a_card_that_did_not_move_adds_nothing() -> None:
    assert sums([(card("held", "shop"), card("held", "shop"))]) == {}


histories = st.lists(
    st.lists(st.tuples(st.sampled_from(STATES), st.sampled_from([None, "shop", "api"])), min_size=1, max_size=6),
    max_size=8,
)


@given(histories, st.integers(1, 5))
def test_however_moves_are_cut_into_batches_their_sums_are_what_the_cards_are_in_the_end(
    lives: list[list[tuple[str, str | None]]], size: int
) -> None:
    paths = [[None, *(card(state, channel) for state, channel in life)] for life in lives]
    changes = [change for path in paths for change in pairwise(path)]
    total: dict[levels.Key, Counter[str]] = {}
    for start in range(0, len(changes), size):
        for key, more in sums(changes[start : start + size]).items():
            total.setdefault(key, Counter()).update(more.numbers)

    truth: dict[levels.Key, Counter[str]] = {}
    for last in (path[-1] for path in paths):
        for key in last.keys if last else ():
            truth.setdefault(key, Counter())[last.state] += 1
    assert {key: +count for key, count in total.items() if any(count.values())} == truth
    assert not any(number < 0 for count in total.values() for number in count.values())


@pytest.mark.parametrize(
    ("counted", "stored", "before", "said"),
    [
        ([5, 0, 0, 0, 0, 0], Level(available=5, moves=9), 9, Verdict.RIGHT),
        ([5, 0, 0, 0, 0, 0], Level(available=5, moves=9), 2, Verdict.RIGHT),
        ([4, 1, 0, 0, 0, 0], Level(available=5, moves=9), 9, Verdict.DRIFT),
        ([4, 1, 0, 0, 0, 0], Level(available=5, moves=9), 8, Verdict.UNSURE),
        ([2, 3, 0, 0, 0, 0], Level(available=5, moves=9), 7, Verdict.DRIFT),
        ([1, 0, 0, 0, 0, 0], Level(), 0, Verdict.DRIFT),
    ],
)
def test_a_difference_beyond_what_moved_meanwhile_is_drift(
    counted: list[int], stored: Level, before: int, said: Verdict
) -> None:
    assert verdict(counted, stored, before) is said


def test_the_stream_lets_through_every_move_of_a_card_and_nothing_else() -> None:
    filters = contract.template()["Resources"]["InsightsCards"]["Properties"]["FilterCriteria"]["Filters"]
    moves = set()
    for pattern in [re.sub(r"\s+", " ", one["Pattern"]) for one in filters]:
        if "MODIFY" in pattern:
            old, new = (re.findall(rf'"{image}": {{"state": {{"S": \[(.*?)\]', pattern)[0] for image in IMAGES)
            moves |= {(o, n) for o in re.findall(r"\w+", old) for n in re.findall(r"\w+", new)}
    assert moves == {(str(state), str(to)) for state, reach in MOVES.items() for to in reach}
