"""What came of purchases moves a supplier's tier, once, with its reason; routing obeys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pynamodb.expressions.update import Action

from shared.catalog import records as catalog
from shared.kernel import clock, ids
from shared.kernel.records import Lost, Transaction
from shared.staff import records as staff
from shared.steps import supplier_scores, supply
from shared.suppliers import accounts, purchases, scores
from shared.suppliers.accounts import Head
from shared.suppliers.admission import Standing, same
from shared.suppliers.attempts import AttemptState
from shared.suppliers.offers import Offer
from shared.suppliers.routing import Decision, Wanted
from shared.suppliers.scoring import Because, Record, Tier
from shared.suppliers.supplier import Reason
from tests.counted import counted
from tests.shop import CONTEXT, Shop, handler

SKU, OTHER_SKU = "G020", "V001"
NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)


def supplier(code: str, cost_e6: int = 91_000_000) -> str:
    """Somebody who may sell the SKU, and does."""
    brands = {same(sku.brand): "9999-12-31" for sku in catalog.skus([SKU, OTHER_SKU]).values()}
    synced = clock.iso(NOW)
    Head(code, name=code, kind="dujiao", terms={}, standing=Standing.APPROVED, brands=brands, synced_at=synced).save()
    Offer(
        code, "1", title="Steam", delivers="cards", cost_e6=cost_e6, stock=50, on_sale=True, sku=SKU, changed_at=synced
    ).save()
    return code


def bought(
    code: str,
    count: int = 1,
    ago: timedelta = timedelta(hours=1),
    state: AttemptState = AttemptState.DELIVERED,
    reason: Reason = Reason.NONE,
    sku: str = SKU,
    cards: int = 1,
    took: timedelta = timedelta(seconds=3),
    **also: object,
) -> None:
    """Attempts that ended so long before NOW, three seconds after they were sent."""
    for number in range(count):
        ended = NOW - ago + timedelta(milliseconds=number)
        sent = ended - took
        order_id = ids.new("ord", NOW)
        made = purchases.new(
            order_id, "1", 1, state, sku, "cards", cards, 97_000_000, ended, sent, supplier=code, product="1", **also
        )
        made.reason, made.delivered = reason, cards * (state is AttemptState.DELIVERED)
        made.sent_at, made.ended_at, made.due, made.due_at = clock.iso(sent), clock.iso(ended), None, None
        made.save()


def family(sku: str = SKU) -> str:
    return catalog.skus([sku])[sku].category


def kept(code: str, sku: str = SKU) -> scores.Kept:
    return scores.of(code)[family(sku)]


def tier(code: str) -> str:
    return str(accounts.head_of(code).tier)


def tasks() -> list[tuple[str, str]]:
    return [(str(task.kind), str(task.about)) for task in staff.open_tasks(50)]


def test_what_ended_is_counted_once_however_often_it_is_looked_at(shop: Shop) -> None:
    one = supplier("one")
    bought(one, 5)
    bought(one, 2, state=AttemptState.FAILED, reason=Reason.OFF_SHELF)
    bought(one, 1, ago=timedelta(seconds=30))  # just ended: the index may not show all that did
    supplier_scores.work(NOW)
    supplier_scores.work(NOW + timedelta(minutes=1))
    assert kept(one).seen.deliveries.over() == (7, 2)

    supplier_scores.work(NOW + timedelta(hours=1))
    assert kept(one).seen.deliveries.over() == (8, 2)
    assert tier(one) == "B"
    assert [change["en"] for change in kept(one).changes] == [kept(one).changes[0]["en"]]
    assert kept(one).changes[0]["en"].startswith("A new supplier begins in tier B")


@pytest.mark.parametrize(
    ("state", "reason", "seen"),
    [
        (AttemptState.REVERSED, Reason.REVERSED, (0, 1)),
        (AttemptState.DELIVERED, Reason.NONE, (1, 0)),
        (AttemptState.FAILED, Reason.OTHER, (1, 1)),
    ],
)
def test_what_ends_weeks_after_it_began_is_counted_too(
    shop: Shop, state: AttemptState, reason: Reason, seen: tuple[int, int]
) -> None:
    one = supplier("one")
    bought(one)
    supplier_scores.work(NOW - timedelta(minutes=30))
    bought(one, ago=timedelta(minutes=20), state=state, reason=reason, took=timedelta(days=20))
    supplier_scores.work(NOW)

    record = kept(one).seen
    orders, failed = record.deliveries.over()
    assert (orders - 1, failed + record.voids.ring.over().bad) == seen


def test_how_long_a_person_took_to_buy_says_nothing_of_a_supplier(shop: Shop) -> None:
    one = supplier("one")
    bought(one, 40, took=timedelta(hours=2), settled_by="ann")
    supplier_scores.work(NOW)
    assert (tier(one), kept(one).now.factors.latency) == ("B", 0.8)
    assert kept(one).seen.deliveries.over() == (40, 0)


def test_more_than_one_run_looks_at_is_counted_once_by_the_next_runs(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supplier_scores, "ATTEMPTS_MAX", 4)
    one = supplier("one")
    bought(one, 6)
    for hour in range(3):
        supplier_scores.work(NOW + timedelta(hours=hour))
    bought(one, 3, sku=OTHER_SKU, ago=timedelta(minutes=50))
    supplier_scores.went_bad(one, family(OTHER_SKU), 1, NOW)  # in which all is looked at from the beginning
    for hour in range(3, 8):
        supplier_scores.work(NOW + timedelta(hours=hour))
    assert [kept(one, sku).seen.deliveries.over() for sku in (SKU, OTHER_SKU)] == [(6, 0), (3, 0)]


def test_void_cards_open_a_case_and_more_of_them_end_purchases_and_a_person_lifts_it(shop: Shop) -> None:
    one = supplier("one")
    bought(one, 15, cards=20)
    supplier_scores.work(NOW)
    supplier_scores.went_bad(one, family(), 3, NOW)
    assert (tier(one), kept(one).now.because) == ("C", Because.CASE)
    assert tasks() == [(supplier_scores.TIER_FELL, one)]

    supplier_scores.went_bad(one, family(), 2, NOW)
    assert (tier(one), kept(one).now.because) == ("D", Because.VOIDS)
    assert left_out() == {one: "tier"}

    supplier_scores.cleared(one, family(), NOW)
    assert (tier(one), kept(one).now.because) == ("C", Because.POINTS)  # five voids of three hundred stay in his score
    assert left_out() == {}
    assert "this is over" in kept(one).changes[0]["en"]
    assert [(change["from"], change["to"]) for change in kept(one).changes] == [
        ("D", "C"),
        ("C", "D"),
        ("B", "C"),
        (None, "B"),
    ]
    assert all(change["zh"] and change["en"] for change in kept(one).changes)


def test_an_issuers_notice_stops_a_supplier_at_once_also_one_without_a_history(shop: Shop) -> None:
    one = supplier("one")
    supplier_scores.issuer_told(one, family(), NOW)
    assert (tier(one), left_out()) == ("D", {one: "tier"})

    supplier_scores.work(NOW + timedelta(hours=1))
    assert tier(one) == "D"


def test_who_is_far_cheaper_than_all_others_is_capped(shop: Shop) -> None:
    for code in ("one", "two", "three"):
        bought(supplier(code, 91_000_000), 3)
    bought(supplier("thief", 60_000_000), 3)
    supplier_scores.work(NOW)

    assert {code: tier(code) for code in ("one", "two", "three", "thief")} == {
        "one": "B",
        "two": "B",
        "three": "B",
        "thief": "C",
    }
    assert kept("thief").now.because is Because.CHEAP
    for code in ("one", "two", "three", "thief"):
        Head(code).update([Head.synced_at.set(clock.iso(NOW + timedelta(hours=1)))])
    supplier_scores.work(NOW + timedelta(hours=1))  # bought of him is nothing any more: he stays what he is
    assert tier("thief") == "C"


@pytest.mark.parametrize(
    "no_measure",
    [
        Head.standing.set(Standing.APPLIED),
        Head.standing.set(Standing.SUSPENDED),
        Head.synced_at.set("2026-09-01T00:00:00.000Z"),
    ],
    ids=["unadmitted", "suspended", "old"],
)
def test_an_honest_price_is_not_odd_beside_those_by_which_nobody_goes(shop: Shop, no_measure: Action) -> None:
    honest = supplier("honest", 91_000_000)
    bought(honest, 3)
    for number in range(3):
        high = supplier(f"high-{number}", 120_000_000 + number)
        Head(high).update([no_measure])
    supplier_scores.work(NOW)

    assert (tier(honest), kept(honest).now.because) == ("B", Because.POINTS)
    assert honest not in left_out()


def test_a_supplier_stands_where_his_worst_family_does(shop: Shop) -> None:
    one = supplier("one")
    bought(one, 5)
    bought(one, 5, sku=OTHER_SKU)
    supplier_scores.work(NOW)
    supplier_scores.issuer_told(one, family(OTHER_SKU), NOW)

    assert tier(one) == "D"
    assert left_out() == {}  # in this family he is still trusted
    offered = shop.call("GET", f"/console/skus/{SKU}/offers", groups="auditor").body["offers"]
    assert [one["tier"] for one in offered] == ["B"]
    supplier_scores.cleared(one, family(OTHER_SKU), NOW)
    assert tier(one) == "B"


def test_each_hour_the_schedule_scores_and_routing_follows_what_is_known_of_a_family(shop: Shop) -> None:
    quick, sick = supplier("quick", 91_000_000), supplier("sick", 90_900_000)
    bought(quick, 150)
    bought(sick, 150)
    bought(sick, 50, state=AttemptState.FAILED, reason=Reason.OFF_SHELF)
    assert first() == sick  # nothing is known of them, and he is cheaper

    handler("supplier_scores")({"time": clock.iso(NOW)}, CONTEXT)
    assert first() == quick
    known = {code: accounts.head_of(code).trust_in(family()) for code in (quick, sick)}
    assert [bool(one and one.chance > 0.97 and one.seconds < 5) for one in known.values()] == [True, False]
    assert [bool(one and 0.7 < one.chance < 0.85) for one in known.values()] == [False, True]


def test_looking_at_the_market_takes_two_batches_beside_the_offers(shop: Shop) -> None:
    for code in ("one", "two", "three"):
        bought(supplier(code), 3)
    supplier_scores.work(NOW)

    sku = catalog.skus([SKU])[SKU]
    with counted() as calls:
        supply.look(sku, Wanted(1, 97_000_000), NOW)
    assert calls == {"Query": 1, "BatchGetItem": 2}


def test_staff_see_each_score_with_its_reasons_and_who_may_let_suppliers_in_clears_a_case(shop: Shop) -> None:
    one = supplier("one")
    bought(one, 15, cards=20)
    supplier_scores.work(NOW)
    supplier_scores.issuer_told(one, family(), NOW)

    seen = shop.call("GET", f"/console/suppliers/{one}/scores", groups="auditor").body
    assert (seen["tier"], [each["family"] for each in seen["families"]]) == ("D", [family()])
    [score] = seen["families"]
    assert (score["because"], score["since"], score["noticed_at"]) == ("void_notice", clock.iso(NOW), clock.iso(NOW))
    assert [(change["before"], change["tier"]) for change in score["changes"]] == [("B", "D"), (None, "B")]
    assert "作废" in score["changes"][0]["zh"]
    assert "void" in score["changes"][0]["en"]
    assert set(score["factors"]) == {"delivery", "voids", "latency", "price", "operations"}
    assert 50 < score["points"] < 100

    refused = shop.call("POST", f"/console/suppliers/{one}/scores/clear", {"family": "no such"}, groups="finance")
    assert refused.status == 404
    clear = shop.call("POST", f"/console/suppliers/{one}/scores/clear", {"family": family()}, groups="finance")
    assert (clear.body["tier"], tasks(), left_out()) == ("B", [], {})
    assert shop.call("GET", "/console/suppliers/nobody/scores", groups="auditor").status == 404


def test_two_who_score_at_once_do_not_overwrite_each_other(shop: Shop) -> None:
    one = supplier("one")
    bought(one)
    supplier_scores.work(NOW)
    before = kept(one)
    supplier_scores.went_bad(one, family(), 1, NOW)

    with pytest.raises(Lost), Transaction() as tx:
        scores.keep(tx, one, family(), before, Record(), before.now, None, NOW, NOW)
    assert kept(one).seen.voids.ring.over().bad == 1
    assert Tier(tier(one)) is Tier.B


def look() -> Decision:
    return supply.look(catalog.skus([SKU])[SKU], Wanted(1, 97_000_000), NOW).decision


def left_out() -> dict[str, str]:
    return {supplier: str(why) for supplier, _, why in look().left_out}


def first() -> str:
    return look().choices[0].supplier
