"""Suppliers: set up over the console, let in by two people on their papers, closed on the day one of these is over."""

from __future__ import annotations

import hashlib
import json
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient

from infra.local.suppliers.acg import Acg
from infra.local.suppliers.dujiao import Dujiao
from shared.kernel import clock
from shared.kernel.records import Transaction
from shared.staff import records as staff
from shared.steps import supplier_admission
from shared.suppliers import accounts, documents, purchases, registry, supplier_keys
from shared.suppliers.attempts import OPEN, OUT, AttemptState
from shared.suppliers.errors import UnknownSupplier
from shared.suppliers.kinds import KINDS
from shared.suppliers.supplier import Account
from tests.admitted import (
    COMPANY,
    PAPERS,
    PDF,
    admit,
    approve_again,
    authorise,
    bring,
    desk,
    save,
    shanghai,
    show,
    upload,
)
from tests.shop import CONTEXT, Answer, Shop, handler

TODAY = clock.shanghai_day(clock.now())
NOWHERE = "http://127.0.0.1:9"  # nobody listens
BRAND = "王者荣耀"
KEYS = {"app_key": "K" * 32}
TERMS = {"site": NOWHERE, "app_id": "10086"}


def on(days: int) -> date:
    return TODAY + timedelta(days=days)


def supplier(shop: Shop, code: str = "acme") -> dict[str, Any]:
    answer = desk(shop, f"/{code}", method="GET", groups="auditor")
    assert answer.status == 200, answer.body
    return dict(answer.body["supplier"])


def document(shop: Shop, document_id: str, code: str = "acme") -> dict[str, Any]:
    found = desk(shop, f"/{code}", method="GET").body["documents"]
    return dict(next(one for one in found if one["document_id"] == document_id))


def fields(answer: Answer) -> list[tuple[str, str]]:
    assert answer.status == 422, answer.body
    return [(one["field"], one["reason"]) for one in answer.body["fields"]]


def refused(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.body["code"]


def tasks() -> list[tuple[str, str]]:
    return [(str(task.kind), str(task.about)) for task in staff.open_tasks(50)]


def buys_on(day: date, brand: str = BRAND, code: str = "acme") -> bool:
    return accounts.head_of(code).may_supply(brand, day.isoformat())


# --- accounts ---


def test_a_new_supplier_is_listed_gets_nothing_and_says_what_is_missing(shop: Shop) -> None:
    assert desk(shop, "", method="GET").body == {"suppliers": []}
    saved = save(shop)
    assert saved.status == 200, saved.body
    assert saved.body["missing"] == list(PAPERS)
    (listed,) = desk(shop, "", method="GET", groups="finance").body["suppliers"]
    assert (listed["supplier"], listed["standing"], listed["tier"], listed["buys"]) == ("acme", "applied", "B", False)
    assert refused(desk(shop, "/nobody", method="GET")) == (404, "unknown_supplier")


@pytest.mark.parametrize(
    ("code", "more", "wrong"),
    [
        ("A", {}, ("supplier", "not_a_name")),
        ("acme", {"kind": "acg", "terms": {"app_id": "1"}}, ("terms.site", "required")),
        ("acme", {"terms": {"app_key": "x"}}, ("terms.app_key", "unknown")),
        ("acme", {"terms": {"trait.luck": "true"}}, ("terms.trait.luck", "unknown")),
        ("acme", {"terms": {"trait.repeat": "perhaps"}}, ("terms.trait.repeat", "not_a_value")),
        ("acme", {"company": " "}, ("company", "string_pattern_mismatch")),
        ("acme", {"deposit_minor": -1}, ("deposit_minor", "greater_than_equal")),
        ("acme", {"rate_e6": 7_100_000}, ("rate_e6", "must_be_one")),
        ("acme", {"currency": "USD"}, ("rate_e6", "required")),  # or twenty dollars would be bought for twenty yuan
    ],
)
def test_what_cannot_be_is_refused_by_name(shop: Shop, code: str, more: Any, wrong: tuple[str, str]) -> None:
    assert wrong in fields(save(shop, code, **more))
    assert accounts.every() == []


def test_what_his_books_rest_on_cannot_be_changed(shop: Shop) -> None:
    save(shop)
    assert fields(save(shop, currency="USD", rate_e6=7_100_000)) == [("currency", "cannot_change")]
    assert ("kind", "cannot_change") in fields(save(shop, kind="acg", terms=TERMS))


def test_keys_that_do_not_fit_are_refused_and_none_is_ever_shown(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(desk(shop, "/acme/keys", {"keys": KEYS})) == (404, "unknown_supplier")
    save(shop, kind="acg", terms=TERMS)
    with pytest.raises(UnknownSupplier):
        registry.supplier("acme")
    assert fields(desk(shop, "/acme/keys", {"keys": {"secret": "x"}})) == [
        ("keys.app_key", "required"),
        ("keys.secret", "unknown"),
    ]
    assert supplier_keys.fresh("acme") == ()

    given = desk(shop, "/acme/keys", {"keys": KEYS})
    assert given.body["key_sets"] == 1
    registry.forget()
    found = registry.supplier("acme")
    assert (found.code, found.traits.repeat) == ("acme", "refuses")
    listed = [desk(shop, path, method="GET").body for path in ("", "/acme")]
    said = json.dumps([given.body, *listed]) + capsys.readouterr().out + repr(found)
    assert KEYS["app_key"] not in said


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"pricelist"}))
def test_no_adapter_speaks_to_an_address_in_clear_or_without_what_it_needs(kind: str) -> None:
    asks = KINDS[kind]
    terms = dict.fromkeys(asks.terms, "1") | {"site": "https://card.example"}
    keys = dict.fromkeys(asks.keys, "k" * 32)
    assert registry.made(Account("acme", kind, terms), (keys,)).code == "acme"
    for site in ("http://card.example", "https://ann@card.example", "ftp://card.example"):
        with pytest.raises(ValueError, match="https"):
            registry.made(Account("acme", kind, terms | {"site": site}), (keys,))
    for name in asks.terms:
        with pytest.raises(ValueError, match=name):
            registry.made(Account("acme", kind, terms | {name: ""}), (keys,))
    for name in asks.keys:
        with pytest.raises(ValueError, match=name):
            registry.made(Account("acme", kind, terms), (keys | {name: ""},))


def test_a_site_in_clear_is_refused_with_and_without_keys(shop: Shop) -> None:
    in_clear = TERMS | {"site": "http://card.example"}
    assert fields(save(shop, kind="acg", terms=in_clear)) == [("terms", "unfit")]
    assert save(shop, kind="acg", terms=TERMS).status == 200
    assert desk(shop, "/acme/keys", {"keys": KEYS}).status == 200
    assert fields(save(shop, kind="acg", terms=in_clear)) == [("terms", "unfit")]


def test_what_only_the_adapter_can_judge_is_refused_as_soon_as_there_are_keys(shop: Shop) -> None:
    terms = {"app_key": "1", "card_cipher": "rot13"}
    assert save(shop, kind="fulu", terms=terms).status == 200
    keys = {"keys": {"app_secret": "K" * 32}}
    assert fields(desk(shop, "/acme/keys", keys)) == [("keys", "unfit")]
    assert supplier_keys.fresh("acme") == ()
    save(shop, kind="fulu", terms=terms | {"card_cipher": "aes"})
    assert desk(shop, "/acme/keys", keys).status == 200
    assert fields(save(shop, kind="fulu", terms=terms)) == [("terms", "unfit")]


def test_two_sets_of_keys_are_valid_at_once_until_the_older_is_retired(shop: Shop) -> None:
    save(shop, kind="acg", terms=TERMS)
    first, second = KEYS, {"app_key": "L" * 32}
    sets = [desk(shop, "/acme/keys", {"keys": one}).body["key_sets"] for one in (first, first, second)]
    assert sets == [1, 1, 2]
    assert supplier_keys.of("acme") == (second, first)
    assert desk(shop, "/acme/keys/retire").body["key_sets"] == 1
    assert supplier_keys.of("acme") == (second,)
    secrets = boto3.client("secretsmanager").list_secrets()["SecretList"]
    assert [one["Name"] for one in secrets if "supplier" in one["Name"]] == ["kaquan-test-supplier-acme"]


def test_a_known_trait_is_what_his_adapter_goes_by_and_no_key_is_needed_for_a_price_list(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(shop, "list", terms={"trait.quantity_max": "7"})
    save(shop, kind="acg", terms=TERMS)
    assert registry.supplier("list").code == "list"
    desk(shop, "/acme/keys", {"keys": KEYS})
    known = registry.supplier("acme")
    monkeypatch.setattr(registry, "KNOWN_FOR", 0)
    assert registry.supplier("acme") is known, "it may hold a token"
    for most in (7, 8):
        with Transaction() as tx:  # as another process does, which cannot say that it did
            changed = TERMS | {"trait.quantity_max": str(most)}
            accounts.change(tx, accounts.head_of("acme"), terms=changed)
        assert registry.supplier("acme").traits.quantity_max == most


def test_asking_for_the_balance_proves_address_and_keys(shop: Shop, tmp_path: Path) -> None:
    with Acg(tmp_path / "acg.sqlite", balance_e6=1_234_560_000) as stand_in:
        terms = {"site": stand_in.url, **stand_in.terms}
        save(shop, kind="acg", terms=terms)
        assert refused(desk(shop, "/acme/check")) == (404, "unknown_supplier")
        desk(shop, "/acme/keys", {"keys": stand_in.keys})
        checked = desk(shop, "/acme/check").body
        assert (checked["answers"], checked["refused"]) == (True, None)
        assert checked["balance"] == {"amount_minor": 123_456, "currency": "CNY"}
        assert supplier(shop)["balance"] == checked["balance"]

        desk(shop, "/acme/keys", {"keys": KEYS})
        checked = desk(shop, "/acme/check").body
        assert (checked["answers"], checked["balance"]) == (False, None)
        assert checked["refused"]
    assert desk(shop, "/acme/check").body["answers"] is False
    assert supplier(shop)["balance"]["amount_minor"] == 123_456, "the last one known"


def test_a_balance_in_another_currency_than_his_account_is_no_balance(shop: Shop, tmp_path: Path) -> None:
    with Dujiao(tmp_path / "dujiao.sqlite") as stand_in:
        save(shop, kind="dujiao", terms=dict(stand_in.terms), currency="USD", rate_e6=7_100_000)
        desk(shop, "/acme/keys", {"keys": dict(stand_in.keys)})
        checked = desk(shop, "/acme/check").body
    assert (checked["answers"], checked["refused"], checked["balance"]) == (False, "other_currency", None)
    assert supplier(shop)["balance"] is None


def test_a_pause_and_a_stop_close_him_until_somebody_resumes(shop: Shop) -> None:
    admit(shop, "acme", (BRAND,))
    assert supplier(shop)["buys"]
    for by in ("ann", "bea"):
        desk(shop, "/acme/pause", by=by)
    assert (supplier(shop)["buys"], supplier(shop)["paused_by"]) == (False, "ann")
    assert not buys_on(TODAY)

    accounts.stop("acme", "bad_signature")
    assert supplier(shop)["stopped"] == "bad_signature"
    with Transaction() as tx:
        staff.open_task(tx, "supplier_stopped", "acme", "-", clock.now())
    resumed = desk(shop, "/acme/resume", by="cid", groups="operator").body["supplier"]
    assert (resumed["buys"], resumed["stopped"], resumed["paused_by"]) == (True, None, None)
    assert resumed["resumed_by"] == "cid"
    assert tasks() == []


# --- documents ---


def test_a_document_is_kept_as_it_came_by_its_hash(shop: Shop) -> None:
    save(shop)
    wanted = {"paper": "licence", "file_name": "执照.PDF", "issued_to": COMPANY, "ends_on": on(90).isoformat()}
    asked = desk(shop, "/acme/documents", wanted).body
    path = f"/acme/documents/{asked['document_id']}"
    assert refused(desk(shop, f"{path}/received")) == (409, "nothing_uploaded")
    for content in (b"", b"x" * (asked["upload_bytes_max"] + 1)):
        upload(asked["upload_url"], content)
        assert refused(desk(shop, f"{path}/received")) == (409, "nothing_uploaded")

    upload(asked["upload_url"], PDF)
    assert desk(shop, f"{path}/received").status == 200
    upload(asked["upload_url"], b"something else, under the same link")
    assert desk(shop, f"{path}/received").status == 200
    kept = document(shop, asked["document_id"])
    assert (kept["state"], kept["size"], kept["sha256"]) == ("received", len(PDF), hashlib.sha256(PDF).hexdigest())
    link = urllib.parse.urlsplit(kept["file_url"])
    stored = boto3.client("s3").get_object(Bucket="kaquan-test-files", Key=link.path[1:])
    assert stored["Body"].read() == PDF
    assert "acme-licence" in kept["file_url"]
    everything = boto3.client("s3").list_objects_v2(Bucket="kaquan-test-files", Prefix="suppliers/")
    assert [one["Key"] for one in everything["Contents"]] == [link.path[1:]]


def test_whoever_brings_a_document_does_not_accept_it(shop: Shop) -> None:
    save(shop)
    licence = bring(shop, "acme", "licence")
    assert refused(desk(shop, f"/acme/documents/{licence}/accept", by="ann")) == (403, "same_person")
    assert not document(shop, licence)["holds"]
    for _ in range(2):
        accepted = desk(shop, f"/acme/documents/{licence}/accept", by="bea")
        assert accepted.body["missing"] == ["tax", "bank", "contract"]
    assert (document(shop, licence)["reviewed_by"], document(shop, licence)["holds"]) == ("bea", True)


def test_a_document_proves_nothing_before_its_file_came_or_after_it_was_rejected(shop: Shop) -> None:
    save(shop)
    wanted = {"paper": "tax", "file_name": "tax.pdf", "issued_to": COMPANY}
    waiting = desk(shop, "/acme/documents", wanted).body["document_id"]
    for verb, body in (("accept", None), ("reject", {"said": "blurred"})):
        answer = desk(shop, f"/acme/documents/{waiting}/{verb}", body, by="bea")
        assert refused(answer) == (409, "wrong_document_state")
    bad = bring(shop, "acme", "tax")
    assert desk(shop, f"/acme/documents/{bad}/reject", {"said": "blurred"}).status == 200
    assert (document(shop, bad)["state"], document(shop, bad)["said"]) == ("rejected", "blurred")
    assert refused(desk(shop, f"/acme/documents/{bad}/accept", by="bea")) == (409, "wrong_document_state")
    assert refused(desk(shop, "/acme/documents/doc_none/accept", by="bea")) == (404, "not_found")
    assert "tax" in desk(shop, "/acme", method="GET").body["missing"]


def test_a_paper_that_turns_out_to_be_forged_closes_him_at_once(shop: Shop) -> None:
    admit(shop, "acme", (BRAND,))
    licence = next(one for one in desk(shop, "/acme", method="GET").body["documents"] if one["paper"] == "licence")
    assert buys_on(TODAY)
    desk(shop, f"/acme/documents/{licence['document_id']}/reject", {"said": "forged"}, by="cid")
    assert not buys_on(TODAY)
    assert supplier(shop)["standing"] == "approved"
    show(shop, "acme", "licence")
    assert buys_on(TODAY)


@pytest.mark.parametrize(
    ("more", "wrong"),
    [
        ({"paper": "authorisation", "issued_by": "x"}, ("brand", "required")),
        ({"paper": "authorisation", "brand": "QQ"}, ("issued_by", "required")),
        ({"brand": "QQ"}, ("brand", "not_of_this_paper")),
        ({"from_owner": True}, ("from_owner", "not_of_this_paper")),
        ({"ends_on": "2027-02-30"}, ("ends_on", "not_a_day")),
        ({"paper": "passport"}, ("paper", "literal_error")),
    ],
)
def test_a_document_that_cannot_be_is_refused_by_name(shop: Shop, more: Any, wrong: tuple[str, str]) -> None:
    save(shop)
    asked = desk(shop, "/acme/documents", {"paper": "tax", "file_name": "a.pdf", "issued_to": COMPANY, **more})
    assert wrong in fields(asked)


def test_a_document_that_is_asked_for_twice_under_one_key_is_the_same_one(shop: Shop) -> None:
    save(shop)
    wanted = {"paper": "tax", "file_name": "a.pdf", "issued_to": COMPANY}

    def ask(**more: Any) -> Answer:
        path = "/console/suppliers/acme/documents"
        return shop.call("POST", path, wanted | more, groups="operator", **{"Idempotency-Key": "once"})

    first, second = ask(), ask()
    assert first.body["document_id"] == second.body["document_id"]
    assert refused(ask(issued_to="another")) == (422, "idempotency_key_reused")
    assert len(desk(shop, "/acme", method="GET").body["documents"]) == 1


def test_there_is_an_end_to_suppliers_and_to_documents(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "SUPPLIERS_MAX", 1)
    monkeypatch.setattr(documents, "DOCUMENTS_MAX", 1)
    save(shop)
    assert refused(save(shop, "another")) == (422, "too_many_suppliers")
    assert save(shop, name="another name").status == 200
    bring(shop, "acme", "tax")
    wanted = {"paper": "tax", "file_name": "a.pdf", "issued_to": COMPANY}
    assert refused(desk(shop, "/acme/documents", wanted)) == (422, "too_many_documents")


def test_two_documents_that_are_accepted_at_the_same_moment_both_count(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(shop)
    one, other = (
        bring(shop, "acme", "authorisation", brand=brand, issued_by="x", from_owner=True) for brand in ("QQ", "Steam")
    )
    with meanwhile(
        monkeypatch, "TransactWriteItems", lambda: desk(shop, f"/acme/documents/{other}/accept", by="cid")
    ) as answers:
        accepted = desk(shop, f"/acme/documents/{one}/accept", by="bea")
    assert [accepted.status, *(answer.status for answer in answers)] == [200, 200]
    assert [brand["brand"] for brand in supplier(shop)["brands"]] == ["qq", "steam"]


def test_a_stop_that_comes_while_somebody_resumes_is_not_taken_away_unseen(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    admit(shop, "acme", (BRAND,))
    desk(shop, "/acme/pause")
    with meanwhile(monkeypatch, "UpdateItem", lambda: accounts.stop("acme", "not_allowed")):
        resumed = desk(shop, "/acme/resume")
    assert refused(resumed) == (503, "busy")
    assert (supplier(shop)["stopped"], supplier(shop)["paused_by"]) == ("not_allowed", "ann")
    assert desk(shop, "/acme/resume").body["supplier"]["buys"]


@contextmanager
def meanwhile(monkeypatch: pytest.MonkeyPatch, operation: str, act: Callable[[], Any]) -> Iterator[list[Any]]:
    """Right before the next write of this kind somebody else acts; what came of it."""
    original, came = BaseClient._make_api_call, list[Any]()

    def call(client: BaseClient, name: str, given: dict[str, Any]) -> Any:
        if name == operation and not came:
            came.append(None)
            came[0] = act()
        return original(client, name, given)

    with monkeypatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", call)
        yield came


# --- two people ---


def test_the_second_person_is_never_the_first(shop: Shop) -> None:
    save(shop)
    assert refused(desk(shop, "/acme/approve")) == (409, "wrong_standing")
    for paper in PAPERS:
        answer = desk(shop, "/acme/review")
        assert refused(answer) == (409, "papers_missing")
        assert paper in answer.body["papers"]
        show(shop, "acme", paper)
    assert desk(shop, "/acme/review", by="ann").body["supplier"]["reviewed_by"] == "ann"
    assert refused(desk(shop, "/acme/approve", by="ann")) == (403, "same_person")
    assert refused(desk(shop, "/acme/approve", by="ann", groups="finance")) == (403, "same_person")
    assert not supplier(shop)["buys"]
    for _ in range(2):
        assert desk(shop, "/acme/approve", by="bea", groups="finance").body["supplier"]["buys"]
    assert supplier(shop)["approved_by"] == "bea"


def test_nobody_is_approved_on_papers_that_were_taken_away_since_the_review(shop: Shop) -> None:
    save(shop)
    papers = [show(shop, "acme", paper) for paper in PAPERS]
    desk(shop, "/acme/review", by="bea")
    desk(shop, f"/acme/documents/{papers[0]}/reject", {"said": "forged"})
    assert refused(desk(shop, "/acme/approve", by="ann")) == (409, "papers_missing")


def test_a_suspended_supplier_gets_nothing_until_two_people_have_looked_again(shop: Shop) -> None:
    admit(shop, "acme", (BRAND,))
    suspended = desk(shop, "/acme/suspend", {"said": "sold used cards"}, groups="operator").body["supplier"]
    assert (suspended["standing"], suspended["said"], suspended["buys"]) == ("suspended", "sold used cards", False)
    assert not buys_on(TODAY)
    assert refused(desk(shop, "/acme/approve", by="bea")) == (409, "wrong_standing")
    desk(shop, "/acme/review", by="ann")
    assert refused(desk(shop, "/acme/approve", by="ann")) == (403, "same_person")
    assert desk(shop, "/acme/approve", by="bea").body["supplier"]["said"] is None
    assert buys_on(TODAY)


def test_a_refused_supplier_may_apply_again(shop: Shop) -> None:
    save(shop)
    assert desk(shop, "/acme/refuse", {"said": "unknown"}).body["supplier"]["standing"] == "refused"
    assert refused(desk(shop, "/acme/review")) == (409, "wrong_standing")
    assert save(shop).body["supplier"]["standing"] == "applied"


def test_what_was_looked_at_cannot_be_changed_without_another_look(shop: Shop) -> None:
    admit(shop, "acme", (BRAND,))
    assert save(shop, name="好卡二店", low_minor=100).body["supplier"]["buys"]
    save(shop, deposit_minor=5_000_000)
    show(shop, "acme", "deposit")
    for more in (
        {"terms": {"trait.repeat": "replays"}},
        {"company": "another company", "terms": {"trait.repeat": "replays"}},
        {"deposit_minor": 4_000_000},
    ):
        changed = save(shop, **more).body["supplier"]
        assert (changed["standing"], changed["reviewed_by"], changed["buys"]) == ("applied", None, False)
        if "company" in more:
            assert refused(desk(shop, "/acme/review")) == (409, "papers_missing")
            save(shop)
        approve_again(shop, "acme")
    assert buys_on(TODAY)
    assert save(shop, deposit_minor=6_000_000).body["supplier"]["buys"]


def test_what_a_file_with_new_keys_does_not_name_stays(shop: Shop) -> None:
    save(shop, deposit_minor=5_000_000, low_minor=100)
    one = save(shop).body["supplier"]
    assert (one["deposit"]["amount_minor"], one["low"]["amount_minor"]) == (5_000_000, 100)
    one = save(shop, deposit_minor=None, low_minor=None).body["supplier"]
    assert (one["deposit"]["amount_minor"], one["low"]) == (0, None)


@pytest.mark.parametrize("state", sorted(OPEN - {AttemptState.HELD}))
def test_we_do_not_become_somebody_else_to_a_supplier_while_he_has_orders_of_ours(
    shop: Shop, state: AttemptState
) -> None:
    """He would be asked for what he has never heard of, and twice said that it is not there it would be bought anew."""
    save(shop, kind="acg", terms=TERMS)
    now = clock.now()
    attempt = purchases.new("ord_1", "1", 1, state, "G019", "cards", 1, 1, now, now, supplier="acme", product="1")
    attempt.save()
    for more in ({"app_id": "10087"}, {"site": "http://127.0.0.1:8"}):
        changed = save(shop, kind="acg", terms=TERMS | more)
        assert changed.body.get("code") == ("orders_out" if state in OUT else None)
    now_terms = supplier(shop)["terms"]
    assert save(shop, kind="acg", terms=now_terms | {"trait.quantity_max": "7"}).status == 200

    for name in "ab":
        supplier_keys.add("acme", KEYS | {"api_key": name})
    assert desk(shop, "/acme/keys/retire").body.get("code") == ("orders_out" if state in OUT else None)
    purchases.Attempt.get("ord_1", attempt.part).delete()
    assert save(shop, kind="acg", terms=TERMS).status == 200
    assert desk(shop, "/acme/keys/retire").body["key_sets"] == 1


def test_who_has_to_leave_a_deposit_gets_nothing_until_it_is_there(shop: Shop) -> None:
    admit(shop, "acme", (BRAND,))
    saved = save(shop, deposit_minor=5_000_000).body
    assert saved["missing"] == ["deposit"]
    assert saved["supplier"]["deposit"] == {"amount_minor": 5_000_000, "currency": "CNY"}
    assert not buys_on(TODAY)
    show(shop, "acme", "deposit")
    assert buys_on(TODAY)


# --- what ends ---


def test_nothing_is_bought_after_the_last_day_and_a_person_is_told_before(shop: Shop) -> None:
    admit(shop, "acme", (BRAND,))
    old = next(one for one in desk(shop, "/acme", method="GET").body["documents"] if one["paper"] == "tax")
    new = show(shop, "acme", "tax", on(59))
    desk(shop, f"/acme/documents/{old['document_id']}/reject", {"said": "it has an end"})
    assert supplier(shop)["over_on"] == on(60).isoformat()
    assert [buys_on(on(days)) for days in (0, 59, 60, 61)] == [True, True, False, False]

    about = f"acme-{new}"
    for days, told in (
        (29, []),
        (30, [("supplier_document_ends", f"{about}-30")]),
        (31, []),
        (53, [("supplier_document_ends", f"{about}-7")]),
        (54, []),
        (60, [("supplier_document_over", about)]),
        (61, []),
    ):
        before = tasks()
        for _ in range(2):
            supplier_admission.look(shanghai(on(days)))
        assert [one for one in tasks() if one not in before] == told, days

    assert len(tasks()) == 3
    show(shop, "acme", "tax", on(400))
    assert tasks() == []
    assert buys_on(on(61))


def test_a_warning_that_a_person_has_dealt_with_does_not_come_again(shop: Shop) -> None:
    admit(shop, "acme")
    authorise(shop, "acme", BRAND, on(9))
    supplier_admission.look(shanghai(TODAY))
    (task,) = staff.open_tasks(5)
    shop.call("POST", f"/console/tasks/{task.id}/close", {"note": "asked for a new one"}, groups="operator")
    supplier_admission.look(shanghai(on(1)))
    assert tasks() == []


def test_a_brand_without_a_chain_or_after_its_end_is_bought_from_others(shop: Shop) -> None:
    admit(shop, "acme")
    assert supplier(shop)["buys"]
    assert not buys_on(TODAY)
    show(shop, "acme", "authorisation", on(9), brand=BRAND, issued_by="总代")
    assert not buys_on(TODAY)
    link = {"brand": BRAND, "issued_by": "腾讯", "issued_to": "总代", "from_owner": True}
    weak = show(shop, "acme", "authorisation", on(4), **link)
    authorise(shop, "acme", "Steam")
    brands = {one["brand"]: one["over_on"] for one in supplier(shop)["brands"]}
    assert brands == {BRAND: on(5).isoformat(), "steam": None}
    assert [buys_on(on(days)) for days in (0, 4, 5)] == [True, True, False]
    assert buys_on(on(5), "STEAM")
    assert not buys_on(TODAY, "Netflix")

    supplier_admission.look(shanghai(on(5)))
    assert tasks() == [("supplier_document_over", f"acme-{weak}")]


def test_each_night_the_documents_of_those_who_are_let_in_are_looked_at(shop: Shop, environment: None) -> None:
    admit(shop, "acme")
    authorise(shop, "acme", BRAND, on(3))
    save(shop, "other")
    show(shop, "other", "licence", on(3))
    night = shanghai(TODAY)
    handler("stocktake")({"time": night.isoformat()}, CONTEXT)
    assert [kind for kind, _ in tasks()] == ["supplier_document_ends"]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SETTLE_SECONDS", "0")
