"""Who may sell to us: which papers hold until when, who is warned of what, and how a supplier is let in."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.suppliers import kinds
from shared.suppliers.accounts import Head
from shared.suppliers.admission import ENDLESS, MOVES, Dossier, Paper, Shown, Standing, same, warning
from shared.suppliers.supplier import Repeat, Traits

TODAY = date(2026, 11, 23)
COMPANY = "杭州好卡科技有限公司"
NEEDED = (Paper.LICENCE, Paper.TAX, Paper.BANK, Paper.CONTRACT)
DAYS = st.integers(-400, 400).map(lambda days: TODAY + timedelta(days=days))


def paper(kind: Paper, until: date = ENDLESS, to: str = COMPANY, number: int = 0) -> Shown:
    return Shown(f"{kind}-{number}", kind, to, until)


def link(by: str, to: str, until: date = ENDLESS, *, owner: bool = False, brand: str = "王者荣耀") -> Shown:
    return Shown(f"{by}>{to}", Paper.AUTHORISATION, to, until, brand, by, owner)


def dossier(*more: Shown, deposit: bool = False, without: Paper | None = None) -> Dossier:
    return Dossier(COMPANY, deposit, [*(paper(kind) for kind in NEEDED if kind != without), *more])


def approved(**more: object) -> Head:
    return Head("acme", name="Acme", kind="pricelist", terms={}, standing=Standing.APPROVED, **more)


# --- papers ---


@pytest.mark.parametrize("kind", NEEDED)
def test_each_needed_paper_is_missed_and_nothing_is_bought_without_it(kind: Paper) -> None:
    assert dossier().missing(TODAY) == []
    incomplete = dossier(without=kind)
    assert incomplete.missing(TODAY) == [kind]
    assert not approved(documents_until=incomplete.until(TODAY).isoformat()).may_buy(TODAY.isoformat())


def test_a_receipt_is_needed_where_he_has_to_leave_a_deposit() -> None:
    assert dossier(deposit=True).missing(TODAY) == [Paper.DEPOSIT]
    assert dossier(paper(Paper.DEPOSIT), deposit=True).missing(TODAY) == []


def test_a_paper_in_another_name_proves_nothing_and_one_in_another_width_does() -> None:
    others = dossier(paper(Paper.BANK, to="王小明"), without=Paper.BANK)
    assert others.missing(TODAY) == [Paper.BANK]
    assert dossier(paper(Paper.BANK, to=f" {COMPANY} "), without=Paper.BANK).missing(TODAY) == []
    assert same("ＡＣＭＥ  Ltd") == same("acme ltd")


@given(st.lists(DAYS, min_size=4, max_size=4), DAYS)
def test_nothing_is_bought_after_the_last_day_of_any_needed_paper(ends: list[date], day: date) -> None:
    shown = [paper(kind, until) for kind, until in zip(NEEDED, ends, strict=True)]
    head = approved(documents_until=Dossier(COMPANY, False, shown).until(TODAY).isoformat())

    assert head.may_buy(day.isoformat()) == all(day < until for until in ends)


@given(st.lists(DAYS, min_size=1, max_size=6))
def test_of_several_papers_of_a_kind_the_one_that_holds_longest_decides(ends: list[date]) -> None:
    shown = [paper(Paper.LICENCE, until, number=n) for n, until in enumerate(ends)]
    found = dossier(*shown, without=Paper.LICENCE)

    assert found.until(TODAY) == max(ends)
    assert (Paper.LICENCE in found.missing(TODAY)) == (max(ends) <= TODAY)


# --- brands ---


def test_a_brand_needs_a_whole_chain_from_its_owner_down_to_him() -> None:
    owner, middle = link("腾讯", "总代", owner=True), link("总代", COMPANY)
    assert dossier(owner).brands() == {}
    assert dossier(middle).brands() == {}
    assert dossier(owner, middle).brands() == {same("王者荣耀"): ENDLESS}
    assert dossier(owner, link("总代", COMPANY, brand="和平精英")).brands() == {}
    assert dossier(replace(owner, from_owner=False), middle).brands() == {}
    assert dossier(link("总代", COMPANY), link(COMPANY, "总代")).brands() == {}, "two who authorise each other"


def test_a_chain_holds_as_long_as_its_weakest_link_and_the_best_chain_counts() -> None:
    soon, later, late = (TODAY + timedelta(days=days) for days in (10, 20, 300))
    short = link("腾讯", COMPANY, soon, owner=True)
    long = [link("腾讯", "总代", late, owner=True), link("总代", COMPANY, later)]
    assert dossier(short).brands() == {"王者荣耀": soon}
    assert dossier(*long).brands() == {"王者荣耀": later}
    assert dossier(short, *long).brands() == {"王者荣耀": later}
    assert dossier(short, *long).weakest("王者荣耀") == long[1]


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd"), DAYS, st.booleans()), max_size=7))
def test_what_a_chain_is_worth_is_what_trying_all_ways_finds(drawn: list[tuple[str, str, date, bool]]) -> None:
    links = [
        replace(link(by, COMPANY if to == "d" else to, until, owner=owner), document_id=str(n))
        for n, (by, to, until, owner) in enumerate(drawn)
    ]

    def ways(names: tuple[str, ...], holds: date) -> list[date]:
        found = []
        for one in links:
            if one.issued_to == names[-1]:
                if one.from_owner:
                    found.append(min(holds, one.until))
                if one.issued_by not in names:
                    found += ways((*names, one.issued_by), min(holds, one.until))
        return found

    best = max(ways((COMPANY,), ENDLESS), default=None)
    assert dossier(*links).brands() == ({} if best is None else {"王者荣耀": best})


def test_a_brand_that_is_over_stops_that_brand_and_no_other() -> None:
    until = TODAY + timedelta(days=1)
    head = approved(documents_until=ENDLESS.isoformat(), brands={"qq": until.isoformat(), "steam": ENDLESS.isoformat()})
    today, tomorrow = TODAY.isoformat(), until.isoformat()
    assert [head.may_supply(brand, today) for brand in ("ＱＱ", "Steam", "Netflix")] == [True, True, False]
    assert [head.may_supply(brand, tomorrow) for brand in ("QQ", "Steam")] == [False, True]
    assert approved(documents_until=ENDLESS.isoformat()).may_supply("QQ", today) is False


@pytest.mark.parametrize(
    "closed", [{"stopped": "not_allowed"}, {"paused_by": "ann"}, {"documents_until": "2026-11-23"}]
)
def test_a_brand_is_worth_nothing_with_a_supplier_to_whom_nothing_goes(closed: dict[str, str]) -> None:
    brands = {"qq": ENDLESS.isoformat()}
    assert approved(brands=brands).may_supply("QQ", TODAY.isoformat())
    assert not approved(brands=brands, **closed).may_supply("QQ", TODAY.isoformat())


# --- warnings ---


def told_on(until: date, looks: list[date]) -> list[tuple[int, date]]:
    """What is told on which of the days on which somebody looks."""
    told: int | None = None
    said = []
    for day in looks:
        days = warning(until, told, day)
        if days is not None:
            told = days
            said.append((days, day))
    return said


@given(DAYS)
def test_who_looks_each_day_is_told_once_thirty_days_before_once_seven_and_once_on_the_day(until: date) -> None:
    looks = [until + timedelta(days=days) for days in range(-60, 20)]

    assert told_on(until, looks) == [(days, until - timedelta(days=days)) for days in (30, 7, 0)]


@given(DAYS, st.lists(st.integers(-60, 20), min_size=1).map(sorted))
def test_whatever_days_go_by_without_a_look_nothing_is_told_twice_or_too_early_or_never(
    until: date, offsets: list[int]
) -> None:
    looks = [until + timedelta(days=days) for days in offsets]

    said = told_on(until, looks)
    assert all(before > after for (before, _), (after, _) in pairwise(said))
    assert all((until - day).days <= days for days, day in said)
    reached = [days for days in (30, 7, 0) if (until - looks[-1]).days <= days]
    assert [days for days, _ in said][-1:] == reached[-1:]


def test_only_what_decides_is_told_of() -> None:
    old, new = paper(Paper.LICENCE, TODAY, number=1), paper(Paper.LICENCE, TODAY + timedelta(days=365), number=2)
    weak, strong = link("腾讯", COMPANY, TODAY, owner=True), link("腾讯", COMPANY, owner=True, brand="QQ")
    deciding = dossier(old, new, weak, strong, without=Paper.LICENCE).deciding()
    assert {new, weak, strong} <= set(deciding)
    assert old not in deciding
    assert warning(ENDLESS, None, TODAY) is None


# --- moves ---


def test_nobody_gets_in_without_a_review_before() -> None:
    assert [old for old, new in MOVES.items() if Standing.APPROVED in new] == [Standing.REVIEWED]
    assert Standing.REVIEWED in MOVES[Standing.SUSPENDED]
    assert set(MOVES) == set(Standing)
    assert all(Standing.APPLIED in MOVES[old] for old in Standing if old is not Standing.APPLIED)


# --- kinds ---


def test_a_trait_is_overridden_only_by_a_value_that_it_can_have() -> None:
    said = {
        "trait.repeat": "replays",
        "trait.asks_by_ours": "true",
        "trait.rate": "2.5",
        "trait.slots": "1",
        "site": "x",
    }
    assert kinds.wrong_traits(said) == []
    known = kinds.traits(Traits(ceiling=True), said)
    assert known == Traits(Repeat.REPLAYS, asks_by_ours=True, ceiling=True, rate=2.5, slots=1)
    for name, text in (("repeat", "yes"), ("asks_by_ours", "1"), ("rate", "nan"), ("rate", "0"), ("slots", "-1")):
        assert kinds.wrong_traits({f"trait.{name}": text}) == [(f"trait.{name}", "not_a_value")]
        assert kinds.traits(Traits(), {f"trait.{name}": text}) == Traits(), "the answer that is safe stays"
    assert kinds.wrong_traits({"trait.luck": "true"}) == [("trait.luck", "unknown")]
