"""A supplier's files come into stock: checked, run, watched, stopped, taken up again, taken back."""

from __future__ import annotations

import csv
import io
import json
import re
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any

from infra.local.cloud import ROOT
from shared.inventory.card_files import REASONS
from tests.journeys import stockroom
from tests.journeys.stack import CATALOGUE, SCALE, Stack, wait_for

DATA = ROOT / "tests/data"
EXPECTED = json.loads((DATA / "expected.json").read_text())
SKU_OF = {"cards_txt_one_per_line.txt": "G020", "cards_number_password_gbk.txt": "C055"}
MANY = 3_000 * SCALE
CODE = re.compile(r"\b[0-9A-Z]{4}(?:[- ][0-9A-Z]{4}){2,3}\b")


def refused_rows(view: Any) -> list[dict[str, str]]:
    """What the link of an import gives: each row with its line and the reason why it did not come in."""
    if not view["refused_url"]:
        return []
    with urllib.request.urlopen(view["refused_url"], timeout=10) as reply:
        text = reply.read().decode("utf-8-sig")
    found = []
    for row in csv.reader(io.StringIO(text)):
        told = ",".join(row) if row[0].startswith("#") else row[-1]
        if line := re.match(r"(?:# )?第 (\d+) 行", told):
            (reason,) = [name for name, why in REASONS.items() if told.endswith((why.en, why.en.replace(",", ";")))]
            found.append({"line": line[1], "reason": reason, "row": ",".join(row)})
    return found


def test_every_sample_file_gives_exactly_what_is_expected_and_again_nothing(stack: Stack) -> None:
    for name in EXPECTED["import_order"]:
        text = (DATA / name).read_bytes().decode("gb18030" if "gbk" in name else "utf-8-sig")
        stack.canaries.codes.update(CODE.findall(text))
        expected = EXPECTED["files"][name]
        view = stockroom.take_in(stack, (DATA / name).read_bytes(), name, SKU_OF.get(name, ""))
        counts = view["counts"]
        assert (view["state"], counts["done"], counts["skipped"]) == (
            "done",
            expected["accepted"],
            len(expected["skipped"]),
        ), view
        assert {row["line"]: row["reason"] for row in refused_rows(view)} == expected["refused"], name
        assert sum(one["rows"] for one in view["refused"]) == counts["refused"] == len(expected["refused"])

    for name in EXPECTED["import_order"]:
        again = stockroom.checked(stack, (DATA / name).read_bytes(), name, SKU_OF.get(name, ""))
        assert again["counts"]["new"] == 0, again
        if again["state"] == "checked":
            assert stockroom.run(stack, again["job_id"])["counts"]["done"] == 0


def test_refused_rows_are_mended_and_come_in_and_a_known_code_stays_masked(stack: Stack) -> None:
    known, wrong, other = stockroom.codes(stack, 3)
    stockroom.take_in(stack, known.encode(), sku="G019")
    file = f"SKU编码,卡密\nG019,{known}\nNOPE01,{wrong}\nG019,{other}\n"
    view = stockroom.checked(stack, file.encode(), "mixed.csv")
    assert (view["counts"]["new"], view["counts"]["duplicates"], view["counts"]["refused"]) == (1, 1, 2)
    assert [row["code"] for row in view["preview"]] == [f"••••{other[-4:]}"]

    rows = {row["reason"]: row["row"] for row in refused_rows(view)}
    assert known not in rows["duplicate_in_stock"]
    assert wrong in rows["unknown_sku"]
    stockroom.run(stack, view["job_id"])
    with urllib.request.urlopen(view["refused_url"], timeout=10) as reply:
        mended = reply.read().decode("utf-8-sig").replace("NOPE01", "G019")
    rest = stockroom.take_in(stack, mended.encode(), "mended.csv")
    assert (rest["counts"]["done"], rest["counts"]["refused"]) == (1, 0), rest

    shown = stack.console("GET", "/imports", role="operator").body["imports"]
    assert {rest["job_id"], view["job_id"]} <= {one["job_id"] for one in shown}
    forged = re.sub(r"signature=.{6}", "signature=1.AAAA", view["refused_url"])
    assert stack.http.call("GET", forged).status in {403, 404, 410}


def test_what_an_import_has_refused_is_forgotten_when_its_hour_is_over(stack: Stack) -> None:
    view = stockroom.take_in(stack, f"SKU编码,卡密\nNOPE01,{stack.canaries.code()}\n".encode(), "wrong.csv")
    assert len(refused_rows(view)) == 1
    kept = f"refused/{view['job_id']}/"
    assert kept in objects(stack)
    an_hour_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    stack.client("dynamodb").update_item(
        TableName=f"kaquan-{stack.stage}-jobs",
        Key={"job_id": {"S": view["job_id"]}, "part": {"S": "head"}},
        UpdateExpression="SET kept_until = :past, due_at = :past",
        ExpressionAttributeValues={":past": {"S": an_hour_ago}},
    )
    stack.deadlines()
    wait_for(lambda: kept not in objects(stack), "the refused rows to be forgotten")
    assert stack.shown_import(view["job_id"])["refused_url"] is None


def objects(stack: Stack) -> str:
    """The names of all that lies in the bucket of what passes."""
    found = stack.client("s3").list_objects_v2(Bucket=f"kaquan-{stack.stage}-passing-000000000000")
    return " ".join(one["Key"] for one in found.get("Contents", []))


def test_a_long_import_is_watched_and_stopped_and_the_rest_comes_later(stack: Stack) -> None:
    codes = stockroom.codes(stack, MANY)
    file = "\n".join(codes).encode()
    job_id = stockroom.checked(stack, file, sku="C053")["job_id"]
    stack.move_import(job_id, "run")

    def under_way() -> Any:
        view = stack.shown_import(job_id)
        assert view["state"] == "running", "it ended before it could be stopped"
        return view if view["counts"]["done"] and view["rows_per_second"] else None

    seen = wait_for(under_way, "some rows to be in")
    assert 0 < seen["counts"]["done"] < seen["counts"]["new"] == MANY
    assert seen["eta_seconds"] is not None
    stopped = stack.move_import(job_id, "cancel")
    done = stopped["counts"]["done"]
    assert (stopped["state"], seen["counts"]["done"] <= done < MANY) == ("cancelled", True)
    of_lot = {lot["lot_id"] for lot in stopped["lots"]}
    assert sum(card["lot_id"] in of_lot for card in stack.table("cards")) == done
    stockroom.came(stack, stopped)

    rest = stockroom.take_in(stack, file, sku="C053")
    assert (rest["counts"]["duplicates"], rest["counts"]["done"]) == (done, MANY - done)


def test_an_import_that_is_killed_midway_goes_on_where_it_was(stack: Stack) -> None:
    codes = stockroom.codes(stack, MANY // 2)
    job_id = stockroom.checked(stack, "\n".join(codes).encode(), sku="V003")["job_id"]
    with stack.impatient(6), stack.weather.death("bulk-jobs", MANY // 2 // 96 // 2, job_id) as fault:
        stack.move_import(job_id, "run")
        wait_for(lambda: fault.struck, "the worker to die")
        before = stack.shown_import(job_id)
        assert before["state"] == "running"
        assert 0 < before["counts"]["done"] < len(codes)
        view = stockroom.came(stack, stack.until_import(job_id, *stockroom.ENDED))
    assert (view["state"], view["counts"]["done"], view["counts"]["duplicates"]) == ("done", len(codes), 0)
    assert sum(card["sku"] == "V003" for card in stack.table("cards")) == len(codes)


def test_an_import_is_taken_back_while_nothing_of_it_is_sold_and_can_come_again(stack: Stack) -> None:
    codes = stockroom.codes(stack, 250)
    rows = [f"C059,{code},{'AB'[number % 2]}" for number, code in enumerate(codes)]
    file = "\n".join(["SKU编码,卡密,批次", *rows]).encode()
    first = stockroom.take_in(stack, file, "two-lots.csv", cost_minor=700)
    assert {lot["label"]: lot["cards"] for lot in first["lots"]} == {"A": 125, "B": 125}
    assert first["total_cost"] == {"amount_minor": 250 * 700, "currency": "CNY"}
    stack.move_import(first["job_id"], "undo")
    undone = stack.until_import(first["job_id"], "undone")
    assert (undone["counts"]["undone"], undone["counts"]["left"]) == (250, 0)
    assert stack.buyer().try_to_place("C059").code == "out_of_stock"

    again = stockroom.take_in(stack, file, "two-lots.csv", cost_minor=700)
    assert again["counts"]["done"] == 250, again
    buyer = stack.buyer()
    order = buyer.buy("C059")
    assert set(buyer.reveal(order)) < set(codes)
    refused = stack.console("POST", f"/imports/{again['job_id']}/undo", role="operator")
    assert (refused.status, refused.code) == (409, "cards_gone")
    assert sum(card["state"] == "available" for card in stockroom.cards(stack, sku="C059")) == 249


def test_a_catalogue_is_an_import_like_any_other(stack: Stack) -> None:
    job_id = stack.upload(CATALOGUE.read_bytes(), "catalogue.csv", kind="catalogue")
    stack.move_import(job_id, "check")
    view = stack.until_import(job_id, "checked", "failed")
    assert (view["state"], view["counts"]["new"], view["counts"]["refused"]) == ("checked", 0, 0), view
    assert stack.move_import(job_id, "cancel")["state"] == "cancelled"
