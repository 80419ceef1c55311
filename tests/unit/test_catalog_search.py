"""What shoppers type and what they find, from the very lines that a door loads."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.catalog import importing, indexing, search
from shared.catalog.search import Place, Snapshot
from shared.catalog.sku import Sku
from shared.catalog.terms import Terms

ROOT = Path(__file__).parents[2]
SAMPLE = importing.read((ROOT / "infra" / "local" / "sample" / "catalogue.csv").read_bytes()).skus
LIKE = SAMPLE[0]


def loaded(*skus: Sku) -> Snapshot:
    return Snapshot(indexing.snapshot(skus)[1].split(b"\n"))


SHOP = loaded(*SAMPLE)


def a_shop(*names: str, **said: Any) -> Snapshot:
    """One product for each name, in this order, alike in everything else."""
    blank = {"category": "分类", "brand": "牌", "spec": "", "tags": (), "account": ""}
    return loaded(*(replace(LIKE, **{**blank, **said}, sku=f"S{n:03}", name=name) for n, name in enumerate(names)))


def names(shop: Snapshot, text: str, category: str | None = None, limit: int = 100) -> list[str]:
    return [json.loads(line)["product"]["name"] for line in shop.search(text, category, None, limit).products]


@pytest.mark.parametrize(
    "text",
    [
        "王者",
        "wzry",
        "wangzhe",
        "wangzhero",
        "WangZheRongYao",
        "荣耀",
        "rongyao",
        "王者 点券",
        "王者wz",
        "王者荣耀点券",
        "g024",
        "Ｇ０２５",
        "王者60",
        "dianquan 680",
        "券 腾讯游戏 wz",
    ],
)
def test_a_game_is_found_by_its_name_its_pinyin_its_initials_and_its_sku(text: str) -> None:
    assert names(SHOP, text) == ["王者荣耀点券"]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("腾讯视频 vip", "腾讯视频VIP"),
        ("腾讯视频vip", "腾讯视频VIP"),
        ("VIP 腾讯视频", "腾讯视频VIP"),
        ("txspvip", "腾讯视频VIP"),
        ("tengxunshipinvip", "腾讯视频VIP"),
        ("qqyinyue", "绿钻豪华版"),
        ("steam 100", "Steam钱包充值卡"),
        ("STEAM", "Steam钱包充值卡"),
        ("Q币", "Q币"),
        ("qb", "Q币"),
        ("windows", "Windows 11 专业版"),
        ("chatgpt", "ChatGPT Plus"),
        ("星巴克", "星礼卡电子券"),
        ("lvzuan", "绿钻豪华版"),
        ("山海一号", "数字藏品·山海一号"),
    ],
)
def test_the_best_answer_comes_first(text: str, first: str) -> None:
    assert names(SHOP, text)[0] == first


@pytest.mark.parametrize("text", ["没有这个", "zzzz", "angzhe", "王者 视频", "+++", "。", "V001X", "\u0000"])
def test_what_is_not_there_is_not_found(text: str) -> None:
    assert names(SHOP, text) == []


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("重庆火锅券", ["chongqing", "zhongqing", "cqhg", "zqhg"]),
        ("快乐大本营", ["kuaile", "kuaiyue", "kldby", "kydby"]),
        ("音乐会员", ["yinyue", "yinle", "yyhy"]),
        ("长安银行卡", ["changan", "zhangan", "yinhang", "yinxing"]),
    ],
)
def test_a_character_with_two_readings_is_found_by_both(name: str, texts: list[str]) -> None:
    assert {text: names(a_shop(name, "别的"), text) for text in texts} == {text: [name] for text in texts}


def test_brands_and_categories_are_found_by_their_sound_too() -> None:
    assert names(SHOP, "xingbake") == names(SHOP, "xbk") == ["星礼卡电子券"]
    assert names(SHOP, "yinyuehuiyuan") == ["黑胶VIP", "绿钻豪华版", "酷狗豪华VIP"]


def test_a_long_name_is_found_by_its_usual_reading_with_any_one_character_read_otherwise() -> None:
    name = "重乐长行单朝" * 5
    lines = indexing.snapshot([replace(LIKE, name=name)])[1]

    assert len(lines) < 20_000
    for text in ("zhonglezhangxing", "chonglezhang", "zhongyuezhang", "lechangxing", "xingdanzhao"):
        assert names(loaded(replace(LIKE, name=name)), text) == [name]


def test_pinyin_is_found_from_the_beginning_of_a_syllable_only() -> None:
    assert names(a_shop("王者", "昂扬"), "ang") == ["昂扬"]


def test_one_or_two_letters_are_found_where_a_word_begins() -> None:
    assert names(a_shop("BXVIP", "VIP"), "vi") == ["VIP"]
    assert names(a_shop("BXVIP", "VIP"), "vip") == ["VIP", "BXVIP"]


def test_an_exact_sku_comes_before_titles_words_parts_sounds_and_tags() -> None:
    shop = loaded(
        *(
            replace(LIKE, sku=f"S{n:03}", category="类", brand="牌", name=name, spec=spec, tags=tags)
            for n, (name, spec, tags) in enumerate(
                [
                    ("标签而已", "", ("abc",)),
                    ("昂表次", "", ()),  # abc by its initials
                    ("乙xabc", "", ()),
                    ("乙", "abc", ()),
                    ("abc卡", "", ()),
                ]
            )
        ),
        replace(LIKE, sku="ABC", name="别的"),
    )

    assert names(shop, "abc") == ["别的", "abc卡", "乙", "乙xabc", "昂表次", "标签而已"]


def test_titles_that_begin_with_the_word_come_before_those_that_hold_it() -> None:
    assert names(a_shop("大视频卡", "A 视频卡", "视频卡"), "视频") == ["视频卡", "A 视频卡", "大视频卡"]


def test_the_best_place_of_a_word_counts_even_after_a_worse_one() -> None:
    shop = loaded(replace(LIKE, sku="A1", name="甲xabc"), replace(LIKE, sku="A2", name="乙xabc", spec="abc"))

    assert names(shop, "abc") == ["乙xabc", "甲xabc"]


def test_every_word_of_a_query_counts() -> None:
    assert names(a_shop("大王大卡", "大王 卡", "王大卡", "王 卡"), "王 卡") == [
        "王 卡",
        "王大卡",
        "大王 卡",
        "大王大卡",
    ]


def test_words_past_the_sixth_are_not_asked_for() -> None:
    assert names(a_shop("甲 乙 丙 丁 戊 己"), "甲 乙 丙 丁 戊 己 庚") == ["甲 乙 丙 丁 戊 己"]
    assert names(a_shop("甲 乙 丙 丁 戊"), "甲 乙 丙 丁 戊 己 庚") == []


def test_a_sku_that_only_begins_so_is_no_exact_match() -> None:
    shop = loaded(replace(LIKE, sku="A10", name="甲"), replace(LIKE, sku="A1000", name="乙"))

    assert names(shop, "a1000") == ["乙"]
    assert names(loaded(replace(LIKE, sku="A100", name="甲"), replace(LIKE, sku="Z1", name="A10")), "a10") == [
        "A10",
        "甲",
    ]


def test_equal_answers_stand_in_listing_order_and_the_same_in_every_build() -> None:
    backwards = loaded(*reversed(SAMPLE))

    assert indexing.snapshot(SAMPLE) == indexing.snapshot(list(reversed(SAMPLE)))
    assert names(SHOP, "会员") == names(backwards, "会员")
    assert names(a_shop("会员丙", "会员甲", "会员乙"), "会员") == ["会员丙", "会员甲", "会员乙"]


def test_any_change_makes_another_version() -> None:
    dearer = [replace(SAMPLE[0], price_minor=1), *SAMPLE[1:]]

    assert indexing.snapshot(dearer)[0] != indexing.snapshot(SAMPLE)[0] == SHOP.version


def test_no_text_lists_everything_by_sku() -> None:
    assert len(names(SHOP, "")) == len(names(SHOP, "  ")) == 47
    assert names(SHOP, "")[0] == "ChatGPT Plus"


def test_a_category_narrows_both_list_and_search() -> None:
    music = names(SHOP, "", "音乐会员")

    assert music == ["黑胶VIP", "绿钻豪华版", "酷狗豪华VIP"]
    assert names(SHOP, "vip", "音乐会员") == ["黑胶VIP", "酷狗豪华VIP"]
    assert names(SHOP, "", "没有") == []
    assert "音乐会员" in SHOP.categories
    assert len(SHOP.categories) == 10


@pytest.mark.parametrize("text", ["", "会员", "v", "卡"])
@pytest.mark.parametrize("limit", [1, 3, 7])
def test_pages_put_together_are_the_whole_answer(text: str, limit: int) -> None:
    whole = SHOP.search(text, None, None, 100).products
    pages: list[bytes] = []
    after = None
    for _ in range(0, len(whole), limit):
        page = SHOP.search(text, None, after, limit)
        pages += page.products
        after = page.last

    assert after is None
    assert pages == list(whole)


def test_a_place_holds_when_products_come_and_go_between_pages() -> None:
    first = SHOP.search("", None, None, 5)
    seen = {json.loads(line)["product"]["product_id"] for line in first.products}
    changed = loaded(*(sku for sku in SAMPLE if sku.sku != "A064"), replace(LIKE, sku="A000", name="新品"))

    second = changed.search("", None, first.last, 100)

    ids = [json.loads(line)["product"]["product_id"] for line in second.products]
    assert seen.isdisjoint(ids)
    assert len(ids) == 47 - 5


def test_what_is_hidden_from_the_shop_is_neither_shown_nor_found() -> None:
    hidden = Terms(hidden=("shop",))
    some = loaded(*(replace(sku, terms=hidden) if sku.sku == "V001" else sku for sku in SAMPLE))
    none = loaded(*(replace(sku, terms=hidden) if sku.product_id == LIKE.product_id else sku for sku in SAMPLE))

    assert list(some.product(LIKE.product_id)["shelves"]) == ["V002", "V003"]
    assert some.search("V001", None, None, 5).products == []
    assert none.product(LIKE.product_id) is None


def test_a_snapshot_says_how_long_a_card_must_last_and_whether_the_shop_has_cards_of_its_own() -> None:
    terms = Terms(min_days=7, floors={"shop": 5, "taobao": 9})
    found = loaded(replace(LIKE, terms=terms)).product(LIKE.product_id)

    assert found["shelves"][LIKE.sku] == ["stock", 1, 7, "shop"]


def test_a_product_shows_its_skus_and_none_of_its_costs() -> None:
    found = SHOP.product(LIKE.product_id)

    assert [sku["sku"] for sku in found["product"]["skus"]] == ["V001", "V002", "V003"]
    assert found["product"]["skus"][0]["price"] == {"amount_minor": 2500, "currency": "CNY"}
    assert found["shelves"] == {sku: ["stock", 1, 0, None] for sku in ("V001", "V002", "V003")}
    assert "cost" not in json.dumps(found)
    assert b"19800000" not in indexing.snapshot(SAMPLE)[1]
    assert SHOP.product("prd_nothing") is None


def test_searching_loads_neither_the_dictionary_nor_a_database() -> None:
    code = (
        "import sys, functions.catalog.app; print('pypinyin' in sys.modules, 'shared.catalog.records' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert answer.stdout.split() == ["False", "False"]


@settings(max_examples=200)
@given(st.text(max_size=64), st.integers(1, 5), st.none() | st.builds(Place, st.integers(), st.text(max_size=8)))
def test_any_text_is_searched_without_harm(text: str, limit: int, after: Place | None) -> None:
    assert len(SHOP.search(text, None, after, limit).products) <= limit


@given(st.sampled_from(SAMPLE), st.data())
def test_every_product_is_found_by_any_beginning_of_its_name(sku: Sku, data: st.DataObject) -> None:
    beginning = sku.name[: data.draw(st.integers(1, len(sku.name)))]

    if search.terms(beginning):
        assert sku.name in names(SHOP, beginning)


@given(st.lists(st.text("王者荣耀重乐a1 .-", max_size=10), min_size=1, max_size=5))
def test_letters_and_marks_stay_side_by_side(titles: list[str]) -> None:
    lines = indexing.snapshot(replace(LIKE, sku=f"S{n}", name=title) for n, title in enumerate(titles))[1].split(b"\n")

    wide, wide_marks, narrow, narrow_marks = map(json.loads, lines[1:5])
    assert (len(wide), len(narrow)) == (len(wide_marks), len(narrow_marks))
    assert wide.count("\n") == narrow.count("\n") == len(lines) - 5
