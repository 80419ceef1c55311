"""An import through the doors, the outbox, the queue and the owner of time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from shared.catalog import records as catalog
from shared.inventory import records as inventory
from shared.jobs.errors import CardsRest
from shared.kernel import clock, settings
from shared.suppliers.accounts import Head
from shared.suppliers.admission import Standing, same
from tests.imported import run as run_at
from tests.shop import Shop

CARDS = {"kind": "cards", "sku": "G020", "file_name": "cards.txt", "options": {"supplier": "acme"}}


def asked(shop: Shop, text: str, wanted: dict[str, Any] | None = None, **headers: str) -> str:
    answer = shop.call("POST", "/console/imports", wanted or CARDS, groups="operator", **headers)
    assert answer.status == 201, answer.body
    assert answer.body["upload_url"].startswith("https://")
    assert clock.parse(answer.body["upload_until"]) > clock.now()
    job_id = str(answer.body["job_id"])
    boto3.client("s3").put_object(
        Bucket=settings.get("PASSING_BUCKET"), Key=f"uploads/{job_id}", Body=text.encode("utf-8")
    )
    return job_id


def act(shop: Shop, job_id: str, verb: str, groups: str = "operator") -> Any:
    return shop.call("POST", f"/console/imports/{job_id}/{verb}", groups=groups)


def shown(shop: Shop, job_id: str, groups: str = "auditor") -> Any:
    return shop.call("GET", f"/console/imports/{job_id}", groups=groups).body


def imported(shop: Shop, text: str) -> str:
    job_id = asked(shop, text)
    for verb in ("check", "run"):
        assert act(shop, job_id, verb).status == 200
        shop.pump()
    return job_id


def test_a_file_is_checked_shown_and_run(shop: Shop) -> None:
    job_id = asked(shop, "DOOR-CARD-0001\nDOOR-CARD-0002\nDOOR-CARD-0001\n# a remark")
    assert shown(shop, job_id)["state"] == "created"

    assert act(shop, job_id, "check").body["state"] == "checking"
    shop.pump()
    seen = shown(shop, job_id)
    assert seen["state"] == "checked"
    assert {name: seen["counts"][name] for name in ("lines", "new", "duplicates", "refused", "skipped", "done")} == {
        "lines": 4,
        "new": 2,
        "duplicates": 1,
        "refused": 1,
        "skipped": 1,
        "done": 0,
    }
    assert [row["code"] for row in seen["preview"]] == ["••••0001", "••••0002"]
    assert seen["refused"][0]["zh"] == "与本文件前面的一行重复"

    assert act(shop, job_id, "run").body["state"] == "running"
    shop.pump()
    seen = shown(shop, job_id)
    assert (seen["state"], seen["counts"]["done"], len(seen["lots"]), seen["eta_seconds"]) == ("done", 2, 1, None)
    assert [one["job_id"] for one in shop.call("GET", "/console/imports", groups="support").body["imports"]][:1] == [
        job_id
    ]


def sold_by(tier: str = "B", **otherwise: Any) -> None:
    """The supplier of the cards is one of the hub, and may sell them."""
    sku = catalog.skus(["G020"])["G020"]
    head = {"standing": Standing.APPROVED, "brands": {same(sku.brand): "9999-12-31"}, **otherwise}
    Head("acme", name="acme", kind="pricelist", terms={}, trust={sku.category: [tier, 0.9, 5.0]}, **head).save()


@pytest.mark.parametrize(
    ("supplier", "reason"),
    [
        ({"standing": Standing.SUSPENDED}, "not_admitted"),
        ({"documents_until": "2026-01-01"}, "document_over"),
        ({"brands": {}}, "no_authorisation"),
        ({"tier": "D"}, "tier_d"),
    ],
)
def test_cards_of_whom_nothing_may_be_bought_are_not_taken_in(
    shop: Shop, supplier: dict[str, Any], reason: str
) -> None:
    sold_by(**supplier)
    job_id = asked(shop, "DOOR-CARD-0001")
    act(shop, job_id, "check")
    shop.pump()
    refused = act(shop, job_id, "run")
    assert (refused.status, refused.body["code"], refused.body["reason"]) == (409, "not_taken_from_him", reason)
    assert (shown(shop, job_id)["state"], act(shop, job_id, "cancel").status) == ("checked", 200)


def test_cards_of_a_doubtful_supplier_rest_for_a_day_after_their_check_and_come_in_then(shop: Shop) -> None:
    sold_by("C")
    job_id = asked(shop, "DOOR-CARD-0001")
    act(shop, job_id, "check")
    shop.pump()
    refused = act(shop, job_id, "run")
    assert (refused.status, refused.body["code"], refused.body["retryable"]) == (409, "cards_rest", True)
    checked_at = clock.parse(shown(shop, job_id)["ended_at"])
    assert datetime.fromisoformat(refused.body["until"]) == (checked_at + timedelta(days=1)).replace(
        second=0, microsecond=0
    )

    with pytest.raises(CardsRest):
        run_at(job_id, checked_at + timedelta(hours=23, minutes=59))
    sold_by("D")  # what he delivered before has turned out to be void
    assert act(shop, job_id, "run").body["code"] == "not_taken_from_him"
    sold_by("C")
    assert run_at(job_id, checked_at + timedelta(days=1)).counts.done == 1


def test_cards_that_were_bought_before_their_supplier_was_stopped_or_set_aside_come_in(shop: Shop) -> None:
    sold_by(stopped="bad_signature", paused_by="ann")
    assert shown(shop, imported(shop, "DOOR-CARD-0001"))["state"] == "done"


def test_the_refused_rows_come_by_their_link_as_a_file(shop: Shop) -> None:
    job_id = imported(shop, "DOOR-CARD-0001\n=FORMULA")
    assert shown(shop, job_id, "auditor")["refused_url"] is None, "it leads to codes in clear"
    url = shown(shop, job_id, "operator")["refused_url"]

    answer = shop.call("GET", "/imports" + url.partition("/imports")[2])

    assert answer.status == 200
    assert answer.body.startswith("\ufeffsku,number,code,expires_on,cost,lot,remark\r\n")
    assert "'=FORMULA" in answer.body
    forged = shop.call("GET", "/imports" + url.partition("/imports")[2][:-3] + "AAA")
    assert (forged.status, forged.body["code"]) == (404, "link_over")


def test_the_same_key_gives_the_same_import(shop: Shop) -> None:
    key = {"Idempotency-Key": "5f1c"}
    assert asked(shop, "DOOR-CARD-0001", **key) == asked(shop, "DOOR-CARD-0001", **key)
    other = shop.call("POST", "/console/imports", {**CARDS, "sku": "V001"}, groups="operator", **key)
    assert (other.status, other.body["code"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"sku": "NONE"}, 404, "unknown_sku"),
        ({"sku": "B073"}, 409, "not_for_sale"),  # codes we make ourselves: nothing to bring in
        ({"options": {"supplier": "No Such Name"}}, 422, "invalid_request"),
        ({"options": {"currency": "USD"}}, 422, "invalid_request"),
        ({"options": {"cost_e6": -1}}, 422, "invalid_request"),
        ({"options": {"expires_on": "2020-01-01"}}, 422, "invalid_request"),
        ({"options": {"lot": "=1"}}, 422, "invalid_request"),
        ({"kind": "catalogue"}, 422, "invalid_request"),
        ({"file_name": "../x"}, 422, "invalid_request"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(shop: Shop, change: dict[str, Any], status: int, code: str) -> None:
    answer = shop.call("POST", "/console/imports", {**CARDS, **change}, groups="operator")
    assert (answer.status, answer.body["code"]) == (status, code)


def test_who_may_look_may_not_import(shop: Shop) -> None:
    job_id = asked(shop, "DOOR-CARD-0001")
    for groups in ("auditor", "support", "finance"):
        assert shown(shop, job_id, groups)["job_id"] == job_id
        assert shop.call("POST", "/console/imports", CARDS, groups=groups).body["code"] == "not_allowed"
        for verb in ("check", "run", "cancel", "undo"):
            assert act(shop, job_id, verb, groups).body["code"] == "not_allowed"


def test_an_import_whose_message_was_lost_goes_on_by_itself(shop: Shop) -> None:
    job_id = asked(shop, "DOOR-CARD-0001")
    for verb, state in (("check", "checked"), ("run", "done")):
        act(shop, job_id, verb)
        shop.drop_streams()
        shop.pump()
        assert shown(shop, job_id)["state"] != state

        shop.deadlines(datetime.now(UTC) + timedelta(minutes=3))
        shop.pump()
        assert shown(shop, job_id)["state"] == state


def test_an_import_of_which_a_card_is_sold_or_held_is_not_undone_and_another_is(shop: Shop) -> None:
    job_id = imported(shop, "DOOR-CARD-0001\nDOOR-CARD-0002")
    order = shop.placed("G020")
    refused = act(shop, job_id, "undo")
    assert (refused.status, refused.body["code"], refused.body["held"]) == (409, "cards_gone", 1)
    shop.call("POST", f"/orders/{order.order_id}/cancel", token=order.token)

    assert act(shop, job_id, "undo").body["state"] == "undoing"
    shop.pump()

    assert shown(shop, job_id)["counts"]["undone"] == 2
    assert {str(card.state) for card in inventory.Card.scan()} == {"void"}
    assert shop.place("G020").body["code"] == "out_of_stock"


def test_a_cancelled_import_brings_nothing_more(shop: Shop) -> None:
    job_id = asked(shop, "DOOR-CARD-0001")
    act(shop, job_id, "check")
    shop.pump()
    act(shop, job_id, "run")

    assert act(shop, job_id, "cancel").body["counts"]["done"] == 0
    shop.pump()

    assert inventory.Card.count() == 0
    assert act(shop, job_id, "run").body["code"] == "wrong_job_state"


def test_no_other_job_is_an_import(shop: Shop) -> None:
    assert shop.call("GET", "/console/imports/job_" + "0" * 26, groups="operator").body["code"] == "not_found"
    assert shop.call("GET", "/console/imports/nonsense", groups="operator").body["code"] == "not_found"
