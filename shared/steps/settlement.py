"""Closes the day: the books' entries become a statement, once, and a day that changes after that raises an alarm."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

from shared.kernel import clock, ids, records
from shared.kernel.errors import Busy, NotFound
from shared.kernel.telemetry import count, logger
from shared.ledger import accounts
from shared.ledger import records as ledger
from shared.ledger.errors import AlreadyReversed
from shared.settlement import records as settlement
from shared.settlement import reports
from shared.settlement.errors import DayNotOver, NotClosed
from shared.settlement.records import ClosedDay
from shared.settlement.statement import Statement, statement_of

GRACE = timedelta(minutes=20)  # after midnight: whatever began to be written before it has long ended
LOOK_BACK = 7  # days: a week of outage is made good by itself
WATCHED = 3  # closed days whose entries are counted again each night


def work(now: datetime) -> None:
    """Close yesterday and every earlier day of the week that was missed; look again at the days closed last."""
    today = clock.shanghai_day(now)
    yesterday = today - timedelta(days=1)
    for back in range(LOOK_BACK, 0, -1):
        day = today - timedelta(days=back)
        if _over(day, now) and not settlement.closed(day) and (day == yesterday or _has_entries(day)):
            close(day, now)
    for back in range(WATCHED, 0, -1):
        watch(today - timedelta(days=back))


def close(day: date, now: datetime) -> ClosedDay:
    """Write the statement's files and record the day as closed, once: closing again returns what is there.

    Raises DayNotOver before 00:20 Shanghai time of the next day.
    """
    if not _over(day, now):
        raise DayNotOver(day=day.isoformat(), closes_at=clock.iso(_closes_at(day)))
    record = settlement.closed(day)
    if record:
        return record
    result = _statement(day)
    if any(result.trial_balance.values()):
        count("TrialBalanceOff")
        logger.error("the trial balance is not 0", day=day.isoformat(), trial_balance=result.trial_balance)
    # Files first: a record never points to nothing, and files of a try that died are overwritten by the next.
    settlement.store(result, "json", result.text.encode(), "application/json")
    settlement.store(result, "csv", reports.csv_of(result, accounts.account), reports.CSV_TYPE)
    settlement.store(result, "xlsx", reports.xlsx_of(result, accounts.account), reports.XLSX_TYPE)
    record = settlement.close(result, now)
    logger.info("day closed", day=day.isoformat(), entries=result.entries, sha256=record.sha256)
    return record


def watch(day: date) -> bool:
    """Say whether the entries of a closed day are still those it was closed with; count a metric if not."""
    record = settlement.closed(day)
    if record is None or _statement(day).entries_sha256 == record.entries_sha256:
        return True
    count("ClosedDayChanged")
    logger.error("a closed day has changed", day=day.isoformat(), closed_at=record.closed_at)
    return False


def running(now: datetime) -> Statement:
    """Today so far; freezes nothing, writes nothing."""
    return _statement(clock.shanghai_day(now))


def statement(day: date) -> tuple[Statement, ClosedDay]:
    """A closed day as it was closed, or NotClosed."""
    record = settlement.closed(day)
    if record is None:
        raise NotClosed(day=day.isoformat())
    return settlement.statement(record), record


def reverse_entry(day: date, entry_id: str, now: datetime, by: str) -> ledger.Entry:
    """Correct the books the only way there is: an entry of today that undoes one of `day`, at most once."""
    wrong = ledger.entry(day, entry_id) if ids.is_id("ent", entry_id) else None
    if wrong is None:
        raise NotFound
    try:
        with records.Transaction() as tx:
            undoing = ledger.reverse(tx, wrong, now, by)
    except records.Lost as lost:
        raise (AlreadyReversed(entry_id=entry_id) if "reversal" in lost.failed else Busy()) from lost
    return undoing


def _statement(day: date) -> Statement:
    return statement_of(day, ledger.entries_of(day), accounts.account)


def _has_entries(day: date) -> bool:
    return next(ledger.entries_of(day), None) is not None


def _closes_at(day: date) -> datetime:
    return datetime.combine(day + timedelta(days=1), time(), clock.SHANGHAI) + GRACE


def _over(day: date, now: datetime) -> bool:
    return now >= _closes_at(day)
