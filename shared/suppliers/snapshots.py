"""Where a supplier's list lies as it was last written: one gzip object each, replaced as a whole."""

from __future__ import annotations

import gzip
import json

from botocore.exceptions import ClientError

from shared.kernel import aws, settings
from shared.suppliers.listing import Line, Listing


class Overtaken(Exception):
    """Another run has read the same list after us, or has begun to write it after us: what it writes is the newer."""


def read(supplier: str) -> tuple[Listing, str]:
    """The list as it was last written, and its ETag; empty, and no ETag, before the first time."""
    try:
        answer = aws.client("s3").get_object(Bucket=settings.get("BUCKET"), Key=_key(supplier))
    except ClientError as error:
        if _status(error) == 404:
            return Listing(), ""
        raise
    kept = json.loads(gzip.decompress(answer["Body"].read()))
    return Listing(**kept | {"lines": {name: Line(*line) for name, line in kept["lines"].items()}}), answer["ETag"]


def put(supplier: str, listing: Listing, etag: str) -> str:
    """Replace the list that had this ETag, or put the first; its new ETag, or Overtaken if another one lies there."""
    condition = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
    said = json.dumps(vars(listing), ensure_ascii=False, separators=(",", ":"))
    try:
        answer = aws.client("s3").put_object(
            Bucket=settings.get("BUCKET"),
            Key=_key(supplier),
            Body=gzip.compress(said.encode(), compresslevel=6, mtime=0),
            ContentType="application/gzip",
            **condition,
        )
    except ClientError as error:
        if _status(error) in {404, 409, 412}:
            raise Overtaken from error
        raise
    return str(answer["ETag"])


def _key(supplier: str) -> str:
    return f"offers/{supplier}/latest.json.gz"


def _status(error: ClientError) -> int:
    return int(error.response["ResponseMetadata"]["HTTPStatusCode"])
