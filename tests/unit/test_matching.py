"""Suggestions for a supplier's products, measured on four price lists; what is sure is never wrong."""

from __future__ import annotations

import csv
import io
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from shared.suppliers import matching, price_files
from shared.suppliers.matching import Index, Ours, Suggestion
from shared.suppliers.supplier import Delivers

ROOT = Path(__file__).parents[2]
DELIVERS = {"card": Delivers.CARDS, "topup": Delivers.TOPUP}


class Row(NamedTuple):
    """A product of a price list, and the SKU that it was made from."""

    supplier: str
    title: str
    sku: str


@cache
def ours() -> tuple[Ours, ...]:
    text = (ROOT / "infra/local/sample/catalogue.csv").read_text("utf-8-sig")
    return tuple(
        Ours(row["SKU编码"], row["品牌"], row["商品名称"], row["规格"], DELIVERS.get(row["发货方式"]))
        for row in csv.DictReader(io.StringIO(text))
    )


@cache
def index() -> Index:
    return Index(ours())


@cache
def rows() -> tuple[Row, ...]:
    """Three of the lists count in the catalogue's own order, without what no supplier sells; the fourth has names."""
    sold = [one for one in ours() if one.delivers]
    found = []
    for supplier, first in (("a", 1000), ("b", 20000), ("c", 0), ("d", None)):
        content = (ROOT / f"tests/data/supplier_{supplier}_pricelist.csv").read_bytes()
        for product in price_files.read(content).products:
            if first is None:
                (sku,) = [one for one in sold if bare(one.name + one.spec) == bare(product.title)]
            else:
                sku = sold[int(product.product.lstrip("AC-")) - first]
            assert bare(sku.name + sku.spec) in bare(product.title)  # the number is no accident
            found.append(Row(supplier, product.title, sku.sku))
    return tuple(found)


def bare(text: str) -> str:
    return "".join(letter for letter in text if letter.isalnum())


def first(title: str, delivers: Delivers | None = None) -> Suggestion | None:
    return next(iter(index().suggest(title, delivers)), None)


def test_the_first_suggestion_is_right_wherever_the_title_says_enough_and_the_sure_one_always() -> None:
    wrong, sure, sure_wrong = [], 0, []
    for row in rows():
        suggestion = first(row.title)
        assert suggestion, row
        if suggestion.sku != row.sku:
            wrong.append(row)
        if suggestion.sure:
            sure += 1
            sure_wrong += [row] if suggestion.sku != row.sku else []

    print(f"{len(rows())} rows, {len(rows()) - len(wrong)} right first, {sure} sure, {len(sure_wrong)} of them wrong")
    assert sure_wrong == []
    # Phone credit, and the carrier is not said: nobody could know.
    assert {row.title.replace(" ", "") for row in wrong} == {"话费充值50元", "话费充值100元"}
    assert len(rows()) == 157
    assert len(wrong) == 5
    assert sure >= 125


def test_a_title_that_could_be_three_carriers_shows_all_three_and_is_sure_of_none() -> None:
    found = index().suggest("话费充值 50元")

    assert {one.sku for one in found} == {"T033", "T035", "T037"}
    assert not any(one.sure for one in found)


@pytest.mark.parametrize(
    ("title", "delivers", "sku"),
    [
        ("【官方直充】腾讯视频VIP会员1个月", None, "V005"),
        ("腾讯视频VIP 三个月 季卡 CDK", None, "V002"),
        ("腾讯视频VIP月卡", Delivers.TOPUP, "V005"),
        ("腾讯视频VIP月卡", Delivers.CARDS, "V001"),
        ("爱奇艺黄金VIP会员 30天 卡密 自动发货", None, "V006"),
        ("iQIYI 黄金会员 12个月", None, "V008"),
        ("B站大会员 年度 直充", None, "V012"),
        ("网易云黑胶VIP 年", None, "M015"),
        ("steam 钱包充值卡 50 RMB", None, "G019"),
        ("QB 10个", None, "G022"),
        ("中国联通话费充值 50元", None, "T035"),
        ("谷歌 Google Play 礼品卡 美国 10美金", None, "C058"),
        ("百度网盘SVIP 超级会员 12个月", None, "S052"),
        ("苹果 App Store 充值卡 ¥500", None, "C054"),
        ("爱奇艺黄金会员 1年", None, "V008"),
        ("爱奇艺 黄金会员 12月", None, "V008"),
        ("爱奇艺黄金会员 一年卡", None, "V008"),
    ],
)
def test_the_same_thing_in_other_words_is_sure(title: str, delivers: Delivers | None, sku: str) -> None:
    suggestion = first(title, delivers)

    assert suggestion
    assert (suggestion.sku, suggestion.sure) == (sku, True)


@pytest.mark.parametrize(
    "title",
    [
        "爱奇艺白金会员 月卡",
        "网易云音乐黑胶SVIP 月卡",
        "QQ音乐绿钻 月卡",
        "WPS会员 月卡",
        "麦当劳 代金券 20元",
        "移动话费 50元 慢充",
        "蒸汽平台 Steam 钱包充值码 100元 土区",
        "Microsoft 365 家庭版 12个月",
        "原神 创世结晶 300",
        "代金券 20元",
        "腾讯视频VIP",
    ],
)
def test_something_like_it_is_never_sure(title: str) -> None:
    assert not any(one.sure for one in index().suggest(title))


@pytest.mark.parametrize(
    ("title", "not_this"),
    [
        ("腾讯视频VIP 季卡", "V001"),
        ("爱奇艺黄金会员 周卡", "V006"),
        ("Steam钱包充值卡 100元", "G019"),
        ("Steam钱包充值卡 50美元", "G019"),
        ("腾讯视频VIP直充 月卡", "V001"),
        ("腾讯视频VIP 月 卡密", "V005"),
        ("eShop预付卡 日服200HKD", "G030"),
        ("中国联通 话费充值 50元", "T033"),
        ("王者荣耀点券 60点券", "G025"),
        ("流量加油包 10GB/30天", "T038"),
        ("Windows 10 专业版 永久授权", "S046"),
        ("百炼算力代金券 1000元", "A064"),
    ],
)
def test_what_is_said_otherwise_is_not_even_suggested(title: str, not_this: str) -> None:
    assert not_this not in [one.sku for one in index().suggest(title, limit=len(ours()))]


def test_a_supplier_who_says_what_he_delivers_is_believed() -> None:
    for one in ours():
        if one.delivers:
            other = Delivers.TOPUP if one.delivers is Delivers.CARDS else Delivers.CARDS
            same = [found.sku for found in index().suggest(f"{one.brand} {one.name} {one.spec}", one.delivers)]
            opposite = [found.sku for found in index().suggest(f"{one.brand} {one.name} {one.spec}", other)]
            assert one.sku in same
            assert one.sku not in opposite


@pytest.mark.parametrize("title", ["", "   ", "12345", "🀄️" * 150, "月", "=cmd()", "a" * 300, "‮腾讯", "ﷺ" * 300])
def test_any_title_is_read(title: str) -> None:
    assert not any(one.sure for one in index().suggest(title))
    assert not any(one.sure for one in Index([]).suggest(title))


def test_a_number_at_the_end_of_a_name_is_not_how_long_it_lasts() -> None:
    months = Index([Ours(f"S{number}", "", f"会员 星空{number}", "月卡", None) for number in (2, 19, 2569)])

    for number in (2, 19, 2569):
        (found,) = months.suggest(f"会员 星空{number} 月卡")
        assert (found.sku, found.sure) == (f"S{number}", True)


def test_why_says_what_agrees_and_what_only_one_side_says() -> None:
    found = first("Steam 钱包充值卡 港区 100元")

    assert found
    assert found.sku == "G020"
    assert found.why == ("name", "brand", "-region", "amount", "delivery")


@pytest.mark.parametrize(
    ("before", "now", "same"),
    [
        ("芒果TV 季卡", "【秒发】芒果tv季卡 现货", True),
        ("芒果TV 季卡", "芒果TV 月卡", False),
        ("话费 快充 100元", "话费 慢充 100元", False),
        ("Q币 10 3个", "Q币 103个", False),  # two numbers stay two
        ("iQIYI VIP", "爱奇艺 VIP", True),
    ],
)
def test_a_product_is_called_the_same_where_only_what_catches_the_eye_has_changed(
    before: str, now: str, same: bool
) -> None:
    assert (matching.called(before) == matching.called(now)) is same
