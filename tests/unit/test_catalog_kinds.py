"""What a kind asks of a buyer, and which answers it takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.catalog.kinds import ANSWER_MAX, FIELDS_MAX, KINDS, OPEN, Field, Fulfilment, account_fields, check_account
from shared.catalog.sku import Sku
from shared.kernel.errors import InvalidRequest
from shared.kernel.money import Money

GAME = account_fields("qq:QQ号,region:大区=安卓QQ|安卓微信")


def a_sku(**said: object) -> Sku:
    return Sku(
        **{
            "sku": "A1",
            "category": "视频会员",
            "brand": "腾讯视频",
            "name": "腾讯视频VIP",
            "spec": "月卡",
            "kind": "card",
            "face_minor": 3000,
            "price_minor": 2500,
            "cost_e6": 19_800_000,
            "account": "",
            "validity_days": 90,
            "limit_per_order": None,
            "tags": (),
            **said,
        }  # type: ignore[arg-type]
    )


def reasons(refusal: pytest.ExceptionInfo[InvalidRequest]) -> dict[str, str]:
    return {one["field"]: one["reason"] for one in refusal.value.facts["fields"]}  # type: ignore[attr-defined]


def test_what_a_person_delivers_or_books_is_not_on_sale_in_this_release() -> None:
    assert {kind for kind in KINDS if a_sku(kind=kind).on_sale} == {"card", "issued", "topup", "link"}
    assert {Fulfilment.STOCK, Fulfilment.ISSUE, Fulfilment.PURCHASE} == OPEN


def test_each_kind_rests_on_one_of_the_five_fulfilments() -> None:
    assert {kind: str(fulfilment) for kind, fulfilment in KINDS.items()} == {
        "card": "stock",
        "issued": "issue",
        "topup": "purchase",
        "link": "purchase",
        "manual": "task",
        "booking": "slot",
    }


def test_account_fields_are_read_as_the_file_writes_them() -> None:
    assert account_fields("qq:QQ号, region:大区=安卓QQ|安卓微信") == (
        Field("qq", "QQ号"),
        Field("region", "大区", ("安卓QQ", "安卓微信")),
    )
    assert account_fields("  ") == ()


@pytest.mark.parametrize(
    "text",
    [
        "QQ号",
        "qq:",
        "qq",
        ":QQ号",
        "QQ:QQ号",
        "qq:QQ号,",
        "qq:QQ号,qq:又一个",
        "region:大区=",
        "region:大区=甲||乙",
        "region:大区=甲|甲",
        ",".join(f"f{n}:字段" for n in range(FIELDS_MAX + 1)),
    ],
)
def test_account_fields_of_another_form_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"account field|too many fields"):
        account_fields(text)


def test_an_account_comes_back_clean_and_in_the_order_of_its_fields() -> None:
    assert check_account(GAME, {"region": " 安卓QQ", "qq": "１２３４５６"}) == {"qq": "123456", "region": "安卓QQ"}
    assert list(check_account(GAME, {"region": "安卓QQ", "qq": "123456"})) == ["qq", "region"]


def test_every_field_that_does_not_fit_is_named_with_its_reason() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        check_account(GAME, {"region": "苹果", "phone": "13800138000"})

    assert reasons(refusal) == {
        "account.qq": "missing",
        "account.region": "not_an_option",
        "account.phone": "not_asked",
    }


def test_however_much_is_sent_the_refusal_stays_small() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        check_account(GAME, {f"{n}{'x' * 10_000}": "1" for n in range(1000)})

    assert len(repr(refusal.value.facts)) < 1000


def test_a_refusal_never_repeats_what_was_typed() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        check_account(GAME, {"qq": "secret-account", "region": "安卓QQ"})

    assert "secret" not in repr(refusal.value.facts)


@pytest.mark.parametrize(
    ("field", "good", "bad", "reason"),
    [
        ("phone", "13800138000", "12ab", "bad_phone"),
        ("qq", "10001", "01234", "bad_qq"),
        ("uid", "100200300", "10 20", "bad_uid"),
        ("email", "a@b.cn", "a@b", "bad_email"),
        ("date", "2026-02-28", "2026-02-30", "bad_date"),
        ("date", "2026-02-28", "20260228", "bad_date"),
        ("address", "人民路1号", "人\u202e民路", "bad_character"),
        ("name", "王".ljust(ANSWER_MAX, "一"), "王".ljust(ANSWER_MAX + 1, "一"), "too_long"),
    ],
)
def test_answers_have_the_form_that_their_field_asks_for(field: str, good: str, bad: str, reason: str) -> None:
    fields = (Field(field, "标签"),)
    assert check_account(fields, {field: good}) == {field: good}

    with pytest.raises(InvalidRequest) as refusal:
        check_account(fields, {field: bad})

    assert reasons(refusal) == {f"account.{field}": reason}


@given(
    st.dictionaries(
        st.sampled_from(["qq", "region"]) | st.text(max_size=30),
        st.sampled_from(["安卓QQ", " 安卓微信 ", "１０００１"]) | st.text(max_size=200),
        max_size=4,
    )
)
def test_an_account_is_clean_for_good_or_refused_by_name(account: dict[str, str]) -> None:
    try:
        clean = check_account(GAME, account)
    except InvalidRequest as refusal:
        named = refusal.facts["fields"]
    else:
        named = None
        assert check_account(GAME, clean) == clean
    assert named != []


def test_a_product_keeps_its_id_whatever_its_skus_cost() -> None:
    month, year = a_sku(spec="月卡", price_minor=2500), a_sku(sku="A2", spec="年卡", price_minor=18800)

    assert month.product_id == year.product_id == "prd_f74245337a0abc84ac09"
    assert a_sku(brand="别家").product_id != month.product_id
    assert a_sku(name="别的").product_id != month.product_id


def test_a_sku_tells_its_title_and_its_money() -> None:
    assert a_sku().title == "腾讯视频VIP 月卡"
    assert a_sku(spec="").title == "腾讯视频VIP"
    assert a_sku().price == Money(2500)
    assert a_sku().face == Money(3000)
    assert a_sku(face_minor=None).face is None


def test_a_limited_edition_says_how_many_there_will_ever_be() -> None:
    assert a_sku(spec="限量1000").quota == 1000
    assert a_sku(spec="1000").quota is None
