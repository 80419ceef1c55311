"""When a payment provider is taken out of the choices, and for how long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from shared.payments.health import OUT_FIRST, OUT_LONGEST, SILENT_MAX, WINDOW, out_for, window_of

moments = st.datetimes(datetime(2020, 1, 1), datetime(2090, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))  # noqa: DTZ001


def test_a_few_silent_calls_are_chance_and_an_outage_lasts_longer_each_time_up_to_a_limit() -> None:
    assert [out_for(silent) for silent in range(SILENT_MAX)] == [None] * SILENT_MAX
    lasting = [out_for(silent) for silent in range(SILENT_MAX, SILENT_MAX + 12)]
    assert lasting[:4] == [OUT_FIRST, OUT_FIRST * 2, OUT_FIRST * 4, OUT_FIRST * 8]
    assert lasting[4:] == [OUT_LONGEST] * 8


@given(st.integers(SILENT_MAX, 10**9))
def test_however_long_it_was_silent_it_is_tried_again_within_the_limit(silent: int) -> None:
    out = out_for(silent)
    assert out
    assert OUT_FIRST <= out <= OUT_LONGEST


@given(moments)
def test_each_moment_falls_into_the_window_that_begins_before_it(moment: datetime) -> None:
    start = window_of(moment)
    assert timedelta() <= moment - start < WINDOW
    assert window_of(start) == start
    assert window_of(start + WINDOW) == start + WINDOW
