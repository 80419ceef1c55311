"""What keeps a card out: a lot that takes none, and a fingerprint that is there."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from shared.inventory import lots
from shared.inventory import records as inventory
from shared.kernel import vault
from shared.kernel.records import Lost, Transaction

pytestmark = pytest.mark.usefixtures("cloud")
NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)


def test_a_card_enters_a_lot_under_the_key_that_the_lot_has() -> None:
    key = vault.new_lot_key("lot_1")
    lot = lots.new_lot("lot_1", "one", "acme", "test", key.wrapped, key.version, NOW)

    with Transaction() as tx:
        inventory.stock(tx, inventory.new_card("crd_1", "G020", lot, b"sealed", "••••", 0, None, 1), ["fp#1"], ["fp#2"])

    assert inventory.Card.count() == inventory.Fingerprint.count() == 1


@pytest.mark.parametrize(
    "moved", [{"state": "recalled"}, {"state": "destroying"}, {"key_version": 2}], ids=["recalled", "dying", "new-key"]
)
def test_no_card_enters_a_lot_that_was_recalled_or_has_another_key(moved: dict[str, str | int]) -> None:
    key = vault.new_lot_key("lot_1")
    lot = lots.new_lot("lot_1", "one", "acme", "test", key.wrapped, key.version, NOW)
    lots.Lot("lot_1").update([getattr(lots.Lot, name).set(value) for name, value in moved.items()])
    card = inventory.new_card("crd_1", "G020", lot, b"sealed", "••••", 0, None, 1)

    with pytest.raises(Lost) as lost, Transaction() as tx:
        inventory.stock(tx, card, ["fp#1"], ["fp#2"])

    assert lost.value.refused == ("lot lot_1",)
    assert inventory.Card.count() == inventory.Fingerprint.count() == 0


def test_a_fingerprint_is_written_under_a_new_pepper_once_and_only_beside_the_card_s_own() -> None:
    inventory.Fingerprint("fp#1#1#mine", card_id="crd_1", whole="w").save()
    inventory.Fingerprint("fp#1#1#taken", card_id="crd_3", whole="w").save()  # over from crd_2, whose import was undone

    with Transaction() as tx:
        inventory.fingerprint_anew(tx, "crd_1", "fp#1#1#mine", "fp#2#1#mine", "w")
    for card_id, name, loses in (("crd_1", "mine", "crd_1"), ("crd_2", "taken", "old crd_2")):
        with pytest.raises(Lost) as lost, Transaction() as tx:
            inventory.fingerprint_anew(tx, card_id, f"fp#1#1#{name}", f"fp#2#1#{name}", "w")
        assert lost.value.refused == (loses,)

    assert {str(mark.fingerprint): str(mark.card_id) for mark in inventory.Fingerprint.scan()} == {
        "fp#1#1#mine": "crd_1",
        "fp#1#1#taken": "crd_3",
        "fp#2#1#mine": "crd_1",
    }
