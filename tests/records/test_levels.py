"""The levels as they are stored: sums that count a batch once, whatever comes again."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from shared.insights import records as insights
from shared.insights.levels import Seen, of_lot, sums

pytestmark = pytest.mark.usefixtures("cloud")
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def card(state: str, sku: str = "A", lot_id: str = "lot_1", channel: str | None = None) -> Seen:
    return Seen(sku, lot_id, state, channel)


def test_a_sku_that_never_had_a_card_has_no_level() -> None:
    assert insights.levels(["A", "B"]) == {}
    assert insights.levels([]) == {}


def test_a_batch_that_comes_again_counts_once() -> None:
    for _ in range(3):
        insights.add(sums([(None, card("available")), (None, card("available", sku="B"))]), "batch", NOW)
    insights.add(sums([(card("available"), card("held", channel="shop"))]), "another", NOW)

    assert insights.levels(["A", "A", "B"]) == {
        "A": insights.Level(held=1, moves=2),
        "B": insights.Level(available=1, moves=1),
    }


def test_a_batch_of_more_levels_than_a_transaction_holds_counts_each_of_them_once() -> None:
    many = sums((None, card("available", sku=f"S{n}", lot_id=f"lot_{n}")) for n in range(120))

    for _ in range(2):
        insights.add(many, "batch", NOW)

    found = [one.level for one in insights.StoredLevel.scan() if one.key.counts]
    assert found == [insights.Level(available=1, moves=1)] * 240
    assert of_lot("lot_0") in many
