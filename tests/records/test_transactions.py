"""What a lost race, a conflict and a throttle look like from above."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from shared.inventory.records import Quota
from shared.kernel import records
from shared.kernel.errors import Busy
from shared.kernel.records import Lost, Transaction

pytestmark = pytest.mark.usefixtures("cloud")


def answer(monkeypatch: pytest.MonkeyPatch, code: str, *reasons: str) -> None:
    """Let DynamoDB answer the next writes with this error, as AWS does under contention and moto never."""

    def refuse(_: BaseClient, operation: str, __: dict[str, Any]) -> Any:
        details = [{"Code": reason} for reason in reasons]
        raise ClientError({"Error": {"Code": code, "Message": "no"}, "CancellationReasons": details}, operation)

    monkeypatch.setattr(BaseClient, "_make_api_call", refuse)


def both(tx: Transaction) -> None:
    tx.update("second", Quota("quota#2"), [Quota.used.add(1)], Quota.used.exists())
    tx.insert("first", Quota("quota#1", used=0))


def test_the_parts_that_lost_are_named_whatever_order_they_are_sent_in() -> None:
    with pytest.raises(Lost) as lost, Transaction() as tx:
        both(tx)
    assert lost.value.failed == ("second",)
    assert Quota.count() == 0


def test_an_insert_never_overwrites() -> None:
    records.insert(Quota("quota#1", used=7))
    with pytest.raises(Lost), Transaction() as tx:
        tx.insert("first", Quota("quota#1", used=0))
    with pytest.raises(Lost):
        records.insert(Quota("quota#1", used=0))
    assert Quota.get("quota#1").used == 7


def test_a_block_that_fails_writes_nothing() -> None:
    def fail() -> None:
        with Transaction() as tx:
            tx.insert("first", Quota("quota#1", used=0))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert Quota.count() == 0


def test_a_conflict_with_another_transaction_is_a_lost_race(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, "TransactionCanceledException", "None", "TransactionConflict")
    with pytest.raises(Lost) as lost, Transaction() as tx:
        both(tx)
    assert lost.value.failed == ("second",)


@pytest.mark.parametrize("code", ["ThrottlingException", "ProvisionedThroughputExceededException"])
def test_throttling_is_named_and_may_be_tried_again(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    answer(monkeypatch, code)
    with pytest.raises(Busy), Transaction() as tx:
        both(tx)
    with pytest.raises(Busy):
        records.insert(Quota("quota#1", used=0))
    assert Busy.retryable


def test_a_throttled_part_is_not_taken_for_a_lost_one(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, "TransactionCanceledException", "ThrottlingError", "None")
    with pytest.raises(Busy), Transaction() as tx:
        both(tx)


def test_a_single_update_that_lost_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Lost):
        records.update(Quota("quota#1"), [Quota.used.add(1)], Quota.used.exists())
    answer(monkeypatch, "TransactionConflictException")
    with pytest.raises(Lost):
        records.update(Quota("quota#1"), [Quota.used.add(1)], Quota.used.exists())
