"""SKUs in their table and the snapshot in its bucket: versions, repeated imports, makers overtaking each other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import boto3
import pytest

from shared.catalog import importing, indexing, records, snapshots
from shared.catalog.errors import NotForSale, UnknownSku
from shared.catalog.records import Changes
from shared.kernel.errors import Busy
from shared.kernel.records import Lost
from shared.steps import catalogue_import
from tests.imported import catalogue

FILE = (Path(__file__).parents[2] / "infra" / "local" / "sample" / "catalogue.csv").read_bytes()
SAMPLE = importing.read(FILE).skus
CARD, TOPUP = SAMPLE[0], next(sku for sku in SAMPLE if sku.kind == "topup")
NOON, LATER = datetime(2026, 5, 1, 4, tzinfo=UTC), datetime(2026, 5, 2, 4, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    snapshots._held.clear()
    yield
    snapshots._held.clear()


def no_recheck_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "RECHECK", 0)


def products_shown(text: str = "") -> int:
    return len(snapshots.current().search(text, None, None, 1000).products)


def a_file(text: str = "", without: str = "") -> bytes:
    lines = [line for line in FILE.decode("utf-8-sig").splitlines() if not without or not line.startswith(without)]
    return "\n".join([*lines, text]).encode()


def test_a_stored_sku_reads_back_as_the_file_said_it(cloud: None) -> None:
    records.save(SAMPLE, NOON)

    stored = records.skus(sku.sku for sku in SAMPLE)

    assert stored == {sku.sku: replace(sku, version=1) for sku in SAMPLE}


def test_the_same_file_again_changes_nothing(cloud: None) -> None:
    assert records.save(SAMPLE, NOON) == Changes(created=73)
    assert records.save(SAMPLE, LATER) == Changes(unchanged=73)

    assert records.skus(["V001"])["V001"].version == 1
    assert records.StoredSku.get("sku#V001").changed_at == "2026-05-01T04:00:00.000Z"


def test_a_change_of_price_makes_the_next_version_of_that_sku_only(cloud: None) -> None:
    records.save(SAMPLE, NOON)

    assert records.save([replace(CARD, price_minor=2400), *SAMPLE[1:]], LATER) == Changes(changed=1, unchanged=72)

    stored = records.skus(["V001", "V002"])
    assert (stored["V001"].price_minor, stored["V001"].version) == (2400, 2)
    assert stored["V002"].version == 1
    assert records.StoredSku.get("sku#V001").changed_at == "2026-05-02T04:00:00.000Z"


@pytest.mark.parametrize("field", ["cost_e6", "tags", "account", "limit_per_order", "face_minor", "category"])
def test_every_field_of_a_file_is_compared(cloud: None, field: str) -> None:
    other = {
        "cost_e6": 1,
        "tags": ("新",),
        "account": "qq:QQ号",
        "limit_per_order": 7,
        "face_minor": None,
        "category": "其他",
    }
    records.save([CARD], NOON)

    assert records.save([replace(CARD, **{field: other[field]})], LATER) == Changes(changed=1)  # type: ignore[arg-type]
    assert getattr(records.skus(["V001"])["V001"], field) == other[field]


def test_an_import_leaves_the_shards_of_a_shelf_alone(cloud: None) -> None:
    records.save([CARD], NOON)
    records.StoredSku("sku#V001").update([records.StoredSku.shards.set(4)])

    records.save([replace(CARD, price_minor=1)], LATER)

    assert records.skus(["V001"])["V001"].shards == 4


def test_more_skus_than_a_transaction_holds_are_all_stored(cloud: None) -> None:
    many = [replace(CARD, sku=f"M{n:03}") for n in range(records.CHUNK * 2 + 1)]

    assert records.save(many, NOON) == Changes(created=201)
    assert len(list(records.everything())) == 201
    assert len(records.skus(sku.sku for sku in many)) == 201


def test_two_imports_at_once_never_give_two_prices_one_version(cloud: None, monkeypatch: pytest.MonkeyPatch) -> None:
    records.save([CARD], NOON)
    write, raced = records._write, []

    def overtaken(new: list[object], other: list[object], at: str) -> None:
        if not raced:  # the other import comes between our look and our write
            raced.append(True)
            records.save([replace(CARD, price_minor=1)], NOON)
        write(new, other, at)  # type: ignore[arg-type]

    monkeypatch.setattr(records, "_write", overtaken)
    assert records.save([replace(CARD, price_minor=2)], LATER) == Changes(changed=1)

    stored = records.skus(["V001"])["V001"]
    assert (stored.price_minor, stored.version) == (2, 3)


def test_an_import_that_always_loses_says_busy(cloud: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(*_: object) -> None:
        raise Lost("V001")

    monkeypatch.setattr(records, "_write", lose)

    with pytest.raises(Busy):
        records.save([CARD], NOON)


def test_the_skus_of_an_order_are_read_consistently_in_one_call(cloud: None) -> None:
    records.save(SAMPLE, NOON)
    calls: list[dict[str, object]] = []
    connection = records.StoredSku._get_connection().connection
    connection.client.meta.events.register(
        "before-parameter-build.dynamodb.*", lambda params, model, **_: calls.append({model.name: params})
    )

    found = records.skus(["V001", "G024", "V001", "nothing"])

    assert sorted(found) == ["G024", "V001"]
    [call] = calls
    asked = call["BatchGetItem"]["RequestItems"]["kaquan-test-products"]  # type: ignore[index]
    assert asked["ConsistentRead"] is True
    assert len(asked["Keys"]) == 3  # DynamoDB refuses a key that comes twice


def test_a_sku_costs_one_write_unit(cloud: None) -> None:
    fullest = replace(
        TOPUP, category="类" * 20, brand="牌" * 30, name="名" * 60, spec="规" * 60, account="qq:QQ号", tags=("签" * 59,)
    )
    records.save([fullest, *(sku for sku in SAMPLE if sku.sku != fullest.sku)], NOON)

    for item in boto3.client("dynamodb").scan(TableName="kaquan-test-products")["Items"]:
        size = sum(len(name) + len(next(iter(value.values())).encode()) for name, value in item.items())
        assert size < (1024 if item["id"]["S"] == f"sku#{fullest.sku}" else 600)


def test_only_what_this_release_delivers_can_be_ordered(cloud: None) -> None:
    records.save(SAMPLE, NOON)

    assert list(records.for_sale(["V001", "C060"])) in (["V001", "C060"], ["C060", "V001"])
    with pytest.raises(NotForSale) as refusal:
        records.for_sale(["V001", TOPUP.sku, "B071"])  # the last is booked by hand
    assert (refusal.value.status, refusal.value.facts) == (409, {"sku": "B071"})
    with pytest.raises(UnknownSku) as unknown:
        records.for_sale(["V001", "nothing"])
    assert (unknown.value.status, unknown.value.facts) == (404, {"sku": "nothing"})


def test_an_import_reports_each_line_and_publishes_what_it_took(cloud: None) -> None:
    report = catalogue(a_file("V001,again\nV002" + ",x" * 12), NOON)

    counts = report.counts
    assert (counts.new, counts.changed, counts.unchanged, counts.refused) == (73, 0, 0, 2)
    assert [(line.line, line.reason) for line in report.refused_lines] == [(75, "wrong_cells"), (76, "unknown_kind")]
    assert all(line.zh and line.en for line in report.refused_lines)
    assert snapshots.current().version == report.snapshot
    assert products_shown() == 47


def test_a_report_shows_the_first_refusals_and_counts_them_all(cloud: None) -> None:
    report = catalogue(a_file("short\n" * 600), NOON)

    assert (report.counts.refused, len(report.refused_lines)) == (600, catalogue_import.SHOWN)


def test_before_the_first_import_the_shop_is_empty(cloud: None) -> None:
    assert products_shown() == 0
    assert products_shown("王者") == 0
    assert snapshots.current().categories == []


def test_importing_again_publishes_nothing_new_and_mends_what_is_missing(cloud: None) -> None:
    first = catalogue(FILE, NOON)
    put_at = head()["LastModified"], head()["ETag"], versions()

    assert catalogue(FILE, LATER).snapshot == first.snapshot
    assert (head()["LastModified"], head()["ETag"], versions()) == put_at

    boto3.client("s3").delete_object(Bucket=os.environ["BUCKET"], Key=snapshots.KEY)
    assert catalogue(FILE, LATER).snapshot == first.snapshot
    assert products_shown() == 47


def test_a_file_with_part_of_the_catalogue_leaves_the_rest_on_show(cloud: None) -> None:
    catalogue(FILE, NOON)
    header = a_file().decode().splitlines()[0]

    catalogue(f"{header}\nN001,新类,新牌,新品,,card,1,1,0,,,,".encode(), LATER)

    assert products_shown() == 48


def test_a_door_sees_a_new_snapshot_after_the_recheck_and_not_before(
    cloud: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = [1000.0]
    monkeypatch.setattr(snapshots.time, "monotonic", lambda: moment[0])
    catalogue(a_file(without="G02"), NOON)
    assert products_shown("王者") == 0
    catalogue(FILE, LATER)

    moment[0] += snapshots.RECHECK - 0.1
    assert products_shown("王者") == 0
    moment[0] += 0.2
    assert products_shown("王者") == 1


def test_an_unchanged_snapshot_is_not_loaded_again(cloud: None, monkeypatch: pytest.MonkeyPatch) -> None:
    no_recheck_delay(monkeypatch)
    catalogue(FILE, NOON)

    assert snapshots.current() is snapshots.current()


def test_a_door_goes_on_with_what_it_holds_when_the_bucket_fails(cloud: None, monkeypatch: pytest.MonkeyPatch) -> None:
    no_recheck_delay(monkeypatch)
    catalogue(FILE, NOON)
    assert products_shown() == 47

    boto3.client("s3").delete_object(Bucket=os.environ["BUCKET"], Key=snapshots.KEY)

    assert products_shown() == 47


def test_a_maker_that_was_overtaken_makes_its_snapshot_anew(cloud: None, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue(a_file(without="G02"), NOON)
    make, raced = indexing.snapshot, []

    def overtaken(skus: object) -> tuple[str, bytes]:
        made = make(skus)  # type: ignore[arg-type]
        if not raced:  # between our reading of the table and our put, another import does all of its work
            raced.append(True)
            catalogue(FILE, LATER)
        return made

    monkeypatch.setattr(indexing, "snapshot", overtaken)
    records.save([replace(CARD, price_minor=1)], LATER)
    catalogue_import.publish()

    assert products_shown("王者") == 1


def test_a_first_snapshot_does_not_replace_another_first_one(cloud: None) -> None:
    snapshots.put("1", b"{}", "")

    with pytest.raises(snapshots.Overtaken):
        snapshots.put("2", b"{}", "")
    assert snapshots.stored()[1] == "1"


def test_a_maker_that_is_always_overtaken_says_busy(cloud: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def overtaken(*_: object) -> None:
        raise snapshots.Overtaken

    monkeypatch.setattr(snapshots, "put", overtaken)

    with pytest.raises(Busy):
        catalogue(FILE, NOON)


def head() -> dict[str, object]:
    return dict(boto3.client("s3").head_object(Bucket=os.environ["BUCKET"], Key=snapshots.KEY))


def versions() -> int:
    boto3.client("s3").put_bucket_versioning(Bucket=os.environ["BUCKET"], VersioningConfiguration={"Status": "Enabled"})
    return len(boto3.client("s3").list_object_versions(Bucket=os.environ["BUCKET"], Prefix="catalog/")["Versions"])
