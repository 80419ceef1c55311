"""The normal form of a code, as the sample data's README words it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.inventory import codes

ALLOWED = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_/.:+="
FULL_WIDTH = {ord(character): ord(character) + 0xFEE0 for character in ALLOWED + "-"} | {ord(" "): 0x3000}
spelled = st.text(ALLOWED + "- \t\u00a0\u3000\u200b\ufeff\u2011－ＡａＺｚ０９", max_size=280)


def refusal_of(text: str) -> str:
    with pytest.raises(codes.Unfit) as refused:
        codes.normal(text)
    return refused.value.reason


@pytest.mark.parametrize(
    "spelling",
    [
        "DMKG-J9G3",
        "dmkg-j9g3",
        "  DMKG J9G3\t",
        "ＤＭＫＧ－Ｊ９Ｇ３",
        "DMKG\u200b-J9G3\ufeff",
        "DMKG\u2011J9G3",
        "DMKG\u2013J9G3",
    ],
)
def test_spellings_of_one_code_have_one_normal_form(spelling: str) -> None:
    assert codes.normal(spelling) == "DMKGJ9G3"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty_code"),
        (" \u3000\u200b\t", "empty_code"),
        ("\u2013 \u2013", "empty_code"),
        ("=1+1", "formula"),
        ("＝HYPERLINK", "formula"),
        ("\u200b@SUM(A1)", "formula"),
        ("+86139", "formula"),
        ("-ABC", "formula"),
        ("\u2013=ABC", "formula"),
        ("'; DROP TABLE cards;--", "bad_characters"),
        ("卡密ABC", "bad_characters"),
        ("\u0410BC", "bad_characters"),
        ("ABC\x00D", "bad_characters"),
        ("ABCD\nEFGH", "bad_characters"),
        ("dotless-ı", "bad_characters"),
        ("6.22848E+18", "rounded_number"),
        ("X" * 257, "too_long"),
        ("X" * 3000, "too_long"),
    ],
)
def test_what_is_no_code_is_refused_by_its_reason(text: str, reason: str) -> None:
    assert refusal_of(text) == reason


def test_zero_width_characters_do_not_count_towards_the_length() -> None:
    assert codes.normal("X\u200b" * 256) == "X" * 256


def test_the_buyer_sees_hyphens_inner_blanks_and_case_as_they_came() -> None:
    assert codes.shown(" \ufeffａB-c\u200b D \r") == "aB-c D"


def outcome(text: str) -> str:
    try:
        return codes.normal(text)
    except codes.Unfit as unfit:
        return unfit.reason


@given(spelled)
def test_the_normal_form_of_a_normal_form_is_itself(text: str) -> None:
    try:
        once = codes.normal(text)
    except codes.Unfit:
        return

    assert codes.normal(once) == once


@given(st.text(max_size=600))
def test_any_text_has_a_normal_form_of_allowed_characters_or_a_reason(text: str) -> None:
    once = outcome(text)
    if once in {"empty_code", "formula", "too_long", "bad_characters", "rounded_number"}:
        return

    assert 0 < len(once) <= codes.VISIBLE_MAX
    assert set(once) <= set(ALLOWED.upper())
    assert codes.normal(once) == once


@given(st.text(ALLOWED + "- ", max_size=256))
def test_full_width_and_half_width_are_one_code(text: str) -> None:
    assert outcome(text.translate(FULL_WIDTH)) == outcome(text)


def test_a_pair_is_known_by_its_number_and_told_apart_by_all_of_it() -> None:
    assert codes.identity("PASS1", "JD1") == codes.identity("PASS2", "JD1") == codes.identity("JD1")
    assert len({codes.whole("PASS1", "JD1"), codes.whole("PASS2", "JD1"), codes.whole("JD1")}) == 3


def test_a_mask_shows_at_most_the_last_four_characters() -> None:
    assert codes.mask("DMKG-J9G3-2207") == "••••2207"
    assert codes.mask("DMKG-J9G3") == "••••"


def test_a_refusal_does_not_carry_the_code() -> None:
    with pytest.raises(codes.Unfit) as refused:
        codes.normal("=SECRET")

    assert "SECRET" not in repr(refused.value)
