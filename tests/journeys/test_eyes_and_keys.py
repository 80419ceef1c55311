"""Who sees a code, and what keeps everybody else from it: masks, reasons, two people's word, keys that change."""

from __future__ import annotations

import csv
import io
import json
import threading
from typing import Any

import pytest
import pyzipper

from tests.journeys import stockroom
from tests.journeys.stack import Buyer, Order, Stack, wait_for

AT_LEAST = 3  # buyers while a key changes
WHY = {"reason": "buyer says it does not work"}


def card_of(stack: Stack, lot_id: str) -> str:
    (card,) = stockroom.cards(stack, lot_id=lot_id)
    return str(card["card_id"])


def test_every_role_sees_a_mask_and_a_look_at_a_code_has_a_reason_and_a_name(stack: Stack) -> None:
    lot_id, (code,) = stockroom.lot(stack, "C058", 1)
    card_id = card_of(stack, lot_id)
    for role in ("auditor", "support", "operator", "finance", "owner"):
        page = stack.console("GET", f"/cards/{card_id}", role=role)
        assert (page.status, page.body["mask"]) == (200, f"••••{code[-4:]}")
        assert code not in json.dumps(page.body)
    path = f"/cards/{card_id}/reveal"
    assert stack.console("POST", path, WHY, role="auditor").status == 403
    assert stack.console("POST", path, WHY, role="finance").status == 403
    assert stack.console("POST", path, {}, role="support").status == 422
    assert stack.console("POST", path, WHY, role="support").body["code"] == code

    (look,) = stack.console("GET", f"/cards/{card_id}", role="auditor").body["views"]
    assert look["reason"] == WHY["reason"]
    seen = stack.console("GET", f"/staff/{look['viewer']}/views", role="auditor").body["views"]
    assert seen[0]["card_id"] == card_id
    assert stack.console("GET", f"/staff/{look['viewer']}/views", role="operator").status == 403


def test_many_codes_leave_by_two_peoples_word_in_a_file_that_one_password_opens_once(stack: Stack) -> None:
    lot_id, codes = stockroom.lot(stack, "C058", 30)
    asked = stack.console("POST", "/exports", {"lot_id": lot_id, "reason": "supplier takes them back"}, "operator")
    assert asked.status == 201, asked.body
    path = f"/exports/{asked.body['export_id']}"
    assert stack.console("POST", f"{path}/approve", role="operator").status == 403
    assert stack.console("POST", f"{path}/open", role="operator").code == "wrong_job_state"
    assert stack.console("POST", f"{path}/approve", role="owner").body["state"] == "running"
    stockroom.until_done(stack, asked.body["export_id"])

    assert stack.console("POST", f"{path}/open", role="owner").code == "not_yours"
    secret = stack.console("POST", f"{path}/open", role="operator").body
    file = stack.http.call("GET", secret["url"])
    assert file.status == 200
    with pyzipper.AESZipFile(io.BytesIO(file.body)) as archive:
        (name,) = archive.namelist()
        with pytest.raises(RuntimeError):
            archive.read(name, pwd=b"guessed")
        table = archive.read(name, pwd=secret["password"].encode()).decode("utf-8-sig")
    assert sorted(row["code"] for row in csv.DictReader(io.StringIO(table))) == sorted(codes)
    again = stack.console("POST", f"{path}/open", role="operator")
    assert (again.status, again.code) == (410, "export_opened")
    listed = stack.console("GET", "/exports", role="auditor").body["exports"]
    assert [one["opened"] for one in listed if one["export_id"] == asked.body["export_id"]] == [True]
    looks = [view for view in stack.table("views") if view.get("export_id") == asked.body["export_id"]]
    assert len(looks) == len(codes)


# --- keys ------------------------------------------------------------------------------------------------------------


class Sales:
    """People who go on buying and reading while keys are changed."""

    def __init__(self, stack: Stack, sku: str) -> None:
        self.stack, self.sku = stack, sku
        self.sold: list[tuple[Buyer, Order, list[str]]] = []
        self._over = threading.Event()
        self._failed: list[BaseException] = []
        self._thread = threading.Thread(target=self._sell)

    def _sell(self) -> None:
        try:
            while not self._over.is_set():
                buyer = self.stack.buyer()
                order = buyer.buy(self.sku)
                self.sold.append((buyer, order, buyer.reveal(order)))
                for earlier, bought, codes in self.sold[:2]:
                    assert earlier.reveal(bought) == codes
        except BaseException as error:  # noqa: BLE001  # it is raised where the test waits
            self._failed.append(error)

    def __enter__(self) -> Sales:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if not self._failed:
            wait_for(lambda: len(self.sold) >= AT_LEAST or self._failed, "people to buy and to read")
        self._over.set()
        self._thread.join()
        if self._failed:
            raise self._failed[0]


def rotate(stack: Stack, what: str, **more: str) -> str:
    reply = stack.console("POST", "/keys/rotate", {"what": what, **more})
    assert reply.status == 201, reply.body
    return str(reply.body["job_id"])


def shown(stack: Stack, job_id: str) -> Any:
    return stack.console("GET", f"/keys/rotations/{job_id}", role="auditor").body


def test_a_lot_gets_another_key_while_its_cards_are_sold_and_read(stack: Stack) -> None:
    lot_id, _ = stockroom.lot(stack, "G021", 60)
    before = {card["card_id"]: bytes(card["sealed"]) for card in stockroom.cards(stack, lot_id=lot_id)}
    with Sales(stack, "G021") as sales:
        job_id = rotate(stack, "lot", lot_id=lot_id)
        stockroom.until_done(stack, job_id, rotate(stack, "wrapping"))
    after = stockroom.cards(stack, lot_id=lot_id)
    assert {int(card["key_version"]) for card in after} == {2}
    assert not [card for card in after if bytes(card["sealed"]) == before[card["card_id"]]]
    assert shown(stack, job_id)["counts"]["cards"] == len(before)
    for buyer, order, codes in sales.sold:
        assert buyer.reveal(order) == codes
    (lot,) = [one for one in stack.table("lots") if one["lot_id"] == lot_id]
    assert "older_key" not in lot


def test_all_cards_get_fingerprints_under_a_new_pepper_while_cards_come_and_go(stack: Stack) -> None:
    _, codes = stockroom.lot(stack, "G021", 20)
    with Sales(stack, "G021"):
        job_id = rotate(stack, "pepper")
        _, meanwhile = stockroom.lot(stack, "G021", 5)
        stockroom.until_done(stack, job_id)
    assert stack.console("POST", f"/keys/rotations/{job_id}/retire").body["state"] == "running"
    stockroom.until_done(stack, job_id)
    # Of a destroyed lot nobody can write others: its fingerprints stay, and go on refusing.
    destroyed = {lot["lot_id"] for lot in stack.table("lots") if lot.get("state") == "destroyed"}
    marks = sorted((mark["card_id"], mark["fingerprint"].split("#")[1]) for mark in stack.table("fingerprints"))
    assert marks == sorted((card["card_id"], "12"[card["lot_id"] not in destroyed]) for card in stack.table("cards"))
    again = stockroom.checked(stack, "\n".join([*codes, *meanwhile]).encode(), sku="G021")
    assert (again["counts"]["new"], again["counts"]["duplicates"]) == (0, 25), again


def test_a_destroyed_lot_shows_its_codes_to_nobody_and_still_refuses_them(stack: Stack) -> None:
    lot_id, codes = stockroom.lot(stack, "E068", 3)
    buyer = stack.buyer()
    order = buyer.buy("E068")
    (code,) = buyer.reveal(order)
    asked = stack.console("POST", f"/lots/{lot_id}/destroy", {"reason": "the supplier is gone"})
    assert asked.status == 201, asked.body
    path = f"/console/destructions/{asked.body['job_id']}/approve"
    assert stack.call("POST", path, bearer=stack.token("owner")).code == "own_request"
    assert stack.call("POST", path, bearer=stack.second_owner()).status == 200
    stockroom.until_done(stack, asked.body["job_id"])

    assert (code in codes, buyer.try_to_reveal(order).code) == (True, "lot_destroyed")
    again = stockroom.checked(stack, "\n".join(codes).encode(), sku="E068")
    assert (again["counts"]["new"], again["counts"]["duplicates"]) == (0, 3), again
    assert sorted(card["state"] for card in stockroom.cards(stack, lot_id=lot_id)) == ["sold", "void", "void"]


def test_a_code_that_was_altered_is_shown_to_nobody(stack: Stack) -> None:
    lot_id, _ = stockroom.lot(stack, "C058", 1)
    card_id = card_of(stack, lot_id)
    key, table = {"card_id": {"S": card_id}}, f"kaquan-{stack.stage}-cards"
    sealed = stack.client("dynamodb").get_item(TableName=table, Key=key)["Item"]["sealed"]["B"]

    def put(value: bytes) -> None:
        stack.client("dynamodb").update_item(
            TableName=table,
            Key=key,
            UpdateExpression="SET sealed = :s",
            ExpressionAttributeValues={":s": {"B": value}},
        )

    put(sealed[:-1] + bytes([sealed[-1] ^ 1]))
    refused = stack.console("POST", f"/cards/{card_id}/reveal", WHY, role="operator")
    put(sealed)
    assert (refused.status, refused.code) == (500, "code_unreadable")
