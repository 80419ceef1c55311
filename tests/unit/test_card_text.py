"""Cards that come as one text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.suppliers import card_text


def read(text: str) -> list[tuple[str | None, str]] | None:
    cards = card_text.goods(text)
    return None if cards is None else [(card.code.number, card.code.code) for card in cards]


def test_each_line_is_a_card_and_blank_lines_are_none() -> None:
    assert read("AAAA-0001\r\n\n BBBB-0002 \n") == [(None, "AAAA-0001"), (None, "BBBB-0002")]
    assert read("") == []


@pytest.mark.parametrize(
    "line",
    [
        "NUM001----PASS-1",
        "NUM001——PASS-1",
        "NUM001\tPASS-1",
        "NUM001,PASS-1",
        "NUM001|PASS-1",
        "卡号：NUM001 密码：PASS-1",
        "卡号:NUM001----卡密:PASS-1",
        "密码：PASS-1，卡号：NUM001",
        "Card number: NUM001, PIN: PASS-1",
    ],
)
def test_a_number_is_told_from_its_password(line: str) -> None:
    assert read(line) == [("NUM001", "PASS-1")]


@pytest.mark.parametrize("line", ["AAAA 0001 BBBB 0002", "aB3dE6", "https://cards.example/x?y=1"])
def test_a_code_stays_in_one_piece(line: str) -> None:
    assert read(line) == [(None, line)]
    assert read(f"卡密：{line}") == [(None, line)]


@pytest.mark.parametrize("line", ["user1----pass1----a@mail.example", "user1 | pass1 | KEY 1", "a\tb\tc\td"])
def test_an_account_and_what_belongs_to_it_are_one_code(line: str) -> None:
    assert read(line) == [(None, line)]
    assert read(f"{line}\n\n{line}") == [(None, line)] * 2
    for odd in ("user1----pass1", "正在发货----请----等待", "a----b----c----d----e"):
        assert read(f"{line}\n{odd}") is None


@pytest.mark.parametrize(
    "line",
    [
        "正在发货中，请耐心等待",
        "Your order is on its way",
        "卡号：NUM001",
        "A,B,C",
        "OK, done, bye",
        "A----B----卡",
        "----",
        "A\x00B",
        "x" * 257,
    ],
)
def test_what_is_no_card_spoils_the_whole_text(line: str) -> None:
    assert read(line) is None
    assert read(f"AAAA-0001\n{line}") is None


@given(st.text(max_size=80))
def test_no_text_makes_it_raise(text: str) -> None:
    read(text)
    assert "AAAA" not in repr(card_text.goods("AAAA-0001"))
