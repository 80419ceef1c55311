"""The lines of a bill as we keep them, and their sums. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

from shared.kernel import clock
from shared.payments.provider import BillLine


class Sum(NamedTuple):
    """All lines of one kind in one currency: what the buyers paid, or got back (negative), and what the provider keeps.

    fee_e6: in millionths of the currency's unit, as on the lines; a bill's fees have parts of a cent.
    """

    kind: str
    currency: str
    lines: int
    gross_minor: int
    fee_e6: int


def sums_of(lines: Iterable[BillLine]) -> tuple[Sum, ...]:
    """In one order, whatever the order of the lines; kinds that a bill does not have are left out."""
    sums: dict[tuple[str, str], list[int]] = {}
    for line in lines:
        added = sums.setdefault((line.kind.value, line.gross.currency), [0, 0, 0])
        for place, more in enumerate((1, line.gross.minor, line.fee_e6)):
            added[place] += more
    return tuple(Sum(*key, *sums[key]) for key in sorted(sums))


def jsonl(lines: Iterable[BillLine]) -> bytes:
    """One JSON object for each line, in the bill's order."""
    return "".join(f"{json.dumps(_members(line), ensure_ascii=False)}\n" for line in lines).encode()


def _members(line: BillLine) -> dict[str, str | int]:
    return {
        "kind": line.kind,
        "payment_id": line.payment_id,
        "provider_no": line.provider_no,
        "refund_id": line.refund_id,
        "gross_minor": line.gross.minor,
        "currency": line.gross.currency,
        "fee_e6": line.fee_e6,
        "at": clock.iso(line.at),
    }
