"""Cards that come in fields of their own."""

from __future__ import annotations

from datetime import date

import pytest

from shared.suppliers import card_fields


@pytest.mark.parametrize(
    ("told", "expires_on"),
    [
        ("2026-12-31 00:00:00", date(2026, 12, 31)),
        ("2026/12/31", date(2026, 12, 31)),
        ("2026-02-31", None),
        ("永久有效", None),
        ("0000-00-00 00:00:00", None),
        ("0001-01-01 00:00:00", None),
        ("1970-01-01", None),
        ("", None),
        (None, None),
        (0, None),
        ([], None),
    ],
)
def test_an_end_that_is_no_day_is_no_end(told: object, expires_on: date | None) -> None:
    assert card_fields.card("N1", "PASS-1", told).expires_on == expires_on


def test_what_has_a_number_alone_is_used_by_it_and_nothing_of_it_is_shown() -> None:
    assert card_fields.card("N1", None).code.code == "N1"
    assert card_fields.card(42, "PASS-1").code.code == "PASS-1"
    assert card_fields.card("N1", "PASS-1").code.number == "N1"
    shown = repr(card_fields.card("NUM-1", "PASS-1"))
    assert "PASS-1" not in shown
    assert "NUM-1" not in shown
    for number, code in ((None, ""), ("", None)):
        with pytest.raises(ValueError, match="no card"):
            card_fields.card(number, code)
