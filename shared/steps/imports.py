"""Imports as an operator sees them: asked for, checked, run, watched, stopped, taken back."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import date, datetime, timedelta
from typing import Any

from shared.catalog import importing
from shared.catalog import records as catalog
from shared.catalog.errors import NotForSale
from shared.catalog.kinds import Fulfilment
from shared.inventory import card_files
from shared.inventory import lots as lot_records
from shared.inventory import records as inventory
from shared.inventory.lots import LotState
from shared.inventory.states import CardState
from shared.jobs import parts, reasons
from shared.jobs import records as jobs
from shared.jobs.contract import (
    CreateImport,
    ImportCounts,
    ImportCreated,
    ImportList,
    ImportView,
    JobReason,
    LotMade,
    MaskedRow,
    RefusedLine,
    RefusedReason,
)
from shared.jobs.errors import (
    CardsGone,
    CardsRest,
    LinkOver,
    NotTakenFromHim,
    NotUndone,
    RecalledMeanwhile,
    WrongJobState,
)
from shared.jobs.records import Job
from shared.jobs.states import WORKED_ON, JobKind, JobState
from shared.kernel import clock, ids, keyring, passing
from shared.kernel.errors import Busy, InvalidRequest, NotFound
from shared.kernel.http import Amount, Caller
from shared.kernel.money import minor_from_e6
from shared.kernel.records import Lost
from shared.staff.permissions import allowed, require
from shared.steps import import_files, stock_check, supply
from shared.suppliers import accounts
from shared.suppliers.admission import Standing
from shared.suppliers.scoring import REST, Tier

UPLOAD_WITHIN = timedelta(minutes=15)  # long enough for 64 MB on a slow line, short for a link that lets codes in
LINK_FOR = timedelta(minutes=15)  # a person clicks at once; the page asks for a new link when it looks again
SHOWN = 20  # imports in the list
KINDS = (JobKind.CARDS, JobKind.CATALOGUE)
TRIES = 4  # against a worker that moves the job at the same moment

_LINK = "refused-rows"


def create(wanted: CreateImport, key: str, caller: Caller, now: datetime) -> ImportCreated:
    """Make a job that waits for its file; the same Idempotency-Key gives the same job."""
    _allowed(wanted.kind, caller)
    spec = _spec(wanted, now)
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()
    job_id = parts.ask_once(ids.new("job", now), JobKind(wanted.kind), spec, caller.name, key, digest, now)
    return ImportCreated(
        job_id=job_id,
        upload_url=passing.upload_link(import_files.upload_name(job_id), int(UPLOAD_WITHIN.total_seconds())),
        upload_until=clock.iso(now + UPLOAD_WITHIN),
        upload_bytes_max=reasons.UPLOAD_MAX,
    )


def show(job_id: str, caller: Caller, now: datetime) -> ImportView:
    return _view(_import(job_id), caller, now)


def latest(caller: Caller, now: datetime) -> ImportList:
    found = [job for kind in KINDS for job in jobs.latest(kind, SHOWN)]
    found.sort(key=lambda job: str(job.job_id), reverse=True)
    return ImportList(imports=[_view(job, caller, now) for job in found[:SHOWN]])


def check(job_id: str, caller: Caller, now: datetime) -> ImportView:
    """Let the file be read; asking again changes nothing."""
    after = {JobState.CHECKING, JobState.CHECKED, JobState.FAILED}
    return _moved(job_id, {JobState.CREATED}, JobState.CHECKING, after, caller, now)


def run(job_id: str, caller: Caller, now: datetime) -> ImportView:
    """Take in what the check has found; asking again changes nothing. CardsRest, NotTakenFromHim."""
    job = _import(job_id)
    _allowed(str(job.kind), caller)
    if job.kind == JobKind.CARDS and job.state == JobState.CHECKED:
        _ask_about_supplier(job, now)
    after = {JobState.RUNNING, JobState.DONE}
    return _moved(job_id, {JobState.CHECKED}, JobState.RUNNING, after, caller, now)


def cancel(job_id: str, caller: Caller, now: datetime) -> ImportView:
    """Stop at once: no row comes in after this; `counts.done` are in."""
    before = {JobState.CREATED, JobState.CHECKING, JobState.CHECKED, JobState.RUNNING}
    _allowed(str(_import(job_id).kind), caller)
    passing.delete([import_files.upload_name(job_id)])  # first: who dies on the way leaves no codes in clear behind
    shown = _moved(job_id, before, JobState.CANCELLED, {JobState.CANCELLED}, caller, now)
    with suppress(Lost):  # it is being undone already
        jobs.forget_key(_import(job_id))
    return shown


def undo(job_id: str, caller: Caller, now: datetime) -> ImportView:
    """Take every card of an import back out of stock, or change nothing if one of them is held or sold."""
    job = _import(job_id)
    if job.kind != JobKind.CARDS:
        raise NotUndone(kind=job.kind)
    before = {JobState.DONE, JobState.FAILED, JobState.CANCELLED, JobState.UNDONE}
    if job.state in before:
        _refuse_what_is_gone(job)
    return _moved(job_id, before, JobState.UNDOING, {JobState.UNDOING}, caller, now)


def refused_link(job_id: str, base_url: str, until: datetime, now: datetime) -> str:
    """A link to the refused rows that only we can have made."""
    expires = int(min(until, now + LINK_FOR).timestamp())
    people = keyring.ring("PEOPLE_SECRET")
    proof = _proof(people, job_id, expires, people.current)
    return f"{base_url}/imports/{job_id}/refused?expires={expires}&signature={people.current}.{proof}"


def refused_until(job: Job) -> datetime | None:
    """Until when the refused rows are kept; None while a worker is at the job, and once they are forgotten."""
    if not job.kept_until or not job.ended_at or job.state in WORKED_ON:
        return None
    return min(clock.parse(str(job.kept_until)), clock.parse(str(job.ended_at)) + stock_check.KEPT)


def check_link(job_id: str, expires: int, signature: str, now: datetime) -> None:
    """Raise LinkOver unless the link is ours and its time is not over."""
    number, _, proof = signature.partition(".")
    people = keyring.ring("PEOPLE_SECRET")
    try:
        expected = _proof(people, job_id, expires, number)
    except KeyError:
        raise LinkOver from None
    if not hmac.compare_digest(expected.encode(), proof.encode()) or expires < now.timestamp():
        raise LinkOver


def _proof(people: keyring.Ring, job_id: str, expires: int, number: str) -> str:
    mac = people.mac(_LINK, f"{job_id}|{expires}".encode(), number)
    return base64.urlsafe_b64encode(mac).decode().rstrip("=")


def _allowed(kind: str, caller: Caller) -> None:
    require(caller.groups, "cards.import" if kind == JobKind.CARDS else "catalogue.write")


def _spec(wanted: CreateImport, now: datetime) -> dict[str, Any]:
    options = wanted.options
    if wanted.kind == "catalogue":
        if wanted.sku is not None or options.model_fields_set:
            raise _invalid("sku" if wanted.sku is not None else "options", "only_for_cards")
        return {"file_name": wanted.file_name}
    if wanted.sku is not None:
        found = catalog.for_sale([wanted.sku])[wanted.sku]
        if found.fulfilment is not Fulfilment.STOCK:
            raise NotForSale(sku=wanted.sku)
    if options.cost_minor is not None and options.cost_e6 is not None:
        raise _invalid("options.cost_minor", "cost_given_twice")
    given = options.model_dump(exclude_none=True, exclude={"cost_minor"})
    if options.cost_minor is not None:
        given["cost_e6"] = options.cost_minor * 10_000
    if options.expires_on is not None and _day(options.expires_on) < clock.shanghai_day(now):
        raise _invalid("options.expires_on", "expired")
    return {"file_name": wanted.file_name, "sku": wanted.sku, "options": given}


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise _invalid("options.expires_on", "not_a_date") from None


def _invalid(field: str, reason: str) -> InvalidRequest:
    return InvalidRequest(fields=[{"field": field, "reason": reason}])


def _import(job_id: str) -> Job:
    job = jobs.job_of(job_id)
    if job.kind not in KINDS:
        raise NotFound
    return job


def _moved(
    job_id: str, before: set[JobState], state: JobState, after: set[JobState], caller: Caller, now: datetime
) -> ImportView:
    for _ in range(TRIES):
        job = _import(job_id)
        _allowed(str(job.kind), caller)
        if job.state in before:
            kept = {"kept_until": clock.iso(now + stock_check.KEPT)} if state is JobState.CANCELLED else {}
            try:
                jobs.move(job, state, now, **kept)
            except Lost:
                continue  # its worker has moved it: look again
        elif job.state not in after:
            raise WrongJobState(state=str(job.state))
        return _view(job, caller, now)
    raise Busy


def _ask_about_supplier(job: Job, now: datetime) -> None:
    """Refuse cards of whom nothing may be bought, and let those of a doubtful one lie where they are, sealed, since
    the check: should they turn out to be void meanwhile, nobody has bought them. Who is no supplier of the hub is free.
    """
    code = str(job.spec["options"]["supplier"])
    head = accounts.heads([code]).get(code)
    if head is None:
        return
    skus = catalog.skus(dict(job.found or {}).get("by_sku", {})).values()
    today = clock.shanghai_day(now).isoformat()
    tier = max((Tier(supply.tier_in(sku, head)) for sku in skus), default=Tier.A)
    against = {  # a stop or a pause says nothing of what he has delivered before
        "not_admitted": head.standing != Standing.APPROVED,
        "document_over": bool(head.documents_until) and str(head.documents_until) <= today,
        "no_authorisation": not all(head.authorised(sku.brand, today) for sku in skus),
        "tier_d": tier is Tier.D,
    }
    if reason := next((name for name, wrong in against.items() if wrong), None):
        raise NotTakenFromHim(supplier=code, reason=reason)
    if tier in REST and now < (until := clock.parse(str(job.ended_at)) + REST[tier]):
        raise CardsRest(supplier=code, until=until.astimezone(clock.SHANGHAI).isoformat(timespec="minutes"))


def _refuse_what_is_gone(job: Job) -> None:
    lots = _lots(str(job.job_id))
    for lot in lot_records.lots(lot_id for lot_id, _, _ in lots).values() if lots else ():
        if lot.state not in (LotState.OPEN, LotState.UNDONE):
            raise RecalledMeanwhile(lot_id=str(lot.lot_id))
    gone = inventory.states_of(lot_id for lot_id, _, _ in lots)
    if gone[CardState.HELD] or gone[CardState.SOLD]:
        raise CardsGone(held=gone[CardState.HELD], sold=gone[CardState.SOLD])


def _lots(job_id: str) -> list[tuple[str, str, int]]:
    found = parts.part_of(job_id, "lots")
    return [(str(lot_id), str(label), int(cards)) for lot_id, label, cards in found.data] if found else []


def _view(job: Job, caller: Caller, now: datetime) -> ImportView:
    counts, found = dict(job.counts), dict(job.found or {})
    speed, eta = _pace(job, counts, now)
    return ImportView(
        job_id=str(job.job_id),
        kind="cards" if job.kind == JobKind.CARDS else "catalogue",
        state=str(job.state),
        sku=job.spec.get("sku"),
        file_name=str(job.spec["file_name"]),
        asked_by=str(job.asked_by),
        asked_at=str(job.asked_at),
        started_at=job.started_at,
        ended_at=job.ended_at,
        counts=ImportCounts(**{name: int(counts.get(name, 0)) for name in ImportCounts.model_fields}),
        by_sku=found.get("by_sku", {}),
        preview=[MaskedRow(**row) for row in found.get("preview", [])],
        refused=_reasons(str(job.kind), found.get("refused", {})),
        refused_lines=[
            RefusedLine(line=line, reason=reason, **importing.REASONS[reason]._asdict())
            for line, reason in found.get("refused_lines", [])
        ],
        total_cost=_amount(found),
        rows_per_second=speed,
        eta_seconds=eta,
        refused_url=_refused_url(job, counts, caller, now),
        lots=[LotMade(lot_id=lot_id, label=label, cards=cards) for lot_id, label, cards in _lots(str(job.job_id))],
        snapshot=found.get("snapshot"),
        reason=JobReason(code=str(job.reason), **reasons.REASONS[str(job.reason)]._asdict()) if job.reason else None,
    )


def _amount(found: Mapping[str, Any]) -> Amount | None:
    if "total_cost_e6" not in found:
        return None
    return Amount(amount_minor=minor_from_e6(int(found["total_cost_e6"])), currency="CNY")


def _reasons(kind: str, refused: Mapping[str, int]) -> list[RefusedReason]:
    known = card_files.REASONS if kind == JobKind.CARDS else importing.REASONS
    return [
        RefusedReason(reason=reason, zh=known[reason].zh, en=known[reason].en, rows=rows)
        for reason, rows in sorted(refused.items(), key=lambda one: -one[1])
    ]


def _pace(job: Job, counts: Mapping[str, int], now: datetime) -> tuple[int | None, int | None]:
    """Rows a second of what goes on or was done last, and how many seconds are left of it."""
    if not job.started_at:
        return None, None
    until = clock.parse(str(job.ended_at)) if job.ended_at else now
    seconds = max((until - clock.parse(str(job.started_at))).total_seconds(), 0.001)
    if job.state in (JobState.CHECKING, JobState.CHECKED):
        done, share = counts.get("lines", 0), counts.get("read_bytes", 0) / max(counts.get("bytes", 0), 1)
        left = seconds * (1 - share) / share if share else None
    elif job.state in (JobState.UNDOING, JobState.UNDONE):
        done = counts.get("undone", 0)
        left = (counts.get("done", 0) - done) * seconds / done if done else None
    else:
        done = counts.get("worked", 0)
        left = (counts.get("new", 0) - done) * seconds / done if done else None
    going = job.state in (JobState.CHECKING, JobState.RUNNING, JobState.UNDOING)
    return round(done / seconds), round(left) if going and left is not None else None


def _refused_url(job: Job, counts: Mapping[str, int], caller: Caller, now: datetime) -> str | None:
    """For those who may import: it leads to codes in clear, those of rows that are not in stock."""
    until = refused_until(job)
    if job.kind != JobKind.CARDS or not counts.get("refused") or until is None or until <= now:
        return None
    if not allowed(caller.groups, "cards.import"):
        return None
    return refused_link(str(job.job_id), caller.base_url, until, now)
