from __future__ import annotations

import hashlib
import importlib
import io
import json
import os
import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import boto3
import pytest
from openpyxl import load_workbook

from shared.kernel import clock, records
from shared.kernel.errors import NotFound
from shared.kernel.money import Money, share
from shared.ledger import posting
from shared.ledger import records as ledger
from shared.ledger.contract import EntryView
from shared.ledger.errors import AlreadyReversed
from shared.ledger.posting import Leg, Line
from shared.settlement import records as settlement
from shared.settlement.contract import StatementView
from shared.settlement.errors import DayNotOver, NotClosed
from shared.steps import settlement as step

DAY = date(2026, 5, 1)
NOON = datetime(2026, 5, 1, 12, tzinfo=clock.SHANGHAI)
CLOSING = datetime(2026, 5, 2, 0, 25, tzinfo=clock.SHANGHAI)
Metrics = Callable[[], set[str]]


def posted(legs: tuple[Leg, ...], now: datetime = NOON) -> ledger.Entry:
    with records.Transaction() as tx:
        return ledger.post(tx, "any", legs, now, channel="shop", provider="sandbox")


def a_sale(now: datetime = NOON) -> ledger.Entry:
    posted(posting.payment_received("sandbox", Money(1980), 12, [("A", 1980)]), now)
    return posted(posting.delivered([Line("A", 1, Money(1980), [15_000_000])]), now)


def run_the_door(at: datetime = CLOSING) -> None:
    event = {"time": at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), "source": "aws.scheduler"}
    importlib.import_module("functions.settlement.app").handler(event, None)


def files() -> dict[str, bytes]:
    s3, bucket = boto3.client("s3"), os.environ["BUCKET"]
    listed = s3.list_objects_v2(Bucket=bucket).get("Contents", [])
    return {one["Key"]: s3.get_object(Bucket=bucket, Key=one["Key"])["Body"].read() for one in listed}


@pytest.fixture
def counted(capsys: pytest.CaptureFixture[str]) -> Metrics:
    """The names of the metrics that were written since the last look."""

    def names() -> set[str]:
        documents = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
        return {
            metric["Name"]
            for document in documents
            for directive in document["_aws"]["CloudWatchMetrics"]
            for metric in directive["Metrics"]
        }

    return names


def test_the_schedule_closes_yesterday_with_its_files_under_the_hash(cloud: None) -> None:
    a_sale()

    run_the_door()

    statement, record = step.statement(DAY)
    stored = files()
    assert set(stored) == {record.key("json"), record.key("csv"), record.key("xlsx")}
    assert hashlib.sha256(stored[record.key("json")]).hexdigest() == record.sha256 == statement.sha256
    assert record.totals[0]["profit"] == 1980 - 12 - 1500
    assert statement.trial_balance == {"CNY": 0}
    assert load_workbook(io.BytesIO(stored[record.key("xlsx")]))["销售 Sales"]["F2"].value == 19.8


def test_closing_twice_changes_nothing(cloud: None) -> None:
    a_sale()
    first, stored = step.close(DAY, CLOSING), files()
    posted(posting.unplaced_received("sandbox", Money(7)))  # too late for this statement

    second = step.close(DAY, CLOSING + timedelta(hours=1))

    assert second.serialize() == first.serialize()
    assert files() == stored


def test_of_two_that_close_at_once_both_are_given_the_record_of_the_first(cloud: None) -> None:
    a_sale()
    statement = step.running(NOON)
    first = settlement.close(statement, CLOSING)

    second = settlement.close(statement, CLOSING + timedelta(seconds=1))

    assert second.closed_at == first.closed_at


def test_a_close_that_died_between_its_files_is_finished_by_the_next(cloud: None) -> None:
    a_sale()
    statement = step.running(NOON)
    settlement.store(statement, "json", statement.text.encode(), "application/json")
    left = files()

    record = step.close(DAY, CLOSING)

    assert len(left) == 1
    assert left.items() < files().items()
    assert set(files()) == {record.key("json"), record.key("csv"), record.key("xlsx")}


@pytest.mark.parametrize("moment", [NOON, datetime(2026, 5, 2, 0, 19, 59, tzinfo=clock.SHANGHAI)])
def test_an_open_day_is_not_closed(cloud: None, moment: datetime) -> None:
    with pytest.raises(DayNotOver) as refusal:
        step.close(DAY, moment)

    assert refusal.value.status == 409
    assert refusal.value.facts == {"day": "2026-05-01", "closes_at": "2026-05-01T16:20:00.000Z"}
    assert settlement.closed(DAY) is None
    assert files() == {}


def test_a_schedule_that_comes_too_early_waits_for_the_next(cloud: None) -> None:
    a_sale()

    run_the_door(datetime(2026, 5, 2, 0, 10, tzinfo=clock.SHANGHAI))

    assert settlement.closed(DAY) is None


def test_a_closed_day_is_not_touched_by_a_reversal_today(cloud: None, counted: Metrics) -> None:
    delivered = a_sale()
    before = step.close(DAY, CLOSING)
    undoing = step.reverse_entry(DAY, str(delivered.entry_id), CLOSING, by="ann")

    run_the_door(CLOSING + timedelta(days=1))

    assert "ClosedDayChanged" not in counted()
    assert step.close(DAY, CLOSING).serialize() == before.serialize()
    next_day, _ = step.statement(DAY + timedelta(days=1))
    assert [(row.sku, row.units, row.sales, row.cost) for row in next_day.rows] == [("A", -1, -1980, -1500)]
    assert EntryView.of(undoing).reverses == delivered.entry_id


def test_an_entry_is_reversed_once_and_only_if_it_is_there(cloud: None) -> None:
    entry_id = str(a_sale().entry_id)
    step.reverse_entry(DAY, entry_id, CLOSING, by="ann")

    with pytest.raises(AlreadyReversed):
        step.reverse_entry(DAY, entry_id, CLOSING, by="ann")
    for day, wrong in ((DAY + timedelta(days=1), entry_id), (DAY, "ent_nothing"), (DAY, "")):
        with pytest.raises(NotFound):
            step.reverse_entry(day, wrong, CLOSING, by="ann")


def test_a_later_entry_of_a_closed_day_raises_the_metric_and_leaves_the_statement(
    cloud: None, counted: Metrics
) -> None:
    a_sale()
    run_the_door()
    statement, record = step.statement(DAY)
    run_the_door()
    quiet = counted()

    a_sale()
    run_the_door(CLOSING + timedelta(days=2))

    assert "ClosedDayChanged" not in quiet
    assert "ClosedDayChanged" in counted()
    assert step.statement(DAY)[0] == statement
    assert step.statement(DAY)[1].serialize() == record.serialize()


def test_days_that_were_missed_are_closed_by_the_next_run_if_anything_happened_on_them(cloud: None) -> None:
    for back in (2, 5, 8):
        a_sale(NOON - timedelta(days=back))

    run_the_door()

    closed = [back for back in range(10) if settlement.closed(DAY - timedelta(days=back))]
    assert closed == [0, 2, 5]


def test_a_running_statement_freezes_nothing(cloud: None) -> None:
    a_sale()

    first = step.running(NOON)
    a_sale()
    second = step.running(NOON)

    assert (first.totals[0].units, second.totals[0].units) == (1, 2)
    assert files() == {}
    assert settlement.closed(DAY) is None
    with pytest.raises(NotClosed):
        step.statement(DAY)


def test_the_trial_balance_is_zero_after_a_random_day(cloud: None) -> None:
    chance = random.Random(20260501)
    sale = Money(1999)
    for _ in range(40):
        posted(
            chance.choice(
                [
                    posting.payment_received("sandbox", sale, share(sale.minor, 6_000), [("A", 999), ("B", 1000)]),
                    posting.delivered([Line(s, 1, Money(1000), [chance.randrange(10**8)]) for s in "AB"]),
                    posting.lot_bought("acme", "A", [chance.randrange(10**8) for _ in range(9)]),
                    posting.refund_requested(sale, "refunds", [("A", 999), ("B", 1000)]),
                    posting.refund_sent("sandbox", sale),
                    posting.unplaced_received("sandbox", Money(3, "USD")),
                ]
            )
        )

    statement = step.running(NOON)

    assert statement.entries == 40
    assert set(statement.trial_balance.values()) == {0}


def test_the_console_sees_a_closed_day_with_links_to_its_files(cloud: None) -> None:
    a_sale()
    record = step.close(DAY, CLOSING)

    view = StatementView.of(*step.statement(DAY)).model_dump()

    assert view["day"] == "2026-05-01"
    assert view["totals"][0]["profit"] == {"amount_minor": 468, "currency": "CNY"}
    assert view["trial_balance"] == [{"amount_minor": 0, "currency": "CNY"}]
    assert [one["account"] for one in view["in_transit"]] == ["deposits", "receivable:sandbox"]
    assert record.key("csv") in view["csv_url"]
    assert record.key("xlsx") in view["xlsx_url"]
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in view["xlsx_url"]


def test_the_console_sees_a_running_day_without_links(cloud: None) -> None:
    a_sale()

    view = StatementView.of(step.running(NOON))

    assert (view.closed_at, view.csv_url, view.xlsx_url) == (None, None, None)
    assert [(row.sku, row.units) for row in view.rows] == [("A", 1)]
