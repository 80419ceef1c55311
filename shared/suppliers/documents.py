"""The documents of a supplier, in the table `suppliers`; their files lie in the bucket that keeps, by their hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from enum import StrEnum

from pynamodb.attributes import BooleanAttribute, NumberAttribute, UnicodeAttribute

from shared.kernel import aws, clock, passing, records, settings
from shared.kernel.errors import NotFound
from shared.suppliers.admission import ENDLESS, Paper, Shown

DOCUMENTS_MAX = 100  # of one supplier, over all years: each look at him reads them all
FILE_MAX = 10 * 1024 * 1024  # bytes: a scan of many pages, and little enough to be held in memory
WAITS_FOR = timedelta(days=1)  # for the file; the bucket forgets an upload after as long
LINK_SECONDS = 300  # long enough for a click, short enough that a leaked link is soon worth nothing
_PART = "document#"


class DocumentState(StrEnum):
    ASKED = "asked"  # there is a link to upload it to
    RECEIVED = "received"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


class Document(records.Record):
    """ends_on: the last day on which it holds, absent where it does not end. told: see `admission.warning`."""

    class Meta(records.Options):
        table_name = settings.table("suppliers")

    code = UnicodeAttribute(hash_key=True)
    part = UnicodeAttribute(range_key=True)
    paper = UnicodeAttribute()
    state = UnicodeAttribute(default=DocumentState.ASKED)
    file_name = UnicodeAttribute()
    issued_to = UnicodeAttribute()
    issued_by = UnicodeAttribute(default="")
    brand = UnicodeAttribute(default="")
    from_owner = BooleanAttribute(default=False)
    ends_on = UnicodeAttribute(null=True)
    asked_by = UnicodeAttribute()
    asked_at = UnicodeAttribute()
    sha256 = UnicodeAttribute(null=True)
    size = NumberAttribute(null=True)  # bytes
    received_at = UnicodeAttribute(null=True)
    reviewed_by = UnicodeAttribute(null=True)
    reviewed_at = UnicodeAttribute(null=True)
    said = UnicodeAttribute(null=True)
    told = NumberAttribute(null=True)
    asked = UnicodeAttribute(null=True)  # what was asked for under an Idempotency-Key, as a hash
    expires = NumberAttribute(null=True)  # one whose file never came frees its space

    @property
    def document_id(self) -> str:
        return str(self.part).removeprefix(_PART)

    @property
    def until(self) -> date:
        """The first day on which it is over."""
        return date.fromisoformat(str(self.ends_on)) + timedelta(days=1) if self.ends_on else ENDLESS

    @property
    def shown(self) -> Shown:
        return Shown(
            self.document_id,
            Paper(self.paper),
            str(self.issued_to),
            self.until,
            str(self.brand),
            str(self.issued_by),
            bool(self.from_owner),
        )

    @property
    def _upload(self) -> str:
        return f"uploads/{self.document_id}"

    @property
    def _file(self) -> str:
        return f"suppliers/{self.code}/{self.sha256}"


def new(code: str, document_id: str) -> Document:
    """To be filled and inserted."""
    return Document(code, _PART + document_id)


def document_of(code: str, document_id: str) -> Document:
    try:
        return Document.get(code, _PART + document_id, consistent_read=True)
    except Document.DoesNotExist:
        raise NotFound from None


def every(code: str) -> list[Document]:
    """All documents of a supplier, the oldest first."""
    return list(Document.query(code, Document.part.startswith(_PART), consistent_read=True))


def shown(documents: Iterable[Document]) -> list[Shown]:
    """Those of them that a person has accepted."""
    return [one.shown for one in documents if one.state == DocumentState.ACCEPTED]


def upload_link(document: Document, seconds: int) -> str:
    return passing.upload_link(document._upload, seconds)


def keep(document: Document) -> bool:
    """Take the uploaded file to where it stays, and note its hash and size in the record, which is not saved here.

    False where nothing has come, or what is empty or too large. What is uploaded later under the same link is nobody's.
    """
    found = passing.opened(document._upload)
    if found is None or not 0 < found[1] <= FILE_MAX:
        return False
    content = bytes(found[0].read())
    document.sha256, document.size = hashlib.sha256(content).hexdigest(), len(content)
    # No browser shows what somebody has sent: it is saved.
    stored = {"Body": content, "ContentType": "application/octet-stream"}
    aws.client("s3").put_object(Bucket=settings.get("BUCKET"), Key=document._file, **stored)
    return True


def drop_upload(document: Document) -> None:
    passing.delete([document._upload])


def link(document: Document) -> str:
    """An address from which the file can be fetched, for a few minutes, without signing in."""
    name = f"{document.code}-{document.paper}-{str(document.sha256)[:8]}.{_ending(str(document.file_name))}"
    wanted = {
        "Bucket": settings.get("BUCKET"),
        "Key": document._file,
        "ResponseContentDisposition": f'attachment; filename="{name}"',
    }
    return str(aws.client("s3").generate_presigned_url("get_object", Params=wanted, ExpiresIn=LINK_SECONDS))


def _ending(file_name: str) -> str:
    """What says of which form a file is; nothing else of its name goes into a header."""
    ending = file_name.rpartition(".")[2].lower()
    return ending if ending.isascii() and ending.isalnum() and len(ending) <= 5 else "bin"


def ask(document: Document, now: datetime) -> Document:
    """Insert it; one that was asked for in the same words under the same id is returned instead, else it is Lost."""
    document.expires = int((now + WAITS_FOR).timestamp())
    try:
        records.insert(document, "document")
    except records.Lost:
        made = document_of(str(document.code), document.document_id)
        if made.asked != document.asked:
            raise
        return made
    return document


def received(document: Document, now: datetime) -> None:
    """The file is here and kept; raises Lost if another call has said so."""
    actions = [
        Document.state.set(DocumentState.RECEIVED),
        Document.sha256.set(document.sha256),
        Document.size.set(document.size),
        Document.received_at.set(clock.iso(now)),
        Document.expires.remove(),
    ]
    records.update(document, actions, Document.state == DocumentState.ASKED)


def decide(
    tx: records.Transaction, document: Document, state: DocumentState, by: str, said: str | None, now: datetime
) -> None:
    """Accept or reject it as it was read; the part that loses is named ``document``."""
    actions = [
        Document.state.set(state),
        Document.reviewed_by.set(by),
        Document.reviewed_at.set(clock.iso(now)),
        Document.said.set(said) if said else Document.said.remove(),
    ]
    tx.update("document", Document(document.code, document.part), actions, Document.state == document.state)


def tell(tx: records.Transaction, code: str, document_id: str, days: int) -> None:
    """Note that a person is told, so many days before it is over; loses, as ``document``, if that was done before."""
    tx.update(
        "document",
        Document(code, _PART + document_id),
        [Document.told.set(days)],
        Document.part.exists() & (Document.told.does_not_exist() | (Document.told > days)),
    )
