"""Where the snapshot lies: one gzip object, replaced as a whole; the bucket keeps the former ones for a while."""

from __future__ import annotations

import gzip
import time
from typing import Any, Final

from botocore.exceptions import ClientError

from shared.catalog.search import Snapshot
from shared.kernel import aws, settings
from shared.kernel.telemetry import logger

KEY: Final = "catalog/snapshot.jsonl.gz"
RECHECK = 5  # seconds a warm door answers from what it holds before it asks whether there is something newer
EMPTY: Final = (
    b'{"version":"","categories":[],"keys":[],"category_of":[],"product_ids":[]}',
    b'""',
    b'""',
    b'""',
    b'""',
)

_held: dict[str, tuple[float, str, Snapshot]] = {}  # bucket → when it was checked, its ETag, the snapshot


class Overtaken(Exception):
    """Another maker put its snapshot first; it may lack what we saw, or we what it saw."""


def current(*, fresh: bool = False) -> Snapshot:
    """The catalogue as it was at most RECHECK seconds ago, or as it is; empty before the first import."""
    bucket, moment = settings.get("BUCKET"), time.monotonic()
    checked_at, etag, snapshot = _held.get(bucket, (0.0, "", None))
    if fresh or snapshot is None or moment - checked_at >= RECHECK:
        etag, snapshot = _newer(bucket, etag, snapshot)
        _held[bucket] = (moment, etag, snapshot)
    return snapshot


def stored() -> tuple[str, str]:
    """The ETag and the version of what lies there; both empty before the first import."""
    try:
        head = aws.client("s3").head_object(Bucket=settings.get("BUCKET"), Key=KEY)
    except ClientError as error:
        if _status(error) == 404:
            return "", ""
        raise
    return head["ETag"], head["Metadata"].get("version", "")


def put(version: str, lines: bytes, etag: str) -> None:
    """Replace the snapshot that had this ETag, or put the first; raise Overtaken if another one lies there by now."""
    condition = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
    try:
        aws.client("s3").put_object(
            Bucket=settings.get("BUCKET"),
            Key=KEY,
            Body=gzip.compress(lines, compresslevel=6),
            ContentType="application/gzip",
            Metadata={"version": version},
            **condition,
        )
    except ClientError as error:
        if _status(error) in {404, 409, 412}:
            raise Overtaken from error
        raise


def _newer(bucket: str, etag: str, held: Snapshot | None) -> tuple[str, Snapshot]:
    condition = {"IfNoneMatch": etag} if etag else {}
    try:
        answer: Any = aws.client("s3").get_object(Bucket=bucket, Key=KEY, **condition)
    except ClientError as error:
        if held is not None:
            if _status(error) != 304:
                logger.exception("the snapshot could not be read again; the one at hand goes on")
            return etag, held
        if _status(error) == 404:
            return "", Snapshot(EMPTY)
        raise
    return answer["ETag"], Snapshot(gzip.decompress(answer["Body"].read()).split(b"\n"))


def _status(error: ClientError) -> int:
    return int(error.response["ResponseMetadata"]["HTTPStatusCode"])
