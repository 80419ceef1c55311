"""What suppliers sell, from their wire to the comparison of a SKU: only what changed is written, whoever dies when."""

from __future__ import annotations

import base64
import gzip
import json
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.client import BaseClient

from infra.local.suppliers.common import Product
from infra.local.suppliers.dujiao import Dujiao
from infra.local.suppliers.fulu import Fulu
from shared.kernel import aws, clock
from shared.kernel.errors import Unfinished
from shared.kernel.records import Lost
from shared.staff import records as staff
from shared.steps import purchase_work, supplier_callbacks, supplier_sync
from shared.suppliers import accounts, balances, listing, offers, pulses, registry, snapshots, supplier_keys
from shared.suppliers.accounts import Head
from shared.suppliers.admission import Standing, same
from shared.suppliers.breaker import IN_A_ROW
from shared.suppliers.errors import ListTooLong, SupplierRefused, SupplierSilent
from shared.suppliers.listing import UNSURE
from shared.suppliers.offers import HISTORY_MAX, Offer
from shared.suppliers.snapshots import Overtaken
from shared.suppliers.supplier import Wish
from tests.deaths import Died, dying_after, retried
from tests.shop import CONTEXT, Answer, Shop, handler

ROOT = Path(__file__).parents[2]
STEAM = Product("1", "Steam 钱包充值卡 50元", 45_500_000, stock=20)
IQIYI = Product("2", "爱奇艺黄金会员 月卡", 15_900_000, stock=30)
Q_COINS = Product("3", "Q币 10个", 9_300_000, kind="topup", fields=[{"key": "qq", "name": "QQ号"}])
BASKET = [STEAM, IQIYI, Q_COINS]


@dataclass
class Acme:
    """A supplier on 127.0.0.1 who sells a basket to us."""

    wire: Dujiao
    code: str = "acme"

    @property
    def url(self) -> str:
        return self.wire.url

    def sync(self) -> supplier_sync.Synced:
        return supplier_sync.sync(self.code, clock.now())

    def sells(self, *products: Product) -> None:
        Dujiao.put_products(self.url, products, instead=True)

    def change(self, product: Product, **values: Any) -> None:
        Dujiao.change_product(self.url, product.sku, **values)

    def stored(self) -> dict[str, Offer]:
        """What lies in the table, by the first word of its title."""
        return {str(one.title).split()[0]: one for one in Offer.query(self.code)}

    def id_of(self, word: str) -> str:
        return str(self.stored()[word].product)

    @property
    def head(self) -> Head:
        return accounts.head_of(self.code)


@pytest.fixture
def acme(cloud: None, tmp_path: Path) -> Iterator[Acme]:
    with opened(tmp_path) as wire:
        set_up("acme", wire)
        one = Acme(wire)
        one.sells(*BASKET)
        yield one


def opened(folder: Path, name: str = "acme") -> Dujiao:
    return Dujiao(folder / f"{name}.sqlite")


def set_up(code: str, wire: Dujiao | None = None, **more: Any) -> None:
    """An approved supplier, with keys if he is somebody to call."""
    said = {"kind": "dujiao", "terms": dict(wire.terms)} if wire else {"kind": "pricelist", "terms": {}}
    brands = {same("Steam"): "2099-12-31"}
    Head(code, name=code.title(), **{"standing": Standing.APPROVED, "brands": brands, **said, **more}).save()
    if wire:
        supplier_keys.add(code, dict(wire.keys))
    registry.forget()


def tasks() -> list[str]:
    return [str(task.id) for task in staff.open_tasks(50)]


def snapshot(code: str = "acme") -> dict[str, Any]:
    found = boto3.client("s3").get_object(Bucket="kaquan-test-files", Key=f"offers/{code}/latest.json.gz")
    return dict(json.loads(gzip.decompress(found["Body"].read())))


@pytest.fixture
def calls() -> Iterator[Counter[str]]:
    """What is asked of AWS, from here on."""
    original, seen = BaseClient._make_api_call, Counter[str]()

    def counted(client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:
        seen[named(operation, parameters)] += 1
        return original(client, operation, parameters)

    BaseClient._make_api_call = counted  # type: ignore[method-assign]
    yield seen
    BaseClient._make_api_call = original  # type: ignore[method-assign]


@pytest.fixture
def woken(cloud: None) -> Iterator[list[tuple[str, Any]]]:
    """Which functions were woken, with what: (name, event)."""
    events, seen = aws.client("lambda").meta.events, list[tuple[str, Any]]()

    def heard(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        assert request.headers["X-Amz-Invocation-Type"] in ("Event", b"Event")
        name = urllib.parse.urlsplit(request.url).path.split("/")[3]
        seen.append((name, json.loads(request.body)))
        return AWSResponse(request.url, 202, {}, BytesIO())

    events.register_first("before-send.lambda.Invoke", heard)
    yield seen
    events.unregister("before-send.lambda.Invoke", heard)


# --- the sync ---


def test_what_a_supplier_sells_is_stored_as_he_says_it(acme: Acme) -> None:
    before = clock.now()
    synced = acme.sync()

    assert (synced.products, synced.new, synced.changed, synced.gone) == (3, 3, 0, 0)
    stored = acme.stored()
    steam, coins = stored["Steam"], stored["Q币"]
    assert (steam.title, steam.cost_e6, steam.currency, steam.stock, steam.delivers) == (
        *("Steam 钱包充值卡 50元", 45_500_000, "CNY", 20),
        "cards",
    )
    assert (coins.delivers, offers.wishes(coins)) == ("topup", (Wish("qq", "QQ号"),))
    assert [cost for _, cost in steam.history] == [45_500_000]
    assert acme.head.synced_at >= clock.iso(before)
    assert (acme.head.balance_minor, acme.head.version) == (100_000_000, 1)


def test_a_list_of_several_pages_is_read_to_its_end(acme: Acme) -> None:
    many = [Product(str(number), f"卡 {number}", 1_000_000 + number) for number in range(1, 131)]
    acme.sells(*many)
    assert acme.sync().new == 130
    assert len(list(Offer.query("acme"))) == 130


def test_where_nothing_has_changed_no_offer_is_written_or_read(acme: Acme, calls: Counter[str]) -> None:
    acme.sync()
    calls.clear()
    synced = acme.sync()

    assert (synced.products, synced.new, synced.changed, synced.gone) == (3, 0, 0, 0)
    assert [call for call in calls if "offers" in call] == []
    assert (calls["GetObject"], calls["PutObject"]) == (1, 0)


def test_only_what_changed_is_written_and_only_a_price_is_read_for_its_history(acme: Acme, calls: Counter[str]) -> None:
    acme.sync()
    acme.change(STEAM, stock=7)
    calls.clear()
    assert acme.sync().changed == 1
    assert (calls["UpdateItem offers"], calls["BatchGetItem"], calls["GetItem offers"]) == (1, 0, 0)
    assert acme.stored()["Steam"].stock == 7

    acme.change(IQIYI, cost_e6=16_000_000)
    calls.clear()
    assert acme.sync().changed == 1
    assert (calls["UpdateItem offers"], calls["BatchGetItem"]) == (1, 1)
    assert [cost for _, cost in acme.stored()["爱奇艺黄金会员"].history] == [16_000_000, 15_900_000]
    assert [cost for _, cost in acme.stored()["Steam"].history] == [45_500_000]


def test_a_sync_leaves_alone_what_a_person_has_said_of_an_offer(acme: Acme) -> None:
    acme.sync()
    product = acme.id_of("Q币")
    assert offers.confirm(acme.stored()["Q币"], "G022", {"qq": "qq"}, "ann", clock.now())
    acme.change(Q_COINS, cost_e6=9_000_000, name="Q币 10个 特价")
    acme.sync()

    coins = acme.stored()["Q币"]
    assert (coins.title, coins.cost_e6) == ("Q币 10个 特价", 9_000_000)
    assert (coins.sku, coins.fills, coins.mapped_by) == ("G022", {"qq": "qq"}, "ann")
    assert [str(one.product) for one in offers.of_sku("G022")] == [product]


def test_what_is_gone_is_not_on_sale_until_it_comes_back(acme: Acme) -> None:
    acme.sync()
    acme.sells(IQIYI, Q_COINS)
    assert acme.sync().gone == 1
    assert {word: one.on_sale for word, one in acme.stored().items()} == {
        "Steam": False,
        "爱奇艺黄金会员": True,
        "Q币": True,
    }
    assert acme.sync().gone == 0

    acme.sells(replace(STEAM, cost_e6=46_000_000), IQIYI, Q_COINS)
    assert acme.sync().new == 1
    steam = acme.stored()["Steam"]
    assert (steam.on_sale, [cost for _, cost in steam.history]) == (True, [46_000_000, 45_500_000])


def test_the_history_keeps_the_last_fifty_changes(acme: Acme) -> None:
    acme.sync()
    old = [[f"2026-10-{day:02}T00:00:00.000Z", cost] for day, cost in zip(range(25, 0, -1), range(25), strict=True)]
    Offer("acme", acme.id_of("Steam")).update([Offer.history.set([*old, *old])])
    for cost in (46_000_000, 47_000_000):
        acme.change(STEAM, cost_e6=cost)
        acme.sync()

    history = acme.stored()["Steam"].history
    assert len(history) == HISTORY_MAX == 50
    assert [cost for _, cost in history[:3]] == [47_000_000, 46_000_000, 0]


def test_a_listing_that_is_lost_loses_no_history_and_no_mapping(acme: Acme) -> None:
    acme.sync()
    acme.change(STEAM, stock=9)
    acme.sync()
    offers.confirm(acme.stored()["Steam"], "G019", {}, "ann", clock.now())
    boto3.client("s3").delete_object(Bucket="kaquan-test-files", Key="offers/acme/latest.json.gz")
    acme.change(STEAM, cost_e6=46_000_000)
    assert acme.sync().new == 3

    steam = acme.stored()["Steam"]
    assert (steam.sku, [cost for _, cost in steam.history]) == ("G019", [46_000_000, 45_500_000])
    assert [len(one.history) for one in acme.stored().values()].count(1) == 2


def test_what_cannot_be_stored_is_counted_and_keeps_nobody_from_the_rest(acme: Acme) -> None:
    """Adapters read no such thing today; one that does must not stop a supplier's whole list."""
    steam, other, _ = registry.supplier("acme").products("", clock.now()).products
    synced = supplier_sync._store("acme", [steam, replace(other, product="x" * 2_000)], clock.now())

    assert (synced.products, synced.new, synced.unfit) == (1, 1, 1)
    assert list(acme.stored()) == ["Steam"]


@pytest.mark.parametrize("fault", ["before_silent", "before_500", "garbage"])
def test_a_supplier_who_is_silent_leaves_everything_as_it_was(acme: Acme, fault: str) -> None:
    acme.sync()
    before, stored = acme.head.synced_at, {word: one.cost_e6 for word, one in acme.stored().items()}
    acme.change(STEAM, cost_e6=1)
    Dujiao.misbehave(acme.url, "products", fault)
    with pytest.raises(SupplierSilent):
        acme.sync()

    assert acme.head.synced_at == before
    assert {word: one.cost_e6 for word, one in acme.stored().items()} == stored
    assert tasks() == []


def test_a_list_that_is_cut_off_in_the_middle_takes_nothing_off_sale(acme: Acme) -> None:
    many = [Product(str(number), f"卡 {number}", 1_000_000) for number in range(1, 131)]
    acme.sells(*many)
    acme.sync()
    with pytest.raises(ListTooLong):
        supplier_sync.sync("acme", clock.now(), timedelta(0))
    assert all(one.on_sale for one in Offer.query("acme"))


@pytest.mark.parametrize("route", ["ping", "products"])
def test_a_refusal_for_who_we_are_stops_the_supplier_and_calls_a_person_once(acme: Acme, route: str) -> None:
    acme.sync()
    for _ in range(2):
        Dujiao.misbehave(acme.url, route, "refuse_signature")
        with pytest.raises(SupplierRefused):
            acme.sync()

    assert acme.head.stopped == "bad_signature"
    assert tasks() == ["supplier_stopped.acme"]
    assert not acme.head.may_buy("2026-11-23")


def test_the_alarm_hears_of_a_supplier_whom_a_sync_has_stopped(acme: Acme, capsys: pytest.CaptureFixture[str]) -> None:
    handler("supplier_sync")({"time": clock.iso(clock.now())}, CONTEXT)
    capsys.readouterr()  # with whatever was counted before this test
    Dujiao.misbehave(acme.url, "products", "refuse_signature")
    handler("supplier_sync")({"time": clock.iso(clock.now())}, CONTEXT)
    assert '"SupplierStopped":[1.0]' in capsys.readouterr().out.replace(" ", "")


def test_the_schedule_reads_those_whom_we_buy_from_and_nobody_is_in_the_way_of_the_others(
    acme: Acme, tmp_path: Path
) -> None:
    with opened(tmp_path, "down") as down:
        set_up("down", down)
        Dujiao.go_down(down.url, 60)
        with opened(tmp_path, "beta") as beta:
            set_up("beta", beta)
            Dujiao.put_products(beta.url, [STEAM])
            for code, more in (("applied", {"standing": Standing.APPLIED}), ("halted", {"stopped": "bad_signature"})):
                set_up(code, beta, **more)
            set_up("paper")
            handler("supplier_sync")({"time": clock.iso(clock.now())}, CONTEXT)

    synced = {str(head.code) for head in accounts.every() if head.synced_at}
    assert synced == {"acme", "beta"}


def test_a_notice_that_a_list_has_changed_has_it_read_at_once_and_no_more_often_than_each_few_minutes(
    shop: Shop, acme: Acme, woken: list[tuple[str, Any]]
) -> None:
    acme.sync()
    acme.change(STEAM, cost_e6=46_000_000)
    answers = [shop.call("POST", "/webhooks/suppliers/acme/changes", {"whatever": "he says"}) for _ in range(2)]
    assert [(answer.status, answer.body) for answer in answers] == [(200, {"ok": True, "message": "received"})] * 2
    assert woken == [("kaquan-test-supplier-sync", {"supplier": "acme"})]

    handler("supplier_sync")(woken[0][1], CONTEXT)
    assert acme.stored()["Steam"].cost_e6 == 46_000_000

    supplier_callbacks.changed("acme", clock.now() + supplier_callbacks.CHANGES_APART)
    assert len(woken) == 2


def test_a_notice_has_only_him_read_whose_it_is_and_one_who_is_silent_is_left_to_the_schedule(
    acme: Acme, tmp_path: Path
) -> None:
    with opened(tmp_path, "beta") as beta:
        set_up("beta", beta)
        handler("supplier_sync")({"supplier": "beta"}, CONTEXT)
        assert [str(head.code) for head in accounts.every() if head.synced_at] == ["beta"]
        Dujiao.go_down(beta.url, 60)
        handler("supplier_sync")({"supplier": "beta"}, CONTEXT)
    assert tasks() == []


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"standing": Standing.SUSPENDED}, 200),
        ({"stopped": "bad_signature"}, 200),
        ({"kind": "pricelist"}, 400),  # who sends files calls nobody
    ],
)
def test_a_notice_of_one_whose_list_is_not_read_wakes_nobody(
    shop: Shop, acme: Acme, woken: list[tuple[str, Any]], more: dict[str, Any], status: int
) -> None:
    set_up("acme", acme.wire, **more)
    assert shop.call("POST", "/webhooks/suppliers/acme/changes", {}).status == status
    assert shop.call("POST", "/webhooks/suppliers/nobody/changes", {}).status == 404
    assert woken == []


def test_who_has_just_had_his_turn_in_vain_does_not_come_before_the_others(acme: Acme, tmp_path: Path) -> None:
    """Three who take all the time of a run and give no list would be the first three of the next one, and of all."""
    now = clock.now()
    hour, eleven, ten = (clock.iso(now - timedelta(minutes=minutes)) for minutes in (60, 11, 10))
    with opened(tmp_path, "down") as down:
        set_up("down", down, synced_at=hour, tried_at=ten)
        set_up("acme", acme.wire, synced_at=ten, tried_at=eleven)
        Dujiao.go_down(down.url, 60)
        supplier_sync.work(now)
    assert ten < acme.head.tried_at < accounts.head_of("down").tried_at


@pytest.mark.parametrize(
    ("minutes", "told"), [(34, []), (36, ["supplier_not_synced.acme"]), (None, ["supplier_not_synced.acme"])]
)
def test_a_person_is_called_before_the_offers_of_one_who_gives_no_list_are_too_old(
    acme: Acme, minutes: int | None, told: list[str]
) -> None:
    now = clock.now()
    set_up("acme", acme.wire, synced_at=clock.iso(now - timedelta(minutes=minutes)) if minutes else None)
    Dujiao.go_down(acme.url, 60)
    supplier_sync.work(now)
    assert tasks() == told

    Dujiao.go_down(acme.url, 0)
    supplier_sync.work(clock.now())
    assert tasks() == []


def test_a_person_is_called_when_a_price_list_is_a_week_old(shop: Shop, acme: Acme) -> None:
    set_up("paper", synced_at=clock.iso(clock.now() - timedelta(days=7)))
    set_up("never")
    supplier_sync.work(clock.now())
    assert tasks() == ["supplier_not_synced.paper"]
    send_list(shop, (ROOT / "tests/data/supplier_a_pricelist.csv").read_bytes())
    assert tasks() == []


def test_nothing_is_read_from_who_answers_in_another_currency_than_his_account(acme: Acme) -> None:
    """His prices are in it, too: twenty dollars are not twenty yuan."""
    set_up("acme", acme.wire, currency="USD", rate_e6=7_000_000)
    supplier_sync.work(clock.now())
    assert (acme.head.stopped, acme.head.balance_minor, acme.head.synced_at) == ("other_currency", None, None)
    assert (acme.stored(), tasks()) == ({}, ["supplier_stopped.acme"])


def test_a_defect_of_ours_is_raised_when_the_others_have_had_their_turn(acme: Acme) -> None:
    set_up("broken", acme.wire, terms={"site": "gopher://127.0.0.1"})
    with pytest.raises(Unfinished, match="broken"):
        supplier_sync.work(clock.now())
    assert acme.head.synced_at


# --- dying, and doing it twice at once ---


def state(acme: Acme) -> dict[str, Any]:
    """Everything that a sync leaves behind, without the moments and the numbers of rounds."""
    return {
        "offers": {
            word: (one.title, one.cost_e6, one.stock, one.on_sale, [cost for _, cost in one.history])
            for word, one in acme.stored().items()
        },
        "lines": snapshot()["lines"],
        "tasks": tasks(),
        "balance": (acme.head.balance_minor, bool(acme.head.synced_at)),
    }


def test_a_sync_that_dies_after_any_write_and_comes_again_leaves_the_same(acme: Acme) -> None:
    def story() -> None:
        """A first list, and a second one in which something is new, dearer, fewer and gone."""
        retried(acme.sync)
        acme.sells(replace(STEAM, cost_e6=46_000_000), replace(IQIYI, stock=1), replace(STEAM, sku="9", name="新 卡"))
        Dujiao.set_balance(acme.url, 1_000_000)
        retried(acme.sync)

    def begun_anew() -> None:
        for table in (Offer.query("acme"), balances.Pace.query("acme"), staff.Task.scan()):
            for one in table:
                one.delete()
        boto3.client("s3").delete_object(Bucket="kaquan-test-files", Key="offers/acme/latest.json.gz")
        acme.sells(*BASKET)
        Dujiao.set_balance(acme.url, 1_000_000_000_000)
        set_up("acme", acme.wire, low_minor=5_000)

    begun_anew()
    with dying_after(0) as writes:
        story()
    expected = state(acme)
    assert expected["tasks"] == ["supplier_balance_low.acme"]
    assert [costs for *_, costs in expected["offers"].values()].count([46_000_000, 45_500_000]) == 1
    assert UNSURE not in [tuple(line) for line in expected["lines"].values()]

    for nth in range(1, len(writes) + 1):
        begun_anew()
        with dying_after(nth):
            story()
        assert state(acme) == expected, f"after write {nth}, {writes[nth - 1]}"
    assert len(writes) >= 18  # 3 + 4 offers, 2 × 2 listings, balances, paces, moments, a task


def test_what_a_dead_run_has_written_is_put_right_also_if_the_supplier_takes_it_back(acme: Acme) -> None:
    """Then his list is the one that was written down before, and the table is not."""
    nth, died = 0, True
    while died:
        nth += 1
        acme.sells(*BASKET)
        acme.sync()
        with dying_after(nth) as writes:
            acme.sells(replace(STEAM, cost_e6=46_000_000), replace(Q_COINS, stock=1))
            with suppress(Died):
                acme.sync()
        died = len(writes) >= nth
        acme.sells(*BASKET)
        acme.sync()
        stored = acme.stored()
        assert {(one.cost_e6, one.on_sale) for one in stored.values()} == {
            *((45_500_000, True), (15_900_000, True), (9_300_000, True)),
        }, f"after write {nth}"
        assert stored["Q币"].stock == -1, f"after write {nth}"
    assert nth > 8  # a balance, a pace, two listings, three offers, a moment


def test_who_was_left_behind_writes_no_more_however_late_he_is(acme: Acme) -> None:
    acme.sync()
    number, product = int(acme.stored()["Steam"].round), registry.supplier("acme").products("", clock.now()).products[0]
    acme.change(STEAM, cost_e6=46_000_000)
    acme.sync()

    late = replace(product, cost_e6=44_000_000)
    with pytest.raises(Lost):
        offers.change("acme", late, number, clock.now())
    with pytest.raises(Lost):
        offers.take_off("acme", late.product, number, clock.now())
    with pytest.raises(Overtaken):
        snapshots.put("acme", listing.Listing(number), '"0123456789abcdef0123456789abcdef"')
    assert acme.stored()["Steam"].cost_e6 == 46_000_000


@pytest.mark.parametrize("before", ["GetObject", "PutObject", "UpdateItem offers"])
def test_of_two_runs_at_once_the_one_that_read_the_list_last_wins(acme: Acme, before: str) -> None:
    """A run has read an older list; another one comes and ends before it writes its listing, or its offers."""
    acme.sync()
    acme.change(STEAM, cost_e6=46_000_000)

    def another() -> None:
        acme.change(STEAM, cost_e6=47_000_000)
        assert acme.sync().changed == 1

    with meanwhile(before, another):
        acme.sync()

    steam = acme.stored()["Steam"]
    assert (steam.cost_e6, [cost for _, cost in steam.history]) == (47_000_000, [47_000_000, 45_500_000])
    assert acme.sync().changed == 0


def test_what_comes_too_late_and_is_offered_no_more_does_not_stay_on_sale(acme: Acme) -> None:
    acme.sync()
    acme.sells(*BASKET, replace(STEAM, sku="9", name="新 卡"))

    def another() -> None:
        acme.sells(*BASKET)
        acme.sync()

    with meanwhile("UpdateItem offers", another):
        acme.sync()

    assert {word: one.on_sale for word, one in acme.stored().items()} == {
        **dict.fromkeys(["Steam", "爱奇艺黄金会员", "Q币"], True),
        "新": False,
    }


@contextmanager
def meanwhile(before: str, do: Callable[[], None]) -> Iterator[None]:
    """Let something happen just before the first such call."""
    original, done = BaseClient._make_api_call, []

    def interrupted(client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:
        if named(operation, parameters) == before and not done:
            done.append(before)
            do()
        return original(client, operation, parameters)

    BaseClient._make_api_call = interrupted  # type: ignore[method-assign]
    try:
        yield
    finally:
        BaseClient._make_api_call = original  # type: ignore[method-assign]
    assert done


def named(operation: str, parameters: dict[str, Any]) -> str:
    return f"{operation} {parameters.get('TableName', '').removeprefix('kaquan-test-')}".strip()


# --- what we have left with him ---


def test_a_balance_below_the_limit_calls_a_person_once_until_it_is_filled_up(acme: Acme) -> None:
    set_up("acme", acme.wire, low_minor=10_000)
    Dujiao.set_balance(acme.url, 99_000_000)
    acme.sync()
    acme.sync()
    assert tasks() == ["supplier_balance_low.acme"]
    staff.close_task("supplier_balance_low.acme", "ann", "seen", clock.now())
    acme.sync()
    assert tasks() == []  # she has been told, and it is still low

    Dujiao.set_balance(acme.url, 500_000_000)
    acme.sync()
    Dujiao.set_balance(acme.url, 90_000_000)
    acme.sync()
    assert tasks() == ["supplier_balance_low.acme"]
    Dujiao.set_balance(acme.url, 500_000_000)
    acme.sync()
    assert tasks() == []
    assert acme.head.balance_minor == 50_000

    purchase_work.empty("acme", clock.now())  # he says himself that nothing is left, and is filled up at once
    assert tasks() == ["supplier_balance_low.acme"]
    acme.sync()
    assert tasks() == []


def test_somebody_is_told_before_a_balance_is_gone_also_where_no_limit_is_set(acme: Acme) -> None:
    Dujiao.set_balance(acme.url, 1_000_000_000)
    a_day_ago = clock.iso(clock.now() - timedelta(days=1))
    balances.Pace("acme", minor=300_000, at=a_day_ago, hourly_e6=8_000 * 1_000_000).save()
    acme.sync()  # 200,000 were spent in a day, and 100,000 are left

    assert tasks() == ["supplier_balance_low.acme"]


def test_a_balance_that_is_not_said_keeps_nobody_from_reading_the_list(acme: Acme) -> None:
    Dujiao.misbehave(acme.url, "ping", "before_500")
    assert acme.sync().new == 3
    assert (acme.head.balance_minor, tasks()) == (None, [])


# --- the console ---


def shown(shop: Shop, supplier: str = "acme", **query: str) -> list[dict[str, Any]]:
    """All his offers, from page to page."""
    found, more = [], {}
    while more is not None:
        asked = "&".join(f"{name}={value}" for name, value in {"supplier": supplier, **query, **more}.items())
        answer = shop.call("GET", f"/console/offers?{asked}", groups="operator")
        assert answer.status == 200, answer.body
        found += answer.body["offers"]
        more = {"cursor": answer.body["next_cursor"]} if answer.body["next_cursor"] else None
    return found


def map_to(shop: Shop, product: str, sku: str, supplier: str = "acme", **fills: str) -> Answer:
    body = {"product": product, "sku": sku, "fills": fills}
    return shop.call("POST", f"/console/offers/{supplier}/map", body, groups="operator")


def unmap(shop: Shop, product: str, sku: str, supplier: str = "acme") -> Answer:
    return shop.call("POST", f"/console/offers/{supplier}/unmap", {"product": product, "sku": sku}, groups="operator")


def comparison(shop: Shop, sku: str) -> list[dict[str, Any]]:
    answer = shop.call("GET", f"/console/skus/{sku}/offers", groups="finance")
    assert answer.status == 200, answer.body
    return list(answer.body["offers"])


def refused(answer: Answer) -> list[tuple[str, str]]:
    assert answer.status == 422, answer.body
    return [(one["field"], one["reason"]) for one in answer.body["fields"]]


def store(supplier: str, product: str, cost_e6: int, sku: str | None = "G019", **more: Any) -> None:
    """An offer of a supplier whom nobody calls in this test."""
    said = {"title": f"Steam {product}", "delivers": "cards", "changed_at": clock.iso(clock.now()), **more}
    Offer(supplier, product, cost_e6=cost_e6, sku=sku, **said).save()


def test_what_is_not_mapped_is_shown_with_what_it_may_be(shop: Shop, acme: Acme) -> None:
    answer = shop.call("POST", "/console/suppliers/acme/sync", groups="operator")
    assert (answer.status, answer.body["new"]) == (200, 3)
    first = {one["title"]: one["suggestions"][0] for one in shown(shop, mapped="no")}

    assert {title: (one["sku"], one["sure"]) for title, one in first.items()} == {
        "Steam 钱包充值卡 50元": ("G019", True),
        "爱奇艺黄金会员 月卡": ("V006", True),
        "Q币 10个": ("G022", True),
    }
    assert first["Q币 10个"]["fills"] == {"qq": "qq"}
    assert first["爱奇艺黄金会员 月卡"]["title"] == "爱奇艺黄金会员 月卡"


def test_a_person_maps_an_offer_once_and_it_is_listed_under_its_sku(shop: Shop, acme: Acme) -> None:
    acme.sync()
    product = acme.id_of("Steam")
    for _ in range(2):
        mapped = map_to(shop, product, "G019")
        assert (mapped.status, mapped.body["sku"], mapped.body["mapped_by"]) == (200, "G019", "ann")
    assert [one["product"] for one in shown(shop, mapped="yes")] == [product]
    assert product not in [one["product"] for one in shown(shop, mapped="no")]
    assert [one["product"] for one in comparison(shop, "G019")] == [product]

    assert map_to(shop, product, "G020").body["code"] == "mapped_otherwise"
    assert unmap(shop, product, "G020").body["sku"] == "G019"
    for _ in range(2):
        assert unmap(shop, product, "G019").body["sku"] is None
    assert comparison(shop, "G019") == []
    assert map_to(shop, product, "G020").status == 200


@pytest.mark.parametrize(
    ("title", "renamed"), [("Steam 钱包充值卡 100元", True), ("【秒发】STEAM钱包充值卡50元 现货", False)]
)
def test_what_becomes_another_thing_is_not_bought_until_a_person_has_said_again_what_it_is(
    shop: Shop, acme: Acme, title: str, renamed: bool
) -> None:
    acme.sync()
    product = acme.id_of("Steam")
    map_to(shop, product, "G019")
    acme.change(STEAM, name=title, cost_e6=1_000_000)
    acme.sync()

    (offer,) = comparison(shop, "G019")
    assert (offer["title"], offer["mapped_title"]) == (title, STEAM.name)
    assert (offer["why"], tasks()) == (("renamed", ["offers_renamed.acme"]) if renamed else (None, []))
    assert [one["product"] for one in shown(shop, mapped="renamed")] == ([product] if renamed else [])
    assert map_to(shop, product, "G020").body["code"] == "mapped_otherwise"
    assert map_to(shop, product, "G019").body["mapped_title"] == title
    assert [one["why"] for one in comparison(shop, "G019")] == [None]


def test_a_number_that_is_given_to_another_product_sells_nothing_under_the_old_mapping(shop: Shop, acme: Acme) -> None:
    """Some count their rows: with one more at the top each number is another product's."""
    set_up("paper")
    send_list(shop, "编号,名称,进价\n1,Steam 50元,45\n".encode())
    map_to(shop, "1", "G019", supplier="paper")
    send_list(shop, "编号,名称,进价\n2,Steam 50元,45\n".encode())
    send_list(shop, "编号,名称,进价\n1,爱奇艺 月卡,15\n2,Steam 50元,45\n".encode())
    assert [(one["product"], one["why"]) for one in comparison(shop, "G019")] == [("1", "renamed")]
    assert tasks() == ["offers_renamed.paper"]


def test_what_cannot_be_the_same_is_not_mapped(shop: Shop, acme: Acme) -> None:
    acme.sync()
    steam, coins = acme.id_of("Steam"), acme.id_of("Q币")
    assert ("sku", "delivers_otherwise") in refused(map_to(shop, steam, "G022"))
    assert ("sku", "delivers_otherwise") in refused(map_to(shop, coins, "G019"))
    assert refused(map_to(shop, coins, "G022")) == [("fills.qq", "required")]
    assert refused(map_to(shop, coins, "G022", qq="uid")) == [("fills.qq", "unknown_field")]
    assert ("fills.more", "not_asked") in refused(map_to(shop, coins, "G022", qq="qq", more="qq"))
    assert map_to(shop, coins, "G022", qq="qq").body["fills"] == {"qq": "qq"}
    assert map_to(shop, "nothing", "G019").body["code"] == "unknown_offer"
    assert map_to(shop, steam, "NONE").body["code"] == "unknown_sku"
    assert map_to(shop, steam, "G019", supplier="nobody").status == 404


def test_a_supplier_whose_list_says_not_what_a_top_up_needs_is_asked_and_it_stays_known(
    shop: Shop, cloud: None, tmp_path: Path
) -> None:
    phone = Product(
        "7", "黑胶VIP 月", 11_000_000, kind="topup", fields=[{"key": "charge_account", "name": "手机号"}], stock=9
    )
    with Fulu(tmp_path / "fulu.sqlite") as stand_in:
        head = {"kind": "fulu", "terms": stand_in.terms, "standing": Standing.APPROVED}
        Head("them", name="Them", **head).save()
        supplier_keys.add("them", stand_in.keys)
        registry.forget()
        Fulu.put_products(stand_in.url, [phone])
        supplier_sync.sync("them", clock.now())
        assert shown(shop, "them")[0]["fields"] == []

        for _ in range(2):
            mapped = map_to(shop, "7", "M014", "them")
            assert mapped.status == 200, mapped.body
            assert (mapped.body["fills"], len(mapped.body["fields"])) == ({"charge_account": "phone"}, 1)
        Fulu.change_product(stand_in.url, "7", cost_e6=11_500_000)
        supplier_sync.sync("them", clock.now())
        stored = Offer.get("them", "7")
        assert (stored.cost_e6, offers.wishes(stored)) == (11_500_000, (Wish("charge_account", "手机号"),))

        Fulu.put_products(stand_in.url, [replace(phone, sku="8", name="黑胶VIP 年")])
        supplier_sync.sync("them", clock.now())
        Fulu.go_down(stand_in.url, 60)
        assert map_to(shop, "8", "M015", "them").status == 503


def test_no_more_offers_than_are_compared_can_be_one_sku(shop: Shop, acme: Acme) -> None:
    acme.sync()
    for number in range(offers.OF_SKU_MAX):
        store("other", f"p{number:03}", 1_000_000)
    assert refused(map_to(shop, acme.id_of("Steam"), "G019")) == [("sku", "too_many_offers")]


def test_a_long_list_is_shown_page_by_page_whatever_products_are_called(shop: Shop, acme: Acme) -> None:
    names = [f"p{number:03}" for number in range(60)] + ["a/b?c=%2F&d#e", "奇怪 的", "\u202e\x7f", "€" * 200]
    for name in names:
        store("acme", name, 1_000_000, sku=None)
    assert [one["product"] for one in shown(shop, limit="7")] == sorted(names, key=lambda one: one.encode())
    for name in names[-4:]:
        assert map_to(shop, name, "G019").status == 200
    assert {one["product"] for one in shown(shop, mapped="yes", limit="3")} == set(names[-4:])
    for cursor in ("!", "gICA", "A" * 1400):
        answer = shop.call("GET", f"/console/offers?supplier=acme&cursor={cursor}", groups="operator")
        assert refused(answer)[0][0] == "cursor"


def test_the_offers_of_a_sku_are_compared_as_routing_would_ask_them(shop: Shop, acme: Acme) -> None:
    now = clock.now()
    fresh, old = clock.iso(now - timedelta(minutes=44)), clock.iso(now - timedelta(minutes=46))
    set_up("dollar", currency="USD", rate_e6=7_000_000, kind="reloadly", synced_at=fresh)
    set_up("cheap", kind="fulu", synced_at=fresh)
    set_up("fair", kind="fulu", synced_at=fresh, tier="A")
    set_up("old", kind="fulu", synced_at=old)
    set_up("out", kind="fulu", synced_at=fresh, standing=Standing.SUSPENDED)
    set_up("chain", kind="fulu", synced_at=fresh, brands={})
    set_up("paper", synced_at=clock.iso(now - timedelta(days=6)))
    store("dollar", "a", 6_500_000, currency="USD")
    store("cheap", "b", 30_000_000)
    store("fair", "c", 45_400_000, history=[["2026-11-01T00:00:00.000Z", 45_400_000]])
    store("old", "d", 20_000_000)
    store("out", "e", 21_000_000)
    store("paper", "f", 45_300_000)
    store("fair", "g", 1_000_000, on_sale=False)
    store("fair", "h", 2_000_000, stock=0)
    store("chain", "j", 45_000_000)
    set_up("unfit", kind="fulu", synced_at=fresh, tier="D")
    set_up("broke", kind="fulu", synced_at=fresh, balance_minor=4_000)
    set_up("shut", kind="fulu", synced_at=fresh)
    store("unfit", "k", 45_000_000)
    store("fair", "l", 51_000_000)
    store("broke", "m", 45_000_000)
    store("shut", "n", 45_000_000)
    store("fair", "o", 45_000_000, **TOP_UP)
    for _ in range(IN_A_ROW):
        pulses.tell("shut", "G019", False, 0, now)

    rows = comparison(shop, "G019")
    assert [(one["product"], one["landed_e6"]) for one in rows if one["sells"]] == [
        *(("c", 45_400_000), ("f", 45_300_000), ("a", 45_500_000)),  # who delivers more often, and is as cheap
    ]
    by_product = {one["product"]: one for one in rows}
    assert [product for product, one in sorted(by_product.items()) if one["doubtful"]] == ["b", "e", "h"]
    assert [product for product, one in sorted(by_product.items()) if one["stale"]] == ["d"]
    assert [product for product, one in sorted(by_product.items()) if not one["admitted"]] == ["e", "j"]
    assert {product: one["why"] for product, one in by_product.items() if one["why"]} == {
        "b": "doubtful",
        "d": "stale",
        "e": "not_admitted",
        "g": "off_shelf",
        "h": "doubtful",
        "j": "not_admitted",
        "k": "tier",
        "l": "too_dear",
        "m": "no_balance",
        "n": "shut",
        "o": "fields",
    }
    assert by_product["c"]["history"] == [{"at": "2026-11-01T00:00:00.000Z", "cost_e6": 45_400_000}]
    assert (by_product["c"]["tier"], by_product["e"]["standing"]) == ("A", "suspended")

    order(shop, ("cheap", "b"))  # the seller himself answers for it
    assert [one["product"] for one in comparison(shop, "G019") if one["sells"]] == ["b", "c", "f", "a"]


TOP_UP: dict[str, Any] = {
    "delivers": "topup",
    "fields": [{"name": "qq", "label": "QQ", "options": []}],
    "fills": {"qq": "qq"},
}


def order(shop: Shop, *keys: tuple[str, str]) -> Answer:
    body = {"offers": [{"supplier": supplier, "product": product} for supplier, product in keys]}
    return shop.call("PUT", "/console/skus/G019/offers/order", body, groups="operator")


def test_the_sellers_own_order_comes_before_the_price_and_is_set_by_one_call(shop: Shop, acme: Acme) -> None:
    set_up("fair", kind="fulu", synced_at=clock.iso(clock.now()))
    for product, cost in (("a", 1), ("b", 2), ("c", 3)):
        store("fair", product, cost)

    answer = order(shop, ("fair", "c"), ("fair", "b"))
    assert [(one["product"], one["pinned"]) for one in answer.body["offers"]] == [("c", 1), ("b", 2), ("a", None)]
    assert [one["product"] for one in comparison(shop, "G019")] == ["c", "b", "a"]
    order(shop, ("fair", "b"))
    assert [one["product"] for one in comparison(shop, "G019")] == ["b", "a", "c"]
    order(shop)
    assert [(one["product"], one["pinned"]) for one in comparison(shop, "G019")] == [
        *(("a", None), ("b", None), ("c", None)),
    ]

    store("fair", "x", 1, sku="G020")
    assert refused(order(shop, ("fair", "x"), ("fair", "a"))) == [("offers.0", "not_of_this_sku")]
    assert refused(order(shop, ("fair", "a"), ("fair", "a"))) == [("offers.1", "twice")]
    assert [one["pinned"] for one in comparison(shop, "G019")] == [None, None, None]


def test_an_offer_that_is_unmapped_loses_its_place(shop: Shop, acme: Acme) -> None:
    acme.sync()
    product = acme.id_of("Steam")
    map_to(shop, product, "G019")
    order(shop, ("acme", product))
    unmap(shop, product, "G019")
    map_to(shop, product, "G019")
    assert [one["pinned"] for one in comparison(shop, "G019")] == [None]


def send_list(shop: Shop, content: bytes, supplier: str = "paper") -> Answer:
    body = {"content": base64.b64encode(content).decode()}
    return shop.call("POST", f"/console/suppliers/{supplier}/pricelist", body, groups="operator")


def test_a_price_list_that_is_sent_is_the_whole_of_what_a_supplier_sells(shop: Shop, acme: Acme) -> None:
    set_up("paper")
    content = (ROOT / "tests/data/supplier_a_pricelist.csv").read_bytes()
    taken = send_list(shop, content)
    assert (taken.status, taken.body["new"], taken.body["refused_count"]) == (200, 56, 0)
    assert not accounts.head_of("paper").stopped
    sure = [one for one in shown(shop, "paper") if one["suggestions"] and one["suggestions"][0]["sure"]]
    assert len(sure) > 40

    # A list does not say that this is a top-up, nor for whom: whoever buys it by hand must be told.
    coins = next(one["product"] for one in shown(shop, "paper") if one["title"] == "Q币 10个")
    mapped = map_to(shop, coins, "G022", supplier="paper").body
    assert (mapped["delivers"], [one["name"] for one in mapped["fields"]], mapped["fills"]) == (
        *("topup", ["qq"], {"qq": "qq"}),
    )
    send_list(shop, content.replace(b",9.557,", b",9.558,"))
    assert (Offer.get("paper", coins).delivers, Offer.get("paper", coins).cost_e6) == ("topup", 9_558_000)

    lines = content.split(b"\r\n") if b"\r\n" in content else content.split(b"\n")
    fewer = b"\n".join([*lines[:11], "A9999,坏,,不是价格,1,在售".encode("gb18030")])
    again = send_list(shop, fewer)
    assert (again.body["products"], again.body["gone"]) == (10, 46)
    assert [(row["line"], row["reason"]) for row in again.body["refused"]] == [(12, "bad_price")]
    assert sum(bool(one.on_sale) for one in Offer.query("paper")) < 11


def test_a_file_of_which_nothing_can_be_read_changes_nothing(shop: Shop, acme: Acme) -> None:
    set_up("paper")
    assert refused(send_list(shop, b"nothing,of,this\n")) == [("file", "bad_header")]
    assert refused(send_list(shop, b"\xff\xfe\x00")) == [("file", "bad_encoding")]
    assert refused(send_list(shop, b"x", "acme")) == [("supplier", "not_listed_by_file")]
    answer = shop.call("POST", "/console/suppliers/paper/sync", groups="operator")
    assert refused(answer) == [("supplier", "listed_by_file")]
    assert accounts.head_of("paper").synced_at is None


def test_what_keeps_a_supplier_from_being_read_is_said_to_whoever_asks(shop: Shop, acme: Acme) -> None:
    Dujiao.misbehave(acme.url, "products", "before_500")
    silent = shop.call("POST", "/console/suppliers/acme/sync", groups="operator")
    assert (silent.status, silent.body["code"], silent.body["retryable"]) == (503, "supplier_silent", True)
    Dujiao.misbehave(acme.url, "products", "refuse_address")
    refusing = shop.call("POST", "/console/suppliers/acme/sync", groups="operator")
    assert (refusing.status, refusing.body["reason"]) == (422, "not_allowed")
    assert shop.call("POST", "/console/suppliers/nobody/sync", groups="operator").status == 404
