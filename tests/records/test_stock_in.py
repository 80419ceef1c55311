"""Card files against the real stock: what expected.json promises, line by line."""

from __future__ import annotations

import json
from datetime import datetime, time
from pathlib import Path

import boto3
import pytest

from shared.catalog import importing
from shared.catalog import records as catalog
from shared.inventory import lots
from shared.inventory import records as inventory
from shared.inventory.errors import TooManyRows
from shared.kernel import clock, keyring, vault
from shared.kernel.records import Lost, Transaction
from shared.ledger import records as ledger
from shared.steps import stock_in

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
EXPECTED = json.loads((DATA / "expected.json").read_text())
SKU_OF = {"cards_txt_one_per_line.txt": "G020", "cards_number_password_gbk.txt": "C055"}
NOW = datetime.combine(datetime.fromisoformat(EXPECTED["as_of"]), time(12), clock.SHANGHAI)


@pytest.fixture
def catalogue(atomic_cloud: None) -> None:
    catalog.save(importing.read((ROOT / "infra/local/sample/catalogue.csv").read_bytes()).skus, NOW)


def take_in(name: str) -> stock_in.CardImportReport:
    return stock_in.import_cards((DATA / name).read_bytes(), name, SKU_OF.get(name), "acme", None, NOW)


def test_every_sample_file_gives_exactly_what_is_expected_and_again_nothing_new(catalogue: None) -> None:
    for name in EXPECTED["import_order"]:
        expected, report = EXPECTED["files"][name], take_in(name)
        assert report.accepted == expected["accepted"], name
        assert {str(row.line): row.reason for row in report.refused} == expected["refused"], name
        assert report.skipped == len(expected["skipped"]), name
    for name in EXPECTED["import_order"]:
        report = take_in(name)
        assert report.accepted == 0, name
        assert report.lots == [], name

    total = sum(expected["accepted"] for expected in EXPECTED["files"].values())
    assert inventory.Card.count() == inventory.Fingerprint.count() == total


def test_what_came_in_is_booked_at_whole_cents_and_owed_exactly(catalogue: None) -> None:
    take_in("cards_with_expiry.csv")

    day = clock.shanghai_day(NOW)
    legs = [leg for entry in ledger.entries_of(day) for leg in entry.legs]
    assert sum(leg.quantity or 0 for leg in legs) == 886
    assert sum(leg.amount_minor for leg in legs) == 0
    assert -sum(leg.amount_minor for leg in legs if leg.account == "payable:acme") == sum(
        leg.amount_minor for leg in legs if leg.account == "inventory"
    )


def test_the_same_number_with_another_password_is_a_conflict(catalogue: None) -> None:
    first, other = "卡号：JD111122223333----密码：AAAA BBBB", "卡号：JD111122223333----密码：AAAA CCCC"
    reports = [
        stock_in.import_cards(text.encode(), "pairs.txt", "C055", "acme", "number_password", NOW)
        for text in (first, first, other)
    ]
    assert [report.accepted for report in reports] == [1, 0, 0]
    assert [[row.reason for row in report.refused] for report in reports[1:]] == [
        ["duplicate_in_stock"],
        ["number_conflict"],
    ]


def test_a_sold_code_is_refused_for_ever(catalogue: None) -> None:
    stock_in.import_cards(b"SOLD-CODE-0001", "one.txt", "G020", "acme", None, NOW)
    [card] = inventory.Card.scan()
    card.update([inventory.Card.state.set("sold"), inventory.Card.shelf.remove()])

    report = stock_in.import_cards(b"sold code 0001", "two.txt", "V001", "other", None, NOW)
    assert [row.reason for row in report.refused] == ["duplicate_in_stock"]


def test_a_file_longer_than_one_request_can_take_is_refused_before_anything_is_stored(catalogue: None) -> None:
    lines = "\n".join(f"LONG-{n:05}" for n in range(stock_in.ROWS_MAX + 2))
    with pytest.raises(TooManyRows):
        stock_in.import_cards(lines.encode(), "long.txt", "G020", "acme", None, NOW)
    assert inventory.Card.count() == 0


def test_no_stored_byte_shows_a_code(catalogue: None) -> None:
    stock_in.import_cards(b"CANARY-7F3K-QQ9Z", "one.txt", "G020", "acme", None, NOW)
    stored = [item.to_dynamodb_dict() for model in (inventory.Card, inventory.Fingerprint) for item in model.scan()]
    assert len(stored) == 2
    assert "7F3K" not in repr(stored)


@pytest.mark.parametrize("current", ["1", "2"])
def test_a_card_is_known_again_under_whichever_pepper_it_was_stored(catalogue: None, current: str) -> None:
    codes = [f"PEPPER-{n:04}" for n in range(120)]
    stock_in.import_cards("\n".join(codes[:60]).encode(), "one.txt", "G020", "acme", None, NOW)
    secret = {"current": current, "1": "PEPPER_SECRET-".ljust(64, "x"), "2": "y" * 64}
    boto3.client("secretsmanager").put_secret_value(SecretId="kaquan-test-pepper", SecretString=json.dumps(secret))
    keyring._read.clear()

    report = stock_in.import_cards("\n".join(codes).encode(), "two.txt", "G020", "acme", None, NOW)

    assert (report.accepted, report.refused_count) == (60, 60)
    assert {row.reason for row in report.refused} == {"duplicate_in_stock"}
    assert inventory.Fingerprint.count() == 60 + 2 * 60


@pytest.mark.parametrize(
    "moved", [{"state": "recalled"}, {"state": "destroying"}, {"key_version": 2}], ids=["recalled", "dying", "new-key"]
)
def test_no_card_enters_a_lot_that_was_recalled_or_has_another_key(
    catalogue: None, moved: dict[str, str | int]
) -> None:
    key = vault.new_lot_key("lot_1")
    lot = lots.new_lot("lot_1", "one", "acme", "test", key.wrapped, key.version, NOW)
    lots.Lot("lot_1").update([getattr(lots.Lot, name).set(value) for name, value in moved.items()])
    card = inventory.new_card("crd_1", "G020", lot, b"sealed", "••••", 0, None, 1)

    with pytest.raises(Lost) as lost, Transaction() as tx:
        inventory.stock(tx, card, ["fp#1"], ["fp#2"])

    assert lost.value.refused == ("lot lot_1",)
    assert inventory.Card.count() == inventory.Fingerprint.count() == 0
