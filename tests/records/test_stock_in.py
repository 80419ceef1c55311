"""Card files through the import job against the real stock: what expected.json promises, line by line, and no more."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import boto3
import openpyxl
import pytest
from botocore.client import BaseClient

from shared.catalog import importing
from shared.catalog import records as catalog
from shared.inventory import lots as lot_records
from shared.inventory import records as inventory
from shared.jobs import parts
from shared.jobs import records as jobs
from shared.jobs.contract import ImportOptions, ImportView, RefusedQuery
from shared.jobs.errors import CardsGone, KeyReused, LinkOver, NotUndone, RecalledMeanwhile, WrongJobState
from shared.jobs.records import Job
from shared.kernel import aws, clock, keyring, settings
from shared.kernel.errors import InvalidRequest
from shared.kernel.records import Transaction
from shared.ledger import records as ledger
from shared.steps import bulk_jobs, deadlines, import_files, imports, refused_rows
from tests import imported
from tests.deaths import Died, dying_after
from tests.imported import OPERATOR, asked, checked, run, take_in, undone, worked

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
EXPECTED = json.loads((DATA / "expected.json").read_text())
FILES = EXPECTED["import_order"]
SKU_OF = {"cards_txt_one_per_line.txt": "G020", "cards_number_password_gbk.txt": "C055"}
NOW = datetime.combine(datetime.fromisoformat(EXPECTED["as_of"]), time(12), clock.SHANGHAI)
CATALOGUE = (ROOT / "infra/local/sample/catalogue.csv").read_bytes()


@pytest.fixture
def catalogue(atomic_cloud: None) -> None:
    catalog.save(importing.read(CATALOGUE).skus, NOW)


def sample(name: str) -> ImportView:
    return take_in((DATA / name).read_bytes(), name, NOW, SKU_OF.get(name), supplier="acme")


def texts(count: int, prefix: str = "MANY") -> bytes:
    return "\n".join(f"{prefix}-{n:06}-ABCD" for n in range(count)).encode()


def refused(job_id: str) -> dict[str, str]:
    """Line → reason, as the check has kept it."""
    job = jobs.job_of(job_id)
    return {str(row.line): row.reason for row in import_files.refused_rows(job, int(job.found["attempt"])) or ()}


def download(seen: ImportView, now: datetime = NOW) -> str:
    assert seen.refused_url
    link = dict(parse_qsl(urlsplit(seen.refused_url).query))
    query = RefusedQuery(expires=int(link["expires"]), signature=link["signature"])
    return refused_rows.download(seen.job_id, query, now)


def stock_sums() -> tuple[dict[str, int], dict[str, int]]:
    """Cards by state, and the books by account."""
    states: dict[str, int] = {}
    for card in inventory.Card.scan():
        states[str(card.state)] = states.get(str(card.state), 0) + 1
    books: dict[str, int] = {}
    for entry in ledger.entries_of(clock.shanghai_day(NOW)):
        for leg in entry.legs:
            books[leg.account] = books.get(leg.account, 0) + leg.amount_minor
    return states, {account: amount for account, amount in books.items() if amount}


@contextmanager
def at_call(operation: str, nth: int, happens: Any) -> Iterator[None]:
    """Let something happen just before the n-th call of an operation."""
    original, seen = BaseClient._make_api_call, [0]

    def calling(client: BaseClient, name: str, parameters: dict[str, Any]) -> Any:
        if name == operation:
            seen[0] += 1
            if seen[0] == nth:
                happens()
        return original(client, name, parameters)

    BaseClient._make_api_call = calling
    try:
        yield
    finally:
        BaseClient._make_api_call = original


# What comes in


def test_every_sample_file_gives_exactly_what_is_expected_and_again_nothing_new(catalogue: None) -> None:
    for name in FILES:
        expected, seen = EXPECTED["files"][name], sample(name)
        assert seen.state == "done"
        assert seen.counts.done == seen.counts.new == sum(seen.by_sku.values()) == expected["accepted"], name
        assert refused(seen.job_id) == expected["refused"], name
        assert seen.counts.refused == len(expected["refused"]), name
        assert seen.counts.skipped == len(expected["skipped"]), name
    for name in FILES:
        seen = sample(name)
        assert seen.counts.done == seen.counts.new == 0, name
        assert seen.lots == [], name

    total = sum(expected["accepted"] for expected in EXPECTED["files"].values())
    assert inventory.Card.count() == inventory.Fingerprint.count() == total


def test_duplicates_are_counted_before_the_run_and_the_preview_shows_masks(catalogue: None) -> None:
    take_in(b"FIRST-CARD-0001", "one.txt", NOW, "G020")
    job_id = asked(b"FIRST-CARD-0001\nSECOND-CARD-0002", "two.txt", NOW, "G020", cost_minor=250, lot="spring")

    seen = checked(job_id, NOW)

    assert (seen.state, seen.counts.new, seen.counts.duplicates, seen.counts.refused) == ("checked", 1, 1, 1)
    assert [row.model_dump() for row in seen.preview] == [
        {
            "line": 2,
            "sku": "G020",
            "number": None,
            "code": "••••0002",
            "expires_on": seen.preview[0].expires_on,
            "cost_e6": 2_500_000,
            "lot": "spring",
        }
    ]
    assert seen.total_cost is not None
    assert seen.total_cost.amount_minor == 250
    assert inventory.Card.count() == 1
    assert jobs.job_of(job_id).wrapped_key is not None


def test_what_a_row_does_not_say_the_options_say_and_the_lot_remembers_where_it_came_from(catalogue: None) -> None:
    seen = take_in(
        b"OPTIONS-CARD-01",
        "one.txt",
        NOW,
        "G020",
        supplier="acme",
        purchase_id="PO-7",
        cost_e6=1_234_567,
        expires_on="2027-01-31",
        lot="winter",
        documents={"invoice": "https://files.example/7.pdf"},
    )

    [card] = inventory.Card.scan()
    assert (card.cost_e6, card.expires_on, card.purchase_id) == (1_234_567, "2027-01-31", "PO-7")
    [made] = seen.lots
    lot = lot_records.lot_of(made.lot_id)
    assert (lot.label, lot.supplier, lot.purchase_id, lot.job_id) == ("winter", "acme", "PO-7", seen.job_id)
    assert (lot.documents, lot.source, made.cards) == ({"invoice": "https://files.example/7.pdf"}, "one.txt", 1)


def test_what_came_in_is_booked_at_whole_cents_and_owed_exactly(catalogue: None) -> None:
    sample("cards_with_expiry.csv")

    _, books = stock_sums()
    quantity = sum(leg.quantity or 0 for entry in ledger.entries_of(clock.shanghai_day(NOW)) for leg in entry.legs)
    assert quantity == 886
    assert books.keys() == {"inventory", "payable:acme"}
    assert sum(books.values()) == 0


def test_what_is_owed_for_a_whole_import_is_rounded_once(catalogue: None) -> None:
    take_in(texts(101), "many.txt", NOW, "G020", supplier="acme", cost_e6=3_333)  # 0.003333 each

    assert stock_sums()[1]["payable:acme"] == -34  # 0.336633, not what three transactions would round to


def test_the_same_number_with_another_password_is_a_conflict(catalogue: None) -> None:
    first, other = "卡号：JD111122223333----密码：AAAA BBBB", "卡号：JD111122223333----密码：AAAA CCCC"
    reports = [
        take_in(text.encode(), "pairs.txt", NOW, "C055", shape="number_password") for text in (first, first, other)
    ]
    assert [report.counts.done for report in reports] == [1, 0, 0]
    assert [[row.reason for row in report.refused] for report in reports[1:]] == [
        ["duplicate_in_stock"],
        ["number_conflict"],
    ]


def test_a_sold_code_is_refused_for_ever(catalogue: None) -> None:
    take_in(b"SOLD-CODE-0001", "one.txt", NOW, "G020")
    [card] = inventory.Card.scan()
    card.update([inventory.Card.state.set("sold"), inventory.Card.shelf.remove()])

    report = take_in(b"sold code 0001", "two.txt", NOW, "V001", supplier="other")
    assert [row.reason for row in report.refused] == ["duplicate_in_stock"]


def test_a_row_lost_to_another_import_costs_that_row_and_not_its_chunk(catalogue: None) -> None:
    mine = asked(texts(60), "mine.txt", NOW, "G020", supplier="acme")
    checked(mine, NOW)
    take_in(b"MANY-000007-ABCD\nMANY-000055-ABCD", "theirs.txt", NOW, "G020", supplier="other")

    seen = run(mine, NOW)

    assert (seen.state, seen.counts.done, seen.counts.duplicates) == ("done", 58, 2)
    assert inventory.Card.count() == 60
    assert "•••• " not in download(seen)
    assert [line.split("：")[0] for line in download(seen).splitlines()[1:]] == [
        "# 第 8 行 G020 ••••ABCD",
        "# 第 56 行 G020 ••••ABCD",
    ]


def test_while_two_peppers_live_a_card_is_known_under_both(catalogue: None) -> None:
    take_in(b"OLD-PEPPER-0001", "one.txt", NOW, "G020")
    ring = {"current": "2", "1": "PEPPER_SECRET-".ljust(64, "x"), "2": "y" * 64}
    boto3.client("secretsmanager").put_secret_value(
        SecretId=settings.get("PEPPER_SECRET"), SecretString=json.dumps(ring)
    )
    keyring._read.clear()

    seen = take_in(b"OLD-PEPPER-0001\n" + texts(70), "two.txt", NOW, "G020")

    assert (seen.counts.done, seen.counts.duplicates) == (70, 1)
    assert inventory.Fingerprint.count() == 1 + 2 * 70


def test_a_spreadsheet_gives_the_same_as_its_csv(catalogue: None) -> None:
    book = openpyxl.Workbook()
    text = (DATA / "cards_with_expiry.csv").read_bytes().decode("utf-8-sig")
    for row in csv.reader(io.StringIO(text)):
        book.active.append(row)
    written = io.BytesIO()
    book.save(written)

    seen = take_in(written.getvalue(), "cards_with_expiry.xlsx", NOW, supplier="acme")

    expected = EXPECTED["files"]["cards_with_expiry.csv"]
    assert (seen.state, seen.counts.done) == ("done", expected["accepted"])
    assert refused(seen.job_id) == expected["refused"]
    assert sample("cards_with_expiry.csv").counts.done == 0


# What is asked for


@pytest.mark.parametrize(
    ("file", "name", "reason"),
    [
        (None, "none.txt", "upload_missing"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 old", "old.xls", "unreadable_spreadsheet"),
        (b"PK\x03\x04 broken", "broken.xlsx", "unreadable_spreadsheet"),
        (b"#\n" * 250_001, "long.txt", "too_many_rows"),
        (
            b"code,lot\n" + b"\n".join(b"LOT-CODE-%05d,lot %d" % (n, n) for n in range(210)),
            "lots.csv",
            "too_many_lots",
        ),
    ],
)
def test_a_file_that_cannot_be_checked_fails_its_job_by_name(
    catalogue: None, file: bytes | None, name: str, reason: str
) -> None:
    job_id = asked(file or b"", name, NOW, "G020")
    if file is None:
        boto3.client("s3").delete_object(Bucket=settings.get("PASSING_BUCKET"), Key=f"uploads/{job_id}")

    seen = checked(job_id, NOW)

    assert seen.state == "failed"
    assert seen.reason is not None
    assert seen.reason.code == reason
    assert min(len(seen.reason.zh), len(seen.reason.en)) > 4
    assert inventory.Card.count() == 0
    assert objects() == {}


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"expires_on": "2026-11-21"}, "options.expires_on"),
        ({"expires_on": "2026-02-30"}, "options.expires_on"),
        ({"cost_minor": 1, "cost_e6": 1}, "options.cost_minor"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_there_is_a_job(
    catalogue: None, options: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        asked(b"", "one.txt", NOW, "G020", **options)
    assert [one["field"] for one in refusal.value.facts["fields"]] == [field]  # type: ignore[index,attr-defined]
    assert Job.count() == 0


def test_the_same_key_gives_the_same_job_and_another_request_under_it_is_refused(catalogue: None) -> None:
    wanted = imports.CreateImport(kind="cards", sku="G020", file_name="one.txt", options=ImportOptions())

    first, again = (imports.create(wanted, "key-1", OPERATOR, NOW) for _ in range(2))

    assert first.job_id == again.job_id
    with pytest.raises(KeyReused):
        imports.create(wanted.model_copy(update={"file_name": "two.txt"}), "key-1", OPERATOR, NOW)
    assert imports.create(wanted, "key-2", OPERATOR, NOW).job_id != first.job_id


def test_a_file_comes_by_a_signed_link(catalogue: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")  # the only ones whose signatures ministack knows
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    aws.client.cache_clear()
    wanted = imports.CreateImport(kind="cards", sku="G020", file_name="one.txt", options=ImportOptions())
    made = imports.create(wanted, "", OPERATOR, NOW)

    assert imported.put(made.upload_url, b"LINKED-CARD-0001") == 200

    checked(made.job_id, NOW)
    assert run(made.job_id, NOW).counts.done == 1


def test_check_and_run_asked_for_again_change_nothing_and_out_of_turn_are_refused(catalogue: None) -> None:
    job_id = asked(b"TURN-CARD-0001", "one.txt", NOW, "G020")
    with pytest.raises(WrongJobState):
        imports.run(job_id, OPERATOR, NOW)

    checked(job_id, NOW)
    assert imports.check(job_id, OPERATOR, NOW).state == "checked"
    run(job_id, NOW)
    assert imports.run(job_id, OPERATOR, NOW).state == "done"
    with pytest.raises(WrongJobState):
        imports.cancel(job_id, OPERATOR, NOW)


# What is kept


def objects(bucket: str = "") -> dict[str, bytes]:
    s3, bucket = boto3.client("s3"), bucket or settings.get("PASSING_BUCKET")
    names = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]
    return {name: s3.get_object(Bucket=bucket, Key=name)["Body"].read() for name in names}


def everything_stored() -> str:
    """Every byte at rest, binary as it is and as base 64 decoded."""
    dynamodb = boto3.client("dynamodb")
    scan = dynamodb.get_paginator("scan")
    rows = [scan.paginate(TableName=table).build_full_result() for table in dynamodb.list_tables()["TableNames"]]
    return repr(rows) + repr([objects(settings.get(bucket)) for bucket in ("PASSING_BUCKET", "BUCKET")])


def test_no_stored_byte_shows_a_code_after_the_check_and_after_the_import(catalogue: None) -> None:
    job_id = asked(b"CANARY-7F3K-QQ9Z\nCANARY-7F3K-QQ9Z\n=CANARY7F3K-BAD", "one.txt", NOW, "G020")
    assert "7F3K" in everything_stored()  # the upload: the one place, for the moment

    checked(job_id, NOW)
    assert "7F3K" not in everything_stored()
    seen = run(job_id, NOW)

    assert "7F3K" not in everything_stored()
    assert "7F3K" not in seen.model_dump_json()
    assert inventory.Card.count() == inventory.Fingerprint.count() == 1
    assert [name.partition("/")[0] for name in objects()] == ["refused"]


def test_what_was_refused_is_forgotten_within_the_hour_with_its_key(catalogue: None) -> None:
    job_id = asked(b"GOOD-CARD-0001\n=BAD-CARD", "one.txt", NOW, "G020")
    checked(job_id, NOW)
    due = NOW + timedelta(minutes=61)
    assert any(name.startswith("refused/") for name in objects())

    deadlines.run(due)
    bulk_jobs.work({"job_id": job_id}, due)

    assert [name.partition("/")[0] for name in objects()] == ["jobs", "jobs"]
    assert import_files.refused_rows(jobs.job_of(job_id), 1) is None
    assert imports.show(job_id, OPERATOR, due).refused_url is None
    assert run(job_id, due).counts.done == 1
    assert objects() == {}


@pytest.mark.parametrize("end", ["cancelled", "done", "undone"])
def test_nothing_is_kept_of_an_import_an_hour_after_its_end(catalogue: None, end: str) -> None:
    job_id = asked(b"GOOD-CARD-0001\n=BAD-CARD", "one.txt", NOW, "G020")
    checked(job_id, NOW)
    if end == "cancelled":
        imports.cancel(job_id, OPERATOR, NOW)
        assert jobs.job_of(job_id).wrapped_key is None
    else:
        run(job_id, NOW)
    if end == "undone":
        undone(job_id, NOW)
    assert "BAD-CARD" in download(imports.show(job_id, OPERATOR, NOW))

    due = NOW + timedelta(minutes=61)
    assert jobs.overdue(due, 10) == [job_id]
    bulk_jobs.work({"job_id": job_id}, due)

    assert objects() == {}
    assert parts.parts_of(job_id, "refused") == []
    assert jobs.overdue(due + timedelta(days=30), 10) == []
    assert imports.show(job_id, OPERATOR, due).state == end


def test_a_checked_file_that_nobody_runs_is_given_up_within_a_week(catalogue: None) -> None:
    job_id = asked(b"GOOD-CARD-0001", "one.txt", NOW, "G020")
    checked(job_id, NOW)
    for later in (timedelta(hours=2), timedelta(days=7)):
        bulk_jobs.work({"job_id": job_id}, NOW + later)

    seen = imports.show(job_id, OPERATOR, NOW)
    assert (seen.state, seen.reason and seen.reason.code) == ("cancelled", "rows_gone")
    assert objects() == {}
    assert jobs.job_of(job_id).wrapped_key is None
    assert jobs.overdue(NOW + timedelta(days=30), 10) == []


# The refused rows


def test_the_refused_file_corrected_imports_the_rest_and_nothing_else(catalogue: None) -> None:
    text = "sku,code,expires_on,lot\n" + "\n".join(
        [
            "G020,MEND-CODE-0001,2027-05-01,a",
            "G020,MEND-CODE-0002,2027-13-01,a",  # no such month
            "G020,=MEND-CODE-0003,2027-05-01,b",  # a formula
            "G020,MEND-CODE-0001,2027-05-01,a",  # again
            "NONE,MEND-CODE-0005,2027-05-01,a",  # no such SKU
        ]
    )
    seen = take_in(text.encode(), "mend.csv", NOW, supplier="acme", cost_minor=150)
    given = download(seen)
    assert given.startswith("sku,number,code,expires_on,cost,lot,remark\r\n")
    assert "'=MEND-CODE-0003" in given
    assert "MEND-CODE-0001" not in given

    untouched = take_in(given.encode("utf-8-sig"), "refused.csv", NOW, supplier="acme")
    mended = given.replace("2027-13-01", "2027-12-01").replace("'=MEND", "MEND").replace("NONE", "G020")
    again = take_in(mended.encode("utf-8-sig"), "refused.csv", NOW, supplier="acme")

    assert (untouched.counts.done, untouched.counts.refused, untouched.counts.skipped) == (0, 3, 1)
    assert (again.counts.done, again.counts.refused) == (3, 0)
    assert {str(card.cost_e6) for card in inventory.Card.scan()} == {"1500000"}
    assert sorted(str(card.expires_on) for card in inventory.Card.scan()) == ["2027-05-01"] * 3 + ["2027-12-01"]


@pytest.mark.parametrize("name", FILES)
def test_the_refused_rows_of_a_sample_file_can_be_read_again_and_are_refused_again(catalogue: None, name: str) -> None:
    seen = sample(name)
    if not seen.counts.refused:
        return
    again = take_in(download(seen).encode("utf-8-sig"), "refused.csv", NOW, supplier="acme")

    assert again.counts.done == 0
    assert again.counts.refused + again.counts.skipped == seen.counts.refused


def test_a_link_ends_and_cannot_be_forged_or_moved_to_another_job(catalogue: None) -> None:
    seen, other = (take_in(b"=BAD-CARD-000%d" % n, "one.txt", NOW, "G020") for n in (1, 2))
    link = dict(parse_qsl(urlsplit(str(seen.refused_url)).query))
    query = RefusedQuery(expires=int(link["expires"]), signature=link["signature"])
    assert "BAD-CARD-0001" in refused_rows.download(seen.job_id, query, NOW)

    for job_id, tried, now in [
        (other.job_id, query, NOW),
        (seen.job_id, query.model_copy(update={"expires": query.expires + 1}), NOW),
        (seen.job_id, query.model_copy(update={"signature": query.signature[:-2] + "AA"}), NOW),
        (seen.job_id, query.model_copy(update={"signature": "9." + query.signature[2:]}), NOW),
        (seen.job_id, query, NOW + timedelta(minutes=16)),
    ]:
        with pytest.raises(LinkOver):
            refused_rows.download(job_id, tried, now)


def test_no_link_outlives_the_hour_in_which_the_rows_are_kept(catalogue: None) -> None:
    seen = take_in(b"=BAD-CARD-0001", "one.txt", NOW, "G020")
    late = imports.show(seen.job_id, OPERATOR, NOW + timedelta(minutes=55))
    with pytest.raises(LinkOver):
        download(late, NOW + timedelta(minutes=61))


# Stopping, dying, taking back


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_cancelled_run_stops_at_once_and_says_how_many_are_in(catalogue: None, nth: int) -> None:
    job_id = asked(texts(130), "many.txt", NOW, "G020", supplier="acme")
    checked(job_id, NOW)
    imports.run(job_id, OPERATOR, NOW)

    answers: list[ImportView] = []
    with at_call("TransactWriteItems", nth, lambda: answers.append(imports.cancel(job_id, OPERATOR, NOW))):
        bulk_jobs.work({"job_id": job_id}, NOW)

    [answer] = answers
    assert (answer.state, answer.counts.done) == ("cancelled", 48 * (nth - 1))
    assert inventory.Card.count() == inventory.Fingerprint.count() == 48 * (nth - 1)
    assert worked(job_id, NOW).counts.done == 48 * (nth - 1)  # a message that was on its way


def test_a_cancelled_check_leaves_no_upload_behind(catalogue: None) -> None:
    job_id = asked(texts(20), "many.txt", NOW, "G020")
    imports.check(job_id, OPERATOR, NOW)
    with at_call("PutObject", 1, lambda: imports.cancel(job_id, OPERATOR, NOW)):
        bulk_jobs.work({"job_id": job_id}, NOW)

    assert imports.show(job_id, OPERATOR, NOW).state == "cancelled"
    assert not any(name.startswith("uploads/") for name in objects())
    assert jobs.job_of(job_id).wrapped_key is None


FILE = b"\n".join([texts(100), b"MANY-000003-ABCD", b"=FORMULA"])


def whole_import(nth: int, phase: str) -> tuple[bool, ImportView]:
    """An import whose worker dies after its n-th write in a phase, and is sent again; whether it died."""
    job_id = asked(FILE, "many.txt", NOW, "G020", supplier="acme", cost_e6=15_005_000)
    died = False
    for name, ask in (("check", imports.check), ("run", imports.run), ("undo", imports.undo)):
        ask(job_id, OPERATOR, NOW)
        if name == phase:
            with dying_after(nth) as seen:
                try:
                    bulk_jobs.work({"job_id": job_id}, NOW)
                except Died:
                    died = True
            assert died == (len(seen) >= nth)
        bulk_jobs.work({"job_id": job_id}, NOW)
        if name == phase and phase != "undo":
            bulk_jobs.work({"job_id": job_id}, NOW)
        if name == "run" and phase != "undo":
            break
    return died, imports.show(job_id, OPERATOR, NOW)


@pytest.mark.parametrize("phase", ["check", "run", "undo"])
def test_a_death_after_any_write_leaves_the_same_sums_and_no_row_twice(atomic_cloud: None, phase: str) -> None:
    died, nth = True, 0
    while died:
        nth += 1
        for table in ("products", "cards", "fingerprints", "lots", "jobs", "ledger"):
            empty(settings.table(table))
        catalog.save(importing.read(CATALOGUE).skus, NOW)

        died, seen = whole_import(nth, phase)

        assert (seen.counts.new, seen.counts.duplicates, seen.counts.refused) == (100, 1, 2), nth
        assert seen.counts.done == 100, nth
        states, books = stock_sums()
        assert inventory.Fingerprint.count() == 100, nth
        if phase == "undo":
            assert (seen.state, seen.counts.undone, seen.counts.left) == ("undone", 100, 0), nth
            assert (states, books) == ({"void": 100}, {}), nth
        else:
            assert seen.state == "done", nth
            assert states == {"available": 100}, nth
            # half-even, each card by itself and the whole debt once: 15.005 → 15.00, 1,500.50
            assert books == {"inventory": 150_000, "payable:acme": -150_050, "rounding": 50}, nth
        assert not any(name.startswith(("uploads/", "jobs/")) for name in objects()), nth
    assert nth > 5


def empty(table: str) -> None:
    dynamodb = boto3.client("dynamodb")
    described = dynamodb.describe_table(TableName=table)["Table"]
    keys = [key["AttributeName"] for key in described["KeySchema"]]
    for page in dynamodb.get_paginator("scan").paginate(TableName=table, AttributesToGet=keys):
        for start in range(0, len(page["Items"]), 25):
            wanted = [{"DeleteRequest": {"Key": key}} for key in page["Items"][start : start + 25]]
            dynamodb.batch_write_item(RequestItems={table: wanted})


def test_an_undone_import_can_come_in_again_corrected(catalogue: None) -> None:
    first = take_in(texts(120), "wrong.txt", NOW, "V001", supplier="acme", cost_e6=3_333)

    taken_back = undone(first.job_id, NOW)
    assert (taken_back.state, taken_back.counts.undone, taken_back.counts.left) == ("undone", 120, 0)
    assert stock_sums() == ({"void": 120}, {})
    again = take_in(texts(120), "right.txt", NOW, "G020", supplier="acme", cost_e6=3_333)

    assert (again.counts.done, again.counts.duplicates) == (120, 0)
    assert stock_sums()[0] == {"void": 120, "available": 120}
    assert inventory.Fingerprint.count() == 120
    assert take_in(texts(120), "third.txt", NOW, "G020").counts.done == 0


def test_an_import_of_which_a_card_is_held_or_sold_is_not_undone_at_all(catalogue: None) -> None:
    seen = take_in(texts(3), "many.txt", NOW, "G020")
    first, second, _ = inventory.Card.scan()
    first.update([inventory.Card.state.set("sold"), inventory.Card.shelf.remove()])
    second.update([inventory.Card.state.set("held"), inventory.Card.shelf.remove()])

    with pytest.raises(CardsGone) as refusal:
        undone(seen.job_id, NOW)

    assert refusal.value.facts == {"held": 1, "sold": 1}
    assert stock_sums()[0] == {"available": 1, "held": 1, "sold": 1}
    assert imports.show(seen.job_id, OPERATOR, NOW).state == "done"


def test_a_card_that_is_taken_while_the_undo_goes_on_is_left_and_said(catalogue: None) -> None:
    seen = take_in(texts(10), "many.txt", NOW, "G020", supplier="acme", cost_e6=1_000_000)
    imports.undo(seen.job_id, OPERATOR, NOW)
    taken = str(next(iter(inventory.Card.scan())).card_id)

    def buy() -> None:
        with Transaction() as tx:
            inventory.hold(tx, taken, "G020", "ord_1", "shop")

    with at_call("TransactWriteItems", 1, buy):
        after = worked(seen.job_id, NOW)

    assert (after.state, after.counts.undone, after.counts.left) == ("undone", 9, 1)
    assert stock_sums() == ({"void": 9, "held": 1}, {"inventory": 100, "payable:acme": -100})
    assert take_in(texts(10), "again.txt", NOW, "G020").counts.done == 9


def test_what_was_held_during_an_undo_can_be_taken_back_later(catalogue: None) -> None:
    seen = take_in(texts(5), "many.txt", NOW, "G020", supplier="acme", cost_e6=1_000_000)
    imports.undo(seen.job_id, OPERATOR, NOW)
    card = next(iter(inventory.Card.scan()))
    card.update([inventory.Card.state.set("held"), inventory.Card.order_id.set("ord_1"), inventory.Card.shelf.remove()])
    assert worked(seen.job_id, NOW).counts.left == 1
    with Transaction() as tx:
        inventory.release(tx, str(card.card_id), "ord_1")

    again = undone(seen.job_id, NOW)

    assert (again.counts.undone, again.counts.left) == (5, 0)
    assert stock_sums() == ({"void": 5}, {})


def test_a_cancelled_import_is_undone_as_far_as_it_came(catalogue: None) -> None:
    job_id = asked(texts(130), "many.txt", NOW, "G020", supplier="acme")
    checked(job_id, NOW)
    imports.run(job_id, OPERATOR, NOW)
    with at_call("TransactWriteItems", 2, lambda: imports.cancel(job_id, OPERATOR, NOW)):
        bulk_jobs.work({"job_id": job_id}, NOW)

    assert undone(job_id, NOW).counts.undone == 48
    assert stock_sums() == ({"void": 48}, {})


def test_a_recalled_lot_is_not_undone_and_takes_no_more_cards(catalogue: None) -> None:
    job_id = asked(texts(130), "many.txt", NOW, "G020", supplier="acme")
    checked(job_id, NOW)
    imports.run(job_id, OPERATOR, NOW)

    def recall() -> None:
        [lot] = lot_records.Lot.scan()
        lot_records.recall(str(lot.lot_id), "rcl_1")

    with at_call("TransactWriteItems", 2, recall):
        bulk_jobs.work({"job_id": job_id}, NOW)

    seen = imports.show(job_id, OPERATOR, NOW)
    assert (seen.state, seen.counts.done, seen.reason and seen.reason.code) == ("failed", 48, "lot_changed")
    assert inventory.Card.count() == 48
    with pytest.raises(RecalledMeanwhile):
        undone(job_id, NOW)


def test_an_older_worker_has_lost_its_say_once_another_has_taken_the_job_up(catalogue: None) -> None:
    job_id = asked(texts(130), "many.txt", NOW, "G020")
    checked(job_id, NOW)
    imports.run(job_id, OPERATOR, NOW)

    with at_call("TransactWriteItems", 2, lambda: bulk_jobs.work({"job_id": job_id}, NOW)):
        bulk_jobs.work({"job_id": job_id}, NOW)

    assert imports.show(job_id, OPERATOR, NOW).counts.done == 130
    assert inventory.Card.count() == inventory.Fingerprint.count() == 130


@pytest.mark.parametrize("kind", ["cards", "catalogue"])
def test_a_late_worker_that_misses_the_file_which_another_has_read_does_not_fail_the_job(
    catalogue: None, kind: str
) -> None:
    file, name, sku = (CATALOGUE, "catalogue.csv", None) if kind == "catalogue" else (texts(3), "some.txt", "G020")
    job_id = asked(file, name, NOW, sku, kind)
    imports.check(job_id, OPERATOR, NOW)

    with at_call("GetObject", 1, lambda: bulk_jobs.work({"job_id": job_id}, NOW)):
        bulk_jobs.work({"job_id": job_id}, NOW)

    assert imports.show(job_id, OPERATOR, NOW).state == "checked"
    assert run(job_id, NOW).state == "done"


@pytest.mark.parametrize("kind", ["cards", "catalogue"])
def test_a_check_that_fails_keeps_nothing_wherever_its_worker_dies(atomic_cloud: None, kind: str) -> None:
    many = b"code,lot\n" + b"\n".join(b"LOT-CODE-%05d,lot %d" % (n, n % 300) for n in range(900))
    file, sku = (many, "G020") if kind == "cards" else (b"a,b", None)
    catalog.save(importing.read(CATALOGUE).skus, NOW)
    died, nth = True, 0
    while died:
        nth += 1
        job_id, died = asked(file, "some.csv", NOW, sku, kind), False
        imports.check(job_id, OPERATOR, NOW)
        with dying_after(nth):
            try:
                bulk_jobs.work({"job_id": job_id}, NOW)
            except Died:
                died = True
        seen = worked(job_id, NOW)
        assert seen.reason is not None, nth
        assert seen.reason.code in {"too_many_lots", "wrong_columns"}, nth
        assert not any(job_id in key for key in objects()), nth
    assert nth > 4


# The catalogue


def test_a_catalogue_is_checked_saved_in_parts_and_published(atomic_cloud: None) -> None:
    job_id = asked(CATALOGUE, "catalogue.csv", NOW, kind="catalogue")
    seen = checked(job_id, NOW)
    assert (seen.state, seen.counts.new, seen.counts.changed, seen.counts.unchanged) == ("checked", 73, 0, 0)
    assert list(catalog.everything()) == []

    done = run(job_id, NOW)

    assert (done.state, done.counts.done) == ("done", 73)
    assert done.snapshot
    assert len(list(catalog.everything())) == 73
    assert objects() == {}
    again = take_in(CATALOGUE, "catalogue.csv", NOW, kind="catalogue")
    assert (again.counts.new, again.counts.unchanged, again.snapshot) == (0, 73, done.snapshot)
    with pytest.raises(NotUndone):
        imports.undo(job_id, OPERATOR, NOW)


@pytest.mark.parametrize(("file", "reason"), [(b"\xff\xfe\x00", "unreadable_file"), (b"a,b\n1,2", "wrong_columns")])
def test_a_file_that_is_no_catalogue_fails_its_job_by_name(atomic_cloud: None, file: bytes, reason: str) -> None:
    seen = checked(asked(file, "catalogue.csv", NOW, kind="catalogue"), NOW)
    assert (seen.state, seen.reason and seen.reason.code) == ("failed", reason)


def test_a_catalogue_whose_worker_dies_after_any_write_is_saved_once(atomic_cloud: None) -> None:
    died, nth = True, 0
    while died:
        nth += 1
        for table in ("products", "jobs"):
            empty(settings.table(table))
        job_id, died = asked(CATALOGUE, "catalogue.csv", NOW, kind="catalogue"), False
        checked(job_id, NOW)
        imports.run(job_id, OPERATOR, NOW)
        with dying_after(nth):
            try:
                bulk_jobs.work({"job_id": job_id}, NOW)
            except Died:
                died = True
        seen = worked(job_id, NOW)
        assert (seen.state, seen.counts.done) == ("done", 73), nth
        assert {sku.version for sku in catalog.everything()} == {1}, nth
