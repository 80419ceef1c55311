"""A lot gets new keys again and again while its cards are sold, read and joined by others: every code stays itself."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from shared.inventory import codes, opening
from shared.inventory import lots as lot_records
from shared.inventory import records as inventory
from shared.inventory.contract import Rotate
from shared.kernel import ids, vault
from shared.kernel.http import Caller
from shared.kernel.records import Lost, Transaction
from shared.kernel.vault import Secret
from shared.steps import keys, vault_keeping
from tests.conflicts import conflicts

SCALE = int(os.environ.get("SCALE", "1"))
CARDS, EXCHANGES = 24 * SCALE, 2
ANN = Caller("198.51.100.7", name="ann", groups=frozenset({"owner"}))


def now() -> datetime:
    return datetime.now(UTC)


def put(lot_id: str, card_id: str) -> None:
    """Bring a card into the lot as an import does: under the key that the lot has at that moment."""
    code = f"CODE-{card_id[-16:].upper()}"
    for _ in range(50):
        lot = lot_records.lot_of(lot_id)
        key = opening.lot_key(lot, int(lot.key_version))
        card = inventory.new_card(
            card_id, "G020", lot, vault.seal(key, lot_id, card_id, Secret(code)), "••••", 0, None, 1
        )
        marks = [vault.fingerprints(text, codes.NORMAL_FORM) for text in (codes.normal(code),) * 2]
        try:
            with Transaction() as tx:
                inventory.stock(tx, card, *marks)
            return
        except Lost:
            time.sleep(0.01)
    raise AssertionError("no card gets into the lot")


@pytest.mark.parametrize("seed", range(3))
def test_sales_go_on_and_every_code_stays_itself_while_its_lot_gets_new_keys(
    atomic_cloud: None, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setenv("KEYRING_SECONDS", "0")
    lot_id = ids.new("lot", now())
    key = vault.new_lot_key(lot_id)
    lot_records.new_lot(lot_id, "", "acme", "test", key.wrapped, key.version, now())
    for _ in range(CARDS):
        put(lot_id, ids.new("crd", now()))
    known = sorted(inventory.of_lot(lot_id))
    over, wrong, done = threading.Event(), list[str](), Counter[str]()

    def until_over(work: Callable[[random.Random], None], number: int) -> None:
        chance = random.Random(f"{seed}-{number}")
        while not over.is_set():
            try:
                work(chance)
                over.wait(0.02)  # a buyer thinks; two processors are not many
            except Exception as error:  # noqa: BLE001  # told below: a thread's error would be lost
                wrong.append(f"{work.__name__}: {error!r}")
                return

    def sell(chance: random.Random) -> None:
        card_id, order_id = chance.choice(known), ids.new("ord", now())
        with suppress(Lost):
            with Transaction() as tx:
                inventory.hold(tx, card_id, "G020", order_id, "shop")
            with Transaction() as tx:
                (inventory.claim if chance.random() < 0.2 else inventory.release)(tx, card_id, order_id)
            done["sold"] += 1

    def read(chance: random.Random) -> None:
        wanted = chance.sample(known, 5)
        for card_id, secret in zip(wanted, opening.opened(inventory.cards(wanted)), strict=True):
            if secret.code != f"CODE-{card_id[-16:].upper()}":
                wrong.append(f"{card_id} is {secret.code}")
        done["read"] += 1

    def bring(_: random.Random) -> None:
        put(lot_id, ids.new("crd", now()))
        done["brought"] += 1

    threads = [
        threading.Thread(target=until_over, args=(work, number))
        for number, work in enumerate((sell, sell, read, bring))
    ]
    with conflicts():
        for thread in threads:
            thread.start()
        try:
            for exchange in range(EXCHANGES):
                job_id = keys.rotate(Rotate(what="lot", lot_id=lot_id), "", ANN, now()).job_id
                for _ in range(20):
                    vault_keeping.work({"job_id": job_id}, now())
                    if keys.show(job_id).state != "running":
                        break
                assert keys.show(job_id).state == "done", (exchange, keys.show(job_id))
        finally:
            over.set()
            for thread in threads:
                thread.join(30)

    assert wrong == []
    assert min(done["sold"], done["read"], done["brought"]) > 0, done
    lot, cards = lot_records.lot_of(lot_id), inventory.cards(inventory.of_lot(lot_id))
    assert (int(lot.key_version), lot.older_key) == (1 + EXCHANGES, None)
    assert {int(card.key_version) for card in cards} == {1 + EXCHANGES}
    assert len(cards) == CARDS + done["brought"]
    opening._plain.cache_clear()
    assert [secret.code for secret in opening.opened(cards)] == [f"CODE-{str(c.card_id)[-16:].upper()}" for c in cards]
    assert {str(card.state) for card in cards} <= {"available", "held", "sold"}
