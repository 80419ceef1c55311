"""Suppliers as two people let them in over the console."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Any
from urllib.parse import urlsplit

import boto3

from shared.kernel import clock
from tests.shop import Answer, Shop

COMPANY = "杭州好卡科技有限公司"
PAPERS = ("licence", "tax", "bank", "contract")
PDF = b"%PDF-1.7 a scan"


def desk(
    shop: Shop, path: str, body: Any = None, by: str = "ann", method: str = "POST", groups: str = "owner"
) -> Answer:
    return shop.call(method, f"/console/suppliers{path}", body, groups=groups, operator=by)


def save(shop: Shop, code: str = "acme", **more: Any) -> Answer:
    wanted = {"kind": "pricelist", "name": "好卡", "company": COMPANY, **more}
    return desk(shop, f"/{code}", wanted, method="PUT")


def bring(shop: Shop, code: str, paper: str, ends_on: date | None = None, content: bytes = PDF, **more: Any) -> str:
    """A document whose file has come, by its id."""
    wanted = {"paper": paper, "file_name": "scan.pdf", "issued_to": COMPANY, **more}
    asked = desk(shop, f"/{code}/documents", wanted | ({"ends_on": ends_on.isoformat()} if ends_on else {}))
    assert asked.status == 201, asked.body
    upload(asked.body["upload_url"], content)
    document = str(asked.body["document_id"])
    came = desk(shop, f"/{code}/documents/{document}/received")
    assert came.status == 200, came.body
    return document


def show(shop: Shop, code: str, paper: str, ends_on: date | None = None, **more: Any) -> str:
    """A document that ann has brought and bea has accepted, by its id."""
    document = bring(shop, code, paper, ends_on, **more)
    accepted = desk(shop, f"/{code}/documents/{document}/accept", by="bea")
    assert accepted.status == 200, accepted.body
    return document


def authorise(shop: Shop, code: str, brand: str, ends_on: date | None = None) -> str:
    """The brand's owner lets him sell it himself."""
    return show(shop, code, "authorisation", ends_on, brand=brand, issued_by=f"{brand}官方", from_owner=True)


def admit(shop: Shop, code: str, brands: tuple[str, ...] = (), **more: Any) -> None:
    """A supplier with all his papers, reviewed by bea and approved by ann."""
    assert save(shop, code, **more).status == 200
    for paper in PAPERS:
        show(shop, code, paper)
    for brand in brands:
        authorise(shop, code, brand)
    approve_again(shop, code)


def approve_again(shop: Shop, code: str) -> None:
    for verb, by in (("review", "bea"), ("approve", "ann")):
        moved = desk(shop, f"/{code}/{verb}", by=by)
        assert moved.status == 200, moved.body


def upload(url: str, content: bytes) -> None:
    """Put a file where a signed link says; of a link, moto sees only what boto3 sends."""
    parts = urlsplit(url)
    bucket = re.sub(r"\.s3\..*", "", parts.netloc)
    boto3.client("s3").put_object(Bucket=bucket, Key=parts.path[1:], Body=content)


def shanghai(day: date) -> datetime:
    """A moment of that day, as the clock shows it there."""
    return datetime.combine(day, datetime.min.time(), clock.SHANGHAI).replace(minute=5)
