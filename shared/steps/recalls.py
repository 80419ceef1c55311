"""Recalls as operators see them: asked for by lot, purchase or supplier and period; watched; listed."""

from __future__ import annotations

import base64
import hashlib
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from datetime import date, datetime

from shared.inventory import lots as lot_records
from shared.inventory import records as inventory
from shared.inventory.records import Card
from shared.inventory.states import CardState
from shared.jobs import making_good
from shared.jobs import records as jobs
from shared.jobs.contract import AskRecall, RecalledCard, RecalledCards, RecallList, RecallView
from shared.jobs.making_good import GoodState
from shared.jobs.records import Job
from shared.jobs.states import JobKind, JobState
from shared.kernel import clock
from shared.kernel.errors import InvalidRequest, NotFound
from shared.kernel.http import Amount
from shared.kernel.records import Lost, Transaction
from shared.steps import trace
from shared.suppliers import attempts, purchases

PREFIX = "rcl"
LISTED = 100  # recalls, or cards of one, in an answer
SETTLED = ("replaced", "refunded", "person", "skipped")
"""What may become of a sold card, as it is counted."""


def ask(wanted: AskRecall, by: str, now: datetime) -> RecallView:
    """Recall a lot, a purchase, or a supplier's deliveries of a period. Asked for again it is the same recall.

    One that was done runs once more, for what has arrived since. NotFound where there is nothing to recall.
    """
    return start(_target(wanted), wanted.reason, by, now)


def start(target: Mapping[str, str], reason: str, by: str, now: datetime) -> RecallView:
    """The same for what is to be recalled in its one form; sold cards may be marked for it already."""
    if not lots_of(target):
        raise NotFound
    recall_id = recall_id_of(target)
    marked = making_good.page(recall_id, "", LISTED)
    try:
        jobs.insert(
            recall_id,
            JobKind.RECALL,
            {"target": dict(target), "reason": reason},
            by,
            now,
            state=JobState.RUNNING,
            counts={"sold": len(marked)} if marked else {},
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


def of_purchase(purchase_id: str) -> dict[str, str]:
    """One purchase; of one that was bought for an order, in the lot where its cards lie beside others."""
    named = attempts.named_by(purchase_id)
    with suppress(NotFound):
        if named and (lot_id := purchases.attempt_of(*named).lot_id):
            return within(str(lot_id), purchase_id)
    return {"purchase_id": purchase_id}


def within(lot_id: str, purchase_id: str) -> dict[str, str]:
    return {"purchase_id": purchase_id, "within": lot_id}


def of_day(supplier: str, sku: str, day: date) -> dict[str, str]:
    """All that a supplier delivered of a SKU on a business day."""
    return {"supplier": supplier, "sku": sku, "from": day.isoformat(), "to": day.isoformat()}


def chosen(target: Mapping[str, str]) -> dict[str, str]:
    """Which cards of its lots a target means, by what stands on them; all of them where it says nothing."""
    if "within" in target:
        return {"purchase_id": target["purchase_id"]}
    return {"sku": target["sku"]} if "sku" in target else {}


def mark(tx: Transaction, recall_id: str, card: Card) -> CardState:
    """Take a card out of what may be sold, and put a sold one on the list; its state until now. No other may come."""
    card_id, state = str(card.card_id), CardState(card.state)
    if state is CardState.AVAILABLE:
        inventory.freeze(tx, card_id, recall_id)
    else:
        inventory.mark_recalled(tx, card_id, recall_id, state)
    if state is CardState.SOLD:
        making_good.owe(tx, recall_id, card_id, str(card.order_id), str(card.sku))
    return state


def unsettled(card: Card) -> bool:
    return not card.recall_id and card.state in {CardState.AVAILABLE, CardState.HELD, CardState.SOLD}


def _target(wanted: AskRecall) -> dict[str, str]:
    """What is to be recalled, in its one form; days are business days, in Shanghai, and both belong to the period."""
    period = (wanted.supplier, wanted.from_, wanted.to)
    ways = [wanted.lot_id is not None, wanted.purchase_id is not None, any(one is not None for one in period)]
    if ways.count(True) != 1:
        raise InvalidRequest(fields=[{"field": "", "reason": "one_of_lot_purchase_or_supplier_and_period"}])
    if wanted.lot_id is not None:
        return {"lot_id": wanted.lot_id}
    if wanted.purchase_id is not None:
        return of_purchase(wanted.purchase_id)
    if wanted.supplier is None or wanted.from_ is None or wanted.to is None or wanted.from_ > wanted.to:
        raise InvalidRequest(fields=[{"field": "from", "reason": "supplier_and_period"}])
    return {"supplier": wanted.supplier, "from": wanted.from_.isoformat(), "to": wanted.to.isoformat()}


def lots_of(target: Mapping[str, str]) -> list[str]:
    if "lot_id" in target:
        return [str(lot_records.lot_of(target["lot_id"]).lot_id)]
    if "within" in target:
        return [target["within"]]
    if "purchase_id" in target:
        return lot_records.of_purchase(target["purchase_id"])
    period = trace.period(date.fromisoformat(target["from"]), date.fromisoformat(target["to"]))
    return lot_records.of_supplier(target["supplier"], *period)


def recall_id_of(target: Mapping[str, str]) -> str:
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
