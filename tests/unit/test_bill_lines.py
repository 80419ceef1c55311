from __future__ import annotations

import json
import random
from datetime import UTC, datetime

from shared.kernel.money import Money
from shared.payments.bill_lines import Sum, jsonl, sums_of
from shared.payments.provider import BillLine, LineKind

AT = datetime(2026, 5, 1, 4, 30, tzinfo=UTC)


def line(kind: LineKind, minor: int, fee_e6: int = 0, currency: str = "CNY") -> BillLine:
    return BillLine(kind, "pay_1", "42001", "", Money(minor, currency), fee_e6, AT)


LINES = [
    line(LineKind.CHARGE, 2500, 150_000),
    line(LineKind.CHARGE, 999, 59_940),
    line(LineKind.REFUND, -999, -59_940),
    line(LineKind.CHARGE, 1000, 590_000, "USD"),
    line(LineKind.FEE, 0, 120_000, "USD"),
]


def test_lines_are_summed_for_each_kind_and_currency_and_parts_of_a_cent_are_kept() -> None:
    assert sums_of(LINES) == (
        Sum("charge", "CNY", 2, 3499, 209_940),
        Sum("charge", "USD", 1, 1000, 590_000),
        Sum("fee", "USD", 1, 0, 120_000),
        Sum("refund", "CNY", 1, -999, -59_940),
    )
    assert sums_of([]) == ()


def test_the_order_of_the_lines_makes_no_difference_to_their_sums() -> None:
    mixed = random.Random(20260501).sample(LINES, len(LINES))

    assert sums_of(mixed) == sums_of(LINES)


def test_a_line_is_one_object_in_the_order_of_the_bill() -> None:
    lines = jsonl(LINES).decode().splitlines()

    assert [json.loads(one)["gross_minor"] for one in lines] == [2500, 999, -999, 1000, 0]
    assert json.loads(lines[2]) == {
        "kind": "refund",
        "payment_id": "pay_1",
        "provider_no": "42001",
        "refund_id": "",
        "gross_minor": -999,
        "currency": "CNY",
        "fee_e6": -59_940,
        "at": "2026-05-01T04:30:00.000Z",
    }
    assert jsonl([]) == b""
