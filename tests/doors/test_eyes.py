"""Who sees a code: masks for everybody, one code at a time with a reason, and many only by two people's word."""

from __future__ import annotations

import csv
import io
import json
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
import pyzipper

from shared.inventory import records as inventory
from shared.inventory import views
from shared.kernel import clock, settings
from shared.steps import vault_keeping
from tests.shop import Answer, Shop

SECRET = "EYES-7F3K-QQ9Z-11AA"
WHY = {"reason": "buyer says it does not work"}


def the_card(shop: Shop, code: str = SECRET, sku: str = "G020") -> str:
    """Take one code into stock; its card's id."""
    before = {str(card.card_id) for card in inventory.Card.scan()}
    assert shop.stock(sku, [code]).body["accepted"] == 1
    [card_id] = {str(card.card_id) for card in inventory.Card.scan()} - before
    return card_id


def reveal(shop: Shop, card_id: str, name: str = "ann", **more: Any) -> Answer:
    return shop.call("POST", f"/console/cards/{card_id}/reveal", {**WHY, **more}, groups="support", operator=name)


def stored_everywhere() -> str:
    """Every table and every object, as bytes would show it."""
    dynamodb, s3 = boto3.client("dynamodb"), boto3.client("s3")
    found: list[Any] = []
    for table in dynamodb.list_tables()["TableNames"]:
        found += dynamodb.scan(TableName=table)["Items"]
    for bucket in (settings.get("BUCKET"), settings.get("PASSING_BUCKET")):
        for item in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
            found.append(s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read())
    return repr(found)


def test_a_card_shows_where_it_came_from_where_it_went_and_who_has_looked_but_not_its_code(shop: Shop) -> None:
    card_id = the_card(shop)
    order = shop.placed("G020", phone="13912345678")
    shop.pay(order)
    shop.pump()
    assert shop.reveal(order).status == 200
    assert reveal(shop, card_id).body["code"] == SECRET

    page = shop.call("GET", f"/console/cards/{card_id}", groups="auditor").body

    assert (page["sku"], page["state"], page["mask"], page["channel"]) == ("G020", "sold", "••••11AA", "shop")
    assert page["lot"]["supplier"] == "acme"
    assert (page["order"]["order_id"], page["order"]["status"]) == (order.order_id, "delivered")
    assert page["order"]["contact"] == "139****5678"
    assert [(look["viewer"], look["reason"]) for look in page["views"]] == [("ann", WHY["reason"]), ("buyer", "bought")]
    assert "7F3K" not in json.dumps(page)
    assert "13912345678" not in json.dumps(page)


def test_a_code_whose_line_was_given_back_is_shown_to_staff_alone(shop: Shop) -> None:
    card_id = the_card(shop)
    order = shop.placed(lines=[{"sku": "G020", "quantity": 1}, {"sku": "C060", "quantity": 1}])
    shop.pay(order)
    shop.pump()
    path, key = f"/console/orders/{order.order_id}/refunds", {"Idempotency-Key": "k1"}
    assert shop.call("POST", path, {"lines": [1]}, groups="finance", **key).status == 201

    seen = shop.reveal(order)

    assert [card["sku"] for card in seen.body["cards"]] == ["C060"]
    assert SECRET not in json.dumps(seen.body)
    assert reveal(shop, card_id).body["code"] == SECRET
    page = shop.call("GET", f"/console/cards/{card_id}", groups="auditor").body
    assert page["state"] == "sold", "who may have read it keeps it: it goes on no shelf again"
    assert [look["viewer"] for look in page["views"]] == ["ann"]


@pytest.mark.parametrize("card_id", ["crd_00000000000000000000000000", "lot_1", "nothing"])
def test_a_card_that_is_not_there_is_not_found(shop: Shop, card_id: str) -> None:
    assert shop.call("GET", f"/console/cards/{card_id}", groups="owner").status == 404
    assert reveal(shop, card_id).status == 404


@pytest.mark.parametrize("state", ["available", "held", "sold", "frozen"])
def test_staff_sees_one_code_with_a_reason_and_the_look_is_written_down(shop: Shop, state: str) -> None:
    card_id = the_card(shop)
    inventory.Card(card_id).update([inventory.Card.state.set(state)])

    assert shop.call("POST", f"/console/cards/{card_id}/reveal", {}, groups="operator").status == 422
    assert views.View.count() == 0
    shown = reveal(shop, card_id, "eve")

    assert (shown.status, shown.body["code"]) == (200, SECRET)
    seen = shop.call("GET", "/console/staff/eve/views", groups="auditor").body
    assert [(look["card_id"], look["reason"]) for look in seen["views"]] == [(card_id, WHY["reason"])]
    assert shop.call("GET", "/console/staff/ann/views", groups="auditor").body["views"] == []


def test_what_a_person_saw_comes_page_by_page_and_never_twice(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REVEALS_A_DAY", "200")
    card_id = the_card(shop)
    for _ in range(60):
        assert reveal(shop, card_id, "eve").status == 200

    first = shop.call("GET", "/console/staff/eve/views", groups="owner").body
    second = shop.call("GET", f"/console/staff/eve/views?cursor={first['next_cursor']}", groups="owner").body

    ids = [look["view_id"] for look in first["views"] + second["views"]]
    assert (len(first["views"]), len(ids), len(set(ids))) == (50, 60, 60)
    assert ids == sorted(ids, reverse=True)
    assert second["next_cursor"] is None
    page = shop.call("GET", f"/console/cards/{card_id}", groups="owner").body
    assert [look["view_id"] for look in page["views"]] == ids[:50]


def test_a_person_sees_so_many_codes_a_day_and_no_more(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REVEALS_A_DAY", "3")
    card_id = the_card(shop)

    answers = [reveal(shop, card_id, "eve") for _ in range(5)]

    assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
    assert answers[-1].body["code"] == "reveal_limit"
    assert views.View.count() == 3
    assert reveal(shop, card_id, "ann").status == 200


def test_an_altered_code_is_shown_to_nobody_and_the_look_at_it_is_written_down(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    card_id = the_card(shop)
    card = inventory.Card.get(card_id)
    card.update([inventory.Card.sealed.set(bytes(card.sealed)[:-1] + bytes([bytes(card.sealed)[-1] ^ 1]))])

    answer = reveal(shop, card_id)

    assert (answer.status, answer.body["code"]) == (500, "code_unreadable")
    assert views.View.count() == 1
    assert '"CodeUnreadable":' in capsys.readouterr().out


def test_a_key_of_another_vault_opens_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    card_id = the_card(shop)
    monkeypatch.setenv("VAULT_KEY", boto3.client("kms").create_key()["KeyMetadata"]["Arn"])

    assert reveal(shop, card_id).body["code"] == "code_unreadable"


# --- exports ---


def ask(shop: Shop, lot_id: str, name: str = "ann", **more: Any) -> Answer:
    wanted = {"lot_id": lot_id, "reason": "the supplier replaces them", **more}
    return shop.call("POST", "/console/exports", wanted, groups="operator", operator=name)


def on(shop: Shop, export_id: str, verb: str, name: str, groups: str = "owner") -> Answer:
    return shop.call("POST", f"/console/exports/{export_id}/{verb}", groups=groups, operator=name)


def exported(shop: Shop, lot_id: str) -> str:
    """An export asked for by ann and approved by bob, made."""
    export_id = str(ask(shop, lot_id).body["export_id"])
    assert on(shop, export_id, "approve", "bob").status == 200
    shop.pump()
    return export_id


def a_lot(shop: Shop, cards: int) -> tuple[str, list[str]]:
    codes = [f"EXPORT-{n:04}-CANARY" for n in range(cards)]
    return str(shop.stock("G020", codes).body["lots"][0]), codes


def test_codes_leave_by_two_people_in_a_file_that_its_password_opens_once_shown(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    lot_id, codes = a_lot(shop, 120)
    export_id = str(ask(shop, lot_id).body["export_id"])
    assert shop.pump() == 0  # nothing is made before somebody has approved
    own = on(shop, export_id, "approve", "ann")
    assert (own.status, own.body["code"]) == (403, "own_request")
    assert on(shop, export_id, "open", "ann", "operator").body["code"] == "wrong_job_state"

    assert on(shop, export_id, "approve", "bob").body["state"] == "running"
    shop.pump()

    made = shop.call("GET", f"/console/exports/{export_id}", groups="auditor").body
    assert (made["state"], made["cards"], made["asked_by"], made["decided_by"]) == ("done", 120, "ann", "bob")
    seen = shop.call("GET", "/console/staff/ann/views", groups="owner").body["views"]
    assert {look["export_id"] for look in seen} == {export_id}
    assert views.View.count() == 120
    assert on(shop, export_id, "open", "bob").body["code"] == "not_yours"
    secret = on(shop, export_id, "open", "ann", "operator").body
    assert clock.parse(secret["url_until"]) <= datetime.now(UTC) + timedelta(minutes=10)
    again = on(shop, export_id, "open", "ann", "operator")
    assert (again.status, again.body["code"]) == (410, "export_opened")

    everywhere = stored_everywhere() + capsys.readouterr().out
    assert "CANARY" not in everywhere
    assert secret["password"] not in everywhere
    packed = urllib.request.urlopen(secret["url"], timeout=10).read() if "127.0.0.1" in secret["url"] else the_file()
    with pyzipper.AESZipFile(io.BytesIO(packed)) as archive:
        [name] = archive.namelist()
        with pytest.raises(RuntimeError):
            archive.read(name, pwd=b"guessed")
        table = archive.read(name, pwd=secret["password"].encode()).decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(table)))
    assert sorted(row["code"] for row in rows) == codes


def the_file() -> bytes:
    s3, bucket = boto3.client("s3"), settings.get("PASSING_BUCKET")
    [item] = s3.list_objects_v2(Bucket=bucket, Prefix="exports/")["Contents"]
    return bytes(s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read())


def test_an_export_is_gone_within_the_hour_opened_or_not(shop: Shop) -> None:
    lot_id, _ = a_lot(shop, 3)
    opened, forgotten = exported(shop, lot_id), exported(shop, lot_id)
    assert on(shop, opened, "open", "ann", "operator").status == 200

    def files() -> set[str]:
        found = boto3.client("s3").list_objects_v2(Bucket=settings.get("PASSING_BUCKET"), Prefix="exports/")
        return {item["Key"].split("/")[1] for item in found.get("Contents", [])}

    def at(minutes: int) -> None:
        now = datetime.now(UTC) + timedelta(minutes=minutes)
        shop.deadlines(now)
        sqs, url = boto3.client("sqs"), settings.get("VAULT_KEEPING_QUEUE")
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            vault_keeping.work(json.loads(message["Body"]), now)  # its door would read the clock
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    assert files() == {opened, forgotten}
    at(11)
    assert files() == {forgotten}
    at(55)
    assert files() == set()
    assert on(shop, forgotten, "open", "ann", "operator").body["code"] == "export_opened"


def test_an_export_may_be_refused_and_is_then_over(shop: Shop) -> None:
    lot_id, _ = a_lot(shop, 3)
    export_id = str(ask(shop, lot_id).body["export_id"])

    assert on(shop, export_id, "refuse", "bob").body["failed"]["code"] == "refused"

    assert on(shop, export_id, "approve", "bob").status == 200  # said again by who decided: it stays what it is
    assert on(shop, export_id, "approve", "carl").body["code"] == "wrong_job_state"
    shop.pump()
    assert views.View.count() == 0


def test_a_person_exports_so_many_cards_a_day_and_no_more(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPORTED_A_DAY", "5")
    lot_id, _ = a_lot(shop, 3)
    first, second = exported(shop, lot_id), exported(shop, lot_id)

    states = [shop.call("GET", f"/console/exports/{one}", groups="owner").body for one in (first, second)]

    assert [one["state"] for one in states] == ["done", "failed"]
    assert states[1]["failed"]["code"] == "export_limit"
    assert views.View.count() == 3


def test_the_cards_of_a_sku_in_one_state_leave_too_and_an_unclear_wish_is_refused(shop: Shop) -> None:
    lot_id, codes = a_lot(shop, 4)
    [first, *_] = inventory.of_lot(lot_id)
    inventory.Card(first).update([inventory.Card.state.set("sold")])

    for unclear in ({"lot_id": lot_id, "sku": "G020"}, {"sku": "G020"}, {"lot_id": lot_id, "state": "sold"}, {}):
        wanted = {"reason": "for the supplier", **unclear}
        assert shop.call("POST", "/console/exports", wanted, groups="operator").status == 422
    wanted = {"sku": "G020", "state": "sold", "reason": "for the supplier"}
    export_id = shop.call("POST", "/console/exports", wanted, groups="operator", operator="ann").body["export_id"]
    on(shop, export_id, "approve", "bob")
    shop.pump()

    assert shop.call("GET", f"/console/exports/{export_id}", groups="owner").body["cards"] == 1
    [look] = views.View.scan()
    assert look.card_id == first
    assert len(codes) == 4


def test_an_export_of_a_lot_with_an_altered_code_makes_no_file(shop: Shop) -> None:
    lot_id, _ = a_lot(shop, 3)
    [card_id, *_] = inventory.of_lot(lot_id)
    inventory.Card(card_id).update([inventory.Card.sealed.set(b"x" * 64)])

    made = shop.call("GET", f"/console/exports/{exported(shop, lot_id)}", groups="owner").body

    assert (made["state"], made["failed"]["code"]) == ("failed", "code_unreadable")
    assert "zip" not in stored_everywhere()


def test_the_same_wish_sent_twice_is_one_export(shop: Shop) -> None:
    lot_id, _ = a_lot(shop, 1)
    body = {"lot_id": lot_id, "reason": "for the supplier"}
    answers = [
        shop.call("POST", "/console/exports", body, groups="operator", **{"Idempotency-Key": "one"}) for _ in range(2)
    ]
    other = {**body, "reason": "for somebody else"}
    refused = shop.call("POST", "/console/exports", other, groups="operator", **{"Idempotency-Key": "one"})

    assert answers[0].body["export_id"] == answers[1].body["export_id"]
    assert refused.body["code"] == "idempotency_key_reused"
