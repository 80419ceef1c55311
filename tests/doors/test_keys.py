"""Keys and peppers are exchanged under a running shop, a lot is forgotten; whatever dies, every code stays itself."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from shared.inventory import lots as lot_records
from shared.inventory import opening, views
from shared.inventory import records as inventory
from shared.kernel import keyring, vault
from shared.steps import settlement
from tests.deaths import Step, abandoned, dying_after, retried
from tests.shop import Answer, Shop

SCALE = int(os.environ.get("SCALE", "1"))


@pytest.fixture(autouse=True)
def _in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here every process knows at once what has been written."""
    monkeypatch.setenv("KEYRING_SECONDS", "0")


def stocked(shop: Shop, cards: int = 6, name: str = "KEYS") -> tuple[str, list[str]]:
    """A lot of so many cards; its id and its codes."""
    codes = [f"{name}-{n:04}-ABCD-EFGH" for n in range(cards)]
    report = shop.stock("G020", codes).body
    assert report["accepted"] == cards, report
    return str(report["lots"][0]), codes


def rotate(shop: Shop, what: str, lot_id: str | None = None) -> Answer:
    body = {"what": what, **({"lot_id": lot_id} if lot_id else {})}
    answer = shop.call("POST", "/console/keys/rotate", body, groups="owner")
    assert answer.status == 201, answer.body
    return answer


def job(shop: Shop, job_id: str) -> dict[str, Any]:
    return dict(shop.call("GET", f"/console/keys/rotations/{job_id}", groups="auditor").body)


def done(shop: Shop, what: str, lot_id: str | None = None) -> dict[str, Any]:
    job_id = rotate(shop, what, lot_id).body["job_id"]
    shop.pump()
    finished = job(shop, job_id)
    assert finished["state"] == "done", finished
    return finished


def codes_in(lot_id: str) -> list[str]:
    """What the vault gives out for every card of a lot, as no cache knows it."""
    opening._plain.cache_clear()
    return sorted(secret.code for secret in opening.opened(inventory.cards(inventory.of_lot(lot_id))))


def numbers() -> Counter[str]:
    """How many fingerprints there are under each pepper."""
    return Counter(str(mark.fingerprint).split("#")[1] for mark in inventory.Fingerprint.scan())


def again(shop: Shop, codes: list[str]) -> Counter[str]:
    """What becomes of these codes when they come in once more."""
    report = shop.stock("G020", codes, "again.txt").body
    return Counter(row["reason"] for row in report["refused"]) + Counter({"new": report["accepted"]})


# --- a lot's data key ---


def test_every_code_of_a_lot_is_sealed_with_its_new_key_wherever_the_card_is(shop: Shop) -> None:
    lot_id, codes = stocked(shop)
    order = shop.placed("G020")
    shop.pay(order)
    shop.pump()
    held = shop.placed("G020")
    before = lot_records.lot_of(lot_id)

    finished = done(shop, "lot", lot_id)

    lot = lot_records.lot_of(lot_id)
    assert finished["counts"]["cards"] == len(codes)
    assert (lot.key_version, lot.older_key) == (2, None)
    assert lot.wrapped_key != before.wrapped_key
    assert {int(card.key_version) for card in inventory.Card.scan()} == {2}
    assert codes_in(lot_id) == codes
    assert shop.reveal(order).body["cards"][0]["code"] in codes
    shop.pay(held)
    shop.pump()
    assert shop.status(held) == "delivered"
    assert done(shop, "lot", lot_id)["counts"]["cards"] == len(codes)
    assert codes_in(lot_id) == codes


def test_a_lot_whose_index_is_late_keeps_its_old_key_until_every_card_was_seen(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYRING_SECONDS", "900")
    lot_id, codes = stocked(shop, 3)

    job_id = rotate(shop, "lot", lot_id).body["job_id"]
    shop.pump()

    waiting = job(shop, job_id)
    assert (waiting["state"], waiting["counts"]["cards"]) == ("running", 3)
    assert lot_records.lot_of(lot_id).older_key is not None
    assert codes_in(lot_id) == codes
    shop.deadlines(datetime.now(UTC) + timedelta(minutes=14))
    assert shop.pump() == 0  # nobody is called before it is time


def test_an_altered_code_stops_the_exchange_with_a_name_and_an_alarm_and_the_others_stay_readable(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    lot_id, codes = stocked(shop, 4)
    bad = max(inventory.cards(inventory.of_lot(lot_id)), key=lambda card: str(card.card_id))
    whole = bytes(bad.sealed)
    bad.update([inventory.Card.sealed.set(whole[:-1] + bytes([whole[-1] ^ 1]))])

    job_id = rotate(shop, "lot", lot_id).body["job_id"]
    shop.pump()

    assert job(shop, job_id)["failed"]["code"] == "code_unreadable"
    assert '"CodeUnreadable":' in capsys.readouterr().out
    others = [card for card in inventory.cards(inventory.of_lot(lot_id)) if card.card_id != bad.card_id]
    assert len(opening.opened(others)) == 3
    bad.update([inventory.Card.sealed.set(whole)])  # as a backup has it
    done(shop, "lot", lot_id)
    assert codes_in(lot_id) == codes


def test_only_an_owner_exchanges_keys_and_only_of_what_is_there(shop: Shop) -> None:
    for groups in ("operator", "finance", "auditor", "support"):
        assert shop.call("POST", "/console/keys/rotate", {"what": "wrapping"}, groups=groups).status == 403
    for body in ({"what": "lot"}, {"what": "pepper", "lot_id": "lot_00000000000000000000000000"}, {"what": "all"}):
        assert shop.call("POST", "/console/keys/rotate", body, groups="owner").status == 422
    missing = {"what": "lot", "lot_id": "lot_00000000000000000000000000"}
    assert shop.call("POST", "/console/keys/rotate", missing, groups="owner").status == 404
    assert shop.call("GET", "/console/keys/rotations/job_nothing", groups="owner").status == 404


# --- the vault's key ---


def test_every_lot_key_is_wrapped_anew_and_opens_the_same_codes(shop: Shop) -> None:
    lots = dict(stocked(shop, 2, f"LOT{n}") for n in range(3))
    before = {lot_id: lot_records.lot_of(lot_id).wrapped_key for lot_id in lots}

    assert done(shop, "wrapping")["counts"]["lots"] == 3

    for lot_id, codes in lots.items():
        assert lot_records.lot_of(lot_id).wrapped_key != before[lot_id]
        assert codes_in(lot_id) == codes


def test_a_key_wrapped_by_another_vault_stops_the_wrapping(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    lot_id, _ = stocked(shop, 1)
    before = lot_records.lot_of(lot_id).wrapped_key
    monkeypatch.setenv("VAULT_KEY", boto3.client("kms").create_key()["KeyMetadata"]["Arn"])

    job_id = rotate(shop, "wrapping").body["job_id"]
    shop.pump()

    assert job(shop, job_id)["failed"]["code"] == "code_unreadable"
    assert lot_records.lot_of(lot_id).wrapped_key == before


# --- the pepper ---


def test_a_new_pepper_knows_every_card_ever_stored_and_the_old_one_can_go(shop: Shop) -> None:
    lot_id, codes = stocked(shop)
    issued = shop.placed("C060")
    shop.pay(issued)
    shop.pump()

    finished = done(shop, "pepper")

    assert finished["counts"] == {"cards": 7, "unreadable": 0}
    assert numbers() == {"1": 7, "2": 7}
    assert keyring.fresh("PEPPER_SECRET").numbers == ["2", "1"]
    assert again(shop, codes) == {"duplicate_in_stock": 6}

    retired = shop.call("POST", f"/console/keys/rotations/{finished['job_id']}/retire", groups="owner")
    assert retired.body["state"] == "running"
    shop.pump()

    assert job(shop, finished["job_id"])["state"] == "done"
    assert keyring.fresh("PEPPER_SECRET").numbers == ["2"]
    assert numbers() == {"2": 7}
    assert again(shop, [*codes, "NEW-ABCD-EFGH-0001"]) == {"duplicate_in_stock": 6, "new": 1}
    assert codes_in(lot_id) == codes


def test_what_comes_in_between_two_peppers_is_known_under_both(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYRING_SECONDS", "900")
    _, first = stocked(shop, 2, "FIRST")
    job_id = rotate(shop, "pepper").body["job_id"]
    shop.pump()
    assert job(shop, job_id)["state"] == "running"  # it waits until every process knows the new pepper

    _, second = stocked(shop, 2, "SECOND")

    assert numbers() == {"1": 4, "2": 2}
    assert again(shop, [*first, *second]) == {"duplicate_in_stock": 4}
    early = shop.call("POST", f"/console/keys/rotations/{job_id}/retire", groups="owner")
    assert early.body["code"] == "wrong_job_state"


def test_a_fingerprint_that_was_taken_back_with_its_import_is_not_written_anew(shop: Shop) -> None:
    _, codes = stocked(shop, 3)
    [mark] = inventory.Fingerprint.scan(limit=1)
    mark.delete()

    assert done(shop, "pepper")["counts"]["cards"] == 2

    assert numbers() == {"1": 2, "2": 2}
    assert again(shop, codes) == {"duplicate_in_stock": 2, "new": 1}


def test_the_same_number_with_another_password_is_a_conflict_under_the_new_pepper_too(shop: Shop) -> None:
    pair = "卡号：JD111122223333----密码：AAAABBBBCCCC"
    assert shop.stock("C055", [pair]).body["accepted"] == 1
    finished = done(shop, "pepper")
    shop.call("POST", f"/console/keys/rotations/{finished['job_id']}/retire", groups="owner")
    shop.pump()

    other = shop.stock("C055", [pair.replace("CCCC", "DDDD")]).body

    assert [row["reason"] for row in other["refused"]] == ["number_conflict"]


# --- a lot is forgotten ---


def ask_for_destruction(shop: Shop, lot_id: str) -> str:
    body = {"reason": "the supplier's keys have leaked"}
    asked = shop.call("POST", f"/console/lots/{lot_id}/destroy", body, groups="owner", operator="ann")
    assert asked.status == 201, asked.body
    return str(asked.body["job_id"])


def on_destruction(shop: Shop, job_id: str, verb: str, name: str = "bob") -> Answer:
    return shop.call("POST", f"/console/destructions/{job_id}/{verb}", groups="owner", operator=name)


def destroy(shop: Shop, lot_id: str) -> str:
    job_id = ask_for_destruction(shop, lot_id)
    assert on_destruction(shop, job_id, "approve").status == 200
    shop.pump()
    return job_id


def test_a_destroyed_lot_is_read_by_nobody_and_its_cards_are_still_refused(shop: Shop) -> None:
    lot_id, codes = stocked(shop)
    order = shop.placed("G020")
    shop.pay(order)
    shop.pump()
    assert shop.reveal(order).status == 200

    job_id = ask_for_destruction(shop, lot_id)
    assert on_destruction(shop, job_id, "approve", "ann").body["code"] == "own_request"
    assert shop.pump() == 0
    assert on_destruction(shop, job_id, "approve", "bob").body["state"] == "running"
    shop.pump()

    assert job(shop, job_id)["state"] == "done"
    lot = lot_records.lot_of(lot_id)
    assert (lot.state, lot.wrapped_key, lot.older_key) == ("destroyed", None, None)
    states = Counter(str(card.state) for card in inventory.Card.scan())
    assert states == {"void": 5, "sold": 1}
    for card in inventory.Card.scan():
        body = {"reason": "let me see"}
        answer = shop.call("POST", f"/console/cards/{card.card_id}/reveal", body, groups="owner")
        assert (answer.status, answer.body["code"]) == (410, "lot_destroyed")
    assert shop.reveal(order).body["code"] == "lot_destroyed"
    assert again(shop, codes) == {"duplicate_in_stock": 6}
    books = settlement.running(datetime.now(UTC))
    assert books.trial_balance == {"CNY": 0}
    assert shop.call("POST", f"/console/lots/{lot_id}/destroy", {"reason": "again"}, groups="owner").status == 410
    rotated = {"what": "lot", "lot_id": lot_id}
    assert shop.call("POST", "/console/keys/rotate", rotated, groups="owner").body["code"] == "lot_destroyed"


def test_a_destruction_that_was_refused_destroys_nothing(shop: Shop) -> None:
    lot_id, codes = stocked(shop, 2)
    job_id = ask_for_destruction(shop, lot_id)

    assert on_destruction(shop, job_id, "refuse").body["state"] == "cancelled"

    assert on_destruction(shop, job_id, "approve", "carl").body["code"] == "wrong_job_state"
    shop.pump()
    assert codes_in(lot_id) == codes


def test_a_destruction_waits_for_what_orders_hold_and_sells_nothing_more(shop: Shop) -> None:
    lot_id, codes = stocked(shop, 3)
    paid, unpaid = shop.placed("G020"), shop.placed("G020")

    job_id = destroy(shop, lot_id)

    assert job(shop, job_id)["state"] == "running"
    assert Counter(str(card.state) for card in inventory.Card.scan()) == {"held": 2, "void": 1}
    assert shop.place("G020").body["code"] == "out_of_stock"
    shop.pay(paid)
    shop.pump()
    assert shop.reveal(paid).body["cards"][0]["code"] in codes
    shop.call("POST", f"/orders/{unpaid.order_id}/cancel", token=unpaid.token)
    shop.deadlines(datetime.now(UTC) + timedelta(minutes=3))
    shop.pump()
    assert job(shop, job_id)["state"] == "done"
    assert Counter(str(card.state) for card in inventory.Card.scan()) == {"sold": 1, "void": 2}


def test_no_pepper_goes_that_alone_knows_a_destroyed_lot(shop: Shop) -> None:
    lot_id, lost = stocked(shop, 2, "LOST")
    _, kept = stocked(shop, 2, "KEPT")
    destroy(shop, lot_id)

    finished = done(shop, "pepper")
    shop.call("POST", f"/console/keys/rotations/{finished['job_id']}/retire", groups="owner")
    shop.pump()

    assert finished["counts"] == {"cards": 2, "unreadable": 2}
    assert job(shop, finished["job_id"])["counts"]["kept"] == 2
    assert numbers() == {"1": 2, "2": 2}
    assert again(shop, [*lost, *kept]) == {"duplicate_in_stock": 4}


# --- death ---


OTHERS = ("wrapping", "pepper", "retire")  # their work grows with every lot there is: they keep to the first one
BOTH = [(what, invoke) for invoke in (retried, abandoned) for what in ("lot", "destroy", "export", *OTHERS)]
ONE_OF_BOTH = [one for n, one in enumerate(BOTH) if n in (0, 2, 4, 7, 9, 11)]


@pytest.mark.parametrize(("what", "invoke"), BOTH if SCALE > 1 else ONE_OF_BOTH)
def test_a_worker_may_die_after_any_write(shop: Shop, what: str, invoke: Callable[[Step], Any]) -> None:
    shop.invoke, nth, died = invoke, 0, True
    lot_id, codes = stocked(shop, 2)
    while died:
        nth += 1
        if what not in OTHERS:
            lot_id, codes = stocked(shop, 2, f"D{nth:03}")
        rotated = done(shop, "pepper")["job_id"] if what == "retire" else ""
        with dying_after(nth) as seen:
            job_id = begin(shop, what, lot_id, rotated, f"{what}-{nth}")
            shop.pump()
            for _ in range(4):
                if state(shop, what, job_id) == "done":
                    break
                at_last(lambda: shop.deadlines(datetime.now(UTC) + timedelta(minutes=4)))
                shop.pump()
        died = len(seen) >= nth

        where = f"after write {nth}, a {seen[nth - 1] if died else None}"
        assert state(shop, what, job_id) == "done", where
        assert_whole(shop, what, lot_id, codes, job_id, where)
    assert nth > 3
    assert again(shop, codes) == {"duplicate_in_stock": 2}
    assert settlement.running(datetime.now(UTC)).trial_balance == {"CNY": 0}


def at_last(step: Callable[[], Any]) -> Any:
    """A person whose request got no answer sends it again."""
    return retried(step)


def begin(shop: Shop, what: str, lot_id: str, rotated: str, key: str) -> str:
    """Ask for it, and approve it where that needs another person."""

    def send(path: str, body: dict[str, str] | None = None, name: str = "ann") -> dict[str, Any]:
        keyed = {"Idempotency-Key": key}
        return dict(at_last(lambda: shop.call("POST", path, body, groups="owner", operator=name, **keyed)).body)

    if what == "retire":
        return str(send(f"/console/keys/rotations/{rotated}/retire")["job_id"])
    if what == "destroy":
        job_id = str(send(f"/console/lots/{lot_id}/destroy", {"reason": "leaked"})["job_id"])
        send(f"/console/destructions/{job_id}/approve", name="bob")
        return job_id
    if what == "export":
        job_id = str(send("/console/exports", {"lot_id": lot_id, "reason": "for the supplier"})["export_id"])
        send(f"/console/exports/{job_id}/approve", name="bob")
        return job_id
    return str(send("/console/keys/rotate", {"what": what, **({"lot_id": lot_id} if what == "lot" else {})})["job_id"])


def state(shop: Shop, what: str, job_id: str) -> str:
    path = "exports" if what == "export" else "keys/rotations"
    return str(shop.call("GET", f"/console/{path}/{job_id}", groups="owner").body["state"])


def assert_whole(shop: Shop, what: str, lot_id: str, codes: list[str], job_id: str, where: str) -> None:
    """Each thing was done, and done once."""
    lot, cards = lot_records.lot_of(lot_id), inventory.cards(inventory.of_lot(lot_id))
    if what == "destroy":
        assert (lot.state, lot.wrapped_key) == ("destroyed", None), where
        assert {str(card.state) for card in cards} == {"void"}, where
        return
    assert codes_in(lot_id) == codes, where
    ring = keyring.fresh("PEPPER_SECRET")
    if what == "lot":
        assert (lot.key_version, lot.older_key, {int(card.key_version) for card in cards}) == (2, None, {2}), where
    elif what == "pepper":
        assert (ring.current, numbers()[ring.current]) == (max(ring.numbers, key=int), len(codes)), where
    elif what == "retire":
        assert (len(ring.numbers), numbers()) == (1, {ring.current: len(codes)}), where
    elif what == "export":
        assert len([look for look in views.View.scan() if look.export_id == job_id]) == len(codes), where
        opened = shop.call("POST", f"/console/exports/{job_id}/open", groups="operator", operator="ann")
        assert len(opened.body["password"]) == 24, where


def test_no_two_versions_of_a_key_are_the_same_and_no_secret_shows_its_key() -> None:
    ring = keyring.Ring("1", (("1", b"x" * 64),)).added()
    assert (ring.current, ring.numbers) == ("1", ["1", "2"])
    assert len(dict(ring.secrets)["2"]) == 64
    assert "x" * 8 not in repr(ring)
    assert "k" * 8 not in repr(vault.LotKey(b"k" * 32, b"wrapped", 2))


def test_the_ring_is_written_as_it_is_read(shop: Shop) -> None:
    before = keyring.fresh("PEPPER_SECRET")
    keyring.change("PEPPER_SECRET", before.added())
    after = keyring.fresh("PEPPER_SECRET")
    stored = boto3.client("secretsmanager").get_secret_value(SecretId="kaquan-test-pepper")["SecretString"]
    assert set(json.loads(stored)) == {"current", "1", "2"}
    assert after.secrets[0] == before.secrets[0]
    assert shop is not None
