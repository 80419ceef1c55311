"""A supplier without an API, of whom a person buys."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from shared.suppliers.adapters.pricelist import Pricelist
from shared.suppliers.errors import BadCallback, SupplierRefused
from shared.suppliers.registry import made
from shared.suppliers.supplier import Account, Outcome, Purchase, Supplier

NOW = datetime(2026, 11, 23, 4, tzinfo=UTC)
PURCHASE = Purchase("01jdabcdefghjkmnpqrstvwxyz0101", "A1001", 2, 50_000_000, "https://shop.example/x")


@pytest.fixture
def by_hand() -> Supplier:
    return made(Account("list1", "pricelist"), [])


def test_an_order_is_theirs_until_a_person_settles_it(by_hand: Supplier) -> None:
    assert isinstance(by_hand, Pricelist)
    assert by_hand.place(PURCHASE, NOW).outcome is Outcome.ACCEPTED
    assert by_hand.ask(PURCHASE.number, "", NOW).outcome is Outcome.ACCEPTED


def test_nothing_can_be_read_and_that_is_not_said_to_be_nothing(by_hand: Supplier) -> None:
    assert by_hand.products("", NOW).products == ()
    for question in (lambda: by_hand.product("A1001", NOW), lambda: by_hand.balance(NOW)):
        with pytest.raises(SupplierRefused) as refused:
            question()
        assert refused.value.facts == {"supplier": "list1", "reason": "by_hand"}
    assert by_hand.check_account("A1001", {}, NOW) is None


def test_nobody_calls_back_for_him(by_hand: Supplier) -> None:
    with pytest.raises(BadCallback):
        by_hand.parse_callback({}, b"customer_order_no=1", NOW)
    assert by_hand.ack(True).status == 400
