"""What providers say of a day: fetched once from their simulators, kept as it came, read into lines of one form."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import boto3
import pytest

from infra.local.alipay import AlipayGateway
from infra.local.wechat import WeChatPay
from shared.kernel import clock
from shared.kernel.errors import Unfinished
from shared.kernel.money import Money, share
from shared.kernel.records import Lost, Transaction
from shared.ledger import posting
from shared.ledger import records as ledger
from shared.payments import bills, merchant_keys, merchants, registry
from shared.payments.adapters import wechat_bill
from shared.payments.bill_lines import Sum
from shared.payments.errors import BillNotReady
from shared.payments.provider import Attempt, Merchant, Outcome, PaymentRequest, RefundRequest
from shared.staff import records as staff
from shared.steps import bills as step
from tests.billed import booked
from tests.canned import CannedStripe
from tests.deaths import dying_after, retried
from tests.shop import Shop, handler

RATE = 6_000
WEEK = range(1, 8)


def days_ago(days: int) -> date:
    return clock.shanghai_day(clock.now()) - timedelta(days=days)


def day() -> date:
    """Of which there is a bill at any hour: yesterday's is not ready before ten."""
    return days_ago(2)


def noon() -> datetime:
    return datetime.combine(day(), time(12), clock.SHANGHAI)


@dataclass
class Paid:
    merchant: str
    payment_id: str
    amount: Money
    request: RefundRequest


@dataclass
class Account:
    """One merchant, set up as the console does it, and the provider that it has its account with."""

    simulator: WeChatPay | AlipayGateway | CannedStripe
    kind: str
    method: str

    def __post_init__(self) -> None:
        self.sales = 0

    def set_up(self, code: str, *, off: bool = False) -> str:
        terms = self.simulator.terms
        merchants.save(Merchant(code, self.kind, (self.method,), RATE, terms=terms, off=off))
        merchant_keys.add(code, self.simulator.keys)
        registry.forget()
        return code

    def sell(self, minor: int = 2500, at: datetime | None = None) -> Paid:
        """A payment of a past day, made through the adapter and the pay page."""
        self.sales += 1
        now, ours = clock.now(), registry.provider(self.kind)
        attempt = Attempt(
            f"pay_{self.kind}{self.sales}", self.method, Money(minor), "Steam 充值卡", now + timedelta(minutes=15)
        )
        intent = ours.create(PaymentRequest(attempt, "http://127.0.0.1:9/told", "http://127.0.0.1:9/back"), now)
        params = dict(intent.client_params or {})
        url = self.simulator.page(params) if isinstance(self.simulator, CannedStripe) else intent.qr_url
        assert url
        self.simulator.pay(url, "silent", paid_at=(at or noon()).isoformat(timespec="seconds"))
        [charge] = ours.query(attempt, now).charges
        request = RefundRequest(
            f"ref_{self.kind}{self.sales}", attempt.payment_id, charge.provider_no, charge.amount, charge.amount, "test"
        )
        return Paid(self.kind, attempt.payment_id, charge.amount, request)

    def move_refunds_to(self, moment: datetime) -> None:
        """What no simulator does by itself: it gives back on a past day."""
        column = {"wechat": "settles_at", "alipay": "refunded_at", "stripe": "settles_at"}[self.kind]
        with closing(sqlite3.connect(self.simulator.state)) as db, db:
            db.execute(f"UPDATE refunds SET {column} = ?", (moment.timestamp(),))  # one of those above


def opened(simulator: WeChatPay | AlipayGateway | CannedStripe, kind: str, method: str) -> Account:
    account = Account(simulator, kind, method)
    account.set_up(kind)
    return account


@pytest.fixture
def wechat(cloud: None, tmp_path: Path) -> Iterator[Account]:
    with WeChatPay(tmp_path / "wechat.sqlite", refund_after=0) as simulator:
        yield opened(simulator, "wechat", "wechat_native")


@pytest.fixture
def alipay(cloud: None, tmp_path: Path) -> Iterator[Account]:
    with AlipayGateway(tmp_path / "alipay.sqlite") as simulator:
        yield opened(simulator, "alipay", "alipay_qr")


@pytest.fixture
def stripe(cloud: None, tmp_path: Path) -> Iterator[Account]:
    """Whose days are those of UTC."""
    with CannedStripe(tmp_path / "stripe.sqlite") as simulator:
        yield opened(simulator, "stripe", "stripe")


def run() -> None:
    """As the schedule does; what a warm process remembers of merchants is seconds old, a test's is older."""
    registry.forget()
    handler("bills")({"time": clock.iso(clock.now())}, None)


def files() -> dict[str, bytes]:
    s3, bucket = boto3.client("s3"), os.environ["BUCKET"]
    listed = s3.list_objects_v2(Bucket=bucket).get("Contents", [])
    return {one["Key"]: s3.get_object(Bucket=bucket, Key=one["Key"])["Body"].read() for one in listed}


def states(code: str) -> dict[int, str]:
    """By how many days ago."""
    found = {back: bills.kept(code, days_ago(back)) for back in WEEK}
    return {back: str(bill.state) for back, bill in found.items() if bill}


def tasks() -> list[str]:
    return [str(task.id) for task in staff.open_tasks(9)]


@pytest.mark.parametrize("kind", ["wechat", "alipay", "stripe"])
def test_the_bill_of_a_day_is_kept_as_it_came_with_its_hash_its_lines_and_its_sums(
    kind: str, request: pytest.FixtureRequest
) -> None:
    account: Account = request.getfixturevalue(kind)
    sold = [account.sell(2500), account.sell(1000, noon() + timedelta(hours=1))]

    run()

    bill = bills.kept(kind, day())
    assert bill
    assert (bill.state, bill.lines, bill.unread) == ("fetched", 2, None)
    stored = files()
    assert set(stored) == {bill.file, bill.lines_file}
    assert bill.file.startswith(f"bills/{kind}/{day()}/")
    assert hashlib.sha256(stored[bill.file]).hexdigest() == bill.sha256
    lines = [json.loads(line) for line in stored[bill.lines_file].splitlines()]
    lines.sort(key=lambda line: str(line["at"]))  # some begin with the newest
    assert [(line["kind"], line["payment_id"], line["gross_minor"], line["at"]) for line in lines] == [
        ("charge", one.payment_id, one.amount.minor, clock.iso(noon() + timedelta(hours=hour)))
        for hour, one in enumerate(sold)
    ]
    assert bill.sums == [Sum("charge", "CNY", 2, 3500, 210_000)]


def test_a_bill_of_many_pages_is_one_file(stripe: Account) -> None:
    stripe.simulator.page_size = 2
    for hour in range(5):
        stripe.sell(1000, noon() + timedelta(hours=hour))

    run()

    bill = bills.kept("stripe", day())
    assert bill
    assert (bill.file.rpartition(".")[2], bill.lines) == ("json", 5)
    assert bill.sums == [Sum("charge", "CNY", 5, 5000, 300_000)]


def test_a_day_of_stripe_is_one_of_utc_and_not_ready_before_its_end(stripe: Account) -> None:
    start = datetime.combine(day(), time(), UTC)
    for at in (start - timedelta(seconds=1), start, start + timedelta(hours=23, minutes=59), start + timedelta(days=1)):
        stripe.sell(1000, at)

    run()

    bill = bills.kept("stripe", day())
    assert bill
    assert bill.lines == 2
    with pytest.raises(BillNotReady):
        registry.provider("stripe").bill(day(), start + timedelta(hours=23, minutes=59, seconds=59))


def test_a_bill_is_fetched_once_and_never_changes(wechat: Account) -> None:
    wechat.sell()
    run()
    before, stored = bills.kept("wechat", day()), files()
    assert before

    wechat.sell()
    run()

    after = bills.kept("wechat", day())
    assert after
    assert after.serialize() == before.serialize()
    assert files() == stored


def test_of_two_runs_at_once_the_first_file_counts(alipay: Account) -> None:
    alipay.sell()
    run()
    first, provider = bills.kept("alipay", day()), registry.provider("alipay")
    alipay.sell()

    step._keep(provider, day(), clock.now())

    second = bills.kept("alipay", day())
    assert first
    assert second
    assert second.serialize() == first.serialize()
    assert files().keys() > {first.file}, "the file of the slower one is there under its own hash"


def test_a_week_of_outage_is_made_good_and_no_day_before_it(wechat: Account) -> None:
    for back in (3, 7, 8):
        wechat.sell(at=noon() - timedelta(days=back - 2))

    run()

    found = states("wechat")
    assert {back: found[back] for back in range(2, 8)} == {2: "empty", 3: "fetched"} | dict.fromkeys(
        range(4, 7), "empty"
    ) | {7: "fetched"}
    assert bills.kept("wechat", days_ago(8)) is None


@pytest.mark.parametrize("kind", ["alipay", "stripe"])
def test_a_day_without_money_is_no_error_and_has_no_file(kind: str, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(kind)
    run()

    assert set(states(kind).values()) == {"empty"}
    assert files() == {}
    assert tasks() == []


def test_a_bill_without_lines_is_a_bill(alipay: Account) -> None:
    AlipayGateway.behave(alipay.simulator.url, empty_day="bill_without_lines")

    run()

    bill = bills.kept("alipay", day())
    assert bill
    assert (bill.state, bill.lines, bill.sums) == ("fetched", 0, [])
    assert files()[bill.lines_file] == b""


def test_a_bill_that_is_not_ready_is_asked_for_again_the_next_hour_and_the_other_days_are_not_kept_waiting(
    wechat: Account,
) -> None:
    wechat.sell()
    wechat.simulator.misbehave(wechat.simulator.url, "bill", "statement_creating", times=2)  # of yesterday and of day()

    run()
    first = states("wechat")
    run()

    assert 2 not in first
    assert set(first) >= set(range(4, 8))
    assert states("wechat")[2] == "fetched"


@pytest.mark.parametrize(
    ("kind", "route", "fault"),
    [
        ("wechat", "bill", "before_silent"),
        ("wechat", "bill", "500"),
        ("wechat", "bill", "wrong_signature"),
        ("wechat", "bill", "wrong_hash"),
        ("wechat", "download", "cut_short"),
        ("alipay", "bill", "silent"),
        ("alipay", "bill", "unavailable"),
        ("alipay", "download", "expired"),
        ("alipay", "download", "garbage"),
        ("stripe", "bill", "silent"),
        ("stripe", "bill", "500"),
        ("stripe", "bill", "garbage"),
    ],
)
def test_a_bill_that_no_trustworthy_answer_gave_is_asked_for_again_the_next_hour(
    kind: str, route: str, fault: str, request: pytest.FixtureRequest
) -> None:
    account: Account = request.getfixturevalue(kind)
    account.sell()
    account.simulator.misbehave(account.simulator.url, route, fault, times=9)

    run()
    first, kept = states(kind), files()
    account.simulator.misbehave(account.simulator.url, route, fault, times=0)
    run()

    assert 2 not in first
    assert kept == {}
    assert tasks() == []
    assert states(kind)[2] == "fetched"


def test_a_silent_provider_is_not_asked_for_its_other_days_and_does_not_stop_the_other_merchants(
    wechat: Account, alipay: Account
) -> None:
    alipay.sell()
    wechat.simulator.misbehave(wechat.simulator.url, "bill", "before_silent", times=1)

    run()

    assert states("wechat") == {}
    assert states("alipay")[2] == "fetched"


def test_bills_say_nothing_of_whether_buyers_can_pay(wechat: Account) -> None:
    wechat.simulator.misbehave(wechat.simulator.url, "bill", "before_silent", times=20)

    for _ in range(12):
        run()

    assert "wechat_native" in registry.methods("shop", clock.now())
    assert merchants.behaviour("wechat", clock.now()).unanswered == 0


def test_a_bill_that_could_not_be_had_for_two_days_is_counted_unless_the_merchant_is_off(
    wechat: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing() -> float:
        wechat.simulator.misbehave(wechat.simulator.url, "bill", "before_silent", times=1)
        run()
        told = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"BillMissing"' in line]
        return float(sum(sum(one["BillMissing"]) for one in told))

    assert missing() == 5  # the days of the week but yesterday and the one before
    wechat.set_up("wechat", off=True)
    assert missing() == 0


def test_a_merchant_that_is_off_is_billed_as_long_as_there_is_money(wechat: Account) -> None:
    wechat.sell()
    wechat.set_up("wechat", off=True)

    run()

    assert states("wechat")[2] == "fetched"


def test_what_there_was_no_time_for_is_done_the_next_hour(wechat: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    wechat.sell()
    with monkeypatch.context() as in_no_time:
        in_no_time.setattr(step, "BUDGET", timedelta(seconds=-1))
        run()
    first = states("wechat")

    run()

    assert first == {}
    assert states("wechat")[2] == "fetched"


def test_a_merchant_without_keys_or_without_bills_stops_nobody(wechat: Account) -> None:
    wechat.sell()
    merchants.save(Merchant("alipay-2", "alipay", ("alipay_qr",), RATE, terms={"app_id": "1", "seller_id": "2"}))
    epay = {"gateway": "http://127.0.0.1:9", "pid": "1", "allowed": "yes"}
    merchants.save(Merchant("epay", "epay", ("epay_alipay",), RATE, terms=epay))
    merchant_keys.add("epay", {"key": "of-this-test"})

    run()

    assert states("alipay-2") == states("epay") == {}
    assert states("wechat")[2] == "fetched"


def test_what_goes_wrong_with_one_merchant_is_an_error_of_the_run_after_the_others_had_their_turn(
    wechat: Account,
) -> None:
    wechat.sell()
    terms = {"appid": "1", "mchid": "2", "gateway": "ftp://127.0.0.1"}
    merchants.save(Merchant("a-wrong-one", "wechat", ("wechat_native",), RATE, terms=terms))
    merchant_keys.add("a-wrong-one", wechat.simulator.keys)

    with pytest.raises(Unfinished, match="a-wrong-one"):
        run()

    assert states("wechat")[2] == "fetched"


def test_a_bill_that_cannot_be_read_is_kept_and_told_once_and_read_from_the_kept_file_when_it_can_be(
    wechat: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    wechat.sell()
    with monkeypatch.context() as before_the_columns_were_known:
        before_the_columns_were_known.setattr(wechat_bill, "_LAYOUTS", ())
        run()
        run()
        unread, opened = bills.kept("wechat", day()), tasks()
        [file] = files()
    wechat.simulator.misbehave(wechat.simulator.url, "bill", "before_silent", times=20)

    run()

    bill = bills.kept("wechat", day())
    assert unread
    assert bill
    assert (unread.state, unread.lines, unread.file) == ("unreadable", None, file)
    assert opened == [f"bill_unreadable.wechat-{day()}"]
    assert (bill.state, bill.lines, bill.sha256) == ("fetched", 1, unread.sha256)
    assert bill.sums == [Sum("charge", "CNY", 1, 2500, 150_000)]
    assert bill.read_at
    assert bill.unread is None
    assert bill.fetched_at == unread.fetched_at
    with pytest.raises(Lost):
        bills.save_read(bill, clock.now())  # a slower run, which has read it, too
    assert set(files()) == {file, bill.lines_file}
    assert tasks() == []
    assert bills.unread() == []


def test_a_task_that_a_person_closed_stays_as_he_left_it(wechat: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    wechat.sell()
    with monkeypatch.context() as before_the_columns_were_known:
        before_the_columns_were_known.setattr(wechat_bill, "_LAYOUTS", ())
        run()
    [task] = tasks()
    staff.close_task(task, "ann", "new columns, mended", clock.now())

    run()

    assert states("wechat")[2] == "fetched"
    assert (staff.Task.get(task).done_by, staff.Task.get(task).note) == ("ann", "new columns, mended")


def test_a_bill_is_read_again_however_old_it_is(wechat: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    wechat.sell(at=noon() - timedelta(days=20))
    old = day() - timedelta(days=20)
    with monkeypatch.context() as before_the_columns_were_known:
        before_the_columns_were_known.setattr(wechat_bill, "_LAYOUTS", ())
        step._keep(registry.provider("wechat"), old, clock.now())

    run()

    bill = bills.kept("wechat", old)
    assert bill
    assert bill.state == "fetched"


def test_fetching_survives_a_death_after_every_write(wechat: Account) -> None:
    wechat.sell()
    wechat.sell(500, noon() - timedelta(days=1))
    nth, died, records = 0, True, set()
    while died:
        nth += 1
        code = f"wechat-{nth}"
        wechat.set_up(code)
        with dying_after(nth) as seen:
            retried(run)
        died = len(seen) >= nth
        for of, minor in ((day(), 2500), (day() - timedelta(days=1), 500)):
            bill = bills.kept(code, of)
            assert bill
            assert (bill.state, [one.gross_minor for one in bill.sums]) == ("fetched", [minor]), f"after write {nth}"
            of_day = {name for name in files() if name.startswith(f"bills/{code}/{of}/")}
            assert of_day == {bill.file, bill.lines_file}, f"after write {nth}"
            records.add(bill.sha256)
    assert nth > 9  # two files and a record for two days, a record for the others
    assert len(records) == 2


def test_keeping_and_reading_what_could_not_be_read_survives_a_death_after_every_write(
    wechat: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    wechat.sell()
    nth, died = 0, True
    while died:
        nth += 1
        code = f"wechat-{nth}"
        wechat.set_up(code)
        with dying_after(nth) as seen:
            with monkeypatch.context() as before_the_columns_were_known:
                before_the_columns_were_known.setattr(wechat_bill, "_LAYOUTS", ())
                retried(run)
            opened = tasks()
            retried(run)
        died = len(seen) >= nth
        bill = bills.kept(code, day())
        assert bill
        assert (bill.state, bill.lines) == ("fetched", 1), f"after write {nth}"
        assert [task for task in opened if day().isoformat() in task and code in task] == [
            f"bill_unreadable.{code}-{day()}"
        ]
        assert tasks() == []
    assert nth > 10


def booked_as(paid: Paid, written: datetime, moved: datetime | None, *, refund: bool = False) -> None:
    with Transaction() as tx:
        fee = share(paid.amount.minor, RATE)
        legs = (
            posting.refund_sent(paid.merchant, paid.amount)
            if refund
            else posting.payment_received(paid.merchant, paid.amount, fee, [("A", 1)])
        )
        kind = "refund_sent" if refund else "payment"
        ledger.post(tx, kind, legs, written, moved, provider=paid.merchant, payment_id=paid.payment_id)


@pytest.mark.parametrize("kind", ["wechat", "alipay", "stripe"])
def test_the_sums_of_a_bill_are_those_of_the_ledger_for_the_day_on_which_the_money_moved(
    kind: str, request: pytest.FixtureRequest
) -> None:
    account: Account = request.getfixturevalue(kind)
    zone = UTC if kind == "stripe" else clock.SHANGHAI
    midnight = datetime.combine(day(), time(), zone)
    for minor, at, written in (
        (2500, noon(), noon()),
        (9500, midnight + timedelta(hours=23, minutes=59), midnight + timedelta(hours=24, minutes=4)),
        (500, midnight - timedelta(minutes=1), midnight + timedelta(minutes=4)),
    ):
        booked_as(account.sell(minor, at), written, at)

    run()

    bill = bills.kept(kind, day())
    assert bill
    entries = [entry for back in (-1, 0, 1) for entry in ledger.entries_of(day() + timedelta(days=back))]
    assert tuple(bill.sums) == booked(kind, entries, day(), zone) == (Sum("charge", "CNY", 2, 12000, 720_000),)


@pytest.mark.parametrize("kind", ["wechat", "alipay", "stripe"])
def test_refunds_stand_in_the_bill_of_the_day_on_which_they_were_made(
    kind: str, request: pytest.FixtureRequest
) -> None:
    account: Account = request.getfixturevalue(kind)
    paid = account.sell(2500, noon() - timedelta(days=1))
    booked_as(paid, noon() - timedelta(days=1), noon() - timedelta(days=1))
    assert registry.provider(kind).refund(paid.request, clock.now()) in (Outcome.SUCCEEDED, Outcome.PROCESSING)
    account.move_refunds_to(noon())
    booked_as(paid, noon(), None, refund=True)

    run()

    bill = bills.kept(kind, day())
    assert bill
    [refunds] = [one for one in bill.sums if one.kind == "refund"]
    assert refunds._replace(fee_e6=0) == Sum("refund", "CNY", 1, -2500, 0)
    assert (refunds._replace(fee_e6=0),) == booked(kind, ledger.entries_of(day()), day())
    assert refunds.fee_e6 == (-150_000 if kind == "wechat" else 0), "one gives its fee back"


# --- what the console shows ---


def test_the_console_lists_the_bills_of_a_day_also_those_that_are_missing(shop: Shop, wechat: Account) -> None:
    wechat.sell()
    run()
    merchants.save(Merchant("wechat-2", "wechat", ("wechat_native",), RATE, terms={"appid": "1", "mchid": "2"}))

    answer = shop.call("GET", f"/console/bills?day={day()}", groups="auditor")

    bill = bills.kept("wechat", day())
    assert bill
    assert answer.body == {
        "day": day().isoformat(),
        "bills": [
            {
                "merchant": "wechat",
                "day": day().isoformat(),
                "state": "fetched",
                "sha256": bill.sha256,
                "lines": 1,
                "sums": [
                    {
                        "kind": "charge",
                        "lines": 1,
                        "gross": {"amount_minor": 2500, "currency": "CNY"},
                        "fee_e6": 150_000,
                    }
                ],
                "fetched_at": bill.fetched_at,
                "read_at": None,
            },
            {
                "merchant": "wechat-2",
                "day": day().isoformat(),
                "state": "missing",
                "sha256": None,
                "lines": None,
                "sums": [],
                "fetched_at": None,
                "read_at": None,
            },
        ],
    }
    assert shop.call("GET", "/console/bills", groups="auditor").body["day"] == days_ago(1).isoformat()
    assert shop.call("GET", "/console/bills?day=soon", groups="auditor").status == 422


def test_the_console_gives_a_link_to_the_file_as_it_came(shop: Shop, wechat: Account) -> None:
    wechat.sell()
    run()
    bill = bills.kept("wechat", day())
    assert bill

    answer = shop.call("GET", f"/console/bills/wechat/{day()}", groups="finance")

    assert answer.body["sha256"] == bill.sha256
    assert bill.file in answer.body["file_url"]
    assert "X-Amz-Expires=300" in answer.body["file_url"]
    assert shop.call("GET", f"/console/bills/wechat/{days_ago(3)}", groups="finance").body["file_url"] is None
    assert shop.call("GET", f"/console/bills/wechat/{days_ago(30)}", groups="finance").status == 404
    assert shop.call("GET", f"/console/bills/nobody/{day()}", groups="finance").status == 404
    assert shop.call("GET", "/console/bills/wechat/soon", groups="finance").status == 422


# --- nothing leaks ---


def test_no_key_is_stored_or_logged_and_what_is_personal_stays_in_the_file_of_the_provider(
    wechat: Account, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sold = wechat.sell()
    with monkeypatch.context() as before_the_columns_were_known:
        before_the_columns_were_known.setattr(wechat_bill, "_LAYOUTS", ())
        run()
    run()

    bill = bills.kept("wechat", day())
    assert bill
    stored = files()
    file = stored.pop(bill.file).decode("utf-8-sig")
    buyer = file.splitlines()[1].split(",`")[7]
    written = capsys.readouterr()
    table = json.dumps([one.serialize() for one in bills.KeptBill.scan()])
    elsewhere = [written.out, written.err, table, *(content.decode() for content in stored.values())]
    assert len(buyer) > 20, "an openid, which only the provider's file holds"
    assert not any(buyer in text for text in elsewhere)
    assert sold.payment_id not in written.out + written.err + table
    secrets = [text for text in wechat.simulator.keys.values() if len(text) > 16]
    assert not any(secret in text for secret in secrets for text in [file, *elsewhere])
