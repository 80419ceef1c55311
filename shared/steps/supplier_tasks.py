"""What people are called for about a supplier: one task per supplier and kind, open until it is dealt with or over."""

from __future__ import annotations

from datetime import datetime

from shared.kernel.records import Lost, Transaction
from shared.kernel.telemetry import count, logger
from shared.staff import records as staff
from shared.suppliers import accounts

STOPPED = "supplier_stopped"
BALANCE_LOW = "supplier_balance_low"
NOT_SYNCED = "supplier_not_synced"
RENAMED = "offers_renamed"


def call_somebody(kind: str, code: str, now: datetime) -> None:
    """Ask a person to look; asked before, it is the same question."""
    try:
        with Transaction() as tx:
            staff.open_task(tx, kind, code, None, now)
    except Lost:
        return  # it is open already
    count("TaskOpened")


def over(kind: str, code: str, by: str, note: str, now: datetime) -> None:
    """What somebody was called for is over."""
    staff.end_if_open(kind, code, by, note, now)


def stop(code: str, why: str, now: datetime) -> None:
    """He refuses us, whatever is asked: nothing goes to him until a person has looked."""
    # The task first: he would be asked no more, and nobody would know.
    call_somebody(STOPPED, code, now)
    if accounts.stop(code, why):
        logger.error("supplier stopped", supplier=code, why=why)
        count("SupplierStopped")
