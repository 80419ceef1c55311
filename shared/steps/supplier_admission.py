"""How a supplier is let in: his documents come and are looked at, two people approve, and what ends is told in time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import date, datetime, timedelta
from typing import Any

from shared.jobs.errors import KeyReused
from shared.kernel import clock, ids
from shared.kernel.errors import Busy, Unfinished
from shared.kernel.http import Caller
from shared.kernel.records import Lost, Transaction
from shared.kernel.telemetry import count, logger
from shared.staff import records as staff
from shared.steps import suppliers
from shared.steps.partner_terms import Wrong, insist
from shared.suppliers import accounts, documents
from shared.suppliers.accounts import Head
from shared.suppliers.admission import MOVES, WARNED, Paper, Shown, Standing, warning
from shared.suppliers.contract import AskDocument, DocumentAsked, SayWhy, SupplierDossier
from shared.suppliers.documents import Document, DocumentState
from shared.suppliers.errors import (
    NothingUploaded,
    PapersMissing,
    SamePerson,
    TooManyDocuments,
    WrongDocumentState,
    WrongStanding,
)

UPLOAD_WITHIN = timedelta(minutes=15)  # long enough for a scan on a slow line
ENDS = "supplier_document_ends"
OVER = "supplier_document_over"
TRIES = 4  # against a colleague who decides about another document of the same supplier at the same moment


# --- documents ---


def ask(code: str, wanted: AskDocument, key: str, caller: Caller, now: datetime) -> DocumentAsked:
    """A place for a document, and the address that takes its file; the same Idempotency-Key gives the same one."""
    head = accounts.head_of(code)
    insist(_wrong(wanted))
    if len(documents.every(code)) >= documents.DOCUMENTS_MAX:
        raise TooManyDocuments(limit=documents.DOCUMENTS_MAX)
    chance = hashlib.sha256(f"{caller.name}\n{key}".encode()).hexdigest()[:26]
    document = documents.new(str(head.code), f"doc_{chance}" if key else ids.new("doc", now))
    for name, value in wanted.model_dump(exclude_none=True).items():
        setattr(document, name, value)
    document.asked_by, document.asked_at = caller.name, clock.iso(now)
    document.asked = hashlib.sha256(json.dumps(wanted.model_dump(), sort_keys=True).encode()).hexdigest()
    try:
        document = documents.ask(document, now)
    except Lost:
        raise KeyReused from None
    return DocumentAsked(
        document_id=document.document_id,
        upload_url=documents.upload_link(document, int(UPLOAD_WITHIN.total_seconds())),
        upload_until=clock.iso(now + UPLOAD_WITHIN),
        upload_bytes_max=documents.FILE_MAX,
    )


def received(code: str, document_id: str, caller: Caller, now: datetime) -> SupplierDossier:
    """Its file was uploaded: keep it, by its hash. Saying so again changes nothing."""
    document = documents.document_of(code, document_id)
    if document.state == DocumentState.ASKED:
        if not documents.keep(document):
            raise NothingUploaded(limit=documents.FILE_MAX)
        with suppress(Lost):  # somebody else has said so at the same moment
            documents.received(document, now)
        documents.drop_upload(document)
        logger.info("supplier document received", supplier=code, document=document_id, sha256=document.sha256)
    return suppliers.show(code, caller, now)


def accept(code: str, document_id: str, caller: Caller, now: datetime) -> SupplierDossier:
    """A person has looked at it, and it is what it says; SamePerson for whoever brought it."""

    def may(document: Document) -> None:
        if document.asked_by == caller.name:
            raise SamePerson
        if document.state != DocumentState.RECEIVED:
            raise WrongDocumentState(state=str(document.state))

    _decide(code, document_id, DocumentState.ACCEPTED, None, caller, may, now)
    return suppliers.show(code, caller, now)


def reject(code: str, document_id: str, why: SayWhy, caller: Caller, now: datetime) -> SupplierDossier:
    """It proves nothing, or not any more; what rested on it is closed at once."""

    def may(document: Document) -> None:
        if document.state not in (DocumentState.RECEIVED, DocumentState.ACCEPTED):
            raise WrongDocumentState(state=str(document.state))

    _decide(code, document_id, DocumentState.REJECTED, why.said, caller, may, now)
    return suppliers.show(code, caller, now)


def _wrong(wanted: AskDocument) -> Wrong:
    about_brand = {name: getattr(wanted, name) for name in ("brand", "issued_by", "from_owner")}
    wrong: Wrong = []
    if Paper(wanted.paper) is Paper.AUTHORISATION:
        wrong += [(name, "required") for name in ("brand", "issued_by") if not about_brand[name]]
    else:
        wrong += [(name, "not_of_this_paper") for name in ("brand", "from_owner") if about_brand[name]]
    try:
        date.fromisoformat(wanted.ends_on or "2000-01-01")
    except ValueError:
        wrong.append(("ends_on", "not_a_day"))
    return wrong


def _decide(
    code: str,
    document_id: str,
    state: DocumentState,
    said: str | None,
    caller: Caller,
    may: Callable[[Document], None],
    now: datetime,
) -> None:
    """Write the decision together with what follows from it for his head; a decision already made is a success."""
    today = clock.shanghai_day(now)
    for _ in range(TRIES):
        head = accounts.head_of(code)  # first: what is read after it and changes bumps its version
        document = documents.document_of(code, document_id)
        if document.state == state:
            return
        may(document)
        others = [one for one in documents.every(code) if one.document_id != document_id]
        before = suppliers.dossier_of(head, [*others, document])
        with suppress(Lost):
            with Transaction() as tx:
                documents.decide(tx, document, state, caller.name, said, now)
                document.state = state
                after = suppliers.dossier_of(head, [*others, document])
                accounts.change(tx, head, **suppliers.from_dossier(after, today))
            logger.info("supplier document", supplier=code, document=document_id, state=state, by=caller.name)
            _end_tasks(code, set(before.deciding()) - set(after.deciding()), now)
            return
    raise Busy


# --- standing ---


def review(code: str, caller: Caller, now: datetime) -> SupplierDossier:
    """The first of two people has looked at the whole dossier; PapersMissing while something is not there."""
    values = {"reviewed_by": caller.name, "reviewed_at": clock.iso(now), "approved_by": None, "said": None}
    return _move(code, Standing.REVIEWED, values, caller, now, complete=True)


def approve(code: str, caller: Caller, now: datetime) -> SupplierDossier:
    """The second one lets him in; SamePerson for the first."""
    values = {"approved_by": caller.name, "approved_at": clock.iso(now)}
    return _move(code, Standing.APPROVED, values, caller, now, complete=True)


def refuse(code: str, why: SayWhy, caller: Caller, now: datetime) -> SupplierDossier:
    """He does not get in; he may apply again by being saved again."""
    values = {"said": why.said, "reviewed_by": None, "approved_by": None}
    return _move(code, Standing.REFUSED, values, caller, now)


def suspend(code: str, why: SayWhy, caller: Caller, now: datetime) -> SupplierDossier:
    """Nothing goes to him any more, at once; to let him in again takes two people again."""
    values = {"said": why.said, "reviewed_by": None, "approved_by": None}
    return _move(code, Standing.SUSPENDED, values, caller, now)


def _move(
    code: str, to: Standing, values: dict[str, Any], caller: Caller, now: datetime, *, complete: bool = False
) -> SupplierDossier:
    """Move him along `MOVES`; a move already made is a success. complete: only with all papers that are needed."""
    head = accounts.head_of(code)
    if head.standing != to:
        if to not in MOVES[Standing(head.standing)]:
            raise WrongStanding(standing=str(head.standing))
        if to is Standing.APPROVED and head.reviewed_by == caller.name:
            raise SamePerson
        if complete:
            missing = suppliers.dossier_of(head, documents.every(code)).missing(clock.shanghai_day(now))
            if missing:
                raise PapersMissing(papers=", ".join(missing))
        try:
            with Transaction() as tx:
                accounts.change(tx, head, standing=to, **values)
        except Lost:
            raise Busy from None
        logger.info("supplier standing", supplier=code, standing=to, by=caller.name)
    return suppliers.show(code, caller, now)


# --- each day ---


def look(now: datetime) -> None:
    """Tell a person of what ends, 30 and 7 days before and on the day from which nothing is bought any more.

    That nothing is bought any more needs no look: `Head.may_supply` goes by the day. Again changes nothing.
    """
    wrong = []
    for head in accounts.every():
        if head.standing == Standing.APPROVED:
            try:
                _look_at(head, now)
            except Exception:  # noqa: BLE001  # logged, and raised below: the others must not wait for this one
                logger.exception("a supplier's documents could not be looked at", supplier=str(head.code))
                wrong.append(str(head.code))
    if wrong:
        raise Unfinished(*wrong)


def _look_at(head: Head, now: datetime) -> None:
    today, kept = clock.shanghai_day(now), documents.every(str(head.code))
    told = {one.document_id: None if one.told is None else int(one.told) for one in kept}
    for paper in suppliers.dossier_of(head, kept).deciding():
        days = warning(paper.until, told[paper.document_id], today)
        if days is not None:
            with suppress(Lost):  # another run was quicker
                _tell(str(head.code), paper, days, now)


def _tell(code: str, paper: Shown, days: int, now: datetime) -> None:
    with Transaction() as tx:
        documents.tell(tx, code, paper.document_id, days)
        staff.open_task(tx, *_task(code, paper, days), None, now)
    count("TaskOpened")
    logger.warning("a supplier's document ends", supplier=code, paper=paper.paper, brand=paper.brand, days=days)


def _task(code: str, paper: Shown, days: int) -> tuple[str, str]:
    """Its kind, and what it is about: the supplier, the document, and how many days before it is over."""
    about = f"{code}-{paper.document_id}"
    return (ENDS, f"{about}-{days}") if days else (OVER, about)


def _end_tasks(code: str, replaced: set[Shown], now: datetime) -> None:
    """Nothing rests on these any more: another document does it."""
    for paper in replaced:
        told = documents.document_of(code, paper.document_id).told
        for days in WARNED:
            if told is not None and days >= int(told):
                kind, about = _task(code, paper, days)
                staff.end_if_open(kind, about, "system", "nothing rests on this document any more", now)
