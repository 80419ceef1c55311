"""Recalls as operators see them: asked for by lot, purchase or supplier and period; watched; listed."""

from __future__ import annotations

import base64
import hashlib
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from datetime import date, datetime

from shared.inventory import lots as lot_records
from shared.jobs import making_good
from shared.jobs import records as jobs
from shared.jobs.contract import AskRecall, RecalledCard, RecalledCards, RecallList, RecallView
from shared.jobs.making_good import GoodState
from shared.jobs.records import Job
from shared.jobs.states import JobKind, JobState
from shared.kernel import clock
from shared.kernel.errors import InvalidRequest, NotFound
from shared.kernel.http import Amount
from shared.kernel.records import Lost
from shared.steps import trace

PREFIX = "rcl"
LISTED = 100  # recalls, or cards of one, in an answer
SETTLED = ("replaced", "refunded", "person", "skipped")
"""What may become of a sold card, as it is counted."""


def ask(wanted: AskRecall, by: str, now: datetime) -> RecallView:
    """Recall a lot, a purchase, or a supplier's deliveries of a period. Asked for again it is the same recall.

    One that was done runs once more, for what has arrived since. NotFound where there is nothing to recall.
    """
    target = _target(wanted)
    if not lots_of(target):
        raise NotFound
    recall_id = _recall_id(target)
    try:
        jobs.insert(
            recall_id, JobKind.RECALL, {"target": target, "reason": wanted.reason}, by, now, state=JobState.RUNNING
        )
    except Lost:
        job = jobs.job_of(recall_id, PREFIX)
        if job.state == JobState.DONE:
            with suppress(Lost):  # somebody else has asked for it at the same moment
                jobs.move(job, JobState.RUNNING, now, counts={**job.counts, "before": behind(job.counts)})
    return show(recall_id)


def show(recall_id: str) -> RecallView:
    return _view(jobs.job_of(recall_id, PREFIX))


def recent() -> RecallList:
    """The recalls, the latest asked for first."""
    found = jobs.latest(JobKind.RECALL, LISTED)
    return RecallList(recalls=[_view(job) for job in sorted(found, key=lambda job: str(job.asked_at), reverse=True)])


def cards(recall_id: str, after: str | None) -> RecalledCards:
    """The sold cards of a recall and what became of each."""
    job = jobs.job_of(recall_id, PREFIX)
    found = making_good.page(str(job.job_id), after or "", LISTED)
    return RecalledCards(
        cards=[
            RecalledCard(
                card_id=good.card_id,
                order_id=str(good.order_id),
                sku=str(good.sku),
                state=GoodState(good.state).value,
                replaced_by=good.replaced_by,
                refund_id=good.refund_id,
                reason=good.reason,
            )
            for good in found
        ],
        next_cursor=found[-1].card_id if len(found) == LISTED else None,
    )


def _target(wanted: AskRecall) -> dict[str, str]:
    """What is to be recalled, in its one form; days are business days, in Shanghai, and both belong to the period."""
    period = (wanted.supplier, wanted.from_, wanted.to)
    ways = [wanted.lot_id is not None, wanted.purchase_id is not None, any(one is not None for one in period)]
    if ways.count(True) != 1:
        raise InvalidRequest(fields=[{"field": "", "reason": "one_of_lot_purchase_or_supplier_and_period"}])
    if wanted.lot_id is not None:
        return {"lot_id": wanted.lot_id}
    if wanted.purchase_id is not None:
        return {"purchase_id": wanted.purchase_id}
    if wanted.supplier is None or wanted.from_ is None or wanted.to is None or wanted.from_ > wanted.to:
        raise InvalidRequest(fields=[{"field": "from", "reason": "supplier_and_period"}])
    return {"supplier": wanted.supplier, "from": wanted.from_.isoformat(), "to": wanted.to.isoformat()}


def lots_of(target: Mapping[str, str]) -> list[str]:
    if "lot_id" in target:
        return [str(lot_records.lot_of(target["lot_id"]).lot_id)]
    if "purchase_id" in target:
        return lot_records.of_purchase(target["purchase_id"])
    period = trace.period(date.fromisoformat(target["from"]), date.fromisoformat(target["to"]))
    return lot_records.of_supplier(target["supplier"], *period)


def _recall_id(target: Mapping[str, str]) -> str:
    """The same target has the same recall, whoever asks for it and how often."""
    digest = hashlib.sha256("\n".join(f"{name}={target[name]}" for name in sorted(target)).encode()).digest()
    letters = base64.b32hexencode(digest).decode().lower()[:26]
    return f"{PREFIX}_{letters.translate(_CROCKFORD)}"


_CROCKFORD = str.maketrans("0123456789abcdefghijklmnopqrstuv", "0123456789abcdefghjkmnpqrstvwxyz")


def elapsed_ms(job: Job, now: datetime) -> int:
    started = clock.parse(str(job.started_at))
    return max(0, round((now - started).total_seconds() * 1000))


def behind(counts: Mapping[str, int]) -> int:
    """Cards that were frozen, marked or listed, and those made good: how much of the work is behind."""
    return sum(counts.get(name, 0) for name in ("frozen", "held", "sold", *SETTLED))


def _view(job: Job) -> RecallView:
    counts: defaultdict[str, int] = defaultdict(int, {name: int(value) for name, value in job.counts.items()})
    ended = clock.parse(str(job.ended_at)) if job.ended_at else clock.now()
    seconds = max(elapsed_ms(job, ended) / 1000, 0.001)
    settled = sum(counts[name] for name in SETTLED)
    return RecallView(
        recall_id=str(job.job_id),
        state=str(job.state),
        target=dict(job.spec["target"]),
        reason=str(job.spec["reason"]),
        asked_by=str(job.asked_by),
        asked_at=str(job.asked_at),
        started_at=str(job.started_at),
        ended_at=job.ended_at,
        lots=counts["lots"],
        frozen=counts["frozen"],
        held=counts["held"],
        sold=counts["sold"],
        replaced=counts["replaced"],
        refunded=counts["refunded"],
        for_a_person=counts["person"],
        skipped=counts["skipped"],
        open=counts["sold"] - settled,
        claimed=Amount(amount_minor=counts["claimed_minor"], currency="CNY"),
        frozen_after_ms=counts["freeze_ms"],
        cards_per_second=round((behind(counts) - counts["before"]) / seconds),
    )
