"""Which cards leave the shelf."""

from __future__ import annotations

from collections import Counter
from datetime import date
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from shared.inventory import shelf
from shared.inventory.shelf import OnShelf

cards = st.lists(
    st.builds(OnShelf, st.uuids().map(str), st.dates(date(2026, 1, 1), date(2026, 1, 5)).map(str)), unique=True
)


@given(cards, st.integers(0, 10), st.randoms(use_true_random=False))
def test_first_to_expire_goes_first(seen: list[OnShelf], count: int, chance: Random) -> None:
    chosen = shelf.choose(seen, count, chance)
    left = set(seen) - set(chosen)
    assert len(chosen) == min(count, len(seen))
    assert not left or not chosen or max(c.expires_on for c in chosen) <= min(c.expires_on for c in left)


def test_cards_of_one_day_are_taken_at_random_so_that_buyers_rarely_collide() -> None:
    seen = [OnShelf(f"crd_{n}", "2026-01-01") for n in range(20)]
    taken = Counter(shelf.choose(seen, 1, Random(seed))[0].card_id for seed in range(400))
    assert len(taken) == 20


def test_what_never_expires_sorts_last() -> None:
    assert shelf.order_key(date(9998, 12, 31), "z") < shelf.order_key(None, "a")


@given(st.integers(1, 16))
def test_cards_spread_over_all_shards(shards: int) -> None:
    places = Counter(shelf.place("G020", f"crd_{n:026}", shards) for n in range(16 * 40))
    assert len(places) == shards
