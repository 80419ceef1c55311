"""What is kept back is enough, is not more, and is good the longest."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from shared.inventory import sharing
from shared.inventory.sharing import COMMON, Kept
from shared.inventory.shelf import OnShelf

TODAY = date(2026, 5, 1)

days = st.lists(st.integers(-5, 12), max_size=14)
shelves = st.lists(st.tuples(days, st.integers(0, 8)), max_size=4)


def cards(prefix: str, of: list[int]) -> list[OnShelf]:
    return [OnShelf(f"{prefix}{n}", (TODAY + timedelta(days=day)).isoformat()) for n, day in enumerate(of)]


def carried_out(kept: list[Kept], common: list[OnShelf], moves: dict[str, str]) -> tuple[list[Kept], list[OnShelf]]:
    everything = [(one.name, card) for one in kept for card in one.cards] + [(COMMON, card) for card in common]
    lies = [(moves.get(card.card_id, name), card) for name, card in everything]
    return (
        [Kept(one.name, [card for name, card in lies if name == one.name], one.target) for one in kept],
        [card for name, card in lies if name == COMMON],
    )


@given(shelves, days)
def test_a_plan_keeps_what_it_should_and_carried_out_it_leaves_nothing_to_do(
    wanted: list[tuple[list[int], int]], common_days: list[int]
) -> None:
    kept = [Kept(f"c{n}", cards(f"c{n}-", of), target) for n, (of, target) in enumerate(wanted)]
    common = [card for card in cards("x", common_days) if card.expires_on >= TODAY.isoformat()]

    plan = sharing.plan(kept, common, TODAY)
    kept, common = carried_out(kept, common, dict(plan.moves))

    good = [card for card in common if card.expires_on >= TODAY.isoformat()]
    for one in kept:
        assert len(one.cards) == one.target - plan.short.get(one.name, 0)
        assert all(card.expires_on >= TODAY.isoformat() for card in one.cards)
        assert not plan.short.get(one.name) or not good, "nobody lacks a card while one is free"
    if good and any(one.cards for one in kept):
        longest = max(card.expires_on for card in good)
        assert min(card.expires_on for one in kept for card in one.cards) >= longest
    assert sharing.plan(kept, good, TODAY).moves == {}


def test_what_is_too_much_goes_back_the_first_to_expire_first() -> None:
    kept = [Kept("taobao", cards("k", [9, 3, 6]), 1)]

    assert sharing.plan(kept, [], TODAY).moves == {"k1": COMMON, "k2": COMMON}


def test_cards_that_never_expire_are_not_moved_about() -> None:
    kept = [Kept("safety", [OnShelf("a", "9999-12-31")], 1)]

    assert sharing.plan(kept, [OnShelf("b", "9999-12-31")], TODAY).moves == {}
