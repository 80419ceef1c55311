"""Closed days: the record that a day is closed, inserted once, and the files of its statement."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date, datetime

from pynamodb.attributes import JSONAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.exceptions import DoesNotExist

from shared.kernel import aws, clock, records, settings
from shared.settlement.statement import Statement

LINK_SECONDS = 300  # long enough for a click, short enough that a leaked link is soon worth nothing


class ClosedDay(records.Record):
    """Immutable. `entries_sha256` is over the day's entries, `sha256` over the statement made of them."""

    class Meta(records.Options):
        table_name = settings.table("statements")

    day = UnicodeAttribute(hash_key=True)
    closed_at = UnicodeAttribute()
    sha256 = UnicodeAttribute()
    entries = NumberAttribute()
    entries_sha256 = UnicodeAttribute()
    totals = JSONAttribute()

    def key(self, form: str) -> str:
        """Where the statement lies in the bucket; `form` is json, csv or xlsx."""
        return _key(self.day, self.sha256, form)


def closed(day: date) -> ClosedDay | None:
    try:
        return ClosedDay.get(day.isoformat(), consistent_read=True)
    except DoesNotExist:
        return None


def close(statement: Statement, now: datetime) -> ClosedDay:
    """Record the day as closed, or return the record that is there: a day is closed once."""
    record = ClosedDay(
        statement.day.isoformat(),
        closed_at=clock.iso(now),
        sha256=statement.sha256,
        entries=statement.entries,
        entries_sha256=statement.entries_sha256,
        totals=[{**asdict(row), "profit": row.profit} for row in statement.totals],
    )
    try:
        records.insert(record)
    except records.Lost:
        return ClosedDay.get(record.day, consistent_read=True)
    return record


def store(statement: Statement, form: str, content: bytes, content_type: str) -> None:
    """Put a file where its statement's hash says; doing it again changes nothing."""
    aws.client("s3").put_object(
        Bucket=settings.get("BUCKET"),
        Key=_key(statement.day.isoformat(), statement.sha256, form),
        Body=content,
        ContentType=content_type,
    )


def statement(record: ClosedDay) -> Statement:
    """The statement of a closed day, as it was closed."""
    answer = aws.client("s3").get_object(Bucket=settings.get("BUCKET"), Key=record.key("json"))
    return Statement.parse(answer["Body"].read().decode())


def link(record: ClosedDay, form: str) -> str:
    """An address from which the file can be fetched for a few minutes without signing in."""
    name = f"kaquan-{record.day}.{form}"
    parameters = {
        "Bucket": settings.get("BUCKET"),
        "Key": record.key(form),
        "ResponseContentDisposition": f'attachment; filename="{name}"',
    }
    url: str = aws.client("s3").generate_presigned_url("get_object", Params=parameters, ExpiresIn=LINK_SECONDS)
    return url


def _key(day: str, sha256: str, form: str) -> str:
    return f"statements/{day}/{sha256}.{form}"
