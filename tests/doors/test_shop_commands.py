"""What an operator types and reads: the commands, over HTTP, against a whole shop in one process."""

from __future__ import annotations

import json
import random
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import boto3
import openpyxl
import pytest
import pyzipper

from infra.local import shop as commands
from infra.local import supply
from infra.local.background import wait_until
from infra.local.client import Shop as Desk
from infra.local.sandbox import SandboxProvider
from infra.local.supplier_shop import KINDS as STAND_INS
from infra.local.suppliers.acg import Acg
from infra.local.suppliers.common import Product, Supplier
from infra.local.wechat import WeChatPay
from shared.catalog import records as catalog
from shared.kernel import aws, clock
from shared.orders import records as orders
from shared.payments import records as payments
from shared.suppliers.accounts import Head
from shared.suppliers.admission import Standing, same
from shared.suppliers.price_files import LIST_MAX
from tests.doors.conftest import new_shop
from tests.shop import Answer, Shop

ROLES = {"owner": "owner", "bea": "owner", "operator": "operator", "auditor": "auditor", "support": "support"}


@contextmanager
def served(shop: Shop) -> Iterator[str]:
    """The shop's API over HTTP. A bearer is a login's name, or an order's token; what a request moves is played."""

    class Api(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(None)

        def do_PUT(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode() or None)

        def _answer(self, body: str | None) -> None:
            bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
            proof = {"groups": ROLES[bearer], "operator": bearer} if bearer in ROLES else {"token": bearer}
            headers = {name: value for name, value in self.headers.items() if name != "Authorization"}
            answer: Answer = shop.call(self.command, self.path, body, **proof, **headers)
            shop.pump()
            text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
            self.send_response(answer.status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Api)
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class Terminal:
    """A person at a terminal: `says` is answered, `reads` is everything that stands there after a command."""

    shop: Shop
    url: str
    capture: pytest.CaptureFixture[str]
    patch: pytest.MonkeyPatch

    def __call__(self, *words: str, says: str = "") -> str:
        self.patch.setattr("builtins.input", lambda question: print(question) or says)
        assert commands.main([*words], self.sign_in) == 0, self.capture.readouterr().err
        return self.capture.readouterr().out

    def refused(self, *words: str) -> str:
        """What a command complains of."""
        assert commands.main([*words], self.sign_in) == 1
        return self.capture.readouterr().err

    def sign_in(self, login: str) -> Desk:
        return Desk(self.url, login)


@pytest.fixture
def terminal(
    atomic_cloud: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Terminal]:
    monkeypatch.chdir(tmp_path)
    for waited in ("SETTLE_SECONDS", "KEYRING_SECONDS"):
        monkeypatch.setenv(waited, "0")
    for name, value in (("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")):
        monkeypatch.setenv(name, value)  # the local cloud opens signed links of its own account only
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    aws.client.cache_clear()
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    with new_shop(tmp_path) as shop, served(shop) as url:
        monkeypatch.setenv("PUBLIC_URL", url)  # where the provider notifies, and where refused rows are read
        yield Terminal(shop, url, capsys, monkeypatch)


def file(name: str, *codes: str) -> str:
    Path(name).write_text("\n".join(codes))
    return name


def found(prefix: str, text: str) -> str:
    """The first id of a kind in what was said."""
    match = re.search(rf"{prefix}_[0-9a-z]{{26}}", text)
    assert match, text
    return match[0]


def stocked(terminal: Terminal, *codes: str, **options: str) -> str:
    """A lot with these codes."""
    more = [word for name, value in options.items() for word in (f"--{name}", value)]
    said = terminal("import-cards", file("cards.txt", *codes), "--sku", "V006", "--supplier", "acme", "--yes", *more)
    return found("lot", said)


def bought(terminal: Terminal) -> str:
    """An order of one card, delivered."""
    order = terminal.shop.placed("V006")
    terminal.shop.provider.pay(order.url)
    wait_until(lambda: terminal.shop.status(order) == "delivered", seconds=30, what="the order was delivered")
    return order.order_id


def test_cards_are_shown_masked_and_asked_about_before_they_come_in(terminal: Terminal) -> None:
    cards = file("cards.txt", "TERM-CARD-0001", "TERM-CARD-0002", "TERM-CARD-0001", "# a remark")
    said = terminal("import-cards", cards, "--sku", "V006", "--cost", "12.5", "--expires-on", "2099-12-31", says="n")
    assert "4 lines: 2 new, 1 known already, 0 refused, 1 empty or remarks" in said
    assert "••••0001" in said
    assert "TERM-CARD" not in said
    assert "¥12.50" in said
    assert "2 × V006; together they cost ¥25.00" in said
    assert "与本文件前面的一行重复" in said
    assert "Take 2 cards in?" in said
    assert said.endswith("cancelled: nothing was taken in\n")
    assert "no card has ever been taken in" in terminal("stock")

    said = terminal("import-cards", cards, "--sku", "V006", says="y")

    assert "done: taken in: 2 of 3, 1 known already, 0 refused" in said
    assert re.search(r"lot_[0-9a-z]{26}: 2 cards", said)
    assert re.search(r"available +held", terminal("stock", "V006"))
    assert re.search(r"V006 +2 +0", terminal("stock"))
    assert [line.split()[1] for line in terminal("imports").splitlines()[1:3]] == ["done", "cancelled"]


def test_a_question_that_is_left_open_is_answered_later(terminal: Terminal) -> None:
    def leave(question: str) -> str:
        raise KeyboardInterrupt

    terminal.patch.setattr("builtins.input", leave)
    asked = ["import-cards", file("cards.txt", "TERM-CARD-0001"), "--sku", "V006"]
    assert commands.main(asked, terminal.sign_in) == 130
    job = found("job", terminal.capture.readouterr().out)
    assert f"it waits for you: `run {job}`" in terminal("import", job)

    assert "taken in: 1 of 1" in terminal("run", job)

    assert "wrong_job_state" in terminal.refused("cancel", job)


@pytest.mark.parametrize(("tier", "why"), [("C", "his cards rest"), ("D", "(tier_d)")])
def test_an_import_that_has_to_wait_says_how_it_goes_on(terminal: Terminal, tier: str, why: str) -> None:
    sku = catalog.skus(["V006"])["V006"]
    brands, trust = {same(sku.brand): "9999-12-31"}, {sku.category: [tier, 0.9, 5.0]}
    head = {"standing": Standing.APPROVED, "brands": brands, "trust": trust}
    Head("acme", name="acme", kind="pricelist", terms={}, **head).save()
    asked = ["import-cards", file("cards.txt", "TERM-CARD-0001"), "--sku", "V006", "--supplier", "acme", "--yes"]
    said = terminal.refused(*asked)

    job = found("job", said)
    assert why in said
    assert f"`run {job}` takes it in then" in said
    assert "1 new" in terminal("import", job)
    assert why in terminal.refused("run", job)


def test_a_spreadsheet_comes_in_and_is_taken_back(terminal: Terminal) -> None:
    book = openpyxl.Workbook()
    for row in (("商品编码", "卡密", "成本"), ("V006", "SHEET-CARD-01", "9.9"), ("V006", "SHEET-CARD-02", "9.9")):
        book.active.append(row)
    book.save("cards.xlsx")
    said = terminal("import-cards", "cards.xlsx", "--supplier", "acme", "--purchase", "P-7", "--yes")
    assert "taken in: 2 of 2" in said
    job = found("job", said)
    assert "P-7" in terminal("lots", "--purchase", "P-7")

    assert f"{job} undone: 2 cards taken back" in terminal("undo", job)

    assert "undone: taken in: 2 of 2, 0 known already, 0 refused, 2 taken back" in terminal("import", job)


def test_refused_rows_are_saved_mended_and_imported(terminal: Terminal) -> None:
    said = terminal("import-cards", file("cards.txt", "MEND-CARD-0001", "=MEND-CARD-0002"), "--sku", "V006", "--yes")
    job = found("job", said)
    assert f"`refused {job} mend.csv`" in said

    assert "1 refused rows" in terminal("refused", job, "mend.csv")

    mend = Path("mend.csv")
    assert mend.stat().st_mode & 0o077 == 0, "codes, for nobody else"
    assert "is there already" in terminal.refused("refused", job, "mend.csv")
    mend.write_text(mend.read_text("utf-8-sig").replace("'=MEND", "MEND"))
    assert "taken in: 1 of 1" in terminal("import-cards", "mend.csv", "--yes")


def test_what_cannot_be_done_is_said_in_a_sentence(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "cannot read none.txt: No such file" in terminal.refused("import-cards", "none.txt", "--yes")
    assert "unknown_sku" in terminal.refused("import-cards", file("a.txt", "A"), "--sku", "NONE", "--yes")
    assert "such as --sku G020" in terminal("import-cards", file("a.txt", "TERM-CARD-0001"), "--yes")
    assert "404 not_found" in terminal.refused("lot", "lot_00000000000000000000000000")
    assert "--from and --to" in terminal.refused("recall", "--supplier", "acme", "--reason", "bad batch", "--yes")
    assert "reason is too short" in terminal.refused("reveal", "crd_1", "--reason", "a")
    assert "is nothing to decide" in terminal.refused("approve", "ord_1")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    assert "add --yes" in terminal.refused("import-cards", "a.txt")


def test_terms_change_by_what_is_named_and_keep_the_rest(terminal: Terminal) -> None:
    stocked(terminal, *(f"TERMS-CARD-{number:04}" for number in range(4)))
    key = terminal("add-channel", "partner", "Partner Ltd.")
    assert "shown this once" in key
    assert "no limit" in terminal("terms", "V006")

    terminal("terms", "V006", "--safety", "1", "--low", "9", "--quota", "partner=3", "--margin", "5")
    said = terminal("terms", "V006", "--floor", "partner=2", "--min-days", "30", "--hide", "shop")

    assert "never sold: 1 card, 1 lie aside" in said
    assert "kept for partner: 2 cards, 2 lie aside" in said
    assert "partner may take 3 cards in all" in said
    assert "not sold through: shop" in said
    assert "good for 30 days more" in said
    assert "5 % of its price stay with us" in said
    assert "below 9" in terminal("stock", "--low")
    said = terminal("terms", "V006", "--safety", "0", "--no-quota", "partner", "--show", "shop")
    assert "never sold" not in said
    assert "may take" not in said
    assert "kept for partner: 2 cards" in said


def test_a_channels_keys_are_exchanged(terminal: Terminal) -> None:
    first = terminal("add-channel", "partner", "Partner Ltd.").split()[1]
    second = terminal("add-key", "partner").split()[1]
    assert {first, second} <= set(terminal("channels").split())

    assert "revoked" in terminal("revoke-key", "partner", first)

    listed = terminal("channels").split()
    assert second in listed
    assert first not in listed


def test_a_card_is_followed_from_its_supplier_to_its_buyer(terminal: Terminal) -> None:
    lot = stocked(terminal, "TRACE-CARD-0001", purchase="P-7")
    order = bought(terminal)

    said = terminal("lot", lot, "--cards")
    card = found("crd", said)
    assert re.search(r"available +held +sold +frozen", said)
    assert order in said
    assert "••••0001" in said
    said = terminal("card", card)
    assert "V006 ••••0001 sold" in said
    assert "from acme, purchase P-7" in said
    assert f"by {order} (delivered), through shop" in said
    assert "nobody has looked at its code" in said

    assert "TRACE-CARD-0001" in terminal("reveal", card, "--reason", "buyer says it fails", "--as", "support")

    assert "buyer says it fails" in terminal("card", card)
    assert card in terminal("views", "support")
    said = terminal("buyer", "13800138000")
    assert order in said
    assert card in said
    assert "has ordered nothing" in terminal("buyer", "nobody@example.com")
    assert card in terminal("order", order)
    said = terminal("statement")
    assert re.search(r"V006 +shop +1 +¥19.80 +¥0.00 +¥0.12 ", said)
    assert "trial balance ¥0.00" in said


def test_a_bad_lot_is_recalled_by_one_command(terminal: Terminal) -> None:
    lot = stocked(terminal, "BAD-CARD-0001", "BAD-CARD-0002")
    order = bought(terminal)
    assert "nothing was recalled" in terminal("recall", "--lot", lot, "--reason", "all used", says="n")

    said = terminal("recall", "--lot", lot, "--reason", "all used", says="y")

    assert "will never be sold" in said
    assert "done: 1 frozen, 1 sold: " in said
    recall = found("rcl", said)
    assert recall in terminal("recalls")
    said = terminal("recalls", recall)
    assert order in said
    assert "lot_id " + lot in said
    assert f"recall_done.{recall}  since 20" in terminal("tasks")
    assert "done" in terminal("done", f"recall_done.{recall}", "--note", "told the supplier")
    assert "no task waits for you" in terminal("tasks")


def test_codes_leave_by_two_people_and_are_opened_once(terminal: Terminal) -> None:
    lot = stocked(terminal, "EXPORT-CARD-0001", "EXPORT-CARD-0002")
    said = terminal("export", "--lot", lot, "--reason", "returned to the supplier")
    export = found("exp", said)
    assert "waits for another person" in said
    assert "waits" in terminal("exports")

    assert "done: 2 cards" in terminal("approve", export)
    Path(f"{export}.zip").touch()
    assert "is there already" in terminal.refused("open-export", export), "before its password is spent"
    Path(f"{export}.zip").unlink()
    said = terminal("open-export", export)

    password = said.splitlines()[0].partition(": ")[2]
    with pyzipper.AESZipFile(f"{export}.zip") as archive:
        archive.setpassword(password.encode())
        text = archive.read(archive.namelist()[0]).decode()
    assert "EXPORT-CARD-0001" in text
    assert "export_opened" in terminal.refused("open-export", export, "again.zip")
    assert "opened" in terminal("exports")


def test_a_payment_that_one_person_confirmed_is_approved_by_another(terminal: Terminal) -> None:
    order = terminal.shop.placed("C060")
    total = orders.head_of(order.order_id).total
    said = {"provider": "sandbox", "provider_no": "NO-1", "note": "on their page", "paid_at": clock.iso(clock.now())}
    path = f"/console/orders/{order.order_id}/payments/confirmations"
    body = {**said, "amount_minor": total.minor, "currency": total.currency}
    assert terminal.shop.call("POST", path, body, groups="operator", operator="operator").status == 201

    waiting = terminal("confirmations")
    assert "operator: on their page" in waiting
    assert f"{order.order_id}: done order" in terminal("approve", found("cfm", waiting))
    assert "no payment waits" in terminal("confirmations")


def test_money_that_came_for_nothing_is_named_and_given_back(terminal: Terminal) -> None:
    order = terminal.shop.placed("C060")
    payments.Payment(order.payment_id).delete()
    terminal.shop.provider.pay(order.url)
    wait_until(lambda: "unknown_money" in terminal("tasks"), seconds=30, what="the task")

    told = terminal("tasks")
    assert "来历不明的款项" in told
    assert "give-back" in told
    money = re.search(r"money#sandbox#\S+", told)
    assert money
    assert terminal("give-back", money[0], "--note", "a test of theirs").startswith("ref_")
    assert "no task waits" in terminal("tasks")
    assert "is no money" in terminal.refused("give-back", "ref_1", "--note", "x")


def test_lines_and_amounts_of_an_order_are_given_back(terminal: Terminal) -> None:
    order = terminal.shop.placed(lines=[{"sku": "C060", "quantity": 1}, {"sku": "C060", "quantity": 2}])
    first, second = (line.amount.minor for line in orders.order_of(order.order_id).lines)
    terminal.shop.provider.pay(order.url)
    wait_until(lambda: terminal.shop.status(order) == "delivered", seconds=30, what="the cards")

    part = ("refund", order.order_id, "--amount", "1.50", "--key", "k1", "--note", "late")
    told = terminal(*part)
    assert "¥1.50" in told
    assert found("ref", told) == found("ref", terminal(*part))
    assert sum(orders.order_of(order.order_id).left.values()) == first + second - 150
    terminal("refund", order.order_id, "--lines", "2")
    shown = terminal("order", order.order_id)
    assert [line.split()[-1] for line in shown.splitlines() if "×" in line] == ["delivered", "refunded"]
    assert f"given back: ¥{(first + second - orders.order_of(order.order_id).left['1']) / 100:.2f}" in shown
    assert "more_than_paid" in terminal.refused("refund", order.order_id, "--lines", "2")
    terminal("refund", order.order_id)
    assert "given back: " in terminal("order", order.order_id)
    assert terminal.shop.status(order) == "refunded"


@pytest.mark.parametrize("amount", ["0", "-1", "1.005", "much", "NaN"])
def test_what_is_no_amount_is_not_given_back(terminal: Terminal, amount: str) -> None:
    with pytest.raises(SystemExit):
        commands.main(["refund", "ord_1", f"--amount={amount}"], terminal.sign_in)
    assert "in yuan such as" in terminal.capture.readouterr().err


def test_whose_refund_got_no_answer_is_told_how_to_ask_for_the_same_one_again(terminal: Terminal) -> None:
    def sign_in(login: str) -> Desk:
        return Desk("http://127.0.0.1:9", login)

    assert commands.main(["refund", "ord_1", "--lines", "1"], sign_in) == 1
    assert re.search(r"--key [0-9a-f]{32}", terminal.capture.readouterr().err)


def test_nobody_approves_what_he_asked_for(terminal: Terminal) -> None:
    lot = stocked(terminal, "EXPORT-CARD-0001")
    export = found("exp", terminal("export", "--lot", lot, "--reason", "to look at it", "--as", "owner"))
    assert "own_request" in terminal.refused("approve", export)

    assert "refused: nothing has happened" in terminal("refuse", export)


def test_keys_are_exchanged_and_a_lot_is_destroyed_by_two_owners(terminal: Terminal) -> None:
    lot = stocked(terminal, "KEYS-CARD-0001")
    card = found("crd", terminal("lot", lot, "--cards"))
    assert "done: a new key for a lot" in terminal("rotate-keys", "lot", lot)
    assert "done: all keys wrapped anew" in terminal("rotate-keys", "wrapping")
    said = terminal("rotate-keys", "pepper")
    assert "done: new fingerprints" in said
    terminal("retire-pepper", found("job", said))
    assert "KEYS-CARD-0001" in terminal("reveal", card, "--reason", "still there?")

    job = found("job", terminal("destroy-lot", lot, "--reason", "leaked"))
    assert "own_request" in terminal.refused("approve", job)
    assert "done: destruction" in terminal("approve", job, "--as", "bea")

    assert "lot_destroyed" in terminal.refused("reveal", card, "--reason", "gone?")
    assert "done" in terminal("keys", job)


def test_every_command_says_what_it_does_and_takes(capsys: pytest.CaptureFixture[str]) -> None:
    text = commands.parser().format_help()
    names = re.findall(r"^  ([a-z][a-z-]+)  +[a-z]", text, re.M)
    assert len(names) > 40
    for name in names:
        with pytest.raises(SystemExit, match="0"):
            commands.main([name, "--help"])
        assert f"infra.local.shop {name}" in capsys.readouterr().out


def test_an_owner_sets_an_account_up_and_hears_whether_it_works(terminal: Terminal, tmp_path: Path) -> None:
    assert "no account" in terminal("merchants")
    with WeChatPay(tmp_path / "wechat.sqlite") as wechat:
        file = tmp_path / "wechat.json"
        given = {"kind": "wechat", "methods": ["wechat_native"], "fee_e6": 6_000, "terms": wechat.terms}
        file.write_text(json.dumps(given))
        assert "no keys yet" in terminal("merchant", "wechat", str(file))

        file.write_text(json.dumps({**given, "keys": wechat.keys}))
        said = terminal("merchant", "wechat", str(file))
        assert "/webhooks/payments/wechat" in said
        assert re.search(r"wechat answers after \d+ ms", said)
        assert not any(secret in said for secret in wechat.keys.values())
        listed = terminal("merchants")
        assert re.search(r"wechat +wechat +wechat_native +0.6 % +1 +100.0 %", listed), listed
        assert "newest" in terminal("retire-merchant-keys", "wechat")

        WeChatPay.misbehave(wechat.url, "query", "wrong_signature")
        assert "no answer that can be trusted" in terminal.refused("check-merchant", "wechat")

    file.write_text("{")
    assert "is not JSON" in terminal.refused("merchant", "wechat", str(file))
    file.write_text(json.dumps({"kind": "wechat", "methods": ["alipay_qr"], "fee_e6": 1, "terms": {"mchid": "1"}}))
    assert "methods is unknown" in terminal.refused("merchant", "wechat", str(file))


def test_two_people_let_a_supplier_in_and_hear_whether_he_answers(terminal: Terminal, tmp_path: Path) -> None:
    assert "nobody sells to us" in terminal("suppliers")
    company, file = "杭州好卡科技有限公司", tmp_path / "acme.json"
    with Acg(tmp_path / "acg.sqlite", balance_e6=88_000_000) as stand_in:
        terms = {"site": stand_in.url, **stand_in.terms}
        given = {"code": "acme", "kind": "acg", "name": "好卡", "company": company, "terms": terms}
        file.write_text(json.dumps(given))
        assert "no keys yet" in terminal("supplier", str(file))
        file.write_text(json.dumps({**given, "keys": stand_in.keys}))
        said = terminal("supplier", str(file))
        assert "/webhooks/suppliers/acme\n" in said
        assert "/webhooks/suppliers/acme/changes that" in said
        assert re.search(r"acme answers after \d+ ms, under the right keys: we have ¥88.00", said)
        assert not any(secret in said for secret in stand_in.keys.values())
        assert re.search(r"acme +acg +好卡 +applied +B +¥88.00 .*not let in", terminal("suppliers"))

        scan = tmp_path / "scan.pdf"
        scan.write_bytes(b"%PDF-1.7")
        for paper in ("licence", "tax", "bank", "contract"):
            assert paper in terminal("dossier", "acme")
            came = terminal("supplier-document", "acme", paper, "scan.pdf", "--to", company, "--until", "2099-12-31")
            document = came.split()[0]
            assert "two people" in terminal.refused("accept-document", "acme", document, "--as", "owner")
            assert f"{paper} of {company}" in terminal("open-document", "acme", document, f"{paper}.pdf")
            assert Path(f"{paper}.pdf").read_bytes() == scan.read_bytes()
            accepted = terminal("accept-document", "acme", document)
        assert "all papers are there" in accepted
        assert "acme is reviewed" in terminal("review-supplier", "acme")
        assert "acme is approved, buys: yes" in terminal("approve-supplier", "acme")
        assert "paused by owner" in terminal("pause-supplier", "acme")
        assert "buys: yes" in terminal("resume-supplier", "acme")
        assert "missing, or over: 合同" in said_after(
            terminal, "reject-document", "acme", document, "--reason", "forged"
        )
        assert "newest" in terminal("retire-supplier-keys", "acme")

        file.write_text(json.dumps({**given, "keys": {"app_key": "another"}}))
        assert "acme refused" in terminal.refused("supplier", str(file))
    assert "no answer that can be trusted" in terminal.refused("check-supplier", "acme")
    assert "acme is suspended" in terminal("suspend-supplier", "acme", "--reason", "he is gone")

    file.write_text(json.dumps({"code": "list", "kind": "pricelist", "name": "一级代理", "company": company}))
    terminal("supplier", str(file))
    assert "a person buys from him" in terminal("check-supplier", "list")
    for content in (b"x" * (LIST_MAX + 1), random.Random(1).randbytes(LIST_MAX)):
        file.write_bytes(content)
        assert "do not split it" in terminal.refused("price-list", "list", str(file))
    rows = "".join(f"A{number},某某平台 {number} 元卡,{number}.50\n" for number in range(1, 2_001))
    file.write_text("商品编号,商品名称,供货价\n" + rows)
    assert "list sells 2000 products: 2000 new" in terminal("price-list", "list", str(file))
    assert "no file of doc_none" in terminal.refused("open-document", "list", "doc_none")
    file.write_text("{}")
    assert "is not JSON such as" in terminal.refused("supplier", str(file))


def said_after(terminal: Terminal, *words: str) -> str:
    """What the dossier says after a command."""
    terminal(*words)
    return terminal("dossier", words[1])


@pytest.fixture
def supplied(terminal: Terminal, tmp_path: Path) -> Iterator[dict[str, Supplier]]:
    """The stand-ins of the local shop, let in as `make run` lets them in."""
    owner, operator = terminal.sign_in("owner"), terminal.sign_in("operator")
    with ExitStack() as running:
        found = {}
        for one in supply.SUPPLIERS:
            make = STAND_INS[one.kind]()
            stand_in = running.enter_context(make(tmp_path / f"{one.code}.sqlite", seed=one.seed))
            for _ in range(2):  # again: nothing is done twice
                supply.let_in(one, stand_in.url, {"terms": stand_in.terms, "keys": stand_in.keys}, owner, operator)
            found[one.code] = stand_in
        yield found


def bought_for(terminal: Terminal, sku: str, status: str = "delivered", **account: str) -> str:
    """An order of what own stock has not, paid, once it has this status."""
    placed = terminal.sign_in("").place(sku, account=account)
    SandboxProvider.pay(placed["payment"]["redirect_url"])
    order = f"/orders/{placed['order_id']}"

    def there() -> bool:
        terminal.shop.pump()
        return bool(terminal.sign_in(placed["access_token"]).call("GET", order)["status"] == status)

    wait_until(there, seconds=30, what=f"the order was {status}")
    return str(placed["order_id"])


def attempt_in(said: str) -> str:
    """The first attempt's number."""
    match = re.search(r"^([0-9a-z]{30})  ", said, re.M)
    assert match, said
    return match[1]


def test_what_is_not_in_stock_is_bought_from_the_cheaper_of_the_local_suppliers(
    terminal: Terminal, supplied: dict[str, Supplier]
) -> None:
    listed = terminal("suppliers")
    assert re.search(r"haoka +dujiao +好卡 +approved .* yes", listed), listed
    papers = terminal("dossier", "haoka")
    assert papers.count(" authorisation ") == 2  # one for each brand, though he was let in twice
    compared = terminal("offers", "V013")
    assert re.search(r"haoka +1001-1 芒果TV会员 月卡 +¥13.60 +500 +\w +yes\n +suka .*¥13.90 .* yes", compared), compared

    order = bought_for(terminal, "V013")
    said = terminal("purchases", order)
    number = attempt_in(said)
    assert "of haoka (1001-1), at most ¥17.90 each" in said
    assert "delivered: delivered; 1 came for ¥13.60" in said
    assert re.search(r"could sell: haoka .*\n +could sell: suka", said), said
    assert "place: " in said
    [sold] = Supplier.orders(supplied["haoka"].url, number)
    assert sold["cards"][0]["password"] not in said

    terminal("void", number, "--by", "issuer", "--note", "stolen")
    assert number in terminal("recalls")
    assert re.search(r"视频会员 +D ", terminal("scores", "haoka"))
    assert re.search(r"视频会员 +(B|C) ", terminal("clear-score", "haoka", "视频会员"))

    order = bought_for(terminal, "M014", phone="13800138000")
    assert "of suka" in terminal("purchases", order)
    shown = terminal("order", order)
    assert re.search(r"1 of 1 arrived at phone 13\*+00", shown), shown


def test_offers_are_read_said_to_be_a_sku_and_put_in_order(terminal: Terminal, supplied: dict[str, Supplier]) -> None:
    Supplier.put_products(supplied["haoka"].url, [Product("9", "QQ音乐 绿钻豪华版 月卡", 11_900_000, stock=5)])
    assert "haoka sells 3 products: 1 new" in terminal("sync-supplier", "haoka")
    listed = terminal("supplier-offers", "haoka", "--unmapped")
    assert re.search(r"1009-9 +QQ音乐 绿钻豪华版 月卡 +cards +¥11.90 +5 +perhaps M016", listed), listed
    assert "haoka:1009-9 is M016" in terminal("map-offer", "haoka", "1009-9", "M016")
    assert "no: he is not let in for this brand" in terminal("offers", "M016")
    assert "nothing" in terminal("supplier-offers", "haoka", "--unmapped")
    assert "is no SKU of ours" in terminal("unmap-offer", "haoka", "1009-9", "M016")
    assert "nobody sells it to us" in terminal("offers", "M016")

    [suka] = [one for one in terminal("offers", "V013").splitlines() if "suka" in one]
    first = terminal("offers-first", "V013", f"suka:{suka.split()[1]}")
    assert re.search(r"\n +1 +suka .*\n +haoka", first), first
    assert not re.search(r"\n +1 +suka", terminal("offers-first", "V013"))

    terminal("unmap-offer", "suka", next(iter(topup(terminal, "suka"))), "M014")
    assert "is M014" in terminal("map-offer", "suka", next(iter(topup(terminal, "suka"))), "M014")
    assert re.search(r"suka .* yes", terminal("offers", "M014"))  # with the fields that were suggested


def test_what_is_ordered_for_stock_is_seen_until_it_has_come(terminal: Terminal, supplied: dict[str, Supplier]) -> None:
    assert "nothing should be bought" in terminal("to-buy")
    said = terminal("order-stock", "V013", "20")
    assert "0 of 20 × V013 of haoka have come, ¥272.00" in said
    number = re.findall(r"--purchase (\S+)", said)[0]
    assert number in terminal("to-buy")
    assert f"{number}  0 of 20" in terminal("close-stock-order", number)
    assert number not in terminal("to-buy")


def topup(terminal: Terminal, supplier: str) -> Iterator[str]:
    """His own number of his top-up."""
    return (line.split()[0] for line in terminal("supplier-offers", supplier).splitlines() if " topup " in line)


def test_a_price_list_says_what_a_person_can_buy_and_he_says_what_he_has_bought(terminal: Terminal) -> None:
    company = "杭州好卡科技有限公司"
    given = {"code": "list", "kind": "pricelist", "name": "一级代理", "company": company}
    Path("list.json").write_text(json.dumps(given))
    terminal("supplier", "list.json")
    Path("scan.pdf").write_bytes(b"%PDF-1.7")
    brands = [("authorisation", "--brand", brand, "--by", brand, "--owner") for brand in ("芒果TV", "网易云音乐")]
    for paper, *rights in [("licence",), ("tax",), ("bank",), ("contract",), *brands]:
        came = terminal("supplier-document", "list", paper, "scan.pdf", "--to", company, *rights)
        terminal("accept-document", "list", came.split()[0])
    terminal("review-supplier", "list")
    terminal("approve-supplier", "list")
    Path("prices.csv").write_text(
        "商品编号,商品名称,供货价,库存\nA1,芒果TV会员 月卡,13.20,50\nA2,别的,,1\nA3,黑胶VIP 月,11,9\n"
    )
    said = terminal("price-list", "list", "prices.csv")
    assert "list sells 2 products: 2 new" in said
    assert "line 3: " in said
    terminal("map-offer", "list", "A1", "V013")

    order = bought_for(terminal, "V013", "cleared")
    wait_until(lambda: "buy_by_hand" in terminal("tasks"), seconds=30, what="a person is asked")
    number = attempt_in(terminal("purchases", order))
    assert number in terminal("tasks")
    assert "cannot read" in terminal.refused("settle", number, "delivered", "--note", "bought", "--cards", "none.txt")
    assert "has no cards" in terminal.refused("settle", number, "delivered", "--note", "it", "--cards", file("c", "  "))
    codes = file("codes.txt", "MGTV-0001-2222-3333")
    settled = terminal("settle", number, "delivered", "--cards", codes, "--cost", "13.20", "--note", "bought by hand")
    assert f"{number} is delivered; 1 came for ¥13.20" in settled
    assert "MGTV" not in settled
    assert terminal.shop.call("GET", f"/console/orders/{order}", groups="owner").body["status"] == "delivered"
    assert "buy_by_hand" not in terminal("tasks")
    assert "waits for a person" in terminal.refused("account", number, "--reason", "I buy it now")

    terminal("map-offer", "list", "A3", "M014")
    number = attempt_in(terminal("purchases", bought_for(terminal, "M014", "cleared", phone="13800138000")))
    said = terminal("account", number, "--reason", "I buy it now")
    assert "M014 of list (A3)" in said
    assert "phone: 13800138000" in said
    assert number in terminal("views", "owner")
    done = ("--pieces", "1", "--cost", "11", "--proof", "his receipt", "--note", "bought by hand")
    assert f"{number} is delivered; 1 came for ¥11.00, his receipt" in terminal("settle", number, "delivered", *done)


def test_a_price_that_has_jumped_waits_until_a_person_allows_it(
    terminal: Terminal, supplied: dict[str, Supplier]
) -> None:
    offered = terminal.sign_in("").place("V013")  # while it is cheap
    for stand_in in supplied.values():
        for one in Supplier.products(stand_in.url):
            Supplier.change_product(stand_in.url, one["sku"], cost_e6=18_500_000)
    for code in supplied:
        terminal("sync-supplier", code)
    SandboxProvider.pay(offered["payment"]["redirect_url"])
    wait_until(lambda: "price_jump" in terminal("tasks"), seconds=30, what="a person is asked")
    said = terminal("purchases", offered["order_id"])
    assert "held: waits for a person" in said
    assert "too_dear" in said
    number = attempt_in(said)
    assert "no amount" in refused_by_the_parser(terminal, "allow", number, "18.505", "--note", "x")
    assert "not more" in terminal.refused("allow", number, "17", "--note", "less than now")
    assert "a piece may cost ¥19.00" in terminal("allow", number, "19", "--note", "a good customer")
    wait_until(
        lambda: bool(terminal.shop.pump() or "delivered; 1 came" in terminal("purchases", offered["order_id"])),
        seconds=30,
        what="it was bought",
    )


def refused_by_the_parser(terminal: Terminal, *words: str) -> str:
    with pytest.raises(SystemExit):
        commands.main([*words], terminal.sign_in)
    return terminal.capture.readouterr().err
