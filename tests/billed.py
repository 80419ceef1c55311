"""What the books say of one provider's day, in the form of a bill's sums, so that the two can be held together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta, tzinfo

from shared.kernel import clock, ids
from shared.kernel.money import E6_PER_MINOR
from shared.ledger import records as ledger
from shared.payments.bill_lines import Sum
from shared.payments.provider import LineKind


def booked(merchant: str, entries: Iterable[ledger.Entry], day: date, zone: tzinfo = clock.SHANGHAI) -> tuple[Sum, ...]:
    """What moved on `receivable:{merchant}` on a day of the provider's calendar, as charges and refunds.

    An entry belongs to the day on which the money moved, whenever we wrote it down: give the entries of the days
    around it, too. A charge's fee is the one that we accrued for it; refunds bring none back.
    """
    start = datetime.combine(day, time(), zone)
    end = start + timedelta(days=1)
    sums: dict[tuple[str, str], Counter[str]] = {}
    for entry in entries:
        moved_at = clock.parse(entry.occurred_at) if entry.occurred_at else ids.moment(str(entry.entry_id))
        if not start <= moved_at < end:
            continue
        sign = -1 if entry.reverses else 1  # what is undone was a charge or a refund before
        for currency in {leg.currency for leg in entry.legs}:
            legs = [(leg.account, sign * leg.amount_minor) for leg in entry.legs if leg.currency == currency]
            ours = [amount for account, amount in legs if account == f"receivable:{merchant}"]
            fee = sum(amount for account, amount in legs if account == "fees") if ours else 0
            came = sum(amount for amount in ours if amount > 0)
            went = came - fee - sum(ours)
            for kind, gross, kept in ((LineKind.CHARGE, came, fee), (LineKind.REFUND, -went, 0)):
                if gross or kept:
                    of_kind = sums.setdefault((kind.value, currency), Counter())
                    of_kind.update(lines=sign, gross=sign * gross, fee_e6=sign * kept * E6_PER_MINOR)
    return tuple(
        Sum(*key, sums[key]["lines"], sums[key]["gross"], sums[key]["fee_e6"])
        for key in sorted(sums)
        if any(sums[key].values())
    )
