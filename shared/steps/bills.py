"""Fetches what our payment providers say of each day, keeps it as it came, and reads it into lines of one form.

Whatever it does may be left half done: the next run finishes it. A day's first file is the one that counts.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from functools import partial

from shared.kernel import clock
from shared.kernel.errors import NotFound, Unfinished
from shared.kernel.records import Lost, Transaction
from shared.kernel.telemetry import count, logger
from shared.payments import bills, merchants, registry
from shared.payments.bill_contract import BillFile, BillList, BillView
from shared.payments.bills import KeptBill
from shared.payments.errors import BillNotReady, ProviderSilent, UnknownProvider
from shared.payments.provider import Bill, BillLine, Merchant, Provider
from shared.payments.states import BillState
from shared.staff import records as staff

LOOK_BACK = 7  # days: a week of outage is made good by itself
LATE = 2  # days after which a bill that cannot be had is told to a person: the provider's own delays are hours
BUDGET = timedelta(minutes=10)  # after which nothing new is begun: two thirds of the function's time
UNREADABLE = "bill_unreadable"


def work(now: datetime) -> None:
    """Fetch the bills of the last week that are not here yet, and read again those that could not be read.

    What fails for one merchant does not stop the others; Unfinished is raised when all had their turn.
    """
    ticking, wrong = clock.since(now), []
    today = clock.shanghai_day(now)
    days = [today - timedelta(days=back) for back in range(1, LOOK_BACK + 1)]
    have = {day: bills.of_day(day).keys() for day in days}
    turns: list[tuple[str, Callable[[], None]]] = [
        (one.code, partial(_fetch, one, [day for day in days if one.code not in have[day]], today, ticking))
        for one in merchants.listed()
    ]
    turns += [(f"{one.merchant} {one.day}", partial(_read_again, one, ticking)) for one in bills.unread()]
    for about, turn in turns:
        if ticking() - now > BUDGET:
            logger.warning("the other bills are left to the next hour", first=about)
            break
        try:
            turn()
        except UnknownProvider:
            logger.info("a merchant without keys", about=about)
        except Exception as error:  # noqa: BLE001  # logged and raised below; its text may quote a bill
            logger.error("a bill failed", about=about, error=type(error).__name__)
            wrong.append(about)
    if wrong:
        raise Unfinished(*wrong)


def latest(now: datetime) -> date:
    """The last day that is over."""
    return clock.shanghai_day(now) - timedelta(days=1)


def listed(day: date) -> BillList:
    """What each merchant's provider says of a day; a merchant whose bill is not here is `missing`."""
    have = bills.of_day(day)
    codes = dict.fromkeys([*(merchant.code for merchant in merchants.listed()), *have])
    return BillList(day=day.isoformat(), bills=[BillView.of(have.get(code) or _missing(code, day)) for code in codes])


def shown(merchant: str, day: date) -> BillFile:
    """A bill with a link to the file as it came, or NotFound."""
    bill = bills.kept(merchant, day)
    if bill is None:
        raise NotFound
    return BillFile(**BillView.of(bill).model_dump(), file_url=bills.link(bill) if bill.sha256 else None)


def _missing(merchant: str, day: date) -> KeptBill:
    return KeptBill(day.isoformat(), merchant, state=BillState.MISSING)


def _fetch(merchant: Merchant, days: list[date], today: date, ticking: clock.Ticking) -> None:
    """Fetch the bills of these days, the newest first, until the provider falls silent.

    These calls are not counted among those that say how well it answers: buyers can pay while bills cannot be had.
    """
    if not days:
        return  # nobody needs its keys
    provider = registry.provider(merchant.code)
    for place, day in enumerate(days):
        try:
            _keep(provider, day, ticking())
        except BillNotReady:
            continue
        except ProviderSilent:
            logger.warning("a provider is silent about its bill", provider=merchant.code, day=day.isoformat())
            late = [one for one in days[place:] if (today - one).days > LATE]
            if late and not merchant.off:  # of an account that was given up, nobody expects more
                count("BillMissing", len(late))
            return


def _keep(provider: Provider, day: date, now: datetime) -> None:
    came = provider.bill(day, now)
    if not came.content:
        _record(bills.empty(provider.code, day, now), now)
        return
    # Files first: a record never points to nothing. One that a dead try has left under another hash is nobody's.
    bill = bills.store(provider.code, day, came, now)
    lines = _lines(provider, came, bill)
    if lines is not None:
        bills.store_lines(bill, lines)
    _record(bill, now)


def _record(bill: KeptBill, now: datetime) -> None:
    """Insert the record, once, together with the task of whoever must look at a bill that cannot be read."""
    unreadable = bill.state == BillState.UNREADABLE
    try:
        with Transaction() as tx:
            tx.insert("bill", bill)
            if unreadable:
                staff.open_task(tx, UNREADABLE, _about(bill), None, now)
    except Lost:
        return  # another run was quicker: its file counts
    if unreadable:
        count("TaskOpened")
    logger.info("bill", provider=bill.merchant, day=bill.day, state=bill.state, lines=bill.lines, sha256=bill.sha256)


def _read_again(bill: KeptBill, ticking: clock.Ticking) -> None:
    provider = registry.provider(str(bill.merchant))
    lines = _lines(provider, bills.received(bill), bill)
    if lines is None:
        return
    bills.store_lines(bill, lines)
    # The task first: were the bill read and its task open, nobody would come by again to close it.
    staff.end_if_open(UNREADABLE, _about(bill), "system", "read", ticking())
    try:
        bills.save_read(bill, ticking())
    except Lost:
        return
    logger.info("a bill was read at last", provider=bill.merchant, day=bill.day, lines=bill.lines)


def _lines(provider: Provider, came: Bill, bill: KeptBill) -> list[BillLine] | None:
    """The lines, or None where the bill cannot be read: for whatever reason, the file is kept."""
    try:
        return provider.bill_lines(came)
    except Exception as error:  # noqa: BLE001  # logged, without its text, which may quote the bill
        logger.error(
            "a bill cannot be read", provider=bill.merchant, day=bill.day, file=bill.file, error=type(error).__name__
        )
        return None


def _about(bill: KeptBill) -> str:
    return f"{bill.merchant}-{bill.day}"
