"""How suppliers sign: against what they publish, and against every message that differs from it by one byte."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shared.suppliers import signing
from tests.published import vectors


@pytest.mark.parametrize(
    ("stamp", "fresh"),
    [
        ("1777608000", True),
        ("1777608000999", True),
        ("1777607940", True),
        ("1777607939", False),
        ("1777608061", False),
        ("17776080000", False),
        ("177760800٠", False),
        ("", False),
    ],
)
def test_a_message_is_fresh_for_a_while_around_its_time(stamp: str, fresh: bool) -> None:
    assert signing.is_fresh(stamp, datetime(2026, 5, 1, 4, tzinfo=UTC), 60) is fresh


# --- what is published -----------------------------------------------------------------------------------------------


def test_dujiao_s_request_is_signed_as_published() -> None:
    told = vectors("supplier_dujiao_next.json")["computed_by_us_from_doc_example"]
    got = signing.dujiao(told["method"], told["path"], told["timestamp"], told["body"].encode(), told["api_secret"])
    assert got == told["signature"]


def test_fulu_s_request_is_signed_as_published() -> None:
    told = vectors("supplier_fulu.json")
    assert (
        signing.fulu_request(told["request_from_docs"], told["computed_by_us"]["secret"])
        == (told["computed_by_us"]["sign"])
    )


def test_the_order_of_names_does_not_matter_to_fulu() -> None:
    told = vectors("supplier_fulu.json")
    turned = dict(reversed(told["request_from_docs"].items()))
    assert signing.fulu_request(turned, told["computed_by_us"]["secret"]) == told["computed_by_us"]["sign"]


@pytest.mark.parametrize("name", ["", "_goods_list"])
def test_kasushou_s_request_is_signed_as_published(name: str) -> None:
    told = vectors("supplier_kasushou.json")
    text = told[f"string_to_sign{name}_from_docs"]
    stamp, body, key = text[:13], text[13 : text.rindex("}") + 1], text[text.rindex("}") + 1 :]
    assert signing.kasushou(stamp, body.encode(), key) == told[f"sha1{name}_computed_by_us"]


def test_reloadly_s_webhook_is_signed_as_published() -> None:
    told = vectors("supplier_reloadly.json")["webhook_computed_by_us"]
    assert signing.reloadly(told["raw_body"].encode(), told["timestamp"], told["secret"]) == told["signature"]


def test_kashangwl_s_published_notice_signs_what_its_rule_says() -> None:
    told = vectors("supplier_kashangwl.json")["notify_example"]
    fields = {name: str(value) for name, value in told.items() if name != "cards"}
    text = (
        "created_at2021-04-13 02:25:08customer_id10939order_id749915828461outer_order_id20210928134512847783"
        "product_id41847quantity1state200state_infotimestamp1618280722"
    )
    assert signing.kashangwl(fields, "TEST") == hashlib.md5(("TEST" + text).encode()).hexdigest()


# --- PHP's own ways --------------------------------------------------------------------------------------------------


def test_acg_signs_the_decoded_query_of_what_is_not_empty() -> None:
    fields: dict[str, signing.Php] = {
        "shared_code": "A1",
        "sku": ["红 色", ""],
        "num": 2,
        "card_id": 0,
        "device": "",
        "race": None,
        "contact": "a+b&c=d~",
        "sign": "old",
    }
    text = "card_id=0&contact=a+b&c=d~&num=2&shared_code=A1&sku[0]=红 色&sku[1]=&key=TEST"
    assert signing.acg(fields, "TEST") == hashlib.md5(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"a": "b c~-_.", "d": "红"}, "a=b+c%7E-_.&d=%E7%BA%A2"),
        ({"a": None, "b": [], "c": True, "d": False, "e": 0, "f": ""}, "c=1&d=0&e=0&f="),
        ({"s": {"色": "红", "b": ["S", "M"]}}, "s%5B%E8%89%B2%5D=%E7%BA%A2&s%5Bb%5D%5B0%5D=S&s%5Bb%5D%5B1%5D=M"),
        ({"a": [None, "x"]}, "a%5B1%5D=x"),
    ],
)  # fmt: skip
def test_a_query_is_written_as_php_writes_it(fields: dict[str, signing.Php], text: str) -> None:
    assert signing.php_query(fields) == text


def test_json_is_written_as_php_writes_it() -> None:
    assert signing.php_json({"a": "卡/\u2028", "b": [1, None]}) == '{"a":"卡/\\u2028","b":[1,null]}'


def test_fulu_sorts_by_code_points() -> None:
    assert signing.fulu("b😀a卡\uff21", "TEST") == hashlib.md5("ab卡\uff21😀TEST".encode()).hexdigest()


# --- one byte more, less or other ------------------------------------------------------------------------------------

SECRET = "a-secret-of-this-test"


def fields_of(raw: bytes) -> dict[str, str]:
    return {"state": "200", "order_id": raw.decode("latin-1")}


SCHEMES: dict[str, Callable[[bytes, str], str]] = {
    "kashangwl": lambda raw, secret: signing.kashangwl(fields_of(raw), secret),
    "acg": lambda raw, secret: signing.acg({"a": "1", "raw": raw.decode("latin-1")}, secret),
    "kasushou": lambda raw, secret: signing.kasushou("1696654563249", raw, secret),
    "dujiao": lambda raw, secret: signing.dujiao("POST", "/api/v1/upstream/orders", "1772323200", raw, secret),
    "reloadly": lambda raw, secret: signing.reloadly(raw, "1717171717171", secret),
}


@pytest.mark.parametrize("scheme", SCHEMES)
@given(raw=st.binary(min_size=1, max_size=60), data=st.data())
def test_one_byte_of_a_message_changed_is_refused(scheme: str, raw: bytes, data: st.DataObject) -> None:
    signed = SCHEMES[scheme]
    place = data.draw(st.integers(0, len(raw) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != raw[place]))
    changed = raw[:place] + bytes([other]) + raw[place + 1 :]
    given_ = signed(raw, SECRET)
    assert signing.is_signed(given_, [signed(raw, "newer"), signed(raw, SECRET)])
    assert not signing.is_signed(given_, [signed(changed, "newer"), signed(changed, SECRET)])
    assert not signing.is_signed(given_, [signed(raw[:place] + raw[place + 1 :], SECRET)])


@given(st.text(max_size=40), st.characters(codec="utf-8"), st.characters(codec="utf-8"), st.data())
def test_one_character_of_a_fulu_message_changed_is_refused(
    text: str, one: str, other: str, data: st.DataObject
) -> None:
    assume(one != other)
    text = text.encode(errors="replace").decode()
    place = data.draw(st.integers(0, len(text)))
    was, changed = (text[:place] + letter + text[place:] for letter in (one, other))
    assert signing.fulu(was, SECRET) != signing.fulu(changed, SECRET)


@pytest.mark.parametrize("scheme", SCHEMES)
@given(data=st.data())
def test_one_character_of_a_signature_changed_is_refused(scheme: str, data: st.DataObject) -> None:
    expected = SCHEMES[scheme](b"{}", SECRET)
    place = data.draw(st.integers(0, len(expected) - 1))
    other = data.draw(st.characters().filter(lambda letter: letter != expected[place]))
    assert not signing.is_signed(expected[:place] + other + expected[place + 1 :], [expected])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_nothing_is_no_signature(scheme: str) -> None:
    assert not signing.is_signed("", [SCHEMES[scheme](b"", SECRET)])
    assert not signing.is_signed("", [])
