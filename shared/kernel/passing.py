"""The bucket of what passes: uploads until they are read, sealed rows until their job is over."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from botocore.exceptions import ClientError

from shared.kernel import aws, settings

BATCH = 1_000  # objects: the limit of DeleteObjects


def upload_link(name: str, seconds: int) -> str:
    """Where a client may PUT one object."""
    return str(
        aws.client("s3").generate_presigned_url("put_object", {"Bucket": _bucket(), "Key": name}, ExpiresIn=seconds)
    )


def download_link(name: str, file_name: str, seconds: int) -> str:
    """Where a client may GET one object, under a name for people."""
    wanted = {"Bucket": _bucket(), "Key": name, "ResponseContentDisposition": f'attachment; filename="{file_name}"'}
    return str(aws.client("s3").generate_presigned_url("get_object", wanted, ExpiresIn=seconds))


def opened(name: str) -> tuple[Any, int] | None:
    """The object as a stream and its size; None if there is none."""
    try:
        answer = aws.client("s3").get_object(Bucket=_bucket(), Key=name)
    except ClientError as error:
        if error.response["Error"]["Code"] in {"NoSuchKey", "404"}:
            return None
        raise
    return answer["Body"], int(answer["ContentLength"])


def get(name: str) -> bytes | None:
    found = opened(name)
    return None if found is None else bytes(found[0].read())


def put(name: str, body: bytes) -> None:
    aws.client("s3").put_object(Bucket=_bucket(), Key=name, Body=body)


def delete(names: Iterable[str]) -> None:
    """Nothing here has versions: what is deleted is gone. One that is not there is no fault."""
    rest = list(names)
    while rest:
        batch, rest = rest[:BATCH], rest[BATCH:]
        aws.client("s3").delete_objects(
            Bucket=_bucket(), Delete={"Objects": [{"Key": name} for name in batch], "Quiet": True}
        )


def delete_all(folder: str) -> None:
    """Everything whose name begins so, also what a worker left behind that died."""
    pages = aws.client("s3").get_paginator("list_objects_v2").paginate(Bucket=_bucket(), Prefix=folder)
    delete([one["Key"] for page in pages for one in page.get("Contents", [])])


def _bucket() -> str:
    return settings.get("PASSING_BUCKET")
