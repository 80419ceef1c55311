"""The table `bills`: what each provider says of each day, written once; the files lie in the bucket as they came."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import date, datetime

from pynamodb.attributes import JSONAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.exceptions import DoesNotExist
from pynamodb.indexes import GlobalSecondaryIndex, KeysOnlyProjection

from shared.kernel import aws, clock, records, settings
from shared.payments.bill_lines import Sum, jsonl, sums_of
from shared.payments.provider import Bill, BillLine
from shared.payments.states import BillState

LINK_SECONDS = 300  # long enough for a click, short enough that a leaked link is soon worth nothing
UNREAD = "unread#bill"
_TYPE = "application/octet-stream"  # no browser shows what a provider sends: it is saved


class Unread(GlobalSecondaryIndex["KeptBill"]):
    class Meta(records.Options):
        index_name = "unread"
        projection = KeysOnlyProjection()

    unread = UnicodeAttribute(hash_key=True)
    day = UnicodeAttribute(range_key=True)


class KeptBill(records.Record):
    """`sha256` is over the file as it came; form and lines, too, are absent where a day had no money."""

    class Meta(records.Options):
        table_name = settings.table("bills")

    day = UnicodeAttribute(hash_key=True)  # of the provider's calendar
    merchant = UnicodeAttribute(range_key=True)
    state = UnicodeAttribute()
    fetched_at = UnicodeAttribute()
    form = UnicodeAttribute(null=True)
    sha256 = UnicodeAttribute(null=True)
    lines = NumberAttribute(null=True)
    _sums: JSONAttribute = JSONAttribute(attr_name="sums", null=True)
    read_at = UnicodeAttribute(null=True)  # where that was later than the fetching
    unread = UnicodeAttribute(null=True)
    by_unread = Unread()

    @property
    def sums(self) -> list[Sum]:
        return [Sum(*members) for members in self._sums or ()]

    @property
    def file(self) -> str:
        """Where it lies in the bucket as it came."""
        return f"{self._place}.{self.form}"

    @property
    def lines_file(self) -> str:
        """Where its lines lie in the form of all bills."""
        return f"{self._place}.lines.jsonl"

    @property
    def _place(self) -> str:
        return f"bills/{self.merchant}/{self.day}/{self.sha256}"


def of_day(day: date) -> dict[str, KeptBill]:
    """The bills of a day, by merchant."""
    return {str(bill.merchant): bill for bill in KeptBill.query(day.isoformat(), consistent_read=True)}


def kept(merchant: str, day: date) -> KeptBill | None:
    try:
        return KeptBill.get(day.isoformat(), merchant, consistent_read=True)
    except DoesNotExist:
        return None


def unread() -> list[KeptBill]:
    """The bills that nobody could read so far, the oldest first."""
    found = [kept(str(one.merchant), date.fromisoformat(str(one.day))) for one in KeptBill.by_unread.query(UNREAD)]
    return [bill for bill in found if bill and bill.state == BillState.UNREADABLE]


def empty(merchant: str, day: date, now: datetime) -> KeptBill:
    return KeptBill(day.isoformat(), merchant, state=BillState.EMPTY, fetched_at=clock.iso(now))


def store(merchant: str, day: date, bill: Bill, now: datetime) -> KeptBill:
    """Put the file where its hash says; doing it again changes nothing. Returns what is to be recorded of it."""
    stored = KeptBill(
        day.isoformat(),
        merchant,
        state=BillState.UNREADABLE,
        fetched_at=clock.iso(now),
        form=bill.form,
        sha256=hashlib.sha256(bill.content).hexdigest(),
        unread=UNREAD,
    )
    _put(stored.file, bill.content)
    return stored


def store_lines(bill: KeptBill, lines: Sequence[BillLine]) -> None:
    """Put the lines beside the file, and note in the record, which is not saved here, that it was read."""
    _put(bill.lines_file, jsonl(lines))
    bill.state, bill.unread = BillState.FETCHED, None
    bill.lines, bill._sums = len(lines), [list(one) for one in sums_of(lines)]


def save_read(bill: KeptBill, now: datetime) -> None:
    """Record that a bill was read at last, or raise Lost if somebody else has."""
    actions = [
        KeptBill.state.set(BillState.FETCHED),
        KeptBill.lines.set(bill.lines),
        KeptBill._sums.set(bill._sums),
        KeptBill.read_at.set(clock.iso(now)),
        KeptBill.unread.remove(),
    ]
    records.update(bill, actions, KeptBill.state == BillState.UNREADABLE)


def received(bill: KeptBill) -> Bill:
    """The bill as it came."""
    answer = aws.client("s3").get_object(Bucket=settings.get("BUCKET"), Key=bill.file)
    return Bill(answer["Body"].read(), str(bill.form))


def link(bill: KeptBill) -> str:
    """An address from which the file can be fetched as it came, for a few minutes, without signing in."""
    parameters = {
        "Bucket": settings.get("BUCKET"),
        "Key": bill.file,
        "ResponseContentDisposition": f'attachment; filename="{bill.merchant}-{bill.day}.{bill.form}"',
    }
    url: str = aws.client("s3").generate_presigned_url("get_object", Params=parameters, ExpiresIn=LINK_SECONDS)
    return url


def _put(key: str, content: bytes) -> None:
    aws.client("s3").put_object(Bucket=settings.get("BUCKET"), Key=key, Body=content, ContentType=_TYPE)
