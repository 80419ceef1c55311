from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import boto3
import pytest

from shared.kernel import records
from shared.kernel.money import Money
from shared.ledger import posting
from shared.ledger import records as ledger
from shared.ledger.posting import Leg, Line

NOON = datetime(2026, 5, 1, 4, tzinfo=UTC)
DAY = date(2026, 5, 1)
PAID = posting.payment_received("sandbox", Money(1980), 12, [("A", 1980)])


def posted(now: datetime = NOON, legs: tuple[Leg, ...] = PAID, **dims: str) -> ledger.Entry:
    with records.Transaction() as tx:
        return ledger.post(tx, "payment_received", legs, now, **dims)


def test_an_entry_is_read_back_as_it_was_posted(cloud: None) -> None:
    legs = posting.delivered([Line("A", 2, Money(500, "USD"), [5_000, 15_000])])
    entry = posted(legs=legs, order_id="ord_1", channel="shop", provider="sandbox")

    read = ledger.entry(DAY, entry.entry_id)

    assert read is not None
    assert read.legs == legs
    assert read.posted_on == DAY
    assert (read.order_id, read.channel, read.provider, read.occurred_at) == ("ord_1", "shop", "sandbox", None)


def test_the_entry_of_a_one_card_order_costs_one_write_unit(cloud: None) -> None:
    entry = posted(
        legs=posting.delivered([Line("STEAM-CNY-100-GLOBAL", 1, Money(10_000), [96_500_000])]),
        order_id="ord_01jd0000000000000000000000",
        channel="shop",
        provider="sandbox",
        payment_id="pay_01jd0000000000000000000000",
    )

    item = boto3.client("dynamodb").get_item(
        TableName="kaquan-test-ledger",
        Key={"book": {"S": str(entry.book)}, "entry_id": {"S": str(entry.entry_id)}},
    )["Item"]
    assert sum(len(name) + len(next(iter(value.values()))) for name, value in item.items()) < 500


def test_an_entry_belongs_to_the_shanghai_day_of_its_writing_whenever_the_money_moved(cloud: None) -> None:
    before, after = (datetime(2026, 5, 1, 15, 59, 59, tzinfo=UTC), datetime(2026, 5, 1, 16, tzinfo=UTC))
    with records.Transaction() as tx:
        late = ledger.post(tx, "payment_received", PAID, after, occurred_at=before)

    assert posted(before).posted_on == DAY
    assert late.posted_on == DAY + timedelta(days=1)
    assert late.occurred_at == "2026-05-01T15:59:59.000Z"


def test_all_entries_of_a_day_are_found_and_none_of_another(cloud: None) -> None:
    ids = {str(posted().entry_id) for _ in range(60)}
    posted(NOON + timedelta(days=1))

    entries = list(ledger.entries_of(DAY))

    assert {str(entry.entry_id) for entry in entries} == ids
    assert len(entries) == 60
    assert len({entry.book for entry in entries}) > 8


def test_a_day_longer_than_a_page_is_read_to_its_end(cloud: None) -> None:
    long = tuple(Leg("revenue", -1, sku="S" * 60_000) for _ in range(5))
    for _ in range(40):  # 300 kB each: 16 books cannot hold these in pages of 1 MB
        posted(legs=(*long, Leg("deposits", 5)))

    assert sum(1 for _ in ledger.entries_of(DAY)) == 40


def test_an_unbalanced_entry_never_reaches_the_transaction(cloud: None) -> None:
    tx = records.Transaction()

    with pytest.raises(posting.Unbalanced):
        ledger.post(tx, "payment_received", [Leg("deposits", 1)], NOON)

    assert len(tx) == 0


def test_an_entry_is_reversed_at_most_once(cloud: None) -> None:
    entry = posted(order_id="ord_1", channel="shop", provider="sandbox")
    tomorrow = NOON + timedelta(days=1)
    with records.Transaction() as tx:
        undoing = ledger.reverse(tx, entry, tomorrow, by="ann")

    with pytest.raises(records.Lost, match="reversal"), records.Transaction() as tx:
        ledger.reverse(tx, entry, tomorrow, by="bob")

    assert [str(one.entry_id) for one in ledger.entries_of(DAY + timedelta(days=1))] == [undoing.entry_id]
    assert undoing.kind == "payment_received_reversed"
    assert (undoing.reverses, undoing.by, undoing.channel) == (entry.entry_id, "ann", "shop")
    assert not any(posting.trial_balance([*entry.legs, *undoing.legs]).values())
    assert posting.reversal(undoing.legs) == entry.legs


def test_a_transaction_that_loses_leaves_no_entry(cloud: None) -> None:
    tx = records.Transaction()
    tx.insert("twin", posted())
    ledger.post(tx, "payment_received", PAID, NOON)

    with pytest.raises(records.Lost, match="twin"), tx:
        pass

    assert sum(1 for _ in ledger.entries_of(DAY)) == 1
